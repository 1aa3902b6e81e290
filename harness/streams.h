/* The three streams a program starts with, as it may find them: closed, or full. */
#ifndef SEPBENCH_STREAMS_H
#define SEPBENCH_STREAMS_H

/* To be called before anything is opened: a closed stdin, stdout or stderr becomes /dev/null, so that no file
 * of the program's gets its number, and an exit with 0 becomes EXIT_USAGE when stdout could not be written. */
void streams_open(void);

#endif
