/* Which files of a folder are the data set: MNIST's names, also as EMNIST, QMNIST and others spell them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data.h"

enum { PREFIX_MAX = 128, TRAIN = 0, TEST = 1, IMAGES = 0, LABELS = 1 };

/* What a file's name says. */
typedef struct {
    char prefix[PREFIX_MAX];
    int set, kind;
    int spelling; /* of several spellings of one file the least is taken */
} idx_name;

/* "-idx3-ubyte.gz" and its variants. */
static bool parse_ending(const char *text, int *spelling)
{
    bool dotted = *text == '.';
    if ((!dotted && *text != '-') || strncmp(text + 1, "idx", 3) != 0 || text[4] < '1' || text[4] > '4')
        return false;
    text += 5;
    bool wide = strncmp(text, "-int", 4) == 0;
    if (!wide && strncmp(text, "-ubyte", 6) != 0) return false;
    text += wide ? 4 : 6;
    *spelling = 4 * wide + 2 * dotted + (*text != 0);
    return *text == 0 || strcmp(text, ".gz") == 0;
}

static bool parse_name(const char *name, idx_name *out)
{
    static const struct {
        const char *words;
        int set, kind;
    } marks[] = {{"train-images", TRAIN, IMAGES}, {"train-labels", TRAIN, LABELS},
                 {"t10k-images", TEST, IMAGES},   {"t10k-labels", TEST, LABELS},
                 {"test-images", TEST, IMAGES},   {"test-labels", TEST, LABELS}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const char *at = strstr(name, marks[i].words);
        if (at == NULL || (at > name && at[-1] != '-') || at - name >= PREFIX_MAX) continue;
        *out = (idx_name){.set = marks[i].set, .kind = marks[i].kind};
        if (at > name) memcpy(out->prefix, name, (size_t)(at - name) - 1);
        return parse_ending(at + strlen(marks[i].words), &out->spelling);
    }
    return false;
}

/* ---- which set */

typedef struct {
    char folder[4096], prefix[PREFIX_MAX];
    struct dirent **entries;
    int count;
} listing;

/* The prefix of the only set in the folder; none where MNIST itself, which has none, is among several. */
static conv_status choose_prefix(listing *l, conv_error *err)
{
    char sets[8][PREFIX_MAX], words[200] = "";
    int count = 0;
    idx_name name;
    for (int i = 0; i < l->count && count < 8; i++) {
        if (!parse_name(l->entries[i]->d_name, &name) || name.set != TRAIN || name.kind != IMAGES) continue;
        if (*name.prefix == 0) return CONV_OK;
        bool known = false;
        for (int k = 0; k < count; k++) known = known || strcmp(sets[k], name.prefix) == 0;
        if (known) continue;
        size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, "%s%.40s", count > 0 ? ", " : "", name.prefix);
        strcpy(sets[count++], name.prefix);
    }
    if (count == 1) strcpy(l->prefix, sets[0]);
    if (count < 2) return CONV_OK;
    return conv_fail(err, CONV_INVALID, "%s: several data sets (%s): --data %s/%s takes one", l->folder, words,
                     l->folder, sets[0]);
}

/* DIR as a folder, or as a folder and the prefix behind its last slash. */
static conv_status open_listing(const char *dir, listing *l, conv_error *err)
{
    struct stat status;
    const char *slash = strrchr(dir, '/');
    *l = (listing){.count = 0};
    snprintf(l->folder, sizeof l->folder, "%s", dir);
    if (stat(dir, &status) == 0 && !S_ISDIR(status.st_mode))
        return conv_fail(err, CONV_INVALID,
                         "%s: not a folder: --data is the one that holds the IDX files, or an .npz", dir);
    l->count = scandir(dir, &l->entries, NULL, alphasort);
    if (l->count >= 0) return choose_prefix(l, err);
    int why = errno;
    if (why == ENOENT && slash != NULL && slash > dir && slash[1] != 0 && strlen(slash + 1) < PREFIX_MAX) {
        l->folder[slash - dir] = 0;
        strcpy(l->prefix, slash + 1);
        l->count = scandir(l->folder, &l->entries, NULL, alphasort);
    }
    idx_name name;
    for (int i = 0; i < l->count; i++)
        if (parse_name(l->entries[i]->d_name, &name) && strcmp(name.prefix, l->prefix) == 0) return CONV_OK;
    return conv_fail(err, CONV_INVALID, "%s: %s; 'make setup' fetches MNIST to data/mnist", dir, strerror(why));
}

conv_status data_find(const char *dir, data_files *files, conv_error *err)
{
    static const char *const kinds[] = {"images-idx3", "labels-idx1"};
    listing l;
    int best[2][2] = {{INT_MAX, INT_MAX}, {INT_MAX, INT_MAX}};
    conv_status status = open_listing(dir, &l, err);
    for (int i = 0; i < l.count && status == CONV_OK; i++) {
        idx_name name;
        const char *text = l.entries[i]->d_name;
        if (!parse_name(text, &name) || strcmp(name.prefix, l.prefix) != 0) continue;
        if (name.spelling >= best[name.set][name.kind]) continue;
        best[name.set][name.kind] = name.spelling;
        char *path = files->path[name.set][name.kind];
        snprintf(path, sizeof files->path[0][0], "%s/%s", l.folder, text);
    }
    const char *const sets[] = {"train", *l.prefix != 0 ? "test" : "t10k"};
    for (int i = 0; i < 4 && status == CONV_OK; i++)
        if (best[i / 2][i % 2] == INT_MAX)
            status = conv_fail(err, CONV_INVALID, "%s: no %s%s%s-%s-ubyte[.gz] in it", l.folder, l.prefix,
                               *l.prefix != 0 ? "-" : "", sets[i / 2], kinds[i % 2]);
    for (int i = 0; i < l.count; i++) free(l.entries[i]);
    free(l.entries);
    return status;
}

bool data_is_cifar(const char *dir)
{
    struct dirent **entries = NULL;
    bool cifar = false, idx = false;
    int count = scandir(dir, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        idx_name name;
        const char *text = entries[i]->d_name;
        cifar = cifar || strncmp(text, "data_batch_", 11) == 0 || strncmp(text, "test_batch", 10) == 0;
        idx = idx || parse_name(text, &name);
        free(entries[i]);
    }
    free(entries);
    return cifar && !idx;
}
