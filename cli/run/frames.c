/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Pages that a vCPU uses in guest mode by a location it was given at entry. Two slots show one
 * memory of frames: the pages' slot, where page n is in whichever frame it is in now, and the
 * window, where frame n is at n. A vCPU's cache (GMM_CACHE_GUEST) turns its page into a frame; the
 * program counts in it, through the window. A mover now and then moves a page to a free frame.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../command.h"
#include "run.h"

#include "guest/hash.h"

#define MOVE_PAUSE_NS 3000000u
#define POISON 0xa5

struct run_frames {
	uint32_t pages;
	uint32_t frames; /* twice as many */
	struct run_memory window;
	uint8_t *bytes;		 /* of all frames, for the host */
	uint64_t *frame_of_page; /* atomic; changed between begin and end of the page's GFN */
	uint32_t *free;		 /* frames - pages of them; of the mover */
	gmm_gpa_t pages_gpa;
	void *reserved; /* host addresses of the pages' slot: nobody accesses it */
	uint64_t reserved_bytes;
	bool has_slot;
	struct gmm_cache **caches;	     /* one a vCPU */
	struct run_frames_counters counters; /* atomic */
	uint64_t random;		     /* of the mover */
};

/* The memory of the pages' slot: every page is there, and its frame is looked up. */

static int resolve(void *memory, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct run_frames *frames = memory;
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = __atomic_load_n(&frames->frame_of_page[page + i], __ATOMIC_ACQUIRE);
	return 0;
}

static void put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int map(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	struct run_frames *frames = memory;
	uint32_t i;

	for (i = 1; i < count; i++)
		if (pfns[i] != pfns[0] + i)
			return -GMM_EIO;
	*pointer = frames->bytes + pfns[0] * RUN_PAGE_BYTES;
	return 0;
}

static void unmap(void *memory, void *pointer, uint32_t count)
{
}

static const struct gmm_memory_ops indirect_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "frames",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
};

/* With three or more vCPUs the last shares the page of the first, so that a set has two members. */
static uint32_t page_of(const struct run_frames *frames, uint32_t vcpu)
{
	return vcpu % frames->pages;
}

int run_frames_create(struct run *run)
{
	struct run_frames *frames = calloc(1, sizeof(*frames));
	uint32_t i;

	run->frames = frames;
	if (!frames)
		return run_refuse("out of memory");
	frames->pages = run->options.vcpus > 2 ? run->options.vcpus - 1 : run->options.vcpus;
	frames->frames = 2 * frames->pages;
	frames->random = run->options.seed | 1;
	frames->frame_of_page = calloc(frames->pages, sizeof(*frames->frame_of_page));
	frames->free = calloc(frames->pages, sizeof(*frames->free));
	frames->caches = calloc(run->options.vcpus, sizeof(*frames->caches));
	if (!frames->frame_of_page || !frames->free || !frames->caches)
		return run_refuse("out of memory");
	for (i = 0; i < frames->pages; i++) {
		frames->frame_of_page[i] = i;
		frames->free[i] = frames->pages + i;
	}
	return 0;
}

uint64_t run_frames_of_guest(const struct run *run)
{
	return run->frames->frames;
}

static int add_pages_slot(struct run *run)
{
	struct run_frames *frames = run->frames;
	struct gmm_slot_config config = {
		.id = RUN_SLOT_FRAME_PAGES,
		.gfn = frames->pages_gpa >> RUN_PAGE_SHIFT,
		.count = frames->pages,
		.memory_ops = &indirect_ops,
		.memory = frames,
	};
	void *address;
	int error;

	frames->reserved_bytes = frames->pages * RUN_PAGE_BYTES;
	address = run->ops->vcpu_address(run->accel, frames->pages_gpa, frames->reserved_bytes);
	if (!address) {
		address = mmap(NULL, frames->reserved_bytes, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (address == MAP_FAILED)
			return run_refuse("out of address space");
		frames->reserved = address;
	}
	config.hva = (uintptr_t)address;
	error = gmm_slot_add(run->guest, &config);
	if (error)
		return run_refuse("the slot of frame pages is refused (%s)", run_error_text(error));
	frames->has_slot = true;
	return 0;
}

int run_frames_place(struct run *run, gmm_gpa_t pages_gpa, gmm_gpa_t window_gpa)
{
	struct run_frames *frames = run->frames;
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_PLAIN,
		.page_count = frames->frames,
		.page_shift = RUN_PAGE_SHIFT,
	};
	int status = run_memory_create(run, &frames->window, &config, window_gpa);

	if (status)
		return status;
	frames->pages_gpa = pages_gpa;
	frames->bytes = gmm_memory_engine_address(frames->window.memory);
	status = run_memory_add_slot(run, &frames->window, RUN_SLOT_FRAME_WINDOW, 0);
	return status ? status : add_pages_slot(run);
}

