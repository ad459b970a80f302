/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <guestmm/linux/snapshot.h>

#include "../command.h"
#include "../terminal.h"
#include "run.h"

/* Read and written at once. */
#define BATCH_PAGES 64u
#define TICK_NS 100000000u

struct run_save {
	struct gmm_snapshot_writer *writer; /* of one thread at a time */
	uint64_t *pending;		    /* atomic words; a bit a page that is in no file yet */
	uint8_t *batch;			    /* of the thread that writes */
	struct run_save_counters counters;  /* likewise */

	/* Atomic. */
	const char *stage; /* what is being done, or NULL */
	uint64_t done;	   /* pages of it */
	uint64_t ended;	   /* the thread has */
};

static uint64_t words_of(const struct run *run)
{
	return (run->page_count + 63) / 64;
}

int run_save_create(struct run *run)
{
	const struct gmm_snapshot_writer_config config = {
		.directory = run->options.save,
		.page_count = run->page_count,
		.page_shift = RUN_PAGE_SHIFT,
		.parent = &run->source,
	};
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct run_save *save;

	if (!run->options.save)
		return 0;
	save = run->save = calloc(1, sizeof(*save));
	if (save) {
		save->pending = calloc(words_of(run), sizeof(*save->pending));
		save->batch = malloc(BATCH_PAGES * RUN_PAGE_BYTES);
	}
	if (!save || !save->pending || !save->batch)
		return run_refuse("out of memory for --save: use less --memory");
	if (gmm_snapshot_writer_open(&config, &save->writer, text, sizeof(text)))
		return run_refuse("--save %s", text);
	return 0;
}

void run_save_destroy(struct run *run)
{
	struct run_save *save = run->save;

	if (!save)
		return;
	gmm_snapshot_writer_close(save->writer);
	free(save->pending);
	free(save->batch);
	free(save);
	run->save = NULL;
}

void run_save_note(struct run *run, uint64_t page)
{
	if (!run->save || (run->options.lose_saved && page % RUN_LOSE_ONE_OF == 0))
		return;
	__atomic_fetch_or(&run->save->pending[page / 64], (uint64_t)1 << page % 64,
			  __ATOMIC_RELEASE);
}

static void set_stage(struct run_save *save, const char *stage)
{
	__atomic_store_n(&save->done, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&save->stage, stage, __ATOMIC_RELEASE);
}

static int save_failed(struct run *run, int error)
{
	char text[GMM_BACKING_TEXT_SIZE];

	gmm_snapshot_writer_failure(run->save->writer, text, sizeof(text));
	run_abandon(run, GMM_EXIT_LOST, "--save %s", *text ? text : run_error_text(error));
	return error ? error : -GMM_EIO;
}

/* A person watches also when the thread that watches does not, at the end. */
static void advance(struct run *run, uint64_t pages)
{
	char text[64];
	uint64_t before = run->save->done, now = before + pages;

	__atomic_store_n(&run->save->done, now, __ATOMIC_RELAXED);
	if (run_phase(run) >= RUN_QUIET && (!before || before / 8192 != now / 8192))
		gmm_live_line("%s%s", run->ops->name, run_save_progress(run, text, sizeof(text)));
}

static int read_page(struct run *run, uint64_t page, void *contents)
{
	int error;

	do
		error = gmm_page_read(run->guest, (run->snapshot.gpa >> RUN_PAGE_SHIFT) + page,
				      contents);
	while (error && run_failing_try_again(run, error));
	return error;
}

/* A run of pages, read as they are now. */
static int save_run(struct run *run, uint64_t page, uint32_t count)
{
	struct run_save *save = run->save;
	uint32_t i;
	int error;

	for (i = 0; i < count; i++) {
		error = read_page(run, page + i, save->batch + i * RUN_PAGE_BYTES);
		if (error) {
			run_memory_failed(run, "a page cannot be read to save it", error);
			return error;
		}
	}
	error = gmm_snapshot_writer_write(save->writer, page, count, save->batch);
	if (error)
		return save_failed(run, error);
	advance(run, count);
	return 0;
}

