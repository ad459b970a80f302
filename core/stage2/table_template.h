/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables as a template: a .c file of a format defines FORMAT, FORMAT_INDEX_BITS,
 * FORMAT_PFN_STEP, FORMAT_FACTS, the functions entry_...() and format_...(), and includes this file,
 * which makes gmm_stage2_code_<FORMAT>. Optional: FORMAT_ABSENT and FORMAT_FILL_ABSENT, where an
 * absent entry is not 0 above level 0; FORMAT_BREAKS 1, where an entry that changes its frame or
 * its size has to be invalid in between.
 */
#include "../bits.h"

#include "table_walk.h"
#include "table_map.h"
#include "table_update.h"
#include "table_zap.h"
#include "table_shape.h"

/* Depth first, without recursion. Nobody uses the table any more. */
static void free_tables(struct gmm_stage2_table *table)
{
	uint64_t *path[GMM_STAGE2_TABLE_LEVELS], at[GMM_STAGE2_TABLE_LEVELS];
	uint32_t level = table->levels - 1;

	path[level] = table->root;
	at[level] = 0;
	for (;;) {
		uint64_t entries = level == table->levels - 1 ? table->root_bytes / 8 :
								(uint64_t)FORMAT_ENTRIES;
		uint64_t entry;

		if (!level || at[level] == entries) {
			bool root = level == table->levels - 1;

			table->config.ops->table_free(table->config.owner, path[level],
						      root ? table->root_bytes :
							     table->table_bytes);
			if (root)
				return;
			level++;
			continue;
		}
		entry = path[level][at[level]++];
		if (entry_is_table(table, entry, level)) {
			level--;
			path[level] = entries_of(table, entry);
			at[level] = 0;
		}
	}
}

#define FORMAT_CODE_(name) gmm_stage2_code_##name
#define FORMAT_CODE(name) FORMAT_CODE_(name)

const struct gmm_stage2_code FORMAT_CODE(FORMAT) = {
	.facts = FORMAT_FACTS,
	.shape = format_shape,
	.read_root = format_read_root,
	.fill_absent = FORMAT_FILL_ABSENT,
	.free_tables = free_tables,
	.map = map,
	.map_leaf = map_leaf,
	.touch = touch,
	.look_up = look_up,
	.walk = walk,
	.unmap = unmap,
	.replace = replace,
	.write_protect = write_protect,
	.clean = clean,
	.age = age,
	.test_age = test_age,
	.split = split,
	.collapse = collapse,
};
