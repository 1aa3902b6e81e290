/* Ranks as the rest of the program sees them, on a driver that is opened when mpirun started several. */
#include "ranks.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "../cli.h"
#include "../machine/machine.h"
#include "../text.h"

enum { HOST_MAX = 64, LINE_MAX_BYTES = 1024, PIECE = 1 << 30, ABORT_S = 10 };
static const double SPIN_S = 0.02, LOOK_S = 0.25, GRACE_S = 3, PATIENCE_S = 5;

/* What each tells the others of itself. */
typedef struct {
    char host[HOST_MAX];
    int64_t pid;
    uint32_t cores; /* a hash of the affinity that it was started with */
    int32_t seen;   /* how many of the others are processes it can see */
} member;

static const ranks_driver *driver; /* NULL: alone */
static int own_rank, rank_count = 1;
static member *members;
static char library[64];
static ranks_message *under_way;
static void (*say_resume)(void *ctx, FILE *to);
static void *resume_ctx;
static bool tolerant; /* of others' death */

int ranks_rank(void) { return own_rank; }
int ranks_size(void) { return rank_count; }
const char *ranks_host(int rank) { return members != NULL ? members[rank].host : machine_get()->host; }
const char *ranks_library(void) { return library; }

/* ---- stderr of the others: kept until one of them has to be heard */

static int heard = -1, kept = -1; /* the real stderr; what is written instead */

/* What mpirun tells every process it starts: -1 when none did. */
static int told(const char *const *names)
{
    for (; *names != NULL; names++) {
        const char *text = getenv(*names);
        int64_t value;
        if (text != NULL && cli_parse_int(text, 0, INT32_MAX, &value)) return (int)value;
    }
    return -1;
}

static int told_rank(void)
{
    return told((const char *const[]){"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL});
}

static int told_size(void) { return told((const char *const[]){"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", NULL}); }

bool ranks_several(void) { return told_rank() >= 0 && told_size() > 1; }

/* The last line that this rank would have printed, on the real stderr. */
static void let_hear(void)
{
    char text[LINE_MAX_BYTES + 1];
    if (kept < 0) return;
    fflush(stderr);
    off_t end = lseek(kept, 0, SEEK_END), from = end > LINE_MAX_BYTES ? end - LINE_MAX_BYTES : 0;
    ssize_t got = pread(kept, text, LINE_MAX_BYTES, from);
    while (got > 0 && text[got - 1] == '\n') got--;
    if (got <= 0) return;
    text[got] = '\0';
    const char *line = strrchr(text, '\n');
    line = line == NULL ? text : line + 1;
    if (strncmp(line, "sepbench: ", 10) == 0) line += 10;
    dprintf(heard, "sepbench: rank %d on %s: %s\n", own_rank, ranks_host(own_rank), line);
}

/* MPICH's mpirun takes who ends before MPI_Init for no MPI program and lets the others wait for it. A line of its
 * protocol, PMI 1, on the socket that it left open ends them, and this one while it waits for that. */
static void end_others(int code)
{
    struct pollfd mpirun = {.fd = told((const char *const[]){"PMI_FD", NULL}), .events = POLLIN};
    if (driver != NULL || mpirun.fd <= STDERR_FILENO) return;
    usleep((useconds_t)(LOOK_S * 1e6)); /* what was printed is on its way, and would be dropped */
    if (dprintf(mpirun.fd, "cmd=abort exitcode=%d\n", code) > 0) poll(&mpirun, 1, (int)(GRACE_S * 1e3));
}

/* An end on the way, of a bad command line for one. Where rank 0 has the same to say it was faster, and mpirun
 * ends the others with it. */
static void at_exit(int code, void *unused)
{
    (void)unused;
    if (code == EXIT_FINE) return;
    if (kept >= 0) {
        struct timespec grace = {(time_t)GRACE_S, 0};
        nanosleep(&grace, NULL);
        let_hear();
    }
    end_others(code);
}

void ranks_prepare(void)
{
    int rank = told_rank(), nothing;
    if (rank < 0 || told_size() <= 1) return;
    on_exit(at_exit, NULL);
    if (rank == 0) return;
    own_rank = rank;
    fflush(stdout);
    heard = dup(STDERR_FILENO);
    kept = memfd_create("stderr", MFD_CLOEXEC);
    if (heard < 0 || kept < 0 || (nothing = open("/dev/null", O_WRONLY | O_CLOEXEC)) < 0) return;
    dup2(nothing, STDOUT_FILENO);
    close(nothing);
    dup2(kept, STDERR_FILENO);
}

/* ---- the end of a job */

void ranks_when_lost(void (*say)(void *ctx, FILE *to), void *ctx)
{
    say_resume = say;
    resume_ctx = ctx;
}

/* Open MPI 4's mpirun waits without end for the daemon of a host that is gone, also when it is asked to end. Who
 * leaves because of that host leaves a process behind, as long as mpirun is there, that ends it. */
static void see_mpirun_end(void)
{
    static const char *const names[] = {"mpirun\n", "mpiexec\n", "orterun\n", "prterun\n"};
    static const char line[] = "sepbench: mpirun waits for a host that is lost, and is ended\n";
    char path[64], name[32] = "";
    const pid_t parent = getppid();
    snprintf(path, sizeof path, "/proc/%lld/comm", (long long)parent);
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    bool read = fgets(name, sizeof name, file) != NULL, known = false;
    fclose(file);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) known = known || strcmp(name, names[i]) == 0;
    struct pollfd mpirun = {.fd = (int)syscall(SYS_pidfd_open, parent, 0), .events = POLLIN};
    if (!read || !known || mpirun.fd < 0 || fork() != 0) return;
    setsid();
    snprintf(path, sizeof path, "/proc/%lld/fd/2", (long long)parent);
    int to = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) close(fd);
    if (poll(&mpirun, 1, (int)(PATIENCE_S * 1e3)) != 0) _exit(EXIT_FINE);
    if (to >= 0) (void)!write(to, line, sizeof line - 1);
    syscall(SYS_pidfd_send_signal, mpirun.fd, SIGTERM, NULL, 0);
    if (poll(&mpirun, 1, (int)(PATIENCE_S * 1e3)) == 0)
        syscall(SYS_pidfd_send_signal, mpirun.fd, SIGKILL, NULL, 0);
    _exit(EXIT_FINE);
}

