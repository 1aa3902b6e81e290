/* The mechanism of the oneDNN peers: slots, steps and phases (onednn.h), the engine all plans share, the
 * user's ISA cap, thread counts, and oneDNN's status in words. Which primitives a plan holds is
 * conv.c's.
 *
 * oneDNN's OpenMP runtime asks omp_get_max_threads() when a primitive is created and again when it runs; both
 * happen here under context.threads, the caller's setting restored after. */
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plan.h"
#include "onednn.h"

/* ---- engine, errors */

static dnnl_engine_t shared_engine;
static dnnl_status_t cap_status, engine_status;

/* oneDNN fixes its instruction set at the first primitive, so the cap comes before the engine. Its narrowest
 * is SSE4.1, one step above our base. The engine lives for the program. */
static void create_engine(void)
{
    cpu_isa isa = cpu_allowed();
    if (isa < CPU_AVX512)
        cap_status = dnnl.set_max_cpu_isa(isa == CPU_AVX2 ? dnnl_cpu_isa_avx2 : dnnl_cpu_isa_sse41);
    engine_status = dnnl.engine_create(&shared_engine, dnnl_cpu, 0);
}

static const char *status_words(dnnl_status_t s)
{
    switch (s) {
    case dnnl_success: return "success";
    case dnnl_out_of_memory: return "out of memory";
    case dnnl_invalid_arguments: return "invalid arguments";
    case dnnl_unimplemented: return "not implemented";
    case dnnl_runtime_error: return "error at run time";
    default: return "another error";
    }
}

bool onednn_ok(onednn_builder *b, dnnl_status_t s, const char *what)
{
    if (b->status == CONV_OK && s != dnnl_success) {
        conv_status status = s == dnnl_unimplemented   ? CONV_REFUSED
                             : s == dnnl_out_of_memory ? CONV_NO_MEMORY
                                                       : CONV_FAILED;
        b->status = conv_fail(b->err, status, "%s: %s: %s", onednn_version(), what, status_words(s));
    }
    return b->status == CONV_OK;
}

/* ---- building */

/* How a tensor lies in memory. The arrays are the descriptor's, [ndims] each. */
typedef struct {
    bool plain; /* strides say all: no blocks, no offset. Otherwise only ndims and dims are set. */
    int ndims;
    const dnnl_dim_t *dims, *padded_dims, *strides; /* strides in elements */
} layout;

static layout layout_of(const_dnnl_memory_desc_t md)
{
    const dnnl_dims_t *dims = NULL, *padded_dims = NULL, *strides = NULL;
    dnnl_format_kind_t kind = 0;
    dnnl_dim_t offset = 0;
    int blocks = 0;
    layout l = {.plain = false};
    dnnl.memory_desc_query(md, dnnl_query_ndims_s32, &l.ndims);
    dnnl.memory_desc_query(md, dnnl_query_dims, &dims);
    dnnl.memory_desc_query(md, dnnl_query_padded_dims, &padded_dims);
    dnnl.memory_desc_query(md, dnnl_query_format_kind, &kind);
    l.dims = *dims;
    l.padded_dims = *padded_dims;
    if (kind == dnnl_blocked && dnnl.memory_desc_query(md, dnnl_query_strides, &strides) == dnnl_success &&
        dnnl.memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks) == dnnl_success &&
        dnnl.memory_desc_query(md, dnnl_query_submemory_offset_s64, &offset) == dnnl_success) {
        l.plain = blocks == 0 && offset == 0;
        l.strides = *strides;
    }
    return l;
}

/* The builder's place for one more memory descriptor, or NULL. */
static dnnl_memory_desc_t *new_md(onednn_builder *b)
{
    if (b->status == CONV_OK && b->mds == ONEDNN_MAX_MDS)
        b->status = conv_fail(b->err, CONV_FAILED, "onednn plan: more than %d tensor layouts", ONEDNN_MAX_MDS);
    return b->status == CONV_OK ? &b->md[b->mds] : NULL;
}

static const_dnnl_memory_desc_t described(onednn_builder *b, dnnl_memory_desc_t *md, dnnl_status_t s)
{
    if (!onednn_ok(b, s, "describing a tensor")) return NULL;
    b->mds++;
    return *md;
}

