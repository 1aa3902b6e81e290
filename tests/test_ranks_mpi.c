/* `mpirun -n N sepbench train`: the bits of one process for any number of ranks and threads, also after kill -9 of
 * any rank and going on with another number; one line for what differs between ranks. Skipped where the program
 * was built without MPI (`make MPI=1`). Runs $SEPBENCH on tests/data's digits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "train_support.h"

static char program[4096], data[4096], object[4200];
static bool under_mpich; /* whose mpirun kills at once the others of one that died, and itself says which did */

static const char QUICK[] = "--impl avx512,avx2,im2col,naive --epochs 2 --batch-size 60 --quiet";

/* All that a step over ranks does: batch normalization, a dense layer of pixels, penalties, a constraint. Of the
 * layer of pixels the cost model would have more chunks in a rank's part than in the whole. */
static const char RICH[] =
    "{'class_name':'Sequential','config':{'name':'rich','layers':["
    "{'class_name':'Conv2D','config':{'name':'c','filters':64,'kernel_size':3,'strides':2,'use_bias':false,"
    "'batch_input_shape':[null,28,28,1],'kernel_regularizer':{'class_name':'L2','config':{'l2':0.0001}}}},"
    "{'class_name':'BatchNormalization','config':{'name':'b'}},"
    "{'class_name':'Activation','config':{'name':'a','activation':'relu'}},"
    "{'class_name':'Dense','config':{'name':'d1','units':12,'activation':'relu'}},"
    "{'class_name':'Dropout','config':{'name':'o','rate':0.2}},"
    "{'class_name':'Flatten','config':{'name':'f'}},"
    "{'class_name':'Dense','config':{'name':'d2','units':100,'activation':'relu6',"
    "'activity_regularizer':{'class_name':'L1','config':{'l1':0.00001}},"
    "'kernel_constraint':{'class_name':'MaxNorm','config':{'max_value':2}}}},"
    "{'class_name':'Dense','config':{'name':'d3','units':10,'activation':'softmax'}}]}}";

static int set_up(void **state)
{
    const char *given = getenv("SEPBENCH");
    if (realpath(given != NULL ? given : "build/sepbench", program) == NULL) return -1;
    test_path("data/mnist", object, sizeof object);
    if (realpath(object, data) == NULL) return -1;
    snprintf(object, sizeof object, "%.*ssepbench-mpi.so", (int)(strrchr(program, '/') + 1 - program), program);
    /* Root, and more ranks than cores: what each launcher wants for that. */
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
    setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe", 1);
    setenv("PRTE_MCA_hwloc_default_binding_policy", "none", 1);
    setenv("OMP_WAIT_POLICY", "passive", 1);
    char version[4096];
    run_shell(version, sizeof version, "mpirun --version 2>&1");
    under_mpich = strstr(version, "HYDRA") != NULL;
    return enter_folder(state);
}

static void need_mpi(void)
{
    if (access(object, F_OK) == 0) return;
    print_message("# not tested: built without MPI ('make MPI=1' builds it in)\n");
    skip();
}

/* A training with `launch` before the program: NULL for none. */
static int train(char *output, size_t size, const char *launch, const char *words)
{
    return run_shell(output, size, "%s %s train --data %s %s 2>&1", launch != NULL ? launch : "", program, data,
                     words);
}

static void expect_fine(const char *launch, const char *words)
{
    char output[4096];
    int code = train(output, sizeof output, launch, words);
    if (code != 0) fail_msg("%s train %s: exit %d: %s", launch != NULL ? launch : "", words, code, output);
}

static void expect_same(const char *a, const char *b)
{
    char output[512];
    if (run_shell(output, sizeof output, "cmp %s %s 2>&1", a, b) != 0) fail_msg("%s", output);
}

/* Lines of ours in what mpirun let through, which adds its own; their number. */
static int lines_of_ours(char *text, const char **last)
{
    int count = 0;
    for (char *line = text, *save; (line = strtok_r(line, "\n", &save)) != NULL; line = NULL)
        if (strncmp(line, "sepbench: ", 10) == 0 && strncmp(line, "sepbench: warning: ", 19) != 0) {
            *last = line;
            count++;
        }
    return count;
}

static void expect_line(int want, const char *words, const char *launch, const char *command)
{
    char output[8192];
    const char *line = "";
    int code = train(output, sizeof output, launch, command), count = lines_of_ours(output, &line);
    if (code != want || count != 1 || strstr(line, words) == NULL)
        fail_msg("%s: exit %d instead of %d, %d lines, the last: %s", command, code, want, count, line);
}

