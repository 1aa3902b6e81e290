/* machines.csv and differences.csv: what the page shows; results/README.md has their columns. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../output.h"
#include "../record/csv.h"
#include "sides.h"

static void put_text(FILE *out, const char *text)
{
    csv_put(out, text);
    fputc(',', out);
}

static void put_number(FILE *out, double value)
{
    if (isfinite(value)) fprintf(out, "%.9g", value);
    fputc(',', out);
}

/* The best implementation and its time. */
static void put_best(FILE *out, const record_row *row)
{
    put_text(out, row != NULL ? row->impl : "");
    put_number(out, row != NULL ? row->median_ns : NAN);
}

static void put_outcome(FILE *out, const report_ratio *ratio)
{
    static const char *const words[RATIO_OUTCOMES] = {"faster", "slower", "no measurable difference"};
    put_number(out, ratio->times.value);
    put_number(out, ratio->times.low);
    put_number(out, ratio->times.high);
    csv_put(out, rule_determined(ratio->times.outcome) ? words[ratio->times.outcome]
                                                       : rule_reason(ratio->times.outcome));
}

static void put_comparison(FILE *out, const sides *s, int machine, const sides_setting *setting,
                           const sides_point *p)
{
    const side *m = s->machines[machine];
    char text[160];
    put_text(out, m->label);
    put_text(out, m->run.run_id);
    put_text(out, sides_text(m, "cpu", text, sizeof text));
    put_text(out, sides_text(m, "isa_allowed", text, sizeof text));
    fprintf(out, "%d,", m->threads);
    put_text(out, report_setting_name(&setting->shape, text, sizeof text));
    fprintf(out, "%s,%lld,%lld,%lld,", conv_pass_name(p->key->pass), (long long)p->key->ic,
            (long long)p->key->oc, (long long)p->key->depth_multiplier);
    put_best(out, sides_best(s, machine, p, CONV_DENSE));
    put_best(out, sides_best(s, machine, p, CONV_SEPARABLE));
    report_ratio ratio;
    if (sides_speedup(s, machine, p, &ratio))
        put_outcome(out, &ratio);
    else
        fputs(",,,a side has no time", out);
    fputc('\n', out);
}

static void put_machines(FILE *out, const sides *s)
{
    fputs(
        "machine,run_id,cpu,isa,threads,setting,pass,ic,oc,depth_multiplier,dense_impl,dense_ns,separable_impl,"
        "separable_ns,speedup,ci95_low,ci95_high,outcome\n",
        out);
    for (int m = 0; m < s->count; m++)
        for (size_t i = 0; i < s->setting_count; i++)
            for (size_t k = 0; k < s->settings[i].count; k++)
                put_comparison(out, s, m, &s->settings[i], &s->settings[i].points[k]);
}

static void put_differences(FILE *out, const sides *s)
{
    sides_differences d;
    fputs("property,differs,machine,value\n", out);
    if (!sides_differences_create(s, &d)) return;
    for (size_t r = 0; r < d.count; r++)
        for (int m = 0; m < s->count; m++) {
            put_text(out, d.rows[r].name);
            fprintf(out, "%d,", d.rows[r].differs);
            put_text(out, s->machines[m]->label);
            csv_put(out, d.rows[r].text[m] != NULL ? d.rows[r].text[m] : "");
            fputc('\n', out);
        }
    sides_differences_destroy(&d);
}

static bool write_table(const sides *s, void (*put)(FILE *, const sides *), const char *dir, const char *name,
                        conv_error *err)
{
    char path[4352], *text = NULL;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return conv_fail(err, CONV_NO_MEMORY, "%.200s: no memory", path), false;
    put(out, s);
    fclose(out);
    bool fine = output_write(path, OUTPUT_OWN, text, size, err);
    free(text);
    return fine;
}

bool sides_write_csv(const sides *s, const char *dir, conv_error *err)
{
    return write_table(s, put_machines, dir, "machines.csv", err) &&
           write_table(s, put_differences, dir, "differences.csv", err);
}
