#include "archive.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* ---- writing */

static bool add_member(zip_t *zip, archive_member *m)
{
    zip_source_t *source = zip_source_buffer(zip, m->data, m->size, 1);
    if (source == NULL) return false;
    m->data = NULL; /* the source owns it */
    zip_int64_t index = zip_file_add(zip, m->name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return false;
    }
    zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0);
    zip_file_set_mtime(zip, (zip_uint64_t)index, 315532800, 0); /* 1980 */
    return true;
}

/* The archive as one malloc'ed block; NULL with a reason. libzip makes it in memory: what it writes to a path
 * goes through temporary files of its own, which stay behind after a kill. */
static char *in_memory(archive_member *members, int count, size_t *size, char *reason, size_t room)
{
    zip_error_t e;
    zip_stat_t stat;
    zip_error_init(&e);
    zip_source_t *whole = zip_source_buffer_create(NULL, 0, 0, &e);
    zip_t *zip = whole != NULL ? zip_open_from_source(whole, ZIP_TRUNCATE, &e) : NULL;
    bool ok = zip != NULL;
    char *block = NULL;
    if (ok) zip_source_keep(whole); /* beyond the archive that it becomes */
    for (int i = 0; i < count && ok; i++) ok = add_member(zip, &members[i]);
    if (zip != NULL && (!ok || zip_close(zip) != 0)) {
        ok = false;
        zip_error_set(&e, zip_error_code_zip(zip_get_error(zip)), zip_error_code_system(zip_get_error(zip)));
        zip_discard(zip);
    }
    ok = ok && zip_source_stat(whole, &stat) == 0 && zip_source_open(whole) == 0;
    if (ok) {
        *size = stat.size;
        block = malloc(stat.size + 1);
        if (block != NULL && zip_source_read(whole, block, stat.size) != (zip_int64_t)stat.size) {
            free(block);
            block = NULL;
        }
        zip_source_close(whole);
    }
    if (block == NULL) snprintf(reason, room, "%s", ok ? "no memory" : zip_error_strerror(&e));
    if (whole != NULL) zip_source_free(whole);
    zip_error_fini(&e);
    return block;
}

bool archive_write(const char *path, output_kind kind, archive_member *members, int count, conv_error *err)
{
    char reason[160];
    size_t size;
    char *block = in_memory(members, count, &size, reason, sizeof reason);
    for (int i = 0; i < count; i++) free(members[i].data);
    if (block == NULL) {
        conv_fail(err, CONV_FAILED, "%.200s: cannot be written: %s", path, reason);
        return false;
    }
    bool written = output_write(path, kind, block, size, err);
    free(block);
    return written;
}

/* ---- reading */

static zip_t *open_archive(const char *path, conv_error *err)
{
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (zip != NULL) return zip;
    zip_error_t e;
    zip_error_init_with_code(&e, code);
    conv_fail(err, CONV_INVALID, "%.200s: %s", path, zip_error_strerror(&e));
    zip_error_fini(&e);
    return NULL;
}

/* libzip checks the CRC when it has given everything, and may give less than asked for before. */
static bool read_all(zip_file_t *member, char *to, size_t size)
{
    size_t done = 0;
    char more;
    zip_int64_t got;
    while (done < size && (got = zip_fread(member, to + done, size - done)) > 0) done += (size_t)got;
    return done == size && zip_fread(member, &more, 1) == 0;
}

char *archive_read(const char *path, const char *name, size_t most, size_t *size, conv_error *err)
{
    zip_stat_t stat;
    char *block = NULL;
    zip_t *zip = open_archive(path, err);
    if (zip == NULL) return NULL;
    zip_file_t *member = NULL;
    if (zip_stat(zip, name, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE))
        conv_fail(err, CONV_INVALID, "%.200s: there is no %s in it", path, name);
    else if (stat.size > most)
        conv_fail(err, CONV_INVALID, "%.150s: %s has %llu bytes: at most %zu are read", path, name,
                  (unsigned long long)stat.size, most);
    else if ((member = zip_fopen_index(zip, stat.index, 0)) == NULL)
        conv_fail(err, CONV_INVALID, "%.150s: %s cannot be opened: %s", path, name, zip_strerror(zip));
    else if ((block = malloc(stat.size + 1)) == NULL)
        conv_fail(err, CONV_NO_MEMORY, "%.200s: no memory for %s", path, name);
    if (block != NULL && !read_all(member, block, stat.size)) {
        conv_fail(err, CONV_INVALID, "%.200s: %s is damaged: its CRC or length is wrong", path, name);
        free(block);
        block = NULL;
    }
    if (block != NULL) {
        *size = stat.size;
        block[stat.size] = 0;
    }
    if (member != NULL) zip_fclose(member);
    zip_discard(zip);
    return block;
}

bool archive_has(const char *path, const char *name)
{
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    bool has = zip != NULL && zip_name_locate(zip, name, 0) >= 0;
    if (zip != NULL) zip_discard(zip);
    return has;
}
