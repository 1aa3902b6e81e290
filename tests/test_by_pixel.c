/* Implementations that promise an output pixel, and an input channel's weight gradients, the same bits whatever
 * others are computed with them (conv_impl.by_pixel and by_input): cut into parts as ranks cut a dense layer, by
 * every strategy that the whole may have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/measure/job.h"
#include "../kernels/util.h"
#include "support.h"

enum { PIXELS = 250, UNIT = 16 };
static const int64_t channels[][2] = {{1600, 256}, {256, 10}, {300, 33}, {17, 500}, {4000, 64}};
static const int parts[] = {7, 2, 3};
/* Of sums cut in one way or another, sanitizers see the same. */
enum { CUTS = SANITIZED ? 1 : sizeof parts / sizeof *parts };

static conv_problem problem_of(int64_t pixels, int64_t inputs, int64_t outputs)
{
    char text[PROBLEM_STRING_MAX];
    snprintf(text, sizeof text, "pointwise:mb1ic%lldih1iw%lldoc%lldkh1kw1", (long long)inputs,
             (long long)pixels, (long long)outputs);
    return test_problem(text, CONV_NHWC, true, CONV_POST_NONE);
}

/* The strategies that one problem's plans have, for another's: number nth of each pass, the last where there are
 * fewer. */
typedef struct {
    conv_book book; /* first */
    conv_problem whole;
    const conv_context *context;
    int nth;
} whole_book;

static bool find(const conv_book *book, const conv_impl *impl, const conv_problem *p, conv_pass pass,
                 int threads, conv_strategy *found)
{
    const whole_book *w = (const whole_book *)book;
    conv_candidates all = {.count = 0};
    (void)p;
    (void)threads;
    conv_strategies(impl, &w->whole, pass, w->context, &all);
    if (all.count > 0) *found = all.list[min64(w->nth, all.count - 1)];
    return all.count > 0;
}

static void run(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                conv_args *args)
{
    conv_job job;
    conv_error err = {""};
    conv_status status = job_plan(&job, impl, p, pass, ctx, &err);
    if (status == CONV_OK) status = job_ready(&job, args, NULL, &err);
    if (status == CONV_OK) status = job_run(&job, &err);
    if (status != CONV_OK) fail_msg("%s: %s", impl->name, err.text);
    job_finish(&job);
}

typedef struct {
    int64_t inputs, outputs;
    float *src, *dst, *diff_dst, *diff_src, *weights, *bias, *diff_weights, *diff_bias; /* of the whole */
} tensors;

