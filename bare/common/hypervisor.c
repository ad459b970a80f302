/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "hypervisor.h"

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#include <guestmm/error.h>

#include "cpus.h"
#include "tap.h"

#define AREA_BYTES_MAX (32ull << 20)
#define SMALL_AREA_PAGES 512u
#define FAULTS_MAX 100000u   /* at one address: then it does not end */
#define OWN_BYTES 0x10000ull /* granularity of the guest's own memory */

extern const uint8_t bare_guest_image[], bare_guest_image_end[];

/* Aligned as asked for and no better: walkers that drop low bits of a root would not find it. */
static void *table_alloc(void *owner, uint64_t bytes)
{
	uint8_t *memory = bare_pages_alloc(2 * bytes, 2 * bytes);

	(void)owner;
	return memory ? memory + bytes : NULL;
}

static void table_free(void *owner, void *table, uint64_t bytes)
{
	(void)owner;
	/* A walker that still comes by reads what no format takes for absent or for a table. */
	gmm_memset(table, 0xff, bytes);
	bare_pages_free((uint8_t *)table - bytes, 2 * bytes);
}

void flush_everywhere(void)
{
	bare_guest_flush();
	if (!bare_guest_machine.flush_reaches_all)
		bare_call_others(bare_guest_flush);
}

static void table_flush(void *owner, const struct gmm_stage2_flush *flush)
{
	struct hypervisor *hypervisor = owner;

	(void)flush;
	gmm_fetch_add(&hypervisor->flushes, (uint64_t)1);
	if (!gmm_load_acquire(&hypervisor->forget_flushes))
		flush_everywhere();
}

static const struct gmm_stage2_table_ops table_ops = {
	.version = GMM_STAGE2_TABLE_OPS_VERSION,
	.name = "bare",
	.table_alloc = table_alloc,
	.table_free = table_free,
	.flush = table_flush,
};

gmm_gfn_t large_gfn(const struct hypervisor *hypervisor)
{
	return AREA >> hypervisor->facts->page_shift;
}

gmm_gfn_t area_gfn(const struct hypervisor *hypervisor, uint64_t page)
{
	return large_gfn(hypervisor) + hypervisor->lead + page;
}

gmm_gpa_t area_gpa(const struct hypervisor *hypervisor, uint64_t page)
{
	return AREA + (hypervisor->lead + page) * hypervisor->page_bytes;
}

uint64_t *area_word(const struct hypervisor *hypervisor, uint64_t page)
{
	return (uint64_t *)(hypervisor->area + page * hypervisor->page_bytes);
}

gmm_pfn_t pfn_of(const struct hypervisor *hypervisor, const void *page)
{
	return ((uintptr_t)page + bare_guest_machine.physical_offset) >>
	       hypervisor->facts->page_shift;
}

static void populate(struct hypervisor *hypervisor, const struct gmm_stage2_mapping *mapping)
{
	int error = gmm_stage2_table_populate(hypervisor->walker, mapping, NULL);

	if (error)
		gmm_bail("the area is not mapped: %d", error);
}

void area_map(struct hypervisor *hypervisor, uint64_t page, uint64_t count, uint32_t leaf)
{
	struct gmm_stage2_mapping mapping = {
		.gfn = area_gfn(hypervisor, page),
		.count = count,
		.pfn = pfn_of(hypervisor, area_word(hypervisor, page)),
		.leaf = leaf,
	};

	populate(hypervisor, &mapping);
}

static struct gmm_stage2_mapping large_mapping(const struct hypervisor *hypervisor, uint32_t leaf)
{
	return (struct gmm_stage2_mapping){
		.gfn = large_gfn(hypervisor),
		.count = hypervisor->large_pages,
		.pfn = pfn_of(hypervisor, hypervisor->area) - hypervisor->lead,
		.leaf = leaf,
		.level_max = 1,
	};
}

void area_map_large(struct hypervisor *hypervisor, uint32_t leaf)
{
	struct gmm_stage2_mapping mapping = large_mapping(hypervisor, leaf);

	populate(hypervisor, &mapping);
}

void area_unmap(struct hypervisor *hypervisor)
{
	gmm_ok(gmm_stage2_table_unmap(hypervisor->walker, large_gfn(hypervisor),
				      hypervisor->large_pages, NULL) >= 0);
}

struct gmm_stage2_leaf leaf_at(struct hypervisor *hypervisor, gmm_gfn_t gfn)
{
	struct gmm_stage2_leaf leaf = { 0 };

	gmm_equal(gmm_stage2_table_look_up(hypervisor->walker, gfn, &leaf), 0);
	return leaf;
}

/* Memory of the guest's own: its program, its machine's, its boxes. */
static void *map_own(struct hypervisor *hypervisor, gmm_gpa_t gpa, uint64_t bytes)
{
	void *memory = bare_pages_alloc(bytes, OWN_BYTES);
	struct gmm_stage2_mapping mapping = {
		.gfn = gpa >> hypervisor->facts->page_shift,
		.count = bytes >> hypervisor->facts->page_shift,
		.pfn = pfn_of(hypervisor, memory),
		.leaf = LEAF_READY,
	};

	if (!memory || gmm_stage2_table_populate(hypervisor->walker, &mapping, NULL))
		gmm_bail("no memory for the guest");
	return memory;
}

