/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text and back, and the two fields of proc(5)'s stat that identify a process and tell whether it
 * has executed a program. Runs in the monitor, in the host's namespaces. */
#define _GNU_SOURCE
#include "monitor_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

char *mrt_put(char *at, const char *text)
{
    size_t length = strlen(text);
    memcpy(at, text, length);
    return at + length;
}

char *mrt_put_digits(char *at, uint64_t number, int width)
{
    for (int i = width - 1; i >= 0; i--, number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + width;
}

char *mrt_put_number(char *at, uint64_t number)
{
    int width = 1;
    for (uint64_t rest = number / 10; rest; rest /= 10)
        width++;
    return mrt_put_digits(at, number, width);
}

uint64_t mrt_take_number(const char **at)
{
    uint64_t number = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        number = number * 10 + (uint64_t)(**at - '0');
    return number;
}

/* The command in field 2 may hold anything, ") R 1" too, so fields are counted from the last parenthesis. */
static int parse_stat(const char *text, struct mrt_stat *stat)
{
    const char *at = strrchr(text, ')');
    for (int field = 3; at && field <= 22; field++) {
        at = strchr(at, ' ');
        if (!at)
            break;
        at++;
        const char *number = at;
        if (field == 9)
            stat->flags = (unsigned int)mrt_take_number(&number);
        if (field == 22) {
            stat->start_ticks = mrt_take_number(&number);
            return 0;
        }
    }
    errno = EBADMSG;
    return -1;
}

int mrt_read_stat(int pid, struct mrt_stat *stat)
{
    char path[32], text[1024];
    char *at = mrt_put(path, "/proc/");
    at = pid ? mrt_put_number(at, (uint64_t)pid) : mrt_put(at, "self");
    *mrt_put(at, "/stat") = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    ssize_t size = read(fd, text, sizeof text - 1);
    int error = errno;
    close(fd);
    if (size < 0) {
        errno = error;
        return -1;
    }
    text[size] = '\0';
    return parse_stat(text, stat);
}
