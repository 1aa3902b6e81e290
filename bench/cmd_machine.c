/* sepbench machine: what this machine is, what it can reach, and what stands in the way of measuring it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "overhead.h"

enum { OPT_FRESH = 1, OPT_JSON, OPT_DOCTOR, OPT_OVERHEAD, COLUMNS = 8, WIDTH = 80 };

typedef struct {
    int threads;
    bool fresh, json, doctor, overhead;
} machine_options;

static const struct argp_option options[] = {
    {"threads", 't', "N", 0,
     "measure 1, 2, 4, ... up to N threads (default: OMP_NUM_THREADS, else one per physical core)", 0},
    {"fresh", OPT_FRESH, NULL, 0, "measure the ceilings again instead of showing remembered ones", 0},
    {"json", OPT_JSON, NULL, 0, "print JSON", 0},
    {"doctor", OPT_DOCTOR, NULL, 0, "list what makes measurements noisy here and how to mend it", 0},
    {"overhead", OPT_OVERHEAD, NULL, 0, "measure what the harness itself adds to a call", 0},
    {0}};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    machine_options *o = state->input;
    int64_t value;
    switch (key) {
    case 't':
        if (!cli_parse_int(argument, 1, MACHINE_MAX_THREADS, &value))
            argp_error(state, "--threads is '%s': must be a whole number from 1 to %d", argument,
                       MACHINE_MAX_THREADS);
        o->threads = (int)value;
        return 0;
    case OPT_FRESH: o->fresh = true; return 0;
    case OPT_JSON: o->json = true; return 0;
    case OPT_DOCTOR: o->doctor = true; return 0;
    case OPT_OVERHEAD: o->overhead = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", argument); return EINVAL;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options,
    parse,
    NULL,
    "Shows this CPU and memory, and measures the peak multiply-add rate per instruction "
    "set, the loads from L1, the bandwidth of each memory level and the cost of a barrier.",
    NULL,
    NULL,
    NULL};

/* "48 KiB", "1.9 MiB" in one of four buffers. */
static const char *size_text(double bytes)
{
    static char text[4][24];
    static int next;
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    for (; bytes >= 1024 && u < 4; u++) bytes /= 1024;
    char *t = text[next++ % 4];
    snprintf(t, sizeof text[0], bytes < 10 && u > 1 && bytes != (int)bytes ? "%.1f %s" : "%.0f %s", bytes,
             unit[u]);
    return t;
}

static void print_machine(void)
{
    const machine_info *m = machine_get();
    conv_context c = machine_context(1);
    printf("CPU      %s\n", m->cpu);
    printf("host     %s, %s\n", m->host, m->kernel_release);
    printf("cores    %d physical, %d hardware threads, %d package%s\n", m->cores, m->pus, m->packages,
           m->packages == 1 ? "" : "s");
    printf("caches   L1d %s, L2 %s shared by %d core%s, L3 %s shared by %d\n", size_text((double)m->l1d),
           size_text((double)m->l2), m->l2_sharing, m->l2_sharing == 1 ? "" : "s", size_text((double)m->l3),
           m->l3_sharing);
    printf("         plans count on L1d %s, L2 %s, L3 %s per core\n", size_text((double)c.l1d),
           size_text((double)c.l2), size_text((double)c.l3));
    printf("memory   %s, %s available\n", size_text((double)m->memory_total),
           size_text((double)machine_memory_available()));
    if (m->cpu_quota > 0)
        printf("quota    %.2f CPUs by cgroup\n", m->cpu_quota);
    else
        printf("quota    none\n");
    printf("ISA      %s%s%s\n", cpu_isa_name(m->isa),
           m->isa == m->isa_allowed ? "" : ", limited by SEPBENCH_MAX_ISA to ",
           m->isa == m->isa_allowed ? "" : cpu_isa_name(m->isa_allowed));
    printf("build    %s\n", machine_build_id());
}

static void print_row(const char *label, const machine_ceilings *c, int count, const double *first)
{
    size_t offset = (size_t)((const char *)first - (const char *)c);
    if (*(const double *)((const char *)&c[count - 1] + offset) <= 0) return;
    printf("  %-12s", label);
    for (int i = 0; i < count; i++) printf(" %7.4g", *(const double *)((const char *)&c[i] + offset));
    putchar('\n');
}

