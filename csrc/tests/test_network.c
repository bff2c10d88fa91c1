/* SPDX-License-Identifier: Apache-2.0
 *
 * The step netlink without Python: what counts as its acknowledgement, whatever else arrives, and that no request,
 * however damaged, is read beyond its end. A pair of unix sockets stands for the kernel; at the end the kernel itself. */
#define _GNU_SOURCE
#include "../execute.h"
#include "monitor_check.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char bytes[4096];
static size_t used;

/* One message more in `bytes`, with `size` bytes of body. */
static void message(uint32_t sequence, uint16_t flags, const void *body, size_t size)
{
    struct nlmsghdr header = {.nlmsg_len = (uint32_t)(sizeof header + size), .nlmsg_type = RTM_NEWLINK,
                              .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = sequence};
    memcpy(bytes + used, &header, sizeof header);
    if (size)
        memcpy(bytes + used + sizeof header, body, size);
    used += NLMSG_ALIGN(sizeof header + size);
}

struct pair { int ours, kernel; };

static struct pair pair(void)
{
    int fds[2];
    CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
    return (struct pair){fds[0], fds[1]};
}

static void answer_as(struct pair pair, uint16_t type, uint32_t sequence, int error, size_t size)
{
    struct { struct nlmsghdr header; struct nlmsgerr body; } packet = {
        .header = {.nlmsg_len = sizeof packet, .nlmsg_type = type, .nlmsg_seq = sequence}, .body = {.error = -error}};
    CHECK(send(pair.kernel, &packet, size, 0) == (ssize_t)size);
}

static void answer(struct pair pair, uint32_t sequence, int error)
{
    answer_as(pair, NLMSG_ERROR, sequence, error, sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr));
}

/* The step's result, as errno: 0 for success. From memory of exactly the size, so that a read beyond it is seen. */
static int step_with(int socket, int named, uint64_t where)
{
    char *copy = malloc(used ? used : 1);
    CHECK(copy);
    memcpy(copy, bytes, used);
    struct mrt_call call = {.fd = {socket, named}, .num = {where}, .str = {copy}, .len = {(uint32_t)used}};
    errno = 0;
    int result = mrt_do_netlink(&call) < 0 ? errno : 0;
    free(copy);
    return result;
}

static int step(struct pair pair)
{
    int result = step_with(pair.ours, -1, 0);
    close(pair.ours);
    close(pair.kernel);
    return result;
}

static void single(uint32_t sequence)
{
    used = 0;
    message(sequence, NLM_F_ACK, "1234567", 7);
}

static void test_the_acknowledgement_is_the_result(void)
{
    static const int errors[] = {0, EEXIST, ENODEV, EPERM};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct pair with = pair();
        single(7);
        answer(with, 7, errors[i]);
        CHECK(step(with) == errors[i]);
    }
}

static void test_what_is_no_answer_to_this_request(void)
{
    struct pair with = pair();
    single(7);
    answer(with, 6, EPERM); /* of an earlier step */
    answer(with, 8, EPERM);
    answer_as(with, RTM_NEWLINK, 7, EPERM, sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr));
    answer_as(with, NLMSG_ERROR, 7, EPERM, sizeof(struct nlmsghdr)); /* cut short */
    answer(with, 7, ENODEV);
    CHECK(step(with) == ENODEV);
}

static void test_no_answer_is_an_error(void)
{
    struct pair with = pair();
    single(7);
    answer(with, 6, 0);
    CHECK(step(with) == EIO);
}

/* As plan/netlink.Batch is encoded: only the last of what stands between its marks asks for an acknowledgement. */
static void batch(uint32_t first)
{
    used = 0;
    for (uint32_t i = 0; i < 5; i++)
        message(first + i, i == 3 ? NLM_F_ACK : 0, "abcd", 4);
}

static void test_batches(void)
{
    static const struct { uint32_t place; int error; } cases[][3] = {
        {{3, 0}},                    /* done */
        {{1, ENOENT}, {3, 0}},       /* one failed, so nothing was done */
        {{2, EEXIST}, {3, ENOENT}},  /* the first error counts */
        {{0, EPERM}},                /* the whole batch was refused */
        {{0, ENOMEM}, {3, 0}},
        {{1, ENOENT}},               /* the rest got lost */
    };
    static const int results[] = {0, ENOENT, EEXIST, EPERM, ENOMEM, ENOENT};
    static const uint32_t firsts[] = {0, 1024, UINT32_MAX - 1};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        for (size_t k = 0; k < sizeof firsts / sizeof *firsts; k++) {
            struct pair with = pair();
            batch(firsts[k]);
            for (int n = 0; n < 3 && (cases[i][n].error || cases[i][n].place); n++)
                answer(with, firsts[k] + cases[i][n].place, cases[i][n].error);
            CHECK(step(with) == results[i]);
        }
}

