/* SPDX-License-Identifier: Apache-2.0
 *
 * The clients: the channel pushes back, attachers that do not read are dropped after a grace, nobody's death blocks or signals. */
#include "monitor_check.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../monitor_clients.h"

static struct mrt_clients clients;
static char packet[32769], got[65536];

static int open_channel(void)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    mrt_clients_open(&clients, pair[0]);
    return pair[1];
}

static int attach(int dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/attach", dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static int open_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void close_all(void)
{
    for (int i = 0; i < MRT_CLIENTS; i++)
        mrt_client_close(&clients, &clients.at[i]);
    if (clients.listener >= 0)
        close(clients.listener);
}

/* Packets arrive whole, in order, none lost, however slow the reader. */
static void test_back_pressure(void)
{
    int caller = open_channel(), sent = 0, received = 0;
    while (!clients.pending) {
        packet[0] = 3;
        memcpy(packet + 1, &sent, sizeof sent);
        mrt_clients_send(&clients, packet, sizeof packet);
        sent++;
        CHECK(sent < 1000);
    }
    CHECK(sent > 2);
    mrt_client_flush(&clients, &clients.at[0]);
    CHECK(clients.pending);
    while (received < sent) {
        int number;
        CHECK(recv(caller, got, sizeof got, 0) == (ssize_t)sizeof packet);
        memcpy(&number, got + 1, sizeof number);
        CHECK(number == received++);
        mrt_client_flush(&clients, &clients.at[0]);
    }
    CHECK(!clients.pending);
    CHECK(recv(caller, got, sizeof got, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    close(caller);
    close_all();
}

static void test_dead_channel(void)
{
    int caller = open_channel();
    CHECK(send(caller, "\006last words", 11, 0) == 11);
    while (!clients.pending)
        mrt_clients_send(&clients, packet, sizeof packet);
    close(caller); /* with unread packets: ECONNRESET on our side */
    mrt_client_flush(&clients, &clients.at[0]);
    CHECK(!clients.pending && clients.at[0].silent);
    mrt_clients_send(&clients, packet, sizeof packet);
    CHECK(mrt_client_receive(&clients, &clients.at[0], got, 100) == 11 && !memcmp(got, "\006last words", 11));
    CHECK(mrt_client_receive(&clients, &clients.at[0], got, 100) == -1);
    CHECK(clients.at[0].fd == -1);
    close_all();
}

static void test_attach(int dir)
{
    struct stat status;
    int caller = open_channel(), base;
    CHECK(mrt_clients_listen(&clients, dir) == 0);
    CHECK(fstatat(dir, "attach", &status, 0) == 0 && (status.st_mode & 07777) == 0600);
    base = open_fds();
    int fast = attach(dir), slow = attach(dir);
    CHECK(mrt_clients_accept(&clients, "\002greeting", 9) == 0);
    CHECK(recv(fast, got, sizeof got, 0) == 9 && !memcmp(got, "\002greeting", 9));
    int sent = 0;
    while (!clients.pending && sent < 50) {
        mrt_clients_send(&clients, packet, sizeof packet);
        CHECK(recv(fast, got, sizeof got, 0) == (ssize_t)sizeof packet);
        CHECK(recv(caller, got, sizeof got, 0) == (ssize_t)sizeof packet);
        sent++;
    }
    CHECK(sent > 1 && sent < 50 && clients.at[2].late && !clients.at[1].late && !clients.at[0].late);
    CHECK(recv(slow, got, sizeof got, 0) == 9); /* one packet's progress is not enough for 32 KiB */
    while (clients.pending) {
        CHECK(recv(slow, got, sizeof got, 0) == (ssize_t)sizeof packet);
        mrt_client_flush(&clients, &clients.at[2]);
    }
    while (!clients.pending) {
        mrt_clients_send(&clients, packet, sizeof packet);
        CHECK(recv(fast, got, sizeof got, 0) == (ssize_t)sizeof packet);
        CHECK(recv(caller, got, sizeof got, 0) == (ssize_t)sizeof packet);
    }
    CHECK(mrt_clients_expire(&clients) && clients.at[2].fd >= 0);
    clients.deadline_ms -= MRT_GRACE_MS + 1;
    CHECK(!mrt_clients_expire(&clients) && clients.at[2].fd == -1 && !clients.pending);
    CHECK(clients.at[1].fd >= 0);
    close(slow);
    close(fast);
    CHECK(mrt_client_receive(&clients, &clients.at[1], got, 100) == -1);
    CHECK(open_fds() == base);
    close(caller);
    close_all();
}

/* EXE-11: a hundred attachers; 64 are served, the rest see their connection close, and all places come back. */
static void test_hundred(int dir)
{
    int caller = open_channel(), fds[100], served = 0;
    CHECK(mrt_clients_listen(&clients, dir) == 0);
    int base = open_fds();
    for (int i = 0; i < 100; i++) {
        fds[i] = attach(dir);
        CHECK(mrt_clients_accept(&clients, "\002", 1) == 0);
    }
    for (int i = 0; i < 100; i++)
        served += recv(fds[i], got, sizeof got, 0) == 1;
    CHECK(served == MRT_ATTACHERS);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    for (int i = 1; i < MRT_CLIENTS; i++)
        CHECK(mrt_client_receive(&clients, &clients.at[i], got, 100) == -1);
    CHECK(open_fds() == base);
    close(caller);
    close_all();
}

/* A packet longer than any message is a broken client; an empty one is a farewell. */
static void test_protocol(void)
{
    int caller = open_channel();
    CHECK(mrt_client_receive(&clients, &clients.at[0], got, 100) == 0);
    clients.at[0].typed = true;
    CHECK(send(caller, packet, 101, 0) == 101);
    CHECK(mrt_client_receive(&clients, &clients.at[0], got, 100) == -1);
    CHECK(clients.at[0].fd == -1 && clients.typist_left);
    CHECK(send(caller, packet, 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    close(caller);
    close_all();
}

static void test_strangers(int dir)
{
    int caller = open_channel();
    CHECK(mrt_clients_listen(&clients, dir) == 0);
    if (geteuid() == 0) {
        CHECK(fchmodat(dir, "attach", 0666, 0) == 0 && fchmod(dir, 0755) == 0);
        CHECK(seteuid(65534) == 0);
        int stranger = attach(dir);
        CHECK(seteuid(0) == 0);
        CHECK(mrt_clients_accept(&clients, "\002", 1) == 0);
        CHECK(clients.at[1].fd == -1 && recv(stranger, got, sizeof got, 0) <= 0);
        close(stranger);
    }
    close(caller);
    close_all();
}

int main(void)
{
    char path[64];
    int dir = scratch(path);
    umask(0177);
    test_back_pressure();
    test_dead_channel();
    test_attach(dir);
    test_hundred(dir);
    test_protocol();
    test_strangers(dir);
    unlinkat(dir, "attach", 0);
    return rmdir(path);
}