static void print_ceilings(const machine_ceilings *c, int count)
{
    printf("\n  %-12s", "threads");
    for (int i = 0; i < count; i++) printf(" %7d", c[i].threads);
    printf("\nGFLOP/s, fp32 multiply-adds in registers\n");
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        print_row(cpu_isa_name((cpu_isa)isa), c, count, &c->fma_gflops[isa]);
    printf("1e9 loads a second from L1: whole vectors; one float into all lanes\n");
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        print_row(cpu_isa_name((cpu_isa)isa), c, count, &c->loads[isa]);
        print_row("", c, count, &c->broadcasts[isa]);
    }
    printf("GB/s, triad a = b + s*c, each array counted once; reading alone\n");
    for (int level = 0; level < LEVEL_COUNT; level++) {
        print_row(memory_level_name((memory_level)level), c, count, &c->bandwidth_gbps[level]);
        print_row("", c, count, &c->read_gbps[level]);
    }
    if (c[count - 1].barrier_ns > 0) printf("nanoseconds of a barrier of all threads\n");
    print_row("barrier", c, count, &c->barrier_ns);
}

/* 1, 2, 4, ... and `most`. Warns where threads could not be bound. */
static int measure_all(const machine_options *o, machine_ceilings *c, int *count)
{
    *count = 0;
    for (int t = 1; !cli_interrupted(); t = 2 * t < o->threads ? 2 * t : o->threads) {
        int code = machine_need_threads(t);
        if (code != EXIT_FINE) return code;
        c[(*count)++] = machine_measure_ceilings(t, o->fresh);
        if (t == o->threads) break;
    }
    return EXIT_FINE;
}

static void print_wrapped(const char *label, const char *text)
{
    int column = printf("  %-8s", label);
    for (const char *word = text; *word != '\0';) {
        int n = (int)strcspn(word, " ");
        if (column + 1 + n > WIDTH) column = printf("\n%10s", "") - 1;
        column += printf(" %.*s", n, word);
        word += n + strspn(word + n, " ");
    }
    putchar('\n');
}

static void print_finding(void *ctx, const machine_finding *f)
{
    int *count = ctx;
    printf("%s%d. %s: %s\n", *count > 0 ? "\n" : "", *count + 1, f->name, f->problem);
    ++*count;
    print_wrapped("effect", f->effect);
    print_wrapped("remedy", f->remedy);
    print_wrapped("costs", f->price);
}

static void collect_finding(void *array, const machine_finding *f)
{
    json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", f->name, "problem", f->problem,
                                           "effect", f->effect, "remedy", f->remedy, "price", f->price));
}

static int print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(value);
    return EXIT_FINE;
}

static int doctor(bool json)
{
    if (json) {
        json_t *array = json_array();
        machine_doctor(collect_finding, array);
        return print_json(array);
    }
    int count = 0;
    machine_doctor(print_finding, &count);
    if (count == 0) puts("Nothing found that would make measurements noisy.");
    return EXIT_FINE;
}

int cmd_machine(int argc, char **argv)
{
    machine_options o = {.threads = machine_default_threads()};
    if (cli_parse(&parser, argc, argv, &o) != 0) return EXIT_USAGE;
    cli_catch_signals();
    if (o.doctor) return doctor(o.json);
    if (o.overhead) return overhead_run(o.threads);

    machine_ceilings c[32];
    if (!o.json) print_machine();
    int count, code = measure_all(&o, c, &count);
    if (code != EXIT_FINE) return code;
    if (cli_interrupted()) return cli_signal_exit_code();
    if (o.json) {
        json_t *machine = machine_json(o.threads, &c[count - 1]), *all = json_array();
        for (int i = 0; i < count; i++) json_array_append_new(all, machine_ceilings_json(&c[i]));
        json_object_set_new(machine, "ceilings_by_threads", all);
        return print_json(machine);
    }
    for (int i = 0; i < count; i += COLUMNS) print_ceilings(c + i, count - i < COLUMNS ? count - i : COLUMNS);
    double age = 0;
    for (int i = 0; i < count; i++)
        if (c[i].age_seconds > age) age = c[i].age_seconds;
    if (age > 0)
        printf("\nCeilings remembered from %.0f minutes ago; --fresh measures them again.\n", age / 60);
    puts("'sepbench machine --doctor' says what makes measurements noisy here.");
    return EXIT_FINE;
}
