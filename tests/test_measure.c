/* Groups, their visits and their race with a runner that only counts, and the budget's arithmetic on made-up
 * rows. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/measure/internal.h"
#include "../harness/record/rule.h"
#include "../kernels/problem.h"
#include "unit.h"

enum { ROWS_MAX = 32, LOG_MAX = 1024 };

/* A runner that calls as Google Benchmark's shim does and logs whom. */
typedef struct {
    char log[LOG_MAX][32];
    int logged;
    bool fail, evicts;
    int64_t calls;
    double ns;        /* what it claims each call took; 0: the truth */
    const char *slow; /* who takes ten times as long, it claims */
} fake;

static double fake_run(void *runner, const char *name, const measure_loop *loop, int64_t iterations,
                       int repetition)
{
    fake *f = runner;
    (void)repetition;
    if (f->logged < LOG_MAX) {
        const char *impl = strchr(strchr(name, '/') + 1, '/') + 1;
        snprintf(f->log[f->logged++], sizeof f->log[0], "%.*s", (int)strcspn(impl, "/"), impl);
    }
    if (f->fail) return -1;
    f->evicts = loop->evict != NULL;
    loop->once(loop->ctx);
    double start = machine_now();
    for (int64_t i = 0; i < iterations; i++) {
        if (loop->evict != NULL) loop->evict(loop->ctx);
        loop->once(loop->ctx);
    }
    f->calls += iterations;
    bool slow = f->slow != NULL && strstr(name, f->slow) != NULL;
    return f->ns > 0 ? (slow ? 10 : 1) * f->ns : 1e9 * (machine_now() - start) / (double)iterations;
}

typedef struct {
    int rows, samples;
} seen;

static void see_row(void *ctx, const record_row *row)
{
    (void)row;
    ((seen *)ctx)->rows++;
}

static void see_sample(void *ctx, const record_row *row, int repetition, const record_sample *sample)
{
    (void)row;
    assert_true(repetition >= 0 && sample->iterations >= 1 && sample->ns > 0 && sample->visit >= 0);
    ((seen *)ctx)->samples++;
}

static const machine_ceilings ceilings = {
    .threads = 2, .fma_gflops = {50, 100, 200}, .bandwidth_gbps = {400, 200, 60, 20}};

static record_row row_of(const char *text, conv_pass pass, const char *impl)
{
    record_row row = {.pass = pass, .threads = 2};
    conv_error error;
    assert_int_equal(problem_parse(text, &row.problem, NULL, &error), CONV_OK);
    snprintf(row.impl, sizeof row.impl, "%s", impl);
    record_clear_measured(&row);
    const conv_impl *i = conv_find(impl, row.problem.variant);
    row.isa = i != NULL ? conv_isa(i) : CPU_BASE;
    return row;
}

/* Every implementation of this build that takes the problem in this process. */
static int all_rows(record_row *rows, const char *text, conv_pass pass)
{
    record_row first = row_of(text, pass, "naive");
    size_t entries;
    int count = 0;
    const conv_entry *e = conv_entries(&entries);
    for (size_t i = 0; i < entries && count < ROWS_MAX; i++)
        if (e[i].variant == first.problem.variant && e[i].impl != NULL && !e[i].impl->own_process &&
            conv_refuse(e[i].impl, &first.problem, pass) == NULL)
            rows[count++] = row_of(text, pass, e[i].name);
    return count;
}

/* No race, unless the test makes it one. */
static measure_setup setup_of(int repetitions, fake *f)
{
    return (measure_setup){
        .options = {.repetitions = repetitions, .min_time = 0.0005, .verify = true, .equal = true, .seed = 1},
        .ceilings = &ceilings,
        .run = fake_run,
        .runner = f,
        .started = machine_now()};
}

static int bind_pool(void **state)
{
    char why[160];
    machine_bind_threads(2, why, sizeof why); /* warning only: a one-core machine runs the tests unbound */
    return 0;
}

