/* For engines with a thread pool of their own, which belongs on the cores of the OpenMP threads. */
#ifndef SEPBENCH_PEERS_THREADS_H
#define SEPBENCH_PEERS_THREADS_H

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

/* The affinity of each of the OpenMP threads, [threads]; the caller is thread 0. Freed by the caller. NULL when
 * memory is short or an affinity cannot be read. */
static inline cpu_set_t *peer_omp_affinity(int threads)
{
    cpu_set_t *affinity = calloc((size_t)threads, sizeof *affinity);
    if (affinity == NULL) return NULL;
    int unread = 0;
#pragma omp parallel num_threads(threads) reduction(+ : unread)
    {
        cpu_set_t *mine = &affinity[omp_get_thread_num()];
        unread += pthread_getaffinity_np(pthread_self(), sizeof *mine, mine) != 0;
    }
    if (unread == 0) return affinity;
    free(affinity);
    return NULL;
}

#endif
