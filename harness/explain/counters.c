#include "counters.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define L1_READ_MISS                                                                                           \
    (PERF_COUNT_HW_CACHE_L1D | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16)

static const struct {
    const char *name;
    uint32_t type;
    uint64_t config;
} events[COUNTERS] = {
    [COUNT_CYCLES] = {"cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    [COUNT_INSTRUCTIONS] = {"instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    [COUNT_L1_MISSES] = {"L1 read misses", PERF_TYPE_HW_CACHE, L1_READ_MISS},
    [COUNT_CACHE_MISSES] = {"last-level misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    [COUNT_STALLS] = {"stalled cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND}};

const char *counter_name(counter_kind kind) { return events[kind].name; }

bool counters_start(counters *c)
{
    *c = (counters){.why = ""};
    int open = 0;
    for (int i = 0; i < COUNTERS; i++) {
        struct perf_event_attr attr = {.type = events[i].type,
                                       .size = sizeof attr,
                                       .config = events[i].config,
                                       .disabled = 1,
                                       .exclude_kernel = 1,
                                       .exclude_hv = 1};
        c->value[i] = NAN;
        c->file[i] = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
        if (c->file[i] < 0 && c->why[0] == '\0') snprintf(c->why, sizeof c->why, "%s", strerror(errno));
        open += c->file[i] >= 0;
    }
    if (open > 0) c->why[0] = '\0';
    for (int i = 0; i < COUNTERS; i++)
        if (c->file[i] >= 0) ioctl(c->file[i], PERF_EVENT_IOC_ENABLE, 0);
    return open > 0;
}

void counters_stop(counters *c)
{
    for (int i = 0; i < COUNTERS; i++) {
        uint64_t count;
        if (c->file[i] < 0) continue;
        ioctl(c->file[i], PERF_EVENT_IOC_DISABLE, 0);
        if (read(c->file[i], &count, sizeof count) == (ssize_t)sizeof count) c->value[i] = (double)count;
        close(c->file[i]);
    }
}
