/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* /dev/guestmm under what the kernel really does to the memory of a process. Prints TAP. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device_support.h"

#define PAGES 16u
#define ROUNDS 300u
#define FUZZ_CALLS 20000u

/* What calls refuse */

static void calls_are_checked(void)
{
	struct gmm_device_info info;
	struct gmm_device_slot slot = { .size = PAGE, .gpa = 0 };
	struct gmm_device_guest guest = { .flags = 1 };
	struct gmm_device_slot_id id = { .id = 7 };
	struct guest bare;

	bare.fd = open_device();
	check(!call(bare.fd, GMM_DEVICE_INFO, &info) && info.abi == GMM_DEVICE_ABI);
	check(info.page_size == PAGE && info.slots_max && info.caches_max);
	refused(bare.fd, GMM_DEVICE_SLOT_ADD, &slot, ENXIO);
	refused(bare.fd, GMM_DEVICE_GUEST_CREATE, &guest, EINVAL);
	guest = (struct gmm_device_guest){ .gpa_bits = 47 };
	refused(bare.fd, GMM_DEVICE_GUEST_CREATE, &guest, EINVAL);
	guest.gpa_bits = 0;
	check(!call(bare.fd, GMM_DEVICE_GUEST_CREATE, &guest));
	refused(bare.fd, GMM_DEVICE_GUEST_CREATE, &guest, EEXIST);
	refused(bare.fd, GMM_DEVICE_GUEST_CREATE, NULL, EFAULT);
	refused(bare.fd, _IOW(GMM_DEVICE_IOCTL, 0x12, uint32_t), &slot, ENOTTY);
	refused(bare.fd, _IO(GMM_DEVICE_IOCTL, 0x7f), &slot, ENOTTY);
	slot.size = PAGE + 1;
	refused(bare.fd, GMM_DEVICE_SLOT_ADD, &slot, EINVAL);
	slot = (struct gmm_device_slot){ .size = PAGE, .id = info.slots_max };
	refused(bare.fd, GMM_DEVICE_SLOT_ADD, &slot, EINVAL);
	slot = (struct gmm_device_slot){ .size = PAGE, .address = ~0ull << 20 };
	refused(bare.fd, GMM_DEVICE_SLOT_ADD, &slot, EFAULT);
	slot = (struct gmm_device_slot){ .size = PAGE, .gpa = 1ull << 40 };
	refused(bare.fd, GMM_DEVICE_SLOT_ADD, &slot, ERANGE);
	refused(bare.fd, GMM_DEVICE_SLOT_REMOVE, &id, ENOENT);
	close(bare.fd);
}

static void caches_are_checked(void)
{
	struct gmm_device_cache cache = { .length = 0 };
	struct gmm_device_handle handle = { .handle = 99 };
	struct gmm_device_transfer transfer;
	struct guest guest;
	uint64_t word;

	guest_start(&guest, PAGES);
	refused(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache, EINVAL);
	cache.length = 1ull << 40;
	refused(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache, EINVAL);
	cache = (struct gmm_device_cache){ .length = 8, .reserved = 1 };
	refused(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache, EINVAL);
	cache = (struct gmm_device_cache){ .length = 8, .address = GPA + PAGES * PAGE };
	refused(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache, EFAULT);
	cache = (struct gmm_device_cache){ .length = 8, .address = 1ull << 50 };
	refused(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache, ERANGE);
	cache = (struct gmm_device_cache){ .length = 8,
					   .address = ~0xfffull,
					   .flags = GMM_DEVICE_CACHE_HVA };
	refused(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache, EFAULT);
	refused(guest.fd, GMM_DEVICE_CACHE_DESTROY, &handle, ENOENT);
	handle.handle = 1ull << 40;
	refused(guest.fd, GMM_DEVICE_CACHE_REFRESH, &handle, ENOENT);
	handle.handle = cache_make(&guest, GPA, 64, 0);
	transfer = (struct gmm_device_transfer){ handle.handle, 60, 8, (uintptr_t)&word };
	refused(guest.fd, GMM_DEVICE_CACHE_READ, &transfer, ERANGE);
	transfer.offset = ~0ull;
	refused(guest.fd, GMM_DEVICE_CACHE_READ, &transfer, ERANGE);
	transfer = (struct gmm_device_transfer){ handle.handle, 0, 8, 1 };
	refused(guest.fd, GMM_DEVICE_CACHE_READ, &transfer, EFAULT);
	check(!call(guest.fd, GMM_DEVICE_CACHE_DESTROY, &handle));
	refused(guest.fd, GMM_DEVICE_CACHE_DESTROY, &handle, ENOENT);
	guest_end(&guest);
}

