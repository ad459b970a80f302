/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_EXPLORE_STEPS_SHARED_H
#define GMM_EXPLORE_STEPS_SHARED_H

#include "steps.h"

/*
 * For each step whether it is its thread's own: it touches nothing that another thread touches in
 * this schedule; or a statistic; or reads what nobody writes, plainly or once more in a loop; or takes
 * a lock and gives it back with nothing but such steps in between. The first thread does not count: it
 * looks at everything when all is over. Freed by the caller; ends the process when there is no memory.
 */
bool *steps_own(const struct steps *steps);

#endif
