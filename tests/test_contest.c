/* Contests of strategies: who wins, what is an error; the wisdom and what may be wrong with its file; the
 * words of the command line; and that a resumed run keeps what it was begun with. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "../harness/machine/machine.h"
#include "../harness/measure/contest.h"
#include "../harness/measure/wisdom.h"
#include "../kernels/plan.h"
#include "../kernels/strategy.h"
#include "folder.h"
#include "train_support.h"

/* ---- time, and an implementation whose strategies cost what they say of it */

double __real_machine_now(void);
double __wrap_machine_now(void); /* the linker's: what everybody calls who asks for the time (Makefile) */

static double simulated = -1; /* seconds; below 0: time is real */

double __wrap_machine_now(void) { return simulated < 0 ? __real_machine_now() : simulated; }

/* A call of so many microseconds, more or less. */
static void pass_time(int64_t us)
{
    static const double noise[] = {1, 1.004, 0.997, 1.002, 0.998};
    static int calls;
    simulated += 1e-6 * (double)us * noise[calls++ % 5];
}

static const conv_choice fake_choices[] = {{"us", false}, {"wrong", true}, {NULL, false}};
static int64_t fake_costs[CONV_STRATEGIES]; /* 0 ends them; negative: computes wrongly */

static const char *fake_refuse(const conv_impl *self, const conv_problem *p, conv_pass pass)
{
    (void)self, (void)p;
    return pass == CONV_FORWARD ? NULL : "not forward";
}

static void fake_strategies(const conv_impl *self, const conv_problem *p, conv_pass pass,
                            const conv_context *ctx, conv_candidates *candidates)
{
    (void)self, (void)p, (void)pass, (void)ctx;
    candidates->choices = fake_choices;
    for (int i = 0; i < CONV_STRATEGIES && fake_costs[i] != 0; i++) {
        const int64_t own[2] = {llabs(fake_costs[i]), fake_costs[i] < 0};
        strategy_add(candidates, own, sizeof own, 0);
    }
}

static conv_status fake_plan(const conv_impl *self, const conv_problem *p, conv_pass pass,
                             const conv_context *ctx, conv_plan **plan, conv_error *err)
{
    *plan = conv_plan_new(sizeof **plan, self, p, pass, ctx);
    return *plan != NULL ? CONV_OK : conv_fail(err, CONV_NO_MEMORY, "no memory for a plan");
}

static conv_status fake_execute(const conv_plan *plan, const conv_args *args)
{
    const conv_problem *p = &plan->problem;
    const int64_t *how = plan->context.strategy.value, pixels = conv_problem_sizes(p).src / p->ic;
    assert_true(plan->context.told);
    for (int64_t i = 0; i < pixels * p->oc; i++) {
        float sum = how[1] != 0 ? 1 : 0;
        for (int64_t c = 0; c < p->ic; c++)
            sum += args->src[i / p->oc * p->ic + c] * args->weights[c * p->oc + i % p->oc];
        args->dst[i] = sum;
    }
    pass_time(how[0]);
    return CONV_OK;
}

static const conv_impl fake = {.name = "fake",
                               .variant = CONV_POINTWISE,
                               .layouts = 1u << CONV_NHWC,
                               .refuse = fake_refuse,
                               .plan = fake_plan,
                               .strategies = fake_strategies,
                               .execute = fake_execute};

static conv_status hold(double seconds, contest_result *result, conv_error *err)
{
    atomic_part part = {.impl = &fake, .pass = CONV_FORWARD};
    const verify_options options = {.kind = FILL_REALS, .seed = 1};
    verify_reference *reference;
    assert_int_equal(problem_parse("pointwise:mb1ic8ih4oc8kh1", &part.problem, NULL, err), CONV_OK);
    assert_int_equal(verify_prepare(&part.problem, part.pass, &options, &reference, err), CONV_OK);
    const conv_context context = machine_context(1);
    simulated = 0;
    conv_status status = contest_run(&part, &context, reference, seconds, result, err);
    simulated = -1;
    verify_release(reference);
    return status;
}

static void set_costs(int64_t a, int64_t b, int64_t c)
{
    memset(fake_costs, 0, sizeof fake_costs);
    fake_costs[0] = a;
    fake_costs[1] = b;
    fake_costs[2] = c;
}