_Noreturn void ranks_leave(int code)
{
    fflush(NULL);
    if (own_rank == 0) see_mpirun_end();
    _exit(code);
}

/* An abort that waits for somebody who is gone is not waited for. */
_Noreturn void ranks_end(int code)
{
    signal(SIGALRM, SIG_DFL);
    alarm(ABORT_S);
    if (driver != NULL) driver->abort(code);
    _exit(code);
}

_Noreturn void ranks_fail(const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    cli_error("%s", line);
    let_hear();
    ranks_end(EXIT_INVALID);
}

static bool is_dead(const member *m)
{
    char path[64], state = 'X';
    if (kill((pid_t)m->pid, 0) != 0 && errno == ESRCH) return true;
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)m->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return true;
    bool read = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    fclose(file);
    return read && (state == 'Z' || state == 'X');
}

static bool is_here(int rank) { return strcmp(members[rank].host, members[own_rank].host) == 0; }

/* A rank of this host that died, or -1; *speaker: whether this is the lowest that lives. */
static int find_dead(bool *speaker)
{
    int dead = -1;
    *speaker = true;
    for (int r = 0; r < rank_count && members[own_rank].seen > 0; r++) {
        if (r == own_rank || !is_here(r)) continue;
        if (is_dead(&members[r]))
            dead = dead < 0 ? r : dead;
        else if (r < own_rank)
            *speaker = false;
    }
    return dead;
}

static void say_lost(int rank)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL) return;
    if (rank >= 0)
        fprintf(to, "sepbench: rank %d (process %lld on %s) died", rank, (long long)members[rank].pid,
                members[rank].host);
    else
        fprintf(to, "sepbench: a rank on another host died: mpirun names it");
    if (say_resume != NULL) {
        fprintf(to, "; to go on: ");
        say_resume(resume_ctx, to);
    }
    fputc('\n', to);
    if (fclose(to) == 0) dprintf(heard >= 0 ? heard : STDERR_FILENO, "%s", text);
    free(text);
}

void ranks_tolerate(void) { tolerant = true; }

/* Whether who started this process, mpirun itself on the first host, has that word on its command line. */
static bool mpirun_has(const char *word)
{
    char path[64], words[8192] = "";
    snprintf(path, sizeof path, "/proc/%lld/cmdline", (long long)getppid());
    FILE *file = fopen(path, "r");
    size_t got = file != NULL ? fread(words, 1, sizeof words - 1, file) : 0;
    if (file != NULL) fclose(file);
    for (const char *at = words; at < words + got; at += strlen(at) + 1)
        if (strcmp(at, word) == 0) return true;
    return false;
}

/* MPICH has an option for that, too, and kills the others all the same. */
const char *ranks_survival(void)
{
    static const char option[] = "--enable-recovery";
    if (strncmp(library, "Open MPI", strlen("Open MPI")) != 0) return "Open MPI's --enable-recovery";
    bool set = getenv("OMPI_MCA_orte_enable_recovery") != NULL || getenv("OMPI_MCA_mpi_ft_enable") != NULL;
    return set || mpirun_has(option) ? NULL : option;
}

