/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The matrix of docs/MEMORY.md, cell by cell, on this machine: what a kind of memory can do is done
 * and verified; what it cannot is asked for and refused as documented. Each case finds out by itself
 * whether it can, and only then is compared with the table.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/slot.h>

#include "accel/linux_uapi.h"
#include "guest/abi.h"
#include "huge_pages.h"
#include "kind_guest.h"

#define PAGES KIND_PAGES
#define PAGE KIND_PAGE
#define BYTES ((uint64_t)PAGES * PAGE)

static const char *no_huge_pages;

/* guest_memfd exists with KVM only; elsewhere the process is the simpler one. */
static const struct gmm_accel_ops *home_of(enum gmm_memory_kind kind)
{
	return kind == GMM_MEMORY_KIND_GUEST_MEMFD ? &gmm_accel_kvm : &gmm_accel_process;
}

static void open_at_home(struct kind_guest *guest, enum gmm_memory_kind kind)
{
	*guest = (struct kind_guest){ .kind = kind, .ops = home_of(kind) };
	if (kind_guest_open(guest))
		fail_msg("%s", guest->text);
}

static bool is_host_only(const struct kind_guest *guest)
{
	return gmm_memory_ops_of(guest->memory)->flags & GMM_MEMORY_HOST_ONLY;
}

static struct gmm_memory_counters counters_of(const struct kind_guest *guest)
{
	struct gmm_memory_counters counters;

	gmm_memory_read_counters(guest->memory, &counters);
	return counters;
}

/* A vCPU's reading of a page, where it has one; else a device's. */
static void touch(struct kind_guest *guest, uint64_t page)
{
	const char *vcpu = gmm_memory_vcpu_address(guest->memory);
	char contents[PAGE];

	if (is_host_only(guest))
		kind_guest_load(guest, page, contents);
	else
		(void)*(const volatile char *)(vcpu + page * PAGE);
}

/* The kernel's own word: these files cannot be registered for faults of absent pages. */
static void assert_userfaultfd_refuses(struct kind_guest *guest)
{
	struct gmm_userfault *userfault = NULL;
	void *mapping = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			     gmm_memory_fd(guest->memory), 0);

	assert_true(mapping != MAP_FAILED);
	if (gmm_userfault_open(GMM_USERFAULT_SHARED, 0, &userfault, guest->text)) {
		print_message("%s\n", guest->text);
	} else {
		assert_int_equal(gmm_userfault_register(userfault, (uintptr_t)mapping, PAGE,
							GMM_USERFAULT_MISSING),
				 -GMM_EINVAL);
		assert_int_equal(gmm_userfault_register(userfault, (uintptr_t)mapping, PAGE,
							GMM_USERFAULT_MINOR),
				 -GMM_EINVAL);
		gmm_userfault_close(userfault);
	}
	munmap(mapping, PAGE);
}

static bool can_lazy(enum gmm_memory_kind kind)
{
	struct kind_guest guest;
	uint64_t before;
	bool lazy;

	open_at_home(&guest, kind);
	before = counters_of(&guest).resident_pages;
	lazy = before == 0;
	touch(&guest, 7);
	if (lazy) {
		assert_int_equal(counters_of(&guest).resident_pages, 1);
	} else {
		assert_int_equal(before, PAGES);
		assert_false(gmm_memory_ops_of(guest.memory)->flags & GMM_MEMORY_LAZY);
		assert_int_equal(gmm_fault_populate(guest.guest, 0, PAGES, GMM_ACCESS_READ, 0), 0);
		assert_int_equal(counters_of(&guest).filled_bytes % BYTES, 0);
	}
	if (kind == GMM_MEMORY_KIND_SECRET || kind == GMM_MEMORY_KIND_GUEST_MEMFD)
		assert_userfaultfd_refuses(&guest);
	kind_guest_verify(&guest);
	kind_guest_close(&guest);
	return lazy;
}

static void assert_filled_with(struct kind_guest *guest, uint64_t page, int value)
{
	char wanted[PAGE], found[PAGE];

	memset(wanted, value, PAGE);
	kind_guest_load(guest, page, found);
	assert_memory_equal(found, wanted, PAGE);
}

