/* A session: verify, screen, confirm.
 *
 * Two processes of one and the same program differ by a percent, by much more now and then, because each gets
 * other pages and other addresses (T. Mytkowicz et al., Producing wrong data without doing anything obviously
 * wrong, ASPLOS 2009; T. Kalibera, R. Jones, Rigorous benchmarking in reasonable time, ISMM 2013). More pairs
 * between the same two processes would only measure that difference more exactly, and a test that takes them
 * for independent would call it a regression. So the session is cut into rounds, each with freshly started
 * workers, and a case gets one d in each: those are independent. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cli.h"
#include "../json.h"
#include "../machine/machine.h"
#include "../measure/tensors.h"
#include "../random.h"
#include "../stats.h"
#include "../worker/protocol.h"
#include "session.h"

enum { FEWEST_ROUNDS = 12 };
static const double SCREEN_SHARE = 0.7; /* of the budget: the rest is for confirming */
static const double SETTLE = 0.001;     /* seconds until a worker's threads sleep */
static const double MEMORY_SHARE = 0.2; /* of what is free, for one worker's cases */

/* ---- workers */

static void read_side(const json_t *hello, compare_side *side)
{
    const struct {
        const char *name;
        char *text;
        size_t size;
    } members[] = {{"build", side->build, sizeof side->build},
                   {"commit", side->commit, sizeof side->commit},
                   {"kernels", side->kernels, sizeof side->kernels},
                   {"compiler", side->compiler, sizeof side->compiler},
                   {"inject", side->inject, sizeof side->inject}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *text = json_string_value(json_object_get(hello, members[i].name));
        snprintf(members[i].text, members[i].size, "%s", text ? text : "");
    }
    side->dirty = json_is_true(json_object_get(hello, "dirty"));
}

static bool start(gate_session *s, gate_role role, json_t **hello)
{
    compare_side *side = role == GATE_HEAD ? &s->r->head : &s->r->base;
    conv_error err;
    if (process_start(&s->workers[role], side->path, NULL, hello, &err)) return true;
    if (cli_interrupted()) return gate_fail(s, cli_signal_exit_code(), "interrupted: nothing was concluded");
    return gate_fail(s, role == GATE_HEAD ? EXIT_USAGE : EXIT_BASELINE, "%s %.80s: %s",
                     role == GATE_HEAD ? "head" : "base", side->path, err.text);
}

static bool start_worker(gate_session *s, gate_role role)
{
    json_t *hello;
    bool started = start(s, role, &hello);
    json_decref(hello);
    return started;
}

/* In random order: memory is given out in the order in which processes come. */
static bool start_all(gate_session *s)
{
    int first = (int)random_below(&s->random, GATE_WORKERS), step = 1 + (int)random_below(&s->random, 2);
    for (int i = 0; i < GATE_WORKERS; i++)
        if (!start_worker(s, (gate_role)((first + i * step) % GATE_WORKERS))) return false;
    return true;
}

static void stop_all(gate_session *s)
{
    for (int role = 0; role < GATE_WORKERS; role++) process_stop(&s->workers[role]);
}

/* ---- are the two comparable? */

static bool check_comparable(gate_session *s, const json_t *base, const json_t *head)
{
    static const char *const same[] = {"schema", "isa", "threads", "cpu"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const json_t *b = json_object_get(base, same[i]), *h = json_object_get(head, same[i]);
        if (b == NULL || h == NULL || json_equal(b, h)) continue;
        char *base_text = json_dumps(b, JSON_ENCODE_ANY), *head_text = json_dumps(h, JSON_ENCODE_ANY);
        gate_fail(s, EXIT_BASELINE, "base and head are not comparable: %s is %.60s in base, %.60s in head",
                  same[i], base_text ? base_text : "", head_text ? head_text : "");
        free(base_text);
        free(head_text);
        return false;
    }
    return true;
}

static bool introduce(gate_session *s)
{
    compare_result *r = s->r;
    json_t *base = NULL, *head = NULL;
    bool fine = start(s, GATE_BASE, &base) && start(s, GATE_HEAD, &head) && check_comparable(s, base, head);
    if (fine) {
        read_side(base, &r->base);
        read_side(head, &r->head);
        snprintf(r->cpu, sizeof r->cpu, "%s", json_text(head, "cpu", "unknown"));
        snprintf(r->host, sizeof r->host, "%s", json_text(head, "host", "unknown"));
        snprintf(r->isa, sizeof r->isa, "%s", json_text(head, "isa", "unknown"));
        r->kernels_identical = r->base.kernels[0] != '\0' && strcmp(r->base.kernels, r->head.kernels) == 0;
        for (int i = 0; i < 2; i++) {
            const compare_side *side = i == 0 ? &r->base : &r->head;
            if (side->inject[0] != '\0')
                cli_warning("%.80s was built with INJECT=%s", side->path, side->inject);
        }
    }
    json_decref(base);
    json_decref(head);
    return fine;
}

