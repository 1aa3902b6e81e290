// What differs between Google Benchmark 1.6 and 1.9, told by the members that exist (the header states no
// version).
#ifndef SEPBENCH_GBENCH_VERSION_H
#define SEPBENCH_GBENCH_VERSION_H

#include <benchmark/benchmark.h>

#include <type_traits>

// Run::error_occurred became Run::skipped in 1.8. The second argument prefers the first overload.
template <class Run> auto failed(const Run &run, int = 0) -> decltype(run.error_occurred)
{
    return run.error_occurred;
}
template <class Run> auto failed(const Run &run, long = 0) -> decltype(run.skipped, bool())
{
    return run.skipped != decltype(run.skipped)();
}

// Run::memory_result points into the runner, which is gone when the JSON is written; newer ones hold a copy.
template <class Result> void forget(Result *&result) { result = nullptr; }
template <class Result> void forget(Result &) {}
template <class Run> void forget_memory(Run &run) { forget(run.memory_result); }

#endif
