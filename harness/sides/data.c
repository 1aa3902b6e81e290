/* What all machines measured: dense and separable of the same shape, channels and pass, each machine at the
 * most threads at which it has both. Threads differ between machines, so they do not tell shapes apart here. */
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../grow.h"
#include "sides.h"

/* ---- collecting */

static bool has_rows(const report_data *data, const report_point *q, conv_variant variant)
{
    for (int i = 0; i < data->impl_count; i++)
        if (q->rows[variant][i] != NULL) return true;
    return false;
}

/* Whether the run has both, even if a side got no time. */
static bool compares(const report_data *data, const report_point *q)
{
    return q->pass <= CONV_BACKWARD && has_rows(data, q, CONV_DENSE) && has_rows(data, q, CONV_SEPARABLE);
}

static int threads_of(const report_data *data)
{
    int most = 0;
    for (size_t i = 0; i < data->setting_count; i++)
        for (size_t k = 0; k < data->settings[i].count; k++)
            if (data->settings[i].threads > most && compares(data, &data->settings[i].points[k]))
                most = data->settings[i].threads;
    return most;
}

static void forget(sides *s)
{
    for (size_t i = 0; i < s->setting_count; i++) free(s->settings[i].points);
    free(s->settings);
    s->settings = NULL;
    s->setting_count = 0;
}

static sides_setting *setting_of(sides *s, const report_setting *like)
{
    for (size_t i = 0; i < s->setting_count; i++)
        if (report_alike(&s->settings[i].shape, like, BUT_THREADS)) return &s->settings[i];
    sides_setting *setting = grow(&s->settings, &s->setting_count, sizeof *setting);
    if (setting == NULL) return NULL;
    *setting = (sides_setting){.shape = *like};
    setting->shape.threads = 0;
    setting->shape.points = NULL;
    setting->shape.count = 0;
    return setting;
}

static sides_point *point_of(sides_setting *setting, const report_point *like)
{
    for (size_t i = 0; i < setting->count; i++)
        if (report_point_order(setting->points[i].key, like) == 0) return &setting->points[i];
    sides_point *p = grow(&setting->points, &setting->count, sizeof *p);
    if (p != NULL) p->key = like;
    return p;
}

static bool collect_machine(sides *s, int machine)
{
    const side *m = s->machines[machine];
    for (size_t i = 0; i < m->data.setting_count; i++) {
        const report_setting *own = &m->data.settings[i];
        for (size_t k = 0; own->threads == m->threads && k < own->count; k++) {
            if (!compares(&m->data, &own->points[k])) continue;
            sides_setting *setting = setting_of(s, own);
            sides_point *p = setting != NULL ? point_of(setting, &own->points[k]) : NULL;
            if (p == NULL) return false;
            if (p->of[machine] == NULL) p->of[machine] = &own->points[k];
        }
    }
    return true;
}

static bool collect(sides *s)
{
    forget(s);
    bool fine = true;
    for (int i = 0; fine && i < s->count; i++) fine = collect_machine(s, i);
    return fine;
}

/* ---- who measures something else */

typedef struct {
    size_t common;
    size_t own[SIDES_MAX];     /* by machine: its comparisons */
    size_t shared[SIDES_MAX];  /* the other machines that have each of them, summed */
    size_t lacking[SIDES_MAX]; /* comparisons that all have but this one */
} overlap;

static void count_point(const sides *s, const sides_point *p, overlap *o)
{
    int count = 0, without = 0;
    for (int i = 0; i < s->count; i++) {
        count += p->of[i] != NULL;
        if (p->of[i] == NULL) without = i;
    }
    o->common += count == s->count;
    if (count == s->count - 1) o->lacking[without]++;
    for (int i = 0; i < s->count; i++) {
        o->own[i] += p->of[i] != NULL;
        if (p->of[i] != NULL) o->shared[i] += (size_t)count - 1;
    }
}

