/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "memory_kind.h"

#include <stdio.h>
#include <string.h>

#include "../command.h"
#include "run.h"

#define RAM_ANYWHERE (GMM_MEMORY_CAN_RAM_KVM | GMM_MEMORY_CAN_RAM_PROCESS)
#define LOG_ANYWHERE (GMM_MEMORY_CAN_LOG_KVM | GMM_MEMORY_CAN_LOG_PROCESS)

int run_memory_kind_parse(const char *text, enum gmm_memory_kind *kind)
{
	static const enum gmm_memory_kind kinds[] = {
		GMM_MEMORY_KIND_MEMFD,	     GMM_MEMORY_KIND_ANONYMOUS, GMM_MEMORY_KIND_HUGETLB,
		GMM_MEMORY_KIND_GUEST_MEMFD, GMM_MEMORY_KIND_SECRET,
	};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(text, gmm_memory_kind_name(kinds[i]))) {
			*kind = kinds[i];
			return -1;
		}
	}
	return run_refuse(
		"--memory-kind %s is unknown: give memfd, anonymous, hugetlb or guest-memfd", text);
}

int run_mapping_parse(const char *text, enum gmm_memory_mapping *mapping)
{
	if (!strcmp(text, "linear"))
		*mapping = GMM_MEMORY_MAPPING_LINEAR;
	else if (!strcmp(text, "in-use"))
		*mapping = GMM_MEMORY_MAPPING_IN_USE;
	else
		return run_refuse("--mapping %s is unknown: give linear or in-use", text);
	return -1;
}

static bool can(const struct run_options *options, uint32_t ability)
{
	return gmm_memory_abilities(options->memory_kind) & ability;
}

static const char *name_of(const struct run_options *options)
{
	return gmm_memory_kind_name(options->memory_kind);
}

int run_memory_kind_check(struct run *run)
{
	const struct run_options *options = &run->options;
	enum gmm_memory_kind kind = options->memory_kind;

	if (!can(options, RAM_ANYWHERE))
		return run_refuse(
			"--memory-kind %s: it cannot be guest RAM (%s): use memfd; devices "
			"use it in the event of that name",
			name_of(options), gmm_memory_why_not(kind, GMM_MEMORY_CAN_RAM_KVM));
	if (options->mapping == GMM_MEMORY_MAPPING_IN_USE && !can(options, GMM_MEMORY_CAN_IN_USE))
		return run_refuse("--mapping in-use: %s memory has %s: use --memory-kind memfd",
				  name_of(options),
				  gmm_memory_why_not(kind, GMM_MEMORY_CAN_IN_USE));
	if (options->resident && !can(options, GMM_MEMORY_CAN_EVICT))
		return run_refuse("--resident: %s memory cannot be evicted (%s): leave --resident "
				  "out, or use --memory-kind memfd",
				  name_of(options), gmm_memory_why_not(kind, GMM_MEMORY_CAN_EVICT));
	/* What is held is a page that is evicted, looked at through the linear mapping. */
	if (options->hold &&
	    (!can(options, GMM_MEMORY_CAN_EVICT) || options->mapping == GMM_MEMORY_MAPPING_IN_USE))
		return run_refuse("--hold and --leave-out need memory that is evicted and mapped "
				  "linearly: leave --memory-kind and --mapping out");
	if (((options->dirty_given && options->dirty == GMM_ACCEL_DIRTY_RING) || options->save) &&
	    !run_has_log(options))
		return run_refuse("%s: %s memory cannot be logged (%s): leave it out, or use "
				  "--memory-kind memfd",
				  options->save ? "--save" : "--dirty ring", name_of(options),
				  gmm_memory_why_not(kind, GMM_MEMORY_CAN_LOG_KVM));
	return 0;
}

int run_memory_kind_check_accel(struct run *run)
{
	const struct run_options *options = &run->options;
	bool kvm = run->ops == &gmm_accel_kvm;
	uint32_t ram = kvm ? GMM_MEMORY_CAN_RAM_KVM : GMM_MEMORY_CAN_RAM_PROCESS;
	uint32_t log = kvm ? GMM_MEMORY_CAN_LOG_KVM : GMM_MEMORY_CAN_LOG_PROCESS;
	const char *what = "be guest RAM";
	const char *why = gmm_memory_why_not(options->memory_kind, ram);

	if (!why && run_has_log(options)) {
		what = "be logged";
		why = gmm_memory_why_not(options->memory_kind, log);
	}
	if (!why)
		return 0;
	return run_refuse("--memory-kind %s: with accel %s it cannot %s (%s): use memfd%s%s%s",
			  name_of(options), run->ops->name, what, why,
			  kvm ? "" : ", or --accel kvm", *run->accel_reason ? "; KVM: " : "",
			  run->accel_reason);
}

bool run_is_resident(const struct run *run)
{
	return !can(&run->options, GMM_MEMORY_CAN_LAZY);
}

uint64_t run_resident_pages(const struct run *run)
{
	return run_is_resident(run) ? run->page_count : gmm_resident_pages(run->guest);
}

bool run_has_log(const struct run_options *options)
{
	return can(options, LOG_ANYWHERE);
}

int run_memory_kind_open(struct run *run, int *file)
{
	char text[GMM_ACCEL_TEXT_BYTES] = "";

	*file = -1;
	if (run->options.memory_kind != GMM_MEMORY_KIND_GUEST_MEMFD ||
	    !run->ops->guest_memfd(run->accel, run->memory_bytes, file, text))
		return 0;
	*file = -1;
	return run_refuse("--memory-kind guest-memfd: %s", text);
}

void run_memory_kind_print(const struct run *run)
{
	const struct run_options *options = &run->options;

	if (run_is_resident(run))
		printf("%s memory is there from the start: nothing is evicted or aged%s%s%s\n",
		       name_of(options), run_has_log(options) ? "" : ", nor harvested (",
		       run_has_log(options) ?
			       "" :
			       gmm_memory_why_not(options->memory_kind, GMM_MEMORY_CAN_LOG_KVM),
		       run_has_log(options) ? "" : ")");
	if (options->mapping == GMM_MEMORY_MAPPING_IN_USE)
		printf("the engine maps what is in use only\n");
}
