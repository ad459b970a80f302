/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Huge pages for the time of one test program. A process of its own gives them back when the program
 * ends, in whichever way: it waits for the end of a pipe, outside the program's process group. One
 * program at a time has them: the file of the kernel is locked.
 */
#ifndef TESTS_HUGE_PAGES_H
#define TESTS_HUGE_PAGES_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define HUGE_PAGES 16
#define HUGE_BYTES (2ull << 20)
#define HUGE_PAGES_FILE "/proc/sys/vm/nr_hugepages"

static inline long huge_pages_read(void)
{
	FILE *file = fopen(HUGE_PAGES_FILE, "re");
	long count = -1;

	if (file) {
		if (fscanf(file, "%ld", &count) != 1)
			count = -1;
		fclose(file);
	}
	return count;
}

static inline int huge_pages_write(int fd, long count)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "%ld\n", count);

	return pwrite(fd, text, (size_t)length, 0) == length ? 0 : -1;
}

/* Holds everything open that the guardian needs; returns when the program is gone. */
static inline void huge_pages_guard(int fd, int end, long before)
{
	char byte;

	setsid();
	while (read(end, &byte, 1) > 0)
		;
	huge_pages_write(fd, before);
	_exit(0);
}

/* NULL, or why there are none. Call it once, at the start, on a program of one thread. */
static inline const char *huge_pages_reserve(void)
{
	int fd = open(HUGE_PAGES_FILE, O_RDWR | O_CLOEXEC), ends[2];
	long before;
	pid_t guard;

	if (fd < 0)
		return "huge pages can be reserved by root only (" HUGE_PAGES_FILE ")";
	if (flock(fd, LOCK_EX) != 0 || pipe2(ends, O_CLOEXEC) != 0)
		return "huge pages cannot be guarded";
	before = huge_pages_read();
	guard = fork();
	if (guard == 0) {
		close(ends[1]);
		huge_pages_guard(fd, ends[0], before);
	}
	close(ends[0]);
	if (guard < 0 || huge_pages_write(fd, before + HUGE_PAGES) != 0)
		return "huge pages cannot be reserved";
	/* The lock is the guardian's now, until it has given them back. */
	close(fd);
	return huge_pages_read() < before + HUGE_PAGES ?
		       "the host has no 16 huge pages of 2 MiB in one piece" :
		       NULL;
}

#endif
