/* SPDX-License-Identifier: Apache-2.0
 *
 * After init's death: the rest of its output, run/exit, the cgroup, and the news to all clients. Runs in the
 * monitor. The record does not wait for a client that does not read. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor_parts.h"

#define PTY_REST (1 << 20) /* a pty buffers less than this */
#define PARTING_MS 1000    /* how long an attacher may take to leave */

static void close_output(struct mrt_output *output)
{
    if (output->fd >= 0)
        close(output->fd);
    output->fd = -1;
}

/* One read's worth of output to the log and to all clients. */
void mrt_output_read(struct mrt_monitor *monitor, struct mrt_output *output)
{
    struct timespec now;
    ssize_t size = read(output->fd, monitor->packet + 1, MRT_PAYLOAD);
    if (size < 0 && errno == EINTR)
        return;
    if (size > 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        monitor->packet[0] = (char)output->type;
        mrt_log_write(&monitor->log, output->type == MRT_STDOUT ? "stdout" : "stderr", monitor->packet + 1,
                      (size_t)size, now);
        mrt_clients_send(&monitor->clients, monitor->packet, (size_t)size + 1);
        if (monitor->dead)
            output->budget -= (size_t)size < output->budget ? (size_t)size : output->budget;
    } else if (size < 0 && errno == EAGAIN && !monitor->dead) {
        return;
    } else if (monitor->input.tty && !monitor->dead) {
        monitor->pty_naps = true; /* EIO: nobody has the terminal open just now */
    } else {
        output->budget = 0;
    }
    if (!output->budget)
        close_output(output);
}

static struct mrt_exited exited(const struct mrt_monitor *monitor)
{
    int signal = WIFSIGNALED(monitor->status) ? WTERMSIG(monitor->status) : 0;
    return (struct mrt_exited){.code = signal ? 128 + signal : WEXITSTATUS(monitor->status), .signal = signal};
}

/* Everything else in the container dies with pid 1, whether or not it had a pid namespace of its own. What is in the
 * pipes now is all that counts: somebody who inherited one from a session of exec may hold it open for ever. */
static void begin_end(struct mrt_monitor *monitor)
{
    mrt_cgroup_kill(monitor);
    mrt_input_close(&monitor->input);
    monitor->ended = true;
    for (int i = 0; i < 2; i++) {
        int waiting = 0;
        struct mrt_output *output = &monitor->outputs[i];
        if (output->fd >= 0 && !monitor->input.tty && ioctl(output->fd, FIONREAD, &waiting))
            waiting = 0;
        output->budget = monitor->input.tty ? PTY_REST : (size_t)waiting;
        if (!output->budget)
            close_output(output);
    }
}

/* The last packet, of one or two messages: FAILED, and EXITED. A channel that is full takes them later. */
static void tell(struct mrt_monitor *monitor, int place, char type, const void *body, size_t size)
{
    char *packet = monitor->farewell[place];
    packet[0] = type;
    memcpy(packet + 1, body, size);
    mrt_clients_send(&monitor->clients, packet, size + 1);
}

/* Called again and again once init is dead or was never born, until monitor->told. */
void mrt_end(struct mrt_monitor *monitor)
{
    const struct mrt_exited status = exited(monitor);
    bool record = monitor->settings.flags & MRT_RECORD;
    monitor->failed = monitor->failed || !monitor->started;
    if (!monitor->ended)
        begin_end(monitor);
    for (int i = 0; i < 2; i++)
        while (monitor->outputs[i].fd >= 0 && !monitor->clients.pending)
            mrt_output_read(monitor, &monitor->outputs[i]);
    if (!monitor->recorded) {
        monitor->recorded = true;
        mrt_memory_read(monitor);
        mrt_memory_close(monitor);
        if (record && monitor->failed)
            mrt_record_withdraw(monitor);
        else if (record)
            mrt_record_exit(monitor, status);
        else if (!monitor->failed)
            mrt_events_end(monitor, status, mrt_now_ns());
    }
    if (monitor->clients.pending)
        return;
    mrt_cgroup_remove(monitor);
    mrt_clients_accept(&monitor->clients, monitor->greeting, monitor->started ? sizeof monitor->greeting : 0);
    if (monitor->clients.listener >= 0) {
        close(monitor->clients.listener);
        unlinkat(monitor->settings.run_dir, "attach", 0);
        monitor->clients.listener = -1;
    }
    const struct mrt_failed failure = {.step = monitor->failure.step, .error = monitor->failure.error};
    if (monitor->failed)
        tell(monitor, 0, MRT_FAILED, &failure, sizeof failure);
    if (!monitor->clients.pending && (!monitor->failed || failure.error == ECHILD))
        tell(monitor, 1, MRT_EXITED, &status, sizeof status);
    monitor->deadline_ms = mrt_now_ms() + PARTING_MS;
    monitor->told = true;
}
