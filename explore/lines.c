/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "lines.h"

#include <string.h>

#include <guestmm/error.h>

#include <gmm_port/section.h>

#define CPU_SITE(cpu, text)                                  \
	{                                                    \
		__FILE__, "CPU " #cpu ": " text, __LINE__, 0 \
	}
/* Sites of a step, one for each CPU that makes it. */
#define SITES(name, text)                                                        \
	static const struct gmm_sim_site name[LINES_CPUS] = { CPU_SITE(0, text), \
							      CPU_SITE(1, text), \
							      CPU_SITE(2, text) }

SITES(plain_store, "stores to a line");
SITES(plain_load, "loads from a line");
SITES(guest_store, "the guest stores to a line");
SITES(guest_load, "the guest loads from a line");
SITES(wbinvd_line, "WBINVD, a line");
SITES(wbinvd_end, "WBINVD, the end");
SITES(wbnoinvd_line, "WBNOINVD, a line");
SITES(plain_event, "a plain line is written back by itself");
SITES(guest_event, "a guest's line is written back by itself");
SITES(plain_last, "a plain line is written back at last");
SITES(guest_last, "a guest's line is written back at last");

/* What is read with a key that it was not written with. */
static uint64_t decrypted(uint64_t word, uint32_t written, uint32_t read)
{
	if (written == read)
		return word;
	return word ^ (((uint64_t)written << 32 | read) + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint32_t key_of(const struct lines *lines, uint32_t view)
{
	return view == LINES_PLAIN ? LINES_HOST : lines->asids[view].guest;
}

static const char *name_of(uint32_t owner)
{
	static const char *const names[] = { "the host", "guest 1", "guest 2", "guest 3" };

	return owner < sizeof(names) / sizeof(names[0]) ? names[owner] : "another guest";
}

static void write_back(struct lines *lines, uint32_t cpu, uint32_t view, struct lines_line *line)
{
	struct lines_copy *copy = &line->copies[cpu][view];

	if (!copy->dirty)
		return;
	/* Where caches are coherent the new owner's first access takes old lines away. */
	if (copy->owner != line->owner && (line->stored || !(lines->traits & LINES_COHERENT)))
		gmm_sim_fail("CPU %u writes a line of %s back over memory of %s", cpu,
			     name_of(copy->owner), name_of(line->owner));
	line->memory = copy->word;
	line->key = key_of(lines, view);
	copy->dirty = false;
}

static void write_back_and_drop(struct lines *lines, uint32_t cpu, uint32_t view,
				struct lines_line *line)
{
	write_back(lines, cpu, view, line);
	line->copies[cpu][view].cached = false;
}

static uint32_t said_to_have_run(const struct lines_asid *asid)
{
	uint32_t cpus = asid->ran[0] || asid->ran[1] ? 0 : LINES_ALL_CPUS;
	uint32_t i;

	for (i = 0; i < LINES_MASKS; i++)
		cpus |= asid->ran[i] ? *(const volatile uint32_t *)asid->ran[i] : 0;
	return cpus;
}

static void check_masks(const struct lines *lines)
{
	uint32_t asid, cpu, line;

	for (asid = 1; asid < LINES_VIEWS; asid++) {
		uint32_t cpus = said_to_have_run(&lines->asids[asid]);

		for (line = 0; line < LINES_COUNT; line++)
			for (cpu = 0; cpu < LINES_CPUS; cpu++)
				if (lines->lines[line].copies[cpu][asid].dirty &&
				    !(cpus >> cpu & 1))
					gmm_sim_fail("CPU %u has a dirty line of ASID %u and is "
						     "not in its masks",
						     cpu, asid);
	}
}

/* The nth dirty copy that there is; NULL: there are fewer. */
static struct lines_copy *dirty_copy(struct lines *lines, uint32_t nth, uint32_t *line,
				     uint32_t *cpu, uint32_t *view)
{
	for (*line = 0; *line < LINES_COUNT; (*line)++)
		for (*cpu = 0; *cpu < LINES_CPUS; (*cpu)++)
			for (*view = 0; *view < LINES_VIEWS; (*view)++) {
				struct lines_copy *copy = &lines->lines[*line].copies[*cpu][*view];

				if (copy->dirty && !nth--)
					return copy;
			}
	return NULL;
}

static uint32_t possible(void *opaque)
{
	struct lines *lines = opaque;
	uint32_t line, cpu, view, count = 0;

	check_masks(lines);
	if (!lines->write_backs)
		return 0;
	while (count < GMM_SIM_EVENTS && dirty_copy(lines, count, &line, &cpu, &view))
		count++;
	return (1u << count) - 1;
}

static void describe(void *opaque, uint32_t event, struct gmm_sim_access *access)
{
	struct lines *lines = opaque;
	uint32_t line, cpu, view;

	access->also = dirty_copy(lines, event, &line, &cpu, &view);
	access->also_writes = true;
	access->object = &lines->lines[line].touched;
	access->size = sizeof(lines->lines[line].touched);
	access->writes = true;
	access->site = view == LINES_PLAIN ? &plain_event[cpu] : &guest_event[cpu];
}

static void happen(void *opaque, uint32_t event)
{
	struct lines *lines = opaque;
	uint32_t line, cpu, view;

	dirty_copy(lines, event, &line, &cpu, &view);
	lines->write_backs--;
	write_back(lines, cpu, view, &lines->lines[line]);
}

void lines_init(struct lines *lines, uint32_t traits, uint32_t write_backs)
{
	struct gmm_sim_events events = {
		.possible = possible, .describe = describe, .happen = happen, .opaque = lines
	};
	uint32_t i;

	memset(lines, 0, sizeof(*lines));
	lines->traits = traits;
	lines->write_backs = write_backs;
	for (i = 1; i < LINES_VIEWS; i++)
		lines->asids[i].guest = LINES_NOBODY;
	gmm_sim_events_set(&events);
}

void lines_watch(struct lines *lines, uint32_t asid, uint32_t which, const uint32_t *ran)
{
	lines->asids[asid].ran[which] = ran;
}

/* A step that touches a line, and looks at a word before; NULL: at none. */
static struct lines_line *touch(struct lines *lines, uint32_t number, const uint32_t *also,
				const struct gmm_sim_site *site)
{
	struct lines_line *line = &lines->lines[number];
	struct gmm_sim_access access = { .op = GMM_SIM_UPDATE,
					 .writes = true,
					 .size = sizeof(line->touched),
					 .object = &line->touched,
					 .also = also,
					 .site = site };

	gmm_sim_touch(&access);
	return line;
}

void lines_fini(struct lines *lines)
{
	uint32_t line, cpu, view;

	check_masks(lines);
	/* It may happen by itself until the step is made. */
	while (dirty_copy(lines, 0, &line, &cpu, &view))
		write_back(lines, cpu, view,
			   touch(lines, line, NULL,
				 view == LINES_PLAIN ? &plain_last[cpu] : &guest_last[cpu]));
	gmm_sim_events_set(NULL);
}

void lines_give(struct lines *lines, uint32_t line, uint32_t owner)
{
	struct lines_line *given = touch(lines, line, NULL, GMM_SIM_SITE("a line's new owner"));

	given->owner = owner;
	given->stored = false;
}

uint64_t lines_memory(struct lines *lines, uint32_t line, uint32_t key)
{
	const struct lines_line *read = touch(lines, line, NULL, GMM_SIM_SITE("a line in memory"));

	return decrypted(read->memory, read->key, key);
}

static void other_views_go(struct lines *lines, uint32_t view, struct lines_line *line)
{
	uint32_t cpu, other;

	for (cpu = 0; (lines->traits & LINES_COHERENT) && cpu < LINES_CPUS; cpu++)
		for (other = 0; other < LINES_VIEWS; other++)
			if (other != view)
				write_back_and_drop(lines, cpu, other, line);
}

bool lines_store(struct lines *lines, uint32_t cpu, uint32_t view, uint32_t line,
		 const uint32_t *mapped, uint64_t word)
{
	const struct gmm_sim_site *site = view == LINES_PLAIN ? &plain_store[cpu] :
								&guest_store[cpu];
	struct lines_line *stored = touch(lines, line, mapped, site);
	uint32_t owner = key_of(lines, view), other;

	if (mapped && !*(const volatile uint32_t *)mapped)
		return false;
	if (owner != stored->owner)
		gmm_sim_fail("CPU %u: %s stores to memory of %s", cpu, name_of(owner),
			     name_of(stored->owner));
	other_views_go(lines, view, stored);
	/* All of the line is stored, so what others had of it is not needed. */
	for (other = 0; other < LINES_CPUS; other++)
		stored->copies[other][view] = (struct lines_copy){ .cached = false };
	stored->copies[cpu][view] = (struct lines_copy){ word, owner, true, true };
	stored->stored = true;
	return true;
}

bool lines_load(struct lines *lines, uint32_t cpu, uint32_t view, uint32_t line,
		const uint32_t *mapped, uint64_t *word)
{
	const struct gmm_sim_site *site = view == LINES_PLAIN ? &plain_load[cpu] : &guest_load[cpu];
	struct lines_line *loaded = touch(lines, line, mapped, site);
	struct lines_copy *own = &loaded->copies[cpu][view];
	uint32_t other;

	if (mapped && !*(const volatile uint32_t *)mapped)
		return false;
	other_views_go(lines, view, loaded);
	for (other = 0; other < LINES_CPUS && !own->cached; other++)
		if (loaded->copies[other][view].cached)
			*own = (struct lines_copy){ loaded->copies[other][view].word,
						    loaded->copies[other][view].owner, true,
						    false };
	if (!own->cached) {
		uint32_t key = key_of(lines, view);

		*own = (struct lines_copy){ decrypted(loaded->memory, loaded->key, key), key, true,
					    false };
	}
	*word = own->word;
	return true;
}

/* A line after the other: in between other CPUs run. */
static void whole_cache(struct lines *lines, uint32_t cpu, bool drops)
{
	const struct gmm_sim_site *site = drops ? &wbinvd_line[cpu] : &wbnoinvd_line[cpu];
	uint32_t line, view;

	for (line = 0; line < LINES_COUNT; line++) {
		struct lines_line *touched = touch(lines, line, NULL, site);

		for (view = 0; view < LINES_VIEWS; view++) {
			write_back(lines, cpu, view, touched);
			touched->copies[cpu][view].cached &= !drops;
		}
	}
}

static void touch_firmware(struct lines *lines, const struct gmm_sim_site *site)
{
	struct gmm_sim_access access = { .op = GMM_SIM_UPDATE,
					 .writes = true,
					 .size = sizeof(lines->firmware),
					 .object = &lines->firmware,
					 .site = site };

	gmm_sim_touch(&access);
}

void lines_wbinvd(struct lines *lines, uint32_t cpu)
{
	whole_cache(lines, cpu, true);
	touch_firmware(lines, &wbinvd_end[cpu]);
	lines->wbinvd |= 1u << cpu;
}

void lines_wbnoinvd(struct lines *lines, uint32_t cpu)
{
	if (lines->traits & LINES_NO_WBNOINVD)
		lines_wbinvd(lines, cpu);
	else
		whole_cache(lines, cpu, false);
}

static void on_each(struct lines *lines, uint32_t cpus, void (*work)(struct lines *, uint32_t))
{
	uint32_t cpu;

	/* Who takes an interrupt has its stores done, and so has who waits for that. */
	gmm_section_heavy_barrier();
	for (cpu = 0; cpu < LINES_CPUS; cpu++) {
		if (!(cpus >> cpu & 1))
			continue;
		lines->interrupts[cpu]++;
		work(lines, cpu);
	}
}

void lines_wbinvd_on(struct lines *lines, uint32_t cpus)
{
	on_each(lines, cpus, lines_wbinvd);
}

void lines_wbnoinvd_on(struct lines *lines, uint32_t cpus)
{
	on_each(lines, cpus, lines_wbnoinvd);
}

void lines_clflush(struct lines *lines, uint32_t line)
{
	struct lines_line *flushed = touch(lines, line, NULL, GMM_SIM_SITE("CLFLUSH"));
	uint32_t cpu;

	other_views_go(lines, LINES_PLAIN, flushed);
	for (cpu = 0; cpu < LINES_CPUS; cpu++)
		write_back_and_drop(lines, cpu, LINES_PLAIN, flushed);
}

int lines_vm_page_flush(struct lines *lines, uint32_t line, uint32_t asid)
{
	struct lines_line *flushed;
	uint32_t cpu;

	if (lines->traits & LINES_PAGE_FLUSH_FAULTS)
		return -GMM_EFAULT;
	flushed = touch(lines, line, NULL, GMM_SIM_SITE("VM_PAGE_FLUSH"));
	for (cpu = 0; cpu < LINES_CPUS; cpu++)
		write_back_and_drop(lines, cpu, asid, flushed);
	return 0;
}

/* Steps on lines look at whose ASIDs are. */
static void touch_all(struct lines *lines, const struct gmm_sim_site *site)
{
	struct gmm_sim_access access = { .op = GMM_SIM_UPDATE,
					 .writes = true,
					 .size = sizeof(lines->lines),
					 .object = lines->lines,
					 .also = &lines->firmware,
					 .also_writes = true,
					 .site = site };

	gmm_sim_touch(&access);
}

static void check_nothing_is_left(const struct lines *lines, uint32_t asid, uint32_t guest)
{
	uint32_t line, cpu;

	for (line = 0; line < LINES_COUNT; line++)
		for (cpu = 0; cpu < LINES_CPUS; cpu++)
			if (lines->lines[line].copies[cpu][asid].cached)
				gmm_sim_fail("ASID %u becomes that of %s, and CPU %u has a line "
					     "of %s under it",
					     asid, name_of(guest), cpu,
					     name_of(lines->lines[line].copies[cpu][asid].owner));
}

int lines_asid_activate(struct lines *lines, uint32_t asid, uint32_t guest)
{
	bool trusts = lines->traits & LINES_FIRMWARE_TRUSTS;

	touch_all(lines, GMM_SIM_SITE("ACTIVATE"));
	if (lines->asids[asid].guest != LINES_NOBODY || (lines->asids[asid].used && !trusts))
		return -GMM_EBUSY;
	check_nothing_is_left(lines, asid, guest);
	lines->asids[asid].guest = guest;
	lines->asids[asid].used = true;
	return 0;
}

void lines_asid_deactivate(struct lines *lines, uint32_t asid)
{
	touch_all(lines, GMM_SIM_SITE("DEACTIVATE"));
	lines->asids[asid].guest = LINES_NOBODY;
	lines->wbinvd = 0;
}

int lines_df_flush(struct lines *lines)
{
	uint32_t asid;

	touch_firmware(lines, GMM_SIM_SITE("DF_FLUSH"));
	if (lines->wbinvd != LINES_ALL_CPUS && !(lines->traits & LINES_FIRMWARE_TRUSTS))
		return -GMM_EAGAIN;
	for (asid = 1; asid < LINES_VIEWS; asid++)
		if (lines->asids[asid].guest == LINES_NOBODY)
			lines->asids[asid].used = false;
	return 0;
}
