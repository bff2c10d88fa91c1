/* SPDX-License-Identifier: Apache-2.0
 *
 * The flat plan: a container's birth as one sealed buffer, offsets only, no pointers and no text to format.
 *
 *   struct mrt_plan | struct mrt_step[step_count] | blob (strings, argv lists, BPF, settings)
 *
 * Python writes it (minirt/kernel/flat.py), the executor in execute.c reads it: in the caller for host steps,
 * in minirt-monitor for monitor and init steps. One step is one system call. A step names its descriptors by
 * slot: slots[] starts as the numbers inherited from the caller and is filled in as steps produce descriptors.
 * Every offset counts bytes from the start of the buffer; 0 is NULL. mrt_check() proves all of them in bounds
 * before a step runs. */
#ifndef MRT_PLAN_H
#define MRT_PLAN_H
#include <stddef.h>
#include <stdint.h>

#define MRT_MAGIC 0x4e4c504d /* "MPLN" */
#define MRT_VERSION 1
#define MRT_SLOTS 512        /* descriptors that one plan may name */
#define MRT_NONE (-1)        /* no slot here */
#define MRT_CWD (-2)         /* AT_FDCWD */

enum mrt_actor { MRT_HOST, MRT_MONITOR, MRT_INIT };

#include "ops.h" /* enum mrt_op and the roles of each step's arguments */

struct mrt_step {
    uint16_t op;          /* enum mrt_op */
    uint16_t actor;       /* enum mrt_actor */
    int16_t fd[2];        /* slots of descriptor arguments, in order; MRT_NONE, MRT_CWD */
    int16_t out[2];       /* slots that receive new descriptors */
    int16_t tolerate[4];  /* errno values that count as done; 0 = unused */
    uint64_t num[6];      /* numeric arguments, in order */
    uint32_t str[4];      /* offsets of NUL-terminated strings or byte blobs, in order */
    uint32_t len[4];      /* bytes in each, without the NUL; for a string list: the number of strings */
};

struct mrt_plan {
    uint32_t magic, version;
    uint32_t size;        /* of the whole buffer, bytes */
    uint32_t step_count;
    uint32_t steps;       /* offset of struct mrt_step[step_count], 8-aligned */
    uint32_t slots;       /* offset of int32_t[slot_count]: inherited numbers, -1 where a step will make it */
    uint32_t slot_count;
    uint32_t settings;    /* offset of struct mrt_settings (monitor.h), 0 if none: the caller's own plan */
};

struct mrt_failure { int32_t step, error; }; /* error 0: none */

struct mrt_context {
    const struct mrt_plan *plan;
    int32_t fds[MRT_SLOTS];         /* this process's descriptor numbers by slot */
    char **lists;                   /* pointer arrays for string lists, laid out before any clone */
    uint64_t *stamps;               /* per step: CLOCK_MONOTONIC ns after it; NULL = off */
    struct mrt_failure failure;
};

/* 0, or -1 with errno EINVAL: the buffer is not a plan. */
int mrt_check(const void *buffer, size_t size);
/* Bytes that mrt_link needs for its pointer arrays. */
size_t mrt_link_size(const struct mrt_plan *plan);
/* Ready a context; `memory` holds mrt_link_size bytes and outlives it. Allocates nothing. */
void mrt_link(struct mrt_context *context, const struct mrt_plan *plan, void *memory);
/* Run every step of `actor` in [first, last) in order. 0, or -1 with errno and context->failure set.
 * Async-signal-safe, allocates nothing. MRT_OP_clone3 is not run here: see mrt_step_clone3 in monitor. */
int mrt_run(struct mrt_context *context, enum mrt_actor actor, uint32_t first, uint32_t last);
#endif
