/* A worker, driven over a pipe: one side of a comparison (the gate asks), or an engine that needs a process of
 * its own (a run asks). It never works unasked, and before it answers a request for a sample all its threads
 * sleep again, so that who is asked next has the cores to itself. */
#include "serve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../build_info.h"
#include "../cli.h"
#include "../json.h"
#include "../machine/machine.h"
#include "../measure/job.h"
#include "../measure/quiet.h"
#include "../measure/served.h"
#include "../measure/verify.h"
#include "engines.h"
#include "protocol.h"

/* Oracle work per check. The sentinel's smaller problems are checked whole,
 * of the others a sample of outputs. */
static const double ORACLE_FLOPS = 1e7;

enum { BATCHES_MAX = 1000 };

typedef struct {
    record_row row;
    conv_tensors tensors;
    conv_job job;
    conv_status status; /* of the last execute that failed */
    double call_ns;
} prepared;

typedef struct {
    FILE *out;
    prepared *cases[WORKER_CASES_MAX];
    served *rows; /* measured for a run */
    int bound_threads;
} server;

static json_t *answer(case_status status, const char *reason)
{
    return json_pack("{s:s, s:s}", "status", case_status_name(status), "reason", reason);
}

static json_t *answer_failure(conv_status status, const conv_error *err)
{
    return answer(case_status_of(status), err->text);
}

static const conv_impl *find_impl(const record_row *row, conv_error *err)
{
    const conv_impl *impl = conv_find(row->impl, row->problem.variant);
    size_t count;
    const conv_entry *e = conv_entries(&count);
    if (impl != NULL) return impl;
    for (size_t i = 0; i < count; i++)
        if (e[i].variant == row->problem.variant && strcmp(e[i].name, row->impl) == 0) {
            conv_fail(err, CONV_REFUSED, "%s", e[i].absent);
            return NULL;
        }
    conv_fail(err, CONV_REFUSED, "this build knows no %s implementation '%s'",
              conv_variant_name(row->problem.variant), row->impl);
    return NULL;
}

static conv_status bind_pool(server *s, int threads, conv_error *err)
{
    char why[256];
    if (threads == s->bound_threads) return CONV_OK;
    threads_state state = machine_bind_threads(threads, why, sizeof why);
    if (state == THREADS_UNBOUND) cli_warning("%s", why);
    s->bound_threads = state == THREADS_FEWER ? 0 : threads;
    return state == THREADS_FEWER ? conv_fail(err, CONV_FAILED, "%s", why) : CONV_OK;
}

/* The case that a request names, with its implementation and its threads. NULL with *refusal, the reply. */
static const conv_impl *take_case(server *s, const json_t *request, record_row *row, json_t **refusal)
{
    conv_error err = {""};
    conv_status status = protocol_read_case(request, row, &err);
    const conv_impl *impl = status == CONV_OK ? find_impl(row, &err) : NULL;
    if (status == CONV_OK && impl == NULL) status = CONV_REFUSED;
    if (status == CONV_OK) status = bind_pool(s, row->threads, &err);
    *refusal = status == CONV_OK ? NULL : answer_failure(status, &err);
    return status == CONV_OK ? impl : NULL;
}

/* ---- verify */

/* Whole numbers must come out exactly, real ones within their bound; as `sepbench verify`. */
static json_t *check(const record_row *row, const conv_impl *impl, fill_kind kind, double *seconds)
{
    const verify_options options = {.kind = kind, .seed = 1, .budget_flops = ORACLE_FLOPS};
    conv_context context = machine_context(row->threads);
    verify_result result;
    char repro[CASE_NAME_MAX + 128], line[sizeof repro + 64];
    conv_status status = verify_case(impl, &row->problem, row->pass, &context, &options, &result);
    if (status != CONV_OK) return answer(case_status_of(status), result.where);
    *seconds = result.execute_seconds;
    if (result.ok) return NULL;
    record_repro(row, repro, sizeof repro);
    snprintf(line, sizeof line, "sepbench verify%s", repro + strlen("sepbench bench"));
    json_t *reply = answer(CASE_WRONG, result.where);
    json_object_set_new(reply, "repro", json_string(line));
    return reply;
}

static json_t *do_verify(server *s, const json_t *request)
{
    record_row row;
    json_t *reply;
    const conv_impl *impl = take_case(s, request, &row, &reply);
    if (impl == NULL) return reply;
    double seconds = 0;
    reply = check(&row, impl, FILL_INTEGERS, &seconds);
    if (reply == NULL) reply = check(&row, impl, FILL_REALS, &seconds);
    if (reply != NULL) return reply;
    reply = answer(CASE_OK, "");
    json_object_set_new(reply, "call_ns", json_real(1e9 * seconds));
    return reply;
}