static bool can_evict(enum gmm_memory_kind kind)
{
	struct gmm_page_info info;
	struct kind_guest guest;
	int64_t evicted, all = 0;

	open_at_home(&guest, kind);
	kind_guest_store(&guest, 3, 0x33);
	kind_guest_store(&guest, 400, 0x44);
	/* The page written last may be in the hands of who served it, for a moment. */
	do {
		evicted = gmm_evict(guest.guest, 0, PAGES, 0);
		all += evicted;
	} while (evicted >= 0 && counters_of(&guest).resident_pages);
	if (evicted >= 0) {
		assert_int_equal(all, 2);
		assert_int_equal(gmm_page_query(guest.guest, 3, &info), 0);
		assert_int_equal(info.state, GMM_PAGE_EVICTED);
	} else {
		assert_int_equal(evicted, -GMM_EOPNOTSUPP);
		assert_int_equal(gmm_discard(guest.guest, 0, PAGES), -GMM_EOPNOTSUPP);
		assert_int_equal(gmm_resident_trim(guest.guest, 0), 0);
		assert_int_equal(counters_of(&guest).resident_pages, PAGES);
	}
	assert_filled_with(&guest, 3, 0x33);
	assert_filled_with(&guest, 400, 0x44);
	kind_guest_close(&guest);
	return evicted >= 0;
}

static bool can_age(enum gmm_memory_kind kind)
{
	struct kind_guest guest;
	uint64_t bitmap[PAGES / 64] = { 0 };
	uint64_t page;
	int64_t young;

	open_at_home(&guest, kind);
	for (page = 10; page < 20; page++)
		touch(&guest, page);
	/* The page touched last may be in the hands of who served it, for a moment. */
	while (gmm_age(guest.guest, 0, PAGES, 0, NULL))
		;
	for (page = 12; page < 17; page++)
		touch(&guest, page);
	young = gmm_age(guest.guest, 0, PAGES, 0, bitmap);
	if (young) {
		assert_int_equal(young, 5);
		assert_int_equal(bitmap[0], 0x1full << 12);
	}
	kind_guest_verify(&guest);
	kind_guest_close(&guest);
	return young;
}

