/* A rank's measuring is a process of its own, `sepbench bench` without --fleet, which writes to a folder on its
 * host's own disk and which the rank watches: MPI's threads and whatever kills one measuring do not reach the
 * others. That folder stays, whatever becomes of the job. Its files go to rank 0 as bytes, in memory until all
 * of a host's are there. Nothing of a host is trusted but that it speaks this protocol: names and sizes are
 * checked. Rank 0 and every other rank tell each other that they live, and nobody waits for who is silent. */
#include "fleet.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../harness/claim.h"
#include "../harness/cli.h"
#include "../harness/machine/machine.h"
#include "../harness/output.h"
#include "../harness/ranks/ranks.h"
#include "../harness/text.h"
#include "../harness/utc.h"
#include "../harness/words.h"

enum { FILES = 16, NAME = 64, TEXT = 256, MOST_BYTES = 1 << 28, HOST = 96 };
static const double BEAT_S = 2, SILENCE_S = 30; /* a sign of life; without one a rank is lost */
static const double LEAVE_S = 0.5;              /* mpirun kills a second after it asked to end */

/* What a rank tells rank 0, and from LEAVES on also what rank 0 tells it. */
typedef enum {
    SAYS_ALIVE,
    SAYS_DONE,   /* that many files follow, each a file_head and its bytes */
    SAYS_FAILED, /* why */
    SAYS_LEAVES, /* without waiting for anybody: somebody is gone who would be waited for */
    SAYS_CLOSES  /* all are there to close MPI together */
} parcel_kind;
typedef struct {
    int32_t kind, files;
    char text[TEXT];
} parcel;
typedef struct {
    char name[NAME];
    int64_t size;
} file_head;

/* ---- measuring: a process of its own */

/* What mpirun told the rank is not for its child. */
static void forget_mpirun(void)
{
    static const char *const prefixes[] = {"OMPI_", "PMIX_", "PMI_", "PRTE_", "ORTE_", "MPI_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        for (char **e = environ; *e != NULL;) {
            char name[NAME * 2];
            size_t length = strcspn(*e, "=");
            bool ours = strncmp(*e, prefixes[i], strlen(prefixes[i])) == 0 && length < sizeof name;
            if (ours) {
                memcpy(name, *e, length);
                name[length] = '\0';
                unsetenv(name);
                e = environ;
            } else {
                e++;
            }
        }
}

/* The words but --fleet, as argp also takes it, and with a folder of its own, the last one named. */
static char **words_of_child(int argc, char **argv, const char *out)
{
    static const char fleet[] = "--fleet";
    char **words = calloc((size_t)argc + 4, sizeof *words);
    int count = 0, i = 1;
    if (words == NULL) return NULL;
    words[count++] = (char *)"sepbench";
    words[count++] = (char *)"bench";
    for (; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strlen(argv[i]) < 4 || strncmp(argv[i], fleet, strlen(argv[i])) != 0) words[count++] = argv[i];
    words[count++] = (char *)"--out";
    words[count++] = (char *)out;
    for (; i < argc; i++) words[count++] = argv[i];
    return words;
}

/* stdout to nowhere, stderr to where the rank reads it. In a process group of its own: what ends the rank, and
 * the rank then tells its child, must not reach that twice, for the second signal kills. Never returns. */
static _Noreturn void become(char **words, int errors)
{
    int nothing = open("/dev/null", O_WRONLY);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    dup2(nothing, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    forget_mpirun();
    machine_unbind();
    execv("/proc/self/exe", words);
    _exit(127);
}

static void last_line(int errors, char *line, size_t size)
{
    char text[4096];
    off_t end = lseek(errors, 0, SEEK_END), room = (off_t)sizeof text - 1;
    ssize_t got = pread(errors, text, sizeof text - 1, end > room ? end - room : 0);
    while (got > 0 && text[got - 1] == '\n') got--;
    text[got > 0 ? got : 0] = '\0';
    const char *from = strrchr(text, '\n');
    from = from == NULL ? text : from + 1;
    if (strncmp(from, "sepbench: ", 10) == 0) from += 10;
    snprintf(line, size, "%.200s", from);
}

/* How it ended, in words; false: it measured, perhaps something wrong. */
static bool failed(int status, int errors, char *text)
{
    if (WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_FINE || WEXITSTATUS(status) == EXIT_WRONG))
        return false;
    char line[TEXT - 40] = "";
    last_line(errors, line, sizeof line);
    if (WIFSIGNALED(status))
        snprintf(text, TEXT, "its measuring was ended by signal %d", WTERMSIG(status));
    else
        snprintf(text, TEXT, "exit %d: %s", WEXITSTATUS(status), line);
    return true;
}

