/* The run of `sepbench bench`: ceilings, then group after group, each written as soon as it is measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/build_info.h"
#include "../harness/cli.h"
#include "../harness/output.h"
#include "../harness/progress.h"
#include "../harness/utc.h"
#include "../harness/words.h"
#include "bench.h"
#include "budget.h"
#include "gbench.h"

enum { MOST_THREAD_COUNTS = 64 };

typedef struct {
    const bench_arguments *a;
    selection *cases;
    record_store *store;
    json_t *run; /* run.json */
    machine_ceilings ceilings[MOST_THREAD_COUNTS];
    int ceiling_count, bound_threads, most_threads;
    char no_pool[128]; /* why the threads bound last are too few; empty when they are not */
    budget budget;
    progress progress;
    double seconds_left, timed_seconds; /* of the run; of this group's timed loops */
    size_t done;
    conv_error write_error; /* the first; empty when all is well */
} bench;

/* ---- context */

static void warn(bench *b, const char *text)
{
    json_array_append_new(json_object_get(b->run, "warnings"), json_string(text));
    cli_warning("%s", text);
}

static void bind_pool(bench *b, int threads)
{
    char why[sizeof b->no_pool], text[320];
    if (threads == b->bound_threads) return;
    threads_state state = machine_bind_threads(threads, why, sizeof why);
    if (state == THREADS_UNBOUND) {
        snprintf(text, sizeof text, "%d threads are not bound: %s", threads, why);
        warn(b, text);
    }
    snprintf(b->no_pool, sizeof b->no_pool, "%s", state == THREADS_FEWER ? why : "");
    b->bound_threads = threads;
}

static const machine_ceilings *ceilings_of(const bench *b, int threads)
{
    for (int i = 0; i < b->ceiling_count; i++)
        if (b->ceilings[i].threads == threads) return &b->ceilings[i];
    return NULL;
}

/* Ceilings for every thread count of the selection: measured in this run where the time is there, so that
 * percentages do not suffer from the machine's drift. */
static void measure_ceilings(bench *b)
{
    json_t *all = json_array();
    bool fresh = b->a->fresh || b->a->budget == 0 || b->a->budget >= 60;
    for (size_t i = 0; i < b->cases->count && !cli_interrupted(); i++) {
        int threads = b->cases->rows[i].threads;
        if (ceilings_of(b, threads) != NULL || b->ceiling_count == MOST_THREAD_COUNTS) continue;
        progress_update(&b->progress, 0, -1, "measuring the machine's ceilings");
        bind_pool(b, threads);
        if (b->no_pool[0] != '\0') continue;
        machine_ceilings *c = &b->ceilings[b->ceiling_count++];
        *c = machine_measure_ceilings(threads, fresh);
        c->threads = threads;
        json_array_append_new(all, machine_ceilings_json(c));
    }
    json_object_set_new(b->run, "ceilings", all);
    const machine_ceilings *most = ceilings_of(b, b->most_threads);
    if (most != NULL) /* where readers look for the machine */
        json_object_set_new(json_object_get(b->run, "machine"), "ceilings", machine_ceilings_json(most));
}

static json_t *describe(const bench_arguments *a)
{
    char started[32];
    json_t *words = json_array();
    for (int i = 1; i < a->word_count; i++) json_array_append_new(words, json_string(a->words[i]));
    json_t *run = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:o, s:{s:i, s:f, s:f, s:I}, s:s, s:[]}", "kind", "bench", "status",
        "running", "started", utc_text(time(NULL), UTC_STAMP, started, sizeof started), "commit",
        build_commit(), "dirty", (int)build_dirty(), "arguments", words, "measure", "repetitions",
        a->measure.repetitions, "min_time_seconds", a->measure.min_time, "budget_seconds", a->budget, "seed",
        (json_int_t)a->measure.seed, "google_benchmark", gbench_version(), "warnings");
    if (a->continued != NULL) { /* what the earlier sessions said stays */
        json_object_set(run, "started", json_object_get(a->continued, "started"));
        json_array_extend(json_object_get(run, "warnings"), json_object_get(a->continued, "warnings"));
    }
    return run;
}

/* ---- a group */

static double run_loop(void *runner, const char *name, const measure_loop *loop, int64_t iterations,
                       int repetition)
{
    (void)runner;
    return gbench_run(name, loop->once, loop->evict, loop->ctx, iterations, repetition);
}

