/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams: each client hears its own answers from where it wrote to, the table is bounded and tidied by time. */
#include "proxy_check.h"

#include <netinet/ip.h>

static struct mrt_sessions sessions;
static struct mrt_door door;
static struct mrt_address published;
static int target, files;
static char got[65536];

static void open_all(int family, int limit)
{
    static const int one = 1;
    files = open_files();
    sessions.poll = epoll_create1(EPOLL_CLOEXEC);
    sessions.limit = limit;
    sessions.doors = &door;
    door = (struct mrt_door){.fd = bound(family, SOCK_DGRAM, &published), .datagrams = true};
    CHECK(family == AF_INET ? setsockopt(door.fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one) == 0
                            : setsockopt(door.fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one) == 0);
    target = bound(family, SOCK_DGRAM, &door.target);
}

static void close_all(void)
{
    mrt_sessions_expire(&sessions, INT32_MAX);
    CHECK(sessions.count == 0);
    close(sessions.poll);
    close(door.fd);
    close(target);
    CHECK(open_files() == files);
}

/* One datagram to the target, through the proxy: the address that the target sees. */
static struct mrt_address ask(int client, const char *text, size_t size, int64_t now_ms)
{
    struct mrt_address from = {0};
    socklen_t length = sizeof from;
    CHECK(send(client, text, size, 0) == (ssize_t)size && readable(door.fd));
    mrt_sessions_take(&sessions, 0, now_ms);
    CHECK(readable(target));
    CHECK(recvfrom(target, got, sizeof got, 0, &from.any, &length) == (ssize_t)size && !memcmp(got, text, size));
    return from;
}

static void answer(const struct mrt_address *to, const char *text, int64_t now_ms)
{
    struct epoll_event event;
    CHECK(sendto(target, text, strlen(text), 0, &to->any, mrt_address_size(to)) == (ssize_t)strlen(text));
    CHECK(epoll_wait(sessions.poll, &event, 1, 10000) == 1 && event.data.u64 >> 32 == MRT_SESSION);
    mrt_sessions_answer(&sessions, (uint32_t)event.data.u64, now_ms);
}

static void test_each_its_own(void)
{
    int one = connected(SOCK_DGRAM, &published), two = connected(SOCK_DGRAM, &published);
    struct mrt_address from_one = ask(one, "first", 5, 0), from_two = ask(two, "second", 6, 0);
    CHECK(sessions.count == 2);
    answer(&from_two, "to the second", 0);
    answer(&from_one, "to the first", 0);
    CHECK(readable(one) && recv(one, got, sizeof got, 0) == 12 && readable(two) && recv(two, got, sizeof got, 0) == 13);
    ask(one, "", 0, 0); /* an empty datagram is one */
    CHECK(sessions.count == 2);
    answer(&from_one, "", 0);
    CHECK(readable(one) && recv(one, got, sizeof got, 0) == 0);
    CHECK(mrt_sessions_expire(&sessions, MRT_SESSION_MS) == -1 && sessions.count == 0);
    close(one);
    close(two);
}

/* A connected socket takes an answer only from where it wrote to: 127.0.0.7, and the socket is bound to all. */
static void test_answers_from_there(void)
{
    static const int one = 1;
    int before = door.fd;
    struct mrt_address there = {.v4 = {.sin_family = AF_INET}};
    socklen_t size = sizeof there;
    door.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(bind(door.fd, &there.any, sizeof there.v4) == 0 && getsockname(door.fd, &there.any, &size) == 0);
    CHECK(setsockopt(door.fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one) == 0);
    there.v4.sin_addr.s_addr = htonl(0x7f000007);
    int client = connected(SOCK_DGRAM, &there);
    struct mrt_address from = ask(client, "x", 1, 0);
    answer(&from, "yes", 0);
    CHECK(readable(client) && recv(client, got, sizeof got, 0) == 3);
    mrt_sessions_expire(&sessions, MRT_SESSION_MS);
    close(client);
    close(door.fd);
    door.fd = before;
}

