/* Training on more ranks than there were: what the model of `sepbench train --scaling` predicts, beside what was
 * measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../train/history.h"
#include "page.h"
#include "training.h"
#include "verdict.h"

static bool is_measured(const training_scaling *s) { return strcmp(s->messages, SCALING_MEASURED) == 0; }

/* ---- pictures */

static double speedup_of(const training_scaling *s, const training_ranks *r, double step_ms)
{
    (void)r;
    return s->rows[0].step_ms / step_ms;
}

static double epoch_of(const training_scaling *s, const training_ranks *r, double step_ms)
{
    (void)s;
    return 1e9 * r->epoch_s * step_ms / r->step_ms;
}

static double share_of(const training_scaling *s, const training_ranks *r, double step_ms)
{
    (void)step_ms;
    return is_measured(s) ? 100 * scaling_messages_share(r) : NAN;
}

/* value: of a step that takes so long. */
static const struct {
    const char *name, *title;
    double (*value)(const training_scaling *s, const training_ranks *r, double step_ms);
    chart_ticks ticks;
    bool log, checked, ideal;
    const char *where; /* the word beside the first measured point */
} pictures[] = {
    {"ranks-speedup", "Times as fast as on one rank", speedup_of, TICKS_DOUBLING, true, true, true, "0.8,-0.7"},
    {"ranks-epoch", "Time of an epoch", epoch_of, TICKS_TIME, true, true, false, "0.8,0.5"},
    {"ranks-messages", "Messages not hidden, of a step", share_of, TICKS_PERCENT, false, false, false, ""},
};

static void add_ideal(chart *c, const report_training *t)
{
    double most = 1;
    for (size_t i = 0; i < t->scaling_count; i++)
        most = fmax(most, t->scalings[i].rows[t->scalings[i].count - 1].ranks);
    chart_add_line(c, "ideal", CHART_MUTED, 2, 1, false);
    chart_add_point(c, 1, 1, NAN, NAN);
    chart_add_point(c, most, most, NAN, NAN);
}

static bool add_picture(const report_training *t, size_t k, const chart_album *album)
{
    static const char *const colors[] = {CHART_FORWARD, CHART_BACKWARD, CHART_GREEN, CHART_BLUE};
    chart c;
    char where[64];
    bool told = false;
    if (!chart_begin(&c, pictures[k].name, "ranks", "lines")) {
        chart_drop(&c);
        return false;
    }
    snprintf(c.plot.title, sizeof c.plot.title, "%s", pictures[k].title);
    snprintf(c.subtitle, sizeof c.subtitle, "%s",
             pictures[k].checked ? "lines: predicted; points: measured" : "predicted");
    c.x.label = "ranks";
    c.x.log = true;
    c.x.ticks = TICKS_DOUBLING;
    c.y.log = pictures[k].log;
    c.y.ticks = pictures[k].ticks;
    if (!c.y.log) c.y.least = 0;
    if (pictures[k].ideal) add_ideal(&c, t);
    for (size_t i = 0; i < t->scaling_count; i++) {
        const training_scaling *s = &t->scalings[i];
        const training_ranks *r = scaling_checked(s);
        chart_add_line(&c, s->model, colors[i % 4], 1, 1.8, false);
        for (size_t n = 0; n < s->count; n++)
            chart_add_point(&c, s->rows[n].ranks, pictures[k].value(s, &s->rows[n], s->rows[n].step_ms), NAN,
                            NAN);
        if (r == NULL || !pictures[k].checked) continue;
        double at = pictures[k].value(s, r, r->measured_ms), one = pictures[k].value(s, r, r->measured_low_ms),
               other = pictures[k].value(s, r, r->measured_high_ms);
        chart_add_line(&c, "", CHART_INK, 1, 1.8, true);
        chart_add_point(&c, r->ranks, at, fmin(one, other), fmax(one, other));
        snprintf(where, sizeof where, "left offset %s font \",10\"", pictures[k].where);
        if (!told) chart_add_text(&c, r->ranks, at, "measured", CHART_INK, where);
        told = true;
    }
    return chart_finish(&c, album);
}

