/* Shape files: problem strings separated by blanks or lines, # starts a comment; a word that ends with a
 * backslash, or has one behind it, goes on with the next word. Of benchdnn's options, --mb=LIST (0: as the
 * problem says) and --batch (include) are followed and those that say how benchdnn should test (--dir, --cfg,
 * --attr-...) are passed over with a warning: what to measure is this program's command line's business. Our
 * own --pass=LIST, --impl=LIST and --other-form=yes hold for the problems after them, up to --reset, where the
 * command line says nothing else. A log of ONEDNN_VERBOSE is read in a shape file's place (onednn_log.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/layer.h"
#include "../harness/text.h"
#include "onednn_log.h"
#include "suite.h"

typedef struct {
    suite_list *list;
    const suite_axes *axes;
    const char *path; /* the file being read */
    bool embedded;    /* it and what it includes are inside the program */
    int line, depth;
    int64_t mb[64];     /* benchdnn's --mb, 0 = as each problem says */
    int mb_count;       /* 0: no --mb */
    suite_problem item; /* what our own options say of the problems that follow */
    char warned[512];   /* options already warned of, each followed by a blank */
} shape_reader;

static int read_shapes(shape_reader *r, const char *path);

/* As in benchdnn, the file is looked for beside the one that includes it. */
static int include(shape_reader *r, const char *name)
{
    char path[4096];
    const char *slash = strrchr(r->path, '/');
    int folder = slash ? (int)(slash - r->path) + 1 : 0;
    if (r->depth >= 8)
        return cli_error("%s:%d: --batch=%s: files include each other too deeply", r->path, r->line, name);
    snprintf(path, sizeof path, "%.*s%s", folder, r->path, name);
    shape_reader inner = *r;
    inner.depth++;
    int code = read_shapes(&inner, path);
    memcpy(r->warned, inner.warned, sizeof r->warned);
    return code;
}

static bool is_pass(const char *word)
{
    conv_pass pass;
    return conv_pass_parse(word, &pass);
}

static bool is_impl(const char *word)
{
    size_t count;
    const conv_entry *e = conv_entries(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(e[i].name, word) == 0) return true;
    return false;
}

/* Copies the list, each of whose words must be known; an empty one sets nothing. */
static int read_list(const shape_reader *r, const char *option, const char *list,
                     bool (*known)(const char *word), char *to, size_t size)
{
    char copy[256], *rest = copy, *word;
    if (strlen(list) >= size || strlen(list) >= sizeof copy)
        return cli_error("%s:%d: --%s=%.20s...: too long", r->path, r->line, option, list);
    strcpy(copy, list);
    while (list[0] != '\0' && (word = strsep(&rest, ",|")) != NULL)
        if (!known(word))
            return cli_error("%s:%d: --%s: unknown %s '%s'", r->path, r->line, option, option, word);
    strcpy(to, list);
    return EXIT_FINE;
}

/* Whether a list of implementations is benchdnn's (--impl=ref): no word of it is one of ours. */
static bool is_foreign(const char *list)
{
    char copy[256], *rest = copy, *word;
    if (list[0] == '\0' || snprintf(copy, sizeof copy, "%s", list) >= (int)sizeof copy) return false;
    while ((word = strsep(&rest, ",|")) != NULL)
        if (is_impl(word)) return false;
    return true;
}

static int read_batch_sizes(shape_reader *r, const char *list)
{
    const int most = sizeof r->mb / sizeof *r->mb;
    r->mb_count = 0;
    for (const char *at = list; *at != '\0';) {
        char word[24];
        size_t length = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (length >= sizeof word || r->mb_count == most ||
            !cli_parse_int(word, 0, INT32_MAX, &r->mb[r->mb_count++]) || strcmp(at + length, ",") == 0)
            return cli_error("%s:%d: --mb: '%.60s' is not a list of at most %d whole numbers", r->path, r->line,
                             list, most);
        at += length + (at[length] == ',');
    }
    return EXIT_FINE;
}

/* Once per option: what benchdnn says there has no effect. */
static void pass_over(shape_reader *r, const char *option)
{
    char mark[64];
    snprintf(mark, sizeof mark, "%.60s ", option);
    if (strstr(r->warned, mark) != NULL) return;
    cli_warning("%s:%d: benchdnn's option %.60s has no effect here (the command line says what to measure)",
                r->path, r->line, option);
    strncat(r->warned, mark, sizeof r->warned - strlen(r->warned) - 1);
}

