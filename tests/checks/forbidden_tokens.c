/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Not compiled: the forbidden-token gate must find something in each line of code. */
#include <stdio.h>
#include <linux/slab.h>
#ifdef __KERNEL__
#if defined(__linux__)
#elif GMM_PORT_POSIX
static __thread int a;
static _Thread_local int b;
double c;
float d = PAGE_SIZE;
int current;
int e = min(1, 2);
int f = max(1, 2);
int g = BIT(3);
int h = errno;
int i = -EINVAL;
void *j = malloc(8);
int k = printf("text");
int l = pthread_mutex_lock(NULL);
int m = __atomic_load_n(&a, 0);
volatile int n;
unsigned __int128 o;
int p = gmm_spin_lock(NULL);
int q = gmm_mutex_unlock(NULL);
int r = memcpy(a, b, 1);
