#include "staircase.h"

#include <math.h>
#include <stdlib.h>

#include "../output.h"
#include "../record/csv.h"
#include "page.h"

/* The causes in the order in which the levels of tf-like lose them, each with the first level without it. */
static const struct {
    const char *without, *column, *label, *words;
} causes[STAIRS] = {
    {"tf-like+fma", "fma", "no FMA",
     "Multiplication and addition are two instructions: TensorFlow's package is compiled for AVX, which has no "
     "multiply-add."},
    {"tf-like+nocopy", "copy", "copy",
     "For every pixel the inputs under its taps are first copied into a buffer, and read from there."},
    {"tf-like+registers", "registers", "no reuse",
     "Nothing stays in registers from one pixel to the next: the filter is loaded, and the sums of its "
     "gradient are loaded and stored, again for each."},
    {"tf-like+threads", "threads", "threads",
     "Gradients share out images and not rows, so one image has one thread; so have small forward passes, "
     "and where other threads help, they sleep between calls and have to be woken."},
    {NULL, "rest", "rest",
     "What the best does beyond that: wider vectors, more pixels and rows at once, layouts and prefetches that "
     "suit the caches."}};

/* The row of that implementation, if it has a time that may be shown. */
static const record_row *shown_row(const report_data *data, const report_point *q, const char *impl)
{
    int i = report_impl_index(data, impl);
    const record_row *row = i >= 0 ? report_row(q, CONV_DEPTHWISE, i) : NULL;
    if (row == NULL) return NULL;
    rule_time time = rule_time_of(row);
    return rule_shown(&time) ? row : NULL;
}

bool staircase_of(const report_data *data, const report_point *q, staircase *s)
{
    const record_row *best = report_best(data, q, CONV_DEPTHWISE, (best_filter){.ours = true});
    *s = (staircase){.like = shown_row(data, q, "tf-like"), .tensorflow = shown_row(data, q, "tensorflow")};
    s->best = best != NULL ? shown_row(data, q, best->impl) : NULL;
    if (s->like == NULL || s->best == NULL) return false;
    double from = s->like->median_ns;
    for (int i = 0; i < STAIRS; i++) {
        const record_row *to = causes[i].without != NULL ? shown_row(data, q, causes[i].without) : s->best;
        s->factor[i] = to != NULL ? from / to->median_ns : NAN;
        if (to != NULL) from = to->median_ns;
    }
    s->product = s->like->median_ns / s->best->median_ns;
    s->measured = s->tensorflow != NULL ? s->tensorflow->median_ns / s->best->median_ns : NAN;
    return true;
}

/* ---- the file */

static void put_columns(FILE *out)
{
    fputs("case,pass,channels,tensorflow_ns,tf_like_ns,best,best_ns", out);
    for (int i = 0; i < STAIRS; i++) fprintf(out, ",factor_%s", causes[i].column);
    fputs(",product,measured,product_over_measured\n", out);
}

static void put_record(FILE *out, const staircase *s)
{
    char name[CASE_NAME_MAX];
    csv_put(out, record_case_name(s->like, name));
    fprintf(out, ",%s,%lld", conv_pass_name(s->like->pass), (long long)s->like->problem.ic);
    csv_add_number(out, "%.6g", s->tensorflow != NULL ? s->tensorflow->median_ns : NAN);
    csv_add_number(out, "%.6g", s->like->median_ns);
    csv_add(out, s->best->impl);
    csv_add_number(out, "%.6g", s->best->median_ns);
    for (int i = 0; i < STAIRS; i++) csv_add_number(out, "%.6g", s->factor[i]);
    csv_add_number(out, "%.6g", s->product);
    csv_add_number(out, "%.6g", s->measured);
    csv_add_number(out, "%.6g", s->product / s->measured);
    fputs("\n", out);
}

static bool put_records(FILE *out, const void *what)
{
    const report_data *data = what;
    staircase s;
    int records = 0;
    for (size_t k = 0; k < data->setting_count; k++)
        for (size_t i = 0; i < data->settings[k].count; i++)
            if (staircase_of(data, &data->settings[k].points[i], &s)) {
                if (records++ == 0) put_columns(out);
                put_record(out, &s);
            }
    return records > 0;
}

bool staircase_write(const report_data *data, const char *dir, conv_error *err)
{
    return output_put(dir, "staircase.csv", put_records, data, err);
}