static void on_sample(void *ctx, const record_row *row, int repetition, int64_t iterations, double ns)
{
    bench *b = ctx;
    char name[CASE_NAME_MAX];
    record_case_name(row, name);
    b->timed_seconds += 1e-9 * ns * (double)iterations;
    progress_update(&b->progress, b->done, b->seconds_left, name);
    if (b->write_error.text[0] == '\0')
        record_sample(b->store, name, repetition, iterations, ns, &b->write_error);
}

static void on_row(void *ctx, const record_row *row)
{
    bench *b = ctx;
    char name[CASE_NAME_MAX];
    b->done++;
    if (row->status == CASE_WRONG) {
        progress_clear(&b->progress);
        cli_warning("wrong result: %s: %s", record_case_name(row, name), row->reason);
    }
    if (b->write_error.text[0] == '\0') record_write(b->store, row, &b->write_error);
}

/* "dense/backward/mb1ic64ih28oc64kh3ph1/t2: onednn 156 us" */
static void describe_group(const record_row *rows, size_t count, char *text, size_t size)
{
    char name[CASE_NAME_MAX], time[16];
    const record_row *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (record_faster(&rows[i], best)) best = &rows[i];
    snprintf(text, size, "%s: %s%s%s", bench_group_name(rows, name), best ? best->impl : "no time",
             best ? " " : "", best ? bench_time(best->median_ns, time) : "");
}

/* Leaves out the cases that the run already has. */
static void drop_known(bench *b)
{
    size_t left = 0;
    char name[CASE_NAME_MAX];
    record_row *rows = b->cases->rows;
    for (size_t i = 0; i < b->cases->count; i++)
        if (!record_has(b->store, record_case_name(&rows[i], name))) rows[left++] = rows[i];
    b->cases->count = left;
}

static bool run_group(bench *b, size_t first, size_t count)
{
    record_row *rows = &b->cases->rows[first];
    measure_options options = b->a->measure;
    bool *skip = calloc(count, sizeof *skip);
    if (skip == NULL) return false;
    double left = b->a->budget > 0 ? b->a->started + 0.98 * b->a->budget - machine_now() : 0;
    if (b->a->budget > 0 && left < 0.001) left = 0.001;
    double granted = budget_group(&b->budget, first, count, left, skip, &b->seconds_left);
    for (size_t i = 0; i < count; i++)
        if (skip[i])
            snprintf(rows[i].reason, sizeof rows[i].reason,
                     "needs about %.3g s, beyond its share of the budget of %g s",
                     b->budget.cost[first + i].least, b->a->budget);
    options.budget = b->a->budget > 0 ? fmax(granted, 0.001) : 0;
    options.ceilings = ceilings_of(b, rows[0].threads);
    const measure_sink sink = {on_sample, on_row, b};
    bind_pool(b, rows[0].threads);
    for (size_t i = 0; i < count && b->no_pool[0] != '\0'; i++) {
        if (rows[i].reason[0] != '\0') continue;
        rows[i].status = CASE_FAILED;
        snprintf(rows[i].reason, sizeof rows[i].reason, "%s", b->no_pool);
    }
    double started = machine_now();
    b->timed_seconds = 0;
    measure_group(rows, (int)count, &options, run_loop, NULL, &sink);
    double seconds = machine_now() - started;
    budget_learn_overhead(&b->budget, first, count, skip, seconds, b->timed_seconds);
    b->seconds_left -= seconds;
    free(skip);
    return true;
}

static void run_groups(bench *b)
{
    for (size_t first = 0, end; first < b->cases->count; first = end) {
        if (cli_interrupted() || b->write_error.text[0] != '\0') return;
        end = select_group_end(b->cases, first);
        if (!run_group(b, first, end - first)) {
            conv_fail(&b->write_error, CONV_NO_MEMORY, "no memory for a group of %zu cases", end - first);
            return;
        }
        char text[CASE_NAME_MAX + 64];
        describe_group(&b->cases->rows[first], end - first, text, sizeof text);
        progress_step(&b->progress, b->done, b->seconds_left > 0 ? b->seconds_left : 0, text);
    }
}

/* ---- the end */

/* Somebody else on the cores is the commonest cause of a wrong conclusion,
 * so the run says how much there was. */
static void note_disturbance(bench *b)
{
    const measure_session s = measure_session_so_far();
    char text[160];
    json_object_set_new(
        b->run, "samples",
        json_pack("{s:I, s:I}", "taken", (json_int_t)s.samples, "disturbed", (json_int_t)s.disturbed));
    if (10 * s.disturbed <= s.samples) return;
    snprintf(text, sizeof text,
             "%lld of %lld repetitions waited for cores that other programs used: times are high",
             (long long)s.disturbed, (long long)s.samples);
    warn(b, text);
}

