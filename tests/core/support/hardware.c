/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <gmm_port/atomic.h>

#include "hardware.h"

/* Where a walk stands, and what it has gathered. */
struct step {
	struct hardware *hardware;
	uint64_t gpa;
	uint32_t access;
	uint64_t table; /* physical address */
	uint64_t index;
	uint64_t *at;
	uint64_t entry;
	bool writable; /* nothing on the way forbids it */
	bool executable;
};

static bool load(struct step *step)
{
	struct hardware *hardware = step->hardware;
	uint64_t address = step->table + step->index * 8;

	if (hardware->is_table && !hardware->is_table(hardware->context, address))
		return false;
	step->at = (uint64_t *)(uintptr_t)(address - hardware->physical_offset);
	step->entry = gmm_load_acquire(step->at);
	return true;
}

/* Sets bits as a processor does: only in the entry that it has read. */
static bool set_bits(struct step *step, uint64_t bits)
{
	uint64_t seen = step->entry;

	if ((seen & bits) == bits)
		return true;
	if (!gmm_compare_exchange(step->at, &seen, seen | bits))
		return false;
	step->entry = seen | bits;
	return true;
}

static uint64_t bits_of(uint64_t value, uint32_t high, uint32_t low)
{
	return value << (63 - high) >> (63 - high + low);
}

#define AGAIN (-1)

/* The address in a leaf of 2^shift bytes, and its memory type: no type is reserved. */
static int finish(const struct step *step, struct hardware_result *result, uint32_t level,
		  uint32_t shift, int memory)
{
	if (memory < 0 || (step->table & (((uint64_t)1 << shift) - 1)))
		return HARDWARE_RESERVED;
	result->level = level;
	result->address = step->table | (step->gpa & (((uint64_t)1 << shift) - 1));
	result->memory = (uint32_t)memory;
	return HARDWARE_DONE;
}

/* AMD64 APM volume 2: 5.3 long mode, 15.25 nested paging. */
static int walk_npt(struct step *step, struct hardware_result *result)
{
	static const int8_t memory[] = { GMM_LEAF_CACHED, -1, GMM_LEAF_UNCACHED, GMM_LEAF_DEVICE };
	uint32_t level = step->hardware->root.levels;

	step->table = step->hardware->root.base;
	while (level--) {
		uint32_t shift = 12 + 9 * level;
		bool leaf;

		step->index = step->gpa >> shift & 0x1ff;
		if (!load(step))
			return HARDWARE_RESERVED;
		if (!(step->entry & 1))
			return HARDWARE_ABSENT;
		leaf = !level || (step->entry & 0x80);
		if (leaf && level > 2)
			return HARDWARE_RESERVED;
		if (!(step->entry & 4))
			return HARDWARE_FORBIDDEN;
		step->writable &= bits_of(step->entry, 1, 1);
		step->executable &= !bits_of(step->entry, 63, 63);
		if ((step->access == GMM_LEAF_WRITE && !step->writable) ||
		    (step->access == GMM_LEAF_EXEC && !step->executable)) {
			if (leaf)
				return HARDWARE_FORBIDDEN;
		} else if (!set_bits(step, leaf && step->access == GMM_LEAF_WRITE ? 0x60 : 0x20)) {
			return AGAIN;
		}
		step->table = bits_of(step->entry, 51, 12) << 12;
		if (!leaf)
			continue;
		step->writable &= bits_of(step->entry, 6, 6);
		/* PWT and PCD index the PAT, which is 6 (WB), 4 (WT), 7 (UC-), 0 (UC) at reset. */
		return finish(step, result, level, shift, memory[bits_of(step->entry, 4, 3)]);
	}
	return HARDWARE_RESERVED;
}

