/* A comparison for the terminal, for a CI's job summary and as annotations of GitHub Actions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../report/report.h"
#include "../text.h"
#include "internal.h"

static const struct {
    const char *name;
    int rank; /* in the table: what fails stands first */
} verdicts[COMPARE_VERDICT_COUNT] = {
    [COMPARE_WRONG] = {"WRONG", 0},
    [COMPARE_REGRESSED] = {"REGRESSED", 1},
    [COMPARE_INCONCLUSIVE] = {"INCONCLUSIVE", 2},
    [COMPARE_FASTER] = {"FASTER", 3},
    [COMPARE_UNCHANGED] = {"UNCHANGED", 4},
    [COMPARE_NOT_COMPARED] = {"NOT COMPARED", 5},
};

const char *compare_verdict_name(compare_verdict v) { return verdicts[v].name; }

size_t compare_count(const compare_result *r, compare_verdict v)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) n += r->cases[i].verdict == v;
    return n;
}

static int by_weight(const void *a, const void *b, void *cases)
{
    const compare_case *x = (const compare_case *)cases + *(const size_t *)a,
                       *y = (const compare_case *)cases + *(const size_t *)b;
    int rank = verdicts[x->verdict].rank - verdicts[y->verdict].rank;
    if (rank != 0) return rank;
    double p = isfinite(x->ratio) ? x->ratio : 0, q = isfinite(y->ratio) ? y->ratio : 0;
    if (p < q || p > q) return p < q ? 1 : -1;
    return strcmp(x->name, y->name);
}

size_t *compare_sorted(const compare_result *r)
{
    size_t *order = malloc((r->count + 1) * sizeof *order);
    if (order == NULL) return NULL;
    for (size_t i = 0; i < r->count; i++) order[i] = i;
    qsort_r(order, r->count, sizeof *order, by_weight, r->cases);
    return order;
}

/* "+10.2%" of a ratio; "" for NAN. */
static char *percent(double ratio, char *buffer, size_t size)
{
    if (isnan(ratio))
        buffer[0] = '\0';
    else
        snprintf(buffer, size, "%+.1f%%", 100 * (ratio - 1));
    return buffer;
}

/* "+9.1 .. +11.4%"; "" without an interval. */
static char *interval(const compare_case *c, char *buffer, size_t size)
{
    if (c->low > 0 && isfinite(c->high))
        snprintf(buffer, size, "%+.1f .. %+.1f%%", 100 * (c->low - 1), 100 * (c->high - 1));
    else
        buffer[0] = '\0';
    return buffer;
}

static char *smallest(const compare_case *c, char *buffer, size_t size)
{
    if (!compare_is_judged(c) || isnan(c->catchable))
        buffer[0] = '\0';
    else if (isinf(c->catchable))
        snprintf(buffer, size, "none");
    else
        snprintf(buffer, size, "%.1f%%", 100 * (c->catchable - 1));
    return buffer;
}

/* ---- sentences */

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

void compare_outcome(const compare_result *r, char *line, size_t size)
{
    size_t wrong = compare_count(r, COMPARE_WRONG), slower = compare_count(r, COMPARE_REGRESSED),
           unclear = compare_count(r, COMPARE_INCONCLUSIVE), faster = compare_count(r, COMPARE_FASTER),
           absent = compare_count(r, COMPARE_NOT_COMPARED), compared = r->count - wrong - absent;
    char rest[48] = "";
    if (absent > 0) snprintf(rest, sizeof rest, ", %zu not compared", absent);
    if (wrong > 0)
        snprintf(line, size, "WRONG: %zu of %zu cases: head computes a wrong result", wrong, r->count);
    else if (r->invalid)
        snprintf(line, size, "INVALID: %s: no verdict counts", r->invalid_why);
    else if (slower > 0)
        snprintf(line, size, "REGRESSED: %zu of %zu cases %s slower than base by more than %.1f%%", slower,
                 compared, slower == 1 ? "is" : "are", 100 * r->margin);
    else
        snprintf(line, size,
                 "NO REGRESSION: of %zu case%s none is confirmed slower; %zu faster, %zu inconclusive%s",
                 compared, plural(compared), faster, unclear, rest);
}

