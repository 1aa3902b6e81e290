/* oneDNN 2.6 and later and 3.x through one set of names. The sources of the oneDNN peers are written in 3.x's
 * terms; what 2.x spells otherwise is stated here, and nowhere else.
 *
 *   memory descriptors     3.x: opaque, created and destroyed; 2.x: plain structs, here on the heap
 *   primitive descriptors  3.x: one call each; 2.x: an operation descriptor first
 *   post-ops               other parameters
 *
 * Every function returns oneDNN's status. Source: the migration notes "Transition from v2.x to v3.x" in
 * oneDNN's documentation. */
#ifndef SEPBENCH_PEERS_ONEDNN_API_H
#define SEPBENCH_PEERS_ONEDNN_API_H

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* How a tensor lies in memory. The arrays are the descriptor's, [ndims] each. */
typedef struct {
    bool plain; /* strides say all: no blocks, no offset. Otherwise only ndims and dims are set. */
    int ndims;
    const dnnl_dim_t *dims, *padded_dims, *strides; /* strides in elements */
} onednn_layout;

/* "brgconv:avx512_core": the kernel oneDNN chose, or "". */
static inline const char *onednn_kernel_name(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success ? name : "";
}

#if DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6
#error "oneDNN before 2.6, of which 2.2.4 computes wrong convolutions"
#elif DNNL_VERSION_MAJOR == 2

typedef dnnl_memory_desc_t *onednn_md;
typedef const dnnl_memory_desc_t *onednn_const_md;

static inline dnnl_status_t dnnl_memory_desc_clone(onednn_md *md, onednn_const_md from)
{
    *md = malloc(sizeof **md);
    if (*md == NULL) return dnnl_out_of_memory;
    **md = *from;
    return dnnl_success;
}

static inline dnnl_status_t dnnl_memory_desc_destroy(onednn_md md)
{
    free(md);
    return dnnl_success;
}

static inline dnnl_status_t dnnl_memory_desc_create_with_strides(onednn_md *md, int ndims,
                                                                 const dnnl_dims_t dims, dnnl_data_type_t type,
                                                                 const dnnl_dims_t strides)
{
    dnnl_memory_desc_t value;
    dnnl_status_t s = dnnl_memory_desc_init_by_strides(&value, ndims, dims, type, strides);
    return s == dnnl_success ? dnnl_memory_desc_clone(md, &value) : s;
}

static inline dnnl_status_t dnnl_memory_desc_create_with_tag(onednn_md *md, int ndims, const dnnl_dims_t dims,
                                                             dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t value;
    dnnl_status_t s = dnnl_memory_desc_init_by_tag(&value, ndims, dims, type, tag);
    return s == dnnl_success ? dnnl_memory_desc_clone(md, &value) : s;
}

static inline onednn_layout onednn_layout_of(onednn_const_md md)
{
    return (onednn_layout){.plain = md->format_kind == dnnl_blocked && md->offset0 == 0 &&
                                    md->format_desc.blocking.inner_nblks == 0,
                           .ndims = md->ndims,
                           .dims = md->dims,
                           .padded_dims = md->padded_dims,
                           .strides = md->format_desc.blocking.strides};
}

static inline dnnl_status_t dnnl_convolution_forward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
    onednn_const_md src, onednn_const_md weights, onednn_const_md bias, onednn_const_md dst,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_before,
    const dnnl_dims_t pad_after, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(&desc, kind, algorithm, src, weights, bias,
                                                                 dst, strides, dilates, pad_before, pad_after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : s;
}

static inline dnnl_status_t dnnl_convolution_backward_data_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, onednn_const_md diff_src,
    onednn_const_md weights, onednn_const_md diff_dst, const dnnl_dims_t strides, const dnnl_dims_t dilates,
    const dnnl_dims_t pad_before, const dnnl_dims_t pad_after, const_dnnl_primitive_desc_t hint,
    const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = dnnl_dilated_convolution_backward_data_desc_init(
        &desc, algorithm, diff_src, weights, diff_dst, strides, dilates, pad_before, pad_after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : s;
}

