/* SPDX-License-Identifier: Apache-2.0
 *
 * UDP of minirt:proxy: one connected socket for each client's address, so that what the target answers there is that
 * client's; the answer leaves from the published socket, with the address that the client had written to
 * (IP_PKTINFO in ip(7), IPV6_PKTINFO in ipv6(7)). Runs as nobody on the host; anybody there may send anything. As in
 * the kernel's own table of connections, those that were never answered go first when the table is full. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy.h"

#define BATCH 32

enum { BUCKETS = sizeof((struct mrt_sessions *)0)->bucket / sizeof(uint16_t) };

static char bytes[65536];
union control { struct cmsghdr header; char space[CMSG_SPACE(sizeof(struct in6_pktinfo))]; };

static uint16_t *bucket_of(struct mrt_sessions *sessions, uint32_t door, const struct mrt_address *client)
{
    const unsigned char *from = (const unsigned char *)client;
    uint32_t hash = sessions->seed ^ door;
    for (size_t i = 0; i < sizeof *client; i++)
        hash = (hash ^ from[i]) * 16777619U;
    return &sessions->bucket[(hash ^ hash >> 16) % BUCKETS];
}

static void unlist(struct mrt_sessions *sessions, struct mrt_session *session)
{
    *(session->older ? &sessions->at[session->older].newer : &sessions->oldest[session->answered]) = session->newer;
    *(session->newer ? &sessions->at[session->newer].older : &sessions->newest[session->answered]) = session->older;
}

static void enlist(struct mrt_sessions *sessions, struct mrt_session *session, int64_t now_ms)
{
    uint16_t place = (uint16_t)(session - sessions->at), last = sessions->newest[session->answered];
    session->used_ms = now_ms;
    session->older = last;
    session->newer = 0;
    *(last ? &sessions->at[last].newer : &sessions->oldest[session->answered]) = place;
    sessions->newest[session->answered] = place;
}

static void forget(struct mrt_sessions *sessions, uint16_t place)
{
    struct mrt_session *session = &sessions->at[place];
    uint16_t *link = bucket_of(sessions, session->door, &session->client);
    while (*link != place)
        link = &sessions->at[*link].next;
    *link = session->next;
    unlist(sessions, session);
    close(session->fd);
    *session = (struct mrt_session){.fd = -1, .next = sessions->unused};
    sessions->unused = place;
    sessions->count--;
}

int mrt_sessions_expire(struct mrt_sessions *sessions, int64_t now_ms)
{
    static const int64_t patience_ms[] = {MRT_ANSWER_MS, MRT_SESSION_MS};
    int64_t wait_ms = -1;
    for (int answered = 0; answered < 2; answered++) {
        int64_t left_ms = -1;
        for (uint16_t place; (place = sessions->oldest[answered]);) {
            left_ms = sessions->at[place].used_ms + patience_ms[answered] - now_ms;
            if (left_ms > 0)
                break;
            left_ms = -1;
            forget(sessions, place);
        }
        if (left_ms > 0 && (wait_ms < 0 || left_ms < wait_ms))
            wait_ms = left_ms;
    }
    return (int)wait_ms;
}

static int dial(const struct mrt_address *target)
{
    int fd = socket(target->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &target->any, mrt_address_size(target))) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct mrt_session *make(struct mrt_sessions *sessions, uint32_t door, const struct mrt_address *client,
                                const struct in6_addr *local, int64_t now_ms)
{
    if (sessions->count >= sessions->limit && sessions->count)
        forget(sessions, sessions->oldest[0] ? sessions->oldest[0] : sessions->oldest[1]);
    uint16_t place = sessions->unused ? sessions->unused : (uint16_t)(sessions->count + 1);
    struct mrt_session *session = &sessions->at[place];
    int fd = sessions->count < sessions->limit ? dial(&sessions->doors[door].target) : -1;
    if (fd < 0)
        return NULL;
    if (mrt_poll_add(sessions->poll, fd, EPOLLIN, MRT_SESSION, place)) {
        close(fd);
        return NULL;
    }
    if (sessions->unused)
        sessions->unused = session->next;
    uint16_t *bucket = bucket_of(sessions, door, client);
    *session = (struct mrt_session){.client = *client, .local = *local, .fd = fd, .door = (uint16_t)door, .next = *bucket};
    *bucket = place;
    sessions->count++;
    enlist(sessions, session, now_ms);
    return session;
}

static struct mrt_session *find(struct mrt_sessions *sessions, uint32_t door, const struct mrt_address *client,
                                const struct in6_addr *local)
{
    for (uint16_t place = *bucket_of(sessions, door, client); place; place = sessions->at[place].next) {
        struct mrt_session *session = &sessions->at[place];
        if (session->door == door && !memcmp(&session->client, client, sizeof *client) &&
            !memcmp(&session->local, local, sizeof *local))
            return session;
    }
    return NULL;
}

/* The next datagram in `bytes`, who sent it, and to which of our addresses. Its size, or -1. */
static ssize_t receive(int fd, struct mrt_address *client, struct in6_addr *local)
{
    union control control;
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {.msg_name = client, .msg_namelen = sizeof *client, .msg_iov = &vector, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    memset(client, 0, sizeof *client);
    memset(local, 0, sizeof *local);
    ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT);
    struct cmsghdr *header = size < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
        /* what came before the proxy was there to ask for this knows only where it was sent to */
        const struct in_pktinfo *info = (const struct in_pktinfo *)CMSG_DATA(header);
        memcpy(local, info->ipi_spec_dst.s_addr ? &info->ipi_spec_dst : &info->ipi_addr, sizeof(struct in_addr));
    }
    if (header && header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO)
        memcpy(local, &((const struct in6_pktinfo *)CMSG_DATA(header))->ipi6_addr, sizeof *local);
    return size;
}

