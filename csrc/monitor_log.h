/* SPDX-License-Identifier: Apache-2.0
 *
 * The container's log in the format of the Kubernetes CRI: one record a line,
 *
 *     2016-10-06T00:17:09.669794202Z stdout F content
 *
 * F ends a line of the workload, P is a part of one: a reader joins P… F of one stream. The record's frame cannot
 * be forged, for a newline always ends it. At `limit` bytes log becomes log.1, log.1 becomes log.2, and so on. */
#ifndef MRT_MONITOR_LOG_H
#define MRT_MONITOR_LOG_H
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MRT_LOG_BUFFER 40960 /* more than the longest record */
#define MRT_LOG_FILES 1000   /* no more than this are rotated */

struct mrt_log {
    int dir;         /* directory of log, log.1, …; -1: nothing is logged */
    int fd;          /* log; -1 while it cannot be opened */
    uint32_t files;
    uint64_t limit;  /* bytes; 0: never rotated */
    uint64_t size;   /* of log, without what is buffered */
    time_t second;   /* that `stamp` shows, */
    char stamp[20];  /* 2016-10-06T00:17:09. */
    size_t used;
    char buffer[MRT_LOG_BUFFER];
};

/* Neither can fail: a log that cannot be written never stops a container, its records are lost. */
void mrt_log_open(struct mrt_log *log, int dir, uint64_t limit, uint32_t files);
void mrt_log_write(struct mrt_log *log, const char *stream, const char *bytes, size_t count,
                   struct timespec now);
#endif
