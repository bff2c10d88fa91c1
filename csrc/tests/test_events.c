/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of events: whole lines by many writers, rotation, and what the monitor says there of itself. */
#include "monitor_check.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../events.h"
#include "../monitor_parts.h"

#define WRITERS 8
#define LINES 500
#define SUBJECT ",\"ID\":\"abc\",\"Attributes\":{\"image\":\"busybox\",\"name\":\"web\""

static struct mrt_monitor monitor;
static char text[1 << 20], path[80];

static size_t events(int dir)
{
    return content(dir, "events", text, sizeof text);
}

/* Each line is "WWW NNN…\n" of one writer: none is torn, none is missing. */
static void test_many_writers(int dir)
{
    static int next[WRITERS];
    for (int writer = 0; writer < WRITERS; writer++)
        if (fork() == 0) {
            for (int i = 0; i < LINES; i++) {
                char line[64];
                int size = snprintf(line, sizeof line, "%d %d\n", writer, i);
                if (mrt_events_append(path, line, (size_t)size, 1 << 30))
                    _exit(1);
            }
            _exit(0);
        }
    for (int status, i = 0; i < WRITERS; i++)
        CHECK(wait(&status) > 0 && status == 0);
    events(dir);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        int writer, number, end = 0;
        CHECK(sscanf(line, "%d %d%n", &writer, &number, &end) == 2 && line[end] == '\0');
        CHECK(writer >= 0 && writer < WRITERS && next[writer]++ == number);
    }
    for (int i = 0; i < WRITERS; i++)
        CHECK(next[i] == LINES);
    CHECK(unlinkat(dir, "events", 0) == 0);
}

/* The file is renamed by who fills it, and by nobody who found it full as well. */
static void test_rotation(int dir)
{
    CHECK(mrt_events_append(path, "1\n", 2, 4) == 0 && faccessat(dir, "events.1", F_OK, 0));
    int late = openat(dir, "events", O_RDONLY | O_CLOEXEC);
    CHECK(mrt_events_append(path, "2\n", 2, 4) == 0);
    CHECK(events(dir) == (size_t)-1 && content(dir, "events.1", text, sizeof text) == 4);
    CHECK(mrt_events_append(path, "3\n", 2, 4) == 0 && events(dir) == 2);
    CHECK(content(dir, "events.1", text, sizeof text) == 4);
    CHECK(mrt_events_append(path, "4\n", 2, 4) == 0);
    CHECK(content(dir, "events.1", text, sizeof text) == 4 && !strcmp(text, "3\n4\n"));
    close(late);
    CHECK(unlinkat(dir, "events.1", 0) == 0);
}

static void test_what_cannot_be_written(int dir)
{
    CHECK(mrt_events_append("/nonexistent/events", "x\n", 2, 4) == -1 && errno == ENOENT);
    CHECK(symlinkat("elsewhere", dir, "events") == 0);
    CHECK(mrt_events_append(path, "x\n", 2, 4) == -1 && errno == ELOOP);
    CHECK(faccessat(dir, "elsewhere", F_OK, 0) == -1 && unlinkat(dir, "events", 0) == 0);
}

static void test_of_a_container(int dir)
{
    monitor.settings.flags = MRT_RECORD;
    monitor.settings.run_dir = dir;
    strcpy(monitor.subject, SUBJECT);
    mrt_events_start(&monitor);
    CHECK(events(dir) == (size_t)-1); /* no path, no events */
    strcpy(monitor.events, path);
    mrt_events_start(&monitor);
    events(dir);
    CHECK(!strncmp(text, "{\"timeNano\":1", 13));
    CHECK(strstr(text, ",\"Type\":\"container\",\"Action\":\"start\"" SUBJECT "}}\n"));
    mrt_events_end(&monitor, (struct mrt_exited){.code = 137, .signal = 9}, 7);
    events(dir);
    CHECK(strstr(text, "\n{\"timeNano\":7,\"Type\":\"container\",\"Action\":\"die\"" SUBJECT
                       ",\"execDuration\":\"0\",\"exitCode\":\"137\",\"signal\":\"9\"}}\n"));
    int renamed = openat(dir, "event", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(renamed, ",\"ID\":\"other\"", 13) == 13 && close(renamed) == 0);
    mrt_events_end(&monitor, (struct mrt_exited){.code = 0}, 8);
    events(dir);
    CHECK(strstr(text, ",\"Action\":\"die\",\"ID\":\"other\",\"execDuration\":\"0\",\"exitCode\":\"0\"}}\n"));
    monitor.settings.flags = 0; /* a session of exec */
    mrt_events_end(&monitor, (struct mrt_exited){.code = 3}, 9);
    events(dir);
    CHECK(strstr(text, "{\"timeNano\":9,\"Type\":\"container\",\"Action\":\"exec_die\"" SUBJECT ",\"exitCode\":\"3\"}}\n"));
    CHECK(unlinkat(dir, "event", 0) == 0 && unlinkat(dir, "events", 0) == 0);
}

static void write_memory(int dir, const char *bytes)
{
    int fd = openat(dir, "box/memory.events", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(write(fd, bytes, strlen(bytes)) == (ssize_t)strlen(bytes) && close(fd) == 0);
}

/* RES: each look that finds more kills than the last is one event; oom_group_kill is another number. */
static void test_memory(int dir)
{
    monitor.settings.flags = MRT_RECORD;
    monitor.settings.cgroup_parent = dir;
    strcpy(monitor.cgroup_name, "box");
    mrt_memory_open(&monitor);
    CHECK(monitor.memory == -1); /* no controller */
    mrt_memory_read(&monitor);
    CHECK(mkdirat(dir, "box", 0700) == 0);
    write_memory(dir, "low 0\nhigh 0\nmax 9\noom 4\noom_kill 0\noom_group_kill 0\n");
    mrt_memory_open(&monitor);
    CHECK(monitor.memory >= 0);
    mrt_memory_read(&monitor);
    CHECK(monitor.oom_kills == 0 && events(dir) == (size_t)-1);
    write_memory(dir, "low 0\nhigh 0\nmax 9\noom 4\noom_kill 12\noom_group_kill 3\n");
    mrt_memory_read(&monitor);
    mrt_memory_read(&monitor);
    CHECK(monitor.oom_kills == 12);
    events(dir);
    CHECK(strstr(text, ",\"Action\":\"oom\"" SUBJECT "}}\n") && strchr(text, '\n') == text + strlen(text) - 1);
    mrt_record_exit(&monitor, (struct mrt_exited){.code = 137, .signal = 9});
    content(dir, "exit", text, sizeof text);
    CHECK(strstr(text, "\noom_killed 12\n"));
    events(dir);
    CHECK(strstr(text, "\"oom\"") < strstr(text, "\"die\""));
    mrt_memory_close(&monitor);
    CHECK(monitor.memory == -1);
    CHECK(!unlinkat(dir, "exit", 0) && !unlinkat(dir, "box/memory.events", 0) && !unlinkat(dir, "box", AT_REMOVEDIR));
    CHECK(unlinkat(dir, "events", 0) == 0);
}

int main(void)
{
    char place[64];
    int dir = scratch(place);
    snprintf(path, sizeof path, "%s/events", place);
    monitor.memory = -1;
    test_many_writers(dir);
    test_rotation(dir);
    test_what_cannot_be_written(dir);
    test_of_a_container(dir);
    test_memory(dir);
    return rmdir(place);
}
