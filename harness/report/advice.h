/* What `sepbench advise` found: of each convolution of a network its time as it is and in its other form,
 * and what the network would take with every swap and with those that pay. advice.c reads and sums,
 * advice_words.c has the sentences, advice_table.c the terminal's table and advise.csv, advice_page.c the
 * page's section. */
#ifndef SEPBENCH_REPORT_ADVICE_H
#define SEPBENCH_REPORT_ADVICE_H

#include "report.h"

/* A step of training: forward and backward. */
typedef enum { ADVICE_FORWARD, ADVICE_BACKWARD, ADVICE_STEP, ADVICE_MEASURES } advice_measure;
extern const char *const advice_measure_names[ADVICE_MEASURES]; /* "forward", "backward", "training step" */

/* As it is and otherwise. Of parameters and multiplications the same. */
enum { ADVICE_NOW, ADVICE_OTHER, ADVICE_FORMS };

typedef struct {
    rule_time time[ADVICE_FORMS]; /* of one such layer; medians NaN: not known */
    rule_ratio ratio;             /* how many times as fast the other form is */
} advice_times;

/* Layers of one shape; of a depthwise one together with the 1x1 behind it. */
typedef struct {
    const char *layer; /* the first one's name */
    const json_t *names;
    int times;
    bool swaps;                                                     /* it has another form */
    double parameters[ADVICE_FORMS], multiplications[ADVICE_FORMS]; /* of one of them, one image */
    const record_row *own[2], *other;                               /* rows of its problems, or NULL */
    advice_times at[ADVICE_MEASURES];
} advice_item;

/* The network now, with every swap, and with only those that pay. */
enum { ADVICE_EVERY = ADVICE_OTHER, ADVICE_PAYING, ADVICE_PLANS };
typedef struct {
    rule_time time[ADVICE_PLANS];
    double parameters[ADVICE_PLANS], multiplications[ADVICE_PLANS];
    rule_ratio ratio[ADVICE_PLANS];    /* times as fast as now */
    int swap, pay, lose, same, unsure; /* layers that have another form; what it brings in those */
    bool whole;                        /* no layer lacks a time */
} advice_sum;

typedef struct {
    const report_data *data;
    char network[64], by[64];
    bool trains; /* backward was measured too */
    int64_t mb;
    int threads, convolutions;
    advice_item *items;
    size_t count;
    advice_sum sum[ADVICE_MEASURES];
    const json_t *about; /* run.json's "advise" */
    report_networks networks;
} report_advice;

/* False: the run is none of `advise`, or what it says of itself is not as advise writes it. */
bool report_advice_create(const report_data *data, report_advice *advice);
void report_advice_destroy(report_advice *advice);

/* `a` and `times` times `b`: as unsure as any of its parts. */
rule_time report_advice_add(rule_time a, rule_time b, double times);

/* Whether the layer's swap is part of "only those that pay". */
bool report_advice_pays(const advice_item *item, advice_measure m);
/* "won", "lost", "same", "unsure", "" when it has no other form. */
const char *report_advice_verdict(const advice_item *item, advice_measure m);
/* "3x3/2 depthwise + 1x1, 112x112x64 -> 128". Returns buffer[96]. */
char *report_advice_shape(const advice_item *item, char *buffer);

/* "403", "36.9 k": what can be counted has no fraction. Returns buffer[16]. */
char *report_advice_count(double value, char *buffer);

/* What swapping brings, and which layers should not be swapped: a sentence of that measure. Malloced; NULL:
 * none. */
char *report_advice_words(const report_advice *advice, advice_measure m);
extern const char report_advice_caution[]; /* what the figures do not say */
/* "1 Lambda, 2 Custom": layers whose class is not known; malloced, NULL when there are none. */
char *report_advice_unknown(const report_advice *advice);

/* At most 80 columns. */
void report_advice_print(FILE *out, const report_advice *advice);
/* dir/advise.csv; results/README.md has its columns. */
bool report_advice_write(const report_advice *advice, const char *dir, conv_error *err);

#endif
