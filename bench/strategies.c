#include "strategies.h"

#include <string.h>

#include "../harness/cli.h"
#include "../harness/machine/machine.h"

enum { KEY_STRATEGY = 0x400, KEY_WISDOM };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "By which strategies ('sepbench list --strategies PROBLEM' prints them):", 3},
    {"strategy", KEY_STRATEGY, "WORD", 0,
     "measured (default): what was found to be fastest on this machine; model: the cost model's pick; or the "
     "number of one",
     0},
    {"wisdom", KEY_WISDOM, "FILE", 0,
     "where what was found is kept (default: a file in ~/.cache/sepbench, of one build and CPU)", 0},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    strategy_words *w = state->input;
    switch (key) {
    case KEY_STRATEGY: w->strategy = arg; return 0;
    case KEY_WISDOM: w->wisdom = arg; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp strategies_argp = {options, parse_option, NULL, NULL, NULL, NULL, NULL};

int strategies_open(const strategy_words *words, wisdom **w)
{
    strategy_options o = {.kind = STRATEGY_MEASURED, .file = words->wisdom};
    const char *word = words->strategy;
    int64_t nth = 0;
    conv_error err;
    if (word != NULL && strcmp(word, "model") == 0)
        o.kind = STRATEGY_MODEL;
    else if (word != NULL && cli_parse_int(word, 0, CONV_STRATEGIES - 1, &nth))
        o.kind = STRATEGY_NTH;
    else if (word != NULL && strcmp(word, "measured") != 0)
        return cli_error("--strategy: '%s': must be measured, model or a number from 0 to %d", word,
                         CONV_STRATEGIES - 1);
    o.nth = (int)nth;
    *w = wisdom_open(&o, &err);
    if (*w == NULL) return cli_error("--wisdom: %s", err.text);
    machine_use_book(wisdom_book(*w));
    return EXIT_FINE;
}

void strategies_close(wisdom *w)
{
    machine_use_book(NULL);
    wisdom_close(w);
}