/* What UNCHANGED can and cannot exclude; "" when nothing is unchanged. */
static void limits(const compare_result *r, char *text, size_t size)
{
    double least = INFINITY, most = 0;
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < r->count; i++) {
        const compare_case *c = &r->cases[i];
        if (c->verdict != COMPARE_UNCHANGED) continue;
        least = fmin(least, c->catchable);
        most = fmax(most, c->catchable);
        n++;
    }
    if (n == 0) return;
    snprintf(
        text, size,
        "%zu UNCHANGED: a slowdown of %.1f%% (the quietest case) to %.1f%% (the noisiest) would have been "
        "caught "
        "9 times in 10; one of just %.1f%%, the margin, 1 time in 20 at most; smaller ones are not sought.",
        n, 100 * (least - 1), 100 * (most - 1), 100 * r->margin);
}

static const char *commit_of(const compare_side *side) { return side->commit[0] ? side->commit : side->path; }

static void side_name(const compare_side *side, char *text, size_t size)
{
    snprintf(text, size, "%.12s%s%s%s", commit_of(side), side->dirty ? "+changes" : "",
             side->inject[0] ? " with " : "", side->inject);
}

enum { SESSION_LINES = 4, LINE_BYTES = 400 };

/* What was compared, and what the session found out about itself; a line may be empty. */
static void session_lines(const compare_result *r, char lines[SESSION_LINES][LINE_BYTES])
{
    char base[128], head[128], shift[32], spread[48] = "", drift[32];
    side_name(&r->base, base, sizeof base);
    side_name(&r->head, head, sizeof head);
    memset(lines, 0, (size_t)SESSION_LINES * LINE_BYTES);
    snprintf(lines[0], LINE_BYTES, "head %s against base %s: %zu case%s, %d thread%s, %s, %.0f s", head, base,
             r->count, plural(r->count), r->threads, plural((size_t)r->threads), r->isa, r->seconds);
    text_make_printable(lines[0]);
    snprintf(lines[1], LINE_BYTES, "margin %.1f%%: %s", 100 * r->margin, r->margin_why);
    if (!isnan(r->null_spread)) snprintf(spread, sizeof spread, ", spread %.1f%%", 100 * expm1(r->null_spread));
    if (!isnan(r->null_shift))
        snprintf(lines[2], LINE_BYTES, "base against base: shift %s%s; control drift %s",
                 percent(exp(r->null_shift), shift, sizeof shift), spread,
                 isnan(r->control_drift) ? "unknown" : percent(exp(r->control_drift), drift, sizeof drift));
    if (r->kind == COMPARE_STORED)
        snprintf(
            lines[3], LINE_BYTES,
            "two stored runs, one after the other: whatever else changed between them counts as the code's; "
            "'make regress' compares side by side");
    else if (r->samples > 0)
        snprintf(lines[3], LINE_BYTES, "%lld samples, %.1f%% of them disturbed by another program",
                 (long long)r->samples, 100 * (double)r->disturbed / (double)r->samples);
}

/* ---- terminal */

/* How many bytes from the end of all names are the same, from a slash on: "/nhwc/t2/warm". */
static size_t common_tail(const compare_result *r)
{
    if (r->count < 2) return 0;
    const char *first = r->cases[0].name;
    size_t length = strlen(first), tail = length;
    for (size_t i = 1; i < r->count; i++) {
        const char *name = r->cases[i].name;
        size_t other = strlen(name), same = 0;
        while (same < tail && same < other && name[other - 1 - same] == first[length - 1 - same]) same++;
        tail = same;
    }
    while (tail > 0 && first[length - tail] != '/') tail--;
    return tail;
}

enum { COLUMNS = 80, INDENT = 13 }; /* of what stands below a row */
static const char indent[INDENT + 1] = "             ";

/* A name that does not fit behind the figures stands below them. */
static void print_row(FILE *out, const compare_case *c, size_t tail)
{
    char change[32], between[64], least[32], reason[sizeof c->reason];
    const int length = (int)(strlen(c->name) - tail);
    const int before = fprintf(out, "%-12s %7s %16s %7s", compare_verdict_name(c->verdict),
                               compare_is_judged(c) ? percent(c->ratio, change, sizeof change) : "",
                               compare_is_judged(c) ? interval(c, between, sizeof between) : "",
                               smallest(c, least, sizeof least));
    if (before + 1 + length <= COLUMNS)
        fprintf(out, " %.*s\n", length, c->name);
    else
        fprintf(out, "\n%.*s%.*s\n", length > COLUMNS - INDENT ? 0 : INDENT, indent, length, c->name);
    snprintf(reason, sizeof reason, "%s", c->reason);
    if (reason[0]) report_wrap(out, indent, indent, text_make_printable(reason));
    if (c->verdict == COMPARE_WRONG && c->repro[0]) fprintf(out, "%srepro: %s\n", indent, c->repro);
}

