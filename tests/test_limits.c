/* The limits of made-up plans on a made-up machine, of every real plan, and the steps of a waterfall. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/limits/limits.h"
#include "../harness/limits/waterfall.h"
#include "../kernels/work.h"
#include "support.h"

static const machine_ceilings ceilings = {.threads = 2,
                                          .fma_gflops = {10, 20, 40},
                                          .loads = {4, 4, 2},
                                          .broadcasts = {4, 4, 4},
                                          .bandwidth_gbps = {300, 75, 60, 15},
                                          .read_gbps = {200, 80, 50, 18},
                                          .barrier_ns = 500};
static const limit_caches caches = {32e3, 1e6, 4e6};

static const conv_impl fake = {.name = "fake", .isa = CPU_AVX2, .variant = CONV_DENSE};
static const conv_impl peer = {.name = "peer", .isa = CPU_BASE, .variant = CONV_DENSE, .peer = true};

static conv_plan fake_plan(const conv_impl *impl)
{
    return (conv_plan){.impl = impl,
                       .problem = test_problem("mb1ic64ih28oc64kh3ph1", CONV_NHWC, false, CONV_POST_NONE),
                       .pass = CONV_FORWARD,
                       .context = {.threads = 2}};
}

static void assert_ns(double got, double expected) { assert_true(fabs(got - expected) <= 1e-9 * expected); }

/* One limit at a time: count over ceiling. */
static void test_each_limit(void **state)
{
    conv_plan plan = fake_plan(&fake);
    plan.work = (conv_work){.stated = true, .macs = 1e6, .busiest = 1};
    limit_times t = limits_of(&plan, false, &ceilings, &caches);
    assert_ns(t.ns[LIMIT_COMPUTE], 2e6 / 20);
    assert_int_equal(t.highest, LIMIT_COMPUTE);
    plan.work.busiest = 2; /* one of the two threads does it all */
    assert_ns(limits_of(&plan, false, &ceilings, &caches).ns[LIMIT_COMPUTE], 2 * 2e6 / 20);

    plan.work = (conv_work){.stated = true, .loads = 1e6, .broadcasts = 2e6, .stores = 1e6, .busiest = 1};
    t = limits_of(&plan, false, &ceilings, &caches);
    assert_ns(t.ns[LIMIT_LOADS], 3e6 / 4);
    assert_ns(t.ns[LIMIT_L1], (2e6 * 32 + 2e6 * 4) / 300);
    assert_int_equal(t.highest, LIMIT_LOADS);

    plan.work = (conv_work){.stated = true, .barriers = 3, .busiest = 1};
    t = limits_of(&plan, false, &ceilings, &caches);
    assert_ns(t.ns[LIMIT_BARRIER], 1500);
    assert_int_equal(t.highest, LIMIT_BARRIER);
}

/* Bytes come from the level that still has them: by the distance at which they are met again. */
static void test_levels(void **state)
{
    static const struct {
        double reach;
        limit_kind from; /* the farthest level they may come from */
    } cases[] = {{16e3, LIMIT_L1}, {128e3, LIMIT_L2}, {2e6, LIMIT_L3}, {50e6, LIMIT_DRAM}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conv_plan plan = fake_plan(&fake);
        plan.work = (conv_work){.stated = true, .busiest = 1};
        work_read(&plan.work, 1e6, cases[i].reach);
        limit_times t = limits_of(&plan, false, &ceilings, &caches);
        for (limit_kind kind = LIMIT_L2; kind <= LIMIT_DRAM; kind++)
            assert_int_equal(t.ns[kind] > 0, kind <= cases[i].from);
    }
    limit_times t;
    conv_plan plan = fake_plan(&fake);
    plan.work = (conv_work){.stated = true, .busiest = 1, .footprint = 2e6};
    work_read(&plan.work, 1e6, CONV_EACH_CALL); /* 1e6 a thread: in L2, but not in L1 */
    assert_ns(limits_of(&plan, false, &ceilings, &caches).ns[LIMIT_L2], 1e6 / 80);
    assert_true(limits_of(&plan, false, &ceilings, &caches).ns[LIMIT_L3] == 0);
    plan.work.footprint = 20e6; /* 10e6 a thread: half of it stays in L2 and L3 */
    assert_ns(limits_of(&plan, false, &ceilings, &caches).ns[LIMIT_DRAM], 1e6 * (1 - 0.5) / 18);
    plan.work.footprint = 2e6;
    assert_ns(limits_of(&plan, true, &ceilings, &caches).ns[LIMIT_DRAM], 1e6 / 18); /* cold */
    work_write(&plan.work, 1e6, CONV_PAST_CACHES);
    assert_ns(limits_of(&plan, false, &ceilings, &caches).ns[LIMIT_DRAM],
              1e6 / 20); /* 15 counts 3 of 4 lines */
    t = limits_of(&plan, false, &ceilings, &caches);
    assert_true(t.ns[LIMIT_L3] == 0);
    assert_ns(limits_in_turn(&t), t.ns[LIMIT_L2] + t.ns[LIMIT_DRAM]);
}

