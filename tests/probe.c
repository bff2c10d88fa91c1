/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe: a static program that runs inside a container and says what it sees there, so that tests ask
 * where it matters (proc(5), capabilities(7), seccomp(2)). Built once by tests/conftest.py.
 *
 *   probe facts                     one JSON object, see facts()
 *   probe calls SPEC...             one line "SPEC RESULT" each, RESULT a number, an errno name or "killed N";
 *                                   SPEC = name[:arg,...]; an arg is a number or @string; int80/NR and x32/name
 *                                   take the other two doors of x86-64. Each call is made in a child of its own.
 *   probe open PATH [rwcadn...]     "0" or an errno name (r w: access, c create, a append, d directory, n nofollow)
 *   probe read PATH                 copies at most 64 KiB to standard output, or prints the errno name, exit 1
 *   probe write PATH TEXT           "0" or an errno name
 *   probe print COUNT [BYTE]        writes COUNT bytes to standard output
 *   probe exit CODE | signal NUMBER | sleep [SECONDS] | echo (stdin to stdout) */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "syscalls.h" /* { "name", number }, made by conftest.py from <sys/syscall.h> */

static const char *errno_name(int error) {
    const char *name = strerrorname_np(error);
    return name ? name : "unknown";
}

static void json_string(const char *text) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20 || *c > 0x7e)
            printf("\\u%04x", *c);
        else
            putchar(*c);
    }
    putchar('"');
}

static void pair(const char *key, const char *value) {
    json_string(key);
    printf(": ");
    json_string(value);
    printf(",\n");
}

static void number(const char *key, long value) {
    json_string(key);
    printf(": %ld,\n", value);
}

/* A file's lines as a JSON list; null where it cannot be read. */
static void lines(const char *key, const char *path) {
    json_string(key);
    FILE *file = fopen(path, "re");
    if (!file) {
        printf(": null,\n");
        return;
    }
    char *line = NULL;
    size_t room = 0;
    const char *comma = "";
    printf(": [");
    while (getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        printf("%s", comma);
        json_string(line);
        comma = ", ";
    }
    printf("],\n");
    free(line);
    fclose(file);
}

/* Key by key what `path` (proc's status) says. */
static void status(const char *path) {
    FILE *file = fopen(path, "re");
    char line[4096];
    const char *comma = "";
    printf("\"status\": {");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, ':');
        if (!value)
            continue;
        *value++ = 0;
        value += strspn(value, " \t");
        printf("%s", comma);
        json_string(line);
        printf(": ");
        json_string(value);
        comma = ", ";
    }
    printf("},\n");
    if (file)
        fclose(file);
}

static void descriptors(void) {
    printf("\"fds\": {");
    const char *comma = "";
    for (int fd = 0; fd < 4096; fd++) {
        char path[32], link[4096];
        struct stat about;
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(path, link, sizeof link - 1);
        link[size < 0 ? 0 : size] = 0;
        fstat(fd, &about);
        printf("%s\"%d\": {\"link\": ", comma, fd);
        json_string(link);
        printf(", \"mode\": %u, \"uid\": %u, \"gid\": %u, \"flags\": %d}", about.st_mode, about.st_uid,
               about.st_gid, fcntl(fd, F_GETFL));
        comma = ", ";
    }
    printf("},\n");
}

static void namespaces(void) {
    static const char *const kinds[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
    const char *comma = "";
    printf("\"namespaces\": {");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char path[64], link[64] = "";
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        ssize_t size = readlink(path, link, sizeof link - 1);
        link[size < 0 ? 0 : size] = 0;
        printf("%s\"%s\": ", comma, kinds[i]);
        json_string(link);
        comma = ", ";
    }
    printf("},\n");
}

static void strings(const char *key, char **list) {
    json_string(key);
    printf(": [");
    for (char **item = list; *item; item++) {
        if (item != list)
            printf(", ");
        json_string(*item);
    }
    printf("],\n");
}

static void directory(const char *key, const char *path) {
    DIR *stream = opendir(path);
    const char *comma = "";
    json_string(key);
    printf(": [");
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        printf("%s", comma);
        json_string(entry->d_name);
        comma = ", ";
    }
    printf("],\n");
    if (stream)
        closedir(stream);
}

static void identity(void) {
    uid_t uids[3];
    gid_t gids[3], groups[65536];
    getresuid(uids, uids + 1, uids + 2);
    getresgid(gids, gids + 1, gids + 2);
    printf("\"uid\": [%u, %u, %u],\n\"gid\": [%u, %u, %u],\n\"groups\": [", uids[0], uids[1], uids[2], gids[0],
           gids[1], gids[2]);
    int count = getgroups(65536, groups);
    for (int i = 0; i < count; i++)
        printf("%s%u", i ? ", " : "", groups[i]);
    printf("],\n");
}