static int read_option(shape_reader *r, const char *word)
{
    const char *equals = strchr(word, '='), *value = equals != NULL ? equals + 1 : "";
    char option[48];
    snprintf(option, sizeof option, "%.*s", (int)(equals != NULL ? equals - word : (long)strlen(word)), word);
    if (strcmp(option, "--batch") == 0 && equals != NULL) return include(r, value);
    if (strcmp(option, "--mb") == 0 && equals != NULL) return read_batch_sizes(r, value);
    if (strcmp(option, "--pass") == 0)
        return read_list(r, "pass", value, is_pass, r->item.passes, sizeof r->item.passes);
    if (strcmp(option, "--impl") == 0 && !is_foreign(value))
        return read_list(r, "impl", value, is_impl, r->item.impls, sizeof r->item.impls);
    if (strcmp(option, "--other-form") == 0) {
        r->item.wants_other_form = strcmp(value, "yes") == 0;
        return r->item.wants_other_form || strcmp(value, "no") == 0
                   ? EXIT_FINE
                   : cli_error("%s:%d: --other-form: '%.40s' is neither yes nor no", r->path, r->line, value);
    }
    if (strcmp(option, "--reset") == 0) {
        r->mb_count = 0;
        r->item.wants_other_form = false;
        r->item.passes[0] = r->item.impls[0] = '\0';
        return EXIT_FINE;
    }
    pass_over(r, strcmp(option, "--impl") == 0 ? word : option);
    return EXIT_FINE;
}

/* At each of the batch sizes. */
static int append_item(shape_reader *r)
{
    conv_problem *p = &r->item.problem;
    int64_t own = p->mb;
    int code = r->mb_count == 0 ? suite_append(r->list, &r->item, r->axes) : EXIT_FINE;
    for (int i = 0; i < r->mb_count && code == EXIT_FINE; i++) {
        p->mb = r->mb[i] > 0 ? r->mb[i] : own;
        code = suite_append(r->list, &r->item, r->axes);
    }
    return code;
}

static int read_word(shape_reader *r, const char *word)
{
    if (word[0] == '-') return read_option(r, word);
    conv_error err;
    if (problem_parse(word, &r->item.problem, r->item.layer, &err) == CONV_INVALID)
        return cli_error("%s:%d: problem '%.100s': %s", r->path, r->line, word, err.text);
    return append_item(r);
}

/* A file's name without folder and ending. */
static void name_of_file(const char *path, char *name, size_t size)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    snprintf(name, size, "%.*s", (int)strcspn(base, "."), base);
    text_make_printable(name);
}

/* Its problems are a network of the file's name, so that layers and totals are counted as often as they ran. */
static int read_log(shape_reader *r, char *text)
{
    char network[sizeof r->item.suite];
    name_of_file(r->path, network, sizeof network);
    for (char *c = network; (c = strpbrk(c, ":@*+\"")) != NULL;) *c = '_';
    json_t *problems = onednn_log_read(r->path, text), *times;
    int code = problems != NULL ? EXIT_FINE : EXIT_USAGE, index = 0;
    const char *problem;
    json_object_foreach(problems, problem, times)
    {
        conv_error err;
        problem_parse(problem, &r->item.problem, NULL, &err);
        snprintf(r->item.layer, sizeof r->item.layer, "%s:conv_%d*%d", network[0] ? network : "log", ++index,
                 (int)json_integer_value(times));
        if (code == EXIT_FINE) code = append_item(r);
    }
    json_decref(problems);
    return code;
}

/* ---- words */

typedef struct {
    char *at;
    int line;
} cursor;

static bool is_blank(char c) { return c != '\0' && strchr(" \t\r\f\v\n", c) != NULL; }

/* Over blanks, line feeds and comments. */
static void skip_blanks(cursor *c)
{
    while (is_blank(*c->at) || *c->at == '#') {
        if (*c->at == '#') c->at += strcspn(c->at, "\n");
        if (*c->at == '\n') c->line++;
        if (*c->at != '\0') c->at++;
    }
}