static void caches_have_a_limit(void)
{
	struct gmm_device_cache cache = { .length = 8, .address = GPA };
	struct gmm_device_info info = { 0 };
	struct guest guest;
	uint32_t made = 0;

	guest_start(&guest, PAGES);
	check(!call(guest.fd, GMM_DEVICE_INFO, &info));
	while (made <= info.caches_max && !call(guest.fd, GMM_DEVICE_CACHE_CREATE, &cache))
		made++;
	check(made == info.caches_max && errno == ENOSPC);
	guest_end(&guest);
}

static void other_processes_are_refused(void)
{
	struct guest guest;
	uint64_t cache, word = 0;

	guest_start(&guest, PAGES);
	cache = cache_make(&guest, GPA, 8, WRITE);
	if (!child_starts()) {
		struct gmm_device_info info;

		refused_here(cache_read(&guest, cache, 0, &word, 8) == -EIO);
		refused_here(cache_write(&guest, cache, 0, &word, 8) == -EIO);
		refused_here(!call(guest.fd, GMM_DEVICE_INFO, &info));
		_exit(0);
	}
	check(child_ends() == 0);
	check(!cache_read(&guest, cache, 0, &word, 8));
	guest_end(&guest);
}

static void the_module_stays_while_it_is_used(void)
{
	int fd = open_device();

	check(syscall(SYS_delete_module, "guestmm", O_NONBLOCK) && errno == EWOULDBLOCK);
	close(fd);
}

/* What caches show */

static void stores_are_seen_on_both_sides(void)
{
	struct guest guest;
	uint64_t one, area, word = 0x1122334455667788ull, seen = 0;
	char out[3 * PAGE], in[3 * PAGE];
	size_t i;

	guest_start(&guest, PAGES);
	one = cache_make(&guest, GPA + 2 * PAGE + 16, 8, WRITE);
	check(!cache_write(&guest, one, 0, &word, 8));
	check(!memcmp(guest.memory + 2 * PAGE + 16, &word, 8));
	word++;
	memcpy(guest.memory + 2 * PAGE + 16, &word, 8);
	check(!cache_read(&guest, one, 0, &seen, 8) && seen == word);
	area = cache_make(&guest, GPA + 3 * PAGE + 100, sizeof(out), WRITE);
	for (i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / 251);
	check(!cache_write(&guest, area, 0, out, sizeof(out)));
	check(!memcmp(guest.memory + 3 * PAGE + 100, out, sizeof(out)));
	guest.memory[5 * PAGE]++;
	check(!cache_read(&guest, area, 0, in, sizeof(in)));
	check(!memcmp(guest.memory + 3 * PAGE + 100, in, sizeof(in)));
	guest_end(&guest);
}

static void host_addresses_need_no_slot(void)
{
	struct guest guest;
	uint64_t cache, word = 77, seen = 0;
	char *memory = map_memory(2);

	guest_start(&guest, PAGES);
	cache = cache_make(&guest, (uintptr_t)memory + PAGE - 4, 8, WRITE | GMM_DEVICE_CACHE_HVA);
	check(!cache_write(&guest, cache, 0, &word, 8));
	check(!memcmp(memory + PAGE - 4, &word, 8));
	check(!madvise(memory, 2 * PAGE, MADV_DONTNEED));
	check(!is_valid(&guest, cache));
	check(!cache_read(&guest, cache, 0, &seen, 8) && !seen);
	munmap(memory, 2 * PAGE);
	check(cache_read(&guest, cache, 0, &seen, 8) == -EFAULT);
	guest_end(&guest);
}

static void a_read_only_slot_refuses_stores(void)
{
	struct gmm_device_slot slot = {
		.id = 1, .flags = GMM_DEVICE_SLOT_READ_ONLY, .gpa = GPA + (1ull << 30), .size = PAGE
	};
	struct guest guest;
	uint64_t cache, word = 5;

	guest_start(&guest, PAGES);
	memcpy(guest.memory, &word, 8);
	slot.address = (uintptr_t)guest.memory;
	check(!call(guest.fd, GMM_DEVICE_SLOT_ADD, &slot));
	cache = cache_make(&guest, slot.gpa, 8, WRITE);
	word = 6;
	check(cache_write(&guest, cache, 0, &word, 8) == -EROFS);
	check(!cache_read(&guest, cache, 0, &word, 8) && word == 5);
	guest_end(&guest);
}

