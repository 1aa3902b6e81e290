/* One row of results.csv: its case name, its columns, and the line they make. Reading is record/load.c's, the
 * folder record/store.c's; all three go by the one table of columns here. */
#include "record.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../kernels/problem.h"
#include "csv.h"
#include "internal.h"

const char *case_status_name(case_status s)
{
    static const char *const names[] = {"ok", "refused", "skipped", "wrong", "failed"};
    return s < CASE_STATUS_COUNT ? names[s] : "?";
}

case_status case_status_of(conv_status s)
{
    return s == CONV_REFUSED ? CASE_REFUSED : s == CONV_NO_MEMORY ? CASE_SKIPPED : CASE_FAILED;
}

const char *cache_mode_name(cache_mode m)
{
    static const char *const names[] = {"warm", "cold"};
    return m < CACHE_COUNT ? names[m] : "?";
}

const char *race_state_name(race_state s)
{
    static const char *const names[] = {"", "ahead", "near", "behind"};
    return s < RACE_STATE_COUNT ? names[s] : "?";
}

char *record_case_name(const record_row *row, char *buffer)
{
    char problem[PROBLEM_STRING_MAX];
    const conv_problem *p = &row->problem;
    snprintf(buffer, CASE_NAME_MAX, "%s/%s/%s/%s/%s%s%s%s/t%d/%s", conv_variant_name(p->variant),
             conv_pass_name(row->pass), row->impl, problem_format(p, problem), conv_layout_name(p->layout),
             p->bias ? "+bias" : "", p->post_op != CONV_POST_NONE ? "+" : "", conv_post_op_word(p->post_op),
             row->threads, cache_mode_name(row->cache));
    return buffer;
}

/* Length of the word that --strategy had: what stands before the strategies' words; 0: it was not given. */
static int repro_strategy(const record_row *row)
{
    size_t digits = strspn(row->strategy, "0123456789");
    if (strncmp(row->strategy, "model:", 6) == 0) return 5;
    return row->strategy[digits] == ':' ? (int)digits : 0;
}

char *record_repro(const record_row *row, char *buffer, size_t size)
{
    char problem[PROBLEM_STRING_MAX];
    const conv_problem *p = &row->problem;
    int word = repro_strategy(row);
    snprintf(buffer, size, "sepbench bench %s:%s --pass %s --impl %s --threads %d%s%s%s%s%s%s%.*s",
             conv_variant_name(p->variant), problem_format(p, problem), conv_pass_name(row->pass), row->impl,
             row->threads, p->layout == CONV_NCHW ? " --layout nchw" : "", p->bias ? " --bias" : "",
             p->post_op != CONV_POST_NONE ? " --" : "", conv_post_op_word(p->post_op),
             row->cache == CACHE_COLD ? " --cache cold" : "", word > 0 ? " --strategy " : "", word,
             row->strategy);
    return buffer;
}

/* ---- the columns */

#define ROW(member) offsetof(record_row, member)
#define AXIS(letter, member) offsetof(record_row, problem.axis[CONV_##letter].member)

static double out_d(const record_row *r) { return (double)conv_out(&r->problem.axis[CONV_D]); }
static double out_h(const record_row *r) { return (double)conv_out(&r->problem.axis[CONV_H]); }
static double out_w(const record_row *r) { return (double)conv_out(&r->problem.axis[CONV_W]); }
/* Of sizes that no machine could hold there is nothing to count. */
static double counted(const record_row *r, int64_t (*count)(const conv_problem *p, conv_pass pass))
{
    return conv_problem_check(&r->problem, NULL) == CONV_OK ? (double)count(&r->problem, r->pass) : NAN;
}

static double flops(const record_row *r) { return counted(r, conv_flops); }
static double bytes(const record_row *r) { return counted(r, conv_bytes_min); }
static double intensity(const record_row *r) { return flops(r) / bytes(r); }
static double gflops(const record_row *r) { return flops(r) / r->median_ns; }
static double gbps(const record_row *r) { return bytes(r) / r->median_ns; }