/* Once, as the request has it. */
static json_t *do_check(server *s, const json_t *request)
{
    record_row row;
    json_t *reply;
    const conv_impl *impl = take_case(s, request, &row, &reply);
    if (impl == NULL) return reply;
    bool reals = strcmp(json_text(request, "kind", ""), "reals") == 0;
    const verify_options options = {.kind = reals ? FILL_REALS : FILL_INTEGERS,
                                    .seed = (uint64_t)json_integer_value(json_object_get(request, "seed")),
                                    .budget_flops = json_number_value(json_object_get(request, "flops")),
                                    .accumulate = json_is_true(json_object_get(request, "accumulate"))};
    const conv_context context = machine_context(row.threads);
    verify_result result = {0};
    conv_status status = verify_case(impl, &row.problem, row.pass, &context, &options, &result);
    quiet_settle();
    if (status != CONV_OK) return answer(case_status_of(status), result.where);
    if (!result.ok) return answer(CASE_WRONG, result.where);
    reply = answer(CASE_OK, "");
    json_object_set_new(reply, "values", json_integer(result.checked));
    json_object_set_new(reply, "max_abs_error", json_real(result.max_abs_error));
    return reply;
}

/* ---- open: a row to measure for a run; its further steps are served.c's */

static json_t *do_open(server *s, const json_t *request)
{
    record_row row;
    json_t *reply;
    return take_case(s, request, &row, &reply) == NULL ? reply : served_open(s->rows, request, &row);
}

/* ---- prepare, sample, drop */

static void call_once(void *ctx)
{
    prepared *p = ctx;
    conv_status status = conv_execute(p->job.plan, &p->job.args);
    if (status != CONV_OK) p->status = status;
}

static void release(prepared *p)
{
    if (p == NULL) return;
    job_finish(&p->job);
    conv_tensors_destroy(&p->tensors);
    free(p);
}

/* A few calls; the fastest is the one that nobody disturbed. */
static void calibrate(prepared *p)
{
    const double enough = 5e-4;
    double started = machine_now(), fastest = INFINITY;
    int calls = 0;
    while (calls < 3 || (calls < 1000 && machine_now() - started < enough)) {
        double start = machine_now();
        call_once(p);
        fastest = fmin(fastest, machine_now() - start);
        calls++;
    }
    p->call_ns = 1e9 * fmax(fastest, 1e-8);
}

static conv_status prepare(prepared *p, const conv_impl *impl, conv_error *err)
{
    const record_row *row = &p->row;
    const conv_context context = machine_context(row->threads);
    conv_status status = conv_tensors_fit(&row->problem, row->pass, err);
    if (status == CONV_OK) status = job_plan(&p->job, impl, &row->problem, row->pass, &context, err);
    if (status != CONV_OK) return status;
    if (!conv_tensors_create(&row->problem, row->pass, FILL_REALS, 1, &p->tensors))
        return conv_fail(err, CONV_NO_MEMORY, "no memory for the tensors");
    const conv_args args = conv_tensors_args(&p->tensors);
    status = job_ready(&p->job, &args, NULL, err);
    if (status != CONV_OK) return status;
    status = conv_enter(p->job.plan, &p->job.args);
    if (status == CONV_OK) {
        calibrate(p);
        status = p->status;
    }
    return status == CONV_OK ? status : conv_fail(err, status, "execute failed");
}

static json_t *describe(const prepared *p)
{
    const conv_plan *plan = p->job.plan;
    char text[256];
    snprintf(text, sizeof text, "%s%sscratch %zu, packed %zu, workspace %zu", plan->note,
             plan->note[0] ? "; " : "", plan->scratch_bytes, plan->packed_bytes, plan->workspace_bytes);
    json_t *reply = answer(CASE_OK, "");
    json_object_set_new(reply, "plan", json_string(text));
    json_object_set_new(reply, "call_ns", json_real(p->call_ns));
    return reply;
}

static prepared **find_slot(server *s, const json_t *request)
{
    const json_t *id = json_object_get(request, "id");
    json_int_t n = json_integer_value(id);
    return json_is_integer(id) && n >= 0 && n < WORKER_CASES_MAX ? &s->cases[n] : NULL;
}

static json_t *do_prepare(server *s, const json_t *request)
{
    conv_error err = {""};
    prepared **slot = find_slot(s, request), *p = calloc(1, sizeof *p);
    if (slot == NULL || *slot != NULL || p == NULL) {
        free(p);
        return answer(CASE_FAILED, "prepare: the id is missing, out of range or in use");
    }
    json_t *refusal;
    const conv_impl *impl = take_case(s, request, &p->row, &refusal);
    conv_status status = impl != NULL ? prepare(p, impl, &err) : CONV_REFUSED;
    if (status != CONV_OK) {
        release(p);
        return impl != NULL ? answer_failure(status, &err) : refusal;
    }
    *slot = p;
    return describe(p);
}