bool ranks_gone(int rank)
{
    return driver != NULL && members[own_rank].seen > 0 && is_here(rank) && is_dead(&members[rank]);
}

/* Called now and then by whoever waits. mpirun ends all when one has died, by a signal: after it a wait that
 * goes on is for somebody who will not answer, unless all can be seen to live. */
static void look_around(double waited)
{
    bool speaker;
    int dead = find_dead(&speaker);
    bool ending = cli_interrupted() && waited > 2 * LOOK_S && members[own_rank].seen < rank_count - 1;
    if ((dead < 0 && !ending) || (tolerant && dead != 0)) return;
    if (speaker && (dead >= 0 || own_rank == 0)) say_lost(dead);
    ranks_end(dead >= 0 ? EXIT_INVALID : cli_signal_exit_code());
}

/* ---- messages */

static void check(bool success)
{
    if (!success) ranks_fail("%s", driver->text());
}

static void unlink_message(const ranks_message *m)
{
    ranks_message **at = &under_way;
    while (*at != NULL && *at != m) at = &(*at)->next;
    if (*at != NULL) *at = m->next;
}

bool ranks_over(ranks_message *m)
{
    bool done = false;
    if (m->handle == NULL) return true;
    m->failed = !driver->test(m->handle, &done);
    check(!m->failed || tolerant);
    if (!done && !m->failed) return false;
    unlink_message(m);
    m->handle = NULL;
    m->ended = machine_now();
    return true;
}

static void start(ranks_message *m, void *handle)
{
    check(handle != NULL || tolerant);
    *m = (ranks_message){.handle = handle, .began = machine_now(), .failed = handle == NULL, .next = under_way};
    if (handle != NULL) under_way = m;
}

double ranks_wait(ranks_message *m)
{
    const struct timespec rest = {0, 100000};
    const double began = machine_now();
    double looked = began;
    if (m->handle == NULL) return 0;
    while (!ranks_over(m)) {
        sched_yield(); /* ranks may share a core */
        const double now = machine_now();
        if (now - began > SPIN_S) nanosleep(&rest, NULL);
        if (now - looked < LOOK_S) continue;
        looked = now;
        look_around(now - began);
    }
    return machine_now() - began;
}

void ranks_progress(void)
{
    for (ranks_message *m = under_way, *next; m != NULL; m = next) {
        next = m->next;
        ranks_over(m);
    }
}

void ranks_gather(ranks_message *m, ranks_kind kind, void *data, const int64_t *first)
{
    if (driver != NULL) start(m, driver->gather(kind, data, first));
}

void ranks_exchange(ranks_message *m, ranks_kind kind, const void *send, const int64_t *from, void *receive,
                    const int64_t *to)
{
    if (driver != NULL) start(m, driver->exchange(kind, send, from, receive, to));
}

void ranks_send(ranks_message *m, const void *data, int64_t bytes, int rank)
{
    if (driver != NULL) start(m, driver->send(data, bytes, rank));
}

void ranks_receive(ranks_message *m, void *data, int64_t bytes, int rank)
{
    if (driver != NULL) start(m, driver->receive(data, bytes, rank));
}

void ranks_share(void *data, int64_t bytes)
{
    ranks_message m = {0};
    for (int64_t at = 0; driver != NULL && at < bytes; at += PIECE) {
        int64_t piece = bytes - at < PIECE ? bytes - at : PIECE;
        start(&m, driver->broadcast((char *)data + at, piece, 0));
        ranks_wait(&m);
    }
}

char *ranks_share_text(char *text)
{
    int64_t size = own_rank == 0 && text != NULL ? (int64_t)strlen(text) + 1 : 0;
    if (driver == NULL) return text;
    ranks_share(&size, sizeof size);
    if (own_rank > 0) text = size > 0 ? malloc((size_t)size) : NULL;
    if (size > 0 && text == NULL) ranks_fail("no memory for %lld bytes from rank 0", (long long)size);
    ranks_share(text, size);
    return text;
}

/* Everybody's `bytes`, own ones in their place. */
static void gather_each(void *data, int64_t bytes)
{
    ranks_message m = {0};
    int64_t *first = malloc(((size_t)rank_count + 1) * sizeof *first);
    if (first == NULL) ranks_fail("no memory");
    for (int r = 0; r <= rank_count; r++) first[r] = r * bytes;
    ranks_gather(&m, RANKS_BYTES, data, first);
    ranks_wait(&m);
    free(first);
}

