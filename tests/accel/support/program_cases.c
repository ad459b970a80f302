/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "program_cases.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plain_guest.h"

#define PAGE GUEST_PAGE_BYTES

static struct gmm_accel_vcpu *start_vcpu(struct plain_guest *guest, uint32_t index)
{
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_accel_vcpu_start start;
	struct gmm_accel_vcpu *vcpu = NULL;

	gmm_program_vcpu_start(&guest->program, index, &start);
	if (guest->ops->vcpu_create(guest->accel, &start, &vcpu, text))
		fail_msg("%s", text);
	return vcpu;
}

/* Runs until the next exit, which must be this one. */
static void run_until(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu, uint32_t code)
{
	struct gmm_accel_exit exit;

	guest->ops->vcpu_run(vcpu, &exit);
	if (exit.kind != GMM_ACCEL_EXIT_GUEST || exit.code != code)
		fail_msg("exit %d code %u: %s", exit.kind, exit.code, exit.text);
}

/*
 * What the host does beside a running vCPU, on a thread of its own: answers, serves buffers, and
 * stops it when each number of its statistics is at least that of `goal`.
 */
struct host {
	struct plain_guest *guest;
	uint32_t vcpu;
	struct guest_statistics goal;
	uint32_t left; /* atomic: the vCPU has stopped */
};

static bool reached(const struct guest_statistics *statistics, const struct guest_statistics *goal)
{
	const uint64_t *is = (const uint64_t *)statistics;
	const uint64_t *must = (const uint64_t *)goal;
	size_t i;

	for (i = 0; i < sizeof(*goal) / sizeof(*must); i++)
		if (is[i] < must[i])
			return false;
	return true;
}

static void *host_thread(void *opaque)
{
	struct host *host = opaque;
	struct guest_statistics statistics;
	bool stopped = false;

	/* The program waits for its buffers before it stops. */
	while (!__atomic_load_n(&host->left, __ATOMIC_ACQUIRE)) {
		plain_answer_reports(host->guest, host->vcpu, GUEST_PAGE_MAY_TAKE);
		plain_serve_io(host->guest, host->vcpu);
		gmm_program_statistics(&host->guest->program, host->vcpu, &statistics);
		if (!stopped && reached(&statistics, &host->goal)) {
			gmm_program_stop(&host->guest->program, host->vcpu, true);
			stopped = true;
		}
	}
	plain_answer_reports(host->guest, host->vcpu, GUEST_PAGE_MAY_TAKE);
	return NULL;
}