const_dnnl_memory_desc_t onednn_by_strides(onednn_builder *b, int ndims, const dnnl_dims_t dims,
                                           const dnnl_dims_t strides)
{
    dnnl_memory_desc_t *md = new_md(b);
    if (md == NULL) return NULL;
    return described(b, md, dnnl.memory_desc_create_with_strides(md, ndims, dims, dnnl_f32, strides));
}

const_dnnl_memory_desc_t onednn_any_layout(onednn_builder *b, const_dnnl_memory_desc_t plain)
{
    dnnl_memory_desc_t *md = new_md(b);
    if (md == NULL) return NULL;
    const layout l = layout_of(plain);
    return described(b, md,
                     dnnl.memory_desc_create_with_tag(md, l.ndims, l.dims, dnnl_f32, dnnl_format_tag_any));
}

const_dnnl_memory_desc_t onednn_copy(onednn_builder *b, const_dnnl_memory_desc_t from)
{
    dnnl_memory_desc_t *md = new_md(b);
    return md == NULL ? NULL : described(b, md, dnnl.memory_desc_clone(md, from));
}

int onednn_add_slot(onednn_builder *b, const_dnnl_memory_desc_t given, onednn_place at)
{
    onednn_plan *plan = b->plan;
    const_dnnl_memory_desc_t md = onednn_copy(b, given);
    if (b->status != CONV_OK) return 0;
    if (plan->slots == ONEDNN_MAX_SLOTS) {
        b->status = conv_fail(b->err, CONV_FAILED, "onednn plan: more than %d slots", ONEDNN_MAX_SLOTS);
        return 0;
    }
    onednn_slot *slot = &plan->slot[plan->slots];
    *slot = (onednn_slot){.md = md, .at = at, .accumulate_at = at};
    size_t bytes = conv_align(dnnl.memory_desc_get_size(md));
    if (at == AT_SCRATCHPAD) {
        if (bytes > plan->used[at]) plan->used[at] = bytes;
    } else if (at >= AT_PACKED) {
        slot->offset = plan->used[at];
        plan->used[at] += bytes;
    }
    onednn_ok(b, dnnl.memory_create(&slot->memory, md, b->engine, NULL), "creating a memory object");
    return plan->slots++;
}

void onednn_add_step(onednn_builder *b, onednn_phase phase, onednn_when when, dnnl_primitive_desc_t pd,
                     const onednn_use *uses, int count)
{
    onednn_plan *plan = b->plan;
    if (b->status == CONV_OK && plan->steps == ONEDNN_MAX_STEPS)
        b->status = conv_fail(b->err, CONV_FAILED, "onednn plan: more than %d steps", ONEDNN_MAX_STEPS);
    if (b->status != CONV_OK) {
        dnnl.primitive_desc_destroy(pd);
        return;
    }
    onednn_step *step = &plan->step[plan->steps];
    *step = (onednn_step){.phase = phase, .when = when};
    for (int i = 0; i < count; i++)
        step->args[step->count++] = (dnnl_exec_arg_t){uses[i].arg, plan->slot[uses[i].slot].memory};

    const_dnnl_memory_desc_t pad = dnnl.primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (phase == ONEDNN_EXECUTE && pad != NULL && dnnl.memory_desc_get_size(pad) > 0) {
        int slot = onednn_add_slot(b, pad, AT_SCRATCHPAD);
        step->args[step->count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, plan->slot[slot].memory};
    }
    if (onednn_ok(b, dnnl.primitive_create(&step->primitive, pd), "creating a primitive")) plan->steps++;
    dnnl.primitive_desc_destroy(pd);
}

