/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "program.h"

#include <stdlib.h>

#include "../command.h"
#include "run.h"

#define PIECE_BYTES (GMM_CACHE_PAGES_MAX * RUN_PAGE_BYTES)
#define PIECE_PAGES (PIECE_BYTES / sizeof(struct guest_page))

static int make_cache(struct run *run, gmm_gpa_t gpa, uint64_t length, struct gmm_cache **cache)
{
	int error = gmm_cache_create(run->guest, cache);

	if (error) {
		*cache = NULL;
		return error;
	}
	return gmm_cache_activate(*cache, gpa, length, GMM_CACHE_HOST | GMM_CACHE_WRITE);
}

static int make_areas(struct run *run, struct run_program_view *view)
{
	const struct gmm_program *program = &run->program;
	gmm_gpa_t gpa = program->config.program_gpa + program->boot->vcpu_offset;
	uint32_t i;
	int error = 0;

	view->areas = calloc(program->config.vcpus, sizeof(*view->areas));
	if (!view->areas)
		return -GMM_ENOMEM;
	view->area_count = program->config.vcpus;
	for (i = 0; i < view->area_count && !error; i++)
		error = make_cache(run, gpa + i * sizeof(struct guest_vcpu_area),
				   sizeof(struct guest_vcpu_area), &view->areas[i]);
	return error;
}

static int make_pieces(struct run *run, struct run_program_view *view)
{
	const struct gmm_program *program = &run->program;
	gmm_gpa_t gpa = program->config.program_gpa + program->boot->pages_offset;
	uint64_t bytes = run->page_count * sizeof(struct guest_page);
	uint32_t i;
	int error = 0;

	view->piece_count = (uint32_t)((bytes + PIECE_BYTES - 1) / PIECE_BYTES);
	view->pages = calloc(view->piece_count, sizeof(*view->pages));
	if (!view->pages) {
		view->piece_count = 0;
		return -GMM_ENOMEM;
	}
	for (i = 0; i < view->piece_count && !error; i++) {
		uint64_t start = i * PIECE_BYTES;
		uint64_t length = bytes - start < PIECE_BYTES ? bytes - start : PIECE_BYTES;

		error = make_cache(run, gpa + start, length, &view->pages[i]);
	}
	return error;
}

int run_program_view_create(struct run *run)
{
	int error = make_areas(run, &run->view);

	if (!error)
		error = make_pieces(run, &run->view);
	if (error)
		return run_refuse(
			"the guest program's memory cannot be cached (%s): use less memory",
			run_error_text(error));
	return 0;
}

static void destroy_caches(struct gmm_cache **caches, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (caches[i])
			gmm_cache_destroy(caches[i]);
	free(caches);
}

void run_program_view_destroy(struct run *run)
{
	destroy_caches(run->view.areas, run->view.area_count);
	destroy_caches(run->view.pages, run->view.piece_count);
	run->view = (struct run_program_view){ 0 };
}

void *run_section_enter(struct run *run, struct gmm_reader *reader, struct gmm_cache *cache,
			uint64_t offset, uint64_t length, uint64_t *hits)
{
	void *pointer;
	int error;

	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(cache, offset, length);
	if (pointer && hits)
		run_count(hits, 1);
	while (!pointer) {
		gmm_section_exit(reader);
		error = gmm_cache_refresh(cache);
		if (error && !run_failing_try_again(run, error)) {
			run_memory_failed(run, "a cache cannot be refreshed", error);
			return NULL;
		}
		gmm_section_enter(reader);
		pointer = gmm_cache_pointer(cache, offset, length);
	}
	return pointer;
}

struct guest_vcpu_area *run_area_enter(struct run *run, struct gmm_reader *reader, uint32_t vcpu,
				       uint64_t *hits)
{
	return run_section_enter(run, reader, run->view.areas[vcpu], 0,
				 sizeof(struct guest_vcpu_area), hits);
}

struct guest_page *run_page_enter(struct run *run, struct gmm_reader *reader, uint64_t page)
{
	return run_section_enter(run, reader, run->view.pages[page / PIECE_PAGES],
				 page % PIECE_PAGES * sizeof(struct guest_page),
				 sizeof(struct guest_page), NULL);
}

struct gmm_reader *run_reader_register(struct run *run)
{
	struct gmm_reader *reader;
	int error = gmm_reader_register(run->guest, &reader);

	if (!error)
		return reader;
	run_abandon(run, GMM_EXIT_LOST, "a thread cannot become a reader: %s",
		    run_error_text(error));
	return NULL;
}
