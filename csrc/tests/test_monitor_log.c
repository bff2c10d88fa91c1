/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: dates, framing, partial lines, rotation, and a disk that takes nothing. */
#include "monitor_check.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../monitor_log.h"

static struct mrt_log log_;
static char text[1 << 20];
static const struct timespec noon = {.tv_sec = 1475712969, .tv_nsec = 669794202};

static void say(const char *stream, const char *bytes, struct timespec when)
{
    mrt_log_write(&log_, stream, bytes, strlen(bytes), when);
}

static void clear(int dir)
{
    char name[16] = "log";
    unlinkat(dir, name, 0);
    for (int i = 1; i < 10; i++) {
        snprintf(name, sizeof name, "log.%d", i);
        unlinkat(dir, name, 0);
    }
    if (log_.fd > 0)
        close(log_.fd);
}

static void test_format(int dir)
{
    mrt_log_open(&log_, dir, 0, 1);
    say("stdout", "content\n", noon);
    say("stderr", "no end", noon);
    say("stdout", "a\nb\n\nc", noon);
    say("stdout", "\n", noon);
    content(dir, "log", text, sizeof text);
#define T "2016-10-06T00:16:09.669794202Z "
    CHECK(!strcmp(text, T "stdout F content\n" T "stderr P no end\n" T "stdout F a\n" T "stdout F b\n" T
                          "stdout F \n" T "stdout P c\n" T "stdout F \n"));
    clear(dir);
}

static void test_dates(int dir)
{
    const struct { time_t second; const char *text; } dates[] = {
        {0, "1970-01-01T00:00:00"},          {951782399, "2000-02-28T23:59:59"},
        {951782400, "2000-02-29T00:00:00"},  {951868800, "2000-03-01T00:00:00"},
        {1704067199, "2023-12-31T23:59:59"}, {1709164800, "2024-02-29T00:00:00"},
        {4107542400, "2100-03-01T00:00:00"}, {-5, "1970-01-01T00:00:00"},
    };
    mrt_log_open(&log_, dir, 0, 1);
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++)
        say("stdout", "\n", (struct timespec){.tv_sec = dates[i].second, .tv_nsec = 5});
    content(dir, "log", text, sizeof text);
    char *at = text;
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        CHECK(!strncmp(at, dates[i].text, 19));
        CHECK(!strncmp(at + 19, ".000000005Z stdout F \n", 22));
        at += 41;
    }
    clear(dir);
}

/* EXE-09: content that looks like a record stays content. */
static void test_forgery(int dir)
{
    mrt_log_open(&log_, dir, 0, 1);
    say("stdout", "\r\x1b[2J\n" T "stderr F lie\n", noon);
    mrt_log_write(&log_, "stdout", "a\0b\n", 4, noon);
    size_t size = content(dir, "log", text, sizeof text);
    CHECK(strstr(text, "\n" T "stdout F " T "stderr F lie\n"));
    CHECK(size > 5 && !memcmp(text + size - 5, " a\0b\n", 5));
    clear(dir);
}

static void test_long_line(int dir)
{
    static char bytes[32768];
    memset(bytes, 'x', sizeof bytes);
    mrt_log_open(&log_, dir, 0, 1);
    for (int i = 0; i < 4; i++)
        mrt_log_write(&log_, "stdout", bytes, sizeof bytes, noon);
    say("stdout", "\n", noon);
    CHECK(content(dir, "log", text, sizeof text) == 4 * (32768 + 41) + 41);
    memset(bytes, '\n', sizeof bytes);
    clear(dir);
    mrt_log_open(&log_, dir, 0, 1);
    mrt_log_write(&log_, "stdout", bytes, 10000, noon);
    CHECK(content(dir, "log", text, sizeof text) == 10000 * 41);
    CHECK(log_.size == 10000 * 41);
    clear(dir);
}

/* RES-03: at most limit bytes a file, at most `files` files, the newest records kept. */
static void test_rotation(int dir)
{
    struct stat status;
    for (uint32_t files = 1; files <= 3; files++) {
        mrt_log_open(&log_, dir, 1000, files);
        for (int i = 0; i < 200; i++)
            say("stdout", i == 199 ? "last\n" : "something\n", noon);
        CHECK(content(dir, "log", text, sizeof text) <= 1000);
        CHECK(!strcmp(text + strlen(text) - 5, "last\n"));
        CHECK((fstatat(dir, "log.1", &status, 0) == 0) == (files > 1));
        CHECK((fstatat(dir, "log.2", &status, 0) == 0) == (files > 2));
        CHECK(fstatat(dir, "log.3", &status, 0) == -1);
        if (files > 1)
            CHECK(status.st_size <= 1000 && status.st_size > 900);
        clear(dir);
    }
    mrt_log_open(&log_, dir, 1, 2); /* each record is a file of its own */
    say("stdout", "one\ntwo\n", noon);
    content(dir, "log", text, sizeof text);
    CHECK(!strcmp(text, T "stdout F two\n"));
    clear(dir);
}

/* EXE-10 */
static void test_hostile_files(int dir)
{
    CHECK(symlinkat("/tmp/minirt-ctest-not-this", dir, "log") == 0);
    mrt_log_open(&log_, dir, 0, 1);
    say("stdout", "lost\n", noon);
    CHECK(log_.fd == -1 && access("/tmp/minirt-ctest-not-this", F_OK) == -1);
    CHECK(unlinkat(dir, "log", 0) == 0);
    CHECK(mkfifoat(dir, "log", 0600) == 0);
    say("stdout", "lost\n", noon);
    CHECK(log_.fd == -1);
    CHECK(unlinkat(dir, "log", 0) == 0);
    say("stdout", "kept\n", noon);
    content(dir, "log", text, sizeof text);
    CHECK(!strcmp(text, T "stdout F kept\n"));
    clear(dir);
}

static void test_torn_record(int dir)
{
    int fd = openat(dir, "log", O_WRONLY | O_CREAT, 0600);
    CHECK(write(fd, "torn", 4) == 4);
    close(fd);
    mrt_log_open(&log_, dir, 0, 1);
    say("stdout", "whole\n", noon);
    content(dir, "log", text, sizeof text);
    CHECK(!strcmp(text, "torn\n" T "stdout F whole\n"));
    clear(dir);
}

/* CRA-07: RLIMIT_FSIZE stands in for a full disk; what does not fit is lost whole, and then all is well again. */
static void test_full(int dir)
{
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    mrt_log_open(&log_, dir, 0, 1);
    say("stdout", "before\n", noon);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    say("stdout", "this is more than what fits in one hundred bytes of a file\n", noon);
    limit.rlim_cur = RLIM_INFINITY;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    say("stdout", "after\n", noon);
    size_t size = content(dir, "log", text, sizeof text);
    CHECK(!strcmp(text, T "stdout F before\n" T "stdout F after\n"));
    CHECK(log_.size == size);
    clear(dir);
    mrt_log_open(&log_, -1, 0, 1);
    say("stdout", "nowhere\n", noon);
}

int main(void)
{
    char path[64];
    int dir = scratch(path);
    test_format(dir);
    test_dates(dir);
    test_forgery(dir);
    test_long_line(dir);
    test_rotation(dir);
    test_hostile_files(dir);
    test_torn_record(dir);
    test_full(dir);
    return rmdir(path);
}
