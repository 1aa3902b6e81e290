/* Kernels that measure the machine, not a convolution: what one thread can compute and move at most. */
#ifndef SEPBENCH_PEAK_H
#define SEPBENCH_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* One per instruction set (kernels/isa.h): peak_table. */
typedef struct {
    /* Runs `rounds` rounds of independent fp32 multiply-adds in registers; returns the FLOPs done. They start
     * from *sink, which receives a value that depends on all of them. */
    double (*fma)(int64_t rounds, float *sink);
    /* a[i] = b[i] + s * c[i], i < n, the whole `repeats` times; arrays 64-byte aligned, n a multiple of 64. */
    void (*triad)(float *a, const float *b, const float *c, float s, size_t n, int64_t repeats);
    /* Loads p[i], i < n, in whole vectors, or each float into all lanes, `repeats` times, and uses nothing of
     * it; p 64-byte aligned, n a multiple of 256. Returns the load instructions. */
    double (*load)(const float *p, size_t n, int64_t repeats);
    double (*broadcast)(const float *p, size_t n, int64_t repeats);
} peak_kernels;

#endif
