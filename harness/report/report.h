/* The report of one run (of several: sides/sides.h): what a reader wants to know, taken from its rows. data.c
 * selects; verdict.c, headline.c, cautions.c and the files *_words.c find the words; plots.c draws with gnuplot;
 * html.c writes the page. */
#ifndef SEPBENCH_REPORT_H
#define SEPBENCH_REPORT_H

#include <stdio.h>

#include "../record/rule.h"

enum { REPORT_MAX_IMPLS = 40, REPORT_MAX_CEILINGS = 8 };

enum { REPORT_SOLID = 1, REPORT_DASHED, REPORT_DOTTED };

/* An implementation that occurs in the run, and how it is drawn. */
typedef struct {
    char name[32];
    char engine[32];           /* of a peer: whose library it calls; else empty */
    bool peer, inexact, study; /* study: never the best */
    char css[40];              /* the CSS variable of its colour, "--c-avx2" */
    const char *light, *dark;  /* "#rrggbb" on a light and on a dark page */
    int dash;                  /* gnuplot's dashtype: 1 solid (ours, exact), 2 peers, 3 inexact */
} report_impl;

/* One problem seen from all sides: the same channels, pass and setting, every variant and implementation. */
typedef struct {
    int64_t ic, oc, depth_multiplier;
    conv_pass pass;
    const record_row *rows[CONV_VARIANT_COUNT][REPORT_MAX_IMPLS]; /* NULL where the run has no such row */
} report_point;

/* All points that differ in channels and pass only: one set of lines in a plot. */
typedef struct {
    conv_problem shape; /* of its first row; channels and variant mean nothing */
    int threads;
    cache_mode cache;
    char suite[32];
    report_point *points; /* by pass, then input, then output channels */
    size_t count;
} report_setting;

/* Dense against separable, or theirs against ours: how many times as fast the second is. */
typedef struct {
    const record_row *slow, *fast; /* the reference (dense, theirs) and the challenger (separable, ours) */
    rule_ratio times;
    double promised; /* ratio of multiplications of the two problems */
} report_ratio;

/* Measured roofs, all threads together. */
typedef struct {
    int threads;
    double fma_gflops[CPU_ISA_COUNT]; /* NaN where not measured */
    double bandwidth_gbps[4];         /* L1, L2, L3, DRAM; NaN where not measured */
} report_ceilings;

typedef struct report_training report_training; /* report/training.h */

typedef struct {
    const record_run *run;
    const report_training *training;     /* NULL: none; the caller's */
    report_impl impls[REPORT_MAX_IMPLS]; /* in the registry's order, then by name */
    int impl_count;
    const char *engines[REPORT_MAX_IMPLS]; /* those that occur, in the order of impls */
    int engine_count;
    report_setting *settings; /* in the order of the run */
    size_t setting_count;
    size_t by_status[CASE_STATUS_COUNT];
    /* ok rows whose time may not be shown in an answer, those left behind on purpose not counted */
    size_t rough;
    report_ceilings ceilings[REPORT_MAX_CEILINGS];
    int ceiling_count;
} report_data;

/* ---- report/data.c */
bool report_data_create(const record_run *run, report_data *data, conv_error *err);
void report_data_destroy(report_data *data);

/* Where in impls; every row's is there. */
int report_impl_index(const report_data *data, const char *name);
/* Whether two settings differ in nothing `but` (and channels): their suites do not count. */
enum { BUT_THREADS = 1, BUT_CACHE = 2, BUT_SIZE = 4 };
bool report_alike(const report_setting *a, const report_setting *b, unsigned but);

/* Which rows may be chosen as best. */
typedef struct {
    bool inexact;       /* Winograd and the like too */
    bool peers, ours;   /* whose */
    const char *engine; /* NULL, or only this engine's, or the one implementation of that name */
} best_filter;
extern const best_filter BEST_EXACT; /* anybody's, exact */

bool report_may_choose(const report_impl *impl, best_filter filter);
/* The fastest of those rows (record_faster), or NULL. */
const record_row *report_best(const report_data *data, const report_point *point, conv_variant variant,
                              best_filter filter);
