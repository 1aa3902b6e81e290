#include "random.h"

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t below) { return random_next(state) % below; }

/* R. A. Fisher, F. Yates; D. E. Knuth, The Art of Computer Programming, volume 2, algorithm P. */
void random_shuffle(uint64_t *state, size_t *order, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = random_below(state, i), kept = order[i - 1];
        order[i - 1] = order[k];
        order[k] = kept;
    }
}