static void unmap_own(struct hypervisor *hypervisor, gmm_gpa_t gpa, uint64_t bytes)
{
	struct gmm_stage2_leaf leaf = leaf_at(hypervisor, gpa >> hypervisor->facts->page_shift);
	uintptr_t memory =
		(leaf.pfn << hypervisor->facts->page_shift) - bare_guest_machine.physical_offset;

	gmm_ok(gmm_stage2_table_unmap(hypervisor->walker, leaf.gfn,
				      bytes >> hypervisor->facts->page_shift, NULL) > 0);
	bare_pages_free((void *)memory, bytes);
}

static void create_vcpu(struct hypervisor *hypervisor, uint32_t number)
{
	struct vcpu *vcpu = &hypervisor->vcpus[number];
	gmm_gpa_t box = GUEST_BOX + number * GUEST_BOX_BYTES;
	struct bare_exit exit;

	vcpu->hypervisor = hypervisor;
	vcpu->box = map_own(hypervisor, box, GUEST_BOX_BYTES);
	if (gmm_stage2_walker_create(hypervisor->table, &vcpu->walker) ||
	    !bare_guest_init(&vcpu->bare, GUEST_PROGRAM, box + GUEST_BOX_BYTES, box))
		gmm_bail("no memory for a vCPU");
	exit = vcpu_run(vcpu);
	if (exit.kind != BARE_EXIT_CALL)
		gmm_bail("the guest faults at 0x%llx before it has called",
			 (unsigned long long)exit.gpa);
}

static void create_table(struct hypervisor *hypervisor)
{
	struct gmm_stage2_table_config config = {
		.format = hypervisor->format->format,
		.flags = hypervisor->format->flags,
		.gpa_bits = hypervisor->format->gpa_bits,
		.physical_offset = bare_guest_machine.physical_offset,
		.ops = &table_ops,
		.owner = hypervisor,
	};
	int error = gmm_stage2_table_create(&config, &hypervisor->table);

	if (error || gmm_stage2_walker_create(hypervisor->table, &hypervisor->walker))
		gmm_bail("no table: %d", error);
	gmm_stage2_table_read_root(hypervisor->table, &hypervisor->root);
}

void hypervisor_create(struct hypervisor *hypervisor, const struct bare_guest_format *format)
{
	uint8_t *program, *machine;
	uint64_t page;
	uint32_t i;

	*hypervisor = (struct hypervisor){ .format = format, .leaf = LEAF_ALL };
	hypervisor->facts = gmm_stage2_format_read_facts(format->format);
	hypervisor->page_bytes = 1ull << hypervisor->facts->page_shift;
	hypervisor->large_pages = 1ull << hypervisor->facts->index_bits;
	hypervisor->area_pages = hypervisor->large_pages;
	if (hypervisor->area_pages * hypervisor->page_bytes > AREA_BYTES_MAX)
		hypervisor->area_pages = SMALL_AREA_PAGES;
	create_table(hypervisor);
	hypervisor->area = bare_pages_alloc(hypervisor->area_pages * hypervisor->page_bytes,
					    hypervisor->area_pages * hypervisor->page_bytes);
	hypervisor->other = bare_pages_alloc(hypervisor->page_bytes, hypervisor->page_bytes);
	if (!hypervisor->area || !hypervisor->other)
		gmm_bail("no memory for the area");
	hypervisor->lead = pfn_of(hypervisor, hypervisor->area) & (hypervisor->large_pages - 1);
	for (page = 0; page < hypervisor->area_pages; page++)
		*area_word(hypervisor, page) = area_gpa(hypervisor, page);
	program = map_own(hypervisor, GUEST_PROGRAM, GUEST_PROGRAM_BYTES);
	gmm_memcpy(program, bare_guest_image, (size_t)(bare_guest_image_end - bare_guest_image));
	machine = map_own(hypervisor, GUEST_MACHINE, GUEST_MACHINE_BYTES);
	bare_guest_memory(machine);
	bare_guest_cpu_init();
	flush_everywhere();
	for (i = 0; i < VCPUS; i++)
		create_vcpu(hypervisor, i);
}

void hypervisor_destroy(struct hypervisor *hypervisor)
{
	uint32_t i;

	area_unmap(hypervisor);
	for (i = 0; i < VCPUS; i++) {
		unmap_own(hypervisor, GUEST_BOX + i * GUEST_BOX_BYTES, GUEST_BOX_BYTES);
		gmm_stage2_walker_destroy(hypervisor->vcpus[i].walker);
		bare_guest_fini(&hypervisor->vcpus[i].bare);
	}
	unmap_own(hypervisor, GUEST_PROGRAM, GUEST_PROGRAM_BYTES);
	unmap_own(hypervisor, GUEST_MACHINE, GUEST_MACHINE_BYTES);
	bare_pages_free(hypervisor->area, hypervisor->area_pages * hypervisor->page_bytes);
	bare_pages_free(hypervisor->other, hypervisor->page_bytes);
	gmm_stage2_walker_destroy(hypervisor->walker);
	gmm_equal(gmm_stage2_table_destroy(hypervisor->table), 0);
}