static void a_slot_change_hits_its_caches_only(void)
{
	struct gmm_device_slot slot = { .id = 1, .gpa = GPA + (1ull << 30), .size = PAGE };
	struct gmm_device_slot_id id = { .id = 1 };
	struct guest guest;
	uint64_t near, far, word;

	guest_start(&guest, PAGES);
	slot.address = (uintptr_t)map_memory(1);
	near = cache_make(&guest, GPA, 8, WRITE);
	check(!call(guest.fd, GMM_DEVICE_SLOT_ADD, &slot));
	far = cache_make(&guest, slot.gpa, 8, WRITE);
	check(is_valid(&guest, near) && is_valid(&guest, far));
	check(!call(guest.fd, GMM_DEVICE_SLOT_REMOVE, &id));
	check(is_valid(&guest, near) && !is_valid(&guest, far));
	check(cache_read(&guest, far, 0, &word, 8) == -EFAULT);
	check(!call(guest.fd, GMM_DEVICE_SLOT_ADD, &slot));
	check(!cache_read(&guest, far, 0, &word, 8));
	munmap((void *)(uintptr_t)slot.address, PAGE);
	guest_end(&guest);
}

/* What the kernel does */

/* A cache of page 1 is hit, one of page 9 is not. */
struct hit {
	struct guest guest;
	uint64_t hit;
	uint64_t other;
	struct gmm_device_counters before;
};

static char *hit_start(struct hit *hit, uint64_t word)
{
	guest_start(&hit->guest, PAGES);
	hit->hit = cache_make(&hit->guest, GPA + PAGE, 8, WRITE);
	hit->other = cache_make(&hit->guest, GPA + 9 * PAGE, 8, WRITE);
	check(!cache_write(&hit->guest, hit->hit, 0, &word, 8));
	check(is_valid(&hit->guest, hit->hit) && is_valid(&hit->guest, hit->other));
	hit->before = counters(&hit->guest);
	return hit->guest.memory + PAGE;
}

static void hit_came(struct hit *hit)
{
	struct gmm_device_counters now = counters(&hit->guest);

	check(!is_valid(&hit->guest, hit->hit));
	check(is_valid(&hit->guest, hit->other));
	check(now.begins > hit->before.begins && now.begins == now.ends);
	check(now.cache_invalidations == hit->before.cache_invalidations + 1);
}

static void madvise_dontneed(void)
{
	struct hit hit;
	char *page = hit_start(&hit, 11);
	uint64_t seen = 1;

	check(!madvise(page, PAGE, MADV_DONTNEED));
	hit_came(&hit);
	check(!cache_read(&hit.guest, hit.hit, 0, &seen, 8) && !seen);
	seen = 12;
	check(!cache_write(&hit.guest, hit.hit, 0, &seen, 8) && !memcmp(page, &seen, 8));
	guest_end(&hit.guest);
}

static void munmap_and_mmap(void)
{
	struct hit hit;
	char *page = hit_start(&hit, 13);
	uint64_t seen = 1;

	check(!munmap(page, PAGE));
	hit_came(&hit);
	check(cache_read(&hit.guest, hit.hit, 0, &seen, 8) == -EFAULT);
	check(!is_valid(&hit.guest, hit.hit));
	check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == page);
	memset(page, 9, PAGE);
	check(!cache_read(&hit.guest, hit.hit, 0, &seen, 8) && seen == 0x0909090909090909ull);
	guest_end(&hit.guest);
}

