/* Which operations really ran: TensorFlow rewrites a graph before its first run (fuses, takes oneDNN's
 * kernels), and says what came of it in the run's metadata. Field numbers are those of
 * tensorflow/core/protobuf/config.proto and core/framework/graph.proto, the encoding is
 * protobuf.dev/programming-guides/encoding. */
#include <stdio.h>
#include <string.h>

#include "tensorflow_graph.h"

typedef struct {
    const unsigned char *at, *end;
} span;

static uint64_t varint(span *in)
{
    uint64_t value = 0;
    for (int shift = 0; in->at < in->end && shift < 64; shift += 7) {
        unsigned char byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) break;
    }
    return value;
}

/* The content of the next field of that number, if there is one that has bytes; in is what follows it. */
static bool next(span *in, uint64_t number, span *content)
{
    while (in->at < in->end) {
        uint64_t key = varint(in), wire = key & 7, left;
        uint64_t bytes = wire == 2 ? varint(in) : wire == 1 ? 8 : wire == 5 ? 4 : 0;
        if (wire == 0) varint(in);
        left = (uint64_t)(in->end - in->at);
        if (bytes > left) return false;
        *content = (span){in->at, in->at + bytes};
        in->at += bytes;
        if (wire == 2 && key >> 3 == number) return true;
    }
    return false;
}

/* Says nothing of how the computation works. */
static bool is_plumbing(const char *operation)
{
    static const char *const names[] = {"_Arg", "_Retval", "Const", "Placeholder", "NoOp", "_Recv", "_Send"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(operation, names[i]) == 0) return true;
    return false;
}

static void add(const char *operation, char *text, size_t size)
{
    size_t length = strlen(text), own = strlen(operation);
    for (const char *c = text; (c = strstr(c, operation)) != NULL; c += own)
        if ((c == text || c[-1] == ' ') && (c[own] == '\0' || c[own] == ',')) return;
    snprintf(text + length, size - length, "%s%s", length > 0 ? ", " : "", operation);
}

void tf_operations(const void *metadata, size_t length, char *text, size_t size)
{
    enum { METADATA_GRAPHS = 3, GRAPH_NODE = 1, NODE_OPERATION = 2 };
    span all = {metadata, (const unsigned char *)metadata + length}, graph, node, name;
    *text = '\0';
    while (next(&all, METADATA_GRAPHS, &graph))
        while (next(&graph, GRAPH_NODE, &node)) {
            char operation[64];
            if (!next(&node, NODE_OPERATION, &name)) continue;
            snprintf(operation, sizeof operation, "%.*s", (int)(name.end - name.at), (const char *)name.at);
            if (!is_plumbing(operation)) add(operation, text, size);
        }
}
