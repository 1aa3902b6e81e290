/* The functions of oneDNN 3.x that 2.x lacks, made of 2.x's. */
#include "dnnl.h"

#include <stdlib.h>
#include <string.h>

typedef union {
    char bytes[DNNL2_DESC_BYTES];
    int64_t align;
} dnnl_convolution_desc_t, dnnl_eltwise_desc_t;
typedef const void *const_dnnl_op_desc_t;
typedef struct dnnl_primitive_desc_iterator *dnnl_primitive_desc_iterator_t;
typedef const struct dnnl_primitive_desc_iterator *const_dnnl_primitive_desc_iterator_t;

/* What 2.x has for it. */
typedef struct {
#define DNNL2_FUNCTION(type, name, parameters) type(*name) parameters;
#include "dnnl.def"
} dnnl2_library;

static dnnl2_library v2;

/* ---- memory descriptors */

static dnnl_status_t memory_desc_clone(dnnl_memory_desc_t *md, const_dnnl_memory_desc_t from)
{
    dnnl2_md *copy = malloc(sizeof *copy);
    if (copy == NULL) return dnnl_out_of_memory;
    memcpy(copy, from, sizeof *copy);
    *md = (dnnl_memory_desc_t)copy;
    return dnnl_success;
}

static dnnl_status_t memory_desc_destroy(dnnl_memory_desc_t md)
{
    free(md);
    return dnnl_success;
}

static dnnl_status_t memory_desc_create_with_strides(dnnl_memory_desc_t *md, int ndims, const dnnl_dims_t dims,
                                                     dnnl_data_type_t type, const dnnl_dims_t strides)
{
    dnnl2_md value;
    dnnl_status_t s = v2.memory_desc_init_by_strides(&value, ndims, dims, type, strides);
    return s == dnnl_success ? memory_desc_clone(md, (const_dnnl_memory_desc_t)&value) : s;
}

static dnnl_status_t memory_desc_create_with_tag(dnnl_memory_desc_t *md, int ndims, const dnnl_dims_t dims,
                                                 dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl2_md value;
    dnnl_status_t s = v2.memory_desc_init_by_tag(&value, ndims, dims, type, tag);
    return s == dnnl_success ? memory_desc_clone(md, (const_dnnl_memory_desc_t)&value) : s;
}

/* Arrays as pointers into md, as 3.x's. */
static dnnl_status_t memory_desc_query(const_dnnl_memory_desc_t of, dnnl_query_t what, void *result)
{
    const dnnl2_md *md = (const dnnl2_md *)of;
    switch (what) {
    case dnnl_query_ndims_s32: *(int *)result = md->ndims; break;
    case dnnl_query_dims: *(const dnnl_dims_t **)result = &md->dims; break;
    case dnnl_query_padded_dims: *(const dnnl_dims_t **)result = &md->padded_dims; break;
    case dnnl_query_format_kind: *(dnnl_format_kind_t *)result = md->format_kind; break;
    case dnnl_query_submemory_offset_s64: *(dnnl_dim_t *)result = md->offset0; break;
    case dnnl_query_strides: *(const dnnl_dims_t **)result = &md->blocking.strides; break;
    case dnnl_query_inner_nblks_s32: *(int *)result = md->blocking.inner_nblks; break;
    default: return dnnl_invalid_arguments;
    }
    return dnnl_success;
}

/* ---- primitive descriptors */

static dnnl_status_t convolution_forward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
    const_dnnl_memory_desc_t src, const_dnnl_memory_desc_t weights, const_dnnl_memory_desc_t bias,
    const_dnnl_memory_desc_t dst, const dnnl_dims_t strides, const dnnl_dims_t dilates,
    const dnnl_dims_t pad_before, const dnnl_dims_t pad_after, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = v2.dilated_convolution_forward_desc_init(&desc, kind, algorithm, src, weights, bias, dst,
                                                               strides, dilates, pad_before, pad_after);
    return s == dnnl_success ? v2.primitive_desc_create(pd, &desc, attr, engine, NULL) : s;
}

static dnnl_status_t convolution_backward_data_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
    const_dnnl_memory_desc_t diff_src, const_dnnl_memory_desc_t weights, const_dnnl_memory_desc_t diff_dst,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_before,
    const dnnl_dims_t pad_after, const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = v2.dilated_convolution_backward_data_desc_init(
        &desc, algorithm, diff_src, weights, diff_dst, strides, dilates, pad_before, pad_after);
    return s == dnnl_success ? v2.primitive_desc_create(pd, &desc, attr, engine, hint) : s;
}