/* At the end of a word: over the backslash behind it, if there is one. */
static bool skip_backslash(cursor *c)
{
    char *at = c->at + strspn(c->at, " \t");
    if (*at != '\\' || (at[1] != '\0' && !is_blank(at[1]))) return false;
    c->at = at + 1;
    return true;
}

/* The next word, in place and 0 at its end, its first line in r->line; NULL at the end of the text. A quoted
 * part may hold blanks but no line feed. */
static char *next_word(shape_reader *r, cursor *c, bool *open)
{
    skip_blanks(c);
    char *word = c->at, *to = word;
    r->line = c->line;
    *open = false;
    if (*word == '\0') return NULL;
    while (*c->at != '\0' && *c->at != '\n' && (*open || !is_blank(*c->at))) {
        if (*c->at == '"') *open = !*open;
        bool last = !*open && (c->at[1] == '\0' || is_blank(c->at[1]));
        bool backslash = last && *c->at == '\\';
        if (!backslash) *to++ = *c->at;
        c->at++;
        if (backslash || (last && skip_backslash(c))) skip_blanks(c);
    }
    if (*c->at == '\n') c->line++;
    if (*c->at != '\0') c->at++;
    *to = '\0';
    return word;
}

static int read_words(shape_reader *r, char *text)
{
    cursor c = {text, 1};
    char *word;
    int code = EXIT_FINE;
    bool open;
    while (code == EXIT_FINE && (word = next_word(r, &c, &open)) != NULL)
        code = open ? cli_error("%s:%d: '%.60s' has no closing quote on its line", r->path, r->line, word)
                    : read_word(r, word);
    return code;
}

static int read_text(shape_reader *r, const char *data, size_t size)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    if (memchr(data, '\0', size) != NULL)
        return cli_error("%s: not a text file: it holds a zero byte", r->path);
    char *copy = strndup(data, size);
    if (copy == NULL) return cli_error("%s: no memory for its text", r->path);
    char *text = copy + (strncmp(copy, byte_order_mark, 3) == 0 ? 3 : 0);
    int code = onednn_log_is(text) ? read_log(r, text) : read_words(r, text);
    free(copy);
    return code;
}

static char *slurp(FILE *in, size_t *size)
{
    char *data = NULL;
    FILE *out = open_memstream(&data, size);
    char chunk[4096];
    size_t n;
    while (out != NULL && (n = fread(chunk, 1, sizeof chunk, in)) > 0) fwrite(chunk, 1, n, out);
    bool ok = out != NULL && !ferror(in);
    int why = errno;
    if (out != NULL) ok = fclose(out) == 0 && ok;
    if (ok) return data;
    free(data);
    errno = why;
    return NULL;
}

static int read_stream(shape_reader *r, const char *path, FILE *in)
{
    r->path = path;
    size_t size;
    char *data = in != NULL ? slurp(in, &size) : NULL;
    int code = data != NULL ? read_text(r, data, size) : cli_error("%s: %s", path, strerror(errno));
    free(data);
    return code;
}

static int read_shapes(shape_reader *r, const char *path)
{
    const embedded_file *file = r->embedded ? embedded_find(path) : NULL;
    r->path = path;
    if (file != NULL) return read_text(r, file->data, file->size);
    FILE *in = fopen(path, "rb");
    int code = read_stream(r, path, in);
    if (in != NULL) fclose(in);
    return code;
}

int suite_add_file(suite_list *list, const char *path, const suite_axes *axes)
{
    shape_reader r = {.list = list, .axes = axes};
    const bool piped = strcmp(path, "-") == 0;
    if (piped) path = "stdin";
    name_of_file(path, r.item.suite, sizeof r.item.suite);
    size_t before = list->count;
    int code = piped ? read_stream(&r, path, stdin) : read_shapes(&r, path);
    if (code == EXIT_FINE && list->count == before) return cli_error("%s: no problem in it", path);
    return code;
}

int suite_add_embedded(suite_list *list, const char *name, const embedded_file *file, const suite_axes *axes)
{
    shape_reader r = {.list = list, .axes = axes, .embedded = true};
    snprintf(r.item.suite, sizeof r.item.suite, "%s", name);
    return read_shapes(&r, file->path);
}
