/* kill -9 at chosen system calls that change files: whatever call is the last, a run that is taken up again
 * ends as one that was never killed, and nothing else is left in its folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/record/record.h"
#include "folder.h"
#include "train_support.h"

enum { KILLS = 12 }; /* of each command */

static char program[4096], data[4096];

/* ---- a command, killed before its k-th change of a file */

static bool changes_files(const struct __ptrace_syscall_info *call)
{
    switch (call->entry.nr) {
    case SYS_openat: return (call->entry.args[2] & (O_CREAT | O_TMPFILE)) != 0;
    case SYS_write: return call->entry.args[0] > STDERR_FILENO;
    case SYS_mkdirat:
    case SYS_linkat:
    case SYS_renameat:
    case SYS_unlinkat:
    case SYS_symlinkat:
    case SYS_ftruncate:
    case SYS_fsync:
#ifdef SYS_open
    case SYS_mkdir:
    case SYS_rename:
    case SYS_unlink:
    case SYS_symlink:
#endif
        return true;
    default: return false;
    }
}

static pid_t start_traced(const char *words)
{
    char command[2 * 8192];
    snprintf(command, sizeof command, "exec %s %s >out.txt 2>&1", program, words);
    pid_t child = fork();
    if (child != 0) return child;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(126);
    raise(SIGSTOP);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* How many changes its main thread, which alone writes, made or was about to make; 0: it cannot be traced here.
 * Killed at `last`, else it must end well. */
static int run_until(const char *words, int last)
{
    struct __ptrace_syscall_info call;
    int status, changes = 0, pass_on = 0;
    bool program_runs = false; /* the shell's own calls do not count */
    pid_t child = start_traced(words);
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) return 0;
    ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    for (int execs = 0;;) {
        ptrace(PTRACE_SYSCALL, child, NULL, pass_on);
        waitpid(child, &status, 0);
        if (!WIFSTOPPED(status)) break;
        pass_on = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) program_runs = ++execs == 2;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80) || !program_runs) continue;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof call, &call) <= 0) last = -1;
        bool change = last >= 0 && call.op == PTRACE_SYSCALL_INFO_ENTRY && changes_files(&call);
        if (!(change && ++changes == last) && last >= 0) continue;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return last > 0 ? changes : 0;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char output[1024];
        read_text("out.txt", output, sizeof output);
        fail_msg("%s: status %x: %s", words, status, output);
    }
    return changes;
}

static void expect_fine(const char *words)
{
    char output[4096];
    int code = run_shell(output, sizeof output, "%s %s 2>&1", program, words);
    if (code != 0) fail_msg("%s: exit %d: %s", words, code, output);
}

/* Nothing but these. */
static void expect_files(const char *dir, const char *const *names, size_t count)
{
    DIR *entries = opendir(dir);
    assert_non_null(entries);
    size_t found = 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        size_t i = 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        while (i < count && strcmp(names[i], entry->d_name) != 0) i++;
        if (i == count) fail_msg("%s/%s was left behind", dir, entry->d_name);
        found++;
    }
    closedir(entries);
    assert_int_equal(found, count);
}

/* For each of KILLS moments of the command: killed, taken up, compared. */
static void kill_everywhere(const char *words, void (*take_up)(int change))
{
    int changes = run_until(words, 0), done = 0;
    if (changes == 0) {
        print_message("# no kill: processes cannot be traced here\n");
        skip();
    }
    for (int kill = 1; kill <= KILLS; kill++) {
        int change = 1 + (kill - 1) * (changes - 1) / (KILLS - 1);
        char output[64];
        run_shell(output, sizeof output, "rm -rf killed");
        done += run_until(words, change) == change;
        take_up(change);
    }
    print_message("# killed at %d of %d changes\n", done, changes);
    assert_true(done >= KILLS - 1); /* a bench may make a repetition less */
}

/* ---- bench */

static const char bench_words[] = "bench mb1ic4ih6oc4kh3 mb1ic4ih7oc4kh3 --impl naive --pass forward --threads "
                                  "1 --repetitions 2 --min-time 0.03 --budget 50 --out killed";

/* Killed before its run.json it left nothing, and the same command starts anew; else it is resumed. */
static void take_up_bench(int change)
{
    static const char *const names[] = {"run.json", "results.csv", "samples.csv", "benchmark.json"};
    conv_error err;
    record_run run;
    bool begun = access("killed/run.json", F_OK) == 0;
    expect_fine(begun ? "bench --resume --out killed" : bench_words);
    if (!record_load("killed", &run, &err)) fail_msg("killed at change %d: %s", change, err.text);
    assert_int_equal(run.count, 2);
    for (size_t i = 0; i < run.count; i++)
        if (run.rows[i].status != CASE_OK) fail_msg("killed at change %d: %s", change, run.rows[i].reason);
    assert_string_equal(json_string_value(json_object_get(run.run, "status")), "complete");
    record_free(&run);
    char results[4096], samples[4096];
    read_text("killed/results.csv", results, sizeof results);
    read_text("killed/samples.csv", samples, sizeof samples);
    int lines = 0;
    for (const char *c = results; *c != '\0'; c++) lines += *c == '\n';
    assert_int_equal(lines, 3); /* no row twice */
    assert_int_equal(samples[strlen(samples) - 1], '\n');
    expect_files("killed", names, sizeof names / sizeof *names);
}