/* Of a contest among strategies of these microseconds. */
static contest_result result_of(double seconds, int64_t a, int64_t b, int64_t c)
{
    contest_result r;
    conv_error err;
    set_costs(a, b, c);
    assert_int_equal(hold(seconds, &r, &err), CONV_OK);
    return r;
}

static void the_fastest_wins(void **state)
{
    contest_result r = result_of(1, 900, 1400, 400);
    assert_true(r.measured && fabs(r.ns - 4e5) < 4e3 && fabs(r.model_ns - 9e5) < 9e3);
    assert_int_equal(r.winner, 2);
}

static void noise_flips_nothing(void **state)
{
    contest_result r = result_of(1, 2000, 1990, 2500);
    assert_true(r.measured && r.ns == r.model_ns);
    assert_int_equal(r.winner, 0);
    assert_int_equal(result_of(1, 2500, 2000, 1990).winner, 1); /* nor among others than the pick */
}

static void wrong_is_an_error(void **state)
{
    contest_result r;
    conv_error err;
    set_costs(300, -100, 200);
    assert_int_equal(hold(1, &r, &err), CONV_FAILED);
    assert_true(r.wrong);
    assert_non_null(strstr(err.text, "us 100, wrong"));
}

static void short_of_time(void **state)
{
    contest_result r = result_of(0.1, 40000, 30000, 20000);
    assert_false(r.measured);
    assert_int_equal(r.winner, 0);
    r = result_of(0.45, 40000, 30000, 20000); /* two fit */
    assert_true(r.measured);
    assert_int_equal(r.winner, 1);
    assert_false(result_of(1, 100, 0, 0).measured);
}

/* ---- the wisdom */

enum { THREADS = 2 };

/* A part of this build with several strategies; false: none here. */
static bool some_part(atomic_part *part, conv_candidates *candidates)
{
    static const char *const names[] = {"avx512", "avx2"};
    atomic_part parts[PARTS_MAX];
    conv_problem p;
    conv_error err;
    assert_int_equal(problem_parse("pointwise:mb1ic64ih14oc64kh1", &p, NULL, &err), CONV_OK);
    for (int i = 0; i < 2; i++) {
        const conv_impl *impl = conv_find(names[i], CONV_POINTWISE);
        if (impl == NULL || parts_of(impl, &p, CONV_BACKWARD_WEIGHTS, THREADS, parts) != 1) continue;
        *part = parts[0];
        part_candidates(part, THREADS, candidates);
        if (candidates->count > 1) return true;
    }
    return false;
}

static wisdom *opened(strategy_kind kind, int nth, const char *file)
{
    const strategy_options o = {kind, nth, file};
    conv_error err;
    wisdom *w = wisdom_open(&o, &err);
    if (w == NULL) fail_msg("%s", err.text);
    return w;
}

static bool in_book(const wisdom *w, const atomic_part *part, conv_strategy *s)
{
    const conv_book *book = wisdom_book(w);
    return book != NULL && book->find(book, part->impl, &part->problem, part->pass, THREADS, s);
}

static void round_trip(void **state)
{
    atomic_part part;
    conv_candidates c;
    conv_strategy s;
    if (!some_part(&part, &c)) skip();
    const wisdom_entry learned = {c.list[1], 1000, 1250};
    for (int named = 0; named < 2; named++) {
        const char *file = named ? "own.json" : NULL;
        wisdom *w = opened(STRATEGY_MEASURED, 0, file);
        assert_false(in_book(w, &part, &s));
        wisdom_learn(w, &part, THREADS, &learned);
        wisdom_save(w);
        wisdom_close(w);
        w = opened(STRATEGY_MEASURED, 0, file);
        wisdom_entry found;
        assert_true(wisdom_recall(w, &part, THREADS, &found));
        assert_true(strategy_same(c.choices, &found.strategy, &c.list[1]));
        assert_true(found.ns == 1000 && found.model_ns == 1250);
        assert_true(in_book(w, &part, &s) && strategy_same(c.choices, &s, &c.list[1]));
        assert_false(wisdom_recall(w, &part, THREADS + 1, &found));
        wisdom_close(w);
    }
    wisdom *nth = opened(STRATEGY_NTH, 1, NULL), *model = opened(STRATEGY_MODEL, 0, NULL);
    assert_true(in_book(nth, &part, &s) && strategy_same(c.choices, &s, &c.list[1]));
    assert_false(in_book(model, &part, &s));
    wisdom_close(nth);
    wisdom_close(model);
    nth = opened(STRATEGY_NTH, c.count, NULL);
    assert_false(in_book(nth, &part, &s));
    wisdom_close(nth);
}

