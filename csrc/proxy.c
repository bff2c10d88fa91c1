/* SPDX-License-Identifier: Apache-2.0
 *
 * minirt:proxy, who serves published ports to clients on the host's loopback addresses, which nftables leaves alone:
 *
 *   argv[1]   the number of a pidfd (pidfd_open(2)): when its process ends, so does the proxy
 *   argv[2…]  SOCKET/tcp/172.17.0.2/80 or SOCKET/udp/fd00::2/53: a bound socket's number, and where it leads
 *
 * Runs on the host beside a container's monitor, as nobody, in a file with it (monitor.c). One thread, static memory.
 * It says no by closing: to whom there is no place for, no descriptor, or no answer from the target. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "monitor_clients.h"
#include "monitor_parts.h"
#include "monitor_text.h"
#include "proxy.h"

#define EVENTS 128
#define OWN_FILES 16 /* 0 to 2, two epoll descriptors, the pidfd, a client that is about to be refused */
#define NAP_MS 100
#define BACKLOG 65535 /* as many as net.core.somaxconn allows */

static struct mrt_door doors[MRT_DOORS];
static struct mrt_relays relays;
static struct mrt_sessions sessions;
static struct epoll_event events[EVENTS];

int mrt_poll_add(int poll, int fd, uint32_t wanted, enum mrt_ready kind, uint32_t place)
{
    struct epoll_event event = {.events = wanted, .data.u64 = (uint64_t)kind << 32 | place};
    return epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

static bool take_word(const char **at, const char *word)
{
    size_t length = strlen(word);
    bool there = !strncmp(*at, word, length);
    *at += there ? length : 0;
    return there;
}

/* SOCKET/PROTOCOL/ADDRESS/PORT. -1 for anything else. */
int mrt_door_parse(struct mrt_door *door, const char *text)
{
    char address[INET6_ADDRSTRLEN] = "";
    struct mrt_address *target = &door->target;
    door->fd = (int)mrt_take_number(&text);
    door->datagrams = take_word(&text, "/udp/");
    if (!door->datagrams && !take_word(&text, "/tcp/"))
        return -1;
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof address)
        return -1;
    memcpy(address, text, (size_t)(slash - text));
    text = slash + 1;
    uint64_t port = strlen(text) < sizeof "65535" ? mrt_take_number(&text) : 0;
    if (*text || port < 1 || port > 65535)
        return -1;
    memset(target, 0, sizeof *target);
    if (inet_pton(AF_INET, address, &target->v4.sin_addr) == 1) {
        target->v4.sin_family = AF_INET;
        target->v4.sin_port = htons((uint16_t)port);
        return 0;
    }
    target->v6.sin6_family = AF_INET6;
    target->v6.sin6_port = htons((uint16_t)port);
    return inet_pton(AF_INET6, address, &target->v6.sin6_addr) == 1 ? 0 : -1;
}

/* Make a socket that was only bound ready to serve. The family is asked of it: an IPv6 one may lead to IPv4. */
static int open_door(const struct mrt_door *door, int poll, int listeners, uint32_t place)
{
    static const int one = 1;
    int family, flags = fcntl(door->fd, F_GETFL);
    socklen_t size = sizeof family;
    if (flags < 0 || fcntl(door->fd, F_SETFL, flags | O_NONBLOCK) ||
        getsockopt(door->fd, SOL_SOCKET, SO_DOMAIN, &family, &size))
        return -1;
    if (!door->datagrams)
        return listen(door->fd, BACKLOG) ? -1 : mrt_poll_add(listeners, door->fd, EPOLLIN, MRT_LISTENERS, place);
    if (family == AF_INET ? setsockopt(door->fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one)
                          : setsockopt(door->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one))
        return -1;
    return mrt_poll_add(poll, door->fd, EPOLLIN, MRT_DATAGRAMS, place);
}

/* No descriptor of the caller's but those named: not its terminal either. */
static void leave_standard_files(int watch, int count)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    for (int fd = 0; fd < 3; fd++) {
        bool named = fd == watch || fd == null;
        for (int i = 0; i < count; i++)
            named = named || doors[i].fd == fd;
        if (!named)
            dup2(null, fd);
    }
    if (null > 2)
        close(null);
}