/* The ok row of that implementation, or NULL. */
const record_row *report_row(const report_point *point, conv_variant variant, int impl);
/* False when either is NULL. */
bool report_compare(const record_row *slow, const record_row *fast, report_ratio *ratio);
/* Dense against separable, each by its best exact implementation, or (impl >= 0) both by one. */
bool report_speedup(const report_data *data, const report_point *point, int impl, report_ratio *ratio);

/* The same by an engine alone, or (NULL) by this project's. */
bool report_engine_speedup(const report_data *data, const report_point *point, const char *engine,
                           report_ratio *ratio);
/* "oneDNN 3.2.0": what the run says of the engine's library; NULL when nothing. */
const char *report_engine_version(const report_data *data, const char *engine);

/* Whether a setting's points have input = output channels, at two channel counts or more:
 * lines can be drawn. */
bool report_is_sweep(const report_setting *setting);
/* As many channels in as out, and no multiplier: on the lines of a sweep. */
bool report_on_curve(const report_point *point, conv_pass pass);
/* By pass, then input, then output channels, then the multiplier: below 0, 0, above 0. */
int report_point_order(const report_point *a, const report_point *b);
bool report_has(const report_setting *setting, conv_variant variant, conv_pass pass);
/* "28x28, batch 1, 3x3, 2 threads" (", cold cache", ", nchw", ", bias", ", relu"); threads 0: without them.
 * Returns buffer. */
char *report_setting_name(const report_setting *setting, char *buffer, size_t size);
/* Along its one, two or three axes: "28x28". Each returns buffer. */
char *report_input_size(const report_setting *setting, char *buffer, size_t size);
char *report_kernel_size(const report_setting *setting, char *buffer, size_t size);
const report_ceilings *report_ceilings_of(const report_data *data, int threads); /* or NULL */

/* ---- report/versus.c: ours against an engine, each by its best, over the points of a setting */
typedef struct {
    int count;      /* cases that both ran */
    int determined; /* those with an answer, of which the rest is made */
    int ahead, behind;
    double mean, least, most; /* geometric mean and range of theirs / ours: above 1, ours is faster */
    report_ratio worst;       /* the case of the least ratio */
} versus_mean;

/* Best of ours against the best of that engine, or of that name; inexact: those too. setting NULL: all that are
 * no sweeps together. */
versus_mean report_versus_mean(const report_data *data, const report_setting *setting, conv_variant variant,
                               conv_pass pass, const char *engine, bool inexact);
char *report_versus_name(const report_data *data, const report_setting *setting, char *buffer, size_t size);

/* ---- report/networks.c: layers named "network:layer*N" (benchdnn's way), N times in the network; layers of
 * the same shape share a row, their names joined by "+" */
typedef struct {
    char name[PROBLEM_NAME_MAX];                 /* "network:layer*N" */
    const record_row *row;                       /* its problem; NULL: the run left the layer out */
    const record_row *best;                      /* exact, anybody's, or NULL */
    const record_row *by_impl[REPORT_MAX_IMPLS]; /* ok rows */
    int times;
} network_layer;

typedef struct {
    char name[PROBLEM_NAME_MAX];
    int threads;
    cache_mode cache;
    int64_t mb;
    conv_pass pass;
    network_layer *layers;
    size_t count;
} report_network;

typedef struct {
    report_network *items; /* in the order of the run */
    size_t count;
} report_networks;

bool report_networks_create(const report_data *data, report_networks *networks);
void report_networks_destroy(report_networks *networks);
/* Whose times make a sum: each layer by the fastest that the filter lets pass, or by one implementation. */
typedef struct {
    const char *kind, *name; /* "best", "ours", "engine" or "implementation", and which */
    best_filter filter;
    int impl; /* below 0: the filter's */
} network_side;
enum { NETWORK_SIDES = 2 * REPORT_MAX_IMPLS + 2, NETWORK_BEST = 0 };
/* The best exact of all, then of this project, of each engine, then each implementation. Returns how many. */
int report_network_sides(const report_data *data, network_side *sides);

