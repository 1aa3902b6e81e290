// Google Benchmark behind a C interface (gbench.h). What differs between its versions is in gbench_version.h.
//
// One sample is one registered benchmark with a fixed iteration count, run at once and unregistered. So the
// harness, not the library, decides the order of repetitions and when tensors are freed; with the library's
// own interleaving a reporter sees a case only after its last repetition. Time is "manual": the clock stands
// inside the State loop, so the library's set-up (about a microsecond a sample) is never part of a figure,
// and the JSON holds the same figures as results.csv.
#include "gbench.h"

#include <benchmark/benchmark.h>
#include <regex.h>
#include <time.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gbench_version.h"

namespace
{

using Run = benchmark::BenchmarkReporter::Run;

double now_ns()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

// Keeps the runs the library reports and prints nothing.
class Collector : public benchmark::BenchmarkReporter
{
  public:
    std::vector<Run> runs;
    bool ReportContext(const Context &) override { return true; }
    void ReportRuns(const std::vector<Run> &report) override
    {
        runs.insert(runs.end(), report.begin(), report.end());
    }
};

struct Loop {
    void (*once)(void *);
    void (*evict)(void *);
    void *ctx;
    int64_t iterations;
    double total_ns;
};

// begin() and end() are taken before the clock starts because end() starts the library's own timer; the last
// comparison, which stops it, comes after ours has been read.
void warm_loop(benchmark::State &state, Loop &loop)
{
    auto i = state.begin();
    auto end = state.end();
    int64_t left = loop.iterations;
    double start = now_ns(), stop = start;
    for (; i != end; ++i) {
        loop.once(loop.ctx);
        if (--left == 0) stop = now_ns();
    }
    loop.total_ns = stop - start;
}

void cold_loop(benchmark::State &state, Loop &loop)
{
    loop.total_ns = 0;
    for (auto _ : state) {
        (void)_;
        loop.evict(loop.ctx);
        double start = now_ns();
        loop.once(loop.ctx);
        loop.total_ns += now_ns() - start;
    }
}

std::vector<Run> samples;                    // everything measured, for the JSON at the end
std::map<std::string, int64_t> family_index; // by case name, in order of appearance
std::map<std::string, size_t> repetitions;
std::string out_file;      // --benchmark_out
bool filtered, filter_out; // --benchmark_filter; a leading '-' selects what does not match
regex_t filter;

// What the library would do by itself, against the harness: who does it here.
const struct {
    const char *flag, *instead;
} replaced[] = {
    {"--benchmark_repetitions", "use --repetitions before the --"},
    {"--benchmark_min_time", "use --min-time before the --"},
    {"--benchmark_enable_random_interleaving", "repetitions are always interleaved at random"},
    {"--benchmark_list_tests", "use sepbench list"},
    {"--benchmark_format", "results.csv and gbench.json are always written"},
    {"--benchmark_out_format", "--benchmark_out is always JSON"},
    {"--benchmark_report_aggregates_only", "gbench.json keeps every repetition"},
    {"--benchmark_display_aggregates_only", "sepbench prints its own table"},
    {"--benchmark_counters_tabular", "sepbench prints its own table"},
    {"--benchmark_color", "sepbench prints its own table"},
    {"--benchmark_perf_counters", "not supported"},
};

bool has_flag(const std::string &argument, const char *flag, std::string *value)
{
    size_t n = strlen(flag);
    if (argument.compare(0, n, flag) != 0 || (argument.size() > n && argument[n] != '=')) return false;
    *value = argument.size() > n ? argument.substr(n + 1) : "";
    return true;
}

int refuse(char *bad, int bad_size, const std::string &argument, const std::string &why)
{
    snprintf(bad, (size_t)bad_size, "'%s': %s", argument.c_str(), why.c_str());
    return -1;
}

// POSIX extended, the library's dialect. Empty when fine, else what is wrong.
std::string set_filter(std::string text)
{
    if (filtered) regfree(&filter);
    filtered = !text.empty() && text != "all";
    if (!filtered) return "";
    filter_out = text[0] == '-';
    int status = regcomp(&filter, text.c_str() + filter_out, REG_EXTENDED | REG_NOSUB);
    if (status == 0) return "";
    char why[128];
    regerror(status, &filter, why, sizeof why);
    filtered = false;
    return std::string("not a regular expression: ") + why;
}

// JSON for the library's tools wants one name per case and its repetitions numbered.
void keep(Run run, const char *name, int repetition)
{
    auto family = family_index.emplace(name, (int64_t)family_index.size()).first;
    run.run_name = benchmark::BenchmarkName();
    run.run_name.function_name = name;
    run.family_index = family->second;
    run.per_family_instance_index = 0;
    run.repetition_index = repetition;
    forget_memory(run);
    repetitions[name]++;
    samples.push_back(std::move(run));
}

} // namespace

