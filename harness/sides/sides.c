#include "sides.h"

#include <limits.h>
#include <stdlib.h>

#include "../claim.h"
#include "../cli.h"
#include "../report/page.h"
#include "../text.h"

static bool write_all(const sides *s, const verdict *v, const char *out, conv_error *err)
{
    report_plots plots;
    const chart_drawing drawing = {sides_compose, s, &sides_palette};
    if (!chart_draw(&drawing, out, &plots, err)) return false;
    const report_page page = {.data = &sides_palette, .verdict = v, .plots = &plots, .dir = out, .sides = s};
    bool fine = page_write(&page, "reports/machines.html", err) && sides_write_csv(s, out, err);
    report_plots_destroy(&plots);
    return fine;
}

int sides_report(const sides_request *request)
{
    sides s;
    verdict v;
    claim folder;
    conv_error err;
    char shown[PATH_MAX];
    const char *out = request->out != NULL ? request->out : "reports/machines";
    int code = sides_load(request, &s, &err);
    if (code != EXIT_FINE) return cli_error("%s", err.text), code;
    if (!claim_folder(&folder, out, true, &err)) {
        sides_free(&s);
        return cli_error("%s", err.text);
    }
    sides_verdict(&s, &v);
    if (write_all(&s, &v, out, &err)) {
        sides_print(stdout, &s, &v);
        char *absolute = realpath(out, NULL);
        snprintf(shown, sizeof shown, "%s", absolute != NULL ? absolute : out);
        printf("report: %s/index.html\n", text_make_printable(shown));
        free(absolute);
        claim_drop(&folder);
    } else {
        code = cli_error("%s", err.text);
        claim_undo(&folder);
    }
    verdict_destroy(&v);
    sides_free(&s);
    return code;
}