static overlap overlap_of(const sides *s)
{
    overlap o = {0};
    for (size_t i = 0; i < s->setting_count; i++)
        for (size_t k = 0; k < s->settings[i].count; k++) count_point(s, &s->settings[i].points[k], &o);
    return o;
}

/* The machine that is not to be compared with the others, or -1: without it they have more than twice as much
 * in common. Where nothing is common and no machine alone is the reason, the one that shares least. */
static int odd_one(const sides *s, const overlap *o)
{
    int odd = s->count - 1;
    if (s->count < 2 || (s->count == 2 && o->common > 0)) return -1;
    for (int i = s->count - 1; i >= 0; i--)
        if (o->lacking[i] > o->lacking[odd] ||
            (o->lacking[i] == o->lacking[odd] && o->shared[i] < o->shared[odd]))
            odd = i;
    return o->common == 0 || o->lacking[odd] > o->common ? odd : -1;
}

static void take_out(sides *s, int machine)
{
    side *m = s->machines[machine];
    s->count--;
    memmove(&s->machines[machine], &s->machines[machine + 1],
            (size_t)(s->count - machine) * sizeof *s->machines);
    s->machines[s->count] = NULL;
    forget(s); /* it points into the machine */
    sides_drop(m);
}

static int not_comparable(conv_error *err)
{
    conv_fail(err, CONV_INVALID,
              "the runs are not comparable: no two have a dense and a separable convolution of the same shape, "
              "channels and pass");
    return EXIT_BASELINE;
}

static int leave_out_odd_ones(sides *s, conv_error *err)
{
    for (bool one_left = false; !one_left;) {
        if (!collect(s)) return conv_fail(err, CONV_NO_MEMORY, "out of memory"), EXIT_USAGE;
        overlap o = overlap_of(s);
        int odd = odd_one(s, &o);
        if (odd < 0) return EXIT_FINE;
        one_left = s->count == 2;
        sides_note(s,
                   "%s (%.200s): left out: another problem set, %zu comparison%s of which the others share %s.",
                   s->machines[odd]->label, s->machines[odd]->run.dir, o.own[odd], o.own[odd] == 1 ? "" : "s",
                   o.shared[odd] == 0 ? "none" : "too few");
        take_out(s, odd);
    }
    return not_comparable(err);
}

/* ---- what is common */

enum { NAMED_LACKS = 12 };

/* "; 28x28, batch 1, 3x3 kernel: forward at 32, 64". Adds to *named, and leaves out what is too much. */
static void put_lacks(FILE *out, const sides_setting *setting, int machine, size_t *named)
{
    char name[160];
    bool opened = false;
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++) {
        bool first = true;
        for (size_t k = 0; k < setting->count; k++) {
            const sides_point *p = &setting->points[k];
            if (p->key->pass != (conv_pass)pass || p->of[machine] != NULL || ++*named > NAMED_LACKS) continue;
            if (!opened) fprintf(out, "; %s:", report_setting_name(&setting->shape, name, sizeof name));
            fprintf(out, "%s%s %lld", first && opened ? "," : "",
                    first ? (pass == CONV_FORWARD ? " forward at" : " backward at") : ",",
                    (long long)p->key->ic);
            first = false;
            opened = true;
        }
    }
}

static void tell_lacks(sides *s, int machine)
{
    char *text = NULL;
    size_t size, named = 0, all = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return;
    for (size_t i = 0; i < s->setting_count; i++) {
        put_lacks(out, &s->settings[i], machine, &named);
        all += s->settings[i].count;
    }
    fclose(out);
    char more[40] = "";
    if (named > NAMED_LACKS) snprintf(more, sizeof more, " and %zu more", named - NAMED_LACKS);
    if (named > 0)
        sides_note(s, "%s lacks %zu of %zu comparisons, which then count for none: %s channels%s.",
                   s->machines[machine]->label, named, all, text + strlen("; "), more);
    free(text);
}

