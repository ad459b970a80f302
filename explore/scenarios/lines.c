/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Encrypted memory is reclaimed, moved and registered, and ASIDs are recycled, while guests run and
 * caches are written back by themselves.
 */
#include "scenario.h"
#include "sev_reference.h"

static void cpu_0_runs(void *arg)
{
	struct sev_play *play = arg;

	sev_run(play, &play->guests[0], 0, SEV_LINE_0);
}

static void cpu_1_runs(void *arg)
{
	struct sev_play *play = arg;

	sev_run(play, &play->guests[0], 1, SEV_LINE_0);
}

static void cpu_0_runs_long(void *arg)
{
	struct sev_play *play = arg;

	sev_run(play, &play->guests[0], 0, SEV_LINE_0 | SEV_LINE_1);
}

static void migrates(void *arg)
{
	cpu_0_runs(arg);
	cpu_1_runs(arg);
}

static void reclaims(void *arg)
{
	struct sev_play *play = arg;

	sev_reclaim(play, &play->guests[0], 0);
}

static void reclaims_both(void *arg)
{
	struct sev_play *play = arg;

	sev_reclaim(play, &play->guests[0], 0);
	sev_reclaim(play, &play->guests[0], 1);
}

/* It is the guest's again: its store hides what is left in other caches of what it had there. */
static void reclaims_and_gives_back(void *arg)
{
	struct sev_play *play = arg;
	struct sev_guest *guest = &play->guests[0];

	sev_reclaim(play, guest, 0);
	lines_clflush(&play->lines, 0);
	lines_give(&play->lines, 0, guest->number);
	if (!sev_enter(play, guest, 1))
		return;
	lines_store(&play->lines, 1, guest->asid, 0, NULL, SEV_GUEST_WORD);
	sev_leave(play, guest, 1);
}

static void is_the_hosts(struct sev_play *play)
{
	machine_check(lines_memory(&play->lines, 0, LINES_HOST) == SEV_HOST_WORD);
}

/* CPUs that never ran the guest go on with what they do. */
static void only_cpu_0_was_interrupted(struct sev_play *play)
{
	is_the_hosts(play);
	machine_check(!play->lines.interrupts[1] && !play->lines.interrupts[2]);
}

static void flushes_the_page(void *arg)
{
	struct sev_play *play = arg;
	struct sev_guest *guest = &play->guests[0];

	gmm_exchange(&play->mapped[0], 0u);
	if (lines_vm_page_flush(&play->lines, 0, guest->asid) && !sev_has(play, SEV_NO_FALLBACK))
		sev_write_back(play, guest, 0);
	sev_host_gets(play, 0);
}

/* A device that looks at memory only must find what the guest has stored. */
static void flushes_for_a_device(void *arg)
{
	struct sev_play *play = arg;
	uint64_t word;

	gmm_exchange(&play->mapped[0], 0u);
	if (!sev_has(play, SEV_NO_WRITE_BACK))
		lines_clflush(&play->lines, 0);
	word = lines_memory(&play->lines, 0, play->guests[0].number);
	machine_check(!play->stored || word == SEV_GUEST_WORD);
	sev_host_gets(play, 0);
}

/* What the host has stored goes to memory before the guest stores there. */
static void belongs_to_the_host(struct sev_play *play)
{
	lines_give(&play->lines, 0, LINES_HOST);
}

static void host_stores(void *arg)
{
	struct sev_play *play = arg;

	lines_store(&play->lines, SEV_HOST_CPU, LINES_PLAIN, 0, &play->mapped[0], SEV_HOST_WORD);
}

static void registers(void *arg)
{
	struct sev_play *play = arg;
	struct sev_guest *guest = &play->guests[0];

	gmm_exchange(&play->mapped[0], 0u);
	if (!sev_has(play, SEV_NOT_REGISTERED))
		lines_clflush(&play->lines, 0);
	lines_give(&play->lines, 0, guest->number);
	machine_check(sev_enter(play, guest, 0));
	lines_store(&play->lines, 0, guest->asid, 0, NULL, SEV_GUEST_WORD);
	sev_leave(play, guest, 0);
}

static void is_the_guests(struct sev_play *play)
{
	machine_check(lines_memory(&play->lines, 0, play->guests[0].number) == SEV_GUEST_WORD);
}

