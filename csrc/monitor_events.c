/* SPDX-License-Identifier: Apache-2.0
 *
 * What the monitor itself has to say in <state>/events: a container's start, oom and die, a session's exec_die. So
 * they are there whether or not a command waits for the container. Also the kernel's count of what it killed for
 * memory (oom_kill in memory.events, cgroup-v2.rst). Runs in the monitor, in the host's namespaces. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "monitor_parts.h"
#include "monitor_text.h"

#define RENAMED "event" /* in run/<id>: the subject under another name, written by `rename` */

/* The subject at `at`: a renamed container has its newer one in a file. */
static char *put_subject(const struct mrt_monitor *monitor, char *at)
{
    ssize_t size = -1;
    int fd = -1;
    if (monitor->settings.flags & MRT_RECORD)
        fd = openat(monitor->settings.run_dir, RENAMED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        size = read(fd, at, sizeof monitor->subject);
        close(fd);
    }
    return size > 0 ? at + size : mrt_put(at, monitor->subject);
}

static char *put_attribute(char *at, const char *key, uint64_t value)
{
    at = mrt_put(mrt_put(mrt_put(at, ",\""), key), "\":\"");
    return mrt_put(mrt_put_number(at, value), "\"");
}

/* Everything before the attributes that this event has of its own. The line lies where messages of clients do: none
 * is being read now, and it is larger than any line. */
static char *begin(struct mrt_monitor *monitor, uint64_t now_ns, const char *action)
{
    _Static_assert(sizeof monitor->message > sizeof monitor->subject + 512, "the line of an event fits");
    char *at = mrt_put_number(mrt_put(monitor->message, "{\"timeNano\":"), now_ns);
    at = mrt_put(mrt_put(mrt_put(at, ",\"Type\":\"container\",\"Action\":\""), action), "\"");
    return put_subject(monitor, at);
}

/* Nobody can be told that it failed; and a container does not end for it. */
static void end(struct mrt_monitor *monitor, char *at)
{
    at = mrt_put(at, "}}\n");
    mrt_events_append(monitor->events, monitor->message, (size_t)(at - monitor->message), MRT_EVENTS_LIMIT);
}

void mrt_events_start(struct mrt_monitor *monitor)
{
    monitor->started_ms = mrt_now_ms();
    if (*monitor->events && monitor->settings.flags & MRT_RECORD)
        end(monitor, begin(monitor, mrt_now_ns(), "start"));
}

void mrt_events_end(struct mrt_monitor *monitor, struct mrt_exited exited, uint64_t now_ns)
{
    if (!*monitor->events)
        return;
    bool container = monitor->settings.flags & MRT_RECORD;
    char *at = begin(monitor, now_ns, container ? "die" : "exec_die");
    if (container)
        at = put_attribute(at, "execDuration", (uint64_t)(mrt_now_ms() - monitor->started_ms) / 1000);
    at = put_attribute(at, "exitCode", (uint64_t)exited.code);
    if (exited.signal)
        at = put_attribute(at, "signal", (uint64_t)exited.signal);
    end(monitor, at);
}

/* After the birth: the cgroup is the container's own, so whatever was killed in it counts. */
void mrt_memory_open(struct mrt_monitor *monitor)
{
    char path[sizeof monitor->cgroup_name + sizeof "/memory.events"];
    monitor->memory = -1;
    if (!(monitor->settings.flags & MRT_RECORD) || monitor->settings.cgroup_parent < 0)
        return;
    *mrt_put(mrt_put(path, monitor->cgroup_name), "/memory.events") = '\0';
    monitor->memory = openat(monitor->settings.cgroup_parent, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* Reading is also what quiets POLLPRI. Several kills between two looks are one event. */
void mrt_memory_read(struct mrt_monitor *monitor)
{
    char text[512];
    ssize_t size = monitor->memory < 0 ? -1 : pread(monitor->memory, text, sizeof text - 1, 0);
    if (size <= 0) {
        mrt_memory_close(monitor); /* the cgroup is gone */
        return;
    }
    text[size] = '\0';
    const char *at = strstr(text, "oom_kill ");
    uint64_t kills = 0;
    if (at) {
        at += sizeof "oom_kill " - 1;
        kills = mrt_take_number(&at);
    }
    if (kills > monitor->oom_kills && *monitor->events)
        end(monitor, begin(monitor, mrt_now_ns(), "oom"));
    monitor->oom_kills = kills;
}

void mrt_memory_close(struct mrt_monitor *monitor)
{
    if (monitor->memory >= 0)
        close(monitor->memory);
    monitor->memory = -1;
}
