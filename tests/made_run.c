#include "made_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/problem.h"
#include "unit.h"

record_row *made_add(made *m, const char *problem, conv_pass pass, const char *impl, double ns, int repetitions)
{
    m->rows = realloc(m->rows, (m->count + 1) * sizeof *m->rows);
    assert_non_null(m->rows);
    record_row *row = &m->rows[m->count++];
    *row = (record_row){.pass = pass,
                        .threads = 2,
                        .status = ns > 0 ? CASE_OK : CASE_SKIPPED,
                        .repetitions = repetitions,
                        .median_ns = ns,
                        .ci95_low_ns = NAN,
                        .ci95_high_ns = NAN,
                        .min_ns = ns * 0.98,
                        .mad_ns = ns * 0.01,
                        .pack_ns = NAN,
                        .plan_ns = 1000,
                        .scratch_bytes = 0,
                        .percent_peak = NAN,
                        .visits = repetitions >= 6 ? RULE_VISITS : 1,
                        .choice_ns = NAN,
                        .model_ns = NAN,
                        .max_abs_error = 0,
                        .error_bound = 0};
    conv_error err;
    if (problem_parse(problem, &row->problem, row->layer, &err) != CONV_OK)
        fail_msg("%s: %s", problem, err.text);
    snprintf(row->impl, sizeof row->impl, "%s", impl);
    strcpy(row->suite, "sweep");
    if (repetitions >= 6) row->ci95_low_ns = ns * 0.985, row->ci95_high_ns = ns * 1.02;
    if (ns > 0) row->percent_peak = 100 * (double)conv_flops(&row->problem, pass) / ns / 400;
    if (ns <= 0)
        snprintf(row->reason, sizeof row->reason, "needs about 41 s, the budget has 12 s <left> & no more");
    return row;
}

/* GFLOP/s that an implementation reaches: dense, depthwise, pointwise, separable; 0: it has no such variant. */
static const struct {
    const char *name;
    double speed[CONV_VARIANT_COUNT];
} speeds[] = {{"naive", {1.5, 1.1, 1.4, 1.3}},     {"im2col", {240, 4, 250, 120}},
              {"tiled", {120, 14, 130, 80}},       {"avx2", {190, 30, 195, 130}},
              {"avx512", {350, 42, 355, 210}},     {"fused-avx512", {0, 0, 0, 270}},
              {"winograd-avx512", {520, 0, 0, 0}}, {"onednn", {345, 40, 340, 200}},
              {"onednn-winograd", {450, 0, 0, 0}}, {"openblas", {230, 0, 240, 0}}};

void made_problem(int variant, int channels, int spatial, int mb, char *text, size_t size)
{
    const char *formats[] = {"dense:mb%dic%dih%doc%dkh3ph1", "depthwise:mb%dic%dih%doc%dkh3ph1g%d",
                             "pointwise:mb%dic%dih%doc%dkh1", "separable:mb%dic%dih%doc%dkh3ph1"};
    snprintf(text, size, formats[variant], mb, channels, spatial, channels, channels);
}

made made_sweep(double factor, int repetitions)
{
    made m = {0};
    for (int variant = 0; variant < CONV_VARIANT_COUNT; variant++)
        for (int pass = 0; pass < (variant == CONV_SEPARABLE ? 2 : CONV_PASS_COUNT); pass++)
            for (int channels = 32; channels <= 2048; channels *= 2)
                for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
                    char text[128];
                    if (speeds[i].speed[variant] == 0) continue;
                    made_problem(variant, channels, 28, 1, text, sizeof text);
                    record_row *row = made_add(&m, text, (conv_pass)pass, speeds[i].name, 1, repetitions);
                    double speed = speeds[i].speed[variant] * (1 - 8.0 / (channels + 16.0)) * (pass ? 0.9 : 1);
                    double ns = (double)conv_flops(&row->problem, (conv_pass)pass) / speed *
                                (variant == CONV_SEPARABLE ? factor : 1);
                    if (strcmp(speeds[i].name, "naive") == 0 && ns > 2e9) ns = 0;
                    conv_problem problem = row->problem;
                    m.count--;
                    row = made_add(&m, text, (conv_pass)pass, speeds[i].name, ns, repetitions);
                    assert_memory_equal(&row->problem, &problem, sizeof problem);
                }
    return m;
}

static json_t *made_context(void)
{
    return json_pack("{s:{s:s, s:i}, s:[{s:i, s:{s:f, s:f}, s:{s:f, s:f, s:f, s:f}}], s:[s]}", "machine", "cpu",
                     "Example CPU <2 cores>", "cores", 2, "ceilings", "threads", 2, "fma_gflops", "avx2", 220.0,
                     "avx512", 415.0, "bandwidth_gbps", "L1", 900.0, "L2", 300.0, "L3", 90.0, "DRAM", 18.0,
                     "warnings", "the load is 1.4 on 2 cores");
}

record_run made_run(made *m)
{
    record_run run = {.rows = m->rows, .count = m->count, .run = made_context()};
    strcpy(run.run_id, "20260101T000000Z-test");
    strcpy(run.dir, "results/20260101T000000Z-test");
    return run;
}

void made_end(record_run *run, made *m)
{
    json_decref(run->run);
    free(m->rows);
}

static void store(made *m, const char *dir, json_t *context)
{
    conv_error err = {""};
    record_store *s = record_open(dir, false, context, &err);
    if (s == NULL) fail_msg("%s", err.text);
    for (size_t i = 0; i < m->count; i++) assert_true(record_write(s, &m->rows[i], &err));
    record_close(s);
    json_decref(context);
    free(m->rows);
}

const char *made_store(made *m, const char *folder, const char *name)
{
    static char dir[256];
    snprintf(dir, sizeof dir, "%s/%s", folder, name);
    store(m, dir, made_context());
    return dir;
}

void made_store_on(made *m, const char *dir, json_t *machine)
{
    json_t *context = made_context();
    json_object_set_new(context, "machine", machine);
    store(m, dir, context);
}

record_row *made_row(made *m, const char *case_name)
{
    char name[CASE_NAME_MAX];
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(record_case_name(&m->rows[i], name), case_name) == 0) return &m->rows[i];
    fail_msg("no row %s", case_name);
    return NULL;
}
