/* SPDX-License-Identifier: Apache-2.0
 *
 * minirt:proxy's parts: connections (proxy_relay.c), datagrams (proxy_datagram.c), its powers (proxy_powers.c). All
 * tables are static, and a zeroed one is an empty one: places count from 1, so the pages of what is not used are never
 * touched. */
#ifndef MRT_PROXY_H
#define MRT_PROXY_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define MRT_DOORS 8192
#define MRT_RELAYS 4096
#define MRT_SESSIONS 1024
#define MRT_SPARE_PIPES 16
#define MRT_RELAY_FILES 6 /* two sockets and, at the worst, two pipes */
#define MRT_ANSWER_MS 30000
#define MRT_SESSION_MS 180000

struct mrt_address { union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; }; };
static inline socklen_t mrt_address_size(const struct mrt_address *address)
{
    return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}
struct mrt_door { int fd; bool datagrams; struct mrt_address target; }; /* a published socket */

/* What epoll says of a descriptor: its kind, and the place in that kind's table. */
enum mrt_ready { MRT_WATCH, MRT_LISTENERS, MRT_CLIENT, MRT_TARGET, MRT_DATAGRAMS, MRT_SESSION };
int mrt_poll_add(int poll, int fd, uint32_t events, enum mrt_ready kind, uint32_t place);

struct mrt_flow {                 /* from one side to the other */
    int pipe[2]; uint32_t held;   /* bytes under way; the flow owns a pipe as long as there are any */
    bool ended, shut;             /* the one side has said all it will; the other has been told */
};
struct mrt_relay {
    int fd[2];                    /* the client's, the target's */
    struct mrt_flow flow[2];      /* flow[0] comes from fd[0] */
    bool readable[2], writable[2], urgent[2], connected, broken, queued;
    uint16_t next;
};
struct mrt_relays {
    int poll, limit, count, spares, spare[MRT_SPARE_PIPES][2];
    uint16_t unused, first, last; /* of the free ones; the queue of those that can do something */
    struct mrt_relay at[1 + MRT_RELAYS];
};
bool mrt_relays_accept(struct mrt_relays *relays, const struct mrt_door *door); /* false: the system has no more */
void mrt_relays_event(struct mrt_relays *relays, uint32_t place, int side, uint32_t events);
bool mrt_relays_turn(struct mrt_relays *relays);                                /* true: there is more to do at once */

struct mrt_session {              /* of one client's address, at one address of ours */
    struct mrt_address client;
    struct in6_addr local;        /* an IPv4 one in the first four bytes */
    int64_t used_ms;
    int fd;
    uint16_t door, next, older, newer;
    bool answered;
};
struct mrt_sessions {
    int poll, limit, count;
    uint32_t seed;
    const struct mrt_door *doors;
    uint16_t unused, bucket[1024], oldest[2], newest[2]; /* [answered] */
    struct mrt_session at[1 + MRT_SESSIONS];
};
void mrt_sessions_take(struct mrt_sessions *sessions, uint32_t door, int64_t now_ms);
void mrt_sessions_answer(struct mrt_sessions *sessions, uint32_t place, int64_t now_ms);
int mrt_sessions_expire(struct mrt_sessions *sessions, int64_t now_ms); /* ms until it is worth another look; or -1 */

int mrt_door_parse(struct mrt_door *door, const char *text); /* proxy.c */
int mrt_proxy_drop(void); /* proxy_powers.c: what this process may do, for good. 0, or -1 with errno */
int mrt_proxy_main(char **argv);
#endif
