/* A rank's measuring is a process of its own, `sepbench bench` without --fleet, which writes to a folder on its
 * host's own disk and which the rank watches: MPI's threads and whatever kills one measuring do not reach the
 * others. The files go to rank 0 as bytes, in memory until all of a host's are there. Nothing of a host is
 * trusted but that it speaks this protocol: names and sizes are checked. */
#include "fleet.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum { FILES = 16, NAME = 64, TEXT = 256, MOST_BYTES = 1 << 28, HOST = 96 };
static const double BEAT_S = 2, SILENCE_S = 60; /* a sign of life; without one a host is lost */

typedef enum { SAYS_ALIVE, SAYS_DONE, SAYS_FAILED } parcel_kind;

/* What a rank tells rank 0; after DONE that many files, each a file_head and its bytes. */
typedef struct {
    int32_t kind, files;
    char text[TEXT]; /* FAILED: why */
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

/* stdout to nowhere, stderr to a file. Never returns. */
static _Noreturn void become(char **words, const char *errors)
{
    int nothing = open("/dev/null", O_WRONLY), to = open(errors, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(nothing, STDOUT_FILENO);
    dup2(to, STDERR_FILENO);
    forget_mpirun();
    machine_unbind();
    execv("/proc/self/exe", words);
    _exit(127);
}

static void last_line(const char *path, char *line, size_t size)
{
    char text[4096] = "";
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    if (fseek(file, -(long)sizeof text + 1, SEEK_END) != 0) rewind(file);
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    while (got > 0 && text[got - 1] == '\n') got--;
    text[got] = '\0';
    const char *from = strrchr(text, '\n');
    from = from == NULL ? text : from + 1;
    if (strncmp(from, "sepbench: ", 10) == 0) from += 10;
    snprintf(line, size, "%s", from);
}

/* How it ended, in words; false: it measured, perhaps something wrong. */
static bool failed(int status, const char *errors, char *text)
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

/* ---- a rank's side */

typedef struct {
    char folder[4200], run[4300], errors[4300]; /* on the own disk */
    char **words;
    pid_t child;
    bool ended;
    parcel end; /* once it has */
} measuring;

static bool start(measuring *m, int argc, char **argv, const char *run)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(m->folder, sizeof m->folder, "%.4000s/sepbench-fleet-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(m->folder) == NULL) return false;
    snprintf(m->run, sizeof m->run, "%s/run", m->folder);
    if (run != NULL) snprintf(m->run, sizeof m->run, "%s", run);
    snprintf(m->errors, sizeof m->errors, "%s/stderr", m->folder);
    m->words = words_of_child(argc, argv, m->run);
    if (m->words == NULL) return false;
    m->child = fork();
    if (m->child == 0) become(m->words, m->errors);
    return m->child > 0;
}

/* Looks whether it has ended; an interrupt ends it. */
static void watch(measuring *m)
{
    int status;
    if (m->ended) return;
    if (cli_interrupted()) kill(m->child, SIGTERM);
    if (waitpid(m->child, &status, WNOHANG) != m->child) return;
    m->ended = true;
    m->end.kind = failed(status, m->errors, m->end.text) ? SAYS_FAILED : SAYS_DONE;
}

static void clear(measuring *m)
{
    DIR *dir = m->run[0] != '\0' && strncmp(m->run, m->folder, strlen(m->folder)) == 0 ? opendir(m->run) : NULL;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL) closedir(dir);
    if (dir != NULL) rmdir(m->run);
    unlink(m->errors);
    rmdir(m->folder);
    free(m->words);
}

static void nap(void)
{
    const struct timespec rest = {0, 20000000};
    nanosleep(&rest, NULL);
}

static void nap_briefly(void)
{
    const struct timespec rest = {0, 200000};
    nanosleep(&rest, NULL);
}

/* Rank 0 has it. false: it takes nothing any more, for it is gone or this host is cut off. */
static bool tell(const void *data, int64_t bytes)
{
    double began = machine_now();
    ranks_message m = {0};
    ranks_send(&m, data, bytes, 0);
    while (!ranks_over(&m)) {
        if (ranks_gone(0) || machine_now() - began > SILENCE_S) return false;
        nap_briefly();
    }
    return true;
}

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
static bool send_run(const measuring *m)
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
    bool taken = tell(&p, sizeof p);
    for (int i = 0; i < p.files; i++) {
        taken = taken && tell(&heads[i], sizeof heads[i]) && tell(data[i], heads[i].size);
        free(data[i]);
    }
    return taken;
}

