/* XNNPACK's f32 convolution operator, whose interface changed without a version number:
 *
 *   before late 2022   create, setup (sizes and tensors)
 *   late 2022          create takes caches
 *   2024               create takes two caches, reshape (sizes), setup (tensors)
 *
 * Told apart by macros that came with each; a header that fits none does not compile, and the build then goes
 * without this peer. */
#ifndef SEPBENCH_PEERS_XNNPACK_API_H
#define SEPBENCH_PEERS_XNNPACK_API_H

#include <stddef.h>
#include <xnnpack.h>

/* The cache arguments of create, none of them used, up to the operator's. */
#if defined XNN_FLAG_TRANSPOSE_B
#define XNNPACK_NO_CACHES NULL, NULL,
#elif defined XNN_VALUE_FLAG_PERSISTENT
#define XNNPACK_NO_CACHES NULL,
#else
#define XNNPACK_NO_CACHES
#endif

/* What an operator is set up for: NHWC tensors, height and width those of in. */
typedef struct {
    size_t mb, height, width;
    const float *in;
    float *out;
} xnnpack_tensors;

#ifdef XNN_FLAG_TRANSPOSE_B

/* Once per operator, before the first set-up; may allocate. `t` may hold addresses at which nothing lives. */
static inline enum xnn_status xnnpack_prepare(xnn_operator_t op, const xnnpack_tensors *t, pthreadpool_t pool)
{
    size_t workspace = 0, alignment, height, width;
    enum xnn_status s = xnn_reshape_convolution2d_nhwc_f32(op, t->mb, t->height, t->width, &workspace,
                                                           &alignment, &height, &width, pool);
    return s == xnn_status_success && workspace > 0 ? xnn_status_unsupported_parameter : s;
}

static inline enum xnn_status xnnpack_set_up(xnn_operator_t op, const xnnpack_tensors *t, pthreadpool_t pool)
{
    (void)pool;
    return xnn_setup_convolution2d_nhwc_f32(op, NULL, t->in, t->out);
}

#else

static inline enum xnn_status xnnpack_set_up(xnn_operator_t op, const xnnpack_tensors *t, pthreadpool_t pool)
{
    return xnn_setup_convolution2d_nhwc_f32(op, t->mb, t->height, t->width, t->in, t->out, pool);
}

static inline enum xnn_status xnnpack_prepare(xnn_operator_t op, const xnnpack_tensors *t, pthreadpool_t pool)
{
    return xnnpack_set_up(op, t, pool);
}

#endif
#endif
