/* Which strategies are in use (--strategy), and what contests (contest.h) have found: the book that plans read
 * (kernels/conv.h). It is kept as JSON that a person can read, true of one build on one CPU under one cap of
 * the instruction set:
 *
 *   {"sepbench": "wisdom", "build", "cpu", "isa",
 *    "strategies": {"avx512 pointwise backward_weights mb1ic64ih28oc64 nhwc t2":
 *                       {"strategy": {"pixels": 512, "operands packed": true, ...}, "ns", "model_ns"}, ...},
 *    "layers": {...}}
 *
 * ns is the chosen one's time of a call, model_ns that of the cost model's pick; `layers` is what `train` has
 * chosen (train/choose.c). A strategy counts only while it is among the candidates, so an edited file
 * can make a plan slower but not wrong. */
#ifndef SEPBENCH_MEASURE_WISDOM_H
#define SEPBENCH_MEASURE_WISDOM_H

#include <jansson.h>

#include "../record/record.h"
#include "parts.h"

/* The fastest by a contest; the cost model's pick; the nth candidate where there are that many, else the
 * pick. */
typedef enum { STRATEGY_MEASURED, STRATEGY_MODEL, STRATEGY_NTH } strategy_kind;
typedef struct {
    strategy_kind kind;
    int nth;
    const char *file; /* NULL: one in machine_cache_dir, if there is such a folder */
} strategy_options;

typedef struct wisdom wisdom;

/* A file that does not exist is made when there is something to write; one of another build or CPU is begun
 * anew. NULL with err when a file that was named is damaged or cannot be written; the default one is begun
 * anew. */
wisdom *wisdom_open(const strategy_options *options, conv_error *err);
void wisdom_close(wisdom *w); /* NULL is fine */
/* For machine_use_book; NULL where plans are the model's. */
const conv_book *wisdom_book(const wisdom *w);
/* Whether contests are wanted. */
bool wisdom_measures(const wisdom *w);
/* Whether a strategy's number was given: numbers go by nominal ceilings, so that they mean the same in every
 * run. */
bool wisdom_by_number(const wisdom *w);
enum { WISDOM_WORD = 16 };
/* "measured", "model", "3": as --strategy has it. Returns text[WISDOM_WORD]. */
char *wisdom_word(const wisdom *w, char text[WISDOM_WORD]);

/* ns: of one call; NaN: not known. */
typedef struct {
    conv_strategy strategy;
    double ns, model_ns;
} wisdom_entry;

/* What a contest has found, if it did; of the part's candidates. */
bool wisdom_recall(const wisdom *w, const atomic_part *part, int threads, wisdom_entry *found);
void wisdom_learn(wisdom *w, const atomic_part *part, int threads, const wisdom_entry *found);
/* Writes the file where something was learned; a warning, once, when it cannot be. */
void wisdom_save(wisdom *w);

/* The object `layers`, borrowed; wisdom_changed after writing into it. */
json_t *wisdom_layers(wisdom *w);
void wisdom_changed(wisdom *w);

/* A row's strategies in words, and model_ns where the row is a single part; with --strategy N on a row that
 * has not so many, its refusal. */
void wisdom_describe(const wisdom *w, record_row *row);
void wisdom_refuse(const wisdom *w, record_row *row);
/* A row of a run that is continued is planned as its words say, whatever has been found since; that is not
 * kept. */
void wisdom_adopt(wisdom *w, const record_row *row);

/* {"pixels": 512, "operands packed": true}. New reference; and back, false unless it is one of the
 * candidates. */
json_t *strategy_json(const conv_choice *choices, const conv_strategy *s);
bool strategy_read(const conv_candidates *candidates, const json_t *object, conv_strategy *s);

#endif
