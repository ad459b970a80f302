/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "guest_impl.h"

#include <gmm_port/alloc.h>

#include "vcpu_impl.h"

static int check_stage2(const struct gmm_stage2_ops *ops)
{
	if (!ops)
		return 0;
	if (ops->version != GMM_STAGE2_OPS_VERSION || !ops->map || !ops->unmap || !ops->protect ||
	    !ops->unprotect || !ops->wake || !ops->slot_change)
		return -GMM_EINVAL;
	if ((ops->flags & GMM_STAGE2_LOGS_WRITES) && !ops->collect_dirty)
		return -GMM_EINVAL;
	return 0;
}

static int check_config(struct gmm_guest_config *config)
{
	if (gmm_guest_table_check(config))
		return -GMM_EINVAL;
	if (!config->page_shift)
		config->page_shift = 12;
	if (!config->gpa_bits)
		config->gpa_bits = GMM_GPA_BITS_DEFAULT;
	if (config->page_shift != 12 && config->page_shift != 14 && config->page_shift != 16)
		return -GMM_EINVAL;
	if (config->gpa_bits < config->page_shift + GMM_SLOT_TABLE_BITS ||
	    config->gpa_bits > GMM_GPA_BITS_MAX)
		return -GMM_EINVAL;
	if (config->max_vcpus > GMM_VCPUS_MAX || (config->leave_out && !GMM_STEPS))
		return -GMM_EINVAL;
	if (config->hva_ops && gmm_memory_ops_check(config->hva_ops))
		return -GMM_EINVAL;
	return check_stage2(config->stage2_ops);
}

static void init_hot(struct gmm_guest *guest)
{
	struct gmm_guest_hot *hot = &guest->hot;

	hot->page_shift = guest->config.page_shift;
	hot->chunk_shift = hot->page_shift + GMM_SLOT_TABLE_BITS;
	hot->table_shift = hot->chunk_shift + GMM_SLOT_TABLE_BITS;
	hot->gpa_limit = (uint64_t)1 << guest->config.gpa_bits;
	guest->directory_entries = ((hot->gpa_limit - 1) >> hot->table_shift) + 1;
}

static int allocate(struct gmm_guest *guest)
{
	int error;

	guest->hot.directory = gmm_zalloc(guest->directory_entries * sizeof(*guest->hot.directory));
	if (!guest->hot.directory)
		return -GMM_ENOMEM;
	if (guest->config.max_vcpus) {
		guest->vcpus = gmm_zalloc(guest->config.max_vcpus * sizeof(*guest->vcpus));
		if (!guest->vcpus)
			return -GMM_ENOMEM;
	}
	error = gmm_slots_init(&guest->slots);
	if (!error)
		error = gmm_stage2_init(&guest->stage2,
					guest->config.gpa_bits - guest->config.page_shift);
	if (!error)
		error = gmm_guest_table_init(&guest->table, guest->config.table);
	return error;
}

static void release(struct gmm_guest *guest)
{
	gmm_guest_table_fini(&guest->table);
	gmm_stage2_destroy(&guest->stage2);
	gmm_slots_destroy(&guest->slots);
	gmm_free(guest->vcpus, guest->config.max_vcpus * sizeof(*guest->vcpus));
	if (guest->hot.directory)
		gmm_slot_table_destroy(guest);
	gmm_free(guest, sizeof(*guest));
}

int gmm_guest_create(const struct gmm_guest_config *config, struct gmm_guest **guest)
{
	struct gmm_guest_config checked = *config;
	struct gmm_guest *made;
	int error = check_config(&checked);

	if (error)
		return error;
	made = gmm_zalloc(sizeof(*made));
	if (!made)
		return -GMM_ENOMEM;
	made->config = checked;
	init_hot(made);
	error = allocate(made);
	if (!error)
		error = gmm_section_domain_init(&made->sections);
	if (error) {
		release(made);
		return error;
	}
	gmm_invalidation_init(&made->invalidation);
	gmm_spin_init(&made->pages_lock, GMM_RANK_PAGES);
	gmm_waitqueue_init(&made->pages_free);
	gmm_spin_init(&made->vcpus_lock, GMM_RANK_VCPUS);
	*guest = made;
	return 0;
}

static bool is_used(struct gmm_guest *guest)
{
	return gmm_load_acquire(&guest->slots.count) || gmm_load_acquire(&guest->cache_count) ||
	       gmm_load_acquire(&guest->sections.registered) || guest->vcpu_count;
}

int gmm_guest_destroy(struct gmm_guest *guest)
{
	if (is_used(guest))
		return -GMM_EBUSY;
	while (guest->graveyard) {
		struct gmm_vcpu *vcpu = guest->graveyard;

		guest->graveyard = vcpu->next_dead;
		gmm_vcpu_free(vcpu);
	}
	gmm_spin_destroy(&guest->vcpus_lock);
	gmm_waitqueue_destroy(&guest->pages_free);
	gmm_spin_destroy(&guest->pages_lock);
	gmm_invalidation_destroy(&guest->invalidation);
	gmm_section_domain_destroy(&guest->sections);
	release(guest);
	return 0;
}

/* Counters are words that only grow; a copy word by word is what the header promises. */
void gmm_guest_read_counters(const struct gmm_guest *guest, struct gmm_guest_counters *counters)
{
	const uint64_t *from = (const uint64_t *)&guest->counters;
	uint64_t *to = (uint64_t *)counters;
	size_t i;

	GMM_STATIC_ASSERT(sizeof(*counters) % sizeof(uint64_t) == 0, "counters are 64-bit words");
	for (i = 0; i < sizeof(*counters) / sizeof(uint64_t); i++)
		to[i] = gmm_load_relaxed(&from[i]);
}

uint32_t gmm_guest_page_shift(const struct gmm_guest *guest)
{
	return guest->hot.page_shift;
}

int gmm_frames_check(const struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	uint64_t frames = guest->hot.gpa_limit >> guest->hot.page_shift;

	if (!count)
		return -GMM_EINVAL;
	return gfn >= frames || count > frames - gfn ? -GMM_ERANGE : 0;
}
