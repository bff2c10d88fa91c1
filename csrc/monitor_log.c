/* SPDX-License-Identifier: Apache-2.0
 *
 * The container's log: framing, and rotation by renameat(2). Every file is opened below the container's directory
 * with O_NOFOLLOW and O_APPEND, and must be a regular file. */
#define _GNU_SOURCE
#include "monitor_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor_text.h"

/* A crash may have cut the last record short: the next one still begins on a line of its own. */
static void end_torn_record(struct mrt_log *log)
{
    char last;
    if (log->size && pread(log->fd, &last, 1, (off_t)log->size - 1) == 1 && last != '\n' &&
        write(log->fd, "\n", 1) == 1)
        log->size++;
}

static int open_file(struct mrt_log *log)
{
    struct stat status;
    int fd = openat(log->dir, "log",
                    O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
        close(fd);
        return -1;
    }
    log->fd = fd;
    log->size = (uint64_t)status.st_size;
    end_torn_record(log);
    return 0;
}

void mrt_log_open(struct mrt_log *log, int dir, uint64_t limit, uint32_t files)
{
    log->dir = dir;
    log->fd = -1;
    log->limit = limit;
    log->files = files < 1 ? 1 : files > MRT_LOG_FILES ? MRT_LOG_FILES : files;
    log->size = 0;
    log->second = -1;
    log->used = 0;
    if (dir >= 0)
        open_file(log);
}

/* A write that does not fit (ENOSPC, EDQUOT) is taken back whole, so that no record is ever torn. */
static void flush(struct mrt_log *log)
{
    size_t done = 0, used = log->used;
    struct stat status;
    log->used = 0;
    if (!used || (log->fd < 0 && open_file(log)))
        return;
    while (done < used) {
        ssize_t size = write(log->fd, log->buffer + done, used - done);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            break;
        done += (size_t)size;
    }
    if (done == used)
        log->size += used;
    else if (done && (fstat(log->fd, &status) || ftruncate(log->fd, status.st_size - (off_t)done)))
        log->size += done;
}

static void name_file(char *name, uint32_t number)
{
    name = mrt_put(name, "log");
    if (number)
        name = mrt_put_number(mrt_put(name, "."), number);
    *name = '\0';
}

/* log.1 → log.2, log → log.1, a new log. With one file in all, the old log goes. */
static void rotate(struct mrt_log *log)
{
    char from[16], to[16];
    for (uint32_t number = log->files - 1; number > 0; number--) {
        name_file(from, number - 1);
        name_file(to, number);
        if (renameat(log->dir, from, log->dir, to) && number == 1 && errno != ENOENT)
            return;
    }
    if (log->files == 1 && unlinkat(log->dir, "log", 0) && errno != ENOENT)
        return;
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    log->size = 0;
    open_file(log);
}

static void add_record(struct mrt_log *log, const char *head, size_t head_size, const char *bytes, size_t count)
{
    size_t size = head_size + count + 1;
    if (log->limit && log->size + log->used && log->size + log->used + size > log->limit) {
        flush(log);
        rotate(log);
    }
    if (log->used + size > sizeof log->buffer)
        flush(log);
    char *at = log->buffer + log->used;
    memcpy(at, head, head_size);
    memcpy(at + head_size, bytes, count);
    at[head_size + count] = '\n';
    log->used += size;
}

/* Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar. The year begins in March here,
 * so that its leap day comes last; an era is 400 years. */
static char *put_date(char *at, uint64_t days)
{
    days += 719468; /* since 0000-03-01 */
    uint64_t era = days / 146097, day = days % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    uint64_t month = (5 * day + 2) / 153;
    at = mrt_put_digits(at, year + era * 400 + (month >= 10), 4);
    at = mrt_put_digits(mrt_put(at, "-"), month < 10 ? month + 3 : month - 9, 2);
    return mrt_put_digits(mrt_put(at, "-"), day - (153 * month + 2) / 5 + 1, 2);
}

/* RFC 3339 with nanoseconds, in UTC. A clock before 1970 shows as 1970. */
static char *put_time(struct mrt_log *log, char *at, struct timespec now)
{
    if (now.tv_sec != log->second) {
        uint64_t second = now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec;
        char *stamp = mrt_put(put_date(log->stamp, second / 86400), "T");
        stamp = mrt_put(mrt_put_digits(stamp, second / 3600 % 24, 2), ":");
        stamp = mrt_put(mrt_put_digits(stamp, second / 60 % 60, 2), ":");
        mrt_put(mrt_put_digits(stamp, second % 60, 2), ".");
        log->second = now.tv_sec;
    }
    memcpy(at, log->stamp, sizeof log->stamp);
    return mrt_put(mrt_put_digits(at + sizeof log->stamp, (uint64_t)now.tv_nsec, 9), "Z ");
}

void mrt_log_write(struct mrt_log *log, const char *stream, const char *bytes, size_t count,
                   struct timespec now)
{
    char head[64];
    if (log->dir < 0)
        return;
    char *tag = mrt_put(mrt_put(put_time(log, head, now), stream), " ");
    size_t head_size = (size_t)(mrt_put(tag, "F ") - head);
    while (count) {
        const char *newline = memchr(bytes, '\n', count);
        size_t length = newline ? (size_t)(newline - bytes) : count;
        *tag = newline ? 'F' : 'P';
        add_record(log, head, head_size, bytes, length);
        length += newline != NULL;
        bytes += length;
        count -= length;
    }
    flush(log);
}
