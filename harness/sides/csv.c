/* machines.csv and differences.csv: what the page shows; results/README.md has their columns. */
#include <math.h>

#include "../output.h"
#include "../record/csv.h"
#include "sides.h"

static void put_number(FILE *out, double value) { csv_add_number(out, "%.9g", value); }

/* The best implementation and its time. */
static void put_best(FILE *out, const record_row *row)
{
    csv_add(out, row != NULL ? row->impl : "");
    put_number(out, row != NULL ? row->median_ns : NAN);
}

static void put_outcome(FILE *out, const report_ratio *ratio)
{
    static const char *const words[RATIO_OUTCOMES] = {"faster", "slower", "no measurable difference"};
    put_number(out, ratio->times.value);
    put_number(out, ratio->times.low);
    put_number(out, ratio->times.high);
    csv_add(out, rule_determined(ratio->times.outcome) ? words[ratio->times.outcome]
                                                       : rule_reason(ratio->times.outcome));
}

static void put_comparison(FILE *out, const sides *s, int machine, const sides_setting *setting,
                           const sides_point *p)
{
    const side *m = s->machines[machine];
    char text[160];
    csv_put(out, m->label);
    csv_add(out, m->run.run_id);
    csv_add(out, sides_text(m, "cpu", text, sizeof text));
    csv_add(out, sides_text(m, "isa_allowed", text, sizeof text));
    fprintf(out, ",%d", m->threads);
    csv_add(out, report_setting_name(&setting->shape, text, sizeof text));
    fprintf(out, ",%s,%lld,%lld,%lld", conv_pass_name(p->key->pass), (long long)p->key->ic,
            (long long)p->key->oc, (long long)p->key->depth_multiplier);
    put_best(out, sides_best(s, machine, p, CONV_DENSE));
    put_best(out, sides_best(s, machine, p, CONV_SEPARABLE));
    report_ratio ratio;
    if (sides_speedup(s, machine, p, &ratio))
        put_outcome(out, &ratio);
    else
        fputs(",,,,a side has no time", out);
    fputc('\n', out);
}

static bool put_machines(FILE *out, const void *what)
{
    const sides *s = what;
    fputs(
        "machine,run_id,cpu,isa,threads,setting,pass,ic,oc,depth_multiplier,dense_impl,dense_ns,separable_impl,"
        "separable_ns,speedup,ci95_low,ci95_high,outcome\n",
        out);
    for (int m = 0; m < s->count; m++)
        for (size_t i = 0; i < s->setting_count; i++)
            for (size_t k = 0; k < s->settings[i].count; k++)
                put_comparison(out, s, m, &s->settings[i], &s->settings[i].points[k]);
    return true;
}

static bool put_differences(FILE *out, const void *what)
{
    const sides *s = what;
    sides_differences d;
    fputs("property,differs,machine,value\n", out);
    if (!sides_differences_create(s, &d)) return false;
    for (size_t r = 0; r < d.count; r++)
        for (int m = 0; m < s->count; m++) {
            csv_put(out, d.rows[r].name);
            fprintf(out, ",%d", d.rows[r].differs);
            csv_add(out, s->machines[m]->label);
            csv_add(out, d.rows[r].text[m] != NULL ? d.rows[r].text[m] : "");
            fputc('\n', out);
        }
    sides_differences_destroy(&d);
    return true;
}

bool sides_write_csv(const sides *s, const char *dir, conv_error *err)
{
    return output_put(dir, "machines.csv", put_machines, s, err) &&
           output_put(dir, "differences.csv", put_differences, s, err);
}
