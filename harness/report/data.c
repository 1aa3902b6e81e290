/* From the rows of a run to settings, points and comparisons. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../grow.h"
#include "../machine/machine.h"
#include "report.h"

const best_filter BEST_EXACT = {.inexact = false, .peers = true, .ours = true, .engine = NULL};

/* ---- grouping */

static bool same_axis(const conv_axis *a, const conv_axis *b, bool any_size)
{
    return a->kernel == b->kernel && a->stride == b->stride && a->dilation == b->dilation &&
           (any_size || (a->in == b->in && a->pad_before == b->pad_before && a->pad_after == b->pad_after));
}

/* All but axes and channels. */
static bool same_kind(const conv_problem *a, const conv_problem *b)
{
    return a->mb == b->mb && a->rank == b->rank && a->layout == b->layout && a->bias == b->bias &&
           a->post_op == b->post_op;
}

bool report_alike(const report_setting *a, const report_setting *b, unsigned but)
{
    for (int i = 0; i < CONV_AXES; i++)
        if (!same_axis(&a->shape.axis[i], &b->shape.axis[i], but & BUT_SIZE)) return false;
    return same_kind(&a->shape, &b->shape) && (but & BUT_THREADS || a->threads == b->threads) &&
           (but & BUT_CACHE || a->cache == b->cache);
}

/* A pointwise convolution belongs to the setting whose dense or separable gives outputs of its size. */
static bool fits(const report_setting *s, const record_row *row)
{
    const conv_problem *p = &row->problem;
    if (s->threads != row->threads || s->cache != row->cache || strcmp(s->suite, row->suite) != 0 ||
        !same_kind(&s->shape, p))
        return false;
    for (int i = 0; i < CONV_AXES; i++) {
        const conv_axis *a = &s->shape.axis[i], *b = &p->axis[i];
        bool follows = p->variant == CONV_POINTWISE && b->stride == 1 && b->pad_before == 0;
        if (!same_axis(a, b, false) && !(follows && conv_out(a) == b->in)) return false;
    }
    return true;
}

static report_setting *setting_of(report_data *data, const record_row *row)
{
    for (size_t i = 0; i < data->setting_count; i++)
        if (fits(&data->settings[i], row)) return &data->settings[i];
    report_setting *s = grow(&data->settings, &data->setting_count, sizeof *s);
    if (s == NULL) return NULL;
    *s = (report_setting){.shape = row->problem, .threads = row->threads, .cache = row->cache};
    memcpy(s->suite, row->suite, sizeof s->suite);
    return s;
}

static report_point *point_of(report_setting *s, const record_row *row)
{
    const conv_problem *p = &row->problem;
    int64_t multiplier = p->variant == CONV_SEPARABLE ? p->depth_multiplier : 1;
    for (size_t i = 0; i < s->count; i++) {
        report_point *q = &s->points[i];
        if (q->ic == p->ic && q->oc == p->oc && q->pass == row->pass && q->depth_multiplier == multiplier)
            return q;
    }
    report_point *q = grow(&s->points, &s->count, sizeof *q);
    if (q == NULL) return NULL;
    *q = (report_point){.ic = p->ic, .oc = p->oc, .depth_multiplier = multiplier, .pass = row->pass};
    return q;
}

int report_impl_index(const report_data *data, const char *name)
{
    int i = data->impl_count - 1;
    while (i >= 0 && strcmp(data->impls[i].name, name) != 0) i--;
    return i;
}

/* The names that --engine gave stand in run.json: of "onednn3" are the rows onednn3 and onednn3-any. */
static void adopt_second_copy(const report_data *data, report_impl *impl)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(data->run->run, "engines"), name, value)
    {
        size_t length = strlen(name);
        if (json_object_get(value, "kind") == NULL) continue; /* no second copy */
        if (strncmp(impl->name, name, length) != 0 || (impl->name[length] != '\0' && impl->name[length] != '-'))
            continue;
        snprintf(impl->engine, sizeof impl->engine, "%s", name);
        impl->peer = true;
        impl->dash = impl->inexact ? REPORT_DOTTED : REPORT_DASHED;
    }
}

