/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "tiny_guest.h"

#include <string.h>

#include "guest/abi.h"

#define PRESENT_WRITABLE_USER 0x7ull
#define ACCESSED_DIRTY 0x60ull
#define LARGE 0x80ull
#define GIGABYTES 4u

struct parameters {
	uint64_t list; /* GPA of GPAs */
	uint64_t count;
};

static void fill_page_tables(uint8_t *low)
{
	uint64_t *root = (uint64_t *)(low + TINY_PAGE_TABLES);
	uint64_t *second = root + 512;
	uint64_t *third = second + 512;
	uint64_t i;

	root[0] = (TINY_PAGE_TABLES + 0x1000) | PRESENT_WRITABLE_USER;
	for (i = 0; i < GIGABYTES; i++)
		second[i] = (TINY_PAGE_TABLES + 0x2000 + i * 0x1000) | PRESENT_WRITABLE_USER;
	for (i = 0; i < GIGABYTES * 512ull; i++)
		third[i] = (i << 21) | LARGE | ACCESSED_DIRTY | PRESENT_WRITABLE_USER;
}

void tiny_guest_fill(uint8_t *low, bool write)
{
	static const uint8_t code[] = {
		0x48,
		0x8b,
		0x37, /* again: mov rsi, [rdi] */
		0x48,
		0x8b,
		0x4f,
		0x08, /* mov rcx, [rdi + 8] */
		0x48,
		0x85,
		0xc9, /* test rcx, rcx */
		0x74,
		0x0a, /* jz done */
		0x48,
		0xad, /* next: lodsq */
		0x48,
		0x89,
		0x08, /* mov [rax], rcx, or mov rbx, [rax] */
		0x48,
		0xff,
		0xc9, /* dec rcx */
		0x75,
		0xf6, /* jnz next */
		0xba,
		GUEST_EXIT_PORT & 0xff,
		GUEST_EXIT_PORT >> 8,
		0,
		0, /* done: mov edx, port */
		0xb0,
		GUEST_EXIT_STOPPED, /* mov al, code */
		0xee,		    /* out dx, al */
		0xeb,
		0xe0, /* jmp again */
	};
	static const uint8_t load[] = { 0x48, 0x8b, 0x18 };

	fill_page_tables(low);
	memcpy(low + TINY_CODE, code, sizeof(code));
	if (!write)
		memcpy(low + TINY_CODE + 14, load, sizeof(load));
}

static void set_count(uint8_t *low, uint32_t vcpu, uint64_t count)
{
	struct parameters *parameters = (struct parameters *)(low + TINY_PARAMETERS(vcpu));

	parameters->list = TINY_LIST(vcpu);
	parameters->count = count;
}

uint64_t tiny_guest_touch_bitmap(uint8_t *low, uint32_t vcpu, const uint64_t *words,
				 uint64_t word_count)
{
	uint64_t *list = (uint64_t *)(low + TINY_LIST(vcpu));
	uint64_t count = 0, word;

	for (word = 0; word < word_count; word++) {
		uint64_t bits = words[word];

		for (; bits; bits &= bits - 1)
			list[count++] = TINY_DATA_GPA +
					((word * 64 + (uint64_t)__builtin_ctzll(bits)) << 12);
	}
	set_count(low, vcpu, count);
	return count;
}

void tiny_guest_touch_range(uint8_t *low, uint32_t vcpu, uint64_t first, uint64_t count)
{
	uint64_t *list = (uint64_t *)(low + TINY_LIST(vcpu));
	uint64_t i;

	for (i = 0; i < count; i++)
		list[i] = TINY_DATA_GPA + ((first + i) << 12);
	set_count(low, vcpu, count);
}