static int measure_and_send(int argc, char **argv)
{
    measuring m = {.end.kind = SAYS_FAILED};
    bool started = start(&m, argc, argv, NULL);
    double told = machine_now();
    bool taken = true;
    if (!started) snprintf(m.end.text, TEXT, "%.200s: %s", m.folder, strerror(errno));
    while (started && !m.ended) {
        nap();
        watch(&m);
        if (machine_now() - told < BEAT_S) continue;
        told = machine_now();
        taken = taken && tell(&(parcel){.kind = SAYS_ALIVE}, sizeof(parcel));
    }
    taken = taken && (m.end.kind == SAYS_DONE ? send_run(&m) : tell(&m.end, sizeof m.end));
    if (!taken) _exit(EXIT_INVALID); /* MPI would wait; the run stays in this host's folder */
    clear(&m);
    return EXIT_FINE;
}

/* ---- rank 0's side */

typedef struct {
    char host[HOST], text[TEXT];
    enum { HOST_MEASURES, HOST_DONE, HOST_MISSING } state;
    parcel in;
    ranks_message message;
    double heard;
    char folder[4400];
} guest;

static void miss(guest *g, const char *why)
{
    g->state = HOST_MISSING;
    snprintf(g->text, sizeof g->text, "%s", text_make_printable((char *)why));
    cli_warning("%s: %s: the others go on", g->host, g->text);
}

/* Waits for more of a host that has begun to send. */
static bool arrive(guest *g, int rank, void *data, int64_t bytes)
{
    double began = machine_now();
    ranks_message m = {0};
    if (bytes == 0) return true;
    ranks_receive(&m, data, bytes, rank);
    while (!ranks_over(&m)) {
        nap_briefly();
        if (!ranks_gone(rank) && machine_now() - began < SILENCE_S) continue;
        return false;
    }
    g->heard = machine_now();
    return true;
}

static bool is_safe(const file_head *h)
{
    return memchr(h->name, '\0', sizeof h->name) != NULL && text_is_name(h->name) && h->name[0] != '.' &&
           h->size >= 0 && h->size <= MOST_BYTES;
}

