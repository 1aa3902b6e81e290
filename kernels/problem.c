/* Problem strings. A piece is a key and a whole number (ic32); the rules that fill in what is missing are
 * benchdnn's (oneDNN tests/benchdnn/conv/conv_aux.cpp, str2desc, and utils sanitize_desc):
 *
 *   an axis exists when any of its i, o, k, s, p, d says something; it then needs i and k;
 *   only d given: a cube; h without w: a square; only w: rank 1;
 *   o missing: p (0 if missing too) on both sides;  o given: p = half of what o needs, the rest after.
 *
 * As there, `_` separates, a repeated key takes its last value, and everything behind n is the name. Unlike
 * there, a size of 0 is an error instead of "missing", and so is a kernel that does not fit. */
#include "problem.h"

#include <stdio.h>
#include <string.h>

enum { IN, OUT, KERNEL, STRIDE, PAD, DILATION, QUANTITIES };
static const char quantity_letters[] = "iokspd";
static const char axis_letters[] = "dhw";
static const char *const allowed_keys = "g mb ic oc dm, or one of i o k s p d with d h w (ih, kw, ...)";

enum { MISSING = -1 };
/* Of any number, and of what two of them make along an axis: then no sum of a few overflows. */
static const int64_t largest = INT64_C(1) << 40, longest = INT64_C(1) << 60;

typedef struct {
    int64_t g, mb, ic, oc, dm;
    int64_t axis[CONV_AXES][QUANTITIES];
} pieces;

/* Where the value of the key at `text` goes, its length in *length; NULL when it is no key. */
static int64_t *slot(pieces *raw, const char *text, int *length)
{
    struct {
        const char *key;
        int64_t *value;
    } plain[] = {{"g", &raw->g}, {"mb", &raw->mb}, {"ic", &raw->ic}, {"oc", &raw->oc}, {"dm", &raw->dm}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        *length = (int)strlen(plain[i].key);
        if (strncmp(text, plain[i].key, (size_t)*length) == 0) return plain[i].value;
    }
    const char *quantity = strchr(quantity_letters, text[0]);
    const char *axis =
        quantity == NULL || text[0] == '\0' || text[1] == '\0' ? NULL : strchr(axis_letters, text[1]);
    *length = 2;
    return axis == NULL ? NULL : &raw->axis[axis - axis_letters][quantity - quantity_letters];
}

static conv_status read_number(const char *key, int key_length, const char **text, int64_t least,
                               int64_t *value, conv_error *err)
{
    const char *s = *text;
    int64_t number = 0;
    while (*s >= '0' && *s <= '9' && number <= largest) number = 10 * number + (*s++ - '0');
    if (s == *text)
        return conv_fail(err, CONV_INVALID, "'%.*s' is followed by '%.20s': a whole number is needed",
                         key_length, key, s);
    if (number < least || number > largest)
        return conv_fail(err, CONV_INVALID, "'%.20s': %.*s must be between %lld and %lld", key, key_length, key,
                         (long long)least, (long long)largest);
    *value = number;
    *text = s;
    return CONV_OK;
}

/* The n"..." part, quotes removed. */
static conv_status read_name(const char *text, char *name, conv_error *err)
{
    size_t length = strlen(text);
    if (text[0] == '"') {
        if (length < 2 || text[length - 1] != '"')
            return conv_fail(err, CONV_INVALID, "the name n%.60s has no closing quote", text);
        text++;
        length -= 2;
    }
    if (length >= PROBLEM_NAME_MAX)
        return conv_fail(err, CONV_INVALID, "the name '%.40s...' is longer than %d characters", text,
                         PROBLEM_NAME_MAX - 1);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == '"')
            return conv_fail(err, CONV_INVALID, "the name n%.60s holds a quote or a control character", text);
    if (name != NULL) {
        memcpy(name, text, length);
        name[length] = '\0';
    }
    return CONV_OK;
}

static conv_status read_pieces(const char *text, pieces *raw, char *name, conv_error *err)
{
    memset(raw, MISSING, sizeof *raw); /* all bits set: every field is MISSING */
    if (name != NULL) name[0] = '\0';
    while (*text != '\0') {
        if (*text == '_') {
            text++;
            continue;
        }
        if (*text == 'n') return read_name(text + 1, name, err);
        int length;
        const char *key = text;
        int64_t *value = slot(raw, text, &length);
        if (value == NULL)
            return conv_fail(err, CONV_INVALID,
                             "'%.40s' starts with no known key: allowed are %s, and n\"name\" last", text,
                             allowed_keys);
        text += length;
        bool may_be_zero = length == 2 && (key[0] == 'p' || (key[0] == 'd' && key[1] != 'm'));
        conv_status status = read_number(key, length, &text, may_be_zero ? 0 : 1, value, err);
        if (status != CONV_OK) return status;
    }
    return CONV_OK;
}

/* benchdnn's notion: nothing was said about the axis, or only defaults. */
static bool absent(const int64_t *axis)
{
    return axis[IN] < 1 && axis[OUT] < 1 && axis[KERNEL] < 1 && axis[DILATION] < 1 && axis[STRIDE] <= 1 &&
           axis[PAD] < 1;
}

