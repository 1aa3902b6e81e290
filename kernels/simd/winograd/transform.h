/* Winograd's transforms F(m x m, 3x3), one vector of channels at a time, tiles of alpha = m + 2 numbers per
 * axis: dst = A' ((G g G') . (B' d B)) A (Lavin & Gray, arXiv:1509.09308; Winograd 1980), and its adjoint in
 * the weights: diff_g = G' ((A diff_dst A') . (B' d B)) G, summed over tiles.
 *
 * F(4x4): points 0, +-a, +-b, infinity with a = 5/8, b = 3/2, which keep the intermediate numbers four times
 * smaller per axis than the customary 1 and 2 (Barabasz et al., ACM TOMS 46(4), 2020) at the same cost; all
 * constants are exact in binary but G's. F(2x2): points 0, +-1, infinity. */
#ifndef SEPBENCH_SIMD_WINOGRAD_TRANSFORM_H
#define SEPBENCH_SIMD_WINOGRAD_TRANSFORM_H

#include "../vec.h"

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

/* One axis of A y, the transpose of the above: m numbers become alpha. */
ALWAYS_INLINE void winograd_diff_6(vec *y, const int s)
{
    vec a = vec_set1(POINT_A), b = vec_set1(POINT_B), a2 = vec_set1(A2), b2 = vec_set1(B2);
    vec even_a = vec_fma(a2, y[2 * s], y[0]), odd_a = vec_mul(a, vec_fma(a2, y[3 * s], y[s]));
    vec even_b = vec_fma(b2, y[2 * s], y[0]), odd_b = vec_mul(b, vec_fma(b2, y[3 * s], y[s]));
    y[5 * s] = y[3 * s];
    y[s] = vec_add(even_a, odd_a);
    y[2 * s] = vec_sub(even_a, odd_a);
    y[3 * s] = vec_add(even_b, odd_b);
    y[4 * s] = vec_sub(even_b, odd_b);
}

ALWAYS_INLINE void winograd_diff_4(vec *y, const int s)
{
    vec y0 = y[0], y1 = y[s];
    y[s] = vec_add(y0, y1);
    y[2 * s] = vec_sub(y0, y1);
    y[3 * s] = vec_sub(vec_zero(), y1);
}

/* One axis of G' u, the transpose of the weights' transform: alpha numbers become 3. */
ALWAYS_INLINE void winograd_gradient_6(vec *u, const int s)
{
    const float over_a = 1 / (2 * A2 * (A2 - B2)), over_b = 1 / (2 * B2 * (B2 - A2));
    vec plus_a = vec_mul(vec_set1(over_a), vec_add(u[s], u[2 * s])),
        minus_a = vec_mul(vec_set1(over_a * POINT_A), vec_sub(u[s], u[2 * s]));
    vec plus_b = vec_mul(vec_set1(over_b), vec_add(u[3 * s], u[4 * s])),
        minus_b = vec_mul(vec_set1(over_b * POINT_B), vec_sub(u[3 * s], u[4 * s]));
    u[0] = vec_fma(vec_set1(1 / (A2 * B2)), u[0], vec_add(plus_a, plus_b));
    u[s] = vec_add(minus_a, minus_b);
    u[2 * s] = vec_fma(vec_set1(A2), plus_a, vec_fma(vec_set1(B2), plus_b, u[5 * s]));
}

ALWAYS_INLINE void winograd_gradient_4(vec *u, const int s)
{
    vec half = vec_set1(0.5f), plus = vec_mul(half, vec_add(u[s], u[2 * s]));
    u[0] = vec_add(u[0], plus);
    u[s] = vec_mul(half, vec_sub(u[s], u[2 * s]));
    u[2 * s] = vec_add(plus, u[3 * s]);
}

/* Both axes of weights g[3][alpha], of which three columns are used: [alpha][alpha]. */
ALWAYS_INLINE void winograd_weights(const int alpha, vec *g)
{
    UNROLL for (int i = 0; i < 3; i++) alpha == 6 ? winograd_weights_6(g + i, 6) : winograd_weights_4(g + i, 4);
    UNROLL for (int i = 0; i < alpha; i++) alpha == 6 ? winograd_weights_6(g + 6 * i, 1)
                                                      : winograd_weights_4(g + 4 * i, 1);
}

#endif
