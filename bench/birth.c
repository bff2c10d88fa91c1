/* SPDX-License-Identifier: Apache-2.0
 *
 * The bare birth: the system calls of a container's birth and nothing else, as the floor that the benchmark
 * measures runtimes against (clone(2), mount_namespaces(7), overlayfs). No name, no log, no seccomp, no checks
 * of a hostile root filesystem, no exit record.
 *
 *   birth LOWER WORKDIR CGROUP PROGRAM [ARG...]
 *
 * LOWER: root filesystem; WORKDIR: holds upper/, work/ and merged/; CGROUP: a cgroup2 directory that is made and
 * removed. Ends with the program's exit code; 125 and the failed call's name on standard error otherwise. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY(call) \
    do { \
        if ((call) < 0) { \
            perror(#call); \
            _exit(125); \
        } \
    } while (0)

/* The overlay as a detached mount; runs in the caller. */
static int overlay(const char *lower, const char *workdir) {
    char upper[4096], work[4096];
    int fs, fd;
    snprintf(upper, sizeof upper, "%s/upper", workdir);
    snprintf(work, sizeof work, "%s/work", workdir);
    TRY(fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC));
    TRY(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0));
    TRY(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "upperdir", upper, 0));
    TRY(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "workdir", work, 0));
    TRY(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    TRY(fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0));
    close(fs);
    return fd;
}

/* The mounts that every container has; runs in the child, in its new mount namespace, as root. */
static void mounts(void) {
    static const struct { const char *name; int minor; } nodes[] = {
        {"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
    const unsigned long plain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    TRY(mount("proc", "proc", "proc", plain, NULL));
    TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"));
    TRY(mkdir("dev/pts", 0755));
    TRY(mkdir("dev/shm", 0755));
    TRY(mkdir("dev/mqueue", 0755));
    TRY(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
    TRY(mount("shm", "dev/shm", "tmpfs", plain, "mode=1777,size=65536k"));
    TRY(mount("mqueue", "dev/mqueue", "mqueue", plain, NULL));
    TRY(mount("sysfs", "sys", "sysfs", plain | MS_RDONLY, NULL));
    TRY(mount("cgroup2", "sys/fs/cgroup", "cgroup2", plain | MS_RDONLY, NULL));
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        char path[32];
        snprintf(path, sizeof path, "dev/%s", nodes[i].name);
        TRY(mknod(path, S_IFCHR | 0666, makedev(1, (unsigned)nodes[i].minor)));
    }
    TRY(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)));
    TRY(symlink("/proc/self/fd", "dev/fd"));
    TRY(symlink("/proc/self/fd/0", "dev/stdin"));
    TRY(symlink("/proc/self/fd/1", "dev/stdout"));
    TRY(symlink("/proc/self/fd/2", "dev/stderr"));
    TRY(symlink("pts/ptmx", "dev/ptmx"));
}

static void masks(void) {
    static const char *const hidden[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
    static const char *const fixed[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (mount("dev/null", hidden[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            TRY(-1);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
        int tree = (int)syscall(SYS_open_tree, AT_FDCWD, fixed[i], OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);
        if (tree < 0 && errno == ENOENT)
            continue;
        TRY(tree);
        TRY(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr));
        TRY(syscall(SYS_move_mount, tree, "", AT_FDCWD, fixed[i], MOVE_MOUNT_F_EMPTY_PATH));
    }
}

static void loopback(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd;
    TRY(fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    TRY(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

/* Runs in the child: pid 1 of the new namespaces, still with all of the caller's privileges. */
static void child(int rootfs, const char *merged, char **argv) {
    static char *const envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    TRY(setsid());
    TRY(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
    TRY(unshare(CLONE_NEWCGROUP));
    TRY(syscall(SYS_move_mount, rootfs, "", AT_FDCWD, merged, MOVE_MOUNT_F_EMPTY_PATH));
    TRY(chdir(merged));
    mounts();
    masks();
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH));
    TRY(chdir("/"));
    TRY(sethostname("birth", 5));
    loopback();
    for (int capability = 0; capability < 41; capability++)
        if (0xa80425fbULL >> capability & 1 ? 0 : 1)
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    execve(argv[0], argv, (char **)envp);
    perror(argv[0]);
    _exit(127);
}

int main(int argc, char **argv) {
    if (argc < 5)
        return 2;
    char merged[4096];
    int rootfs, cgroup, status = 0;
    snprintf(merged, sizeof merged, "%s/merged", argv[2]);
    TRY(mkdir(argv[3], 0755));
    TRY(cgroup = open(argv[3], O_PATH | O_DIRECTORY | O_CLOEXEC));
    rootfs = overlay(argv[1], argv[2]);
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    TRY(pid);
    if (pid == 0)
        child(rootfs, merged, argv + 4);
    TRY(waitpid(pid, &status, 0));
    TRY(rmdir(argv[3]));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
