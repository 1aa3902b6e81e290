/* NumPy's .npy format, versions 1.0 and 2.0: what numpy.save writes of numbers. A file is: magic, version, length
 * of the header, header (a Python dict literal), data.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (Debian has no maintained C library
 * for it.) npy_read.c is the one reader, of files and of the members of an .npz; npy.c writes files. */
#ifndef SEPBENCH_NPY_H
#define SEPBENCH_NPY_H

#include "../kernels/conv.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "data are read and written as they are in memory: little-endian"
#endif

enum { NPY_MAX_RANK = 8, NPY_PREAMBLE = 10 /* bytes before the header, in version 1.0 */ };
#define NPY_MAGIC "\x93NUMPY"

typedef struct {
    int rank;
    int64_t size[NPY_MAX_RANK];
} npy_shape;

/* "(1, 28, 28, 32)" into text; returns text. */
char *npy_shape_text(const npy_shape *shape, char *text, size_t size);
/* -1 when the product does not fit an int64_t. */
int64_t npy_count(const npy_shape *shape);
bool npy_same_shape(const npy_shape *a, const npy_shape *b);

/* ---- reading */

/* What an element becomes in memory: float16 becomes float32, any integer but uint8 int64; NPY_OTHER cannot be
 * read. */
typedef enum { NPY_FLOAT32, NPY_FLOAT64, NPY_INT64, NPY_UINT8, NPY_OTHER } npy_type;

size_t npy_size(npy_type type);
const char *npy_descr(npy_type type); /* "<f4", as numpy's dtype.str; "?" for NPY_OTHER */

typedef struct {
    npy_type type;
    char kind;             /* 'f', 'i' or 'u' in the file */
    size_t size;           /* bytes of an element there */
    bool swapped, fortran; /* big-endian; the first axis runs fastest */
    npy_shape shape;
    char descr[48];       /* the type in the file's words, for messages */
    int64_t header_bytes; /* the data begin there */
} npy_header;

/* Where the bytes come from. read returns how many there were, fewer than `size` only at the end, or -1 with
 * err for a damaged source. */
typedef struct {
    int64_t (*read)(void *source, void *to, int64_t size, conv_error *err);
    void *source;
} npy_stream;

/* False with err, which does not name the file. A type that cannot be read is NPY_OTHER and no failure yet. */
bool npy_read_header(const npy_stream *from, npy_header *header, conv_error *err);
/* The rest of the stream as npy_count(shape) elements of header->type, in C order and this machine's byte
 * order. A caller that wants float32 may set type to that for any of the float types: a finite number beyond
 * float32 is an error. So is a stream that is shorter or longer. */
bool npy_read_data(const npy_stream *from, const npy_header *header, void *data, conv_error *err);

/* Fills data, which holds the elements of the first of the `accepted` shapes; all of them have as many. False,
 * with err naming file, what is expected and what was found: not an .npy, no floats,
 * another shape or length. */
bool npy_read(const char *path, const npy_shape *accepted, int accepted_count, float *data, conv_error *err);

/* ---- writing */

/* What stands before the data of a file, into to[NPY_HEADER_ROOM]; returns its bytes. */
enum { NPY_HEADER_ROOM = 512 };
size_t npy_make_header(npy_type type, const npy_shape *shape, char *to);

/* Writes a file that the user named (output.h). False with err when that fails, also for a full disk; path is
 * then as before. */
bool npy_write(const char *path, const npy_shape *shape, const float *data, conv_error *err);

#endif
