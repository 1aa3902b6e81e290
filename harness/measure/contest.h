/* The candidates of one part of a plan (conv_strategies) against each other.
 *
 * Each is planned as told and verified against the oracle; that call is the first figure, and where calls are
 * long enough for one to tell, who takes half as long again as the fastest is out. The others take turns of
 * half a millisecond, and after three turns each whoever lies clearly behind stops (race.h). Of those
 * within 2% of the least median (5% where there is a single call) the likeliest by the cost model wins, so that
 * noise flips nothing.
 *
 * A contest has so many seconds. Where calls are so long that all candidates' first calls and three turns do
 * not fit, the first of the list enter, as many as do; where not even two do, there is no contest. */
#ifndef SEPBENCH_MEASURE_CONTEST_H
#define SEPBENCH_MEASURE_CONTEST_H

#include "parts.h"
#include "samples.h"
#include "verify.h"

/* One who takes turns: a plan with its buffers, and what its calls took. */
typedef struct {
    conv_job job;
    bool in;       /* still takes turns */
    bool as_step;  /* as in training: a turn is one call, with packing and conversions */
    double call;   /* seconds of the first call */
    samples times; /* one a turn */
} contender;

enum { CONTEST_LEAST_TURNS = 3 };
#define CONTEST_TURN 5e-4 /* seconds, one call at least */
/* Seconds of a call from which on refilling the caches does not matter. */
#define CONTEST_SHORT_CALL 0.005
/* From which on one tells enough, and waking threads, page faults and the clock do not matter. */
#define CONTEST_LONG_CALL 0.05

/* One turn, of short calls after an untimed one that brings back into the caches what others have pushed
 * out; a training step finds them as others left them. Who fails is out. */
void contender_turn(contender *c);
double contender_median(const contender *c); /* ns; NaN: none */
void contender_finish(contender *c);         /* leaves the times */

typedef struct {
    conv_candidates candidates;
    int winner;          /* index of the candidates */
    double ns, model_ns; /* of a call: the winner's, the pick's */
    bool measured;       /* false: there was no contest, and the pick is the winner */
    bool wrong;          /* with CONV_FAILED: a candidate computed wrongly */
} contest_result;

/* reference: of the part's problem and pass, not accumulating. context: as machine_context has it.
 * CONV_FAILED with err naming the strategy when a candidate fails or computes wrongly: an error of the
 * implementation. */
conv_status contest_run(const atomic_part *part, const conv_context *context, verify_reference *reference,
                        double seconds, contest_result *result, conv_error *err);

#endif