/* Pages that are harvested from now on are not in it for sure; those before are. */
static int save_base(struct run *run)
{
	struct run_save *save = run->save;
	uint64_t page, i;
	int error = gmm_snapshot_writer_begin_base(save->writer);

	if (error)
		return save_failed(run, error);
	set_stage(save, "base");
	for (i = 0; i < words_of(run); i++)
		__atomic_exchange_n(&save->pending[i], 0, __ATOMIC_ACQUIRE);
	for (page = 0; page < run->page_count && !error; page += BATCH_PAGES) {
		uint64_t left = run->page_count - page;

		if (run_abandoned(run))
			return -GMM_EIO;
		error = save_run(run, page, left < BATCH_PAGES ? (uint32_t)left : BATCH_PAGES);
	}
	if (error)
		return error;
	error = gmm_snapshot_writer_end(save->writer);
	return error ? save_failed(run, error) : 0;
}

static bool any_pending(const struct run *run)
{
	uint64_t i;

	for (i = 0; i < words_of(run); i++)
		if (run_load(&run->save->pending[i]))
			return true;
	return false;
}

/* The pages of one word: they were taken from the log before, so a later write is seen again. */
static int save_word(struct run *run, uint64_t word)
{
	uint64_t bits = __atomic_exchange_n(&run->save->pending[word], 0, __ATOMIC_ACQUIRE);
	int error = 0;

	while (bits && !error) {
		uint32_t first = (uint32_t)__builtin_ctzll(bits);
		uint64_t from = ~(bits >> first);
		uint32_t count = from ? (uint32_t)__builtin_ctzll(from) : 64;

		error = save_run(run, word * 64 + first, count);
		bits = first + count < 64 ? bits >> (first + count) << (first + count) : 0;
	}
	return error;
}

static int save_increment(struct run *run)
{
	struct run_save *save = run->save;
	uint64_t word;
	int error;

	if (!any_pending(run))
		return 0;
	error = gmm_snapshot_writer_begin_increment(save->writer);
	if (error)
		return save_failed(run, error);
	set_stage(save, "increment");
	for (word = 0; word < words_of(run) && !error; word++) {
		if (run_abandoned(run))
			return -GMM_EIO;
		error = save_word(run, word);
	}
	if (error)
		return error;
	error = gmm_snapshot_writer_end(save->writer);
	return error ? save_failed(run, error) : 0;
}

/* `room`: files that must find place in the chain after this one. */
static int save_point(struct run *run, uint32_t room)
{
	uint32_t chain = gmm_snapshot_writer_chain(run->save->writer);
	uint64_t start = run_now();
	int error;

	error = chain == 0 || chain + room >= GMM_SNAPSHOT_CHAIN_MAX ? save_base(run) :
								       save_increment(run);
	set_stage(run->save, NULL);
	run->save->counters.nanoseconds += run_now() - start;
	return error;
}

void *run_save_thread(void *opaque)
{
	struct run *run = opaque;
	uint64_t every = run->options.save_every_ms * 1000000u;
	uint64_t due = run_now() + (every ? every : run->options.duration_ms * 1000000u / 2);
	int error = 0;

	if (gmm_snapshot_writer_chain(run->save->writer) == 0)
		error = save_point(run, 1);
	while (!error && due && run_phase(run) == RUN_GOING && !run_abandoned(run)) {
		uint64_t now = run_now();

		if (now < due) {
			run_pause(run, RUN_GOING, due - now);
			continue;
		}
		error = save_point(run, 1);
		due = every ? run_now() + every : 0;
	}
	__atomic_store_n(&run->save->ended, 1, __ATOMIC_RELEASE);
	run_changed(run);
	return NULL;
}

void run_save_wait(struct run *run)
{
	char text[64];

	if (!run->save || !run->saver_worker.started)
		return;
	while (!__atomic_load_n(&run->save->ended, __ATOMIC_ACQUIRE) && !run_abandoned(run)) {
		gmm_live_line("%s%s", run->ops->name, run_save_progress(run, text, sizeof(text)));
		run_pause(run, RUN_QUIET, TICK_NS);
	}
	gmm_live_line_clear();
}

