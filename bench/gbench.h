/* Google Benchmark for C. gbench.cc is the only C++ file of the project.
 *
 * The shim registers each sample as a benchmark of a fixed iteration count, clocks the run loop itself after
 * an untimed warm-up call, and returns the sample at once; all samples reach Google Benchmark's own JSON
 * reporter at the end, so its tools (compare.py) can read the file. */
#ifndef SEPBENCH_GBENCH_H
#define SEPBENCH_GBENCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* argv holds what followed `--`: --benchmark_filter=REGEX, --benchmark_context=KEY=VALUE,... and
 * --benchmark_out=FILE (one more copy of the JSON). Returns 0, or -1 with one line in bad (bad_size bytes) that
 * names the argument: not the library's, malformed, or one whose job is done by an option of sepbench's own. */
int gbench_init(int argc, char **argv, char *bad, int bad_size);

/* Whether --benchmark_filter lets this case run. */
int gbench_selected(const char *name);

/* Runs once(ctx) `iterations` times after one untimed call; with evict, evict(ctx) precedes every call and only
 * the calls are timed. Nanoseconds per iteration, negative when the library reported an error. */
double gbench_run(const char *name, void (*once)(void *), void (*evict)(void *), void *ctx, int64_t iterations,
                  int repetition);

/* Keeps a sample of a loop that another process ran through this shim. */
void gbench_note(const char *name, double ns, int64_t iterations, int repetition);

/* Every sample so far as Google Benchmark's JSON, to be freed; NULL: no memory. */
char *gbench_json(void);
/* The FILE of --benchmark_out; NULL: none. */
const char *gbench_out_file(void);

const char *gbench_version(void);

#ifdef __cplusplus
}
#endif
#endif
