/* SPDX-License-Identifier: Apache-2.0
 *
 * The monitor's loop: one ppoll(2) over init's report, its pidfd, its output and input, the attach socket and the
 * clients. Runs in the monitor from the birth to the last client's leaving. One read of each ready descriptor a
 * turn, so that no flood starves another; all memory is static. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "monitor_parts.h"

#define NAP_MS 100

enum place { REPORT, PIDFD, INPUT, LISTENER, MEMORY, OUTPUT, CLIENTS = OUTPUT + 2, PLACES = CLIENTS + MRT_CLIENTS };

static volatile sig_atomic_t child_changed = 1;

static void on_child(int number)
{
    (void)number;
    child_changed = 1;
}

static struct pollfd watched(bool wanted, int fd, short events)
{
    return (struct pollfd){.fd = wanted ? fd : -1, .events = events};
}

/* While standard input is full, no client that has more of it is read; while somebody is late with a packet, no output is.
 * poll(2) always reports a hang-up, so a client that hung up and must wait is left out. Gives the count. */
static nfds_t choose(const struct mrt_monitor *monitor, struct pollfd *polls)
{
    nfds_t count = CLIENTS;
    bool full = monitor->input.left > 0, pending = monitor->clients.pending != NULL;
    bool flowing = monitor->started && !monitor->dead && !pending;
    polls[REPORT] = watched(true, monitor->report, POLLIN);
    polls[PIDFD] = watched(!monitor->dead, monitor->pidfd, POLLIN);
    polls[INPUT] = watched(full, monitor->input.fd, POLLOUT);
    polls[LISTENER] = watched(!monitor->listener_naps, monitor->clients.listener, POLLIN);
    polls[MEMORY] = watched(monitor->started && !monitor->dead, monitor->memory, POLLPRI);
    for (int i = 0; i < 2; i++)
        polls[OUTPUT + i] = watched(flowing && !monitor->pty_naps, monitor->outputs[i].fd, POLLIN);
    for (int i = 0; i < MRT_CLIENTS; i++) {
        const struct mrt_client *client = &monitor->clients.at[i];
        bool held = full && client->held;
        short events = (short)((held ? 0 : POLLIN) | (client->late ? POLLOUT : 0));
        polls[CLIENTS + i] = watched(!(held && client->silent), client->fd, events);
        if (client->fd >= 0)
            count = (nfds_t)(CLIENTS + i + 1);
    }
    return count;
}

