/* SPDX-License-Identifier: Apache-2.0
 *
 * One step's arguments as its function takes them: resolved from slots and offsets by execute.c. */
#ifndef MRT_EXECUTE_H
#define MRT_EXECUTE_H
#include <stdint.h>

#include "ops.h"

struct mrt_call {
    int fd[2];          /* AT_FDCWD for MRT_CWD, -1 for MRT_NONE */
    uint64_t num[6];
    const char *str[4]; /* NULL where left out */
    uint32_t len[4];
    char **list[2];     /* argv and envp, for execve and execveat */
    int out[2];         /* -1, or a new descriptor */
};

/* Each runs one system call: >= 0, or -1 with errno. Runs in whichever process runs the plan. */
#define X(name) long mrt_do_##name(struct mrt_call *call);
MRT_OPS(X)
#undef X
#endif
