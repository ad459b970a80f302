/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Inline bodies of gmm_section_enter() and gmm_section_exit(). The struct is the frozen prefix of
 * what a reader handle points at; only the reader itself writes it.
 *
 * Order: the mark is stored, then whatever the section reads is loaded; a writer makes something
 * unreachable, moves the epoch on, passes the heavy barrier, then loads the marks. One of the two
 * sees the other. A mark of the epoch before is waited for; a later one cannot have seen what went.
 */
#ifndef GUESTMM_STATIC_SECTION_H
#define GUESTMM_STATIC_SECTION_H

#include <guestmm/section.h>

#include <gmm_port/atomic.h>
#include <gmm_port/debug.h>
#include <gmm_port/section.h>

struct gmm_reader_hot {
	uint64_t mark;	 /* 0, or the epoch in which the outermost section was entered; atomic */
	uint32_t nested; /* sections inside the outermost one */
	uint32_t full_barrier; /* the world has no asymmetric barrier */
	const uint64_t *epoch; /* of the guest; never 0; atomic */
	uintptr_t engine[4];   /* private to core/section.c */
} __attribute__((aligned(128)));

GMM_INLINE struct gmm_reader_hot *gmm_reader_hot(struct gmm_reader *reader)
{
	struct gmm_reader_hot *hot = (struct gmm_reader_hot *)reader;

	return GMM_SECTION_PER_CPU ? hot + gmm_cpu_index() : hot;
}

GMM_INLINE void gmm_section_enter_inline(struct gmm_reader *reader)
{
	struct gmm_reader_hot *hot;

	gmm_section_pin();
	gmm_debug_section_enter();
	hot = gmm_reader_hot(reader);
	if (gmm_unlikely(gmm_load_relaxed(&hot->mark))) {
		hot->nested++;
		return;
	}
	gmm_store_relaxed(&hot->mark, gmm_load_acquire(hot->epoch));
	gmm_section_light_barrier(hot->full_barrier);
}

GMM_INLINE void gmm_section_exit_inline(struct gmm_reader *reader)
{
	struct gmm_reader_hot *hot = gmm_reader_hot(reader);

	if (gmm_unlikely(hot->nested))
		hot->nested--;
	else
		gmm_store_release(&hot->mark, (uint64_t)0);
	gmm_debug_section_exit();
	gmm_section_unpin();
}

#endif
