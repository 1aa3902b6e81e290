#include "words.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static bool is_printable(unsigned char c) { return c >= ' ' && c < 0x7F; }

bool words_check(const char *what, const char *word)
{
    char shown[256];
    size_t used = 0;
    json_t *text = json_string(word);
    if (text != NULL) {
        json_decref(text);
        return true;
    }
    for (const char *c = word; *c != '\0' && used < sizeof shown - 5; c++)
        used += (size_t)snprintf(shown + used, sizeof shown - used,
                                 is_printable((unsigned char)*c) ? "%c" : "\\x%02x", (unsigned char)*c);
    shown[used] = '\0';
    cli_error("%s '%s' is not UTF-8: only UTF-8 can be stored and resumed", what, shown);
    return false;
}

/* '...', or $'...' where control characters are to be escaped. */
static void put_quoted(FILE *out, const char *word)
{
    bool plain = true;
    for (const char *c = word; *c != '\0'; c++) plain = plain && !iscntrl((unsigned char)*c);
    fputs(plain ? "'" : "$'", out);
    for (const char *c = word; *c != '\0'; c++) {
        if (plain && *c == '\'')
            fputs("'\\''", out);
        else if (!plain && (*c == '\'' || *c == '\\'))
            fprintf(out, "\\%c", *c);
        else if (iscntrl((unsigned char)*c))
            fprintf(out, "\\%03o", (unsigned char)*c);
        else
            putc(*c, out);
    }
    putc('\'', out);
}

char *words_quote(const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    if (*word != '\0' && word[strspn(word, safe)] == '\0')
        fputs(word, out);
    else
        put_quoted(out, word);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
