/* Lines of oneDNN's verbose mode. After the name, in version 3 the format's version and the component, and a
 * time stamp when there is one, all have the same fields:
 *
 *   onednn_verbose,exec,cpu,convolution,NAME,PROPAGATION,MEMORY,ATTRIBUTES,alg:...,PROBLEM,MILLISECONDS
 *
 * Whatever else a program writes may stand between them. A problem is counted once for a step of training,
 * which executes it forward, backward by data and backward by weights: its count is that of the direction
 * executed most. */
#include "onednn_log.h"

#include <ctype.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/layer.h"
#include "../harness/text.h"
#include "../kernels/problem.h"

enum { DIRECTIONS = 3 };

typedef struct {
    const char *path;
    int line;
    char end[61]; /* of the line, for messages */
    /* How often by name: problems in each direction, the largest of each problem's three, other primitives, and
     * types of data other than f32. */
    json_t *directions[DIRECTIONS], *problems, *others, *types;
    int64_t foreign;  /* lines that are not of oneDNN */
    int64_t created;  /* convolutions */
    int64_t executed; /* convolutions */
    int64_t typed;    /* of those: that have one of the types */
    int64_t fused;    /* of those: that have a depthwise one among their post-ops */
} log_reader;

/* Behind the first "onednn_verbose," of these bytes, "dnnl_verbose," in version 1; NULL if none. */
static char *after_marker(const char *text, size_t size)
{
    static const char *const markers[] = {"onednn_verbose,", "dnnl_verbose,"};
    char *first = NULL;
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++) {
        char *found = memmem(text, size, markers[i], strlen(markers[i]));
        if (found != NULL) found += strlen(markers[i]);
        if (found != NULL && (first == NULL || found < first)) first = found;
    }
    return first;
}

bool onednn_log_is(const char *text)
{
    while (*text != '\0') {
        if (after_marker(text, strcspn(text, "#\n")) != NULL) return true;
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return false;
}

static int cut_short(const log_reader *r)
{
    return cli_error("%s:%d: '%s' is the end of a line of oneDNN's that is cut short or garbled", r->path,
                     r->line, r->end);
}

static bool is_number(const char *word)
{
    double value;
    return word != NULL && cli_parse_real(word, 0, DBL_MAX, &value);
}

static json_int_t count(json_t *counts, const char *name)
{
    json_int_t times = json_integer_value(json_object_get(counts, name)) + 1;
    return json_object_set_new(counts, name, json_integer(times)) == 0 ? times : 0;
}

/* Of a name from the log, which may be anything. */
static void count_word(json_t *counts, const char *word)
{
    char name[40];
    snprintf(name, sizeof name, "%s", word);
    count(counts, text_make_printable(name));
}

/* src_bf16:p:blocked:abcd:f0, or src:bf16:..., for each tensor. */
static void note_types(log_reader *r, char *memory)
{
    static const char *const tensors[] = {"src", "wei", "dst"};
    bool other = false;
    for (char *word; (word = strsep(&memory, " ")) != NULL;) {
        if (strncmp(word, "diff_", 5) == 0) word += 5;
        for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
            if (strncmp(word, tensors[i], 3) != 0 || (word[3] != '_' && word[3] != ':')) continue;
            char *type = word + 4;
            type[strcspn(type, ":")] = '\0';
            if (strcmp(type, "f32") == 0) continue;
            count_word(r->types, type);
            other = true;
        }
    }
    r->typed += other;
}

/* -1 after one line, when the word is none. */
static int read_direction(const log_reader *r, const char *word)
{
    static const struct {
        const char *name;
        int direction;
    } known[] = {
        {"forward_training", 0}, {"forward_inference", 0}, {"backward_data", 1}, {"backward_weights", 2}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, word) == 0) return known[i].direction;
    cli_error("%s:%d: '%.40s' is no propagation of a convolution: %s, %s, %s, %s", r->path, r->line, word,
              known[0].name, known[1].name, known[2].name, known[3].name);
    return -1;
}

static int add_problem(log_reader *r, const char *text, int direction)
{
    char key[PROBLEM_STRING_MAX + 16], formatted[PROBLEM_STRING_MAX];
    conv_problem p;
    conv_error err;
    if (problem_parse(text, &p, NULL, &err) == CONV_INVALID)
        return cli_error("%s:%d: problem '%.100s': %s", r->path, r->line, text, err.text);
    snprintf(key, sizeof key, "%s:%s", conv_variant_name(p.variant), problem_format(&p, formatted));
    json_int_t times = count(r->directions[direction], key);
    if (times > LAYER_MOST_TIMES)
        return cli_error(
            "%s:%d: problem '%s' is executed more than %d times: a log of fewer steps says the same", r->path,
            r->line, text, LAYER_MOST_TIMES);
    if (times > json_integer_value(json_object_get(r->problems, key)))
        times = json_object_set_new(r->problems, key, json_integer(times)) == 0 ? times : 0;
    if (times == 0) return cli_error("%s:%d: no memory for its problems", r->path, r->line);
    r->executed++;
    return EXIT_FINE;
}

