/* Inputs, expectations and timing of checked kernels. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support.h"

enum { MARGIN = 64, MOST_BUFFERS = 64, UNTOUCHED = 12345 };

/* Of the present check. */
static struct {
    void *buffers[MOST_BUFFERS], *plain[MOST_BUFFERS];
    int buffer_count, plain_count;
    uint32_t stream; /* of random numbers */
} now;

check_options check_the_options = {.seed = 1};

/* ---- data */

static float *floats(int64_t count)
{
    float *data = buffer_alloc((size_t)(count + 2 * MARGIN) * sizeof *data);
    assert_non_null(data);
    assert_true(now.buffer_count < MOST_BUFFERS);
    now.buffers[now.buffer_count++] = data;
    for (int64_t i = 0; i < count + 2 * MARGIN; i++) data[i] = NAN;
    return data + MARGIN;
}

static double *doubles(int64_t count)
{
    double *data = calloc((size_t)count, sizeof *data);
    assert_non_null(data);
    assert_true(now.plain_count < MOST_BUFFERS);
    now.plain[now.plain_count++] = data;
    return data;
}

static float *random_floats(int64_t count, fill_kind kind)
{
    float *data = floats(count);
    fill(data, count, kind, 7, check_the_options.seed, now.stream++);
    return data;
}

float *check_reals(int64_t count) { return random_floats(count, FILL_REALS); }
float *check_integers(int64_t count) { return random_floats(count, FILL_INTEGERS); }

check_output check_untouched(int64_t count)
{
    check_output o = {floats(count), doubles(count), doubles(count), count};
    for (int64_t i = -MARGIN; i < count + MARGIN; i++) o.got[i] = UNTOUCHED;
    for (int64_t i = 0; i < count; i++) o.want[i] = UNTOUCHED;
    return o;
}

check_sum check_start(check_output *o, int64_t at, bool accumulate)
{
    check_sum s = {0};
    o->got[at] = accumulate ? (float)(at % 15) - 7 : NAN;
    if (accumulate) check_add(&s, (double)o->got[at]);
    return s;
}

void check_expect(check_output *o, int64_t at, const check_sum *s, float clip, double factor)
{
    o->want[at] = clip == 0 ? s->sum : fmin(fmax(s->sum, 0), (double)clip);
    o->slack[at] = factor * (double)(s->terms + 1) * 0x1p-24 * s->size;
}

static void free_all(void)
{
    while (now.buffer_count > 0) buffer_free(now.buffers[--now.buffer_count]);
    while (now.plain_count > 0) free(now.plain[--now.plain_count]);
}

/* ---- the call */

static void compare(const check_case *c, const char *shape)
{
    const check_output *o = c->output;
    for (int64_t i = -MARGIN; i < o->count + MARGIN; i++) {
        bool inside = i >= 0 && i < o->count;
        double want = inside ? o->want[i] : UNTOUCHED, slack = inside ? o->slack[i] : 0;
        if (fabs((double)o->got[i] - want) <= slack) continue;
        fail_msg("%s %s, %s: element %lld is %g, not %g (+-%.1g); --seed %llu", c->kernel->name,
                 cpu_isa_name(c->kernel->isa), shape, (long long)i, (double)o->got[i], want, slack,
                 (unsigned long long)check_the_options.seed);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_of(const check_case *c, int64_t calls)
{
    double start = seconds();
    for (int64_t i = 0; i < calls; i++) c->call(c->args);
    return seconds() - start;
}

/* The least of several batches of calls: others can only lengthen one. */
void check_time(const check_case *c, const char *shape)
{
    if (!check_the_options.bench) return;
    enum { BATCHES = 25 };
    int64_t calls = 1;
    while (time_of(c, calls) < 1e-4) calls *= 2;
    double least = INFINITY;
    for (int i = 0; i < BATCHES; i++) least = fmin(least, time_of(c, calls));
    least /= (double)calls;
    printf("%-20s %-7s %-58s %11.1f ns %8.1f GFLOP/s\n", c->kernel->name, cpu_isa_name(c->kernel->isa), shape,
           1e9 * least, 1e-9 * c->flops / least);
}

void check_call(const check_case *c, const char *format, ...)
{
    char shape[160];
    va_list words;
    va_start(words, format);
    vsnprintf(shape, sizeof shape, format, words);
    va_end(words);
    c->call(c->args);
    compare(c, shape);
    if (c->timed) check_time(c, shape);
    free_all();
}
