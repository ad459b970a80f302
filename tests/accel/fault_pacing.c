/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* When a fault service's thread spins, by a host and a clock that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "accel/fault_pacing.h"

#define MICROSECOND 1000ull
#define SPIN_NS 50000u
#define PROCESSORS 2u
/* But for a trial of the other way. */
#define NEARLY_1000 800u

struct world {
	struct gmm_pacing pacing;
	uint64_t now;
	int64_t running;
	int64_t preemptions;
	uint32_t asked;
};

static int64_t running(void *opaque)
{
	struct world *world = opaque;

	world->asked++;
	return world->running;
}

static int64_t preemptions(void *opaque)
{
	return ((struct world *)opaque)->preemptions;
}

static void setup(struct world *world, enum gmm_fault_service_wait wait, uint32_t busy_threads)
{
	struct gmm_fault_service_config config = { .wait = wait,
						   .busy_threads = busy_threads,
						   .spin_ns = SPIN_NS };
	struct gmm_pacing_host host = { .running = running,
					.preemptions = preemptions,
					.processors = PROCESSORS,
					.opaque = world };

	memset(world, 0, sizeof(*world));
	world->now = 1;
	world->running = PROCESSORS;
	gmm_pacing_init(&world->pacing, &config, &host);
}

/*
 * Events come and are served; the next ones come `gap` later. Returns whether it is looked for
 * them all the time until then.
 */
static bool event_after(struct world *world, uint64_t gap)
{
	uint64_t end;

	gmm_pacing_events(&world->pacing, world->now, 1);
	world->now += MICROSECOND;
	gmm_pacing_served(&world->pacing, world->now);
	for (end = world->now + gap; world->now < end; world->now += MICROSECOND)
		if (!gmm_pacing_spin(&world->pacing, world->now)) {
			world->now = end;
			return false;
		}
	return true;
}

/* Of `count` events. */
static uint32_t spun(struct world *world, uint32_t count, uint64_t gap)
{
	uint32_t found = 0;

	while (count--)
		found += event_after(world, gap);
	return found;
}

static void it_spins_while_events_come_fast_and_a_processor_is_free(void **state)
{
	struct world world;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 99);
	spun(&world, 20, 10 * MICROSECOND);
	assert_in_range(spun(&world, 1000, 10 * MICROSECOND), NEARLY_1000, 1000);
	/* Asked now and then, not at each event. */
	assert_in_range(world.asked, 20, 100);
}

static void it_never_spins_while_none_is_free(void **state)
{
	struct world world;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	world.running = PROCESSORS + 1;
	assert_int_equal(spun(&world, 10000, 10 * MICROSECOND), 0);
	assert_in_range(world.asked, 2, 30);
}

static void it_stops_and_starts_as_processors_come_and_go(void **state)
{
	struct world world;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	spun(&world, 100, 10 * MICROSECOND);
	world.running = PROCESSORS + 1;
	/* Within 200 us. */
	assert_in_range(spun(&world, 1000, 10 * MICROSECOND), 0, 20);
	assert_int_equal(spun(&world, 1000, 10 * MICROSECOND), 0);
	world.running = PROCESSORS;
	/* Within 16 ms. */
	spun(&world, 1600, 10 * MICROSECOND);
	assert_in_range(spun(&world, 1000, 10 * MICROSECOND), NEARLY_1000, 1000);
}

/* One moment at which somebody slept does not make it spin. */
static void it_wants_to_see_a_free_processor_more_than_once(void **state)
{
	struct world world;
	uint32_t i, found = 0;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	for (i = 0; i < 10000; i++) {
		world.running = world.asked % 2 ? PROCESSORS + 1 : PROCESSORS;
		found += event_after(&world, 10 * MICROSECOND);
	}
	assert_int_equal(found, 0);
}

static void it_sleeps_when_events_are_slow(void **state)
{
	struct world world;
	uint64_t slept_from;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	spun(&world, 100, 10 * MICROSECOND);
	assert_int_equal(spun(&world, 100, 1000 * MICROSECOND), 0);
	/* After four spins in vain it does not even begin. */
	gmm_pacing_events(&world.pacing, world.now, 1);
	gmm_pacing_served(&world.pacing, world.now);
	assert_false(gmm_pacing_spin(&world.pacing, world.now));
	/* At rest it asks for sleep every time, whatever time it is. */
	for (slept_from = world.now; world.now < slept_from + 5000000000ull; world.now += 1000000)
		assert_false(gmm_pacing_spin(&world.pacing, world.now));
}

