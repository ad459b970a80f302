/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* accel/kvm: the guest program, kicks, dirty logs and slots, over plain memory. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/slot.h>

#include "accel/linux_uapi.h"

#include "plain_guest.h"
#include "program_cases.h"

#define PAGE GUEST_PAGE_BYTES
#define PAGES 200u

#define CASE(name)                            \
	static void test_##name(void **state) \
	{                                     \
		case_##name(&gmm_accel_kvm);  \
	}

PROGRAM_CASES(CASE)

static void setup(struct plain_guest *guest, enum gmm_accel_dirty dirty, uint64_t pages)
{
	plain_skip_unless_usable(&gmm_accel_kvm);
	plain_setup(guest, &(struct plain_config){ .ops = &gmm_accel_kvm,
						   .vcpus = 1,
						   .pages = pages,
						   .dirty = dirty,
						   .snapshot_flags = GMM_SLOT_LOG_DIRTY,
						   .snapshot_gpa = 3ull << 30,
						   .ring_entries = 1024 });
}

static struct gmm_accel_vcpu *start_vcpu(struct plain_guest *guest)
{
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_accel_vcpu_start start;
	struct gmm_accel_vcpu *vcpu = NULL;

	gmm_program_vcpu_start(&guest->program, 0, &start);
	if (gmm_accel_kvm.vcpu_create(guest->accel, &start, &vcpu, text))
		fail_msg("%s", text);
	return vcpu;
}

static void run_until(struct gmm_accel_vcpu *vcpu, uint32_t code)
{
	struct gmm_accel_exit exit;

	gmm_accel_kvm.vcpu_run(vcpu, &exit);
	if (exit.kind != GMM_ACCEL_EXIT_GUEST || exit.code != code)
		fail_msg("exit %d code %u: %s", exit.kind, exit.code, exit.text);
}

/* So many steps on this thread, nobody else looking. */
static void pass_steps(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu, uint64_t steps)
{
	struct guest_mailbox *mailbox = &guest->program.vcpus[0].mailbox;

	mailbox->pause_at_step = mailbox->statistics.steps + steps;
	run_until(vcpu, GUEST_EXIT_PAUSED);
}

static void collect(struct plain_guest *guest, uint64_t first, uint64_t count, uint64_t *words)
{
	struct gmm_span span = {
		.slot = PLAIN_SNAPSHOT_SLOT,
		.page = first,
		.gfn = guest->snapshot_slot.gfn + first,
		.hva = guest->snapshot_slot.hva + first * PAGE,
		.count = count,
	};

	assert_int_equal(guest->stage2.ops->collect_dirty(guest->stage2.owner, &span, words), 0);
}

/* The log must be exactly the pages that differ from the copy, which then is brought up to date. */
static uint64_t check_log(struct plain_guest *guest, uint8_t *copy)
{
	uint64_t words[(PAGES + 63) / 64 + 1] = { 0 };
	uint64_t page, changed, number = 0;

	/* In two spans: the second one is not whole words long. */
	collect(guest, 0, 128, words);
	assert_int_equal(words[2] | words[3], 0);
	collect(guest, 128, PAGES - 128, words + 2);
	assert_int_equal(words[4], 0);
	for (page = 0; page < PAGES; page++) {
		changed = memcmp(copy + page * PAGE, guest->snapshot + page * PAGE, PAGE) != 0;
		if ((words[page / 64] >> page % 64 & 1) != changed)
			fail_msg("page %u: in the log %u, written %u", (unsigned int)page,
				 (unsigned int)(words[page / 64] >> page % 64 & 1),
				 (unsigned int)changed);
		number += changed;
	}
	assert_int_equal(words[3] >> (PAGES - 192), 0);
	memcpy(copy, guest->snapshot, PAGES * PAGE);
	return number;
}

/*
 * Lets the guest read every page. KVM maps a page writable at a read already when the host's
 * mapping is writable, and logs it then; from here on only writes are logged.
 */
