/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "reference.h"

bool reference_membarrier_works(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

uint64_t reference_membarrier(void *unused, uint64_t count)
{
	uint64_t done;

	for (done = 0; done < count; done++)
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
			bench_broken("membarrier");
	return done;
}
