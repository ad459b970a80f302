/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <guestmm/error.h>
#include <guestmm/static/cache.h>

#include "device_impl.h"

struct held_cache {
	struct gmm_cache *cache;
	refcount_t users; /* the handle is one */
	u64 length;
};

static void free_cache(struct gmm_device *device, struct held_cache *held)
{
	WARN_ON(gmm_cache_destroy(held->cache));
	kfree(held);
	atomic_dec(&device->cache_count);
}

static void put_cache(struct gmm_device *device, struct held_cache *held)
{
	if (refcount_dec_and_test(&held->users))
		free_cache(device, held);
}

static struct held_cache *get_cache(struct gmm_device *device, u64 handle)
{
	struct held_cache *held = NULL;

	if (handle > U32_MAX)
		return NULL;
	xa_lock(&device->caches);
	held = xa_load(&device->caches, handle);
	if (held)
		refcount_inc(&held->users);
	xa_unlock(&device->caches);
	return held;
}

static int check_cache(const struct gmm_device_cache *config)
{
	if (config->flags & ~(GMM_DEVICE_CACHE_HVA | GMM_DEVICE_CACHE_WRITE) || config->reserved ||
	    !config->length || config->length > GMM_DEVICE_CACHE_LENGTH_MAX)
		return -EINVAL;
	if ((config->flags & GMM_DEVICE_CACHE_HVA) &&
	    !access_ok((void __user *)(uintptr_t)config->address, config->length))
		return -EFAULT;
	return 0;
}

static int activate(struct gmm_cache *cache, const struct gmm_device_cache *config)
{
	uint32_t uses = GMM_CACHE_HOST |
			(config->flags & GMM_DEVICE_CACHE_WRITE ? GMM_CACHE_WRITE : 0);

	if (config->flags & GMM_DEVICE_CACHE_HVA)
		return gmm_cache_activate_hva(cache, config->address, config->length, uses);
	return gmm_cache_activate(cache, config->address, config->length, uses);
}

/* With its count taken. */
static int make_cache(struct gmm_device *device, const struct gmm_device_cache *config,
		      struct held_cache **made)
{
	struct held_cache *held = kzalloc(sizeof(*held), GFP_KERNEL);
	int error;

	if (!held)
		return -ENOMEM;
	held->length = config->length;
	refcount_set(&held->users, 1);
	error = gmm_cache_create(device->guest, &held->cache);
	if (error) {
		kfree(held);
		return error;
	}
	error = activate(held->cache, config);
	if (error) {
		WARN_ON(gmm_cache_destroy(held->cache));
		kfree(held);
		return error;
	}
	*made = held;
	return 0;
}

int gmm_device_cache_create(struct gmm_device *device, struct gmm_device_cache *config)
{
	struct held_cache *held;
	u32 handle;
	int error = check_cache(config);

	if (error)
		return error;
	if (!atomic_add_unless(&device->cache_count, 1, GMM_DEVICE_CACHES_MAX))
		return -ENOSPC;
	error = make_cache(device, config, &held);
	if (error) {
		atomic_dec(&device->cache_count);
		return error;
	}
	error = xa_alloc_cyclic(&device->caches, &handle, held, XA_LIMIT(1, U32_MAX),
				&device->next_handle, GFP_KERNEL);
	if (error < 0) {
		free_cache(device, held);
		return error;
	}
	config->handle = handle;
	return 0;
}

int gmm_device_cache_destroy(struct gmm_device *device, u64 handle)
{
	struct held_cache *held = handle > U32_MAX ? NULL : xa_erase(&device->caches, handle);

	if (!held)
		return -ENOENT;
	put_cache(device, held);
	return 0;
}

void gmm_device_caches_destroy(struct gmm_device *device)
{
	struct held_cache *held;
	unsigned long handle;

	xa_for_each(&device->caches, handle, held) free_cache(device, held);
	xa_destroy(&device->caches);
}

int gmm_device_cache_check(struct gmm_device *device, struct gmm_device_check *check)
{
	struct held_cache *held = get_cache(device, check->handle);

	if (!held)
		return -ENOENT;
	gmm_section_enter_inline(device->reader);
	check->valid = gmm_cache_pointer_inline(held->cache, 0, held->length) != NULL;
	check->writable = check->valid && gmm_cache_writable_inline(held->cache);
	gmm_section_exit_inline(device->reader);
	put_cache(device, held);
	return 0;
}

int gmm_device_cache_refresh(struct gmm_device *device, u64 handle)
{
	struct held_cache *held = get_cache(device, handle);
	int error;

	if (!held)
		return -ENOENT;
	error = gmm_cache_refresh(held->cache);
	put_cache(device, held);
	return error;
}

/* In a section, over a valid cache. */
static int copy_in_section(struct gmm_cache *cache, void *pointer, u64 offset, void *buffer,
			   size_t count, bool write)
{
	if (!write) {
		memcpy(buffer, pointer, count);
		return 0;
	}
	if (!gmm_cache_writable_inline(cache))
		return -EROFS;
	memcpy(pointer, buffer, count);
	gmm_cache_mark_dirty_inline(cache, offset, count);
	return 0;
}

static int copy_once(struct gmm_device *device, struct gmm_cache *cache, u64 offset, void *buffer,
		     size_t count, bool write)
{
	void *pointer;
	int error;

	gmm_section_enter_inline(device->reader);
	while (!(pointer = gmm_cache_pointer_inline(cache, offset, count))) {
		gmm_section_exit_inline(device->reader);
		error = fatal_signal_pending(current) ? -EINTR : gmm_cache_refresh(cache);
		if (error)
			return error;
		cond_resched();
		gmm_section_enter_inline(device->reader);
	}
	error = copy_in_section(cache, pointer, offset, buffer, count, write);
	gmm_section_exit_inline(device->reader);
	return error;
}

/* A page at a time by way of `page`: the caller's buffer may fault, and so is not for sections. */
static int transfer_all(struct gmm_device *device, struct gmm_cache *cache,
			const struct gmm_device_transfer *transfer, bool write, void *page)
{
	u64 done = 0;
	int error = 0;

	while (!error && done < transfer->length) {
		char __user *buffer = (char __user *)(uintptr_t)transfer->buffer + done;
		size_t count = min_t(u64, transfer->length - done, PAGE_SIZE);

		if (write && copy_from_user(page, buffer, count))
			return -EFAULT;
		error = copy_once(device, cache, transfer->offset + done, page, count, write);
		if (!error && !write && copy_to_user(buffer, page, count))
			return -EFAULT;
		done += count;
		cond_resched();
	}
	return error;
}

int gmm_device_cache_transfer(struct gmm_device *device, const struct gmm_device_transfer *transfer,
			      bool write)
{
	struct held_cache *held = get_cache(device, transfer->handle);
	int error = -ERANGE;
	void *page;

	if (!held)
		return -ENOENT;
	if (transfer->offset <= held->length &&
	    transfer->length <= held->length - transfer->offset) {
		page = (void *)__get_free_page(GFP_KERNEL);
		error = page ? transfer_all(device, held->cache, transfer, write, page) : -ENOMEM;
		free_page((unsigned long)page);
	}
	put_cache(device, held);
	return error;
}
