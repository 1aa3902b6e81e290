/* Runs of several machines side by side: the sentence, what is left out and why, and that no file of a stranger
 * gets farther than the page's text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/sides/sides.h"
#include "folder.h"
#include "made_run.h"
#include "unit.h"

static char program[4096];

/* ---- machines */

static json_t *machine(const char *host)
{
    return json_pack("{s:s, s:s, s:s, s:{s:i}, s:{s:s, s:s}, s:{s:s}}", "cpu", "Example CPU", "host", host,
                     "isa_allowed", "avx512", "caches", "l2", 1048576, "build", "compiler", "gcc 12", "flags",
                     "-O3", "versions", "onednn", "oneDNN 3.2");
}

/* Separable becomes slower than dense there; 0: everywhere. */
static void lose(made *m, conv_pass pass, int64_t channels)
{
    for (size_t i = 0; i < m->count; i++) {
        record_row *row = &m->rows[i];
        if (row->problem.variant != CONV_SEPARABLE || row->pass != pass) continue;
        if (channels != 0 && row->problem.ic != channels) continue;
        row->median_ns *= 100, row->ci95_low_ns *= 100, row->ci95_high_ns *= 100;
    }
}

static void leave_out(made *m, int64_t channels)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->rows[i].problem.ic != channels) m->rows[kept++] = m->rows[i];
    m->count = kept;
}

static void store(made *m, const char *host) { made_store_on(m, host, machine(host)); }

/* The run of a machine on which separable wins. */
static void store_winner(const char *host)
{
    made m = made_sweep(1, 9);
    store(&m, host);
}

/* On which it does not, below 64 channels backward. */
static void store_loser(const char *host)
{
    made m = made_sweep(1, 9);
    lose(&m, CONV_BACKWARD, 32);
    store(&m, host);
}

/* `from` in the file becomes `to`, once. */
static void change(const char *path, const char *from, const char *to)
{
    static char text[1 << 22], changed[1 << 22];
    read_text(path, text, sizeof text);
    char *at = strstr(text, from);
    if (at == NULL) fail_msg("%s does not hold '%s'", path, from);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_text(path, changed);
}

static void set_run_id(const char *dir, const char *id)
{
    char path[64];
    snprintf(path, sizeof path, "%s/run.json", dir);
    json_t *run = json_load_file(path, 0, NULL);
    json_object_set_new(run, "run_id", json_string(id));
    assert_int_equal(json_dump_file(run, path, 0), 0);
    json_decref(run);
}

/* ---- looking */

/* `sepbench report WORDS`; what it prints goes to out.txt and err.txt. */
static int report(const char *words)
{
    char text[64];
    return run_shell(text, sizeof text, "'%s' report %s >out.txt 2>err.txt", program, words);
}

static void expect(const char *path, const char *words, bool there)
{
    static char text[1 << 22];
    read_text(path, text, sizeof text);
    if ((strstr(text, words) != NULL) != there)
        fail_msg("%s %s '%s': %.600s", path, there ? "does not say" : "says", words, text);
}

/* A file as one line, as words are wrapped on the terminal. */
static void expect_words(const char *path, const char *words)
{
    static char text[1 << 20], joined[1 << 20];
    size_t used = 0;
    read_text(path, text, sizeof text);
    for (const char *c = text; *c != '\0'; c++) {
        char next = *c == '\n' ? ' ' : *c;
        if (next != ' ' || used == 0 || joined[used - 1] != ' ') joined[used++] = next;
    }
    joined[used] = '\0';
    if (strstr(joined, words) == NULL) fail_msg("%s does not say '%s': %s", path, words, joined);
}

static void expect_refused(const char *words, int code, const char *why)
{
    static char text[1 << 16];
    assert_int_equal(report(words), code);
    read_text("err.txt", text, sizeof text);
    if (strstr(text, why) == NULL) fail_msg("'%s' is not why: %s", why, text);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    if (access("reports", F_OK) == 0) fail_msg("'%s' was refused, but a report is there", words);
}

/* ---- the sentence */

