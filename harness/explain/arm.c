#include "arm.h"

#include <math.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "../measure/evict.h"
#include "../measure/job.h"
#include "../measure/quiet.h"

struct arm {
    arm_setting setting;
    conv_tensors tensors;
    conv_job job;
    evict_list evict;
    double call_seconds; /* 0: not known yet */
    conv_status status;  /* of the last call that failed */
};

const conv_plan *arm_plan(const arm *a) { return a->job.plan; }

static conv_status fill_arm(arm *a, conv_error *err)
{
    const arm_setting *s = &a->setting;
    conv_context context = machine_context(s->threads);
    conv_status status = conv_tensors_fit(&s->problem, s->pass, err);
    if (status != CONV_OK) return status;
    if (!conv_tensors_create(&s->problem, s->pass, FILL_REALS, 1, &a->tensors))
        return conv_fail(err, CONV_NO_MEMORY, "no memory for its tensors");
    const conv_args args = conv_tensors_args(&a->tensors);
    status = job_plan(&a->job, s->impl, &s->problem, s->pass, &context, err);
    if (status == CONV_OK) status = job_ready(&a->job, &args, NULL, err);
    if (status != CONV_OK) return status;
    status = conv_enter(a->job.plan, &a->job.args);
    if (status != CONV_OK) return conv_fail(err, status, "converting the activations failed");
    if (s->cache != CACHE_COLD) return CONV_OK;
    evict_add_operands(&a->evict, a->job.plan, &a->job.args);
    return evict_prepare(&a->evict, s->threads)
               ? CONV_OK
               : conv_fail(err, CONV_NO_MEMORY, "no memory for the buffer that sweeps the caches");
}

arm *arm_create(const arm_setting *setting, conv_error *err)
{
    char why[160];
    arm *a = calloc(1, sizeof *a);
    if (a == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "no memory");
        return NULL;
    }
    a->setting = *setting;
    machine_bind_threads(setting->threads, why, sizeof why);
    /* Pages become huge when they are first touched, all of them in here. */
    if (setting->small_pages) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    conv_status status = fill_arm(a, err);
    if (setting->small_pages) prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    if (status == CONV_OK) return a;
    arm_destroy(a);
    return NULL;
}

void arm_destroy(arm *a)
{
    if (a == NULL) return;
    evict_release(&a->evict);
    job_finish(&a->job);
    conv_tensors_destroy(&a->tensors);
    free(a);
}

static void call_once(void *ctx)
{
    arm *a = ctx;
    conv_status status = CONV_OK;
    if (a->setting.pack_each_call)
        status = conv_pack(a->job.plan, a->job.args.weights, a->job.args.pointwise, a->job.packed);
    if (status == CONV_OK) status = conv_execute(a->job.plan, &a->job.args);
    if (status != CONV_OK) a->status = status;
}

static void call_evict(void *ctx) { evict_now(&((arm *)ctx)->evict, ((arm *)ctx)->setting.threads); }

/* The OpenMP pool has the arm's threads, and nobody else's spin beside it. */
static void take_cores(const arm *a)
{
    char why[160];
    machine_bind_threads(a->setting.threads, why, sizeof why);
    if (a->setting.impl->own_threads) quiet_settle();
}

bool arm_call(arm *a)
{
    take_cores(a);
    call_once(a);
    return a->status == CONV_OK;
}

double arm_sample(arm *a, double seconds, measure_runner *run, void *runner, int repetition)
{
    bool cold = a->setting.cache == CACHE_COLD;
    const measure_loop loop = {call_once, cold ? call_evict : NULL, a};
    take_cores(a);
    for (int i = 0; i < 2 && a->call_seconds == 0; i++) { /* the first warms up */
        if (cold) call_evict(a);
        double start = machine_now();
        call_once(a);
        if (i == 1) a->call_seconds = fmax(machine_now() - start, 1e-7);
    }
    int64_t iterations = (int64_t)fmax(1, ceil(seconds / a->call_seconds));
    double ns = run(runner, "explain", &loop, iterations, repetition);
    if (ns > 0) a->call_seconds = 1e-9 * ns;
    return a->status == CONV_OK ? ns : -1;
}
