/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A device in a process of its own, as a vhost-user back-end is. The VMM sends its guest memory as
 * a descriptor over a socket; the device adds a slot, works on guest memory through caches, and
 * logs what it writes. Meanwhile the VMM moves the memory, takes the slot away, and gives another:
 * each time the memory that was there before is cut off right after the device's answer, so that
 * one late access would be a SIGBUS.
 *
 * vmm() is the test and has no guest; what a device author wants is everything named device_.
 */
#define _GNU_SOURCE /* memfd_create() */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/invalidate.h>
#include <guestmm/linux/mapped_memory.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#define PAGE 4096u
#define PAGES 64u
#define BYTES (PAGES * PAGE)
#define GFN 0x100u /* of the slot */
#define GPA(offset) (((gmm_gpa_t)GFN << 12) + (offset))
#define TEXT_OFFSET 0x1ffau /* a text across two pages */
#define BEATS_OFFSET 0x8000u

enum order {
	ADD,
	MOVE,
	WORK,
	HARVEST,
	REMOVE,
	END
};

struct message {
	enum order order;
	gmm_gpa_t gpa; /* WORK */
	uint64_t length;
};

struct answer {
	int64_t result;
	uint64_t dirty; /* HARVEST: a bit a page */
};

static void must(const char *what, int64_t result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
	exit(1);
}

/* A message, and with it a descriptor unless that is negative. */
static void message_send(int socket, struct message message, int descriptor)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec part = { .iov_base = &message, .iov_len = sizeof(message) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *rights;

	if (descriptor >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
	}
	must("send", sendmsg(socket, &header, 0) == (ssize_t)sizeof(message) ? 0 : -GMM_EIO);
}

static struct message message_receive(int socket, int *descriptor)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct message message;
	struct iovec part = { .iov_base = &message, .iov_len = sizeof(message) };
	struct msghdr header = { .msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control) };
	struct cmsghdr *rights;

	*descriptor = -1;
	if (recvmsg(socket, &header, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(message))
		exit(1); /* the VMM is gone */
	rights = CMSG_FIRSTHDR(&header);
	if (rights && rights->cmsg_type == SCM_RIGHTS)
		memcpy(descriptor, CMSG_DATA(rights), sizeof(int));
	return message;
}

static void *map_descriptor(int descriptor)
{
	void *start = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);

	must("mmap", start == MAP_FAILED ? -GMM_ENOMEM : 0);
	close(descriptor);
	return start;
}

struct device {
	struct gmm_guest *guest;
	struct gmm_reader *reader; /* of the thread that takes messages */
	struct gmm_mapped_memory *memory;
	void *start; /* of its mapping */

	pthread_t beating;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool has_memory, ends; /* under lock */
};

static int64_t device_add(struct device *device, int descriptor)
{
	struct gmm_mapped_memory_config memory = { .page_count = PAGES };
	struct gmm_slot_config slot = { .gfn = GFN, .count = PAGES, .flags = GMM_SLOT_LOG_DIRTY };

	device->start = memory.start = map_descriptor(descriptor);
	must("memory", gmm_mapped_memory_create(&memory, &device->memory));
	slot.memory_ops = gmm_mapped_memory_ops();
	slot.memory = device->memory;
	return gmm_slot_add(device->guest, &slot);
}

static int64_t device_remove(struct device *device)
{
	int error = gmm_slot_remove(device->guest, 0);

	if (error)
		return error;
	/* No section uses the memory any more, and no cache finds it. */
	gmm_mapped_memory_close(device->memory);
	munmap(device->start, BYTES);
	return 0;
}

/* The guest's memory is somewhere else: the slot, its log and all caches stay. */
static int64_t device_move(struct device *device, int descriptor)
{
	struct gmm_range range = { GFN, GFN + PAGES };
	void *old = device->start;
	int error = gmm_invalidate_begin(device->guest, GMM_RANGE_GFN, &range, 1, 0, NULL);

	if (error)
		return error;
	device->start = map_descriptor(descriptor);
	must("move", gmm_mapped_memory_move(device->memory, device->start));
	munmap(old, BYTES);
	gmm_invalidate_end(device->guest, GMM_RANGE_GFN, &range, 1);
	return 0;
}

