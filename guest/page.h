/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a page carries after the guest took it over, and what an I/O buffer carries. Both follow
 * from (seed, page, version) and (seed, sequence), so guest and host can verify every byte.
 *
 * A page is a header of one line and a body of 63 lines. The lines fall into nine groups of seven;
 * version v writes the header and group v % 9 only, so a write stays cheap, and the version that
 * each line must carry still follows from the page's version and that of its last full write.
 */
#ifndef GUEST_PAGE_H
#define GUEST_PAGE_H

#include "abi.h"
#include "hash.h"

#define GUEST_PAGE_MAGIC 0x656761706d6d6721ull

#define GUEST_BODY_GROUPS 9u
#define GUEST_GROUP_LINES 7u
#define GUEST_LINE_WORDS (GUEST_LINE_BYTES / 8)
#define GUEST_PAGE_WORDS (GUEST_PAGE_BYTES / 8)

struct guest_page_header {
	uint64_t magic;
	uint64_t page;
	uint64_t version;
	uint64_t full_version; /* version of the last write of all lines */
	uint64_t checksum;     /* sum of the words of the body */
	uint64_t reserved[3];  /* 0 */
};

/* What a page must carry. */
struct guest_page_expect {
	uint64_t seed;
	uint64_t page;
	uint64_t version;
	uint64_t full_version;
};

static inline uint32_t guest_line_group(uint32_t line)
{
	return (line - 1) % GUEST_BODY_GROUPS;
}

static inline uint64_t guest_group_version(const struct guest_page_expect *expect, uint32_t group)
{
	uint64_t newest = expect->version % GUEST_BODY_GROUPS;
	uint64_t age = (newest + GUEST_BODY_GROUPS - group) % GUEST_BODY_GROUPS;

	if (expect->version < age || expect->version - age < expect->full_version)
		return expect->full_version;
	return expect->version - age;
}

/* Word `index` of a page is the key of its line plus index times an odd number. */
static inline uint64_t guest_body_key(uint64_t seed, uint64_t page, uint64_t version)
{
	return guest_mix(guest_mix(seed ^ version * GUEST_HASH_ODD) ^ page);
}

static inline uint64_t guest_body_word(uint64_t key, uint32_t index)
{
	return key + index * GUEST_HASH_ODD2;
}

/* Sum of all words of the body, without touching it. */
static inline uint64_t guest_body_checksum(const struct guest_page_expect *expect)
{
	uint64_t sum = 0;
	uint64_t indexes;
	uint32_t group;

	for (group = 0; group < GUEST_BODY_GROUPS; group++) {
		/* Lines group + 1 + 9 j, j below 7; line l has words 8 l to 8 l + 7. */
		indexes = 64 * (GUEST_GROUP_LINES * (group + 1) + GUEST_BODY_GROUPS * 21) +
			  28 * GUEST_GROUP_LINES;
		sum += guest_body_key(expect->seed, expect->page,
				      guest_group_version(expect, group)) *
			       (GUEST_GROUP_LINES * GUEST_LINE_WORDS) +
		       indexes * GUEST_HASH_ODD2;
	}
	return sum;
}

/* Word `index` of the whole page, as it must be. */
static inline uint64_t guest_page_word(const struct guest_page_expect *expect, uint32_t index)
{
	uint32_t line = index / GUEST_LINE_WORDS;

	switch (index) {
	case 0:
		return GUEST_PAGE_MAGIC;
	case 1:
		return expect->page;
	case 2:
		return expect->version;
	case 3:
		return expect->full_version;
	case 4:
		return guest_body_checksum(expect);
	case 5 ... 7:
		return 0;
	}
	return guest_body_word(guest_body_key(expect->seed, expect->page,
					      guest_group_version(expect, guest_line_group(line))),
			       index);
}

static inline void guest_page_write_header(uint64_t *words, const struct guest_page_expect *expect)
{
	uint32_t i;

	for (i = 0; i < GUEST_LINE_WORDS; i++)
		words[i] = guest_page_word(expect, i);
}

