/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "program.h"

#include <string.h>

#include "../guest/image.h"

#define PAGE GUEST_PAGE_BYTES
#define BIG_PAGE (2ull << 20)
#define GIB (1ull << 30)
#define TEXT_BYTES_MAX 65536u
#define TSS_OFFSET PAGE
#define TEXT_OFFSET (2 * PAGE)
/* Of the task state segment: where its map of forbidden ports begins; none is. */
#define TSS_PORT_MAP_FIELD 102u
#define TSS_PORT_MAP 104u

/*
 * Entries of x86 page tables: present, writable, user, accessed, dirty (so nobody writes them
 * later).
 */
#define TABLE_LINK 0x27ull
#define TABLE_LEAF_2M 0xe7ull

struct layout {
	uint64_t page_table_offset, page_table_bytes;
	uint64_t pages_offset;
	uint64_t regions_offset;
	uint64_t vcpu_offset;
	uint64_t bytes;
};

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static bool config_ok(const struct gmm_program_config *config)
{
	uint64_t most = 512 * GIB;

	return config->vcpus >= 1 && config->vcpus <= GUEST_VCPUS_MAX &&
	       config->program_gpa % BIG_PAGE == 0 && config->program_gpa < most &&
	       config->snapshot_gpa % PAGE == 0 && config->snapshot_gpa < most &&
	       config->snapshot_pages <= most / PAGE && config->frame_window_gpa % PAGE == 0 &&
	       config->frame_window_gpa < most && config->frame_window_pages <= most / PAGE;
}

static bool layout_of(const struct gmm_program_config *config, struct layout *layout)
{
	uint64_t end, others;

	if (!config_ok(config))
		return false;
	layout->page_table_offset = TEXT_OFFSET + TEXT_BYTES_MAX;
	others = round_up(config->snapshot_pages * sizeof(struct guest_page), PAGE) +
		 round_up(sizeof(struct guest_regions), PAGE) +
		 config->vcpus * sizeof(struct guest_vcpu_area);
	/*
	 * The tables cover themselves: at most one root, one directory of directories, 512 leaves.
	 */
	end = config->program_gpa + layout->page_table_offset + others + (2 + 512) * PAGE;
	if (end < config->snapshot_gpa + config->snapshot_pages * PAGE)
		end = config->snapshot_gpa + config->snapshot_pages * PAGE;
	if (end < config->frame_window_gpa + config->frame_window_pages * PAGE)
		end = config->frame_window_gpa + config->frame_window_pages * PAGE;
	if (end > 512 * GIB)
		return false;
	layout->page_table_bytes = (2 + round_up(end, GIB) / GIB) * PAGE;
	layout->pages_offset = layout->page_table_offset + layout->page_table_bytes;
	layout->regions_offset = layout->pages_offset +
				 round_up(config->snapshot_pages * sizeof(struct guest_page), PAGE);
	layout->vcpu_offset = layout->regions_offset + round_up(sizeof(struct guest_regions), PAGE);
	layout->bytes = layout->vcpu_offset + config->vcpus * sizeof(struct guest_vcpu_area);
	return true;
}

gmm_gpa_t gmm_program_gpa(uint64_t end)
{
	return round_up(end, BIG_PAGE);
}

uint64_t gmm_program_bytes(const struct gmm_program_config *config)
{
	struct layout layout;

	return layout_of(config, &layout) ? layout.bytes : 0;
}

static void build_page_tables(const struct gmm_program_config *config, const struct layout *layout,
			      void *memory)
{
	uint64_t gpa = config->program_gpa + layout->page_table_offset;
	uint64_t *root = (uint64_t *)((char *)memory + layout->page_table_offset);
	uint64_t *middle = root + 512;
	uint64_t *leaf = root + 1024;
	uint64_t count = layout->page_table_bytes / PAGE - 2;
	uint64_t i;

	root[0] = (gpa + PAGE) | TABLE_LINK;
	for (i = 0; i < count; i++)
		middle[i] = (gpa + (2 + i) * PAGE) | TABLE_LINK;
	for (i = 0; i < count * 512; i++)
		leaf[i] = i * BIG_PAGE | TABLE_LEAF_2M;
}

static void fill_boot(struct gmm_program *program, const struct layout *layout)
{
	const struct gmm_program_config *config = &program->config;

	*program->boot = (struct guest_boot){
		.magic = GUEST_ABI_MAGIC,
		.version = GUEST_ABI_VERSION,
		.vcpus = config->vcpus,
		.seed = config->seed,
		.program_gpa = config->program_gpa,
		.program_bytes = layout->bytes,
		.snapshot_gpa = config->snapshot_gpa,
		.snapshot_pages = config->snapshot_pages,
		.frame_window_gpa = config->frame_window_gpa,
		.frame_window_pages = config->frame_window_pages,
		.text_offset = TEXT_OFFSET,
		.tss_offset = TSS_OFFSET,
		.text_bytes = gmm_guest_image_bytes,
		.page_table_offset = layout->page_table_offset,
		.page_table_bytes = layout->page_table_bytes,
		.pages_offset = layout->pages_offset,
		.regions_offset = layout->regions_offset,
		.vcpu_offset = layout->vcpu_offset,
	};
}

static uint64_t area_gpa(const struct gmm_program *program, uint32_t index)
{
	return program->config.program_gpa + program->boot->vcpu_offset +
	       index * sizeof(struct guest_vcpu_area);
}

