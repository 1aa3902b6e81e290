/* Threads and the environment: this program starts itself again under an affinity and OpenMP's variables, for
 * an OpenMP runtime reads both while it is loaded. */
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "unit.h"

/* ---- what the started program says of itself */

enum { MOST_CPUS = 1024 };

static int first_cpu(int from)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    while (from < MOST_CPUS && !CPU_ISSET(from, &set)) from++;
    return from;
}

/* The default of --threads, the state of a pool of so many, and its threads' affinities, "0,1 " two threads. */
static int describe_pool(int threads)
{
    char why[256], text[1024] = "";
    int wanted = threads > 0 ? threads : machine_default_threads();
    threads_state state = machine_bind_threads(wanted, why, sizeof why);
    printf("default %d, state %d, cpus", machine_default_threads(), (int)state);
    for (int region = 0; region < 2; region++) /* a second one, for runtimes that bind at each */
        for (int t = 0; t < wanted; t++)
#pragma omp parallel num_threads(wanted)
            if (omp_get_thread_num() == t && region == 1) {
                size_t used = strlen(text);
                cpu_set_t set;
                sched_getaffinity(0, sizeof set, &set);
                for (int cpu = first_cpu(0), n = 0; cpu < MOST_CPUS; cpu = first_cpu(cpu + 1), n++)
                    used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", n ? "," : " ", cpu);
            }
    printf("%s\n", text);
    return 0;
}

/* ---- */

/* Runs `argv` on `cpu` (negative: on all) with NAME=VALUE set; its first line goes to answer. Returns its exit
 * code. */
static int run(char *const argv[], int cpu, const char *variable, char *answer, size_t size)
{
    int out[2], status;
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (cpu >= 0) CPU_SET(cpu, &set);
        if (cpu >= 0 && sched_setaffinity(0, sizeof set, &set) != 0) _exit(126);
        unsetenv("OMP_NUM_THREADS");
        if (variable != NULL) putenv((char *)variable);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    answer[0] = '\0';
    char line[1024];
    while (fgets(line, sizeof line, in) != NULL)
        if (answer[0] == '\0') snprintf(answer, size, "%s", line);
    fclose(in);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void expect_pool(int cpu, const char *variable, const char *threads, const char *expected)
{
    char answer[1024];
    char *argv[] = {"/proc/self/exe", (char *)threads, NULL};
    assert_int_equal(run(argv, cpu, variable, answer, sizeof answer), 0);
    answer[strcspn(answer, "\n")] = '\0';
    if (strcmp(answer, expected) != 0)
        fail_msg("%s on cpu %d: '%s', not '%s'", variable, cpu, answer, expected);
}

/* The process's own affinity decides, whatever OpenMP was told. */
static void test_mask_stays(void **state)
{
    static const char *const variables[] = {NULL, "OMP_PROC_BIND=true", "OMP_PLACES=cores",
                                            "GOMP_CPU_AFFINITY=0-63"};
    int last = 0;
    for (int cpu = first_cpu(0); cpu < MOST_CPUS; cpu = first_cpu(cpu + 1)) last = cpu;
    char one[64], two[64];
    snprintf(one, sizeof one, "default 1, state %d, cpus %d", THREADS_BOUND, last);
    snprintf(two, sizeof two, "default 1, state %d, cpus %d %d", THREADS_UNBOUND, last, last);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        expect_pool(last, variables[i], "0", one);
        expect_pool(last, variables[i], "2", two);
    }
}

/* Without an affinity OpenMP's wishes move nothing: one thread on each core. */
static void test_places_do_not_move_the_pool(void **state)
{
    if (machine_get()->cores < 2 || machine_get()->cpu_quota > 0) skip();
    char expected[1024];
    char *argv[] = {"/proc/self/exe", "2", NULL};
    assert_int_equal(run(argv, -1, NULL, expected, sizeof expected), 0);
    expected[strcspn(expected, "\n")] = '\0';
    expect_pool(-1, "OMP_PROC_BIND=close", "2", expected);
    expect_pool(-1, "OMP_PLACES={0}", "2", expected);
}

static void test_number_of_threads(void **state)
{
    int cpu = first_cpu(0);
    char expected[64];
    snprintf(expected, sizeof expected, "default 1, state %d, cpus %d", THREADS_BOUND, cpu);
    expect_pool(cpu, "OMP_THREAD_LIMIT=1", "0", expected);
    expect_pool(cpu, "OMP_NUM_THREADS=1", "0", expected);
    snprintf(expected, sizeof expected, "default 3, state %d, cpus %d %d %d", THREADS_UNBOUND, cpu, cpu, cpu);
    expect_pool(cpu, "OMP_NUM_THREADS=3,1", "0", expected);
}

static char *program(void) { return getenv("SEPBENCH") != NULL ? getenv("SEPBENCH") : "build/sepbench"; }

/* A pool that is too small is no measurement of that thread count. */
static void test_fewer_threads_fail(void **state)
{
    char answer[1024];
    static const char words[] = "OpenMP started 1 of 2 threads: OMP_THREAD_LIMIT allows no more";
    char *verify[] = {program(), "verify",  "mb1ic4ih5oc4kh3ph1", "--impl", "naive",
                      "--pass",  "forward", "--threads",          "2",      NULL};
    assert_int_equal(run(verify, -1, "OMP_THREAD_LIMIT=1", answer, sizeof answer), EXIT_WRONG);
    assert_non_null(strstr(answer, "failed   dense/forward/naive/mb1ic4ih5oc4kh3ph1/nhwc/t2/warm"));
    assert_non_null(strstr(answer, words));
    char *machine[] = {program(), "machine", "--threads", "2", "--json", NULL};
    assert_int_equal(run(machine, -1, "OMP_THREAD_LIMIT=1", answer, sizeof answer), EXIT_USAGE);
    assert_non_null(strstr(answer, words));

    char folder[] = "/tmp/sepbench-test-XXXXXX", out[64], file[64], row[4096] = "";
    assert_non_null(mkdtemp(folder));
    snprintf(out, sizeof out, "%s/run", folder);
    snprintf(file, sizeof file, "%s/run/results.csv", folder);
    char *bench[] = {program(),  "bench", "mb1ic4ih5oc4kh3ph1", "--impl", "naive", "--pass", "forward",
                     "--budget", "2",     "--threads",          "2",      "--out", out,      NULL};
    assert_int_equal(run(bench, -1, "OMP_THREAD_LIMIT=1", answer, sizeof answer), EXIT_INVALID);
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    while (fgets(row, sizeof row, in) != NULL) continue;
    fclose(in);
    assert_non_null(strstr(row, ",2,warm,failed,OpenMP started 1 of 2 threads"));
    char *rm[] = {"/bin/rm", "-r", folder, NULL};
    assert_int_equal(run(rm, -1, NULL, answer, sizeof answer), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) return describe_pool(atoi(argv[1]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mask_stays),
        cmocka_unit_test(test_places_do_not_move_the_pool),
        cmocka_unit_test(test_number_of_threads),
        cmocka_unit_test(test_fewer_threads_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
