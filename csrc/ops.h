/* SPDX-License-Identifier: Apache-2.0
 *
 * The vocabulary: every kind of step, named as the system call that it is. The comment gives the roles of
 * fd[], str[], num[] and out[] by position; Python lists a step's arguments in the order of the man page and
 * sorts them by type into those arrays, so this table and the switch in execute.c are the only definition. */
#ifndef MRT_OPS_H
#define MRT_OPS_H

#define MRT_OPS(X) \
    X(fsopen)        /* str name, num flags -> out */ \
    X(fsconfig)      /* fd, num cmd, str key?, str value?, fd aux? */ \
    X(fsmount)       /* fd, num flags, num attr_flags -> out */ \
    X(open_tree)     /* fd dir, str path, num flags -> out */ \
    X(move_mount)    /* fd from, str, fd to, str, num flags */ \
    X(mount_setattr) /* fd, str path, num at_flags, num attr_set, num attr_clr, num propagation */ \
    X(mount)         /* str source, str target, str type, num flags, str data? */ \
    X(umount2)       /* str target, num flags */ \
    X(pivot_root)    /* str new_root, str put_old */ \
    X(openat2)       /* fd dir, str path, num flags, num mode, num resolve -> out */ \
    X(mkdirat)       /* fd dir, str path, num mode */ \
    X(mknodat)       /* fd dir, str path, num mode, num major, num minor */ \
    X(symlinkat)     /* str target, fd dir, str path */ \
    X(unlinkat)      /* fd dir, str path, num flags */ \
    X(fchown)        /* fd, num uid, num gid */ \
    X(fchmod)        /* fd, num mode */ \
    X(fchdir)        /* fd */ \
    X(chdir)         /* str path */ \
    X(chroot)        /* str path */ \
    X(write)         /* fd, bytes data: one write(2); a short write is EIO */ \
    X(read)          /* fd: waits for one byte; end of file is ECANCELED */ \
    X(close)         /* fd */ \
    X(dup3)          /* fd, num newfd, num flags */ \
    X(pipe2)         /* num flags -> out reading end, out writing end */ \
    X(socket)        /* num domain, num type, num protocol -> out */ \
    X(bind)          /* fd socket, bytes: struct sockaddr_in or sockaddr_in6 */ \
    X(listen)        /* fd socket, num backlog */ \
    X(setsockopt)    /* fd socket, num level, num option, num value: an int */ \
    X(netlink)       /* fd socket, fd named?, bytes requests, num where: sendmsg(2) of one request or one batch, the
                      * number of `named` written at byte `where` of it, then recvfrom(2) of the acknowledgement,
                      * whose error is this step's */ \
    X(sendmsg_fd)    /* fd socket, fd payload: sendmsg(2) with SCM_RIGHTS, one byte of data */ \
    X(ioctl)         /* fd, num request, num argument -> out? */ \
    X(ioctl_int)     /* fd, num request, num value: argument is the address of an int */ \
    X(ioctl_ifflags) /* fd, str interface, num flags: SIOCSIFFLAGS */ \
    X(ioctl_winsize) /* fd, num rows, num columns: TIOCSWINSZ */ \
    X(clone3)        /* num flags, num exit_signal, fd cgroup? -> out pidfd; the monitor's, see monitor.c */ \
    X(unshare)       /* num flags */ \
    X(setns)         /* fd, num flags */ \
    X(setsid)        /* */ \
    X(sethostname)   /* str name */ \
    X(setdomainname) /* str name */ \
    X(umask)         /* num mask */ \
    X(personality)   /* num persona */ \
    X(prlimit64)     /* num resource, num soft, num hard */ \
    X(prctl)         /* num option, num arg2.. or str arg2 */ \
    X(keyctl)        /* num operation, str name */ \
    X(setgroups)     /* bytes: gid_t[] */ \
    X(setresgid)     /* num real, num effective, num saved */ \
    X(setresuid)     /* num real, num effective, num saved */ \
    X(capset)        /* num effective, num permitted, num inheritable: 64-bit masks */ \
    X(seccomp)       /* num operation, num flags, bytes: struct sock_filter[] */ \
    X(bpf_prog_load)   /* num program type, num attach type, bytes: struct bpf_insn[] -> out; bpf(2) */ \
    X(bpf_prog_attach) /* fd cgroup, fd program, num attach type, num flags; bpf(2) */ \
    X(close_range)   /* num first, num last, num flags */ \
    X(execve)        /* str path, list argv, list envp */ \
    X(execveat)      /* fd dir, str path, list argv, list envp, num flags */

enum mrt_op {
#define X(name) MRT_OP_##name,
    MRT_OPS(X)
#undef X
    MRT_OP_COUNT
};
#endif