/* ---- the picture: a line for each channel count, on a logarithmic axis of times the best's time */

enum { WIDTH = 440, LABELS = 48, VALUES = 56, ROW = 24, BAR = 14, HEAD = 66, KEY = 10 };

typedef struct {
    FILE *out;
    const report_data *data;
    const report_setting *setting;
    conv_pass pass;
    double most; /* of the axis */
} picture;

static double x_of(const picture *p, double times)
{
    return LABELS + (WIDTH - LABELS - VALUES) * log(fmax(times, 1)) / log(p->most);
}

/* The colour of the level without the cause; of the rest, that of axes. */
static const char *colour_of(const picture *p, int cause)
{
    int i = causes[cause].without != NULL ? report_impl_index(p->data, causes[cause].without) : -1;
    return i >= 0 ? p->data->impls[i].css : "--axis";
}

static void put_key(const picture *p)
{
    double x = 0;
    for (int i = 0; i < STAIRS; i++) {
        fprintf(p->out, "<rect x=\"%.0f\" y=\"26\" width=\"%d\" height=\"%d\" fill=\"var(%s)\"/>", x, KEY, KEY,
                colour_of(p, i));
        fprintf(p->out, "<text x=\"%.0f\" y=\"35\">%s</text>\n", x + KEY + 4, causes[i].label);
        x += 80;
    }
    fprintf(p->out,
            "<rect x=\"3\" y=\"44\" width=\"3\" height=\"%d\" fill=\"var(--ink)\"/><text x=\"%d\" y=\"55\">"
            "TensorFlow, measured</text>\n",
            BAR, KEY + 4);
}

/* From the best's time, which is 1, to tf-like's. */
static void put_bar(const picture *p, int row, const staircase *s)
{
    double at = 1;
    int y = HEAD + row * ROW;
    char number[16];
    for (int i = STAIRS - 1; i >= 0; i--) {
        if (isnan(s->factor[i])) continue;
        double from = x_of(p, at), to = x_of(p, at * s->factor[i]);
        fprintf(p->out,
                "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"var(%s)\">"
                "<title>%s: &times;%s</title></rect>\n",
                fmin(from, to), y, fabs(to - from), BAR, colour_of(p, i), causes[i].label,
                report_number(s->factor[i], number));
        at *= s->factor[i];
    }
    fprintf(p->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%lld</text>", LABELS - 8, y + BAR - 2,
            (long long)s->like->problem.ic);
    fprintf(p->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s&times;</text>\n", WIDTH, y + BAR - 2,
            report_number(s->product, number));
    if (!isnan(s->measured))
        fprintf(p->out, "<rect x=\"%.1f\" y=\"%d\" width=\"3\" height=\"%d\" fill=\"var(--ink)\"/>\n",
                x_of(p, s->measured) - 1.5, y - 3, BAR + 6);
}

static void put_picture(picture *p, int rows)
{
    staircase s;
    int row = 0;
    fprintf(p->out, "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s, times the best's time\" ",
            WIDTH, HEAD + rows * ROW + 4, page_pass(p->pass));
    fprintf(p->out,
            "font-size=\"12\" fill=\"var(--ink)\">\n<text x=\"0\" y=\"14\" font-weight=\"600\">%s: times the "
            "best&#39;s time</text>\n",
            page_pass(p->pass));
    put_key(p);
    for (size_t i = 0; i < p->setting->count; i++)
        if (p->setting->points[i].pass == p->pass && staircase_of(p->data, &p->setting->points[i], &s))
            put_bar(p, row++, &s);
    fputs("</svg></figure>\n", p->out);
}

/* ---- the table */

static void put_cell(FILE *out, double value)
{
    char number[16];
    fprintf(out, "<td>%s</td>", isnan(value) ? "&ndash;" : report_number(value, number));
}