/* What a device does with a buffer of the guest: here it makes letters large. */
static int64_t device_work(struct device *device, gmm_gpa_t gpa, uint64_t length)
{
	struct gmm_cache *cache;
	char *text;
	int error;

	must("cache", gmm_cache_create(device->guest, &cache));
	error = gmm_cache_activate(cache, gpa, length, GMM_CACHE_HOST | GMM_CACHE_WRITE);
	gmm_section_enter(device->reader);
	while (!error && !(text = gmm_cache_pointer(cache, 0, length))) {
		gmm_section_exit(device->reader);
		error = gmm_cache_refresh(cache);
		gmm_section_enter(device->reader);
	}
	if (!error) {
		for (uint64_t i = 0; i < length; i++)
			text[i] = text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i];
		gmm_cache_mark_dirty(cache, 0, length);
	}
	gmm_section_exit(device->reader);
	must("cache", gmm_cache_destroy(cache));
	return error;
}

/* Sleeps while there is no memory; false at the end. */
static bool device_wait(struct device *device)
{
	bool ends;

	pthread_mutex_lock(&device->lock);
	while (!device->has_memory && !device->ends)
		pthread_cond_wait(&device->changed, &device->lock);
	ends = device->ends;
	pthread_mutex_unlock(&device->lock);
	return !ends;
}

/* A second thread uses guest memory all the time, whatever happens to it: it counts a word up. */
static void *device_beat(void *opaque)
{
	struct device *device = opaque;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint64_t *beats;

	must("reader", gmm_reader_register(device->guest, &reader));
	must("cache", gmm_cache_create(device->guest, &cache));
	/* Without a slot yet it is active all the same, and a later refresh can succeed. */
	gmm_cache_activate(cache, GPA(BEATS_OFFSET), sizeof(*beats),
			   GMM_CACHE_HOST | GMM_CACHE_WRITE);
	while (device_wait(device)) {
		gmm_section_enter(reader);
		beats = gmm_cache_pointer(cache, 0, sizeof(*beats));
		if (beats) {
			__atomic_store_n(beats, *beats + 1, __ATOMIC_RELAXED);
			gmm_cache_mark_dirty(cache, 0, sizeof(*beats));
		}
		gmm_section_exit(reader);
		if (!beats)
			gmm_cache_refresh(cache); /* -GMM_EFAULT: there is no slot now */
	}
	must("cache", gmm_cache_destroy(cache));
	gmm_reader_unregister(reader);
	return NULL;
}

static void device_tell(struct device *device, bool has_memory, bool ends)
{
	pthread_mutex_lock(&device->lock);
	device->has_memory = has_memory;
	device->ends = ends;
	pthread_cond_broadcast(&device->changed);
	pthread_mutex_unlock(&device->lock);
}

static void device_create(struct device *device)
{
	struct gmm_guest_config config = { 0 };

	must("guest", gmm_guest_create(&config, &device->guest));
	must("reader", gmm_reader_register(device->guest, &device->reader));
	must("thread", -pthread_create(&device->beating, NULL, device_beat, device));
}

static int device_destroy(struct device *device)
{
	device_tell(device, false, true);
	pthread_join(device->beating, NULL);
	gmm_reader_unregister(device->reader);
	must("guest", gmm_guest_destroy(device->guest));
	return 0;
}

static int device(int socket)
{
	struct device device = { .lock = PTHREAD_MUTEX_INITIALIZER,
				 .changed = PTHREAD_COND_INITIALIZER };
	struct message message;
	struct answer answer;
	int descriptor;

	device_create(&device);
	do {
		answer = (struct answer){ 0 };
		message = message_receive(socket, &descriptor);
		switch (message.order) {
		case ADD:
			answer.result = device_add(&device, descriptor);
			device_tell(&device, true, false);
			break;
		case MOVE:
			answer.result = device_move(&device, descriptor);
			break;
		case WORK:
			answer.result = device_work(&device, message.gpa, message.length);
			break;
		case HARVEST:
			answer.result = gmm_dirty_harvest(device.guest, 0, 0, PAGES, &answer.dirty);
			break;
		case REMOVE:
			answer.result = device_remove(&device);
			device_tell(&device, false, false);
			break;
		case END:
			break;
		}
		must("answer", write(socket, &answer, sizeof(answer)) < 0 ? -GMM_EIO : 0);
	} while (message.order != END);
	return device_destroy(&device);
}

