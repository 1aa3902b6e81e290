/* The break-even map: channels against spatial size, coloured by the speedup of separable over dense. */
#include <math.h>
#include <string.h>

#include "chart.h"

enum { MAP_MAX_SIDE = 32 };

typedef struct {
    const report_setting *rows[MAP_MAX_SIDE]; /* by spatial size, small first */
    int row_count;
    int64_t channels[MAP_MAX_SIDE];
    int channel_count;
} map;

static int64_t size_of(const report_setting *s) { return s->shape.axis[CONV_W].in; }

static bool has_ratio(const report_data *data, const report_setting *s, conv_pass pass)
{
    report_ratio p;
    for (size_t i = 0; i < s->count; i++)
        if (s->points[i].pass == pass && s->points[i].ic == s->points[i].oc &&
            report_speedup(data, &s->points[i], -1, &p))
            return true;
    return false;
}

static void add_row(map *m, const report_setting *s)
{
    int at = 0;
    if (m->row_count == MAP_MAX_SIDE) return;
    while (at < m->row_count && size_of(m->rows[at]) < size_of(s)) at++;
    for (int i = m->row_count; i > at; i--) m->rows[i] = m->rows[i - 1];
    m->rows[at] = s;
    m->row_count++;
}

static void add_channels(map *m, int64_t channels)
{
    int at = 0;
    while (at < m->channel_count && m->channels[at] < channels) at++;
    if (m->channel_count == MAP_MAX_SIDE || (at < m->channel_count && m->channels[at] == channels)) return;
    memmove(&m->channels[at + 1], &m->channels[at], (size_t)(m->channel_count - at) * sizeof *m->channels);
    m->channels[at] = channels;
    m->channel_count++;
}

/* Rows of the map that begins with setting `first`; fewer than 2: no map. */
static map find_map(const report_data *data, size_t first, conv_pass pass)
{
    map m = {0};
    for (size_t i = 0; i < data->setting_count; i++) {
        const report_setting *s = &data->settings[i];
        if (!report_alike(&data->settings[first], s, BUT_SIZE) || !has_ratio(data, s, pass)) continue;
        if (i < first) return (map){0}; /* drawn already */
        add_row(&m, s);
        for (size_t k = 0; k < s->count; k++)
            if (s->points[k].ic == s->points[k].oc) add_channels(&m, s->points[k].ic);
    }
    return m;
}

static int mix(int from, int to, double part) { return (int)lround(from + (to - from) * part); }

/* Grey where there is no difference, lighter where it is not determined, red below 1, from pale to deep green up
 * to what is promised. */
static unsigned fill_of(const report_ratio *p)
{
    if (!rule_determined(p->times.outcome)) return 0xe3e5e8;
    if (p->times.outcome == RATIO_SAME) return 0xb9bec4;
    double part = fmin(fabs(log(p->times.value)) / log(fmax(p->promised, 2)), 1);
    part = 0.12 + 0.88 * part;
    if (p->times.value < 1)
        return (unsigned)(mix(0xf6, 0xa3, part) << 16 | mix(0xe3, 0x1f, part) << 8 | mix(0xdf, 0x17, part));
    return (unsigned)(mix(0xe8, 0x0b, part) << 16 | mix(0xf2, 0x5d, part) << 8 | mix(0xe6, 0x4b, part));
}

static unsigned ink_on(unsigned fill)
{
    double luminance = 0.3 * (fill >> 16 & 255) + 0.59 * (fill >> 8 & 255) + 0.11 * (fill & 255);
    return luminance > 140 ? 0x000001 : 0xfffffe; /* not the page's inks: these stay in the dark */
}

static void add_cells(chart *c, const report_data *data, const map *m, conv_pass pass)
{
    for (int y = 0; y < m->row_count; y++)
        for (size_t k = 0; k < m->rows[y]->count; k++) {
            const report_point *q = &m->rows[y]->points[k];
            report_ratio p;
            if (q->pass != pass || q->ic != q->oc || q->depth_multiplier != 1 ||
                !report_speedup(data, q, -1, &p))
                continue;
            int x = 0;
            while (x < m->channel_count - 1 && m->channels[x] != q->ic) x++;
            unsigned fill = fill_of(&p);
            char text[16] = "-";
            if (rule_determined(p.times.outcome))
                snprintf(text, sizeof text, "%.*f", p.times.value < 1.995 ? 2 : 1, p.times.value);
            fprintf(c->out, "%d %d %u %u \"%s\"\n", x, y, fill, ink_on(fill), text);
        }
}

static void put_ticks(const chart *c, const map *m)
{
    char size[64];
    fputs("set xtics (", c->extra);
    for (int x = 0; x < m->channel_count; x++)
        fprintf(c->extra, "%s\"%lld\" %d", x ? ", " : "", (long long)m->channels[x], x);
    fputs(")\nset ytics (", c->extra);
    for (int y = 0; y < m->row_count; y++)
        fprintf(c->extra, "%s\"%s\" %d", y ? ", " : "", report_input_size(m->rows[y], size, sizeof size), y);
    fprintf(c->extra, ")\nset xrange [-0.5:%d.5]\nset yrange [-0.5:%d.5]\n", m->channel_count - 1,
            m->row_count - 1);
}

bool chart_map(chart *c, const report_data *data, size_t setting, conv_pass pass)
{
    map m = find_map(data, setting, pass);
    char name[64], kernel[64];
    if (m.row_count < 2) return false;
    snprintf(name, sizeof name, "map-%s-%zu", conv_pass_name(pass), setting + 1);
    if (!chart_begin(c, name, "map", "map")) {
        chart_drop(c);
        return false;
    }
    const report_setting *s = m.rows[0];
    snprintf(c->plot.title, sizeof c->plot.title, "Separable over dense, %s: times as fast",
             conv_pass_name(pass));
    snprintf(c->subtitle, sizeof c->subtitle,
             "batch %lld, %s kernel, %d thread%s; grey: no measurable difference", (long long)s->shape.mb,
             report_kernel_size(s, kernel, sizeof kernel), s->threads, s->threads == 1 ? "" : "s");
    c->x.label = "channels, in = out";
    c->x.least = c->y.least = 0;
    c->x.most = c->y.most = 1;
    add_cells(c, data, &m, pass);
    put_ticks(c, &m);
    return true;
}
