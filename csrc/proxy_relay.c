/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP connections of minirt:proxy: splice(2) from socket to pipe to socket, so no byte is copied to this process.
 * Runs as nobody on the host; both ends may be hostile. Sockets are edge-triggered (epoll(7)): what is ready stays
 * noted until a call says EAGAIN. A flow reads nothing while its pipe holds something, so a slow reader slows its
 * writer; and it owns a pipe only then, so connections that rest hold two descriptors. An end of file is handed on
 * (shutdown(2)), a reset as well (SO_LINGER). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy.h"

#define CHUNK (1U << 20) /* more than a pipe takes */
#define SLICE 8          /* chunks each way before another connection has its turn */
#define BATCH 16         /* connections of one listener taken in at a time */

static int take_pipe(struct mrt_relays *relays, int *ends)
{
    if (!relays->spares)
        return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
    memcpy(ends, relays->spare[--relays->spares], sizeof relays->spare[0]);
    return 0;
}

static void close_pipe(const int *ends)
{
    close(ends[0]);
    close(ends[1]);
}

/* An empty one. */
static void give_pipe(struct mrt_relays *relays, const int *ends)
{
    if (relays->spares == MRT_SPARE_PIPES)
        close_pipe(ends);
    else
        memcpy(relays->spare[relays->spares++], ends, sizeof relays->spare[0]);
}

/* Nothing more comes this way, and what is under way is lost. */
static void cut(struct mrt_relay *relay, int side)
{
    struct mrt_flow *flow = &relay->flow[side];
    if (flow->held)
        close_pipe(flow->pipe);
    flow->held = 0;
    flow->ended = flow->shut = relay->broken = true;
}

/* splice(2) stops before urgent data (tcp(7)), as if that were all or the end. recv(2) does not: it is handed on as any
 * other byte. */
static ssize_t take_urgent(struct mrt_relay *relay, int side, int pipe)
{
    char byte;
    relay->urgent[side] = false;
    ssize_t got = recv(relay->fd[side], &byte, 1, MSG_DONTWAIT);
    return got == 1 ? write(pipe, &byte, 1) : got;
}

