/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the hypervisor asks a guest to do, and what the guest knows that it did. Guest memory. */
#ifndef GMM_BARE_GUEST_BOX_H
#define GMM_BARE_GUEST_BOX_H

#include <gmm_port/types.h>

#define GUEST_PAGES_MAX 1024u
#define GUEST_PAGE_WORDS (GUEST_PAGES_MAX / 64)

enum guest_operation {
	GUEST_READ,  /* result = word at `address` */
	GUEST_WRITE, /* word at `address` = `value` */
	GUEST_CALL,  /* result = what the function at `address` returns */
	/* Reads the word at `address` into result, again and again, counting in `turns`, until stop. */
	GUEST_WATCH,
	/*
	 * Load-linked of the word at `address`; at stop a store-conditional of `value`, and result
	 * is whether that was done. On machines whose guest_call.h has GUEST_LINKS.
	 */
	GUEST_LINK,
	/*
	 * Reads or writes `count` times the first word of a random page of `pages` from `address`
	 * on, `stride` apart, and notes which; or until stop when `count` is 0.
	 * A page holds what the guest wrote last, or its address: what does not is an error.
	 */
	GUEST_WANDER,
};

struct guest_box {
	uint32_t operation;
	uint32_t stop; /* atomic; set by the hypervisor */
	uint64_t address;
	uint64_t value;
	uint64_t count;
	uint64_t pages;
	uint64_t stride;
	uint64_t random;
	uint64_t result;
	uint64_t turns;	      /* atomic */
	uint64_t errors;      /* pages that held something else */
	uint64_t first_wrong; /* address of the first of them */
	uint64_t was_read[GUEST_PAGE_WORDS];
	uint64_t was_written[GUEST_PAGE_WORDS];
	uint64_t last[GUEST_PAGES_MAX]; /* what the guest wrote last; 0: nothing yet */
};

#endif
