/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "async_device.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <guestmm/lease.h>

#include "../command.h"
#include "event_pages.h"
#include "run.h"

#include "guest/hash.h"

#define DEPTH 8u
/* A cache covers so many pages: leases of different pages meet in one. */
#define BLOCK_PAGES 2u
/* Like a device that saves interrupts: so many completions are waited for, at most so long. */
#define COALESCED (DEPTH / 2)
#define COALESCED_NS 1000000
#define END (~(uint64_t)0)

struct request {
	uint32_t page;
	bool into_guest;
	bool used;     /* under lock */
	uint32_t sent; /* atomic: the members above are the completer's */
};

struct run_async {
	struct run_event *event;
	struct run_event_pages *pages;
	struct run_worker submitter, completer;
	struct io_uring ring; /* its submissions are of the submitter, its completions of the other */
	bool has_ring;
	int file; /* a page for each request */
	struct gmm_cache **blocks;
	uint32_t block_count;
	uint32_t *claimed;   /* a page each; atomic */
	uint32_t *in_flight; /* likewise: set and cleared while a lease is held */
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct request requests[DEPTH];
	uint32_t used;			    /* requests; under lock */
	struct run_async_counters counters; /* atomic */
};

const char *run_async_unavailable(void)
{
	struct io_uring ring;
	int error = io_uring_queue_init(2, &ring, 0);
	bool good;

	switch (error) {
	case 0:
		break;
	case -EPERM:
	case -EACCES:
		return "io_uring is not allowed here (sysctl kernel.io_uring_disabled, seccomp)";
	case -ENOSYS:
		return "this kernel has no io_uring";
	case -ENOMEM:
		return "io_uring gets no memory: raise ulimit -l";
	default:
		return "io_uring cannot be set up here";
	}
	/* Without it a wait with a limit would be a submission. */
	good = ring.features & IORING_FEAT_EXT_ARG;
	io_uring_queue_exit(&ring);
	return good ? NULL : "the io_uring of this kernel is too old (Linux 5.11)";
}

static int open_file(void)
{
	const char *directory = getenv("TMPDIR");
	int fd;

	if (!directory || !*directory)
		directory = "/var/tmp";
	fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("gmm-io", MFD_CLOEXEC);
}

static void count_asked(void *opaque, struct gmm_cache *cache)
{
	struct run_async *async = opaque;

	run_count(&async->counters.asked, 1);
}

static int create_blocks(struct run_async *async)
{
	struct run_event *event = async->event;
	uint32_t i;
	int error = 0;

	async->block_count = async->pages->count / BLOCK_PAGES;
	async->blocks = calloc(async->block_count, sizeof(*async->blocks));
	if (!async->blocks)
		return -GMM_ENOMEM;
	for (i = 0; i < async->block_count && !error; i++) {
		error = gmm_cache_create(event->run->guest, &async->blocks[i]);
		if (!error)
			error = gmm_lease_set_ask(async->blocks[i], count_asked, async);
		if (!error)
			error = gmm_cache_activate(async->blocks[i],
						   event->gpa + i * BLOCK_PAGES * RUN_PAGE_BYTES,
						   BLOCK_PAGES * RUN_PAGE_BYTES,
						   GMM_CACHE_HOST | GMM_CACHE_WRITE);
	}
	return error;
}

int run_async_create(struct run_event *event, struct run_event_pages *pages,
		     struct run_async **async)
{
	struct run_async *made = calloc(1, sizeof(*made));
	int error;

