/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets on loopback and a count of descriptors: what the proxy's C tests share. */
#ifndef MRT_PROXY_CHECK_H
#define MRT_PROXY_CHECK_H
#include "monitor_check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../proxy.h"

static inline int open_files(void)
{
    int count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Bound to a free port of 127.0.0.1 or ::1, which is written to `address`. */
static inline int bound(int family, int type, struct mrt_address *address)
{
    socklen_t size = sizeof *address;
    memset(address, 0, sizeof *address);
    address->any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address->v6.sin6_addr = in6addr_loopback;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, &address->any, mrt_address_size(address)) == 0);
    CHECK(type == SOCK_DGRAM || listen(fd, 128) == 0);
    CHECK(getsockname(fd, &address->any, &size) == 0);
    return fd;
}

static inline int connected(int type, const struct mrt_address *address)
{
    int fd = socket(address->any.sa_family, type | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, &address->any, mrt_address_size(address)) == 0);
    return fd;
}

/* True when `fd` has something to say within a time that is never short. */
static inline bool readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 10000) == 1;
}
#endif