/* "node2", as a folder's name; with the rank behind it where several are of that name. */
static void host_name(int rank, char *host)
{
    bool shared = false;
    for (int k = 0; k < ranks_size(); k++)
        shared = shared || (k != rank && strcmp(ranks_host(k), ranks_host(rank)) == 0);
    snprintf(host, HOST, "%.63s", ranks_host(rank));
    if (shared) snprintf(host, HOST, "%.63s-%d", ranks_host(rank), rank);
    for (char *c = host; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_' && (*c != '.' || c == host)) *c = '-';
}

typedef struct {
    char run[4300]; /* its folder */
    int errors;     /* its stderr */
    char **words;
    pid_t child;
    bool told, ended; /* told: to end */
    parcel end;       /* once it has */
} measuring;

static bool start(measuring *m, int argc, char **argv, const char *out)
{
    char host[HOST];
    host_name(ranks_rank(), host);
    snprintf(m->run, sizeof m->run, "%.4090s/%s", out, host);
    m->errors = memfd_create("stderr", MFD_CLOEXEC);
    m->words = words_of_child(argc, argv, m->run);
    if (m->words == NULL || m->errors < 0) return false;
    m->child = fork();
    if (m->child == 0) become(m->words, m->errors);
    return m->child > 0;
}

/* Looks whether it has ended; an interrupt ends it. */
static void watch(measuring *m)
{
    int status;
    if (m->ended) return;
    if (cli_interrupted() && !m->told) m->told = kill(m->child, SIGTERM) == 0;
    if (waitpid(m->child, &status, WNOHANG) != m->child) return;
    m->ended = true;
    m->end.kind = failed(status, m->errors, m->end.text) ? SAYS_FAILED : SAYS_DONE;
}

static void clear(measuring *m)
{
    if (m->errors >= 0) close(m->errors);
    free(m->words);
}

static void nap(void)
{
    const struct timespec rest = {0, 20000000};
    nanosleep(&rest, NULL);
}

/* ---- messages that nobody waits for in vain */

typedef struct {
    int rank;
    bool lost;
    double heard, told; /* when it gave a sign of life, and was given one */
    parcel in, out;
    ranks_message coming, going;
} peer;

static void meet(peer *p, int rank)
{
    *p = (peer){.rank = rank, .heard = machine_now(), .told = machine_now()};
    ranks_receive(&p->coming, &p->in, sizeof p->in, rank);
}

/* Until it has arrived or left; false: the other is lost. */
static bool complete(peer *p, ranks_message *m)
{
    const struct timespec rest = {0, 200000};
    double began = machine_now();
    while (!ranks_over(m)) {
        nanosleep(&rest, NULL);
        if (ranks_gone(p->rank) || machine_now() - began > SILENCE_S) p->lost = true;
        if (p->lost) return false;
    }
    p->lost = p->lost || m->failed;
    return !p->lost;
}

static bool tell(peer *p, const void *data, int64_t bytes)
{
    ranks_message m = {0};
    if (!complete(p, &p->going)) return false;
    ranks_send(&m, data, bytes, p->rank);
    return complete(p, &m);
}

static bool hear(peer *p, void *data, int64_t bytes)
{
    ranks_message m = {0};
    if (bytes == 0) return true;
    ranks_receive(&m, data, bytes, p->rank);
    if (!complete(p, &m)) return false;
    p->heard = machine_now();
    return true;
}

/* A sign of life, unless the last one is still under way. */
static void beat(peer *p)
{
    if (p->lost || machine_now() - p->told < BEAT_S || !ranks_over(&p->going)) return;
    p->told = machine_now();
    p->out = (parcel){.kind = SAYS_ALIVE};
    ranks_send(&p->going, &p->out, sizeof p->out, p->rank);
}

/* Whether it has said more than that it lives, which p->in then is; or p->lost. */
static bool said(peer *p)
{
    if (p->lost) return false;
    if (!ranks_over(&p->coming)) {
        p->lost = ranks_gone(p->rank) || machine_now() - p->heard > SILENCE_S;
        return false;
    }
    p->lost = p->coming.failed;
    p->heard = machine_now();
    if (p->lost || p->in.kind != SAYS_ALIVE) return !p->lost;
    ranks_receive(&p->coming, &p->in, sizeof p->in, p->rank);
    return false;
}

/* ---- a rank's side */

/* A file that may go; its descriptor, or -1. */
static int open_file(int dir, const char *name, int64_t *size)
{
    struct stat s;
    int fd = text_is_name(name) && strlen(name) < NAME ? openat(dir, name, O_RDONLY | O_NOFOLLOW) : -1;
    if (fd < 0) return -1;
    *size = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) ? s.st_size : -1;
    if (*size >= 0 && *size <= MOST_BYTES) return fd;
    close(fd);
    return -1;
}

