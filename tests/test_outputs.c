/* What the program writes, and where: nothing through a planted link, nothing half, nothing silently not;
 * folders that one process fills at a time; streams that are closed or full;
 * words that come back as they were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../harness/output.h"
#include "../harness/words.h"
#include "folder.h"
#include "train_support.h"

static char program[4096], data[4096];

/* Runs a shell command with $S for sepbench, $B for a bench of one case without its --out, $T for a training of
 * one model likewise; expects its exit code, and both words in what it prints. */
static void expect(int code, const char *words, const char *command)
{
    char output[8192];
    int got =
        run_shell(output, sizeof output,
                  "exec 2>&1; await() { for i in $(seq 500); do test -e \"$1\" && return; sleep 0.02; done; }; "
                  "FULL=/dev/full; test -e full && FULL=full; S='%s' && B=\"$S bench mb1ic8ih8oc8kh3 --impl "
                  "naive --pass forward --threads 1 --repetitions 2 --min-time 0.02 --budget 50\" && T=\"$S "
                  "train --data %s --model small.json --impl naive --threads 1 --batch-size 100 --quiet\"; %s",
                  program, data, command);
    if (got != code) fail_msg("%s: exit %d instead of %d: %s", command, got, code, output);
    if (words != NULL && strstr(output, words) == NULL)
        fail_msg("%s: no \"%s\" in: %s", command, words, output);
}

static int set_up(void **state)
{
    char here[4096];
    if (enter_folder(state) != 0 || getcwd(here, sizeof here) == NULL) return -1;
    write_text("small.json",
               "{\"class_name\": \"Sequential\", \"config\": {\"layers\": [{\"class_name\": \"Flatten\", "
               "\"config\": {\"name\": \"f\", \"batch_input_shape\": [null, 28, 28, 1]}}, {\"class_name\": "
               "\"Dense\", \"config\": {\"name\": \"d\", \"units\": 10, \"activation\": \"softmax\"}}]}}");
    write_text("victim", "precious\n");
    mknod("full", S_IFCHR | 0666, makedev(1, 7)); /* root could replace /dev/full itself */
    return setenv("XDG_CACHE_HOME", here, 1);
}

static void expect_victim(void)
{
    char text[64];
    read_text("victim", text, sizeof text);
    assert_string_equal(text, "precious\n");
}

/* ---- one file */

static void expect_text(const char *path, const char *want)
{
    char text[64];
    read_text(path, text, sizeof text);
    assert_string_equal(text, want);
}

static void write_new(const char *path, output_kind kind)
{
    conv_error err;
    if (!output_write(path, kind, "new\n", 4, &err)) fail_msg("%s", err.text);
    expect_text(path, "new\n");
}

static void planted_links(void **state)
{
    mkdir("own", 0777);
    assert_int_equal(symlink("../victim", "own/file"), 0);
    assert_int_equal(symlink("../victim", "own/.file.new"), 0);
    write_new("own/file", OUTPUT_OWN);
    expect_victim();
    struct stat info;
    assert_true(lstat("own/file", &info) == 0 && S_ISREG(info.st_mode));
    unlink("own/.file.new");
    mkdir("own/.file.new", 0777); /* cannot be had: another name does */
    write_new("own/file", OUTPUT_OWN);
    rmdir("own/.file.new");
}

static void named_links_and_devices(void **state)
{
    conv_error err;
    struct stat info;
    assert_int_equal(symlink("target", "link"), 0);
    assert_int_equal(symlink("link", "link2"), 0);
    write_new("link2", OUTPUT_NAMED); /* leads to nothing yet */
    expect_text("target", "new\n");
    assert_true(lstat("link", &info) == 0 && S_ISLNK(info.st_mode));
    write_new("link", OUTPUT_NAMED);
    assert_true(lstat("link2", &info) == 0 && S_ISLNK(info.st_mode));
    const char *full = access("full", F_OK) == 0 ? "full" : "/dev/full";
    assert_false(output_write(full, OUTPUT_NAMED, "x", 1, &err));
    assert_non_null(strstr(err.text, "full: cannot be written: No space left on device"));
    assert_true(stat(full, &info) == 0 && S_ISCHR(info.st_mode));
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_false(output_check("loop", &err));
    assert_false(output_check("nowhere/file", &err));
    assert_false(output_check(".", &err));
    assert_true(output_check("/dev/null", &err) && output_check("target", &err) &&
                output_check("unmade", &err));
    assert_int_not_equal(access("unmade", F_OK), 0);
}

/* Of one file, neither knowing the other; one gives up. */
static void two_writers(void **state)
{
    output o, other;
    write_new("file", OUTPUT_OWN);
    assert_true(output_open(&o, "file", OUTPUT_OWN) && output_open(&other, "file", OUTPUT_OWN));
    fputs("first\n", o.file);
    fputs("second\n", other.file);
    assert_true(output_close(&other, false));
    expect_text("file", "new\n");
    assert_true(output_close(&o, true));
    expect_text("file", "first\n");
    expect(0, NULL, "test -z \"$(find . -name '.*.new*')\"");
}

