/* SPDX-License-Identifier: Apache-2.0
 *
 * run/state, run/exit, /proc/PID/stat, and the end of a cgroup that the container nested (a directory stands in). */
#include "monitor_check.h"

#include <sys/prctl.h>
#include <sys/stat.h>

#include "../monitor_parts.h"
#include "../monitor_text.h"

static struct mrt_monitor monitor;
static char text[4096];

static void test_text(void)
{
    char out[64], *at = mrt_put_number(out, UINT64_MAX);
    CHECK(at - out == 20 && !memcmp(out, "18446744073709551615", 20));
    CHECK(mrt_put_number(out, 0) - out == 1 && out[0] == '0');
    CHECK(mrt_put_digits(out, 7, 3) - out == 3 && !memcmp(out, "007", 3));
    const char *number = "123x";
    CHECK(mrt_take_number(&number) == 123 && *number == 'x');
    CHECK(mrt_take_number(&number) == 0);
}

/* EXE-14: a command that looks like the rest of the line. */
static void test_stat(void)
{
    struct mrt_stat mine = {0}, hostile = {0};
    CHECK(mrt_read_stat(0, &mine) == 0 && mine.start_ticks > 0);
    CHECK(prctl(PR_SET_NAME, ") R 1 (a b") == 0);
    CHECK(mrt_read_stat(getpid(), &hostile) == 0 && hostile.start_ticks == mine.start_ticks);
    CHECK(!(hostile.flags & 0x40)); /* this program was executed */
    CHECK(mrt_read_stat(1 << 30, &hostile) == -1);
}

static void test_record(int dir)
{
    struct stat status;
    monitor.settings.run_dir = dir;
    monitor.pid = 4711;
    monitor.start_ticks = 99;
    int stale = openat(dir, "exit", O_WRONLY | O_CREAT, 0600);
    close(stale);
    CHECK(mrt_record_state(&monitor) == 0);
    CHECK(fstatat(dir, "exit", &status, 0) == -1);
    content(dir, "state", text, sizeof text);
    CHECK(!strncmp(text, "pid 4711\nstart_ticks 99\nmonitor_pid ", 36));
    CHECK(strstr(text, "\nmonitor_start_ticks ") && strstr(text, "\nstarted_ns 1"));
    mrt_record_exit(&monitor, (struct mrt_exited){.code = 137, .signal = 9});
    content(dir, "exit", text, sizeof text);
    CHECK(!strncmp(text, "code 137\nsignal 9\nfinished_ns 1", 31) && text[strlen(text) - 1] == '\n');
    CHECK(fstatat(dir, ".exit", &status, 0) == -1 && fstatat(dir, ".state", &status, 0) == -1);
    mrt_record_withdraw(&monitor);
    CHECK(fstatat(dir, "state", &status, 0) == -1);
    unlinkat(dir, "exit", 0);
}

static void test_nested_cgroups(int dir)
{
    strcpy(monitor.cgroup_name, "box");
    monitor.settings.cgroup_parent = dir;
    const char *tree[] = {"box", "box/a", "box/a/b", "box/a/b/c", "box/d", "box/d/e"};
    for (size_t i = 0; i < sizeof tree / sizeof *tree; i++)
        CHECK(mkdirat(dir, tree[i], 0700) == 0);
    mrt_cgroup_kill(&monitor);
    mrt_cgroup_remove_children(openat(dir, "box", O_RDONLY | O_DIRECTORY));
    CHECK(unlinkat(dir, "box", AT_REMOVEDIR) == 0);
    mrt_cgroup_remove(&monitor); /* is gone already: no wait */
    monitor.settings.cgroup_parent = -1;
    mrt_cgroup_kill(&monitor);
    mrt_cgroup_remove(&monitor);
}

int main(void)
{
    char path[64];
    int dir = scratch(path);
    test_text();
    test_stat();
    test_record(dir);
    test_nested_cgroups(dir);
    return rmdir(path);
}
