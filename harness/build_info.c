#include "build_info.h"

#include "build_info.inc" /* build/build_info.inc, by harness/build_info.sh */

const char *build_commit(void) { return BUILD_COMMIT; }

bool build_dirty(void) { return BUILD_DIRTY; }

const char *build_compiler(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

const char *build_flags(void) { return BUILD_FLAGS; }

const char *build_kernels(void) { return BUILD_KERNELS; }

const char *build_inject(void) { return BUILD_INJECT; }