static void read_all(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu)
{
	struct guest_mailbox *mailbox = &guest->program.vcpus[0].mailbox;
	uint64_t words[(PAGES + 63) / 64] = { 0 };
	uint64_t page;

	mailbox->weight_sequential = 1;
	mailbox->weight_random = 0;
	pass_steps(guest, vcpu, PAGES);
	mailbox->weight_sequential = 0;
	mailbox->weight_random = 1;
	collect(guest, 0, PAGES, words);
	for (page = 0; page < PAGES; page++)
		assert_true(words[page / 64] >> page % 64 & 1);
}

static void log_is_what_was_written(enum gmm_accel_dirty dirty)
{
	struct guest_mailbox *mailbox;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	uint64_t last;
	uint8_t *copy;
	int i;

	setup(&guest, dirty, PAGES);
	mailbox = &guest.program.vcpus[0].mailbox;
	mailbox->weight_sequential = 0;
	mailbox->weight_hot = 0;
	mailbox->accesses_per_step = 1;
	mailbox->write_percent = 30;
	copy = malloc(PAGES * PAGE);
	assert_non_null(copy);
	memcpy(copy, guest.snapshot, PAGES * PAGE);
	vcpu = start_vcpu(&guest);
	read_all(&guest, vcpu);
	assert_int_equal(plain_answer_reports(&guest, 0, GUEST_PAGE_MAY_TAKE), PAGES);
	for (i = 0; i < 20; i++) {
		pass_steps(&guest, vcpu, 60);
		last = check_log(&guest, copy);
		assert_true(last > 0 && last < 60);
	}
	/* Nothing was written since; reading is not logged. */
	assert_int_equal(check_log(&guest, copy), 0);
	mailbox->write_percent = 0;
	pass_steps(&guest, vcpu, 500);
	assert_int_equal(check_log(&guest, copy), 0);
	mailbox->write_percent = 30;
	/* A log that ends and starts again is empty; it goes on. */
	guest.snapshot_slot.flags = 0;
	assert_int_equal(plain_slot(&guest,
				    &(struct gmm_slot_info){ .id = PLAIN_SNAPSHOT_SLOT,
							     .flags = GMM_SLOT_LOG_DIRTY,
							     .gfn = guest.snapshot_slot.gfn,
							     .count = PAGES,
							     .hva = guest.snapshot_slot.hva },
				    &guest.snapshot_slot),
			 0);
	pass_steps(&guest, vcpu, 60);
	memcpy(copy, guest.snapshot, PAGES * PAGE);
	{
		struct gmm_slot_info before = guest.snapshot_slot;

		guest.snapshot_slot.flags = GMM_SLOT_LOG_DIRTY;
		assert_int_equal(plain_slot(&guest, &before, &guest.snapshot_slot), 0);
	}
	assert_int_equal(check_log(&guest, copy), 0);
	pass_steps(&guest, vcpu, 60);
	assert_true(check_log(&guest, copy) > 0);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_assert_no_loss(&guest);
	plain_verify_all(&guest);
	plain_teardown(&guest);
	free(copy);
}

/* A slot that changes its size keeps what was written before, though KVM's log goes away. */
static void test_dirty_log_outlives_a_change(void **state)
{
	struct guest_mailbox *mailbox;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	struct gmm_slot_info shorter;
	uint8_t *copy;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, PAGES);
	mailbox = &guest.program.vcpus[0].mailbox;
	mailbox->weight_hot = 0;
	mailbox->accesses_per_step = 1;
	mailbox->write_percent = 100;
	copy = malloc(PAGES * PAGE);
	assert_non_null(copy);
	memcpy(copy, guest.snapshot, PAGES * PAGE);
	vcpu = start_vcpu(&guest);
	read_all(&guest, vcpu);
	plain_answer_reports(&guest, 0, GUEST_PAGE_MAY_TAKE);
	pass_steps(&guest, vcpu, 60);
	shorter = guest.snapshot_slot;
	shorter.count--;
	assert_int_equal(plain_slot(&guest, &guest.snapshot_slot, &shorter), 0);
	assert_int_equal(plain_slot(&guest, &shorter, &guest.snapshot_slot), 0);
	/* The page that left took its bit along. */
	memcpy(copy + (PAGES - 1) * PAGE, guest.snapshot + (PAGES - 1) * PAGE, PAGE);
	assert_in_range(check_log(&guest, copy), 20, 60);
	assert_int_equal(check_log(&guest, copy), 0);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_assert_no_loss(&guest);
	plain_teardown(&guest);
	free(copy);
}