/* ---- the same bits */

static void compare_with_one(const char *options, const char *label, int ranks, int threads)
{
    char words[512], launch[64], a[128], b[128];
    snprintf(launch, sizeof launch, "mpirun -n %d", ranks);
    snprintf(words, sizeof words, "%s %s --threads %d --out r%d-%d", QUICK, options, threads, ranks, threads);
    expect_fine(launch, words);
    static const char *const files[] = {"weights", "best"};
    for (int i = 0; i < 2; i++) {
        snprintf(a, sizeof a, "one/%s/run-1/%s.npz", label, files[i]);
        snprintf(b, sizeof b, "r%d-%d/%s/run-1/%s.npz", ranks, threads, label, files[i]);
        expect_same(a, b);
    }
    snprintf(words, sizeof words, "rm -rf r%d-%d", ranks, threads);
    run_shell(a, sizeof a, "%s", words);
}

static void check_model(const char *options, const char *label, const int *ranks, int count)
{
    char words[512], output[64];
    snprintf(words, sizeof words, "%s %s --threads 2 --out one", QUICK, options);
    run_shell(output, sizeof output, "rm -rf one");
    expect_fine(NULL, words);
    for (int i = 0; i < count; i++)
        for (int threads = 1; threads <= 2; threads++) compare_with_one(options, label, ranks[i], threads);
}

static void ranks_do_not_matter(void **state)
{
    static const int ranks[] = {1, 2, 3, 4, 7};
    need_mpi();
    check_model("--model conv", "conv", ranks, 5);
    check_model("--model separable", "separable", ranks, 5);
    check_model("--model conv --impl im2col", "conv", ranks, 5);
}

static void put_rich(void)
{
    char text[sizeof RICH];
    strcpy(text, RICH);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\'') *c = '"';
    write_text("rich.json", text);
}

static void nor_with_all_kinds_of_layers(void **state)
{
    static const int ranks[] = {2, 7};
    need_mpi();
    put_rich();
    check_model("--model rich.json", "rich", ranks, 2);
    check_model("--model rich.json --strategy model", "rich", ranks, 2);
    check_model("--model rich.json --impl im2col", "rich", ranks, 2);
    check_model("--model rich.json --impl naive", "rich", ranks, 1); /* which shares no dense layer */
}

/* ---- kill -9 */

/* Starts three ranks that would train for long, kills one when two epochs are done; what was printed, without the
 * zero byte that Open MPI 5 adds. */
static int kill_one(int victim, char *output, size_t size)
{
    return run_shell(
        output, size,
        "mpirun -n 3 %s train --data %s %s --model separable --epochs 400 --out killed >log 2>&1 & m=$!; "
        "n=0; while [ \"$(wc -l 2>/dev/null <killed/separable/run-1/history.csv)\" -lt 3 ] 2>/dev/null || "
        "[ ! -e killed/separable/run-1/checkpoint.npz ]; do sleep 0.05; n=$((n + 1)); "
        "[ $n -lt 600 ] || break; done; for e in /proc/[0-9]*/environ; do "
        "tr '\\0' '\\n' <$e 2>/dev/null | grep -qx \"PWD=$PWD\" || continue; "
        "tr '\\0' '\\n' <$e | grep -Eqx '(OMPI_COMM_WORLD_RANK|PMI_RANK)=%d' || continue; "
        "p=${e#/proc/}; kill -9 ${p%%/environ}; done; wait $m; code=$?; tr -d '\\0' <log; "
        "sleep 0.2; for e in /proc/[0-9]*/environ; do tr '\\0' '\\n' <$e 2>/dev/null | "
        "grep -Eqx '(OMPI_COMM_WORLD|PMI)_SIZE=3' && tr '\\0' '\\n' <$e | grep -qx \"PWD=$PWD\" && "
        "echo left behind: $e; done; exit $code",
        program, data, QUICK, victim);
}

/* Of the run that was killed: lines of its history but the header, of which the last may be one more than its
 * checkpoint has. */
static int epochs_done(void)
{
    char text[65536];
    int lines = 0;
    read_text("killed/separable/run-1/history.csv", text, sizeof text);
    for (const char *c = text; *c != '\0'; c++) lines += *c == '\n';
    assert_true(lines > 2);
    return lines - 1;
}

