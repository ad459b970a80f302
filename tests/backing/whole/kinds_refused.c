/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What each kind of memory refuses, by name and with the way out; and that the table says why. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing_test.h"

#define PAGES 512u
#define HUGE_BYTES (2ul << 20)

static struct gmm_memory_config config_of(enum gmm_memory_kind kind)
{
	return (struct gmm_memory_config){
		.kind = kind,
		.page_count = PAGES,
		.page_shift = PAGE_SHIFT,
		.fd = -1,
	};
}

static void refused(const struct gmm_memory_config *config, int error, const char *thing,
		    const char *way_out)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_memory *memory = NULL;
	unsigned int files = open_files();

	assert_int_equal(gmm_memory_create(config, &memory, text, sizeof(text)), error);
	assert_null(memory);
	assert_helpful(text, thing, way_out);
	assert_int_equal(open_files(), files);
}

static int sealed_memfd(off_t size, int seals)
{
	int fd = memfd_create("owner", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void table_names_every_kind(void **state)
{
	uint32_t kind, bit;

	for (kind = 0; kind < GMM_MEMORY_KINDS; kind++) {
		uint32_t abilities = gmm_memory_abilities((enum gmm_memory_kind)kind);

		assert_non_null(gmm_memory_kind_name((enum gmm_memory_kind)kind));
		for (bit = 0; bit < GMM_MEMORY_ABILITIES; bit++) {
			const char *why = gmm_memory_why_not((enum gmm_memory_kind)kind, 1u << bit);

			assert_int_equal(!why, abilities >> bit & 1);
			assert_true(!why || *why);
		}
		assert_int_equal(abilities >> GMM_MEMORY_ABILITIES, 0);
		/* Some way to reach it there must be. */
		assert_true(abilities & (GMM_MEMORY_CAN_LINEAR | GMM_MEMORY_CAN_IN_USE));
	}
	assert_null(gmm_memory_kind_name(GMM_MEMORY_KINDS));
	assert_int_equal(gmm_memory_abilities(GMM_MEMORY_KINDS), 0);
	assert_null(gmm_memory_why_not(GMM_MEMORY_KINDS, GMM_MEMORY_CAN_LAZY));
	assert_null(gmm_memory_why_not(GMM_MEMORY_KIND_PLAIN, 1u << GMM_MEMORY_ABILITIES));
	assert_null(gmm_memory_why_not(GMM_MEMORY_KIND_PLAIN, 3));
}

static void mappings_that_a_kind_lacks(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_ANONYMOUS);

	config.mapping = GMM_MEMORY_MAPPING_IN_USE;
	refused(&config, -GMM_EINVAL,
		gmm_memory_why_not(GMM_MEMORY_KIND_ANONYMOUS, GMM_MEMORY_CAN_IN_USE),
		"the other mapping");
	config = config_of(GMM_MEMORY_KIND_SECRET);
	config.mapping = GMM_MEMORY_MAPPING_LINEAR;
	refused(&config, -GMM_EINVAL,
		gmm_memory_why_not(GMM_MEMORY_KIND_SECRET, GMM_MEMORY_CAN_LINEAR),
		"the other mapping");
	config = config_of(GMM_MEMORY_KIND_MEMFD);
	config.mapping = (enum gmm_memory_mapping)7;
	refused(&config, -GMM_EINVAL, "7", "no mapping");
}

static void huge_pages_that_are_not_there(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_HUGETLB);
	struct gmm_memory *memory;

	config.page_count = PAGES + 1;
	refused(&config, -GMM_EINVAL, "hugetlb", "multiple of 2 MiB");
	config = config_of(GMM_MEMORY_KIND_HUGETLB);
	config.vcpu_address = (void *)(uintptr_t)(HUGE_BYTES + PAGE_SIZE);
	refused(&config, -GMM_EINVAL, "hugetlb", "multiple of 2 MiB");
	if (gmm_memory_create(&(struct gmm_memory_config){ .kind = GMM_MEMORY_KIND_HUGETLB,
							   .page_count = PAGES,
							   .page_shift = PAGE_SHIFT },
			      &memory, NULL, 0) == -GMM_ENOSYS)
		return;
	/* 64 TiB are not free anywhere. */
	config = config_of(GMM_MEMORY_KIND_HUGETLB);
	config.page_count = 1ull << 34;
	refused(&config, -GMM_ENOMEM, "33554432 huge pages", "vm.nr_hugepages");
}

static void sources_of_kinds_that_have_contents(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_ADOPTED);

	assert_int_equal(gmm_source_open_generated(&config.source, 1, PAGES, PAGE_SHIFT, NULL, 0),
			 0);
	config.fd = sealed_memfd(PAGES * PAGE_SIZE, F_SEAL_SHRINK);
	refused(&config, -GMM_EINVAL, "adopted memory has no source", "memfd or anonymous");
	config.kind = GMM_MEMORY_KIND_DEVICE;
	refused(&config, -GMM_EINVAL, "device memory has no source", "memfd or anonymous");
	close(config.fd);
	gmm_source_close(&config.source);
}