static int impl_of(report_data *data, const char *name)
{
    int i = report_impl_index(data, name);
    if (i >= 0 || data->impl_count == REPORT_MAX_IMPLS) return i;
    data->impls[data->impl_count] = report_style(name);
    adopt_second_copy(data, &data->impls[data->impl_count]);
    return data->impl_count++;
}

static bool add_row(report_data *data, const record_row *row, conv_error *err)
{
    data->by_status[row->status]++;
    rule_time time = rule_time_of(row);
    if (row->status == CASE_OK && row->race != RACE_BEHIND && !rule_shown(&time)) data->rough++;
    int impl = impl_of(data, row->impl);
    if (impl < 0) {
        conv_fail(err, CONV_INVALID, "more than %d implementations in one run: '%s' is one too many",
                  (int)REPORT_MAX_IMPLS, row->impl);
        return false;
    }
    report_setting *s = setting_of(data, row);
    report_point *q = s == NULL ? NULL : point_of(s, row);
    if (q == NULL) {
        conv_fail(err, CONV_NO_MEMORY, "out of memory");
        return false;
    }
    const record_row **place = &q->rows[row->problem.variant][impl];
    /* A case measured twice (a resumed run) counts by its later row, unless only the earlier has a time. */
    if (*place == NULL || row->status == CASE_OK || (*place)->status != CASE_OK) *place = row;
    return true;
}

int report_point_order(const report_point *x, const report_point *y)
{
    if (x->pass != y->pass) return x->pass < y->pass ? -1 : 1;
    if (x->ic != y->ic) return x->ic < y->ic ? -1 : 1;
    if (x->oc != y->oc) return x->oc < y->oc ? -1 : 1;
    return (x->depth_multiplier > y->depth_multiplier) - (x->depth_multiplier < y->depth_multiplier);
}

static int by_channels(const void *a, const void *b) { return report_point_order(a, b); }

/* A separable of multiplier m is compared with the dense problem of the same channels, which has none. */
static void share_dense(report_setting *s)
{
    for (size_t i = 1; i < s->count; i++)
        for (size_t j = 0; j < i; j++) {
            report_point *from = &s->points[j], *to = &s->points[i];
            if (from->pass == to->pass && from->ic == to->ic && from->oc == to->oc &&
                from->depth_multiplier == 1)
                memcpy(to->rows[CONV_DENSE], from->rows[CONV_DENSE], sizeof to->rows[CONV_DENSE]);
        }
}

/* ---- ceilings: tolerant of what a run of another version wrote */

/* The ceiling of that name, NaN where there is none; one that no machine has is an error. */
static bool read_ceiling(const report_data *data, const json_t *object, const char *key, double *value,
                         conv_error *err)
{
    static const double least = 1e-3, most = 1e12; /* G a second */
    const json_t *found = json_object_get(object, key);
    *value = json_is_number(found) && json_number_value(found) > 0 ? json_number_value(found) : NAN;
    if (isnan(*value) || (*value >= least && *value <= most)) return true;
    conv_fail(err, CONV_INVALID, "%.200s/run.json: ceilings: %s is %g: not from %g to %g", data->run->dir, key,
              *value, least, most);
    return false;
}

static bool read_ceilings(report_data *data, const json_t *entry, conv_error *err)
{
    if (!json_is_object(entry) || data->ceiling_count == REPORT_MAX_CEILINGS) return true;
    report_ceilings *c = &data->ceilings[data->ceiling_count++];
    json_int_t threads = json_integer_value(json_object_get(entry, "threads"));
    c->threads = threads > 0 && threads <= INT32_MAX ? (int)threads : 0;
    const json_t *fma = json_object_get(entry, "fma_gflops"),
                 *bandwidth = json_object_get(entry, "bandwidth_gbps");
    bool fine = true;
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        fine = fine && read_ceiling(data, fma, cpu_isa_name((cpu_isa)isa), &c->fma_gflops[isa], err);
    for (int level = 0; level < LEVEL_COUNT; level++)
        fine = fine && read_ceiling(data, bandwidth, memory_level_name((memory_level)level),
                                    &c->bandwidth_gbps[level], err);
    return fine;
}

static bool find_ceilings(report_data *data, conv_error *err)
{
    const json_t *found = json_object_get(data->run->run, "ceilings");
    if (found == NULL) found = json_object_get(json_object_get(data->run->run, "machine"), "ceilings");
    if (!json_is_array(found)) return read_ceilings(data, found, err);
    bool fine = true;
    for (size_t i = 0; fine && i < json_array_size(found); i++)
        fine = read_ceilings(data, json_array_get(found, i), err);
    return fine;
}

