/* One group: plan, verify, allocate, pack, calibrate, repeat in random order, summarise. Plans come first so
 * that what they ask for is known before memory is taken; verification has its own tensors and ends before
 * those of the timed calls are made. */
#include "measure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "measure_internal.h"
#include "stats.h"

typedef struct {
    measure_job *jobs;
    int count;
    const measure_options *options;
    const machine_ceilings *ceilings;
    measure_runner *run;
    void *runner;
    const measure_sink *sink;
    conv_problem problem;
    conv_pass pass;
    int threads;
    bool cold;
    conv_context context;
    conv_tensors tensors;
    void *scratch; /* one for all: its contents mean nothing between calls */
    double started;
} group;

/* Oracle work per group, about a hundredth of a second. */
static const double VERIFY_FLOPS = 1e7;
static const double MEMORY_SHARE = 0.9; /* of what is free: the rest is for libraries' private buffers */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void measure_close(measure_job *job, case_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(job->row->reason, sizeof job->row->reason, format, args);
    va_end(args);
    job->row->status = status;
    job->open = false;
}

static void close_by(measure_job *job, conv_status status, const conv_error *error)
{
    case_status verdict = status == CONV_REFUSED     ? CASE_REFUSED
                          : status == CONV_NO_MEMORY ? CASE_SKIPPED
                                                     : CASE_FAILED;
    measure_close(job, verdict, "%s", error->text);
}

static void close_all(group *g, case_status status, const char *reason)
{
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open) measure_close(&g->jobs[i], status, "%s", reason);
}

static bool any_open(const group *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open) return true;
    return false;
}

/* What is left of the group's budget; 0 means unlimited, so never 0 when there is one. */
static double budget_left(const group *g)
{
    if (g->options->budget <= 0) return 0;
    return fmax(1e-6, g->options->budget - (now() - g->started));
}

/* ---- memory ------------------------------------------------------------------------------------------------
 */

/* In floating point: sizes that nobody can allocate must not overflow on the way to being refused. */
static double tensor_bytes(const group *g)
{
    conv_sizes n = conv_problem_sizes(&g->problem);
    double weights = (double)n.weights + (double)n.pointwise, bytes = 0;
    bytes += (double)n.src + weights + (double)n.dst;
    if (g->pass != CONV_FORWARD) bytes += (double)n.src + weights;
    return sizeof(float) * bytes;
}

static double plan_bytes(const conv_plan *p)
{
    return (double)p->packed_bytes + (double)p->scratch_bytes + (double)p->workspace_bytes;
}

static void close_too_large(measure_job *job, double needed, double available)
{
    measure_close(job, CASE_SKIPPED, "needs %.3g GB of memory, %.3g GB are available", 1e-9 * needed,
                  1e-9 * available);
}

static void check_tensors_fit(group *g)
{
    double needed = tensor_bytes(g), available = MEMORY_SHARE * (double)machine_memory_available();
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && needed > available) close_too_large(&g->jobs[i], needed, available);
}

/* Alone for verification, then all packed weights beside each other and the largest scratch: the order of the
 * rows decides who stays. */
static void check_plans_fit(group *g)
{
    double tensors = tensor_bytes(g), available = MEMORY_SHARE * (double)machine_memory_available(), kept = 0;
    double scratch = 0;
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->open) continue;
        double own = (double)j->plan->packed_bytes + (double)j->plan->workspace_bytes;
        double larger = fmax(scratch, (double)j->plan->scratch_bytes);
        if (tensors + kept + own + larger > available) {
            close_too_large(j, tensors + kept + own + larger, available);
            continue;
        }
        kept += own;
        scratch = larger;
    }
}

/* ---- before timing
 * ------------------------------------------------------------------------------------------- */

static void plan_job(group *g, measure_job *j)
{
    conv_error error = {""};
    const char *why = conv_refuse(j->impl, &g->problem, g->pass);
    if (why != NULL) {
        measure_close(j, CASE_REFUSED, "%s", why);
        return;
    }
    double start = now();
    conv_status status = conv_plan_create(j->impl, &g->problem, g->pass, &g->context, &j->plan, &error);
    j->row->plan_ns = 1e9 * (now() - start);
    if (status != CONV_OK)
        close_by(j, status, &error);
    else
        j->row->scratch_bytes = (int64_t)j->plan->scratch_bytes;
}

