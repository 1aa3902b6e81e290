/* `sepbench compare` as users and CIs drive it: what the gate says to its workers and in which order, exit
 * codes of everything that can be missing or wrong, stored runs. Workers are shell scripts here, so that times
 * are given and every refusal can be had; the real worker is spoken to as well. SEPBENCH names the program. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../bench/select.h"
#include "../harness/cli.h"
#include "../harness/worker/process.h"
#include "folder.h"
#include "unit.h"

enum { MOST_TEXT = 1 << 18 };

static char program[4096], home[4096];
static char out[MOST_TEXT], err[MOST_TEXT];

/* Runs a shell command line in which $S is the program; stdout and stderr go to `out` and `err`. */
static int run(const char *line)
{
    char command[16384];
    snprintf(command, sizeof command,
             "S='%s'; R='%s/harness/compare/regress.sh'; unset CI GITHUB_ACTIONS GITHUB_STEP_SUMMARY; { %s ; } "
             ">out.txt 2>err.txt",
             program, home, line);
    int status = system(command);
    read_text("out.txt", out, MOST_TEXT);
    read_text("err.txt", err, MOST_TEXT);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Exit code, and one line on stderr that holds the text. */
static void expect(const char *line, int code, const char *text)
{
    int got = run(line);
    if (got != code) fail_msg("%s: exit %d, expected %d: %s", line, got, code, err);
    const char *feed = strchr(err, '\n');
    if (feed == NULL || feed[1] != '\0') fail_msg("%s: not one line on stderr: '%s'", line, err);
    if (strstr(err, text) == NULL) fail_msg("%s: '%s' does not say '%s'", line, err, text);
}

/* ---- workers made of shell */

typedef struct {
    const char *name; /* of the file, and in log.txt */
    int protocol, schema, threads;
    const char *isa;
    int ns;             /* of one call, give or take half a percent */
    const char *verify; /* its reply; NULL: ok */
    const char *sample; /* a shell command instead of a time */
} fake;

static void make_fake(fake f)
{
    static char text[4096];
    snprintf(
        text, sizeof text,
        "#!/bin/sh\n"
        "[ \"$1\" = worker ] || exit 9\n"
        "echo '%s start' >>log.txt\n"
        "echo '{\"sepbench_worker\":%d,\"schema\":%d,\"threads\":%d,\"isa\":\"%s\",\"cpu\":\"c\",\"kernels\":"
        "\"%s\"}'\n"
        "n=$$\n"
        "while read -r line; do\n"
        "  case $line in\n"
        "  *'\"verify\"'*) echo '%s' ;;\n"
        "  *'\"prepare\"'*) echo '{\"status\":\"ok\",\"plan\":\"p\",\"call_ns\":100000}' ;;\n"
        "  *'\"sample\"'*) echo '%s sample' >>log.txt; n=$((n * 1103515245 %% 65536 + 12345)); %s\n"
        "     echo \"{\\\"status\\\":\\\"ok\\\",\\\"waited\\\":0,\\\"ns\\\":$((%d + n / 7 %% 100 * %d / "
        "10000))}\" ;;\n"
        "  *) echo '{\"status\":\"ok\"}' ;;\n"
        "  esac\n"
        "done\n",
        f.name, f.protocol ? f.protocol : 1, f.schema ? f.schema : 1, f.threads ? f.threads : 2,
        f.isa ? f.isa : "avx2", f.name, f.verify ? f.verify : "{\"status\":\"ok\"}", f.name,
        f.sample ? f.sample : ":", f.ns ? f.ns : 100000, f.ns ? f.ns : 100000);
    write_text(f.name, text);
}

#define ONE_CASE " mb1ic8ih8oc8kh3 --impl naive --pass forward --threads 1 --pairs 16 --confirm 16"
#define FOUR_CASES                                                                                             \
    " mb1ic8ih8oc8kh3 mb1ic8ih8oc8kh1 --impl naive --pass forward,backward --threads 1 --pairs 16 --confirm "  \
    "16"

static void test_slower_and_same(void **state)
{
    make_fake((fake){.name = "base"});
    make_fake((fake){.name = "same"});
    make_fake((fake){.name = "slower", .ns = 120000});
    int code = run("$S compare ./base ./slower" FOUR_CASES " --out results");
    if (code != EXIT_REGRESSION) fail_msg("20%% slower: exit %d: %s%s", code, out, err);
    assert_non_null(strstr(out, "REGRESSED"));
    assert_int_equal(access("results/compare.csv", R_OK), 0);
    assert_int_equal(access("results/compare.json", R_OK), 0);
    code = run("$S compare ./base ./same" FOUR_CASES);
    if (code != EXIT_FINE) fail_msg("the same: exit %d: %s%s", code, out, err);
    code = run("$S compare ./slower ./base" FOUR_CASES);
    if (code != EXIT_FINE) fail_msg("faster: exit %d: %s%s", code, out, err);
}

static int count_lines(const char *text, const char *line)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, line)) != NULL; at++) count++;
    return count;
}