/* Another guest gets the ASID of one that has ended, and the line that was its. */
static void ends_and_recycles(void *arg)
{
	struct sev_play *play = arg;
	struct sev_guest *old = &play->guests[0], *next = &play->guests[1];
	uint64_t word;

	sev_stop(old);
	sev_reclaim(play, old, 0);
	sev_deactivate(play, old);
	sev_recycle(play, old->ran);
	sev_activate(play, next, old->asid);
	sev_watch(play, next, 0);
	lines_clflush(&play->lines, 0);
	lines_give(&play->lines, 0, next->number);
	machine_check(sev_enter(play, next, 1));
	lines_store(&play->lines, 1, next->asid, 0, NULL, SEV_GUEST_WORD);
	lines_load(&play->lines, 1, next->asid, 0, NULL, &word);
	machine_check(word == SEV_GUEST_WORD);
	sev_leave(play, next, 1);
}

static void is_the_next_ones(struct sev_play *play)
{
	machine_check(lines_memory(&play->lines, 0, play->guests[1].number) == SEV_GUEST_WORD);
}

/* The second ASID waits to be recycled. */
static void one_has_ended(struct sev_play *play)
{
	sev_activate(play, &play->guests[1], 2);
	lines_asid_deactivate(&play->lines, 2);
}

static void ends(void *arg)
{
	struct sev_play *play = arg;

	sev_stop(&play->guests[0]);
	sev_deactivate(play, &play->guests[0]);
}

static void recycles(void *arg)
{
	struct sev_play *play = arg;

	sev_recycle(play, 0);
	sev_activate(play, &play->guests[1], 2);
}

/* The guest goes on as another's, whose mask is fresh: what its CPUs have dirty is written back. */
static void moves(void *arg)
{
	struct sev_play *play = arg;
	struct sev_guest *source = &play->guests[0], *target = &play->guests[1];

	if (sev_has(play, SEV_MASK_COPIED))
		gmm_store_relaxed(&target->ran, gmm_load_relaxed(&source->ran));
	sev_stop(source);
	if (!sev_has(play, SEV_MASK_COPIED) && !sev_has(play, SEV_MASK_FRESH))
		lines_wbnoinvd_on(&play->lines, gmm_load_relaxed(&source->ran));
	target->asid = source->asid;
	sev_watch(play, target, 0);
	sev_run(play, target, 1, SEV_LINE_1);
	sev_reclaim(play, target, 0);
}

/* A second guest runs with the first one's key, and has a mask of its own. */
static void has_a_mirror(struct sev_play *play)
{
	play->guests[1].asid = play->guests[0].asid;
	sev_watch(play, &play->guests[1], 1);
}

static void mirror_runs(void *arg)
{
	struct sev_play *play = arg;

	sev_run(play, &play->guests[1], 1, SEV_LINE_0);
}

static void reclaims_from_both(void *arg)
{
	struct sev_play *play = arg;

	gmm_exchange(&play->mapped[0], 0u);
	sev_write_back(play, &play->guests[0], 0);
	if (!sev_has(play, SEV_MIRROR_FORGOTTEN))
		sev_write_back(play, &play->guests[1], 0);
	sev_host_gets(play, 0);
}

/*
 * The engine's own: a vCPU uses a frame in guest mode, and who changes the page waits until it is
 * out. The page's two frames are the two lines.
 */
struct engine_play {
	struct sev_play play; /* threads get this */
	struct machine machine;
	struct gmm_cache *cache;
	struct gmm_vcpu *vcpu;
};

static void no_kick(void *opaque, uint32_t id)
{
}

static void vcpu_uses_frame(void *arg)
{
	struct engine_play *engine = arg;
	struct sev_play *play = &engine->play;
	struct sev_guest *guest = &play->guests[0];
	gmm_pfn_t pfn;
	int answer;

	while ((answer = machine_again(gmm_vcpu_enter(engine->vcpu))) == -GMM_EAGAIN)
		gmm_vcpu_take_requests(engine->vcpu);
	machine_must(answer);
	sev_mask_set(play, guest, 0);
	pfn = gmm_vcpu_pfn(engine->vcpu, engine->cache, 0);
	if (pfn != GMM_PFN_NONE)
		lines_store(&play->lines, 0, guest->asid, (uint32_t)(pfn / MACHINE_PAGES), NULL,
			    SEV_GUEST_WORD);
	gmm_vcpu_exit(engine->vcpu);
}

