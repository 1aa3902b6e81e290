/* What training left in the run's folder. */
#include "report_page.h"

void page_training(FILE *out, const report_page *page)
{
    (void)out;
    (void)page;
}