/* ---- verify */

static void judge_verified(compare_case *c, bool head, const json_t *reply)
{
    const char *status = json_text(reply, "status", "unknown"), *reason = json_text(reply, "reason", "unknown");
    const char *repro = json_string_value(json_object_get(reply, "repro"));
    if (strcmp(status, "ok") == 0) return;
    bool wrong = head && (strcmp(status, "wrong") == 0 || strcmp(status, "failed") == 0);
    c->verdict = wrong ? COMPARE_WRONG : COMPARE_NOT_COMPARED;
    snprintf(c->reason, sizeof c->reason, "%s: %s: %s", head ? "head" : "base", status, reason);
    if (head && repro != NULL) snprintf(c->repro, sizeof c->repro, "%s", repro);
}

/* Base is not asked where nothing that computes differs. */
static bool verify(gate_session *s)
{
    compare_result *r = s->r;
    for (int head = 1; head >= (r->kernels_identical ? 1 : 0); head--)
        for (size_t i = 0; i < r->count; i++) {
            if (!gate_live(&r->cases[i])) continue;
            json_t *request = protocol_case(&r->cases[i].row);
            json_t *reply = gate_ask(s, head ? GATE_HEAD : GATE_BASE, "verify", i, request);
            if (reply == NULL) return false;
            judge_verified(&r->cases[i], head, reply);
            s->times[i].call_seconds = 1e-9 * json_number_value(json_object_get(reply, "call_ns"));
            json_decref(reply);
            progress_update(&s->progress, 0, -1, "verifying");
        }
    stop_all(s);
    return true;
}

/* ---- whose machine is it? */

/* Seconds that a hypervisor gave to somebody else, all cores together (proc(5)); 0 where it does not tell. */
static double steal_seconds(void)
{
    unsigned long long steal = 0;
    FILE *in = fopen("/proc/stat", "r");
    if (in == NULL) return 0;
    if (fscanf(in, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &steal) != 1) steal = 0;
    fclose(in);
    return (double)steal / (double)sysconf(_SC_CLK_TCK);
}

/* A CI says so by itself; elsewhere, what others took during the session tells. */
static bool is_shared(const gate_session *s)
{
    const char *ci = getenv("CI");
    const double stolen = (steal_seconds() - s->stolen) / (machine_now() - s->started);
    return (ci != NULL && ci[0] != '\0') || stolen > 0.01 || 10 * s->r->disturbed > s->r->samples;
}

/* ---- rounds */

typedef struct {
    bool confirm; /* else the screen */
    size_t rounds;
    double deadline; /* seconds since the session's start */
} phase;

static bool takes_part(const compare_case *c, const phase *p)
{
    return gate_live(c) && (!p->confirm || c->flagged);
}

/* The cases from `first` on that fit into memory together, three times; at least one. */
static size_t chunk_end(const gate_session *s, const phase *p, size_t first)
{
    double bytes = 0, most = MEMORY_SHARE * (double)machine_memory_available();
    size_t end = first;
    for (; end < s->r->count; end++) {
        const compare_case *c = &s->r->cases[end];
        if (!takes_part(c, p)) continue;
        bytes += 3 * conv_tensors_bytes(&c->row.problem, c->row.pass); /* with packed weights, scratch */
        if (bytes > most && end > first) break;
    }
    return end;
}

static bool run_chunk(gate_session *s, const phase *p, size_t first, size_t end, size_t *order)
{
    compare_result *r = s->r;
    char what[64];
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        if (!takes_part(&r->cases[i], p)) continue;
        if (!gate_prepare(s, i)) return false;
        if (gate_live(&r->cases[i])) order[count++] = i;
    }
    random_shuffle(&s->random, order, count);
    for (size_t k = 0; k < count; k++) {
        compare_case *c = &r->cases[order[k]];
        if (!gate_turn(s, order[k], p->confirm ? c->confirm : c->screen,
                       p->confirm ? &c->confirm_count : &c->screen_count))
            return false;
        snprintf(what, sizeof what, "%s, %zu cases", p->confirm ? "confirming" : "screening", count);
        progress_update(&s->progress, s->steps, s->seconds_left, what);
    }
    for (size_t k = 0; end < r->count && k < count; k++) /* the last chunk goes with its workers */
        if (!gate_drop(s, order[k])) return false;
    return true;
}

static bool run_round(gate_session *s, const phase *p, size_t *order)
{
    if (!start_all(s)) return false;
    for (size_t first = 0, end; first < s->r->count; first = end) {
        end = chunk_end(s, p, first);
        if (!run_chunk(s, p, first, end, order)) return false;
    }
    stop_all(s);
    return true;
}

