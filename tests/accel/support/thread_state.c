/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "thread_state.h"

#include <stdio.h>

bool thread_is_asleep(pid_t id)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", id);
	file = id ? fopen(path, "r") : NULL;
	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'S';
}
