/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections: every byte in order, ends and resets handed on, bounded places and descriptors, none of them leaked. */
#include "proxy_check.h"

static struct mrt_relays relays;
static struct mrt_door door;
static struct mrt_address published, behind;
static int target;
static char sent[1 << 20], got[1 << 20];

static void open_all(int family, int limit)
{
    memset(&relays, 0, sizeof relays);
    relays.poll = epoll_create1(EPOLL_CLOEXEC);
    relays.limit = limit;
    door.fd = bound(family, SOCK_STREAM | SOCK_NONBLOCK, &published);
    target = bound(family, SOCK_STREAM, &behind);
    door.target = behind;
}

static void close_all(void)
{
    for (; relays.spares; relays.spares--) {
        close(relays.spare[relays.spares - 1][0]);
        close(relays.spare[relays.spares - 1][1]);
    }
    close(relays.poll);
    close(door.fd);
    close(target);
}

/* Note what is ready, move it on; until nothing is. */
static void settle(void)
{
    struct epoll_event events[64];
    for (;;) {
        int count = epoll_wait(relays.poll, events, 64, 0);
        if (count <= 0 && !relays.first)
            return;
        for (int i = 0; i < count; i++)
            mrt_relays_event(&relays, (uint32_t)events[i].data.u64, events[i].data.u64 >> 32 == MRT_TARGET,
                             events[i].events);
        mrt_relays_turn(&relays);
    }
}

/* A connection through the proxy, both ends of it. */
static void join(int *client, int *server)
{
    *client = connected(SOCK_STREAM, &published);
    CHECK(readable(door.fd) && mrt_relays_accept(&relays, &door));
    settle();
    CHECK(readable(target));
    *server = accept4(target, NULL, NULL, SOCK_CLOEXEC);
    CHECK(*server >= 0);
}

static ssize_t arrives(int fd)
{
    settle();
    CHECK(readable(fd));
    return recv(fd, got, sizeof got, MSG_DONTWAIT);
}

static void close_now(int fd)
{
    const struct linger now = {.l_onoff = 1};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(fd);
}

static void test_half_close(void)
{
    int client, server;
    join(&client, &server);
    CHECK(send(client, "question", 8, 0) == 8 && shutdown(client, SHUT_WR) == 0);
    CHECK(arrives(server) == 8 && !memcmp(got, "question", 8) && arrives(server) == 0);
    CHECK(relays.count == 1 && send(server, "answer", 6, 0) == 6);
    CHECK(arrives(client) == 6 && !memcmp(got, "answer", 6));
    close(server);
    CHECK(arrives(client) == 0 && relays.count == 0);
    close(client);
}

/* Send until the target, which does not read, has stopped us. How many bytes that took. */
static size_t stuff(int client)
{
    size_t total = 0;
    for (;;) {
        ssize_t size = send(client, sent, sizeof sent, MSG_DONTWAIT);
        if (size < 0 && errno == EAGAIN && relays.at[1].flow[0].held)
            return total;
        total += size > 0 ? (size_t)size : 0;
        settle();
    }
}

/* A target that does not read stops the client; at most a pipe is under way; not a byte is lost. */
static void test_back_pressure(void)
{
    int client, server;
    size_t received = 0;
    join(&client, &server);
    size_t total = stuff(client);
    CHECK(relays.at[1].flow[0].held <= 1 << 20);
    CHECK(send(server, "still here", 10, 0) == 10 && arrives(client) == 10); /* the other way is free */
    shutdown(client, SHUT_WR);
    for (ssize_t size; (size = arrives(server)) > 0;)
        received += (size_t)size;
    CHECK(received == total);
    close(server);
    settle();
    CHECK(relays.count == 0 && relays.spares > 0);
    close(client);
}

static void test_resets(void)
{
    int client, server;
    join(&client, &server);
    close_now(client);
    CHECK(arrives(server) == -1 && errno == ECONNRESET && relays.count == 0);
    close(server);
    join(&client, &server);
    close_now(server);
    CHECK(arrives(client) == -1 && errno == ECONNRESET && relays.count == 0);
    close(client);
    /* last words before a reset: closed with something unread */
    join(&client, &server);
    CHECK(send(client, "too much", 8, 0) == 8);
    settle();
    CHECK(readable(server) && send(server, "413", 3, 0) == 3);
    close(server);
    CHECK(arrives(client) == 3 && !memcmp(got, "413", 3));
    CHECK(arrives(client) <= 0 && relays.count == 0);
    close(client);
}

/* The client leaves while the target stands still with a full pipe behind it: nobody waits for that. */
static void test_reset_under_pressure(void)
{
    int client, server, files = open_files();
    join(&client, &server);
    stuff(client);
    close_now(client);
    settle();
    CHECK(relays.count == 0);
    close(server);
    CHECK(open_files() <= files + 2 * relays.spares);
}

