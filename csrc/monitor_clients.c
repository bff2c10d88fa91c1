/* SPDX-License-Identifier: Apache-2.0
 *
 * The caller's channel and the attach socket: unix(7), SOCK_SEQPACKET. Runs in the monitor as root on the host.
 * Everything is non-blocking and MSG_NOSIGNAL, so a client that is slow, stopped or dead costs nobody anything.
 * The socket has a path, in a directory that only root enters, never an abstract name, which any container that
 * shares the host's network namespace could reach (CVE-2020-15257); SO_PEERCRED is asked all the same. */
#define _GNU_SOURCE
#include "monitor_clients.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "monitor_text.h"

void mrt_clients_open(struct mrt_clients *clients, int control)
{
    for (int i = 0; i < MRT_CLIENTS; i++)
        clients->at[i] = (struct mrt_client){.fd = -1};
    clients->at[0].fd = control;
    clients->listener = -1;
    clients->typist_left = false;
    clients->pending = NULL;
    clients->pending_size = 0;
}

/* sun_path has 108 bytes, a state directory may have more: the kernel takes the directory's descriptor instead. */
int mrt_clients_listen(struct mrt_clients *clients, int run_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *at = mrt_put_number(mrt_put(address.sun_path, "/proc/self/fd/"), (uint64_t)run_dir);
    mrt_put(at, "/attach");
    if (unlinkat(run_dir, "attach", 0) && errno != ENOENT)
        return -1;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, MRT_ATTACHERS)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    clients->listener = fd;
    return 0;
}

/* 1: taken; 0: full; -1: nobody there. */
static int send_packet(int fd, const void *packet, size_t size)
{
    ssize_t sent;
    do
        sent = send(fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 1;
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? 0 : -1;
}

static bool is_root(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

static struct mrt_client *free_place(struct mrt_clients *clients)
{
    for (int i = 1; i < MRT_CLIENTS; i++)
        if (clients->at[i].fd < 0)
            return &clients->at[i];
    return NULL;
}

int mrt_clients_accept(struct mrt_clients *clients, const void *greeting, size_t size)
{
    while (clients->listener >= 0) {
        int fd = accept4(clients->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return errno == EAGAIN ? 0 : -1;
        struct mrt_client *place = free_place(clients);
        if (!place || !is_root(fd) || (size && send_packet(fd, greeting, size) != 1))
            close(fd);
        else
            *place = (struct mrt_client){.fd = fd};
    }
    return 0;
}

void mrt_client_close(struct mrt_clients *clients, struct mrt_client *client)
{
    mrt_client_silence(clients, client);
    if (client->fd >= 0) {
        close(client->fd);
        clients->typist_left = clients->typist_left || client->typed;
    }
    client->fd = -1;
}

static void settle(struct mrt_clients *clients, struct mrt_client *client)
{
    bool late = false;
    client->late = false;
    for (int i = 0; i < MRT_CLIENTS; i++)
        late = late || clients->at[i].late;
    if (!late)
        clients->pending = NULL;
}

void mrt_client_silence(struct mrt_clients *clients, struct mrt_client *client)
{
    client->silent = true;
    settle(clients, client);
}

int64_t mrt_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void mrt_clients_send(struct mrt_clients *clients, const void *packet, size_t size)
{
    for (int i = 0; i < MRT_CLIENTS; i++) {
        struct mrt_client *client = &clients->at[i];
        if (client->fd < 0 || client->silent)
            continue;
        int taken = send_packet(client->fd, packet, size);
        if (taken < 0)
            mrt_client_silence(clients, client);
        client->late = taken == 0;
        if (taken != 0)
            continue;
        if (!clients->pending)
            clients->deadline_ms = mrt_now_ms() + MRT_GRACE_MS;
        clients->pending = packet;
        clients->pending_size = size;
    }
}

void mrt_client_flush(struct mrt_clients *clients, struct mrt_client *client)
{
    int taken = client->late ? send_packet(client->fd, clients->pending, clients->pending_size) : 0;
    if (taken > 0)
        settle(clients, client);
    else if (taken < 0)
        mrt_client_silence(clients, client);
}

bool mrt_clients_expire(struct mrt_clients *clients)
{
    bool waiting = false;
    for (int i = 1; clients->pending && i < MRT_CLIENTS; i++)
        waiting = waiting || clients->at[i].late;
    if (!waiting || mrt_now_ms() < clients->deadline_ms)
        return waiting;
    for (int i = 1; i < MRT_CLIENTS; i++)
        if (clients->at[i].late)
            mrt_client_close(clients, &clients->at[i]);
    return false;
}

/* The other end's death with unread packets shows once as ECONNRESET; what it sent before still follows. */
ssize_t mrt_client_receive(struct mrt_clients *clients, struct mrt_client *client, void *packet, size_t size)
{
    ssize_t got;
    do
        got = recv(client->fd, packet, size, MSG_DONTWAIT | MSG_TRUNC);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got > 0 && (size_t)got <= size)
        return got;
    mrt_client_close(clients, client);
    return -1;
}
