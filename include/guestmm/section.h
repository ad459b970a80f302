/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Sections: host access to guest memory happens between enter and exit. Entering and leaving are
 * plain stores to the reader's own mark; whoever changes memory pays for making the mark visible
 * (W1). Inside a section nothing may sleep, allocate, refresh a cache or begin a change. Sections
 * nest, are short, and see one guest.
 */
#ifndef GUESTMM_SECTION_H
#define GUESTMM_SECTION_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A reader is the right of one thread to have sections of one guest. It belongs to the thread that
 * registered it. In the kernel a reader is any task, and the handle only names the guest.
 * -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_reader_register(struct gmm_guest *guest, struct gmm_reader **reader);

/* Gives it back, outside a section, on the thread that registered it. */
GMM_API void gmm_reader_unregister(struct gmm_reader *reader);

/*
 * Enters and leaves a section. Never sleep, never fail. What was made unreachable before a writer's
 * gmm_section_wait() returned cannot be found after enter. Also inline: static/section.h.
 */
GMM_API void gmm_section_enter(struct gmm_reader *reader);
GMM_API void gmm_section_exit(struct gmm_reader *reader);

/*
 * Waits until every section of this guest that was entered before the call is left; orders
 * everything done in them before what follows. Bounded by the longest section.
 * -GMM_EDEADLK: the calling thread is in one. Does not sleep on a lock.
 */
GMM_API int gmm_section_wait(struct gmm_guest *guest);

#ifdef __cplusplus
}
#endif

#endif