static void mremap_away_and_back(void)
{
	struct hit hit;
	char *page = hit_start(&hit, 14);
	char *elsewhere = map_memory(1);
	uint64_t seen = 1;

	check(mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == elsewhere);
	hit_came(&hit);
	check(cache_read(&hit.guest, hit.hit, 0, &seen, 8) == -EFAULT);
	memset(elsewhere, 3, PAGE);
	check(mremap(elsewhere, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == page);
	check(!cache_read(&hit.guest, hit.hit, 0, &seen, 8) && seen == 0x0303030303030303ull);
	guest_end(&hit.guest);
}

static void mprotect_takes_the_right_to_write(void)
{
	struct hit hit;
	char *page = hit_start(&hit, 15);
	uint64_t seen = 1, reader;

	check(!mprotect(page, PAGE, PROT_READ));
	hit_came(&hit);
	check(cache_write(&hit.guest, hit.hit, 0, &seen, 8) == -EFAULT);
	reader = cache_make(&hit.guest, GPA + PAGE, 8, 0);
	check(!cache_read(&hit.guest, reader, 0, &seen, 8) && seen == 15);
	check(!mprotect(page, PAGE, PROT_READ | PROT_WRITE));
	seen = 16;
	check(!cache_write(&hit.guest, hit.hit, 0, &seen, 8) && !memcmp(page, &seen, 8));
	check(!cache_read(&hit.guest, reader, 0, &seen, 8) && seen == 16);
	guest_end(&hit.guest);
}

static void fork_and_copy_on_write(void)
{
	struct hit hit;
	char *page = hit_start(&hit, 17);
	uint64_t seen = 18;
	int gate[2];

	check(!pipe(gate));
	if (!child_starts()) {
		char byte;

		/* The parent has written by now: the child has the page as it was. */
		refused_here(read(gate[0], &byte, 1) == 1);
		refused_here(*(uint64_t *)page == 17);
		_exit(0);
	}
	check(!is_valid(&hit.guest, hit.hit));
	check(!cache_write(&hit.guest, hit.hit, 0, &seen, 8));
	check(*(uint64_t *)page == 18);
	check(write(gate[1], "", 1) == 1);
	check(child_ends() == 0);
	*(uint64_t *)page = 19;
	check(!cache_read(&hit.guest, hit.hit, 0, &seen, 8) && seen == 19);
	close(gate[0]);
	close(gate[1]);
	guest_end(&hit.guest);
}

static void migration_between_nodes(void)
{
	struct hit hit;
	char *page = hit_start(&hit, 20);
	uint64_t seen = 1;
	int node = node_of(page), now;

	now = node < 0 ? node : move_to(page, !node);
	/* Anything else, such as EBUSY for a page with a reference too many, is a failure. */
	if (now == -ENODEV || now == -ENOSYS) {
		skip("pages cannot be moved between nodes here");
		guest_end(&hit.guest);
		return;
	}
	check(now == !node);
	hit_came(&hit);
	check(!cache_read(&hit.guest, hit.hit, 0, &seen, 8) && seen == 20);
	seen = 21;
	check(!cache_write(&hit.guest, hit.hit, 0, &seen, 8) && *(uint64_t *)page == 21);
	guest_end(&hit.guest);
}

/* What happens all at once */

struct storm {
	struct guest guest;
	uint64_t caches[PAGES];
	uint64_t area;
	atomic_int stop;
	atomic_uint lost;
};

/* Who stores to a frame that the page has left is not seen by its owner. */
static void *store_and_look(void *argument)
{
	struct storm *storm = argument;
	uint64_t round, page;

	for (round = 1; round <= ROUNDS; round++)
		for (page = 1; page < PAGES; page++) {
			volatile uint64_t *word =
				(volatile uint64_t *)(storm->guest.memory + page * PAGE);
			uint64_t value = round << 8 | page, seen = 0;

			if (cache_write(&storm->guest, storm->caches[page], 0, &value, 8) ||
			    *word != value)
				atomic_fetch_add(&storm->lost, 1);
			*word = ++value;
			if (cache_read(&storm->guest, storm->area, page * PAGE, &seen, 8) ||
			    seen != value)
				atomic_fetch_add(&storm->lost, 1);
		}
	atomic_store(&storm->stop, 1);
	return NULL;
}

/* Page 0 of the same area loses its contents again and again. */
static void *drop(void *argument)
{
	struct storm *storm = argument;
	uint64_t word;

	while (!atomic_load(&storm->stop)) {
		madvise(storm->guest.memory, PAGE, MADV_DONTNEED);
		if (cache_read(&storm->guest, storm->area, 0, &word, 8))
			atomic_fetch_add(&storm->lost, 1);
	}
	return NULL;
}

static void *migrate(void *argument)
{
	struct storm *storm = argument;
	uint64_t page;
	int node = 0;

	while (!atomic_load(&storm->stop)) {
		for (page = 1; page < PAGES; page++)
			move_to(storm->guest.memory + page * PAGE, node);
		node = !node;
	}
	return NULL;
}

static void *fork_often(void *argument)
{
	struct storm *storm = argument;

	while (!atomic_load(&storm->stop)) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	return NULL;
}

static void no_store_is_lost_while_pages_move(void)
{
	void *(*mains[])(void *) = { store_and_look, drop, migrate, fork_often };
	pthread_t threads[4];
	struct gmm_device_counters seen;
	struct storm storm = { .stop = 0 };
	uint64_t i;

	guest_start(&storm.guest, PAGES);
	for (i = 0; i < PAGES; i++)
		storm.caches[i] = cache_make(&storm.guest, GPA + i * PAGE, 8, WRITE);
	storm.area = cache_make(&storm.guest, GPA, PAGES * PAGE, WRITE);
	for (i = 0; i < 4; i++)
		check(!pthread_create(&threads[i], NULL, mains[i], &storm));
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	check(!atomic_load(&storm.lost));
	seen = counters(&storm.guest);
	printf("# %llu changes, %llu caches hit, %llu refreshes of which %llu were overtaken\n",
	       (unsigned long long)seen.begins, (unsigned long long)seen.cache_invalidations,
	       (unsigned long long)seen.cache_refreshes, (unsigned long long)seen.cache_retries);
	check(seen.begins == seen.ends && seen.cache_invalidations > PAGES);
	guest_end(&storm.guest);
}

/* How it ends */

static void a_process_ends_with_caches_live(void)
{
	struct guest guest;
	uint64_t i;

	if (!child_starts()) {
		guest_start(&guest, PAGES);
		for (i = 0; i < 100; i++)
			cache_make(&guest, GPA + (i % PAGES) * PAGE, 8, WRITE);
		cache_make(&guest, GPA, PAGES * PAGE, WRITE);
		_exit(0);
	}
	check(child_ends() == 0);
}

static void the_descriptor_outlives_the_memory(void)
{
	struct guest guest = { .fd = open_device() };
	uint64_t word, page;
	char *memory;

	if (!child_starts()) {
		guest_start_on(&guest, PAGES);
		for (page = 0; page < PAGES; page++)
			cache_make(&guest, GPA + page * PAGE, 8, WRITE);
		_exit(0);
	}
	check(child_ends() == 0);
	check(cache_read(&guest, 1, 0, &word, 8) == -EIO);
	memory = map_memory(1);
	munmap(memory, PAGE);
	close(guest.fd);
}

static void a_process_is_killed_while_it_stores(void)
{
	struct guest guest;
	uint64_t cache, word = 1;
	pid_t child;
	int gate[2], i;
	char byte;

	for (i = 0; i < 20; i++) {
		check(!pipe(gate));
		child = child_starts();
		if (!child) {
			guest_start(&guest, PAGES);
			cache = cache_make(&guest, GPA, PAGES * PAGE, WRITE);
			refused_here(write(gate[1], "", 1) == 1);
			for (;;) {
				madvise(guest.memory, PAGE, MADV_DONTNEED);
				cache_write(&guest, cache, 0, &word, 8);
			}
		}
		check(read(gate[0], &byte, 1) == 1);
		kill(child, SIGKILL);
		check(child_ends() == -SIGKILL);
		close(gate[0]);
		close(gate[1]);
	}
}

static uint64_t random_word(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Any call with any words in it is answered, and the guest still works. */
static void any_argument_is_answered(void)
{
	static const unsigned long sizes[] = { 0, 4, 8, 16, 24, 32, 80 };
	struct guest guest;
	uint64_t state = 0x9e3779b97f4a7c15ull, cache, word = 3, words[16], call_number;
	uint32_t i, j;

	guest_start(&guest, PAGES);
	cache = cache_make(&guest, GPA, 8, WRITE);
	for (i = 0; i < FUZZ_CALLS; i++) {
		for (j = 0; j < 16; j++)
			words[j] = random_word(&state) >> (random_word(&state) % 64);
		call_number = _IOC(random_word(&state) % 4, GMM_DEVICE_IOCTL,
				   0x10 + random_word(&state) % 12, sizes[random_word(&state) % 7]);
		/* Where it may write: buffers that a call is to fill are ours. */
		words[3] = (uintptr_t)&words[8];
		words[2] %= 64;
		ioctl(guest.fd, call_number, words);
	}
	check(counters(&guest).begins == counters(&guest).ends);
	if (!cache_read(&guest, cache, 0, &word, 8))
		check(*(uint64_t *)guest.memory == word);
	guest_end(&guest);
}

static const struct test_case cases[] = {
	CASE(calls_are_checked),
	CASE(caches_are_checked),
	CASE(caches_have_a_limit),
	CASE(other_processes_are_refused),
	CASE(the_module_stays_while_it_is_used),
	CASE(stores_are_seen_on_both_sides),
	CASE(host_addresses_need_no_slot),
	CASE(a_read_only_slot_refuses_stores),
	CASE(a_slot_change_hits_its_caches_only),
	CASE(madvise_dontneed),
	CASE(munmap_and_mmap),
	CASE(mremap_away_and_back),
	CASE(mprotect_takes_the_right_to_write),
	CASE(fork_and_copy_on_write),
	CASE(migration_between_nodes),
	CASE(no_store_is_lost_while_pages_move),
	CASE(a_process_ends_with_caches_live),
	CASE(the_descriptor_outlives_the_memory),
	CASE(a_process_is_killed_while_it_stores),
	CASE(any_argument_is_answered),
};

int main(void)
{
	return run_cases("device", cases, sizeof(cases) / sizeof(cases[0]));
}
