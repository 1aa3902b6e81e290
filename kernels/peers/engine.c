/* Finds and opens the libraries of engines (engine.h). */
#include "engine.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__aarch64__)
#define NPM_CPU "arm64"
#else
#define NPM_CPU "x64"
#endif

/* Glob patterns below a folder: as a release archive, pip --target, a Python environment and npm lay it out. */
static const struct {
    const char *name, *variable, *file;
    const char *inside[7], *system[4];
    const char *brought_by;
} engines[ENGINE_COUNT] = {
    [ENGINE_ONNXRUNTIME] = {"onnxruntime",
                            "SEPBENCH_ONNXRUNTIME",
                            "libonnxruntime.so",
                            {"libonnxruntime.so*", "lib/libonnxruntime.so*", "capi/libonnxruntime.so*",
                             "onnxruntime/capi/libonnxruntime.so*",
                             "lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so*",
                             "{,onnxruntime-node/,node_modules/onnxruntime-node/}bin/napi-v*/linux/" NPM_CPU
                             "/libonnxruntime.so*"},
                            {"/usr/local/lib/libonnxruntime.so*", "/usr/lib/*-linux-gnu/libonnxruntime.so*",
                             "/usr/lib64/libonnxruntime.so*"},
                            "make setup ENGINES=1"},
    [ENGINE_TENSORFLOW] = {"tensorflow",
                           "SEPBENCH_TENSORFLOW",
                           "libtensorflow_cc.so.2",
                           {"libtensorflow_cc.so.2", "tensorflow/libtensorflow_cc.so.2",
                            "{,python/}lib/python3*/site-packages/tensorflow/libtensorflow_cc.so.2",
                            "libtensorflow.so.2", "lib/libtensorflow.so.2"},
                           {NULL},
                           "make setup ENGINES=1"},
    [ENGINE_ONEDNN] = {"onednn",
                       "SEPBENCH_ONEDNN",
                       "libdnnl.so.3 or libdnnl.so.2",
                       {"{,lib/,lib64/,lib/*-linux-gnu/,*.data/data/lib/}libdnnl.so.{3,2}*"},
                       {"/usr/{local/lib,lib/*-linux-gnu,lib64,lib}/libdnnl.so.3*",
                        "/usr/{local/lib,lib/*-linux-gnu,lib64,lib}/libdnnl.so.2*"},
                       "make setup"},
};

static char told[ENGINE_COUNT][PATH_MAX], found[ENGINE_COUNT][PATH_MAX], reasons[ENGINE_COUNT][320];

/* ---- looking at files */

/* Of a file: NULL, or what it is instead of a library that this program can load. */
static const char *not_a_library(const char *path)
{
    Elf64_Ehdr its, own;
    FILE *a = fopen(path, "rb"), *b = fopen("/proc/self/exe", "rb");
    const char *why = NULL;
    if (a == NULL)
        why = strerror(errno);
    else if (fread(&its, sizeof its, 1, a) != 1 || memcmp(its.e_ident, ELFMAG, SELFMAG) != 0)
        why = "is no library";
    else if (b != NULL && fread(&own, sizeof own, 1, b) == 1 &&
             (its.e_machine != own.e_machine || its.e_ident[EI_CLASS] != own.e_ident[EI_CLASS]))
        why = "is a library for another kind of CPU";
    else if (its.e_type != ET_DYN)
        why = "is no shared library";
    else if (fseek(a, 0, SEEK_END) != 0 || (Elf64_Off)ftell(a) < its.e_shoff ||
             (Elf64_Off)ftell(a) - its.e_shoff < (Elf64_Off)its.e_shnum * its.e_shentsize)
        why = "is cut short"; /* dlopen would end the program by a signal */
    if (a != NULL) fclose(a);
    if (b != NULL) fclose(b);
    return why;
}

/* The first file that a pattern below folder names; folder's own characters mean themselves. */
static bool match(const char *folder, const char *pattern, char path[PATH_MAX])
{
    char whole[2 * PATH_MAX + 256], *end = whole;
    glob_t matches;
    for (const char *c = folder; *c != '\0' && end < whole + 2 * (size_t)PATH_MAX; c++) {
        if (strchr("\\*?[]{},~", *c) != NULL) *end++ = '\\';
        *end++ = *c;
    }
    snprintf(end, sizeof whole - (size_t)(end - whole), "%s%s", *folder != '\0' ? "/" : "", pattern);
    bool any = glob(whole, GLOB_BRACE, NULL, &matches) == 0;
    if (any) snprintf(path, PATH_MAX, "%s", matches.gl_pathv[0]);
    globfree(&matches);
    return any;
}

