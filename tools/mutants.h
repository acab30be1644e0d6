/* Which mutant is at work, and which have been reached: in a file that all modules have mapped. */
#ifndef FASTLB_MUTANTS_H
#define FASTLB_MUTANTS_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
    int active;                     /* 0: none */
    unsigned char reached[8192];
} *fl_mutants;

__attribute__((constructor)) static void fl_map_mutants(void)
{
    const char *path = getenv("FASTLB_MUTANTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    fl_mutants = mmap(NULL, sizeof *fl_mutants, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fl_mutants == MAP_FAILED)
        abort();
    close(fd);
}

static inline int fl_is_mutant(int number)
{
    if (!fl_mutants)
        return 0;
    fl_mutants->reached[number] = 1;
    return fl_mutants->active == number;
}

#endif
