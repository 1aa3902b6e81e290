#include "contest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../kernels/strategy.h"
#include "../cli.h"
#include "../machine/machine.h"
#include "quiet.h"
#include "race.h"

enum { MOST_TURNS = 9 };
static const double HOPELESS = 1.5, TELLING_CALL = 1e-3, FASTER = 0.98, FASTER_BY_ONE_CALL = 0.95;

/* ---- turns */

static bool call_once(contender *c)
{
    const conv_args *args = &c->job.args;
    if (!c->as_step) return conv_execute(c->job.plan, args) == CONV_OK;
    return conv_pack(c->job.plan, args->weights, args->pointwise, c->job.packed) == CONV_OK &&
           job_run(&c->job, NULL) == CONV_OK;
}

static void add_time(contender *c, double seconds)
{
    const record_sample sample = {.ns = 1e9 * seconds, .iterations = 1, .use = SAMPLE_CHOOSES};
    c->in = samples_add(&c->times, &sample) && c->in;
}

void contender_turn(contender *c)
{
    int64_t calls = 0;
    if (c->in && !c->as_step && c->call < CONTEST_SHORT_CALL) c->in = call_once(c);
    if (!c->in) return;
    double start = machine_now(), took;
    do {
        c->in = call_once(c);
        took = machine_now() - start;
        calls++;
    } while (c->in && !c->as_step && took < CONTEST_TURN);
    if (c->in) add_time(c, took / (double)calls);
}

/* Seconds of a turn when a call takes so many. */
static double turn_seconds(double call)
{
    return fmax(call, CONTEST_TURN) + (call < CONTEST_SHORT_CALL ? call : 0);
}

double contender_median(const contender *c) { return samples_median(&c->times, SAMPLE_CHOOSES); }

void contender_finish(contender *c)
{
    job_finish(&c->job);
    c->in = false;
}

/* ---- a contest */

typedef struct {
    const atomic_part *part;
    const conv_context *context;
    verify_reference *reference;
    double began, seconds;
    contest_result *result;
    contender list[CONV_STRATEGIES];
    int count;     /* of those that entered */
    void *scratch; /* of all: its contents mean nothing between calls */
} contest;

static conv_status blame(contest *c, int i, const char *why, conv_error *err)
{
    char text[CONV_STRATEGY_TEXT];
    const conv_candidates *all = &c->result->candidates;
    return conv_fail(err, CONV_FAILED, "strategy '%.110s': %.130s",
                     strategy_text(all->choices, &all->list[i], text, sizeof text), why);
}

/* All plans, the largest scratch, and who does not fit into memory beside those before is out. */
static conv_status plan_all(contest *c, conv_error *err)
{
    double kept = 0, scratch = 0, available = memory_to_use();
    for (int i = 0; i < c->count; i++) {
        contender *k = &c->list[i];
        conv_context told = *c->context;
        conv_error why;
        told.told = true;
        told.strategy = c->result->candidates.list[i];
        conv_status status = job_plan(&k->job, c->part->impl, &c->part->problem, c->part->pass, &told, &why);
        if (status == CONV_NO_MEMORY) continue;
        if (status != CONV_OK) return blame(c, i, why.text, err);
        double own = job_bytes(&k->job) - (double)k->job.plan->scratch_bytes,
               larger = fmax(scratch, (double)k->job.plan->scratch_bytes);
        if (kept + own + larger > available) continue;
        k->in = true;
        kept += own;
        scratch = larger;
    }
    c->scratch = buffer_alloc((size_t)scratch);
    return c->scratch != NULL && c->list[0].in ? CONV_OK
                                               : conv_fail(err, CONV_NO_MEMORY, "no memory to time strategies");
}

static conv_status first_call(contest *c, int i, conv_error *err)
{
    contender *k = &c->list[i];
    const conv_args args = verify_args(c->reference);
    conv_error why;
    verify_result checked;
    job_poison(c->scratch, k->job.plan->scratch_bytes);
    conv_status status = job_ready(&k->job, &args, c->scratch, &why);
    if (status == CONV_OK) status = verify_job(c->reference, &k->job, &checked, &why);
    if (status == CONV_NO_MEMORY && i > 0) {
        k->in = false;
        return CONV_OK;
    }
    if (status != CONV_OK) return blame(c, i, why.text, err);
    c->result->wrong = !checked.ok;
    if (!checked.ok) return blame(c, i, checked.where, err);
    k->call = checked.execute_seconds;
    if (k->call >= CONTEST_LONG_CALL) add_time(k, k->call);
    return CONV_OK;
}