/* A host's files, all of them or none. */
static void receive_run(guest *g, int rank)
{
    file_head heads[FILES];
    char *data[FILES] = {NULL}, path[4600], why[TEXT] = "";
    conv_error err = {""};
    int files = g->in.files, i = 0;
    bool ok = files > 0 && files <= FILES;
    for (; ok && i < files; i++) {
        ok = arrive(g, rank, &heads[i], sizeof heads[i]) && is_safe(&heads[i]);
        data[i] = ok ? malloc((size_t)heads[i].size + 1) : NULL;
        ok = ok && data[i] != NULL && arrive(g, rank, data[i], heads[i].size);
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

static void listen(guest *g, int rank)
{
    if (!ranks_over(&g->message)) {
        if (ranks_gone(rank))
            miss(g, "its rank died");
        else if (machine_now() - g->heard > SILENCE_S)
            miss(g, "has not been heard of for a minute");
        return;
    }
    g->heard = machine_now();
    if (g->in.kind == SAYS_DONE) {
        receive_run(g, rank);
    } else if (g->in.kind == SAYS_FAILED) {
        g->in.text[TEXT - 1] = '\0';
        miss(g, g->in.text);
    } else {
        ranks_receive(&g->message, &g->in, sizeof g->in, rank);
    }
}

/* "node2", as a folder's name; with the rank behind it where several are of that name. */
static void name_guests(guest *guests, const char *out)
{
    for (int r = 0; r < ranks_size(); r++) {
        guest *g = &guests[r];
        bool shared = false;
        for (int k = 0; k < ranks_size(); k++)
            shared = shared || (k != r && strcmp(ranks_host(k), ranks_host(r)) == 0);
        snprintf(g->host, sizeof g->host, "%.63s", ranks_host(r));
        if (shared) snprintf(g->host, sizeof g->host, "%.63s-%d", ranks_host(r), r);
        for (char *c = g->host; *c != '\0'; c++)
            if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_' && (*c != '.' || c == g->host)) *c = '-';
        snprintf(g->folder, sizeof g->folder, "%.4090s/%s", out, g->host);
        g->heard = machine_now();
    }
}

/* Until every host has measured or is missing. */
static void gather(guest *guests, int argc, char **argv)
{
    measuring own = {0};
    if (!start(&own, argc, argv, guests[0].folder)) miss(&guests[0], strerror(errno));
    for (int r = 1; r < ranks_size(); r++) ranks_receive(&guests[r].message, &guests[r].in, sizeof(parcel), r);
    for (int open = 1; open > 0;) {
        nap();
        open = 0;
        if (guests[0].state == HOST_MEASURES) {
            watch(&own);
            if (own.ended && own.end.kind == SAYS_FAILED) miss(&guests[0], own.end.text);
            if (own.ended && own.end.kind == SAYS_DONE) guests[0].state = HOST_DONE;
        }
        for (int r = 1; r < ranks_size(); r++)
            if (guests[r].state == HOST_MEASURES) listen(&guests[r], r);
        for (int r = 0; r < ranks_size(); r++) open += guests[r].state == HOST_MEASURES;
        for (int r = 1; r < ranks_size() && cli_interrupted(); r++)
            if (guests[r].state == HOST_MEASURES && ranks_gone(r)) miss(&guests[r], "its rank died");
    }
    clear(&own);
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

static int conclude(const guest *guests, const char *out)
{
    int done = 0;
    for (int r = 0; r < ranks_size(); r++) done += guests[r].state == HOST_DONE;
    report(guests, done);
    printf("%s: %d of %d hosts measured\n", out, done, ranks_size());
    for (int r = 0; r < ranks_size(); r++)
        if (guests[r].state != HOST_DONE) printf("  %s is missing: %s\n", guests[r].host, guests[r].text);
    fflush(stdout);
    return done == ranks_size() ? EXIT_FINE : EXIT_INVALID;
}

/* Open MPI 4 ends all ranks with the first that dies, and tells them by their environment if it does not. */
static void warn_of_losses(void)
{
    if (getenv("OMPI_MCA_orte_launch") != NULL && getenv("OMPI_MCA_orte_enable_recovery") == NULL)
        cli_warning("this mpirun ends the whole fleet when one host is lost: with --enable-recovery the others "
                    "go on");
}

int fleet_run(int argc, char **argv, const char *out)
{
    char name[64];
    claim folder = {.held = false};
    conv_error err;
    if (ranks_size() == 1) return cli_error("--fleet: mpirun starts it, with a rank on each host");
    bool here = ranks_rank() == 0;
    if (out == NULL) out = utc_text(time(NULL), "results/fleet-%Y%m%dT%H%M%SZ", name, sizeof name);
    int code = here && !claim_folder(&folder, out, false, &err) ? cli_error("%s", err.text) : EXIT_FINE;
    code = ranks_agree(code);
    if (code != EXIT_FINE) return code;
    ranks_tolerate();
    cli_catch_signals();
    if (!here) return measure_and_send(argc, argv);
    warn_of_losses();
    guest *guests = calloc((size_t)ranks_size(), sizeof *guests);
    if (guests == NULL) ranks_fail("no memory");
    name_guests(guests, folder.path);
    gather(guests, argc, argv);
    code = conclude(guests, folder.path);
    bool lost = false;
    for (int r = 0; r < ranks_size(); r++) lost = lost || guests[r].message.handle != NULL;
    claim_drop(&folder);
    free(guests);
    if (lost) ranks_end(code);
    return code;
}
