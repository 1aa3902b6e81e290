/* Limits and findings read from made-up /proc and /sys trees; binding and ceilings on the machine itself. */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/internal.h"
#include "unit.h"

static char root[PATH_MAX];

/* Writes text to root + path, making folders. */
static void put(const char *path, const char *text)
{
    char full[PATH_MAX + 256];
    snprintf(full, sizeof full, "%s%s", root, path);
    char *last = strrchr(full, '/');
    *last = '\0';
    assert_true(cli_make_path(full));
    *last = '/';
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

static int make_root(void **state)
{
    snprintf(root, sizeof root, "/tmp/sepbench-test-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state) { return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static void test_no_cgroup(void **state)
{
    machine_limits l = machine_limits_read(root);
    assert_true(l.cpus == 0);
    assert_true(l.memory_left == UINT64_MAX);
}

static void test_cgroup_v2(void **state)
{
    put("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/user/job\n");
    put("/sys/fs/cgroup/user/cpu.max", "150000 100000\n"); /* the parent's limit binds */
    put("/sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user/memory.max", "max\n");
    put("/sys/fs/cgroup/user/job/memory.max", "1000000\n");
    put("/sys/fs/cgroup/user/job/memory.current", "700000\n");
    put("/sys/fs/cgroup/user/job/memory.stat", "anon 300000\nfile 400000\ninactive_file 200000\n");
    machine_limits l = machine_limits_read(root);
    assert_true(l.cpus == 1.5);
    assert_int_equal(l.memory_left, 500000);
}

/* As docker shows it: the mount's root is the container's own cgroup, the name that of the host. */
static void test_cgroup_v1_container(void **state)
{
    put("/proc/self/mountinfo",
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put("/proc/self/cgroup", "5:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000\n");
    machine_limits l = machine_limits_read(root);
    assert_true(l.cpus == 2.5);
    assert_int_equal(l.memory_left, 0);
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    l = machine_limits_read(root);
    assert_true(l.cpus == 0);
    assert_true(l.memory_left == UINT64_MAX);
}

static void test_meminfo(void **state)
{
    uint64_t total = 0, available = 0;
    assert_false(machine_meminfo(root, &total, &available));
    put("/proc/meminfo", "MemTotal:       24684084 kB\nMemFree:  1 kB\nMemAvailable:   24326508 kB\n");
    assert_true(machine_meminfo(root, &total, &available));
    assert_int_equal(total, 24684084ull * 1024);
    assert_int_equal(available, 24326508ull * 1024);
}

static void append_name(void *ctx, const machine_finding *f)
{
    char *names = ctx;
    assert_true(f->name[0] && f->problem[0] && f->effect[0] && f->remedy[0] && f->price[0]);
    strcat(strcat(names, f->name), ";");
}

static void test_doctor(void **state)
{
    char names[512] = "";
    machine_doctor_at(root, append_name, names);
    assert_null(strstr(names, "governor"));
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    put("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n");
    put("/sys/devices/system/cpu/smt/active", "1\n");
    put("/proc/loadavg", "1.50 1.00 0.50 3/100 4242\n");
    put("/proc/sys/kernel/randomize_va_space", "2\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    put("/proc/cpuinfo", "processor : 0\nflags : fpu vme hypervisor avx2\n");
    put("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    names[0] = '\0';
    machine_doctor_at(root, append_name, names);
    assert_string_equal(names, "governor;turbo;smt;cgroup quota;load;huge pages;aslr;clock;virtual machine;");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    put("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    put("/proc/loadavg", "0.02 1.00 0.50 1/100 4242\n");
    names[0] = '\0';
    machine_doctor_at(root, append_name, names);
    assert_string_equal(names, "smt;cgroup quota;huge pages;aslr;clock;virtual machine;");
}

static void test_clamped_caches(void **state)
{
    conv_context c = machine_clamp(2, 49152, 2 << 20, 240u << 20);
    assert_int_equal(c.threads, 2);
    assert_int_equal(c.l1d, 49152);
    assert_int_equal(c.l2, 2 << 20);
    assert_int_equal(c.l3, 4 << 20);
    c = machine_clamp(1, 0, 0, 0);
    assert_int_equal(c.l1d, 32768);
    assert_int_equal(c.l2, 512 << 10);
    assert_int_equal(c.l3, 0);
}

static void test_this_machine(void **state)
{
    const machine_info *m = machine_get();
    assert_ptr_equal(m, machine_get());
    assert_true(m->cores >= 1 && m->pus >= m->cores && m->packages >= 1);
    assert_true(m->memory_total > 0 && machine_memory_available() <= m->memory_total);
    assert_true(machine_default_threads() >= 1 && machine_default_threads() <= m->cores);
    assert_int_equal(strlen(machine_build_id()), 16);
    assert_string_equal(memory_level_name(LEVEL_DRAM), "DRAM");
}

/* Each thread on one hardware thread of its own; with more threads than cores all of them free again. */
static void test_binding(void **state)
{
    int threads = machine_get()->cores;
    char why[160];
    if (machine_bind_threads(threads, why, sizeof why) != THREADS_BOUND) {
        print_message("affinity cannot be set here: %s\n", why);
        skip();
    }
    int cpu[MACHINE_MAX_THREADS], width[MACHINE_MAX_THREADS];
#pragma omp parallel num_threads(threads)
    {
        cpu_set_t set;
        sched_getaffinity(0, sizeof set, &set);
        width[omp_get_thread_num()] = CPU_COUNT(&set);
        cpu[omp_get_thread_num()] = sched_getcpu();
    }
    for (int i = 0; i < threads; i++) {
        assert_int_equal(width[i], 1);
        for (int k = 0; k < i; k++) assert_int_not_equal(cpu[i], cpu[k]);
    }
    assert_int_equal(machine_bind_threads(threads + 1, why, sizeof why), THREADS_UNBOUND);
    assert_non_null(strstr(why, "none is bound"));
#pragma omp parallel num_threads(threads + 1)
    {
        cpu_set_t set;
        sched_getaffinity(0, sizeof set, &set);
        width[omp_get_thread_num()] = CPU_COUNT(&set);
    }
    for (int i = 0; i <= threads; i++) assert_int_equal(width[i], machine_get()->pus);
}

static void test_ceilings_remembered(void **state)
{
    setenv("XDG_CACHE_HOME", root, 1);
    char why[160], dir[PATH_MAX];
    assert_true(machine_cache_dir(dir, sizeof dir));
    assert_int_equal(strncmp(dir, root, strlen(root)), 0);
    machine_bind_threads(1, why, sizeof why);
    machine_ceilings first = machine_measure_ceilings(1, false);
    assert_true(first.age_seconds == 0);
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        assert_int_equal(first.fma_gflops[isa] > 0, isa <= (int)cpu_allowed());
    assert_true(first.bandwidth_gbps[LEVEL_L1] > 0 && first.bandwidth_gbps[LEVEL_L2] > 0);
    for (int isa = 0; isa <= (int)cpu_allowed(); isa++)
        assert_true(first.loads[isa] > 0 && first.broadcasts[isa] > 0);
    assert_true(first.read_gbps[LEVEL_L1] > 0 && first.barrier_ns == 0);
    machine_ceilings again = machine_measure_ceilings(1, false);
    assert_true(again.age_seconds > 0);
    again.age_seconds = first.age_seconds;
    assert_memory_equal(&again, &first, sizeof first); /* every figure came back */
    /* A damaged file is measured anew, not believed. */
    char name[128];
    snprintf(name, sizeof name, "/sepbench/ceilings-%s-t1.json", cpu_isa_name(cpu_allowed()));
    put(name, "{\"key\": {}, \"measured\"");
    again = machine_measure_ceilings(1, false);
    assert_true(again.age_seconds == 0);
    json_t *j = machine_json(1, &again);
    assert_non_null(j);
    assert_true(json_is_string(json_object_get(j, "cpu")));
    assert_true(json_is_object(json_object_get(j, "ceilings")));
    assert_true(json_is_array(json_object_get(j, "warnings")));
    json_decref(j);
}

#define IN_ROOT(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOT(test_no_cgroup),
        IN_ROOT(test_cgroup_v2),
        IN_ROOT(test_cgroup_v1_container),
        IN_ROOT(test_meminfo),
        IN_ROOT(test_doctor),
        cmocka_unit_test(test_clamped_caches),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_binding),
        IN_ROOT(test_ceilings_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
