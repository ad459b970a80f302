/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the guest program and its host share: the layout of the program slot. The slot lies at a GPA
 * above the snapshot and holds the program's text, its page tables, and, for each vCPU, a stack, a
 * mailbox and rings. Every offset is in struct guest_boot at the start of the slot; the host fills
 * it (accel/program.h) before the first vCPU runs.
 *
 * The program reaches memory as base + GPA. base is 0 under KVM (identity page tables) and the
 * address of the window in accel/process, so one source serves both.
 *
 * A word written by one side and read by the other while vCPUs run is accessed atomically by both:
 * relaxed for numbers, release and acquire for the indexes of rings and the states of pages.
 */
#ifndef GUEST_ABI_H
#define GUEST_ABI_H

#include <stdint.h>

#define GUEST_ABI_MAGIC 0x67756573746d6d31ull
#define GUEST_ABI_VERSION 2u

#define GUEST_PAGE_SHIFT 12u
#define GUEST_PAGE_BYTES 4096u
#define GUEST_LINE_BYTES 64u
#define GUEST_ALIGNED(bytes) __attribute__((aligned(bytes)))

/*
 * Snapshot pages belong to vCPUs by blocks, so that buffers of several adjacent pages have one
 * owner: the owner of `page` is (page / GUEST_BLOCK_PAGES) % vcpus.
 */
#define GUEST_BLOCK_PAGES 8u

#define GUEST_VCPUS_MAX 64u

/* Port to which the program writes its exit code under KVM. */
#define GUEST_EXIT_PORT 0x5e0u

/* What guest_step() returns. Running the vCPU again after any of them is allowed. */
enum guest_exit_code {
	GUEST_EXIT_NONE = 0, /* go on with the next step */
	GUEST_EXIT_STOPPED =
		1, /* mailbox.stop was set; no I/O is in flight, no page half written */
	GUEST_EXIT_RING_FULL = 2, /* the host has to empty the report ring */
	GUEST_EXIT_LOSS = 3,	  /* a loss record was pushed, and mailbox.exit_on_loss is set */
	GUEST_EXIT_BROKEN = 4,	  /* the program slot is not as this program expects it */
	GUEST_EXIT_PAUSED = 5,	  /* statistics.steps has just become mailbox.pause_at_step */
};

/*
 * Start of the program slot, written once by the host. Offsets are in bytes from the slot's start.
 */
struct guest_boot {
	uint64_t magic;	  /* GUEST_ABI_MAGIC */
	uint32_t version; /* GUEST_ABI_VERSION */
	uint32_t vcpus;
	uint64_t seed;

	uint64_t program_gpa; /* of this structure; a multiple of 2 MiB */
	uint64_t program_bytes;
	uint64_t snapshot_gpa;
	uint64_t snapshot_pages;
	uint64_t frame_window_gpa; /* frame n is at frame_window_gpa + n * GUEST_PAGE_BYTES */
	uint64_t frame_window_pages;

	uint64_t text_offset;
	uint64_t text_bytes;
	uint64_t tss_offset; /* task state segment of all vCPUs, one page; it allows all ports */
	uint64_t page_table_offset; /* root of the identity page tables */
	uint64_t page_table_bytes;
	uint64_t pages_offset;	 /* struct guest_page[snapshot_pages] */
	uint64_t regions_offset; /* struct guest_regions */
	uint64_t vcpu_offset;	 /* struct guest_vcpu_area[vcpus] */
};

/*
 * Life of a snapshot page. The side in brackets makes the transition, nobody else writes the state
 * until then.
 *
 *   UNSEEN -[guest: hashed it, pushed a report]-> REPORTED
 *   REPORTED -[host: hash is the file's]-> MAY_TAKE or KEEP
 *   REPORTED -[host: hash differs]-> REFUSED, never touched again
 *   KEEP: the guest only reads it, and compares the hash each time
 *   MAY_TAKE -[guest: wrote header and body]-> OWNED
 *   OWNED <-[guest]-> IO: part of a buffer that the device is working on
 */
enum guest_page_state {
	GUEST_PAGE_UNSEEN = 0,
	GUEST_PAGE_REPORTED = 1,
	GUEST_PAGE_MAY_TAKE = 2,
	GUEST_PAGE_KEEP = 3,
	GUEST_PAGE_REFUSED = 4,
	GUEST_PAGE_OWNED = 5,
	GUEST_PAGE_IO = 6,
};