static void put_table(const picture *p)
{
    staircase s;
    fputs("<div class=\"scroll\"><table><thead><tr><th>Chan&shy;nels</th>"
          "<th>TensorFlow</th><th>tf-like</th><th>Best</th>",
          p->out);
    for (int i = 0; i < STAIRS; i++) fprintf(p->out, "<th>%s</th>", causes[i].label);
    fputs("<th>Product</th><th>Measured</th><th>Their ratio</th></tr></thead><tbody>\n", p->out);
    for (size_t i = 0; i < p->setting->count; i++) {
        const report_point *q = &p->setting->points[i];
        if (q->pass != p->pass || !staircase_of(p->data, q, &s)) continue;
        fputs("<tr>", p->out);
        page_channels(p->out, q);
        page_time_cell(p->out, s.tensorflow);
        page_time_cell(p->out, s.like);
        page_time_cell(p->out, s.best);
        for (int k = 0; k < STAIRS; k++) put_cell(p->out, s.factor[k]);
        put_cell(p->out, s.product);
        put_cell(p->out, s.measured);
        put_cell(p->out, s.product / s.measured);
        fputs("</tr>\n", p->out);
    }
    fputs("</tbody></table></div>\n", p->out);
}

/* ---- the section */

/* How many lines a pass has in a setting, how many of them with TensorFlow, and the greatest of all figures. */
static int measure_pass(picture *p, int *with_tensorflow)
{
    int rows = 0;
    staircase s;
    p->most = 2;
    for (size_t i = 0; i < p->setting->count; i++) {
        if (p->setting->points[i].pass != p->pass || !staircase_of(p->data, &p->setting->points[i], &s))
            continue;
        double at = 1;
        for (int k = STAIRS - 1; k >= 0; k--) {
            at *= isnan(s.factor[k]) ? 1 : s.factor[k];
            p->most = fmax(p->most, at);
        }
        p->most = fmax(p->most, s.measured);
        *with_tensorflow += !isnan(s.measured);
        rows++;
    }
    return rows;
}

static void put_opening(FILE *out, bool tensorflow)
{
    fputs(
        "<section id=\"staircase\">\n<h2>Why TensorFlow&rsquo;s is slower</h2>\n<p class=\"note\">Depthwise. "
        "<code>tf-like</code> does what TensorFlow&rsquo;s code does where oneDNN is off "
        "(<code>TF_ENABLE_ONEDNN_OPTS=0</code>); four more implementations each lack one more of its causes of "
        "slowness. Each factor is the time with the cause over the time without; their product leads from the "
        "best of this project to <code>tf-like</code>",
        out);
    fputs(
        tensorflow
            ? ", and beside it stands what TensorFlow itself took. Its own time has two things more: the call "
              "itself, which counts at few channels, and fresh memory for every output, where large ones come "
              "from the kernel page by page.</p>\n<ul>\n"
            : ". TensorFlow itself has no time in this run.</p>\n<ul>\n",
        out);
    for (int i = 0; i < STAIRS; i++) fprintf(out, "<li><b>%s</b>: %s</li>\n", causes[i].label, causes[i].words);
    fputs("</ul>\n", out);
}

static void put_setting(picture *p, FILE *tables)
{
    char name[160];
    int ignored = 0, shown = 0;
    for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
        p->pass = (conv_pass)pass;
        int rows = measure_pass(p, &ignored);
        if (rows == 0) continue;
        if (shown++ == 0)
            report_put(p->out, "<h3>", report_setting_name(p->setting, name, sizeof name),
                       "</h3>\n<div class=\"plots\">\n");
        put_picture(p, rows);
        picture table = *p;
        table.out = tables;
        fprintf(tables, "<h3>%s</h3>\n", page_pass(p->pass));
        put_table(&table);
    }
    if (shown > 0) fputs("</div>\n", p->out);
}

void page_staircase(FILE *out, const report_page *page)
{
    picture p = {.out = out, .data = page->data};
    int rows = 0, with_tensorflow = 0;
    for (size_t k = 0; k < page->data->setting_count; k++)
        for (int pass = 0; pass < CONV_PASS_COUNT; pass++) {
            p.setting = &page->data->settings[k];
            p.pass = (conv_pass)pass;
            rows += measure_pass(&p, &with_tensorflow);
        }
    if (rows == 0) return;
    put_opening(out, with_tensorflow > 0);
    for (size_t k = 0; k < page->data->setting_count; k++) {
        char *tables = NULL;
        size_t size;
        FILE *text = open_memstream(&tables, &size);
        if (text == NULL) break;
        p.setting = &page->data->settings[k];
        put_setting(&p, text);
        fclose(text);
        fputs(tables, out);
        free(tables);
    }
    fputs("</section>\n", out);
}
