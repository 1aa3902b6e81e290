#include "sleepers.h"

#include <semaphore.h>

#include "../../peers/threads.h"

typedef struct {
    pthread_t thread;
    sem_t called;
    int number;
    sleepers *all;
} sleeper;

struct sleepers {
    int count; /* of threads, the caller among them */
    sem_t done;
    void (*work)(void *ctx, int thread); /* NULL: end */
    void *ctx;
    sleeper each[]; /* [count]; the first is not used */
};

static void wait_for(sem_t *s)
{
    while (sem_wait(s) != 0) continue; /* a signal came */
}

static void *sleep_and_work(void *own)
{
    sleeper *s = own;
    for (;;) {
        wait_for(&s->called);
        if (s->all->work == NULL) return NULL;
        s->all->work(s->all->ctx, s->number);
        sem_post(&s->all->done);
    }
}

static bool start(sleeper *s, const cpu_set_t *where)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    bool started = pthread_attr_setaffinity_np(&attributes, sizeof *where, where) == 0 &&
                   pthread_create(&s->thread, &attributes, sleep_and_work, s) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

conv_status sleepers_create(int threads, sleepers **out, conv_error *err)
{
    cpu_set_t *where = peer_omp_affinity(threads);
    sleepers *all = calloc(1, sizeof *all + (size_t)threads * sizeof *all->each);
    bool fine = where != NULL && all != NULL;
    if (fine) {
        sem_init(&all->done, 0, 0);
        all->count = 1;
    }
    for (int i = 1; fine && i < threads; i++) {
        all->each[i] = (sleeper){.number = i, .all = all};
        sem_init(&all->each[i].called, 0, 0);
        fine = start(&all->each[i], &where[i]);
        all->count += fine;
    }
    free(where);
    *out = all;
    if (fine) return CONV_OK;
    sleepers_destroy(all);
    *out = NULL;
    return conv_fail(err, CONV_FAILED, "%d threads could not be started", threads);
}

void sleepers_call(sleepers *all, void (*work)(void *ctx, int thread), void *ctx)
{
    all->work = work;
    all->ctx = ctx;
    for (int i = 1; i < all->count; i++) sem_post(&all->each[i].called);
    if (work != NULL) work(ctx, 0);
    for (int i = 1; work != NULL && i < all->count; i++) wait_for(&all->done);
}

void sleepers_destroy(sleepers *all)
{
    if (all == NULL) return;
    sleepers_call(all, NULL, NULL);
    for (int i = 1; i < all->count; i++) pthread_join(all->each[i].thread, NULL);
    free(all);
}
