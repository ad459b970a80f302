/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The first failure of an object, kept as one line for whoever reports it. */
#ifndef GUESTMM_BACKING_FAILURE_IMPL_H
#define GUESTMM_BACKING_FAILURE_IMPL_H

#include <pthread.h>

#include <guestmm/linux/source.h>

struct gmm_failure {
	pthread_mutex_t lock;
	char text[GMM_BACKING_TEXT_SIZE]; /* under lock; "": nothing failed */
};

int gmm_failure_init(struct gmm_failure *failure);
void gmm_failure_destroy(struct gmm_failure *failure);
/* Keeps the line unless there is one already. */
void gmm_failure_set(struct gmm_failure *failure, const char *format, ...) GMM_PRINTF(2, 3);
void gmm_failure_get(struct gmm_failure *failure, char *text, size_t text_size);

/* Writes a line for the caller of an open or create, and returns `error`. */
int gmm_refuse(char *text, size_t text_size, int error, const char *format, ...) GMM_PRINTF(4, 5);

/* The text of an errno, without the static buffer of strerror(). */
const char *gmm_errno_text(int error, char *buffer, size_t buffer_size);

#endif
