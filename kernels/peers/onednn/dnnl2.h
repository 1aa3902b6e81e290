/* The one struct of oneDNN 2.x whose members are used, its memory descriptor, and how large others may be. Not
 * in dnnl.h, so that a test can include it together with oneDNN's own header. */
#ifndef SEPBENCH_PEERS_ONEDNN_DNNL2_H
#define SEPBENCH_PEERS_ONEDNN_DNNL2_H

#include <stdint.h>

enum {
    DNNL2_MAX_NDIMS = 12,   /* 3.x's too */
    DNNL2_DESC_BYTES = 8192 /* at least those of any operation descriptor: only the library looks inside */
};

typedef struct {
    int ndims;
    int64_t dims[DNNL2_MAX_NDIMS];
    int data_type;
    int64_t padded_dims[DNNL2_MAX_NDIMS], padded_offsets[DNNL2_MAX_NDIMS], offset0;
    int format_kind;
    struct {
        int64_t strides[DNNL2_MAX_NDIMS];
        int inner_nblks;
        int64_t inner_blks[DNNL2_MAX_NDIMS], inner_idxs[DNNL2_MAX_NDIMS];
    } blocking; /* the largest member of a union */
    char extra[80];
} dnnl2_md;

#endif
