/* The little of ONNX Runtime's C API that is used here, in our words: the library is opened at run time and
 * its header is not needed. Source: onnxruntime/core/session/onnxruntime_c_api.h of
 * github.com/microsoft/onnxruntime, whose functions are slots of one table that only ever grows at its end. */
#ifndef SEPBENCH_PEERS_ONNXRUNTIME_API_H
#define SEPBENCH_PEERS_ONNXRUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

/* The first whose threads can be bound (1.14). */
enum { ORT_API_VERSION = 14 };
enum {
    ORT_LOG_FATAL = 4,
    ORT_OPTIMISE_ALL = 99,
    ORT_FLOAT = 1,
    ORT_DEVICE_ALLOCATOR = 0,
    ORT_MEMORY_DEFAULT = 0
};

typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtIoBinding OrtIoBinding;
typedef struct OrtValue OrtValue;

/* A slot's number stands beside it; NULL is the status of success. */
typedef struct {
    void *slots0[2];
    const char *(*GetErrorMessage)(const OrtStatus *);                   /* 2 */
    OrtStatus *(*CreateEnv)(int log_level, const char *name, OrtEnv **); /* 3 */
    void *slots4[4];
    OrtStatus *(*CreateSessionFromArray)(const OrtEnv *, const void *model, size_t bytes,
                                         const OrtSessionOptions *, OrtSession **); /* 8 */
    void *slots9[1];
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **); /* 10 */
    void *slots11[12];
    OrtStatus *(*SetSessionGraphOptimizationLevel)(OrtSessionOptions *, int); /* 23 */
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
    OrtStatus *(*SetInterOpNumThreads)(OrtSessionOptions *, int);
    void *slots26[23];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *data, size_t bytes,
                                                 const int64_t *shape, size_t rank, int type,
                                                 OrtValue **); /* 49 */
    void *slots50[19];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **); /* 69 */
    void *slots70[23];
    void (*ReleaseStatus)(OrtStatus *); /* 93 */
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    void *slots97[3];
    void (*ReleaseSessionOptions)(OrtSessionOptions *); /* 100 */
    void *slots101[29];
    OrtStatus *(*AddSessionConfigEntry)(OrtSessionOptions *, const char *key, const char *value); /* 130 */
    void *slots131[2];
    OrtStatus *(*RunWithBinding)(OrtSession *, const OrtRunOptions *, const OrtIoBinding *); /* 133 */
    OrtStatus *(*CreateIoBinding)(OrtSession *, OrtIoBinding **);
    void (*ReleaseIoBinding)(OrtIoBinding *);
    OrtStatus *(*BindInput)(OrtIoBinding *, const char *name, const OrtValue *);
    OrtStatus *(*BindOutput)(OrtIoBinding *, const char *name, const OrtValue *); /* 137 */
} OrtApi;

_Static_assert(offsetof(OrtApi, SetIntraOpNumThreads) == 24 * sizeof(void *), "slot 24");
_Static_assert(offsetof(OrtApi, CreateCpuMemoryInfo) == 69 * sizeof(void *), "slot 69");
_Static_assert(offsetof(OrtApi, ReleaseSessionOptions) == 100 * sizeof(void *), "slot 100");
_Static_assert(sizeof(OrtApi) == 138 * sizeof(void *), "slot 137");

typedef struct {
    const OrtApi *(*GetApi)(uint32_t version); /* NULL when the library is older */
    const char *(*GetVersionString)(void);
} OrtApiBase;

typedef const OrtApiBase *ort_get_api_base(void); /* the library's symbol OrtGetApiBase */

#endif
