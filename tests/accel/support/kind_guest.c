/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define _GNU_SOURCE
#include "kind_guest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/cache.h>
#include <guestmm/fault.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "guest/hash.h"
#include "guest/page.h"

#define SEED 11u
#define PROGRAM_SLOT 5u
#define BYTES ((uint64_t)KIND_PAGES * KIND_PAGE)

static bool is_lazy(const struct kind_guest *guest)
{
	return gmm_memory_abilities(guest->kind) & GMM_MEMORY_CAN_LAZY;
}

static void skip_for(const char *reason)
{
	print_message("%s\n", reason);
	skip();
}

/* What an owner or a device would have. */
static int make_file(const struct kind_guest *guest)
{
	const char *directory = getenv("GMM_TEST_TMP");
	char contents[KIND_PAGE];
	uint64_t page;
	int fd;

	if (guest->kind == GMM_MEMORY_KIND_DEVICE)
		fd = open(directory ? directory : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	else
		fd = memfd_create("owner", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	for (page = 0; page < KIND_PAGES; page++) {
		kind_guest_original(guest, page, contents);
		assert_int_equal(pwrite(fd, contents, KIND_PAGE, (off_t)(page * KIND_PAGE)),
				 KIND_PAGE);
	}
	if (guest->kind == GMM_MEMORY_KIND_ADOPTED)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static int make_memory(struct kind_guest *guest)
{
	struct gmm_memory_config config = {
		.kind = guest->kind,
		.page_count = KIND_PAGES,
		.page_shift = 12,
		.mapping = guest->mapping,
		.vcpu_address = guest->ops->vcpu_address(guest->accel, 0, BYTES),
	};
	int error = 0;

	switch (guest->kind) {
	case GMM_MEMORY_KIND_PLAIN:
		break;
	case GMM_MEMORY_KIND_ADOPTED:
	case GMM_MEMORY_KIND_DEVICE:
		guest->file = make_file(guest);
		break;
	case GMM_MEMORY_KIND_GUEST_MEMFD:
		config.source = guest->source;
		error = guest->ops->guest_memfd(guest->accel, BYTES, &guest->file, guest->text);
		break;
	default:
		config.source = guest->source;
		break;
	}
	if (error == -GMM_ENOSYS)
		skip_for(guest->text);
	if (error)
		return error;
	config.fd = guest->file;
	error = gmm_memory_create(&config, &guest->memory, guest->text, sizeof(guest->text));
	if (error == -GMM_ENOSYS)
		skip_for(guest->text);
	return error;
}

static int add_slot(struct kind_guest *guest, struct gmm_memory *memory, uint32_t id,
		    uint32_t flags, gmm_gpa_t gpa)
{
	struct gmm_slot_config config = {
		.id = id,
		.flags = flags,
		.gfn = gpa / KIND_PAGE,
		.count = gmm_memory_size(memory) / KIND_PAGE,
		.hva = (uintptr_t)gmm_memory_vcpu_address(memory),
		.memory_ops = gmm_memory_ops_of(memory),
		.memory = memory,
	};

	return gmm_slot_add(guest->guest, &config);
}

static void add_program(struct kind_guest *guest, const struct gmm_program_config *program,
			uint64_t bytes)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_PLAIN,
		.page_count = bytes / KIND_PAGE,
		.page_shift = 12,
		.vcpu_address = guest->ops->vcpu_address(guest->accel, program->program_gpa, bytes),
	};

	assert_int_equal(gmm_memory_create(&config, &guest->program_memory, NULL, 0), 0);
	assert_int_equal(
		add_slot(guest, guest->program_memory, PROGRAM_SLOT, 0, program->program_gpa), 0);
	guest->has_program = true;
	assert_int_equal(gmm_program_init(&guest->program, program,
					  gmm_memory_engine_address(guest->program_memory),
					  guest->ops->vcpu_address(guest->accel, 0, 0)),
			 0);
}

static void open_accel(struct kind_guest *guest, struct gmm_accel_config *config)
{
	struct gmm_guest_config engine = { .max_vcpus = 1 };
	uint32_t required = guest->kind == GMM_MEMORY_KIND_ANONYMOUS ?
				    GMM_USERFAULT_PRIVATE_WP :
				    GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP;

	if (guest->ops == &gmm_accel_kvm)
		required |= GMM_USERFAULT_KERNEL;
	if (guest->ops->probe(guest->text))
		skip_for(guest->text);
	if (is_lazy(guest) && gmm_userfault_open(required, 0, &guest->userfault, guest->text))
		skip_for(guest->text);
	config->userfault = guest->userfault;
	if (guest->ops->create(config, &guest->accel, guest->text))
		fail_msg("%s", guest->text);
	guest->ops->stage2(guest->accel, &guest->stage2);
	engine.stage2_ops = guest->stage2.ops;
	engine.stage2_owner = guest->stage2.owner;
	assert_int_equal(gmm_guest_create(&engine, &guest->guest), 0);
	assert_int_equal(gmm_reader_register(guest->guest, &guest->reader), 0);
}

static void start_service(struct kind_guest *guest)
{
	struct gmm_fault_service_config config = {
		.guest = guest->guest,
		.userfault = guest->userfault,
		.busy_threads = 1,
	};

	if (!guest->userfault)
		return;
	gmm_memory_attach_userfault(guest->memory, gmm_userfault_descriptor(guest->userfault));
	assert_int_equal(gmm_fault_service_start(&config, &guest->service), 0);
}

int kind_guest_open(struct kind_guest *guest)
{
	struct gmm_program_config program = {
		.vcpus = 1,
		.seed = SEED,
		.program_gpa = gmm_program_gpa(BYTES),
		.snapshot_pages = KIND_PAGES,
	};
	uint64_t bytes = gmm_program_bytes(&program);
	struct gmm_accel_config accel = { .gpa_bytes = program.program_gpa + bytes, .vcpus = 1 };
	int error;

	guest->file = -1;
	assert_int_equal(gmm_source_open_generated(&guest->source, SEED, KIND_PAGES, 12, NULL, 0),
			 0);
	open_accel(guest, &accel);
	error = make_memory(guest);
	if (!error)
		error = add_slot(guest, guest->memory, KIND_SLOT, guest->slot_flags, 0);
	if (error)
		return error;
	guest->has_slot = true;
	add_program(guest, &program, bytes);
	start_service(guest);
	guest->program.vcpus[0].mailbox.weight_hot = 0;
	return 0;
}

void kind_guest_close(struct kind_guest *guest)
{
	if (guest->vcpu)
		guest->ops->vcpu_destroy(guest->vcpu);
	gmm_fault_service_stop(guest->service);
	if (guest->reader)
		gmm_reader_unregister(guest->reader);
	if (guest->has_program)
		assert_int_equal(gmm_slot_remove(guest->guest, PROGRAM_SLOT), 0);
	if (guest->memory && guest->userfault)
		gmm_memory_attach_userfault(guest->memory, -1);
	if (guest->has_slot)
		assert_int_equal(gmm_slot_remove(guest->guest, KIND_SLOT), 0);
	if (guest->guest)
		assert_int_equal(gmm_guest_destroy(guest->guest), 0);
	gmm_memory_close(guest->program_memory);
	gmm_memory_close(guest->memory);
	if (guest->accel)
		guest->ops->destroy(guest->accel);
	if (guest->userfault)
		gmm_userfault_close(guest->userfault);
	gmm_source_close(&guest->source);
	if (guest->file >= 0)
		close(guest->file);
}

void kind_guest_original(const struct kind_guest *guest, uint64_t page, void *contents)
{
	if (guest->kind == GMM_MEMORY_KIND_PLAIN)
		memset(contents, 0, KIND_PAGE);
	else
		assert_int_equal(guest->source.ops->read(guest->source.source, page, 1, contents),
				 0);
}

static void answer_reports(struct kind_guest *guest)
{
	uint64_t contents[KIND_PAGE / 8];
	struct guest_report report;

	while (gmm_program_report_pop(&guest->program, 0, &report)) {
		bool same;

		kind_guest_original(guest, report.page, contents);
		same = guest_hash(contents) == report.hash;
		assert_true(same);
		gmm_program_page_answer(&guest->program, report.page,
					report.page % 8 ? GUEST_PAGE_MAY_TAKE : GUEST_PAGE_KEEP);
	}
}

bool kind_guest_run(struct kind_guest *guest, uint64_t steps)
{
	struct guest_mailbox *mailbox = &guest->program.vcpus[0].mailbox;
	struct gmm_accel_vcpu_start start;
	struct guest_loss loss;

	gmm_program_vcpu_start(&guest->program, 0, &start);
	if (!guest->vcpu &&
	    guest->ops->vcpu_create(guest->accel, &start, &guest->vcpu, guest->text))
		fail_msg("%s", guest->text);
	mailbox->pause_at_step = mailbox->statistics.steps + steps;
	guest->ops->vcpu_run(guest->vcpu, &guest->exit);
	answer_reports(guest);
	if (gmm_program_loss_pop(&guest->program, 0, &loss))
		fail_msg("loss %u: page %llu", loss.kind, (unsigned long long)loss.page);
	return guest->exit.kind == GMM_ACCEL_EXIT_GUEST && guest->exit.code == GUEST_EXIT_PAUSED;
}

void kind_guest_read(struct kind_guest *guest, uint64_t page, void *contents)
{
	if (gmm_memory_ops_of(guest->memory)->read)
		assert_int_equal(gmm_page_read(guest->guest, page, contents), 0);
	else
		kind_guest_load(guest, page, contents);
}

void kind_guest_verify(struct kind_guest *guest)
{
	uint64_t found[KIND_PAGE / 8], original[KIND_PAGE / 8];
	uint64_t page;
	uint32_t wrong = 0;

	for (page = 0; page < KIND_PAGES; page++) {
		const struct guest_page *meta = &guest->program.pages[page];
		struct guest_page_expect expect = {
			.seed = SEED,
			.page = page,
			.version = meta->version,
			.full_version = meta->detail,
		};

		kind_guest_read(guest, page, found);
		kind_guest_original(guest, page, original);
		if (meta->state != GUEST_PAGE_OWNED)
			assert_memory_equal(found, original, KIND_PAGE);
		else if (!guest_page_verify(found, &expect, &wrong))
			fail_msg("page %llu: word %u is wrong", (unsigned long long)page, wrong);
	}
}

/* A cache of one page for one access, in a section that the caller leaves. */
static void *enter(struct kind_guest *guest, uint64_t page, uint32_t uses, struct gmm_cache **cache)
{
	void *pointer;

	assert_int_equal(gmm_cache_create(guest->guest, cache), 0);
	assert_int_equal(gmm_cache_activate(*cache, page * KIND_PAGE, KIND_PAGE, uses), 0);
	for (;;) {
		gmm_section_enter(guest->reader);
		pointer = gmm_cache_pointer(*cache, 0, KIND_PAGE);
		if (pointer)
			return pointer;
		gmm_section_exit(guest->reader);
		assert_int_equal(gmm_cache_refresh(*cache), 0);
	}
}

static void leave(struct kind_guest *guest, struct gmm_cache *cache)
{
	gmm_section_exit(guest->reader);
	assert_int_equal(gmm_cache_destroy(cache), 0);
}

void kind_guest_store(struct kind_guest *guest, uint64_t page, int value)
{
	struct gmm_cache *cache;

	memset(enter(guest, page, GMM_CACHE_HOST | GMM_CACHE_WRITE, &cache), value, KIND_PAGE);
	gmm_cache_mark_dirty(cache, 0, KIND_PAGE);
	leave(guest, cache);
}

void kind_guest_load(struct kind_guest *guest, uint64_t page, void *contents)
{
	struct gmm_cache *cache;

	memcpy(contents, enter(guest, page, GMM_CACHE_HOST, &cache), KIND_PAGE);
	leave(guest, cache);
}
