/* Commands of the benchmarks' programs: a byte each on stdin. */
#ifndef BENCH_COMMAND_H
#define BENCH_COMMAND_H

#include <stdlib.h>
#include <unistd.h>

/* The next one; the program ends at 'q', and when nobody is there to say it. */
static inline char next_command(void) {
    char command;
    if (read(0, &command, 1) != 1 || command == 'q')
        exit(0);
    return command;
}

#endif