static void learn_in(const char *file, const atomic_part *part, const conv_strategy *s)
{
    const wisdom_entry learned = {*s, 1000, 1250};
    wisdom *w = opened(STRATEGY_MEASURED, 0, file);
    wisdom_learn(w, part, THREADS, &learned);
    wisdom_save(w);
    wisdom_close(w);
}

static bool knows(const char *file, const atomic_part *part)
{
    conv_strategy s;
    wisdom *w = opened(STRATEGY_MEASURED, 0, file);
    bool known = in_book(w, part, &s);
    wisdom_close(w);
    return known;
}

static void edit(const char *file, const char *key, json_t *value)
{
    json_t *all = json_load_file(file, 0, NULL);
    assert_non_null(all);
    json_object_set_new(all, key, value);
    assert_int_equal(json_dump_file(all, file, 0), 0);
    json_decref(all);
}

/* What another build or CPU found is not true here, and no strategy counts that this build does not know. */
static void strangers_are_ignored(void **state)
{
    atomic_part part;
    conv_candidates c;
    if (!some_part(&part, &c)) skip();
    static const char *const keys[] = {"build", "cpu", "isa"};
    for (int i = 0; i < 3; i++) {
        learn_in("own.json", &part, &c.list[1]);
        assert_true(knows("own.json", &part));
        edit("own.json", keys[i], json_string("another"));
        assert_false(knows("own.json", &part));
    }
    learn_in("own.json", &part, &c.list[1]);
    conv_strategy odd = c.list[0];
    odd.value[0] = -7;
    learn_in("own.json", &part, &odd);
    assert_false(knows("own.json", &part));
}

static void damaged_files(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "[1]",
                                        "{\"sepbench\": \"run\"}",
                                        "{\"sepbench\": \"wisdom\", \"strategies\": 3, \"layers\": {}}",
                                        ("{\"sepbench\": \"wisdom\", \"layers\": {}, "
                                         "\"strategies\": {\"a\": {\"ns\": 1}}}")};
    char path[4400], folder[4096], output[512];
    atomic_part part;
    conv_candidates c;
    bool has_part = some_part(&part, &c);
    assert_true(machine_cache_dir(folder, sizeof folder));
    snprintf(path, sizeof path, "%s/wisdom-%s.json", folder, cpu_isa_name(cpu_allowed()));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const strategy_options o = {.file = "own.json"};
        conv_error err = {""};
        write_text("own.json", texts[i]);
        assert_null(wisdom_open(&o, &err));
        assert_non_null(strstr(err.text, "own.json"));
        write_text(path, texts[i]);
        if (!has_part) continue;
        assert_false(knows(NULL, &part));
        learn_in(NULL, &part, &c.list[1]);
        assert_true(knows(NULL, &part));
    }
    assert_int_equal(run_shell(output, sizeof output, "%s verify mb1ic3ih4oc3kh1 --wisdom own.json 2>&1",
                               getenv("SEPBENCH")),
                     2);
    assert_non_null(strstr(output, "own.json"));
    assert_ptr_equal(strchr(output, '\n') + 1, output + strlen(output));
}

/* ---- the command line */

static const char *const problem = "pointwise:mb1ic64ih14oc64kh1";

static json_t *run_of(const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/run.json", folder);
    json_t *run = json_load_file(path, 0, NULL);
    assert_non_null(run);
    return run;
}

static record_run bench(const char *folder, const char *impl, int threads, const char *words)
{
    char output[4096];
    record_run run;
    conv_error err;
    int code =
        run_shell(output, sizeof output,
                  "%s bench %s --impl %s --pass backward_weights --threads %d --repetitions 3 --min-time "
                  "0.001 --budget 20 --out %s %s 2>&1",
                  getenv("SEPBENCH"), problem, impl, threads, folder, words);
    if (code != 0 && code != 4) fail_msg("exit %d: %s", code, output);
    if (!record_load(folder, &run, &err)) fail_msg("%s", err.text);
    assert_int_equal(run.count, 1);
    return run;
}