static void verify_job(group *g, verify_reference *reference, measure_job *j)
{
    conv_error error = {""};
    verify_result result;
    conv_status status = verify_against(reference, j->impl, &g->context, &result, &error);
    if (status != CONV_OK) {
        close_by(j, status, &error);
        return;
    }
    j->row->max_abs_error = result.max_abs_error;
    j->row->error_bound = result.error_bound;
    j->call_seconds = result.execute_seconds;
    budget_learn(j->row, result.execute_seconds);
    if (!result.ok) measure_close(j, CASE_WRONG, "%s", result.where);
}

static void verify_all(group *g)
{
    const verify_options o = {.kind = FILL_REALS, .seed = g->options->seed, .budget_flops = VERIFY_FLOPS};
    conv_error error = {""};
    verify_reference *reference = NULL;
    conv_status status = verify_prepare(&g->problem, g->pass, &o, &reference, &error);
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->open || cli_interrupted()) continue;
        if (status != CONV_OK)
            close_by(j, status, &error);
        else
            verify_job(g, reference, j);
    }
    verify_release(reference);
}

/* The forward that writes the workspace this plan reads, on zeros where the pass has no such tensor: the
 * figures in a workspace do not change how long reading it takes. */
static bool fill_workspace(group *g, measure_job *j, conv_error *error)
{
    conv_sizes n = conv_problem_sizes(&g->problem);
    conv_context context = g->context;
    conv_plan *forward = NULL;
    void *packed = NULL, *scratch = NULL;
    float *src = NULL, *dst = buffer_alloc((size_t)n.dst * sizeof *dst),
          *bias = buffer_alloc((size_t)n.bias * sizeof *bias);
    conv_args args = conv_tensors_args(&g->tensors);
    bool ok = false;
    context.keep_workspace = true;
    if (dst == NULL || bias == NULL ||
        conv_plan_create(j->impl, &g->problem, CONV_FORWARD, &context, &forward, error) != CONV_OK)
        goto done;
    memset(bias, 0, (size_t)n.bias * sizeof *bias);
    packed = buffer_alloc(forward->packed_bytes);
    scratch = buffer_alloc(forward->scratch_bytes);
    if (args.src == NULL && (args.src = src = buffer_alloc((size_t)n.src * sizeof *src)) != NULL)
        memset(src, 0, (size_t)n.src * sizeof *src);
    if (packed == NULL || scratch == NULL || args.src == NULL || args.weights == NULL) goto done;
    args.dst = dst;
    args.bias = g->problem.bias ? bias : NULL;
    args.packed = packed;
    args.scratch = scratch;
    args.workspace = j->workspace;
    ok = conv_pack(forward, args.weights, args.pointwise, packed) == CONV_OK &&
         conv_enter(forward, &args) == CONV_OK && conv_execute(forward, &args) == CONV_OK &&
         conv_leave(forward, &args) == CONV_OK;
done:
    if (!ok && error->text[0] == '\0')
        conv_fail(error, CONV_FAILED, "the forward that fills the workspace failed");
    conv_plan_destroy(forward);
    buffer_free(packed);
    buffer_free(scratch);
    buffer_free(src);
    buffer_free(dst);
    buffer_free(bias);
    return ok;
}

enum { PACK_TIMES = 3 };
static const double PACK_LONG = 0.02; /* seconds: measured once */

/* Weights into the plan's layout, activations into and out of a library's own: what a caller pays besides
 * execute. Medians of a few. */