/* Fresh processes in every round; both orders in each; base against base in between. */
static void test_order(void **state)
{
    static char log[MOST_TEXT];
    make_fake((fake){.name = "base"});
    make_fake((fake){.name = "head"});
    int code = run("$S compare ./base ./head" ONE_CASE " --seed 3");
    assert_true(code == EXIT_FINE || code == EXIT_INVALID);
    read_text("log.txt", log, MOST_TEXT);
    /* One of each to verify; two bases and a head in each of 16 rounds, and as many to confirm if need be. */
    int rounds = count_lines(log, "head start") - 1;
    assert_true(rounds == 16 || rounds == 32);
    assert_int_equal(count_lines(log, "base start"), 2 * rounds + 1);
    assert_int_equal(count_lines(log, "head sample"), 2 * rounds);
    int null_samples = count_lines(log, "base sample") - 2 * rounds;
    assert_true(null_samples >= 16 / 4 * 4 && null_samples <= rounds / 4 * 4);
    int base_first = count_lines(log, "base sample\nhead sample\nhead sample\nbase sample\n");
    int head_first = count_lines(log, "head sample\nbase sample\nbase sample\nhead sample\n");
    assert_true(base_first > 0 && head_first > 0);
}

static void test_wrong_and_refused(void **state)
{
    make_fake((fake){.name = "base"});
    make_fake(
        (fake){.name = "wrong",
               .verify = "{\"status\":\"wrong\",\"reason\":\"dst is 2\",\"repro\":\"sepbench verify THAT\"}"});
    make_fake((fake){.name = "refuses", .verify = "{\"status\":\"refused\",\"reason\":\"not here\"}"});
    int code = run("$S compare ./base ./wrong" ONE_CASE);
    if (code != EXIT_WRONG) fail_msg("wrong: exit %d: %s%s", code, out, err);
    assert_non_null(strstr(out, "dense/forward/naive/"));
    assert_non_null(strstr(out, "sepbench verify THAT"));
    code = run("$S compare ./refuses ./base" ONE_CASE);
    if (code != EXIT_INVALID) fail_msg("nothing compared: exit %d: %s%s", code, out, err);
}

