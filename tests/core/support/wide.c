/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "wide.h"

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = page + i;
	return 0;
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	return -GMM_EIO;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
}

static int fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct wide *wide = opaque;
	uint32_t i;

	if (++wide->fills == wide->fail_fill_at)
		return -GMM_EIO;
	for (i = 0; i < count; i++) {
		gmm_ok(!wide->resident[page + i], "page %u is filled over what it holds",
		       (unsigned int)page + i);
		wide->resident[page + i] = true;
		wide->word[page + i] = origin == GMM_ORIGIN_SOURCE ?
					       model_word((uint32_t)page + i) :
				       origin == GMM_ORIGIN_STORE ? wide->store[page + i] :
								    0;
	}
	return 0;
}

static int write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct wide *wide = opaque;
	uint32_t i;

	wide->writes++;
	for (i = 0; i < count; i++) {
		gmm_ok(wide->resident[page + i]);
		wide->store[page + i] = wide->word[page + i];
	}
	return 0;
}

static int discard(void *opaque, uint64_t page, uint32_t count)
{
	struct wide *wide = opaque;
	uint32_t i;

	wide->discards++;
	for (i = 0; i < count; i++) {
		wide->resident[page + i] = false;
		wide->word[page + i] = MODEL_POISON;
	}
	return 0;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct wide *wide = opaque;
	uint64_t *words = buffer;

	words[0] = resident		       ? wide->word[page] :
		   origin == GMM_ORIGIN_SOURCE ? model_word((uint32_t)page) :
		   origin == GMM_ORIGIN_STORE  ? wide->store[page] :
						 0;
	return 0;
}

static const struct gmm_memory_ops resident_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "wide, resident",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.read = read_page,
};

static const struct gmm_memory_ops lazy_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE,
	.name = "wide, lazy",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.fill = fill,
	.write_out = write_out,
	.discard = discard,
	.read = read_page,
};

struct wide *wide_create(bool lazy, gmm_gfn_t gfn, uint32_t flags)
{
	struct gmm_guest_config config = { .max_vcpus = 4 };
	struct wide *wide = gmm_zalloc(sizeof(*wide));
	struct gmm_slot_config slot = {
		.gfn = gfn,
		.count = WIDE_PAGES,
		.flags = flags,
		.hva = MODEL_HVA,
		.memory_ops = lazy ? &lazy_ops : &resident_ops,
		.memory = wide,
	};
	uint32_t page;

	if (!wide || gmm_guest_create(&config, &wide->guest))
		gmm_bail("no guest");
	for (page = 0; page < WIDE_PAGES && !lazy; page++)
		wide_write(wide, page, model_word(page));
	gmm_equal(gmm_slot_add(wide->guest, &slot), 0);
	return wide;
}

void wide_write(struct wide *wide, uint32_t page, uint64_t word)
{
	wide->word[page] = word;
	wide->resident[page] = true;
}

void wide_destroy(struct wide *wide)
{
	gmm_slot_remove(wide->guest, 0);
	gmm_equal(gmm_guest_destroy(wide->guest), 0);
	gmm_free(wide, sizeof(*wide));
}
