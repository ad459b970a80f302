/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A VMM whose guest memory is paged in from a file on first touch, limited, and logged. It runs its
 * vCPU itself; guestmm has the memory. The guest reads the first word of each page, writes to each
 * fourth page, and reports the sum at an I/O port, again and again. Between two of its rounds we
 * harvest what it wrote and evict all but a few pages, so each round faults them in again.
 *
 * Exit status 0: everything came out right; 77: this machine lacks something, which is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/kvm_slots.h>
#include <guestmm/linux/memory.h>
#include <guestmm/slot.h>

#define PAGE 4096u
#define PAGES 512u     /* of the guest; it lies at GPA 0 */
#define RESIDENT 64u   /* so many may stay between two rounds */
#define WRITES_EACH 4u /* the guest writes to pages whose number is a multiple */
#define ROUNDS 4u
#define PORT 0x10

/* 32-bit code without paging, in the guest's page 0. %edi: where to begin, %ebx: where to end. */
extern const char guest_code[], guest_code_end[];
__asm__(".pushsection .rodata\n"
	".code32\n"
	"guest_code:\n"
	"	xor	%eax, %eax\n"
	"	mov	%edi, %esi\n"
	".Lpage:	add	(%esi), %eax\n"
	"	test	$0x3000, %esi\n" /* not a multiple of WRITES_EACH pages */
	"	jnz	.Lnext\n"
	"	incl	4(%esi)\n"
	".Lnext:	add	$4096, %esi\n"
	"	cmp	%ebx, %esi\n"
	"	jb	.Lpage\n"
	"	out	%eax, $0x10\n"
	"	jmp	guest_code\n"
	"guest_code_end:\n"
	".code64\n"
	".popsection\n");

struct vmm {
	struct gmm_source source;
	struct gmm_memory *memory;
	struct gmm_userfault *userfault;
	struct gmm_kvm_slots *slots;
	struct gmm_guest *guest;
	struct gmm_fault_service *faults;
	int kvm, vm, vcpu;
	struct kvm_run *run;
};

static void must(const char *what, int64_t result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
	exit(1);
}

static void cannot(const char *text)
{
	printf("cannot be here: %s\n", text);
	exit(77);
}

/* A file with the guest's first contents: code in page 0, its own number in each other page. */
static void snapshot_open(struct gmm_source *source)
{
	char path[] = "/tmp/tiny-vmm.XXXXXX", text[GMM_BACKING_TEXT_SIZE];
	static uint32_t page[PAGE / sizeof(uint32_t)];
	int file = mkstemp(path);

	memcpy(page, guest_code, (size_t)(guest_code_end - guest_code));
	for (uint32_t n = 0; n < PAGES; n++) {
		if (file < 0 || write(file, page, PAGE) != (ssize_t)PAGE)
			must("snapshot", -GMM_EIO);
		memset(page, 0, PAGE);
		page[0] = n + 1;
	}
	close(file);
	if (gmm_source_open_file(source, path, 12, text, sizeof(text)) < 0)
		cannot(text);
	unlink(path);
}

/* The vCPU would wait for ever; a real VMM stops its guest. */
static void fault_failed(void *opaque, gmm_hva_t hva, uint32_t access, int error)
{
	(void)opaque;
	(void)access;
	fprintf(stderr, "page at %#llx: %s\n", (unsigned long long)hva, strerror(-error));
	_exit(1);
}

static void memory_create(struct vmm *vmm)
{
	struct gmm_kvm_slots_config slots = { .vm = vmm->vm, .userfault = vmm->userfault };
	struct gmm_memory_config memory = { .kind = GMM_MEMORY_KIND_MEMFD,
					    .page_count = PAGES,
					    .page_shift = 12,
					    .source = vmm->source };
	struct gmm_guest_config guest = { 0 };
	struct gmm_fault_service_config faults = { .failed = fault_failed, .busy_threads = 1 };
	struct gmm_slot_config slot = { .gfn = 0, .count = PAGES, .flags = GMM_SLOT_LOG_DIRTY };
	char text[GMM_BACKING_TEXT_SIZE];

	must("slots of KVM", gmm_kvm_slots_create(&slots, &vmm->slots));
	guest.stage2_ops = gmm_kvm_slots_ops(vmm->slots);
	guest.stage2_owner = vmm->slots;
	must("guest", gmm_guest_create(&guest, &vmm->guest));
	if (gmm_memory_create(&memory, &vmm->memory, text, sizeof(text)) < 0)
		cannot(text);

	faults.guest = vmm->guest;
	faults.userfault = vmm->userfault;
	must("fault service", gmm_fault_service_start(&faults, &vmm->faults));

	slot.hva = (uintptr_t)gmm_memory_vcpu_address(vmm->memory);
	slot.memory_ops = gmm_memory_ops_of(vmm->memory);
	slot.memory = vmm->memory;
	must("slot", gmm_slot_add(vmm->guest, &slot)); /* it is KVM's, too, from here on */
}