static void test_not_comparable(void **state)
{
    make_fake((fake){.name = "base"});
    make_fake((fake){.name = "later", .protocol = 99});
    make_fake((fake){.name = "other_schema", .schema = 7});
    make_fake((fake){.name = "other_threads", .threads = 64});
    make_fake((fake){.name = "other_isa", .isa = "avx512"});
    write_text(
        "old",
        "#!/bin/sh\necho \"sepbench: unknown command '$1': 'sepbench --help' lists them\" >&2\nexit 2\n");
    write_text("crash", "#!/bin/sh\nkill -9 $$\n");
    write_text("chatter", "#!/bin/sh\necho hello\n");
    static const struct {
        const char *line;
        int code;
        const char *text;
    } cases[] = {
        {"$S compare ./nowhere ./base" ONE_CASE, EXIT_BASELINE, "No such file"},
        {"$S compare ./base ./nowhere" ONE_CASE, EXIT_USAGE, "No such file"},
        {"$S compare ./out.txt ./base" ONE_CASE, EXIT_BASELINE, "Permission denied"},
        {"$S compare ./old ./base" ONE_CASE, EXIT_BASELINE, "older than the gate"},
        {"$S compare ./crash ./base" ONE_CASE, EXIT_BASELINE, "signal 9"},
        {"$S compare ./chatter ./base" ONE_CASE, EXIT_BASELINE, "hello"},
        {"$S compare ./later ./base" ONE_CASE, EXIT_BASELINE, "protocol 99"},
        {"$S compare ./other_schema ./base" ONE_CASE, EXIT_BASELINE, "schema is 7 in base, 1 in head"},
        {"$S compare ./other_threads ./base" ONE_CASE, EXIT_BASELINE, "threads is 64 in base"},
        {"$S compare ./other_isa ./base" ONE_CASE, EXIT_BASELINE, "isa is \"avx512\" in base"},
        {"$S compare ./base", EXIT_USAGE, "BASE and HEAD"},
        {"$S compare ./base ./base ./base", EXIT_USAGE, "problem './base'"},
        {"$S compare . ./base", EXIT_USAGE, "is a folder"},
        {"$S compare ./base ./base --pairs 3", EXIT_USAGE, "--pairs"},
        {"$S compare ./base ./base --margin x", EXIT_USAGE, "--margin"},
        {"$S compare ./base ./base --budget 1", EXIT_USAGE, "--budget"},
        {"$S compare ./base ./base --suite nix", EXIT_USAGE, "'nix'"},
        {"$S compare ./base ./base --cache cold", EXIT_USAGE, "warm"},
        {"$S compare ./base ./base --threads 1,2", EXIT_USAGE, "--threads"},
        {"echo '# nothing' >empty.txt; $S compare ./base ./base --shapes empty.txt", EXIT_USAGE, "no problem"},
        {"echo '--impl=naive,avx3' >bad.txt; $S compare ./base ./base --shapes bad.txt", EXIT_USAGE,
         "bad.txt:1: --impl"},
        {"echo '--pass=up' >bad.txt; $S compare ./base ./base --shapes bad.txt", EXIT_USAGE,
         "bad.txt:1: --pass"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].line, cases[i].code, cases[i].text);
}

static void test_dies_and_interrupted(void **state)
{
    make_fake((fake){.name = "base"});
    make_fake((fake){.name = "dies", .sample = "kill -9 $$;"});
    make_fake((fake){.name = "slow", .sample = "sleep 0.2;"});
    expect("$S compare ./base ./dies" ONE_CASE, EXIT_INVALID,
           "./dies: died of signal 9 at sample of dense/forward");
    expect("timeout --foreground -s INT 1 $S compare ./base ./slow" ONE_CASE
           "; x=$?; [ $x = 124 ] || exit $x; exit 99",
           99, "interrupted");
    expect("$S compare ./base ./slow" ONE_CASE " & p=$!; sleep 0.7; kill -TERM $p; wait $p", 143,
           "interrupted");
}

/* ---- the real worker */

static json_t *ask(worker_process *w, const char *request)
{
    conv_error error;
    json_error_t where;
    json_t *object = json_loads(request, 0, &where), *reply;
    assert_non_null(object);
    reply = process_ask(w, object, PROCESS_PATIENCE, &error);
    if (reply == NULL) fail_msg("%s: %s", request, error.text);
    return reply;
}

static void expect_status(worker_process *w, const char *request, const char *status)
{
    json_t *reply = ask(w, request);
    const char *got = json_string_value(json_object_get(reply, "status"));
    if (got == NULL || strcmp(got, status) != 0)
        fail_msg("%s: '%s', not '%s'", request, got ? got : "", status);
    json_decref(reply);
}

#define CASE(impl)                                                                                             \
    "\"problem\":\"dense:mb1ic8ih8oc8kh3\",\"pass\":\"forward\",\"impl\":\"" impl                              \
    "\",\"threads\":1,\"layout\":\"nhwc\",\"bias\":false,\"relu\":false}"