static void killed_bench(void **state) { kill_everywhere(bench_words, take_up_bench); }

/* ---- train */

static char train_words[8192];

#define LAYER(class, name, config, inputs)                                                                     \
    "{\"class_name\": \"" class "\", \"name\": \"" name "\", \"config\": {" config                             \
                                "}, \"inbound_nodes\": [" inputs "]}"
#define FROM(name) "[\"" name "\", 0, 0, {}]"

/* A graph with batch normalization, whose moving averages a checkpoint must carry. */
static const char small[] =
    "{\"class_name\": \"Functional\", \"config\": {\"name\": \"m\", \"layers\": [" LAYER("InputLayer", "in", "\"batch_shape\": [null, 28, 28, 1]", "") "," LAYER(
        "Conv2D", "c", "\"filters\": 2, \"kernel_size\": 3, \"strides\": 4",
        "[" FROM(
            "in") "]") "," LAYER("BatchNormalization", "n", "",
                                 "[" FROM(
                                     "c") "]") "," LAYER("Add", "a", "",
                                                         "[" FROM("n") "," FROM(
                                                             "c") "]") "," LAYER("Flatten", "f", "",
                                                                                 "[" FROM(
                                                                                     "a") "]") "," LAYER("Dens"
                                                                                                         "e",
                                                                                                         "d",
                                                                                                         "\"uni"
                                                                                                         "ts\":"
                                                                                                         " 10, "
                                                                                                         "\"act"
                                                                                                         "ivati"
                                                                                                         "on\":"
                                                                                                         " \"so"
                                                                                                         "ftmax"
                                                                                                         "\"",
                                                                                                         "[" FROM(
                                                                                                             "f") "]") "], \"input_layers\": [[\"in\", 0, 0]], \"output_layers\": [[\"d\", 0, 0]]}}";

static void take_up_train(int change)
{
    static const char *const in_out[] = {"run.json", "runs.csv", "small"};
    static const char *const in_run[] = {"best.npz", "weights.npz", "history.csv", "checkpoint.npz"};
    char words[8300], output[512];
    if (access("killed/run.json", F_OK) == 0) {
        int code = run_shell(output, sizeof output, "%s %s 2>&1", program, train_words);
        if (code != EXIT_USAGE || strstr(output, "holds a training run") == NULL)
            fail_msg("killed at change %d, begun anew: exit %d: %s", change, code, output);
    }
    snprintf(words, sizeof words, "%s --resume", train_words);
    expect_fine(words);
    for (int i = 0; i < 2; i++) {
        int code = run_shell(output, sizeof output, "cmp killed/small/run-1/%s straight/small/run-1/%s 2>&1",
                             in_run[i], in_run[i]);
        if (code != 0) fail_msg("killed at change %d: %s", change, output);
    }
    expect_files("killed", in_out, sizeof in_out / sizeof *in_out);
    expect_files("killed/small/run-1", in_run, sizeof in_run / sizeof *in_run);
}

static void killed_train(void **state)
{
    char output[64];
    run_shell(output, sizeof output, "rm -rf killed");
    write_text("small.json", small);
    snprintf(train_words, sizeof train_words,
             "train --data %s --model small.json --impl naive --threads 1 --epochs 2 --batch-size 100 --quiet "
             "--out killed",
             data);
    expect_fine(train_words);
    run_shell(output, sizeof output, "mv killed straight");
    kill_everywhere(train_words, take_up_train);
}

/* The machine's ceilings are measured once, and remembered here. */
static int set_up(void **state)
{
    char here[4096], output[64];
    if (enter_folder(state) != 0 || getcwd(here, sizeof here) == NULL || setenv("XDG_CACHE_HOME", here, 1) != 0)
        return -1;
    return run_shell(output, sizeof output, "%s machine --threads 1 >out.txt", program);
}

int main(void)
{
    const char *given = getenv("SEPBENCH");
    char folder[4096];
    test_path("data/mnist", folder, sizeof folder);
    if (realpath(given ? given : "build/sepbench", program) == NULL || realpath(folder, data) == NULL) {
        fprintf(stderr, "test_kill: %s: build it first\n", given ? given : "build/sepbench");
        return 1;
    }
    setenv("ASAN_OPTIONS", "detect_leaks=0", 0); /* it traces the process itself, which is traced already */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_bench),
        cmocka_unit_test(killed_train),
    };
    return cmocka_run_group_tests_name("kill", tests, set_up, leave_folder);
}
