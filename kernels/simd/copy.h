/* Pixels copied from one distance to another. */
#ifndef SEPBENCH_SIMD_COPY_H
#define SEPBENCH_SIMD_COPY_H

#include "vec.h"

/* `channels` > 0 of pixels `from` floats apart to pixels `to` floats apart. */
static inline void copy_pixels(const float *src, int64_t from, int64_t pixels, int64_t channels, float *dst,
                               int64_t to)
{
    vec_mask tail = vec_mask_first((channels - 1) % VL + 1);
    for (int64_t i = 0; i < pixels; i++, src += from, dst += to) {
        int64_t c = 0;
        for (; c + VL < channels; c += VL) vec_store(dst + c, vec_load(src + c));
        vec_store_mask(dst + c, tail, vec_load_mask(src + c, tail));
    }
}

#endif