static void test_protocol(void **state)
{
    worker_process w;
    json_t *hello;
    conv_error error;
    if (!process_start(&w, program, NULL, &hello, &error)) fail_msg("%s", error.text);
    assert_true(json_is_string(json_object_get(hello, "kernels")));
    assert_true(json_integer_value(json_object_get(hello, "threads")) >= 1);
    json_decref(hello);
    expect_status(&w, "{\"do\":\"verify\"," CASE("naive"), "ok");
    expect_status(&w, "{\"do\":\"verify\"," CASE("avx3"), "refused");
    expect_status(&w, "{\"do\":\"verify\"}", "failed");
    expect_status(&w, "{\"do\":\"sample\",\"id\":3,\"iterations\":1,\"batches\":1}", "failed");
    expect_status(&w, "{\"do\":\"prepare\",\"id\":-1," CASE("naive"), "failed");
    expect_status(&w, "{\"do\":\"prepare\",\"id\":3," CASE("naive"), "ok");
    expect_status(&w, "{\"do\":\"prepare\",\"id\":3," CASE("naive"), "failed");
    expect_status(&w, "{\"do\":\"sample\",\"id\":3,\"iterations\":0,\"batches\":1}", "failed");
    expect_status(&w, "{\"do\":\"sample\",\"id\":3,\"iterations\":1,\"batches\":9999}", "failed");
    json_t *reply = ask(&w, "{\"do\":\"sample\",\"id\":3,\"iterations\":2,\"batches\":3,\"warm_ns\":1000}");
    assert_true(json_real_value(json_object_get(reply, "ns")) > 0);
    json_decref(reply);
    expect_status(&w, "{\"do\":\"drop\",\"id\":3}", "ok");
    expect_status(&w, "{\"do\":\"drop\",\"id\":3}", "failed");
    expect_status(&w, "{\"do\":\"fly\"}", "failed");
    expect_status(&w, "{\"problem\":1}", "failed");
    process_stop(&w);
}

/* A tiny session of the real program against itself. Times of a loaded machine prove nothing here, but nothing
 * may be called a regression, wrong or not comparable. */
static void test_itself(void **state)
{
    int code = run("$S compare $S $S" ONE_CASE " --margin 100");
    if (code != EXIT_FINE && code != EXIT_INVALID) fail_msg("exit %d: %s%s", code, out, err);
}

/* ---- the sentinel suite */

static void test_sentinel(void **state)
{
    const select_options options = {.suite = "sentinel"};
    selection cases;
    assert_int_equal(select_cases(&options, &cases), EXIT_FINE);
    assert_true(cases.count > 0 && cases.count <= 64);
    unsigned seen = 0;
    char name[CASE_NAME_MAX], other[CASE_NAME_MAX];
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < cases.count; i++) {
        const record_row *row = &cases.rows[i];
        seen |= 1u << (row->problem.variant * CONV_PASS_COUNT + row->pass);
        if (row->status == CASE_REFUSED && conv_find(row->impl, row->problem.variant) != NULL)
            fail_msg("%s: %s", record_case_name(row, name), row->reason);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(record_case_name(row, name), record_case_name(&cases.rows[j], other));
    }
    /* The separable has forward and backward only. */
    assert_int_equal(seen, 0x3fff);
    for (size_t k = 0; k < count; k++) {
        size_t i = 0;
        while (i < cases.count && strcmp(cases.rows[i].impl, e[k].name) != 0) i++;
        if (i == cases.count && e[k].impl != NULL && e[k].engine == NULL && !e[k].study)
            fail_msg("%s is not watched", e[k].name);
    }
    select_free(&cases);
}

/* ---- the script of `make regress`, in a repository whose builds are one line each */

