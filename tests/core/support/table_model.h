/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Operations on a table of any format, compared with a plain array from frame to what is mapped
 * there, and with the processor's own reading of the table. The array knows the size of leaves from
 * looking at the table before an operation: which leaves there are is checked by other cases.
 */
#ifndef GMM_TEST_TABLE_MODEL_H
#define GMM_TEST_TABLE_MODEL_H

#include <gmm_port/types.h>

struct table_model;

/* `take` chooses: a number below `bound`. */
struct table_model *table_model_create(uint32_t format, uint32_t flags,
				       uint64_t (*take)(void *context, uint64_t bound),
				       void *context);
/* One operation. */
void table_model_step(struct table_model *model);
/* Compares everything, and frees the model. */
void table_model_finish(struct table_model *model);

#endif
