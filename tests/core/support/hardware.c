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

/* AMD64 APM volume 2: 5.3 long mode, 15.25 nested paging. */
static int walk_npt(struct step *step, struct hardware_result *result)
{
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
		if (leaf && level && bits_of(step->entry, shift - 1, 13))
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
		result->level = level;
		result->address = (step->table >> shift << shift) +
				  (step->gpa & (((uint64_t)1 << shift) - 1));
		/* PWT and PCD index the PAT, which is 6 (WB), 4, 7 (UC-), 0 (UC) at reset. */
		result->memory =
			bits_of(step->entry, 4, 4) ?
				(bits_of(step->entry, 3, 3) ? GMM_LEAF_DEVICE : GMM_LEAF_UNCACHED) :
				GMM_LEAF_CACHED;
		step->writable &= bits_of(step->entry, 6, 6);
		return HARDWARE_DONE;
	}
	return HARDWARE_RESERVED;
}

/* Intel SDM volume 3C: EPT translation, tables of the EPT entries; 24.6.11 EPTP. */
static int walk_ept(struct step *step, struct hardware_result *result)
{
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
		if (leaf && (level > 2 || type == 2 || type == 3 || type == 7 ||
			     (level && bits_of(step->entry, shift - 1, 12))))
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
		result->level = level;
		result->address = step->table + (step->gpa & (((uint64_t)1 << shift) - 1));
		result->memory = type == 6 ? GMM_LEAF_CACHED :
				 type == 1 ? GMM_LEAF_UNCACHED :
					     GMM_LEAF_DEVICE;
		/* Otherwise the guest's PAT would have a say. */
		if (!bits_of(step->entry, 6, 6))
			return HARDWARE_RESERVED;
		step->writable &= bits_of(step->entry, 9, 9);
		return HARDWARE_DONE;
	}
	return HARDWARE_RESERVED;
}

/* RISC-V privileged architecture: 18.5 two-stage translation; Sv39x4, Sv48x4; Svpbmt. */
static int walk_riscv(struct step *step, struct hardware_result *result)
{
	uint64_t mode = bits_of(step->hardware->root.base, 63, 60);
	uint32_t level = mode == 8 ? 3 : mode == 9 ? 4 : 0, top = level;
	uint64_t set;

	if (!level || step->gpa >> (12 + 9 * level + 2) ||
	    (bits_of(step->hardware->root.base, 43, 0) & 3))
		return level ? HARDWARE_ABSENT : HARDWARE_RESERVED;
	step->table = bits_of(step->hardware->root.base, 43, 0) << 12;
	while (level--) {
		uint32_t shift = 12 + 9 * level;

		step->index = step->gpa >> shift & (level + 1 == top ? 0x7ff : 0x1ff);
		if (!load(step))
			return HARDWARE_RESERVED;
		if (!(step->entry & 1))
			return HARDWARE_ABSENT;
		if (bits_of(step->entry, 60, 54) || bits_of(step->entry, 63, 63) ||
		    (step->entry & 6) == 4)
			return HARDWARE_RESERVED;
		step->table = bits_of(step->entry, 53, 10) << 12;
		if (!(step->entry & 0xe)) {
			/* A, D and U of a pointer, and PBMT, are reserved. */
			if ((step->entry & 0xd0) || bits_of(step->entry, 62, 61))
				return HARDWARE_RESERVED;
			continue;
		}
		if (!(step->entry & 0x10))
			return HARDWARE_FORBIDDEN;
		if ((step->access == GMM_LEAF_READ && !(step->entry & 2)) ||
		    (step->access == GMM_LEAF_WRITE && !(step->entry & 4)) ||
		    (step->access == GMM_LEAF_EXEC && !(step->entry & 8)))
			return HARDWARE_FORBIDDEN;
		if (step->table & (((uint64_t)1 << shift) - 1))
			return HARDWARE_RESERVED;
		set = step->access == GMM_LEAF_WRITE ? 0xc0 : 0x40;
		if ((step->entry & set) != set && !step->hardware->sets_bits)
			return step->entry & 0x40 ? HARDWARE_FORBIDDEN : HARDWARE_OLD;
		if (!set_bits(step, set))
			return AGAIN;
		result->level = level;
		result->address = step->table + (step->gpa & (((uint64_t)1 << shift) - 1));
		switch (bits_of(step->entry, 62, 61)) {
		case 0:
			result->memory = GMM_LEAF_CACHED;
			break;
		case 1:
			result->memory = GMM_LEAF_UNCACHED;
			break;
		case 2:
			result->memory = GMM_LEAF_DEVICE;
			break;
		default:
			return HARDWARE_RESERVED;
		}
		step->writable = (step->entry & 0x84) == 0x84;
		return HARDWARE_DONE;
	}
	return HARDWARE_RESERVED;
}

