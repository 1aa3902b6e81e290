/* Engines: libraries of others that are opened at run time, so that a build needs neither their headers nor
 * them. Where a library is looked for, in this order:
 *
 *   1. where engine_use was told, else where the engine's variable says (SEPBENCH_ONNXRUNTIME,
 *      SEPBENCH_TENSORFLOW, SEPBENCH_ONEDNN): a library file, or a folder that holds it as pip, npm or a release
 *      archive leaves it. If it is not there, it is looked for nowhere else: only what was named is measured
 *   2. in the folder SEPBENCH_ENGINES, else in `engines` beside the running program, which
 *      `make setup ENGINES=1` fills
 *   3. where the system keeps libraries, for those that a distribution packages */
#ifndef SEPBENCH_PEERS_ENGINE_H
#define SEPBENCH_PEERS_ENGINE_H

#include "../conv.h"

typedef enum { ENGINE_ONNXRUNTIME, ENGINE_TENSORFLOW, ENGINE_ONEDNN, ENGINE_COUNT } engine_kind;

/* NULL when the library is there, else in words why not and what brings it. Looks at files and opens no
 * library. In static storage until the next question about this engine. */
const char *engine_absent(engine_kind kind);

/* "onednn": as impl.def names the library. False: no engine has that name. */
bool engine_named(const char *name, engine_kind *kind);

/* NULL when the file is a library, or the folder has one, that could be this engine's; else in words why not.
 * In static storage until the next call. */
const char *engine_unfit(engine_kind kind, const char *place);

/* Takes the file or folder in place of all that is looked for: before the first question. */
void engine_use(engine_kind kind, const char *place);

/* Opens the library, its symbols its own; it stays open. NULL, with err saying why, when it cannot be. */
void *engine_open(engine_kind kind, conv_error *err);

/* *function, a pointer to a function, becomes the library's of that name; false when it has none. */
bool engine_function(void *library, const char *name, void *function);

/* The file that engine_open opens, "" before it was looked for. */
const char *engine_path(engine_kind kind);

/* Standard error goes nowhere until engine_unhush is given what engine_hush returned: for what libraries print
 * before they can be told not to. */
int engine_hush(void);
void engine_unhush(int kept);

#endif