/* From the implementation on. */
static int read_convolution(log_reader *r, char *rest)
{
    strsep(&rest, ","); /* the implementation */
    const char *propagation = strsep(&rest, ",");
    char *memory = strsep(&rest, ","), *word;
    if (rest == NULL) return cut_short(r);
    bool fused = false;
    while ((word = strsep(&rest, ",")) != NULL && strncmp(word, "alg:", 4) != 0)
        fused = fused || strstr(word, "dw:k") != NULL || strstr(word, "dw_k") != NULL;
    const char *problem = strsep(&rest, ",");
    if (!is_number(strsep(&rest, ","))) return cut_short(r);
    const int direction = read_direction(r, propagation);
    if (direction < 0) return EXIT_USAGE;
    r->fused += fused;
    note_types(r, memory);
    return add_problem(r, problem, direction);
}

/* Over the format's version ("v1") and time stamps. */
static char *next_word(char **rest)
{
    char *word;
    do word = strsep(rest, ",");
    while (word != NULL && (is_number(word) || (word[0] == 'v' && is_number(word + 1))));
    return word;
}

static int read_line(log_reader *r, char *line)
{
    size_t length = strlen(line);
    while (length > 0 && isspace((unsigned char)line[length - 1])) line[--length] = '\0';
    const size_t most = sizeof r->end - 1;
    strcpy(r->end, line + (length > most ? length - most : 0));
    char *rest = after_marker(line, length);
    r->foreign += rest == NULL && length > 0;
    if (rest == NULL) return EXIT_FINE;
    if (after_marker(rest, strlen(rest)) != NULL)
        return cli_error("%s:%d: '%.60s': two of oneDNN's lines are mixed in one", r->path, r->line, line);

    const char *component = "primitive", *word = next_word(&rest), *last = rest ? strrchr(rest, ',') : NULL;
    if (word != NULL && strcmp(word, "exec") != 0 && strncmp(word, "create", 6) != 0) {
        component = word;
        word = strsep(&rest, ",");
    }
    if (word == NULL) return cut_short(r);
    const bool executed = strcmp(word, "exec") == 0;
    strsep(&rest, ","); /* the engine */
    const char *primitive = strsep(&rest, ",");
    if (executed && rest == NULL) return cut_short(r);
    const bool own = strcmp(component, "primitive") == 0;
    const bool convolves = own && primitive != NULL && strcmp(primitive, "convolution") == 0;
    if (executed && convolves) return read_convolution(r, rest);
    if (executed && !is_number(last + 1)) return cut_short(r);
    if (executed) count_word(r->others, own ? primitive : component);
    r->created += convolves && strncmp(word, "create", 6) == 0;
    return EXIT_FINE;
}

/* Appends to a message that is cut where it is full. */
__attribute__((format(printf, 3, 4))) static void say(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void say_counts(char *text, size_t size, json_t *counts)
{
    const char *name;
    json_t *times;
    const char *between = "";
    json_object_foreach(counts, name, times)
    {
        say(text, size, "%s%s %lld", between, name, (long long)json_integer_value(times));
        between = ", ";
    }
}

/* What is in the log and not in the shapes; "" when nothing is. */
static void describe_rest(const log_reader *r, char *text, size_t size)
{
    text[0] = '\0';
    if (json_object_size(r->others) > 0) say(text, size, "; other primitives passed over: ");
    say_counts(text, size, r->others);
    if (r->typed > 0) {
        say(text, size, "; measured in f32 though of other types: %lld (tensors: ", (long long)r->typed);
        say_counts(text, size, r->types);
        say(text, size, ")");
    }
    if (r->fused > 0) say(text, size, "; depthwise post-ops left out: %lld", (long long)r->fused);
    if (r->foreign > 0) say(text, size, "; lines not of oneDNN: %lld", (long long)r->foreign);
}

static int conclude(const log_reader *r)
{
    char rest[1024];
    describe_rest(r, rest, sizeof rest);
    if (r->executed == 0 && r->created > 0)
        return cli_error("%s: no convolution is executed in this log of oneDNN's, though %lld are created: "
                         "ONEDNN_VERBOSE=1 logs executions%s",
                         r->path, (long long)r->created, rest);
    if (r->executed == 0)
        return cli_error("%s: no convolution is executed in this log of oneDNN's%s", r->path, rest);
    if (rest[0] != '\0')
        cli_warning("%s: convolutions executed: %lld, shapes: %zu%s", r->path, (long long)r->executed,
                    json_object_size(r->problems), rest);
    return EXIT_FINE;
}

json_t *onednn_log_read(const char *path, char *text)
{
    log_reader r = {.path = path};
    json_t **const all[] = {&r.directions[0], &r.directions[1], &r.directions[2],
                            &r.problems,      &r.others,        &r.types};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = json_object();
    int code = EXIT_FINE;
    for (char *line; code == EXIT_FINE && (line = strsep(&text, "\n")) != NULL;) {
        r.line++;
        code = read_line(&r, line);
    }
    if (code == EXIT_FINE) code = conclude(&r);
    json_t *problems = code == EXIT_FINE ? json_incref(r.problems) : NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) json_decref(*all[i]);
    return problems;
}