/* All that this process will ever open fits below its limit, so that no client can use up what another needs. */
static void share_files(int count)
{
    struct rlimit files;
    int datagrams = 0, wanted = OWN_FILES + count + MRT_RELAYS * MRT_RELAY_FILES + MRT_SESSIONS;
    for (int i = 0; i < count; i++)
        datagrams += doors[i].datagrams;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < (rlim_t)wanted ? files.rlim_max : (rlim_t)wanted;
    setrlimit(RLIMIT_NOFILE, &files);
    int left = (int)files.rlim_cur - OWN_FILES - count;
    int all = left < MRT_RELAY_FILES + 1 ? MRT_RELAY_FILES + 1 : left;
    int most = !datagrams ? 0 : datagrams == count ? all : all / 4;
    sessions.limit = most < MRT_SESSIONS ? most : MRT_SESSIONS;
    relays.limit = (all - sessions.limit) / MRT_RELAY_FILES;
    if (relays.limit > MRT_RELAYS)
        relays.limit = MRT_RELAYS;
}

/* The kernel has no descriptor or memory for those that wait: they wait, and are not looked at for a while. */
static void take_in(int listeners, int poll, int64_t *nap_until_ms)
{
    struct epoll_event ready[16];
    int count = epoll_wait(listeners, ready, sizeof ready / sizeof *ready, 0);
    for (int i = 0; i < count; i++) {
        if (mrt_relays_accept(&relays, &doors[(uint32_t)ready[i].data.u64]))
            continue;
        *nap_until_ms = mrt_now_ms() + NAP_MS;
        epoll_ctl(poll, EPOLL_CTL_DEL, listeners, NULL);
        return;
    }
}

/* First what is ready is noted, then connections are moved on, then new ones taken in: so a place that was freed is
 * not spoken of any more when it is used again. False: the process that this one lives with has ended. */
static bool turn(int poll, int count, int listeners, int64_t *nap_until_ms)
{
    bool waiting = false;
    int64_t now_ms = sessions.limit ? mrt_now_ms() : 0;
    for (int i = 0; i < count; i++) {
        uint32_t place = (uint32_t)events[i].data.u64;
        switch ((enum mrt_ready)(events[i].data.u64 >> 32)) {
        case MRT_WATCH:
            return false;
        case MRT_LISTENERS:
            waiting = true;
            break;
        case MRT_CLIENT:
            mrt_relays_event(&relays, place, 0, events[i].events);
            break;
        case MRT_TARGET:
            mrt_relays_event(&relays, place, 1, events[i].events);
            break;
        case MRT_DATAGRAMS:
            mrt_sessions_take(&sessions, place, now_ms);
            break;
        case MRT_SESSION:
            mrt_sessions_answer(&sessions, place, now_ms);
            break;
        }
    }
    mrt_relays_turn(&relays);
    if (waiting)
        take_in(listeners, poll, nap_until_ms);
    return true;
}

static int serve(int poll, int listeners)
{
    int64_t nap_until_ms = 0;
    for (;;) {
        int wait_ms = sessions.count ? mrt_sessions_expire(&sessions, mrt_now_ms()) : -1;
        if (nap_until_ms && mrt_now_ms() >= nap_until_ms) {
            nap_until_ms = 0;
            mrt_poll_add(poll, listeners, EPOLLIN, MRT_LISTENERS, 0);
        }
        if (nap_until_ms && (wait_ms < 0 || wait_ms > NAP_MS))
            wait_ms = NAP_MS;
        int count = epoll_wait(poll, events, EVENTS, relays.first ? 0 : wait_ms);
        if (!turn(poll, count, listeners, &nap_until_ms))
            return 0;
    }
}

int mrt_proxy_main(char **argv)
{
    int count = 0, watch = -1;
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NAME, "minirt:proxy");
    mrt_default_signals();
    signal(SIGPIPE, SIG_IGN); /* splice(2) has no MSG_NOSIGNAL */
    const char *number = *argv ? *argv++ : "";
    if (*number)
        watch = (int)mrt_take_number(&number);
    for (; argv[count]; count++)
        if (count == MRT_DOORS || mrt_door_parse(&doors[count], argv[count]))
            return 125;
    leave_standard_files(watch, count);
    share_files(count);
    getrandom(&sessions.seed, sizeof sessions.seed, GRND_NONBLOCK);
    int poll = epoll_create1(EPOLL_CLOEXEC), listeners = epoll_create1(EPOLL_CLOEXEC);
    relays.poll = sessions.poll = poll;
    sessions.doors = doors;
    if (chdir("/") || mrt_poll_add(poll, watch, EPOLLIN, MRT_WATCH, 0) ||
        mrt_poll_add(poll, listeners, EPOLLIN, MRT_LISTENERS, 0))
        return 125;
    for (int i = 0; i < count; i++)
        if (open_door(&doors[i], poll, listeners, (uint32_t)i))
            return 125;
    return mrt_proxy_drop() ? 125 : serve(poll, listeners);
}
