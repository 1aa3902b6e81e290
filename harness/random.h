/* SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014):
 * for orders and draws, where a state of 64 bits will do. Tensors are filled by Random123's Philox. */
#ifndef SEPBENCH_RANDOM_H
#define SEPBENCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

uint64_t random_next(uint64_t *state);
/* In [0, below). */
uint64_t random_below(uint64_t *state, uint64_t below);
/* The order of `count` things, any order being as likely as any other. */
void random_shuffle(uint64_t *state, size_t *order, size_t count);

#endif