static void fill_vcpu(struct gmm_program *program, uint32_t index, const void *base)
{
	struct guest_vcpu_area *area = &program->vcpus[index];

	area->mailbox.frame_number = GUEST_FRAME_NONE;
	area->mailbox.weight_sequential = 1;
	area->mailbox.weight_random = 1;
	area->mailbox.weight_hot = 2;
	area->mailbox.hot_pages = 256;
	area->mailbox.write_percent = 50;
	area->mailbox.accesses_per_step = 4;
	area->cpu.base = (uintptr_t)base;
	area->cpu.boot_gpa = program->config.program_gpa;
	area->cpu.area_gpa = area_gpa(program, index);
	area->cpu.index = index;
}

static bool image_ok(void)
{
	struct guest_image image;

	if (gmm_guest_image_bytes < sizeof(image) || gmm_guest_image_bytes > TEXT_BYTES_MAX)
		return false;
	memcpy(&image, gmm_guest_image, sizeof(image));
	return image.magic == GUEST_IMAGE_MAGIC && image.bytes == gmm_guest_image_bytes &&
	       image.entry < image.bytes && image.frame_restart < image.frame_commit &&
	       image.frame_commit < image.bytes;
}

int gmm_program_init(struct gmm_program *program, const struct gmm_program_config *config,
		     void *memory, const void *base)
{
	struct layout layout;
	uint32_t i;

	if (!layout_of(config, &layout))
		return -GMM_EINVAL;
	if (!image_ok())
		return -GMM_EIO;
	*program = (struct gmm_program){
		.config = *config,
		.bytes = layout.bytes,
		.memory = memory,
		.boot = memory,
		.pages = (struct guest_page *)((char *)memory + layout.pages_offset),
		.regions = (struct guest_regions *)((char *)memory + layout.regions_offset),
		.vcpus = (struct guest_vcpu_area *)((char *)memory + layout.vcpu_offset),
	};
	fill_boot(program, &layout);
	memcpy((char *)memory + program->boot->text_offset, gmm_guest_image, gmm_guest_image_bytes);
	*(uint16_t *)((char *)memory + TSS_OFFSET + TSS_PORT_MAP_FIELD) = TSS_PORT_MAP;
	build_page_tables(config, &layout, memory);
	for (i = 0; i < config->vcpus; i++)
		fill_vcpu(program, i, base);
	return 0;
}

void gmm_program_vcpu_start(const struct gmm_program *program, uint32_t index,
			    struct gmm_accel_vcpu_start *start)
{
	uint64_t area = area_gpa(program, index);
	uint64_t text = program->config.program_gpa + program->boot->text_offset;
	struct guest_image image;

	memcpy(&image, gmm_guest_image, sizeof(image));
	*start = (struct gmm_accel_vcpu_start){
		.index = index,
		.cpu_gpa = area + offsetof(struct guest_vcpu_area, cpu),
		.cpu = &program->vcpus[index].cpu,
		.mailbox = &program->vcpus[index].mailbox,
		.entry_gpa = text + image.entry,
		.stack_gpa = area + offsetof(struct guest_vcpu_area, stack) + GUEST_STACK_BYTES,
		.page_table_gpa = program->config.program_gpa + program->boot->page_table_offset,
		.tss_gpa = program->config.program_gpa + program->boot->tss_offset,
		.frame_restart_gpa = text + image.frame_restart,
		.frame_commit_gpa = text + image.frame_commit,
	};
}

bool gmm_program_report_pop(struct gmm_program *program, uint32_t vcpu, struct guest_report *report)
{
	struct guest_report_ring *ring = &program->vcpus[vcpu].reports;
	uint64_t tail = ring->tail;

	if (tail == __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE))
		return false;
	*report = ring->entry[tail % GUEST_REPORTS];
	__atomic_store_n(&ring->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}

bool gmm_program_loss_pop(struct gmm_program *program, uint32_t vcpu, struct guest_loss *loss)
{
	struct guest_loss_ring *ring = &program->vcpus[vcpu].losses;
	uint64_t tail = ring->tail;

	if (tail == __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE))
		return false;
	*loss = ring->entry[tail % GUEST_LOSSES];
	__atomic_store_n(&ring->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}

bool gmm_program_io_peek(struct gmm_program *program, uint32_t vcpu, struct guest_io *io)
{
	struct guest_io_ring *ring = &program->vcpus[vcpu].io;
	uint64_t completed = ring->completed;

	if (completed == __atomic_load_n(&ring->posted, __ATOMIC_ACQUIRE))
		return false;
	*io = ring->entry[completed % GUEST_IO_ENTRIES];
	return true;
}

void gmm_program_io_complete(struct gmm_program *program, uint32_t vcpu,
			     enum guest_io_status status)
{
	struct guest_io_ring *ring = &program->vcpus[vcpu].io;

	ring->entry[ring->completed % GUEST_IO_ENTRIES].status = status;
	__atomic_store_n(&ring->completed, ring->completed + 1, __ATOMIC_RELEASE);
}

void gmm_program_page_answer(struct gmm_program *program, uint64_t page,
			     enum guest_page_state state)
{
	__atomic_store_n(&program->pages[page].state, (uint32_t)state, __ATOMIC_RELEASE);
}

void gmm_program_stop(struct gmm_program *program, uint32_t vcpu, bool stop)
{
	__atomic_store_n(&program->vcpus[vcpu].mailbox.stop, stop, __ATOMIC_RELAXED);
}

void gmm_program_statistics(const struct gmm_program *program, uint32_t vcpu,
			    struct guest_statistics *statistics)
{
	const uint64_t *from = (const uint64_t *)&program->vcpus[vcpu].mailbox.statistics;
	uint64_t *to = (uint64_t *)statistics;
	size_t i;

	for (i = 0; i < sizeof(*statistics) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
