/* SPDX-License-Identifier: Apache-2.0
 *
 * The monitor's one state, and what its files do for each other. */
#ifndef MRT_MONITOR_PARTS_H
#define MRT_MONITOR_PARTS_H
#include <signal.h>
#include <sys/types.h>

#include "monitor.h"
#include "monitor_clients.h"
#include "monitor_log.h"
#include "plan.h"

struct mrt_output { int fd; uint8_t type; size_t budget; /* bytes still to read after the end */ };

struct mrt_input {
    int fd;       /* writing end of a pipe or the pty; -1: standard input is not or no longer open */
    bool tty, end, awaited; /* end: close it when nothing is left; awaited: the pty is still to come */
    size_t left;
    char bytes[MRT_PAYLOAD];
};

struct mrt_monitor {
    struct mrt_settings settings;
    char cgroup_name[256];
    char cleanup_text[4096];
    char *cleanup[32];
    char events[4096], subject[8192]; /* "": no events */
    int memory;                       /* memory.events of the cgroup; -1: there is none */
    uint64_t oom_kills;
    int64_t started_ms;
    pid_t pid;
    int pidfd, report, status;
    uint64_t start_ticks;
    struct mrt_failure failure; /* the container never executed its program */
    bool started, failed, dead, ended, recorded, told; /* told: FAILED or EXITED is on its way */
    bool sized, pty_naps, listener_naps;
    struct mrt_size window;
    int64_t deadline_ms; /* of attachers, once told */
    struct mrt_output outputs[2];
    struct mrt_input input;
    struct mrt_clients clients;
    struct mrt_log log;
    char packet[1 + MRT_PAYLOAD], message[1 + MRT_PAYLOAD];
    char greeting[1 + sizeof(struct mrt_started)], farewell[2][1 + sizeof(struct mrt_exited)];
};

int mrt_birth(struct mrt_monitor *monitor, struct mrt_context *context); /* monitor_birth.c */
int mrt_birth_allow(const struct mrt_monitor *monitor);
void mrt_default_signals(void);

uint64_t mrt_now_ns(void); /* CLOCK_REALTIME */
int mrt_record_state(const struct mrt_monitor *monitor); /* monitor_record.c */
void mrt_record_exit(struct mrt_monitor *monitor, struct mrt_exited exited);
void mrt_record_withdraw(const struct mrt_monitor *monitor);

void mrt_events_start(struct mrt_monitor *monitor); /* monitor_events.c */
void mrt_events_end(struct mrt_monitor *monitor, struct mrt_exited exited, uint64_t now_ns);
void mrt_memory_open(struct mrt_monitor *monitor);
void mrt_memory_read(struct mrt_monitor *monitor);
void mrt_memory_close(struct mrt_monitor *monitor);

void mrt_cgroup_kill(const struct mrt_monitor *monitor); /* monitor_cgroup.c */
void mrt_cgroup_remove(const struct mrt_monitor *monitor);
void mrt_cgroup_remove_children(int dir);

void mrt_tty_adopt(struct mrt_monitor *monitor, int pty); /* monitor_tty.c */
void mrt_tty_resize(struct mrt_monitor *monitor, struct mrt_size size);
void mrt_input_take(struct mrt_input *input, const char *bytes, size_t size);
void mrt_input_flush(struct mrt_input *input);
void mrt_input_end(struct mrt_input *input);
void mrt_input_close(struct mrt_input *input);

void mrt_report_read(struct mrt_monitor *monitor); /* monitor_report.c */
void mrt_reap(struct mrt_monitor *monitor);
void mrt_end(struct mrt_monitor *monitor); /* monitor_end.c */
void mrt_output_read(struct mrt_monitor *monitor, struct mrt_output *output);
void mrt_serve(struct mrt_monitor *monitor); /* monitor_loop.c */

int mrt_init_main(char **argv); /* monitor_init.c: the other program in this file */
int mrt_linger_main(void);      /* linger.c: and one that holds sockets for a moment */
int mrt_waiter_main(char **argv); /* waiter.c: and one that waits to restart a container */
void mrt_execute_verb(char **argv); /* the clean-up verb, in place of this process; returns if it cannot */
#endif