void compare_print(FILE *out, const compare_result *r, bool all)
{
    char lines[SESSION_LINES][LINE_BYTES], text[512];
    size_t *order = compare_sorted(r);
    session_lines(r, lines);
    for (int i = 0; i < SESSION_LINES; i++)
        if (lines[i][0]) report_wrap(out, "", "", lines[i]);
    size_t tail = common_tail(r), shown = 0;
    for (size_t i = 0; order != NULL && i < r->count; i++) {
        const compare_case *c = &r->cases[order[i]];
        if (c->verdict == COMPARE_UNCHANGED && !all) continue;
        if (shown++ == 0)
            fprintf(out, "\n%-12s %7s %16s %7s case%s%s\n", "verdict", "change", "95% interval", "catches",
                    tail ? "; all " : "", tail ? r->cases[0].name + strlen(r->cases[0].name) - tail + 1 : "");
        print_row(out, c, tail);
    }
    free(order);
    if (shown > 0) putc('\n', out);
    limits(r, text, sizeof text);
    if (text[0]) report_wrap(out, "", "", text);
    compare_outcome(r, text, sizeof text);
    report_wrap(out, "", "", text);
}

/* ---- Markdown: GitHub Flavored Markdown, section 4.10, tables */

/* What would begin a cell, a tag, a link or code is text. */
static void put_plain(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("|<[`", *text) != NULL) putc('\\', out);
        putc(*text, out);
    }
}

static void put_cell(FILE *out, const char *text)
{
    char printable[sizeof((compare_case *)0)->repro];
    snprintf(printable, sizeof printable, "%s", text);
    put_plain(out, text_make_printable(printable));
}

static void markdown_row(FILE *out, const compare_case *c)
{
    char change[32], between[64], least[32];
    bool judged = compare_is_judged(c);
    fprintf(out, "| %s | %s | %s | %s | `", compare_verdict_name(c->verdict),
            judged ? percent(c->ratio, change, sizeof change) : "",
            judged ? interval(c, between, sizeof between) : "", smallest(c, least, sizeof least));
    put_cell(out, c->name);
    fputs("` | ", out);
    put_cell(out, c->reason);
    if (c->verdict == COMPARE_WRONG && c->repro[0]) {
        fputs(" `", out);
        put_cell(out, c->repro);
        putc('`', out);
    }
    fputs(" |\n", out);
}

static void markdown_table(FILE *out, const compare_result *r, const size_t *order, bool unchanged)
{
    fputs("\n| verdict | change | 95% interval | smallest slowdown caught 9 times in 10 | case | remark |\n"
          "|---|---:|---:|---:|---|---|\n",
          out);
    for (size_t i = 0; i < r->count; i++)
        if ((r->cases[order[i]].verdict == COMPARE_UNCHANGED) == unchanged)
            markdown_row(out, &r->cases[order[i]]);
}

void compare_markdown(FILE *out, const compare_result *r)
{
    char lines[SESSION_LINES][LINE_BYTES], text[512];
    size_t unchanged = compare_count(r, COMPARE_UNCHANGED);
    size_t *order = compare_sorted(r);
    compare_outcome(r, text, sizeof text);
    fprintf(out, "### %s\n\n", text);
    session_lines(r, lines);
    for (int i = 0; i < SESSION_LINES; i++)
        if (lines[i][0]) {
            fputs("- ", out);
            put_plain(out, lines[i]);
            putc('\n', out);
        }
    if (order != NULL && unchanged < r->count) markdown_table(out, r, order, false);
    limits(r, text, sizeof text);
    if (text[0]) fprintf(out, "\n%s\n", text);
    if (order != NULL && unchanged > 0) {
        fprintf(out, "\n<details><summary>%zu unchanged</summary>\n", unchanged);
        markdown_table(out, r, order, true);
        fputs("\n</details>\n", out);
    }
    free(order);
}