/* All layers with their multiplicity. */
typedef struct {
    rule_time time; /* its interval is the sum of theirs; none where a layer has none that may be shown */
    double flops;
    size_t layers, rough; /* those that have a time; of these, how many have none that may be shown */
    bool whole;           /* no layer lacks a time */
} network_sum;
network_sum report_network_sum(const report_data *data, const report_network *network,
                               const network_side *side);
/* The layer's row in that sum, or NULL. */
const record_row *report_network_row(const report_data *data, const network_layer *layer,
                                     const network_side *side);
/* "conv1, conv2 and 3 more": layers that lack a time in that sum, or those that have one which may not be
 * shown. Malloced; NULL without memory. */
char *report_network_lacking(const report_data *data, const report_network *network, const network_side *side,
                             bool timed);
/* Whether both are of one network, setting and form; passes may differ. */
bool report_same_network(const report_network *a, const report_network *b);
/* The same network and pass with ordinary convolutions in place of its separable ones, or the reverse; NULL:
 * the run has not. */
const report_network *report_other_form(const report_networks *all, const report_network *network);
bool report_is_other_form(const report_network *network);
/* Whether the i-th is the first of its network and setting, passes together. */
bool report_is_first(const report_networks *all, size_t i);
/* The one that `sepbench advise` measures. */
bool report_is_swapped(const report_network *network);
/* "ordinary convolutions in place of its separable ones". */
const char *report_form_words(const report_network *other);
/* "mobilenet_v2", of another form "mobilenet_v2 with ordinary convolutions". Returns buffer. */
char *report_network_name(const report_network *network, char *buffer, size_t size);

/* ---- report/networks_table.c: every network by every side, in both forms */
/* At most 80 columns; nothing when the run has no network. */
void report_networks_print(FILE *out, const report_data *data);
/* dir/networks.csv, when the run has any; results/README.md has its columns. */
bool report_networks_write(const report_data *data, const char *dir, conv_error *err);

/* ---- report/terminal.c */
/* Characters, not bytes, of a UTF-8 text. */
int report_width(const char *text, size_t bytes);
/* A paragraph after its first words, wrapped at 80 columns; further lines begin with indent. */
void report_wrap(FILE *out, const char *first, const char *indent, const char *text);
/* The text at the right of a column. */
void report_right(FILE *out, const char *text, int width);

/* ---- report/style.c */
report_impl report_style(const char *name);
/* "0.84", "12.5", "310": three significant digits, no exponent; "-" for what is no number.
 * Returns buffer[16]. */
char *report_number(double value, char *buffer);
/* "850 ns", "12.3 µs", "4.56 ms", "1.20 s". Returns buffer[24]. */
char *report_time(double ns, char *buffer);
/* "1.2 k", "9.63 M": counts. Returns buffer[16]. */
char *report_count(double value, char *buffer);
/* Writes text with &, <, > and " escaped. */
void report_escape(FILE *out, const char *text);
/* The same between two pieces of HTML. */
void report_put(FILE *out, const char *before, const char *text, const char *after);

/* ---- verdict.c */
typedef struct {
    char *headline; /* one sentence that answers the title */
    char **lines;   /* what no table can say: a sentence each */
    size_t count;
    char **cautions; /* what to keep in mind: warnings, wrong and skipped rows */
    size_t caution_count;
} verdict;
void verdict_create(const report_data *data, verdict *v);
void verdict_destroy(verdict *v);

/* ---- report/plots.c */
typedef struct {
    char name[64]; /* file name without extension, and id in the page */
    char section
        [32]; /* the section it belongs to: "time" "speedup" "peak" "roofline" "map" "training" "ranks" */
    char title[160]; /* above the picture */
} report_plot;

typedef struct {
    report_plot *plots;
    size_t count;
} report_plots;

/* Writes plots.gp and each plot as .svg (light and dark) and .png into dir. False with err: gnuplot is
 * missing or failed, or dir is not writable. */
bool report_plots_create(const report_data *data, const char *dir, report_plots *plots, conv_error *err);
void report_plots_destroy(report_plots *plots);

/* ---- report/html.c */
/* Writes dir/index.html. versus: NULL or the engine whose ratios get a table. */
bool report_html_write(const report_data *data, const verdict *v, const report_plots *plots, const char *versus,
                       const char *dir, conv_error *err);

#endif