int run_frames_use(struct run *run)
{
	struct run_frames *frames = run->frames;
	uint32_t i;
	int error = 0;

	for (i = 0; i < run->vcpu_count && !error; i++) {
		gmm_gpa_t gpa = frames->pages_gpa + page_of(frames, i) * RUN_PAGE_BYTES;

		error = gmm_cache_create(run->guest, &frames->caches[i]);
		if (!error)
			error = gmm_cache_activate(frames->caches[i], gpa, RUN_PAGE_BYTES,
						   GMM_CACHE_GUEST | GMM_CACHE_WRITE);
		if (!error)
			error = gmm_cache_vcpu_add(frames->caches[i], run->vcpus[i].vcpu);
	}
	return error ? run_refuse("a vCPU's frame cannot be cached (%s)", run_error_text(error)) :
		       0;
}

void run_frames_unuse(struct run *run)
{
	uint32_t i;

	if (!run->frames)
		return;
	for (i = 0; i < run->options.vcpus && run->frames->caches; i++) {
		if (run->frames->caches[i])
			gmm_cache_destroy(run->frames->caches[i]);
		run->frames->caches[i] = NULL;
	}
	if (run->frames->has_slot)
		gmm_slot_remove(run->guest, RUN_SLOT_FRAME_PAGES);
	run->frames->has_slot = false;
	run_memory_remove_slot(run, &run->frames->window);
}

void run_frames_destroy(struct run *run)
{
	struct run_frames *frames = run->frames;

	if (!frames)
		return;
	run_memory_destroy(&frames->window);
	if (frames->reserved)
		munmap(frames->reserved, frames->reserved_bytes);
	free(frames->frame_of_page);
	free(frames->free);
	free(frames->caches);
	free(frames);
	run->frames = NULL;
}

uint64_t run_frames_current(const struct run *run, uint32_t vcpu)
{
	gmm_pfn_t pfn = gmm_cache_pfn(run->frames->caches[vcpu], 0);

	return pfn == GMM_PFN_NONE ? GUEST_FRAME_NONE : pfn;
}

static uint64_t set_of(const struct run *run, uint32_t page)
{
	uint64_t set = 0;
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		if (page_of(run->frames, i) == page)
			set |= (uint64_t)1 << i;
	return set;
}

/* An entry may be under way that gives up when it finds its frame gone. */
static bool is_in_guest(const struct gmm_vcpu *vcpu)
{
	enum gmm_vcpu_mode mode = gmm_vcpu_mode(vcpu);

	return mode == GMM_VCPU_IN_GUEST || mode == GMM_VCPU_EXITING;
}

/*
 * The change has begun: those of the set are out of the guest, and only those were told to leave.
 */
static void check_kicked(struct run *run, uint32_t page, const struct gmm_invalidate_result *result)
{
	struct run_frames_counters *counters = &run->frames->counters;
	uint64_t kicked = run_vcpus_kicked_here();
	uint64_t set = set_of(run, page);
	uint32_t i;

	run_count(&counters->kicked, (uint64_t)__builtin_popcountll(kicked));
	if (kicked & ~set) {
		run_count(&counters->bystanders, 1);
		run_lost(run, "frame page %u moved: vCPUs 0x%llx were kicked, only 0x%llx use it",
			 page, (unsigned long long)kicked, (unsigned long long)set);
	}
	if (result->kicked > (uint32_t)__builtin_popcountll(set))
		run_lost(run, "frame page %u moved: %u vCPUs were kicked, its set has %d", page,
			 result->kicked, __builtin_popcountll(set));
	if (result->kicked < (uint32_t)__builtin_popcountll(kicked))
		run_lost(run, "frame page %u moved: %d vCPUs were kicked, the result says %u", page,
			 __builtin_popcountll(kicked), result->kicked);
	for (i = 0; i < run->vcpu_count; i++)
		if ((set >> i & 1) && is_in_guest(run->vcpus[i].vcpu))
			run_lost(
				run,
				"frame page %u moves while vCPU %u, which uses it, is in guest mode",
				page, i);
}

