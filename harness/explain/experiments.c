#include "experiments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../measure/tensors.h"
#include "../stats.h"

enum { PAIRS = 21, MORE_CHANNELS = 16, IMAGES = 4, HUGE_BUFFER = 4 << 20 };
/* Within LITTLE of 1 a ratio is none worth naming; an interval that holds 1 and more than that tells nothing.
 */
static const double SAMPLE_SECONDS = 0.006, LITTLE = 0.03;

/* ---- what is changed: NULL, or why it does not apply */

typedef const char *changer(const arm_setting *base, arm_setting *s);

static const char *one_thread(const arm_setting *base, arm_setting *s)
{
    if (base->impl->single_thread) return "The implementation uses one thread anyhow.";
    if (base->threads == 1) return "The case has one thread already.";
    s->threads = 1;
    return NULL;
}

static const char *all_cores(const arm_setting *base, arm_setting *s)
{
    if (base->impl->single_thread) return "The implementation uses one thread whatever there is.";
    s->threads = machine_get()->cores;
    return base->threads >= s->threads ? "The case uses all cores already." : NULL;
}

static const char *cold(const arm_setting *base, arm_setting *s)
{
    s->cache = CACHE_COLD;
    return base->cache == CACHE_COLD ? "The case is cold already." : NULL;
}

static const char *warm(const arm_setting *base, arm_setting *s)
{
    s->cache = CACHE_WARM;
    return base->cache == CACHE_WARM ? "The case is warm already." : NULL;
}

static bool huge_pages_are_off(void)
{
    char modes[128] = "[never]";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (f != NULL && fgets(modes, sizeof modes, f) == NULL) modes[0] = '\0';
    if (f != NULL) fclose(f);
    return strstr(modes, "[never]") != NULL;
}

static const char *small_pages(const arm_setting *base, arm_setting *s)
{
    conv_sizes n = conv_problem_sizes(&base->problem);
    int64_t largest = n.src > n.dst ? n.src : n.dst;
    if (n.weights > largest) largest = n.weights;
    if (n.pointwise > largest) largest = n.pointwise;
    if (huge_pages_are_off()) return "This system gives no huge pages.";
    if (4 * largest < HUGE_BUFFER) return "No tensor has 4 MB, so none is on huge pages.";
    s->small_pages = true;
    return NULL;
}

static const char *pack_each_call(const arm_setting *base, arm_setting *s)
{
    if (base->impl->pack == NULL) return "The implementation packs nothing.";
    s->pack_each_call = true;
    return NULL;
}

/* Both channel counts; groups of a depthwise convolution follow. False where they do not divide. */
static bool set_channels(arm_setting *s, int64_t ic, int64_t oc)
{
    conv_problem *p = &s->problem;
    if (p->variant == CONV_DEPTHWISE) {
        oc = ic * p->depth_multiplier;
        p->groups = ic;
    }
    p->ic = ic;
    p->oc = oc;
    return conv_problem_check(p, NULL) == CONV_OK && conv_refuse(s->impl, p, s->pass) == NULL;
}

static bool power_of_two(int64_t n) { return (n & (n - 1)) == 0; }

static const char *more_channels(const arm_setting *base, arm_setting *s)
{
    const conv_problem *p = &base->problem;
    if (p->layout != CONV_NHWC) return "Pixels of nchw lie side by side.";
    if (!power_of_two(p->ic) && !power_of_two(p->oc)) return "Pixels do not lie a power of two apart.";
    if (4 * (p->ic > p->oc ? p->ic : p->oc) < 512) return "Pixels lie close together.";
    if (!set_channels(s, p->ic + MORE_CHANNELS, p->oc + MORE_CHANNELS))
        return "The implementation refuses 16 channels more.";
    return NULL;
}

static const char *half_channels(const arm_setting *base, arm_setting *s)
{
    const conv_problem *p = &base->problem;
    if (p->ic % 2 != 0 || p->oc % 2 != 0) return "The channels are odd.";
    return set_channels(s, p->ic / 2, p->oc / 2) ? NULL : "The implementation refuses half the channels.";
}

static const char *more_images(const arm_setting *base, arm_setting *s)
{
    if (base->problem.mb != 1) return "The case has several images already.";
    s->problem.mb = IMAGES;
    return NULL;
}

static const char *one_image(const arm_setting *base, arm_setting *s)
{
    s->problem.mb = 1;
    return base->problem.mb == 1 ? "The case has one image already." : NULL;
}

/* ---- the experiments */

typedef struct {
    const char *name;
    changer *change;
    bool another_problem;
    const char *slower, *faster, *same; /* what it shows */
} experiment;

