/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched.h>

#include <guestmm/error.h>

#include "device_impl.h"

static void log_line(void *opaque, enum gmm_log_level level, const char *text)
{
	(void)opaque;
	if (level == GMM_LOG_INFO)
		pr_info_ratelimited("guestmm: %s\n", text);
	else
		pr_warn_ratelimited("guestmm: %s\n", text);
}

static int make_guest(struct gmm_device *device, uint32_t gpa_bits)
{
	struct gmm_guest_config config = {
		.page_shift = PAGE_SHIFT,
		.gpa_bits = gpa_bits,
		.hva_ops = &gmm_device_user_memory,
		.hva_memory = device,
		.log = log_line,
	};
	int error = gmm_guest_create(&config, &device->guest);

	if (error)
		return error;
	error = gmm_reader_register(device->guest, &device->reader);
	if (error)
		WARN_ON(gmm_guest_destroy(device->guest));
	return error;
}

static void end_guest(struct gmm_device *device)
{
	gmm_reader_unregister(device->reader);
	WARN_ON(gmm_guest_destroy(device->guest));
}

static int make_watched_guest(struct gmm_device *device, uint32_t gpa_bits)
{
	int error = make_guest(device, gpa_bits);

	if (error)
		return error;
	error = gmm_device_watch(device);
	if (error)
		end_guest(device);
	else
		smp_store_release(&device->ready, true);
	return error;
}

int gmm_device_guest_create(struct gmm_device *device, const struct gmm_device_guest *config)
{
	int error;

	if (config->flags || config->gpa_bits > GMM_DEVICE_GPA_BITS_MAX)
		return -EINVAL;
	error = mutex_lock_killable(&device->mutex);
	if (error)
		return error;
	error = device->ready ? -EEXIST : make_watched_guest(device, config->gpa_bits);
	mutex_unlock(&device->mutex);
	return error;
}

static void remove_slots(struct gmm_guest *guest)
{
	uint32_t id;

	for (id = 0; id < GMM_DEVICE_SLOTS_MAX && gmm_slot_count(guest); id++)
		gmm_slot_remove(guest, id);
}

/* The notifier goes first: a change whose end is never told must not be waited for. */
void gmm_device_guest_destroy(struct gmm_device *device)
{
	if (!device->ready)
		return;
	gmm_device_unwatch(device);
	gmm_device_caches_destroy(device);
	remove_slots(device->guest);
	end_guest(device);
}

void gmm_device_read_counters(struct gmm_device *device, struct gmm_device_counters *counters)
{
	struct gmm_guest_counters of_guest;

	gmm_guest_read_counters(device->guest, &of_guest);
	*counters = (struct gmm_device_counters){
		.begins = atomic64_read(&device->changes.begins),
		.ends = atomic64_read(&device->changes.ends),
		.begins_non_blocking = atomic64_read(&device->changes.begins_non_blocking),
		.begins_merged = atomic64_read(&device->changes.begins_merged),
		.cache_invalidations = of_guest.cache_invalidations,
		.cache_refreshes = of_guest.cache_refreshes,
		.cache_refresh_kept = of_guest.cache_refresh_kept,
		.cache_retries = of_guest.cache_retries,
		.cache_nodes = of_guest.cache_nodes,
		.reader_waits = of_guest.reader_waits,
	};
}
