/* The cases of a selection that the program must take. */
#ifndef SEPBENCH_TESTS_SELECTED_H
#define SEPBENCH_TESTS_SELECTED_H

#include "../bench/select.h"
#include "../harness/cli.h"
#include "unit.h"

static inline selection selected(select_options options)
{
    selection s;
    if (select_cases(&options, &s) != EXIT_FINE) fail_msg("refused");
    return s;
}

#endif
