/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What every fuzz target is made of: the input is a program of bytes, read from the front; each
 * operation takes a byte and then its arguments, so that a byte changed by the fuzzer changes one
 * argument, and a piece taken out or put in is a piece of a program. What comes behind the end
 * reads as 0.
 */
#ifndef GMM_FUZZ_PROGRAM_H
#define GMM_FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct program {
	const uint8_t *at;
	const uint8_t *end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline bool program_more(const struct program *program)
{
	return program->at < program->end;
}

static inline uint32_t program_byte(struct program *program)
{
	return program_more(program) ? *program->at++ : 0;
}

/* A number below `bound`, of a byte, or of two when it can be more than 256. */
static inline uint32_t program_take(struct program *program, uint32_t bound)
{
	uint32_t value = program_byte(program);

	if (bound > 256)
		value |= program_byte(program) << 8;
	return value % bound;
}

/* The end of a run that finds something: says what and ends the process. */
_Noreturn void fuzz_failed(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define fuzz_check(condition, ...)                                    \
	do {                                                          \
		if (!(condition))                                     \
			fuzz_failed(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

/* A line for each operation, on stderr, with GMM_FUZZ_TRACE in the environment. */
void fuzz_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Errors that an operation may answer with: a set of them, and none is success. A call that fails
 * for several reasons says one of them.
 */
struct fuzz_errors {
	int errors[8];
	uint32_t count;
};

void fuzz_expect(struct fuzz_errors *expected, int error);
/* With an error expected one of them must come, without one none. */
void fuzz_check_answer(const struct fuzz_errors *expected, int64_t answer, bool injected,
		       const char *what);

#endif
