#include "h5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../text.h"

enum {
    MOST_CHUNK_EXTRA = 1 << 24, /* elements of a chunk beyond those of its dataset */
    MOST_TEXTS = 1 << 16,
    MOST_TEXT_BYTES = 1 << 24,
    MOST_HEADER_BYTES = 64000 /* of an attribute in the header of a group, Keras's reading of HDF5's 64 KiB */
};

/* ---- files */

bool h5_is(const char *path)
{
    static const char signature[] = "\x89HDF\r\n\x1a\n";
    char start[sizeof signature - 1];
    FILE *file = fopen(path, "rb");
    bool same =
        file != NULL && fread(start, sizeof start, 1, file) == 1 && memcmp(start, signature, sizeof start) == 0;
    if (file != NULL) fclose(file);
    return same;
}

/* The innermost entry of libhdf5's list of what went wrong. */
static herr_t keep_first(unsigned n, const H5E_error2_t *entry, void *text)
{
    if (n == 0 && entry->desc != NULL) snprintf(text, 120, "%s", entry->desc);
    return 0;
}

static void fail(const char *what, conv_error *err)
{
    char reason[120] = "damaged";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    text_make_printable(reason);
    conv_fail(err, CONV_INVALID, "%s: %s", what, reason);
}

/* libhdf5 prints what goes wrong unless it is told not to. */
static hid_t core_access(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access >= 0 && H5Pset_fapl_core(access, 1 << 20, 0) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

hid_t h5_open(const char *path, const void *image, size_t size, conv_error *err)
{
    hid_t access = core_access(), file = -1;
    if (access >= 0 && image == NULL)
        file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    else if (access >= 0 && H5Pset_file_image(access, (void *)image, size) >= 0)
        file = H5Fopen("image", H5F_ACC_RDONLY, access);
    if (file < 0) fail("is no HDF5 file that can be read", err);
    if (access >= 0) H5Pclose(access);
    return file;
}

void h5_close(hid_t file)
{
    if (file >= 0) H5Fclose(file);
}

/* ---- objects */

/* The object at path, a part at a time: each a link within the file, and all but the last a group. */
static hid_t open_object(hid_t at, const char *path)
{
    hid_t now = H5Oopen(at, ".", H5P_DEFAULT);
    while (now >= 0 && *path != 0) {
        char part[256];
        size_t length = strcspn(path, "/");
        H5L_info_t link;
        hid_t next = -1;
        snprintf(part, sizeof part, "%.*s", (int)(length < 256 ? length : 255), path);
        path += length + (path[length] == '/');
        if (length == 0) continue;
        if (length < sizeof part && H5Iget_type(now) == H5I_GROUP && H5Lexists(now, part, H5P_DEFAULT) > 0 &&
            H5Lget_info(now, part, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD)
            next = H5Oopen(now, part, H5P_DEFAULT);
        H5Oclose(now);
        now = next;
    }
    return now;
}

static hid_t open_as(hid_t at, const char *path, H5I_type_t type)
{
    hid_t object = open_object(at, path);
    if (object >= 0 && H5Iget_type(object) != type) {
        H5Oclose(object);
        return -1;
    }
    return object;
}

int64_t h5_count(hid_t at, const char *group)
{
    H5G_info_t info;
    hid_t g = open_as(at, group, H5I_GROUP);
    int64_t count = g >= 0 && H5Gget_info(g, &info) >= 0 ? (int64_t)info.nlinks : -1;
    if (g >= 0) H5Oclose(g);
    return count;
}

bool h5_name(hid_t at, const char *group, int64_t i, char *name, size_t size)
{
    hid_t g = open_as(at, group, H5I_GROUP);
    ssize_t length =
        g < 0 ? -1
              : H5Lget_name_by_idx(g, ".", H5_INDEX_NAME, H5_ITER_INC, (hsize_t)i, name, size, H5P_DEFAULT);
    if (g >= 0) H5Oclose(g);
    return length >= 0 && (size_t)length < size;
}

/* ---- datasets */

static bool check_storage(hid_t dataset, int64_t count, conv_error *err)
{
    static const H5Z_filter_t known[] = {H5Z_FILTER_DEFLATE, H5Z_FILTER_SHUFFLE, H5Z_FILTER_FLETCHER32};
    hid_t made = H5Dget_create_plist(dataset);
    hsize_t chunk[NPY_MAX_RANK];
    int unknown = -1, filters = made < 0 ? 0 : H5Pget_nfilters(made);
    bool elsewhere = made < 0 || H5Pget_layout(made) == H5D_VIRTUAL || H5Pget_external_count(made) > 0;
    double elements = 0;
    for (int i = 0; i < filters && unknown < 0; i++) {
        unsigned flags, config;
        size_t values = 0;
        H5Z_filter_t f = H5Pget_filter2(made, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) is_known = is_known || f == known[k];
        if (!is_known) unknown = f;
    }
    if (made >= 0 && H5Pget_layout(made) == H5D_CHUNKED) {
        int rank = H5Pget_chunk(made, NPY_MAX_RANK, chunk);
        elements = rank < 0 || rank > NPY_MAX_RANK ? 1e30 : 1;
        for (int i = 0; i < rank && i < NPY_MAX_RANK; i++) elements *= (double)chunk[i];
    }
    if (made >= 0) H5Pclose(made);
    if (elsewhere) conv_fail(err, CONV_INVALID, "has its data elsewhere");
    if (!elsewhere && unknown >= 0)
        conv_fail(err, CONV_INVALID, "went through filter %d: only deflate, shuffle and fletcher32 are known",
                  unknown);
    bool large = elements > (double)count + MOST_CHUNK_EXTRA;
    if (!elsewhere && unknown < 0 && large)
        conv_fail(err, CONV_INVALID, "has chunks of %.4g elements", elements);
    return !elsewhere && unknown < 0 && !large;
}

/* rank -1: not a plain array. */
static npy_shape shape_of(hid_t dataset)
{
    npy_shape shape = {.rank = -1};
    hsize_t size[NPY_MAX_RANK];
    hid_t space = H5Dget_space(dataset);
    int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (rank >= 0 && H5Sget_simple_extent_type(space) == H5S_NULL) rank = -1;
    if (rank >= 0 && rank <= NPY_MAX_RANK && H5Sget_simple_extent_dims(space, size, NULL) == rank) {
        shape.rank = rank;
        for (int i = 0; i < rank; i++) shape.size[i] = (int64_t)size[i];
    }
    if (space >= 0) H5Sclose(space);
    return shape;
}

/* Floats; a number without axes, which in Keras counts something, may be an integer. */
static bool is_float(hid_t dataset, int rank)
{
    hid_t type = H5Dget_type(dataset);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    bool fits = type >= 0 && (class == H5T_FLOAT || (class == H5T_INTEGER && rank == 0)) &&
                H5Tget_size(type) <= sizeof(double);
    if (type >= 0) H5Tclose(type);
    return fits;
}

bool h5_read(hid_t at, const char *dataset, const npy_shape *want, float *to, npy_shape *found, conv_error *err)
{
    *found = (npy_shape){.rank = -1};
    hid_t d = open_as(at, dataset, H5I_DATASET);
    if (d < 0) {
        conv_fail(err, CONV_INVALID, "is missing");
        return false;
    }
    *found = shape_of(d);
    bool same = npy_same_shape(found, want), fine = same && is_float(d, want->rank);
    if (!same)
        conv_fail(err, CONV_INVALID, "has another shape");
    else if (!fine)
        conv_fail(err, CONV_INVALID, "is not of floats");
    fine = fine && check_storage(d, npy_count(want), err);
    if (fine && H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) < 0) {
        fail("cannot be read", err);
        fine = false;
    }
    H5Oclose(d);
    return fine;
}

/* ---- attributes of text */

static bool add_text(h5_texts *texts, const char *from, size_t most)
{
    char **more = texts->count < MOST_TEXTS
                      ? realloc(texts->text, ((size_t)texts->count + 1) * sizeof *texts->text)
                      : NULL;
    if (more == NULL) return false;
    texts->text = more;
    more[texts->count] = strndup(from != NULL ? from : "", from != NULL ? most : 0);
    return more[texts->count] != NULL && ++texts->count > 0;
}

/* Of `type`, which is the file's: texts of one length, or pointers to text. */
static bool read_strings(hid_t attribute, hid_t type, hid_t space, h5_texts *texts)
{
    hssize_t count = H5Sget_simple_extent_npoints(space);
    size_t size = H5Tget_size(type);
    bool pointers = H5Tis_variable_str(type) > 0;
    if (count < 0 || count > MOST_TEXTS || size == 0 || size > (size_t)MOST_TEXT_BYTES / ((size_t)count + 1))
        return false;
    char *block = calloc((size_t)count + 1, size);
    bool fine = block != NULL && H5Aread(attribute, type, block) >= 0, read = fine;
    for (hssize_t i = 0; i < count && fine; i++) {
        const char *at = block + (size_t)i * size, *pointed = NULL;
        if (pointers) memcpy(&pointed, at, sizeof pointed);
        fine = add_text(texts, pointers ? pointed : at, pointers ? MOST_TEXT_BYTES : size);
    }
    if (read && pointers) H5Dvlen_reclaim(type, space, H5P_DEFAULT, block);
    free(block);
    return fine;
}

/* An empty list of Keras's is one of no numbers. */
static bool read_attribute(hid_t object, const char *name, h5_texts *texts)
{
    hid_t a = H5Aopen(object, name, H5P_DEFAULT);
    if (a < 0) return false;
    hid_t type = H5Aget_type(a), space = H5Aget_space(a);
    bool fine = type >= 0 && space >= 0;
    if (fine && H5Sget_simple_extent_npoints(space) != 0)
        fine = H5Tget_class(type) == H5T_STRING && read_strings(a, type, space, texts);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    H5Aclose(a);
    return fine;
}

bool h5_read_texts(hid_t at, const char *group, const char *name, h5_texts *texts, conv_error *err)
{
    *texts = (h5_texts){0};
    hid_t g = open_as(at, group, H5I_GROUP);
    bool fine = g >= 0;
    if (fine && H5Aexists(g, name) > 0) {
        fine = read_attribute(g, name, texts);
    } else if (fine) {
        char part[64];
        for (int i = 0; i < MOST_TEXTS && fine; i++) {
            snprintf(part, sizeof part, "%s%d", name, i);
            if (H5Aexists(g, part) <= 0) break;
            fine = read_attribute(g, part, texts);
        }
    }
    if (g >= 0) H5Oclose(g);
    if (fine) return true;
    h5_free_texts(texts);
    conv_fail(err, CONV_INVALID,
              g >= 0 ? "has no list of texts in attribute %s" : "is no group with attribute %s", name);
    return false;
}

void h5_free_texts(h5_texts *texts)
{
    for (int i = 0; i < texts->count; i++) free(texts->text[i]);
    free(texts->text);
    *texts = (h5_texts){0};
}

/* ---- writing */

hid_t h5_create(void)
{
    hid_t access = core_access();
    hid_t file = access < 0 ? -1 : H5Fcreate("image", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (access >= 0) H5Pclose(access);
    return file;
}

bool h5_write(hid_t file, const char *dataset, const npy_shape *shape, const float *from)
{
    hsize_t size[NPY_MAX_RANK];
    for (int i = 0; i < shape->rank; i++) size[i] = (hsize_t)shape->size[i];
    hid_t links = H5Pcreate(H5P_LINK_CREATE), how = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(shape->rank, size, NULL), d = -1;
    if (links >= 0 && how >= 0 && space >= 0 && H5Pset_create_intermediate_group(links, 1) >= 0 &&
        H5Pset_obj_track_times(how, false) >= 0)
        d = H5Dcreate2(file, dataset, H5T_IEEE_F32LE, space, links, how, H5P_DEFAULT);
    bool fine = d >= 0 && H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, from) >= 0;
    if (d >= 0) H5Dclose(d);
    if (space >= 0) H5Sclose(space);
    if (how >= 0) H5Pclose(how);
    if (links >= 0) H5Pclose(links);
    return fine;
}

static hid_t make_group(hid_t file, const char *group)
{
    hid_t g = H5Gopen2(file, group, H5P_DEFAULT);
    if (g >= 0) return g;
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    if (links >= 0 && H5Pset_create_intermediate_group(links, 1) >= 0)
        g = H5Gcreate2(file, group, links, H5P_DEFAULT, H5P_DEFAULT);
    if (links >= 0) H5Pclose(links);
    return g;
}

bool h5_write_group(hid_t file, const char *group)
{
    hid_t g = make_group(file, group);
    return g >= 0 && H5Gclose(g) >= 0;
}

static bool write_attribute(hid_t file, const char *group, const char *name, hid_t type, hid_t space,
                            const void *from)
{
    hid_t g = make_group(file, group);
    hid_t a = g < 0 ? -1 : H5Acreate2(g, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool fine = a >= 0 && H5Awrite(a, type, from) >= 0;
    if (a >= 0) H5Aclose(a);
    if (g >= 0) H5Gclose(g);
    return fine;
}

static bool write_strings(hid_t file, const char *group, const char *name, const char *const *texts, int count,
                          size_t longest)
{
    const hsize_t size = (hsize_t)count;
    char *block = calloc((size_t)count + 1, longest);
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &size, NULL);
    bool fine = block != NULL && type >= 0 && space >= 0 && H5Tset_size(type, longest) >= 0 &&
                H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0;
    for (int i = 0; i < count && fine; i++) memcpy(block + (size_t)i * longest, texts[i], strlen(texts[i]));
    fine = fine && write_attribute(file, group, name, type, space, block);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    free(block);
    return fine;
}

/* Of one length, as every version of Keras 2 reads them. */
bool h5_write_texts(hid_t file, const char *group, const char *name, const char *const *texts, int count)
{
    size_t longest = 1;
    bool fine = true;
    for (int i = 0; i < count; i++)
        if (strlen(texts[i]) > longest) longest = strlen(texts[i]);
    int most = MOST_HEADER_BYTES / (int)longest;
    if (count <= most) return write_strings(file, group, name, texts, count, longest);
    for (int i = 0, part = 0; i < count && fine; i += most, part++) {
        char numbered[64];
        snprintf(numbered, sizeof numbered, "%s%d", name, part);
        fine = write_strings(file, group, numbered, texts + i, count - i < most ? count - i : most, longest);
    }
    return fine;
}

/* Beside the object's header, where there is room for any length. */
bool h5_write_text(hid_t file, const char *group, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    bool fine = type >= 0 && space >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 &&
                H5Tset_cset(type, H5T_CSET_UTF8) >= 0 && write_attribute(file, group, name, type, space, &text);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return fine;
}

char *h5_image(hid_t file, size_t *size)
{
    ssize_t length = H5Fflush(file, H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file, NULL, 0);
    char *image = length < 0 ? NULL : malloc((size_t)length + 1);
    if (image != NULL && H5Fget_file_image(file, image, (size_t)length) != length) {
        free(image);
        return NULL;
    }
    *size = image != NULL ? (size_t)length : 0;
    return image;
}