/* What a client may say is little; anything else is ignored. */
static void obey(struct mrt_monitor *monitor, struct mrt_client *client, const char *message, size_t size)
{
    struct mrt_size window;
    switch ((enum mrt_message)message[0]) {
    case MRT_STDIN:
        client->typed = true;
        mrt_input_take(&monitor->input, message + 1, size - 1);
        break;
    case MRT_STDIN_EOF:
        client->typed = true;
        mrt_input_end(&monitor->input);
        break;
    case MRT_RESIZE:
        if (size != 1 + sizeof window)
            break;
        memcpy(&window, message + 1, sizeof window);
        mrt_tty_resize(monitor, window);
        break;
    case MRT_GO:
        if (monitor->report >= 0)
            send(monitor->report, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case MRT_FAILED:
    case MRT_STARTED:
    case MRT_STDOUT:
    case MRT_STDERR:
    case MRT_EXITED:
    default:
        break;
    }
}

static bool types(const struct mrt_client *client)
{
    char type = 0;
    return recv(client->fd, &type, 1, MSG_PEEK | MSG_DONTWAIT) == 1 &&
           (type == MRT_STDIN || type == MRT_STDIN_EOF);
}

static void attend(struct mrt_monitor *monitor, struct mrt_client *client, short events)
{
    struct mrt_clients *clients = &monitor->clients;
    if (events & POLLOUT)
        mrt_client_flush(clients, client);
    if (events & (POLLHUP | POLLERR))
        mrt_client_silence(clients, client);
    client->held = monitor->input.left && types(client);
    if (!(events & (POLLIN | POLLHUP | POLLERR)) || client->held)
        return;
    ssize_t size = mrt_client_receive(clients, client, monitor->message, sizeof monitor->message);
    if (size > 0)
        obey(monitor, client, monitor->message, (size_t)size);
}

/* After EXITED: the channel may take its time, attachers have a second. After FAILED there is nothing to stay for,
 * and a caller may wait for this process; only what it said is read, for unread packets would reset its channel. */
static bool everyone_left(struct mrt_monitor *monitor)
{
    struct mrt_clients *clients = &monitor->clients;
    bool alone = true;
    for (int i = 0; monitor->failed && !clients->pending && i < MRT_CLIENTS; i++)
        while (clients->at[i].fd >= 0 &&
               mrt_client_receive(clients, &clients->at[i], monitor->message, sizeof monitor->message) > 0)
            continue;
    if (monitor->failed && !clients->pending)
        return true;
    for (int i = 0; i < MRT_CLIENTS; i++) {
        if (i > 0 && clients->at[i].fd >= 0 && mrt_now_ms() >= monitor->deadline_ms)
            mrt_client_close(clients, &clients->at[i]);
        alone = alone && clients->at[i].fd < 0;
    }
    return alone;
}

/* Whoever was dropped here may have been the last that the end waited for: then there is no wait at all. */
static int wait_ms(struct mrt_monitor *monitor)
{
    if (mrt_clients_expire(&monitor->clients))
        return NAP_MS;
    if (monitor->dead && !monitor->told && !monitor->clients.pending)
        return 0;
    for (int i = 1; monitor->told && i < MRT_CLIENTS; i++)
        if (monitor->clients.at[i].fd >= 0)
            return NAP_MS;
    return (monitor->pty_naps || monitor->listener_naps) && !monitor->told ? NAP_MS : -1;
}

static void turn(struct mrt_monitor *monitor, const sigset_t *mask)
{
    struct pollfd polls[PLACES];
    int ms = wait_ms(monitor);
    const struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nfds_t count = choose(monitor, polls);
    int ready = ppoll(polls, count, ms < 0 ? NULL : &limit, mask);
    monitor->pty_naps = monitor->listener_naps = false;
    if (ready <= 0)
        return; /* a signal or the end of a nap; revents are not set */
    if (polls[PIDFD].revents)
        child_changed = 1;
    if (polls[MEMORY].revents)
        mrt_memory_read(monitor);
    if (polls[INPUT].revents)
        mrt_input_flush(&monitor->input);
    for (nfds_t i = CLIENTS; i < count; i++)
        if (polls[i].revents && monitor->clients.at[i - CLIENTS].fd >= 0)
            attend(monitor, &monitor->clients.at[i - CLIENTS], polls[i].revents);
    if (monitor->clients.typist_left && monitor->settings.flags & MRT_STDIN_ONCE)
        mrt_input_end(&monitor->input);
    for (int i = 0; i < 2; i++)
        if (polls[OUTPUT + i].revents && !monitor->clients.pending)
            mrt_output_read(monitor, &monitor->outputs[i]);
    if (polls[LISTENER].revents)
        monitor->listener_naps = mrt_clients_accept(&monitor->clients, monitor->greeting,
                                                    monitor->started ? sizeof monitor->greeting : 0) < 0;
}

void mrt_serve(struct mrt_monitor *monitor)
{
    sigset_t child, mask;
    const struct sigaction action = {.sa_handler = on_child};
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &mask);
    sigdelset(&mask, SIGCHLD);
    sigaction(SIGCHLD, &action, NULL);
    for (;;) {
        mrt_report_read(monitor);
        if (child_changed) {
            child_changed = 0;
            mrt_report_read(monitor); /* a dead init's last word is there before its status is */
            mrt_reap(monitor);
        }
        if (monitor->dead && !monitor->told)
            mrt_end(monitor);
        if (monitor->told && everyone_left(monitor))
            return;
        turn(monitor, &mask);
    }
}
