/* Strategies (conv.h) as drivers and the harness handle them. */
#ifndef SEPBENCH_STRATEGY_H
#define SEPBENCH_STRATEGY_H

#include "conv.h"

/* The context for one part of a plan, or for the plan itself: told what the plan is told, else what the book
 * has of that part, else the cost model's pick; not told where there is nothing to choose. p: in the native
 * layout. */
conv_context strategy_context(const conv_impl *impl, const conv_problem *p, conv_pass part,
                              const conv_context *ctx);

/* Adds a driver's own struct, `bytes` long, as a candidate, unless it is there, before those of larger
 * model_ns; where there is no room, instead of the last one. */
void strategy_add(conv_candidates *candidates, const void *own, size_t bytes, double model_ns);

/* As conv_strategies, of a problem in the native layout. */
void strategy_list(const conv_impl *impl, const conv_problem *p, conv_pass pass, const conv_context *ctx,
                   conv_candidates *candidates);

bool strategy_same(const conv_choice *choices, const conv_strategy *a, const conv_strategy *b);

/* "pixels 512, k 256, copied": of flags those that are set. Returns text[size]. */
char *strategy_text(const conv_choice *choices, const conv_strategy *s, char *text, size_t size);
/* Adds that text of a driver's own struct to a note. */
void strategy_note(char note[CONV_NOTE], const conv_choice *choices, const void *own, size_t bytes);

#endif
