/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "event.h"

#include <stdio.h>
#include <string.h>

#include "run.h"

/* In the order in which they are created and printed. */
static const struct run_event_ops *const kinds[RUN_EVENTS_MOST + 1] = {
	&run_event_secret,  &run_event_devices, &run_event_areas,   &run_event_io,
	&run_event_foreign, &run_event_slots,	&run_event_discard, NULL,
};

/* Slot ids of events begin above those of enum run_slot. */
#define FIRST_SLOT 64u
/* The guest's page tables have leaves of this size. */
#define PLACE_UNIT ((uint64_t)2 << 20)

void run_events_all(struct run_event_choice *choice)
{
	uint32_t i;

	*choice = (struct run_event_choice){ 0 };
	for (i = 0; kinds[i]; i++)
		choice->on |= 1u << i;
}

static int find_kind(const char *name, size_t length)
{
	int i;

	for (i = 0; kinds[i]; i++)
		if (strlen(kinds[i]->name) == length && !memcmp(kinds[i]->name, name, length))
			return i;
	return -1;
}

static int refuse_name(const char *name, size_t length)
{
	char names[512] = "all, none";
	size_t used;
	int i;

	for (i = 0; kinds[i]; i++) {
		used = strlen(names);
		snprintf(names + used, sizeof(names) - used, ", %s", kinds[i]->name);
	}
	return run_refuse("--events: '%.*s' is unknown: give %s, or -NAME to leave one out",
			  (int)length, name, names);
}

static int parse_one(const char *name, size_t length, struct run_event_choice *choice)
{
	bool leave_out = length && *name == '-';
	int kind = find_kind(name + leave_out, length - leave_out);

	if (length == 3 && !memcmp(name, "all", 3)) {
		run_events_all(choice);
	} else if (length == 4 && !memcmp(name, "none", 4)) {
		*choice = (struct run_event_choice){ 0 };
	} else if (kind < 0) {
		return refuse_name(name, length);
	} else if (leave_out) {
		choice->on &= ~(1u << kind);
		choice->asked &= ~(1u << kind);
	} else {
		choice->on |= 1u << kind;
		choice->asked |= 1u << kind;
	}
	return -1;
}

int run_events_parse(const char *text, struct run_event_choice *choice)
{
	int status;

	*choice = (struct run_event_choice){ 0 };
	/* Only leaving some out means all the others. */
	if (*text == '-')
		run_events_all(choice);
	do {
		size_t length = strcspn(text, ",");

		status = parse_one(text, length, choice);
		text += length;
	} while (status < 0 && *text++);
	return status;
}

void run_events_print_help(void)
{
	int i;

	printf("\n"
	       "Events (with commas; or all, none, or -NAME to leave one out of all):\n");
	for (i = 0; kinds[i]; i++)
		printf("  %-21s %s\n", kinds[i]->name, kinds[i]->what);
}

/* The next event that is on at or behind index *i, or NULL. */
static struct run_event *next_on(struct run *run, uint32_t *i)
{
	while (*i < RUN_EVENTS_MOST) {
		struct run_event *event = &run->events[(*i)++];

		if (event->on)
			return event;
	}
	return NULL;
}

int run_events_choose(struct run *run)
{
	const struct run_event_choice *choice = &run->options.events;
	uint32_t i;

	for (i = 0; kinds[i]; i++) {
		struct run_event *event = &run->events[i];
		const char *reason = NULL;

		event->ops = kinds[i];
		event->run = run;
		event->first_slot = FIRST_SLOT + i * RUN_EVENT_SLOTS;
		if (!(choice->on & 1u << i))
			continue;
		event->asked = choice->asked & 1u << i;
		if (kinds[i]->unavailable)
			reason = kinds[i]->unavailable(run);
		if (reason && event->asked)
			return run_refuse("--events %s: %s; or leave it out", kinds[i]->name,
					  reason);
		event->on = !reason;
	}
	return 0;
}

gmm_gpa_t run_events_place(struct run *run, gmm_gpa_t gpa)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i))) {
		event->gpa = (gpa + PLACE_UNIT - 1) / PLACE_UNIT * PLACE_UNIT;
		event->bytes = event->ops->gpa_bytes ? event->ops->gpa_bytes(run) : 0;
		gpa = event->gpa + event->bytes;
	}
	return gpa;
}

int run_events_create(struct run *run)
{
	struct run_event *event;
	uint32_t i = 0;
	int status = 0;

	while (!status && (event = next_on(run, &i))) {
		event->created = true;
		if (event->ops->create)
			status = event->ops->create(event);
	}
	return status;
}

int run_events_start(struct run *run)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i)))
		if (event->ops->thread && run_worker_start(run, &event->worker, event->ops->name,
							   event->ops->thread, event))
			return -1;
	return 0;
}

void run_events_join(struct run *run)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i)))
		run_worker_join(run, &event->worker);
}

void run_events_verify(struct run *run)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i)))
		if (event->ops->verify)
			event->ops->verify(event);
}

void run_events_collect(struct run *run, struct run_results *results)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i)))
		if (event->ops->collect)
			event->ops->collect(event, results);
}

void run_events_destroy(struct run *run)
{
	uint32_t i;

	for (i = RUN_EVENTS_MOST; i-- > 0;) {
		struct run_event *event = &run->events[i];

		if (event->created && event->ops->destroy)
			event->ops->destroy(event);
		event->created = false;
	}
}

void run_events_failure(struct run *run, char *text, size_t size)
{
	struct run_event *event;
	uint32_t i = 0;

	*text = 0;
	while (!*text && (event = next_on(run, &i)))
		if (event->created && event->ops->failure)
			event->ops->failure(event, text, size);
}

bool run_events_mmio(struct run *run, uint32_t vcpu, const struct gmm_accel_exit *exit)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i)))
		if (exit->mmio.gpa >= event->gpa && exit->mmio.gpa - event->gpa < event->bytes)
			return event->ops->mmio && event->ops->mmio(event, vcpu, exit);
	return false;
}

void run_events_print(const struct run *run)
{
	const char *separator = "events: ";
	uint32_t i;

	for (i = 0; kinds[i]; i++) {
		const struct run_event *event = &run->events[i];

		if (event->on) {
			printf("%s%s", separator, kinds[i]->name);
			separator = ", ";
		}
	}
	if (*separator == ',')
		printf("\n");
	for (i = 0; i < RUN_EVENTS_MOST; i++) {
		const struct run_event *event = &run->events[i];
		const char *caveat = event->on && event->ops->caveat ? event->ops->caveat(run) :
								       NULL;

		if (caveat)
			printf("here only: %s: %s\n", event->ops->name, caveat);
	}
	for (i = 0; kinds[i]; i++)
		if (run->options.events.on & 1u << i && !run->events[i].on)
			printf("not here: %s: %s\n", kinds[i]->name, kinds[i]->unavailable(run));
}

void run_event_happened(struct run_event *event)
{
	run_count(&event->happened, 1);
}

bool run_events_want(const struct run *run, const char *name)
{
	int kind = find_kind(name, strlen(name));

	return kind >= 0 && run->options.events.on & 1u << kind;
}

struct run_event *run_event_find(struct run *run, const char *name)
{
	struct run_event *event;
	uint32_t i = 0;

	while ((event = next_on(run, &i)))
		if (!strcmp(event->ops->name, name))
			return event;
	return NULL;
}
