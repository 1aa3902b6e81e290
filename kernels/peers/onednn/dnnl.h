/* oneDNN 2.6 and later and 3.x, opened at run time, through one set of names. The sources of the oneDNN peers
 * are written in 3.x's terms: dnnl.memory_create(...) is its dnnl_memory_create. What 2.x spells otherwise
 * is made of its functions in dnnl2.c, and nowhere else:
 *
 *   memory descriptors     3.x: opaque, created and destroyed; 2.x: plain structs, here on the heap
 *   primitive descriptors  3.x: one call each; 2.x: an operation descriptor first
 *   post-ops               other parameters
 *
 * Source: oneDNN's header oneapi/dnnl/dnnl.h and the migration notes "Transition from v2.x to v3.x" in its
 * documentation. */
#ifndef SEPBENCH_PEERS_ONEDNN_DNNL_H
#define SEPBENCH_PEERS_ONEDNN_DNNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnnl2.h"

/* ---- types of the header. Its enumerations are passed as int. */
typedef int dnnl_status_t, dnnl_cpu_isa_t, dnnl_engine_kind_t, dnnl_data_type_t, dnnl_format_kind_t,
    dnnl_format_tag_t, dnnl_scratchpad_mode_t, dnnl_prop_kind_t, dnnl_alg_kind_t, dnnl_query_t;
typedef int64_t dnnl_dim_t;
typedef dnnl_dim_t dnnl_dims_t[DNNL2_MAX_NDIMS];
typedef struct dnnl_engine *dnnl_engine_t;
typedef struct dnnl_stream *dnnl_stream_t;
typedef struct dnnl_memory *dnnl_memory_t;
typedef struct dnnl_memory_desc *dnnl_memory_desc_t;
typedef const struct dnnl_memory_desc *const_dnnl_memory_desc_t;
typedef struct dnnl_primitive *dnnl_primitive_t;
typedef const struct dnnl_primitive *const_dnnl_primitive_t;
typedef struct dnnl_primitive_desc *dnnl_primitive_desc_t;
typedef const struct dnnl_primitive_desc *const_dnnl_primitive_desc_t;
typedef struct dnnl_primitive_attr *dnnl_primitive_attr_t;
typedef const struct dnnl_primitive_attr *const_dnnl_primitive_attr_t;
typedef struct dnnl_post_ops *dnnl_post_ops_t;
typedef const struct dnnl_post_ops *const_dnnl_post_ops_t;

typedef struct {
    int major, minor, patch;
    const char *hash;
    unsigned cpu_runtime, gpu_runtime;
} dnnl_version_t;

typedef struct {
    int arg; /* DNNL_ARG_... */
    dnnl_memory_t memory;
} dnnl_exec_arg_t;

enum {
#define DNNL_VALUE(name, value) name = (value),
#define DNNL2_VALUE(name, value) name##_of_2 = (value),
#define DNNL3_VALUE(name, value) name = (value),
#include "dnnl.def"
};

/* ---- the library: its functions, those of 3.x among them made of others where it is 2.x. */
typedef struct {
#define DNNL_FUNCTION(type, name, parameters) type(*name) parameters;
#define DNNL3_FUNCTION(type, name, parameters) type(*name) parameters;
#include "dnnl.def"
} dnnl_library;

/* Filled once, by onednn_absent; valid where that returned NULL. */
extern dnnl_library dnnl;

/* Opens the library (engine.h) at the first call: its version, of which an unusable one must be refused, is
 * known only then. NULL, or in words why it cannot be used. */
const char *onednn_absent(void);

/* "oneDNN 2.6.3", of an open library. */
const char *onednn_version(void);

/* "brgconv:avx512_core": the kernel that oneDNN chose, or "". */
const char *onednn_kernel_name(const_dnnl_primitive_desc_t pd);

/* Replaces a convolution's *pd by the next kernel that oneDNN has for the same. `hint` as at its creation. */
dnnl_status_t onednn_next_kernel(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                 const_dnnl_primitive_desc_t hint);

/* ---- between library.c and dnnl2.c. */

/* A symbol of the library, and where in a struct of function pointers its address goes. */
typedef struct {
    const char *name;
    size_t at;
} dnnl_symbol;

/* Fills `table` from an open library. NULL, or the first name that it lacks. */
const char *dnnl_resolve(void *library, const dnnl_symbol *symbols, size_t count, void *table);

/* Fills from a 2.x library all of `dnnl` that is 3.x's. NULL, or the first name that it lacks. */
const char *dnnl2_adapt(void *library);
/* onednn_next_kernel of 2.x. */
dnnl_status_t dnnl2_next_kernel(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                const_dnnl_primitive_desc_t hint);

#endif
