/* Threads that sleep until they are called, as those of TensorFlow's pool do between two operations: waking one
 * takes the kernel many microseconds; OpenMP's threads, which poll for work, take less than one. */
#ifndef SEPBENCH_SIMD_TFLIKE_SLEEPERS_H
#define SEPBENCH_SIMD_TFLIKE_SLEEPERS_H

#include "../../conv.h"

typedef struct sleepers sleepers;

/* threads - 1 of them, on the cores of OpenMP's; the caller is the first. CONV_OK, or why not. */
conv_status sleepers_create(int threads, sleepers **all, conv_error *err);
/* work(ctx, thread) on each thread, on the caller too; returns when all are done. */
void sleepers_call(sleepers *all, void (*work)(void *ctx, int thread), void *ctx);
void sleepers_destroy(sleepers *all); /* NULL is fine */

#endif