static void test_sentence(void **state)
{
    store_winner("node-a");
    store_winner("node-b");
    store_loser("node-c");
    assert_int_equal(report("node-a node-b node-c"), EXIT_FINE);
    const char *says = "Separable wins on 2 of 3 machines; on node-c not below 64 channels backward.";
    expect_words("out.txt", says);
    expect("reports/machines/index.html", says, true);
    expect("reports/machines/index.html", "from 64 channels on", true); /* as one run's verdict has it */
    expect("reports/machines/index.html", "{{", false);
    expect("reports/machines/index.html", "<th>Machine</th><th>Forward</th><th>Backward</th><th>Threads</th>",
           true);
    expect("reports/machines/index.html", "<tr><td>node-a</td><td class=\"main good\">5.2 to 6.6&times;", true);
    expect("reports/machines/machines-forward-1.svg", "node-c", true);
    expect("out.txt", "Example CPU", true);
    static char text[1 << 16];
    read_text("out.txt", text, sizeof text);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strncmp(line, "report: ", 8) != 0 && report_width(line, strlen(line)) > 80)
            fail_msg("more than 80 columns: %s", line);
}

/* Each machine's losses, and what is said of all. */
static void test_sentences(void **state)
{
    static const struct {
        struct {
            conv_pass pass;
            int64_t channels;
        } lost[3];
        int count;
        const char *words;
    } cases[] = {
        {{{0, 0}}, 0, "Separable wins on all 2 machines."},
        {{{CONV_FORWARD, 32}, {CONV_FORWARD, 64}}, 2, "on node-b not below 128 channels forward."},
        {{{CONV_FORWARD, 1024}, {CONV_FORWARD, 2048}}, 2, "on node-b not from 1024 channels on forward."},
        {{{CONV_BACKWARD, 64}, {CONV_BACKWARD, 256}}, 2, "on node-b not at 64 and 256 channels backward."},
        {{{CONV_FORWARD, 32}, {CONV_BACKWARD, 32}},
         2,
         "on node-b not below 64 channels, forward and backward."},
        {{{CONV_FORWARD, 32}, {CONV_BACKWARD, 2048}},
         2,
         "on node-b not below 64 channels forward and not from 2048 channels on backward."},
        {{{CONV_BACKWARD, 0}}, 1, "on node-b at no channel count backward."},
    };
    store_winner("node-a");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char output[64];
        made m = made_sweep(1, 9);
        for (int k = 0; k < cases[i].count; k++) lose(&m, cases[i].lost[k].pass, cases[i].lost[k].channels);
        run_shell(output, sizeof output, "rm -rf node-b");
        store(&m, "node-b");
        assert_int_equal(report("node-a node-b"), EXIT_FINE);
        expect_words("out.txt", cases[i].words);
    }
}

/* What is not determined is no loss, and is said. */
static void test_not_determined(void **state)
{
    store_winner("node-a");
    made m = made_sweep(1, 9);
    for (size_t i = 0; i < m.count; i++)
        if (m.rows[i].problem.ic == 64) m.rows[i].disturbed = 5;
    store(&m, "node-b");
    made none = made_sweep(1, 3); /* without intervals */
    store(&none, "node-c");
    assert_int_equal(report("node-a node-b node-c"), EXIT_FINE);
    expect_words("out.txt",
                 "Separable wins on 2 of 3 machines (on node-b as far as its run can tell); on node-c "
                 "nothing is determined.");
    expect_words("out.txt", "node-b: 2 of 14 comparisons are not determined: the machine was busy (2).");
    expect_words("out.txt", "node-c: 14 of 14 comparisons are not determined: too few repetitions (14).");
    none = made_sweep(1, 3);
    store(&none, "node-d");
    assert_int_equal(report("node-c node-d"), EXIT_FINE);
    expect_words("out.txt", "Nothing is determined on these 2 machines.");
}

/* Two runs of a machine have its time in their names. */
static void test_same_machine(void **state)
{
    store_winner("node-a");
    static const char *const ids[] = {"20260101T101500.000000Z-x", "20260102T101500.000000Z-x"};
    for (int i = 0; i < 2; i++) {
        made m = made_sweep(1, 9);
        made_store_on(&m, i == 0 ? "first" : "second", machine("node-b"));
        set_run_id(i == 0 ? "first" : "second", ids[i]);
    }
    assert_int_equal(report("node-a first second"), EXIT_FINE);
    expect_words("out.txt", "Separable wins in all 3 runs of 2 machines.");
    expect("out.txt", "node-b 01-01 10:15", true);
    expect("out.txt", "node-b 01-02 10:15", true);
    change("second/run.json", "avx512", "avx2"); /* a capped instruction set makes no other machine */
    assert_int_equal(report("node-a first second"), EXIT_FINE);
    expect_words("out.txt", "Separable wins in all 3 runs of 2 machines.");
    set_run_id("second", ids[0]); /* the folder was copied */
    assert_int_equal(report("node-a first second"), EXIT_FINE);
    expect_words("out.txt", "Separable wins on all 2 machines.");
    expect_words("out.txt", "second: left out: a copy of");
}

