/* Files of a training run, and the statistics over runs. */
#include "history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../output.h"
#include "../record/csv.h"
#include "../stats.h"

conv_status history_write(const char *path, const fit_state *s, conv_error *err)
{
    output o;
    if (!output_open(&o, path, OUTPUT_OWN)) {
        output_fail(path, err);
        return CONV_FAILED;
    }
    FILE *file = o.file;
    fputs(HISTORY_COLUMNS_TEXT "\n", file);
    for (int64_t i = 0; i < s->epochs_done; i++) {
        const fit_epoch *e = &s->history[i];
        fprintf(file, "%lld", (long long)e->epoch);
        csv_add_number(file, "%.9g", e->loss);
        csv_add_number(file, "%.9g", e->accuracy);
        csv_add_number(file, "%.9g", e->val_loss);
        csv_add_number(file, "%.9g", e->val_accuracy);
        csv_add_number(file, "%.6f", e->seconds);
        csv_add_number(file, "%.1f", e->images_per_s);
        csv_add_number(file, "%.9g", e->learning_rate);
        csv_add_number(file, "%.6f", e->quiet_seconds);
        fputc('\n', file);
    }
    return output_close(&o, true) || output_fail(path, err) ? CONV_OK : CONV_FAILED;
}

double history_time_to(const fit_state *s, double level)
{
    double seconds = 0;
    for (int64_t i = 0; i < s->epochs_done; i++) {
        seconds += s->history[i].seconds;
        if (s->history[i].val_accuracy >= level) return seconds;
    }
    return NAN;
}

double history_median_epoch(const fit_state *s)
{
    if (s->epochs_done == 0) return NAN;
    double *seconds = malloc((size_t)s->epochs_done * sizeof *seconds), median = NAN;
    if (seconds == NULL) return NAN;
    for (int64_t i = 0; i < s->epochs_done; i++) seconds[i] = s->history[i].seconds;
    median = stats_median(seconds, (size_t)s->epochs_done);
    free(seconds);
    return median;
}

void runs_put(FILE *file, const run_label *label, const fit_state *s)
{
    static const double levels[] = {0.97, 0.98, 0.985, 0.99};
    csv_put(file, label->model);
    fprintf(file, ",%d,%llu,", label->run, (unsigned long long)label->seed);
    csv_put(file, label->impl);
    fprintf(file, ",%d,%lld,%s,%lld", label->threads, (long long)label->batch_size, label->status,
            (long long)s->epochs_done);
    csv_add_number(file, "%.9g", s->test_loss);
    csv_add_number(file, "%.9g", s->test_accuracy);
    csv_add_number(file, "%.0f", s->best_epoch > 0 ? (double)s->best_epoch : NAN);
    csv_add_number(file, "%.9g", s->best);
    double median = history_median_epoch(s);
    csv_add_number(file, "%.6f", median);
    csv_add_number(file, "%.1f",
                   s->epochs_done > 0 ? s->history[0].images_per_s * s->history[0].seconds / median : NAN);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        csv_add_number(file, "%.6f", history_time_to(s, levels[i]));
    fputc('\n', file);
}

typedef struct {
    const char *layer, *operation, *pass;
    double seconds, flops; /* of one step; flops 0: not told */
} profile_row;

static void profile_put(FILE *file, profile_row r, double step)
{
    csv_put(file, r.layer);
    fputc(',', file);
    csv_put(file, r.operation);
    fprintf(file, ",%s", r.pass);
    csv_add_number(file, "%.0f", r.seconds * 1e9);
    csv_add_number(file, "%.2f", 100 * r.seconds / step);
    csv_add_number(file, "%.0f", r.flops > 0 ? r.flops : NAN);
    csv_add_number(file, "%.2f", r.flops > 0 ? r.flops / r.seconds / 1e9 : NAN);
    fputc('\n', file);
}

conv_status profile_write(const char *path, const net *n, int64_t steps, int64_t batch, conv_error *err)
{
    enum { MOST = 512 };
    double wall, explained = 0, share = 1.0 / (double)(steps > 0 ? steps : 1);
    net_profile_row *rows = malloc(MOST * sizeof *rows);
    output o;
    if (rows == NULL) return conv_fail(err, CONV_NO_MEMORY, "%.200s: no memory", path);
    if (!output_open(&o, path, OUTPUT_OWN)) {
        free(rows);
        output_fail(path, err);
        return CONV_FAILED;
    }
    FILE *file = o.file;
    int count = net_profile(n, rows, MOST, &wall);
    double step = wall * share;
    fputs(PROFILE_COLUMNS_TEXT "\n", file);
    for (int i = 0; i < count; i++) {
        const net_profile_row *r = &rows[i];
        double flops = (double)(r->flops * batch);
        if (r->forward_s > 0)
            profile_put(file, (profile_row){r->layer, r->operation, "forward", r->forward_s * share, flops},
                        step);
        if (r->backward_s > 0)
            profile_put(file,
                        (profile_row){r->layer, r->operation, "backward", r->backward_s * share,
                                      r->first_weights ? flops : 2 * flops},
                        step);
        explained += r->forward_s + r->backward_s;
    }
    profile_put(file, (profile_row){"residual", "waiting and bookkeeping", "", (wall - explained) * share, 0},
                step);
    profile_put(file, (profile_row){"step", "whole", "", step, 0}, step);
    if (net_hidden(n) > 0)
        profile_put(file, (profile_row){"hidden", "messages under way meanwhile", "", net_hidden(n) * share, 0},
                    step);
    free(rows);
    return output_close(&o, true) || output_fail(path, err) ? CONV_OK : CONV_FAILED;
}

/* ---- statistics over runs */

sample_mean mean_of(const double *values, int n)
{
    sample_mean m = {.n = n, .mean = NAN, .std = NAN};
    if (n < 1) return m;
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) sum += values[i];
    m.mean = sum / n;
    for (int i = 0; i < n; i++) square += (values[i] - m.mean) * (values[i] - m.mean);
    if (n > 1) m.std = sqrt(square / (n - 1));
    return m;
}

/* P(|T| <= t) of Student's distribution with nu degrees of freedom: Simpson's rule over its density. */
static double student_within(double t, double nu)
{
    enum { STEPS = 2000 };
    double scale = exp(lgamma((nu + 1) / 2) - lgamma(nu / 2)) / sqrt(nu * M_PI), h = t / STEPS, sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double x = i * h, density = scale * pow(1 + x * x / nu, -(nu + 1) / 2);
        sum += density * (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2);
    }
    return 2 * sum * h / 3;
}

/* The t with P(|T| <= t) = 0.95, by bisection. */
static double student_95(double nu)
{
    double low = 1.9, high = 13; /* nu from infinity down to 1 */
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (student_within(middle, nu) < 0.95)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* Welch 1947; degrees of freedom after Satterthwaite 1946. */
bool welch_interval(sample_mean a, sample_mean b, double *difference, double *low, double *high)
{
    if (a.n < 2 || b.n < 2) return false;
    double va = a.std * a.std / a.n, vb = b.std * b.std / b.n, error = sqrt(va + vb);
    double nu = va + vb > 0 ? (va + vb) * (va + vb) / (va * va / (a.n - 1) + vb * vb / (b.n - 1)) : 1;
    double half = student_95(nu) * error;
    *difference = a.mean - b.mean;
    *low = *difference - half;
    *high = *difference + half;
    return true;
}
