/* SPDX-License-Identifier: Apache-2.0
 *
 * minirt-init, pid 1 of a container that was made with --init: it executes what follows "--" as its child, forwards every
 * signal to it, reaps all orphans, and exits as the child does (128 + n for signal n). Runs inside the container
 * with the workload's own identity. pid_namespaces(7): when pid 1 ends, the kernel ends all others. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor_parts.h"
#include "monitor_text.h"

static void say(const char *text)
{
    ssize_t written = write(2, text, strlen(text));
    (void)written; /* there is nobody else to tell */
}

/* True when `child` is among the dead; *code is then its status as a shell shows it. */
static bool reap(pid_t child, int *code)
{
    bool ended = false;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != child)
            continue;
        *code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        ended = true;
    }
    return ended;
}

/* Faults of our own are not the child's. */
static void choose_signals(sigset_t *forwarded)
{
    static const int own[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};
    sigfillset(forwarded);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(forwarded, own[i]);
}

static void nothing(int number)
{
    (void)number;
}

static void handle(const sigset_t *forwarded, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    for (int number = 1; number <= SIGRTMAX; number++)
        if (sigismember(forwarded, number) == 1)
            sigaction(number, &action, NULL); /* not for SIGKILL and SIGSTOP */
}

/* Child of pid 1. A group of its own, in the foreground of the terminal if there is one, so that ^C reaches the
 * workload and not its init (tcsetpgrp(3) from the background would stop us, were SIGTTOU not blocked). */
static _Noreturn void execute(char **argv, const sigset_t *forwarded, const sigset_t *mask)
{
    setpgid(0, 0);
    tcsetpgrp(0, getpid());
    handle(forwarded, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    int error = errno;
    say("minirt-init: ");
    say(argv[0]);
    say(": ");
    say(strerror(error));
    say("\n");
    _exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

int mrt_init_main(char **argv)
{
    sigset_t forwarded, mask;
    int code = 125;
    if (argv[0] && !strcmp(argv[0], "--"))
        argv++;
    if (!argv[0]) {
        say("minirt-init: no program given\n");
        return 127;
    }
    prctl(PR_SET_NAME, "minirt:init");
    choose_signals(&forwarded);
    sigprocmask(SIG_BLOCK, &forwarded, &mask);
    /* sigwaitinfo(2) takes what it waits for off SigBlk in /proc/pid/status; with a handler, SigCgt says that pid 1
     * cares: from before the time that anybody could ask. */
    handle(&forwarded, nothing);
    pid_t child = fork();
    if (child == 0)
        execute(argv, &forwarded, &mask);
    if (child < 0) {
        say("minirt-init: fork: ");
        say(strerror(errno));
        say("\n");
        return 126;
    }
    while (!reap(child, &code)) {
        siginfo_t info;
        int number = sigwaitinfo(&forwarded, &info);
        if (number > 0 && number != SIGCHLD && number != SIGTTIN && number != SIGTTOU)
            kill(child, number);
    }
    return code;
}