/* ---- commands */

static void bench_outputs(void **state)
{
    expect(2, "full: cannot be written: No space", "$B --out b1 -- --benchmark_out=$FULL");
    expect(0, NULL, "test -c $FULL && test -e b1/results.csv && test -e b1/benchmark.json");
    expect(2, "--benchmark_out: no/such/file: cannot be written: No such",
           "$B --out b2 -- --benchmark_out=no/such/file");
    expect(0, NULL, "test ! -e b2");
    expect(0, NULL,
           "ln -s kept.json l; $B --out b3 -- --benchmark_out=l && test -L l && cmp l b3/benchmark.json");
    expect(0, "1 ok", "$B --out b4 -- --benchmark_out=/dev/stdout 2>&1 >o.txt; grep -q items o.txt; cat o.txt");
    expect(0, NULL,
           "mkdir b5; ln -s ../victim b5/.run.json.new; ln -s ../victim b5/.results.csv.new; $B --out b5");
    expect_victim();
}

static void train_outputs(void **state)
{
    expect(2, "full: cannot be written: No space", "$T --epochs 1 --out t1 --weights-out $FULL");
    expect(0, NULL, "test -c $FULL && test -e t1/small/run-1/weights.npz");
    expect(2, "--weights-out: no/w.npz: cannot be written", "$T --epochs 1 --out t2 --weights-out no/w.npz");
    expect(2, "--checkpoint: .: cannot be written: it is a folder", "$T --epochs 1 --out t2 --checkpoint .");
    expect(0, NULL, "test ! -e t2");
    expect(0, NULL,
           "ln -s kept.npz w; $T --epochs 1 --out t3 --weights-out w && test -L w && cmp w "
           "t3/small/run-1/weights.npz");
    expect(0, NULL, "$T --epochs 1 --out t4 --weights-out /dev/stdout | cmp - t3/small/run-1/weights.npz");
    expect(0, NULL,
           "mkdir -p t5/small/run-1; for f in best weights checkpoint; do ln -s ../../../victim "
           "t5/small/run-1/.$f.npz.new; ln -s ../../../victim t5/small/run-1/$f.npz.tmp; done; ln -s "
           "../../../victim t5/small/run-1/best.npz; ln -s ../victim t5/runs.csv; $T --epochs 1 --out t5");
    expect_victim();
    expect(2, "and no dot first", "cp small.json ...json; $T --epochs 1 --out t6 --model ./...json");
    expect(0, NULL, "test ! -e t6");
}

static void full_and_closed_streams(void **state)
{
    static const char *const commands[] = {"list",
                                           "list --suites",
                                           "machine --doctor",
                                           "machine --threads 1",
                                           "--help",
                                           "bench --help",
                                           "verify mb1ic8ih8oc8kh3 --impl naive"};
    char command[256];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(command, sizeof command, "$S %s 2>&1 >/dev/full", commands[i]);
        expect(2, "stdout cannot be written: No space", command);
    }
    expect(0, NULL, "$B --out c1 >&- 2>&- <&-");
    expect(0, NULL, "test $(wc -l <c1/results.csv) = 2 && ! grep -v '^case,\\|^dense/' c1/samples.csv");
    expect(0, NULL,
           "$T --epochs 1 --out c3 >&- 2>&-; cut -c 1-5 c3/runs.csv | tr '\\n' ' ' | grep -qx 'model small '");
    expect(2, "stdout cannot be written", "$S report c1 --out page 2>&1 >/dev/full");
}

/* ---- folders */

static void one_training_at_a_time(void **state)
{
    expect(137, "another sepbench is writing there",
           "$T --epochs 100000 --out f1 & p=$!; await f1/run.json; $T --epochs 1 --out f1; $T --epochs 1 --out "
           "f1 --resume; kill -9 $p; wait $p");
    expect(2, "f1 holds a training run: --resume continues it", "$T --epochs 1 --out f1");
    expect(2, "c.npz is there already",
           "$T --epochs 1 --out f2 --checkpoint c.npz; $T --epochs 1 --out f3 --checkpoint c.npz");
    expect(137, "d.npz: another sepbench is writing there",
           "$T --epochs 100000 --out f6 --checkpoint d.npz & p=$!; await d.npz; $T --epochs 1 --out f7 "
           "--checkpoint d.npz --resume; kill -9 $p; wait $p");
    expect(0, NULL,
           "test ! -e f7 && $T --epochs 100000 --out f6 --checkpoint d.npz --resume & p=$!; sleep 0.5; kill "
           "-INT $p; wait $p; test $? = 130 && test ! -e .d.npz.lock");
    expect(2, "f4/run.json: a run of 'sepbench bench'", "$B --out f4; $T --epochs 1 --out f4 --resume");
    expect(0, NULL,
           "$T --epochs 1 & $T --epochs 1; wait; test $(ls results | wc -l) = 2"); /* in the same second */
    /* Options that do not fit change nothing. */
    expect(2, "its seed is 1",
           "$T --epochs 1 --out f5; cp f5/runs.csv f5/run.json .; $T --epochs 1 --out f5 --resume --seed 2");
    expect(0, NULL, "cmp runs.csv f5/runs.csv && cmp run.json f5/run.json");
}

