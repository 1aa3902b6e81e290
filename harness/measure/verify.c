/* A reference holds inputs, the list of output runs to check and, for each of their elements, the oracle's
 * value and the scale of its error bound. A check runs the implementation on those tensors and compares. */
#include "verify.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../grow.h"
#include "job.h"
#include "oracle.h"

/* at: its first element in value[] and magnitude[]; root: what oracle_row returned. */
typedef struct {
    oracle_run is;
    int64_t at;
    double root;
} checked_run;

struct verify_reference {
    conv_problem p;
    conv_pass pass;
    verify_options options;
    conv_tensors tensors;
    conv_tensors prior; /* accumulate: what the gradients hold before the call */
    uint64_t inputs;    /* their fingerprint */
    oracle *oracle;
    checked_run *runs;
    size_t run_count;
    int64_t elements;
    double *value, *magnitude;
    double largest[ORACLE_TENSORS], largest_root[ORACLE_TENSORS]; /* of magnitude[] and of runs' roots */
};

static const char *const tensor_names[] = {"dst", "diff_src", "diff_weights", "diff_pointwise", "diff_bias"};

static float *output(const conv_tensors *t, int tensor)
{
    float *const all[] = {t->dst, t->diff_src, t->diff_weights, t->diff_pointwise, t->diff_bias};
    return all[tensor];
}

static bool is_gradient(int tensor) { return tensor >= ORACLE_DIFF_WEIGHTS; }

static int64_t output_size(const conv_problem *p, int tensor)
{
    conv_sizes n = conv_problem_sizes(p);
    const int64_t all[] = {n.dst, n.src, n.weights, n.pointwise, n.bias};
    return all[tensor];
}

/* ---- choosing what to check */

static bool add_run(verify_reference *r, oracle_tensor tensor, int64_t row, int64_t first, int64_t count)
{
    checked_run *u = grow(&r->runs, &r->run_count, sizeof *u);
    if (u == NULL) return false;
    *u = (checked_run){{tensor, row, first, count}, r->elements, 0};
    r->elements += count;
    return true;
}

/* A number in [0, limit), the index-th of this reference and stream. */
static int64_t random_below(const verify_reference *r, uint32_t stream, int64_t index, int64_t limit)
{
    const philox4x32_key_t key = {{(uint32_t)r->options.seed, (uint32_t)(r->options.seed >> 32)}};
    const philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), stream, 1}};
    philox4x32_ctr_t random = philox4x32(counter, key);
    return (int64_t)((((uint64_t)random.v[0] << 32 | random.v[1]) >> 1) % (uint64_t)limit);
}

/* SAMPLE_COLUMNS: a vector's worth, so that a wrong lane shows.
 * SAMPLE_LEAST: runs checked whatever they cost. */
enum { SAMPLE_COLUMNS = 16, SAMPLE_LEAST = 8, SAMPLE_STREAM = 64 };

/* The first and the last run, and random ones between, of about `work` multiply-accumulates. */
static bool sample_runs(verify_reference *r, oracle_tensor tensor, int64_t rows, int64_t columns, double work)
{
    int64_t width = columns < SAMPLE_COLUMNS ? columns : SAMPLE_COLUMNS;
    double affordable = work / (oracle_cost(r->oracle, tensor) * (double)width);
    int64_t count = affordable < SAMPLE_LEAST ? SAMPLE_LEAST : affordable > 1e5 ? 100000 : (int64_t)affordable;
    bool fine = add_run(r, tensor, 0, 0, width) && add_run(r, tensor, rows - 1, columns - width, width);
    for (int64_t i = 0; fine && i < count - 2; i++)
        fine = add_run(r, tensor, random_below(r, SAMPLE_STREAM + tensor, 2 * i, rows),
                       random_below(r, SAMPLE_STREAM + tensor, 2 * i + 1, columns - width + 1), width);
    return fine;
}

/* Separable's depthwise gradients: a sum over all positions of a sum over all outputs. What one channel costs
 * serves all its taps, so whole channels are sampled; returns the first of the two neighbours to be kept. */
static bool sample_channels(verify_reference *r, int64_t taps, int64_t channels, int64_t *first, int64_t *count)
{
    bool fine = true;
    *count = channels < 2 ? channels : 2;
    *first = random_below(r, SAMPLE_STREAM + ORACLE_DIFF_WEIGHTS, 0, channels - *count + 1);
    for (int64_t tap = 0; fine && tap < taps; tap++)
        fine = add_run(r, ORACLE_DIFF_WEIGHTS, tap, *first, *count);
    return fine;
}

