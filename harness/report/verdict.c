/* The answer in words. Every sentence is made from compared rows; where intervals overlap it says so. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verdict.h"

static const char *pass_word(conv_pass pass) { return pass == CONV_FORWARD ? "Forward" : "Backward"; }

static bool is_ahead(const report_ratio *p)
{
    return p->outcome == RATIO_FASTER || (p->outcome == RATIO_UNPROVEN && p->speedup > 1);
}

static void add_figure(verdict_figures *f, const report_ratio *p)
{
    double share = p->speedup / p->promised;
    bool first = f->count++ == 0;
    f->least = first ? p->speedup : fmin(f->least, p->speedup);
    f->most = first ? p->speedup : fmax(f->most, p->speedup);
    f->least_share = first ? share : fmin(f->least_share, share);
    f->most_share = first ? share : fmax(f->most_share, share);
    f->log_sum += log(p->speedup);
}

static void tally_point(const report_data *data, const report_point *q, const report_ratio *p, verdict_tally *t)
{
    add_figure(&t->all, p);
    if (p->outcome != RATIO_UNPROVEN) add_figure(&t->proven, p);
    if (t->count++ == 0) {
        t->least_promised = t->most_promised = p->promised;
        t->first = t->last = q->ic;
    }
    t->least_promised = fmin(t->least_promised, p->promised);
    t->most_promised = fmax(t->most_promised, p->promised);
    t->first = q->ic < t->first ? q->ic : t->first;
    t->last = q->ic > t->last ? q->ic : t->last;
    t->by_outcome[p->outcome]++;
    t->dense[report_impl_index(data, p->slow->impl)]++;
    t->separable[report_impl_index(data, p->fast->impl)]++;
    if (is_ahead(p)) {
        t->ahead++;
        if (t->from == 0) t->from = q->ic;
    } else {
        t->from = 0;
    }
}

/* Points are in order of channels. */
static verdict_tally tally_setting(const report_data *data, const report_setting *s, conv_pass pass, int impl)
{
    verdict_tally t = {.setting = s, .pass = pass, .impl = impl};
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass == pass && report_speedup(data, &s->points[i], impl, &p))
            tally_point(data, &s->points[i], &p, &t);
    }
    return t;
}

static void put_percent_range(FILE *out, double least, double most)
{
    if (lround(100 * least) == lround(100 * most))
        fprintf(out, "%ld%%", lround(100 * least));
    else
        fprintf(out, "%ld%% to %ld%%", lround(100 * least), lround(100 * most));
}

static void put_channels(FILE *out, const verdict_tally *t)
{
    if (t->count == 1)
        fprintf(out, "at %lld channels", (long long)t->first);
    else
        fprintf(out, "at %s %d channel counts from %lld to %lld", t->count == 2 ? "both" : "all", t->count,
                (long long)t->first, (long long)t->last);
}

/* "64, 128 and 512": the channel counts of one outcome. */
static void put_channels_of(FILE *out, const report_data *data, const verdict_tally *t, ratio_outcome outcome)
{
    const report_setting *s = t->setting;
    int done = 0, count = t->by_outcome[outcome];
    for (size_t i = 0; i < s->count; i++) {
        report_ratio p;
        if (s->points[i].pass != t->pass || !report_speedup(data, &s->points[i], t->impl, &p) ||
            p.outcome != outcome)
            continue;
        fprintf(out, "%s%lld", done == 0 ? "" : done == count - 1 ? " and " : ", ", (long long)s->points[i].ic);
        done++;
    }
}

/* Where the separable one wins, in words: "faster from 128 channels on; slower at 32; ..." */
static void put_where(FILE *out, const report_data *data, const verdict_tally *t)
{
    static const char *const behind[] = {[RATIO_SLOWER] = "slower",
                                         [RATIO_SAME] = "no measurable difference",
                                         [RATIO_UNPROVEN] = "too few repetitions to tell"};
    if (t->ahead == t->count) {
        fputs("faster ", out);
        put_channels(out, t);
    } else if (t->ahead == 0) {
        fputs("faster at no channel count measured", out);
    } else if (t->from != 0) {
        fprintf(out, "faster from %lld channels on", (long long)t->from);
    } else {
        fputs("faster only at ", out);
        put_channels_of(out, data, t, RATIO_FASTER);
        if (t->by_outcome[RATIO_FASTER] == 0) fprintf(out, "%d of %d channel counts", t->ahead, t->count);
    }
    for (int o = RATIO_SLOWER; o <= RATIO_SAME; o++)
        if (t->by_outcome[o] > 0) {
            fprintf(out, "; %s at ", behind[o]);
            put_channels_of(out, data, t, (ratio_outcome)o);
        }
}