static void moves_page(void *arg)
{
	struct engine_play *engine = arg;
	struct sev_play *play = &engine->play;
	struct gmm_guest *guest = engine->machine.guest;
	struct gmm_range range = { 0, 1 };

	if (sev_has(play, SEV_EARLY))
		sev_write_back(play, &play->guests[0], 0);
	machine_must(gmm_invalidate_begin(guest, GMM_RANGE_GFN, &range, 1, 0, NULL));
	if (!sev_has(play, SEV_EARLY))
		sev_write_back(play, &play->guests[0], 0);
	sev_host_gets(play, 0);
	machine_move_frame(&engine->machine, 0);
	gmm_invalidate_end(guest, GMM_RANGE_GFN, &range, 1);
}

static void play_engine(const struct sev_plan *plan)
{
	struct gmm_sim_thread *threads[2];
	struct engine_play engine;

	sev_begin(&engine.play, plan);
	machine_init(&engine.machine, MACHINE_VCPUS);
	machine_must(gmm_cache_create(engine.machine.guest, &engine.cache));
	machine_must(gmm_vcpu_create(engine.machine.guest, 0, no_kick, NULL, &engine.vcpu));
	machine_must(gmm_cache_activate(engine.cache, 0, 8, GMM_CACHE_GUEST));
	machine_must(gmm_cache_vcpu_add(engine.cache, engine.vcpu));
	threads[0] = gmm_sim_thread_start(vcpu_uses_frame, &engine, "vCPU");
	threads[1] = gmm_sim_thread_start(moves_page, &engine, "mover");
	machine_go(threads, 2);
	sev_end(&engine.play);
	machine_must(gmm_cache_destroy(engine.cache));
	machine_must(gmm_vcpu_destroy(engine.vcpu));
	machine_fini(&engine.machine);
}

#define PLAN_OF(how, name, ...)                                      \
	static void name(void *arg)                                  \
	{                                                            \
		static const struct sev_plan plan = { __VA_ARGS__ }; \
                                                                     \
		how(&plan);                                          \
	}
#define PLAN(name, ...) PLAN_OF(sev_play, name, __VA_ARGS__)
#define RECLAIM(name, ...) \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs, reclaims }, .check = is_the_hosts)
#define TWO_CPUS(name, ...)                                                      \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs, cpu_1_runs, reclaims }, \
	     .check = is_the_hosts)
#define RETURNED(name, ...)                                                         \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs, reclaims_and_gives_back }, \
	     .check = is_the_guests)
#define LONG_RUN(name, ...)                                                    \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs_long, reclaims_both }, \
	     .check = is_the_hosts)
#define MIRROR(name, ...)                                \
	PLAN(name, __VA_ARGS__, .prepare = has_a_mirror, \
	     .threads = { cpu_0_runs, mirror_runs, reclaims_from_both }, .check = is_the_hosts)
#define MOVE(name, ...) \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs, moves }, .check = is_the_hosts)
#define PAGE(name, ...) \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs, flushes_the_page }, .check = is_the_hosts)
#define DEVICE(name, ...)                                 \
	PLAN(name, .traits = LINES_COHERENT, __VA_ARGS__, \
	     .threads = { cpu_0_runs, flushes_for_a_device }, .check = is_the_hosts)
#define REGISTER(name, ...)                                     \
	PLAN(name, __VA_ARGS__, .prepare = belongs_to_the_host, \
	     .threads = { host_stores, registers }, .check = is_the_guests)
#define RECYCLE(name, ...)                                                    \
	PLAN(name, __VA_ARGS__, .threads = { cpu_0_runs, ends_and_recycles }, \
	     .check = is_the_next_ones)
#define DEACTIVATE(name, ...) \
	PLAN(name, __VA_ARGS__, .prepare = one_has_ended, .threads = { ends, recycles })