extern "C" int gbench_init(int argc, char **argv, char *bad, int bad_size)
{
    std::vector<char *> context = {(char *)"sepbench"};
    std::string value;
    for (int i = 0; i < argc; i++) {
        std::string argument = argv[i];
        for (const auto &r : replaced)
            if (has_flag(argument, r.flag, &value)) return refuse(bad, bad_size, argument, r.instead);
        if (has_flag(argument, "--benchmark_filter", &value)) {
            std::string wrong = set_filter(value);
            if (!wrong.empty()) return refuse(bad, bad_size, argument, wrong);
        } else if (has_flag(argument, "--benchmark_out", &value) && !value.empty()) {
            out_file = value;
        } else if (has_flag(argument, "--benchmark_context", &value) && value.find('=') != std::string::npos) {
            context.push_back(argv[i]);
        } else if (has_flag(argument, "--benchmark_context", &value)) {
            return refuse(bad, bad_size, argument, "needs KEY=VALUE[,KEY=VALUE...]");
        } else {
            return refuse(bad, bad_size, argument,
                          "not a flag of Google Benchmark that works here (--benchmark_filter=REGEX, "
                          "--benchmark_context=KEY=VALUE, --benchmark_out=FILE do)");
        }
    }
    int count = (int)context.size();
    context.push_back(nullptr);
    benchmark::Initialize(&count, context.data());
    if (count > 1) return refuse(bad, bad_size, context[1], "Google Benchmark does not accept it");
    return 0;
}

extern "C" int gbench_selected(const char *name)
{
    return !filtered || (regexec(&filter, name, 0, nullptr, 0) == 0) != filter_out;
}

// Only this benchmark is registered, so the filter "." runs it whatever characters its name has.
static bool run_one(const char *name, int64_t iterations, int repetition,
                    const std::function<void(benchmark::State &)> &body)
{
    benchmark::RegisterBenchmark("sample", body)
        ->Iterations(iterations)
        ->UseManualTime()
        ->MeasureProcessCPUTime()
        ->Unit(benchmark::kNanosecond);
    Collector collector;
    benchmark::RunSpecifiedBenchmarks(&collector, nullptr, ".");
    benchmark::ClearRegisteredBenchmarks();
    if (collector.runs.size() != 1 || failed(collector.runs[0])) return false;
    keep(collector.runs[0], name, repetition);
    return true;
}

extern "C" double gbench_run(const char *name, void (*once)(void *), void (*evict)(void *), void *ctx,
                             int64_t iterations, int repetition)
{
    Loop loop = {once, evict, ctx, iterations, -1};
    bool ran = run_one(name, iterations, repetition, [&loop](benchmark::State &state) {
        if (loop.evict != nullptr) loop.evict(loop.ctx);
        loop.once(loop.ctx);
        if (loop.evict != nullptr)
            cold_loop(state, loop);
        else
            warm_loop(state, loop);
        state.SetIterationTime(loop.total_ns * 1e-9);
    });
    return ran && loop.total_ns >= 0 ? loop.total_ns / (double)iterations : -1;
}

// The library knows no other way to a Run than a loop: an empty one, with the time that was measured elsewhere.
extern "C" void gbench_note(const char *name, double ns, int64_t iterations, int repetition)
{
    run_one(name, iterations, repetition, [&](benchmark::State &state) {
        for (auto _ : state) (void)_;
        state.SetIterationTime(1e-9 * ns * (double)iterations);
    });
}

extern "C" char *gbench_json(void)
{
    std::ostringstream text;
    benchmark::JSONReporter json;
    json.SetOutputStream(&text);
    json.SetErrorStream(&text);
    if (!json.ReportContext(benchmark::BenchmarkReporter::Context())) return nullptr;
    std::vector<Run> all = samples;
    for (Run &run : all) run.repetitions = (int64_t)repetitions[run.run_name.function_name];
    json.ReportRuns(all);
    json.Finalize();
    return strdup(text.str().c_str());
}

extern "C" const char *gbench_out_file(void) { return out_file.empty() ? nullptr : out_file.c_str(); }

extern "C" const char *gbench_version(void) { return GBENCH_VERSION; }