void onednn_add_reorder(onednn_builder *b, onednn_phase phase, onednn_when when, int from, int to, bool add)
{
    /* Only execute has scratch; elsewhere the library keeps its own. */
    dnnl_scratchpad_mode_t mode =
        phase == ONEDNN_EXECUTE ? dnnl_scratchpad_mode_user : dnnl_scratchpad_mode_library;
    dnnl_primitive_attr_t attr = onednn_attributes(b, mode, CONV_POST_NONE, add);
    dnnl_primitive_desc_t pd = NULL;
    const onednn_slot *slot = b->plan->slot;
    if (attr == NULL) return;
    if (onednn_ok(
            b, dnnl.reorder_primitive_desc_create(&pd, slot[from].md, b->engine, slot[to].md, b->engine, attr),
            "describing a reorder")) {
        const onednn_use uses[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
        onednn_add_step(b, phase, when, pd, uses, 2);
    }
    dnnl.primitive_attr_destroy(attr);
}

dnnl_primitive_attr_t onednn_attributes(onednn_builder *b, dnnl_scratchpad_mode_t mode, conv_post_op post,
                                        bool add)
{
    const bool six = post == CONV_POST_RELU6;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    if (b->status != CONV_OK || !onednn_ok(b, dnnl.primitive_attr_create(&attr), "attributes")) return NULL;
    bool ok = onednn_ok(b, dnnl.primitive_attr_set_scratchpad_mode(attr, mode), "scratchpad mode");
    if (ok && (add || post != CONV_POST_NONE)) {
        ok = onednn_ok(b, dnnl.post_ops_create(&ops), "post-ops") &&
             onednn_ok(b,
                       add ? dnnl.post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef)
                           : dnnl.post_ops_append_eltwise(ops, six ? dnnl_eltwise_clip_v2 : dnnl_eltwise_relu,
                                                          0.0f, six ? conv_clip(post) : 0.0f),
                       "post-op") &&
             onednn_ok(b, dnnl.primitive_attr_set_post_ops(attr, ops), "post-ops");
        if (ops != NULL) dnnl.post_ops_destroy(ops);
    }
    if (ok) return attr;
    dnnl.primitive_attr_destroy(attr);
    return NULL;
}

bool onednn_same_bytes(const_dnnl_memory_desc_t a_md, const_dnnl_memory_desc_t b_md)
{
    const layout a = layout_of(a_md), b = layout_of(b_md);
    if (!a.plain || !b.plain || a.ndims != b.ndims) return false;
    for (int d = 0; d < a.ndims; d++)
        if (a.dims[d] != b.dims[d] || a.padded_dims[d] != a.dims[d] || b.padded_dims[d] != b.dims[d] ||
            (a.dims[d] > 1 && a.strides[d] != b.strides[d]))
            return false;
    return true;
}

/* ---- a plan's life */

/* Sets the caller's OpenMP thread count and returns what it was. */
static int swap_threads(int threads)
{
    int before = omp_get_max_threads();
    if (before != threads) omp_set_num_threads(threads);
    return before;
}

onednn_builder onednn_begin(const conv_impl *self, const conv_problem *p, conv_pass pass,
                            const conv_context *ctx, conv_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    onednn_builder b = {.err = err};
    b.plan = conv_plan_new(sizeof *b.plan, self, p, pass, ctx);
    if (b.plan != NULL) b.plan->handle = calloc(ONEDNN_MAX_SLOTS, sizeof *b.plan->handle);
    if (b.plan == NULL || b.plan->handle == NULL) {
        free(b.plan);
        b.plan = NULL;
        b.status = conv_fail(err, CONV_NO_MEMORY, "onednn plan: no memory");
        return b;
    }
    pthread_once(&once, create_engine);
    b.engine = shared_engine;
    b.callers_threads = swap_threads(ctx->threads);
    if (onednn_ok(&b, cap_status, "capping the instruction set, which something else had already fixed") &&
        onednn_ok(&b, engine_status, "creating the engine"))
        onednn_ok(&b, dnnl.stream_create(&b.plan->stream, b.engine, dnnl_stream_default_flags),
                  "creating a stream");
    return b;
}

conv_status onednn_finish(onednn_builder *b, conv_plan **result)
{
    onednn_plan *plan = b->plan;
    if (plan == NULL) return b->status;
    swap_threads(b->callers_threads);
    while (b->mds > 0) dnnl.memory_desc_destroy(b->md[--b->mds]);
    if (b->status != CONV_OK) {
        onednn_destroy(&plan->base);
        return b->status;
    }
    plan->base.scratch_bytes = plan->used[AT_SCRATCH] + plan->used[AT_SCRATCHPAD];
    plan->base.packed_bytes = plan->used[AT_PACKED];
    plan->base.activation_bytes = plan->used[AT_ACTIVATIONS];
    plan->base.workspace_bytes = plan->used[AT_WORKSPACE];
    *result = &plan->base;
    return CONV_OK;
}

