/* A few thousand random problems of one, two and three dimensions, each on every present implementation, pass,
 * layout and strategy at random, small enough to be checked whole. A failure prints the problem and how to run
 * it again. Environment, each SEPBENCH_TEST_...: SEED and COUNT choose other problems and how many, RANKS the
 * dimensions (13: one and three), THREADS how many instead of a random number, PROBLEM a single one. */
#include <Random123/philox.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

typedef struct {
    uint64_t seed;
    uint32_t problem, drawn;
} dice;

/* A whole number in [least, most]. */
static int64_t draw(dice *d, int64_t least, int64_t most)
{
    const philox4x32_key_t key = {{(uint32_t)d->seed, (uint32_t)(d->seed >> 32)}};
    const philox4x32_ctr_t counter = {{d->problem, d->drawn++, 0, 2}};
    return least + (int64_t)(philox4x32(counter, key).v[0] % (uint64_t)(most - least + 1));
}

static bool chance(dice *d, int percent) { return draw(d, 1, 100) <= percent; }

#define DRAW_OF(d, list) (list)[draw(d, 0, sizeof(list) / sizeof *(list)-1)]

/* Small ones mostly; else around a multiple of 16. */
static int64_t draw_channels(dice *d)
{
    if (chance(d, 50)) return draw(d, 1, 20);
    return 16 * draw(d, 1, chance(d, 15) ? 20 : 4) + draw(d, -1, 1);
}

static int64_t draw_size(dice *d, int rank)
{
    static const int64_t usual[] = {0, 40, 14, 8}, most[] = {0, 300, 40, 16};
    return draw(d, 1, chance(d, 10) ? most[rank] : usual[rank]);
}

/* Before alone, as causal ones have it; same; or anything: more after than before, and less than none. */
static void draw_padding(dice *d, conv_axis *a, int rank)
{
    int64_t extent = conv_effective_kernel(a);
    int kind = (int)draw(d, 1, 100);
    if (kind <= (rank == 1 ? 40 : 10)) {
        a->pad_before = extent - 1;
    } else if (kind <= 60) {
        conv_pad_same(a);
    } else {
        if (chance(d, 60)) a->pad_before = draw(d, 0, extent);
        a->pad_after = draw(d, chance(d, 30) ? -(a->in / 3) : 0, extent);
    }
    if (conv_out(a) < 1) conv_pad_same(a);
}

static conv_axis draw_axis(dice *d, int64_t kernel, int rank)
{
    conv_axis a = {.in = draw_size(d, rank), .kernel = kernel, .stride = 1, .dilation = 1};
    if (chance(d, 35)) a.stride = draw(d, 2, 4);
    if (chance(d, 20)) a.dilation = draw(d, 2, chance(d, 20) ? 24 : 3);
    draw_padding(d, &a, rank);
    return a;
}

static void draw_kernels(dice *d, int rank, int64_t kernel[CONV_AXES])
{
    static const int64_t volumes[] = {1, 2, 3, 3, 3, 3, 4, 5}, usual[] = {1, 2, 3, 3, 3, 3, 4, 5, 6, 7},
                         large[] = {8, 9, 11, 13, 16, 21, 31};
    bool any_large = rank < 3 && chance(d, 8);
    for (int i = 0; i < CONV_AXES; i++)
        kernel[i] = rank == 3 ? DRAW_OF(d, volumes) : any_large ? DRAW_OF(d, large) : DRAW_OF(d, usual);
    if (rank == 2 && chance(d, 10)) kernel[draw(d, CONV_H, CONV_W)] = 1; /* 1xk, kx1 */
}

/* An ordinary layer: as long on all axes, odd kernel, same padding. Some algorithms do nothing else. */
static void make_ordinary(dice *d, conv_problem *p)
{
    static const int64_t most[] = {0, 60, 15, 9};
    int64_t kernel = p->variant == CONV_POINTWISE ? 1 : 3, size = draw(d, 4, most[p->rank]);
    for (int i = CONV_AXES - p->rank; i < CONV_AXES; i++) {
        p->axis[i] = (conv_axis){.in = size, .kernel = kernel, .stride = chance(d, 20) ? 2 : 1, .dilation = 1};
        conv_pad_same(&p->axis[i]);
    }
}

static void draw_variant(dice *d, conv_problem *p)
{
    static const int64_t multipliers[] = {1, 1, 1, 1, 1, 2, 3, 4, 8};
    p->ic = draw_channels(d);
    p->oc = draw_channels(d);
    if (p->variant == CONV_DENSE && chance(d, 20)) {
        p->groups = draw(d, 2, chance(d, 30) ? 20 : 4);
        p->ic = p->groups * draw(d, 1, 18);
        p->oc = p->groups * draw(d, 1, 18);
    }
    if (p->variant == CONV_DEPTHWISE || p->variant == CONV_SEPARABLE)
        p->depth_multiplier = DRAW_OF(d, multipliers);
    if (p->variant == CONV_DEPTHWISE) {
        p->groups = p->ic;
        p->oc = p->ic * p->depth_multiplier;
    }
}

