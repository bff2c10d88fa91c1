/* SPDX-License-Identifier: Apache-2.0
 *
 * The proxy's arguments, and its powers: after mrt_proxy_drop nothing but moving bytes is left. */
#include "proxy_check.h"

#include <sys/prctl.h>
#include <sys/syscall.h>

static void test_doors(void)
{
    struct mrt_door door;
    CHECK(mrt_door_parse(&door, "7/tcp/172.17.0.2/80") == 0);
    CHECK(door.fd == 7 && !door.datagrams && door.target.v4.sin_family == AF_INET);
    CHECK(door.target.v4.sin_port == htons(80) && door.target.v4.sin_addr.s_addr == htonl(0xac110002));
    CHECK(mrt_door_parse(&door, "12/udp/fd00::2/65535") == 0);
    CHECK(door.fd == 12 && door.datagrams && door.target.v6.sin6_family == AF_INET6);
    CHECK(door.target.v6.sin6_port == 0xffff && door.target.v6.sin6_addr.s6_addr[15] == 2);
    static const char *const wrong[] = {
        "", "7", "7/", "7/tcp", "7/tcp/", "7/tcp/172.17.0.2", "7/tcp/172.17.0.2/", "7/tcp/172.17.0.2/0",
        "7/tcp/172.17.0.2/65536", "7/tcp/172.17.0.2/80x", "7/tcp/172.17.0.2/80/", "7/tcp/172.17.0.256/80", "7/sctp/1.2.3.4/5",
        "7/tcp/::g/80", "7/tcp//80", "7/tcp/localhost/80", "7 tcp 1.2.3.4 80", "7/tcp/1.2.3.4/-1",
        "7/tcp/0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/80", "7/tcp/1.2.3.4/18446744073709551696",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(mrt_door_parse(&door, wrong[i]) == -1);
}

/* What a child that has dropped its powers comes to when it makes this call: its status. */
static int after_drop(long number, long first, long second, long third)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (mrt_proxy_drop())
            syscall(SYS_exit_group, 100);
        long result = syscall(number, first, second, third);
        syscall(SYS_exit_group, result < 0 ? errno : 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static bool is_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void test_powers(void)
{
    if (geteuid() != 0)
        return;
    CHECK(is_killed(after_drop(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY)));
    CHECK(is_killed(after_drop(SYS_clone, SIGCHLD, 0, 0)));
    CHECK(is_killed(after_drop(SYS_execve, (long)"/bin/true", 0, 0)));
    CHECK(is_killed(after_drop(SYS_kill, 1, 0, 0)));
    CHECK(is_killed(after_drop(SYS_bind, 0, 0, 0)));
    CHECK(is_killed(after_drop(SYS_ptrace, 0, 1, 0)));
    CHECK(is_killed(after_drop(SYS_socket, AF_UNIX, SOCK_STREAM, 0)));
    CHECK(is_killed(after_drop(SYS_socket, AF_NETLINK, SOCK_RAW, 0)));
    CHECK(is_killed(after_drop(SYS_socket, AF_PACKET, SOCK_RAW, 0)));
#ifdef __x86_64__
    CHECK(is_killed(after_drop(SYS_close | 0x40000000, 3, 0, 0))); /* the x32 table */
#endif
    CHECK(after_drop(SYS_socket, AF_INET, SOCK_STREAM, 0) == 0);
    CHECK(after_drop(SYS_socket, AF_INET6, SOCK_DGRAM, 0) == 0);
    CHECK(WEXITSTATUS(after_drop(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP)) == EPERM);
    CHECK(WEXITSTATUS(after_drop(SYS_close, 999, 0, 0)) == EBADF);
}

int main(void)
{
    test_doors();
    test_powers();
    return 0;
}