/* Whether it arrives is, as ever with UDP, nobody's promise. */
static void reply(int fd, struct mrt_session *session, size_t size)
{
    bool v4 = session->client.any.sa_family == AF_INET;
    union control control = {.space = {0}};
    struct iovec vector = {bytes, size};
    struct msghdr message = {.msg_name = &session->client, .msg_namelen = mrt_address_size(&session->client),
                             .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control};
    size_t length = v4 ? sizeof(struct in_pktinfo) : sizeof(struct in6_pktinfo);
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(length), .cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6,
                                      .cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO};
    message.msg_controllen = CMSG_SPACE(length);
    if (v4) {
        struct in_pktinfo info = {.ipi_ifindex = 0};
        memcpy(&info.ipi_spec_dst, &session->local, sizeof info.ipi_spec_dst);
        memcpy(CMSG_DATA(&control.header), &info, sizeof info);
    } else {
        struct in6_pktinfo info = {.ipi6_addr = session->local, .ipi6_ifindex = session->client.v6.sin6_scope_id};
        memcpy(CMSG_DATA(&control.header), &info, sizeof info);
    }
    sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void mrt_sessions_take(struct mrt_sessions *sessions, uint32_t door, int64_t now_ms)
{
    struct mrt_address client;
    struct in6_addr local;
    for (int i = 0; i < BATCH; i++) {
        ssize_t size = receive(sessions->doors[door].fd, &client, &local);
        if (size < 0)
            return;
        struct mrt_session *session = find(sessions, door, &client, &local);
        if (session) {
            unlist(sessions, session);
            enlist(sessions, session, now_ms);
        } else {
            session = make(sessions, door, &client, &local, now_ms);
        }
        /* what the target refused before is told once, in place of sending */
        if (session && send(session->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
            send(session->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

void mrt_sessions_answer(struct mrt_sessions *sessions, uint32_t place, int64_t now_ms)
{
    struct mrt_session *session = &sessions->at[place];
    for (int i = 0; session->client.any.sa_family && i < BATCH; i++) {
        ssize_t size = recv(session->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (size < 0 && errno == EAGAIN)
            return;
        if (size < 0)
            continue;
        unlist(sessions, session);
        session->answered = true;
        enlist(sessions, session, now_ms);
        reply(sessions->doors[session->door].fd, session, (size_t)size);
    }
}