static void test_a_descriptor_is_named_in_the_middle(void)
{
    struct pair with = pair();
    char got[sizeof bytes];
    int number = 0x01020304;
    single(7);
    answer(with, 7, 0);
    size_t where = sizeof(struct nlmsghdr) + 2;
    CHECK(step_with(with.ours, number, where) == 0);
    CHECK(recv(with.kernel, got, sizeof got, 0) == (ssize_t)used);
    CHECK(!memcmp(got, bytes, where) && !memcmp(got + where, &number, sizeof number));
    CHECK(!memcmp(got + where + sizeof number, bytes + where + sizeof number, used - where - sizeof number));
    CHECK(step_with(with.ours, -1, where) == EINVAL); /* no such descriptor */
    CHECK(step_with(with.ours, 1, used - 3) == EINVAL);
    CHECK(step_with(with.ours, 1, UINT64_MAX) == EINVAL);
    close(with.ours);
    close(with.kernel);
}

static void test_what_is_no_request(void)
{
    struct pair with = pair();
    struct mrt_call nothing = {.fd = {with.ours, -1}};
    CHECK(mrt_do_netlink(&nothing) < 0 && errno == EINVAL);
    used = 0;
    CHECK(step_with(with.ours, -1, 0) == EINVAL);
    message(7, 0, "", 0); /* asks for nothing */
    CHECK(step_with(with.ours, -1, 0) == EINVAL);
    batch(1);
    for (size_t whole = used, cut = 1; cut < whole; cut++)
        if (cut % 20) {
            used = cut;
            CHECK(step_with(with.ours, -1, 0) == EINVAL);
        }
    close(with.ours);
    close(with.kernel);
}

static void test_random_damage(void)
{
    unsigned seed = 1;
    struct pair with = pair();
    for (int round = 0; round < 20000; round++) {
        batch(round);
        for (int flips = round % 5; flips >= 0; flips--) {
            seed = seed * 1103515245 + 12345;
            size_t at = (seed >> 8) % used;
            seed = seed * 1103515245 + 12345;
            bytes[at] = (char)(seed >> 16);
        }
        answer(with, (uint32_t)round, EPERM);
        step_with(with.ours, (int)seed, round % 3 ? 0 : seed % 128);
        char drop[sizeof bytes];
        while (recv(with.kernel, drop, sizeof drop, MSG_DONTWAIT) >= 0)
            continue;
        while (recv(with.ours, drop, sizeof drop, MSG_DONTWAIT) >= 0)
            continue;
    }
    close(with.ours);
    close(with.kernel);
}

/* Somebody with CAP_NET_ADMIN in the namespace sends to the socket too: it is not the kernel. */
static void forge(int socket, uint32_t sequence)
{
    struct sockaddr_nl to;
    socklen_t size = sizeof to;
    struct { struct nlmsghdr header; struct nlmsgerr body; } packet = {
        .header = {.nlmsg_len = sizeof packet, .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = sequence}};
    int other = (int)syscall(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    CHECK(!getsockname(socket, (struct sockaddr *)&to, &size));
    CHECK(sendto(other, &packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to) == sizeof packet);
    close(other);
}

static void in_a_namespace(void)
{
    struct ifinfomsg up = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}, gone = {.ifi_index = 4711};
    if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET)) {
        fprintf(stderr, "test_network: no network namespace here, the kernel itself was not asked\n");
        return;
    }
    int real = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    used = 0;
    message(1, NLM_F_ACK, &up, sizeof up);
    CHECK(step_with(real, -1, 0) == 0); /* which binds the socket */
    used = 0;
    message(2, NLM_F_ACK, &gone, sizeof gone);
    forge(real, 2);
    CHECK(step_with(real, -1, 0) == ENODEV);
    close(real);
}

static void test_the_kernel_itself(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        in_a_namespace();
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    test_the_acknowledgement_is_the_result();
    test_what_is_no_answer_to_this_request();
    test_no_answer_is_an_error();
    test_batches();
    test_a_descriptor_is_named_in_the_middle();
    test_what_is_no_request();
    test_random_damage();
    test_the_kernel_itself();
    return 0;
}