/* Bound to one processor with a vCPU, while others are free. */
static void it_stops_when_it_loses_its_processor(void **state)
{
	struct world world;
	uint32_t found = 0, i;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	for (i = 0; i < 10000; i++) {
		gmm_pacing_events(&world.pacing, world.now, 1);
		gmm_pacing_served(&world.pacing, world.now);
		if (gmm_pacing_spin(&world.pacing, world.now)) {
			found++;
			world.preemptions++;
		}
		world.now += 20 * MICROSECOND;
	}
	assert_in_range(found, 1, 10);
}

static void without_the_hosts_word_the_hint_decides(void **state)
{
	struct world world;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, PROCESSORS);
	world.running = -1;
	assert_int_equal(spun(&world, 1000, 10 * MICROSECOND), 0);
	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, PROCESSORS - 1);
	world.running = -1;
	assert_in_range(spun(&world, 1000, 10 * MICROSECOND), NEARLY_1000, 1000);
}

/* Events come after `spinning` or `sleeping`, as it waits for them. Returns how many it spun for. */
static uint32_t spun_when(struct world *world, uint32_t count, uint64_t spinning, uint64_t sleeping)
{
	uint32_t found = 0;

	while (count--) {
		bool spins;

		gmm_pacing_events(&world->pacing, world->now, 1);
		gmm_pacing_served(&world->pacing, world->now);
		spins = gmm_pacing_spin(&world->pacing, world->now);
		world->now += spins ? spinning : sleeping;
		found += spins;
	}
	return found;
}

static void it_does_what_brings_more_events(void **state)
{
	struct world world;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	assert_in_range(spun_when(&world, 100000, 10 * MICROSECOND, 40 * MICROSECOND), 97000,
			100000);
	spun_when(&world, 50000, 12 * MICROSECOND, 10 * MICROSECOND);
	assert_in_range(spun_when(&world, 100000, 12 * MICROSECOND, 10 * MICROSECOND), 1, 3000);
	spun_when(&world, 50000, 10 * MICROSECOND, 20 * MICROSECOND);
	assert_in_range(spun_when(&world, 100000, 10 * MICROSECOND, 20 * MICROSECOND), 97000,
			100000);
}

static void silence_of_the_guest_shows_nothing(void **state)
{
	struct world world;
	uint32_t i;

	setup(&world, GMM_FAULT_SERVICE_ADAPTIVE, 0);
	for (i = 0; i < 2000; i++) {
		spun_when(&world, 50, 10 * MICROSECOND, 5 * MICROSECOND);
		world.now += 2000 * MICROSECOND;
	}
	assert_false(world.pacing.trial.sleeps);
	assert_int_equal(world.pacing.trial.pace, 0);
}

static void the_other_ways_ask_nobody(void **state)
{
	struct world world;

	setup(&world, GMM_FAULT_SERVICE_SLEEP, 0);
	assert_int_equal(spun(&world, 100, 10 * MICROSECOND), 0);
	assert_int_equal(world.asked, 0);
	setup(&world, GMM_FAULT_SERVICE_SPIN, 0);
	world.running = 100;
	assert_int_equal(spun(&world, 100, 1000 * MICROSECOND), 100);
	assert_int_equal(world.asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_spins_while_events_come_fast_and_a_processor_is_free),
		cmocka_unit_test(it_never_spins_while_none_is_free),
		cmocka_unit_test(it_stops_and_starts_as_processors_come_and_go),
		cmocka_unit_test(it_wants_to_see_a_free_processor_more_than_once),
		cmocka_unit_test(it_sleeps_when_events_are_slow),
		cmocka_unit_test(it_stops_when_it_loses_its_processor),
		cmocka_unit_test(without_the_hosts_word_the_hint_decides),
		cmocka_unit_test(it_does_what_brings_more_events),
		cmocka_unit_test(silence_of_the_guest_shows_nothing),
		cmocka_unit_test(the_other_ways_ask_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