/* Metadata of one snapshot page. */
struct guest_page {
	uint32_t state;	  /* enum guest_page_state */
	uint32_t version; /* OWNED, IO: what the page must carry; counts from 1 */
	uint64_t detail;  /* up to KEEP: first hash; OWNED, IO: version of the last full write */
};

/*
 * Regions: memory that the host adds, moves, makes longer and shorter, takes away and discards
 * while the program runs. The host makes a region's generation odd, changes it, stores what it is
 * now and makes the generation even. The program judges only what it saw of one even generation: a
 * page that it wrote while the generation changed is unknown until it is written again, or becomes
 * zero by a change that began later.
 *
 * Page p belongs to owner p % (vcpus + 1): the vCPU of that index, or, the last, the host's device.
 * A page of a region carries what a page of guest/page.h does, all lines of its version, as page
 * GUEST_REGION_PAGE_ID(), or zero.
 *
 * Nobody writes to a place at which memory may appear, and, where a touch of no memory is not to
 * be had (accel/process), nobody reads memory that may go: the host announces such a change by an
 * odd generation, and waits until every vCPU has acknowledged it, so that its accesses are over.
 */
#define GUEST_REGIONS 4u
#define GUEST_REGION_PAGES 512u
#define GUEST_REGION_PAGE_ID(region, page) ((uint64_t)((region) + 1) << 48 | (page))
#define GUEST_REGION_OF_ID(id) ((uint32_t)((id) >> 48) - 1)
#define GUEST_REGION_PAGE_OF_ID(id) ((uint32_t)(id))

struct guest_region {
	uint64_t generation; /* odd: being changed */
	uint64_t gpa;
	uint64_t pages;	     /* now; 0: it is not there */
	uint64_t most_pages; /* it ever has; 0: it is not used */
};

enum guest_region_page_state {
	GUEST_REGION_PAGE_WRITTEN = 0, /* carries `version`, or, when that is 0, is zero */
	GUEST_REGION_PAGE_UNKNOWN = 1,
};

struct guest_region_page {
	/* Of the host: the even generation since which it was zero. */
	uint64_t zeroed;
	/* Of the owner. */
	uint64_t known;	  /* generation to which what follows belongs */
	uint32_t version; /* written last; never used again */
	uint32_t state;	  /* enum guest_region_page_state */
};

struct guest_regions {
	/* Of the space: odd while something appears in it, moves or goes; written by the host. */
	uint64_t layout;
	uint64_t space_gpa; /* where vCPUs touch also what is no memory */
	uint64_t space_bytes;
	struct guest_region region[GUEST_REGIONS] GUEST_ALIGNED(GUEST_LINE_BYTES);
	struct guest_region_page page[GUEST_REGIONS][GUEST_REGION_PAGES];
};

/* What a vCPU is doing, for the host to judge an access to no memory. */
enum guest_touch_kind {
	GUEST_TOUCH_NONE = 0,
	GUEST_TOUCH_PAGE = 1,  /* a page of a region, as it was at `layout` */
	GUEST_TOUCH_READ = 2,  /* of 8 bytes; without memory the host answers guest_touch_word() */
	GUEST_TOUCH_WRITE = 3, /* of `value` to where no memory was at `layout` */
};

struct guest_touch {
	uint64_t layout;
	uint64_t gpa;
	uint64_t value;
	uint32_t kind;
	uint32_t reserved;
};

/* Reports of first touches: the guest produces, the host consumes. */
#define GUEST_REPORTS 4096u

struct guest_report {
	uint64_t page; /* index within the snapshot */
	uint64_t hash; /* guest_hash() of all GUEST_PAGE_BYTES */
};

struct guest_report_ring {
	uint64_t head GUEST_ALIGNED(GUEST_LINE_BYTES); /* pushed so far; written by the guest */
	uint64_t tail GUEST_ALIGNED(GUEST_LINE_BYTES); /* popped so far; written by the host */
	struct guest_report entry[GUEST_REPORTS] GUEST_ALIGNED(GUEST_LINE_BYTES);
};

/* Losses: the guest produces, the host consumes. When full, mailbox statistics count the rest. */
#define GUEST_LOSSES 64u

enum guest_loss_kind {
	GUEST_LOSS_PAGE = 1,	     /* an owned page does not carry its version */
	GUEST_LOSS_UNTAKEN = 2,	     /* a page not yet taken over changed its contents */
	GUEST_LOSS_FRAME = 3,	     /* the counter in the frame page is not the private count */
	GUEST_LOSS_DEVICE_READ = 4,  /* a buffer does not hold what the device said it stored */
	GUEST_LOSS_DEVICE_STRAY = 5, /* the device changed bytes outside a buffer */
	GUEST_LOSS_DEVICE_WRITE = 6, /* the device saw other bytes than the guest had stored */
	GUEST_LOSS_REGION = 7,	     /* a page of a region; expected version 0: zero */
	GUEST_LOSS_TOUCH = 8,	     /* what was read where there is no memory */
};