/* What ranks strategies is a number also where a level could not be measured. */
static void test_model(void **state)
{
    machine_ceilings unmeasured = ceilings;
    conv_context ctx = test_context(2);
    conv_work work = {.macs = 1e6, .busiest = 1};
    double plain = limits_model_ns(&work, CPU_AVX2, &ctx);
    work_copy(&work, 1e6, 16e3, 8);
    assert_true(plain > 0 && limits_model_ns(&work, CPU_AVX2, &ctx) > plain);
    unmeasured.bandwidth_gbps[LEVEL_L2] = 0;
    ctx.ceilings = &unmeasured;
    assert_true(isfinite(limits_model_ns(&work, CPU_AVX2, &ctx)));
}

/* A peer: the direct algorithm's arithmetic unless it is inexact, and every tensor once. */
static void test_peer(void **state)
{
    conv_plan plan = fake_plan(&peer);
    limit_times t = limits_of(&plan, false, &ceilings, &caches);
    double peak = ceilings.fma_gflops[conv_isa(&peer)];
    assert_ns(t.ns[LIMIT_COMPUTE], (double)conv_flops(&plan.problem, plan.pass) / peak);
    assert_true(t.ns[LIMIT_L2] > 0 && t.ns[LIMIT_LOADS] == 0 && t.ns[LIMIT_BARRIER] == 0);
    conv_impl inexact = peer;
    inexact.inexact = true;
    plan.impl = &inexact;
    assert_true(limits_of(&plan, false, &ceilings, &caches).ns[LIMIT_COMPUTE] == 0);
}

static void test_sentence(void **state)
{
    char text[LIMIT_TEXT];
    record_row row = {.limit = "L2", .percent_limit = 91.2};
    assert_string_equal(limits_sentence(&row, text), "bound by L2: 91% of it");
    row.percent_limit = 35; /* what a kernel slowed on purpose looks like */
    assert_string_equal(limits_sentence(&row, text),
                        "no limit reached: the highest, L2, explains 35% of the time");
    row.limit[0] = '\0';
    assert_string_equal(limits_sentence(&row, text), "");
}

/* A row whose median changes without a plan at hand keeps its limit. */
static void test_row_of_later_visits(void **state)
{
    conv_plan plan = fake_plan(&fake);
    plan.work = (conv_work){.stated = true, .macs = 1e6, .busiest = 1};
    record_row row = {.problem = plan.problem, .pass = plan.pass, .threads = 2};
    record_clear_measured(&row);
    row.median_ns = 125e3;
    limits_fill(&row, &plan, &ceilings);
    assert_string_equal(row.limit, "compute");
    assert_string_equal(row.bound, "compute");
    assert_ns(row.percent_limit, 80);
    row.median_ns = 200e3;
    limits_fill(&row, NULL, &ceilings);
    assert_ns(row.percent_limit, 50);
    record_clear_measured(&row);
    row.median_ns = 200e3;
    limits_fill(&row, NULL, &ceilings);
    assert_true(isnan(row.percent_limit) && row.limit[0] == '\0');
}

/* Every implementation of the project that may be the best states its work: at least the multiply-adds of the
 * direct algorithm unless it is inexact, and every tensor moved at least once. */
static void test_every_plan_states(void **state)
{
    static const char *const problems[] = {
        "mb2ic24ih9oc40kh3ph1", "depthwise:g24mb2ic24ih9oc24kh3ph1", "depthwise:g8mb1ic8ih12oc16kh5ph2dm2",
        "mb2ic24ih9oc40kh1",    "separable:mb2ic24ih9oc40kh3ph1",    "g2mb1ic8ih8oc6kh3ph1sh2"};
    size_t count;
    const conv_entry *e = conv_entries(&count);
    int stated = 0;
    for (size_t i = 0; i < count * sizeof problems / sizeof *problems; i++) {
        const conv_impl *impl = e[i % count].impl;
        for (int variation = 0; variation < 4 && impl != NULL && !impl->peer && !e[i % count].study;
             variation++)
            for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
                conv_layout layout = variation & 1 ? CONV_NCHW : CONV_NHWC;
                conv_problem p = test_problem(problems[i / count], layout, variation & 2,
                                              variation & 2 ? CONV_POST_RELU6 : CONV_POST_NONE);
                if (conv_refuse(impl, &p, (conv_pass)pass) != NULL) continue;
                conv_context ctx = test_context(1 + variation);
                conv_plan *plan;
                assert_int_equal(conv_plan_create(impl, &p, (conv_pass)pass, &ctx, &plan, NULL), CONV_OK);
                const conv_work *w = &plan->work;
                double moved = 0, macs = (double)conv_flops(&p, (conv_pass)pass) / 2;
                for (int m = 0; m < w->moves; m++) moved += w->move[m].read + w->move[m].written;
                if (!w->stated || w->busiest < 1 || w->moves == CONV_MOVES || !(w->loads > 0) ||
                    !(moved >= 0.9 * (double)conv_bytes_min(&p, (conv_pass)pass)) ||
                    (!impl->inexact && w->macs < 0.999 * macs) ||
                    w->macs > 64 * macs) /* lanes and all taps of few channels */
                    fail_msg("%s %s %s: macs %g of %g, moved %g of %lld, %d moves, busiest %g", impl->name,
                             problems[i / count], conv_pass_name((conv_pass)pass), w->macs, macs, moved,
                             (long long)conv_bytes_min(&p, (conv_pass)pass), w->moves, w->busiest);
                stated++;
                conv_plan_destroy(plan);
            }
    }
    assert_true(stated > 100);
}