/* Intel SDM volume 3C: EPT translation, tables of the EPT entries; 24.6.11 EPTP. */
static int walk_ept(struct step *step, struct hardware_result *result)
{
	/* 2, 3 and 7 are reserved; WT and WP are none that we ask for. */
	static const int8_t memory[] = {
		GMM_LEAF_DEVICE, GMM_LEAF_UNCACHED, -1, -1, -1, -1, GMM_LEAF_CACHED, -1
	};
	uint64_t pointer = step->hardware->root.base;
	uint32_t level = (uint32_t)bits_of(pointer, 5, 3) + 1;

	if (bits_of(pointer, 2, 0) != 6 || bits_of(pointer, 11, 7) || !bits_of(pointer, 6, 6))
		return HARDWARE_RESERVED;
	step->table = bits_of(pointer, 51, 12) << 12;
	while (level--) {
		uint32_t shift = 12 + 9 * level;
		uint64_t rights, type;
		bool leaf;

		step->index = step->gpa >> shift & 0x1ff;
		if (!load(step))
			return HARDWARE_RESERVED;
		rights = bits_of(step->entry, 2, 0);
		if (!rights)
			return HARDWARE_ABSENT;
		if (rights == 2 || rights == 6 || rights == 4)
			return HARDWARE_RESERVED;
		leaf = !level || bits_of(step->entry, 7, 7);
		type = bits_of(step->entry, 5, 3);
		if (leaf && level > 2)
			return HARDWARE_RESERVED;
		if (!leaf && bits_of(step->entry, 7, 3))
			return HARDWARE_RESERVED;
		step->writable &= bits_of(step->entry, 1, 1);
		step->executable &= bits_of(step->entry, 2, 2);
		if ((step->access == GMM_LEAF_WRITE && !step->writable) ||
		    (step->access == GMM_LEAF_EXEC && !step->executable)) {
			if (leaf)
				return HARDWARE_FORBIDDEN;
		} else if (!set_bits(step,
				     leaf && step->access == GMM_LEAF_WRITE ? 0x300 : 0x100)) {
			return AGAIN;
		}
		step->table = bits_of(step->entry, 51, 12) << 12;
		if (!leaf)
			continue;
		/* Otherwise the guest's PAT would have a say. */
		if (!bits_of(step->entry, 6, 6))
			return HARDWARE_RESERVED;
		step->writable &= bits_of(step->entry, 9, 9);
		return finish(step, result, level, shift, memory[type]);
	}
	return HARDWARE_RESERVED;
}

static int riscv_leaf(struct step *step, struct hardware_result *result, uint32_t level)
{
	static const int8_t memory[] = { GMM_LEAF_CACHED, GMM_LEAF_UNCACHED, GMM_LEAF_DEVICE, -1 };
	uint64_t set = step->access == GMM_LEAF_WRITE ? 0xc0 : 0x40;

	if (!(step->entry & 0x10))
		return HARDWARE_FORBIDDEN;
	if ((step->access == GMM_LEAF_READ && !(step->entry & 2)) ||
	    (step->access == GMM_LEAF_WRITE && !(step->entry & 4)) ||
	    (step->access == GMM_LEAF_EXEC && !(step->entry & 8)))
		return HARDWARE_FORBIDDEN;
	if ((step->entry & set) != set && !step->hardware->sets_bits)
		return step->entry & 0x40 ? HARDWARE_FORBIDDEN : HARDWARE_OLD;
	if (!set_bits(step, set))
		return AGAIN;
	step->writable = (step->entry & 0x84) == 0x84;
	return finish(step, result, level, 12 + 9 * level, memory[bits_of(step->entry, 62, 61)]);
}

/* RISC-V privileged architecture: two-stage address translation; Sv39x4, Sv48x4; Svpbmt. */
static int walk_riscv(struct step *step, struct hardware_result *result)
{
	uint64_t mode = bits_of(step->hardware->root.base, 63, 60);
	uint32_t level = mode == 8 ? 3 : mode == 9 ? 4 : 0, top = level;

	step->table = bits_of(step->hardware->root.base, 43, 0) << 12;
	if (!level || (step->table & 0x3fff))
		return HARDWARE_RESERVED;
	if (step->gpa >> (12 + 9 * level + 2))
		return HARDWARE_ABSENT;
	while (level--) {
		step->index = step->gpa >> (12 + 9 * level) & (level + 1 == top ? 0x7ff : 0x1ff);
		if (!load(step))
			return HARDWARE_RESERVED;
		if (!(step->entry & 1))
			return HARDWARE_ABSENT;
		if (bits_of(step->entry, 60, 54) || bits_of(step->entry, 63, 63) ||
		    (step->entry & 6) == 4)
			return HARDWARE_RESERVED;
		step->table = bits_of(step->entry, 53, 10) << 12;
		if (step->entry & 0xe)
			return riscv_leaf(step, result, level);
		/* A, D and U of a pointer, and PBMT, are reserved. */
		if ((step->entry & 0xd0) || bits_of(step->entry, 62, 61))
			return HARDWARE_RESERVED;
	}
	return HARDWARE_RESERVED;
}

/* MemAttr; -1: one that tests have no name for. */
static int arm64_memory(uint64_t attributes)
{
	switch (attributes) {
	case 1:
		return GMM_LEAF_DEVICE;
	case 5:
		return GMM_LEAF_UNCACHED;
	case 15:
		return GMM_LEAF_CACHED;
	default:
		return -1;
	}
}