static void a_dead_rank_ends_the_job(void **state)
{
    char output[16384], words[512], named[64];
    need_mpi();
    for (int victim = 0; victim < 3; victim++) {
        const char *line = "";
        run_shell(output, sizeof output, "rm -rf killed");
        int code = kill_one(victim, output, sizeof output);
        if (strstr(output, "left behind") != NULL || code == 0) fail_msg("exit %d: %s", code, output);
        snprintf(named, sizeof named, "rank %d (process ", victim);
        bool mpich_said = under_mpich && strstr(output, "EXIT CODE: 9\n") != NULL;
        int count = lines_of_ours(output, &line);
        if (!mpich_said &&
            (count != 1 || strstr(line, named) == NULL || strstr(line, "to go on: mpirun -n 3 ") == NULL ||
             strstr(line, " --out killed --resume") == NULL))
            fail_msg("%d lines, the last: %s", count, line);
        /* Its checkpoint is whole: two ranks go on from it, at least to where three were. */
        int epochs = epochs_done();
        snprintf(words, sizeof words, "%s --model separable --epochs %d --out killed --resume", QUICK,
                 epochs + 2);
        expect_fine("mpirun -n 2", words);
        snprintf(words, sizeof words, "%s --model separable --epochs %d --out whole-%d", QUICK, epochs + 2,
                 victim);
        expect_fine(NULL, words);
        snprintf(words, sizeof words, "whole-%d/separable/run-1/weights.npz", victim);
        expect_same(words, "killed/separable/run-1/weights.npz");
    }
}

static void another_number_of_ranks_goes_on(void **state)
{
    static const char *const launches[] = {"mpirun -n 3", "mpirun -n 2", NULL, "mpirun -n 4"};
    char words[512];
    need_mpi();
    snprintf(words, sizeof words, "%s --model conv --epochs 5 --out five", QUICK);
    expect_fine(NULL, words);
    for (int i = 0; i < 4; i++) {
        snprintf(words, sizeof words, "%s --model conv --epochs %d --out parts %s", QUICK, i + 2,
                 i > 0 ? "--resume" : "");
        expect_fine(launches[i], words);
    }
    expect_same("five/conv/run-1/weights.npz", "parts/conv/run-1/weights.npz");
}

/* ---- what is wrong, in one line */

static void ranks_must_be_alike(void **state)
{
    /* mpirun's own way, `mpirun -n 1 A : -n 1 B`, crashes Open MPI 5.0.7. */
    static const char launch[] = "mpirun -n 2 ./last_word_alone";
    char command[512];
    need_mpi();
    write_text("last_word_alone",
               "#!/bin/sh\n# rank 1 alone is given the last word\n"
               "rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}\nfor word; do last=$word; done\n"
               "n=$#\nfor word; do shift; n=$((n - 1)); [ $n = 0 ] && break; set -- \"$@\" \"$word\"; done\n"
               "[ $rank = 0 ] && exec \"$@\"\nexec \"$@\" \"$last\"\n");
    assert_int_equal(chmod("last_word_alone", 0755), 0);
    snprintf(command, sizeof command, "--out m %s --seed=7", QUICK);
    expect_line(2, "rank 1 on ", launch, command);
    expect_line(2, "its --seed is 7, rank 0's 1", launch, command);
    snprintf(command, sizeof command, "%s --model=separable", QUICK);
    expect_line(2, "its model is separable", launch, command);
    snprintf(command, sizeof command, "%s --data=nowhere", QUICK);
    expect_line(2, "nowhere", launch, command);
    snprintf(command, sizeof command, "%s --epochs=x", QUICK); /* before MPI_Init, in which rank 0 waits */
    expect_line(2, "rank 1 on ", launch, command);
    expect_line(2, "--batch-size 2: fewer images than the 3 ranks", "mpirun -n 3", "--batch-size 2 --out m");
    expect_line(2, "--epochs: 'x' is not", "mpirun -n 3", "--epochs x");
    assert_int_not_equal(access("m", F_OK), 0);
}

/* The program under another name, with something else beside it. */
static void mpi_that_is_missing_is_a_line(void **state)
{
    char output[4096], kept[4096];
    need_mpi();
    run_shell(output, sizeof output, "mkdir apart && cp %s apart/sepbench", program);
    strcpy(kept, program);
    assert_non_null(realpath("apart/sepbench", program));
    expect_line(2, "which was built without MPI: 'make MPI=1'", "mpirun -n 2", "--epochs 0");
    write_text("apart/sepbench-mpi.so", "no object");
    expect_line(2, "MPI cannot be loaded: ", "mpirun -n 2", "--epochs 0");
    strcpy(program, kept);
}

/* ---- fleets, and what more ranks would bring */

static const char FLEET[] =
    "mb1ic8ih8oc8kh3ph1 separable:mb1ic8ih8oc8kh3ph1 --impl naive --pass forward --threads 1 "
    "--repetitions 3 --min-time 0.01 --fleet";

