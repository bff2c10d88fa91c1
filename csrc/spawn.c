/* SPDX-License-Identifier: Apache-2.0
 *
 * What the caller does around a plan: it asks what it may (capget(2), getrlimit(2)), starts the monitor (clone(2),
 * execveat(2)) and opens sockets to it (unix(7)). Runs in the caller, as root, in the host's namespaces; between clone
 * and execveat the child shares the caller's memory (CLONE_VM, CLONE_VFORK) and does nothing but system calls. */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "syscalls.h"

/* Child: a session of its own, no handler or ignored signal of the caller's (CPython ignores SIGPIPE), and no
 * descriptor but those to keep. */
static void execute_program(const struct mrt_spawn *spawn)
{
    sigset_t none;
    mrt_default_actions();
    setsid();
    syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    for (int i = 0; i < spawn->keep_count; i++)
        if (fcntl(spawn->keep[i], F_SETFD, 0))
            return;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_execveat, spawn->program, "", spawn->argv, spawn->envp, AT_EMPTY_PATH);
}

static int child_main(void *argument)
{
    struct mrt_spawn *spawn = argument;
    execute_program(spawn);
    spawn->error = errno;
    _exit(127);
}

int mrt_spawn(struct mrt_spawn *spawn)
{
    enum { STACK = 65536 };
    sigset_t all, before;
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -1;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    spawn->error = 0;
    int pid = clone(child_main, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, spawn);
    int error = pid < 0 ? errno : spawn->error;
    sigprocmask(SIG_SETMASK, &before, NULL);
    munmap(stack, STACK);
    if (pid > 0 && error)
        waitpid(pid, NULL, 0);
    errno = error;
    return error ? -1 : pid;
}

int mrt_socketpair(int *pair)
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

/* sun_path has 108 bytes and a state directory may be deeper: the name is given below a descriptor. */
int mrt_connect(int directory, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name);
    if (size < 0 || (size_t)size >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Like fork(2): returns twice. For the laboratory and the tests; containers are cloned by the monitor. */
int mrt_clone3(uint64_t flags, uint64_t exit_signal, int cgroup, int *pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uintptr_t)pidfd,
        .exit_signal = exit_signal,
        .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
    };
    return (int)syscall(SYS_clone3, &args, sizeof args);
}

int mrt_capget(uint64_t *sets)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data))
        return -1;
    sets[0] = data[0].effective | (uint64_t)data[1].effective << 32;
    sets[1] = data[0].permitted | (uint64_t)data[1].permitted << 32;
    sets[2] = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

int mrt_hard_limit(int resource, uint64_t *limit)
{
    uint64_t both[2]; /* struct rlimit64 */
    if (syscall(SYS_prlimit64, 0, resource, NULL, both))
        return -1;
    *limit = both[1];
    return 0;
}
