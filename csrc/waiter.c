/* SPDX-License-Identifier: Apache-2.0
 *
 * minirt:waiter lets the time pass between a container's end and its restart, then executes the clean-up verb in its
 * place: with the same pid, by which the verb knows that it is the one whose turn it is. A minute may pass so, and an
 * interpreter would keep some megabytes meanwhile; this keeps some kilobytes, no descriptor and no lock.
 *
 * The clock is CLOCK_MONOTONIC, which nobody sets (clock_nanosleep(2)). SIGKILL calls the restart off. Nobody would know
 * of a waiter whose parent died before it was on record: a byte in the pipe says that it is. As root, in the host's
 * namespaces; argv: the pipe's number, milliseconds, then the verb's own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "monitor_parts.h"
#include "monitor_text.h"

void mrt_execute_verb(char **argv)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *const environment[] = {path, NULL};
    umask(022);
    mrt_default_signals();
    syscall(SYS_close_range, 3, ~0U, 0);
    execve(argv[0], argv, environment);
}

static bool is_on_record(int pipe)
{
    char byte;
    ssize_t got;
    do
        got = read(pipe, &byte, 1);
    while (got < 0 && errno == EINTR);
    close(pipe);
    return got == 1;
}

/* Whoever was the caller's reader must see the end of what the caller wrote. */
static void leave_caller(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++)
        if (null < 0 || dup2(null, fd) < 0)
            close(fd);
    if (null > 2)
        close(null);
}

int mrt_waiter_main(char **argv)
{
    struct timespec due;
    if (!argv[0] || !argv[1] || !argv[2])
        return 125;
    const char *pipe = argv[0], *number = argv[1];
    uint64_t ms = mrt_take_number(&number);
    prctl(PR_SET_NAME, "minirt:waiter");
    leave_caller();
    if (!is_on_record((int)mrt_take_number(&pipe)) || chdir("/") || clock_gettime(CLOCK_MONOTONIC, &due))
        return 125;
    due.tv_nsec += (long)(ms % 1000) * 1000000;
    due.tv_sec += (time_t)(ms / 1000) + due.tv_nsec / 1000000000;
    due.tv_nsec %= 1000000000;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        continue;
    mrt_execute_verb(argv + 2);
    return 125;
}
