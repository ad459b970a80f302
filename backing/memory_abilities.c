/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What each kind of memory can do, and why not. docs/MEMORY.md is the same table. */
#include "memory_impl.h"

/* By the number of the ability's bit. */
enum column {
	LAZY,
	EVICT,
	AGE,
	RAM_KVM,
	RAM_PROCESS,
	LOG_KVM,
	LOG_PROCESS,
	CACHE,
	IN_USE,
	LINEAR,
};

_Static_assert(LINEAR + 1 == GMM_MEMORY_ABILITIES, "a column for each ability");

static const char from_the_start[] = "present from the start";
static const char never_absent[] = "never absent";
static const char no_faults[] = "resident memory has no faults to tell by";
static const char only_kvm_sees[] = "only KVM sees writes to resident memory";
static const char of_a_vm[] = "belongs to a KVM virtual machine";
static const char of_its_owner[] = "its owner's vCPUs run on it, not ours";
static const char of_its_device[] = "a device's memory is no RAM";

static const struct kind {
	const char *name;
	const char *why_not[GMM_MEMORY_ABILITIES]; /* NULL: it can */
} kinds[GMM_MEMORY_KINDS] = {
	[GMM_MEMORY_KIND_MEMFD] = { .name = "memfd" },
	[GMM_MEMORY_KIND_ANONYMOUS] = {
		.name = "anonymous",
		.why_not = {
			[AGE] = "dropping the vCPUs' mapping would lose the contents",
			[IN_USE] = "no file to map it by a second time",
		},
	},
	[GMM_MEMORY_KIND_PLAIN] = {
		.name = "plain",
		.why_not = {
			[LAZY] = from_the_start,
			[EVICT] = never_absent,
			[AGE] = no_faults,
			[LOG_PROCESS] = only_kvm_sees,
		},
	},
	[GMM_MEMORY_KIND_HUGETLB] = {
		.name = "hugetlb",
		.why_not = {
			[LAZY] = "a huge page is 512 of the engine's pages and comes whole",
			[EVICT] = never_absent,
			[AGE] = no_faults,
			[LOG_PROCESS] = only_kvm_sees,
		},
	},
	[GMM_MEMORY_KIND_SECRET] = {
		.name = "secret",
		.why_not = {
			[LAZY] = "userfaultfd does not know it",
			[EVICT] = never_absent,
			[AGE] = no_faults,
			[RAM_KVM] = "KVM cannot take frames that have no direct map",
			[RAM_PROCESS] = "a vCPU would need all of it mapped",
			[LINEAR] = "it is mapped page by page only",
		},
	},
	[GMM_MEMORY_KIND_GUEST_MEMFD] = {
		.name = "guest-memfd",
		.why_not = {
			[LAZY] = "userfaultfd refuses MISSING and MINOR on it",
			[EVICT] = never_absent,
			[AGE] = no_faults,
			[RAM_PROCESS] = of_a_vm,
			[LOG_KVM] = "KVM has no log of its slots",
			[LOG_PROCESS] = of_a_vm,
		},
	},
	[GMM_MEMORY_KIND_ADOPTED] = {
		.name = "adopted",
		.why_not = {
			[LAZY] = "its owner fills it",
			[EVICT] = "its owner evicts it",
			[AGE] = "its owner knows its age",
			[RAM_KVM] = of_its_owner,
			[RAM_PROCESS] = of_its_owner,
		},
	},
	[GMM_MEMORY_KIND_DEVICE] = {
		.name = "device",
		.why_not = {
			[LAZY] = from_the_start,
			[EVICT] = never_absent,
			[AGE] = no_faults,
			[RAM_KVM] = of_its_device,
			[RAM_PROCESS] = of_its_device,
		},
	},
};

static const struct kind *find(enum gmm_memory_kind kind)
{
	return (unsigned int)kind < GMM_MEMORY_KINDS ? &kinds[kind] : NULL;
}

const char *gmm_memory_kind_name(enum gmm_memory_kind kind)
{
	const struct kind *found = find(kind);

	return found ? found->name : NULL;
}

uint32_t gmm_memory_abilities(enum gmm_memory_kind kind)
{
	const struct kind *found = find(kind);
	uint32_t abilities = 0;

	for (uint32_t i = 0; found && i < GMM_MEMORY_ABILITIES; i++)
		abilities |= found->why_not[i] ? 0 : 1u << i;
	return abilities;
}

const char *gmm_memory_why_not(enum gmm_memory_kind kind, uint32_t ability)
{
	const struct kind *found = find(kind);

	for (uint32_t i = 0; found && i < GMM_MEMORY_ABILITIES; i++)
		if (ability == 1u << i)
			return found->why_not[i];
	return NULL;
}