/* Arm ARM (DDI 0487) D8.2 translation process, D8.3 descriptors, D8.4 permissions, D8.5 AF, DBM. */
static int walk_arm64(struct step *step, struct hardware_result *result)
{
	uint64_t control = step->hardware->root.control;
	uint64_t input = 64 - bits_of(control, 5, 0), sl0 = bits_of(control, 7, 6);
	uint32_t granule = bits_of(control, 15, 14) == 0 ? 12 :
			   bits_of(control, 15, 14) == 1 ? 16 :
							   14;
	uint32_t width = granule - 3;
	/* The first level of lookup, and the number of levels from it to 3. */
	uint32_t start = granule == 12 ? 2 - (uint32_t)sl0 : 3 - (uint32_t)sl0;
	uint32_t level = 4 - start, top = level;
	uint64_t type, bits = input - granule - (top - 1) * width;
	bool sets_accessed = bits_of(control, 21, 21), sets_dirty = bits_of(control, 22, 22);

	/* At most 16 tables concatenated; 4K starts at level 0 only without. */
	if (sl0 > 2 || bits > width + 4 || bits < 1 || (granule == 12 && !start && bits > 9))
		return HARDWARE_RESERVED;
	if (step->gpa >> input)
		return HARDWARE_ABSENT;
	step->table = step->hardware->root.base;
	if (step->table & (((uint64_t)8 << bits) - 1))
		return HARDWARE_RESERVED;
	while (level--) {
		uint32_t shift = granule + width * level;
		uint64_t set = 0;

		step->index = step->gpa >> shift;
		if (level + 1 != top)
			step->index &= ((uint64_t)1 << width) - 1;
		if (!load(step))
			return HARDWARE_RESERVED;
		type = bits_of(step->entry, 1, 0);
		if (!(type & 1))
			return HARDWARE_ABSENT;
		if (!level && type == 1)
			return HARDWARE_ABSENT; /* reserved, treated as invalid */
		step->table = bits_of(step->entry, 47, granule) << granule;
		if (level && type == 3)
			continue;
		if (level && (level > 2 || (granule != 12 && level > 1)))
			return HARDWARE_RESERVED;
		if (step->table & (((uint64_t)1 << shift) - 1))
			return HARDWARE_RESERVED;
		if (!bits_of(step->entry, 10, 10)) {
			if (!sets_accessed)
				return HARDWARE_OLD;
			set = 0x400;
		}
		if ((step->access == GMM_LEAF_READ && !bits_of(step->entry, 6, 6)) ||
		    (step->access == GMM_LEAF_EXEC && bits_of(step->entry, 54, 53)))
			return HARDWARE_FORBIDDEN;
		if (step->access == GMM_LEAF_WRITE && !bits_of(step->entry, 7, 7)) {
			if (!sets_dirty || !bits_of(step->entry, 51, 51))
				return HARDWARE_FORBIDDEN;
			set |= 0x80;
		}
		if (!set_bits(step, set))
			return AGAIN;
		result->level = level;
		result->address = step->table + (step->gpa & (((uint64_t)1 << shift) - 1));
		switch (bits_of(step->entry, 5, 2)) {
		case 15:
			result->memory = GMM_LEAF_CACHED;
			break;
		case 5:
			result->memory = GMM_LEAF_UNCACHED;
			break;
		case 1:
			result->memory = GMM_LEAF_DEVICE;
			break;
		default:
			return HARDWARE_RESERVED;
		}
		if (bits_of(step->entry, 9, 8) != 3)
			return HARDWARE_RESERVED;
		step->writable = bits_of(step->entry, 7, 7);
		return HARDWARE_DONE;
	}
	return HARDWARE_RESERVED;
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
	uint32_t directory = 4;
	bool huge = false;
	uint64_t size;

	if (bits_of(low, 31, 30))
		return HARDWARE_RESERVED; /* entries of 64 bits */
	step->table = step->hardware->root.base;
	/* Dir4 to Dir1 as far as there are any; an entry is followed whatever it holds. */
	for (; directory && !huge; directory--) {
		if (!width[directory])
			continue;
		step->index = bits_of(step->gpa, (uint32_t)(base[directory] + width[directory] - 1),
				      (uint32_t)base[directory]);
		if (!load(step))
			return HARDWARE_RESERVED;
		size = base[directory];
		huge = step->entry & 0x40;
		result->level = directory > 1 ? 2 : 1;
		/* LDDIR puts this into an address as it is. */
		if (!huge && (step->entry & 0xffff000000000fffull))
			return HARDWARE_RESERVED;
		step->table = step->entry;
	}
	if (!huge) {
		step->index =
			bits_of(step->gpa, (uint32_t)(base[0] + width[0] - 1), (uint32_t)base[0]);
		if (!load(step))
			return HARDWARE_RESERVED;
		size = base[0];
		result->level = 0;
	}
	/* Not valid: nothing there, or old; software tells by its bit 7. */
	if (!(step->entry & 1))
		return step->entry & 0x80 ? HARDWARE_OLD : HARDWARE_ABSENT;
	if (step->access == GMM_LEAF_READ && bits_of(step->entry, 61, 61))
		return HARDWARE_FORBIDDEN;
	if (step->access == GMM_LEAF_EXEC && bits_of(step->entry, 62, 62))
		return HARDWARE_FORBIDDEN;
	if (step->access == GMM_LEAF_WRITE && !(step->entry & 2)) {
		/* Where the processor itself walks it makes a writable page dirty (bit 8). */
		if (!step->hardware->sets_bits || !(step->entry & 0x100))
			return HARDWARE_FORBIDDEN;
		if (!set_bits(step, 2))
			return AGAIN;
	}
	result->address = bits_of(step->entry, 47, (uint32_t)size) << size |
			  (step->gpa & (((uint64_t)1 << size) - 1));
	/* Of a huge page bits 12 up to its size are G and zeros. */
	if (huge && bits_of(step->entry, (uint32_t)size - 1, 12))
		return HARDWARE_RESERVED;
	switch (bits_of(step->entry, 5, 4)) {
	case 0:
		result->memory = GMM_LEAF_DEVICE;
		break;
	case 1:
		result->memory = GMM_LEAF_CACHED;
		break;
	case 2:
		result->memory = GMM_LEAF_UNCACHED;
		break;
	default:
		return HARDWARE_RESERVED;
	}
	step->writable = step->entry & 2;
	return HARDWARE_DONE;
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
