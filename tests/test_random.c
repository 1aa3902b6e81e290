/* A few thousand random problems, each on every present implementation, pass and layout at random, small enough
 * to be checked whole. SEPBENCH_TEST_SEED and SEPBENCH_TEST_COUNT (environment) choose others; a failure prints
 * the problem, so that the seed is needed only to see the same run again. */
#include <Random123/philox.h>
#include <stdlib.h>

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

/* Small ones mostly; sometimes around a multiple of 16. */
static int64_t draw_channels(dice *d)
{
    if (chance(d, 50)) return draw(d, 1, 20);
    return 16 * draw(d, 1, chance(d, 15) ? 14 : 4) + draw(d, -1, 1);
}

static conv_axis draw_axis(dice *d, int64_t kernel)
{
    conv_axis a = {.in = draw(d, 1, chance(d, 10) ? 40 : 14), .kernel = kernel, .stride = 1, .dilation = 1};
    if (chance(d, 35)) a.stride = draw(d, 2, 4);
    if (chance(d, 20)) a.dilation = draw(d, 2, 3);
    if (chance(d, 35)) {
        conv_pad_same(&a);
        return a;
    }
    int64_t extent = conv_effective_kernel(&a);
    if (chance(d, 60)) a.pad_before = draw(d, 0, extent);
    a.pad_after = draw(d, -(a.in / 3), extent);
    if (conv_out(&a) < 1) conv_pad_same(&a);
    return a;
}

/* An ordinary layer: square, odd kernel, same padding. Some algorithms do nothing else. */
static void make_ordinary(dice *d, conv_problem *p)
{
    int64_t kernel = p->variant == CONV_POINTWISE ? 1 : 3, size = draw(d, 4, 15);
    p->rank = 2;
    p->axis[CONV_D] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
    for (int i = CONV_H; i <= CONV_W; i++) {
        p->axis[i] = (conv_axis){.in = size, .kernel = kernel, .stride = chance(d, 20) ? 2 : 1, .dilation = 1};
        conv_pad_same(&p->axis[i]);
    }
}

static conv_problem draw_problem(dice *d)
{
    conv_problem p = {.mb = draw(d, 1, 3), .groups = 1, .depth_multiplier = 1};
    p.variant = (conv_variant)draw(d, 0, CONV_VARIANT_COUNT - 1);
    p.rank = chance(d, 85) ? 2 : chance(d, 60) ? 1 : 3;
    p.layout = chance(d, 30) ? CONV_NCHW : CONV_NHWC;
    p.bias = chance(d, 40);
    p.post_op = chance(d, 50) ? (conv_post_op)draw(d, 1, CONV_POST_COUNT - 1) : CONV_POST_NONE;
    for (int i = 0; i < CONV_AXES; i++) {
        static const int64_t kernels[] = {1, 2, 3, 3, 3, 3, 4, 5, 7};
        int64_t kernel = p.variant == CONV_POINTWISE ? 1 : kernels[draw(d, 0, 8)];
        p.axis[i] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
        if (i >= CONV_AXES - p.rank) p.axis[i] = draw_axis(d, kernel);
    }
    if (chance(d, 30)) make_ordinary(d, &p);
    p.ic = draw_channels(d);
    p.oc = draw_channels(d);
    if (p.variant == CONV_DENSE && chance(d, 20)) {
        p.groups = draw(d, 2, 4);
        p.ic = p.groups * draw(d, 1, 18);
        p.oc = p.groups * draw(d, 1, 18);
    }
    if (p.variant == CONV_DEPTHWISE || p.variant == CONV_SEPARABLE)
        p.depth_multiplier = chance(d, 25) ? draw(d, 2, 4) : 1;
    if (p.variant == CONV_DEPTHWISE) {
        p.groups = p.ic;
        p.oc = p.ic * p.depth_multiplier;
    }
    return p;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

int main(void)
{
    enum { MOST_FLOPS = 3000000 };
    uint64_t seed = from_environment("SEPBENCH_TEST_SEED", 20181012);
    uint32_t wanted = (uint32_t)from_environment("SEPBENCH_TEST_COUNT", SANITIZED ? 300 : 3000);
    size_t count;
    outcome *outcomes = outcomes_create(&count);
    print_message("# random: SEPBENCH_TEST_SEED=%llu SEPBENCH_TEST_COUNT=%u\n", (unsigned long long)seed,
                  wanted);
    for (uint32_t i = 0, checked = 0; checked < wanted; i++) {
        dice d = {.seed = seed, .problem = i};
        conv_problem p = draw_problem(&d);
        if (conv_problem_check(&p, NULL) != CONV_OK || conv_flops(&p, CONV_FORWARD) > MOST_FLOPS) continue;
        conv_pass pass = (conv_pass)draw(&d, 0, p.variant == CONV_SEPARABLE ? 1 : CONV_PASS_COUNT - 1);
        int threads = (int)draw(&d, 1, 3);
        conv_context ctx = draw(&d, 0, 1) == 0 ? test_context(threads) : test_far_context(threads);
        verify_options options = {.kind = chance(&d, 60) ? FILL_INTEGERS : FILL_REALS,
                                  .seed = seed + i,
                                  .accumulate = pass != CONV_FORWARD && chance(&d, 30)};
        outcomes_check(outcomes, count, &p, pass, &options, &ctx);
        checked++;
    }
    return outcomes_report("random", outcomes, count, false);
}