static bool time_packing(measure_job *j)
{
    double pack[PACK_TIMES], enter[PACK_TIMES], leave[PACK_TIMES];
    size_t times = 0;
    bool converts = j->impl->enter != NULL;
    bool ok = true;
    for (; ok && times < PACK_TIMES && (times == 0 || pack[times - 1] < PACK_LONG); times++) {
        double start = now();
        ok = conv_pack(j->plan, j->args.weights, j->args.pointwise, j->packed) == CONV_OK;
        double packed = now();
        ok = ok && conv_enter(j->plan, &j->args) == CONV_OK;
        double entered = now();
        if (converts && times == 0) ok = ok && conv_execute(j->plan, &j->args) == CONV_OK;
        double executed = now();
        ok = ok && conv_leave(j->plan, &j->args) == CONV_OK;
        pack[times] = packed - start;
        enter[times] = entered - packed;
        leave[times] = now() - executed;
    }
    double seconds = j->plan->packed_bytes > 0 ? stats_median(pack, times) : 0;
    if (converts) seconds += stats_median(enter, times) + stats_median(leave, times);
    j->row->pack_ns = 1e9 * seconds;
    return ok;
}

static void list_operands(group *g, measure_job *j)
{
    const conv_sizes n = conv_problem_sizes(&g->problem);
    const conv_args *a = &j->args;
    const struct {
        const void *data;
        int64_t count;
    } all[] = {{a->src, n.src},
               {a->weights, n.weights},
               {a->pointwise, n.pointwise},
               {a->bias, n.bias},
               {a->dst, n.dst},
               {a->diff_dst, n.dst},
               {a->diff_src, n.src},
               {a->diff_weights, n.weights},
               {a->diff_pointwise, n.pointwise},
               {a->diff_bias, n.bias}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        evict_add(&j->evict, all[i].data, (size_t)all[i].count * sizeof(float));
    evict_add(&j->evict, j->packed, j->plan->packed_bytes);
    evict_add(&j->evict, j->workspace, j->plan->workspace_bytes);
    evict_add(&j->evict, g->scratch, j->plan->scratch_bytes);
}

/* Buffers, packed weights and, for a backward pass, what its forward leaves behind. */
static void ready_job(group *g, measure_job *j)
{
    conv_error error = {""};
    j->packed = buffer_alloc(j->plan->packed_bytes);
    if (j->plan->workspace_bytes > 0) j->workspace = buffer_alloc(j->plan->workspace_bytes);
    if (j->packed == NULL || (j->plan->workspace_bytes > 0 && j->workspace == NULL)) {
        measure_close(j, CASE_SKIPPED, "no memory for %.3g GB of packed weights", 1e-9 * plan_bytes(j->plan));
        return;
    }
    j->args = conv_tensors_args(&g->tensors);
    j->args.packed = j->packed;
    j->args.scratch = g->scratch;
    j->args.workspace = j->workspace;
    if (j->workspace != NULL && !fill_workspace(g, j, &error)) {
        measure_close(j, CASE_FAILED, "%s", error.text);
        return;
    }
    if (!time_packing(j)) {
        measure_close(j, CASE_FAILED, "packing failed");
        return;
    }
    if (!g->cold) return;
    list_operands(g, j);
    if (!evict_prepare(&j->evict, g->threads, j->impl->enter != NULL))
        measure_close(j, CASE_SKIPPED, "no memory for the buffer that sweeps the caches");
}

/* ---- timing
 * -------------------------------------------------------------------------------------------------- */

static void call_once(void *ctx)
{
    measure_job *j = ctx;
    if (j->skip_call) {
        j->skip_call = false;
        return;
    }
    conv_status status = conv_execute(j->plan, &j->args);
    if (status != CONV_OK) j->status = status;
}

static void call_evict(void *ctx)
{
    measure_job *j = ctx;
    if (!j->skip_call) evict_now(&j->evict, j->plan->context.threads);
}

/* Seconds of one call, to choose iterations by: verification's single call when that was long, else a few. */
static void calibrate(group *g, measure_job *j)
{
    if (budget_skips_warmup(j->call_seconds) && !g->cold) return;
    const double enough = fmin(0.001, 0.1 * g->options->min_time);
    double seconds = 0;
    call_once(j);
    for (int64_t calls = 1; seconds < enough; calls *= 2) {
        double start = now();
        for (int64_t i = 0; i < calls; i++) {
            if (g->cold) call_evict(j);
            call_once(j);
        }
        seconds = now() - start;
        j->call_seconds = fmax(seconds / (double)calls, 1e-8);
    }
    if (j->status != CONV_OK) measure_close(j, CASE_FAILED, "execute failed");
}

static void take_sample(group *g, measure_job *j)
{
    char name[CASE_NAME_MAX];
    record_case_name(j->row, name);
    const measure_loop loop = {call_once, g->cold ? call_evict : NULL, j};
    j->skip_call = budget_skips_warmup(j->call_seconds);
    double ns = g->run(g->runner, name, &loop, j->iterations, j->samples);
    if (!(ns > 0) || j->status != CONV_OK) {
        measure_close(j, CASE_FAILED, "%s",
                      j->status != CONV_OK ? "execute failed" : "Google Benchmark reported an error");
        return;
    }
    j->sample[j->samples++] = ns;
    if (g->sink->on_sample != NULL) g->sink->on_sample(g->sink->ctx, j->row, j->samples - 1, j->iterations, ns);
}

/* SplitMix64 (Steele, Lea, Flood 2014): the order needs no better. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Rounds of one repetition each, rows in random order. A row with fewer repetitions sits out rounds evenly, so
 * that drift over the minutes meets all rows alike. Past the deadline only rows without any time go on. */
static void repeat_all(group *g, int *order)
{
    uint64_t state = g->options->seed ^ (uint64_t)conv_flops(&g->problem, g->pass);
    int rounds = 0;
    for (int i = 0; i < g->count; i++) {
        order[i] = i;
        if (g->jobs[i].open && g->jobs[i].repetitions > rounds) rounds = g->jobs[i].repetitions;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = g->count - 1; i > 0; i--) {
            int k = (int)(next_random(&state) % (uint64_t)(i + 1)), kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
        for (int i = 0; i < g->count; i++) {
            measure_job *j = &g->jobs[order[i]];
            int64_t wanted = j->repetitions;
            bool turn = (round + 1) * wanted / rounds > round * wanted / rounds || j->samples == 0;
            bool late = g->options->budget > 0 && now() - g->started > 1.2 * g->options->budget;
            if (!j->open || !turn || (late && j->samples > 0)) continue;
            if (cli_interrupted()) return;
            take_sample(g, j);
        }
    }
}

/* ---- after timing
 * -------------------------------------------------------------------------------------------- */

/* The roof over this row: the peak of its instruction set, or the bandwidth of the smallest level that holds
 * all tensors of the pass (cold: memory) times FLOP per byte. S. Williams et al., Roofline, CACM 52(4), 2009.
 */
static const char *find_bound(const group *g, double peak)
{
    const machine_ceilings *c = g->ceilings;
    const double bytes = (double)conv_bytes_min(&g->problem, g->pass), threads = g->threads;
    const double holds[LEVEL_COUNT] = {threads * (double)g->context.l1d, threads * (double)g->context.l2,
                                       threads * (double)g->context.l3, INFINITY};
    int level = g->cold ? LEVEL_DRAM : LEVEL_L1;
    while (level < LEVEL_DRAM && (bytes > holds[level] || c->bandwidth_gbps[level] <= 0)) level++;
    double roof = c->bandwidth_gbps[level] * (double)conv_flops(&g->problem, g->pass) / bytes;
    return peak <= 0 || roof <= 0 ? "" : peak <= roof ? "compute" : "memory";
}

static void summarise(const group *g, measure_job *j)
{
    record_row *row = j->row;
    stats_summary s = stats_summarize(j->sample, (size_t)j->samples);
    row->repetitions = j->samples;
    row->median_ns = s.median;
    row->min_ns = s.min;
    row->mad_ns = s.mad;
    row->ci95_low_ns = s.ci95_low;
    row->ci95_high_ns = s.ci95_high;
    double peak = g->ceilings != NULL ? g->ceilings->fma_gflops[row->isa] : 0;
    double gflops = (double)conv_flops(&g->problem, g->pass) / s.median;
    row->percent_peak = peak > 0 ? 100 * gflops / peak : NAN;
    snprintf(row->bound, sizeof row->bound, "%s", g->ceilings != NULL ? find_bound(g, peak) : "");
    row->status = CASE_OK;
    snprintf(row->reason, sizeof row->reason, "%s%s%s", j->plan->note,
             j->evict.sweep != NULL && j->plan->note[0] ? "; " : "",
             j->evict.sweep != NULL ? "private copies evicted by a sweep" : "");
    if (!g->cold) budget_learn(row, 1e-9 * s.median);
}

static void release(group *g)
{
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        evict_release(&j->evict);
        conv_plan_destroy(j->plan);
        buffer_free(j->packed);
        buffer_free(j->workspace);
        free(j->sample);
    }
    conv_tensors_destroy(&g->tensors);
    buffer_free(g->scratch);
    free(g->jobs);
}