/* Runs vCPU 0 on this thread until its statistics reach the goal. */
static void run_to(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu,
		   const struct guest_statistics *goal)
{
	struct host host = { .guest = guest, .goal = *goal };
	pthread_t thread;

	gmm_program_stop(&guest->program, 0, false);
	assert_int_equal(pthread_create(&thread, NULL, host_thread, &host), 0);
	run_until(guest, vcpu, GUEST_EXIT_STOPPED);
	__atomic_store_n(&host.left, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	gmm_program_stop(&guest->program, 0, false);
}

/* The same for some more steps. */
static void run_steps(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu, uint64_t steps)
{
	struct guest_statistics now;

	gmm_program_statistics(&guest->program, 0, &now);
	run_to(guest, vcpu, &(struct guest_statistics){ .steps = now.steps + steps });
}

static void setup(struct plain_guest *guest, const struct gmm_accel_ops *ops, uint32_t vcpus,
		  uint64_t pages)
{
	plain_skip_unless_usable(ops);
	plain_setup(guest, &(struct plain_config){ .ops = ops, .vcpus = vcpus, .pages = pages });
}

void case_takes_over_and_verifies(const struct gmm_accel_ops *ops)
{
	struct guest_statistics statistics;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;

	setup(&guest, ops, 1, 301);
	vcpu = start_vcpu(&guest, 0);
	run_to(&guest, vcpu,
	       &(struct guest_statistics){
		       .first_touches = 301, .takes = 301, .writes = 1000, .reads = 1000 });
	ops->vcpu_destroy(vcpu);

	gmm_program_statistics(&guest.program, 0, &statistics);
	assert_int_equal(statistics.first_touches, 301);
	assert_int_equal(guest.answered, 301);
	assert_int_equal(statistics.takes, 301);
	assert_int_equal(statistics.losses, 0);
	plain_assert_no_loss(&guest);
	plain_verify_all(&guest);
	plain_teardown(&guest);
}

struct vcpu_thread {
	struct plain_guest *guest;
	struct host *host;
	uint32_t index;
	uint32_t code;
	enum gmm_accel_exit_kind kind;
};

static void *vcpu_main(void *opaque)
{
	struct vcpu_thread *thread = opaque;
	struct gmm_accel_vcpu *vcpu = start_vcpu(thread->guest, thread->index);
	struct gmm_accel_exit exit;

	thread->guest->ops->vcpu_run(vcpu, &exit);
	thread->kind = exit.kind;
	thread->code = exit.code;
	thread->guest->ops->vcpu_destroy(vcpu);
	__atomic_store_n(&thread->host->left, 1, __ATOMIC_RELEASE);
	return NULL;
}

void case_shares_pages_between_vcpus(const struct gmm_accel_ops *ops)
{
	struct guest_statistics statistics;
	struct vcpu_thread vcpus[3];
	struct host hosts[3];
	struct plain_guest guest;
	pthread_t threads[3];
	uint64_t touched = 0;
	uint32_t i;

	/* Five blocks for three vCPUs, the last one short. */
	setup(&guest, ops, 3, 38);
	for (i = 0; i < 3; i++) {
		hosts[i] = (struct host){ .guest = &guest, .vcpu = i };
		hosts[i].goal.first_touches = i == 0 ? 16 : i == 1 ? 14 : 8;
		hosts[i].goal.writes = 100;
		vcpus[i] = (struct vcpu_thread){ .guest = &guest, .host = &hosts[i], .index = i };
		assert_int_equal(pthread_create(&threads[i], NULL, vcpu_main, &vcpus[i]), 0);
	}
	for (i = 0; i < 3; i++)
		host_thread(&hosts[i]);
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(vcpus[i].kind, GMM_ACCEL_EXIT_GUEST);
		assert_int_equal(vcpus[i].code, GUEST_EXIT_STOPPED);
		gmm_program_statistics(&guest.program, i, &statistics);
		assert_int_equal(statistics.first_touches, i == 0 ? 16 : i == 1 ? 14 : 8);
		touched += statistics.first_touches;
	}
	assert_int_equal(touched, 38);
	plain_assert_no_loss(&guest);
	plain_verify_all(&guest);
	plain_teardown(&guest);
}

void case_exchanges_buffers(const struct gmm_accel_ops *ops)
{
	struct guest_mailbox *mailbox;
	struct guest_statistics statistics;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;

	setup(&guest, ops, 1, 64);
	mailbox = &guest.program.vcpus[0].mailbox;
	mailbox->io_per_mille = 300;
	mailbox->io_depth = 8;
	mailbox->write_percent = 90;
	vcpu = start_vcpu(&guest, 0);
	run_to(&guest, vcpu, &(struct guest_statistics){ .io_reads = 200, .io_writes = 200 });
	ops->vcpu_destroy(vcpu);

	gmm_program_statistics(&guest.program, 0, &statistics);
	assert_true(statistics.io_bytes > (statistics.io_reads + statistics.io_writes) * PAGE / 2);
	assert_int_equal(guest.program.vcpus[0].io.completed,
			 statistics.io_reads + statistics.io_writes);
	plain_assert_no_loss(&guest);
	plain_verify_all(&guest);
	plain_teardown(&guest);
}

/* Takes over everything, then only looks at pages, in order. */
static struct gmm_accel_vcpu *own_all(struct plain_guest *guest)
{
	struct guest_mailbox *mailbox = &guest->program.vcpus[0].mailbox;
	struct gmm_accel_vcpu *vcpu = start_vcpu(guest, 0);

