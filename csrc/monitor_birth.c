/* SPDX-License-Identifier: Apache-2.0
 *
 * The monitor's steps, clone3(2), and what the new process does until it executes the workload.
 *
 * The monitor runs as root in the caller's namespaces. Its child runs as root in the new ones, still with the
 * host's descriptors: it drops those that are the monitor's before anything else, waits until run/state names it,
 * and then runs the init steps, which give up its powers one by one. After clone3 it allocates nothing. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "monitor_parts.h"
#include "syscalls.h"

static int fail(struct mrt_monitor *monitor, int32_t step, int error)
{
    monitor->failure = (struct mrt_failure){.step = step, .error = error ? error : EIO};
    return -1;
}

static const struct mrt_step *step_at(const struct mrt_context *context, uint32_t index)
{
    const char *base = (const char *)context->plan;
    return (const struct mrt_step *)(const void *)(base + context->plan->steps) + index;
}

static int32_t *slot(struct mrt_context *context, uint32_t index)
{
    static int32_t none;
    none = MRT_NONE;
    return index < MRT_SLOTS ? &context->fds[index] : &none;
}

static void close_slot(struct mrt_context *context, uint32_t index)
{
    int32_t *fd = slot(context, index);
    if (*fd >= 0)
        close(*fd);
    *fd = MRT_NONE;
}

/* The child and the monitor before its cleanup. A caller that ignores SIGPIPE (CPython does) must not be inherited
 * from: ignored signals survive execve(2). */
void mrt_default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    mrt_default_actions();
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Child: execve steps are candidates, one for each directory of PATH, and tolerate what means "not this one".
 * When all were passed over, EACCES from any of them is the better answer (execvp(3)). */
static void run_init_steps(struct mrt_context *context)
{
    uint32_t count = context->plan->step_count, last = 0;
    bool denied = false, tried = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct mrt_step *step = step_at(context, i);
        if (step->actor != MRT_INIT)
            continue;
        errno = 0;
        if (mrt_run(context, MRT_INIT, i, i + 1))
            return;
        if (step->op == MRT_OP_execve || step->op == MRT_OP_execveat) {
            tried = true;
            denied = denied || errno == EACCES;
            last = i;
        }
    }
    context->failure.step = (int32_t)last;
    context->failure.error = denied ? EACCES : tried ? ENOENT : ENOEXEC;
}

/* Child. The signal of a parent's death is set before the wait: a monitor that dies earlier ends the wait with end
 * of file, one that dies later ends the child. The plan sets it again where identity changes clear it. */
static _Noreturn void become_init(struct mrt_monitor *monitor, struct mrt_context *context, int report)
{
    char go;
    const struct mrt_settings *settings = &monitor->settings;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    mrt_default_signals();
    const int32_t foreign[] = {settings->control, settings->run_dir, settings->container_dir,
                               settings->cgroup_parent, monitor->report};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (foreign[i] >= 0)
            close(foreign[i]);
    close_slot(context, settings->slot_stdin);
    close_slot(context, settings->slot_stdout);
    close_slot(context, settings->slot_stderr);
    *slot(context, settings->slot_report) = report;
    if (recv(report, &go, 1, 0) != 1)
        _exit(1);
    run_init_steps(context);
    send(report, &context->failure, sizeof context->failure, MSG_NOSIGNAL);
    _exit(1);
}

static pid_t clone_child(const struct mrt_context *context, const struct mrt_step *step, int *pidfd)
{
    int cgroup = step->fd[0] >= 0 ? context->fds[step->fd[0]] : -1;
    struct clone_args args = {
        .flags = step->num[0] | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uintptr_t)pidfd,
        .exit_signal = step->num[1],
        .cgroup = (uint32_t)(cgroup >= 0 ? cgroup : 0),
    };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void stamp(const struct mrt_context *context, uint32_t index)
{
    struct timespec now;
    if (!context->stamps)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    context->stamps[index] = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct mrt_output open_output(int fd, uint8_t type)
{
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK);
    return (struct mrt_output){.fd = fd, .type = type, .budget = SIZE_MAX};
}

/* What is left after the birth: the monitor's ends. The root filesystem, the cgroup and the workload's ends of the
 * pipes live on in the child alone, so that they end with it. */
static void keep_own_ends(struct mrt_monitor *monitor, struct mrt_context *context)
{
    const struct mrt_settings *settings = &monitor->settings;
    monitor->input.fd = *slot(context, settings->slot_stdin);
    monitor->outputs[0] = open_output(*slot(context, settings->slot_stdout), MRT_STDOUT);
    monitor->outputs[1] = open_output(*slot(context, settings->slot_stderr), MRT_STDERR);
    const int kept[] = {monitor->pidfd, monitor->report, monitor->input.fd, monitor->outputs[0].fd,
                        monitor->outputs[1].fd, settings->control, settings->run_dir, settings->container_dir,
                        settings->cgroup_parent};
    for (uint32_t i = 0; i < context->plan->slot_count; i++) {
        int fd = context->fds[i];
        bool keep = fd < 0;
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            keep = keep || fd == kept[k];
        if (!keep)
            close(fd);
    }
    if (monitor->input.fd >= 0)
        fcntl(monitor->input.fd, F_SETFL, O_WRONLY | O_NONBLOCK);
    if (!(settings->flags & MRT_KEEP_STDIN))
        mrt_input_close(&monitor->input);
    monitor->input.awaited = settings->flags & MRT_KEEP_STDIN && settings->flags & MRT_TTY;
}

/* 0: a child waits for mrt_birth_allow. -1: monitor->failure says which step, -1 for the monitor's own calls;
 * a child may have been made all the same and ends by itself when its report socket is closed. */
int mrt_birth(struct mrt_monitor *monitor, struct mrt_context *context)
{
    int pair[2], pidfd = -1;
    uint32_t count = context->plan->step_count, at = 0;
    while (at < count && step_at(context, at)->op != MRT_OP_clone3)
        at++;
    if (at == count)
        return fail(monitor, -1, EINVAL);
    if (mrt_run(context, MRT_MONITOR, 0, at))
        return fail(monitor, context->failure.step, context->failure.error);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return fail(monitor, -1, errno);
    monitor->report = pair[0];
    monitor->pid = clone_child(context, step_at(context, at), &pidfd);
    if (monitor->pid == 0)
        become_init(monitor, context, pair[1]);
    int error = errno;
    close(pair[1]);
    if (monitor->pid < 0)
        return fail(monitor, (int32_t)at, error);
    stamp(context, at);
    monitor->pidfd = pidfd;
    if (step_at(context, at)->out[0] >= 0)
        *slot(context, (uint32_t)step_at(context, at)->out[0]) = pidfd;
    if (mrt_run(context, MRT_MONITOR, at + 1, count))
        return fail(monitor, context->failure.step, context->failure.error);
    keep_own_ends(monitor, context);
    return 0;
}

int mrt_birth_allow(const struct mrt_monitor *monitor)
{
    return send(monitor->report, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
}
