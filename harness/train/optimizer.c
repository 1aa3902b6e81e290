/* Optimizers by name, and the update: one pass over blocks of parameters that sums the chunks' gradients, adds
 * the regularizers' and moves the weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../machine/machine.h"
#include "flush.h"
#include "net_internal.h"
#include "spread.h"

enum { BLOCK = 4096 }; /* floats: its gradient, weights and moments fit the L1 twice over */

const char *const optimizer_slot_names[3][2] = {{"m", "v"}, {"momentum", NULL}, {"rms", NULL}};
static const char *const kind_names[] = {"adam", "sgd", "rmsprop"};

int optimizer_slots(const optimizer *o) { return o->kind == OPTIMIZER_ADAM ? 2 : 1; }

typedef struct {
    const char *key;
    size_t field;
    unsigned kinds;
} key_row;

#define ADAM (1u << OPTIMIZER_ADAM)
#define SGD (1u << OPTIMIZER_SGD)
#define RMSPROP (1u << OPTIMIZER_RMSPROP)
static const key_row keys[] = {
    {"learning_rate", offsetof(optimizer, learning_rate), ADAM | SGD | RMSPROP},
    {"beta_1", offsetof(optimizer, beta_1), ADAM},
    {"beta_2", offsetof(optimizer, beta_2), ADAM},
    {"rho", offsetof(optimizer, rho), RMSPROP},
    {"momentum", offsetof(optimizer, momentum), SGD},
    {"epsilon", offsetof(optimizer, epsilon), ADAM | RMSPROP},
};

static conv_status read_option(optimizer *o, const char *key, const char *value, conv_error *err)
{
    const char *name = kind_names[o->kind];
    if (strcmp(key, "nesterov") == 0 && o->kind == OPTIMIZER_SGD) {
        o->nesterov = strcmp(value, "true") == 0;
        if (o->nesterov || strcmp(value, "false") == 0) return CONV_OK;
        return conv_fail(err, CONV_INVALID, "%s: nesterov is '%s': must be true or false", name, value);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].key, key) == 0 && (keys[i].kinds >> o->kind & 1)) {
            bool share =
                strncmp(key, "beta", 4) == 0 || strcmp(key, "rho") == 0 || strcmp(key, "momentum") == 0;
            if (cli_parse_real(value, 0, share ? 1 : 1e30, (double *)((char *)o + keys[i].field)))
                return CONV_OK;
            return conv_fail(err, CONV_INVALID, "%s: %s is '%s': must be a number %s", name, key, value,
                             share ? "from 0 to 1" : "of 0 or more");
        }
    return conv_fail(err, CONV_INVALID, "%s: unknown option '%s'", name, key);
}

conv_status optimizer_parse(const char *text, optimizer *out, conv_error *err)
{
    static const double rates[] = {0.001, 0.01, 0.001};
    char copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    char *options = strchr(copy, ':');
    if (options != NULL) *options++ = 0;
    *out = (optimizer){.beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-7, .rho = 0.9};
    int kind = 0;
    while (kind < 3 && strcmp(kind_names[kind], copy) != 0) kind++;
    if (kind == 3) return conv_fail(err, CONV_INVALID, "unknown optimizer '%s': adam, sgd or rmsprop", copy);
    out->kind = (optimizer_kind)kind;
    out->learning_rate = rates[kind];
    for (char *item; (item = strsep(&options, ",")) != NULL;) {
        char *value = strchr(item, '=');
        if (value == NULL) return conv_fail(err, CONV_INVALID, "%s: '%s' is not key=value", copy, item);
        *value++ = 0;
        conv_status status = read_option(out, item, value, err);
        if (status != CONV_OK) return status;
    }
    return CONV_OK;
}

char *optimizer_text(const optimizer *o, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "%s", kind_names[o->kind]);
    char separator = ':';
    for (size_t i = 0; i < sizeof keys / sizeof *keys && used < size; i++)
        if (keys[i].kinds >> o->kind & 1) {
            double value = *(const double *)((const char *)o + keys[i].field);
            used += (size_t)snprintf(buffer + used, size - used, "%c%s=%.10g", separator, keys[i].key, value);
            separator = ',';
        }
    if (o->kind == OPTIMIZER_SGD && used < size)
        snprintf(buffer + used, size - used, ",nesterov=%s", o->nesterov ? "true" : "false");
    return buffer;
}

/* ---- the update */

typedef struct {
    const parameter *p;
    int index;
    int64_t begin, count; /* floats within the parameter */
} block;

/* What of parameter p this process updates. */
static void own_part(const net *n, int p, int64_t *begin, int64_t *end)
{
    *begin = 0;
    *end = n->model->parameter[p].count;
    if (n->spread != NULL) spread_own(n, p, begin, end);
}