static void test_dirty_log(void **state)
{
	log_is_what_was_written(GMM_ACCEL_DIRTY_BITMAP);
}

static void test_dirty_ring(void **state)
{
	log_is_what_was_written(GMM_ACCEL_DIRTY_RING);
}

/*
 * More pages than the ring has entries: the vCPU's own thread empties it, and nothing is missing.
 */
static void test_dirty_ring_full(void **state)
{
	const uint64_t pages = 3000;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	uint64_t words[3000 / 64 + 1] = { 0 };
	uint64_t number = 0, page;

	setup(&guest, GMM_ACCEL_DIRTY_RING, pages);
	guest.program.vcpus[0].mailbox.weight_random = 0;
	guest.program.vcpus[0].mailbox.weight_hot = 0;
	guest.program.vcpus[0].mailbox.accesses_per_step = 1;
	guest.program.vcpus[0].mailbox.write_percent = 100;
	vcpu = start_vcpu(&guest);
	pass_steps(&guest, vcpu, pages);
	assert_int_equal(plain_answer_reports(&guest, 0, GUEST_PAGE_MAY_TAKE), pages);
	pass_steps(&guest, vcpu, pages);
	collect(&guest, 0, pages, words);
	for (page = 0; page < pages; page++)
		number += words[page / 64] >> page % 64 & 1;
	assert_int_equal(number, pages);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_verify_all(&guest);
	plain_teardown(&guest);
}

/* What was written before a vCPU went away is still known. */
static void test_dirty_ring_outlives_its_vcpu(void **state)
{
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	uint8_t *copy;

	setup(&guest, GMM_ACCEL_DIRTY_RING, PAGES);
	copy = malloc(PAGES * PAGE);
	assert_non_null(copy);
	memcpy(copy, guest.snapshot, PAGES * PAGE);
	guest.program.vcpus[0].mailbox.weight_hot = 0;
	guest.program.vcpus[0].mailbox.write_percent = 100;
	guest.program.vcpus[0].mailbox.accesses_per_step = 1;
	vcpu = start_vcpu(&guest);
	read_all(&guest, vcpu);
	plain_answer_reports(&guest, 0, GUEST_PAGE_MAY_TAKE);
	pass_steps(&guest, vcpu, 100);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	assert_true(check_log(&guest, copy) > 10);
	plain_teardown(&guest);
	free(copy);
}

/*
 * A vCPU that leaves guest mode between the moments it reads the frame number and uses the frame
 * starts that use again when it gets another number. It is held there by a frame page that is not
 * there.
 */
static void test_frame_moves_in_the_middle_of_a_use(void **state)
{
	const uint32_t words = PAGE / 8;
	const uint64_t junk = 0x6a756e6b;
	struct gmm_accel_vcpu *vcpu;
	struct gmm_accel_exit exit;
	struct plain_guest guest;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, 16);
	vcpu = start_vcpu(&guest);
	assert_int_equal(gmm_accel_kvm.vcpu_set_frame(vcpu, 0), 0);
	pass_steps(&guest, vcpu, 10);
	assert_int_equal(guest.frames[0], 10);
	assert_int_equal(plain_slot(&guest, &guest.frame_slot, NULL), 0);
	gmm_accel_kvm.vcpu_run(vcpu, &exit);
	assert_int_equal(exit.kind, GMM_ACCEL_EXIT_MMIO);
	assert_int_equal(exit.mmio.gpa, guest.frame_slot.gfn * PAGE);
	assert_int_equal(exit.mmio.length, 8);
	memcpy(exit.mmio.data, &junk, sizeof(junk));
	assert_int_equal(plain_slot(&guest, NULL, &guest.frame_slot), 0);
	guest.frames[words] = 10;
	guest.frames[0] = junk;
	assert_int_equal(gmm_accel_kvm.vcpu_set_frame(vcpu, 1), 0);
	pass_steps(&guest, vcpu, 10);
	assert_int_equal(guest.frames[0], junk);
	assert_int_equal(guest.frames[words], 20);
	plain_assert_no_loss(&guest);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

