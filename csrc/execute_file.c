/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps on descriptors: reading and writing, pipes, sockets, terminals (ioctl_tty(2)) and the one interface flag
 * that lo needs (netdevice(7)). See execute.c for who runs here. */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "execute.h"
#include "syscalls.h"

long mrt_do_write(struct mrt_call *call)
{
    long size = syscall(SYS_write, call->fd[0], call->str[0], call->len[0]);
    if (size < 0 || size == (long)call->len[0])
        return size;
    errno = EIO;
    return -1;
}

long mrt_do_read(struct mrt_call *call)
{
    char byte;
    long size = syscall(SYS_read, call->fd[0], &byte, 1);
    if (size)
        return size;
    errno = ECANCELED;
    return -1;
}

long mrt_do_close(struct mrt_call *call)
{
    return syscall(SYS_close, call->fd[0]);
}

long mrt_do_dup3(struct mrt_call *call)
{
    return syscall(SYS_dup3, call->fd[0], call->num[0], call->num[1]);
}

long mrt_do_pipe2(struct mrt_call *call)
{
    return syscall(SYS_pipe2, call->out, call->num[0]);
}

long mrt_do_socket(struct mrt_call *call)
{
    call->out[0] = (int)syscall(SYS_socket, call->num[0], call->num[1], call->num[2]);
    return call->out[0];
}

long mrt_do_sendmsg_fd(struct mrt_call *call)
{
    union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &call->fd[1], sizeof(int));
    return syscall(SYS_sendmsg, call->fd[0], &message, MSG_NOSIGNAL);
}

long mrt_do_ioctl(struct mrt_call *call)
{
    call->out[0] = (int)syscall(SYS_ioctl, call->fd[0], call->num[0], call->num[1]);
    return call->out[0];
}

long mrt_do_ioctl_int(struct mrt_call *call)
{
    int value = (int)call->num[1];
    return syscall(SYS_ioctl, call->fd[0], call->num[0], &value);
}

long mrt_do_ioctl_ifflags(struct mrt_call *call)
{
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (!call->str[0] || call->len[0] >= sizeof request.ifr_name) {
        errno = EINVAL;
        return -1;
    }
    memcpy(request.ifr_name, call->str[0], call->len[0]);
    request.ifr_flags = (short)call->num[0];
    return syscall(SYS_ioctl, call->fd[0], SIOCSIFFLAGS, &request);
}

long mrt_do_ioctl_winsize(struct mrt_call *call)
{
    struct winsize size = {.ws_row = (unsigned short)call->num[0], .ws_col = (unsigned short)call->num[1]};
    return syscall(SYS_ioctl, call->fd[0], TIOCSWINSZ, &size);
}