static bool too_long(int64_t count, int64_t distance)
{
    int64_t length;
    return __builtin_mul_overflow(count, distance, &length) || length > longest;
}

static conv_status fill_axis(const int64_t *given, char letter, conv_axis *a, conv_error *err)
{
    static const int needed[] = {IN, KERNEL};
    for (int i = 0; i < 2; i++)
        if (given[needed[i]] == MISSING)
            return conv_fail(err, CONV_INVALID,
                             "%c%c is missing: axis %c needs its input size i%c and kernel size k%c",
                             quantity_letters[needed[i]], letter, letter, letter, letter);
    *a = (conv_axis){.in = given[IN],
                     .kernel = given[KERNEL],
                     .stride = given[STRIDE] == MISSING ? 1 : given[STRIDE],
                     .dilation = given[DILATION] == MISSING ? 1 : given[DILATION] + 1,
                     .pad_before = given[PAD] == MISSING ? 0 : given[PAD]};
    int64_t out = given[OUT];
    if (too_long(a->kernel, a->dilation) || too_long(out, a->stride))
        return conv_fail(err, CONV_INVALID,
                         "the sizes along %c overflow: k%c%lld at a dilation of %lld, s%c%lld", letter, letter,
                         (long long)a->kernel, (long long)a->dilation, letter, (long long)a->stride);
    int64_t extent = conv_effective_kernel(a);
    if (out == MISSING) {
        int64_t room = a->in + 2 * a->pad_before - extent;
        if (room < 0)
            return conv_fail(
                err, CONV_INVALID,
                "k%c%lld does not fit: it spans %lld of an input of %lld with a padding of %lld on both "
                "sides",
                letter, (long long)a->kernel, (long long)extent, (long long)a->in, (long long)a->pad_before);
        out = room / a->stride + 1;
    } else if (given[PAD] == MISSING) {
        int64_t padding = (out - 1) * a->stride + extent - a->in;
        if (padding / 2 < 0 || padding / 2 > largest)
            return conv_fail(
                err, CONV_INVALID,
                "o%c%lld does not fit: without p%c it means a padding of %lld, which must be between 0 "
                "and 2^41",
                letter, (long long)out, letter, (long long)padding);
        a->pad_before = padding / 2;
    }
    a->pad_after = (out - 1) * a->stride + extent - a->in - a->pad_before;
    return CONV_OK;
}

static conv_status fill_axes(const pieces *raw, conv_problem *p, conv_error *err)
{
    bool no[CONV_AXES];
    for (int i = 0; i < CONV_AXES; i++) {
        no[i] = absent(raw->axis[i]);
        p->axis[i] = (conv_axis){.in = 1, .kernel = 1, .stride = 1, .dilation = 1};
        conv_status status = no[i] ? CONV_OK : fill_axis(raw->axis[i], axis_letters[i], &p->axis[i], err);
        if (status != CONV_OK) return status;
    }
    if (no[CONV_D] && no[CONV_H] && no[CONV_W])
        return conv_fail(err, CONV_INVALID,
                         "no spatial size: ih and kh (or iw and kw, or id and kd) are needed");
    if (!no[CONV_D] && no[CONV_H] != no[CONV_W])
        return conv_fail(err, CONV_INVALID,
                         "i%c is missing: with a depth, give both height and width or neither",
                         no[CONV_H] ? 'h' : 'w');
    p->rank = !no[CONV_D] ? 3 : !no[CONV_H] ? 2 : 1;
    if (p->rank == 3 && no[CONV_H]) p->axis[CONV_H] = p->axis[CONV_W] = p->axis[CONV_D];
    if (p->rank == 2 && no[CONV_W]) p->axis[CONV_W] = p->axis[CONV_H];
    return CONV_OK;
}

/* The variant by the rules of problem.h, unless a prefix forced it. */
static conv_variant guess_variant(const conv_problem *p)
{
    if (p->groups > 1 && p->groups == p->ic) return CONV_DEPTHWISE;
    bool one = p->groups == 1;
    for (int i = 0; i < CONV_AXES; i++) one = one && p->axis[i].kernel == 1;
    return one ? CONV_POINTWISE : CONV_DENSE;
}

static conv_status fill_channels(const pieces *raw, bool forced, conv_problem *p, conv_error *err)
{
    if (raw->ic == MISSING || raw->oc == MISSING)
        return conv_fail(err, CONV_INVALID, "%s is missing: a problem needs ic, oc, a size and a kernel size",
                         raw->ic == MISSING ? "ic" : "oc");
    p->mb = raw->mb == MISSING ? 2 : raw->mb;
    p->ic = raw->ic;
    p->oc = raw->oc;
    p->groups = raw->g == MISSING ? 1 : raw->g;
    p->depth_multiplier = raw->dm == MISSING ? 1 : raw->dm;
    if (!forced) p->variant = guess_variant(p);
    if (p->variant != CONV_DEPTHWISE) return CONV_OK;
    if (raw->g == MISSING) p->groups = p->ic;
    if (p->oc % p->ic != 0)
        return conv_fail(err, CONV_INVALID,
                         "oc%lld is no multiple of ic%lld: a depthwise convolution needs one", (long long)p->oc,
                         (long long)p->ic);
    p->depth_multiplier = p->oc / p->ic;
    if (raw->dm != MISSING && raw->dm != p->depth_multiplier)
        return conv_fail(err, CONV_INVALID, "dm%lld contradicts oc%lld / ic%lld", (long long)raw->dm,
                         (long long)p->oc, (long long)p->ic);
    return CONV_OK;
}

