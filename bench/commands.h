/* Declares cmd_NAME(argc, argv) for each line of commands.def. */
#ifndef SEPBENCH_COMMANDS_H
#define SEPBENCH_COMMANDS_H

#define COMMAND(name, summary) int cmd_##name(int argc, char **argv);
#include "commands.def"
#undef COMMAND

#endif
