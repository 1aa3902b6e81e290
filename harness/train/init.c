/* Initial weights and constraints. Formulas: tf.keras's initializers_v2.py and constraints.py. Random numbers
 * are Philox4x32-10 (Random123) at counter (element, attempt, stream), so no order of evaluation matters. */
#include <Random123/philox.h>
#include <math.h>

#include "values.h"

/* The standard deviation of a standard normal cut at +-2. */
static const double TRUNCATED_STDDEV = 0.87962566103423978;

typedef struct {
    uint64_t seed;
    uint32_t stream;
} source;

static philox4x32_ctr_t draw(source s, uint64_t element, uint32_t attempt)
{
    philox4x32_ctr_t counter = {{(uint32_t)element, (uint32_t)(element >> 32), attempt, s.stream}};
    philox4x32_key_t key = {{(uint32_t)s.seed, (uint32_t)(s.seed >> 32)}};
    return philox4x32_R(10, counter, key);
}

/* In (0, 1). */
static double unit(uint32_t r) { return (r + 0.5) * 0x1p-32; }

/* Box and Muller 1958. */
static double normal(source s, uint64_t element, uint32_t attempt)
{
    philox4x32_ctr_t r = draw(s, element, attempt);
    return sqrt(-2 * log(unit(r.v[0]))) * cos(2 * M_PI * unit(r.v[1]));
}

static double truncated_normal(source s, uint64_t element)
{
    double x;
    uint32_t attempt = 0;
    do x = normal(s, element, attempt++);
    while (fabs(x) > 2);
    return x;
}

static void fans(int rank, const int64_t *shape, double *in, double *out)
{
    double field = 1;
    for (int i = 0; i < rank - 2; i++) field *= (double)shape[i];
    *in = field * (double)shape[rank < 2 ? 0 : rank - 2];
    *out = field * (double)shape[rank - 1];
}

static double variance(const initializer *init, int rank, const int64_t *shape)
{
    double in, out;
    fans(rank, shape, &in, &out);
    double fan = init->mode == FAN_IN ? in : init->mode == FAN_OUT ? out : (in + out) / 2;
    return init->a / fmax(1, fan);
}

void initializer_fill(const initializer *init, int rank, const int64_t *shape, uint64_t seed, uint32_t stream,
                      float *w)
{
    source s = {init->seeded ? (uint64_t)init->seed : seed, stream};
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    double v = init->kind == INIT_VARIANCE_SCALING ? variance(init, rank, shape) : 0;
    double limit = sqrt(3 * v);
    for (int64_t i = 0; i < count; i++) {
        uint64_t element = (uint64_t)i;
        double x = 0;
        switch (init->kind) {
        case INIT_ZEROS: break;
        case INIT_ONES: x = 1; break;
        case INIT_CONSTANT: x = init->a; break;
        case INIT_RANDOM_NORMAL: x = init->a + init->b * normal(s, element, 0); break;
        case INIT_TRUNCATED_NORMAL: x = init->a + init->b * truncated_normal(s, element); break;
        case INIT_RANDOM_UNIFORM: x = init->a + (init->b - init->a) * unit(draw(s, element, 0).v[0]); break;
        case INIT_VARIANCE_SCALING:
            if (init->distribution == SCALE_UNIFORM)
                x = limit * (2 * unit(draw(s, element, 0).v[0]) - 1);
            else if (init->distribution == SCALE_TRUNCATED_NORMAL)
                x = sqrt(v) / TRUNCATED_STDDEV * truncated_normal(s, element);
            else
                x = sqrt(v) * normal(s, element, 0);
        }
        w[i] = (float)x;
    }
}

/* ---- constraints */

/* What a weight of norm `norm` is multiplied by. */
static float factor(const constraint *c, float norm)
{
    const float epsilon = 1e-7f;
    switch (c->kind) {
    case CONSTRAINT_MAX_NORM: return fminf(norm, c->max_value) / (epsilon + norm);
    case CONSTRAINT_MIN_MAX_NORM:
        return (c->rate * fminf(fmaxf(norm, c->min_value), c->max_value) + (1 - c->rate) * norm) /
               (epsilon + norm);
    default: return 1 / (epsilon + norm);
    }
}

/* Steps a counter over the axes in `axes`; false after the last. */
static bool advance(int rank, const int64_t *shape, unsigned axes, int64_t *at)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (!(axes >> i & 1)) continue;
        if (++at[i] < shape[i]) return true;
        at[i] = 0;
    }
    return false;
}

static int64_t offset(int rank, const int64_t *shape, const int64_t *at)
{
    int64_t o = 0;
    for (int i = 0; i < rank; i++) o = o * shape[i] + at[i];
    return o;
}

void constraint_apply(const constraint *c, int rank, const int64_t *shape, float *w)
{
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    if (c->kind == CONSTRAINT_NONE) return;
    if (c->kind == CONSTRAINT_NON_NEG) {
        for (int64_t i = 0; i < count; i++) w[i] = w[i] >= 0 ? w[i] : 0;
        return;
    }
    unsigned all = (1u << rank) - 1, along = c->axes & all;
    if (c->axes >> 31) along |= 1u << (rank - 1);
    int64_t at[PARAMETER_MAX_RANK] = {0};
    do { /* each group of weights that share a norm */
        double square = 0;
        do {
            float x = w[offset(rank, shape, at)];
            square += (double)x * x;
        } while (advance(rank, shape, along, at));
        float by = factor(c, (float)sqrt(square));
        do w[offset(rank, shape, at)] *= by;
        while (advance(rank, shape, along, at));
    } while (advance(rank, shape, all & ~along, at));
}