static int arm64_leaf(struct step *step, struct hardware_result *result, uint32_t level,
		      uint32_t shift)
{
	uint64_t control = step->hardware->root.control, set = 0;

	if (!bits_of(step->entry, 10, 10)) {
		if (!bits_of(control, 21, 21))
			return HARDWARE_OLD;
		set = 0x400;
	}
	if ((step->access == GMM_LEAF_READ && !bits_of(step->entry, 6, 6)) ||
	    (step->access == GMM_LEAF_EXEC && bits_of(step->entry, 54, 53)))
		return HARDWARE_FORBIDDEN;
	if (step->access == GMM_LEAF_WRITE && !bits_of(step->entry, 7, 7)) {
		if (!bits_of(control, 22, 22) || !bits_of(step->entry, 51, 51))
			return HARDWARE_FORBIDDEN;
		set |= 0x80;
	}
	if (!set_bits(step, set))
		return AGAIN;
	/* Inner shareable, as the architecture wants it of memory that processors share. */
	if (bits_of(step->entry, 9, 8) != 3)
		return HARDWARE_RESERVED;
	step->writable = bits_of(step->entry, 7, 7);
	return finish(step, result, level, shift, arm64_memory(bits_of(step->entry, 5, 2)));
}

/* Arm ARM (DDI 0487) D8.2 translation process, D8.3 descriptors, D8.4 permissions, D8.5 AF, DBM. */
static int walk_arm64(struct step *step, struct hardware_result *result)
{
	static const uint32_t granules[] = { 12, 16, 14, 0 };
	uint64_t control = step->hardware->root.control;
	uint64_t input = 64 - bits_of(control, 5, 0), sl0 = bits_of(control, 7, 6), type, bits;
	uint32_t granule = granules[bits_of(control, 15, 14)], width = granule - 3;
	/* The first level of lookup, and the number of levels from it to 3. */
	uint32_t start = granule == 12 ? 2 - (uint32_t)sl0 : 3 - (uint32_t)sl0;
	uint32_t level = 4 - start, top = level;

	bits = input - granule - (top - 1) * width;
	/* At most 16 tables concatenated; 4K starts at level 0 only without. */
	if (sl0 > 2 || bits > width + 4 || bits < 1 || (granule == 12 && !start && bits > 9))
		return HARDWARE_RESERVED;
	step->table = step->hardware->root.base;
	if (step->table & (((uint64_t)8 << bits) - 1))
		return HARDWARE_RESERVED;
	if (step->gpa >> input)
		return HARDWARE_ABSENT;
	while (level--) {
		uint32_t shift = granule + width * level;

		step->index = step->gpa >> shift;
		if (level + 1 != top)
			step->index &= ((uint64_t)1 << width) - 1;
		if (!load(step))
			return HARDWARE_RESERVED;
		type = bits_of(step->entry, 1, 0);
		/* At the last level 1 is reserved, and treated as invalid. */
		if (!(type & 1) || (!level && type == 1))
			return HARDWARE_ABSENT;
		step->table = bits_of(step->entry, 47, granule) << granule;
		if (level && type == 3)
			continue;
		if (level > 2 || (granule != 12 && level > 1))
			return HARDWARE_RESERVED;
		return arm64_leaf(step, result, level, shift);
	}
	return HARDWARE_RESERVED;
}

static int loongarch_leaf(struct step *step, struct hardware_result *result, uint32_t level,
			  uint32_t shift)
{
	static const int8_t memory[] = { GMM_LEAF_DEVICE, GMM_LEAF_CACHED, GMM_LEAF_UNCACHED, -1 };

	/* Not valid: nothing there, or old; software tells by its bit 7. */
	if (!(step->entry & 1))
		return step->entry & 0x80 ? HARDWARE_OLD : HARDWARE_ABSENT;
	if ((step->access == GMM_LEAF_READ && bits_of(step->entry, 61, 61)) ||
	    (step->access == GMM_LEAF_EXEC && bits_of(step->entry, 62, 62)))
		return HARDWARE_FORBIDDEN;
	if (step->access == GMM_LEAF_WRITE && !(step->entry & 2)) {
		/* Where the processor itself walks it makes a writable page dirty (bit 8). */
		if (!step->hardware->sets_bits || !(step->entry & 0x100))
			return HARDWARE_FORBIDDEN;
		if (!set_bits(step, 2))
			return AGAIN;
	}
	step->writable = step->entry & 2;
	/* Of a huge page bits 12 up to its size are G and zeros. */
	step->table = bits_of(step->entry, 47, 12) << 12;
	return finish(step, result, level, shift, memory[bits_of(step->entry, 5, 4)]);
}