/* The repetitions for Google Benchmark's tools: in the run's folder, and where --benchmark_out wants them. */
static void write_samples(bench *b)
{
    char path[4200];
    conv_error *err = &b->write_error;
    char *json = gbench_json();
    snprintf(path, sizeof path, "%s/benchmark.json", record_dir(b->store));
    if (json == NULL) conv_fail(err, CONV_NO_MEMORY, "%.200s: no memory", path);
    if (json != NULL && output_write(path, OUTPUT_OWN, json, strlen(json), err) && gbench_out_file() != NULL)
        output_write(gbench_out_file(), OUTPUT_NAMED, json, strlen(json), err);
    free(json);
}

static int say_interrupted(const bench *b)
{
    char *dir = words_quote(record_dir(b->store));
    fprintf(stderr,
            "sepbench: interrupted after %zu of %zu cases; resume with: sepbench bench --resume --out %s\n",
            b->done, b->cases->count, dir != NULL ? dir : "DIR");
    free(dir);
    return cli_signal_exit_code();
}

static int finish(bench *b)
{
    char finished[32];
    conv_error *err = &b->write_error;
    bool stopped = err->text[0] != '\0';
    progress_clear(&b->progress);
    note_disturbance(b);
    json_object_set_new(b->run, "status",
                        json_string(stopped             ? "failed"
                                    : cli_interrupted() ? "interrupted"
                                                        : "complete"));
    json_object_set_new(b->run, "finished",
                        json_string(utc_text(time(NULL), UTC_STAMP, finished, sizeof finished)));
    if (!stopped) {
        write_samples(b);
        record_update_run(b->store, b->run, err);
    }
    if (err->text[0] != '\0') return cli_error("%s; what was measured before is kept", err->text);
    return cli_interrupted() ? say_interrupted(b) : EXIT_FINE;
}

/* The table, and the exit code that the whole run deserves, with the rows of earlier sessions. */
static int conclude(const bench *b)
{
    conv_error err;
    record_run whole;
    if (!record_load(record_dir(b->store), &whole, &err)) return cli_error("%s", err.text);
    size_t of_status[CASE_STATUS_COUNT] = {0};
    for (size_t i = 0; i < whole.count; i++) of_status[whole.rows[i].status]++;
    bench_summary(stdout, whole.rows, whole.count);
    printf("%s: %zu cases: %zu ok, %zu refused, %zu skipped, %zu wrong, %zu failed\n", record_dir(b->store),
           whole.count, of_status[CASE_OK], of_status[CASE_REFUSED], of_status[CASE_SKIPPED],
           of_status[CASE_WRONG], of_status[CASE_FAILED]);
    record_free(&whole);
    if (of_status[CASE_WRONG] > 0) return EXIT_WRONG;
    if (of_status[CASE_OK] > 0) return EXIT_FINE;
    cli_error("nothing was measured: column 'reason' of %s/results.csv says why", record_dir(b->store));
    return EXIT_INVALID;
}

static bool open_store(bench *b)
{
    conv_error err = {""};
    json_object_set_new(b->run, "machine", machine_json(b->most_threads, NULL));
    b->store = record_open(b->a->out, b->a->resume, b->run, &err);
    if (b->store == NULL) cli_error("%s", err.text);
    return b->store != NULL;
}

int bench_run(const bench_arguments *a, selection *cases)
{
    bench b = {.a = a, .cases = cases, .run = describe(a), .most_threads = 1};
    int code = EXIT_USAGE;
    for (size_t i = 0; i < cases->count; i++)
        if (cases->rows[i].threads > b.most_threads) b.most_threads = cases->rows[i].threads;
    bind_pool(&b, b.most_threads);
    if (!open_store(&b)) goto done;

    cli_announce_stop();
    cli_catch_signals();
    drop_known(&b);
    progress_start(&b.progress, cases->count);
    measure_ceilings(&b);
    if (!budget_open(&b.budget, cases, &a->measure, a->budget))
        conv_fail(&b.write_error, CONV_NO_MEMORY, "no memory for %zu cases", cases->count);
    else if (record_update_run(b.store, b.run, &b.write_error))
        run_groups(&b);
    code = finish(&b);
    if (code == EXIT_FINE) code = conclude(&b);
done:
    record_close(b.store);
    budget_close(&b.budget);
    json_decref(b.run);
    return code;
}
