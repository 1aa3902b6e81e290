/* The training section: what the models cost and reach, and where a step's time goes. */
#include <math.h>
#include <string.h>

#include "../train/history.h"
#include "page.h"
#include "training.h"

/* ---- pictures */

typedef struct {
    const char *name, *title;
    double (*value)(const training_epoch *e);
    chart_ticks ticks;
} curve;

static double accuracy_of(const training_epoch *e) { return 100 * e->val_accuracy; }
static double loss_of(const training_epoch *e) { return e->val_loss; }
static double training_loss_of(const training_epoch *e) { return e->loss; }

static const curve curves[] = {{"training-accuracy", "Validation accuracy", accuracy_of, TICKS_PERCENT},
                               {"training-val-loss", "Validation loss", loss_of, TICKS_NUMBER},
                               {"training-loss", "Training loss", training_loss_of, TICKS_NUMBER}};

/* The mean over a model's runs at each epoch, the bar from the least to the most of them. */
static void add_curve(chart *c, const curve *kind, const training_model *m)
{
    size_t epochs = 0;
    for (size_t r = 0; r < m->count; r++)
        if (m->runs[r].count > epochs) epochs = m->runs[r].count;
    for (size_t e = 0; e < epochs; e++) {
        double sum = 0, least = INFINITY, most = -INFINITY, epoch = NAN;
        int n = 0;
        for (size_t r = 0; r < m->count; r++) {
            if (e >= m->runs[r].count) continue;
            double value = kind->value(&m->runs[r].history[e]);
            if (isnan(value)) continue;
            epoch = m->runs[r].history[e].epoch;
            sum += value;
            least = fmin(least, value);
            most = fmax(most, value);
            n++;
        }
        if (n > 0) chart_add_point(c, epoch, sum / n, n > 1 ? least : NAN, n > 1 ? most : NAN);
    }
}

bool training_plots(const report_data *data, const chart_album *album)
{
    static const char *const colors[] = {CHART_FORWARD, CHART_BACKWARD, CHART_INK, CHART_MUTED};
    const report_training *t = data->training;
    for (size_t k = 0; t != NULL && k < sizeof curves / sizeof *curves; k++) {
        chart c;
        if (!chart_begin(&c, curves[k].name, "training", "lines")) {
            chart_drop(&c);
            return false;
        }
        snprintf(c.plot.title, sizeof c.plot.title, "%s", curves[k].title);
        snprintf(c.subtitle, sizeof c.subtitle, "mean over runs, bars from the least to the most");
        c.x.label = "epoch";
        c.x.ticks = TICKS_CHANNELS; /* at the epochs themselves */
        c.y.ticks = curves[k].ticks;
        for (size_t i = 0; i < t->count; i++) {
            char name[160];
            if (t->models[i].peer) continue; /* a yardstick of time */
            chart_add_line(&c, training_name(t, &t->models[i], name), colors[i % 4], 1 + (int)(i / 4) % 3, 1.8,
                           true);
            add_curve(&c, &curves[k], &t->models[i]);
        }
        if (!chart_finish(&c, album)) return false;
    }
    return true;
}

/* ---- the table of models */

static sample_mean over_runs(const training_model *m, double (*value)(const training_run *r))
{
    double values[256];
    int n = 0;
    for (size_t i = 0; i < m->count && n < 256; i++)
        if (!isnan(value(&m->runs[i]))) values[n++] = value(&m->runs[i]);
    return mean_of(values, n);
}

static double test_accuracy(const training_run *r) { return 100 * r->test_accuracy; }
static double test_loss(const training_run *r) { return r->test_loss; }

static void put_mean(FILE *out, sample_mean m, const char *unit, int decimals)
{
    if (m.n == 0) {
        fputs("<td>&ndash;</td>", out);
        return;
    }
    fprintf(out, "<td>%.*f%s", decimals, m.mean, unit);
    if (m.n > 1) fprintf(out, "<small>&plusmn; %.*f</small>", decimals, m.std);
    fputs("</td>", out);
}

/* Mean over the runs that got there, and how many did. */
static void put_seconds_to(FILE *out, const training_model *m, int level)
{
    double sum = 0;
    size_t n = 0;
    char text[24];
    for (size_t i = 0; i < m->count; i++)
        if (!isnan(m->runs[i].seconds_to[level])) {
            sum += m->runs[i].seconds_to[level];
            n++;
        }
    if (n == 0) {
        fputs(m->peer ? "<td>&ndash;</td>" : "<td class=\"even\">not reached</td>", out);
        return;
    }
    fprintf(out, "<td>%s", report_time(sum / (double)n * 1e9, text));
    if (n < m->count) fprintf(out, "<small>%zu of %zu runs</small>", n, m->count);
    fputs("</td>", out);
}

