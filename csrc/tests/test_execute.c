/* SPDX-License-Identifier: Apache-2.0
 *
 * The executor without Python: damaged plans are refused, steps run, fail and are tolerated as plan.h says. */
#define _GNU_SOURCE
#include "../execute.h"
#include "../plan.h"
#include "monitor_check.h"

#include <errno.h>
#include <sys/wait.h>

enum { STEPS_AT = sizeof(struct mrt_plan), MOST = 8192 };

static unsigned char buffer[MOST];
static uint32_t used;

static struct mrt_plan *head(void)
{
    return (struct mrt_plan *)(void *)buffer;
}

static void begin(void)
{
    memset(buffer, 0, sizeof buffer);
    *head() = (struct mrt_plan){.magic = MRT_MAGIC, .version = MRT_VERSION, .steps = STEPS_AT};
    used = STEPS_AT + 32 * sizeof(struct mrt_step); /* room for 32 steps */
}

static struct mrt_step *add(enum mrt_op op, enum mrt_actor actor)
{
    struct mrt_step *step = (struct mrt_step *)(void *)(buffer + STEPS_AT) + head()->step_count++;
    *step = (struct mrt_step){.op = (uint16_t)op, .actor = (uint16_t)actor, .fd = {MRT_NONE, MRT_NONE},
                              .out = {MRT_NONE, MRT_NONE}};
    return step;
}

static void put(struct mrt_step *step, int at, const char *data, uint32_t size)
{
    memcpy(buffer + used, data, size);
    step->str[at] = used;
    step->len[at] = size;
    used += size + 1;
}

static void put_list(struct mrt_step *step, int at, const char *data, uint32_t size, uint32_t count)
{
    put(step, at, data, size);
    step->len[at] = count;
}

/* Slots 0 to count-1, none of them inherited. */
static void finish(uint32_t count)
{
    used = (used + 7) & ~7U;
    head()->slots = used;
    head()->slot_count = count;
    memset(buffer + used, 0xff, count * sizeof(int32_t));
    used += count * (uint32_t)sizeof(int32_t);
    head()->size = used;
}

/* In memory of exactly its size, so that a read beyond it is seen. */
static int check_copy(size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    CHECK(copy);
    memcpy(copy, buffer, size);
    int result = mrt_check(copy, size);
    if (result == 0) {
        static struct mrt_context context;
        void *lists = malloc(mrt_link_size((struct mrt_plan *)(void *)copy));
        mrt_link(&context, (struct mrt_plan *)(void *)copy, lists);
        free(lists);
    } else {
        CHECK(errno == EINVAL);
    }
    free(copy);
    return result;
}

static void example(void)
{
    begin();
    add(MRT_OP_pipe2, MRT_HOST)->out[0] = 0;
    struct mrt_step *step = add(MRT_OP_write, MRT_HOST);
    step->fd[0] = 1;
    put(step, 0, "hello", 5);
    step = add(MRT_OP_execve, MRT_INIT);
    put(step, 0, "/bin/sh", 7);
    put_list(step, 1, "sh\0-c\0exit $A", 13, 3);
    put_list(step, 2, "A=42", 4, 1);
    finish(2);
}

static void test_every_truncation_is_refused(void)
{
    example();
    uint32_t whole = used;
    CHECK(check_copy(whole) == 0);
    for (uint32_t size = 0; size < whole; size++) {
        CHECK(check_copy(size) == -1);
        if (size >= sizeof(struct mrt_plan)) {
            head()->size = size; /* a head that tells of a shorter plan */
            CHECK(check_copy(size) == -1);
            head()->size = whole;
        }
    }
}

/* Whatever the bytes are: the check ends, reads nothing outside, and what it lets pass can be linked. */
static void test_random_damage(void)
{
    unsigned seed = 1;
    for (int round = 0; round < 60000; round++) {
        example();
        for (int flips = round % 4; flips >= 0; flips--) {
            seed = seed * 1103515245 + 12345;
            uint32_t at = (seed >> 8) % used;
            seed = seed * 1103515245 + 12345;
            buffer[at] = (unsigned char)(seed >> 16);
        }
        check_copy(used);
    }
}

static void test_each_reference_is_checked(void)
{
    example();
    struct mrt_step *steps = (struct mrt_step *)(void *)(buffer + STEPS_AT);
    const struct mrt_step first = steps[0], second = steps[1], third = steps[2];
#define REFUSED(index, original, change) \
    (steps[index].change, CHECK(check_copy(used) == -1), steps[index] = (original))
    REFUSED(0, first, op = MRT_OP_COUNT);
    REFUSED(0, first, actor = 3);
    REFUSED(0, first, out[0] = 2);
    REFUSED(0, first, out[0] = MRT_CWD);
    REFUSED(0, first, fd[1] = -3);
    REFUSED(1, second, str[0] = used);
    REFUSED(1, second, str[0] = UINT32_MAX);
    REFUSED(1, second, len[0] = UINT32_MAX);
    REFUSED(1, second, len[0] = 3);
    REFUSED(1, second, str[0] = 0);
    REFUSED(2, third, len[1] = 4096);
    REFUSED(2, third, str[2] = 0);
    CHECK(check_copy(used) == 0);
}