static inline void guest_page_write_group(uint64_t *words, const struct guest_page_expect *expect,
					  uint32_t group)
{
	uint64_t key =
		guest_body_key(expect->seed, expect->page, guest_group_version(expect, group));
	uint32_t line, i;

	for (line = group + 1; line < GUEST_PAGE_BYTES / GUEST_LINE_BYTES;
	     line += GUEST_BODY_GROUPS)
		for (i = line * GUEST_LINE_WORDS; i < (line + 1) * GUEST_LINE_WORDS; i++)
			words[i] = guest_body_word(key, i);
}

/* Makes a page that carries version - 1 carry `version`. */
static inline void guest_page_write(void *page, const struct guest_page_expect *expect)
{
	guest_page_write_group((uint64_t *)page, expect, expect->version % GUEST_BODY_GROUPS);
	guest_page_write_header((uint64_t *)page, expect);
}

/* Writes all lines; expect->full_version is expect->version. */
static inline void guest_page_write_full(void *page, const struct guest_page_expect *expect)
{
	uint32_t group;

	for (group = 0; group < GUEST_BODY_GROUPS; group++)
		guest_page_write_group((uint64_t *)page, expect, group);
	guest_page_write_header((uint64_t *)page, expect);
}

/* Whether words [first, end) of the page are as they must be; if not, *wrong is the first other. */
static inline int guest_page_verify_words(const void *page, const struct guest_page_expect *expect,
					  uint32_t first, uint32_t end, uint32_t *wrong)
{
	const uint64_t *words = (const uint64_t *)page;
	uint64_t keys[GUEST_BODY_GROUPS];
	uint64_t key = 0, must;
	uint32_t i, group;

	for (group = 0; group < GUEST_BODY_GROUPS; group++)
		keys[group] = guest_body_key(expect->seed, expect->page,
					     guest_group_version(expect, group));
	for (i = first; i < end; i++) {
		if (i < GUEST_LINE_WORDS) {
			must = guest_page_word(expect, i);
		} else {
			if (i == first || i % GUEST_LINE_WORDS == 0)
				key = keys[guest_line_group(i / GUEST_LINE_WORDS)];
			must = guest_body_word(key, i);
		}
		if (words[i] != must) {
			*wrong = i;
			return 0;
		}
	}
	return 1;
}

static inline int guest_page_verify(const void *page, const struct guest_page_expect *expect,
				    uint32_t *wrong)
{
	return guest_page_verify_words(page, expect, 0, GUEST_PAGE_WORDS, wrong);
}

/* Whether a page is zero, every byte; if not, *wrong is the first word that is not. */
static inline int guest_page_is_zero(const void *page, uint32_t *wrong)
{
	const uint64_t *words = (const uint64_t *)page;
	uint32_t i;

	for (i = 0; i < GUEST_PAGE_WORDS && !words[i]; i++)
		;
	*wrong = i;
	return i == GUEST_PAGE_WORDS;
}

/* What a page of a region carries. */
static inline struct guest_page_expect guest_region_expect(uint64_t seed, uint32_t region,
							   uint32_t page, uint32_t version)
{
	struct guest_page_expect expect;

	expect.seed = seed;
	expect.page = GUEST_REGION_PAGE_ID(region, page);
	expect.version = version;
	expect.full_version = version;
	return expect;
}

/* What is read where there is no memory. */
static inline uint64_t guest_touch_word(uint64_t seed, uint64_t gpa)
{
	return guest_mix(seed ^ gpa * GUEST_HASH_ODD2);
}

/* Sum of the words of the body as found. */
static inline uint64_t guest_body_sum(const void *page)
{
	const uint64_t *words = (const uint64_t *)page;
	uint64_t sum = 0;
	uint32_t i;

	for (i = GUEST_LINE_WORDS; i < GUEST_PAGE_WORDS; i++)
		sum += words[i];
	return sum;
}

/* What word `index` of an I/O buffer must be; the key is the same for one descriptor. */
static inline uint64_t guest_io_key(uint64_t seed, uint64_t sequence)
{
	return guest_mix(seed ^ guest_mix(sequence + GUEST_HASH_ODD));
}

static inline uint64_t guest_io_word(uint64_t key, uint64_t index)
{
	return key ^ (index * GUEST_HASH_ODD);
}

#endif