static void test_every_variant_and_pass(void **state)
{
    static const char *const problems[] = {"dense:mb2ic5ih9oc7kh3ph1", "depthwise:g6mb2ic6ih9oc6kh3ph1",
                                           "pointwise:mb2ic5ih9oc7kh1", "separable:mb2ic6ih9oc7kh3ph1"};
    const double waited = quiet_waited();
    const int64_t before = measure_session_so_far().samples;
    int64_t taken = 0;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            record_row rows[ROWS_MAX];
            if (v == CONV_SEPARABLE && pass > CONV_BACKWARD) continue;
            int count = all_rows(rows, problems[v], (conv_pass)pass);
            assert_true(count >= 1);
            fake f = {0};
            seen s = {0};
            measure_setup setup = setup_of(3, &f);
            setup.sink = (measure_sink){see_sample, see_row, &s};
            assert_int_equal(measure_at_once(&setup, rows, count), count);
            assert_int_equal(s.rows, 3 * count); /* a row is shown after each visit */
            assert_int_equal(s.samples, 3 * count);
            taken += s.samples;
            for (int i = 0; i < count; i++) {
                const record_row *r = &rows[i];
                if (r->status != CASE_OK) fail_msg("%s: %s", r->impl, r->reason);
                /* Each in a visit of its own; three are the fewest for an interval, so disturbed ones stay. */
                assert_true(r->repetitions == 3 && r->visits == 3 && r->ci95_low_ns > 0);
                assert_int_equal(r->race, RACE_NONE);
                assert_true(r->min_ns > 0 && r->min_ns <= r->median_ns);
                assert_true(r->ci95_low_ns <= r->median_ns && r->median_ns <= r->ci95_high_ns);
                assert_true(r->plan_ns > 0 && r->pack_ns >= 0 && r->scratch_bytes >= 0);
                assert_true(r->percent_peak > 0);
                assert_true(strcmp(r->bound, "compute") == 0 || strcmp(r->bound, "memory") == 0);
                assert_true(r->max_abs_error >= 0 && r->error_bound >= 0);
            }
        }
    measure_session all = measure_session_so_far();
    assert_int_equal(all.samples - before, taken);
    assert_true(all.disturbed >= 0 && all.disturbed <= all.samples);
    assert_true(waited >= 0);
}

/* Each round has every row once, and not always in the same order. */
static void test_interleaving(void **state)
{
    enum { ROUNDS = 9 };
    record_row rows[ROWS_MAX];
    int count = all_rows(rows, "dense:mb1ic4ih6oc4kh3ph1", CONV_FORWARD), same = 0;
    fake f = {.ns = 1000};
    measure_setup setup = setup_of(ROUNDS, &f);
    setup.ceilings = NULL;
    assert_int_equal(measure_at_once(&setup, rows, count), count);
    assert_int_equal(f.logged, ROUNDS * count);
    for (int i = 0; i < count; i++) {
        assert_true(rows[i].median_ns == 1000 && rows[i].mad_ns == 0);
        assert_true(isnan(rows[i].percent_peak) && rows[i].bound[0] == '\0'); /* no ceilings were given */
        for (int round = 0; round < ROUNDS; round++) {
            int times = 0;
            for (int k = 0; k < count; k++) times += strcmp(f.log[round * count + k], rows[i].impl) == 0;
            assert_int_equal(times, 1);
        }
    }
    for (int round = 1; round < ROUNDS; round++)
        same += memcmp(f.log[0], f.log[round * count], (size_t)count * sizeof f.log[0]) == 0;
    if (count >= 3) assert_true(same < ROUNDS - 1);
}

/* Who is far behind stops after the first visit, the others go on; what is chosen by is not what is reported.
 */
static void test_race(void **state)
{
    static const char *const impls[] = {"naive", "im2col", "tiled"};
    enum { COUNT = 3, WANTED = 9 };
    record_row rows[COUNT];
    for (int i = 0; i < COUNT; i++) rows[i] = row_of("dense:mb1ic4ih6oc4kh3ph1", CONV_FORWARD, impls[i]);
    fake f = {.ns = 1000, .slow = "naive"};
    measure_setup setup = setup_of(WANTED, &f);
    setup.options.equal = false;
    assert_int_equal(measure_at_once(&setup, rows, COUNT), COUNT);
    int times[COUNT] = {0};
    for (int i = 0; i < f.logged; i++)
        for (int k = 0; k < COUNT; k++) times[k] += strcmp(f.log[i], impls[k]) == 0;
    assert_int_equal(rows[0].race, RACE_BEHIND);
    assert_int_equal(times[0], 3);
    assert_true(isnan(rows[0].ci95_low_ns) && rows[0].median_ns == 10000);
    assert_true(rows[1].race == RACE_AHEAD && rows[2].race == RACE_NEAR); /* of equals, what came first */
    assert_true(times[1] > 3 + WANTED && times[2] > 3); /* not told apart: both choose in later visits too */
    assert_true(times[2] < WANTED);                     /* only the fastest has repetitions that report */
    for (int i = 1; i < COUNT; i++) assert_true(rows[i].median_ns == 1000 && rows[i].choice_ns == 1000);
    assert_true(record_faster(&rows[1], &rows[0]) && !record_faster(&rows[0], &rows[2]));
}

