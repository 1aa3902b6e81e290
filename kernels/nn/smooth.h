/* exp and what comes of it, without branches or calls, so that loops over them are vectorised. */
#ifndef SEPBENCH_NN_SMOOTH_H
#define SEPBENCH_NN_SMOOTH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x = 2^n (1 + q): returns q, of |r| <= ln(2) / 2 by Taylor, whose next term is below half an ulp. */
static inline float exp_parts(float x, float *power)
{
    const float magic = 0x1.8p23f, ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
    x = x < -87 ? -87 : x > 88 ? 88 : x;                             /* where 2^n is a normal number */
    float shifted = x * (float)M_LOG2E + magic, n = shifted - magic; /* n is in the lowest bits, too */
    float r = x - n * ln2_high - n * ln2_low;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(power, &bits, sizeof bits);
    float tail = 1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f + r * (1 / 5040.0f)));
    return r + r * r * (0.5f + r * (1 / 6.0f + r * tail));
}

static inline float smooth_exp(float x)
{
    float power, q = exp_parts(x, &power);
    return power + power * q;
}

static inline float smooth_expm1(float x)
{
    float power, q = exp_parts(x, &power);
    return power * q + (power - 1);
}

static inline float smooth_sigmoid(float x) { return 1 / (1 + smooth_exp(-x)); }

static inline float smooth_tanh(float x)
{
    float e = smooth_expm1(2 * fabsf(x));
    return copysignf(x > 20 || x < -20 ? 1 : e / (e + 2), x);
}

/* log(1 + e^x); log(1 + u) is twice the inverse hyperbolic tangent of u / (2 + u). */
static inline float smooth_softplus(float x)
{
    float u = smooth_exp(-fabsf(x)), s = u / (2 + u), s2 = s * s;
    float tail = 1 / 9.0f + s2 * (1 / 11.0f + s2 * (1 / 13.0f + s2 * (1 / 15.0f)));
    return (x > 0 ? x : 0) + 2 * s * (1 + s2 * (1 / 3.0f + s2 * (1 / 5.0f + s2 * (1 / 7.0f + s2 * tail))));
}

/* P(X <= x) of the normal distribution, and its density. The tail is the density times a polynomial of
 * 1 / (1 + 0.34 |x|), fitted to 3e-7 of itself for |x| below 13.5, where nothing is left of it. */
static inline float smooth_normal(float x, float *density)
{
    float e = smooth_exp(-x * x / 2), t = 1 / (1 + 0.34f * fabsf(x));
    float high =
        -0.0464053117f + t * (0.20474945f + t * (-0.275478691f + t * (0.14068082f + t * -0.0263722036f)));
    float low = 0.135619342f + t * (0.136133581f + t * (0.11503426f + t * (0.116038762f + t * high)));
    float tail = e * t * low;
    *density = e * 0.398942280f;
    return x < 0 ? tail : 1 - tail;
}

#endif