/* The slot is there for devices; a vCPU's access to it is one to no slot. */
static void assert_out_of_reach(struct kind_guest *guest)
{
	int status = -1;
	pid_t child;

	kind_guest_store(guest, 1, 0x11);
	assert_filled_with(guest, 1, 0x11);
	if (guest->ops == &gmm_accel_kvm) {
		assert_false(kind_guest_run(guest, 1));
		assert_int_equal(guest->exit.kind, GMM_ACCEL_EXIT_MMIO);
		assert_true(guest->exit.mmio.gpa < BYTES);
		return;
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		kind_guest_run(guest, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* If KVM is given memory without a direct map all the same, it cannot run on it. */
static void assert_kvm_cannot_take(struct kind_guest *guest)
{
	struct gmm_slot_info none = { .id = 30 }, slot = { .id = 30, .count = PAGES };
	void *mapping = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			     gmm_memory_fd(guest->memory), 0);

	assert_true(mapping != MAP_FAILED);
	slot.hva = (uintptr_t)mapping;
	assert_int_equal(guest->stage2.ops->slot_change(guest->stage2.owner, &none, &slot), 0);
	assert_false(kind_guest_run(guest, 1));
	assert_int_equal(guest->exit.kind, GMM_ACCEL_EXIT_MEMORY);
	assert_non_null(strstr(guest->exit.text, strerror(EFAULT)));
	assert_int_equal(guest->stage2.ops->slot_change(guest->stage2.owner, &slot, &none), 0);
	munmap(mapping, BYTES);
}

/* Memory of a virtual machine as a slot of something else. */
static void assert_only_of_its_vm(void)
{
	struct kind_guest owner = { .kind = GMM_MEMORY_KIND_GUEST_MEMFD, .ops = &gmm_accel_kvm };
	struct kind_guest other = { .kind = GMM_MEMORY_KIND_PLAIN, .ops = &gmm_accel_process };
	struct gmm_slot_config slot = { .id = 20, .count = PAGES };

	assert_int_equal(kind_guest_open(&owner), 0);
	assert_int_equal(kind_guest_open(&other), 0);
	assert_int_equal(gmm_slot_remove(other.guest, KIND_SLOT), 0);
	other.has_slot = false;
	slot.hva = (uintptr_t)gmm_memory_vcpu_address(owner.memory);
	slot.memory = owner.memory;
	slot.memory_ops = gmm_memory_ops_of(owner.memory);
	assert_int_equal(gmm_slot_add(other.guest, &slot), -GMM_EOPNOTSUPP);
	kind_guest_close(&other);
	kind_guest_close(&owner);
}

static bool can_be_ram(enum gmm_memory_kind kind, const struct gmm_accel_ops *ops)
{
	struct kind_guest guest = { .kind = kind, .ops = ops };
	struct guest_statistics statistics = { 0 };
	int error = kind_guest_open(&guest);
	int turns = 0;

	if (error) {
		assert_int_equal(error, -GMM_EOPNOTSUPP);
		assert_int_equal(kind, GMM_MEMORY_KIND_GUEST_MEMFD);
		kind_guest_close(&guest);
		assert_only_of_its_vm();
		return false;
	}
	if (is_host_only(&guest)) {
		if (kind == GMM_MEMORY_KIND_SECRET && ops == &gmm_accel_kvm)
			assert_kvm_cannot_take(&guest);
		else
			assert_out_of_reach(&guest);
		kind_guest_close(&guest);
		return false;
	}
	while (statistics.takes < PAGES - PAGES / 8 && ++turns < 1000) {
		if (!kind_guest_run(&guest, PAGES))
			fail_msg("exit %d: %s", guest.exit.kind, guest.exit.text);
		gmm_program_statistics(&guest.program, 0, &statistics);
	}
	assert_int_equal(statistics.first_touches, PAGES);
	assert_int_equal(statistics.losses, 0);
	kind_guest_verify(&guest);
	kind_guest_close(&guest);
	return true;
}

/* Brings the copy up to date by the log; returns how many pages that took. */
static int64_t harvest(struct kind_guest *guest, char *copy)
{
	uint64_t bitmap[PAGES / 64];
	int64_t taken;
	uint64_t page;

	/* Anything may be in it before. */
	memset(bitmap, 0xa5, sizeof(bitmap));
	taken = gmm_dirty_harvest(guest->guest, KIND_SLOT, 0, PAGES, bitmap);
	assert_true(taken >= 0);
	for (page = 0; page < PAGES; page++)
		if (bitmap[page / 64] >> page % 64 & 1)
			kind_guest_read(guest, page, copy + page * PAGE);
	return taken;
}

/* Writes by whom the kind is for, with harvests in between. */
static void write_and_harvest(struct kind_guest *guest, char *copy)
{
	int64_t taken = 0, now;
	int turn;

	for (turn = 0; turn < 20; turn++) {
		if (!is_host_only(guest))
			assert_true(kind_guest_run(guest, PAGES / 2));
		else if (turn % 3 == 0)
			kind_guest_store(guest, 8u * (unsigned int)turn, turn);
		now = harvest(guest, copy);
		if (is_host_only(guest))
			assert_int_equal(now, turn % 3 == 0);
		taken += now;
	}
	assert_true(taken > 5);
}

static bool can_log(enum gmm_memory_kind kind, const struct gmm_accel_ops *ops)
{
	struct kind_guest guest = { .kind = kind, .ops = ops, .slot_flags = GMM_SLOT_LOG_DIRTY };
	char *copy = malloc(BYTES), found[PAGE];
	int error = kind_guest_open(&guest);
	uint64_t page;

	assert_non_null(copy);
	for (page = 0; page < PAGES; page++)
		kind_guest_original(&guest, page, copy + page * PAGE);
	if (!error)
		write_and_harvest(&guest, copy);
	for (page = 0; page < PAGES && !error; page++) {
		kind_guest_read(&guest, page, found);
		assert_memory_equal(found, copy + page * PAGE, PAGE);
	}
	kind_guest_close(&guest);
	free(copy);
	if (error)
		assert_int_equal(error, -GMM_EOPNOTSUPP);
	return !error;
}

/* The kernel's own word for guest_memfd: no log, and nothing read-only. */
static void kvm_has_no_log_of_guest_memfd(void **state)
{
	struct kind_guest guest = { .kind = GMM_MEMORY_KIND_GUEST_MEMFD, .ops = &gmm_accel_kvm };
	struct kvm_userspace_memory_region2 region = { .memory_size = BYTES };
	struct kvm_create_guest_memfd create = {
		.size = BYTES,
		.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	int kvm, vm, file;

	assert_int_equal(kind_guest_open(&guest), 0);
	kind_guest_close(&guest);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = TEMP_FAILURE_RETRY(ioctl(kvm, KVM_CREATE_VM, 0));
	file = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create);
	assert_true(file >= 0);
	region.guest_memfd = (uint32_t)file;
	region.flags = KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES;
	assert_int_equal(ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region), -1);
	region.flags = KVM_MEM_GUEST_MEMFD | KVM_MEM_READONLY;
	assert_int_equal(ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region), -1);
	region.flags = KVM_MEM_GUEST_MEMFD;
	assert_int_equal(ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region), 0);
	close(file);
	close(vm);
	close(kvm);
}