/* A session that ended takes up its repetitions, and needs only what is missing. */
static void test_continued(void **state)
{
    record_row row = row_of("dense:mb1ic4ih6oc4kh3ph1", CONV_FORWARD, "naive");
    record_sample before[6];
    for (int i = 0; i < 6; i++)
        before[i] = (record_sample){.ns = 1000 + i, .iterations = 7, .visit = i, .use = SAMPLE_REPORTS};
    row.status = CASE_OK;
    row.median_ns = 1002.5;
    fake f = {.ns = 1003};
    measure_setup setup = setup_of(9, &f);
    measure_group *g = measure_open(&setup, &row, 1);
    assert_true(measure_continue(g, 0, before, 6));
    measure_first(g, 0);
    assert_int_equal(f.logged, 0);
    for (int left = 3; left > 0; left--) {
        assert_int_equal(measure_needs(g).repetitions, left);
        measure_visit(g, 1);
    }
    assert_int_equal(measure_needs(g).repetitions, 0);
    assert_int_equal(f.logged, 3);
    assert_true(f.calls > 0 && row.visits >= 6 && row.median_ns >= 1002 && row.median_ns <= 1003);
    measure_close(g);
}

static void test_rows_that_are_not_measured(void **state)
{
    record_row rows[3];
    for (int i = 0; i < 3; i++) rows[i] = row_of("dense:mb1ic4ih6oc4kh3ph1", CONV_FORWARD, "naive");
    rows[0].status = CASE_REFUSED;
    snprintf(rows[0].reason, sizeof rows[0].reason, "as it came");
    snprintf(rows[1].impl, sizeof rows[1].impl, "nobody");
    fake f = {0};
    seen s = {0};
    measure_setup setup = setup_of(1, &f);
    setup.sink = (measure_sink){NULL, see_row, &s};
    assert_int_equal(measure_at_once(&setup, rows, 3), 1);
    assert_int_equal(s.rows, 3);
    assert_string_equal(rows[0].reason, "as it came");
    assert_int_equal(rows[1].status, CASE_REFUSED);
    assert_int_equal(rows[2].status, CASE_OK);
    assert_true(isnan(rows[2].ci95_low_ns)); /* one repetition has no interval */
}

static void test_runner_failure(void **state)
{
    record_row row = row_of("dense:mb1ic4ih6oc4kh3ph1", CONV_FORWARD, "naive");
    fake f = {.fail = true};
    measure_setup setup = setup_of(3, &f);
    assert_int_equal(measure_at_once(&setup, &row, 1), 0);
    assert_int_equal(row.status, CASE_FAILED);
    assert_int_equal(f.logged, 1);
}

static void test_too_little_memory(void **state)
{
    record_row row = row_of("dense:mb1000000ic64ih1000oc64kh3ph1", CONV_FORWARD, "naive");
    fake f = {0};
    measure_setup setup = setup_of(3, &f);
    assert_int_equal(measure_at_once(&setup, &row, 1), 0);
    assert_int_equal(row.status, CASE_SKIPPED);
    assert_non_null(strstr(row.reason, "GB of memory"));
    assert_int_equal(f.logged, 0);
}

static void test_budget_skips_with_an_estimate(void **state)
{
    record_row row = row_of("dense:mb64ic512ih56oc512kh3ph1", CONV_FORWARD, "naive");
    fake f = {0};
    measure_setup setup = setup_of(9, &f);
    setup.options.budget = 0.5;
    assert_int_equal(measure_at_once(&setup, &row, 1), 0);
    assert_int_equal(row.status, CASE_SKIPPED);
    assert_non_null(strstr(row.reason, "needs about"));
    assert_true(measure_estimate(&row, &setup.options) > 10);
}

static void test_cold(void **state)
{
    record_row row = row_of("separable:mb1ic16ih14oc16kh3ph1", CONV_BACKWARD, "naive");
    row.cache = CACHE_COLD;
    fake f = {0};
    measure_setup setup = setup_of(3, &f);
    assert_int_equal(measure_at_once(&setup, &row, 1), 1);
    assert_true(f.evicts);
}