/* The descriptor of the only vCPU of this process. */
static int vcpu_descriptor(void)
{
	DIR *descriptors = opendir("/proc/self/fd");
	struct dirent *entry;
	char target[64];
	int found = -1;

	assert_non_null(descriptors);
	while ((entry = readdir(descriptors))) {
		ssize_t length =
			readlinkat(dirfd(descriptors), entry->d_name, target, sizeof(target) - 1);

		target[length > 0 ? length : 0] = '\0';
		if (strstr(target, "kvm-vcpu:0"))
			found = atoi(entry->d_name);
	}
	closedir(descriptors);
	assert_true(found >= 0);
	return found;
}

/* A number that KVM keeps of the vCPU; -1: not this one. */
static int64_t vcpu_counter(const char *name)
{
	int statistics = ioctl(vcpu_descriptor(), KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header header;
	uint64_t value = 0;
	int64_t found = -1;
	uint32_t i;

	if (statistics < 0)
		return -1;
	assert_int_equal(pread(statistics, &header, sizeof(header), 0), sizeof(header));
	for (i = 0; i < header.num_desc; i++) {
		size_t size = sizeof(struct kvm_stats_desc) + header.name_size;
		struct kvm_stats_desc *description = malloc(size);

		assert_non_null(description);
		assert_int_equal(pread(statistics, description, size,
				       (off_t)(header.desc_offset + i * size)),
				 size);
		if (!strcmp(description->name, name)) {
			assert_int_equal(pread(statistics, &value, sizeof(value),
					       (off_t)(header.data_offset + description->offset)),
					 sizeof(value));
			found = (int64_t)value;
		}
		free(description);
	}
	close(statistics);
	return found;
}

/* Steps over all pages, and how many page faults KVM took in them. */
static int64_t faults_of_all_pages(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu)
{
	int64_t before = vcpu_counter("pf_taken");

	pass_steps(guest, vcpu, PAGES);
	return vcpu_counter("pf_taken") - before;
}

/* Removing a slot leaves what the vCPU has of the others, where KVM lets its quirk be disabled. */
static void test_a_slot_that_goes_takes_no_other_mapping_along(void **state)
{
	struct gmm_slot_info other;
	struct guest_mailbox *mailbox;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int quirks = kvm < 0 ? -1 : ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);
	void *memory;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, PAGES);
	close(kvm);
	mailbox = &guest.program.vcpus[0].mailbox;
	mailbox->weight_hot = 0;
	mailbox->weight_random = 0;
	mailbox->weight_sequential = 1;
	mailbox->accesses_per_step = 1;
	mailbox->write_percent = 0;
	vcpu = start_vcpu(&guest);
	assert_true(faults_of_all_pages(&guest, vcpu) >= PAGES || vcpu_counter("pf_taken") < 0);
	plain_answer_reports(&guest, 0, GUEST_PAGE_KEEP);
	faults_of_all_pages(&guest, vcpu);
	assert_int_equal(faults_of_all_pages(&guest, vcpu), 0);
	memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	other = (struct gmm_slot_info){ .id = 9, .gfn = 16, .count = 1, .hva = (uintptr_t)memory };
	assert_int_equal(plain_slot(&guest, NULL, &other), 0);
	assert_int_equal(faults_of_all_pages(&guest, vcpu), 0);
	assert_int_equal(plain_slot(&guest, &other, NULL), 0);
	if (quirks > 0 && quirks & KVM_X86_QUIRK_SLOT_ZAP_ALL && vcpu_counter("pf_taken") >= 0)
		assert_int_equal(faults_of_all_pages(&guest, vcpu), 0);
	else
		print_message("KVM here cannot disable the quirk, or does not count faults\n");
	gmm_accel_kvm.vcpu_destroy(vcpu);
	munmap(memory, PAGE);
	plain_assert_no_loss(&guest);
	plain_teardown(&guest);
}