void onednn_destroy(conv_plan *base)
{
    onednn_plan *plan = (onednn_plan *)base;
    for (int i = 0; i < plan->steps; i++) dnnl.primitive_destroy(plan->step[i].primitive);
    for (int i = 0; i < plan->slots; i++)
        if (plan->slot[i].memory != NULL) dnnl.memory_destroy(plan->slot[i].memory);
    if (plan->stream != NULL) dnnl.stream_destroy(plan->stream);
    free(plan->handle);
    free(plan);
}

/* ---- running a phase */

static bool wanted(const onednn_step *step, onednn_phase phase, const conv_args *args)
{
    if (step->phase != phase) return false;
    switch (step->when) {
    case ONEDNN_IF_DIFF_SRC: return args->diff_src != NULL;
    case ONEDNN_IF_OVERWRITE: return !args->accumulate;
    case ONEDNN_IF_ACCUMULATE: return args->accumulate;
    default: return true;
    }
}

static conv_status run(const onednn_plan *plan, onednn_phase phase, const conv_args *a)
{
    /* oneDNN's handles are not const; it writes only what a primitive has as output. */
    char *scratch = a->scratch;
    char *const base[ONEDNN_PLACES] = {[AT_SRC] = (char *)a->src,
                                       [AT_WEIGHTS] = (char *)a->weights,
                                       [AT_POINTWISE] = (char *)a->pointwise,
                                       [AT_BIAS] = (char *)a->bias,
                                       [AT_DST] = (char *)a->dst,
                                       [AT_DIFF_DST] = (char *)a->diff_dst,
                                       [AT_DIFF_SRC] = (char *)a->diff_src,
                                       [AT_DIFF_WEIGHTS] = (char *)a->diff_weights,
                                       [AT_DIFF_POINTWISE] = (char *)a->diff_pointwise,
                                       [AT_DIFF_BIAS] = (char *)a->diff_bias,
                                       [AT_PACKED] = (char *)a->packed,
                                       [AT_SCRATCH] = scratch,
                                       [AT_SCRATCHPAD] =
                                           scratch == NULL ? NULL : scratch + plan->used[AT_SCRATCH],
                                       [AT_WORKSPACE] = a->workspace,
                                       [AT_ACTIVATIONS] = a->activations};
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < plan->slots && status == dnnl_success; i++) {
        const onednn_slot *slot = &plan->slot[i];
        onednn_place at = a->accumulate ? slot->accumulate_at : slot->at;
        char *start = base[at];
        if (start != NULL && at >= AT_PACKED) start += slot->offset;
        if (start == plan->handle[i]) continue; /* a fifth of a microsecond saved: 5% of the smallest cases */
        status = dnnl.memory_set_data_handle(slot->memory, start);
        plan->handle[i] = start;
    }
    int before = swap_threads(plan->base.context.threads);
    for (int i = 0; i < plan->steps && status == dnnl_success; i++)
        if (wanted(&plan->step[i], phase, a))
            status = dnnl.primitive_execute(plan->step[i].primitive, plan->stream, plan->step[i].count,
                                            plan->step[i].args);
    if (status == dnnl_success) status = dnnl.stream_wait(plan->stream);
    swap_threads(before);
    return status == dnnl_success ? CONV_OK : status == dnnl_out_of_memory ? CONV_NO_MEMORY : CONV_FAILED;
}

conv_status onednn_pack(const conv_plan *plan, const float *weights, const float *pointwise, void *packed)
{
    const conv_args args = {.weights = weights, .pointwise = pointwise, .packed = packed};
    return run((const onednn_plan *)plan, ONEDNN_PACK, &args);
}

conv_status onednn_enter(const conv_plan *plan, const conv_args *args)
{
    return run((const onednn_plan *)plan, ONEDNN_ENTER, args);
}

conv_status onednn_execute(const conv_plan *plan, const conv_args *args)
{
    return run((const onednn_plan *)plan, ONEDNN_EXECUTE, args);
}

conv_status onednn_leave(const conv_plan *plan, const conv_args *args)
{
    return run((const onednn_plan *)plan, ONEDNN_LEAVE, args);
}
