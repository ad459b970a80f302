/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What compilers call for copies of structs and for gmm_memset and its like. */
#include <gmm_port/types.h>

void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);

/* A word at a time where both sides allow it. */
#define WORD sizeof(uint64_t)

typedef uint64_t __attribute__((may_alias)) word_t;

void *memset(void *to, int value, size_t size)
{
	uint8_t *at = to;
	uint64_t word = (uint8_t)value * 0x0101010101010101ull;

	for (; size && (uintptr_t)at % WORD; size--)
		*at++ = (uint8_t)value;
	for (; size >= WORD; size -= WORD, at += WORD)
		*(word_t *)at = word;
	while (size--)
		*at++ = (uint8_t)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	const uint8_t *source = from;
	uint8_t *at = to;

	if (!(((uintptr_t)at | (uintptr_t)source) % WORD))
		for (; size >= WORD; size -= WORD, at += WORD, source += WORD)
			*(word_t *)at = *(const word_t *)source;
	while (size--)
		*at++ = *source++;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	const uint8_t *source = from;
	uint8_t *at = to;

	if (at <= source || at >= source + size)
		return memcpy(to, from, size);
	while (size--)
		at[size] = source[size];
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *left = a, *right = b;

	for (; size--; left++, right++)
		if (*left != *right)
			return *left - *right;
	return 0;
}
