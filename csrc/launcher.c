/* SPDX-License-Identifier: Apache-2.0
 *
 * The `minirt` command: starts the interpreter beside it, isolated (-I -S, python(1)), on the package beside that.
 *
 * An isolated CPython starts in 6 ms. With site it reads every .pth file of site-packages, and a shim in front of the
 * interpreter may cost 70 ms more. This file is found through /proc/self/exe, so a link to it may lie anywhere. Where
 * it does not find what it expects it leaves the search to a plain `python3 -m minirt`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const PLACES[] = {
    "/lib/" PYTHON "/site-packages", "/local/lib/" PYTHON "/dist-packages", "/lib/" PYTHON "/dist-packages",
    "/lib/python3/dist-packages", "/lib64/" PYTHON "/site-packages",
};

static char prefix[PATH_MAX], packages[PATH_MAX + 64], python[PATH_MAX + 32], entry[PATH_MAX + 96];

/* …/bin/minirt gives the prefix …; 0 or -1. */
static int find_prefix(void)
{
    ssize_t size = readlink("/proc/self/exe", prefix, sizeof prefix - 1);
    if (size <= 0)
        return -1;
    prefix[size] = 0;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(prefix, '/');
        if (!slash)
            return -1;
        *slash = 0;
    }
    return 0;
}

static int find_package(void)
{
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        snprintf(packages, sizeof packages, "%s%s", prefix, PLACES[i]);
        snprintf(entry, sizeof entry, "%s/minirt/__main__.py", packages);
        if (access(entry, R_OK) == 0)
            return 0;
    }
    return -1;
}

/* A stream that the caller closed would give its number to some file or socket of ours. And CPython does not start
 * when standard input is a directory: it gets something else that cannot be read. */
static void prepare_streams(void)
{
    struct stat status;
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", O_RDWR); /* takes the lowest number, which is fd */
    if (fstat(0, &status) || !S_ISDIR(status.st_mode))
        return;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd > 0)
        dup2(fd, 0);
}

/* Compiled from text each time, so it is short. _exit skips the interpreter's tear-down: 2 to 3 ms. */
#define PROGRAM "import os, sys; sys.path.append(sys.argv.pop(1)); from minirt.cli.main import main; os._exit(main(sys.argv[1:]))"

int main(int argc, char **argv)
{
    char **arguments = calloc((size_t)argc + 8, sizeof *arguments);
    if (!arguments)
        return 125;
    prepare_streams();
    int found = !find_prefix() && !find_package(), at = 0;
    snprintf(python, sizeof python, "%s/bin/" PYTHON, prefix);
    arguments[at++] = python;
    if (found) {
        arguments[at++] = "-IS";
        arguments[at++] = "-c";
        arguments[at++] = PROGRAM;
        arguments[at++] = packages;
    } else {
        arguments[at++] = "-m";
        arguments[at++] = "minirt";
    }
    for (int i = 1; i < argc; i++)
        arguments[at++] = argv[i];
    execv(python, arguments);
    snprintf(python, sizeof python, PYTHON);
    execvp(python, arguments);
    execvp("python3", arguments);
    fprintf(stderr, "minirt: cannot start %s: %s\ninstall it, or minirt again\n", PYTHON, strerror(errno));
    return 125;
}