static void put_owners(FILE *out, const report_data *data, const char *what, const int *owners, int count)
{
    int left = 0, done = 0;
    for (int i = 0; i < data->impl_count; i++) left += owners[i] > 0;
    fprintf(out, "%s by ", what);
    for (int i = 0; i < data->impl_count; i++) {
        if (owners[i] == 0) continue;
        fprintf(out, "%s%s", done == 0 ? "" : done == left - 1 ? " and " : ", ", data->impls[i].name);
        if (left > 1) fprintf(out, done == 0 ? " (%d of %d)" : " (%d)", owners[i], count);
        done++;
    }
}

/* " 512 and 1024 channels have no comparison: ..." where the run has the problem but not both times. */
static void put_missing(FILE *out, const report_data *data, const report_setting *s, conv_pass pass)
{
    const report_point *missing[64];
    int count = 0;
    for (size_t i = 0; i < s->count && count < 64; i++) {
        const report_point *q = &s->points[i];
        report_ratio p;
        bool there = false;
        for (int impl = 0; impl < data->impl_count; impl++)
            there = there || q->rows[CONV_DENSE][impl] != NULL || q->rows[CONV_SEPARABLE][impl] != NULL;
        if (q->pass == pass && there && !report_speedup(data, q, -1, &p)) missing[count++] = q;
    }
    if (count == 0) return;
    fputs(" No comparison at ", out);
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%lld", i == 0 ? "" : i == count - 1 ? " and " : ", ", (long long)missing[i]->ic);
    fputs(" channels: one side has no time.", out);
}

static char *paragraph(const report_data *data, const report_setting *s, conv_pass pass, const verdict_tally *t,
                       bool brief)
{
    char *text = NULL, name[160];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    const verdict_figures *f = verdict_figures_of(t);
    char mean[16];
    fprintf(out, "%s (%s): ", pass_word(pass), report_setting_name(s, name, sizeof name));
    if (brief) {
        verdict_range(out, f->least, f->most);
        fputs(" times as fast; ", out);
        put_where(out, data, t);
        fputc('.', out);
    } else {
        fputs("separable is ", out);
        put_where(out, data, t);
        fputs(". It is ", out);
        verdict_range(out, f->least, f->most);
        fputs(" times as fast as dense", out);
        if (f->count > 1) fprintf(out, " (geometric mean %s)", verdict_times(exp(f->log_sum / f->count), mean));
        fputs(", each by its best exact implementation: ", out);
        put_owners(out, data, "separable", t->separable, t->count);
        put_owners(out, data, ", dense", t->dense, t->count);
        fputs(". The multiplication count promises ", out);
        verdict_range(out, t->least_promised, t->most_promised);
        fputs(" times; ", out);
        put_percent_range(out, f->least_share, f->most_share);
        fputs(" of that is realised.", out);
    }
    if (t->by_outcome[RATIO_UNPROVEN] > 0) {
        fputs(" At ", out);
        put_channels_of(out, data, t, RATIO_UNPROVEN);
        fprintf(out, " channels a side has too few repetitions for an interval%s.",
                t->proven.count > 0 ? ", so they are not among these figures" : "");
    }
    put_missing(out, data, s, pass);
    fclose(out);
    return text;
}

/* The same implementation on both sides, for each that has both. */
static char *by_implementation(const report_data *data, const report_setting *s, conv_pass pass)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    int named = 0;
    for (int impl = 0; impl < data->impl_count; impl++) {
        verdict_tally t = tally_setting(data, s, pass, impl);
        if (t.count == 0 || data->impls[impl].inexact) continue;
        if (named++ == 0)
            fprintf(out, "%s, the same implementation on both sides: ", pass_word(pass));
        else
            fputs(", ", out);
        fprintf(out, "%s ", data->impls[impl].name);
        verdict_range(out, verdict_figures_of(&t)->least, verdict_figures_of(&t)->most);
        for (int o = RATIO_SLOWER; o <= RATIO_SAME; o++)
            if (t.by_outcome[o] > 0) {
                fprintf(out, " (%s at ", o == RATIO_SLOWER ? "slower" : "no measurable difference");
                put_channels_of(out, data, &t, (ratio_outcome)o);
                fputc(')', out);
            }
    }
    fputs(" times as fast.", out);
    fclose(out);
    if (named > 0) return text;
    free(text);
    return NULL;
}

