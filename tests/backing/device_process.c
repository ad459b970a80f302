/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A device process: another program, which is given the memfd of a guest's memory over a socket,
 * adopts it, and works on buffers through caches. What it can access of the guest is what its caches
 * hold at the time, by the kernel's account. The program is this one, started again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "backing_test.h"

#define PAGES 256u
#define SLOT 1u
/* Where the device has the guest's memory. */
#define FIRST_GFN 16u

/* One buffer to be worked on: every byte gets one more. The answer is what was found. */
struct request {
	uint32_t page, count;
};
struct answer {
	uint32_t first_byte;
	uint32_t errors;
	uint64_t accessible; /* bytes of the guest's memory, while the buffer was in use */
	uint64_t logged;     /* pages in the device's log */
};

static bool send_file(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(socket, &message, 0) == 1;
}

static int receive_file(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

/* How much of a file this process can access, by what the kernel says. */
static uint64_t accessible(int fd)
{
	char line[512], rights[8];
	uint64_t start, end, inode, bytes = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	struct stat info;

	if (!maps || fstat(fd, &info))
		return UINT64_MAX;
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %" SCNu64, &start, &end,
			   rights, &inode) == 4 &&
		    inode == info.st_ino && strncmp(rights, "---", 3) != 0)
			bytes += end - start;
	fclose(maps);
	return bytes;
}

struct device {
	struct gmm_memory *memory;
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
};

static int device_open(struct device *device, int fd)
{
	struct gmm_memory_config config = { .kind = GMM_MEMORY_KIND_ADOPTED,
					    .page_count = PAGES,
					    .page_shift = PAGE_SHIFT,
					    .fd = fd };
	struct gmm_guest_config guest = { .page_shift = PAGE_SHIFT };
	struct gmm_slot_config slot = {
		.id = SLOT, .flags = GMM_SLOT_LOG_DIRTY, .gfn = FIRST_GFN, .count = PAGES
	};
	int error = gmm_memory_create(&config, &device->memory, NULL, 0);

	if (!error)
		error = gmm_guest_create(&guest, &device->guest);
	if (error)
		return error;
	slot.hva = (uintptr_t)gmm_memory_vcpu_address(device->memory);
	slot.memory = device->memory;
	slot.memory_ops = gmm_memory_ops_of(device->memory);
	error = gmm_slot_add(device->guest, &slot);
	if (!error)
		error = gmm_reader_register(device->guest, &device->reader);
	return error ? error : gmm_cache_create(device->guest, &device->cache);
}

static void device_work(struct device *device, const struct request *request, struct answer *answer)
{
	uint64_t log[PAGES / 64] = { 0 };
	uint64_t bytes = request->count * PAGE_SIZE;
	uint8_t *pointer;

	memset(answer, 0, sizeof(*answer));
	answer->errors += gmm_cache_activate(device->cache, (FIRST_GFN + request->page) * PAGE_SIZE,
					     bytes, GMM_CACHE_HOST | GMM_CACHE_WRITE) != 0;
	answer->accessible = accessible(gmm_memory_fd(device->memory));
	gmm_section_enter(device->reader);
	pointer = gmm_cache_pointer(device->cache, 0, bytes);
	answer->errors += !pointer;
	answer->first_byte = pointer ? pointer[0] : 0;
	for (uint64_t i = 0; pointer && i < bytes; i++)
		pointer[i]++;
	if (pointer)
		gmm_cache_mark_dirty(device->cache, 0, bytes);
	gmm_section_exit(device->reader);
	answer->logged = (uint64_t)gmm_dirty_harvest(device->guest, SLOT, 0, PAGES, log);
	answer->errors += gmm_cache_deactivate(device->cache) != 0;
	answer->errors += accessible(gmm_memory_fd(device->memory)) != 0;
}

/* The device's program. */
static int device_main(int socket)
{
	struct device device = { 0 };
	struct request request;
	struct answer answer;
	int fd = receive_file(socket);

	if (fd < 0 || device_open(&device, fd))
		return 2;
	close(fd);
	while (read(socket, &request, sizeof(request)) == sizeof(request)) {
		device_work(&device, &request, &answer);
		if (write(socket, &answer, sizeof(answer)) != sizeof(answer))
			return 3;
	}
	gmm_cache_destroy(device.cache);
	gmm_reader_unregister(device.reader);
	gmm_slot_remove(device.guest, SLOT);
	gmm_guest_destroy(device.guest);
	gmm_memory_close(device.memory);
	return 0;
}

static pid_t start_device(int socket)
{
	char number[16];
	pid_t child = fork();

	if (child != 0)
		return child;
	snprintf(number, sizeof(number), "%d", socket);
	fcntl(socket, F_SETFD, 0);
	execl("/proc/self/exe", "device", number, (char *)NULL);
	_exit(9);
}

static struct answer ask(int socket, uint32_t page, uint32_t count)
{
	struct request request = { page, count };
	struct answer answer;

	assert_int_equal(write(socket, &request, sizeof(request)), sizeof(request));
	assert_int_equal(read(socket, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static void device_sees_what_it_works_on(void **state)
{
	struct gmm_memory_config config = { .kind = GMM_MEMORY_KIND_PLAIN,
					    .page_count = PAGES,
					    .page_shift = PAGE_SHIFT };
	struct gmm_memory *memory;
	int sockets[2], status = -1;
	uint8_t *bytes;
	pid_t child;

	assert_int_equal(gmm_memory_create(&config, &memory, NULL, 0), 0);
	bytes = gmm_memory_vcpu_address(memory);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	child = start_device(sockets[1]);
	assert_true(child > 0);
	close(sockets[1]);
	assert_true(send_file(sockets[0], gmm_memory_fd(memory)));
	for (uint32_t page = 0; page < PAGES - 8; page += 13) {
		uint32_t count = 1 + page % 8;
		struct answer answer;

		memset(bytes + page * PAGE_SIZE, (int)page, count * PAGE_SIZE);
		answer = ask(sockets[0], page, count);
		assert_int_equal(answer.errors, 0);
		assert_int_equal(answer.first_byte, (uint8_t)page);
		assert_int_equal(answer.accessible, count * PAGE_SIZE);
		assert_int_equal(answer.logged, count);
		for (uint64_t i = 0; i < count * PAGE_SIZE; i++)
			assert_int_equal(bytes[page * PAGE_SIZE + i], (uint8_t)(page + 1));
	}
	close(sockets[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	gmm_memory_close(memory);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_sees_what_it_works_on),
	};

	if (argc == 2)
		return device_main(atoi(argv[1]));
	return cmocka_run_group_tests_name("device process", tests, NULL, NULL);
}