static bool choose_runs(verify_reference *r)
{
    int64_t rows, columns, keep_first = 0, keep_count = r->p.ic * r->p.depth_multiplier;
    double total = 0, budget = r->options.budget_flops;
    int tensors = 0;
    for (int t = 0; t < ORACLE_TENSORS; t++) {
        oracle_extent(r->oracle, (oracle_tensor)t, &rows, &columns);
        tensors += rows > 0;
    }
    total = (double)conv_flops(&r->p, r->pass);
    bool whole = budget <= 0 || total <= budget, fine = true;
    for (int i = 0; fine && i < ORACLE_TENSORS; i++) {
        oracle_tensor t = (oracle_tensor)i;
        oracle_extent(r->oracle, t, &rows, &columns);
        if (rows == 0) continue;
        if (whole || (double)rows * (double)columns * oracle_cost(r->oracle, t) * 2 * tensors <= budget)
            for (int64_t row = 0; fine && row < rows; row++) fine = add_run(r, t, row, 0, columns);
        else if (t == ORACLE_DIFF_WEIGHTS && r->p.variant == CONV_SEPARABLE)
            fine = sample_channels(r, rows, columns, &keep_first, &keep_count);
        else
            fine = sample_runs(r, t, rows, columns, budget / 2 / tensors);
    }
    return fine && oracle_keep_mid(r->oracle, keep_first, keep_count);
}

/* ---- preparing */

/* A sum that changes when any element or its place does. */
static uint64_t fingerprint(const float *data, int64_t count)
{
    const uint32_t *bits = (const uint32_t *)(const void *)data;
    uint64_t sum = 0;
    if (data == NULL) return 0;
#pragma omp parallel for simd schedule(static) reduction(+ : sum) if (count > 65536)
    for (int64_t i = 0; i < count; i++) sum += bits[i] * (2 * (uint64_t)i + 1);
    return sum;
}

static uint64_t input_fingerprint(const verify_reference *r)
{
    conv_sizes n = conv_problem_sizes(&r->p);
    const conv_tensors *t = &r->tensors;
    uint64_t sum = fingerprint(t->src, n.src) + 3 * fingerprint(t->weights, n.weights) +
                   5 * fingerprint(t->pointwise, n.pointwise) + 7 * fingerprint(t->bias, n.bias) +
                   9 * fingerprint(t->diff_dst, n.dst);
    return r->pass == CONV_FORWARD ? sum : sum + 11 * fingerprint(t->dst, n.dst);
}

static void consult_oracle(verify_reference *r)
{
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < r->run_count; i++) {
        checked_run *u = &r->runs[i];
        if (cli_interrupted()) continue;
        u->root = oracle_row(r->oracle, u->is, r->value + u->at, r->magnitude + u->at);
    }
    if (cli_interrupted()) return;
    for (size_t i = 0; i < r->run_count; i++) {
        const checked_run *u = &r->runs[i];
        double *largest = &r->largest[u->is.tensor], *root = &r->largest_root[u->is.tensor];
        *root = fmax(*root, u->root);
        for (int64_t j = 0; j < u->is.count; j++) *largest = fmax(*largest, r->magnitude[u->at + j]);
    }
}

/* Gradients to add into: integers stay exact, reals are of the order of the results. */
static bool make_prior(verify_reference *r)
{
    enum { PRIOR_STREAM = 32, PRIOR_AMPLITUDE = 3 };
    float **prior[] = {&r->prior.diff_weights, &r->prior.diff_pointwise, &r->prior.diff_bias};
    for (int i = 0; i < 3; i++) {
        int tensor = ORACLE_DIFF_WEIGHTS + i;
        int64_t count = output_size(&r->p, tensor);
        if (output(&r->tensors, tensor) == NULL) continue;
        *prior[i] = buffer_alloc((size_t)count * sizeof(float));
        if (*prior[i] == NULL) return false;
        fill(*prior[i], count, r->options.kind, PRIOR_AMPLITUDE, r->options.seed, (uint32_t)(PRIOR_STREAM + i));
    }
    return true;
}