static inline dnnl_status_t dnnl_convolution_backward_weights_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, onednn_const_md src,
    onednn_const_md diff_weights, onednn_const_md diff_bias, onednn_const_md diff_dst,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_before,
    const dnnl_dims_t pad_after, const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = dnnl_dilated_convolution_backward_weights_desc_init(
        &desc, algorithm, src, diff_weights, diff_bias, diff_dst, strides, dilates, pad_before, pad_after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : s;
}

static inline dnnl_status_t dnnl_eltwise_forward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
    onednn_const_md src, onednn_const_md dst, float alpha, float beta, const_dnnl_primitive_attr_t attr)
{
    dnnl_eltwise_desc_t desc;
    (void)dst; /* of src's layout in 2.x */
    dnnl_status_t s = dnnl_eltwise_forward_desc_init(&desc, kind, algorithm, src, alpha, beta);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : s;
}

static inline dnnl_status_t dnnl_eltwise_backward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, onednn_const_md diff_src,
    onednn_const_md diff_dst, onednn_const_md data, float alpha, float beta, const_dnnl_primitive_desc_t hint,
    const_dnnl_primitive_attr_t attr)
{
    dnnl_eltwise_desc_t desc;
    (void)diff_src; /* of diff_dst's layout in 2.x */
    dnnl_status_t s = dnnl_eltwise_backward_desc_init(&desc, algorithm, diff_dst, data, alpha, beta);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, hint) : s;
}

static inline dnnl_status_t onednn_append_relu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
}

static inline dnnl_status_t onednn_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

/* Replaces a convolution's *pd by the next implementation oneDNN has for the same. `hint` as at its creation.
 * 2.x iterates over an operation descriptor: over a copy of pd's own, past pd's kernel. */
static inline dnnl_status_t onednn_next_kernel(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                               const_dnnl_primitive_desc_t hint)
{
    const dnnl_convolution_desc_t *desc;
    const_dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_iterator_t each = NULL;
    dnnl_status_t s = dnnl_primitive_desc_query(*pd, dnnl_query_convolution_d, 0, &desc);
    if (s == dnnl_success) s = dnnl_primitive_desc_get_attr(*pd, &attr);
    if (s == dnnl_success) s = dnnl_primitive_desc_iterator_create(&each, desc, attr, engine, hint);
    for (bool past = false; s == dnnl_success;) {
        dnnl_primitive_desc_t next = dnnl_primitive_desc_iterator_fetch(each);
        if (past) {
            dnnl_primitive_desc_destroy(*pd);
            *pd = next;
            break;
        }
        past = strcmp(onednn_kernel_name(next), onednn_kernel_name(*pd)) == 0;
        dnnl_primitive_desc_destroy(next);
        s = dnnl_primitive_desc_iterator_next(each);
    }
    if (each != NULL) dnnl_primitive_desc_iterator_destroy(each);
    return s;
}

#elif DNNL_VERSION_MAJOR == 3

typedef dnnl_memory_desc_t onednn_md;
typedef const_dnnl_memory_desc_t onednn_const_md;

static inline onednn_layout onednn_layout_of(onednn_const_md md)
{
    const dnnl_dims_t *dims = NULL, *padded_dims = NULL, *strides = NULL;
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_dim_t offset = 0;
    int blocks = 0;
    onednn_layout l = {.plain = false};
    dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &l.ndims);
    dnnl_memory_desc_query(md, dnnl_query_dims, &dims);
    dnnl_memory_desc_query(md, dnnl_query_padded_dims, &padded_dims);
    dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind);
    l.dims = *dims;
    l.padded_dims = *padded_dims;
    if (kind == dnnl_blocked && dnnl_memory_desc_query(md, dnnl_query_strides, &strides) == dnnl_success &&
        dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks) == dnnl_success &&
        dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &offset) == dnnl_success) {
        l.plain = blocks == 0 && offset == 0;
        l.strides = *strides;
    }
    return l;
}

static inline dnnl_status_t onednn_append_relu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f);
}

static inline dnnl_status_t onednn_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static inline dnnl_status_t onednn_next_kernel(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                               const_dnnl_primitive_desc_t hint)
{
    (void)engine, (void)hint;
    return dnnl_primitive_desc_next_impl(*pd);
}

#else
#error "neither oneDNN 2 nor 3"
#endif

#endif
