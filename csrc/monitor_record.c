/* SPDX-License-Identifier: Apache-2.0
 *
 * run/state and run/exit: what the next command finds. Each is written whole and then renamed, so it is there or it
 * is not (rename(2)). Runs in the monitor, in the host's namespaces. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "monitor_parts.h"
#include "monitor_text.h"

static char *put_pair(char *at, const char *key, uint64_t value)
{
    return mrt_put(mrt_put_number(mrt_put(mrt_put(at, key), " "), value), "\n");
}

uint64_t mrt_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* `lasting`: synced. run/state is not, for after a crash of the host nothing runs, whatever is written. */
static int draft(int dir, const char *name, const char *text, size_t size, bool lasting)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, size);
    int error = written < 0 ? errno : (size_t)written < size ? ENOSPC : lasting && fsync(fd) ? errno : 0;
    close(fd);
    if (error)
        unlinkat(dir, name, 0);
    errno = error;
    return error ? -1 : 0;
}

static int publish(int dir, const char *from, const char *name)
{
    if (renameat(dir, from, dir, name) == 0)
        return 0;
    int error = errno;
    unlinkat(dir, from, 0);
    errno = error;
    return -1;
}

int mrt_record_state(const struct mrt_monitor *monitor)
{
    char text[256], *at = text;
    struct mrt_stat self;
    if (mrt_read_stat(0, &self))
        return -1;
    at = put_pair(at, "pid", (uint64_t)monitor->pid);
    at = put_pair(at, "start_ticks", monitor->start_ticks);
    at = put_pair(at, "monitor_pid", (uint64_t)getpid());
    at = put_pair(at, "monitor_start_ticks", self.start_ticks);
    at = put_pair(at, "started_ns", mrt_now_ns());
    if (unlinkat(monitor->settings.run_dir, "exit", 0) && errno != ENOENT)
        return -1;
    if (draft(monitor->settings.run_dir, ".state", text, (size_t)(at - text), false))
        return -1;
    return publish(monitor->settings.run_dir, ".state", "state");
}

/* A file system that is full for a moment is waited for, for a second: without this record the status is lost. The
 * event comes before the record: whoever sees the end there says what he does next after it. */
void mrt_record_exit(struct mrt_monitor *monitor, struct mrt_exited exited)
{
    char text[160], *at = text;
    const struct timespec pause = {.tv_nsec = 100000000};
    uint64_t now_ns = mrt_now_ns();
    int dir = monitor->settings.run_dir, drafted = -1;
    at = put_pair(at, "code", (uint64_t)exited.code);
    at = put_pair(at, "signal", (uint64_t)exited.signal);
    at = put_pair(at, "finished_ns", now_ns);
    at = put_pair(at, "oom_killed", monitor->oom_kills);
    for (int attempt = 0; drafted && attempt < 10; attempt++) {
        drafted = draft(dir, ".exit", text, (size_t)(at - text), true);
        if (drafted && errno != ENOSPC && errno != EDQUOT && errno != ENFILE && errno != ENOMEM)
            break;
        if (drafted)
            nanosleep(&pause, NULL);
    }
    mrt_events_end(monitor, exited, now_ns);
    if (!drafted)
        publish(dir, ".exit", "exit");
}

/* The program was never executed: there is no state to show. */
void mrt_record_withdraw(const struct mrt_monitor *monitor)
{
    unlinkat(monitor->settings.run_dir, "state", 0);
}
