/* SPDX-License-Identifier: Apache-2.0
 *
 * What the caller does that is not a step of a plan. All: -1 with errno where they fail. */
#ifndef MRT_SPAWN_H
#define MRT_SPAWN_H
#include <stdint.h>

struct mrt_spawn {
    int program;      /* descriptor of the file to execute */
    char **argv, **envp;
    const int *keep;  /* descriptors that stay open across execveat, under their numbers */
    int keep_count;
    int error;        /* of the child, before its execveat succeeded */
};

int mrt_spawn(struct mrt_spawn *spawn);            /* the new process's pid */
int mrt_socketpair(int *pair);                     /* SOCK_SEQPACKET, close-on-exec */
int mrt_connect(int directory, const char *name);  /* a descriptor */
int mrt_clone3(uint64_t flags, uint64_t exit_signal, int cgroup, int *pidfd); /* cgroup -1: the caller's own */
int mrt_capget(uint64_t *sets);                    /* effective, permitted, inheritable */
int mrt_hard_limit(int resource, uint64_t *limit);
#endif