	*async = made;
	if (!made)
		return run_refuse("out of memory");
	made->event = event;
	made->pages = pages;
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->freed, NULL);
	made->claimed = calloc(pages->count, sizeof(*made->claimed));
	made->in_flight = calloc(pages->count, sizeof(*made->in_flight));
	made->file = open_file();
	if (!made->claimed || !made->in_flight)
		return run_refuse("out of memory");
	if (made->file < 0 || ftruncate(made->file, DEPTH * RUN_PAGE_BYTES))
		return run_refuse("no temporary file for --events io: set TMPDIR to a directory "
				  "that you may write to, or raise ulimit -n");
	error = io_uring_queue_init(DEPTH, &made->ring, 0);
	if (error)
		return run_refuse(
			"io_uring cannot be set up (%s): raise ulimit -n, or leave it out "
			"(--events -io)",
			strerror(-error));
	made->has_ring = true;
	error = create_blocks(made);
	return error ? run_refuse("memory for asynchronous I/O cannot be cached (%s)",
				  run_error_text(error)) :
		       0;
}

void run_async_destroy(struct run_async *async)
{
	uint32_t i;

	if (!async)
		return;
	for (i = 0; async->blocks && i < async->block_count; i++)
		if (async->blocks[i])
			gmm_cache_destroy(async->blocks[i]);
	free(async->blocks);
	if (async->has_ring)
		io_uring_queue_exit(&async->ring);
	if (async->file >= 0)
		close(async->file);
	free(async->claimed);
	free(async->in_flight);
	pthread_cond_destroy(&async->freed);
	pthread_mutex_destroy(&async->lock);
	free(async);
}

bool run_async_claim(struct run_async *async, uint32_t page)
{
	return !__atomic_exchange_n(&async->claimed[page], 1, __ATOMIC_ACQ_REL);
}

void run_async_release(struct run_async *async, uint32_t page)
{
	__atomic_store_n(&async->claimed[page], 0, __ATOMIC_RELEASE);
}

bool run_async_in_flight(const struct run_async *async, uint32_t page)
{
	return __atomic_load_n(&async->in_flight[page], __ATOMIC_ACQUIRE);
}

/* A request that is not in use; completions free them. */
static uint32_t take_request(struct run_async *async)
{
	uint32_t i = 0;

	pthread_mutex_lock(&async->lock);
	while (async->used == DEPTH)
		pthread_cond_wait(&async->freed, &async->lock);
	while (async->requests[i].used)
		i++;
	async->requests[i].used = true;
	async->used++;
	pthread_mutex_unlock(&async->lock);
	return i;
}

static void put_request(struct run_async *async, struct request *request)
{
	__atomic_store_n(&request->sent, 0, __ATOMIC_RELAXED);
	run_async_release(async, request->page);
	pthread_mutex_lock(&async->lock);
	request->used = false;
	async->used--;
	pthread_cond_broadcast(&async->freed);
	pthread_mutex_unlock(&async->lock);
}

static void wait_all(struct run_async *async)
{
	pthread_mutex_lock(&async->lock);
	while (async->used)
		pthread_cond_wait(&async->freed, &async->lock);
	pthread_mutex_unlock(&async->lock);
}

static uint64_t file_offset(const struct run_async *async, const struct request *request)
{
	return (uint64_t)(request - async->requests) * RUN_PAGE_BYTES;
}

static void file_failed(struct run_async *async)
{
	run_abandon(async->event->run, GMM_EXIT_LOST,
		    "the file for asynchronous I/O fails: %s; free space in $TMPDIR (or /var/tmp)",
		    strerror(errno));
}

/* What the guest's page is to become is in the file first. */
static bool prepare_file(struct run_async *async, const struct request *request)
{
	_Alignas(8) uint8_t contents[RUN_PAGE_BYTES];

	run_event_page_fill(async->pages, request->page, async->pages->version[request->page] + 1,
			    contents);
	if (pwrite(async->file, contents, RUN_PAGE_BYTES, (off_t)file_offset(async, request)) ==
	    (ssize_t)RUN_PAGE_BYTES)
		return true;
	file_failed(async);
	return false;
}

static struct gmm_cache *block_of(struct run_async *async, uint32_t page, uint64_t *offset)
{
	*offset = page % BLOCK_PAGES * RUN_PAGE_BYTES;
	return async->blocks[page / BLOCK_PAGES];
}