/* ---- what is left out */

static void test_left_out(void **state)
{
    char output[256];
    store_winner("node-a");
    store_loser("node-b");
    made m = made_sweep(1, 9);
    leave_out(&m, 2048);
    store(&m, "node-c");
    made other = {0};
    for (int channels = 32; channels <= 64; channels *= 2)
        for (int variant = 0; variant < CONV_VARIANT_COUNT; variant++) {
            char text[128];
            made_problem(variant, channels, 14, 1, text, sizeof text);
            made_add(&other, text, CONV_FORWARD, "avx2", 100, 9);
        }
    store(&other, "node-d");
    store_winner("node-e");
    change("node-e/run.json", "\"schema\": 1", "\"schema\": 7");
    run_shell(output, sizeof output, "mkdir train && touch train/runs.csv");
    assert_int_equal(report("node-a node-b node-c node-d node-e train node-a/"), EXIT_FINE);
    expect_words("out.txt", "Separable wins on 2 of 3 machines; on node-b not below 64 channels backward.");
    expect_words("out.txt",
                 "! node-c lacks 2 of 14 comparisons, which then count for none: 28x28, batch 1, 3x3 "
                 "kernel: forward at 2048, backward at 2048 channels.");
    expect_words("out.txt", "left out: another problem set, 2 comparisons of which the others share none.");
    expect_words("out.txt", "! node-e: left out: schema is 7: this program reads schema 1.");
    expect_words("out.txt", "! train: left out: a run of 'sepbench train': one of 'sepbench bench' is needed.");
    expect_words("out.txt", "! node-a/: given twice, counted once.");
    run_shell(output, sizeof output, "wc -l <reports/machines/machines.csv");
    assert_int_equal(atoi(output), 1 + 3 * 12);
    run_shell(output, sizeof output, "grep -c ',2048,2048,' reports/machines/machines.csv");
    assert_int_equal(atoi(output), 0);
}

/* What shares a little with the others would take most of the comparison away; with one other that is all. */
static void test_small_run(void **state)
{
    store_winner("node-a");
    store_winner("node-b");
    made m = made_sweep(1, 9);
    for (int channels = 64; channels <= 2048; channels *= 2) leave_out(&m, channels);
    store(&m, "node-c");
    assert_int_equal(report("node-a node-b node-c"), EXIT_FINE);
    expect_words("out.txt", "left out: another problem set, 2 comparisons of which the others share too few.");
    expect_words("out.txt", "Separable wins on all 2 machines.");
    expect("out.txt", " 7/7 ", true);
    assert_int_equal(report("node-a node-c"), EXIT_FINE);
    expect_words("out.txt", "node-c lacks 12 of 14 comparisons");
    expect("out.txt", " 1/1 ", true);
}

/* Machines of more and fewer cores are compared, each at the most threads that its run has. */
static void test_threads(void **state)
{
    char output[64];
    store_winner("node-a");
    made m = made_sweep(1, 9);
    const size_t count = m.count;
    m.rows = realloc(m.rows, 2 * count * sizeof *m.rows);
    assert_non_null(m.rows);
    for (size_t i = 0; i < count; i++) m.rows[i].threads = 1;
    lose(&m, CONV_FORWARD, 0);
    made most = made_sweep(1, 9);
    for (size_t i = 0; i < count; i++) {
        m.rows[m.count] = most.rows[i];
        m.rows[m.count++].threads = 16;
    }
    free(most.rows);
    store(&m, "node-b");
    assert_int_equal(report("node-a node-b"), EXIT_FINE);
    expect_words("out.txt", "Separable wins on all 2 machines.");
    run_shell(output, sizeof output, "grep -c '^node-b,.*,avx512,16,' reports/machines/machines.csv");
    assert_int_equal(atoi(output), 14);
}