static int compare_reals(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Nanoseconds of one call: the lower quartile of short batches. Whoever takes a core away, the hypervisor above
 * all, makes some batches long and none short: on a shared virtual machine this scatters a fifth as much as
 * the mean of one long loop does, while whatever slows every call shows in full. */
static double time_batches(prepared *p, json_int_t iterations, size_t batches)
{
    double ns[BATCHES_MAX];
    for (size_t b = 0; b < batches; b++) {
        double start = machine_now();
        for (json_int_t i = 0; i < iterations; i++) call_once(p);
        ns[b] = 1e9 * (machine_now() - start) / (double)iterations;
    }
    qsort(ns, batches, sizeof *ns, compare_reals);
    return ns[batches / 4];
}

static json_t *do_sample(server *s, const json_t *request)
{
    prepared **slot = find_slot(s, request);
    json_int_t iterations = json_integer_value(json_object_get(request, "iterations"));
    json_int_t batches = json_integer_value(json_object_get(request, "batches"));
    double warm_ns = json_number_value(json_object_get(request, "warm_ns"));
    if (slot == NULL || *slot == NULL || iterations < 1 || batches < 1 || batches > BATCHES_MAX)
        return answer(CASE_FAILED, "sample: no such case is prepared, or impossible iterations or batches");
    prepared *p = *slot;
    conv_error err;
    if (bind_pool(s, p->row.threads, &err) != CONV_OK) return answer(CASE_FAILED, err.text);
    for (double end = machine_now() + 1e-9 * fmin(warm_ns, 1e9); machine_now() < end;) call_once(p);
    double waited = quiet_waited(), started = machine_now();
    double ns = time_batches(p, iterations, (size_t)batches), seconds = machine_now() - started;
    waited = (quiet_waited() - waited) / (seconds * p->row.threads);
    quiet_settle();
    if (p->status != CONV_OK) return answer(CASE_FAILED, "execute failed");
    json_t *reply = answer(CASE_OK, "");
    json_object_set_new(reply, "ns", json_real(ns));
    json_object_set_new(reply, "waited", json_real(waited));
    return reply;
}

static json_t *do_drop(server *s, const json_t *request)
{
    prepared **slot = find_slot(s, request);
    if (slot == NULL || *slot == NULL) return answer(CASE_FAILED, "drop: no such case is prepared");
    release(*slot);
    *slot = NULL;
    return answer(CASE_OK, "");
}

/* ---- the loop */

static const struct {
    const char *name;
    json_t *(*run)(server *s, const json_t *request);
} requests[] = {{"verify", do_verify},   {"check", do_check},   {"open", do_open},
                {"prepare", do_prepare}, {"sample", do_sample}, {"drop", do_drop}};

static json_t *hello(void)
{
    const machine_info *m = machine_get();
    return json_pack("{s:i, s:i, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:s}", "sepbench_worker",
                     WORKER_PROTOCOL, "schema", RECORD_SCHEMA, "build", machine_build_id(), "commit",
                     build_commit(), "dirty", (int)build_dirty(), "kernels", build_kernels(), "compiler",
                     build_compiler(), "inject", build_inject(), "cpu", m->cpu, "host", m->host, "threads",
                     machine_default_threads(), "isa", cpu_isa_name(m->isa_allowed));
}

static bool reply(server *s, json_t *object)
{
    bool written = object != NULL && json_dumpf(object, s->out, JSON_COMPACT) == 0 &&
                   putc('\n', s->out) != EOF && fflush(s->out) == 0;
    json_decref(object);
    return written;
}

static json_t *handle(server *s, const char *line, bool *quit)
{
    json_error_t error;
    json_t *request = json_loads(line, 0, &error), *result = NULL;
    const char *what = json_string_value(json_object_get(request, "do"));
    if (what == NULL) {
        result = answer(CASE_FAILED, "not a request: a JSON object with a member \"do\" is");
    } else if (strcmp(what, "quit") == 0) {
        *quit = true;
        result = answer(CASE_OK, "");
    }
    for (size_t i = 0; result == NULL && i < sizeof requests / sizeof *requests; i++)
        if (strcmp(requests[i].name, what) == 0) result = requests[i].run(s, request);
    if (result == NULL) result = served_step(s->rows, request);
    if (result == NULL) result = answer(CASE_FAILED, "this worker does not know that request");
    json_decref(request);
    return result;
}

int worker_serve(FILE *in, FILE *out, measure_runner *run)
{
    char *line = NULL;
    size_t room = 0;
    bool quit = false;
    conv_error err;
    server *s = calloc(1, sizeof *s);
    if (s != NULL) s->rows = served_create(run);
    if (s == NULL || s->rows == NULL) return cli_error("worker: no memory");
    s->out = out;
    bool fine = bind_pool(s, machine_default_threads(), &err) == CONV_OK ? reply(s, hello())
                                                                         : (cli_error("%s", err.text), false);
    while (fine && !quit && getline(&line, &room, in) > 0) fine = reply(s, handle(s, line, &quit));
    for (int i = 0; i < WORKER_CASES_MAX; i++) release(s->cases[i]);
    served_destroy(s->rows);
    free(line);
    free(s);
    return fine ? EXIT_FINE : cli_error("worker: stdout cannot be written");
}