/* ---- the group
 * ------------------------------------------------------------------------------------------------ */

static void start_jobs(group *g, record_row *rows)
{
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        j->row = &rows[i];
        j->impl = conv_find(rows[i].impl, g->problem.variant);
        j->open = rows[i].status == CASE_SKIPPED && rows[i].reason[0] == '\0';
        if (j->open && j->impl == NULL) measure_close(j, CASE_REFUSED, "not in this build or not on this CPU");
        if (j->open) j->call_seconds = budget_call_seconds(&rows[i]);
    }
}

/* One call to verify and one to time is the least a row costs; most rows are closed here, before any work. */
static void prepare(group *g)
{
    check_tensors_fit(g);
    budget_drop(g->jobs, g->count, g->options->verify ? 2 : 1, budget_left(g));
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && !cli_interrupted()) plan_job(g, &g->jobs[i]);
    check_plans_fit(g);
    if (g->options->verify && any_open(g)) verify_all(g);
}

static bool allocate(group *g)
{
    size_t scratch = 0;
    for (int i = 0; i < g->count; i++)
        if (g->jobs[i].open && g->jobs[i].plan->scratch_bytes > scratch)
            scratch = g->jobs[i].plan->scratch_bytes;
    g->scratch = buffer_alloc(scratch);
    return g->scratch != NULL &&
           conv_tensors_create(&g->problem, g->pass, FILL_REALS, g->options->seed, &g->tensors);
}