bool scaling_plots(const report_data *data, const chart_album *album)
{
    const report_training *t = data->training;
    bool fine = true;
    for (size_t k = 0; t != NULL && t->scaling_count > 0 && k < sizeof pictures / sizeof *pictures; k++)
        fine = fine && add_picture(t, k, album);
    return fine;
}

/* ---- words */

/* "4% less", "12% more", "as long" */
static char *difference(double predicted, double measured, char *buffer, size_t size)
{
    double percent = 100 * (predicted / measured - 1);
    if (fabs(percent) < 0.5)
        snprintf(buffer, size, "the same");
    else
        snprintf(buffer, size, "%.0f%% %s", fabs(percent), percent > 0 ? "more" : "less");
    return buffer;
}

/* Malloced; NULL without memory. */
static char *check_words(const training_scaling *s)
{
    const training_ranks *r = scaling_checked(s);
    char *text = NULL, took[24], says[24], off[32];
    int used;
    if (r != NULL)
        used = asprintf(
            &text, "Checked on %d ranks: a step took %s, the model says %s, %s; beyond them it is not checked",
            s->here, report_time(1e6 * r->measured_ms, took), report_time(1e6 * r->step_ms, says),
            difference(r->step_ms, r->measured_ms, off, sizeof off));
    else if (strcmp(s->messages, SCALING_SHARED) == 0)
        used = asprintf(&text,
                        "This is computing alone, and unchecked: the %d ranks that there were share cores, so "
                        "neither messages nor steps on them were measured",
                        s->here);
    else
        used = asprintf(&text, "This is computing alone, and unchecked: there was one rank, and no messages");
    return used >= 0 ? text : NULL;
}

static void put_words(const training_scaling *s, verdict *v)
{
    const training_ranks *best = scaling_fastest(s), *last = &s->rows[s->count - 1];
    char first[24], least[24], limit[96] = "", *check = check_words(s);
    if (check == NULL) return;
    if (last->working < last->ranks)
        snprintf(limit, sizeof limit, "; more than %.0f ranks have no images of a batch of %d", last->working,
                 s->batch);
    report_time(1e9 * s->rows[0].epoch_s, first);
    report_time(1e9 * best->epoch_s, least);
    verdict_line(
        v,
        "Training on more ranks, %s, %d thread%s each: predicted fastest on %.0f, an epoch in %s, %.1f "
        "times as fast as in %s on one%s. %s.",
        s->model, s->threads, s->threads == 1 ? "" : "s", best->ranks, least,
        s->rows[0].epoch_s / best->epoch_s, first, limit, check);
    if (v->headline == NULL &&
        asprintf(&v->headline, "Predicted: on %.0f ranks an epoch of the %s network takes %s, on one %s.",
                 best->ranks, s->model, least, first) < 0)
        v->headline = NULL;
    free(check);
}

void verdict_ranks(const report_data *data, verdict *v)
{
    const report_training *t = data->training;
    for (size_t i = 0; t != NULL && i < t->scaling_count; i++) put_words(&t->scalings[i], v);
}

/* ---- the page */

static void put_ms(FILE *out, double ms)
{
    char text[24];
    if (isnan(ms))
        fputs("<td></td>", out);
    else
        fprintf(out, "<td>%s</td>", ms > 0 ? report_time(1e6 * ms, text) : "0");
}

