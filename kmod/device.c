/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* /dev/guestmm: descriptors and the calls of include/uapi/guestmm/guestmm.h. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "device_impl.h"

union argument {
	struct gmm_device_info info;
	struct gmm_device_guest guest;
	struct gmm_device_slot slot;
	struct gmm_device_slot_id slot_id;
	struct gmm_device_cache cache;
	struct gmm_device_handle handle;
	struct gmm_device_check check;
	struct gmm_device_transfer transfer;
	struct gmm_device_counters counters;
};

static int device_info(struct gmm_device *device, union argument *argument)
{
	(void)device;
	argument->info = (struct gmm_device_info){
		.abi = GMM_DEVICE_ABI,
		.page_size = PAGE_SIZE,
		.slots_max = GMM_DEVICE_SLOTS_MAX,
		.caches_max = GMM_DEVICE_CACHES_MAX,
		.slot_size_max = GMM_DEVICE_SLOT_SIZE_MAX,
		.cache_length_max = GMM_DEVICE_CACHE_LENGTH_MAX,
	};
	return 0;
}

static int guest_create(struct gmm_device *device, union argument *argument)
{
	return gmm_device_guest_create(device, &argument->guest);
}

static int slot_add(struct gmm_device *device, union argument *argument)
{
	const struct gmm_device_slot *slot = &argument->slot;
	struct gmm_slot_config config = {
		.id = slot->id,
		.flags = slot->flags & GMM_DEVICE_SLOT_READ_ONLY ? GMM_SLOT_READ_ONLY : 0,
		.gfn = slot->gpa >> PAGE_SHIFT,
		.count = slot->size >> PAGE_SHIFT,
		.hva = slot->address,
		.memory_ops = &gmm_device_user_memory,
		.memory = device,
		.memory_page = slot->address >> PAGE_SHIFT,
	};

	if (slot->id >= GMM_DEVICE_SLOTS_MAX || slot->flags & ~GMM_DEVICE_SLOT_READ_ONLY ||
	    !slot->size || slot->size > GMM_DEVICE_SLOT_SIZE_MAX ||
	    ((slot->gpa | slot->size | slot->address) & ~PAGE_MASK))
		return -EINVAL;
	if (!access_ok((void __user *)(uintptr_t)slot->address, slot->size))
		return -EFAULT;
	return gmm_slot_add(device->guest, &config);
}

static int slot_remove(struct gmm_device *device, union argument *argument)
{
	if (argument->slot_id.reserved)
		return -EINVAL;
	return gmm_slot_remove(device->guest, argument->slot_id.id);
}

static int cache_create(struct gmm_device *device, union argument *argument)
{
	return gmm_device_cache_create(device, &argument->cache);
}

static int cache_destroy(struct gmm_device *device, union argument *argument)
{
	return gmm_device_cache_destroy(device, argument->handle.handle);
}

static int cache_check(struct gmm_device *device, union argument *argument)
{
	return gmm_device_cache_check(device, &argument->check);
}

static int cache_refresh(struct gmm_device *device, union argument *argument)
{
	return gmm_device_cache_refresh(device, argument->handle.handle);
}

static int cache_read(struct gmm_device *device, union argument *argument)
{
	return gmm_device_cache_transfer(device, &argument->transfer, false);
}

static int cache_write(struct gmm_device *device, union argument *argument)
{
	return gmm_device_cache_transfer(device, &argument->transfer, true);
}

static int read_counters(struct gmm_device *device, union argument *argument)
{
	gmm_device_read_counters(device, &argument->counters);
	return 0;
}

static const struct {
	unsigned int command;
	bool without_guest;
	int (*call)(struct gmm_device *device, union argument *argument);
} calls[] = {
	{ GMM_DEVICE_INFO, true, device_info },
	{ GMM_DEVICE_GUEST_CREATE, true, guest_create },
	{ GMM_DEVICE_SLOT_ADD, false, slot_add },
	{ GMM_DEVICE_SLOT_REMOVE, false, slot_remove },
	{ GMM_DEVICE_CACHE_CREATE, false, cache_create },
	{ GMM_DEVICE_CACHE_DESTROY, false, cache_destroy },
	{ GMM_DEVICE_CACHE_CHECK, false, cache_check },
	{ GMM_DEVICE_CACHE_REFRESH, false, cache_refresh },
	{ GMM_DEVICE_CACHE_READ, false, cache_read },
	{ GMM_DEVICE_CACHE_WRITE_TO, false, cache_write },
	{ GMM_DEVICE_COUNTERS, false, read_counters },
};

static int may_call(struct gmm_device *device, bool without_guest)
{
	if (!smp_load_acquire(&device->ready))
		return without_guest ? 0 : -ENXIO;
	return without_guest || current->mm == device->notifier.mm ? 0 : -EIO;
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long address)
{
	struct gmm_device *device = file->private_data;
	union argument argument = { 0 };
	size_t i;
	int error;

	for (i = 0; i < ARRAY_SIZE(calls) && calls[i].command != command; i++)
		;
	if (i == ARRAY_SIZE(calls))
		return -ENOTTY;
	error = may_call(device, calls[i].without_guest);
	if (error)
		return error;
	if ((_IOC_DIR(command) & _IOC_WRITE) &&
	    copy_from_user(&argument, (void __user *)address, _IOC_SIZE(command)))
		return -EFAULT;
	error = calls[i].call(device, &argument);
	if (!error && (_IOC_DIR(command) & _IOC_READ) &&
	    copy_to_user((void __user *)address, &argument, _IOC_SIZE(command)))
		return -EFAULT;
	return error;
}

static int device_open(struct inode *inode, struct file *file)
{
	struct gmm_device *device = kzalloc(sizeof(*device), GFP_KERNEL);

	(void)inode;
	if (!device)
		return -ENOMEM;
	mutex_init(&device->mutex);
	gmm_device_changes_init(&device->changes);
	xa_init_flags(&device->caches, XA_FLAGS_ALLOC1);
	file->private_data = device;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct gmm_device *device = file->private_data;

	(void)inode;
	gmm_device_guest_destroy(device);
	mutex_destroy(&device->mutex);
	kfree(device);
	return 0;
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = no_llseek,
};

static struct miscdevice device_node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "guestmm",
	.fops = &device_operations,
	.mode = 0600,
};

int gmm_device_register(void)
{
	return misc_register(&device_node);
}

void gmm_device_unregister(void)
{
	misc_deregister(&device_node);
}