static float *filled(int64_t count, unsigned seed)
{
    float *x = aligned_alloc(64, (size_t)round_up(count, 16) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(seed = seed * 1664525 + 1013904223) / 4294967296.0f - 0.5f;
    return x;
}

static tensors create(int64_t inputs, int64_t outputs)
{
    return (tensors){inputs,
                     outputs,
                     filled(PIXELS * inputs, 1),
                     filled(PIXELS * outputs, 2),
                     filled(PIXELS * outputs, 3),
                     filled(PIXELS * inputs, 4),
                     filled(inputs * outputs, 5),
                     filled(outputs, 6),
                     filled(inputs * outputs, 7),
                     filled(outputs, 8)};
}

static void destroy(tensors *t)
{
    float *all[] = {t->src,     t->dst,  t->diff_dst,     t->diff_src,
                    t->weights, t->bias, t->diff_weights, t->diff_bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Pixels [begin, end): forward and backward_data. */
static void check_pixels(const conv_impl *impl, const tensors *t, const conv_context *ctx, int64_t begin,
                         int64_t end)
{
    const conv_problem p = problem_of(end - begin, t->inputs, t->outputs);
    float *dst = filled((end - begin) * t->outputs, 9), *diff_src = filled((end - begin) * t->inputs, 10);
    conv_args args = {.src = t->src + begin * t->inputs, .weights = t->weights, .bias = t->bias, .dst = dst};
    run(impl, &p, CONV_FORWARD, ctx, &args);
    assert_memory_equal(dst, t->dst + begin * t->outputs, (size_t)((end - begin) * t->outputs) * sizeof *dst);
    args =
        (conv_args){.weights = t->weights, .diff_dst = t->diff_dst + begin * t->outputs, .diff_src = diff_src};
    run(impl, &p, CONV_BACKWARD_DATA, ctx, &args);
    assert_memory_equal(diff_src, t->diff_src + begin * t->inputs,
                        (size_t)((end - begin) * t->inputs) * sizeof *diff_src);
    free(dst);
    free(diff_src);
}

/* Input channels [begin, end): backward_weights. */
static void check_inputs(const conv_impl *impl, const tensors *t, const conv_context *ctx, int64_t begin,
                         int64_t end)
{
    int64_t inputs = end - begin;
    const conv_problem p = problem_of(PIXELS, inputs, t->outputs);
    float *columns = filled(PIXELS * inputs, 11), *diff = filled(inputs * t->outputs, 12),
          *bias = filled(t->outputs, 13);
    for (int64_t i = 0; i < PIXELS; i++)
        memcpy(columns + i * inputs, t->src + i * t->inputs + begin, (size_t)inputs * sizeof *columns);
    conv_args args = {.src = columns, .diff_dst = t->diff_dst, .diff_weights = diff, .diff_bias = bias};
    run(impl, &p, CONV_BACKWARD_WEIGHTS, ctx, &args);
    assert_memory_equal(diff, t->diff_weights + begin * t->outputs,
                        (size_t)(inputs * t->outputs) * sizeof *diff);
    assert_memory_equal(bias, t->diff_bias, (size_t)t->outputs * sizeof *bias);
    free(columns);
    free(diff);
    free(bias);
}

static void check(const conv_impl *impl, const conv_context *ctx, int nth, tensors *t)
{
    whole_book book = {{find}, problem_of(PIXELS, t->inputs, t->outputs), ctx, nth};
    conv_context by_book = *ctx;
    by_book.book = &book.book;
    conv_args args = {.src = t->src, .weights = t->weights, .bias = t->bias, .dst = t->dst};
    run(impl, &book.whole, CONV_FORWARD, &by_book, &args);
    args = (conv_args){.src = t->src,
                       .weights = t->weights,
                       .diff_dst = t->diff_dst,
                       .diff_src = t->diff_src,
                       .diff_weights = t->diff_weights,
                       .diff_bias = t->diff_bias};
    run(impl, &book.whole, CONV_BACKWARD, &by_book, &args);
    for (int k = 0; k < CUTS; k++)
        for (int r = 0; r < parts[k]; r++) {
            int64_t begin, end;
            share(PIXELS, r, parts[k], &begin, &end);
            check_pixels(impl, t, &by_book, begin, end);
            share(div_up(t->inputs, UNIT), r, parts[k], &begin, &end);
            if (begin < end && impl->by_input)
                check_inputs(impl, t, &by_book, begin * UNIT, min64(end * UNIT, t->inputs));
        }
}

/* Of a pass of the whole; 1 where there is no choice. */
static int most_strategies(const conv_impl *impl, const tensors *t, const conv_context *ctx)
{
    static const conv_pass passes[] = {CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_WEIGHTS, CONV_BACKWARD};
    const conv_problem p = problem_of(PIXELS, t->inputs, t->outputs);
    int most = 1;
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        conv_candidates all = {.count = 0};
        conv_strategies(impl, &p, passes[i], ctx, &all);
        if (all.count > most) most = all.count;
    }
    return most;
}

static void test_parts(void **state)
{
    size_t count;
    int ran = 0;
    const conv_entry *entries = conv_entries(&count);
    const conv_context contexts[] = {test_context(1), test_far_context(2), test_wide_context(1)};
    for (size_t i = 0; i < count; i++) {
        if (entries[i].impl == NULL || !entries[i].impl->by_pixel) continue;
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
            for (size_t k = 0; k < sizeof contexts / sizeof *contexts; k++) {
                tensors t = create(channels[c][0], channels[c][1]);
                for (int nth = 0; nth < most_strategies(entries[i].impl, &t, &contexts[k]); nth++)
                    check(entries[i].impl, &contexts[k], nth, &t);
                destroy(&t);
                ran++;
            }
    }
    assert_true(ran > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts)};
    return cmocka_run_group_tests_name("by pixel", tests, NULL, NULL);
}