/* Three ranks of this host stand for three hosts. */
static void a_fleet_is_one_report(void **state)
{
    char output[16384];
    need_mpi();
    int code = run_shell(output, sizeof output, "mpirun -n 3 %s bench %s --out fleet 2>&1", program, FLEET);
    if (code != 0 || strstr(output, "fleet: 3 of 3 hosts measured") == NULL)
        fail_msg("exit %d: %s", code, output);
    code = run_shell(output, sizeof output,
                     "ls fleet/*-[012]/run.json fleet/*-[012]/results.csv reports/*/index.html 2>&1 | wc -l");
    assert_int_equal(code, 0);
    assert_int_equal(atoi(output), 7);
    code = run_shell(output, sizeof output, "%s bench %s 2>&1", program, FLEET);
    assert_int_equal(code, 2);
    assert_string_equal(output, "sepbench: --fleet: mpirun starts it, with a rank on each host\n");
}

/* The measuring of one is killed: the others' runs stay, and it is said who is missing, also by the report. */
static void a_host_that_fails_is_a_line(void **state)
{
    char output[16384];
    need_mpi();
    int code =
        run_shell(output, sizeof output,
                  "mpirun -n 3 %s bench %s --min-time 0.3 --out short >log 2>&1 & m=$!; n=0; p=; "
                  "while [ -z \"$p\" ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); "
                  "for c in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$c 2>/dev/null | "
                  "grep -q '^sepbench bench .*--out [^ ]*short/' && [ $(readlink ${c%%cmdline}cwd) = $PWD ] && "
                  "p=${c%%/cmdline}; done; done; "
                  "kill -9 ${p#/proc/}; wait $m; code=$?; cat log; exit $code",
                  program, FLEET);
    if (code != 4 || strstr(output, "short: 2 of 3 hosts measured") == NULL ||
        strstr(output, "is missing: its measuring was ended by signal 9") == NULL)
        fail_msg("exit %d: %s", code, output);
    assert_int_equal(run_shell(output, sizeof output,
                               "grep -q 'is missing: its measuring was ended by signal 9' "
                               "reports/machines*/index.html 2>&1"),
                     0);
    code = run_shell(output, sizeof output, "mpirun -n 3 %s bench %s --min-time 0.3 --out short --resume 2>&1",
                     program, FLEET);
    if (code != 0 || strstr(output, "short: 3 of 3 hosts measured") == NULL)
        fail_msg("exit %d: %s", code, output);
}

/* A whole rank is killed. What lets the others live on is said at the start; Open MPI 4's mpirun ends with 0 then,
 * whatever the ranks' exit codes are. */
static void a_host_that_is_lost_is_a_line(void **state)
{
    char output[16384];
    need_mpi();
    if (run_shell(output, sizeof output, "mpirun -n 1 env 2>&1 | grep -q ^OMPI_MCA_orte_launch=") != 0) skip();
    int code = run_shell(output, sizeof output, "mpirun -n 2 %s bench %s --out warned 2>&1", program, FLEET);
    if (code != 0 || strstr(output, "with --enable-recovery it lets the others measure") == NULL)
        fail_msg("exit %d: %s", code, output);
    code = run_shell(output, sizeof output,
                     "mpirun --enable-recovery -n 3 %s bench %s --min-time 0.3 --out lost >log 2>&1 & "
                     "m=$!; n=0; p=; while [ -z \"$p\" ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); "
                     "for d in /proc/[0-9]*; do { grep -qzx OMPI_COMM_WORLD_RANK=2 $d/environ && "
                     "grep -qzx -e --fleet $d/cmdline && ls lost/*-2/results.csv >/dev/null && p=${d#/proc/}; "
                     "} 2>/dev/null; "
                     "done; done; kill -9 $p; wait $m; cat log",
                     program, FLEET);
    if (strstr(output, "lost: 2 of 3 hosts measured") == NULL ||
        strstr(output, "-2 is missing: its rank died") == NULL ||
        strstr(output, "with --enable-recovery") != NULL)
        fail_msg("%s", output);
}

/* mpirun is stopped, as it would wait for the daemon of a host that is gone: rank 0, which has lost a rank, leaves
 * somebody who ends it. */
