/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "fault_pacing.h"

#define SPIN_NS_DEFAULT 50000u
/* After a spin that was harmful, or several that were in vain, none for this long. */
#define PAUSE_NS_MIN 1000000ull
#define PAUSE_NS_MAX 128000000ull
#define USELESS_SPINS_MAX 4u
/* Between two questions; while none is free, longer and longer. */
#define ASK_NS_MIN 50000ull
#define ASK_NS_FREE 200000ull
#define ASK_NS_BUSY 1000000ull
#define ASK_NS_MAX 16000000ull
#define FREE_SEEN_ENOUGH 3u

void gmm_pacing_init(struct gmm_pacing *pacing, const struct gmm_fault_service_config *config,
		     const struct gmm_pacing_host *host)
{
	*pacing = (struct gmm_pacing){
		.host = *host,
		.wait = config->wait,
		.busy_threads = config->busy_threads + (config->threads ? config->threads : 1),
		.spin_ns = config->spin_ns ? config->spin_ns : SPIN_NS_DEFAULT,
		.pause_ns = PAUSE_NS_MIN,
		.ask_ns = ASK_NS_BUSY,
	};
	gmm_pacing_trial_init(&pacing->trial);
}

static int64_t preemptions(const struct gmm_pacing *pacing)
{
	return pacing->host.preemptions(pacing->host.opaque);
}

static void pause_spinning(struct gmm_pacing *pacing, uint64_t now)
{
	pacing->not_before = now + pacing->pause_ns;
	if (pacing->pause_ns < PAUSE_NS_MAX)
		pacing->pause_ns *= 2;
	pacing->useless = 0;
}

static bool processor_is_free(struct gmm_pacing *pacing, uint64_t now)
{
	int64_t running;

	if (now < pacing->ask_at)
		return pacing->free_seen >= FREE_SEEN_ENOUGH;
	running = pacing->host.running(pacing->host.opaque);
	if (running < 0) {
		pacing->free_seen =
			pacing->busy_threads <= pacing->host.processors ? FREE_SEEN_ENOUGH : 0;
		pacing->ask_at = now + ASK_NS_MAX;
	} else if (running <= (int64_t)pacing->host.processors) {
		if (pacing->free_seen < FREE_SEEN_ENOUGH)
			pacing->free_seen++;
		else
			pacing->ask_ns = ASK_NS_BUSY;
		pacing->ask_at =
			now + (pacing->free_seen < FREE_SEEN_ENOUGH ? ASK_NS_MIN : ASK_NS_FREE);
	} else {
		pacing->free_seen = 0;
		pacing->ask_at = now + pacing->ask_ns;
		if (pacing->ask_ns < ASK_NS_MAX)
			pacing->ask_ns *= 2;
	}
	return pacing->free_seen >= FREE_SEEN_ENOUGH;
}

bool gmm_pacing_events(struct gmm_pacing *pacing, uint64_t now, uint32_t events)
{
	bool worth = pacing->spinning;

	gmm_pacing_trial_events(&pacing->trial, now, events);
	if (worth && pacing->wait == GMM_FAULT_SERVICE_ADAPTIVE) {
		pacing->useless = 0;
		if (preemptions(pacing) != pacing->preempted)
			pause_spinning(pacing, now);
		else if (pacing->pause_ns > PAUSE_NS_MIN)
			pacing->pause_ns -= pacing->pause_ns / 8;
	}
	pacing->spinning = false;
	return worth;
}

void gmm_pacing_served(struct gmm_pacing *pacing, uint64_t now)
{
	pacing->last_event = now;
}

bool gmm_pacing_spin(struct gmm_pacing *pacing, uint64_t now)
{
	if (pacing->wait != GMM_FAULT_SERVICE_ADAPTIVE) {
		pacing->spinning = pacing->wait == GMM_FAULT_SERVICE_SPIN;
		return pacing->spinning;
	}
	if (!pacing->spinning) {
		bool may = now >= pacing->not_before && processor_is_free(pacing, now);

		if (!may)
			gmm_pacing_trial_break(&pacing->trial);
		if (!pacing->last_event || !may || gmm_pacing_trial_sleeps(&pacing->trial)) {
			pacing->last_event = 0;
			return false;
		}
		pacing->spinning = true;
		pacing->preempted = preemptions(pacing);
		return true;
	}
	if (now < pacing->last_event + pacing->spin_ns)
		return true;
	/* It was in vain; or we held somebody up. */
	if (preemptions(pacing) != pacing->preempted || ++pacing->useless >= USELESS_SPINS_MAX)
		pause_spinning(pacing, now);
	pacing->spinning = false;
	pacing->last_event = 0;
	return false;
}