static void put_row(FILE *out, const training_scaling *s, const training_ranks *r)
{
    char text[24], took[24], off[32];
    fprintf(out, "<tr><td>%.0f</td><td class=\"main\">%s</td><td>%.1f&times;</td>", r->ranks,
            report_time(1e9 * r->epoch_s, text), s->rows[0].epoch_s / r->epoch_s);
    fprintf(out, "<td>%s", report_time(1e6 * r->step_ms, text));
    if (r->measured_ms > 0)
        fprintf(out, "<small>measured %s<br>predicted %s</small>", report_time(1e6 * r->measured_ms, took),
                difference(r->step_ms, r->measured_ms, off, sizeof off));
    fprintf(out, "</td><td>%.0f", r->images);
    if (r->working < r->ranks) fprintf(out, "<small>on %.0f ranks</small>", r->working);
    fputs("</td>", out);
    put_ms(out, r->compute_ms);
    put_ms(out, is_measured(s) ? r->hidden_ms : NAN);
    put_ms(out, is_measured(s) ? r->waited_ms : NAN);
    if (is_measured(s))
        fprintf(out, "<td>%.0f%%<span class=\"bar\" style=\"width:%.0f%%\"></span></td></tr>\n",
                100 * scaling_messages_share(r), 100 * scaling_messages_share(r));
    else
        fputs("<td></td></tr>\n", out);
}

static void put_table(FILE *out, const training_scaling *s)
{
    char *check = check_words(s);
    report_put(out, "<h3>", s->model, "");
    fprintf(out, ", batch %d, %d thread%s a rank</h3>\n", s->batch, s->threads, s->threads == 1 ? "" : "s");
    if (check != NULL) report_put(out, "<p>", check, ".</p>\n");
    free(check);
    fputs("<div class=\"scroll\"><table class=\"ranks\"><thead><tr><th>Ranks</th><th>Epoch</th>"
          "<th>Times<br>as fast</th><th>Step</th><th>Images<br>of a rank</th><th>Computing</th>"
          "<th>Messages<br>beside it</th><th>Messages<br>waited for</th><th>Messages&rsquo;<br>share</th></tr>"
          "</thead><tbody>\n",
          out);
    for (size_t i = 0; i < s->count; i++) put_row(out, s, &s->rows[i]);
    fputs("</tbody></table></div>\n", out);
}

static void put_messages(FILE *out, const report_training *t)
{
    char text[24];
    if (t->message_count == 0) return;
    fputs("<details><summary>Messages by size</summary>\n<div class=\"scroll\"><table><thead><tr><th>Bytes</th>"
          "<th>Ranks</th><th>Ping-pong</th><th>All-gather</th><th>By the model</th><th>Its error</th>"
          "</tr></thead><tbody>\n",
          out);
    for (const training_message *m = t->messages; m < t->messages + t->message_count; m++) {
        fprintf(out, "<tr><td>%.0f</td><td>%.0f</td><td>%s</td>", m->bytes, m->ranks,
                report_time(1e3 * m->pingpong_us, text));
        fprintf(out, "<td>%s</td>", report_time(1e3 * m->gather_us, text));
        fprintf(out, "<td>%s</td><td>%+.0f%%</td></tr>\n", report_time(1e3 * m->model_us, text),
                100 * (m->model_us / m->gather_us - 1));
    }
    fprintf(
        out,
        "</tbody></table></div>\n<p class=\"note\">Ping-pong is half of there and back. Fitted to the "
        "all-gathers: &alpha; = %.3g &micro;s a message between two ranks, &beta; = %.3g ns a byte; 0 is what "
        "these sizes do not tell.</p></details>\n",
        t->messages[0].alpha_us, t->messages[0].beta_ns_per_byte);
}

void page_ranks(FILE *out, const report_page *page)
{
    const report_training *t = page->data->training;
    if (t == NULL || t->scaling_count == 0) return;
    fputs("<section id=\"ranks\">\n<h2>Training on more ranks: predicted</h2>\n", out);
    page_plots(out, page, "ranks");
    for (size_t i = 0; i < t->scaling_count; i++) put_table(out, &t->scalings[i]);
    fputs(
        "<p class=\"note\">Step = computing + what the messages beside it take longer than computing + "
        "messages waited for. Computing is a rank&rsquo;s part of a batch, timed without messages, on all "
        "ranks at once where there were several: as many on a host as there were. A message on R ranks takes R "
        "&minus; 1 times &alpha;, a byte received &beta;; packing, and waiting for the slower rank, are not in "
        "it. The messages&rsquo; share is what of a step computing does not hide.</p>\n",
        out);
    put_messages(out, t);
    fputs("</section>\n", out);
}