	mailbox->write_percent = 100;
	mailbox->weight_random = 0;
	mailbox->weight_hot = 0;
	mailbox->exit_on_loss = 1;
	run_to(guest, vcpu,
	       &(struct guest_statistics){ .takes = guest->pages, .writes = 20 * guest->pages });
	mailbox->write_percent = 0;
	return vcpu;
}

void case_names_a_lost_write(const struct gmm_accel_ops *ops)
{
	struct guest_page_expect stale;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	struct guest_loss loss;
	struct guest_page meta;

	setup(&guest, ops, 1, 32);
	vcpu = own_all(&guest);

	/* The page as it was one version ago. */
	meta = guest.program.pages[17];
	assert_int_equal(meta.state, GUEST_PAGE_OWNED);
	assert_true(meta.version > 1);
	stale = (struct guest_page_expect){
		.seed = 42,
		.page = 17,
		.version = meta.version - 1,
		.full_version = meta.detail < meta.version ? meta.detail : meta.version - 1,
	};
	guest_page_write_group((uint64_t *)(guest.snapshot + 17 * PAGE), &stale,
			       meta.version % GUEST_BODY_GROUPS);
	guest_page_write_header((uint64_t *)(guest.snapshot + 17 * PAGE), &stale);
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.kind, GUEST_LOSS_PAGE);
	assert_int_equal(loss.page, 17);
	assert_int_equal(loss.vcpu, 0);
	assert_int_equal(loss.expected_version, meta.version);
	assert_int_equal(loss.found_version, meta.version - 1);
	assert_true(loss.expected_checksum != loss.found_checksum);
	assert_int_equal(loss.first_wrong_byte, 16);

	/* One wrong byte in the last word is found as well. */
	guest.snapshot[20 * PAGE + 4095] ^= 1;
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.page, 20);
	assert_int_equal(loss.first_wrong_byte, 4088);
	assert_int_equal(loss.found_version, loss.expected_version);

	/* Each loss is reported once: the pages are right again. */
	plain_verify_all(&guest);
	run_steps(&guest, vcpu, 200);
	plain_assert_no_loss(&guest);
	ops->vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

void case_names_a_changed_untaken_page(const struct gmm_accel_ops *ops)
{
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	struct guest_loss loss;

	setup(&guest, ops, 1, 16);
	guest.program.vcpus[0].mailbox.write_percent = 0;
	guest.program.vcpus[0].mailbox.exit_on_loss = 1;
	vcpu = start_vcpu(&guest, 0);
	run_to(&guest, vcpu, &(struct guest_statistics){ .first_touches = 16, .kept_reads = 100 });
	plain_verify_all(&guest);
	guest.snapshot[5 * PAGE + 100] ^= 4;
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.kind, GUEST_LOSS_UNTAKEN);
	assert_int_equal(loss.page, 5);
	assert_true(loss.expected_checksum == guest_hash(guest.original + 5 * PAGE));
	assert_true(loss.found_checksum == guest_hash(guest.snapshot + 5 * PAGE));
	ops->vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

/* Runs until the program has a descriptor waiting, and returns a copy. */
static struct guest_io next_io(struct plain_guest *guest, struct gmm_accel_vcpu *vcpu,
			       uint32_t operation)
{
	struct guest_mailbox *mailbox = &guest->program.vcpus[0].mailbox;
	struct guest_io io;

	mailbox->io_depth = 1;
	mailbox->io_per_mille = 1000;
	for (;;) {
		mailbox->pause_at_step = mailbox->statistics.steps + 1;
		run_until(guest, vcpu, GUEST_EXIT_PAUSED);
		if (!gmm_program_io_peek(&guest->program, 0, &io))
			continue;
		if (io.operation == operation)
			break;
		plain_serve_io(guest, 0);
	}
	mailbox->pause_at_step = 0;
	mailbox->io_depth = 0;
	return io;
}