/* Block b of what this process updates, counting through the parameters. */
static bool find_block(const net *n, int64_t b, block *out)
{
    const model *m = n->model;
    for (int i = 0; i < m->parameter_count; i++) {
        int64_t begin, end;
        own_part(n, i, &begin, &end);
        int64_t blocks = (end - begin + BLOCK - 1) / BLOCK;
        if (b < blocks) {
            begin += b * BLOCK;
            *out = (block){&m->parameter[i], i, begin, end - begin < BLOCK ? end - begin : BLOCK};
            return true;
        }
        b -= blocks;
    }
    return false;
}

static int64_t count_blocks(const net *n)
{
    int64_t blocks = 0, begin, end;
    for (int i = 0; i < n->model->parameter_count; i++) {
        own_part(n, i, &begin, &end);
        blocks += (end - begin + BLOCK - 1) / BLOCK;
    }
    return blocks;
}

static void reduce_block(net *n, const block *b)
{
    int64_t at = b->p->offset + b->begin;
    if (n->spread != NULL)
        spread_join(n, b->index, b->begin, b->count);
    else if (n->part_offset[b->index] >= 0)
        n->nn->sum_chunks(b->count, n->chunks, n->parts_stride, n->parts + n->part_offset[b->index] + b->begin,
                          n->gradient + at);
    if (b->p->reg.l1 != 0 || b->p->reg.l2 != 0)
        n->nn->penalty(b->count, b->p->reg.l1, b->p->reg.l2, 1, n->weights + at, n->gradient + at);
}

static void update_block(net *n, const block *b, const optimizer *o, const nn_rates *rates, float *const *slots)
{
    int64_t at = b->p->offset + b->begin;
    const float *g = n->gradient + at;
    float *w = n->weights + at;
    switch (o->kind) {
    case OPTIMIZER_ADAM: n->nn->adam(b->count, rates, g, w, slots[0] + at, slots[1] + at); break;
    case OPTIMIZER_SGD: n->nn->sgd(b->count, rates, g, w, slots[0] + at); break;
    case OPTIMIZER_RMSPROP: n->nn->rmsprop(b->count, rates, g, w, slots[0] + at); break;
    }
}

static nn_rates rates_at(const optimizer *o, int64_t t)
{
    double rate = o->learning_rate;
    if (o->kind == OPTIMIZER_ADAM)
        rate *= sqrt(1 - pow(o->beta_2, (double)t)) / (1 - pow(o->beta_1, (double)t));
    return (nn_rates){.learning_rate = (float)rate,
                      .beta_1 = (float)o->beta_1,
                      .beta_2 = (float)o->beta_2,
                      .epsilon = (float)o->epsilon,
                      .momentum = (float)o->momentum,
                      .nesterov = o->nesterov,
                      .rho = (float)o->rho};
}

/* Needs whole parameters. */
static void apply_constraints(net *n)
{
    const model *m = n->model;
    for (int i = 0; i < m->parameter_count; i++) {
        const parameter *p = &m->parameter[i];
        if (!p->trainable || p->limit.kind == CONSTRAINT_NONE) continue;
        constraint_apply(&p->limit, p->rank, p->shape, net_weights(n) + p->offset);
    }
}

void net_update(net *n, const optimizer *o, int64_t t, float *const *slots)
{
    double start = machine_now();
    int64_t blocks = count_blocks(n);
    nn_rates rates = rates_at(o, t);
    if (n->spread != NULL) spread_gradients_wait(n);
    double began = machine_now();
#pragma omp parallel for num_threads(n->options.threads) schedule(static)
    for (int64_t i = 0; i < blocks; i++) {
        block b;
        if (!find_block(n, i, &b)) continue;
        reduce_block(n, &b);
        if (b.p->trainable) update_block(n, &b, o, &rates, slots);
    }
    double took = machine_now() - began;
    if (n->spread != NULL) spread_weights(n);
    began = machine_now();
    for (int i = 0; i < n->op_count; i++)
        if (n->ops[i].kind == OP_NORM && n->ops[i].norm.live) norm_op_update(n, &n->ops[i]);
    apply_constraints(n);
    n->version++;
    took += machine_now() - began;
    n->wall += machine_now() - start;
    for (int t0 = 0; t0 < n->options.threads; t0++)
        n->seconds[((int64_t)t0 * (n->op_count + PROFILE_EXTRA) + n->op_count + PROFILE_OPTIMIZER) * 2] += took;
}

void net_reduce(net *n)
{
    block b;
    for (int64_t i = 0; find_block(n, i, &b); i++) reduce_block(n, &b);
}