/* LoongArch reference manual volume 1: 5.4.5 walking by LDDIR and LDPTE, 7.5.8-9 PWCL and PWCH. */
static int walk_loongarch(struct step *step, struct hardware_result *result)
{
	uint64_t low = step->hardware->root.control & 0xffffffff;
	uint64_t high = step->hardware->root.control >> 32;
	const uint64_t base[] = { bits_of(low, 4, 0), bits_of(low, 14, 10), bits_of(low, 24, 20),
				  bits_of(high, 5, 0), bits_of(high, 17, 12) };
	const uint64_t width[] = { bits_of(low, 9, 5), bits_of(low, 19, 15), bits_of(low, 29, 25),
				   bits_of(high, 11, 6), bits_of(high, 23, 18) };
	uint32_t directory;

	if (bits_of(low, 31, 30))
		return HARDWARE_RESERVED; /* entries of 64 bits */
	step->table = step->hardware->root.base;
	/* Dir4 to Dir1 as far as there are any; an entry is followed whatever it holds. */
	for (directory = 4;; directory--) {
		if (!width[directory])
			continue;
		step->index = bits_of(step->gpa, (uint32_t)(base[directory] + width[directory] - 1),
				      (uint32_t)base[directory]);
		if (!load(step))
			return HARDWARE_RESERVED;
		if (!directory || (step->entry & 0x40))
			return loongarch_leaf(step, result, directory > 1 ? 2 : directory,
					      (uint32_t)base[directory]);
		/* LDDIR puts this into an address as it is. */
		if (step->entry & 0xffff000000000fffull)
			return HARDWARE_RESERVED;
		step->table = step->entry;
	}
}

static int walk_once(struct step *step, struct hardware_result *result)
{
	switch (step->hardware->format) {
	case GMM_STAGE2_NPT:
		return walk_npt(step, result);
	case GMM_STAGE2_EPT:
		return walk_ept(step, result);
	case GMM_STAGE2_SV39X4:
	case GMM_STAGE2_SV48X4:
		return walk_riscv(step, result);
	case GMM_STAGE2_LOONGARCH_16K:
	case GMM_STAGE2_LOONGARCH_4K:
		return walk_loongarch(step, result);
	default:
		return walk_arm64(step, result);
	}
}

static uint64_t leaf_bytes(const struct hardware *hardware, uint32_t level)
{
	const struct gmm_stage2_format_facts *facts =
		gmm_stage2_format_read_facts(hardware->format);

	return (uint64_t)1 << (facts->page_shift + level * facts->index_bits);
}

static struct hardware_translation *remembered(struct hardware *hardware, uint64_t first,
					       uint64_t last)
{
	uint32_t i;

	for (i = 0; i < hardware->count; i++)
		if (hardware->tlb[i].first <= last && hardware->tlb[i].last >= first)
			return &hardware->tlb[i];
	return NULL;
}

static enum hardware_answer remember(struct step *step, const struct hardware_result *result)
{
	struct hardware *hardware = step->hardware;
	uint64_t bytes = leaf_bytes(hardware, result->level);
	struct hardware_translation made = {
		.first = (step->gpa & ~(bytes - 1)) >> 12,
		.last = (step->gpa | (bytes - 1)) >> 12,
		.address = result->address & ~(bytes - 1),
		.memory = result->memory,
		.writable = step->writable,
		.executable = step->access == GMM_LEAF_EXEC,
	};
	struct hardware_translation *have = remembered(hardware, made.first, made.last);

	if (have) {
		if (have->first != made.first || have->last != made.last ||
		    have->address != made.address)
			return HARDWARE_CONFLICT;
		made.executable |= have->executable;
		*have = made;
		return HARDWARE_DONE;
	}
	if (hardware->count < HARDWARE_TLB)
		hardware->tlb[hardware->count++] = made;
	else
		hardware->tlb[hardware->next++ % HARDWARE_TLB] = made;
	return HARDWARE_DONE;
}

enum hardware_answer hardware_access(struct hardware *hardware, uint64_t gpa, uint32_t access,
				     struct hardware_result *result)
{
	struct hardware_translation *have;
	struct step step;
	int answer;

	if (hardware->remembers) {
		have = remembered(hardware, gpa >> 12, gpa >> 12);
		if (have && (access != GMM_LEAF_WRITE || have->writable) &&
		    (access != GMM_LEAF_EXEC || have->executable)) {
			*result = (struct hardware_result){
				.address = have->address + (gpa - (have->first << 12)),
				.memory = have->memory,
			};
			return HARDWARE_DONE;
		}
	}
	do {
		step = (struct step){
			.hardware = hardware,
			.gpa = gpa,
			.access = access,
			.writable = true,
			.executable = true,
		};
		*result = (struct hardware_result){ 0 };
		answer = walk_once(&step, result);
	} while (answer == AGAIN);
	result->entry = step.entry;
	if (answer == HARDWARE_DONE && hardware->remembers)
		return remember(&step, result);
	return (enum hardware_answer)answer;
}

void hardware_forget(struct hardware *hardware, uint64_t gpa, uint64_t bytes)
{
	struct hardware_translation *have;

	while ((have = remembered(hardware, gpa >> 12, (gpa + bytes - 1) >> 12)))
		*have = hardware->tlb[--hardware->count];
}
