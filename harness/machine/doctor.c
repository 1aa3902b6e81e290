/* What makes measurements noisy on this machine, what that does, how to mend it and what mending costs.
 *
 * Sources: Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst, admin-guide/mm/transhuge.rst,
 * admin-guide/sysctl/kernel.rst of the Linux kernel; proc(5) for steal time; T. Mytkowicz et al., Producing
 * wrong data without doing anything obviously wrong!, ASPLOS 2009, for layout. */
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct {
    const char *root;
    void (*sink)(void *, const machine_finding *);
    void *ctx;
} patient;

/* A trouble, whatever its figures: its name, what it does to times, how to mend it, what mending costs. */
typedef struct {
    const char *name, *effect, *remedy, *price;
} advice;

static void say(const patient *p, advice a, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say(const patient *p, advice a, const char *format, ...)
{
    char problem[256];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    p->sink(p->ctx, &(machine_finding){a.name, problem, a.effect, a.remedy, a.price});
}

static bool read_number(const patient *p, const char *path, double *value)
{
    return machine_read_numbers(value, 1, p->root, path);
}

static void check_frequency(const patient *p)
{
    char governor[64] = "";
    double off, boost;
    if (machine_read_line(governor, sizeof governor, p->root,
                          "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") &&
        strcmp(governor, "performance") != 0)
        say(p,
            (advice){"governor", "the clock follows the load: first repetitions run slower, by 10 to 50%",
                     "sudo cpupower frequency-set -g performance", "power and heat while idle"},
            "frequency governor is '%s', not 'performance'", governor);
    bool turbo = (read_number(p, "/sys/devices/system/cpu/intel_pstate/no_turbo", &off) && off == 0) ||
                 (read_number(p, "/sys/devices/system/cpu/cpufreq/boost", &boost) && boost == 1);
    if (turbo)
        say(p,
            (advice){"turbo",
                     "speed depends on temperature and on how many cores work: drifts of 5 to 30% over minutes",
                     "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo, or echo 0 | sudo tee "
                     "/sys/devices/system/cpu/cpufreq/boost",
                     "everything runs slower, by the ratio of turbo to base clock"},
            "turbo is on");
}

static void check_cores(const patient *p)
{
    const machine_info *m = machine_get();
    double smt;
    if (read_number(p, "/sys/devices/system/cpu/smt/active", &smt) && smt == 1)
        say(p,
            (advice){"smt", "a sibling's work takes up to half of the core a thread is bound to",
                     "echo off | sudo tee /sys/devices/system/cpu/smt/control",
                     "half of the hardware threads, until 'on'"},
            "hardware threads share cores (SMT is on); sepbench uses one thread per core");
    double quota = machine_limits_read(p->root).cpus;
    if (quota > 0 && quota < m->cores)
        say(p,
            (advice){
                "cgroup quota",
                "the kernel stops all threads for the rest of each period once the quota is used",
                "raise cpu.max (docker run --cpus) to whole cores, or bench with --threads at most the quota",
                "none; fewer threads measure fewer cores"},
            "the cgroup grants %.2f CPUs of %d cores", quota, m->cores);
    if (omp_get_proc_bind() != omp_proc_bind_false)
        say(p,
            (advice){"OMP_PROC_BIND", "other libraries' pools inherit the main thread's core",
                     "unset OMP_PROC_BIND OMP_PLACES GOMP_CPU_AFFINITY: sepbench binds its threads itself",
                     "none"},
            "the environment binds OpenMP threads");
}

static void check_load(const patient *p)
{
    double load;
    if (read_number(p, "/proc/loadavg", &load) && load > 0.25)
        say(p,
            (advice){"load", "others take cores and cache from the run; times jump by whole time slices",
                     "stop what runs beside (top shows it) and wait a minute", "none"},
            "load average of the last minute is %.2f", load);
    double balancing;
    char node1[8];
    if (read_number(p, "/proc/sys/kernel/numa_balancing", &balancing) && balancing != 0 &&
        machine_read_line(node1, sizeof node1, p->root, "/sys/devices/system/node/node1/cpulist"))
        say(p,
            (advice){"numa balancing",
                     "the kernel unmaps pages to see who uses them: page faults inside timed loops",
                     "sudo sysctl kernel.numa_balancing=0", "programs that do not place memory may slow down"},
            "automatic NUMA balancing is on");
}

static void check_memory(const patient *p)
{
    char mode[128] = "", clock[64] = "";
    double aslr;
    if (machine_read_line(mode, sizeof mode, p->root, "/sys/kernel/mm/transparent_hugepage/enabled") &&
        strstr(mode, "[never]") != NULL)
        say(p,
            (advice){"huge pages", "large tensors pay TLB misses: up to 10% at the largest channel counts",
                     "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
                     "none: only who asks gets them"},
            "transparent huge pages are off");
    if (read_number(p, "/proc/sys/kernel/randomize_va_space", &aslr) && aslr != 0)
        say(p,
            (advice){"aslr",
                     "addresses differ from run to run: loops under 10 us may shift by 1 to 3% between runs, "
                     "not within",
                     "setarch -R sepbench bench ...", "that process loses a protection against exploits"},
            "address space layout is randomised");
    if (machine_read_line(clock, sizeof clock, p->root,
                          "/sys/devices/system/clocksource/clocksource0/current_clocksource") &&
        strcmp(clock, "tsc") != 0 && strcmp(clock, "kvm-clock") != 0 && strcmp(clock, "arch_sys_counter") != 0)
        say(p,
            (advice){"clock",
                     "reading the clock is a system call of about 1 us: cold mode, which reads it at every "
                     "call, overstates short ones",
                     "boot with tsc=reliable if the machine's TSC is",
                     "none if it is; wrong times if it is not"},
            "clock source is '%s'", clock);
}

/* Steal and total time of all CPUs in ticks. */
static bool read_steal(double *steal, double *total)
{
    enum { FIELDS = 8, STEAL = 7 }; /* user nice system idle iowait irq softirq steal */
    char line[512], *next = line + 3;
    *total = 0;
    if (!machine_read_line(line, sizeof line, "", "/proc/stat") || strncmp(line, "cpu", 3) != 0) return false;
    for (int i = 0; i < FIELDS; i++) {
        char *end;
        double ticks = strtod(next, &end);
        if (end == next) return false;
        next = end;
        *total += ticks;
        if (i == STEAL) *steal = ticks;
    }
    return *total > 0;
}

static bool virtual_machine(const char *root)
{
    char line[8192];
    char path[4096];
    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor") != NULL;
    if (f != NULL) fclose(f);
    return found;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The same chain of dependent multiplications again and again, about a millisecond each: it touches no memory,
 * so whatever varies is the machine's. Returns the 90th percentile over the minimum, less 1. */
static double jitter(void)
{
    enum { TIMES = 100, STEPS = 600000 };
    double seconds[TIMES];
    volatile double factor = 1.0 + 1e-9, product;
    for (int i = 0; i < TIMES; i++) {
        double x = factor, step = factor, start = machine_now();
        for (int k = 0; k < STEPS; k++) x *= step;
        product = x;
        seconds[i] = machine_now() - start;
    }
    (void)product;
    qsort(seconds, TIMES, sizeof *seconds, ascending);
    return seconds[TIMES * 9 / 10 - 1] / seconds[0] - 1;
}

static void check_now(const patient *p)
{
    double steal0 = 0, total0 = 0, steal1, total1;
    bool known = read_steal(&steal0, &total0);
    double noise = jitter();
    if (known && read_steal(&steal1, &total1) && steal1 > 0) {
        double now = total1 > total0 ? 100 * (steal1 - steal0) / (total1 - total0) : 0,
               ever = 100 * steal1 / total1;
        if (now > 0.5 || ever > 0.5)
            say(p,
                (advice){"steal",
                         "the host runs somebody else on this CPU: times jump, no statistic inside one run "
                         "sees it all",
                         "a dedicated host, or repeat the run and compare; the regression gate pairs runs for "
                         "this reason",
                         "money"},
                "the hypervisor took %.1f%% of CPU time just now, %.1f%% since boot", now, ever);
    }
    if (noise > 0.02)
        say(p,
            (advice){"jitter",
                     "a single repetition is uncertain by this much; the median of 9 by about a third of it",
                     "mend what stands above; raise --repetitions and --min-time", "a longer run"},
            "a loop that touches no memory varies by %.1f%% (90th percentile over minimum)", 100 * noise);
}

void machine_doctor_at(const char *root, void (*sink)(void *, const machine_finding *), void *ctx)
{
    patient p = {root, sink, ctx};
    check_frequency(&p);
    check_cores(&p);
    check_load(&p);
    check_memory(&p);
    if (virtual_machine(root))
        say(&p,
            (advice){"virtual machine",
                     "neighbours share the last-level cache, memory bandwidth and turbo budget: 2 to 20% "
                     "between runs; frequency settings are not visible from inside",
                     "bare metal, or only ratios measured within one run", "money"},
            "this is a virtual machine; hwloc may show the host's caches");
    if (root[0] == '\0') check_now(&p);
}

void machine_doctor(void (*sink)(void *, const machine_finding *), void *ctx)
{
    machine_doctor_at("", sink, ctx);
}