static conv_problem draw_problem(dice *d)
{
    static const int ranks[] = {1, 2, 2, 3};
    int64_t kernel[CONV_AXES];
    conv_problem p = {.mb = draw(d, 1, 3), .groups = 1, .depth_multiplier = 1};
    p.variant = (conv_variant)draw(d, 0, CONV_VARIANT_COUNT - 1);
    p.rank = DRAW_OF(d, ranks);
    p.layout = chance(d, 30) ? CONV_NCHW : CONV_NHWC;
    p.bias = chance(d, 40);
    p.post_op = chance(d, 50) ? (conv_post_op)draw(d, 1, CONV_POST_COUNT - 1) : CONV_POST_NONE;
    draw_kernels(d, p.rank, kernel);
    for (int i = 0; i < CONV_AXES; i++) {
        p.axis[i] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
        if (i < CONV_AXES - p.rank) continue;
        p.axis[i] = draw_axis(d, p.variant == CONV_POINTWISE ? 1 : kernel[i], p.rank);
    }
    if (chance(d, 30)) make_ordinary(d, &p);
    draw_variant(d, &p);
    return p;
}

/* ---- checks */

static const char *variable(const char *name, const char *otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : text;
}

/* The cost model's pick, or any candidate: of entry `e`, which another machine may lack. */
static conv_context told(const dice *problem, size_t e, const conv_impl *impl, const conv_problem *p,
                         conv_pass pass, const conv_context *ctx)
{
    enum { APART = 1000 }; /* draws for each entry that are nobody else's */
    dice d = {problem->seed, problem->problem, (uint32_t)(APART * (e + 1))};
    conv_context c = *ctx;
    conv_candidates candidates;
    conv_strategies(impl, p, pass, ctx, &candidates);
    if (candidates.count == 0 || chance(&d, 50)) return c;
    c.told = true;
    c.strategy = candidates.list[draw(&d, 0, candidates.count - 1)];
    return c;
}

/* How many checks failed. */
static int64_t check(outcome *outcomes, size_t count, dice *d, const conv_problem *p, const char *threads)
{
    static const int thread_counts[] = {1, 2, 3, 5};
    int64_t failed = 0;
    conv_error err = {""};
    conv_pass pass = (conv_pass)draw(d, 0, p->variant == CONV_SEPARABLE ? 1 : CONV_PASS_COUNT - 1);
    int many = DRAW_OF(d, thread_counts);
    if (threads != NULL) many = atoi(threads);
    const conv_context ctx = draw(d, 0, 1) == 0 ? test_context(many) : test_far_context(many);
    verify_options options = {.kind = chance(d, 60) ? FILL_INTEGERS : FILL_REALS,
                              .seed = d->seed + d->problem,
                              .accumulate = pass != CONV_FORWARD && chance(d, 30)};
    verify_reference *reference = NULL;
    if (verify_prepare(p, pass, &options, &reference, &err) != CONV_OK) {
        fprintf(stderr, "problem %u: %s\n", d->problem, err.text);
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        const conv_impl *impl = outcomes[i].entry->impl;
        if (outcomes[i].entry->variant != p->variant || impl == NULL) continue;
        const conv_context own = conv_refuse(impl, p, pass) == NULL ? told(d, i, impl, p, pass, &ctx) : ctx;
        failed -= outcomes[i].failed;
        outcome_check(&outcomes[i], reference, p, pass, &options, &own);
        failed += outcomes[i].failed;
    }
    verify_release(reference);
    return failed;
}

int main(void)
{
    enum { MOST_FLOPS = 3000000 };
    const char *only = variable("SEPBENCH_TEST_PROBLEM", NULL),
               *threads = variable("SEPBENCH_TEST_THREADS", NULL),
               *ranks = variable("SEPBENCH_TEST_RANKS", "123");
    uint64_t seed = strtoull(variable("SEPBENCH_TEST_SEED", "20181012"), NULL, 10);
    uint32_t first = only == NULL ? 0 : (uint32_t)atoi(only);
    uint32_t wanted =
        only != NULL ? 1 : (uint32_t)atoi(variable("SEPBENCH_TEST_COUNT", SANITIZED ? "250" : "2000"));
    size_t count;
    outcome *outcomes = outcomes_create(&count);
    print_message("# random: SEPBENCH_TEST_SEED=%llu SEPBENCH_TEST_COUNT=%u\n", (unsigned long long)seed,
                  wanted);
    for (uint32_t i = first, checked = 0; checked < wanted; i++) {
        dice d = {.seed = seed, .problem = i};
        conv_problem p = draw_problem(&d);
        if (strchr(ranks, '0' + p.rank) == NULL || conv_problem_check(&p, NULL) != CONV_OK ||
            conv_flops(&p, CONV_FORWARD) > MOST_FLOPS)
            continue;
        checked++;
        if (check(outcomes, count, &d, &p, threads) > 0)
            print_message("    again: SEPBENCH_TEST_SEED=%llu SEPBENCH_TEST_PROBLEM=%u\n",
                          (unsigned long long)seed, i);
    }
    return outcomes_report("random", outcomes, count, false);
}
