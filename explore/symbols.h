/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Names for addresses of this program, out of its debug information: functions, lines, members of
 * structures. Without debug information nothing is found.
 */
#ifndef GMM_EXPLORE_SYMBOLS_H
#define GMM_EXPLORE_SYMBOLS_H

#include <gmm_port/types.h>

/* A place in the source. Texts live as long as the process. */
struct symbols_place {
	const char *function;
	const char *file; /* may be NULL */
	int line;
};

#define SYMBOLS_INLINED 8u

/*
 * The places of a code address, the innermost inlined function first; returns how many there are, at
 * most SYMBOLS_INLINED.
 */
uint32_t symbols_places(uintptr_t code, struct symbols_place *places);
/* The name of the function that begins at an address, or NULL. */
const char *symbols_function(uintptr_t code);

/* A type; NULL members: it is not known. */
struct symbols_type {
	void *die; /* of its description; kept by symbols.c */
	const char *name;
	uint64_t size; /* of one; an allocation may be of several */
	bool structure;
};

/* struct `name`. */
bool symbols_struct(const char *name, struct symbols_type *type);
/*
 * What is allocated at a line of the source: an expression is the size of `sizeof(*made)`; otherwise
 * what the variable or member points to that it is assigned to.
 */
bool symbols_sizeof(const char *file, int line, const char *expression, struct symbols_type *type);
/* The member at an offset, as text that begins with '.' or '['; empty when it is the whole. */
void symbols_member(const struct symbols_type *type, uint64_t offset, uint32_t size, char *text,
		    size_t text_size);

/* The line of the source without the white space around it, or NULL when it cannot be read. */
const char *symbols_source(const char *file, int line);
/* The last part of a path. */
const char *symbols_file_name(const char *path);

#endif
