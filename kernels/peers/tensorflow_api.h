/* The little of TensorFlow's C API that is used here, in our words: the library is opened at run time and its
 * headers are not needed. Source: tensorflow/c/c_api.h, tf_tensor.h and tf_status.h of
 * github.com/tensorflow/tensorflow; each function is a symbol, TF_ before its name here. */
#ifndef SEPBENCH_PEERS_TENSORFLOW_API_H
#define SEPBENCH_PEERS_TENSORFLOW_API_H

#include <stddef.h>
#include <stdint.h>

enum { TF_FLOAT = 1, TF_INT32 = 3 };
enum { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_UNIMPLEMENTED = 12 };

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_Graph TF_Graph;
typedef struct TF_Session TF_Session;
typedef struct TF_SessionOptions TF_SessionOptions;
typedef struct TF_Operation TF_Operation;
typedef struct TF_OperationDescription TF_OperationDescription;
typedef struct {
    TF_Operation *operation;
    int index;
} TF_Output;
typedef struct {
    const void *data;
    size_t length;
    void (*free)(void *data, size_t length);
} TF_Buffer;
typedef void tf_free(void *data, size_t length, void *argument);

/* result, name, parameters */
#define TF_FUNCTIONS(F)                                                                                        \
    F(const char *, Version, (void))                                                                           \
    F(TF_Status *, NewStatus, (void))                                                                          \
    F(void, DeleteStatus, (TF_Status *))                                                                       \
    F(int, GetCode, (const TF_Status *))                                                                       \
    F(const char *, Message, (const TF_Status *))                                                              \
    F(TF_Tensor *, NewTensor,                                                                                  \
      (int type, const int64_t *dims, int ndims, void *data, size_t length, tf_free *, void *argument))        \
    F(void, DeleteTensor, (TF_Tensor *))                                                                       \
    F(void *, TensorData, (const TF_Tensor *))                                                                 \
    F(TF_Graph *, NewGraph, (void))                                                                            \
    F(void, DeleteGraph, (TF_Graph *))                                                                         \
    F(TF_OperationDescription *, NewOperation, (TF_Graph *, const char *type, const char *name))               \
    F(void, AddInput, (TF_OperationDescription *, TF_Output))                                                  \
    F(void, SetAttrType, (TF_OperationDescription *, const char *name, int type))                              \
    F(void, SetAttrTensor, (TF_OperationDescription *, const char *name, TF_Tensor *, TF_Status *))            \
    F(void, SetAttrShape, (TF_OperationDescription *, const char *name, const int64_t *dims, int ndims))       \
    F(void, SetAttrString, (TF_OperationDescription *, const char *name, const void *text, size_t length))     \
    F(void, SetAttrIntList, (TF_OperationDescription *, const char *name, const int64_t *list, int count))     \
    F(TF_Operation *, FinishOperation, (TF_OperationDescription *, TF_Status *))                               \
    F(TF_SessionOptions *, NewSessionOptions, (void))                                                          \
    F(void, SetConfig, (TF_SessionOptions *, const void *proto, size_t length, TF_Status *))                   \
    F(void, DeleteSessionOptions, (TF_SessionOptions *))                                                       \
    F(TF_Session *, NewSession, (TF_Graph *, const TF_SessionOptions *, TF_Status *))                          \
    F(void, DeleteSession, (TF_Session *, TF_Status *))                                                        \
    F(void, SessionRun,                                                                                        \
      (TF_Session *, const TF_Buffer *options, const TF_Output *inputs, TF_Tensor *const *values, int count,   \
       const TF_Output *outputs, TF_Tensor **results, int result_count, const TF_Operation *const *targets,    \
       int target_count, TF_Buffer *metadata, TF_Status *))                                                    \
    F(TF_Buffer *, NewBuffer, (void))                                                                          \
    F(void, DeleteBuffer, (TF_Buffer *))

#define TF_MEMBER(result, name, parameters) result(*name) parameters;
typedef struct {
    TF_FUNCTIONS(TF_MEMBER)
} tf_api;

#endif