PLAN(reclaim_one, .threads = { cpu_0_runs, reclaims }, .check = only_cpu_0_was_interrupted)
TWO_CPUS(reclaim_two, .traits = 0)
TWO_CPUS(reclaim_wbinvd, .traits = LINES_NO_WBNOINVD)
LONG_RUN(reclaim_long, .traits = 0)
PLAN(reclaim_migrated, .threads = { migrates, reclaims }, .check = is_the_hosts)
RETURNED(reclaim_returned, .traits = 0)
RECLAIM(reclaim_coherent, .traits = LINES_COHERENT, .defect = SEV_NO_WRITE_BACK)
MIRROR(reclaim_mirror, .traits = 0)
MOVE(reclaim_moved, .traits = 0)
PAGE(page, .traits = 0)
PAGE(page_faults, .traits = LINES_PAGE_FLUSH_FAULTS)
DEVICE(page_device, .unwatched = false)
REGISTER(region, .traits = 0)
RECYCLE(asid_recycle, .traits = 0)
DEACTIVATE(asid_deactivate, .traits = 0)
PLAN_OF(play_engine, engine, .check = is_the_hosts)

const struct explore_scenario explore_lines_scenarios[] = {
	{ "lines-reclaim", "SEV3 SEV4 SEV8", "a line is reclaimed while its guest runs on one CPU",
	  reclaim_one, 4, true },
	{ "lines-reclaim-two", "SEV3 SEV4", "... on two CPUs that store to it", reclaim_two, 2,
	  false },
	{ "lines-reclaim-wbinvd", "SEV1 SEV3", "... and have no WBNOINVD", reclaim_wbinvd, 2,
	  false },
	{ "lines-reclaim-long", "SEV4", "two lines, and the guest stays in guest mode",
	  reclaim_long, 3, true },
	{ "lines-reclaim-migrated", "SEV4", "the vCPU goes to another CPU", reclaim_migrated, 3,
	  true },
	{ "lines-reclaim-returned", "SEV3 SEV4", "... and becomes the guest's again",
	  reclaim_returned, 3, true },
	{ "lines-reclaim-coherent", "SEV9 SEV10", "a coherent machine needs no write-back",
	  reclaim_coherent, 4, false },
	{ "lines-mirror", "SEV5", "two guests with one key and a mask each", reclaim_mirror, 2,
	  false },
	{ "lines-move", "SEV5", "the guest is moved, with a fresh mask, then a line is reclaimed",
	  reclaim_moved, 3, true },
	{ "lines-page", "SEV9", "VM_PAGE_FLUSH in place of the whole cache", page, 4, false },
	{ "lines-page-faults", "SEV9", "... where it faults, the whole cache", page_faults, 4,
	  false },
	{ "lines-page-device", "SEV9 SEV10", "CLFLUSH on a coherent machine, for a device",
	  page_device, 4, false },
	{ "lines-register", "SEV10", "the host's lines are flushed before the guest gets them",
	  region, 4, false },
	{ "lines-asid-recycle", "SEV2 SEV7", "an ASID is given to another guest", asid_recycle, 3,
	  true },
	{ "lines-asid-deactivate", "SEV2", "... while a guest with another ends", asid_deactivate,
	  3, false },
	{ "lines-engine", "SEV3 SEV8", "the engine takes the vCPU out before the write-back",
	  engine, 2, false },
	{ .name = NULL },
};

RECLAIM(no_write_back, .defect = SEV_NO_WRITE_BACK)
RETURNED(no_write_back_returned, .defect = SEV_NO_WRITE_BACK)
RECLAIM(own_cpu_only, .defect = SEV_OWN_CPU_ONLY)
RECLAIM(clflush_instead, .defect = SEV_CLFLUSH_INSTEAD)
RECLAIM(writes_back_early, .defect = SEV_EARLY)
PLAN_OF(play_engine, engine_early, .defect = SEV_EARLY)
RECLAIM(mask_after_entry, .defect = SEV_MASK_AFTER_ENTRY)
RECLAIM(mask_after_entry_late, .defect = SEV_MASK_AFTER_ENTRY, .unwatched = true)
TWO_CPUS(mask_not_atomic, .defect = SEV_MASK_NOT_ATOMIC)
TWO_CPUS(mask_not_atomic_late, .defect = SEV_MASK_NOT_ATOMIC, .unwatched = true)
LONG_RUN(mask_cleared, .defect = SEV_MASK_CLEARED)
LONG_RUN(mask_cleared_late, .defect = SEV_MASK_CLEARED, .unwatched = true)
MOVE(mask_copied, .defect = SEV_MASK_COPIED)
MOVE(mask_copied_late, .defect = SEV_MASK_COPIED, .unwatched = true)
MOVE(mask_fresh, .defect = SEV_MASK_FRESH)
MOVE(mask_fresh_late, .defect = SEV_MASK_FRESH, .unwatched = true)
MIRROR(mirror_forgotten, .defect = SEV_MIRROR_FORGOTTEN)
PAGE(no_fallback, .defect = SEV_NO_FALLBACK, .traits = LINES_PAGE_FLUSH_FAULTS)
DEVICE(no_clflush, .defect = SEV_NO_WRITE_BACK)
REGISTER(not_registered, .defect = SEV_NOT_REGISTERED)
RECYCLE(no_recycling, .defect = SEV_NO_RECYCLING)
RECYCLE(no_recycling_trusted, .defect = SEV_NO_RECYCLING, .traits = LINES_FIRMWARE_TRUSTS)
RECYCLE(wbnoinvd_recycles, .defect = SEV_WBNOINVD_RECYCLES)
RECYCLE(wbnoinvd_trusted, .defect = SEV_WBNOINVD_RECYCLES, .traits = LINES_FIRMWARE_TRUSTS)
RECYCLE(mask_recycles, .defect = SEV_MASK_RECYCLES)
DEACTIVATE(deactivates_unlocked, .defect = SEV_DEACTIVATES_AT_ANY_TIME)