static void test_refused(void **state)
{
    char output[64];
    store_winner("node-a");
    store_winner("node-b");
    store_winner("broken");
    change("broken/results.csv", ",avx2,", ",../x,");
    run_shell(output, sizeof output, "mkdir empty");
    made other = {0};
    made_add(&other, "dense:mb1ic8ih9oc8kh3ph1", CONV_FORWARD, "avx2", 100, 9);
    made_add(&other, "separable:mb1ic8ih9oc8kh3ph1", CONV_FORWARD, "avx2", 50, 9);
    store(&other, "other");
    expect_refused("node-a node-b broken", EXIT_USAGE, "broken/results.csv:");
    expect_refused("node-a empty node-b", EXIT_USAGE, "empty/run.json: No such file");
    expect_refused("node-a no-such-folder", EXIT_USAGE, "no-such-folder: No such file");
    expect_refused("node-a node-b --versus onednn", EXIT_USAGE, "--versus onednn: of one run at a time");
    expect_refused("node-a other", EXIT_BASELINE, "the runs are not comparable");
}

/* One run, even named twice, has the report that it had. */
static void test_one_run(void **state)
{
    store_winner("node-a");
    assert_int_equal(report("node-a node-a --out twice"), EXIT_FINE);
    expect("err.txt", "node-a: given twice, counted once", true);
    assert_int_equal(report("node-a --out once"), EXIT_FINE);
    expect("twice/index.html", "faster on this CPU?", true);
    char output[64];
    assert_int_equal(run_shell(output, sizeof output, "cmp once/index.html twice/index.html"), 0);
}

/* A fleet's call: folders, and what it says of a machine that has none. */
static void test_fleet(void **state)
{
    static const char *const runs[] = {"node-a", "node-b"}, *const notes[] = {"node-c: lost after 12 s."};
    store_winner("node-a");
    store_winner("node-b");
    assert_int_equal(sides_report(&(sides_request){runs, 2, notes, 1, "fleet"}), EXIT_FINE);
    expect("fleet/index.html", "node-c: lost after 12 s.", true);
    expect("fleet/index.html", "Separable wins on all 2 machines.", true);
    assert_int_equal(sides_report(&(sides_request){runs, 1, notes, 1, "alone"}), EXIT_FINE);
    expect("alone/index.html", "Separable wins on 1 of 1 machine.", true);
}

/* ---- figures */

/* A line of machines.csv has the figures of both rows and of the rule. */
static void test_figures(void **state)
{
    char line[1024], expected[1024];
    store_winner("node-a");
    store_loser("node-b");
    assert_int_equal(report("node-a node-b"), EXIT_FINE);
    record_run run;
    conv_error err;
    assert_true(record_load("node-b", &run, &err));
    const record_row *dense = record_find(&run, "dense/backward/avx512/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm");
    const record_row *separable =
        record_find(&run, "separable/backward/fused-avx512/mb1ic32ih28oc32kh3ph1/nhwc/t2/warm");
    assert_true(dense != NULL && separable != NULL);
    rule_ratio ratio = rule_compare(rule_time_of(dense), rule_time_of(separable));
    snprintf(expected, sizeof expected,
             "node-b,%s,Example CPU,avx512,2,\"28x28, batch 1, 3x3 kernel\",backward,32,32,1,avx512,%.9g,"
             "fused-avx512,%.9g,%.9g,%.9g,%.9g,slower\n",
             run.run_id, dense->median_ns, separable->median_ns, ratio.value, ratio.low, ratio.high);
    run_shell(line, sizeof line, "grep 'node-b.*,backward,32,' reports/machines/machines.csv");
    assert_string_equal(line, expected);
    run_shell(line, sizeof line, "grep -c . reports/machines/machines.csv");
    assert_int_equal(atoi(line), 1 + 2 * 14);
    run_shell(line, sizeof line, "grep '^L2,' reports/machines/differences.csv");
    assert_string_equal(line, "L2,0,node-a,1 MiB\nL2,0,node-b,1 MiB\n");
    run_shell(line, sizeof line, "grep '^Host,' reports/machines/differences.csv");
    assert_string_equal(line, "Host,1,node-a,node-a\nHost,1,node-b,node-b\n");
    record_free(&run);
}

