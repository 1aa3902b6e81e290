#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cli.h"
#include "../machine/machine.h"
#include "protocol.h"

/* ---- the process */

static void close_all(worker_process *w)
{
    if (w->to >= 0) close(w->to);
    if (w->from >= 0) close(w->from);
    if (w->complaints != NULL) fclose(w->complaints);
    free(w->line);
    *w = (worker_process){.path = w->path, .engine = w->engine, .to = -1, .from = -1};
}

static void become_worker(const worker_process *w, int in, int out)
{
    char *argv[] = {(char *)w->path, "worker", w->engine != NULL ? "--engine" : NULL, (char *)w->engine, NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no worker outlives who asks it */
    /* After its last parallel loop a pool's threads spin on the cores that the other side needs next: libgomp's
     * for 300,000 turns (4 to 8 ms), LLVM's for 200 ms, and the worker waits for them. A tenth is still far
     * longer than the gap between two calls of a timed loop, and doubles the samples a session has time for. */
    setenv("GOMP_SPINCOUNT", "30000", 0);
    setenv("KMP_BLOCKTIME", "1", 0);
    machine_unbind(); /* with OMP_PROC_BIND the gate itself is on one core */
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(fileno(w->complaints), STDERR_FILENO) < 0)
        _exit(126);
    execv(w->path, argv);
    dprintf(STDERR_FILENO, "%s\n", strerror(errno));
    _exit(127);
}

static bool spawn(worker_process *w)
{
    int request[2] = {-1, -1}, reply[2] = {-1, -1};
    w->complaints = tmpfile();
    /* A socket, as writing to a pipe whose worker has died would raise a signal. */
    if (w->complaints == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, request) != 0 ||
        pipe2(reply, O_CLOEXEC) != 0)
        goto failed;
    w->pid = fork();
    if (w->pid < 0) goto failed;
    if (w->pid == 0) become_worker(w, request[0], reply[1]);
    close(request[0]);
    close(reply[1]);
    w->to = request[1];
    w->from = reply[0];
    return true;
failed:
    for (int i = 0; i < 2; i++) {
        if (request[i] >= 0) close(request[i]);
        if (reply[i] >= 0) close(reply[i]);
    }
    w->pid = 0;
    return false;
}

/* Its last words, without line feed and without "sepbench: ". */
static void last_words(worker_process *w, char *text, size_t size)
{
    char line[160];
    text[0] = '\0';
    if (w->complaints == NULL) return;
    rewind(w->complaints);
    while (fgets(line, sizeof line, w->complaints) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const char *words = strncmp(line, "sepbench: ", 10) == 0 ? line + 10 : line;
        if (words[0] != '\0') snprintf(text, size, "%s", words);
    }
}

/* The pipe is closed: why. */
static void explain_death(worker_process *w, conv_error *err)
{
    int status = 0;
    char words[160], how[64] = "ended";
    waitpid(w->pid, &status, 0);
    w->pid = 0;
    if (WIFSIGNALED(status)) snprintf(how, sizeof how, "died of signal %d", WTERMSIG(status));
    if (WIFEXITED(status)) snprintf(how, sizeof how, "ended with exit %d", WEXITSTATUS(status));
    last_words(w, words, sizeof words);
    conv_fail(err, CONV_FAILED, "%s%s%s", how, words[0] ? ": " : "", words);
}

void process_pause(const worker_process *w)
{
    if (w->pid > 0) kill(w->pid, SIGSTOP);
}

void process_resume(const worker_process *w)
{
    if (w->pid > 0) kill(w->pid, SIGCONT);
}

void process_stop(worker_process *w)
{
    process_resume(w);
    if (w->pid > 0) {
        if (w->to >= 0) close(w->to); /* the end of its input ends it */
        w->to = -1;
        for (int i = 0; i < 200 && waitpid(w->pid, NULL, WNOHANG) == 0; i++) {
            if (i == 100) kill(w->pid, SIGKILL);
            usleep(10000);
        }
    }
    if (w->path != NULL) close_all(w);
}

/* ---- lines */

static bool send_line(worker_process *w, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = send(w->to, text, left, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) return false;
        if (n > 0) {
            text += n;
            left -= (size_t)n;
        }
    }
    return true;
}

/* More of the line; false at its end of file or an error. */
static bool receive(worker_process *w)
{
    if (w->room - w->used < 4096) {
        char *grown = realloc(w->line, w->room + 8192);
        if (grown == NULL) return false;
        w->line = grown;
        w->room += 8192;
    }
    ssize_t n = read(w->from, w->line + w->used, w->room - w->used - 1);
    if (n <= 0) return n < 0 && errno == EINTR;
    w->used += (size_t)n;
    w->line[w->used] = '\0';
    return true;
}

/* One line as JSON. A worker says one thing at a time, so nothing follows the line feed. */
static json_t *read_reply(worker_process *w, double seconds, conv_error *err)
{
    const double started = machine_now();
    json_error_t error;
    w->used = 0;
    while (w->used == 0 || w->line[w->used - 1] != '\n') {
        struct pollfd ready = {.fd = w->from, .events = POLLIN};
        int status = poll(&ready, 1, 200);
        if (cli_interrupted()) {
            conv_fail(err, CONV_FAILED, "interrupted");
            return NULL;
        }
        if (status > 0 && !receive(w)) {
            explain_death(w, err);
            return NULL;
        }
        if (machine_now() - started > seconds) {
            conv_fail(err, CONV_FAILED, "has not answered for %.3g s", seconds);
            kill(w->pid, SIGKILL);
            return NULL;
        }
    }
    json_t *reply = json_loads(w->line, 0, &error);
    if (reply == NULL) conv_fail(err, CONV_FAILED, "said '%.60s'", w->line);
    return reply;
}

json_t *process_ask(worker_process *w, json_t *request, double seconds, conv_error *err)
{
    char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    json_t *reply = NULL;
    json_decref(request);
    if (text == NULL || w->pid == 0)
        conv_fail(err, CONV_FAILED, text == NULL ? "no memory for a request" : "is not running");
    else if (!send_line(w, text) || !send_line(w, "\n"))
        explain_death(w, err);
    else
        reply = read_reply(w, seconds, err);
    free(text);
    if (reply == NULL) process_stop(w);
    return reply;
}

bool process_start(worker_process *w, const char *path, const char *engine, json_t **hello, conv_error *err)
{
    *w = (worker_process){.path = path, .engine = engine, .to = -1, .from = -1};
    *hello = NULL;
    if (access(path, X_OK) != 0) {
        conv_fail(err, CONV_FAILED, "%s", strerror(errno));
        return false;
    }
    if (!spawn(w)) {
        conv_fail(err, CONV_FAILED, "cannot be started: %s", strerror(errno));
        process_stop(w);
        return false;
    }
    *hello = read_reply(w, PROCESS_PATIENCE, err);
    json_int_t protocol = json_integer_value(json_object_get(*hello, "sepbench_worker"));
    if (*hello == NULL && strstr(err->text, "unknown command") != NULL)
        conv_fail(err, CONV_FAILED, "has no 'worker' command: it is older than the gate");
    else if (*hello != NULL && (protocol < WORKER_PROTOCOL_OLDEST || protocol > WORKER_PROTOCOL))
        conv_fail(err, CONV_FAILED, "speaks protocol %lld, this program %d to %d", (long long)protocol,
                  WORKER_PROTOCOL_OLDEST, WORKER_PROTOCOL);
    else if (*hello != NULL)
        return true;
    json_decref(*hello);
    *hello = NULL;
    process_stop(w);
    return false;
}