const report_ceilings *report_ceilings_of(const report_data *data, int threads)
{
    for (int i = 0; i < data->ceiling_count; i++)
        if (data->ceilings[i].threads == threads) return &data->ceilings[i];
    return NULL;
}

/* ---- engines */

static void list_engines(report_data *data)
{
    for (int i = 0; i < data->impl_count; i++) {
        const char *engine = data->impls[i].engine;
        bool known = *engine == '\0';
        for (int k = 0; k < data->engine_count; k++) known = known || strcmp(data->engines[k], engine) == 0;
        if (!known) data->engines[data->engine_count++] = engine;
    }
}

/* ---- the whole */

bool report_data_create(const record_run *run, report_data *data, conv_error *err)
{
    *data = (report_data){.run = run};
    size_t count;
    const conv_entry *entries = conv_entries(&count);
    for (size_t i = 0; i < count; i++) /* the registry's order, for those that occur */
        for (size_t r = 0; r < run->count; r++)
            if (strcmp(run->rows[r].impl, entries[i].name) == 0) {
                impl_of(data, entries[i].name);
                break;
            }
    for (int pointwise = 0; pointwise < 2; pointwise++) /* last, so that its setting is there to join */
        for (size_t r = 0; r < run->count; r++)
            if ((run->rows[r].problem.variant == CONV_POINTWISE) == pointwise &&
                !add_row(data, &run->rows[r], err)) {
                report_data_destroy(data);
                return false;
            }
    for (size_t i = 0; i < data->setting_count; i++) {
        report_setting *s = &data->settings[i];
        qsort(s->points, s->count, sizeof *s->points, by_channels);
        share_dense(s);
    }
    list_engines(data);
    if (find_ceilings(data, err)) return true;
    report_data_destroy(data);
    return false;
}

void report_data_destroy(report_data *data)
{
    for (size_t i = 0; i < data->setting_count; i++) free(data->settings[i].points);
    free(data->settings);
    *data = (report_data){0};
}

/* ---- choosing and comparing */

const record_row *report_row(const report_point *point, conv_variant variant, int impl)
{
    const record_row *row = point->rows[variant][impl];
    return row != NULL && row->status == CASE_OK ? row : NULL;
}

bool report_may_choose(const report_impl *impl, best_filter filter)
{
    bool named = filter.engine == NULL || strcmp(impl->engine, filter.engine) == 0 ||
                 strcmp(impl->name, filter.engine) == 0;
    return named && !impl->study && (!impl->inexact || filter.inexact) &&
           (impl->peer ? filter.peers : filter.ours);
}

const record_row *report_best(const report_data *data, const report_point *point, conv_variant variant,
                              best_filter filter)
{
    const record_row *best = NULL;
    for (int i = 0; i < data->impl_count; i++) {
        const record_row *row = report_row(point, variant, i);
        if (row != NULL && report_may_choose(&data->impls[i], filter) && record_faster(row, best)) best = row;
    }
    return best;
}

bool report_compare(const record_row *slow, const record_row *fast, report_ratio *ratio)
{
    if (slow == NULL || fast == NULL) return false;
    *ratio = (report_ratio){.slow = slow,
                            .fast = fast,
                            .times = rule_compare(rule_time_of(slow), rule_time_of(fast)),
                            .promised = (double)conv_multiplications(&slow->problem) /
                                        (double)conv_multiplications(&fast->problem)};
    return true;
}

bool report_speedup(const report_data *data, const report_point *point, int impl, report_ratio *ratio)
{
    if (impl >= 0)
        return report_compare(report_row(point, CONV_DENSE, impl), report_row(point, CONV_SEPARABLE, impl),
                              ratio);
    return report_compare(report_best(data, point, CONV_DENSE, BEST_EXACT),
                          report_best(data, point, CONV_SEPARABLE, BEST_EXACT), ratio);
}