/* Changes of such a slot are delete and add for KVM; what the engine asks for stays as it was. */
static void slots_of_guest_memfd_change(void **state)
{
	struct kind_guest guest = { .kind = GMM_MEMORY_KIND_GUEST_MEMFD, .ops = &gmm_accel_kvm };
	int turn;

	assert_int_equal(kind_guest_open(&guest), 0);
	for (turn = 0; turn < 3; turn++) {
		assert_true(kind_guest_run(&guest, PAGES));
		assert_int_equal(gmm_slot_resize(guest.guest, KIND_SLOT, PAGES / 2), 0);
		assert_int_equal(gmm_slot_resize(guest.guest, KIND_SLOT, PAGES), 0);
		assert_int_equal(gmm_slot_set_flags(guest.guest, KIND_SLOT, GMM_SLOT_LOG_DIRTY),
				 -GMM_EOPNOTSUPP);
		assert_int_equal(gmm_slot_set_flags(guest.guest, KIND_SLOT, GMM_SLOT_READ_ONLY),
				 -GMM_EOPNOTSUPP);
	}
	assert_true(kind_guest_run(&guest, PAGES));
	kind_guest_verify(&guest);
	kind_guest_close(&guest);
}

static bool can_cache(enum gmm_memory_kind kind)
{
	struct kind_guest guest;
	char original[PAGE], found[PAGE];
	uint64_t page;

	open_at_home(&guest, kind);
	for (page = 0; page < PAGES; page += 50)
		kind_guest_store(&guest, page, (int)page);
	for (page = 0; page < PAGES; page += 25) {
		kind_guest_original(&guest, page, original);
		if (page % 50 == 0)
			memset(original, (int)page, PAGE);
		kind_guest_load(&guest, page, found);
		assert_memory_equal(found, original, PAGE);
	}
	assert_int_equal(counters_of(&guest).mappings, 0);
	kind_guest_close(&guest);
	return true;
}

static bool can_be_mapped(enum gmm_memory_kind kind, enum gmm_memory_mapping mapping)
{
	struct kind_guest guest = { .kind = kind, .ops = home_of(kind), .mapping = mapping };
	int error = kind_guest_open(&guest);
	char original[PAGE], found[PAGE];
	bool linear;

	if (error) {
		assert_int_equal(error, -GMM_EINVAL);
		kind_guest_close(&guest);
		return false;
	}
	linear = mapping == GMM_MEMORY_MAPPING_LINEAR;
	kind_guest_original(&guest, 9, original);
	kind_guest_load(&guest, 9, found);
	assert_memory_equal(found, original, PAGE);
	assert_int_equal(counters_of(&guest).mapped_bytes, linear ? BYTES : 0);
	assert_int_equal(counters_of(&guest).map_calls != 0, !linear);
	assert_int_equal(gmm_memory_engine_address(guest.memory) != NULL, linear);
	kind_guest_close(&guest);
	return true;
}