static void test_time(void)
{
    int one = connected(SOCK_DGRAM, &published), two = connected(SOCK_DGRAM, &published);
    struct mrt_address from = ask(one, "x", 1, 1000);
    ask(two, "x", 1, 2000);
    CHECK(mrt_sessions_expire(&sessions, 2000) == MRT_ANSWER_MS - 1000);
    answer(&from, "y", 3000);
    CHECK(mrt_sessions_expire(&sessions, 3000) == MRT_ANSWER_MS - 1000);
    CHECK(mrt_sessions_expire(&sessions, 2000 + MRT_ANSWER_MS) == MRT_SESSION_MS + 1000 - MRT_ANSWER_MS);
    CHECK(sessions.count == 1);
    ask(one, "x", 1, 100000);
    CHECK(mrt_sessions_expire(&sessions, 3000 + MRT_SESSION_MS) == 97000 && sessions.count == 1);
    CHECK(mrt_sessions_expire(&sessions, 100000 + MRT_SESSION_MS) == -1 && sessions.count == 0);
    close(one);
    close(two);
}

/* A full table forgets whom nobody answered, the oldest first; then who has been silent for longest. */
static void test_full(void)
{
    enum { LIMIT = 8, MANY = 200 };
    int clients[MANY], limit = sessions.limit;
    sessions.limit = LIMIT;
    clients[0] = connected(SOCK_DGRAM, &published);
    struct mrt_address known = ask(clients[0], "x", 1, 0);
    answer(&known, "y", 0);
    for (int i = 1; i < MANY; i++) {
        clients[i] = connected(SOCK_DGRAM, &published);
        ask(clients[i], "x", 1, i);
        CHECK(sessions.count <= LIMIT);
    }
    answer(&known, "still known", MANY);
    CHECK(readable(clients[0]) && recv(clients[0], got, sizeof got, 0) == 1);
    CHECK(readable(clients[0]) && recv(clients[0], got, sizeof got, 0) == 11);
    for (int i = MANY - LIMIT; i < MANY; i++) {
        struct mrt_address from = ask(clients[i], "x", 1, MANY + i);
        answer(&from, "y", MANY + i);
    }
    CHECK(sessions.count == LIMIT);
    struct mrt_address anew = ask(clients[0], "x", 1, 3 * MANY);
    CHECK(memcmp(&anew, &known, sizeof anew) != 0 && sessions.count == LIMIT);
    for (int i = 0; i < MANY; i++)
        close(clients[i]);
    mrt_sessions_expire(&sessions, 4 * MANY + MRT_SESSION_MS);
    sessions.limit = limit;
}

/* A target that is not there yet: what was refused costs no later datagram. */
static void test_refused_first(void)
{
    struct mrt_address there = door.target;
    socklen_t size = sizeof there;
    int client = connected(SOCK_DGRAM, &published);
    close(target);
    CHECK(send(client, "lost", 4, 0) == 4 && readable(door.fd));
    mrt_sessions_take(&sessions, 0, 0);
    target = socket(there.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(bind(target, &there.any, mrt_address_size(&there)) == 0 && getsockname(target, &there.any, &size) == 0);
    struct mrt_address from = ask(client, "x", 1, 0);
    answer(&from, "y", 0);
    CHECK(readable(client) && recv(client, got, sizeof got, 0) == 1);
    mrt_sessions_expire(&sessions, MRT_SESSION_MS);
    close(client);
}

static void test_large(void)
{
    static char large[65507];
    int client = connected(SOCK_DGRAM, &published);
    memset(large, 'l', sizeof large);
    ask(client, large, sizeof large, 0);
    mrt_sessions_expire(&sessions, MRT_SESSION_MS);
    close(client);
}

/* No descriptor: the datagram is lost, as datagrams are. */
static void test_no_descriptors(void)
{
    struct rlimit before, none;
    int client = connected(SOCK_DGRAM, &published);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    CHECK(send(client, "x", 1, 0) == 1 && readable(door.fd) && setrlimit(RLIMIT_NOFILE, &none) == 0);
    mrt_sessions_take(&sessions, 0, 0);
    CHECK(sessions.count == 0 && setrlimit(RLIMIT_NOFILE, &before) == 0);
    ask(client, "x", 1, 0);
    mrt_sessions_expire(&sessions, MRT_SESSION_MS);
    close(client);
}

int main(void)
{
    static const int families[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        open_all(families[i], MRT_SESSIONS);
        test_each_its_own();
        test_time();
        test_full();
        test_refused_first();
        test_large();
        test_no_descriptors();
        if (families[i] == AF_INET)
            test_answers_from_there();
        close_all();
    }
    return 0;
}
