/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The walker, as a template: a .c file includes a format's header, which defines GMM_WALKER and
 * what an entry means, and then this one, and gets static functions compiled for that format. No
 * guard: each inclusion makes another set.
 *
 * Tables are linked by compare-and-exchange, filled before they are linked (L9), and never unlinked
 * before the whole is destroyed, so a walk needs no lock and an entry's address stays good.
 */

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#include "stage2.h"

#define WALKER_ENTRIES (1u << GMM_WALKER_BITS)
#define WALKER_BYTES (WALKER_ENTRIES * sizeof(uint64_t))

static inline uint32_t GMM_WALKER(index)(uint64_t frame, uint32_t level)
{
	return (frame >> (level * GMM_WALKER_BITS)) & (WALKER_ENTRIES - 1);
}

/* The leaf entry of a frame; NULL when no table reaches it. */
static uint64_t *GMM_WALKER(find)(const struct gmm_stage2 *stage2, uint64_t frame)
{
	uint64_t *table = stage2->root;
	uint32_t level;

	for (level = stage2->levels - 1; level; level--) {
		uint64_t entry = gmm_load_acquire(&table[GMM_WALKER(index)(frame, level)]);

		if (!entry)
			return NULL;
		table = GMM_WALKER_TABLE(entry);
	}
	return &table[GMM_WALKER(index)(frame, 0)];
}

/* The leaf entry of a frame, making tables on the way; NULL when one could not be allocated. */
static uint64_t *GMM_WALKER(populate)(struct gmm_stage2 *stage2, uint64_t frame)
{
	uint64_t *table = stage2->root;
	uint32_t level;

	for (level = stage2->levels - 1; level; level--) {
		uint64_t *link = &table[GMM_WALKER(index)(frame, level)];
		uint64_t entry = gmm_load_acquire(link);

		if (!entry) {
			uint64_t *made = gmm_zalloc(WALKER_BYTES);

			if (!made)
				return NULL;
			if (gmm_compare_exchange(link, &entry, GMM_WALKER_LINK(made))) {
				entry = GMM_WALKER_LINK(made);
				gmm_fetch_add(&stage2->tables, (uint64_t)1);
			} else {
				gmm_free(made, WALKER_BYTES);
			}
		}
		table = GMM_WALKER_TABLE(entry);
	}
	return &table[GMM_WALKER(index)(frame, 0)];
}

/* Frames from `frame` on to the end of what one entry of `level` covers. */
static inline uint64_t GMM_WALKER(rest)(uint64_t frame, uint32_t level)
{
	uint64_t span = (uint64_t)1 << (level * GMM_WALKER_BITS);

	return span - (frame & (span - 1));
}

/*
 * Calls visit() once for each run of leaf entries that lie in one table and in the range. Absent
 * tables are passed over at the level at which they are absent. A non-zero answer ends the walk and
 * is returned.
 */
static int GMM_WALKER(visit)(const struct gmm_stage2 *stage2, uint64_t frame, uint64_t count,
			     gmm_stage2_visit_fn visit, void *context)
{
	while (count) {
		uint64_t *table = stage2->root;
		uint32_t level = stage2->levels - 1;
		uint64_t run;
		int answer;

		for (; level; level--) {
			uint64_t entry = gmm_load_acquire(&table[GMM_WALKER(index)(frame, level)]);

			if (!entry)
				break;
			table = GMM_WALKER_TABLE(entry);
		}
		run = GMM_WALKER(rest)(frame, level ? level : 1);
		if (run > count)
			run = count;
		if (!level) {
			answer = visit(context, frame, &table[GMM_WALKER(index)(frame, 0)],
				       (uint32_t)run);
			if (answer)
				return answer;
		}
		frame += run;
		count -= run;
	}
	return 0;
}

/* Frees all tables. Depth first, without recursion. */
static void GMM_WALKER(destroy)(struct gmm_stage2 *stage2)
{
	uint64_t *path[GMM_STAGE2_LEVELS_MAX];
	uint32_t at[GMM_STAGE2_LEVELS_MAX];
	uint32_t level = stage2->levels - 1;

	if (!stage2->root)
		return;
	path[level] = stage2->root;
	at[level] = 0;
	for (;;) {
		if (!level || at[level] == WALKER_ENTRIES) {
			gmm_free(path[level], WALKER_BYTES);
			if (++level == stage2->levels)
				break;
			continue;
		}
		if (path[level][at[level]]) {
			path[level - 1] = GMM_WALKER_TABLE(path[level][at[level]]);
			at[level - 1] = 0;
			at[level]++;
			level--;
		} else {
			at[level]++;
		}
	}
	stage2->root = NULL;
}

#undef WALKER_ENTRIES
#undef WALKER_BYTES
