/* SPDX-License-Identifier: Apache-2.0
 *
 * What became of init: its report socket until execve(2) closes it, and its exit status (waitid(2)).
 *
 * Packets of the report: 8 bytes, struct mrt_failure; or one byte with a descriptor, the master of a pty. End of
 * file without a failure is a successful execve, or init was killed before: /proc/PID/stat tells, for the kernel
 * drops PF_FORKNOEXEC in execve just before it closes descriptors, and a zombie still shows the flag. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor_parts.h"
#include "monitor_text.h"

#define PF_FORKNOEXEC 0x00000040u /* linux/sched.h, the kernel's own; shown in field 9 since Linux 1.3 */

static void kill_init(const struct mrt_monitor *monitor)
{
    if (monitor->pidfd >= 0 && !monitor->dead)
        syscall(SYS_pidfd_send_signal, monitor->pidfd, SIGKILL, NULL, 0);
}

static void started(struct mrt_monitor *monitor)
{
    const struct mrt_started message = {.pid = monitor->pid, .start_ticks = monitor->start_ticks};
    monitor->started = true;
    mrt_events_start(monitor);
    monitor->greeting[0] = MRT_STARTED;
    memcpy(monitor->greeting + 1, &message, sizeof message);
    mrt_clients_send(&monitor->clients, monitor->greeting, sizeof monitor->greeting);
}

static void concluded(struct mrt_monitor *monitor)
{
    struct mrt_stat stat = {.flags = PF_FORKNOEXEC};
    close(monitor->report);
    monitor->report = -1;
    if (!monitor->failure.error && (mrt_read_stat(monitor->pid, &stat) || stat.flags & PF_FORKNOEXEC))
        monitor->failure = (struct mrt_failure){.step = -1, .error = ECHILD};
    if (!monitor->failure.error) {
        started(monitor);
        return;
    }
    monitor->failed = true;
    kill_init(monitor);
}

/* One packet: its size, 0 at the end, -1 if there is none now. *fd is a descriptor that came with it, or -1. */
static ssize_t receive(int report, struct mrt_failure *failure, int *fd)
{
    union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec part = {.iov_base = failure, .iov_len = sizeof *failure};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    *fd = -1;
    ssize_t size = recvmsg(report, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = size < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return size;
}

void mrt_report_read(struct mrt_monitor *monitor)
{
    while (monitor->report >= 0) {
        struct mrt_failure failure;
        int fd;
        ssize_t size = receive(monitor->report, &failure, &fd);
        if (size < 0 && errno == EAGAIN)
            return;
        if (size < 0 && (errno == EINTR || errno == ECONNRESET))
            continue; /* reset: init left with a byte of ours unread; what it sent still follows */
        if (size <= 0)
            concluded(monitor);
        else if (fd >= 0 && monitor->settings.flags & MRT_TTY)
            mrt_tty_adopt(monitor, fd);
        else if (fd >= 0)
            close(fd);
        else if (size == sizeof failure)
            monitor->failure = failure;
    }
}

/* All that died: init, and orphans that a container in the host's pid namespace left to this subreaper. */
void mrt_reap(struct mrt_monitor *monitor)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return;
        if (pid == monitor->pid) {
            monitor->status = status;
            monitor->dead = true;
        }
    }
}