static int run(struct mrt_context *context, enum mrt_actor actor)
{
    static char *lists[64];
    CHECK(mrt_check(buffer, used) == 0);
    CHECK(mrt_link_size(head()) <= sizeof lists);
    mrt_link(context, head(), lists);
    return mrt_run(context, actor, 0, head()->step_count);
}

static void test_descriptors_flow_by_slot(void)
{
    static struct mrt_context context;
    begin();
    struct mrt_step *step = add(MRT_OP_pipe2, MRT_HOST);
    step->out[0] = 0, step->out[1] = 1, step->num[0] = O_CLOEXEC;
    step = add(MRT_OP_write, MRT_HOST);
    step->fd[0] = 1;
    put(step, 0, "x", 1);
    add(MRT_OP_close, MRT_HOST)->fd[0] = 1;
    add(MRT_OP_read, MRT_HOST)->fd[0] = 0;
    add(MRT_OP_read, MRT_HOST)->fd[0] = 0;
    finish(2);
    CHECK(run(&context, MRT_HOST) == -1);
    CHECK(context.failure.step == 4 && context.failure.error == ECANCELED);
    CHECK(context.fds[0] >= 0 && context.fds[1] == MRT_NONE);
    CHECK(fcntl(context.fds[0], F_GETFD) == FD_CLOEXEC);
    close(context.fds[0]);
}

static void test_tolerated_errors_count_as_done(void)
{
    static struct mrt_context context;
    begin();
    struct mrt_step *step = add(MRT_OP_openat2, MRT_MONITOR);
    step->fd[0] = MRT_CWD, step->out[0] = 0, step->tolerate[1] = ENOENT;
    put(step, 0, "/nowhere/at/all", 15);
    step = add(MRT_OP_openat2, MRT_HOST); /* another actor's: not run */
    step->fd[0] = MRT_CWD, step->out[0] = 1;
    put(step, 0, "/nowhere/at/all", 15);
    step = add(MRT_OP_openat2, MRT_MONITOR);
    step->fd[0] = MRT_CWD, step->out[0] = 1, step->num[0] = O_PATH | O_CLOEXEC;
    put(step, 0, "/", 1);
    add(MRT_OP_clone3, MRT_MONITOR);
    finish(2);
    CHECK(run(&context, MRT_MONITOR) == -1);
    CHECK(context.failure.step == 3 && context.failure.error == ENOTSUP);
    CHECK(context.fds[0] == -1 && context.fds[1] >= 0);
    close(context.fds[1]);
}

static void test_stamps(void)
{
    static struct mrt_context context;
    static char *lists[4];
    uint64_t stamps[3] = {0};
    begin();
    add(MRT_OP_umask, MRT_HOST)->num[0] = 022;
    add(MRT_OP_umask, MRT_INIT)->num[0] = 022;
    add(MRT_OP_umask, MRT_HOST)->num[0] = 022;
    finish(0);
    CHECK(mrt_check(buffer, used) == 0);
    mrt_link(&context, head(), lists);
    context.stamps = stamps;
    CHECK(mrt_run(&context, MRT_HOST, 0, UINT32_MAX) == 0);
    CHECK(stamps[0] && !stamps[1] && stamps[2] >= stamps[0]);
}

static void test_candidates_of_execve(void)
{
    static struct mrt_context context;
    int status;
    begin();
    for (int i = 0; i < 2; i++) {
        struct mrt_step *step = add(MRT_OP_execve, MRT_INIT);
        step->tolerate[0] = ENOENT;
        put(step, 0, i ? "/bin/sh" : "/bin/nowhere", i ? 7 : 12);
        put_list(step, 1, i ? "sh\0-c\0exit $A" : "nowhere", i ? 13 : 7, i ? 3 : 1);
        put_list(step, 2, i ? "A=42" : "", i ? 4 : 0, (uint32_t)i);
    }
    finish(0);
    pid_t child = fork();
    if (child == 0) {
        run(&context, MRT_INIT);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

int main(void)
{
    test_every_truncation_is_refused();
    test_random_damage();
    test_each_reference_is_checked();
    test_descriptors_flow_by_slot();
    test_tolerated_errors_count_as_done();
    test_stamps();
    test_candidates_of_execve();
    return 0;
}