int ranks_agree(int code)
{
    if (driver == NULL) return code;
    int32_t *codes = calloc((size_t)rank_count, sizeof *codes);
    if (codes == NULL) ranks_fail("no memory");
    codes[own_rank] = code;
    gather_each(codes, sizeof *codes);
    int lowest = 0;
    while (lowest < rank_count && codes[lowest] == EXIT_FINE) lowest++;
    code = lowest < rank_count ? codes[lowest] : EXIT_FINE;
    free(codes);
    if (lowest == own_rank) let_hear();
    return code;
}

bool ranks_any(bool here)
{
    if (driver == NULL) return here;
    uint8_t *all = calloc((size_t)rank_count, 1);
    if (all == NULL) ranks_fail("no memory");
    all[own_rank] = here;
    gather_each(all, 1);
    bool any = memchr(all, true, (size_t)rank_count) != NULL;
    free(all);
    return any;
}

int ranks_compare(const ranks_fact *facts, int count)
{
    int code = EXIT_FINE;
    if (driver == NULL) return code;
    size_t each = (size_t)count * sizeof *facts;
    ranks_fact *all = calloc((size_t)rank_count, each);
    if (all == NULL) ranks_fail("no memory");
    memcpy(all + own_rank * count, facts, each);
    gather_each(all, (int64_t)each);
    for (int i = 0; i < rank_count * count && code == EXIT_FINE; i++) {
        const char *own = all[i].value, *zeros = all[i % count].value;
        if (strncmp(own, zeros, sizeof all->value) == 0) continue;
        code = cli_error("rank %d on %s: its %s is %.95s, rank 0's %.95s: ranks must be alike", i / count,
                         ranks_host(i / count), facts[i % count].name, own, zeros);
    }
    free(all);
    return code;
}

/* ---- opening */

/* The object beside the program, or where `make install` puts it. */
static void *open_object(char *path, size_t size)
{
    static const char *const places[] = {"", "../lib/sepbench/"};
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) length = 0;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL) slash[1] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, size, "%s%ssepbench-mpi.so", program, places[i]);
        if (access(path, F_OK) == 0) return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    path[0] = '\0';
    return NULL;
}

static int load_driver(void)
{
    char path[4200];
    void *object = open_object(path, sizeof path);
    if (path[0] == '\0')
        return cli_error("mpirun started %d of this program, which was built without MPI: 'make MPI=1' builds "
                         "what it needs",
                         told_size());
    if (object == NULL) return cli_error("MPI cannot be loaded: %s", dlerror());
    const ranks_driver *found = dlsym(object, RANKS_DRIVER_SYMBOL);
    if (found == NULL || found->version != RANKS_DRIVER_VERSION)
        return cli_error("%s is of another build of sepbench: 'make MPI=1' builds this one's", path);
    int rank, size;
    if (!found->open(&rank, &size)) return cli_error("MPI cannot be started: %s", found->text());
    found->version_text(library, sizeof library);
    if (size != told_size())
        return cli_error(
            "mpirun started %d ranks, of which this MPI (%s) sees %d: start them with the mpirun of "
            "the MPI that 'make MPI=1' found",
            told_size(), library, size);
    driver = found;
    own_rank = rank;
    rank_count = size;
    return EXIT_FINE;
}

static void introduce(void)
{
    members = calloc((size_t)rank_count, sizeof *members);
    if (members == NULL) ranks_fail("no memory");
    member *own = &members[own_rank];
    char cores[512];
    snprintf(own->host, sizeof own->host, "%s", machine_get()->host);
    own->pid = getpid();
    machine_started_text(cores, sizeof cores);
    own->cores = (uint32_t)crc32_z(0, (const void *)cores, strlen(cores));
    gather_each(members, sizeof *members);
    for (int r = 0; r < rank_count; r++)
        if (r != own_rank && is_here(r) && !is_dead(&members[r])) own->seen++;
}

int ranks_open(void)
{
    if (!ranks_several()) return EXIT_FINE;
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* should mpirun be killed, nobody stays behind */
    int code = load_driver();
    if (code == EXIT_FINE) introduce();
    return code;
}

void ranks_close(void)
{
    if (driver == NULL) return;
    driver->close();
    driver = NULL;
    free(members);
    members = NULL;
    if (kept >= 0) close(kept); /* what it had to say has been said */
    kept = -1;
}

void ranks_place(int *index, int *count)
{
    *index = 0;
    *count = 1;
    for (int r = 0; driver != NULL && r < rank_count; r++) {
        if (r == own_rank || !is_here(r) || members[r].cores != members[own_rank].cores) continue;
        *index += r < own_rank;
        ++*count;
    }
}
