/* SPDX-License-Identifier: Apache-2.0
 *
 * The executor: one step, one system call. Runs in the caller for host steps (root, in the host's namespaces), in
 * minirt-monitor for its own, and after clone3(2) in the new process for init steps, whose privileges shrink from
 * step to step. Allocates nothing, formats nothing, and calls only what is async-signal-safe. */
#define _GNU_SOURCE
#include "execute.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "plan.h"
#include "syscalls.h"

typedef long step_function(struct mrt_call *call);

static step_function *const functions[MRT_OP_COUNT] = {
#define X(name) [MRT_OP_##name] = mrt_do_##name,
    MRT_OPS(X)
#undef X
};

static const struct mrt_step *steps_of(const struct mrt_plan *plan)
{
    return (const struct mrt_step *)(const void *)((const char *)plan + plan->steps);
}

static bool executes(const struct mrt_step *step)
{
    return step->op == MRT_OP_execve || step->op == MRT_OP_execveat;
}

/* Where the string lists of an exec step stand: argv in str[1], envp in str[2]. */
enum { ARGV = 1, ENVP = 2 };

/* A list is len strings, one behind the other, each with its NUL, all of them inside the buffer. */
static bool list_is_sound(const char *base, uint32_t size, uint32_t offset, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const char *end = offset < size ? memchr(base + offset, 0, size - offset) : NULL;
        if (!end)
            return false;
        offset = (uint32_t)(end - base) + 1;
    }
    return offset <= size;
}

static bool slot_is_sound(int16_t slot, uint32_t count)
{
    return slot == MRT_NONE || slot == MRT_CWD || (slot >= 0 && (uint32_t)slot < count);
}

static bool step_is_sound(const char *base, const struct mrt_plan *plan, const struct mrt_step *step)
{
    if (step->op >= MRT_OP_COUNT || step->actor > MRT_INIT)
        return false;
    for (int i = 0; i < 2; i++)
        if (!slot_is_sound(step->fd[i], plan->slot_count) || step->out[i] == MRT_CWD ||
            !slot_is_sound(step->out[i], plan->slot_count))
            return false;
    for (int i = 0; i < 4; i++) {
        if (executes(step) && (i == ARGV || i == ENVP)) {
            if (!step->str[i] || !list_is_sound(base, plan->size, step->str[i], step->len[i]))
                return false;
        } else if (step->str[i]) {
            if (step->str[i] >= plan->size || step->len[i] >= plan->size - step->str[i] ||
                base[step->str[i] + step->len[i]])
                return false;
        } else if (step->len[i]) {
            return false;
        }
    }
    return true;
}

int mrt_check(const void *buffer, size_t size)
{
    const struct mrt_plan *plan = buffer;
    const char *base = buffer;
    errno = EINVAL;
    if (size < sizeof *plan || plan->magic != MRT_MAGIC || plan->version != MRT_VERSION || plan->size != size)
        return -1;
    if (plan->slot_count > MRT_SLOTS || plan->slots % 4 || plan->slots > size ||
        size - plan->slots < plan->slot_count * sizeof(int32_t))
        return -1;
    if (plan->steps % 8 || plan->steps > size ||
        (size - plan->steps) / sizeof(struct mrt_step) < plan->step_count)
        return -1;
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (!step_is_sound(base, plan, steps_of(plan) + i))
            return -1;
    errno = 0;
    return 0;
}

size_t mrt_link_size(const struct mrt_plan *plan)
{
    size_t pointers = 1;
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (executes(steps_of(plan) + i))
            pointers += steps_of(plan)[i].len[ARGV] + (size_t)steps_of(plan)[i].len[ENVP] + 2;
    return pointers * sizeof(char *);
}

static char **link_list(char **at, char *base, uint32_t offset, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *at++ = base + offset;
        offset += (uint32_t)strlen(base + offset) + 1;
    }
    *at++ = NULL;
    return at;
}

void mrt_link(struct mrt_context *context, const struct mrt_plan *plan, void *memory)
{
    char *base = (char *)(uintptr_t)plan; /* execve(2) takes char *const[]; nobody writes through it */
    const int32_t *slots = (const int32_t *)(const void *)(base + plan->slots);
    char **at = memory;
    context->plan = plan;
    context->lists = memory;
    context->stamps = NULL;
    context->failure = (struct mrt_failure){.step = -1, .error = 0};
    for (uint32_t i = 0; i < MRT_SLOTS; i++)
        context->fds[i] = i < plan->slot_count ? slots[i] : MRT_NONE;
    for (uint32_t i = 0; i < plan->step_count; i++) {
        const struct mrt_step *step = steps_of(plan) + i;
        if (!executes(step))
            continue;
        at = link_list(at, base, step->str[ARGV], step->len[ARGV]);
        at = link_list(at, base, step->str[ENVP], step->len[ENVP]);
    }
}

/* mrt_link laid the lists of all exec steps one behind the other. */
static void find_lists(const struct mrt_context *context, uint32_t index, struct mrt_call *call)
{
    char **at = context->lists;
    for (uint32_t i = 0; i < index; i++)
        if (executes(steps_of(context->plan) + i))
            at += steps_of(context->plan)[i].len[ARGV] + (size_t)steps_of(context->plan)[i].len[ENVP] + 2;
    call->list[0] = at;
    call->list[1] = at + steps_of(context->plan)[index].len[ARGV] + 1;
}

static int number_of(const struct mrt_context *context, int16_t slot)
{
    return slot >= 0 ? context->fds[slot] : slot == MRT_CWD ? AT_FDCWD : -1;
}

static struct mrt_call resolve(const struct mrt_context *context, uint32_t index)
{
    const struct mrt_step *step = steps_of(context->plan) + index;
    const char *base = (const char *)context->plan;
    struct mrt_call call = {.out = {-1, -1}};
    for (int i = 0; i < 2; i++)
        call.fd[i] = number_of(context, step->fd[i]);
    memcpy(call.num, step->num, sizeof call.num);
    for (int i = 0; i < 4; i++) {
        call.str[i] = step->str[i] ? base + step->str[i] : NULL;
        call.len[i] = step->len[i];
    }
    if (executes(step))
        find_lists(context, index, &call);
    return call;
}

static bool tolerated(const struct mrt_step *step, int error)
{
    for (int i = 0; i < 4; i++)
        if (step->tolerate[i] && step->tolerate[i] == error)
            return true;
    return false;
}

static void stamp(struct mrt_context *context, uint32_t index)
{
    struct timespec now;
    if (!context->stamps)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    context->stamps[index] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int run_step(struct mrt_context *context, uint32_t index)
{
    const struct mrt_step *step = steps_of(context->plan) + index;
    struct mrt_call call = resolve(context, index);
    if (executes(step))
        stamp(context, index); /* it does not come back */
    if (functions[step->op](&call) < 0 && !tolerated(step, errno)) {
        context->failure = (struct mrt_failure){.step = (int32_t)index, .error = errno};
        return -1;
    }
    for (int i = 0; i < 2; i++)
        if (step->out[i] >= 0)
            context->fds[step->out[i]] = call.out[i];
    if (step->op == MRT_OP_close && step->fd[0] >= 0)
        context->fds[step->fd[0]] = MRT_NONE;
    if (!executes(step))
        stamp(context, index);
    return 0;
}

int mrt_run(struct mrt_context *context, enum mrt_actor actor, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i < last && i < context->plan->step_count; i++)
        if (steps_of(context->plan)[i].actor == (uint16_t)actor && run_step(context, i))
            return -1;
    return 0;
}