static bool inside(engine_kind kind, const char *folder, char path[PATH_MAX])
{
    for (const char *const *p = engines[kind].inside; *p != NULL; p++)
        if (match(folder, *p, path)) return true;
    return false;
}

/* Finds the library in place, a file or a folder. NULL, or why not, in words that begin with how it was
 * named. */
static const char *take(engine_kind kind, const char *words, const char *place)
{
    struct stat s;
    char *path = found[kind], *absent = reasons[kind];
    const size_t size = sizeof reasons[kind];
    bool folder = false;
    if (stat(place, &s) != 0)
        snprintf(absent, size, "%s%.200s: %s", words, place, strerror(errno));
    else if ((folder = S_ISDIR(s.st_mode)) && !inside(kind, place, path))
        snprintf(absent, size, "%s%.200s: there is no %s in this folder", words, place, engines[kind].file);
    else
        *absent = '\0';
    if (*absent != '\0') return absent;
    if (!folder && place != path) snprintf(path, PATH_MAX, "%s", place);
    const char *why = not_a_library(path);
    if (why == NULL) return NULL;
    snprintf(absent, size, "%s%.200s %s", words, path, why);
    return absent;
}

/* ---- where */

static const char *value_of(const char *variable)
{
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? value : NULL;
}

static void beside_program(char folder[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - sizeof "engines");
    folder[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(folder, '/');
    strcpy(slash != NULL ? slash + 1 : folder, "engines");
}

const char *engine_absent(engine_kind kind)
{
    char words[64], folder[PATH_MAX], *path = found[kind];
    const char *named = value_of(engines[kind].variable), *all = value_of("SEPBENCH_ENGINES");
    struct stat s;
    *path = '\0';
    if (*told[kind] != '\0') return take(kind, "", told[kind]);
    snprintf(words, sizeof words, "%s=", engines[kind].variable);
    if (named != NULL) return take(kind, words, named);
    if (all != NULL && stat(all, &s) != 0) return take(kind, "SEPBENCH_ENGINES=", all);
    beside_program(folder);
    if (inside(kind, all != NULL ? all : folder, path)) return take(kind, "", path);
    for (const char *const *p = engines[kind].system; *p != NULL; p++)
        if (match("", *p, path)) return take(kind, "", path);
    snprintf(reasons[kind], sizeof reasons[kind], "not found: '%s' brings it", engines[kind].brought_by);
    return reasons[kind];
}

const char *engine_unfit(engine_kind kind, const char *place)
{
    char kept[PATH_MAX];
    memcpy(kept, found[kind], sizeof kept);
    const char *why = take(kind, "", place);
    memcpy(found[kind], kept, sizeof kept);
    return why;
}

bool engine_named(const char *name, engine_kind *kind)
{
    int k = 0;
    while (k < ENGINE_COUNT && strcmp(engines[k].name, name) != 0) k++;
    *kind = (engine_kind)k;
    return k < ENGINE_COUNT;
}

void engine_use(engine_kind kind, const char *place) { snprintf(told[kind], sizeof told[kind], "%s", place); }

const char *engine_path(engine_kind kind) { return found[kind]; }

/* ---- opening */

int engine_hush(void)
{
    fflush(stderr);
    int kept = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept >= 0 && nowhere >= 0) dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) close(nowhere);
    return kept;
}

void engine_unhush(int kept)
{
    if (kept < 0) return;
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
}

/* Read by AddressSanitizer, in programs built with it: it misjudges where opened libraries keep their
 * thread-local variables, and its search for leaks then ends the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "intercept_tls_get_addr=0"; }

void *engine_open(engine_kind kind, conv_error *err)
{
    const char *absent = engine_absent(kind);
    if (absent != NULL) {
        conv_fail(err, CONV_FAILED, "%s", absent);
        return NULL;
    }
    int kept = engine_hush();
    char whole[PATH_MAX]; /* a name without a folder would be looked for on the system */
    void *library = dlopen(realpath(found[kind], whole) != NULL ? whole : found[kind], RTLD_LAZY | RTLD_LOCAL);
    engine_unhush(kept);
    if (library == NULL) conv_fail(err, CONV_FAILED, "%s", dlerror());
    return library;
}

bool engine_function(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol); /* ISO C has no conversion for it */
    return symbol != NULL;
}
