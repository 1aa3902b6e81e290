/* In place of onnx/ where protobuf-c was missing at build time. */
#include "internal.h"

conv_status onnx_read(network *n, const char *path, conv_error *err)
{
    (void)n;
    return conv_fail(
        err, CONV_INVALID,
        "%.80s: to read ONNX, install protobuf-c-compiler and libprotobuf-c-dev ('make setup') and build again",
        path);
}