static void move(struct run *run, uint32_t page, uint32_t *free_frame)
{
	struct run_frames *frames = run->frames;
	gmm_gfn_t gfn = (frames->pages_gpa >> RUN_PAGE_SHIFT) + page;
	struct gmm_range range = { gfn, gfn + 1 };
	struct gmm_invalidate_result result = { 0 };
	uint64_t from = frames->frame_of_page[page];
	uint32_t to = *free_frame;
	int error;

	run_vcpus_kicked_here();
	error = gmm_invalidate_begin(run->guest, GMM_RANGE_GFN, &range, 1, 0, &result);
	if (error) {
		run_abandon(run, GMM_EXIT_LOST, "frame page %u cannot be moved: %s", page,
			    run_error_text(error));
		return;
	}
	check_kicked(run, page, &result);
	memcpy(frames->bytes + to * RUN_PAGE_BYTES, frames->bytes + from * RUN_PAGE_BYTES,
	       RUN_PAGE_BYTES);
	__atomic_store_n(&frames->frame_of_page[page], to, __ATOMIC_RELEASE);
	memset(frames->bytes + from * RUN_PAGE_BYTES, POISON, RUN_PAGE_BYTES);
	gmm_invalidate_end(run->guest, GMM_RANGE_GFN, &range, 1);
	*free_frame = (uint32_t)from;
	run_count(&frames->counters.moves, 1);
}

void *run_frames_mover_thread(void *opaque)
{
	struct run *run = opaque;
	struct run_frames *frames = run->frames;

	while (run_phase(run) == RUN_GOING && !run_abandoned(run)) {
		frames->random = guest_mix(frames->random + 1);
		move(run, (uint32_t)(frames->random % frames->pages),
		     &frames->free[frames->random / 4096 % frames->pages]);
		run_pause(run, RUN_GOING, MOVE_PAUSE_NS);
	}
	return NULL;
}

void run_frames_verify(struct run *run)
{
	struct run_frames *frames = run->frames;
	uint64_t accounted = run_load(&frames->counters.kicked) + run->stop_kicks +
			     run_load(&run->ring_kicks) + run_load(&run->room_kicks);
	struct gmm_guest_counters counters;
	uint32_t i;

	gmm_guest_read_counters(run->guest, &counters);
	if (counters.kicks > accounted)
		run_lost(
			run,
			"%llu kicks of vCPUs, of which only %llu were for a move of a frame, a full ring or memory, or to stop",
			(unsigned long long)counters.kicks, (unsigned long long)accounted);
	for (i = 0; i < run->vcpu_count; i++) {
		const struct guest_cpu *cpu = &run->program.vcpus[i].cpu;
		uint64_t frame = frames->frame_of_page[page_of(frames, i)];
		uint64_t found;

		memcpy(&found,
		       frames->bytes + frame * RUN_PAGE_BYTES + GUEST_FRAME_COUNTER_OFFSET(i),
		       sizeof(found));
		if (cpu->frame_known && found != cpu->frame_count)
			run_lost(
				run,
				"frame page %u, vCPU %u: expected count %llu, found %llu in frame %llu",
				page_of(frames, i), i, (unsigned long long)cpu->frame_count,
				(unsigned long long)found, (unsigned long long)frame);
	}
}

void run_frames_counters(const struct run *run, struct run_frames_counters *counters)
{
	const struct run_frames_counters *from = &run->frames->counters;

	*counters = (struct run_frames_counters){
		.moves = run_load(&from->moves),
		.kicked = run_load(&from->kicked),
		.bystanders = run_load(&from->bystanders),
	};
}
