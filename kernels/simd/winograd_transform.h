/* Winograd's transforms F(m x m, 3x3), one vector of channels at a time, tiles of alpha = m + 2 numbers per
 * axis: dst = A' ((G g G') . (B' d B)) A (Lavin & Gray, arXiv:1509.09308; Winograd 1980).
 *
 * F(4x4): points 0, +-a, +-b, infinity with a = 5/8, b = 3/2, which keep the intermediate numbers four times
 * smaller per axis than the customary 1 and 2 (Barabasz et al., ACM TOMS 46(4), 2020) at the same cost; all
 * constants are exact in binary but G's. F(2x2): points 0, +-1, infinity. */
#ifndef SEPBENCH_SIMD_WINOGRAD_TRANSFORM_H
#define SEPBENCH_SIMD_WINOGRAD_TRANSFORM_H

#include "vec.h"

enum { WINOGRAD_MOST_ALPHA = 6 };

#define POINT_A 0.625f
#define POINT_B 1.5f
#define A2 (POINT_A * POINT_A)
#define B2 (POINT_B * POINT_B)

/* One axis of B' d: six (four) numbers `s` apart, in place. */
ALWAYS_INLINE void winograd_input_6(vec *d, const int s)
{
    vec a = vec_set1(POINT_A), b = vec_set1(POINT_B), minus_a2 = vec_set1(-A2), minus_b2 = vec_set1(-B2);
    vec a2b2 = vec_set1(A2 * B2), minus_sum = vec_set1(-(A2 + B2));
    vec even_a = vec_fma(minus_b2, d[2 * s], d[4 * s]), odd_a = vec_mul(a, vec_fma(minus_b2, d[s], d[3 * s]));
    vec even_b = vec_fma(minus_a2, d[2 * s], d[4 * s]), odd_b = vec_mul(b, vec_fma(minus_a2, d[s], d[3 * s]));
    d[0] = vec_fma(a2b2, d[0], vec_fma(minus_sum, d[2 * s], d[4 * s]));
    d[5 * s] = vec_fma(a2b2, d[s], vec_fma(minus_sum, d[3 * s], d[5 * s]));
    d[s] = vec_add(even_a, odd_a);
    d[2 * s] = vec_sub(even_a, odd_a);
    d[3 * s] = vec_add(even_b, odd_b);
    d[4 * s] = vec_sub(even_b, odd_b);
}

ALWAYS_INLINE void winograd_input_4(vec *d, const int s)
{
    vec d1 = d[s], d2 = d[2 * s];
    d[0] = vec_sub(d[0], d2);
    d[s] = vec_add(d1, d2);
    d[2 * s] = vec_sub(d2, d1);
    d[3 * s] = vec_sub(d1, d[3 * s]);
}

/* One axis of G g: three numbers, `s` apart, become alpha, `s` apart. */
ALWAYS_INLINE void winograd_weights_6(vec *g, const int s)
{
    const float over_a = 1 / (2 * A2 * (A2 - B2)), over_b = 1 / (2 * B2 * (B2 - A2));
    vec g0 = g[0], g1 = g[s], g2 = g[2 * s];
    vec even_a = vec_mul(vec_set1(over_a), vec_fma(vec_set1(A2), g2, g0)),
        odd_a = vec_mul(vec_set1(over_a * POINT_A), g1);
    vec even_b = vec_mul(vec_set1(over_b), vec_fma(vec_set1(B2), g2, g0)),
        odd_b = vec_mul(vec_set1(over_b * POINT_B), g1);
    g[0] = vec_mul(vec_set1(1 / (A2 * B2)), g0);
    g[s] = vec_add(even_a, odd_a);
    g[2 * s] = vec_sub(even_a, odd_a);
    g[3 * s] = vec_add(even_b, odd_b);
    g[4 * s] = vec_sub(even_b, odd_b);
    g[5 * s] = g2;
}

ALWAYS_INLINE void winograd_weights_4(vec *g, const int s)
{
    vec half = vec_set1(0.5f), even = vec_mul(half, vec_add(g[0], g[2 * s])), odd = vec_mul(half, g[s]);
    g[3 * s] = g[2 * s];
    g[s] = vec_add(even, odd);
    g[2 * s] = vec_sub(even, odd);
}

/* One axis of A' m: alpha numbers become m. */
ALWAYS_INLINE void winograd_output_6(vec *m, const int s)
{
    vec plus_a = vec_add(m[s], m[2 * s]), minus_a = vec_sub(m[s], m[2 * s]);
    vec plus_b = vec_add(m[3 * s], m[4 * s]), minus_b = vec_sub(m[3 * s], m[4 * s]);
    m[0] = vec_add(m[0], vec_add(plus_a, plus_b));
    m[s] = vec_fma(vec_set1(POINT_B), minus_b, vec_mul(vec_set1(POINT_A), minus_a));
    m[2 * s] = vec_fma(vec_set1(B2), plus_b, vec_mul(vec_set1(A2), plus_a));
    m[3 * s] = vec_fma(vec_set1(B2 * POINT_B), minus_b, vec_fma(vec_set1(A2 * POINT_A), minus_a, m[5 * s]));
}

ALWAYS_INLINE void winograd_output_4(vec *m, const int s)
{
    vec m1 = m[s], m2 = m[2 * s];
    m[0] = vec_add(m[0], vec_add(m1, m2));
    m[s] = vec_sub(vec_sub(m1, m2), m[3 * s]);
}

/* Both axes of a tile d[alpha][alpha]. weights: from d[3][alpha] with three columns used; output: the result is
 * the corner d[m][m]. */
ALWAYS_INLINE void winograd_input(const int alpha, vec *d)
{
    UNROLL for (int i = 0; i < alpha; i++) alpha == 6 ? winograd_input_6(d + i, 6) : winograd_input_4(d + i, 4);
    UNROLL for (int i = 0; i < alpha; i++) alpha == 6 ? winograd_input_6(d + 6 * i, 1)
                                                      : winograd_input_4(d + 4 * i, 1);
}

ALWAYS_INLINE void winograd_weights(const int alpha, vec *d)
{
    UNROLL for (int i = 0; i < 3; i++) alpha == 6 ? winograd_weights_6(d + i, 6) : winograd_weights_4(d + i, 4);
    UNROLL for (int i = 0; i < alpha; i++) alpha == 6 ? winograd_weights_6(d + 6 * i, 1)
                                                      : winograd_weights_4(d + 4 * i, 1);
}

ALWAYS_INLINE void winograd_output(const int alpha, vec *d)
{
    UNROLL for (int i = 0; i < alpha; i++) alpha == 6 ? winograd_output_6(d + i, 6)
                                                      : winograd_output_4(d + i, 4);
    UNROLL for (int i = 0; i < alpha - 2; i++) alpha == 6 ? winograd_output_6(d + 6 * i, 1)
                                                          : winograd_output_4(d + 4 * i, 1);
}

#endif