/* The file's bytes, malloc'ed; NULL: it cannot be read. */
static char *slurp(int fd, int64_t size)
{
    char *data = malloc((size_t)size + 1);
    int64_t got = 0;
    for (ssize_t n = 1; data != NULL && got < size && n > 0; got += n > 0 ? n : 0)
        n = read(fd, data + got, (size_t)(size - got));
    if (got == size) return data;
    free(data);
    return NULL;
}

/* All files of the run, into memory and then away: that many are announced. */
static void send_run(peer *zero, const measuring *m)
{
    file_head heads[FILES];
    char *data[FILES];
    parcel p = m->end;
    DIR *dir = opendir(m->run);
    for (struct dirent *e; dir != NULL && p.files < FILES && (e = readdir(dir)) != NULL;) {
        file_head *h = &heads[p.files];
        int fd = open_file(dirfd(dir), e->d_name, &h->size);
        if (fd < 0) continue;
        memset(h->name, 0, sizeof h->name);
        strcpy(h->name, e->d_name);
        if ((data[p.files] = slurp(fd, h->size)) != NULL) p.files++;
        close(fd);
    }
    if (dir != NULL) closedir(dir);
    bool there = tell(zero, &p, sizeof p);
    for (int i = 0; i < p.files; i++) {
        there = there && tell(zero, &heads[i], sizeof heads[i]) &&
                (heads[i].size == 0 || tell(zero, data[i], heads[i].size));
        free(data[i]);
    }
}

/* Ends as rank 0 says, or alone where mpirun or rank 0 is no longer there. */
static int measure_and_send(int argc, char **argv, const char *out)
{
    peer zero;
    measuring m = {.end.kind = SAYS_FAILED};
    bool started = start(&m, argc, argv, out), told = false;
    if (!started) snprintf(m.end.text, TEXT, "%.200s: %s", m.run, strerror(errno));
    m.ended = !started;
    meet(&zero, 0);
    while (!said(&zero) && !zero.lost && !(cli_interrupted() && m.ended)) {
        nap();
        watch(&m);
        beat(&zero);
        if (!m.ended || told || cli_interrupted()) continue;
        told = true;
        if (m.end.kind == SAYS_DONE)
            send_run(&zero, &m);
        else
            tell(&zero, &m.end, sizeof m.end);
    }
    if (zero.lost) ranks_fail("rank 0 is lost; what this host measured is in %.600s", m.run);
    bool alone = cli_interrupted() || zero.in.kind != SAYS_CLOSES;
    if (cli_interrupted()) {
        parcel p = {.kind = SAYS_LEAVES};
        snprintf(p.text, sizeof p.text, "its rank was ended by signal %d", cli_signal_exit_code() - 128);
        tell(&zero, &p, sizeof p);
    }
    clear(&m);
    if (alone) ranks_leave(EXIT_FINE);
    return EXIT_FINE;
}

/* ---- rank 0's side */

typedef struct {
    peer peer;
    char host[HOST], text[TEXT], folder[4400];
    enum { HOST_MEASURES, HOST_DONE, HOST_MISSING } state;
} guest;

