/* Shape files: problem strings separated by blanks or lines, # starts a comment. Of benchdnn's options, --mb
 * and
 * --batch (include) are followed and those that say how benchdnn should test (--dir, --cfg, --attr-...) are
 * passed over with a warning: what to measure is this program's command line's business. Our own --pass=LIST
 * and
 * --impl=LIST hold for the problems after them, up to --reset, where the command line says nothing else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"
#include "../harness/text.h"
#include "suite.h"

typedef struct {
    suite_list *list;
    const suite_axes *axes;
    const char *path; /* the file being read */
    bool embedded;    /* it and what it includes are inside the program */
    int line, depth;
    int64_t mb;         /* benchdnn's --mb, 0 = as each problem says */
    suite_problem item; /* what --pass= and --impl= say of the problems that follow */
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

/* Copies the list, each of whose words must be known. */
static int read_list(const shape_reader *r, const char *option, const char *list,
                     bool (*known)(const char *word), char *to, size_t size)
{
    char copy[256], *rest = copy, *word;
    if (strlen(list) >= size || strlen(list) >= sizeof copy)
        return cli_error("%s:%d: --%s=%.20s...: too long", r->path, r->line, option, list);
    strcpy(copy, list);
    while ((word = strsep(&rest, ",|")) != NULL)
        if (!known(word))
            return cli_error("%s:%d: --%s: unknown %s '%s'", r->path, r->line, option, option, word);
    strcpy(to, list);
    return EXIT_FINE;
}

static int read_option(shape_reader *r, const char *word)
{
    size_t length = strcspn(word, "=");
    const char *value = word[length] == '=' ? word + length + 1 : "";
    if (strncmp(word, "--batch=", 8) == 0) return include(r, value);
    if (strncmp(word, "--mb=", 5) == 0) {
        if (cli_parse_int(value, 0, INT32_MAX, &r->mb)) return EXIT_FINE;
        return cli_error("%s:%d: --mb: '%s' is not a whole number", r->path, r->line, value);
    }
    if (strncmp(word, "--pass=", 7) == 0)
        return read_list(r, "pass", value, is_pass, r->item.passes, sizeof r->item.passes);
    if (strncmp(word, "--impl=", 7) == 0)
        return read_list(r, "impl", value, is_impl, r->item.impls, sizeof r->item.impls);
    if (strcmp(word, "--reset") == 0) {
        r->mb = 0;
        r->item.passes[0] = r->item.impls[0] = '\0';
        return EXIT_FINE;
    }
    char mark[64];
    snprintf(mark, sizeof mark, "%.*s ", (int)length, word);
    if (strstr(r->warned, mark) == NULL) {
        cli_warning("%s:%d: benchdnn's option %.*s has no effect here (the command line says what to measure)",
                    r->path, r->line, (int)length, word);
        strncat(r->warned, mark, sizeof r->warned - strlen(r->warned) - 1);
    }
    return EXIT_FINE;
}

static int read_word(shape_reader *r, const char *word)
{
    if (word[0] == '-') return read_option(r, word);
    conv_error err;
    conv_problem *p = &r->item.problem;
    if (problem_parse(word, p, r->item.layer, &err) != CONV_OK)
        return cli_error("%s:%d: problem '%.100s': %s", r->path, r->line, word, err.text);
    if (r->mb > 0) p->mb = r->mb;
    if (conv_problem_check(p, &err) != CONV_OK)
        return cli_error("%s:%d: problem '%.100s': %s", r->path, r->line, word, err.text);
    return suite_append(r->list, &r->item, r->axes);
}

/* The next line without its line feed; false at the end. */
static bool next_line(const char **at, const char *end, char **line, size_t *room)
{
    if (*at >= end) return false;
    const char *feed = memchr(*at, '\n', (size_t)(end - *at));
    size_t length = (size_t)((feed ? feed : end) - *at);
    if (*line == NULL || length + 1 > *room) {
        char *grown = realloc(*line, length + 1);
        if (grown == NULL) return false;
        *line = grown;
        *room = length + 1;
    }
    memcpy(*line, *at, length);
    (*line)[length] = '\0';
    *at += length + 1;
    return true;
}

static int read_text(shape_reader *r, const char *data, size_t size)
{
    static const char blanks[] = " \t\r\f\v";
    char *line = NULL;
    size_t room = 0;
    int code = EXIT_FINE;
    if (memchr(data, '\0', size) != NULL)
        return cli_error("%s: not a text file: it holds a zero byte", r->path);
    for (const char *at = data; code == EXIT_FINE && next_line(&at, data + size, &line, &room);) {
        r->line++;
        char *rest = NULL;
        for (char *word = strtok_r(line, blanks, &rest); word != NULL && word[0] != '#' && code == EXIT_FINE;
             word = strtok_r(NULL, blanks, &rest))
            code = read_word(r, word);
    }
    free(line);
    return code;
}

static char *slurp(const char *path, size_t *size)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL) return NULL;
    char *data = NULL;
    FILE *out = open_memstream(&data, size);
    char chunk[4096];
    size_t n;
    while (out != NULL && (n = fread(chunk, 1, sizeof chunk, in)) > 0) fwrite(chunk, 1, n, out);
    bool ok = out != NULL && !ferror(in);
    int why = errno;
    if (out != NULL) ok = fclose(out) == 0 && ok;
    fclose(in);
    if (ok) return data;
    free(data);
    errno = why;
    return NULL;
}

static int read_shapes(shape_reader *r, const char *path)
{
    r->path = path;
    r->line = 0;
    const embedded_file *file = r->embedded ? embedded_find(path) : NULL;
    if (file != NULL) return read_text(r, file->data, file->size);
    size_t size;
    char *data = slurp(path, &size);
    if (data == NULL) return cli_error("%s: %s", path, strerror(errno));
    int code = read_text(r, data, size);
    free(data);
    return code;
}

int suite_add_file(suite_list *list, const char *path, const suite_axes *axes)
{
    shape_reader r = {.list = list, .axes = axes};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    snprintf(r.item.suite, sizeof r.item.suite, "%.*s", (int)strcspn(name, "."), name);
    text_make_printable(r.item.suite);
    size_t before = list->count;
    int code = read_shapes(&r, path);
    if (code == EXIT_FINE && list->count == before && axes->channels.count == 0 && axes->spatial.count == 0)
        return cli_error("%s: no problem in it", path);
    return code;
}

int suite_add_embedded(suite_list *list, const char *name, const embedded_file *file, const suite_axes *axes)
{
    shape_reader r = {.list = list, .axes = axes, .embedded = true};
    snprintf(r.item.suite, sizeof r.item.suite, "%s", name);
    return read_shapes(&r, file->path);
}