/* ---- the whole */

/* Why there is no comparison at all. */
static char *no_answer(const report_data *data)
{
    if (data->run->count == 0) return strdup("This run does not say: it trained no two networks alike.");
    bool has[CONV_VARIANT_COUNT] = {false};
    for (size_t i = 0; i < data->run->count; i++)
        if (data->run->rows[i].status == CASE_OK) has[data->run->rows[i].problem.variant] = true;
    const char *text =
        "This run does not say: no dense and separable case share channels, size, pass and threads.";
    if (!has[CONV_DENSE] && !has[CONV_SEPARABLE])
        text = "This run does not say: it has no time for a dense nor for a separable convolution.";
    else if (!has[CONV_DENSE])
        text = "This run does not say: it has no time for a dense convolution.";
    else if (!has[CONV_SEPARABLE])
        text = "This run does not say: it has no time for a separable convolution.";
    return strdup(text);
}

/* "mobilenet_v1 forward, batch 1, 2 threads: 11.2 ms, each layer by its best exact implementation." */
static void network_lines(const report_data *data, verdict *v)
{
    report_networks all;
    if (!report_networks_create(data, &all)) return;
    for (size_t i = 0; i < all.count; i++) {
        const report_network *n = &all.items[i];
        size_t layers;
        double flops, ns = report_network_sum(n, -1, &layers, &flops);
        char time[24], speed[16];
        if (n->pass > CONV_BACKWARD || layers == 0) continue; /* the page has the parts */
        if (layers == n->count)
            verdict_line(v,
                         "%s %s, batch %lld, %d thread%s%s: its convolutions take %s, each by its best exact "
                         "implementation (%s GFLOP/s).",
                         n->name, conv_pass_name(n->pass), (long long)n->mb, n->threads,
                         n->threads == 1 ? "" : "s", n->cache == CACHE_COLD ? ", cold cache" : "",
                         report_time(ns, time), report_number(flops / ns, speed));
        else
            verdict_line(v, "%s %s, batch %lld: only %zu of %zu layers have a time, so there is no sum.",
                         n->name, conv_pass_name(n->pass), (long long)n->mb, layers, n->count);
    }
    report_networks_destroy(&all);
}

void verdict_create(const report_data *data, verdict *v)
{
    *v = (verdict){0};
    verdict_tally sums[2] = {{0}, {0}};
    int settings = 0;
    for (size_t i = 0; i < data->setting_count; i++) {
        bool counts = false;
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
            verdict_tally t = tally_setting(data, &data->settings[i], (conv_pass)pass, -1);
            verdict_add_tally(&sums[pass], &t);
            counts = counts || t.count > 0;
        }
        settings += counts;
    }
    for (size_t i = 0; i < data->setting_count; i++)
        for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
            const report_setting *s = &data->settings[i];
            verdict_tally t = tally_setting(data, s, (conv_pass)pass, -1);
            if (t.count == 0 || settings > 8) continue;
            verdict_add(&v->lines, &v->count, paragraph(data, s, (conv_pass)pass, &t, settings > 2));
            if (settings == 1) verdict_add(&v->lines, &v->count, by_implementation(data, s, (conv_pass)pass));
        }
    if (settings > 0) v->headline = verdict_headline(&sums[0], &sums[1], settings);
    for (int pass = CONV_FORWARD; settings > 0 && pass <= CONV_BACKWARD; pass++)
        if (sums[pass].count == 0)
            verdict_caution(v, "%s: this run has no comparison.", pass_word((conv_pass)pass));
    network_lines(data, v);
    verdict_training(data, v);
    if (v->headline == NULL) v->headline = no_answer(data);
    verdict_find_cautions(data, v);
}

void verdict_destroy(verdict *v)
{
    free(v->headline);
    for (size_t i = 0; i < v->count; i++) free(v->lines[i]);
    for (size_t i = 0; i < v->caution_count; i++) free(v->cautions[i]);
    free(v->lines);
    free(v->cautions);
    *v = (verdict){0};
}