static void memory_destroy(struct vmm *vmm)
{
	must("slot", gmm_slot_remove(vmm->guest, 0));
	gmm_fault_service_stop(vmm->faults);
	must("guest", gmm_guest_destroy(vmm->guest));
	gmm_memory_close(vmm->memory);
	gmm_kvm_slots_destroy(vmm->slots);
	gmm_userfault_close(vmm->userfault);
	gmm_source_close(&vmm->source);
}

static void vcpu_create(struct vmm *vmm)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1
	};
	struct kvm_segment data = code;
	struct kvm_regs registers = { .rdi = PAGE, .rbx = PAGES * PAGE, .rflags = 2 };
	struct kvm_sregs special;
	int bytes = ioctl(vmm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	vmm->vcpu = ioctl(vmm->vm, KVM_CREATE_VCPU, 0);
	if (vmm->vcpu < 0 || bytes <= 0)
		cannot("KVM gives no vCPU");
	vmm->run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->vcpu, 0);
	if (vmm->run == MAP_FAILED || ioctl(vmm->vcpu, KVM_GET_SREGS, &special))
		must("vCPU", -GMM_EIO);
	data.selector = 16;
	data.type = 3;
	special.cs = code;
	special.ds = special.es = special.ss = data;
	special.cr0 |= 1; /* protected mode */
	if (ioctl(vmm->vcpu, KVM_SET_SREGS, &special) || ioctl(vmm->vcpu, KVM_SET_REGS, &registers))
		must("registers", -GMM_EIO);
}

/* Runs the guest until it has gone over its memory once; what it has summed up. */
static uint32_t vcpu_round(struct vmm *vmm)
{
	uint32_t sum;

	if (ioctl(vmm->vcpu, KVM_RUN, 0) < 0 || vmm->run->exit_reason != KVM_EXIT_IO ||
	    vmm->run->io.port != PORT) {
		fprintf(stderr, "the guest left by exit %u\n", vmm->run->exit_reason);
		exit(1);
	}
	memcpy(&sum, (char *)vmm->run + vmm->run->io.data_offset, sizeof(sum));
	return sum;
}

/* Takes the log; whether every page that the guest has written is in it. */
static bool harvest(struct vmm *vmm, int64_t *pages)
{
	uint64_t bitmap[PAGES / 64];
	bool complete = true;

	*pages = gmm_dirty_harvest(vmm->guest, 0, 0, PAGES, bitmap);
	must("harvest", *pages);
	for (uint32_t n = WRITES_EACH; n < PAGES; n += WRITES_EACH)
		complete &= bitmap[n / 64] >> (n % 64) & 1;
	return complete;
}

/* Whether the guest's own count of its writes is in each page, resident or evicted. */
static bool all_written(struct vmm *vmm)
{
	static uint32_t page[PAGE / sizeof(uint32_t)];
	bool good = true;

	for (uint32_t n = 1; n < PAGES; n++) {
		must("read", gmm_page_read(vmm->guest, n, page));
		good &= page[0] == n && page[1] == (n % WRITES_EACH ? 0 : ROUNDS);
	}
	return good;
}

int main(void)
{
	const uint32_t right = PAGES * (PAGES - 1) / 2;
	char text[GMM_USERFAULT_TEXT_BYTES];
	struct gmm_guest_counters counters;
	struct vmm vmm = { .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	int64_t dirty, evicted;
	bool good = true;

	do
		vmm.vm = vmm.kvm < 0 ? -1 : ioctl(vmm.kvm, KVM_CREATE_VM, 0);
	while (vmm.vm < 0 && errno == EINTR);
	if (vmm.vm < 0)
		cannot("/dev/kvm is not there, or not for this user");
	if (gmm_userfault_open(GMM_USERFAULT_KERNEL | GMM_USERFAULT_SHARED, GMM_USERFAULT_SHARED_WP,
			       &vmm.userfault, text) < 0)
		cannot(text);
	snapshot_open(&vmm.source);
	memory_create(&vmm);
	vcpu_create(&vmm);

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint32_t sum = vcpu_round(&vmm);
		bool complete = harvest(&vmm, &dirty);

		/* A thread of its own may do this at any time while vCPUs run. */
		evicted = gmm_resident_trim(vmm.guest, RESIDENT);
		must("trim", evicted);
		good &= sum == right && complete && gmm_resident_pages(vmm.guest) <= RESIDENT;
		printf("round %u: the sum is %s, %lld pages dirty, %lld evicted, %llu resident\n",
		       round, sum == right ? "right" : "WRONG", (long long)dirty,
		       (long long)evicted, (unsigned long long)gmm_resident_pages(vmm.guest));
	}
	good &= all_written(&vmm);
	gmm_guest_read_counters(vmm.guest, &counters);
	printf("%llu pages filled, %llu of these after eviction; memory is %s\n",
	       (unsigned long long)counters.faults_filled, (unsigned long long)counters.refaulted,
	       good ? "as the guest left it" : "WRONG");

	close(vmm.vcpu);
	memory_destroy(&vmm);
	close(vmm.vm);
	close(vmm.kvm);
	return !good;
}
