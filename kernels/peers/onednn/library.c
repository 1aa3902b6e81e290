/* Opens oneDNN's library and refuses in words one that cannot be used. */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../engine.h"
#include "dnnl.h"

dnnl_library dnnl;

const char *onednn_version(void)
{
    static char text[64]; /* the same bytes whoever writes them */
    const dnnl_version_t *v = dnnl.version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

const char *dnnl_resolve(void *library, const dnnl_symbol *symbols, size_t count, void *table)
{
    for (size_t i = 0; i < count; i++)
        if (!engine_function(library, symbols[i].name, (char *)table + symbols[i].at)) return symbols[i].name;
    return NULL;
}

#define RESOLVE(library, symbols) dnnl_resolve(library, symbols, sizeof(symbols) / sizeof *(symbols), &dnnl)

/* NULL, or the first function that it lacks. */
static const char *fill(void *library, int major)
{
    static const dnnl_symbol both[] = {
#define DNNL_FUNCTION(type, name, parameters) {"dnnl_" #name, offsetof(dnnl_library, name)},
#include "dnnl.def"
    };
    static const dnnl_symbol of_3[] = {
#define DNNL3_FUNCTION(type, name, parameters) {"dnnl_" #name, offsetof(dnnl_library, name)},
#include "dnnl.def"
    };
    const char *lacking = RESOLVE(library, both);
    if (lacking != NULL) return lacking;
    return major == 2 ? dnnl2_adapt(library) : RESOLVE(library, of_3);
}

/* NULL, or why the open library cannot be used. */
static const char *refuse_library(void *library)
{
    static const dnnl_symbol version[] = {{"dnnl_version", offsetof(dnnl_library, version)}};
    static char why[PATH_MAX + 160];
    const char *path = engine_path(ENGINE_ONEDNN), *lacking = RESOLVE(library, version);
    if (lacking == NULL) {
        const dnnl_version_t *v = dnnl.version();
        /* Intel's OpenMP answers to the same names, but its threads are not the ones bound here. */
        void *intels = dlopen("libiomp5.so", RTLD_LAZY | RTLD_NOLOAD);
        if (v->major < 2 || (v->major == 2 && v->minor < 6))
            snprintf(why, sizeof why, "%s is older than 2.6 (2.2.4 computes wrong convolutions): %s",
                     onednn_version(), path);
        else if (v->major > 3)
            snprintf(why, sizeof why, "%s is neither 2 nor 3: %s", onednn_version(), path);
        else if (v->cpu_runtime != DNNL_RUNTIME_OMP || intels != NULL)
            snprintf(why, sizeof why, "%s was built for other threads than GNU's OpenMP: %s", onednn_version(),
                     path);
        else
            lacking = fill(library, v->major);
    }
    if (lacking != NULL) snprintf(why, sizeof why, "%s is not oneDNN's: it has no %s", path, lacking);
    return why[0] == '\0' ? NULL : why;
}

static const char *reason; /* why it is absent, or NULL */

static void open_library(void)
{
    static conv_error err;
    reason = engine_absent(ENGINE_ONEDNN);
    if (reason != NULL) return;
    void *library = engine_open(ENGINE_ONEDNN, &err);
    reason = library == NULL ? err.text : refuse_library(library);
}

const char *onednn_absent(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_library);
    return reason;
}

/* ---- two questions about kernels */

const char *onednn_kernel_name(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl.primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success ? name : "";
}

dnnl_status_t onednn_next_kernel(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                 const_dnnl_primitive_desc_t hint)
{
    return dnnl.primitive_desc_next_impl != NULL ? dnnl.primitive_desc_next_impl(*pd)
                                                 : dnnl2_next_kernel(pd, engine, hint);
}