static void miss(guest *g, const char *why)
{
    g->state = HOST_MISSING;
    snprintf(g->text, sizeof g->text, "%s", text_make_printable((char *)why));
    cli_warning("%s: %s: the others go on", g->host, g->text);
}

static bool is_safe(const file_head *h)
{
    return memchr(h->name, '\0', sizeof h->name) != NULL && text_is_name(h->name) && h->name[0] != '.' &&
           h->size >= 0 && h->size <= MOST_BYTES;
}

/* A host's files, all of them or none. */
static void receive_run(guest *g)
{
    file_head heads[FILES];
    char *data[FILES] = {NULL}, path[4600], why[TEXT] = "";
    conv_error err = {""};
    int files = g->peer.in.files, i = 0;
    bool ok = files > 0 && files <= FILES;
    for (; ok && i < files; i++) {
        ok = hear(&g->peer, &heads[i], sizeof heads[i]) && is_safe(&heads[i]);
        data[i] = ok ? malloc((size_t)heads[i].size + 1) : NULL;
        ok = ok && data[i] != NULL && hear(&g->peer, data[i], heads[i].size);
    }
    if (!ok) snprintf(why, sizeof why, "was lost while its run came, or what came is no run");
    if (ok && !cli_make_path(g->folder)) snprintf(why, sizeof why, "%.200s: %s", g->folder, strerror(errno));
    for (int k = 0; k < files && why[0] == '\0'; k++) {
        snprintf(path, sizeof path, "%s/%s", g->folder, heads[k].name);
        if (!output_write(path, OUTPUT_OWN, data[k], (size_t)heads[k].size, &err))
            snprintf(why, sizeof why, "%s", err.text);
    }
    for (int k = 0; k < FILES; k++) free(data[k]);
    if (why[0] != '\0')
        miss(g, why);
    else
        g->state = HOST_DONE;
}

static void listen(guest *g)
{
    peer *p = &g->peer;
    beat(p);
    if (said(p)) {
        p->in.text[TEXT - 1] = '\0';
        p->lost = p->in.kind != SAYS_DONE && p->in.kind != SAYS_FAILED;
        if (g->state == HOST_MEASURES && p->in.kind == SAYS_DONE)
            receive_run(g);
        else if (g->state == HOST_MEASURES)
            miss(g, p->in.text);
        if (!p->lost) ranks_receive(&p->coming, &p->in, sizeof p->in, p->rank);
    } else if (p->lost && g->state == HOST_MEASURES) {
        miss(g, ranks_gone(p->rank) ? "its rank died" : "it is no longer heard of");
    }
}

static void watch_own(guest *g, measuring *own)
{
    if (g->state != HOST_MEASURES) return;
    watch(own);
    if (own->ended && own->end.kind == SAYS_FAILED) miss(g, own->end.text);
    if (own->ended && own->end.kind == SAYS_DONE) g->state = HOST_DONE;
}

/* Until every host has measured or is missing, or mpirun ends the job. */
static void gather(guest *guests, int argc, char **argv, const char *out)
{
    measuring own = {0};
    double ends = 0;
    for (int r = 0; r < ranks_size(); r++) {
        host_name(r, guests[r].host);
        snprintf(guests[r].folder, sizeof guests->folder, "%.4090s/%s", out, guests[r].host);
        if (r > 0) meet(&guests[r].peer, r);
    }
    if (!start(&own, argc, argv, out)) miss(&guests[0], strerror(errno));
    for (int open = 1; open > 0 && (ends == 0 || machine_now() < ends);) {
        nap();
        open = 0;
        watch_own(&guests[0], &own);
        for (int r = 1; r < ranks_size(); r++) listen(&guests[r]);
        for (int r = 0; r < ranks_size(); r++) open += guests[r].state == HOST_MEASURES;
        if (ends == 0 && cli_interrupted()) ends = machine_now() + LEAVE_S;
    }
    for (int r = 0; r < ranks_size(); r++)
        if (guests[r].state == HOST_MEASURES) miss(&guests[r], "the job was ended before it had measured");
    clear(&own);
}

