/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Pages computed from (seed, page number), for runs that need no file and for tests. */
#include <stdlib.h>
#include <string.h>

#include <guestmm/linux/source.h>
#include "failure_impl.h"

#define REPEATED_PAGES 16u
/* Apart from the numbers of pages, so that no repeated page is also a random one. */
#define REPEATED_STREAM (1ull << 63)

enum page_class {
	PAGE_ZERO,
	PAGE_REPEATED,
	PAGE_RANDOM,
	PAGE_CLASSES,
};

struct generated_source {
	uint64_t seed;
	uint64_t page_count;
	uint32_t page_shift;
};

/*
 * The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a permutation that mixes well.
 */
static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
	return value ^ (value >> 31);
}

static uint64_t page_hash(const struct generated_source *generated, uint64_t stream)
{
	return mix(mix(generated->seed + 0x9e3779b97f4a7c15ull) ^ stream);
}

static enum page_class page_class(const struct generated_source *generated, uint64_t page)
{
	return (page_hash(generated, page) >> 8) % PAGE_CLASSES;
}

static void fill_words(const struct generated_source *generated, uint64_t stream, uint64_t *words)
{
	uint64_t state = page_hash(generated, stream);

	for (size_t i = 0; i < (1ull << generated->page_shift) / sizeof(*words); i++) {
		state += 0x9e3779b97f4a7c15ull;
		words[i] = mix(state);
	}
}

static uint64_t generated_size(void *source)
{
	const struct generated_source *generated = source;

	return generated->page_count << generated->page_shift;
}

static int generated_read(void *source, uint64_t page, uint32_t count, void *buffer)
{
	const struct generated_source *generated = source;
	size_t page_size = (size_t)1 << generated->page_shift;

	for (uint32_t i = 0; i < count; i++) {
		void *here = (char *)buffer + i * page_size;

		switch (page_class(generated, page + i)) {
		case PAGE_ZERO:
			memset(here, 0, page_size);
			break;
		case PAGE_REPEATED:
			fill_words(generated,
				   REPEATED_STREAM |
					   page_hash(generated, page + i) % REPEATED_PAGES,
				   here);
			break;
		default:
			fill_words(generated, page + i, here);
			break;
		}
	}
	return 0;
}

static bool generated_is_zero(void *source, uint64_t page, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (page_class(source, page + i) != PAGE_ZERO)
			return false;
	}
	return true;
}

static int generated_check(void *source)
{
	return 0;
}

static void generated_failure(void *source, char *text, size_t text_size)
{
	if (text_size > 0)
		text[0] = '\0';
}

static void generated_close(void *source)
{
	free(source);
}

static const struct gmm_source_ops generated_ops = {
	.version = GMM_SOURCE_OPS_VERSION,
	.name = "generated",
	.size = generated_size,
	.read = generated_read,
	.is_zero = generated_is_zero,
	.check = generated_check,
	.failure = generated_failure,
	.close = generated_close,
};

int gmm_source_open_generated(struct gmm_source *source, uint64_t seed, uint64_t page_count,
			      uint32_t page_shift, char *text, size_t text_size)
{
	struct generated_source *generated;

	if (page_shift < GMM_BACKING_PAGE_SHIFT_MIN || page_shift > GMM_BACKING_PAGE_SHIFT_MAX)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "generated memory: page shift %u is not within %u to %u",
				  page_shift, GMM_BACKING_PAGE_SHIFT_MIN,
				  GMM_BACKING_PAGE_SHIFT_MAX);
	if (page_count == 0 || page_count > (uint64_t)INT64_MAX >> page_shift)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"generated memory of %llu pages: give at least one page, and less "
			"than 2^63 bytes",
			(unsigned long long)page_count);
	generated = malloc(sizeof(*generated));
	if (!generated)
		return gmm_refuse(text, text_size, -GMM_ENOMEM,
				  "generated memory: out of memory on the host");
	*generated = (struct generated_source){
		.seed = seed,
		.page_count = page_count,
		.page_shift = page_shift,
	};
	*source = (struct gmm_source){
		.ops = &generated_ops,
		.source = generated,
		.page_shift = page_shift,
	};
	return 0;
}
