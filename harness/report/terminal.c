/* Text on a terminal of 80 columns. */
#include <string.h>

#include "report.h"

enum { COLUMNS = 80 };

int report_width(const char *text, size_t bytes)
{
    int width = 0;
    for (size_t i = 0; i < bytes; i++) width += ((unsigned char)text[i] & 0xC0) != 0x80;
    return width;
}

void report_wrap(FILE *out, const char *first, const char *indent, const char *text)
{
    int column = fprintf(out, "%s", first);
    for (bool begun = false; *text != 0; begun = true) {
        size_t length = strcspn(text, " ");
        int width = report_width(text, length);
        if (begun && column + width + 1 > COLUMNS)
            column = fprintf(out, "\n%s", indent);
        else if (begun)
            column += fprintf(out, " ");
        fprintf(out, "%.*s", (int)length, text);
        column += width;
        text += length + strspn(text + length, " ");
    }
    fprintf(out, "\n");
}

void report_right(FILE *out, const char *text, int width)
{
    fprintf(out, "%*s%s", width - report_width(text, strlen(text)), "", text);
}
