/* Suites: named lists of problems. Some are generated from axes (sweep, map), the others are shape files, in
 * benchdnn's syntax, that travel inside the program (bench/problems/NAME.txt). */
#ifndef SEPBENCH_SUITE_H
#define SEPBENCH_SUITE_H

#include <jansson.h>
#include <stdio.h>

#include "../harness/embed.h"
#include "../kernels/problem.h"

typedef struct {
    conv_problem problem;
    char suite[32];
    char layer[PROBLEM_NAME_MAX]; /* n"name", with benchdnn's *N at its end: the layer occurs N times */
    /* What a shape file's --pass= and --impl= chose for it, unless the command line does; "" = all. A word of
     * impl may be a|b: the first of them that exists here. */
    char passes[64], impls[128];
    bool wants_other_form; /* its file says --other-form=yes */
    bool other_form;       /* it is there as part of a network's other form only */
} suite_problem;

typedef struct {
    suite_problem *items;
    size_t count;
} suite_list;

/* Numbers as words on the command line: "64", "3,96,728", "32:2048" (doubling from the first). */
typedef struct {
    int64_t values[256];
    int count; /* 0: not given */
    struct {
        int64_t low, high;
    } ranges[16];
    int range_count;
} suite_numbers;

/* Reads text (NULL is fine: nothing given). EXIT_FINE, or EXIT_USAGE after one line naming option and word. */
int suite_numbers_parse(const char *option, const char *text, int64_t most, suite_numbers *n);
/* Whether value is one of them or lies in a range; true when nothing was given. */
bool suite_numbers_match(const suite_numbers *n, int64_t value);

/* What the command line says about the axes of a generated suite; of other problems, batch replaces the
 * minibatch and the others filter by input channels and input height, in one dimension width. */
typedef struct {
    suite_numbers channels, spatial, batch;
} suite_axes;

/* Each appends to the list. EXIT_FINE, or EXIT_USAGE after one line on stderr that names the word, or file,
 * line and piece, at fault and what is allowed. The file may be a log of ONEDNN_VERBOSE; "-" is stdin. */
int suite_add(suite_list *list, const char *name, const suite_axes *axes);
int suite_add_file(suite_list *list, const char *path, const suite_axes *axes);
int suite_add_problem(suite_list *list, const char *text, const suite_axes *axes);
int suite_add_embedded(suite_list *list, const char *name, const embedded_file *file, const suite_axes *axes);
/* A problem from text as the axes will have it: at each of the batch sizes.
 * One that no machine could hold (conv_problem_check says CONV_NO_MEMORY) becomes rows 'skipped'. */
int suite_append(suite_list *list, const suite_problem *item, const suite_axes *axes);
/* Case names are unique: a shape that occurs twice stays once, under both names. EXIT_FINE, or EXIT_USAGE. */
int suite_merge(suite_list *list);
void suite_free(suite_list *list);
/* Leaves out problems of other channels and sizes. */
void suite_filter(suite_list *list, const suite_axes *axes);
/* {"mobilenet_v2": ["Conv1", ...], ...}: the names of all layers of each network. */
json_t *suite_networks(const suite_list *list);

/* What a suite measures unless the command line says otherwise: comma lists, NULL = all. */
const char *suite_default_variants(const char *name);
const char *suite_default_passes(const char *name);
/* Whether the entry is measured where neither --impl nor the problem's file names implementations. */
bool suite_default_impl(const char *name, const conv_entry *entry);
/* Whether it is a study, where slow ones matter as much as fast ones: none stops early. */
bool suite_is_study(const char *name);

/* "  sweep    channels 32, 64 ..." one line each; of a shape file, its first line. */
void suite_print(FILE *out);

#endif
