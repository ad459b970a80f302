/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "gmm_test.h"

#define STEP_HOLDS_MAX 8

static struct {
	enum gmm_step_point point;
	struct gmm_gate *gate; /* atomic; set after the point */
} step_holds[STEP_HOLDS_MAX];

void gmm_gate_init(struct gmm_gate *gate, uint32_t hold_nth)
{
	*gate = (struct gmm_gate){ .hold_nth = hold_nth };
}

void gmm_gate_pass(struct gmm_gate *gate)
{
	uint32_t nth;

	if (gate->only && gate->only != gmm_thread_self())
		return;
	nth = gmm_fetch_add(&gate->callers, 1u) + 1;
	if (gate->hold_nth != GMM_GATE_ALL && gate->hold_nth != nth)
		return;
	gmm_fetch_add(&gate->held, 1u);
	gmm_test_word_wake(&gate->held);
	while (!gmm_load_acquire(&gate->open))
		gmm_test_word_wait(&gate->open, 0);
}

void gmm_gate_wait_held(struct gmm_gate *gate)
{
	while (!gmm_load_acquire(&gate->held))
		gmm_test_word_wait(&gate->held, 0);
}

void gmm_gate_open(struct gmm_gate *gate)
{
	(void)gmm_exchange(&gate->open, 1u);
	gmm_test_word_wake(&gate->open);
}

uint32_t gmm_gate_callers(struct gmm_gate *gate)
{
	return gmm_load_acquire(&gate->callers);
}

#if GMM_STEPS
static void step_hook(enum gmm_step_point point)
{
	uint32_t i;

	for (i = 0; i < STEP_HOLDS_MAX; i++) {
		struct gmm_gate *gate = __atomic_load_n(&step_holds[i].gate, __ATOMIC_ACQUIRE);

		if (gate && step_holds[i].point == point)
			gmm_gate_pass(gate);
	}
}

void gmm_test_hold_step(enum gmm_step_point point, struct gmm_gate *gate)
{
	uint32_t i;

	for (i = 0; i < STEP_HOLDS_MAX && step_holds[i].gate; i++)
		;
	if (i == STEP_HOLDS_MAX)
		gmm_bail("too many steps held");
	step_holds[i].point = point;
	__atomic_store_n(&step_holds[i].gate, gate, __ATOMIC_RELEASE);
	gmm_step_hook_set(step_hook);
}
#else
void gmm_test_hold_step(enum gmm_step_point point, struct gmm_gate *gate)
{
	gmm_bail("built without GMM_STEPS: no thread can be held at a step");
}
#endif

void gmm_test_unhold_steps(void)
{
	uint32_t i;

	for (i = 0; i < STEP_HOLDS_MAX; i++)
		__atomic_store_n(&step_holds[i].gate, NULL, __ATOMIC_RELEASE);
}

uint64_t gmm_test_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void gmm_test_reset(void)
{
	gmm_test_unhold_steps();
}
