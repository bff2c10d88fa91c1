# SPDX-License-Identifier: Apache-2.0
"""System calls by what a container may do with them: the table behind the default filter (syscalls(2)).

Names of every architecture stand together: a 32-bit program has calls of its own for 64-bit times, offsets and ids.
Reviewed against the calls of Linux 6.18; one that is newer is in no list, and the filter answers that it does not
exist. Pure; must import nothing.
"""

from __future__ import annotations


def _names(*lines: str) -> tuple[str, ...]:
    return tuple(name for line in lines for name in line.split())


FILES = _names(
    "access faccessat faccessat2 chmod fchmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchown fchown32",
    "fchownat open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev pwrite64",
    "pwritev pwritev2 lseek _llseek stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs",
    "statfs64 fstatfs fstatfs64 statmount listmount truncate truncate64 ftruncate ftruncate64 fallocate fadvise64",
    "fadvise64_64 readahead sync syncfs fsync fdatasync sync_file_range copy_file_range sendfile sendfile64 splice",
    "tee vmsplice link linkat symlink symlinkat readlink readlinkat unlink unlinkat rename renameat renameat2",
    "mkdir mkdirat rmdir mknod mknodat getdents getdents64 getcwd chdir fchdir umask utime utimes futimesat utimensat",
    "utimensat_time64 flock fcntl fcntl64 ioctl dup dup2 dup3 pipe pipe2 name_to_handle_at fanotify_mark",
    "getxattr getxattrat lgetxattr fgetxattr setxattr setxattrat lsetxattr fsetxattr listxattr listxattrat llistxattr",
    "flistxattr removexattr removexattrat lremovexattr fremovexattr",
)
EVENTS = _names(
    "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl",
    "epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4",
    "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch",
    "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64",
    "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64",
)
SOCKETS = _names(
    "socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt",
    "send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64",
)
MEMORY = _names(
    "brk mmap mmap2 munmap mremap mprotect msync madvise mincore mlock mlock2 mlockall munlock munlockall mseal",
    "remap_file_pages membarrier memfd_create memfd_secret map_shadow_stack pkey_alloc pkey_free pkey_mprotect",
)
PROCESSES = _names(
    "fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open pidfd_send_signal",
    "process_mrelease getpid getppid gettid getpgid getpgrp setpgid getsid setsid getpriority setpriority",
    "ioprio_get ioprio_set sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam",
    "sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min",
    "sched_rr_get_interval sched_rr_get_interval_time64 sched_yield getrlimit ugetrlimit setrlimit prlimit64 getrusage",
    "times getcpu prctl seccomp rseq set_tid_address set_robust_list get_robust_list get_thread_area set_thread_area",
    "futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue restart_syscall uretprobe",
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    "ptrace process_vm_readv process_vm_writev",  # of one's own: the kernel checks, since Linux 4.8 after seccomp
)
SIGNALS = _names(
    "rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_sigreturn",
    "rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn pause alarm getitimer setitimer",
)
IDENTITIES = _names(
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32",
    "getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid",
    "setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset",
)
TIMES = _names(
    "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep",
    "clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 timer_create timer_delete",
    "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64",
)
IPC = _names(
    "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    "mq_open mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64",
)
SYSTEM = _names("uname sysinfo getrandom cachestat")

ALWAYS = FILES + EVENTS + SOCKETS + MEMORY + PROCESSES + SIGNALS + IDENTITIES + TIMES + IPC + SYSTEM

ON: dict[str, tuple[str, ...]] = {
    "x86_64": _names("arch_prctl modify_ldt"),
    "aarch64": _names("arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
}
WITH: dict[str, tuple[str, ...]] = {
    "CAP_DAC_READ_SEARCH": _names("open_by_handle_at"),
    "CAP_SYS_ADMIN": _names(
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr",
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl",
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    "CAP_SYS_BOOT": _names("reboot"),
    "CAP_SYS_CHROOT": _names("chroot"),
    "CAP_SYS_MODULE": _names("delete_module init_module finit_module"),
    "CAP_SYS_PACCT": _names("acct"),
    "CAP_SYS_PTRACE": _names("kcmp pidfd_getfd process_madvise"),
    "CAP_SYS_RAWIO": _names("iopl ioperm"),
    "CAP_SYS_TIME": _names("settimeofday stime clock_settime clock_settime64"),
    "CAP_SYS_TTY_CONFIG": _names("vhangup"),
    "CAP_SYS_NICE": _names("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    "CAP_SYSLOG": _names("syslog"),
    "CAP_BPF": _names("bpf"),
    "CAP_PERFMON": _names("perf_event_open"),
}
# With no capability: attacks on the kernel that no workload of a container needs, and relics.
NEVER = _names(
    "_sysctl add_key afs_syscall bdflush create_module get_kernel_syms getpmsg io_uring_enter io_uring_register",
    "io_uring_setup kexec_file_load kexec_load keyctl migrate_pages move_pages nfsservctl pivot_root putpmsg",
    "query_module request_key security swapoff swapon sysfs tuxcall uselib userfaultfd ustat vserver",
)