void case_names_device_faults(const struct gmm_accel_ops *ops)
{
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	struct guest_loss loss;
	struct guest_io io;
	uint64_t page;

	setup(&guest, ops, 1, 32);
	vcpu = own_all(&guest);

	/* The device says it stored the pattern and did not. */
	io = next_io(&guest, vcpu, GUEST_IO_READ);
	gmm_program_io_complete(&guest.program, 0, GUEST_IO_OK);
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.kind, GUEST_LOSS_DEVICE_READ);
	assert_int_equal(loss.page, io.gpa / PAGE);
	assert_int_equal(loss.expected_version, io.sequence);
	plain_assert_no_loss(&guest);

	/* The device sees other bytes. */
	io = next_io(&guest, vcpu, GUEST_IO_WRITE);
	gmm_program_io_complete(&guest.program, 0, GUEST_IO_BAD);
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.kind, GUEST_LOSS_DEVICE_WRITE);
	plain_assert_no_loss(&guest);

	/* The device stores the pattern, and one byte more. */
	do {
		io = next_io(&guest, vcpu, GUEST_IO_READ);
		if ((io.gpa + io.length) % PAGE == 0)
			plain_serve_io(&guest, 0);
	} while ((io.gpa + io.length) % PAGE == 0);
	plain_serve_io(&guest, 0);
	guest.snapshot[io.gpa + io.length] ^= 0x80;
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.kind, GUEST_LOSS_DEVICE_STRAY);
	page = (io.gpa + io.length) / PAGE;
	assert_int_equal(loss.page, page);
	assert_int_equal(loss.first_wrong_byte, (io.gpa + io.length) % PAGE / 8 * 8);
	plain_assert_no_loss(&guest);
	plain_verify_all(&guest);
	ops->vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

struct kicker {
	struct plain_guest *guest;
	struct gmm_accel_vcpu *vcpu;
	uint64_t seen; /* by the vCPU's thread after its return */
};

/* Kicks when the vCPU has made some steps since this began: it is in guest mode. */
static void *kick_soon(void *opaque)
{
	struct kicker *kicker = opaque;
	struct guest_statistics statistics;
	uint64_t first;

	gmm_program_statistics(&kicker->guest->program, 0, &statistics);
	first = statistics.steps;
	do
		gmm_program_statistics(&kicker->guest->program, 0, &statistics);
	while (statistics.steps < first + 10);
	__atomic_store_n(&kicker->seen, 1, __ATOMIC_RELAXED);
	kicker->guest->ops->vcpu_kick(kicker->vcpu);
	return NULL;
}

