/* Winograd's parts: tiles of an image (tiles.c), forward and backward_data (product.c), backward_weights
 * (weights_gradient.c), all three behind winograd.c. */
#ifndef SEPBENCH_SIMD_WINOGRAD_WINOGRAD_H
#define SEPBENCH_SIMD_WINOGRAD_WINOGRAD_H

#include "../../conv.h"
#include "../../util.h"
#include "../dense/ways.h"

/* Every thread of a team of that many calls this. */
ALWAYS_INLINE void winograd_wait(int threads)
{
    if (threads == 1) return;
#pragma omp barrier
}

/* Floats between rows whose distance would else be a power of two: such rows share few cache sets. */
enum { WINOGRAD_GAP = 16 };
/* Rows of V side by side in backward_weights: a cache line. */
enum { WINOGRAD_STRIP = 16 };

/* ---- tiles */

/* The tiles of a batch of images: each reads alpha x alpha pixels of `in`, neighbours overlapping by two, and
 * stands for m x m pixels of `out`. */
typedef struct {
    int m, alpha;
    int64_t in_h, in_w, out_h, out_w;
    int64_t pad_h, pad_w; /* zeros before; may be negative */
    int64_t tiles_w, tiles_image, tiles;
    bool ahead; /* the pixels of the next tile are prefetched */
} winograd_grid;

/* Where a transformed tile's numbers are: (xi, channel c) at at[xi*xi_stride + c/width*block + c%width], xi
 * counting its alpha*alpha numbers. width is a multiple of VL. */
typedef struct {
    float *at;
    int64_t xi_stride, width, block;
} winograd_place;

/* m of a grid whose sizes are set: 4 where that multiplies less and every side of `in` and `out` has `least`
 * pixels, else 2, which is always right. */
int64_t winograd_best_m(const winograd_grid *g, int64_t least);
/* Sets the tiles of so many images. */
void winograd_cut(winograd_grid *g, int64_t m, int64_t images);
/* The numbers of a transformed tile. */
ALWAYS_INLINE int64_t winograd_xis(const winograd_grid *g) { return (int64_t)g->alpha * g->alpha; }
/* "F(4x4,3x3)" */
void winograd_note(const winograd_grid *g, char note[CONV_NOTE]);

/* Channels [first, last) of a tensor [mb][h][w][channels]. */
typedef struct {
    const float *data;
    int64_t channels, first, last;
} winograd_channels;

/* B' d B of one tile of `in`, a tensor [mb][in_h][in_w][channels]. Channel `first` goes to to->at; lanes after
 * the last become 0. */
void winograd_input(const winograd_grid *g, int64_t tile, const winograd_channels *in,
                    const winograd_place *to);
/* A y A' likewise, of a tensor [mb][out_h][out_w][channels]. */
void winograd_diff(const winograd_grid *g, int64_t tile, const winograd_channels *out,
                   const winograd_place *to);

typedef struct {
    float *data; /* [mb][out_h][out_w][channels] */
    int64_t channels;
    const float *bias; /* [channels]; NULL: none */
    float clip;        /* above 0: data is clipped to [0, clip] */
    bool stream;       /* past the caches; channels must be a multiple of VL */
} winograd_outputs;
/* A' m A of one tile, bias added, clipped. from: one block. */
void winograd_output(const winograd_grid *g, int64_t tile, const winograd_place *from,
                     const winograd_outputs *to);

typedef struct {
    float *data; /* [9 taps][columns] */
    int64_t tap_stride;
    bool accumulate;
} winograd_taps;
/* G' u G: (xi, column c) of u at u[xi*xi_stride + c], c < columns. */
void winograd_gradient(int alpha, const float *u, int64_t xi_stride, int64_t columns, const winograd_taps *to);

/* ---- forward and backward_data */

typedef struct {
    int64_t vectors; /* of a panel */
    int64_t alone;   /* each thread has chunks of its own */
    int64_t chunk;   /* tiles transformed at a time, equal pieces of no more than that */
    int64_t stream;  /* out goes past the caches */
} winograd_product_strategy;

typedef struct {
    matrix_product head; /* scratch is in common; its run holds barriers */
    winograd_product_strategy how;
    winograd_grid grid;
    bool backward; /* data: from diff_dst to diff_src, the weights turned round */
    int64_t ic, oc;
    int64_t k, n;          /* channels in, out */
    int64_t width, panels; /* columns of a panel; panels */
    int64_t v_row, m_row;  /* floats from tile to tile of V, M */
    size_t v_floats, team_floats;
    double handed; /* bytes that one thread writes and another reads */
} winograd_product;

matrix_product_planner winograd_product_plan;
product_lister winograd_product_strategies;

/* ---- backward_weights */

/* All threads share the work on one set of sums, stage by stage; unless by units or by parts. */
typedef struct {
    int64_t units;   /* a thread takes parts of the weights from product to gradient at once */
    int64_t alone;   /* each thread transforms what its units read, or has parts of its own */
    int64_t parts;   /* of the tiles, with sums of their own: a power of two */
    int64_t m;       /* outputs of a tile, per axis: 2 or 4 */
    int64_t vectors; /* of a panel of oc */
    int64_t chunk;   /* tiles transformed at a time, equal pieces of no more than that */
} winograd_wgrad_strategy;

typedef struct {
    wgrad head; /* scratch is in common; its run holds barriers */
    winograd_wgrad_strategy how;
    winograd_grid grid;
    int64_t ic, oc;
    int64_t width, panels, strips; /* columns of a panel of oc; panels; strips of ic */
    size_t v_floats, z_floats;     /* V and Z of a chunk */
    size_t team_floats;            /* what works together needs */
    double handed;                 /* bytes that one thread writes and another reads */
} winograd_wgrad;

/* What a run does, for the plan's statement and the cost model (work.c): products, and the transformed tensors'
 * ways. */
void winograd_product_state(winograd_product *w, const conv_problem *p, const conv_context *ctx);
void winograd_wgrad_state(winograd_wgrad *w, const conv_problem *p, const conv_context *ctx);

/* As work_model_ns, with what passes from thread to thread. */
double winograd_model_ns(const conv_work *w, double handed, const conv_problem *p, conv_pass pass,
                         const conv_context *ctx);

wgrad_planner winograd_wgrad_plan;
wgrad_lister winograd_wgrad_strategies;

#endif