bool report_engine_speedup(const report_data *data, const report_point *point, const char *engine,
                           report_ratio *ratio)
{
    const best_filter filter = {.peers = engine != NULL, .ours = engine == NULL, .engine = engine};
    return report_compare(report_best(data, point, CONV_DENSE, filter),
                          report_best(data, point, CONV_SEPARABLE, filter), ratio);
}

const char *report_engine_version(const report_data *data, const char *engine)
{
    const json_t *versions = json_object_get(json_object_get(data->run->run, "machine"), "versions");
    for (int i = 0; i < data->impl_count; i++) {
        const char *version = json_string_value(json_object_get(versions, data->impls[i].name));
        if (version != NULL && strcmp(data->impls[i].engine, engine) == 0) return version;
    }
    return NULL;
}

bool report_on_curve(const report_point *q, conv_pass pass)
{
    return q->pass == pass && q->ic == q->oc && q->depth_multiplier == 1;
}

bool report_has(const report_setting *s, conv_variant variant, conv_pass pass)
{
    for (size_t i = 0; i < s->count; i++)
        for (int impl = 0; s->points[i].pass == pass && impl < REPORT_MAX_IMPLS; impl++)
            if (report_row(&s->points[i], variant, impl) != NULL) return true;
    return false;
}

bool report_is_sweep(const report_setting *s)
{
    int64_t first[CONV_VARIANT_COUNT] = {0};
    for (size_t i = 0; i < s->count; i++)
        for (int v = 0; v < CONV_VARIANT_COUNT; v++)
            for (int impl = 0; impl < REPORT_MAX_IMPLS; impl++) {
                const report_point *q = &s->points[i];
                const record_row *row = q->ic == q->oc ? report_row(q, (conv_variant)v, impl) : NULL;
                if (row == NULL || strchr(row->layer, ':') != NULL)
                    continue; /* layers of a network are no sweep */
                if (first[v] != 0 && first[v] != q->ic) return true;
                first[v] = q->ic;
            }
    return false;
}

/* "28x28", in one dimension "28". */
static char *put_sizes(char *buffer, size_t size, const conv_problem *p, int64_t (*of)(const conv_axis *))
{
    int used = 0;
    for (int i = CONV_AXES - p->rank; i < CONV_AXES; i++)
        used +=
            snprintf(buffer + used, size - (size_t)used, "%s%lld", used ? "x" : "", (long long)of(&p->axis[i]));
    return buffer;
}

static int64_t in_of(const conv_axis *a) { return a->in; }
static int64_t kernel_of(const conv_axis *a) { return a->kernel; }
static int64_t stride_of(const conv_axis *a) { return a->stride; }
static int64_t dilation_of(const conv_axis *a) { return a->dilation; }

char *report_input_size(const report_setting *s, char *buffer, size_t size)
{
    return put_sizes(buffer, size, &s->shape, in_of);
}

char *report_kernel_size(const report_setting *s, char *buffer, size_t size)
{
    return put_sizes(buffer, size, &s->shape, kernel_of);
}

char *report_setting_name(const report_setting *s, char *buffer, size_t size)
{
    const conv_problem *p = &s->shape;
    char in[64], kernel[64], stride[64], dilation[64], threads[32] = "";
    put_sizes(in, sizeof in, p, in_of);
    put_sizes(kernel, sizeof kernel, p, kernel_of);
    put_sizes(stride, sizeof stride, p, stride_of);
    put_sizes(dilation, sizeof dilation, p, dilation_of);
    bool strided = false, dilated = false;
    for (int i = 0; i < CONV_AXES; i++) {
        strided = strided || p->axis[i].stride != 1;
        dilated = dilated || p->axis[i].dilation != 1;
    }
    if (s->threads > 0)
        snprintf(threads, sizeof threads, ", %d thread%s", s->threads, s->threads == 1 ? "" : "s");
    snprintf(buffer, size, "%s, batch %lld, %s kernel%s%s%s%s%s%s%s%s%s%s", in, (long long)p->mb, kernel,
             strided ? ", stride " : "", strided ? stride : "", dilated ? ", dilation " : "",
             dilated ? dilation : "", threads, s->cache == CACHE_COLD ? ", cold cache" : "",
             p->layout == CONV_NHWC ? "" : ", nchw", p->bias ? ", bias" : "",
             p->post_op != CONV_POST_NONE ? ", " : "", conv_post_op_word(p->post_op));
    return buffer;
}
