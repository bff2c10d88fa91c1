/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text and back, without stdio: the monitor stays small, and nothing here allocates. */
#ifndef MRT_MONITOR_TEXT_H
#define MRT_MONITOR_TEXT_H
#include <stddef.h>
#include <stdint.h>

/* Each appends at `at` and gives the place after the last byte; no NUL is written. */
char *mrt_put(char *at, const char *text);
char *mrt_put_number(char *at, uint64_t number);
char *mrt_put_digits(char *at, uint64_t number, int width); /* exactly `width`, with leading zeros */

/* The decimal number that begins at *at, which moves behind it; 0 where there is none. */
uint64_t mrt_take_number(const char **at);

struct mrt_stat { unsigned int flags; uint64_t start_ticks; }; /* fields 9 and 22 of /proc/PID/stat, proc(5) */
/* pid 0 is the calling process. 0, or -1 with errno. */
int mrt_read_stat(int pid, struct mrt_stat *stat);
#endif
