/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gmm_port/debug.h>
#include <gmm_port/section.h>

#include <guestmm/error.h>

#define SAME_VALUE(name) GMM_STATIC_ASSERT(GMM_##name == name, "guestmm/error.h: " #name)
SAME_VALUE(ENOENT);
SAME_VALUE(EIO);
SAME_VALUE(EAGAIN);
SAME_VALUE(ENOMEM);
SAME_VALUE(EFAULT);
SAME_VALUE(EBUSY);
SAME_VALUE(EEXIST);
SAME_VALUE(EXDEV);
SAME_VALUE(EINVAL);
SAME_VALUE(ENOSPC);
SAME_VALUE(EROFS);
SAME_VALUE(ERANGE);
SAME_VALUE(EDEADLK);
SAME_VALUE(ENOSYS);
SAME_VALUE(EOPNOTSUPP);

#if GMM_PORT_TSAN
uint32_t gmm_port_light_word;
uint32_t gmm_port_heavy_word;
#endif

static bool registered;
static bool refused;

static int membarrier(int command)
{
	int saved_errno = errno;
	long status = syscall(SYS_membarrier, command, 0, 0);

	errno = saved_errno;
	return status ? -1 : 0;
}

void gmm_port_section_barrier_refuse(bool refuse)
{
	__atomic_store_n(&refused, refuse, __ATOMIC_RELAXED);
}

int gmm_section_barrier_init(void)
{
	if (__atomic_load_n(&refused, __ATOMIC_RELAXED))
		return -GMM_ENOSYS;
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
		return -GMM_ENOSYS;
	__atomic_store_n(&registered, true, __ATOMIC_RELAXED);
	return 0;
}

/*
 * Where registration was refused every reader uses a full barrier, and a fence here pairs with it.
 * A registered process cannot lose membarrier, except to a seccomp filter installed later; then no
 * promise could be kept, so the process ends.
 */
void gmm_section_heavy_barrier(void)
{
	if (GMM_DEBUG)
		gmm_port_debug_no_spinlock();
#if GMM_PORT_TSAN
	(void)__atomic_fetch_add(&gmm_port_heavy_word, 0, __ATOMIC_RELEASE);
	(void)__atomic_load_n(&gmm_port_light_word, __ATOMIC_ACQUIRE);
#endif
	if (!__atomic_load_n(&registered, __ATOMIC_RELAXED)) {
		gmm_fence();
		return;
	}
	if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		__builtin_trap();
}