void case_follows_the_frame(const struct gmm_accel_ops *ops)
{
	const uint32_t words = PAGE / 8;
	struct guest_statistics statistics;
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;
	struct gmm_accel_exit exit;
	struct guest_loss loss;
	struct kicker kicker;
	pthread_t thread;
	uint32_t i;

	setup(&guest, ops, 1, 16);
	guest.program.vcpus[0].mailbox.exit_on_loss = 1;
	vcpu = start_vcpu(&guest, 0);
	kicker = (struct kicker){ .guest = &guest, .vcpu = vcpu };
	guest.frames[0] = 1000;
	assert_int_equal(ops->vcpu_set_frame(vcpu, 0), 0);
	run_steps(&guest, vcpu, 100);
	/* The page moves while the vCPU is out, wherever the kick caught it. */
	for (i = 0; i < 200; i++) {
		uint32_t from = i % PLAIN_FRAMES, to = (i + 1) % PLAIN_FRAMES;

		pthread_create(&thread, NULL, kick_soon, &kicker);
		ops->vcpu_run(vcpu, &exit);
		pthread_join(thread, NULL);
		if (exit.kind != GMM_ACCEL_EXIT_KICKED)
			fail_msg("exit %d code %u: %s", exit.kind, exit.code, exit.text);
		guest.frames[to * words] = guest.frames[from * words];
		guest.frames[from * words] = 0xdead;
		assert_int_equal(ops->vcpu_set_frame(vcpu, to), 0);
	}
	run_steps(&guest, vcpu, 100);
	gmm_program_statistics(&guest.program, 0, &statistics);
	plain_assert_no_loss(&guest);
	assert_int_equal(guest.frames[(200 % PLAIN_FRAMES) * words], 1000 + statistics.frame_uses);

	/* A page that moved without the vCPU being told. */
	guest.frames[words] = guest.frames[0];
	guest.frames[0] = 0xdead;
	run_until(&guest, vcpu, GUEST_EXIT_LOSS);
	assert_true(gmm_program_loss_pop(&guest.program, 0, &loss));
	assert_int_equal(loss.kind, GUEST_LOSS_FRAME);
	assert_int_equal(loss.page, 0);
	assert_int_equal(loss.expected_version, guest.frames[words]);
	assert_int_equal(loss.found_version, 0xdead);
	ops->vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

void case_asks_when_the_ring_is_full(const struct gmm_accel_ops *ops)
{
	struct gmm_accel_vcpu *vcpu;
	struct plain_guest guest;

	setup(&guest, ops, 1, GUEST_REPORTS + 100);
	vcpu = start_vcpu(&guest, 0);
	run_until(&guest, vcpu, GUEST_EXIT_RING_FULL);
	assert_int_equal(plain_answer_reports(&guest, 0, GUEST_PAGE_KEEP), GUEST_REPORTS);
	run_to(&guest, vcpu, &(struct guest_statistics){ .first_touches = GUEST_REPORTS + 100 });
	assert_int_equal(guest.answered, GUEST_REPORTS + 100);
	plain_assert_no_loss(&guest);
	plain_verify_all(&guest);
	ops->vcpu_destroy(vcpu);
	plain_teardown(&guest);
}

void case_kick_returns(const struct gmm_accel_ops *ops)
{
	struct gmm_accel_exit exit;
	struct plain_guest guest;
	struct kicker kicker;
	pthread_t thread;

	setup(&guest, ops, 1, 4096);
	/* Nothing to report: it never exits by itself. */
	memset(guest.program.pages, 0, 4096 * sizeof(struct guest_page));
	guest.program.vcpus[0].mailbox.weight_sequential = 0;
	guest.program.vcpus[0].mailbox.weight_random = 0;
	guest.program.vcpus[0].mailbox.hot_pages = 16;
	kicker = (struct kicker){ .guest = &guest, .vcpu = start_vcpu(&guest, 0) };
	assert_int_equal(pthread_create(&thread, NULL, kick_soon, &kicker), 0);
	ops->vcpu_run(kicker.vcpu, &exit);
	if (exit.kind != GMM_ACCEL_EXIT_KICKED)
		fail_msg("exit %d code %u: %s", exit.kind, exit.code, exit.text);
	assert_int_equal(__atomic_load_n(&kicker.seen, __ATOMIC_RELAXED), 1);
	pthread_join(thread, NULL);
	ops->vcpu_destroy(kicker.vcpu);
	plain_teardown(&guest);
}

void case_kick_before_entry(const struct gmm_accel_ops *ops)
{
	struct guest_statistics statistics;
	struct gmm_accel_vcpu *vcpu;
	struct gmm_accel_exit exit;
	struct plain_guest guest;

	setup(&guest, ops, 1, 16);
	vcpu = start_vcpu(&guest, 0);
	ops->vcpu_kick(vcpu);
	ops->vcpu_kick(vcpu);
	ops->vcpu_run(vcpu, &exit);
	assert_int_equal(exit.kind, GMM_ACCEL_EXIT_KICKED);
	/* Nothing is left of it: the next stay ends by the program's own exit. */
	gmm_program_stop(&guest.program, 0, true);
	run_until(&guest, vcpu, GUEST_EXIT_STOPPED);
	gmm_program_statistics(&guest.program, 0, &statistics);
	assert_int_equal(statistics.losses, 0);
	ops->vcpu_destroy(vcpu);
	plain_teardown(&guest);
}