struct guest_loss {
	uint32_t kind; /* enum guest_loss_kind */
	uint32_t vcpu;
	uint64_t page;		    /* snapshot page; FRAME: number; REGION: id; TOUCH: GPA */
	uint64_t expected_version;  /* FRAME: private count; DEVICE_*: sequence of the descriptor */
	uint64_t found_version;	    /* from the page's header; FRAME: the counter */
	uint64_t expected_checksum; /* of the body (page.h); UNTAKEN: first hash; TOUCH: word */
	uint64_t found_checksum;    /* the same of what is there; FRAME: 0 */
	uint32_t first_wrong_byte;  /* offset within the page */
	uint32_t reserved;
	uint64_t step; /* statistics.steps at that time */
};

struct guest_loss_ring {
	uint64_t head GUEST_ALIGNED(GUEST_LINE_BYTES); /* written by the guest */
	uint64_t tail GUEST_ALIGNED(GUEST_LINE_BYTES); /* written by the host */
	struct guest_loss entry[GUEST_LOSSES] GUEST_ALIGNED(GUEST_LINE_BYTES);
};

/*
 * I/O: the guest posts descriptors in order, the device completes them in order. Buffers are pages
 * that the vCPU owns; their state is IO until the guest has seen the completion. A buffer starts
 * and ends at multiples of 8 bytes and may cross pages of one block. Word i of a buffer is
 * guest_io_word(guest_io_key(seed, sequence), i) of guest/page.h.
 */
#define GUEST_IO_ENTRIES 32u

enum guest_io_operation {
	GUEST_IO_READ = 1,  /* the device stores the pattern into the buffer */
	GUEST_IO_WRITE = 2, /* the guest stored the pattern, the device compares */
};

enum guest_io_status {
	GUEST_IO_PENDING = 0,
	GUEST_IO_OK = 1,
	GUEST_IO_BAD = 2,     /* WRITE: the device saw something else */
	GUEST_IO_REFUSED = 3, /* the device did not touch the buffer */
};

struct guest_io {
	uint64_t gpa;
	uint32_t length;    /* bytes, 8 to GUEST_BLOCK_PAGES * GUEST_PAGE_BYTES */
	uint32_t operation; /* enum guest_io_operation */
	uint64_t sequence;
	uint64_t seed;
	uint32_t status; /* enum guest_io_status; the device sets it, then `completed` */
	uint32_t reserved[7];
};

struct guest_io_ring {
	uint64_t posted GUEST_ALIGNED(GUEST_LINE_BYTES);    /* written by the guest */
	uint64_t completed GUEST_ALIGNED(GUEST_LINE_BYTES); /* written by the device */
	struct guest_io entry[GUEST_IO_ENTRIES] GUEST_ALIGNED(GUEST_LINE_BYTES);
};

/* Written by the guest only, relaxed; counts since the start. */
struct guest_statistics {
	uint64_t steps;
	uint64_t first_touches;
	uint64_t kept_reads; /* pages compared with their first hash */
	uint64_t takes;
	uint64_t reads;	 /* owned pages verified */
	uint64_t writes; /* owned pages verified and written */
	uint64_t io_reads;
	uint64_t io_writes;
	uint64_t io_bytes;
	uint64_t frame_uses;
	uint64_t report_ring_full;
	uint64_t skipped; /* pages that were waiting for the host or the device */
	uint64_t losses;
	uint64_t losses_dropped;	      /* losses without a record: the ring was full */
	uint64_t region_reads[GUEST_REGIONS]; /* pages verified */
	uint64_t region_zeros[GUEST_REGIONS]; /* pages verified as zero */
	uint64_t region_writes[GUEST_REGIONS];
	uint64_t region_overtaken[GUEST_REGIONS]; /* uses during which the region changed */
	uint64_t region_absent[GUEST_REGIONS];	  /* uses that found no memory, or a change */
	uint64_t touch_reads;			  /* of no memory, verified */
	uint64_t touch_writes;
};

#define GUEST_FRAME_NONE UINT64_MAX