static dnnl_status_t convolution_backward_weights_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const_dnnl_memory_desc_t src,
    const_dnnl_memory_desc_t diff_weights, const_dnnl_memory_desc_t diff_bias,
    const_dnnl_memory_desc_t diff_dst, const dnnl_dims_t strides, const dnnl_dims_t dilates,
    const dnnl_dims_t pad_before, const dnnl_dims_t pad_after, const_dnnl_primitive_desc_t hint,
    const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = v2.dilated_convolution_backward_weights_desc_init(
        &desc, algorithm, src, diff_weights, diff_bias, diff_dst, strides, dilates, pad_before, pad_after);
    return s == dnnl_success ? v2.primitive_desc_create(pd, &desc, attr, engine, hint) : s;
}

static dnnl_status_t eltwise_forward_primitive_desc_create(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                                           dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
                                                           const_dnnl_memory_desc_t src,
                                                           const_dnnl_memory_desc_t dst, float alpha,
                                                           float beta, const_dnnl_primitive_attr_t attr)
{
    dnnl_eltwise_desc_t desc;
    (void)dst; /* of src's layout in 2.x */
    dnnl_status_t s = v2.eltwise_forward_desc_init(&desc, kind, algorithm, src, alpha, beta);
    return s == dnnl_success ? v2.primitive_desc_create(pd, &desc, attr, engine, NULL) : s;
}

static dnnl_status_t eltwise_backward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
    const_dnnl_memory_desc_t diff_src, const_dnnl_memory_desc_t diff_dst, const_dnnl_memory_desc_t data,
    float alpha, float beta, const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr)
{
    dnnl_eltwise_desc_t desc;
    (void)diff_src; /* of diff_dst's layout in 2.x */
    dnnl_status_t s = v2.eltwise_backward_desc_init(&desc, algorithm, diff_dst, data, alpha, beta);
    return s == dnnl_success ? v2.primitive_desc_create(pd, &desc, attr, engine, hint) : s;
}

/* 2.x iterates over an operation descriptor: over a copy of pd's own, past pd's kernel. */
dnnl_status_t dnnl2_next_kernel(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                const_dnnl_primitive_desc_t hint)
{
    const dnnl_convolution_desc_t *desc;
    const_dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_iterator_t each = NULL;
    dnnl_status_t s = dnnl.primitive_desc_query(*pd, dnnl_query_convolution_d_of_2, 0, &desc);
    if (s == dnnl_success) s = v2.primitive_desc_get_attr(*pd, &attr);
    if (s == dnnl_success) s = v2.primitive_desc_iterator_create(&each, desc, attr, engine, hint);
    for (bool past = false; s == dnnl_success;) {
        dnnl_primitive_desc_t next = v2.primitive_desc_iterator_fetch(each);
        if (past) {
            dnnl.primitive_desc_destroy(*pd);
            *pd = next;
            break;
        }
        past = strcmp(onednn_kernel_name(next), onednn_kernel_name(*pd)) == 0;
        dnnl.primitive_desc_destroy(next);
        s = v2.primitive_desc_iterator_next(each);
    }
    if (each != NULL) v2.primitive_desc_iterator_destroy(each);
    return s;
}

/* ---- post-ops */

static dnnl_status_t post_ops_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm, float alpha,
                                             float beta)
{
    if (algorithm == dnnl_eltwise_relu) algorithm = dnnl_eltwise_relu_of_2;
    if (algorithm == dnnl_eltwise_clip_v2) algorithm = dnnl_eltwise_clip_v2_of_2;
    return v2.post_ops_append_eltwise(ops, 1.0f, algorithm, alpha, beta);
}

static dnnl_status_t post_ops_append_sum(dnnl_post_ops_t ops, float scale, int32_t zero_point,
                                         dnnl_data_type_t type)
{
    return v2.post_ops_append_sum_v3(ops, scale, zero_point, type);
}

/* Changes a descriptor in place, which 2.x cannot. */
static dnnl_status_t (*const primitive_desc_next_impl)(dnnl_primitive_desc_t pd) = NULL;

const char *dnnl2_adapt(void *library)
{
    static const dnnl_symbol symbols[] = {
#define DNNL2_FUNCTION(type, name, parameters) {"dnnl_" #name, offsetof(dnnl2_library, name)},
#include "dnnl.def"
    };
#define DNNL3_FUNCTION(type, name, parameters) dnnl.name = name;
#include "dnnl.def"
    return dnnl_resolve(library, symbols, sizeof symbols / sizeof *symbols, &v2);
}