conv_status verify_prepare(const conv_problem *p, conv_pass pass, const verify_options *options,
                           verify_reference **reference, conv_error *err)
{
    *reference = NULL;
    conv_status status = conv_problem_check(p, err);
    if (status == CONV_OK) status = conv_tensors_fit(p, pass, err);
    if (status != CONV_OK) return status;
    verify_reference *r = calloc(1, sizeof *r);
    if (r == NULL) return conv_fail(err, CONV_NO_MEMORY, "no memory for the reference");
    r->p = *p;
    r->pass = pass;
    r->options = *options;
    bool fine = conv_tensors_create(p, pass, options->kind, options->seed, &r->tensors);
    if (fine) {
        conv_args in = conv_tensors_args(&r->tensors);
        r->oracle = oracle_create(p, pass, &in);
        fine = r->oracle != NULL && choose_runs(r) && (!options->accumulate || make_prior(r));
    }
    if (fine) {
        r->value = malloc((size_t)r->elements * sizeof *r->value);
        r->magnitude = malloc((size_t)r->elements * sizeof *r->magnitude);
        fine = r->value != NULL && r->magnitude != NULL;
    }
    if (!fine) {
        verify_release(r);
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the tensors (%.3g GB) and their reference",
                         1e-9 * conv_tensors_bytes(p, pass));
    }
    consult_oracle(r);
    if (cli_interrupted()) { /* rows are missing */
        verify_release(r);
        return conv_fail(err, CONV_FAILED, "interrupted");
    }
    r->inputs = input_fingerprint(r);
    *reference = r;
    return CONV_OK;
}

void verify_release(verify_reference *r)
{
    if (r == NULL) return;
    oracle_destroy(r->oracle);
    conv_tensors_destroy(&r->tensors);
    conv_tensors_destroy(&r->prior);
    free(r->runs);
    free(r->value);
    free(r->magnitude);
    free(r);
}

/* ---- comparing */

/* The element's place in words: "dst[n 0][h 3][w 4][c 12]". */
static void name_element(const verify_reference *r, const checked_run *u, int64_t column, char *text,
                         size_t size)
{
    const conv_problem *p = &r->p;
    int64_t at = oracle_offset(r->oracle, u->is.tensor, u->is.row, column);
    bool activation = u->is.tensor == ORACLE_DST || u->is.tensor == ORACLE_DIFF_SRC;
    if (!activation) {
        snprintf(text, size, "%s[%lld]", tensor_names[u->is.tensor], (long long)at);
        return;
    }
    bool dst = u->is.tensor == ORACLE_DST;
    int64_t channels = dst ? p->oc : p->ic, extent[CONV_AXES], positions = 1;
    for (int i = 0; i < CONV_AXES; i++) {
        extent[i] = dst ? conv_out(&p->axis[i]) : p->axis[i].in;
        positions *= extent[i];
    }
    bool nhwc = p->layout == CONV_NHWC;
    int64_t item = nhwc ? at / channels : at / (channels * positions) * positions + at % positions;
    int64_t channel = nhwc ? at % channels : at / positions % channels, place = item % positions;
    snprintf(text, size, "%s[n %lld][d %lld][h %lld][w %lld][c %lld]", tensor_names[u->is.tensor],
             (long long)(item / positions), (long long)(place / (extent[1] * extent[2])),
             (long long)(place / extent[2] % extent[1]), (long long)(place % extent[2]), (long long)channel);
}

static double bound_of(const verify_reference *r, const conv_impl *impl, const checked_run *u, double magnitude,
                       double prior)
{
    const double u24 = 0x1p-24;
    if (impl->inexact)
        return impl->error_factor * u24 * r->largest_root[u->is.tensor] * (r->largest[u->is.tensor] + prior);
    if (r->options.kind == FILL_INTEGERS && magnitude + prior < 0x1p24) return 0;
    return VERIFY_FACTOR * u24 * u->root * (magnitude + prior);
}

static void compare_run(const verify_reference *r, const conv_impl *impl, const checked_run *u,
                        verify_result *result, double *closest)
{
    const float *got = output(&r->tensors, u->is.tensor), *prior = output(&r->prior, u->is.tensor);
    for (int64_t i = 0; i < u->is.count; i++) {
        int64_t at = oracle_offset(r->oracle, u->is.tensor, u->is.row, u->is.first + i);
        double before = prior == NULL ? 0 : (double)prior[at], expected = r->value[u->at + i] + before;
        double bound = bound_of(r, impl, u, r->magnitude[u->at + i], fabs(before));
        double error = fabs((double)got[at] - expected);
        double share = error == 0 ? 0 : error / bound; /* infinite where the bound is 0 */
        if (error > result->max_abs_error) result->max_abs_error = error;
        if (share >= *closest) {
            *closest = share;
            result->error_bound = bound;
        }
        if (error <= bound || !result->ok) continue;
        char place[160];
        name_element(r, u, u->is.first + i, place, sizeof place);
        snprintf(result->where, sizeof result->where, "%s is %.9g, expected %.9g, bound %.3g", place,
                 (double)got[at], expected, bound);
        result->ok = false;
        if (!isfinite(error)) result->max_abs_error = INFINITY;
    }
    result->checked += u->is.count;
}