/* The pointer for the request, leased; NULL: not now, or the run is given up. */
static void *take_lease(struct run_async *async, const struct request *request, bool wait)
{
	struct run *run = async->event->run;
	uint32_t flags = (request->into_guest ? GMM_LEASE_WRITE : 0) |
			 (wait ? 0 : GMM_LEASE_NO_WAIT);
	uint64_t offset;
	struct gmm_cache *cache = block_of(async, request->page, &offset);
	void *pointer;
	int error = gmm_lease_take(cache, offset, RUN_PAGE_BYTES, flags, &pointer);

	if (!error) {
		__atomic_store_n(&async->in_flight[request->page], 1, __ATOMIC_RELEASE);
		return pointer;
	}
	if (error == -GMM_EAGAIN || run_failing_try_again(run, error))
		run_count(&async->counters.again, 1);
	else if (error == -GMM_EFAULT)
		run_count(&async->counters.away, 1);
	else
		run_memory_failed(run, "memory for asynchronous I/O cannot be leased", error);
	return NULL;
}

static void drop_lease(struct run_async *async, const struct request *request, uint64_t written)
{
	uint64_t offset;
	struct gmm_cache *cache = block_of(async, request->page, &offset);

	__atomic_store_n(&async->in_flight[request->page], 0, __ATOMIC_RELEASE);
	gmm_lease_drop(cache, offset, written);
}

static bool send_all(struct run_async *async)
{
	int sent;

	do {
		sent = io_uring_submit(&async->ring);
	} while (sent == -EINTR || sent == -EAGAIN || sent == -EBUSY);
	if (sent >= 0)
		return true;
	run_abandon(async->event->run, GMM_EXIT_LOST, "io_uring takes no request: %s",
		    strerror(-sent));
	return false;
}

static void submit(struct run_async *async, struct request *request, void *pointer)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(&async->ring);
	uint64_t offset = file_offset(async, request);
	uint64_t in_flight;

	if (request->into_guest)
		io_uring_prep_read(entry, async->file, pointer, RUN_PAGE_BYTES, offset);
	else
		io_uring_prep_write(entry, async->file, pointer, RUN_PAGE_BYTES, offset);
	/* Never at once, on this thread, as a file in the page cache would be. */
	entry->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data64(entry, (uint64_t)(request - async->requests));
	pthread_mutex_lock(&async->lock);
	in_flight = async->used;
	pthread_mutex_unlock(&async->lock);
	if (in_flight > run_load(&async->counters.most_in_flight))
		__atomic_store_n(&async->counters.most_in_flight, in_flight, __ATOMIC_RELAXED);
	/* The ring orders this, too, by ways that no compiler and no sanitizer sees. */
	__atomic_store_n(&request->sent, 1, __ATOMIC_RELEASE);
	/* A ring that fails never completes the request: the run is given up. */
	if (!send_all(async)) {
		drop_lease(async, request, 0);
		put_request(async, request);
	}
}

/* One request, or none when its page is in use or being changed. */
static void issue(struct run_async *async, uint64_t random)
{
	struct request *request = &async->requests[take_request(async)];
	uint32_t page = (uint32_t)(random % async->pages->count);
	void *pointer;

	while (!run_async_claim(async, page))
		page = (page + 1) % async->pages->count;
	request->page = page;
	request->into_guest = (random >> 32) & 1;
	pointer = request->into_guest && !prepare_file(async, request) ?
			  NULL :
			  take_lease(async, request, (random >> 33) & 1);
	if (pointer)
		submit(async, request, pointer);
	else
		put_request(async, request);
	if (!pointer)
		run_pause(async->event->run, RUN_GOING, 100000);
}

static void end_completer(struct run_async *async)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(&async->ring);

	io_uring_prep_nop(entry);
	io_uring_sqe_set_data64(entry, END);
	send_all(async);
}

static void *submit_thread(void *opaque)
{
	struct run_async *async = opaque;
	struct run *run = async->event->run;
	uint64_t random = run->options.seed;

	while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		random = guest_mix(random + 1);
		issue(async, random);
	}
	wait_all(async);
	end_completer(async);
	return NULL;
}