static void strategies_by_number(void **state)
{
    atomic_part part;
    conv_candidates c;
    char text[CONV_STRATEGY_TEXT], said[CONV_STRATEGY_TEXT + 16], repro[CASE_NAME_MAX + 128], output[4096];
    if (!some_part(&part, &c)) skip();
    record_run run = bench("second", part.impl->name, THREADS, "--strategy 1");
    snprintf(said, sizeof said, "1: %s", strategy_text(c.choices, &c.list[1], text, sizeof text));
    assert_int_equal(run.rows[0].status, CASE_OK);
    assert_string_equal(run.rows[0].strategy, said);
    assert_true(isnan(run.rows[0].model_ns));
    assert_non_null(strstr(record_repro(&run.rows[0], repro, sizeof repro), " --strategy 1"));
    record_free(&run);
    run = bench("model", part.impl->name, THREADS, "--strategy model");
    snprintf(said, sizeof said, "model: %s", strategy_text(c.choices, &c.list[0], text, sizeof text));
    assert_string_equal(run.rows[0].strategy, said);
    record_free(&run);
    run = bench("none", "naive", THREADS, "--strategy 1");
    assert_int_equal(run.rows[0].status, CASE_REFUSED);
    assert_non_null(strstr(run.rows[0].reason, "--strategy 1"));
    record_free(&run);
    assert_int_equal(
        run_shell(output, sizeof output, "%s bench %s --strategy 8 2>&1", getenv("SEPBENCH"), problem), 2);
    assert_int_equal(run_shell(output, sizeof output, "%s list --strategies %s --impl %s", getenv("SEPBENCH"),
                               problem, part.impl->name),
                     0);
    assert_non_null(strstr(output, text));
    assert_non_null(strstr(output, "pick"));
}

/* What a process of its own has found, in a file of its own; false: it had not the time, and says so. */
static bool found_afresh(const atomic_part *part, const conv_candidates *c, int number, wisdom_entry *found)
{
    char folder[32], words[64], file[32], name[PART_NAME_MAX];
    snprintf(folder, sizeof folder, "fresh-%d", number);
    snprintf(file, sizeof file, "fresh-%d.json", number);
    snprintf(words, sizeof words, "--wisdom %s", file);
    record_run run = bench(folder, part->impl->name, 1, words);
    bool held = run.rows[0].strategy[0] != '\0' && run.rows[0].model_ns > 0;
    if (!held) assert_non_null(strstr(run.rows[0].strategy, "(the model's pick)"));
    record_free(&run);
    if (!held) return false;
    json_t *own = json_load_file(file, 0, NULL), *facts = run_of(folder);
    json_t *entry = json_object_get(json_object_get(own, "strategies"), part_name(part, 1, name));
    assert_true(strategy_read(c, json_object_get(entry, "strategy"), &found->strategy));
    found->ns = json_number_value(json_object_get(entry, "ns"));
    found->model_ns = json_number_value(json_object_get(entry, "model_ns"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(facts, "strategies"), "chosen")), 1);
    json_decref(own);
    json_decref(facts);
    return true;
}

/* The same strategy, or as good a one: by how each stands to the cost model's pick, which its contest measured in turns
 * with it, since of two processes each has the machine at another time. */
static bool as_good(const wisdom_entry *a, const wisdom_entry *b)
{
    return fabs(log(a->ns / a->model_ns) - log(b->ns / b->model_ns)) <= 0.25;
}

typedef enum { AGREED, DIFFERED, HAD_NO_TIME } answer;

static answer three_find(const atomic_part *part, const conv_candidates *c, int number)
{
    wisdom_entry found[3];
    for (int i = 0; i < 3; i++)
        if (!found_afresh(part, c, 3 * number + i, &found[i])) return HAD_NO_TIME;
    for (int i = 1; i < 3; i++)
        if (!strategy_same(c->choices, &found[0].strategy, &found[i].strategy) &&
            !as_good(&found[0], &found[i]))
            return DIFFERED;
    return AGREED;
}

/* A contest has twice the time that it needs alone on the machine. Where others have most of that, none is held, which
 * is no fault and nothing to judge. */
static void fresh_processes_agree(void **state)
{
    atomic_part part;
    conv_candidates c;
    bool differed = false;
    if (!some_part(&part, &c)) skip();
    part_candidates(&part, 1, &c); /* threads that wait for each other show who else is here */
    for (int i = 0; i < 5; i++) {
        answer a = three_find(&part, &c, i);
        if (a == AGREED) return;
        differed = differed || a == DIFFERED;
    }
    if (differed) fail_msg("fresh processes found strategies of different speed, as often as all had the time");
    print_message("# fresh processes not compared: the machine is too busy for a contest\n");
    skip();
}