static int facts(char **argv, char **envp) {
    char cwd[4096], tty[256] = "";
    struct utsname names;
    mode_t mask = umask(0);
    umask(mask);
    if (syscall(SYS_getcwd, cwd, sizeof cwd) < 0)
        snprintf(cwd, sizeof cwd, "%s", errno_name(errno));
    ttyname_r(0, tty, sizeof tty);
    uname(&names);
    printf("{\n");
    descriptors(); /* before anything here opens a file */
    number("pid", getpid());
    number("ppid", getppid());
    number("sid", getsid(0));
    number("pgid", getpgid(0));
    number("umask", mask);
    number("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    number("seccomp", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    number("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    number("pdeathsig_set", ({ int signo = 0; prctl(PR_GET_PDEATHSIG, &signo); signo; }));
    number("stdin_is_tty", isatty(0));
    pair("tty", tty);
    pair("cwd", cwd);
    pair("hostname", names.nodename);
    pair("machine", names.machine);
    identity();
    status("/proc/self/status");
    namespaces();
    strings("argv", argv);
    strings("env", envp);
    directory("processes", "/proc");
    directory("dev", "/dev");
    directory("interfaces", "/sys/class/net");
    lines("cgroup", "/proc/self/cgroup");
    lines("limits", "/proc/self/limits");
    lines("mountinfo", "/proc/self/mountinfo");
    lines("net_dev", "/proc/self/net/dev");
    lines("oom_score_adj", "/proc/self/oom_score_adj");
    lines("keys", "/proc/keys");
    lines("time_offsets", "/proc/self/timens_offsets");
    printf("\"end\": true\n}\n");
    return 0;
}

/* One system call through the 32-bit door; the number is i386's. */
static long int80(long nr, const long *a) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result)
                     : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]) : "memory");
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
#else
    (void)nr, (void)a;
    errno = ENOSYS;
    return -1;
#endif
}

/* The number behind "name", "x32/name" or "123"; -1 where this build has no such call. */
static long call_number(const char *name) {
    long door = 0;
    if (!strncmp(name, "x32/", 4)) {
        name += 4;
        door = 0x40000000;
    }
    for (size_t i = 0; i < sizeof syscalls / sizeof *syscalls; i++)
        if (!strcmp(syscalls[i].name, name))
            return syscalls[i].number + door;
    char *end;
    long value = strtol(name, &end, 0);
    return *name && !*end ? value + door : -1;
}

static void call(const char *spec) {
    char copy[1024];
    long args[6] = {0};
    snprintf(copy, sizeof copy, "%s", spec);
    char *rest = strchr(copy, ':');
    if (rest)
        *rest++ = 0;
    for (int i = 0; i < 6 && rest; i++) {
        char *next = strchr(rest, ',');
        if (next)
            *next++ = 0;
        args[i] = *rest == '@' ? (long)(intptr_t)(rest + 1) : (long)strtoul(rest, NULL, 0);
        rest = next;
    }
    printf("%s ", spec);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(5);
        int through_int80 = !strncmp(copy, "int80/", 6);
        long nr = through_int80 ? strtol(copy + 6, NULL, 0) : call_number(copy);
        if (nr < 0)
            printf("unknown\n");
        else {
            long result = through_int80 ? int80(nr, args)
                                        : syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
            if (result < 0)
                printf("%s\n", errno_name(errno));
            else
                printf("%ld\n", result);
        }
        fflush(stdout);
        _exit(0);
    }
    int end = 0;
    if (child < 0 || waitpid(child, &end, 0) < 0)
        printf("%s\n", errno_name(errno));
    else if (WIFSIGNALED(end))
        printf("killed %d\n", WTERMSIG(end));
}

static int say(long result) {
    printf("%s\n", result < 0 ? errno_name(errno) : "0");
    return result < 0;
}

static int open_path(const char *path, const char *how) {
    int flags = O_CLOEXEC | O_NONBLOCK;
    int reads = strchr(how, 'r') != NULL, writes = strchr(how, 'w') != NULL;
    flags |= reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
    flags |= strchr(how, 'c') ? O_CREAT : 0;
    flags |= strchr(how, 'a') ? O_APPEND : 0;
    flags |= strchr(how, 'd') ? O_DIRECTORY : 0;
    flags |= strchr(how, 'n') ? O_NOFOLLOW : 0;
    return open(path, flags, 0644);
}

static int read_path(const char *path) {
    static char buffer[65536];
    int fd = open_path(path, "r");
    ssize_t size = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
    if (size < 0)
        return say(-1);
    return fwrite(buffer, 1, (size_t)size, stdout) != (size_t)size;
}

static int write_path(const char *path, const char *text) {
    int fd = open_path(path, "w");
    return say(fd < 0 ? -1 : write(fd, text, strlen(text)));
}

static int print(long count, int byte) {
    static char block[4096];
    memset(block, byte, sizeof block);
    while (count > 0) {
        size_t size = count < (long)sizeof block ? (size_t)count : sizeof block;
        if (fwrite(block, 1, size, stdout) != size)
            return 1;
        count -= (long)size;
    }
    return fflush(stdout) != 0;
}

static int echo(void) {
    char block[4096];
    ssize_t size;
    while ((size = read(0, block, sizeof block)) > 0)
        if (write(1, block, (size_t)size) != size)
            return 1;
    return size < 0;
}

int main(int argc, char **argv, char **envp) {
    const char *verb = argc > 1 ? argv[1] : "facts";
    const char *first = argc > 2 ? argv[2] : "", *second = argc > 3 ? argv[3] : "";
    if (!strcmp(verb, "facts"))
        return facts(argv, envp);
    if (!strcmp(verb, "calls")) {
        for (int i = 2; i < argc; i++)
            call(argv[i]);
        return 0;
    }
    if (!strcmp(verb, "open"))
        return say(open_path(first, second));
    if (!strcmp(verb, "read"))
        return read_path(first);
    if (!strcmp(verb, "write"))
        return write_path(first, second);
    if (!strcmp(verb, "print"))
        return print(atol(first), *second ? *second : 'x');
    if (!strcmp(verb, "echo"))
        return echo();
    if (!strcmp(verb, "exit"))
        return atoi(first);
    if (!strcmp(verb, "signal"))
        return kill(getpid(), atoi(first)), pause();
    if (!strcmp(verb, "sleep"))
        return sleep(*first ? (unsigned)atoi(first) : 1000000), 0;
    fprintf(stderr, "probe: no verb %s\n", verb);
    return 2;
}