static void put_model(FILE *out, const training_model *m, double slowest)
{
    char text[24], threads[64];
    training_time time = training_epoch_time(m);
    report_put(out, "<tr><td>", m->model, "<small>");
    report_escape(out, m->impl);
    report_put(out, *m->layout ? " " : "", m->layout, "");
    if (m->batch > 0) fprintf(out, ", batch %d", m->batch);
    if (m->ranks > 1) fprintf(out, ", %s", training_threads(m, threads));
    fprintf(out, "<br>%zu run%s of %zu epochs</small></td><td class=\"main\">%s<small>", m->count,
            m->count == 1 ? "" : "s", m->count > 0 ? m->runs[0].count : 0,
            report_time(time.median * 1e9, text));
    if (isnan(time.low))
        fprintf(out, "median of %zu", time.epochs);
    else
        fprintf(out, "%.3g to %.3g s", time.low, time.high);
    fprintf(out, "</small><span class=\"bar\" style=\"width:%.0f%%\"></span></td>",
            time.median > 0 ? 100 * time.median / slowest : 0);
    put_mean(out, over_runs(m, test_accuracy), "%", 2);
    put_mean(out, over_runs(m, test_loss), "", 4);
    for (int i = 0; i < TRAINING_LEVELS; i++) put_seconds_to(out, m, i);
    fputs("</tr>\n", out);
}

static void put_models(FILE *out, const report_training *t)
{
    double slowest = 0;
    for (size_t i = 0; i < t->count; i++) slowest = fmax(slowest, training_epoch_time(&t->models[i]).median);
    fputs("<div class=\"scroll\"><table><thead><tr><th>Model</th><th>Time of an epoch</th><th>Test "
          "accuracy</th><th>Test loss</th><th>to 97%</th><th>to 98%</th><th>to 98.5%</th><th>to "
          "99%</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < t->count; i++) put_model(out, &t->models[i], slowest);
    fputs("</tbody></table></div>\n<p class=\"note\">An epoch is training alone, without validation and "
          "checkpoints. &plusmn; is the standard deviation over runs; the last four columns are training time "
          "until validation accuracy first reached that level.</p>\n",
          out);
}

/* ---- beside other programs */

/* The epochs that some run of the model has. */
static size_t epochs_of(const training_model *m)
{
    size_t most = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->runs[i].count > most) most = m->runs[i].count;
    return most;
}

/* Mean over the runs that have the epoch, which counts from 1, of what its training itself got right. */
static double accuracy_in(const training_model *m, size_t epoch)
{
    double sum = 0;
    int n = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->runs[i].count >= epoch) {
            sum += m->runs[i].history[epoch - 1].accuracy;
            n++;
        }
    return 100 * sum / n;
}

/* A program's two networks: times, their ratio, accuracies in the epoch. */
static void put_pair(FILE *out, const training_model *a, const training_model *b, size_t epoch)
{
    char first[24], second[24];
    rule_ratio r = training_compare(a, b);
    report_put(out, "<tr><td>", a->peer ? a->impl : "sepbench", "<small>");
    report_put(out, "", a->peer ? a->layout : a->impl, "");
    fprintf(out, ", %d thread%s</small></td><td>%s</td><td>%s</td><td class=\"main\">", a->threads,
            a->threads == 1 ? "" : "s", report_time(training_epoch_time(a).median * 1e9, first),
            report_time(training_epoch_time(b).median * 1e9, second));
    if (rule_determined(r.outcome))
        fprintf(out, "%.2f&times;<small>%.2f to %.2f</small>", r.value, r.low, r.high);
    else
        fprintf(out, "<small>%s</small>", training_reason(r.outcome));
    fprintf(out, "</td><td>%.2f%%</td><td>%.2f%%</td></tr>\n", accuracy_in(a, epoch), accuracy_in(b, epoch));
}

static void put_beside(FILE *out, const report_training *t)
{
    const training_model *a, *b, *other;
    if (!training_two(t, &a, &b)) return;
    size_t epoch = SIZE_MAX;
    bool peers = false;
    for (const training_model *m = t->models; m < t->models + t->count; m++) {
        if (strcmp(m->model, a->model) != 0 || (other = training_alike(t, b->model, m)) == NULL) continue;
        if (epochs_of(m) < epoch) epoch = epochs_of(m);
        if (epochs_of(other) < epoch) epoch = epochs_of(other);
        peers = peers || m->peer;
    }
    if (!peers || epoch == 0) return;
    report_put(out,
               "<h3>Beside other programs</h3>\n<div class=\"scroll\"><table><thead><tr><th>Program</th><th>",
               a->model, " epoch</th>");
    report_put(out, "<th>", b->model, " epoch</th>");
    report_put(out, "<th>", b->model, ", times as fast as ");
    report_put(out, "", a->model, "</th>");
    report_put(out, "<th>Accuracy, ", a->model, "</th>");
    report_put(out, "<th>Accuracy, ", b->model, "</th></tr></thead><tbody>\n");
    for (const training_model *m = t->models; m < t->models + t->count; m++)
        if (strcmp(m->model, a->model) == 0 && (other = training_alike(t, b->model, m)) != NULL)
            put_pair(out, m, other, epoch);
    fprintf(out,
            "</tbody></table></div>\n<p class=\"note\">The same networks, data, options and batches; initial "
            "weights by each program's own rule. Above 1 "
            "the second network is the faster one. Accuracy is on the training images, counted "
            "while training in epoch %zu, the last that all have; dropout is on.</p>\n",
            epoch);
}

