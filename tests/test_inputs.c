/* Every command against everything that is no input for it: one line on stderr, exit 2, nothing on stdout. The
 * commands and options are the program's own, from its help. SEPBENCH names the program (default build/sepbench). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "folder.h"
#include "made_run.h"
#include "unit.h"

enum { COLUMNS = 80, MOST_OPTIONS = 64, MOST_TEXT = 1 << 16 };

static char program[4096];

static const char *const commands[] = {
#define COMMAND(name, summary) #name,
#include "../bench/commands.def"
#undef COMMAND
};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* Runs "COMMAND WORDS" in a shell, within a minute. */
static void expect(int code, const char *words)
{
    static char text[MOST_TEXT];
    const int got = run_shell(text, sizeof text, "timeout 60 '%s' %s 2>err </dev/null", program, words);
    if (got != code) fail_msg("%s: exit %d, not %d: %s", words, got, code, text);
    if (*text != '\0') fail_msg("%s: on stdout: %.200s", words, text);
    read_text("err", text, sizeof text);
    const char *feed = strchr(text, '\n');
    if (feed == NULL || feed[1] != '\0' || strncmp(text, "sepbench", 8) != 0)
        fail_msg("%s: not one line of sepbench: '%.400s'", words, text);
}

static void refuse(const char *format, const char *input)
{
    char words[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(words, sizeof words, format, input);
#pragma GCC diagnostic pop
    expect(EXIT_USAGE, words);
}

/* ---- the command line */

static void read_help(const char *command, char *text)
{
    const int code = run_shell(text, MOST_TEXT, "'%s' %s --help", program, command);
    if (code != EXIT_FINE || *text == '\0') fail_msg("%s --help: exit %d", command, code);
}

/* The next "--NAME=VALUE" of a help text at or behind `at`; NULL: there is none. */
static const char *next_option(const char *at, char name[32], char value[32])
{
    while ((at = strstr(at, "--")) != NULL) {
        at += 2;
        if (sscanf(at, "%31[a-z0-9-]=%31[A-Za-z,.:=[]", name, value) == 2) return at;
    }
    return NULL;
}

static bool is_number(const char *value)
{
    static const char *const numbers[] = {"SECONDS", "PERCENT"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(value, numbers[i]) == 0) return true;
    return strcmp(value, "N") == 0;
}

static void test_options(void **state)
{
    static const char *const bad[] = {
        "99999999999999999999", "1e999", "nan", "inf", "-1", "0x10", "1,2x", "''", "' 1'"};
    static char help[MOST_TEXT];
    size_t numbers = 0, options = 0;
    for (int c = 0; c < COMMANDS; c++) {
        char name[32], value[32], words[128];
        read_help(commands[c], help);
        snprintf(words, sizeof words, "%s --nonsense", commands[c]);
        expect(EXIT_USAGE, words);
        for (const char *at = help; (at = next_option(at, name, value)) != NULL; options++) {
            snprintf(words, sizeof words, "%s --%s", commands[c], name);
            expect(EXIT_USAGE, words);
            for (size_t i = 0; is_number(value) && i < sizeof bad / sizeof *bad; i++, numbers++) {
                snprintf(words, sizeof words, "%s --%s %s", commands[c], name, bad[i]);
                expect(EXIT_USAGE, words);
            }
        }
    }
    print_message("%zu options without their value, %zu bad numbers\n", options, numbers);
    assert_true(options > 60 && numbers > 100);
}

static void test_words(void **state)
{
    static const char *const words[] = {
        "nosuch",
        "apply",
        "explain",
        "explain a b",
        "compare",
        "compare a",
        "advise",
        "advise a b",
        "export",
        "train a",
        "export --format nosuch",
        "export a b --format bmf",
        "machine a",
        "list a",
        "worker a",
        "report --note x",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) expect(EXIT_USAGE, words[i]);
}

static void test_help(void **state)
{
    static char help[MOST_TEXT];
    for (int c = -1; c < COMMANDS; c++) {
        read_help(c < 0 ? "" : commands[c], help);
        for (char *line = help, *end; *line != '\0'; line = end + 1) {
            assert_non_null(end = strchr(line, '\n'));
            if (end - line > COLUMNS) fail_msg("%td columns: %.*s", end - line, (int)(end - line), line);
        }
    }
}

/* ---- what is read */

/* Things that are no file, no folder or hold nothing of what they are named for. */
static const char make_bad_files[] =
    "mkdir folder; : >empty; printf '\\1\\2\\377PK' >junk; echo '{\"a\": 1}' | gzip | head -c 15 >cut.gz; ln "
    "-s loop loop;"
    "cp empty empty.json; cp junk junk.json; cp cut.gz cut.keras; cp junk junk.onnx; mkdir folder.onnx "
    "folder.json;"
    "mkdir no_json torn_json array json_is_folder no_csv empty_csv csv_is_folder nan;"
    "for d in no_json torn_json array json_is_folder nan; do cp run/results.csv $d; done;"
    "for d in no_csv empty_csv csv_is_folder nan; do cp run/run.json $d; done;"
    "head -c 50 run/run.json >torn_json/run.json; echo '[1]' >array/run.json; mkdir json_is_folder/run.json;"
    ": >empty_csv/results.csv; mkdir csv_is_folder/results.csv; sed -i '2s/,ok,/,nan,/' nan/results.csv;"
    "mkdir -p training advice schema; echo '{\"schema\": 1, \"kind\": \"training\"}' >training/run.json; cp "
    "run/* advice;"
    "sed -i 's/\"schema\"/\"kind\": \"advise\", \"schema\"/' advice/run.json; cp run/* schema;"
    "sed -i 's/\"schema\": 1/\"schema\": 7/' schema/run.json";

static void make_files(void)
{
    char output[256];
    for (int i = 0; i < 2; i++) {
        made m = {0};
        made_add(&m, "mb1ic32ih28oc32kh3ph1", CONV_FORWARD, "avx2", 1e6, 9);
        made_store(&m, ".", i == 0 ? "run" : "other");
    }
    const int code = run_shell(output, sizeof output, "%s", make_bad_files);
    if (code != 0) fail_msg("%s", output);
}

#define EACH(list, i)                                                                                          \
    size_t i = 0;                                                                                              \
    i < sizeof(list) / sizeof *(list);                                                                         \
    i++

static void test_runs(void **state)
{
    static const char *const bad[] = {
        "nowhere",        "empty",  "folder",    "junk",          "loop", "no_json",  "torn_json", "array",
        "json_is_folder", "no_csv", "empty_csv", "csv_is_folder", "nan",  "training", "schema",    "''"};
    static const char *const readers[] = {"trend %s --out x",        "trend run %s --out x",
                                          "export %s --format bmf",  "export %s --format googlebenchmark",
                                          "compare run %s",          "explain --waterfall --run %s",
                                          "bench --resume --out %s", "advise conv --resume --out %s",
                                          "report %s --out x"};
    make_files();
    for (EACH(bad, i))
        for (EACH(readers, k)) refuse(readers[k], bad[i]);
    for (EACH(readers, k)) /* explain and report read it */
        if (strncmp(readers[k], "explain", 7) != 0 && strncmp(readers[k], "report", 6) != 0)
            refuse(readers[k], "advice");
    assert_int_not_equal(access("x", F_OK), 0);
}

/* A base that is not there is missing; what is there and cannot be read is as for every command. */
static void test_bases(void **state)
{
    static const char *const missing[] = {"nowhere", "folder", "no_json"};
    static const char *const bad[] = {"torn_json", "array",    "no_csv", "empty_csv",
                                      "nan",       "training", "advice", "schema"};
    char words[64];
    make_files();
    for (EACH(bad, i)) refuse("compare %s run", bad[i]);
    for (EACH(missing, i)) {
        snprintf(words, sizeof words, "compare %s run", missing[i]);
        expect(EXIT_BASELINE, words);
    }
}

static void test_files(void **state)
{
    static const char *const bad[] = {"nowhere",   "empty",     "folder",      "junk",         "cut.gz",
                                      "loop",      "''",        "empty.json",  "junk.json",    "folder.json",
                                      "cut.keras", "junk.onnx", "folder.onnx", "nowhere.onnx", "nowhere.keras"};
    static const char *const readers[] = {"advise %s",
                                          "advise --train %s",
                                          "train --quiet --model %s",
                                          "train --quiet --data %s",
                                          "train --quiet --weights-in %s",
                                          "bench --shapes %s",
                                          "verify --shapes %s",
                                          "apply mb1ic1ih4oc1kh3 --impl naive --src %s --weights junk --dst x"};
    make_files();
    for (EACH(bad, i))
        for (EACH(readers, k)) refuse(readers[k], bad[i]);
    assert_int_not_equal(access("results", F_OK), 0);
    assert_int_not_equal(access("x", F_OK), 0);
}

int main(void)
{
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", program) == NULL) {
        fprintf(stderr, "test_inputs: %s: build it first\n", given != NULL ? given : "build/sepbench");
        return 1;
    }
    unsetenv("SEPBENCH_DATA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_options, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_words, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_help, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_runs, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_bases, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_files, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests_name("inputs", tests, NULL, NULL);
}
