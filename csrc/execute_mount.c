/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that build the file system: the mount API by descriptor (fsopen(2) … mount_setattr(2)), the old calls where
 * an old kernel needs them, and what is made inside. See execute.c for who runs here. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "execute.h"
#include "syscalls.h"

static long opened(struct mrt_call *call, long fd)
{
    call->out[0] = (int)fd;
    return fd;
}

long mrt_do_fsopen(struct mrt_call *call)
{
    return opened(call, syscall(SYS_fsopen, call->str[0], call->num[0]));
}

long mrt_do_fsconfig(struct mrt_call *call)
{
    int aux = call->fd[1] == -1 ? 0 : call->fd[1];
    return syscall(SYS_fsconfig, call->fd[0], call->num[0], call->str[0], call->str[1], aux);
}

long mrt_do_fsmount(struct mrt_call *call)
{
    return opened(call, syscall(SYS_fsmount, call->fd[0], call->num[0], call->num[1]));
}

long mrt_do_open_tree(struct mrt_call *call)
{
    return opened(call, syscall(SYS_open_tree, call->fd[0], call->str[0], call->num[0]));
}

long mrt_do_move_mount(struct mrt_call *call)
{
    return syscall(SYS_move_mount, call->fd[0], call->str[0], call->fd[1], call->str[1], call->num[0]);
}

long mrt_do_mount_setattr(struct mrt_call *call)
{
    struct mount_attr attr = {.attr_set = call->num[1], .attr_clr = call->num[2], .propagation = call->num[3]};
    return syscall(SYS_mount_setattr, call->fd[0], call->str[0], call->num[0], &attr, sizeof attr);
}

long mrt_do_mount(struct mrt_call *call)
{
    return syscall(SYS_mount, call->str[0], call->str[1], call->str[2], call->num[0], call->str[3]);
}

long mrt_do_umount2(struct mrt_call *call)
{
    return syscall(SYS_umount2, call->str[0], call->num[0]);
}

long mrt_do_pivot_root(struct mrt_call *call)
{
    return syscall(SYS_pivot_root, call->str[0], call->str[1]);
}

long mrt_do_openat2(struct mrt_call *call)
{
    struct open_how how = {.flags = call->num[0], .mode = call->num[1], .resolve = call->num[2]};
    return opened(call, syscall(SYS_openat2, call->fd[0], call->str[0], &how, sizeof how));
}

long mrt_do_mkdirat(struct mrt_call *call)
{
    return syscall(SYS_mkdirat, call->fd[0], call->str[0], call->num[0]);
}

long mrt_do_mknodat(struct mrt_call *call)
{
    unsigned major = (unsigned)call->num[1], minor = (unsigned)call->num[2];
    return syscall(SYS_mknodat, call->fd[0], call->str[0], call->num[0], (unsigned)makedev(major, minor));
}

long mrt_do_symlinkat(struct mrt_call *call)
{
    return syscall(SYS_symlinkat, call->str[0], call->fd[0], call->str[1]);
}

long mrt_do_unlinkat(struct mrt_call *call)
{
    return syscall(SYS_unlinkat, call->fd[0], call->str[0], call->num[0]);
}

/* fchown(2) refuses a descriptor that only names a file (O_PATH): a device node that must not be opened. */
long mrt_do_fchown(struct mrt_call *call)
{
    return syscall(SYS_fchownat, call->fd[0], "", call->num[0], call->num[1], AT_EMPTY_PATH);
}

long mrt_do_fchmod(struct mrt_call *call)
{
    return syscall(SYS_fchmod, call->fd[0], call->num[0]);
}

long mrt_do_fchdir(struct mrt_call *call)
{
    return syscall(SYS_fchdir, call->fd[0]);
}

/* A working directory outside of the root (CVE-2024-21626: through a descriptor in /proc/self/fd) has no name in
 * it, and the kernel says so: getcwd(2) gives a path that does not begin with a slash. */
long mrt_do_chdir(struct mrt_call *call)
{
    char path[4097];
    if (syscall(SYS_chdir, call->str[0]))
        return -1;
    long size = syscall(SYS_getcwd, path, sizeof path);
    if (size < 0)
        return errno == ERANGE ? 0 : -1;
    if (path[0] == '/')
        return 0;
    errno = ENOENT;
    return -1;
}

long mrt_do_chroot(struct mrt_call *call)
{
    return syscall(SYS_chroot, call->str[0]);
}
