/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps on sockets that listen, and requests to the kernel's network half (netlink(7), rtnetlink(7), nf_tables). The
 * bytes of a request are minirt/kernel/netlink.py's; here they are sent and answered. See execute.c for who runs here:
 * init in the container's network namespace, or the caller in the host's. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "execute.h"
#include "syscalls.h"

/* The acknowledgements that one step waits for. A batch is answered once for each message that failed, and for its
 * last one in any case; a batch that fails as a whole is answered as its first. */
struct awaited { uint32_t first, last; };

long mrt_do_bind(struct mrt_call *call)
{
    return syscall(SYS_bind, call->fd[0], call->str[0], call->len[0]);
}

long mrt_do_listen(struct mrt_call *call)
{
    return syscall(SYS_listen, call->fd[0], call->num[0]);
}

long mrt_do_setsockopt(struct mrt_call *call)
{
    int value = (int)call->num[2];
    return syscall(SYS_setsockopt, call->fd[0], call->num[0], call->num[1], &value, sizeof value);
}

/* 0, or -1: not a sequence of messages, or none that asks for an acknowledgement. */
static int find_awaited(const char *bytes, size_t size, struct awaited *awaited)
{
    struct nlmsghdr message;
    int found = -1;
    for (size_t at = 0; at < size; at += NLMSG_ALIGN(message.nlmsg_len)) {
        if (size - at < sizeof message)
            return -1;
        memcpy(&message, bytes + at, sizeof message);
        if (message.nlmsg_len < sizeof message || message.nlmsg_len > size - at)
            return -1;
        if (at == 0)
            awaited->first = message.nlmsg_seq;
        if (message.nlmsg_flags & NLM_F_ACK) {
            awaited->last = message.nlmsg_seq;
            found = 0;
        }
    }
    return found;
}

static long send_request(const struct mrt_call *call)
{
    char *bytes = (char *)(uintptr_t)call->str[0];
    size_t size = call->len[0], where = call->num[0];
    int number = call->fd[1];
    struct iovec parts[3] = {{.iov_base = bytes, .iov_len = size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1}; /* no address: to the kernel */
    if (where) { /* the plan is read only: the number goes between two parts of it */
        if (where > size || size - where < sizeof number || number < 0) {
            errno = EINVAL;
            return -1;
        }
        parts[0].iov_len = where;
        parts[1] = (struct iovec){.iov_base = &number, .iov_len = sizeof number};
        parts[2] = (struct iovec){.iov_base = bytes + where + sizeof number, .iov_len = size - where - sizeof number};
        message.msg_iovlen = 3;
    }
    return syscall(SYS_sendmsg, call->fd[0], &message, MSG_NOSIGNAL);
}

/* The kernel has answered before sendmsg(2) returns, so this never waits; what is missing then does not come. Only the
 * kernel is listened to: a process with CAP_NET_ADMIN in the socket's namespace can send to it as well. The first
 * error counts. */
static int receive_answer(int fd, struct awaited awaited)
{
    struct { struct nlmsghdr header; struct nlmsgerr body; } answer;
    int error = 0;
    for (;;) {
        struct sockaddr_nl sender = {.nl_pid = 0};
        socklen_t length = sizeof sender;
        long size = syscall(SYS_recvfrom, fd, &answer, sizeof answer, MSG_DONTWAIT, &sender, &length);
        if (size <= 0) {
            errno = error ? error : size == 0 || errno == EAGAIN ? EIO : errno;
            return -1;
        }
        uint32_t place = answer.header.nlmsg_seq - awaited.first;
        if (sender.nl_pid || size < (long)(sizeof answer.header + sizeof answer.body.error) ||
            answer.header.nlmsg_type != NLMSG_ERROR || place > awaited.last - awaited.first)
            continue;
        if (!error)
            error = -answer.body.error;
        if (answer.header.nlmsg_seq == awaited.last || (error && place == 0))
            break;
    }
    errno = error;
    return error ? -1 : 0;
}

long mrt_do_netlink(struct mrt_call *call)
{
    struct awaited awaited = {0, 0};
    if (!call->str[0] || find_awaited(call->str[0], call->len[0], &awaited)) {
        errno = EINVAL;
        return -1;
    }
    return send_request(call) < 0 ? -1 : receive_answer(call->fd[0], awaited);
}