static void check_file(struct run_async *async, const struct request *request)
{
	_Alignas(8) uint8_t contents[RUN_PAGE_BYTES];
	uint32_t version = async->pages->version[request->page];
	uint32_t wrong = 0;

	if (pread(async->file, contents, RUN_PAGE_BYTES, (off_t)file_offset(async, request)) !=
	    (ssize_t)RUN_PAGE_BYTES)
		file_failed(async);
	else if (!run_event_page_check(async->pages, request->page, version, contents, &wrong))
		run_event_page_lost(async->pages, request->page, version, "in what was written",
				    wrong);
}

static void complete(struct run_async *async, struct request *request, int32_t result)
{
	if (!__atomic_load_n(&request->sent, __ATOMIC_ACQUIRE))
		run_lost(async->event->run, "io: a request completes that was not sent");
	if (result != (int32_t)RUN_PAGE_BYTES) {
		run_lost(async->event->run, "io, page %u: %s of %llu bytes: %s", request->page,
			 request->into_guest ? "a read" : "a write",
			 (unsigned long long)RUN_PAGE_BYTES,
			 result < 0 ? strerror(-result) : "fewer");
		drop_lease(async, request, request->into_guest ? RUN_PAGE_BYTES : 0);
	} else if (request->into_guest) {
		async->pages->version[request->page]++;
		drop_lease(async, request, RUN_PAGE_BYTES);
		run_count(&async->counters.reads, 1);
	} else {
		drop_lease(async, request, 0);
		check_file(async, request);
		run_count(&async->counters.writes, 1);
	}
	put_request(async, request);
}

/*
 * An entry is given back before its request may be used again: so never more of them are taken than
 * there can be requests, and the ring, which has room for twice as many, does not overflow. When it
 * does, the kernel drops a completion for which it gets no memory, although
 * IORING_FEAT_NODROP is there: the request would be in flight for ever.
 */
static bool take_completion(struct run_async *async, struct io_uring_cqe *entry)
{
	uint64_t request = io_uring_cqe_get_data64(entry);
	int32_t result = entry->res;

	io_uring_cqe_seen(&async->ring, entry);
	if (request == END)
		return false;
	complete(async, &async->requests[request], result);
	return true;
}

static void check_overflow(struct run_async *async)
{
	if (io_uring_cq_has_overflow(&async->ring) ||
	    __atomic_load_n(async->ring.cq.koverflow, __ATOMIC_RELAXED))
		run_abandon(async->event->run, GMM_EXIT_LOST,
			    "io: the ring of completions overflowed, and some may be lost");
}

static void *complete_thread(void *opaque)
{
	struct run_async *async = opaque;
	struct io_uring_cqe *entry;
	bool going = true;

	while (going) {
		struct __kernel_timespec most = { .tv_nsec = COALESCED_NS };

		io_uring_wait_cqes(&async->ring, &entry, COALESCED, &most, NULL);
		while (going && !io_uring_peek_cqe(&async->ring, &entry))
			going = take_completion(async, entry);
		check_overflow(async);
	}
	return NULL;
}

int run_async_start(struct run_async *async)
{
	struct run *run = async->event->run;

	if (run_worker_start(run, &async->completer, "io completer", complete_thread, async))
		return -1;
	if (!run_worker_start(run, &async->submitter, "io submitter", submit_thread, async))
		return 0;
	end_completer(async);
	return -1;
}

void run_async_join(struct run_async *async)
{
	run_worker_join(async->event->run, &async->submitter);
	run_worker_join(async->event->run, &async->completer);
}

void run_async_counters(const struct run_async *async, struct run_async_counters *counters)
{
	const struct run_async_counters *from = &async->counters;

	*counters = (struct run_async_counters){
		.reads = run_load(&from->reads),
		.writes = run_load(&from->writes),
		.most_in_flight = run_load(&from->most_in_flight),
		.asked = run_load(&from->asked),
		.again = run_load(&from->again),
		.away = run_load(&from->away),
	};
}
