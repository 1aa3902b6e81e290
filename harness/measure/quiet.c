/* Is anybody else on our cores? Another pool of this process, whose workers still spin, or other processes. */
#include <dirent.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../stats.h"
#include "internal.h"

static measure_session session;

/* Calls look(line, ctx) with the first line of /proc/self/task/<thread>/<file> of every thread, the caller's
 * only if `own`. proc(5). */
static void each_thread(const char *file, bool own, void (*look)(const char *line, void *ctx), void *ctx)
{
    char path[96], line[512];
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *d; tasks != NULL && (d = readdir(tasks)) != NULL;) {
        if (d->d_name[0] == '.' || (!own && strtol(d->d_name, NULL, 10) == gettid())) continue;
        snprintf(path, sizeof path, "/proc/self/task/%.16s/%s", d->d_name, file);
        FILE *f = fopen(path, "r");
        if (f == NULL) continue;
        if (fgets(line, sizeof line, f) != NULL) look(line, ctx);
        fclose(f);
    }
    if (tasks != NULL) closedir(tasks);
}

/* "pid (name) state ..." */
static void see_state(const char *line, void *running)
{
    const char *name_end = strrchr(line, ')');
    if (name_end != NULL && name_end[1] == ' ' && name_end[2] == 'R') *(bool *)running = true;
}

bool quiet_settle(void)
{
    enum { LOOKS = 200 };
    const struct timespec pause = {.tv_nsec = 250000};
    for (int i = 0; i < LOOKS; i++) {
        bool running = false;
        each_thread("stat", false, see_state, &running);
        if (!running) return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* After its last work a pool's workers spin for a while (libgomp's 4 ms, pthreadpool's 12 ms), on the very
 * cores to which the other pools' workers are bound, and would take half of them from whoever is timed next.
 * Engines with threads of their own have a pool per plan. */
void measure_settle(measure_group *g, const timed_row *t)
{
    const void *pool = engines_elsewhere(t->impl) ? t->impl : t->impl->own_threads ? t->job.plan : (void *)NULL;
    if (g->pool == pool) return;
    g->pool = pool;
    quiet_settle();
}

/* "nanoseconds on a core, nanoseconds ready but waiting for one, turns" */
static void see_waiting(const char *line, void *seconds)
{
    char *second;
    strtod(line, &second);
    *(double *)seconds += 1e-9 * strtod(second, NULL);
}

double quiet_waited(void)
{
    double seconds = 0;
    each_thread("schedstat", true, see_waiting, &seconds);
    return seconds;
}

/* ---- marks */

/* Of all cores together: the eighth figure of the first line, in ticks. 0 where there is no hypervisor. */
static double stolen_seconds(void)
{
    unsigned long long steal = 0;
    FILE *f = fopen("/proc/stat", "r");
    if (f == NULL) return 0;
    if (fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &steal) != 1) steal = 0;
    fclose(f);
    return (double)steal / (double)sysconf(_SC_CLK_TCK);
}

/* Sums that do not wait for one another keep the units of a core busy, some 30 us on CPUs of today, so that
 * whoever runs on its other hardware thread shows, even from another virtual machine; a single chain would
 * not notice. */
static float known_loop(float x)
{
    typedef float vector __attribute__((vector_size(16)));
    enum { LENGTH = 6000, SUMS = 10 };
    vector sum[SUMS];
    for (int s = 0; s < SUMS; s++) sum[s] = (vector){x, x, x, (float)s};
    for (int i = 0; i < LENGTH; i++) {
        for (int s = 0; s < SUMS; s++) sum[s] = sum[s] * 0.9999f + 1e-4f;
        __asm__ volatile("" : : : "memory"); /* no two turns become one */
    }
    for (int s = 1; s < SUMS; s++) sum[0] += sum[s];
    return sum[0][0] + sum[0][3];
}

/* What the threads take to meet, once they run: a hypervisor may move the cores nearer or farther apart, and
 * what small problems take follows that. The least of a few, as whoever disturbs it only adds. */
static double meet(void)
{
    enum { TIMES = 4, BARRIERS = 8 };
    double least = INFINITY;
    for (int i = 0; i < TIMES; i++) {
#pragma omp barrier
        double start = machine_now();
        for (int k = 0; k < BARRIERS; k++) {
#pragma omp barrier
        }
        least = fmin(least, (machine_now() - start) / BARRIERS);
    }
    return least;
}

static double handover = NAN; /* seconds, the last time */

static double loop_cost(int threads)
{
    double longest = 0;
    float sink = 0;
#pragma omp parallel num_threads(threads) reduction(max : longest) reduction(+ : sink) if (threads > 1)
    {
        double start = machine_now();
        sink += known_loop((float)omp_get_thread_num());
        longest = machine_now() - start;
        double met = threads > 1 ? meet() : NAN;
        if (threads > 1 && omp_get_thread_num() == 0) handover = met;
    }
    __asm__ volatile("" : : "m"(sink)); /* so that the loop is not left out */
    return longest;
}

/* What the loop usually costs: the median of the last ones, as the clock of a CPU changes with heat. */
static bool is_slow(double cost)
{
    enum { LAST = 101 };
    static const double much = 1.25;
    static double costs[LAST];
    static size_t count;
    costs[count++ % LAST] = cost;
    return cost > much * stats_median(costs, count < LAST ? count : LAST);
}

static long switches(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) == 0 ? used.ru_nivcsw : 0;
}

quiet_reading quiet_before(int threads)
{
    double cost = loop_cost(threads);
    return (quiet_reading){.loop_cost = cost,
                           .handover = 1e9 * handover,
                           .waited = quiet_waited(),
                           .stolen = stolen_seconds(),
                           .switches = switches(),
                           .began = machine_now()};
}

unsigned quiet_after(const quiet_reading *before, int threads, int loop_threads, bool loose)
{
    /* Shares of the threads' time. A tick of stolen time is 10 ms, so within a short repetition one is enough;
     * a few switches are the kernel's own work, which takes microseconds. */
    static const double much_waited = 0.02, much_stolen = 0.02, switches_a_second = 100;
    enum { FEW_SWITCHES = 2 };
    double seconds = (machine_now() - before->began) * threads;
    bool waited = !loose && quiet_waited() - before->waited > much_waited * seconds;
    bool stolen = stolen_seconds() - before->stolen > much_stolen * seconds;
    bool switched =
        !loose && (double)(switches() - before->switches) > FEW_SWITCHES + switches_a_second * seconds;
    bool slow_before = is_slow(before->loop_cost), slow_after = is_slow(loop_cost(loop_threads));
    unsigned marks = (waited ? MARK_WAITED : 0u) | (switched ? MARK_SWITCHED : 0u) |
                     (stolen ? MARK_STOLEN : 0u) | (slow_before || slow_after ? MARK_SLOWED : 0u);
    quiet_count(marks);
    return marks;
}

void quiet_count(unsigned marks)
{
    session.samples++;
    session.disturbed += marks != 0;
}

measure_session measure_session_so_far(void) { return session; }
