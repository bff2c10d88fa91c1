/* SPDX-License-Identifier: Apache-2.0
 *
 * What the caller tells the monitor, and what both say to each other afterwards.
 *
 *   caller (or attach)                     monitor                               init
 *     │  execveat, plan memfd                 │                                    │
 *     ├──────────────────────────────────────▶│  monitor steps, clone3             │
 *     │                                       ├───────────────────────────────────▶│ init steps
 *     │                                       │◀── {step, errno}  or a pty's end ──┤
 *     │◀── FAILED {step, errno, 0}            │◀── end of file: execve succeeded ──┤ workload
 *     │◀── STARTED {pid, pid_start_ticks}     │  (run/state is on disk before execve)
 *     │◀── STDOUT/STDERR bytes                │◀── pipes or pty ───────────────────┤
 *     ├──▶ STDIN bytes, STDIN_EOF, RESIZE     ├───────────────────────────────────▶│
 *     │◀── EXITED {status, signal, oom}       │  run/exit is on disk before this   ✗
 *     ├──▶ close                              ✗
 *
 * The channel is a SOCK_SEQPACKET unix socket: one packet, one message, first byte its type. The caller holds
 * one end of a socketpair; later attachers connect to run/attach (0600, SO_PEERCRED uid 0 only) and get the
 * same messages, STARTED first. */
#ifndef MRT_MONITOR_H
#define MRT_MONITOR_H
#include <stdint.h>

enum mrt_message {
    MRT_FAILED = 1,  /* ← struct mrt_failed */
    MRT_STARTED,     /* ← struct mrt_started */
    MRT_STDOUT,      /* ← bytes, at most MRT_PAYLOAD */
    MRT_STDERR,      /* ← bytes */
    MRT_EXITED,      /* ← struct mrt_exited */
    MRT_STDIN,       /* → bytes */
    MRT_STDIN_EOF,   /* → nothing */
    MRT_RESIZE,      /* → struct mrt_size */
    MRT_GO,          /* → nothing: one byte to the report socket, for an init that waits in a read step there */
};
#define MRT_PAYLOAD 32768

/* step -1: the monitor's own calls before the birth, with their errno; or ECHILD: init was killed before it executed
 * the workload, and EXITED with its true end follows. With FAILED the cgroup and run/state are gone already, and the
 * monitor ends without waiting for the channel to close. */
struct mrt_failed { int32_t step, error; };
struct mrt_started { int32_t pid, padding; uint64_t start_ticks; };
struct mrt_exited { int32_t code, signal; }; /* code as a shell shows it: 0..255, 128+signal */
struct mrt_size { uint16_t rows, columns; };

enum mrt_monitor_flags {
    MRT_TTY = 1,          /* init sends a pty's end over the report socket */
    MRT_KEEP_STDIN = 2,   /* keep the workload's standard input open */
    MRT_LOG = 4,          /* write container/log */
    MRT_RECORD = 8,       /* write run/state and run/exit, serve run/attach (a container, not an exec) */
    MRT_STDIN_ONCE = 16,  /* close standard input when the first client that sent any leaves */
    MRT_CLEAN_UP = 32, /* after exit, once the caller's channel is closed and run/ still exists: run cleanup */
};

/* Lies in the plan buffer at mrt_plan.settings. Descriptors are inherited numbers. */
struct mrt_settings {
    uint32_t flags;
    int32_t control;       /* the monitor's end of the caller's socketpair */
    int32_t run_dir;       /* directory /run/minirt/<id>, -1 for an exec */
    int32_t container_dir; /* directory /var/lib/minirt/containers/<id>, -1 for an exec */
    int32_t cgroup_parent; /* directory that holds the container's cgroup; -1: leave cgroups alone */
    int32_t stamps;        /* memfd of uint64_t[step_count], -1 = off */
    uint32_t cgroup_name;  /* offset of a string: removed below cgroup_parent after exit */
    uint32_t title;        /* offset of a string: what the monitor calls itself (argv[0] stays minirt:monitor) */
    uint32_t cleanup;      /* offset of a string list: argv of the cleanup verb; argv[0] is a full path */
    uint32_t cleanup_count;
    uint32_t events;       /* offset of a string: path of the file of events; 0 or "": nothing is written there */
    uint32_t subject;      /* offset of a string: ,"ID":"…","Attributes":{"image":"…" as in events.h, without the end */
    uint32_t slot_pidfd, slot_report, slot_stdin, slot_stdout, slot_stderr; /* the monitor's ends; UINT32_MAX = none */
    uint32_t log_files;    /* how many files in all: log, log.1, … */
    uint64_t log_size;     /* bytes at which log becomes log.1; 0 = never */
};

/* run/state, one "key value" a line: pid, start_ticks, monitor_pid, monitor_start_ticks, started_ns (CLOCK_REALTIME).
 * run/exit, same form: code, signal, finished_ns, oom_killed (how many processes of it the kernel has killed for memory).
 * Both appear by rename, run/exit when the event "die" is written. run/event: another subject, after a rename. */
#endif
