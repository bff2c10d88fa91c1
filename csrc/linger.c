/* SPDX-License-Identifier: Apache-2.0
 *
 * minirt:linger holds the sockets by which elements were deleted from nftables, for a moment longer than the caller.
 *
 * To close such a socket, or to exit with it, is to wait for a grace period of RCU (nft_rcv_nl_event() in the kernel's
 * nf_tables_api.c flushes the work that destroys what was deleted): up to 30 ms, at the end of a command that somebody
 * waits for. A tenth of a second later there is nothing left to wait for. As root, in the host's namespaces. */
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "monitor_parts.h"

int mrt_linger_main(void)
{
    prctl(PR_SET_NAME, "minirt:linger");
    for (int fd = 0; fd <= 2; fd++)
        close(fd); /* who reads what the caller wrote must see its end */
    nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    return 0;
}
