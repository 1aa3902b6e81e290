#include "text.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static bool is_one_of(const char *set, char c) { return c != '\0' && strchr(set, c) != NULL; }

/* ---- characters */

/* Bytes of the UTF-8 character at text, its number in *code; 0 when there is none (RFC 3629: no longer form
 * than needed, no surrogate, nothing beyond 10FFFF). */
static size_t decode(const unsigned char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = text[0] < 0x80             ? 1
                    : (text[0] & 0xE0) == 0xC0 ? 2
                    : (text[0] & 0xF0) == 0xE0 ? 3
                    : (text[0] & 0xF8) == 0xF0 ? 4
                                               : 0;
    if (length < 2) {
        *code = text[0];
        return length;
    }
    *code = text[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) return 0; /* also at the end of the text */
        *code = *code << 6 | (text[i] & 0x3Fu);
    }
    if (*code < least[length] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF)) return 0;
    return length;
}

/* Control characters beyond ASCII, line and paragraph separators, and those that reorder what is shown. */
static bool misleads(uint32_t code)
{
    return (code >= 0x80 && code < 0xA0) || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

static bool is_control(uint32_t code) { return code < ' ' || code == 0x7F; }

/* ---- names */

static size_t name_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || (length > 0 && is_one_of("._+-", text[length]))) length++;
    return length;
}

bool text_is_name(const char *text)
{
    size_t length = name_length(text);
    return length > 0 && text[length] == '\0';
}

bool text_is_name_list(const char *text)
{
    for (;; text++) {
        size_t length = name_length(text);
        if (length == 0) return false;
        text += length;
        if (*text != ',') return *text == '\0';
    }
}

bool text_is_plain(const char *text)
{
    for (size_t length; *text != '\0'; text += length) {
        uint32_t code;
        length = decode((const unsigned char *)text, &code);
        if (length == 0 || is_control(code) || misleads(code)) return false;
    }
    return true;
}

bool text_is_model(const char *text)
{
    const size_t size = strlen(text);
    return size > 0 && size < TEXT_MODEL_MAX && *text != '.' && strpbrk(text, "/\\\"`<>") == NULL &&
           text_is_plain(text);
}

bool text_is_label(const char *text)
{
    while ((unsigned char)*text >= ' ') text++;
    return *text == '\0';
}

/* ---- printing */

/* GitHub's runner takes a line for a command that begins with two colons, blanks of any kind before them left
 * out, and one that has "##[" anywhere (actions/runner, ActionCommand.cs). */
static void disarm(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        bool begins = c == text || c[-1] == ' ' || c[-1] == '?' || (unsigned char)c[-1] >= 0x80;
        if (begins && c[0] == ':' && c[1] == ':') c[1] = ' ';
        if (strncmp(c, "##[", 3) == 0) c[1] = ' ';
    }
}

char text_instead_of(const char *text, size_t *length)
{
    uint32_t code;
    *length = decode((const unsigned char *)text, &code);
    bool valid = *length > 0 && !misleads(code);
    if (*length == 0) *length = 1;
    return !valid ? '?' : is_control(code) ? ' ' : '\0';
}

char *text_make_printable(char *text)
{
    for (size_t i = 0, length; text[i] != '\0'; i += length) {
        char instead = text_instead_of(text + i, &length);
        if (instead != '\0') memset(text + i, instead, length);
    }
    disarm(text);
    return text;
}

bool text_ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}