/* A vCPU touching a GPA without a slot exits; then the slot comes (back) and it runs on. */
static void test_slots_come_and_go(void **state)
{
	struct gmm_slot_info away, overlap;
	struct gmm_accel_vcpu *vcpu;
	struct gmm_accel_exit exit;
	struct plain_guest guest;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, 16);
	guest.program.vcpus[0].mailbox.write_percent = 0;
	vcpu = start_vcpu(&guest);
	pass_steps(&guest, vcpu, 100);
	assert_int_equal(plain_answer_reports(&guest, 0, GUEST_PAGE_KEEP), 16);
	assert_int_equal(plain_slot(&guest, &guest.snapshot_slot, NULL), 0);
	gmm_accel_kvm.vcpu_run(vcpu, &exit);
	assert_int_equal(exit.kind, GMM_ACCEL_EXIT_MMIO);
	assert_false(exit.mmio.is_write);
	assert_in_range(exit.mmio.gpa, 3ull << 30, (3ull << 30) + 16 * PAGE - 1);
	/* The read is completed with what is put here: as in the snapshot. */
	memcpy(exit.mmio.data, guest.original + (exit.mmio.gpa - (3ull << 30)), exit.mmio.length);
	assert_int_equal(plain_slot(&guest, NULL, &guest.snapshot_slot), 0);
	pass_steps(&guest, vcpu, 100);
	plain_assert_no_loss(&guest);

	/* Refused changes change nothing. */
	overlap = guest.snapshot_slot;
	overlap.id = 9;
	assert_int_equal(plain_slot(&guest, NULL, &overlap), -GMM_EEXIST);
	overlap.hva += 1 << 30;
	assert_int_equal(plain_slot(&guest, NULL, &overlap), -GMM_EEXIST);
	overlap.gfn = guest.gpa_bytes / PAGE - 1;
	assert_int_equal(plain_slot(&guest, NULL, &overlap), -GMM_ERANGE);
	pass_steps(&guest, vcpu, 100);

	/* Moved away, and moved back. */
	away = guest.snapshot_slot;
	away.gfn = 16;
	assert_int_equal(plain_slot(&guest, &guest.snapshot_slot, &away), 0);
	gmm_accel_kvm.vcpu_run(vcpu, &exit);
	assert_int_equal(exit.kind, GMM_ACCEL_EXIT_MMIO);
	memcpy(exit.mmio.data, guest.original + (exit.mmio.gpa - (3ull << 30)), exit.mmio.length);
	assert_int_equal(plain_slot(&guest, &away, &guest.snapshot_slot), 0);
	pass_steps(&guest, vcpu, 100);
	plain_assert_no_loss(&guest);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

/*
 * Kicks from another thread while it runs, exits and enters: each is answered, none is left over.
 */
struct storm {
	struct gmm_accel_vcpu *vcpu;
	uint64_t answered; /* atomic */
	uint64_t kicks;
};

static void *storm_thread(void *opaque)
{
	struct storm *storm = opaque;
	uint64_t i;

	for (i = 1; i <= storm->kicks; i++) {
		gmm_accel_kvm.vcpu_kick(storm->vcpu);
		while (__atomic_load_n(&storm->answered, __ATOMIC_ACQUIRE) < i)
			;
	}
	return NULL;
}