static void test_regress(void **state)
{
    char line[512];
    if (run("git --version") != 0) skip();
    make_fake((fake){.name = "worker"});
    int code = run("git init -q -b main repo && cd repo && mv ../worker . && git config user.email a@b.c && "
                   "git config user.name n && c() { printf 'build:\\n\\t%s\\n' \"$1\" >Makefile; git add -A; "
                   "git commit -qm \"$2\"; git tag \"$2\"; } && c 'mkdir -p build; cp worker build/sepbench' "
                   "good && c '@echo x.c:1: error: no; exit 1' broken && c 'mkdir -p build; echo exit 2 "
                   ">build/sepbench; chmod +x build/sepbench' mute && git checkout -qb mine");
    if (code != 0) fail_msg("%s", err);
    static const struct {
        const char *words;
        int code;
        const char *text;
    } cases[] = {
        {"nowhere", EXIT_BASELINE, "'nowhere' is not a revision"},
        {"broken", EXIT_BASELINE, "does not build: x.c:1: error: no"},
        {"mute", EXIT_BASELINE, "exit"},
        {"good --suite nix", EXIT_USAGE, "'nix'"},
        {"'' --suite nix", EXIT_USAGE, "'nix'"}, /* the merge base with main */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(line, sizeof line,
                 "cd repo; sh $R $S %s >../o 2>../e; x=$?; grep -v building ../e >&2; exit $x", cases[i].words);
        expect(line, cases[i].code, cases[i].text);
    }
    expect("mkdir bare; cd bare; sh $R $S", EXIT_BASELINE, "not a git checkout");
}

/* ---- stored runs */

static void test_stored(void **state)
{
    static const struct {
        const char *edit; /* of the copy's run.json */
        int code;
        const char *text;
    } cases[] = {
        {"s/\"cpu\": \"[^\"]*\"/\"cpu\": \"another\"/", EXIT_BASELINE, "cpu"},
        {"s/\"host\": \"[^\"]*\"/\"host\": \"another\"/", EXIT_BASELINE, "host"},
        {"s/\"isa_allowed\": \"[^\"]*\"/\"isa_allowed\": \"other\"/", EXIT_BASELINE, "isa_allowed"},
        {"s/\"schema\": 1/\"schema\": 7/", EXIT_USAGE, "schema is 7"},
        {"s/\"kind\": \"bench\"/\"kind\": \"training\"/", EXIT_USAGE, "a run of 'sepbench train'"},
        {"s/\"kind\": \"bench\"/\"kind\": \"advise\"/", EXIT_USAGE, "a run of 'sepbench advise'"},
        {"s/\"schema\": 1/\"schema\": 1,,/", EXIT_USAGE, "run.json"},
    };
    char line[512];
    int code = run("$S bench mb1ic8ih8oc8kh3 --impl naive --pass forward --threads 1 --min-time 0.001 --out "
                   "one && cp -r one two");
    if (code != EXIT_FINE) fail_msg("%s", err);
    code = run("$S compare one two");
    if (code != EXIT_FINE) fail_msg("a run against itself: exit %d: %s%s", code, out, err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(line, sizeof line, "rm -rf two; cp -r one two; sed -i '%s' two/run.json; $S compare two one",
                 cases[i].edit);
        expect(line, cases[i].code, cases[i].text);
        snprintf(line, sizeof line, "$S compare one two");
        expect(line, cases[i].code, cases[i].text);
    }
    code = run("rm -rf two; $S bench mb1ic8ih8oc8kh3 --impl naive --pass forward --threads 2 --min-time 0.001 "
               "--out two");
    if (code != EXIT_FINE) fail_msg("%s", err);
    expect("$S compare one two", EXIT_BASELINE, "threads");
    code = run("rm -rf two; $S bench mb1ic8ih8oc9kh3 --impl naive --pass forward --threads 1 --min-time 0.001 "
               "--out two");
    if (code != EXIT_FINE) fail_msg("%s", err);
    expect("$S compare one two", EXIT_BASELINE, "no case in common");
    mkdir("empty", 0777);
    expect("$S compare empty one", EXIT_BASELINE, "empty");
}

int main(void)
{
    const char *given = getenv("SEPBENCH");
    if (getcwd(home, sizeof home) == NULL || realpath(given ? given : "build/sepbench", program) == NULL) {
        fprintf(stderr, "test_compare: %s: build it first\n", given ? given : "build/sepbench");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slower_and_same, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_order, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_wrong_and_refused, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_not_comparable, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_dies_and_interrupted, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_protocol, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_itself, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_sentinel, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_regress, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_stored, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