/* ---- strangers */

static void test_hostile(void **state)
{
    enum { HUGE = 1 << 20, MANY = 5000 };
    static const char *const odd = "<script>`touch ran`</script>' & \"\n\033[2J\xe2\x80\xae ::error::forged";
    json_t *m = machine(odd), *versions = json_object_get(m, "versions");
    char *huge = malloc(HUGE), key[32], output[64];
    assert_non_null(huge);
    memset(huge, 'x', HUGE - 1);
    huge[HUGE - 1] = '\0';
    json_object_set_new(m, "cpu", json_string(odd));
    json_object_set_new(m, "kernel", json_string(huge));
    json_object_set_new(m, "isa_allowed", json_string(huge));
    json_object_set_new(m, "cores", json_string("<b>"));
    json_object_set_new(m, "memory_total", json_real(1e300));
    json_object_set_new(versions, odd, json_string(odd));
    json_object_set_new(versions, huge, json_string(huge));
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "library %d", i);
        json_object_set_new(versions, key, json_string("1"));
    }
    made rows = made_sweep(1, 9);
    made_store_on(&rows, "odd", m);
    store_winner("node-a");
    assert_int_equal(report("odd node-a"), EXIT_FINE);
    expect("reports/machines/index.html", "<script", false);
    expect("reports/machines/index.html", "\033", false);
    expect("reports/machines/index.html", "\xe2\x80\xae", false);
    expect("reports/machines/index.html", "<b>\"", false);
    expect("reports/machines/index.html", "Content-Security-Policy\" content=\"default-src 'none'", true);
    expect("reports/machines/machines-forward-1.svg", "<script", false);
    expect("out.txt", "\033", false);
    expect("out.txt", "::error", false);
    if (access("ran", F_OK) == 0 || access("reports/machines/ran", F_OK) == 0) fail_msg("a name was run");
    run_shell(output, sizeof output, "wc -c <reports/machines/index.html");
    if (atoi(output) > 300000) fail_msg("a page of %s bytes", output);
    run_shell(output, sizeof output, "wc -c <out.txt");
    if (atoi(output) > 20000) fail_msg("%s bytes on the terminal", output);
    free(huge);
}

/* More machines than a picture has lines; more than there may be. */
static void test_many(void **state)
{
    static char words[4096];
    size_t used = 0;
    for (int i = 0; i < 18; i++) {
        char host[48];
        made m = {0};
        snprintf(host, sizeof host, "%02d-a-rather-long-host-name", i);
        for (int channels = 32; channels <= 64; channels *= 2) {
            char text[128];
            made_problem(CONV_DENSE, channels, 28, 1, text, sizeof text);
            made_add(&m, text, CONV_FORWARD, "avx2", 100 + i, 9);
            made_problem(CONV_SEPARABLE, channels, 28, 1, text, sizeof text);
            made_add(&m, text, CONV_FORWARD, "avx2", 50, 9);
        }
        store(&m, host);
        used += (size_t)snprintf(words + used, sizeof words - used, " %s", host);
    }
    assert_int_equal(report(words), EXIT_FINE);
    expect_words("out.txt", "Separable wins on all 18 machines.");
    expect("out.txt", "…-long-host-name #1 ", true); /* what was cut is told apart by number */
    assert_int_equal(access("reports/machines/machines-forward-1-2.png", F_OK), 0);
    for (size_t i = 1; i < 4; i++) memcpy(words + used * i, words, used);
    assert_int_equal(report(words), EXIT_USAGE);
    expect("err.txt", "at most 64 RUNs", true);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", program) == NULL) {
        fprintf(stderr, "test_sides: %s: build it first\n", given != NULL ? given : "build/sepbench");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_sentence),     IN_FOLDER(test_sentences), IN_FOLDER(test_not_determined),
        IN_FOLDER(test_same_machine), IN_FOLDER(test_left_out),  IN_FOLDER(test_refused),
        IN_FOLDER(test_small_run),    IN_FOLDER(test_threads),   IN_FOLDER(test_one_run),
        IN_FOLDER(test_fleet),        IN_FOLDER(test_figures),   IN_FOLDER(test_hostile),
        IN_FOLDER(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