const record_column record_table[] = {
    {"run_id", COLUMN_NAME, ROW(run_id), sizeof((record_row *)0)->run_id, NULL},
    {"case", COLUMN_CASE, 0, 0, NULL},
    {"suite", COLUMN_LABEL, ROW(suite), sizeof((record_row *)0)->suite, NULL},
    {"layer", COLUMN_LABEL, ROW(layer), sizeof((record_row *)0)->layer, NULL},
    {"variant", COLUMN_VARIANT, ROW(problem.variant), 0, NULL},
    {"pass", COLUMN_PASS, ROW(pass), 0, NULL},
    {"impl", COLUMN_NAME, ROW(impl), sizeof((record_row *)0)->impl, NULL},
    {"isa", COLUMN_ISA, ROW(isa), 0, NULL},
    {"layout", COLUMN_LAYOUT, ROW(problem.layout), 0, NULL},
    {"bias", COLUMN_BOOL, ROW(problem.bias), 0, NULL},
    {"post_op", COLUMN_POST_OP, ROW(problem.post_op), 0, NULL},
    {"mb", COLUMN_SIZE, ROW(problem.mb), 0, NULL},
    {"ic", COLUMN_SIZE, ROW(problem.ic), 0, NULL},
    {"oc", COLUMN_SIZE, ROW(problem.oc), 0, NULL},
    {"id", COLUMN_SIZE, AXIS(D, in), 0, NULL},
    {"ih", COLUMN_SIZE, AXIS(H, in), 0, NULL},
    {"iw", COLUMN_SIZE, AXIS(W, in), 0, NULL},
    {"od", COLUMN_DERIVED, 0, 0, out_d},
    {"oh", COLUMN_DERIVED, 0, 0, out_h},
    {"ow", COLUMN_DERIVED, 0, 0, out_w},
    {"kd", COLUMN_SIZE, AXIS(D, kernel), 0, NULL},
    {"kh", COLUMN_SIZE, AXIS(H, kernel), 0, NULL},
    {"kw", COLUMN_SIZE, AXIS(W, kernel), 0, NULL},
    {"stride_h", COLUMN_SIZE, AXIS(H, stride), 0, NULL},
    {"stride_w", COLUMN_SIZE, AXIS(W, stride), 0, NULL},
    {"dilation_h", COLUMN_SIZE, AXIS(H, dilation), 0, NULL},
    {"dilation_w", COLUMN_SIZE, AXIS(W, dilation), 0, NULL},
    {"pad_top", COLUMN_SIZE, AXIS(H, pad_before), 0, NULL},
    {"pad_left", COLUMN_SIZE, AXIS(W, pad_before), 0, NULL},
    {"pad_bottom", COLUMN_SIZE, AXIS(H, pad_after), 0, NULL},
    {"pad_right", COLUMN_SIZE, AXIS(W, pad_after), 0, NULL},
    {"groups", COLUMN_SIZE, ROW(problem.groups), 0, NULL},
    {"depth_multiplier", COLUMN_SIZE, ROW(problem.depth_multiplier), 0, NULL},
    {"threads", COLUMN_INT, ROW(threads), 0, NULL},
    {"cache", COLUMN_CACHE, ROW(cache), 0, NULL},
    {"status", COLUMN_STATUS, ROW(status), 0, NULL},
    {"reason", COLUMN_TEXT, ROW(reason), sizeof((record_row *)0)->reason, NULL},
    {"repetitions", COLUMN_INT, ROW(repetitions), 0, NULL},
    {"median_ns", COLUMN_REAL, ROW(median_ns), 0, NULL},
    {"ci95_low_ns", COLUMN_REAL, ROW(ci95_low_ns), 0, NULL},
    {"ci95_high_ns", COLUMN_REAL, ROW(ci95_high_ns), 0, NULL},
    {"min_ns", COLUMN_REAL, ROW(min_ns), 0, NULL},
    {"mad_ns", COLUMN_REAL, ROW(mad_ns), 0, NULL},
    {"pack_ns", COLUMN_REAL, ROW(pack_ns), 0, NULL},
    {"plan_ns", COLUMN_REAL, ROW(plan_ns), 0, NULL},
    {"scratch_bytes", COLUMN_COUNT, ROW(scratch_bytes), 0, NULL},
    {"flops", COLUMN_DERIVED, 0, 0, flops},
    {"bytes_min", COLUMN_DERIVED, 0, 0, bytes},
    {"gflops", COLUMN_DERIVED, 0, 0, gflops},
    {"gbps", COLUMN_DERIVED, 0, 0, gbps},
    {"flop_per_byte", COLUMN_DERIVED, 0, 0, intensity},
    {"percent_peak", COLUMN_REAL, ROW(percent_peak), 0, NULL},
    {"bound", COLUMN_LABEL, ROW(bound), sizeof((record_row *)0)->bound, NULL},
    {"max_abs_error", COLUMN_REAL, ROW(max_abs_error), 0, NULL},
    {"error_bound", COLUMN_REAL, ROW(error_bound), 0, NULL},
    {"repro", COLUMN_REPRO, 0, 0, NULL},
    /* Later than the first release: a file without them can be read. */
    {"limit", COLUMN_LABEL, ROW(limit), sizeof((record_row *)0)->limit, NULL},
    {"limit_ns", COLUMN_REAL, ROW(limit_ns), 0, NULL},
    {"percent_limit", COLUMN_REAL, ROW(percent_limit), 0, NULL},
    {"barrier_ns", COLUMN_REAL, ROW(barrier_ns), 0, NULL},
    {"visits", COLUMN_INT, ROW(visits), 0, NULL},
    {"disturbed", COLUMN_INT, ROW(disturbed), 0, NULL},
    {"choice_ns", COLUMN_REAL, ROW(choice_ns), 0, NULL},
    {"race", COLUMN_RACE, ROW(race), 0, NULL},
    {"moved", COLUMN_INT, ROW(moved), 0, NULL},
    {"strategy", COLUMN_TEXT, ROW(strategy), sizeof((record_row *)0)->strategy, NULL},
    {"model_ns", COLUMN_REAL, ROW(model_ns), 0, NULL},
    {"stride_d", COLUMN_SIZE, AXIS(D, stride), 0, NULL},
    {"dilation_d", COLUMN_SIZE, AXIS(D, dilation), 0, NULL},
    {"pad_front", COLUMN_SIZE, AXIS(D, pad_before), 0, NULL},
    {"pad_back", COLUMN_SIZE, AXIS(D, pad_after), 0, NULL},
};
const size_t record_column_count = sizeof record_table / sizeof *record_table;

