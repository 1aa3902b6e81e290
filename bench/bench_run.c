/* The run of `sepbench bench`: its context and ceilings before the visits, its files and exit code after them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/build_info.h"
#include "../harness/cli.h"
#include "../harness/output.h"
#include "../harness/utc.h"
#include "../harness/words.h"
#include "../harness/worker/engines.h"
#include "bench_internal.h"
#include "gbench.h"

double bench_loop(void *unused, const char *name, const measure_loop *loop, int64_t iterations, int repetition)
{
    (void)unused;
    return gbench_run(name, loop->once, loop->evict, loop->ctx, iterations, repetition);
}

void bench_note(void *unused, const char *name, double ns, int64_t iterations, int repetition)
{
    (void)unused;
    gbench_note(name, ns, iterations, repetition);
}

/* ---- context */

static void warn(bench *b, const char *text)
{
    json_array_append_new(json_object_get(b->run, "warnings"), json_string(text));
    cli_warning("%s", text);
}

void bench_bind_pool(bench *b, int threads)
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

const machine_ceilings *bench_ceilings_of(const bench *b, int threads)
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
        if (bench_ceilings_of(b, threads) != NULL || b->ceiling_count == MOST_THREAD_COUNTS) continue;
        progress_update(&b->progress, 0, -1, "measuring the machine's ceilings");
        bench_bind_pool(b, threads);
        if (b->no_pool[0] != '\0') continue;
        machine_ceilings *c = &b->ceilings[b->ceiling_count++];
        *c = machine_measure_ceilings(threads, fresh);
        c->threads = threads;
        if (!wisdom_by_number(b->wisdom)) machine_use_ceilings(c);
        json_array_append_new(all, machine_ceilings_json(c));
    }
    json_object_set_new(b->run, "ceilings", all);
    const machine_ceilings *most = bench_ceilings_of(b, b->most_threads);
    if (most != NULL) /* where readers look for the machine */
        json_object_set_new(json_object_get(b->run, "machine"), "ceilings", machine_ceilings_json(most));
}

static json_t *describe(const bench_arguments *a, const selection *cases)
{
    char started[32];
    json_t *words = json_array();
    for (int i = 1; i < a->word_count; i++) json_array_append_new(words, json_string(a->words[i]));
    json_t *run = json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:{s:i, s:f, s:f, s:b, s:I}, s:s, s:[]}", "kind",
                            record_kind_name(a->kind), "status", "running", "started",
                            utc_text(time(NULL), UTC_STAMP, started, sizeof started), "commit", build_commit(),
                            "dirty", (int)build_dirty(), "arguments", words, "measure", "repetitions",
                            a->measure.repetitions, "min_time_seconds", a->measure.min_time, "budget_seconds",
                            a->budget, "equal_shares", (int)a->measure.equal, "seed",
                            (json_int_t)a->measure.seed, "google_benchmark", gbench_version(), "warnings");
    if (json_object_size(cases->networks) > 0) json_object_set(run, "networks", cases->networks);
    if (a->about != NULL) json_object_set(run, record_kind_name(a->kind), a->about);
    if (a->continued != NULL) { /* what the earlier sessions said stays */
        const json_t *before = a->continued->run;
        json_object_set(run, "started", json_object_get(before, "started"));
        json_array_extend(json_object_get(run, "warnings"), json_object_get(before, "warnings"));
    }
    return run;
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
             "%lld of %lld repetitions were disturbed by others on the same cores and left out where enough "
             "others were",
             (long long)s.disturbed, (long long)s.samples);
    warn(b, text);
}

/* How many parts are planned by the model's pick for lack of time. */
static void note_strategies(bench *b)
{
    const chooser_counts s = b->strategies;
    char word[WISDOM_WORD];
    int unknown = s.parts - s.known - s.chosen;
    json_object_set_new(b->run, "strategies",
                        json_pack("{s:s, s:i, s:i, s:i, s:i, s:f}", "strategy", wisdom_word(b->wisdom, word),
                                  "parts", s.parts, "known_before", s.known, "chosen", s.chosen, "not_chosen",
                                  unknown, "seconds", s.seconds));
    if (unknown > 0 && !cli_interrupted())
        printf("strategies: no time to choose %d of %d: there the cost model's pick was used\n", unknown,
               s.parts);
}

/* Which engines --engine named, what their workers have said so far, and what they said in earlier sessions. */
static void note_engines(bench *b)
{
    const json_t *before = b->a->continued != NULL ? b->a->continued->run : NULL;
    json_t *versions = json_object_get(json_object_get(b->run, "machine"), "versions");
    json_t *engines = json_object(), *now = engines_json();
    json_object_update_recursive(engines, json_object_get(before, "engines"));
    json_object_update_recursive(engines, now);
    if (json_object_size(engines) > 0) json_object_set(b->run, "engines", engines);
    json_decref(engines);
    json_decref(now);
    engines_versions(versions);
    json_object_update_missing(versions, json_object_get(json_object_get(before, "machine"), "versions"));
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
            "sepbench: interrupted after %zu of %zu cases; resume with: sepbench %s --resume --out %s\n",
            b->done, b->cases->count, record_kind_name(b->a->kind), dir != NULL ? dir : "DIR");
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
    note_strategies(b);
    note_engines(b);
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
    int code = EXIT_FINE;
    if (b->a->summary != NULL)
        code = b->a->summary(&whole);
    else
        bench_summary(stdout, whole.rows, whole.count);
    printf("%s: %zu cases: %zu ok, %zu refused, %zu skipped, %zu wrong, %zu failed\n", record_dir(b->store),
           whole.count, of_status[CASE_OK], of_status[CASE_REFUSED], of_status[CASE_SKIPPED],
           of_status[CASE_WRONG], of_status[CASE_FAILED]);
    record_free(&whole);
    if (of_status[CASE_WRONG] > 0) return EXIT_WRONG;
    if (of_status[CASE_OK] > 0) return code;
    cli_error("nothing was measured: column 'reason' of %s/results.csv says why", record_dir(b->store));
    return EXIT_INVALID;
}

static bool open_store(bench *b)
{
    conv_error err = {""};
    json_object_set_new(b->run, "machine", machine_json(b->most_threads, NULL));
    note_engines(b); /* already here, as the report of a killed run has to tell second copies from our own */
    b->store = record_open(b->a->out, b->a->resume, b->run, &err);
    if (b->store == NULL) cli_error("%s", err.text);
    return b->store != NULL;
}

int bench_run(const bench_arguments *a, selection *cases, wisdom *w)
{
    bench b = {.a = a, .cases = cases, .run = describe(a, cases), .wisdom = w, .most_threads = 1};
    int code = EXIT_USAGE;
    for (size_t i = 0; i < cases->count; i++)
        if (cases->rows[i].threads > b.most_threads) b.most_threads = cases->rows[i].threads;
    bench_bind_pool(&b, b.most_threads);
    if (!open_store(&b)) goto done;

    cli_announce_stop();
    cli_catch_signals();
    progress_start(&b.progress, cases->count);
    measure_ceilings(&b);
    if (record_update_run(b.store, b.run, &b.write_error)) bench_visits(&b);
    code = finish(&b);
    if (code == EXIT_FINE) code = conclude(&b);
done:
    engines_stop();
    machine_use_ceilings(NULL);
    record_close(b.store);
    json_decref(b.run);
    return code;
}