/* As a kill between mkdir and run.json leaves it. */
static void bench_killed_before_its_run(void **state)
{
    expect(0, NULL, "mkdir g1; $B --out g1; head -n 1 g1/results.csv >r; head -n 1 g1/samples.csv >s");
    expect(0, NULL,
           "mkdir g2; cp r g2/results.csv; echo >g2/.run.json.new; $B --out g2 && test ! -e g2/.run.json.new");
    expect(0, NULL, "mkdir g3; cp r g3/results.csv; cp s g3/samples.csv; $B --out g3");
    expect(2, "not an empty folder", "mkdir g4; cp g3/results.csv g4; $B --out g4");
    expect(2, "not an empty folder", "mkdir g5; echo >g5/letter; $B --out g5");
}

static void reports_wait_for_each_other(void **state)
{
    expect(0, NULL,
           "$S bench mb1ic8ih8oc8kh3ph1 separable:mb1ic8ih8oc8kh3ph1 mb1ic16ih8oc16kh3ph1 "
           "separable:mb1ic16ih8oc16kh3ph1 --impl naive --pass forward --threads 1 --repetitions 2 --min-time "
           "0.02 --budget 50 --out h1; mkdir page; ln -s ../victim page/plots.gp; ln -s ../victim "
           "page/.drawing; ln -s ../victim page/index.html.part; $S report h1 --out alone");
    expect(0, NULL, "$S report h1 --out page & a=$!; $S report h1 --out page & wait $a && wait $!");
    expect(0, NULL,
           "rm page/index.html.part; ls -A alone >l1; ls -A page >l2; cmp l1 l2 && test -s page/index.html");
    expect_victim();
}

/* ---- words */

static void quoted_words(void **state)
{
    static const char *const words[] = {"plain-1.0_a/b:c=d,e",
                                        "two words",
                                        "",
                                        "it's",
                                        "$(touch x)`touch y`\"",
                                        "line\nfeed",
                                        "\\\033[31m'",
                                        "gr\303\274n",
                                        "*",
                                        "~",
                                        "#",
                                        "-x"};
    char output[256];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *quoted = words_quote(words[i]);
        assert_null(strchr(quoted, '\n'));
        write_text("script", "printf %s ");
        FILE *script = fopen("script", "a");
        fputs(quoted, script);
        fclose(script);
        assert_int_equal(run_shell(output, sizeof output, "bash script"), 0);
        assert_string_equal(output, words[i]);
        free(quoted);
    }
    assert_int_not_equal(access("x", F_OK), 0);
    expect(130, "--out 'a b' --resume",
           "$T --epochs 1000000 --out 'a b' & p=$!; await 'a b/small/run-1'; sleep 0.1; kill -INT $p; wait $p");
}

static void bytes_that_are_not_text(void **state)
{
    expect(2, "'caf\\xe9' is not UTF-8", "$B --out \"$(printf 'caf\\351')\"");
    expect(2, "'\\xff' is not UTF-8", "$S bench --resume \"$(printf '\\377')\" --out i1");
    expect(2, "SEPBENCH_DATA 'd\\xff'", "SEPBENCH_DATA=\"$(printf 'd\\377')\" $S train --epochs 1");
    expect(0, NULL, "$B --out gr\303\274n && grep -q gr\303\274n gr\303\274n/run.json");
}

int main(void)
{
    const char *given = getenv("SEPBENCH");
    char folder[4096];
    test_path("data/mnist", folder, sizeof folder);
    if (realpath(given ? given : "build/sepbench", program) == NULL || realpath(folder, data) == NULL) {
        fprintf(stderr, "test_outputs: %s: build it first\n", given ? given : "build/sepbench");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_links),
        cmocka_unit_test(named_links_and_devices),
        cmocka_unit_test(two_writers),
        cmocka_unit_test(bench_outputs),
        cmocka_unit_test(train_outputs),
        cmocka_unit_test(full_and_closed_streams),
        cmocka_unit_test(one_training_at_a_time),
        cmocka_unit_test(bench_killed_before_its_run),
        cmocka_unit_test(reports_wait_for_each_other),
        cmocka_unit_test(quoted_words),
        cmocka_unit_test(bytes_that_are_not_text),
    };
    return cmocka_run_group_tests_name("outputs", tests, set_up, leave_folder);
}
