/* The harness must cost under 1% of a call. Here the same kernel runs in a bare loop and through gbench_run, in
 * pairs whose order is random, so that drift of the machine hits both alike. */
#include "overhead.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/measure/job.h"
#include "../harness/stats.h"
#include "../kernels/problem.h"
#include "gbench.h"

enum { PAIRS = 201 };
static const double SAMPLE_NS = 5e6;

typedef struct {
    void (*once)(void *);
    void *ctx;
} kernel;

/* A chain of dependent multiplications: touches no memory, so only the loop around it can differ. */
typedef struct {
    int64_t steps;
    volatile double factor, product;
} chain;

static void chain_once(void *ctx)
{
    chain *c = ctx;
    double x = c->factor, step = x;
    for (int64_t i = 0; i < c->steps; i++) x *= step;
    c->product = x;
}

static void convolution_once(void *ctx)
{
    const conv_job *job = ctx;
    conv_execute(job->plan, &job->args);
}

static double bare(const kernel *k, int64_t iterations)
{
    k->once(k->ctx);
    double start = machine_now();
    for (int64_t i = 0; i < iterations; i++) k->once(k->ctx);
    return 1e9 * (machine_now() - start) / (double)iterations;
}

/* Median of gbench / bare over the pairs, less 1, with its 95% interval. */
static bool compare(const char *name, const kernel *k)
{
    double ratio[PAIRS], direct[PAIRS];
    int64_t iterations = 1;
    while (bare(k, iterations) * (double)iterations < SAMPLE_NS) iterations *= 2;
    for (int i = 0; i < PAIRS; i++) {
        if (cli_interrupted()) return false;
        double shim = 0;
        bool first = random() & 1;
        if (first) shim = gbench_run(name, k->once, NULL, k->ctx, iterations, i);
        direct[i] = bare(k, iterations);
        if (!first) shim = gbench_run(name, k->once, NULL, k->ctx, iterations, i);
        ratio[i] = shim / direct[i];
    }
    stats_summary r = stats_summarize(ratio, PAIRS);
    printf("  %-30s %10.2f us   %+6.3f%%  [%+6.3f%%, %+6.3f%%]\n", name, 1e-3 * stats_median(direct, PAIRS),
           100 * (r.median - 1), 100 * (r.ci95_low - 1), 100 * (r.ci95_high - 1));
    fflush(stdout);
    return true;
}

/* The suite's shortest kind of call, by the first implementation that takes it. */
static bool compare_convolution(int threads)
{
    static const char text[] = "depthwise:g32mb1ic32ih28oc32kh3ph1";
    conv_problem p;
    conv_context context = machine_context(threads);
    size_t count;
    const conv_entry *e = conv_entries(&count);
    conv_job job = {0};
    conv_tensors t = {0};
    conv_error error;
    if (problem_parse(text, &p, NULL, &error) != CONV_OK) return false;
    for (size_t i = 0; i < count && job.plan == NULL; i++)
        if (e[i].variant == CONV_DEPTHWISE && e[i].impl != NULL && !e[i].impl->single_thread &&
            e[i].impl->enter == NULL)
            job_plan(&job, e[i].impl, &p, CONV_FORWARD, &context, &error);
    if (job.plan == NULL) return true; /* nothing in this build does it */
    bool ok = conv_tensors_create(&p, CONV_FORWARD, FILL_REALS, 1, &t);
    const conv_args args = conv_tensors_args(&t);
    ok = ok && job_ready(&job, &args, NULL, &error) == CONV_OK;
    char name[96];
    snprintf(name, sizeof name, "depthwise 28x28x32, %s, t%d", job.plan->impl->name, threads);
    ok = ok && compare(name, &(kernel){convolution_once, &job});
    job_finish(&job);
    conv_tensors_destroy(&t);
    return ok;
}

int overhead_run(int threads)
{
    static const double wanted_us[] = {1, 5, 50, 500};
    int code = machine_need_threads(threads);
    if (code != EXIT_FINE) return code;
    printf("  %-30s %13s   %7s  %s\n", "kernel", "bare loop", "harness", "95% interval");
    chain c = {.steps = 1000000, .factor = 1.0 + 1e-9};
    double ns_per_step = INFINITY;
    for (int i = 0; i < 20; i++)
        ns_per_step = fmin(ns_per_step, bare(&(kernel){chain_once, &c}, 1) / (double)c.steps);
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof wanted_us / sizeof *wanted_us; i++) {
        char name[96];
        c.steps = (int64_t)(1e3 * wanted_us[i] / ns_per_step);
        snprintf(name, sizeof name, "%g us of multiplications", wanted_us[i]);
        ok = compare(name, &(kernel){chain_once, &c});
    }
    ok = ok && compare_convolution(threads);
    if (cli_interrupted()) return cli_signal_exit_code();
    if (!ok) return cli_error("the convolution of the overhead benchmark could not be run"), EXIT_INVALID;
    return EXIT_FINE;
}
