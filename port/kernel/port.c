/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <linux/errno.h>
#include <linux/llist.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <gmm_port/alloc.h>
#include <gmm_port/section.h>
#include <gmm_port/step.h>
#include <gmm_port/wait.h>

#include <guestmm/error.h>

#define CACHE_LINE 64u

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

void gmm_waitqueue_wait(struct gmm_waitqueue *queue, struct gmm_spinlock *lock)
{
	DEFINE_WAIT(wait);

	if (GMM_DEBUG)
		gmm_port_debug_only_spinlock(lock);
	prepare_to_wait(&queue->head, &wait, TASK_UNINTERRUPTIBLE);
	gmm_spin_unlock(lock);
	schedule();
	finish_wait(&queue->head, &wait);
	gmm_spin_lock(lock);
}

static bool barrier_refused;

void gmm_port_section_barrier_refuse(bool refuse)
{
	WRITE_ONCE(barrier_refused, refuse);
}

int gmm_section_barrier_init(void)
{
	return READ_ONCE(barrier_refused) ? -GMM_ENOSYS : 0;
}

static void full_barrier(void *unused)
{
	(void)unused;
	smp_mb();
}

void gmm_section_heavy_barrier(void)
{
	if (GMM_DEBUG)
		gmm_port_debug_no_spinlock();
	smp_mb();
	smp_call_function(full_barrier, NULL, 1);
	smp_mb();
}

#if GMM_STEPS
gmm_step_hook_t gmm_port_step_hook;

void gmm_step_hook_set(void (*hook)(enum gmm_step_point point))
{
	smp_store_release(&gmm_port_step_hook, hook);
}
#endif

#if GMM_DEBUG || GMM_STEPS
static atomic64_t fail_countdown = ATOMIC64_INIT(0);
static atomic64_t live = ATOMIC64_INIT(0);
static bool failed;

void gmm_port_alloc_fail_at(uint64_t nth)
{
	WRITE_ONCE(failed, false);
	atomic64_set(&fail_countdown, nth);
}

bool gmm_port_alloc_failed(void)
{
	return READ_ONCE(failed);
}

uint64_t gmm_port_alloc_live(void)
{
	return atomic64_read(&live);
}

static bool alloc_refused(void)
{
	s64 left = atomic64_dec_if_positive(&fail_countdown);

	if (left != 0)
		return false;
	WRITE_ONCE(failed, true);
	return true;
}

static void count_live(int change)
{
	atomic64_add(change, &live);
}
#else
static bool alloc_refused(void)
{
	return false;
}

static void count_live(int change)
{
	(void)change;
}
#endif

/* kmalloc() aligns sizes that are powers of two to themselves, others to 8 bytes at the worst. */
static size_t size_for_alignment(size_t size)
{
	return size > CACHE_LINE && size < PAGE_SIZE ? roundup_pow_of_two(size) : size;
}

static void *alloc_counted(void *pointer)
{
	if (pointer)
		count_live(1);
	return pointer;
}

void *gmm_zalloc(size_t size)
{
	gmm_assert_may_sleep();
	might_sleep();
	if (alloc_refused())
		return NULL;
	return alloc_counted(kvzalloc(size_for_alignment(size), GFP_KERNEL));
}

void *gmm_zalloc_atomic(size_t size)
{
	if (alloc_refused())
		return NULL;
	return alloc_counted(kzalloc(size_for_alignment(size), GFP_ATOMIC | __GFP_NOWARN));
}

/* Freeing what vmalloc() gave may sleep, which gmm_free() must not: a worker does it. */
static LLIST_HEAD(to_vfree);

static void vfree_all(struct work_struct *work)
{
	struct llist_node *node = llist_del_all(&to_vfree);

	(void)work;
	while (node) {
		struct llist_node *next = node->next;

		vfree(node);
		node = next;
	}
}

static DECLARE_WORK(vfree_work, vfree_all);

void gmm_free(void *pointer, size_t size)
{
	(void)size;
	if (!pointer)
		return;
	count_live(-1);
	if (!is_vmalloc_addr(pointer)) {
		kfree(pointer);
		return;
	}
	if (llist_add(pointer, &to_vfree))
		schedule_work(&vfree_work);
}

void gmm_port_alloc_flush(void)
{
	flush_work(&vfree_work);
}