static int by_channels(const void *a, const void *b)
{
    return report_point_order(((const sides_point *)a)->key, ((const sides_point *)b)->key);
}

/* Those that all have come first in the setting. */
static size_t count_common(const sides *s, sides_setting *setting)
{
    size_t kept = 0;
    for (size_t k = 0; k < setting->count; k++) {
        bool all = true;
        for (int m = 0; m < s->count; m++) all = all && setting->points[k].of[m] != NULL;
        if (all) setting->points[kept++] = setting->points[k];
    }
    return kept;
}

/* Settings go in order of how many comparisons they have; of equals, the first met is the first. */
static void keep_common(sides *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->setting_count; i++) {
        sides_setting setting = s->settings[i];
        setting.count = count_common(s, &setting);
        if (setting.count == 0) {
            free(setting.points);
            continue;
        }
        size_t at = count++;
        for (; at > 0 && s->settings[at - 1].count < setting.count; at--) s->settings[at] = s->settings[at - 1];
        s->settings[at] = setting;
    }
    s->setting_count = count;
}

/* ---- comparing */

size_t sides_comparisons(const sides *s, conv_pass pass)
{
    size_t count = 0;
    for (size_t i = 0; i < s->setting_count; i++)
        for (size_t k = 0; k < s->settings[i].count; k++) count += s->settings[i].points[k].key->pass == pass;
    return count;
}

bool sides_speedup(const sides *s, int machine, const sides_point *p, report_ratio *ratio)
{
    return report_speedup(&s->machines[machine]->data, p->of[machine], -1, ratio);
}

const record_row *sides_best(const sides *s, int machine, const sides_point *p, conv_variant variant)
{
    return report_best(&s->machines[machine]->data, p->of[machine], variant, BEST_EXACT);
}

bool sides_has_pass(const sides_setting *setting, conv_pass pass)
{
    for (size_t k = 0; k < setting->count; k++)
        if (setting->points[k].key->pass == pass) return true;
    return false;
}

bool sides_is_curve(const sides_setting *setting)
{
    int64_t first = 0;
    for (size_t i = 0; i < setting->count; i++) {
        if (!report_on_curve(setting->points[i].key, setting->points[i].key->pass)) continue;
        if (first != 0 && setting->points[i].key->ic != first) return true;
        first = setting->points[i].key->ic;
    }
    return false;
}

/* As the verdict of one run counts, and what has no time on this machine counts as not determined. */
static void tally(const sides *s, int machine)
{
    side *m = s->machines[machine];
    for (int pass = CONV_FORWARD; pass <= CONV_BACKWARD; pass++)
        for (size_t i = 0; i < s->setting_count; i++) {
            verdict_tally t = {0};
            for (size_t k = 0; k < s->settings[i].count; k++) {
                const sides_point *p = &s->settings[i].points[k];
                report_ratio ratio;
                if (p->key->pass != (conv_pass)pass) continue;
                if (sides_speedup(s, machine, p, &ratio))
                    verdict_tally_point(p->of[machine], &ratio.times, &t);
                else
                    t.count++;
            }
            verdict_add_tally(&m->tally[pass], &t);
        }
}

int sides_meet(sides *s, conv_error *err)
{
    for (int i = 0; i < s->count; i++) s->machines[i]->threads = threads_of(&s->machines[i]->data);
    int code = leave_out_odd_ones(s, err);
    if (code != EXIT_FINE) return code;
    for (size_t i = 0; i < s->setting_count; i++)
        qsort(s->settings[i].points, s->settings[i].count, sizeof *s->settings[i].points, by_channels);
    for (int i = 0; i < s->count; i++) tell_lacks(s, i);
    keep_common(s);
    if (s->setting_count == 0) return not_comparable(err);
    for (int i = 0; i < s->count; i++) tally(s, i);
    return EXIT_FINE;
}
