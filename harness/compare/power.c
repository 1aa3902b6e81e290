/* What a plan of signed-rank tests could have caught, by simulation from the session's own noise. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "../random.h"
#include "paired.h"

enum { DRAWS = 500, FEWEST = 6, STAGES_MAX = 4 };

bool paired_fires(const paired_stage *s, const double *d, size_t n)
{
    paired_interval e;
    return paired_estimate(d, n, 0.95, &e) && e.estimate > s->estimate_above &&
           paired_p_above(d, n, s->margin) <= s->alpha;
}

/* G. E. P. Box, M. E. Muller, A note on the generation of random normal deviates, Annals of Mathematical
 * Statistics 29(2), 1958. */
static double normal(uint64_t *state)
{
    double u = (double)((random_next(state) >> 11) + 1) * 0x1p-53,
           v = (double)(random_next(state) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* A sample of the noise: residuals drawn with replacement, each with a random sign, for the test assumes
 * symmetry and n residuals show half of a symmetric law's tails. */
static void draw(const double *residual, size_t n, double *sample, size_t pairs, uint64_t *state)
{
    for (size_t i = 0; i < pairs; i++) {
        uint64_t r = random_next(state);
        double x = residual[(r >> 32) * n >> 32];
        sample[i] = r & 1 ? x : -x;
    }
}

/* The effect above which a sample of noise, shifted by it, makes the stage fire. The test rejects exactly when
 * the C-th smallest Walsh average is above the margin, and an effect moves all of them by itself: no search. */
static double needed(const paired_stage *s, size_t rank, const double *sample, double *walsh)
{
    size_t count = s->pairs * (s->pairs + 1) / 2;
    paired_walsh(sample, s->pairs, walsh);
    double effect = s->margin - paired_select(walsh, count, rank);
    if (!isfinite(s->estimate_above)) return effect;
    return fmax(effect, s->estimate_above - paired_select(walsh, count, (count + 1) / 2));
}

static size_t largest_stage(const paired_stage *stages, size_t count, size_t *rank)
{
    size_t most = 0;
    for (size_t s = 0; s < count; s++) {
        rank[s] = paired_rank(stages[s].pairs, stages[s].alpha);
        if (rank[s] == 0) return 0;
        if (stages[s].pairs > most) most = stages[s].pairs;
    }
    return most;
}

/* Bootstrap of the residuals about the estimate, widened by sqrt(n / (n - 1)) for the place the estimate was
 * fitted with (A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, section
 * 6.2.3, modified residuals); with the usual normal approximation, n = 10 and heavy tails would make the figure
 * too small. The power of stages on independent pairs is the share of draws in which all fire, so the effect is
 * a quantile of the largest one needed. The seed is fixed: the same measurements give the same figure. */
double paired_catchable(const double *d, size_t n, double shared, const paired_stage *stages, size_t count,
                        double power)
{
    paired_interval e;
    size_t rank[STAGES_MAX], most;
    double residual[PAIRED_MAX], sample[PAIRED_MAX], effect[DRAWS];
    if (n < FEWEST || count == 0 || count > STAGES_MAX || !paired_estimate(d, n, 0.95, &e)) return NAN;
    if ((most = largest_stage(stages, count, rank)) == 0) return INFINITY;
    for (size_t i = 0; i < n; i++) residual[i] = (d[i] - e.estimate) * sqrt((double)n / (double)(n - 1));
    double *walsh = malloc(most * (most + 1) / 2 * sizeof *walsh);
    if (walsh == NULL) return NAN;
    uint64_t state = 1;
    for (int k = 0; k < DRAWS; k++) {
        effect[k] = -INFINITY;
        for (size_t s = 0; s < count; s++) {
            draw(residual, n, sample, stages[s].pairs, &state);
            double against = shared * normal(&state);
            effect[k] = fmax(effect[k], needed(&stages[s], rank[s], sample, walsh) - against);
        }
    }
    free(walsh);
    return paired_select(effect, DRAWS, (size_t)ceil(power * DRAWS));
}
