/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "failure_impl.h"

int gmm_failure_init(struct gmm_failure *failure)
{
	failure->text[0] = '\0';
	return pthread_mutex_init(&failure->lock, NULL) ? -GMM_ENOMEM : 0;
}

void gmm_failure_destroy(struct gmm_failure *failure)
{
	pthread_mutex_destroy(&failure->lock);
}

void gmm_failure_set(struct gmm_failure *failure, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	pthread_mutex_lock(&failure->lock);
	if (failure->text[0] == '\0')
		vsnprintf(failure->text, sizeof(failure->text), format, arguments);
	pthread_mutex_unlock(&failure->lock);
	va_end(arguments);
}

void gmm_failure_get(struct gmm_failure *failure, char *text, size_t text_size)
{
	if (text_size == 0)
		return;
	pthread_mutex_lock(&failure->lock);
	snprintf(text, text_size, "%s", failure->text);
	pthread_mutex_unlock(&failure->lock);
}

int gmm_refuse(char *text, size_t text_size, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (text && text_size > 0)
		vsnprintf(text, text_size, format, arguments);
	va_end(arguments);
	return error;
}

const char *gmm_errno_text(int error, char *buffer, size_t buffer_size)
{
	return strerror_r(error, buffer, buffer_size);
}
