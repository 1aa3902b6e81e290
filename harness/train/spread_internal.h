/* What spread.c and spread_dense.c share. */
#ifndef SEPBENCH_TRAIN_SPREAD_INTERNAL_H
#define SEPBENCH_TRAIN_SPREAD_INTERNAL_H

#include "../ranks/ranks.h"
#include "spread.h"

/* Chunks [low, high), a subtree of the tree of chunks; and node `to` += node `from`. */
typedef struct {
    int64_t low, high;
} tree_node;
typedef struct {
    int64_t to, from;
} tree_sum;

/* A sliced phase's gradients on their way: from every rank its nodes, of each node the receiver's parts of the
 * parameters beside each other. */
typedef struct {
    int *parameter, parameter_count;
    int64_t *total;     /* [ranks] floats of a node's parts that are that rank's; NULL: no gradients */
    int64_t *at;        /* [parameters][ranks] where a parameter's part begins among them */
    int64_t *from, *to; /* [ranks + 1] of send and receive */
    float *send, *receive;
    size_t send_bytes, receive_bytes;
    ranks_message message;
} flight;

/* A plan of a dense layer's part for so many images. */
typedef struct {
    conv_plan *plan;
    void *packed;
    uint64_t packed_at; /* value of net.version when packed */
    int64_t rows;
} dense_plan;

/* A batched operation: its inputs' columns on their way to the owners of the weights' rows. */
typedef struct {
    bool split;                 /* else every rank computes all of it */
    int64_t *input;             /* [ranks + 1] first own row of the weights */
    int64_t *from, *to;         /* [ranks + 1] of send and columns */
    float *send;                /* [ranks][own pixels][their inputs] */
    float *columns;             /* [pixels][own inputs] */
    dense_plan *data, *weights; /* diff_src of own images; own rows of diff_weights */
    size_t data_count, weights_count;
    ranks_message inputs, diffs;
} dense_part;

struct spread {
    int rank, size;
    int64_t rows;                 /* of the batch that is cut */
    int64_t *chunk, *slice, *row; /* [ranks + 1] where a rank's begin */
    int64_t *first;               /* [ranks + 1] of the message that is being started */
    tree_node *node;
    int64_t *node_first; /* [ranks + 1] */
    tree_sum *sum;
    int64_t node_count, sum_count;
    int op_of[MODEL_MAX_PARAMETERS], phase_of[NET_MAX_OPS];
    int64_t own[MODEL_MAX_PARAMETERS], own_end[MODEL_MAX_PARAMETERS];
    flight flight[2 * NET_MAX_OPS]; /* by phase */
    dense_part dense[NET_MAX_OPS];  /* by operation */
    uint8_t *losses;
    int64_t *loss_first; /* [ranks + 1] bytes */
    ranks_message loss_message;
    bool settled;         /* no weights are under way */
    ranks_message *large; /* [parameters] */
    float *small;         /* parts of the small parameters, rank by rank */
    int64_t *small_first; /* [ranks + 1] */
    int64_t *small_at;    /* [parameters][ranks] */
    ranks_message small_message;
    spread_times clock;
};
typedef struct spread spread;

/* Waits, and keeps account of it; pass 0: forward, 1: backward and update. */
void spread_wait(spread *s, ranks_message *m, int pass);

bool spread_dense_create(net *n);
void spread_dense_destroy(net *n);

#endif
