/* From command-line words to the list of cases: problems from strings, suites and shape files, times
 * variants, implementations, passes, threads, layouts and cache modes. Shared by bench, verify and compare. */
#ifndef SEPBENCH_SELECT_H
#define SEPBENCH_SELECT_H

#include <argp.h>

#include "../harness/record/record.h"
#include "other_form.h"

/* Rows of one problem + pass + threads + layout + cache are adjacent: one group of measure_group. Rows whose
 * implementation refuses or is absent are there too, with status and reason already set. */
typedef struct {
    record_row *rows;
    size_t count;
    json_t *networks; /* all layers of each network by name, also those that have no row */
} selection;

typedef struct {
    char **problems; /* PROBLEM arguments */
    int problem_count;
    const suite_list *given;               /* NULL, or problems made by the program, and then no others */
    const char *suite, *shapes;            /* --suite NAME, --shapes FILE */
    const char *variants, *impls, *passes; /* comma lists, NULL = all */
    const char *channels, *spatial, *batch, *threads, *layouts, *caches; /* 32:2048, lists; NULL = default */
    bool bias, exact;
    conv_post_op post_op;
    other_form_choice other_form;
    bool no_new_engine;        /* the words are a file's: an --engine must be this command line's, too */
    int bad_option;            /* EXIT_USAGE after a line about an --engine or --other-form, else 0 */
    const char *default_suite; /* when neither problems, suite nor shapes are given; NULL = sweep */
} select_options;

/* The argp children that fill a select_options; input of the child parser is select_options *. */
extern const struct argp select_argp;

/* At ARGP_KEY_ARG: this word and all behind it are problems. */
void select_take_problems(select_options *o, struct argp_state *state);

/* --relu, --relu6: one of them at most. */
void select_take_post_op(conv_post_op op, conv_post_op *taken, struct argp_state *state);

/* EXIT_FINE, or EXIT_USAGE after one line on stderr that names the word at fault and what is allowed. An
 * empty selection is a usage error. */
int select_cases(const select_options *options, selection *out);
void select_free(selection *s);
/* How much a case tells about the program's question, 0 most: the order of the groups. */
enum { SELECT_RANK_HEADLINE = 1 }; /* up to it: dense, separable and layers of networks, forward and backward */
int select_rank(conv_variant variant, conv_pass pass, const char *layer);
/* The row after the last one of the group that row `first` begins. */
size_t select_group_end(const selection *s, size_t first);

#endif