/*
 * One page for each vCPU. The host may change its part at any time, except frame_number: that is
 * written only by gmm_accel_ops.vcpu_set_frame, while the vCPU is outside guest mode.
 */
struct guest_mailbox {
	/* Written by the host. */
	uint64_t frame_number; /* or GUEST_FRAME_NONE */
	uint32_t stop;	       /* finish what is in flight and exit with STOPPED */
	uint32_t exit_on_loss;
	uint32_t weight_sequential; /* chances of the kinds of access, relative to their sum */
	uint32_t weight_random;
	uint32_t weight_hot;
	uint32_t hot_pages;	/* the first so many pages of this vCPU's share are its hot set */
	uint32_t write_percent; /* of accesses to owned pages */
	uint32_t io_per_mille;	/* chance of an access to post a buffer instead */
	uint32_t io_depth;	/* buffers in flight, at most GUEST_IO_ENTRIES; 0: no I/O */
	uint32_t accesses_per_step; /* 0 counts as 1 */
	uint64_t pause_at_step;	    /* 0: never */
	uint64_t announced;	    /* counts changes that every vCPU has to acknowledge */
	uint32_t region_per_mille;  /* uses of pages of regions, in 1000 steps */
	uint32_t touch_per_mille;   /* chance of a step to touch a word of the regions' space */

	/* Written by the guest. */
	struct guest_statistics statistics GUEST_ALIGNED(1024);
	uint64_t acknowledged; /* `announced`, as seen at the start of a step */
	struct guest_touch touch;
};

/* What a vCPU reserved for a descriptor in flight. */
struct guest_io_reservation {
	uint64_t first_page;
	uint32_t pages;
	uint32_t offset; /* of the buffer within the first page */
	uint64_t length;
};

/* The program's private state of one vCPU; the host fills the first group and leaves the rest 0. */
struct guest_cpu {
	uint64_t base; /* added to every GPA */
	uint64_t boot_gpa;
	uint64_t area_gpa; /* of this vCPU's struct guest_vcpu_area */
	uint32_t index;
	uint32_t reserved;

	uint64_t random;
	uint64_t owned_pages; /* number of pages of this vCPU's share */
	uint64_t next_page;   /* cursor of sequential accesses */
	uint64_t frame_count; /* what the counter in the frame page must be */
	uint64_t io_reaped;
	uint32_t ready;	      /* the first step has checked the program slot */
	uint32_t ring_misses; /* accesses in a row that found the report ring full */
	uint32_t lost;	      /* a loss happened in this step */
	uint32_t frame_known; /* frame_count is valid: the first use takes the counter as it is */
	struct guest_io_reservation reservation[GUEST_IO_ENTRIES];
};

#define GUEST_STACK_BYTES 16384u

/* Memory of one vCPU in the program slot. */
struct guest_vcpu_area {
	struct guest_mailbox mailbox GUEST_ALIGNED(GUEST_PAGE_BYTES);
	struct guest_cpu cpu GUEST_ALIGNED(GUEST_PAGE_BYTES);
	uint8_t stack[GUEST_STACK_BYTES] GUEST_ALIGNED(GUEST_PAGE_BYTES);
	struct guest_report_ring reports GUEST_ALIGNED(GUEST_PAGE_BYTES);
	struct guest_loss_ring losses GUEST_ALIGNED(GUEST_PAGE_BYTES);
	struct guest_io_ring io GUEST_ALIGNED(GUEST_PAGE_BYTES);
};

/* Offset of this vCPU's counter within the frame page, which several vCPUs may share. */
#define GUEST_FRAME_COUNTER_OFFSET(vcpu) ((uint64_t)(vcpu)*GUEST_LINE_BYTES)

/*
 * Start of the flat binary. Between frame_restart and frame_commit the program holds the location
 * of the frame page in a register; a vCPU that left guest mode there and gets another frame number
 * continues at frame_restart (the instruction at frame_commit is the first that needs no restart).
 */
#define GUEST_IMAGE_MAGIC 0x31676d69746d6d67ull

struct guest_image {
	uint64_t magic; /* GUEST_IMAGE_MAGIC */
	uint32_t entry; /* offsets from the start of the binary */
	uint32_t frame_restart;
	uint32_t frame_commit;
	uint32_t bytes;
};

/*
 * Does one bounded piece of work, about 1 to 20 us when no page is absent, and returns an exit
 * code. Under KVM the program's entry code calls it in a loop; accel/process calls it itself. It
 * calls nothing of the host.
 */
uint32_t guest_step(struct guest_cpu *cpu);

#endif