/* The VMM: guest memory in a memfd, with a copy of what was in the one before. */
struct ram {
	int descriptor;
	char *start;
};

static struct ram ram_create(const struct ram *before)
{
	struct ram ram = { .descriptor = memfd_create("ram", MFD_CLOEXEC) };

	if (ram.descriptor < 0 || ftruncate(ram.descriptor, BYTES))
		must("memfd", -GMM_ENOMEM);
	ram.start = map_descriptor(dup(ram.descriptor));
	if (before)
		memcpy(ram.start, before->start, BYTES);
	return ram;
}

/* Nobody can touch it from here on without a SIGBUS. */
static void ram_destroy(struct ram *ram)
{
	munmap(ram->start, BYTES);
	must("ftruncate", ftruncate(ram->descriptor, 0) ? -GMM_EIO : 0);
	close(ram->descriptor);
}

/* Until the device has used this memory since. */
static void wait_for_beats(int socket, const struct ram *ram)
{
	const uint64_t *beats = (const uint64_t *)(ram->start + BEATS_OFFSET);
	uint64_t before = __atomic_load_n(beats, __ATOMIC_RELAXED);

	while (__atomic_load_n(beats, __ATOMIC_RELAXED) == before) {
		if (recv(socket, &(char){ 0 }, 1, MSG_DONTWAIT) == 0)
			must("the device is gone", -GMM_EIO);
		sched_yield();
	}
}

static struct answer ask(int socket, struct message message, int descriptor)
{
	struct answer answer;

	message_send(socket, message, descriptor);
	if (read(socket, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
		must("the device", -GMM_EIO);
	return answer;
}

static void check(bool good, const char *what)
{
	printf("%s: %s\n", what, good ? "yes" : "NO");
	if (!good)
		exit(1);
}

static void vmm(int socket)
{
	const struct message work = { .order = WORK, .gpa = GPA(TEXT_OFFSET), .length = 11 };
	const uint64_t written = 1u << 1 | 1u << 2 | 1u << 8; /* the text's pages, and the beats' */
	struct ram old, ram = ram_create(NULL);
	struct answer answer;

	memcpy(ram.start + TEXT_OFFSET, "hello guest", 11);
	must("add", ask(socket, (struct message){ .order = ADD }, ram.descriptor).result);
	wait_for_beats(socket, &ram);
	must("work", ask(socket, work, -1).result);
	check(!memcmp(ram.start + TEXT_OFFSET, "HELLO GUEST", 11), "a buffer over two pages");
	answer = ask(socket, (struct message){ .order = HARVEST }, -1);
	check(answer.dirty == written, "three pages in the device's dirty log");

	old = ram;
	ram = ram_create(
		&old); /* what the device writes from here to the move is lost, in our test */
	must("move", ask(socket, (struct message){ .order = MOVE }, ram.descriptor).result);
	ram_destroy(&old);
	wait_for_beats(socket, &ram);
	check(true, "the device goes on after its memory has moved");

	must("remove", ask(socket, (struct message){ .order = REMOVE }, -1).result);
	old = ram;
	ram = ram_create(&old);
	ram_destroy(&old);
	check(ask(socket, work, -1).result == -GMM_EFAULT, "a buffer in no slot is refused");
	must("add", ask(socket, (struct message){ .order = ADD }, ram.descriptor).result);
	wait_for_beats(socket, &ram);
	check(true, "the device goes on when there is memory again");
	must("remove", ask(socket, (struct message){ .order = REMOVE }, -1).result);
	must("end", ask(socket, (struct message){ .order = END }, -1).result);
	ram_destroy(&ram);
}

int main(void)
{
	int sockets[2], status = 1;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	must("socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) ? -GMM_EIO : 0);
	child = fork();
	if (child == 0) {
		close(sockets[0]);
		return device(sockets[1]);
	}
	must("fork", child);
	close(sockets[1]);
	vmm(sockets[0]);
	waitpid(child, &status, 0);
	check(status == 0, "the device ended in order");
	return 0;
}