static void an_mpirun_that_hangs_is_ended(void **state)
{
    char output[16384];
    need_mpi();
    if (run_shell(output, sizeof output, "mpirun -n 1 env 2>&1 | grep -q ^OMPI_MCA_orte_launch=") != 0) skip();
    int code = run_shell(
        output, sizeof output,
        "mpirun --enable-recovery -n 2 %s bench %s --min-time 0.3 --out stopped >log 2>&1 & "
        "m=$!; n=0; p=; while [ -z \"$p\" ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); "
        "for d in /proc/[0-9]*; do { grep -qzx OMPI_COMM_WORLD_RANK=1 $d/environ && "
        "grep -qzx -e --fleet $d/cmdline && [ $(readlink $d/cwd) = $PWD ] && "
        "ls stopped/*-1/results.csv >/dev/null && p=${d#/proc/}; } 2>/dev/null; done; done; "
        "kill -STOP $m; kill -9 $p; n=0; until grep -q '^State:.Z' /proc/$m/status || [ $n -gt 600 ]; do "
        "sleep 0.1; n=$((n + 1)); done; kill -KILL $m; wait $m; code=$?; cat log; exit $code",
        program, FLEET);
    if (code != 128 + 9 || strstr(output, "mpirun waits for a host that is lost, and is ended") == NULL)
        fail_msg("exit %d: %s", code, output);
}

static void expect_scaling(const char *launch, const char *words, const char *said)
{
    char output[16384];
    int code = train(output, sizeof output, launch, words);
    if (code != 0 || strstr(output, said) == NULL) fail_msg("train %s: exit %d: %s", words, code, output);
}

/* The prediction is checked, its evidence is in the folder, and the report made of it later has both. */
static void scaling_predicts(void **state)
{
    char text[16384];
    need_mpi();
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) skip();
    put_rich();
    expect_scaling("mpirun -n 2",
                   "--scaling --model separable,rich.json --threads 1 --impl avx512,avx2,im2col,naive "
                   "--batch-size 64 --out s",
                   "checked on 2 ranks: a step took ");
    read_text("s/scaling.csv", text, sizeof text);
    assert_non_null(strstr(text, "\nseparable,64,"));
    assert_non_null(strstr(text, "\nrich,64,"));
    read_text("s/scaling_messages.csv", text, sizeof text);
    assert_non_null(strstr(text, "\n2,16777216,"));
    int code = run_shell(text, sizeof text, "%s report s --out page 2>&1", program);
    if (code != 0 || strstr(text, "Checked on 2 ranks: a step took ") == NULL)
        fail_msg("exit %d: %s", code, text);
    assert_int_equal(access("page/ranks-messages.png", R_OK), 0);
}

/* One process, in a training's folder, which stays what it is; and ranks that share cores. */
static void scaling_without_messages(void **state)
{
    char command[256], text[16384], launch[32];
    need_mpi();
    expect_fine(NULL, "--impl naive --epochs 1 --batch-size 30 --quiet --out joined");
    run_shell(text, sizeof text, "cp joined/run.json before.json");
    expect_scaling(NULL, "--scaling --impl naive --batch-size 4 --out joined", "No messages are measured");
    expect_same("before.json", "joined/run.json");
    read_text("joined/scaling.csv", text, sizeof text);
    assert_non_null(strstr(text, ",none\n"));
    assert_int_equal(run_shell(text, sizeof text, "%s report joined --out both 2>&1", program), 0);
    assert_non_null(strstr(text, "unchecked: there was one rank"));
    assert_non_null(strstr(text, "Training: an epoch of the conv network takes"));
    int many = 2 * (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (many > 8) return; /* too many processes for a test */
    snprintf(launch, sizeof launch, "mpirun -n %d", many);
    snprintf(command, sizeof command, "--scaling --threads 1 --impl naive --batch-size %d --out crowd", many);
    expect_scaling(launch, command, " share ");
    read_text("crowd/scaling.csv", text, sizeof text);
    assert_non_null(strstr(text, ",shared\n"));
    assert_int_not_equal(access("crowd/scaling_messages.csv", F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_do_not_matter),
        cmocka_unit_test(nor_with_all_kinds_of_layers),
        cmocka_unit_test(a_dead_rank_ends_the_job),
        cmocka_unit_test(another_number_of_ranks_goes_on),
        cmocka_unit_test(ranks_must_be_alike),
        cmocka_unit_test(mpi_that_is_missing_is_a_line),
        cmocka_unit_test(a_fleet_is_one_report),
        cmocka_unit_test(a_host_that_fails_is_a_line),
        cmocka_unit_test(a_host_that_is_lost_is_a_line),
        cmocka_unit_test(an_mpirun_that_hangs_is_ended),
        cmocka_unit_test(scaling_predicts),
        cmocka_unit_test(scaling_without_messages),
    };
    return cmocka_run_group_tests_name("ranks mpi", tests, set_up, leave_folder);
}
