/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of the container's cgroup: cgroup.kill, cgroup.events and rmdir(2) as in the kernel's cgroup-v2.rst. Runs
 * in the monitor, which is not in that cgroup. Everything is relative to the descriptor of its parent. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor_parts.h"

#define DEPTH 16      /* cgroups that the container nested */
#define WAIT_MS 2000  /* for a process that cannot die yet */

static int open_dir(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void mrt_cgroup_kill(const struct mrt_monitor *monitor)
{
    if (monitor->settings.cgroup_parent < 0)
        return;
    int dir = open_dir(monitor->settings.cgroup_parent, monitor->cgroup_name);
    int fd = dir < 0 ? -1 : openat(dir, "cgroup.kill", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t written = write(fd, "1", 1);
        (void)written; /* the kernel before 5.14 has no such file; then pid 1's namespace has to do */
        close(fd);
    }
    if (dir >= 0)
        close(dir);
}

/* The first cgroup below `dir`; getdents64(2), because opendir allocates. */
static int first_child(int dir, char *name, size_t size)
{
    union { struct dirent64 entry; char bytes[2048]; } buffer;
    long got;
    if (lseek(dir, 0, SEEK_SET))
        return -1;
    while ((got = syscall(SYS_getdents64, dir, buffer.bytes, sizeof buffer)) > 0) {
        for (long at = 0; at < got;) {
            const struct dirent64 *entry = (const struct dirent64 *)(buffer.bytes + at);
            at += entry->d_reclen;
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && strlen(entry->d_name) < size) {
                memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
                return 0;
            }
        }
    }
    return -1;
}

/* Remove what the container nested, deepest first, until something is busy. */
void mrt_cgroup_remove_children(int top)
{
    for (;;) {
        char name[256];
        int parent = dup(top), depth = 0;
        bool removed = false;
        while (parent >= 0 && depth++ < DEPTH && !first_child(parent, name, sizeof name)) {
            removed = unlinkat(parent, name, AT_REMOVEDIR) == 0;
            int child = removed ? -1 : open_dir(parent, name);
            close(parent);
            parent = child;
        }
        if (parent >= 0)
            close(parent);
        if (!removed)
            return;
    }
}

/* cgroup.events raises POLLPRI when "populated" changes; the short timeout is for hosts where it comes late. */
static void wait_for_change(int dir)
{
    char text[128];
    struct pollfd event = {.fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC), .events = POLLPRI};
    ssize_t size = event.fd < 0 ? 0 : read(event.fd, text, sizeof text);
    bool empty = size > 0 && memmem(text, (size_t)size, "populated 0", 11);
    poll(&event, 1, empty ? 1 : 20);
    if (event.fd >= 0)
        close(event.fd);
}

void mrt_cgroup_remove(const struct mrt_monitor *monitor)
{
    int parent = monitor->settings.cgroup_parent, dir = -1;
    const char *name = monitor->cgroup_name;
    if (parent < 0 || unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno != EBUSY)
        return;
    int64_t deadline = mrt_now_ms() + WAIT_MS;
    while ((dir = open_dir(parent, name)) >= 0) {
        mrt_cgroup_remove_children(dir);
        bool gone = unlinkat(parent, name, AT_REMOVEDIR) == 0;
        if (!gone)
            wait_for_change(dir);
        close(dir);
        if (gone || mrt_now_ms() > deadline)
            return;
    }
}