static void test_kick_storm(void **state)
{
	struct storm storm = { .kicks = 2000 };
	struct gmm_accel_exit exit;
	struct plain_guest guest;
	sigset_t mask;
	pthread_t thread;
	uint64_t i = 0;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, 16);
	storm.vcpu = start_vcpu(&guest);
	/* Stopped, it exits all the time: kicks hit every place. */
	gmm_program_stop(&guest.program, 0, true);
	assert_int_equal(pthread_create(&thread, NULL, storm_thread, &storm), 0);
	while (i < storm.kicks) {
		gmm_accel_kvm.vcpu_run(storm.vcpu, &exit);
		if (exit.kind == GMM_ACCEL_EXIT_KICKED)
			__atomic_store_n(&storm.answered, ++i, __ATOMIC_RELEASE);
		else if (exit.kind != GMM_ACCEL_EXIT_GUEST || exit.code != GUEST_EXIT_STOPPED)
			fail_msg("exit %d code %u: %s", exit.kind, exit.code, exit.text);
	}
	pthread_join(thread, NULL);
	for (i = 0; i < 50; i++)
		run_until(storm.vcpu, GUEST_EXIT_STOPPED);
	/* The signal is blocked outside of KVM_RUN, and no handler was installed. */
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_true(sigismember(&mask, GMM_ACCEL_KICK_SIGNAL));
	{
		struct sigaction action;

		assert_int_equal(sigaction(GMM_ACCEL_KICK_SIGNAL, NULL, &action), 0);
		assert_true(action.sa_handler == SIG_DFL);
	}
	gmm_accel_kvm.vcpu_destroy(storm.vcpu);
	sigpending(&mask);
	assert_false(sigismember(&mask, GMM_ACCEL_KICK_SIGNAL));
	plain_teardown(&guest);
}

static void test_a_crash_is_told(void **state)
{
	struct gmm_accel_vcpu *vcpu;
	struct gmm_accel_exit exit;
	struct plain_guest guest;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, 16);
	vcpu = start_vcpu(&guest);
	/* An address that no page table maps. */
	guest.program.vcpus[0].cpu.area_gpa = 511ull << 30;
	gmm_accel_kvm.vcpu_run(vcpu, &exit);
	assert_int_equal(exit.kind, GMM_ACCEL_EXIT_SHUTDOWN);
	assert_non_null(strstr(exit.text, "vCPU 0: the program crashed"));
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

static void test_a_damaged_slot_is_told(void **state)
{
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;

	setup(&guest, GMM_ACCEL_DIRTY_BITMAP, 16);
	guest.program.boot->version++;
	vcpu = start_vcpu(&guest);
	run_until(vcpu, GUEST_EXIT_BROKEN);
	gmm_accel_kvm.vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

static void test_bad_configurations(void **state)
{
	struct gmm_accel_config config = { .gpa_bytes = 1 << 30, .vcpus = 0 };
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_accel *accel = NULL;

	plain_skip_unless_usable(&gmm_accel_kvm);
	assert_int_equal(gmm_accel_kvm.create(&config, &accel, text), -GMM_EINVAL);
	assert_non_null(strstr(text, "0 vCPUs"));
	config.vcpus = GUEST_VCPUS_MAX + 1;
	assert_int_equal(gmm_accel_kvm.create(&config, &accel, text), -GMM_EINVAL);
	assert_non_null(strstr(text, "1 to 64"));
	config.vcpus = 1;
	config.dirty = GMM_ACCEL_DIRTY_RING;
	config.dirty_ring_entries = 1000;
	assert_int_equal(gmm_accel_kvm.create(&config, &accel, text), -GMM_EINVAL);
	assert_non_null(strstr(text, "power of two"));
	assert_null(accel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROGRAM_CASES(PROGRAM_CASE_LISTED) cmocka_unit_test(test_kick_storm),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_dirty_log_outlives_a_change),
		cmocka_unit_test(test_dirty_ring),
		cmocka_unit_test(test_dirty_ring_full),
		cmocka_unit_test(test_dirty_ring_outlives_its_vcpu),
		cmocka_unit_test(test_frame_moves_in_the_middle_of_a_use),
		cmocka_unit_test(test_slots_come_and_go),
		cmocka_unit_test(test_a_slot_that_goes_takes_no_other_mapping_along),
		cmocka_unit_test(test_a_crash_is_told),
		cmocka_unit_test(test_a_damaged_slot_is_told),
		cmocka_unit_test(test_bad_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