/* How many of the list enter, by what the pick's first call took with all around it. */
static int affordable(const contest *c, double first)
{
    double call = c->list[0].call,
           turns = call >= CONTEST_LONG_CALL ? 0 : CONTEST_LEAST_TURNS * turn_seconds(call),
           fit = c->seconds / (first + turns);
    return fit < c->count ? (int)fmax(fit, 1) : c->count;
}

static conv_status first_calls(contest *c, conv_error *err)
{
    double start = machine_now();
    conv_status status = first_call(c, 0, err);
    int enter = affordable(c, machine_now() - start);
    for (int i = enter; i < c->count; i++) c->list[i].in = false;
    for (int i = 1; i < enter && status == CONV_OK && !cli_interrupted(); i++)
        if (c->list[i].in) status = first_call(c, i, err);
    return cli_interrupted() ? conv_fail(err, CONV_NO_MEMORY, "interrupted") : status;
}

static int still_in(const contest *c)
{
    int in = 0;
    for (int i = 0; i < c->count; i++) in += c->list[i].in;
    return in;
}

static void drop_hopeless(contest *c)
{
    double least = INFINITY;
    for (int i = 0; i < c->count; i++)
        if (c->list[i].in) least = fmin(least, c->list[i].call);
    for (int i = 0; i < c->count; i++) {
        contender *k = &c->list[i];
        if (!k->in || least < TELLING_CALL || k->call <= HOPELESS * least) continue;
        if (k->times.count == 0) add_time(k, k->call);
        k->in = false;
    }
}

static void drop_behind(contest *c)
{
    race_entry entries[CONV_STRATEGIES];
    for (int i = 0; i < c->count; i++)
        entries[i] = (race_entry){.samples = &c->list[i].times, .timed = c->list[i].in, .exact = true};
    race_judge(entries, c->count);
    for (int i = 0; i < c->count; i++)
        if (c->list[i].in && entries[i].state == RACE_BEHIND) c->list[i].in = false;
}

/* Whether another round may begin: three for short calls in any case, the others as long as there is time. */
static bool goes_on(const contest *c, int round)
{
    double cost = 0;
    for (int i = 0; i < c->count; i++)
        if (c->list[i].in) cost += turn_seconds(c->list[i].call);
    if (cli_interrupted()) return false;
    if (round < CONTEST_LEAST_TURNS && c->list[0].call < CONTEST_LONG_CALL) return true;
    return still_in(c) > 1 && machine_now() - c->began + cost < c->seconds;
}

static void take_turns(contest *c)
{
    for (int round = 0; round < MOST_TURNS && goes_on(c, round); round++) {
        for (int i = 0; i < c->count; i++) contender_turn(&c->list[(i + round) % c->count]);
        if (round + 1 >= CONTEST_LEAST_TURNS) drop_behind(c);
    }
}

/* The first of those that are as fast as the fastest, but for what noise can do. */
static void decide(contest *c)
{
    contest_result *r = c->result;
    double least = INFINITY;
    bool single = c->list[0].times.count < 2;
    r->model_ns = contender_median(&c->list[0]);
    for (int i = 0; i < c->count; i++) {
        double median = contender_median(&c->list[i]);
        if (!(median < least)) continue;
        least = median;
        single = c->list[i].times.count < 2 || c->list[0].times.count < 2;
    }
    double near = least / (single ? FASTER_BY_ONE_CALL : FASTER);
    for (r->winner = 0; r->winner < c->count - 1; r->winner++)
        if (contender_median(&c->list[r->winner]) <= near) break;
    r->ns = contender_median(&c->list[r->winner]);
    r->measured = isfinite(r->ns) && isfinite(r->model_ns);
    if (!r->measured) r->winner = 0;
}

conv_status contest_run(const atomic_part *part, const conv_context *context, verify_reference *reference,
                        double seconds, contest_result *result, conv_error *err)
{
    contest c = {.part = part,
                 .context = context,
                 .reference = reference,
                 .began = machine_now(),
                 .seconds = seconds,
                 .result = result};
    *result = (contest_result){.ns = NAN, .model_ns = NAN};
    conv_strategies(part->impl, &part->problem, part->pass, context, &result->candidates);
    c.count = result->candidates.count;
    if (c.count < 2) return CONV_OK;
    quiet_settle();
    conv_status status = plan_all(&c, err);
    if (status == CONV_OK) status = first_calls(&c, err);
    if (status == CONV_OK && still_in(&c) > 1) {
        drop_hopeless(&c);
        take_turns(&c);
        decide(&c);
    }
    for (int i = 0; i < c.count; i++) {
        contender_finish(&c.list[i]);
        samples_free(&c.list[i].times);
    }
    buffer_free(c.scratch);
    return status;
}