static void a_continued_row_keeps_its_own(void **state)
{
    atomic_part part;
    conv_candidates c;
    conv_strategy s;
    if (!some_part(&part, &c)) skip();
    learn_in("own.json", &part, &c.list[0]);
    wisdom *w = opened(STRATEGY_MEASURED, 0, "own.json");
    record_row row = {.problem = part.problem, .pass = part.pass, .threads = THREADS};
    record_clear_measured(&row);
    snprintf(row.impl, sizeof row.impl, "%s", part.impl->name);
    strategy_text(c.choices, &c.list[1], row.strategy, sizeof row.strategy);
    wisdom_adopt(w, &row);
    assert_true(in_book(w, &part, &s) && strategy_same(c.choices, &s, &c.list[1]));
    wisdom_save(w);
    wisdom_close(w);
    w = opened(STRATEGY_MEASURED, 0, "own.json");
    assert_true(in_book(w, &part, &s) && strategy_same(c.choices, &s, &c.list[0]));
    wisdom_close(w);
}

/* ---- training */

static char data[4096];

static void train(const char *words)
{
    char output[4096];
    int code = run_shell(output, sizeof output,
                         "%s train --data %s --model conv --impl avx512,avx2 --batch-size 60 --quiet %s 2>&1",
                         getenv("SEPBENCH"), data, words);
    if (code != 0) fail_msg("exit %d: %s", code, output);
}

/* What the checkpoint says holds, not what the wisdom says now. */
static void resume_keeps_strategies(void **state)
{
    atomic_part part;
    conv_candidates c;
    char output[256];
    if (!some_part(&part, &c)) skip();
    train("--epochs 2 --strategy 1 --out straight");
    train("--epochs 1 --strategy 1 --out parts");
    train("--epochs 2 --strategy 2 --out parts --resume");
    assert_int_equal(run_shell(output, sizeof output,
                               "cmp straight/conv/run-1/weights.npz parts/conv/run-1/weights.npz 2>&1"),
                     0);
    train("--epochs 2 --strategy 2 --out other");
    json_t *straight = run_of("straight"), *parts = run_of("parts"), *other = run_of("other");
    assert_true(json_equal(json_object_get(straight, "chosen"), json_object_get(parts, "chosen")));
    assert_false(json_equal(json_object_get(straight, "chosen"), json_object_get(other, "chosen")));
    json_decref(straight);
    json_decref(parts);
    json_decref(other);
}

/* Of one number of threads and another; and when contests would have to be held again, as after those that had no
 * time: the file then has its choices for layers, but no strategies, and gets none. */
static void trained_by_one_choice(void **state)
{
    atomic_part part;
    conv_candidates c;
    char output[256];
    if (!some_part(&part, &c)) skip();
    train("--epochs 1 --threads 1 --out t1 --wisdom w.json");
    json_t *file = json_load_file("w.json", 0, NULL);
    assert_true(json_object_size(json_object_get(file, "strategies")) > 0);
    json_object_set_new(file, "strategies", json_object());
    assert_int_equal(json_dump_file(file, "w.json", 0), 0);
    json_decref(file);
    train("--epochs 1 --threads 2 --out t2 --wisdom w.json");
    assert_int_equal(
        run_shell(output, sizeof output, "cmp t1/conv/run-1/weights.npz t2/conv/run-1/weights.npz 2>&1"), 0);
    file = json_load_file("w.json", 0, NULL);
    assert_int_equal(json_object_size(json_object_get(file, "strategies")), 0);
    json_decref(file);
}

static int set_up(void **state)
{
    char absolute[4096], here[4096];
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", absolute) == NULL) return -1;
    setenv("SEPBENCH", absolute, 1);
    test_path("data/mnist", here, sizeof here);
    if (realpath(here, data) == NULL || enter_folder(state) != 0) return -1;
    return getcwd(here, sizeof here) == NULL ? -1 : setenv("XDG_CACHE_HOME", here, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_fastest_wins, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(noise_flips_nothing, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(wrong_is_an_error, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(short_of_time, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(round_trip, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(strangers_are_ignored, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(damaged_files, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(strategies_by_number, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(fresh_processes_agree, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(a_continued_row_keeps_its_own, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(resume_keeps_strategies, set_up, leave_folder),
        cmocka_unit_test_setup_teardown(trained_by_one_choice, set_up, leave_folder),
    };
    return cmocka_run_group_tests_name("contest", tests, NULL, NULL);
}