/* ---- waterfall */

static record_row timed(const char *problem, const char *impl, double ns, double barrier_ns)
{
    record_row row = {.pass = CONV_FORWARD, .threads = 2, .status = CASE_OK, .median_ns = ns};
    row.problem = test_problem(problem, CONV_NHWC, false, CONV_POST_NONE);
    snprintf(row.impl, sizeof row.impl, "%s", impl);
    row.percent_peak = 100 * (double)conv_flops(&row.problem, row.pass) / ns / 100; /* 100 GFLOP/s */
    row.barrier_ns = barrier_ns;
    return row;
}

static double product(const waterfall *w)
{
    double all = w->promised;
    for (int i = 0; i < WATERFALL_STEPS; i++) all *= w->step[i].factor;
    return all;
}

static void test_waterfall(void **state)
{
    record_row dense = timed("mb1ic64ih28oc64kh3ph1", "avx2", 650e3, 1e3);
    record_row composed = timed("separable:mb1ic64ih28oc64kh3ph1", "avx2", 110e3, 2e3);
    record_row fused = timed("separable:mb1ic64ih28oc64kh3ph1", "fused-avx2", 90e3, 1e3);
    record_row depthwise = timed("g64mb1ic64ih28oc64kh3ph1", "avx2", 20e3, 1e3);
    record_row pointwise = timed("mb1ic64ih28oc64kh1", "avx2", 70e3, 1e3);
    waterfall_rows rows = {&dense, &fused, &composed, &depthwise, &pointwise};
    waterfall w;
    assert_true(waterfall_of(&rows, &w));
    assert_true(fabs(w.promised - 7.89) < 0.01);
    assert_ns(w.speedup, 650.0 / 90);
    assert_ns(product(&w), w.speedup);
    assert_ns(w.step[WATERFALL_DENSE].factor, 650e3 / ((double)conv_flops(&dense.problem, CONV_FORWARD) / 100));
    assert_true(w.step[WATERFALL_DEPTHWISE].factor < 1 && w.step[WATERFALL_POINTWISE].factor < 1);
    assert_true(w.step[WATERFALL_INTERMEDIATE].factor < 1 && w.step[WATERFALL_FUSED].factor > 1);
    assert_ns(w.step[WATERFALL_REST].factor, 1);

    rows.separable = &composed; /* where the fastest is not fused nothing is left over either */
    assert_true(waterfall_of(&rows, &w));
    assert_ns(product(&w), w.speedup);
    assert_ns(w.step[WATERFALL_REST].factor, 1);

    pointwise.barrier_ns = 1e6; /* more than the row takes: measured beside others' work */
    assert_true(waterfall_of(&rows, &w));
    assert_ns(product(&w), w.speedup);
    for (int i = 0; i < WATERFALL_STEPS; i++) assert_true(w.step[i].factor > 0);

    rows = (waterfall_rows){.dense = &dense, .separable = &fused}; /* the parts were not measured */
    assert_true(waterfall_of(&rows, &w));
    assert_ns(product(&w), w.speedup);
    assert_false(w.step[WATERFALL_DEPTHWISE].measured || w.step[WATERFALL_INTERMEDIATE].measured);
    assert_true(w.step[WATERFALL_REST].factor < 1);
    fused.percent_peak = NAN;
    assert_false(waterfall_of(&rows, &w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_limit), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_model),      cmocka_unit_test(test_peer),
        cmocka_unit_test(test_sentence),   cmocka_unit_test(test_row_of_later_visits),
        cmocka_unit_test(test_waterfall),  cmocka_unit_test(test_every_plan_states)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