static const experiment experiments[] = {
    {"one thread", one_thread, false, "The threads share the work: one alone takes longer.",
     "Threads cost more here than they bring: one alone is faster.",
     "More than one thread brings nothing here."},
    {"all cores", all_cores, false, "More threads cost more here than they bring.",
     "More threads share the work.", "More than the case's threads bring nothing."},
    {"cold caches", cold, false, "The caches keep operands between calls: fetched from memory they cost more.",
     "Cold is no handicap here.", "Where the operands lie before a call makes no difference."},
    {"warm caches", warm, false, "Warm is a handicap here.",
     "Much of the time is fetching operands from memory: in the caches they cost less.",
     "Where the operands lie before a call makes no difference."},
    {"small pages", small_pages, false,
     "Huge pages help: with small ones, finding pages' addresses costs time.",
     "Huge pages are a handicap here.", "The size of pages makes no difference."},
    {"packing in each call", pack_each_call, false,
     "Packing the weights costs time, which inference pays once and training at every step.",
     "Packing warms the weights here.", "Packing the weights costs next to nothing."},
    {"16 channels more", more_channels, true,
     "Pixels a power of two apart crowd no cache set here: other channel counts are no faster.",
     "Pixels a power of two apart crowd few cache sets: 16 channels more are faster for each multiply-add.",
     "Pixels a power of two apart crowd no cache set that would matter."},
    {"half the channels", half_channels, true,
     "With half the channels a multiply-add costs more: fixed costs and short sums weigh more.",
     "With half the channels a multiply-add costs less: what is reused stays in nearer caches.",
     "A multiply-add costs the same with half the channels."},
    {"four images", more_images, true, "More images cost more for each: together they leave the nearer caches.",
     "More images share fixed costs, weights and threads better.", "Each image costs the same."},
    {"one image", one_image, true,
     "One image alone costs more: several share fixed costs, weights and threads.",
     "One image alone costs less: several leave the nearer caches.", "Each image costs the same."},
};
enum { EXPERIMENTS = sizeof experiments / sizeof *experiments };

static const char *conclude(const experiment *e, const experiment_result *r)
{
    if (isnan(r->low)) return "Too few pairs for an interval: more --budget tells.";
    if (r->low > 1 - LITTLE && r->high < 1 + LITTLE) return e->same;
    if (r->low <= 1 && r->high >= 1) return "Not told apart: the interval holds 1. More --budget may tell.";
    return r->ratio > 1 ? e->slower : e->faster;
}

const char *experiment_shows(const char *name, const experiment_result *r)
{
    for (int i = 0; i < EXPERIMENTS; i++)
        if (strcmp(experiments[i].name, name) == 0) return conclude(&experiments[i], r);
    return NULL;
}

const char *experiment_change(const char *name, const arm_setting *base, arm_setting *changed)
{
    *changed = *base;
    for (int i = 0; i < EXPERIMENTS; i++)
        if (strcmp(experiments[i].name, name) == 0) return experiments[i].change(base, changed);
    return "There is no such experiment.";
}

/* ---- measuring */

/* Pairs of samples until the time is over, one at least. False when a call failed. */
static bool run_pairs(arm *base, arm *changed, double seconds, const experiment_options *o,
                      experiment_result *r)
{
    double ratio[PAIRS], started = machine_now(), factor = 1;
    const conv_plan *b = arm_plan(base), *c = arm_plan(changed);
    if (r->per_multiply_add)
        factor = (double)conv_flops(&b->problem, b->pass) / (double)conv_flops(&c->problem, c->pass);
    size_t pairs = 0;
    while (pairs < PAIRS && (pairs == 0 || machine_now() - started < seconds) && !cli_interrupted()) {
        bool first = random() & 1;
        double with = first ? arm_sample(changed, SAMPLE_SECONDS, o->run, o->runner, (int)pairs) : 0;
        double without = arm_sample(base, SAMPLE_SECONDS, o->run, o->runner, (int)pairs);
        if (!first) with = arm_sample(changed, SAMPLE_SECONDS, o->run, o->runner, (int)pairs);
        if (!(with > 0) || !(without > 0)) return false;
        ratio[pairs++] = factor * with / without;
    }
    if (pairs == 0) return false;
    stats_summary s = stats_summarize(ratio, pairs);
    r->ratio = s.median;
    r->low = s.has_ci ? s.ci95_low : NAN;
    r->high = s.has_ci ? s.ci95_high : NAN;
    return true;
}

static bool run_one(const experiment *e, const arm_setting *base, arm *unchanged, double seconds,
                    const experiment_options *o, experiment_result *r)
{
    arm_setting setting = *base;
    conv_error err = {""};
    *r = (experiment_result){
        .name = e->name, .ratio = NAN, .low = NAN, .high = NAN, .per_multiply_add = e->another_problem};
    r->shows = e->change(base, &setting);
    if (r->shows != NULL) return false;
    arm *changed = arm_create(&setting, &err);
    bool fine = changed != NULL && run_pairs(unchanged, changed, seconds, o, r);
    arm_destroy(changed);
    if (fine) {
        r->shows = conclude(e, r);
        return true;
    }
    snprintf(r->why, sizeof r->why, "Not measured: %.200s.", err.text[0] ? err.text : "a call failed");
    r->shows = r->why;
    return false;
}

int experiments_run(const arm_setting *base, const experiment_options *options, experiment_sink *sink,
                    void *ctx, conv_error *err)
{
    double until = machine_now() + options->budget;
    int measured = 0, left = 0;
    arm_setting setting;
    for (int i = 0; i < EXPERIMENTS; i++)
        left += experiment_change(experiments[i].name, base, &setting) == NULL;
    arm *unchanged = arm_create(base, err);
    if (unchanged == NULL) return -1;
    for (int i = 0; i < EXPERIMENTS && !cli_interrupted(); i++) {
        experiment_result r;
        double seconds = left > 0 ? (until - machine_now()) / left : 0;
        bool done = run_one(&experiments[i], base, unchanged, seconds, options, &r);
        if (cli_interrupted()) break;
        left -= experiment_change(experiments[i].name, base, &setting) == NULL;
        measured += done;
        sink(ctx, &r);
    }
    arm_destroy(unchanged);
    return measured;
}