static void sources_that_cannot_be_read(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_SECRET);
	struct probe_source probe;
	struct gmm_source inner;

	assert_int_equal(gmm_source_open_generated(&inner, 1, PAGES, PAGE_SHIFT, NULL, 0), 0);
	config.source = probe_source_wrap(&probe, inner);
	probe.hide_zeros = true;
	probe.fails_at = PAGES - 1;
	refused(&config, -GMM_EIO, "probe", "failed as told to");
	gmm_source_close(&inner);
}

static void files_that_cannot_be_adopted(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_ADOPTED);
	char path[64];
	int fd;

	refused(&config, -GMM_EINVAL, "adopted", "give one");
	config.fd = fd = sealed_memfd(PAGES * PAGE_SIZE, F_SEAL_SHRINK);
	config.page_count = PAGES + 1;
	refused(&config, -GMM_EINVAL, "2097152 bytes", "offset and size");
	config.page_count = 1;
	config.fd_offset = PAGES * PAGE_SIZE;
	refused(&config, -GMM_EINVAL, "ends before", "offset and size");
	config.fd_offset = UINT64_MAX - PAGE_SIZE + 1;
	refused(&config, -GMM_EINVAL, "ends before", "offset and size");
	config.fd_offset = 512;
	refused(&config, -GMM_EINVAL, "offset 512", "multiple of 4096");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config = config_of(GMM_MEMORY_KIND_ADOPTED);
	config.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(config.fd >= 0);
	refused(&config, -GMM_EINVAL, "not open for reading and writing", "open it so");
	close(config.fd);
	close(fd);
}

static void memfds_with_the_wrong_seals(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_ADOPTED);
	char *directory = scratch_make(), *path = scratch_path(directory, "file");

	config.fd = sealed_memfd(PAGES * PAGE_SIZE, F_SEAL_GROW);
	refused(&config, -GMM_EINVAL, "may get shorter", "F_SEAL_SHRINK");
	close(config.fd);
	config.fd = sealed_memfd(PAGES * PAGE_SIZE, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
	refused(&config, -GMM_EINVAL, "against writing", "F_SEAL_WRITE");
	close(config.fd);
	config.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(config.fd, PAGES * PAGE_SIZE), 0);
	refused(&config, -GMM_EINVAL, "no memfd", "kind device");
	close(config.fd);
	free(path);
	scratch_remove(directory);
}

static void devices_that_cannot_be_mapped(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_DEVICE);
	int pipes[2];

	config.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	refused(&config, -GMM_EINVAL, "cannot be mapped", "mmap can share");
	close(config.fd);
	assert_int_equal(pipe(pipes), 0);
	config.fd = pipes[0];
	refused(&config, -GMM_EINVAL, "not open for reading and writing", "open it so");
	close(pipes[0]);
	close(pipes[1]);
	config.fd = sealed_memfd(PAGES * PAGE_SIZE - 1, F_SEAL_SHRINK);
	refused(&config, -GMM_EINVAL, "ends before", "offset and size");
	close(config.fd);
}

/* Our own memfd can be given to a device process: it is sealed as adopting wants it. */
static void our_memfds_can_be_adopted(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_PLAIN);
	struct gmm_memory *owner, *device;

	assert_int_equal(gmm_memory_create(&config, &owner, NULL, 0), 0);
	config = config_of(GMM_MEMORY_KIND_ADOPTED);
	config.fd = gmm_memory_fd(owner);
	assert_int_equal(gmm_memory_create(&config, &device, NULL, 0), 0);
	assert_int_not_equal(gmm_memory_fd(device), gmm_memory_fd(owner));
	gmm_memory_close(owner);
	gmm_memory_close(device);
}

/* From here on this process has a kernel without memfd_secret. */
static int forbid_secret(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_secret, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void kernel_without_secret_memory(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_SECRET);
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_memory *memory;
	int status = -1;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		bool good = forbid_secret() == 0 &&
			    gmm_memory_create(&config, &memory, text, sizeof(text)) ==
				    -GMM_ENOSYS &&
			    strstr(text, "secretmem.enable=1");

		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_names_every_kind),
		cmocka_unit_test(mappings_that_a_kind_lacks),
		cmocka_unit_test(huge_pages_that_are_not_there),
		cmocka_unit_test(sources_of_kinds_that_have_contents),
		cmocka_unit_test(files_that_cannot_be_adopted),
		cmocka_unit_test(memfds_with_the_wrong_seals),
		cmocka_unit_test(devices_that_cannot_be_mapped),
		cmocka_unit_test(our_memfds_can_be_adopted),
		cmocka_unit_test(kernel_without_secret_memory),
		cmocka_unit_test(sources_that_cannot_be_read),
	};
	struct gmm_memory_config secret = config_of(GMM_MEMORY_KIND_SECRET);
	char text[GMM_BACKING_TEXT_SIZE] = "";
	size_t count = sizeof(tests) / sizeof(tests[0]);
	struct gmm_memory *memory;

	if (gmm_memory_create(&secret, &memory, text, sizeof(text)) == 0) {
		gmm_memory_close(memory);
	} else {
		printf("# SKIP sources_that_cannot_be_read: %s\n", text);
		count--;
	}
	return _cmocka_run_group_tests("refused kinds of memory", tests, count, NULL, NULL);
}