const char *record_column_name(size_t i) { return record_table[i].name; }

/* ---- a row as a line */

static void put_real(FILE *out, double value)
{
    if (!isfinite(value)) return; /* not available: empty */
    if (value == floor(value) && fabs(value) < 1e15)
        fprintf(out, "%.0f", value); /* counts stay whole numbers */
    else
        fprintf(out, "%.9g", value);
}

static void put_column(FILE *out, const record_row *row, const record_column *c)
{
    const void *at = (const char *)row + c->offset;
    char text[CASE_NAME_MAX + 128];
    switch (c->kind) {
    case COLUMN_TEXT:
    case COLUMN_NAME:
    case COLUMN_LABEL: csv_put(out, at); break;
    case COLUMN_CASE: csv_put(out, record_case_name(row, text)); break;
    case COLUMN_REPRO: csv_put(out, record_repro(row, text, sizeof text)); break;
    case COLUMN_VARIANT: fputs(conv_variant_name(*(const conv_variant *)at), out); break;
    case COLUMN_PASS: fputs(conv_pass_name(*(const conv_pass *)at), out); break;
    case COLUMN_ISA: fputs(cpu_isa_name(*(const cpu_isa *)at), out); break;
    case COLUMN_LAYOUT: fputs(conv_layout_name(*(const conv_layout *)at), out); break;
    case COLUMN_POST_OP: fputs(conv_post_op_name(*(const conv_post_op *)at), out); break;
    case COLUMN_CACHE: fputs(cache_mode_name(*(const cache_mode *)at), out); break;
    case COLUMN_STATUS: fputs(case_status_name(*(const case_status *)at), out); break;
    case COLUMN_RACE: fputs(race_state_name(*(const race_state *)at), out); break;
    case COLUMN_BOOL: putc(*(const bool *)at ? '1' : '0', out); break;
    case COLUMN_SIZE: fprintf(out, "%" PRId64, *(const int64_t *)at); break;
    case COLUMN_INT:
        if (*(const int *)at >= 0) fprintf(out, "%d", *(const int *)at);
        break;
    case COLUMN_COUNT:
        if (*(const int64_t *)at >= 0) fprintf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case COLUMN_REAL: put_real(out, *(const double *)at); break;
    case COLUMN_DERIVED: put_real(out, c->derive(row)); break;
    }
}

void record_put_header(FILE *out)
{
    for (size_t i = 0; i < record_column_count; i++)
        fprintf(out, "%s%s", record_table[i].name, i + 1 < record_column_count ? "," : "\n");
}

void record_put_row(FILE *out, const record_row *row)
{
    for (size_t i = 0; i < record_column_count; i++) {
        put_column(out, row, &record_table[i]);
        putc(i + 1 < record_column_count ? ',' : '\n', out);
    }
}

void record_clear_measured(record_row *row)
{
    row->status = CASE_SKIPPED;
    row->reason[0] = row->bound[0] = row->limit[0] = row->strategy[0] = '\0';
    row->repetitions = row->visits = row->disturbed = row->moved = -1;
    row->race = RACE_NONE;
    row->scratch_bytes = -1;
    for (size_t i = 0; i < record_column_count; i++)
        if (record_table[i].kind == COLUMN_REAL)
            memcpy((char *)row + record_table[i].offset, &(double){NAN}, sizeof(double));
}