static const struct {
	uint32_t ability;
	const char *name;
} columns[GMM_MEMORY_ABILITIES] = {
	{ GMM_MEMORY_CAN_LAZY, "lazy" },
	{ GMM_MEMORY_CAN_EVICT, "evict" },
	{ GMM_MEMORY_CAN_AGE, "age" },
	{ GMM_MEMORY_CAN_RAM_KVM, "RAM (kvm)" },
	{ GMM_MEMORY_CAN_RAM_PROCESS, "RAM (process)" },
	{ GMM_MEMORY_CAN_LOG_KVM, "log (kvm)" },
	{ GMM_MEMORY_CAN_LOG_PROCESS, "log (process)" },
	{ GMM_MEMORY_CAN_CACHE, "caches" },
	{ GMM_MEMORY_CAN_IN_USE, "in use" },
	{ GMM_MEMORY_CAN_LINEAR, "linear" },
};

struct cell {
	enum gmm_memory_kind kind;
	uint32_t ability;
};

static bool try_cell(const struct cell *cell)
{
	switch (cell->ability) {
	case GMM_MEMORY_CAN_LAZY:
		return can_lazy(cell->kind);
	case GMM_MEMORY_CAN_EVICT:
		return can_evict(cell->kind);
	case GMM_MEMORY_CAN_AGE:
		return can_age(cell->kind);
	case GMM_MEMORY_CAN_RAM_KVM:
		return can_be_ram(cell->kind, &gmm_accel_kvm);
	case GMM_MEMORY_CAN_RAM_PROCESS:
		return can_be_ram(cell->kind, &gmm_accel_process);
	case GMM_MEMORY_CAN_LOG_KVM:
		return can_log(cell->kind, &gmm_accel_kvm);
	case GMM_MEMORY_CAN_LOG_PROCESS:
		return can_log(cell->kind, &gmm_accel_process);
	case GMM_MEMORY_CAN_CACHE:
		return can_cache(cell->kind);
	case GMM_MEMORY_CAN_IN_USE:
		return can_be_mapped(cell->kind, GMM_MEMORY_MAPPING_IN_USE);
	default:
		return can_be_mapped(cell->kind, GMM_MEMORY_MAPPING_LINEAR);
	}
}

static void table_is_right(void **state)
{
	const struct cell *cell = *state;
	bool says = gmm_memory_abilities(cell->kind) & cell->ability;

	if (cell->kind == GMM_MEMORY_KIND_HUGETLB && no_huge_pages) {
		print_message("%s\n", no_huge_pages);
		skip();
	}
	if (try_cell(cell) != says)
		fail_msg("the table says %s", says ? "yes" : "no");
}

#define CELLS (GMM_MEMORY_KINDS * GMM_MEMORY_ABILITIES)

int main(void)
{
	static struct CMUnitTest tests[CELLS + 2];
	static struct cell cells[CELLS];
	static char names[CELLS][64];
	uint32_t i;

	no_huge_pages = huge_pages_reserve();
	for (i = 0; i < CELLS; i++) {
		uint32_t column = i % GMM_MEMORY_ABILITIES;

		cells[i].kind = (enum gmm_memory_kind)(i / GMM_MEMORY_ABILITIES);
		cells[i].ability = columns[column].ability;
		snprintf(names[i], sizeof(names[i]), "%s: %s: %s",
			 gmm_memory_kind_name(cells[i].kind), columns[column].name,
			 gmm_memory_abilities(cells[i].kind) & cells[i].ability ? "yes" : "no");
		tests[i] = (struct CMUnitTest){ .name = names[i],
						.test_func = table_is_right,
						.initial_state = &cells[i] };
	}
	tests[CELLS] = (struct CMUnitTest)cmocka_unit_test(kvm_has_no_log_of_guest_memfd);
	tests[CELLS + 1] = (struct CMUnitTest)cmocka_unit_test(slots_of_guest_memfd_change);
	return _cmocka_run_group_tests("matrix of memory", tests, CELLS + 2, NULL, NULL);
}
