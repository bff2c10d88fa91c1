/* SPDX-License-Identifier: Apache-2.0
 *
 * Who listens to the monitor: the caller's channel first, then those that attached through run/attach. One packet,
 * one message (monitor.h). A client that cannot take a packet pushes back: no more output is read until it has.
 * The caller's channel may do so for ever; an attacher that stands still for MRT_GRACE_MS is dropped. */
#ifndef MRT_MONITOR_CLIENTS_H
#define MRT_MONITOR_CLIENTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MRT_ATTACHERS 64
#define MRT_CLIENTS (1 + MRT_ATTACHERS)
#define MRT_GRACE_MS 1000

struct mrt_client {
    int fd;      /* -1: a free place */
    bool silent; /* its other end is gone: what it said may still be read */
    bool typed;  /* it has sent standard input */
    bool late;   /* it has not taken the pending packet yet */
    bool held;   /* it has more of it to say than fits now */
};

struct mrt_clients {
    struct mrt_client at[MRT_CLIENTS]; /* at[0] is the caller's channel */
    int listener;
    bool typist_left;    /* one that had typed was closed */
    const void *pending; /* a packet that somebody has not taken yet: it must not change */
    size_t pending_size;
    int64_t deadline_ms; /* of attachers that are late with it, CLOCK_MONOTONIC */
};

void mrt_clients_open(struct mrt_clients *clients, int control);
/* Bind run_dir/attach, mode 0600. The umask must be 0177. 0, or -1 with errno. */
int mrt_clients_listen(struct mrt_clients *clients, int run_dir);
/* Take in all that wait, and say `greeting` to each. -1: out of descriptors, try again later. */
int mrt_clients_accept(struct mrt_clients *clients, const void *greeting, size_t size);
/* To everyone. Only while nothing is pending. Never blocks, never fails. */
void mrt_clients_send(struct mrt_clients *clients, const void *packet, size_t size);
/* The pending packet once more, to one that was late. */
void mrt_client_flush(struct mrt_clients *clients, struct mrt_client *client);
/* Drop the attachers that are late when their time is over. True: there are some whose time is not. */
bool mrt_clients_expire(struct mrt_clients *clients);
int64_t mrt_now_ms(void);
/* The next packet of a client: its size; 0: none now; -1: it is gone or broke the protocol, and is closed. */
ssize_t mrt_client_receive(struct mrt_clients *clients, struct mrt_client *client, void *packet, size_t size);
void mrt_client_silence(struct mrt_clients *clients, struct mrt_client *client);
void mrt_client_close(struct mrt_clients *clients, struct mrt_client *client);
#endif
