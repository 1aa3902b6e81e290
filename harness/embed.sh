#!/bin/sh
# Writes to stdout the C source of embedded_files[] for the files named as arguments (harness/embed.h).
set -eu
echo '#include <string.h>'
echo '#include "harness/embed.h"'
n=0
for file; do
    cat <<END
__asm__(".section .rodata\n.balign 16\nembedded_$n:\n.incbin \"$file\"\n.byte 0\n.previous\n");
extern const char embedded_$n[];
END
    n=$((n + 1))
done
echo 'const embedded_file embedded_files[] = {'
n=0
for file; do
    echo "    {\"$file\", embedded_$n, $(wc -c <"$file")},"
    n=$((n + 1))
done
cat <<'END'
    {NULL, NULL, 0}};

const embedded_file *embedded_find(const char *path)
{
    for (const embedded_file *f = embedded_files; f->path != NULL; f++)
        if (strcmp(f->path, path) == 0) return f;
    return NULL;
}
END