/* The first element that is NaN or infinite, or -1. */
static int64_t find_nonfinite(const float *data, int64_t count)
{
    int64_t first = count;
#pragma omp parallel for schedule(static) reduction(min : first) if (count > 65536)
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(data[i]) && i < first) first = i;
    return first < count ? first : -1;
}

__attribute__((format(printf, 2, 3))) static void fault(verify_result *result, const char *format, ...)
{
    va_list args;
    if (!result->ok) return;
    va_start(args, format);
    vsnprintf(result->where, sizeof result->where, format, args);
    va_end(args);
    result->ok = false;
}

static void compare(const verify_reference *r, const conv_impl *impl, const conv_job *job,
                    verify_result *result)
{
    double closest = 0;
    const char *which;
    *result = (verify_result){.ok = true, .execute_seconds = job->execute_seconds};
    for (size_t i = 0; i < r->run_count; i++) compare_run(r, impl, &r->runs[i], result, &closest);
    for (int t = 0; t < ORACLE_TENSORS; t++) {
        const float *data = output(&r->tensors, t);
        if (data == NULL || (t == ORACLE_DST && r->pass != CONV_FORWARD)) continue;
        int64_t bad = find_nonfinite(data, output_size(&r->p, t));
        if (bad >= 0)
            fault(result, "%s[%lld] is %g: not written?", tensor_names[t], (long long)bad, (double)data[bad]);
        if (!buffer_intact(data)) fault(result, "guard overwritten: %s", tensor_names[t]);
    }
    if (!conv_tensors_intact(&r->tensors)) fault(result, "guard overwritten: an input tensor");
    if (!job_intact(job, &which)) fault(result, "guard overwritten: %s", which);
    if (input_fingerprint(r) != r->inputs) fault(result, "an input tensor was written");
}

static void reset_outputs(verify_reference *r)
{
    conv_tensors_poison(&r->p, r->pass, &r->tensors);
    for (int t = 0; t < ORACLE_TENSORS; t++) {
        const float *prior = is_gradient(t) ? output(&r->prior, t) : NULL;
        if (prior != NULL) memcpy(output(&r->tensors, t), prior, (size_t)output_size(&r->p, t) * sizeof *prior);
    }
}

conv_args verify_args(const verify_reference *r)
{
    conv_args args = conv_tensors_args(&r->tensors);
    args.accumulate = r->options.accumulate;
    return args;
}

conv_status verify_job(verify_reference *r, conv_job *job, verify_result *result, conv_error *err)
{
    *result = (verify_result){0};
    reset_outputs(r);
    conv_status status = job_run(job, err);
    if (status == CONV_OK) compare(r, job->plan->impl, job, result);
    return status;
}

conv_status verify_against(verify_reference *r, const conv_impl *impl, const conv_context *ctx,
                           verify_result *result, conv_error *err)
{
    conv_job job = {0};
    const conv_args args = verify_args(r);
    *result = (verify_result){0};
    conv_status status = job_plan(&job, impl, &r->p, r->pass, ctx, err);
    if (status == CONV_OK) status = job_ready(&job, &args, NULL, err);
    if (status == CONV_OK) status = verify_job(r, &job, result, err);
    job_finish(&job);
    return status;
}

conv_status verify_case(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                        const verify_options *options, verify_result *result)
{
    verify_reference *reference = NULL;
    conv_error err = {""};
    const char *refusal = conv_refuse(impl, p, pass);
    *result = (verify_result){0};
    conv_status status = refusal != NULL ? conv_fail(&err, CONV_REFUSED, "%s", refusal)
                                         : verify_prepare(p, pass, options, &reference, &err);
    if (status == CONV_OK) status = verify_against(reference, impl, ctx, result, &err);
    if (status != CONV_OK) snprintf(result->where, sizeof result->where, "%s", err.text);
    verify_release(reference);
    return status;
}