/* A load after an eviction misses: it takes several times as long as one that hits. */
static void test_eviction_reaches_the_caches(void **state)
{
    enum { LINES = 256, LINE_FLOATS = 16 };
    float *data = buffer_alloc(LINES * LINE_FLOATS * sizeof *data);
    double best[2] = {INFINITY, INFINITY};
    assert_non_null(data);
    memset(data, 0, LINES * LINE_FLOATS * sizeof *data);
    evict_list list = {0};
    evict_add(&list, data, LINES * LINE_FLOATS * sizeof *data);
    evict_add(&list, NULL, 64);
    assert_int_equal(list.parts, 1);
    assert_true(evict_prepare(&list, 1));
    for (int t = 0; t < 50; t++)
        for (int cold = 0; cold < 2; cold++) {
            volatile float *v = data;
            for (int i = 0; i < LINES; i++) (void)v[i * LINE_FLOATS];
            if (cold) evict_now(&list, 1);
            double start = machine_now();
            for (int i = 0; i < LINES; i++) (void)v[(i * 37 % LINES) * LINE_FLOATS]; /* no prefetcher's order */
            best[cold] = fmin(best[cold], machine_now() - start);
        }
    evict_release(&list);
    buffer_free(data);
    assert_true(best[1] > 2 * best[0]);
}

static timed_row made_up(record_row *row, double call_seconds)
{
    record_clear_measured(row);
    return (timed_row){.row = row, .open = true, .call_seconds = call_seconds};
}

static void test_budget_arithmetic(void **state)
{
    record_row rows[3] = {0};
    measure_options o = {.repetitions = 9, .min_time = 0.02};
    timed_row timed[3] = {made_up(&rows[0], 1e-5), made_up(&rows[1], 0.01), made_up(&rows[2], 10)};
    budget_fit(timed, 3, &o, 0); /* unlimited */
    assert_int_equal(timed[0].iterations, 2000);
    assert_int_equal(timed[1].iterations, 2);
    assert_int_equal(timed[2].iterations, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(timed[i].repetitions, 9);

    budget_fit(timed, 3, &o,
               25); /* the long one gives way, the others lose repetition time but none of the nine */
    assert_true(timed[2].open);
    assert_int_equal(timed[2].repetitions, 2);
    assert_int_equal(timed[0].repetitions, 9);
    assert_true(timed[0].iterations >= 100);

    budget_fit(timed, 3, &o, 1); /* it does not fit at all */
    assert_false(timed[2].open);
    assert_int_equal(rows[2].status, CASE_SKIPPED);
    assert_non_null(strstr(rows[2].reason, "needs about 10 s"));
    assert_int_equal(timed[0].repetitions, 9);
    assert_int_equal(timed[1].repetitions, 9);
    assert_int_equal(timed[0].iterations, 2000);
}

/* Estimates follow what was measured of the nearest problem. */
static void test_learning(void **state)
{
    record_row small = row_of("dense:mb1ic32ih28oc32kh3ph1", CONV_FORWARD, "naive");
    record_row large = row_of("dense:mb1ic64ih28oc64kh3ph1", CONV_FORWARD, "naive");
    snprintf(small.impl, sizeof small.impl, "learner");
    snprintf(large.impl, sizeof large.impl, "learner");
    double before = budget_call_seconds(&small);
    assert_true(before > 0 && before < 1);
    budget_learn(&small, 0.25);
    assert_true(fabs(budget_call_seconds(&small) - 0.25) < 1e-12);
    assert_true(fabs(budget_call_seconds(&large) - 1.0) < 1e-9); /* four times the FLOPs */
    measure_options o = {.repetitions = 9, .min_time = 0.02, .verify = true};
    double seconds = measure_estimate(&small, &o);
    assert_true(seconds > 10 * 0.25 && seconds < 11 * 0.25);
    large.pass = CONV_BACKWARD; /* another pass is another speed */
    assert_true(budget_call_seconds(&large) < 1);
}

/* Last: the program stays interrupted. */
static void test_interruption(void **state)
{
    record_row row = row_of("dense:mb1ic4ih6oc4kh3ph1", CONV_FORWARD, "naive");
    fake f = {0};
    seen s = {0};
    measure_setup setup = setup_of(3, &f);
    setup.sink = (measure_sink){see_sample, see_row, &s};
    cli_catch_signals();
    raise(SIGINT);
    assert_true(cli_interrupted());
    assert_int_equal(measure_at_once(&setup, &row, 1), 0);
    assert_int_equal(s.rows, 0);
    assert_int_equal(s.samples, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_and_pass),
        cmocka_unit_test(test_interleaving),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_continued),
        cmocka_unit_test(test_rows_that_are_not_measured),
        cmocka_unit_test(test_runner_failure),
        cmocka_unit_test(test_too_little_memory),
        cmocka_unit_test(test_budget_skips_with_an_estimate),
        cmocka_unit_test(test_cold),
        cmocka_unit_test(test_eviction_reaches_the_caches),
        cmocka_unit_test(test_budget_arithmetic),
        cmocka_unit_test(test_learning),
        cmocka_unit_test(test_interruption),
    };
    return cmocka_run_group_tests(tests, bind_pool, NULL);
}