/* The others may go. Whether all are there, to close MPI together. */
static bool release(guest *guests)
{
    bool all = !cli_interrupted();
    for (int r = 1; r < ranks_size(); r++) all = all && !guests[r].peer.lost;
    const parcel word = {.kind = all ? SAYS_CLOSES : SAYS_LEAVES};
    for (int r = 1; r < ranks_size(); r++)
        if (!guests[r].peer.lost) tell(&guests[r].peer, &word, sizeof word);
    return all;
}

/* One report over the runs that arrived, by the command for that; it also names those that are missing. */
static void report(const guest *guests, int done)
{
    typedef char note[sizeof guests->host + sizeof guests->text + 32];
    char **words = calloc((size_t)ranks_size() + 3, sizeof *words);
    note *notes = calloc((size_t)ranks_size(), sizeof *notes);
    int count = 0, status;
    if (words == NULL || notes == NULL) goto over;
    words[count++] = (char *)"sepbench";
    words[count++] = (char *)"report";
    for (int r = 0; r < ranks_size(); r++) {
        const guest *g = &guests[r];
        snprintf(notes[r], sizeof *notes, "--note=%s is missing: %s.", g->host, g->text);
        words[count++] = g->state == HOST_DONE ? (char *)g->folder : notes[r];
    }
    fflush(stdout);
    pid_t child = done > 0 ? fork() : -1;
    if (child == 0) {
        forget_mpirun();
        execv("/proc/self/exe", words);
        _exit(127);
    }
    if (child > 0 && (waitpid(child, &status, 0) != child || status != 0))
        cli_warning("the report failed: 'sepbench report' of the folders above makes it again");
over:
    free(notes);
    free(words);
}

/* What a job that is ended leaves, and how it is taken up: first, for little time is left. */
static void say_ended(const char *out)
{
    char *quoted = words_quote(out);
    fprintf(
        stderr,
        "sepbench: the job was ended: every host keeps what it measured, in its %s/HOST; to go on: mpirun ... "
        "sepbench bench --fleet --resume --out %s\n",
        out, quoted != NULL ? quoted : "DIR");
    free(quoted);
}

static int conclude(const guest *guests, const char *out)
{
    int done = 0;
    for (int r = 0; r < ranks_size(); r++) done += guests[r].state == HOST_DONE;
    if (cli_interrupted()) say_ended(out);
    report(guests, done);
    printf("%s: %d of %d hosts measured\n", out, done, ranks_size());
    for (int r = 0; r < ranks_size(); r++)
        if (guests[r].state != HOST_DONE) printf("  %s is missing: %s\n", guests[r].host, guests[r].text);
    fflush(stdout);
    if (cli_interrupted()) return cli_signal_exit_code();
    return done == ranks_size() ? EXIT_FINE : EXIT_INVALID;
}

static int run_hosts(int argc, char **argv, const char *out)
{
    guest *guests = calloc((size_t)ranks_size(), sizeof *guests);
    if (guests == NULL) ranks_fail("no memory");
    if (ranks_survival() != NULL)
        cli_warning("should a host be lost, mpirun ends all of them, and --resume goes on: with %s it lets the "
                    "others measure",
                    ranks_survival());
    gather(guests, argc, argv, out);
    bool all = release(guests);
    int code = conclude(guests, out);
    free(guests);
    if (!all) ranks_leave(code);
    return code;
}

int fleet_run(int argc, char **argv, const char *given)
{
    char name[64];
    claim folder = {.held = false};
    conv_error err;
    if (ranks_size() == 1) return cli_error("--fleet: mpirun starts it, with a rank on each host");
    bool here = ranks_rank() == 0;
    if (given == NULL) given = utc_text(time(NULL), "results/fleet-%Y%m%dT%H%M%SZ", name, sizeof name);
    char *out = ranks_share_text((char *)given); /* rank 0's clock */
    int code = here && !claim_folder(&folder, out, false, &err) ? cli_error("%s", err.text) : EXIT_FINE;
    code = ranks_agree(code);
    if (code == EXIT_FINE) {
        ranks_tolerate();
        cli_catch_signals();
        code = here ? run_hosts(argc, argv, folder.path) : measure_and_send(argc, argv, out);
    }
    claim_drop(&folder);
    if (!here) free(out);
    return code;
}
