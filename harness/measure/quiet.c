/* Is anybody else on our cores? Another pool of this process, whose workers still spin, or other processes. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
void measure_settle(group *g, const timed_row *t)
{
    const conv_plan *pool = t->impl->own_threads ? t->job.plan : NULL;
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

void quiet_count(double waited, double thread_seconds)
{
    static const double much = 0.02;
    session.samples++;
    session.disturbed += waited > much * thread_seconds;
}

measure_session measure_session_so_far(void) { return session; }