static void test_refused(void)
{
    struct mrt_address nowhere;
    const struct mrt_address before = door.target;
    close(bound(published.any.sa_family, SOCK_STREAM, &nowhere));
    door.target = nowhere;
    int client = connected(SOCK_STREAM, &published);
    CHECK(send(client, "x", 1, 0) == 1);
    CHECK(readable(door.fd) && mrt_relays_accept(&relays, &door));
    CHECK(arrives(client) == -1 && errno == ECONNRESET && relays.count == 0);
    close(client);
    door.target = before;
}

static void test_limit(void)
{
    int clients[5], servers[5], limit = relays.limit;
    relays.limit = 3;
    for (int i = 0; i < 3; i++)
        join(&clients[i], &servers[i]);
    for (int i = 3; i < 5; i++) {
        clients[i] = connected(SOCK_STREAM, &published);
        CHECK(readable(door.fd) && mrt_relays_accept(&relays, &door));
        CHECK(arrives(clients[i]) == -1 && errno == ECONNRESET && relays.count == 3);
        close(clients[i]);
    }
    close(clients[1]);
    CHECK(arrives(servers[1]) == 0);
    close(servers[1]);
    settle();
    CHECK(relays.count == 2);
    join(&clients[1], &servers[1]); /* the place is used again */
    CHECK(relays.count == 3 && send(clients[1], "x", 1, 0) == 1 && arrives(servers[1]) == 1);
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
        close(servers[i]);
    }
    settle();
    CHECK(relays.count == 0);
    relays.limit = limit;
}

/* Without descriptors: no new connection, no pipe for an old one; and once there are some again, all is well. */
static void test_no_descriptors(void)
{
    struct rlimit before, none;
    int client, server, waiting;
    join(&client, &server);
    waiting = connected(SOCK_STREAM, &published);
    CHECK(readable(door.fd) && getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    for (; relays.spares; relays.spares--) {
        close(relays.spare[relays.spares - 1][0]);
        close(relays.spare[relays.spares - 1][1]);
    }
    CHECK(send(client, "x", 1, 0) == 1 && readable(relays.at[1].fd[0]));
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(!mrt_relays_accept(&relays, &door) && relays.count == 1);
    settle();
    CHECK(relays.count == 0 && setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(arrives(client) == -1 && errno == ECONNRESET && arrives(server) == -1 && errno == ECONNRESET);
    close(client);
    close(server);
    CHECK(mrt_relays_accept(&relays, &door) && relays.count == 1);
    close(waiting);
    settle();
    CHECK(readable(target));
    server = accept(target, NULL, NULL);
    CHECK(arrives(server) == 0);
    close(server);
    settle();
    CHECK(relays.count == 0);
}

/* Urgent data is data: before, in the midst of and behind other bytes. */
static void test_urgent(void)
{
    int client, server;
    size_t size = 0;
    join(&client, &server);
    CHECK(send(client, "a", 1, MSG_OOB) == 1 && send(client, "bc", 2, 0) == 2 && send(client, "def", 3, MSG_OOB) == 3);
    while (size < 6) {
        settle();
        CHECK(readable(server));
        ssize_t more = recv(server, got + size, sizeof got - size, MSG_DONTWAIT);
        CHECK(more > 0);
        size += (size_t)more;
    }
    CHECK(!memcmp(got, "abcdef", 6) && send(client, "g", 1, MSG_OOB) == 1);
    close(client);
    CHECK(arrives(server) == 1 && got[0] == 'g' && arrives(server) == 0);
    close(server);
    settle();
    CHECK(relays.count == 0);
}

/* Ends that do what they like, in any order: nothing is left of them. They leave with a reset, for of one that closes
 * with a window of zero the kernel has an end only after a minute (TIME_WAIT in FIN_WAIT_2). */
static void test_storm(void)
{
    enum { MANY = 40 };
    int ends[2 * MANY], files = open_files();
    unsigned int seed = 4711;
    for (int i = 0; i < MANY; i++)
        join(&ends[2 * i], &ends[2 * i + 1]);
    for (int left = 2 * MANY; left;) {
        int at = rand_r(&seed) % (2 * MANY), action = rand_r(&seed) % 40, fd = ends[at];
        if (fd < 0)
            continue;
        if (action < 14)
            send(fd, sent, (size_t)rand_r(&seed) % sizeof sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (action < 32)
            (void)!recv(fd, got, (size_t)rand_r(&seed) % sizeof got, MSG_DONTWAIT);
        else if (action < 35)
            send(fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_OOB);
        else if (action < 37)
            shutdown(fd, rand_r(&seed) % 3);
        if (action > 37) {
            close_now(fd);
            ends[at] = -1;
            left--;
        }
        settle();
    }
    settle();
    CHECK(relays.count == 0 && open_files() <= files + 2 * MRT_SPARE_PIPES);
}

int main(void)
{
    static const int families[] = {AF_INET, AF_INET6};
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        int files = open_files();
        open_all(families[i], 64);
        test_half_close();
        test_back_pressure();
        test_resets();
        test_reset_under_pressure();
        test_refused();
        test_limit();
        test_no_descriptors();
        test_urgent();
        test_storm();
        close_all();
        CHECK(open_files() == files);
    }
    return 0;
}