/* True: something came, be it the end. */
static bool fill(struct mrt_relays *relays, struct mrt_relay *relay, int side)
{
    struct mrt_flow *flow = &relay->flow[side];
    if (take_pipe(relays, flow->pipe)) {
        cut(relay, side);
        cut(relay, !side);
        return false;
    }
    ssize_t got = splice(relay->fd[side], NULL, flow->pipe[1], NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if ((got == 0 || (got < 0 && errno == EAGAIN)) && relay->urgent[side])
        got = take_urgent(relay, side, flow->pipe[1]);
    int error = got < 0 ? errno : 0;
    if (got > 0)
        flow->held = (uint32_t)got;
    else
        give_pipe(relays, flow->pipe);
    if (error == EAGAIN)
        relay->readable[side] = false;
    else if (error && error != EINTR)
        cut(relay, side);
    else if (!error && !got)
        flow->ended = true;
    return error == 0 || error == EINTR;
}

/* The length is what the pipe holds, not more: the kernel would wait for the rest before it sends (MSG_MORE). */
static bool drain(struct mrt_relays *relays, struct mrt_relay *relay, int side)
{
    struct mrt_flow *flow = &relay->flow[side];
    ssize_t sent = splice(flow->pipe[0], NULL, relay->fd[!side], NULL, flow->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent > 0) {
        flow->held -= (uint32_t)sent;
        if (!flow->held)
            give_pipe(relays, flow->pipe);
        return true;
    }
    if (sent < 0 && errno == EINTR)
        return true;
    if (sent < 0 && errno == EAGAIN)
        relay->writable[!side] = false;
    else
        cut(relay, side);
    return false;
}

static bool move(struct mrt_relays *relays, struct mrt_relay *relay, int side)
{
    struct mrt_flow *flow = &relay->flow[side];
    bool moved = false;
    if (!flow->held && !flow->ended && relay->readable[side])
        moved = fill(relays, relay, side);
    if (flow->held && relay->writable[!side])
        moved = drain(relays, relay, side) || moved;
    if (flow->ended && !flow->held && !flow->shut) {
        shutdown(relay->fd[!side], SHUT_WR);
        flow->shut = true;
    }
    return moved;
}

/* With a reset: a plain end could be taken for all that the other side had to say. */
static void close_reset(int fd)
{
    static const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static void end(struct mrt_relays *relays, struct mrt_relay *relay)
{
    for (int side = 0; side < 2; side++) {
        if (relay->flow[side].held)
            close_pipe(relay->flow[side].pipe);
        if (relay->broken)
            close_reset(relay->fd[side]);
        else
            close(relay->fd[side]);
    }
    *relay = (struct mrt_relay){.next = relays->unused};
    relays->unused = (uint16_t)(relay - relays->at);
    relays->count--;
}

/* True: there is more to do at once. One whose peer is dead still delivers what that peer had said. */
static bool serve(struct mrt_relays *relays, struct mrt_relay *relay)
{
    int error = 0;
    socklen_t size = sizeof error;
    bool moved = relay->connected;
    if (!relay->connected && !relay->broken && relay->writable[1]) {
        getsockopt(relay->fd[1], SOL_SOCKET, SO_ERROR, &error, &size);
        relay->broken = error != 0;
        moved = relay->connected = !error;
    }
    for (int i = 0; moved && i < SLICE; i++) {
        bool there = move(relays, relay, 0), back = move(relays, relay, 1);
        moved = there || back;
    }
    if (!moved && (relay->broken || (relay->flow[0].shut && relay->flow[1].shut)))
        end(relays, relay);
    return moved;
}

static void queue(struct mrt_relays *relays, struct mrt_relay *relay)
{
    uint16_t place = (uint16_t)(relay - relays->at);
    if (relay->queued)
        return;
    relay->queued = true;
    relay->next = 0;
    if (relays->first)
        relays->at[relays->last].next = place;
    else
        relays->first = place;
    relays->last = place;
}

bool mrt_relays_turn(struct mrt_relays *relays)
{
    uint16_t last = relays->last, place;
    while ((place = relays->first)) {
        struct mrt_relay *relay = &relays->at[place];
        relays->first = relay->next;
        relay->queued = false;
        if (serve(relays, relay))
            queue(relays, relay);
        if (place == last)
            break;
    }
    return relays->first != 0;
}

void mrt_relays_event(struct mrt_relays *relays, uint32_t place, int side, uint32_t events)
{
    struct mrt_relay *relay = &relays->at[place];
    if (!relay->fd[1])
        return;
    if (events & EPOLLPRI)
        relay->urgent[side] = true;
    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        relay->readable[side] = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        relay->writable[side] = true;
    if (events & EPOLLERR)
        relay->broken = true;
    queue(relays, relay);
}

/* A peer that is gone without a word is found out (SO_KEEPALIVE). */
static void tune(int fd)
{
    static const int one = 1, idle_s = 60;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
}

/* A socket on its way to the target, or -1. A target that is silent is given up after some 15 seconds. */
static int dial(const struct mrt_address *target)
{
    static const int attempts = 3;
    int fd = socket(target->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    tune(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &attempts, sizeof attempts);
    if (connect(fd, &target->any, mrt_address_size(target)) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

/* 0, or -1: there is no room, and the caller closes the client. */
static int begin(struct mrt_relays *relays, int client, const struct mrt_address *target)
{
    static const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    if (relays->count >= relays->limit)
        return -1;
    uint16_t place = relays->unused ? relays->unused : (uint16_t)(relays->count + 1);
    struct mrt_relay *relay = &relays->at[place];
    int fd = dial(target);
    if (fd < 0)
        return -1;
    if (mrt_poll_add(relays->poll, fd, events, MRT_TARGET, place) ||
        mrt_poll_add(relays->poll, client, events, MRT_CLIENT, place)) {
        close(fd);
        return -1;
    }
    tune(client);
    if (relays->unused)
        relays->unused = relay->next;
    *relay = (struct mrt_relay){.fd = {client, fd}};
    relays->count++;
    return 0;
}

bool mrt_relays_accept(struct mrt_relays *relays, const struct mrt_door *door)
{
    for (int i = 0; i < BATCH; i++) {
        int client = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0 && errno == EAGAIN)
            return true;
        if (client < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS || errno == EINVAL))
            return false;
        if (client >= 0 && begin(relays, client, &door->target))
            close_reset(client);
    }
    return true;
}