void vcpu_ask(struct vcpu *vcpu, enum guest_operation operation, gmm_gpa_t address, uint64_t value)
{
	gmm_memset(vcpu->box, 0, sizeof(*vcpu->box));
	vcpu->box->operation = operation;
	vcpu->box->address = address;
	vcpu->box->value = value;
	vcpu->box->random = 0x9e3779b97f4a7c15ull;
}

struct bare_exit vcpu_run(struct vcpu *vcpu)
{
	struct bare_exit exit;

	do
		bare_guest_run(&vcpu->bare, &vcpu->hypervisor->root, &exit);
	while (exit.kind == BARE_EXIT_KICK);
	if (exit.kind == BARE_EXIT_OTHER)
		gmm_bail("the guest, at 0x%llx, exits with 0x%llx, 0x%llx",
			 (unsigned long long)vcpu->bare.pc, (unsigned long long)exit.cause,
			 (unsigned long long)exit.detail);
	return exit;
}

static int map_faulting(struct vcpu *vcpu, gmm_gfn_t gfn, struct gmm_stage2_leaf *leaf)
{
	struct hypervisor *hypervisor = vcpu->hypervisor;
	struct gmm_stage2_mapping mapping = large_mapping(hypervisor, hypervisor->leaf);
	int error = gmm_stage2_watch_begin(vcpu->walker, gfn, 1);

	mapping.level_max = gmm_load_relaxed(&hypervisor->level_max);
	if (error)
		return error;
	error = gmm_stage2_table_map_leaf(vcpu->walker, &mapping, gfn, leaf);
	gmm_stage2_watch_end(vcpu->walker);
	return error;
}

/* What a hypervisor does at a fault: the fast path, else the slow one. */
static void resolve(struct vcpu *vcpu, const struct bare_exit *exit)
{
	struct hypervisor *hypervisor = vcpu->hypervisor;
	gmm_gfn_t gfn = exit->gpa >> hypervisor->facts->page_shift;
	struct gmm_stage2_leaf leaf = { 0 };
	uint32_t turn = 0;
	int error;

	gmm_fetch_add(&vcpu->faults, (uint64_t)1);
	vcpu->again = exit->gpa == vcpu->last_gpa ? vcpu->again + 1 : 0;
	vcpu->last_gpa = exit->gpa;
	if (vcpu->again == FAULTS_MAX)
		gmm_bail("a fault at 0x%llx, access %u, does not end",
			 (unsigned long long)exit->gpa, exit->access);
	while (gmm_load_acquire(&hypervisor->hold)) {
		gmm_store_release(&hypervisor->held, 1u);
		gmm_cpu_relax(turn++);
	}
	if (gmm_stage2_walker_top_up(vcpu->walker, 0))
		gmm_bail("no memory for tables");
	error = gmm_stage2_table_touch(vcpu->walker, gfn, exit->access, 0, &leaf);
	if (error == -GMM_ENOENT)
		error = map_faulting(vcpu, gfn, &leaf);
	if (leaf.flags & GMM_STAGE2_FLUSH_HERE)
		bare_guest_flush();
	if (error && error != -GMM_EAGAIN)
		gmm_bail("a fault at 0x%llx, access %u, is not resolved: %d",
			 (unsigned long long)exit->gpa, exit->access, error);
}

void vcpu_finish(struct vcpu *vcpu)
{
	struct bare_exit exit;

	for (;;) {
		exit = vcpu_run(vcpu);
		if (exit.kind == BARE_EXIT_CALL)
			return;
		resolve(vcpu, &exit);
	}
}

static void run_vcpu(void *arg)
{
	bare_guest_cpu_init();
	bare_guest_flush();
	vcpu_finish(arg);
}

void vcpu_start(struct vcpu *vcpu)
{
	vcpu->cpu = bare_cpu_run(run_vcpu, vcpu);
	if (!vcpu->cpu)
		gmm_bail("no CPU is idle");
}

void vcpu_join(struct vcpu *vcpu)
{
	bare_cpu_join(vcpu->cpu);
}

void vcpu_wait_turns(struct vcpu *vcpu, uint64_t turns)
{
	uint64_t until = gmm_load_acquire(&vcpu->box->turns) + turns;
	uint32_t turn = 0;

	while (gmm_load_acquire(&vcpu->box->turns) < until)
		gmm_cpu_relax(turn++);
}

uint64_t guest_read(struct vcpu *vcpu, gmm_gpa_t gpa)
{
	vcpu_ask(vcpu, GUEST_READ, gpa, 0);
	vcpu_finish(vcpu);
	return vcpu->box->result;
}

void guest_write(struct vcpu *vcpu, gmm_gpa_t gpa, uint64_t value)
{
	vcpu_ask(vcpu, GUEST_WRITE, gpa, value);
	vcpu_finish(vcpu);
}
