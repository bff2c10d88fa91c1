/* SPDX-License-Identifier: Apache-2.0
 *
 * Appending to the file of events: open(2) with O_APPEND, write(2), and rotation by rename(2) under flock(2). Runs in
 * the monitor and in the commands, as root in the host's namespaces. */
#define _GNU_SOURCE
#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two that write at the same time may both find the file full: it is renamed by the one that holds the lock of the
 * very file that has the name. The other's line is in the older file, where readers still look. */
static void rotate(int fd, const char *path)
{
    char older[PATH_MAX];
    struct stat mine, there;
    size_t length = strlen(path);
    if (length + sizeof ".1" > sizeof older || flock(fd, LOCK_EX | LOCK_NB))
        return;
    memcpy(older, path, length);
    memcpy(older + length, ".1", sizeof ".1");
    if (!fstat(fd, &mine) && !stat(path, &there) && mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
        rename(path, older);
}

int mrt_events_append(const char *path, const char *lines, size_t size, uint64_t limit)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, lines, size);
    int error = written < 0 ? errno : (size_t)written < size ? ENOSPC : 0;
    off_t end = lseek(fd, 0, SEEK_CUR); /* O_APPEND leaves the offset behind what was written */
    if (end >= 0 && (uint64_t)end >= limit)
        rotate(fd, path);
    close(fd);
    errno = error;
    return error ? -1 : 0;
}