#define OVER_HOST "of guest 1 back over memory of the host"
#define NOT_IN_MASKS "is not in its masks"
#define UNDER_ASID "has a line of guest 1 under it"

/* Each leaves a step out, and what it says is part of the failure that must be found. */
const struct explore_scenario explore_lines_defects[] = {
	{ "lines-no-write-back", "SEV3", OVER_HOST, no_write_back, 4, false },
	{ "lines-no-write-back-returned", "SEV3", OVER_HOST, no_write_back_returned, 3, false },
	{ "lines-own-cpu-only", "SEV1", OVER_HOST, own_cpu_only, 4, false },
	{ "lines-clflush-instead", "SEV10", OVER_HOST, clflush_instead, 4, false },
	{ "lines-writes-back-early", "SEV3 SEV8", OVER_HOST, writes_back_early, 4, false },
	{ "lines-engine-early", "SEV3 SEV8", OVER_HOST, engine_early, 2, false },
	{ "lines-mask-after-entry", "SEV4", NOT_IN_MASKS, mask_after_entry, 4, false },
	{ "lines-mask-after-entry-late", "SEV4", OVER_HOST, mask_after_entry_late, 4, false },
	{ "lines-mask-not-atomic", "SEV4", NOT_IN_MASKS, mask_not_atomic, 2, false },
	{ "lines-mask-not-atomic-late", "SEV4", OVER_HOST, mask_not_atomic_late, 2, false },
	{ "lines-mask-cleared", "SEV4", NOT_IN_MASKS, mask_cleared, 3, false },
	{ "lines-mask-cleared-late", "SEV4", OVER_HOST, mask_cleared_late, 3, false },
	{ "lines-mask-copied", "SEV5", NOT_IN_MASKS, mask_copied, 3, false },
	{ "lines-mask-copied-late", "SEV5", OVER_HOST, mask_copied_late, 3, false },
	{ "lines-mask-fresh", "SEV5", NOT_IN_MASKS, mask_fresh, 3, false },
	{ "lines-mask-fresh-late", "SEV5", OVER_HOST, mask_fresh_late, 3, false },
	{ "lines-mirror-forgotten", "SEV5", OVER_HOST, mirror_forgotten, 2, false },
	{ "lines-no-fallback", "SEV9", OVER_HOST, no_fallback, 4, false },
	{ "lines-no-clflush", "SEV9", "word == SEV_GUEST_WORD", no_clflush, 4, false },
	{ "lines-not-registered", "SEV10", "of the host back over memory of guest 1",
	  not_registered, 4, false },
	{ "lines-no-recycling", "SEV2", "lines_asid_activate", no_recycling, 3, false },
	{ "lines-no-recycling-trusted", "SEV2", UNDER_ASID, no_recycling_trusted, 3, false },
	{ "lines-wbnoinvd-recycles", "SEV2", "lines_df_flush", wbnoinvd_recycles, 3, false },
	{ "lines-wbnoinvd-trusted", "SEV2", UNDER_ASID, wbnoinvd_trusted, 3, false },
	{ "lines-mask-recycles", "SEV2", "lines_df_flush", mask_recycles, 3, false },
	{ "lines-deactivates-unlocked", "SEV2", "lines_df_flush", deactivates_unlocked, 3, false },
	{ .name = NULL },
};