/* Rounds until all are done or the next would pass the deadline; a few there must be. */
static bool run_phase(gate_session *s, const phase *p)
{
    size_t *order = calloc(s->r->count, sizeof *order);
    char what[96];
    bool fine = order != NULL || gate_fail(s, EXIT_USAGE, "no memory for %zu cases", s->r->count);
    double started = machine_now();
    size_t fewest = p->rounds < FEWEST_ROUNDS ? p->rounds : FEWEST_ROUNDS;
    for (size_t done = 0; fine && done < p->rounds; done++) {
        double each = done > 0 ? (machine_now() - started) / (double)done : 0;
        if (done >= fewest && machine_now() - s->started + each > p->deadline) {
            s->progress.total -= p->rounds - done;
            break;
        }
        fine = run_round(s, p, order);
        each = (machine_now() - started) / (double)(done + 1);
        s->steps++;
        s->seconds_left = each * (double)(p->rounds - done - 1);
        snprintf(what, sizeof what, "%s: round %zu of %zu", p->confirm ? "confirming" : "screening", done + 1,
                 p->rounds);
        /* Of plain lines on a log, a few are enough. */
        if (fine && (s->progress.terminal || (done + 1) % 8 == 0))
            progress_step(&s->progress, s->steps, s->seconds_left, what);
    }
    free(order);
    return fine;
}

/* ---- the whole */

/* What does not fit in the budget even with the fewest rounds is left out, the dearest first. */
static void fit_budget(gate_session *s, double seconds)
{
    compare_result *r = s->r;
    for (;;) {
        double total = 0, dearest = 0;
        compare_case *last = NULL;
        for (size_t i = 0; i < r->count; i++) {
            if (!gate_live(&r->cases[i])) continue;
            double sample = fmax(6 * s->times[i].call_seconds, 0.004) + SETTLE;
            double cost = FEWEST_ROUNDS * 5 * sample; /* two pairs, a fourth for base and base */
            total += cost;
            if (cost <= dearest) continue;
            dearest = cost;
            last = &r->cases[i];
        }
        if (total <= seconds || last == NULL) return;
        last->verdict = COMPARE_NOT_COMPARED;
        snprintf(last->reason, sizeof last->reason, "needs about %.3g s, beyond its share of the budget",
                 dearest);
    }
}

static size_t count_cases(const compare_result *r, bool flagged)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) count += gate_live(&r->cases[i]) && (!flagged || r->cases[i].flagged);
    return count;
}

static void find_medians(gate_session *s)
{
    for (size_t i = 0; i < s->r->count; i++) {
        gate_times *t = &s->times[i];
        s->r->cases[i].base_ns = t->base_count ? stats_median(t->base, t->base_count) : NAN;
        s->r->cases[i].head_ns = t->head_count ? stats_median(t->head, t->head_count) : NAN;
    }
}

static bool measure(gate_session *s)
{
    compare_result *r = s->r;
    const gate_options *o = s->options;
    const phase screen = {false, (size_t)o->pairs, SCREEN_SHARE * o->budget};
    const phase confirm = {true, (size_t)o->confirm, o->budget};
    s->progress.total = screen.rounds;
    if (!introduce(s) || !verify(s)) return false;
    fit_budget(s, screen.deadline - (machine_now() - s->started));
    if (count_cases(r, false) > 0 && !run_phase(s, &screen)) return false;
    find_medians(s);
    r->screen_pairs = s->steps;
    r->confirm_pairs = confirm.rounds;
    r->shared_runner = is_shared(s);
    compare_judge_screen(r);
    if (count_cases(r, true) == 0) return true;
    s->progress.total += confirm.rounds;
    return run_phase(s, &confirm);
}

static gate_session *open_session(const gate_options *options, compare_result *r)
{
    gate_session *s = calloc(1, sizeof *s);
    if (s == NULL || (s->times = calloc(r->count, sizeof *s->times)) == NULL) {
        free(s);
        return NULL;
    }
    s->options = options;
    s->r = r;
    s->random = options->seed;
    s->started = machine_now();
    s->stolen = steal_seconds();
    progress_start(&s->progress, 0);
    return s;
}

int gate_run(const gate_options *options, compare_result *r)
{
    gate_session *s = open_session(options, r);
    if (s == NULL) return cli_error("no memory for %zu cases", r->count);
    cli_catch_signals();
    bool fine = measure(s);
    stop_all(s);
    progress_clear(&s->progress);
    find_medians(s);
    r->seconds = machine_now() - s->started;
    r->shared_runner = is_shared(s);
    if (fine)
        compare_judge(r);
    else
        cli_error("%s", s->error.text);
    int code = s->code;
    free(s->times);
    free(s);
    return code;
}