static void time_jobs(group *g)
{
    if (!allocate(g)) {
        close_all(g, CASE_SKIPPED, "no memory for the tensors");
        return;
    }
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (cli_interrupted()) return;
        if (j->open) ready_job(g, j);
        if (j->open) calibrate(g, j);
    }
    budget_fit(g->jobs, g->count, g->options, budget_left(g));
    for (int i = 0; i < g->count; i++) {
        measure_job *j = &g->jobs[i];
        if (!j->open) continue;
        j->sample = calloc((size_t)j->repetitions, sizeof *j->sample);
        if (j->sample == NULL) measure_close(j, CASE_FAILED, "no memory for samples");
    }
    int *order = calloc((size_t)g->count, sizeof *order);
    if (order != NULL)
        repeat_all(g, order);
    else
        close_all(g, CASE_FAILED, "no memory for samples");
    free(order);
}

int measure_group(record_row *rows, int count, const measure_options *options, const machine_ceilings *ceilings,
                  measure_runner *run, void *runner, const measure_sink *sink)
{
    int timed = 0;
    if (count < 1) return 0;
    group g = {.count = count,
               .options = options,
               .ceilings = ceilings,
               .run = run,
               .runner = runner,
               .sink = sink,
               .problem = rows[0].problem,
               .pass = rows[0].pass,
               .threads = rows[0].threads,
               .cold = rows[0].cache == CACHE_COLD,
               .context = machine_context(rows[0].threads),
               .started = now()};
    g.jobs = calloc((size_t)count, sizeof *g.jobs);
    if (g.jobs == NULL) return 0;
    start_jobs(&g, rows);
    if (any_open(&g)) prepare(&g);
    if (any_open(&g) && !cli_interrupted()) time_jobs(&g);
    for (int i = 0; i < count; i++) {
        measure_job *j = &g.jobs[i];
        if (cli_interrupted() && j->open) continue; /* unfinished: --resume measures it again */
        if (j->open && j->samples > 0) {
            summarise(&g, j);
            timed++;
        }
        if (sink->on_row != NULL) sink->on_row(sink->ctx, &rows[i]);
    }
    release(&g);
    return timed;
}