static void compare_page(struct run *run, uint64_t page, const uint64_t *expected,
			 const uint64_t *found)
{
	uint64_t word = 0;

	if (!memcmp(expected, found, RUN_PAGE_BYTES))
		return;
	while (expected[word] == found[word])
		word++;
	run_lost(
		run,
		"page %llu (GPA 0x%llx), vCPU %u: what was saved is not the memory: from byte %llu on "
		"expected %016llx, found %016llx",
		(unsigned long long)page,
		(unsigned long long)(run->snapshot.gpa + page * RUN_PAGE_BYTES),
		run_page_owner(run, page), (unsigned long long)word * 8,
		(unsigned long long)expected[word], (unsigned long long)found[word]);
}

/* So that another program can tell whether it reads the same memory out of the files. */
static uint64_t digest(uint64_t so_far, const uint64_t *words)
{
	uint32_t i;

	for (i = 0; i < RUN_PAGE_BYTES / 8; i++)
		so_far = so_far * 0x100000001b3u + words[i];
	return so_far;
}

/* What is in the files, by the reader, against memory. */
static int compare(struct run *run, const struct gmm_source *saved)
{
	uint64_t expected[RUN_PAGE_BYTES / 8], found[RUN_PAGE_BYTES / 8];
	char text[GMM_BACKING_TEXT_SIZE];
	uint64_t page;
	int error;

	set_stage(run->save, "proof");
	for (page = 0; page < run->page_count; page++) {
		error = read_page(run, page, expected);
		if (error) {
			run_memory_failed(run, "a page cannot be read to compare it", error);
			return error;
		}
		error = saved->ops->read(saved->source, page, 1, found);
		if (error) {
			saved->ops->failure(saved->source, text, sizeof(text));
			run_abandon(run, GMM_EXIT_LOST, "--save %s", text);
			return error;
		}
		run->save->counters.digest = digest(run->save->counters.digest, expected);
		compare_page(run, page, expected, found);
		advance(run, 1);
	}
	run->save->counters.compared = page;
	return 0;
}

static int prove(struct run *run)
{
	struct gmm_source saved;
	int error = gmm_snapshot_writer_reopen(run->save->writer, &saved);

	if (error)
		return save_failed(run, error);
	error = compare(run, &saved);
	gmm_source_close(&saved);
	return error;
}

void run_save_finish(struct run *run)
{
	struct run_save *save = run->save;
	uint64_t start = run_now();
	int error = 0;

	/* What lost something is not what the directory's snapshot should become. */
	if (!save || run_abandoned(run) || run->outcome.losses)
		return;
	error = save_point(run, 0);
	if (!error)
		error = prove(run);
	set_stage(save, NULL);
	if (!error && !run->outcome.losses) {
		error = gmm_snapshot_writer_commit(save->writer);
		if (error)
			save_failed(run, error);
		else
			save->counters.committed = 1;
	}
	save->counters.pause_ns = run_now() - start;
	gmm_live_line_clear();
}

const char *run_save_progress(const struct run *run, char *text, uint32_t text_size)
{
	const char *stage = run->save ? __atomic_load_n(&run->save->stage, __ATOMIC_ACQUIRE) : NULL;

	if (stage)
		snprintf(text, text_size, "  saving: %s %llu/%llu pages", stage,
			 (unsigned long long)run_load(&run->save->done),
			 (unsigned long long)run->page_count);
	else
		*text = '\0';
	return text;
}

int run_save_counters(const struct run *run, struct run_save_counters *counters)
{
	struct gmm_snapshot_writer_counters writer;

	if (!run->save)
		return 0;
	*counters = run->save->counters;
	gmm_snapshot_writer_read_counters(run->save->writer, &writer);
	counters->bases = writer.bases;
	counters->increments = writer.increments;
	counters->pages = writer.pages;
	counters->bytes = writer.bytes;
	counters->chain = counters->committed ? gmm_snapshot_writer_chain(run->save->writer) : 0;
	counters->nanoseconds += counters->pause_ns;
	return 1;
}