/* ---- where a step goes */

static void put_step(FILE *out, const report_data *data, const training_model *m)
{
    char a[24], b[24];
    training_step s = training_step_of(data, m);
    if (isnan(s.whole)) return;
    fprintf(out, "<p>One step takes %s; its operations add up to %s (%.0f%%). ", report_time(s.whole, a),
            report_time(s.explained, b), 100 * s.explained / s.whole);
    if (s.peak > 0)
        fprintf(out,
                "Its arithmetic, %.3g GFLOP, would take %s at the measured peak of %.0f GFLOP/s: the step "
                "takes %.2f times that. (Arithmetic is the dense one; a \"pooled\" backward leaves out the "
                "zeros behind pooling, so its GFLOP/s are effective and may pass the peak.)",
                s.flops / 1e9, report_time(s.arithmetic, a), s.peak, s.whole / s.arithmetic);
    else
        fprintf(out, "Its arithmetic is %.3g GFLOP: %.0f GFLOP/s over the whole step.", s.flops / 1e9,
                s.flops / s.whole);
    fputs("</p>\n", out);
}

/* The whole, or what goes on beside it. */
static bool is_no_part(const training_operation *o)
{
    return strcmp(o->layer, "step") == 0 || strcmp(o->layer, "hidden") == 0;
}

/* A layer's nanoseconds in both passes. */
static double sum_of(const training_model *m, const char *layer)
{
    double ns = 0;
    for (size_t i = 0; i < m->profile_count; i++)
        if (strcmp(m->profile[i].layer, layer) == 0) ns += m->profile[i].ns;
    return ns;
}

static void put_part(FILE *out, const char *what, double ns, double step)
{
    char text[24];
    fprintf(
        out,
        "<tr><td>%s</td><td>%s<span class=\"bar\" style=\"width:%.0f%%\"></span></td><td>%.1f%%</td></tr>\n",
        what, report_time(ns, text), fmin(100, 100 * ns / step), 100 * ns / step);
}

/* On several ranks: messages that computing hides, and those that it does not. */
static void put_overlap(FILE *out, const report_data *data, const training_model *m)
{
    double waited = sum_of(m, "communication"), hidden = sum_of(m, "hidden");
    double step = training_step_of(data, m).whole;
    if (!(waited + hidden > 0) || !(step > 0)) return;
    fprintf(out,
            "<p>Of its messages between ranks computing hides %.0f%%:</p>\n<div class=\"scroll\"><table>"
            "<thead><tr><th>Messages</th><th>Time</th><th>Of a step</th></tr></thead><tbody>\n",
            100 * hidden / (waited + hidden));
    put_part(out, "under way while something else is computed", hidden, step);
    put_part(out, "packed and waited for", waited, step);
    fputs("</tbody></table></div>\n", out);
}

static void put_profile(FILE *out, const report_data *data, const training_model *m)
{
    char name[160], text[24];
    if (m->profile_count == 0) return;
    double most = 0;
    for (size_t i = 0; i < m->profile_count; i++)
        if (!is_no_part(&m->profile[i])) most = fmax(most, m->profile[i].percent);
    report_put(out, "<h3>Where a step's time goes: ", training_name(data->training, m, name), "</h3>\n");
    put_step(out, data, m);
    put_overlap(out, data, m);
    fputs("<details><summary>Each layer, each pass</summary>\n<div "
          "class=\"scroll\"><table><thead><tr><th>Layer</th>"
          "<th class=\"text\">Operation</th><th "
          "class=\"text\">Pass</th><th>Time</th><th>Share</th><th>GFLOP/s</th></tr>"
          "</thead><tbody>\n",
          out);
    for (size_t i = 0; i < m->profile_count; i++) {
        const training_operation *o = &m->profile[i];
        bool whole = is_no_part(o);
        report_put(out, "<tr><td>", o->layer, "</td><td class=\"text\">");
        report_escape(out, o->operation);
        fputs("</td><td class=\"text\">", out);
        report_escape(out, o->pass);
        fprintf(out, "</td><td>%s</td><td>%.1f%%<span class=\"bar\" style=\"width:%.0f%%\"></span></td>",
                report_time(o->ns, text), o->percent, whole ? 0 : 100 * o->percent / most);
        if (isnan(o->gflops))
            fputs("<td></td></tr>\n", out);
        else
            fprintf(out, "<td>%s</td></tr>\n", report_number(o->gflops, text));
    }
    fputs("</tbody></table></div></details>\n", out);
}

void page_training(FILE *out, const report_page *page)
{
    const report_training *t = page->data->training;
    if (t == NULL || t->count == 0) return;
    fputs("<section id=\"train\">\n<h2>Training</h2>\n", out);
    put_models(out, t);
    put_beside(out, t);
    page_plots(out, page, "training");
    for (size_t i = 0; i < t->count; i++) put_profile(out, page->data, &t->models[i]);
    fputs("</section>\n", out);
}