/* Takes a "variant:" prefix off *text. A colon inside the name is none. */
static conv_status read_prefix(const char **text, conv_problem *p, bool *forced, conv_error *err)
{
    size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyz");
    *forced = (*text)[length] == ':';
    if (!*forced) return CONV_OK;
    for (int v = 0; v < CONV_VARIANT_COUNT; v++) {
        const char *name = conv_variant_name((conv_variant)v);
        if (strlen(name) == length && strncmp(name, *text, length) == 0) {
            p->variant = (conv_variant)v;
            *text += length + 1;
            return CONV_OK;
        }
    }
    return conv_fail(err, CONV_INVALID,
                     "prefix '%.*s:' is unknown: allowed are dense: depthwise: pointwise: separable:",
                     length > 40 ? 40 : (int)length, *text);
}

conv_status problem_parse(const char *text, conv_problem *p, char *name, conv_error *err)
{
    pieces raw;
    bool forced;
    *p = (conv_problem){.layout = CONV_NHWC, .post_op = CONV_POST_NONE};
    conv_status status = read_prefix(&text, p, &forced, err);
    if (status == CONV_OK && *text == '\0') status = conv_fail(err, CONV_INVALID, "the problem is empty");
    if (status == CONV_OK) status = read_pieces(text, &raw, name, err);
    if (status == CONV_OK) status = fill_axes(&raw, p, err);
    if (status == CONV_OK) status = fill_channels(&raw, forced, p, err);
    return status == CONV_OK ? conv_problem_check(p, err) : status;
}

/* ---- formatting */

typedef struct {
    char *text;
    size_t length;
} writer;

static void put(writer *w, const char *key, char axis, int64_t value)
{
    size_t left = PROBLEM_STRING_MAX - w->length;
    const char suffix[2] = {axis, '\0'};
    int n = snprintf(w->text + w->length, left, "%s%s%lld", key, suffix, (long long)value);
    w->length += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left - 1;
}

/* Whether the axis must state its output size, and whether its padding: what parsing would not derive. */
static void needs(const conv_axis *a, bool *out, bool *pad)
{
    int64_t extent = conv_effective_kernel(a), room = a->in + 2 * a->pad_before - extent;
    *out = room < 0 || room / a->stride + 1 != conv_out(a);
    int64_t derived = *out ? ((conv_out(a) - 1) * a->stride + extent - a->in) / 2 : 0;
    *pad = a->pad_before != derived;
}

static bool same_axis(const conv_axis *a, const conv_axis *b)
{
    return a->in == b->in && a->kernel == b->kernel && a->stride == b->stride && a->dilation == b->dilation &&
           a->pad_before == b->pad_before && conv_out(a) == conv_out(b);
}

char *problem_format(const conv_problem *p, char *buffer)
{
    writer w = {buffer, 0};
    int first = CONV_AXES - p->rank, end = CONV_AXES;
    bool equal = p->rank > 1;
    for (int i = first + 1; i < CONV_AXES; i++) equal = equal && same_axis(&p->axis[first], &p->axis[i]);
    if (equal) end = first + 1;
    buffer[0] = '\0';

    if (p->groups != 1) put(&w, "g", '\0', p->groups);
    put(&w, "mb", '\0', p->mb);
    put(&w, "ic", '\0', p->ic);
    for (int i = first; i < end; i++) put(&w, "i", axis_letters[i], p->axis[i].in);
    put(&w, "oc", '\0', p->oc);
    bool out[CONV_AXES], pad[CONV_AXES];
    for (int i = first; i < end; i++) {
        needs(&p->axis[i], &out[i], &pad[i]);
        if (out[i]) put(&w, "o", axis_letters[i], conv_out(&p->axis[i]));
    }
    for (int i = first; i < end; i++) put(&w, "k", axis_letters[i], p->axis[i].kernel);
    for (int i = first; i < end; i++)
        if (p->axis[i].stride != 1) put(&w, "s", axis_letters[i], p->axis[i].stride);
    for (int i = first; i < end; i++)
        if (pad[i]) put(&w, "p", axis_letters[i], p->axis[i].pad_before);
    for (int i = first; i < end; i++)
        if (p->axis[i].dilation != 1) put(&w, "d", axis_letters[i], p->axis[i].dilation - 1);
    if (p->variant == CONV_SEPARABLE && p->depth_multiplier != 1) put(&w, "dm", '\0', p->depth_multiplier);
    return buffer;
}
