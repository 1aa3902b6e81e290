/* The machine as run.json describes it: enough to judge whether two runs may be compared. */
#include <gnu/libc-version.h>
#include <hwloc.h>
#include <stddef.h>
#include <stdio.h>

#include "../build_info.h"
#include "internal.h"

static json_t *caches_json(const machine_info *m, const conv_context *c)
{
    return json_pack("{s:I, s:I, s:i, s:I, s:i, s:{s:I, s:I, s:I}}", "l1d", (json_int_t)m->l1d, "l2",
                     (json_int_t)m->l2, "cores_sharing_l2", m->l2_sharing, "l3", (json_int_t)m->l3,
                     "cores_sharing_l3", m->l3_sharing, "per_core_for_plans", "l1d", (json_int_t)c->l1d, "l2",
                     (json_int_t)c->l2, "l3", (json_int_t)c->l3);
}

/* The figures of a machine_ceilings that are one for each instruction set or level. */
static const struct {
    const char *name;
    bool by_isa;
    size_t offset;
} ceiling_tables[] = {{"fma_gflops", true, offsetof(machine_ceilings, fma_gflops)},
                      {"loads", true, offsetof(machine_ceilings, loads)},
                      {"broadcasts", true, offsetof(machine_ceilings, broadcasts)},
                      {"bandwidth_gbps", false, offsetof(machine_ceilings, bandwidth_gbps)},
                      {"read_gbps", false, offsetof(machine_ceilings, read_gbps)}};
enum { CEILING_TABLES = sizeof ceiling_tables / sizeof *ceiling_tables };

static const char *ceiling_key(bool by_isa, int i)
{
    return by_isa ? cpu_isa_name((cpu_isa)i) : memory_level_name((memory_level)i);
}

json_t *machine_ceilings_json(const machine_ceilings *c)
{
    json_t *all = json_pack("{s:i, s:f, s:f}", "threads", c->threads, "barrier_ns", c->barrier_ns,
                            "age_seconds", c->age_seconds);
    for (int t = 0; t < CEILING_TABLES; t++) {
        bool by_isa = ceiling_tables[t].by_isa;
        const double *figure = (const double *)((const char *)c + ceiling_tables[t].offset);
        json_t *table = json_object();
        for (int i = 0; i < (by_isa ? (int)CPU_ISA_COUNT : (int)LEVEL_COUNT); i++)
            if (figure[i] > 0) json_object_set_new(table, ceiling_key(by_isa, i), json_real(figure[i]));
        json_object_set_new(all, ceiling_tables[t].name, table);
    }
    return all;
}

machine_ceilings machine_ceilings_of(const json_t *j)
{
    machine_ceilings c = {.threads = (int)json_integer_value(json_object_get(j, "threads")),
                          .barrier_ns = json_number_value(json_object_get(j, "barrier_ns")),
                          .age_seconds = json_number_value(json_object_get(j, "age_seconds"))};
    for (int t = 0; t < CEILING_TABLES; t++) {
        bool by_isa = ceiling_tables[t].by_isa;
        double *figure = (double *)((char *)&c + ceiling_tables[t].offset);
        const json_t *table = json_object_get(j, ceiling_tables[t].name);
        for (int i = 0; i < (by_isa ? (int)CPU_ISA_COUNT : (int)LEVEL_COUNT); i++)
            figure[i] = json_number_value(json_object_get(table, ceiling_key(by_isa, i)));
    }
    return c;
}

static void add_finding(void *array, const machine_finding *f)
{
    json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s}", "name", f->name, "problem", f->problem,
                                           "effect", f->effect, "remedy", f->remedy));
}

/* Library and version of each peer in this build, once per name; of those in processes of their own their
 * workers tell later. */
static json_t *versions_json(void)
{
    char hwloc[32];
    unsigned v = hwloc_get_api_version();
    snprintf(hwloc, sizeof hwloc, "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
    json_t *versions = json_pack("{s:s, s:s, s:s, s:i}", "libc", gnu_get_libc_version(), "hwloc", hwloc,
                                 "jansson", JANSSON_VERSION, "openmp", _OPENMP);
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (e[i].impl != NULL && e[i].impl->version != NULL && !e[i].impl->own_process)
            json_object_set_new(versions, e[i].name, json_string(e[i].impl->version()));
    return versions;
}

json_t *machine_json(int threads, const machine_ceilings *ceilings)
{
    const machine_info *m = machine_get();
    conv_context c = machine_context(threads);
    json_t *warnings = json_array();
    machine_doctor(add_finding, warnings);
    json_t *machine = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:s, s:s}", "cpu", m->cpu, "host", m->host,
                                "kernel", m->kernel_release, "packages", m->packages, "cores", m->cores,
                                "hardware_threads", m->pus, "cpu_quota", m->cpu_quota, "isa",
                                cpu_isa_name(m->isa), "isa_allowed", cpu_isa_name(m->isa_allowed));
    json_object_set_new(machine, "threads", json_integer(threads));
    json_object_set_new(machine, "caches", caches_json(m, &c));
    json_object_set_new(machine, "memory_total", json_integer((json_int_t)m->memory_total));
    json_object_set_new(machine, "memory_available", json_integer((json_int_t)m->memory_available));
    json_object_set_new(machine, "build",
                        json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", machine_build_id(), "compiler",
                                  build_compiler(), "flags", build_flags(), "isa_flags", ISA_FLAGS, "kernels",
                                  build_kernels()));
    if (build_inject()[0] != '\0')
        json_object_set_new(json_object_get(machine, "build"), "inject", json_string(build_inject()));
    json_object_set_new(machine, "versions", versions_json());
    if (ceilings != NULL) json_object_set_new(machine, "ceilings", machine_ceilings_json(ceilings));
    json_object_set_new(machine, "warnings", warnings);
    return machine;
}
