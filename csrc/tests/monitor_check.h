/* SPDX-License-Identifier: Apache-2.0
 *
 * One macro and one directory: what the monitor's C tests share. */
#ifndef MRT_MONITOR_CHECK_H
#define MRT_MONITOR_CHECK_H
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), exit(1)))

/* A new directory, as a descriptor; left below TMPDIR's default for the system to clean. */
static inline int scratch(char path[64])
{
    strcpy(path, "/tmp/minirt-ctest-XXXXXX");
    CHECK(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static inline size_t content(int dir, const char *name, char *into, size_t size)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (size_t)-1;
    size_t total = 0;
    for (ssize_t got; (got = read(fd, into + total, size - 1 - total)) > 0;)
        total += (size_t)got;
    into[total] = '\0';
    close(fd);
    return total;
}
#endif
