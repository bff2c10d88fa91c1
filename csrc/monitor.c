/* SPDX-License-Identifier: Apache-2.0
 *
 * minirt-monitor: the process that keeps one container, or one session of exec. argv[1] is the number of a sealed
 * memfd (memfd_create(2), F_ADD_SEALS in fcntl(2)) with the plan; everything else is in there. One thread, static
 * memory, no stdio: idle it costs some tens of kilobytes.
 *
 * Runs as root in the caller's namespaces with the caller's descriptors, and is not dumpable (PR_SET_DUMPABLE in
 * prctl(2)) from its first call on: nothing in a container that shares a pid namespace may look into it.
 * The same file is minirt-init, minirt:proxy, minirt:linger and minirt:waiter, when called so: see monitor_init.c,
 * proxy.c, linger.c, waiter.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor_parts.h"
#include "monitor_text.h"
#include "proxy.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

/* mrt_check proves what steps refer to; settings are the monitor's own to prove. NULL: none, or not in the buffer. */
static const char *text_at(const struct mrt_plan *plan, uint32_t offset)
{
    const char *text = (const char *)plan + offset;
    return offset && offset < plan->size && memchr(text, 0, plan->size - offset) ? text : NULL;
}

/* The plan was checked when it was mapped, and cannot change after that: it is sealed. */
static const struct mrt_plan *map_plan(int fd)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) || status.st_size <= 0)
        return NULL;
    size_t size = (size_t)status.st_size;
    void *plan = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (plan == MAP_FAILED || mrt_check(plan, size))
        return NULL;
    uint32_t settings = ((const struct mrt_plan *)plan)->settings;
    return settings && settings < size && size - settings >= sizeof(struct mrt_settings) ? plan : NULL;
}

static int copy_cleanup(struct mrt_monitor *monitor, const struct mrt_plan *plan)
{
    size_t used = 0, places = sizeof monitor->cleanup / sizeof *monitor->cleanup;
    uint32_t offset = monitor->settings.cleanup, count = offset ? monitor->settings.cleanup_count : 0;
    if (count >= places)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        const char *text = text_at(plan, offset);
        size_t size = text ? strlen(text) + 1 : SIZE_MAX;
        if (size > sizeof monitor->cleanup_text - used)
            return -1;
        monitor->cleanup[i] = memcpy(monitor->cleanup_text + used, text, size);
        used += size;
        offset += (uint32_t)size;
    }
    return 0;
}

/* Where a text is too long for its place there are no events, and a container all the same. */
static void copy_events(struct mrt_monitor *monitor, const struct mrt_plan *plan)
{
    const char *path = text_at(plan, monitor->settings.events), *subject = text_at(plan, monitor->settings.subject);
    if (!path || !subject || strlen(path) >= sizeof monitor->events || strlen(subject) >= sizeof monitor->subject)
        return;
    memcpy(monitor->events, path, strlen(path) + 1);
    memcpy(monitor->subject, subject, strlen(subject) + 1);
}

/* Everything that outlives the birth is copied out, so that the plan can be unmapped. */
static int adopt_settings(struct mrt_monitor *monitor, const struct mrt_plan *plan)
{
    struct mrt_settings *settings = &monitor->settings;
    memcpy(settings, (const char *)plan + plan->settings, sizeof *settings);
    mrt_clients_open(&monitor->clients, settings->control);
    monitor->pidfd = monitor->report = monitor->input.fd = monitor->memory = -1;
    monitor->outputs[0].fd = monitor->outputs[1].fd = -1;
    if (settings->run_dir < 0)
        settings->flags &= ~(uint32_t)(MRT_RECORD | MRT_CLEAN_UP);
    const char *title = text_at(plan, settings->title), *name = text_at(plan, settings->cgroup_name);
    prctl(PR_SET_NAME, title ? title : "minirt:monitor");
    if (!name || !*name)
        settings->cgroup_parent = -1;
    else if (strlen(name) >= sizeof monitor->cgroup_name || strchr(name, '/') || name[0] == '.')
        return -1;
    else
        memcpy(monitor->cgroup_name, name, strlen(name) + 1);
    copy_events(monitor, plan);
    return copy_cleanup(monitor, plan);
}

static bool is_named(const struct mrt_monitor *monitor, const struct mrt_context *context, int fd)
{
    const struct mrt_settings *settings = &monitor->settings;
    bool named = fd == settings->control || fd == settings->run_dir || fd == settings->container_dir ||
                 fd == settings->cgroup_parent || fd == settings->stamps;
    for (uint32_t i = 0; i < context->plan->slot_count; i++)
        named = named || context->fds[i] == fd;
    return named;
}

/* Never hold the caller's terminal or a pipe that somebody waits for, and never make a descriptor 0, 1 or 2. */
static void leave_standard_files(const struct mrt_monitor *monitor, const struct mrt_context *context)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    for (int fd = 0; fd < 3; fd++)
        if (null != fd && !is_named(monitor, context, fd)) {
            if (null >= 0)
                dup2(null, fd);
            else
                close(fd);
        }
    if (null > 2)
        close(null);
    else if (null >= 0)
        fcntl(null, F_SETFD, 0);
}

/* A container outlives its caller's terminal; only SIGKILL ends its monitor, and then init with it. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU,
                                  SIGUSR1, SIGUSR2, SIGALRM, SIGXFSZ};
    const struct sigaction action = {.sa_handler = SIG_IGN};
    mrt_default_signals();
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        sigaction(ignored[i], &action, NULL);
}

/* Between clone3 and the init steps: the container gets its record and its socket. */
static int publish(struct mrt_monitor *monitor)
{
    const struct mrt_settings *settings = &monitor->settings;
    struct mrt_stat stat;
    umask(0177);
    if (chdir("/") || mrt_read_stat(monitor->pid, &stat))
        return -1;
    monitor->start_ticks = stat.start_ticks;
    mrt_log_open(&monitor->log, settings->flags & MRT_LOG ? settings->container_dir : -1, settings->log_size,
                 settings->log_files);
    mrt_memory_open(monitor);
    if (settings->flags & MRT_RECORD &&
        (mrt_clients_listen(&monitor->clients, settings->run_dir) || mrt_record_state(monitor)))
        return -1;
    return mrt_birth_allow(monitor);
}

static void give_birth(struct mrt_monitor *monitor, const struct mrt_plan *plan)
{
    static struct mrt_context context;
    size_t size = mrt_link_size(plan), stamps_size = plan->step_count * sizeof(uint64_t);
    void *memory = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int stamps = monitor->settings.stamps;
    if (memory != MAP_FAILED) {
        mrt_link(&context, plan, memory);
        leave_standard_files(monitor, &context);
    }
    if (stamps >= 0) {
        void *shared = mmap(NULL, stamps_size, PROT_READ | PROT_WRITE, MAP_SHARED, stamps, 0);
        context.stamps = shared == MAP_FAILED ? NULL : shared;
        close(stamps);
    }
    monitor->log.dir = -1;
    if (memory == MAP_FAILED)
        monitor->failure = (struct mrt_failure){.step = -1, .error = ENOMEM};
    else if (mrt_birth(monitor, &context) == 0 && publish(monitor))
        monitor->failure = (struct mrt_failure){.step = -1, .error = errno ? errno : EIO};
    monitor->failed = monitor->failure.error != 0;
    monitor->dead = monitor->pid <= 0;
    if (monitor->failed && monitor->report >= 0) {
        close(monitor->report); /* which ends the child, if there is one */
        monitor->report = -1;
    }
    if (context.stamps)
        munmap(context.stamps, stamps_size);
    if (memory != MAP_FAILED)
        munmap(memory, size + 1);
}

/* The children of a monitor that unshared a time namespace are in there, and so is what it executes: it would see all
 * start times shifted (time_namespaces(7)). */
static void return_to_own_time(void)
{
    int own = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
    if (own >= 0)
        syscall(SYS_setns, own, 0);
}

/* The caller has left. If it did not remove the container itself, the clean-up verb does, in place of the monitor.
 * run/watched says that it is wanted where it was not at the start: `update --restart` makes that.
 * A caller that is still there to hear that nothing started takes everything back itself. */
static void clean_up(struct mrt_monitor *monitor)
{
    struct stat status;
    int run_dir = monitor->settings.run_dir;
    if (!monitor->cleanup[0] || monitor->clients.at[0].fd >= 0 || fstat(run_dir, &status) || !status.st_nlink ||
        (!(monitor->settings.flags & MRT_CLEAN_UP) && faccessat(run_dir, "watched", F_OK, 0)))
        return;
    return_to_own_time();
    mrt_execute_verb(monitor->cleanup);
}

int main(int argc, char **argv)
{
    static struct mrt_monitor monitor;
    const char *base = argc ? strrchr(argv[0], '/') : NULL, *number = argc == 2 ? argv[1] : "";
    if (argc && !strcmp(base ? base + 1 : argv[0], "minirt-init"))
        return mrt_init_main(argv + 1);
    if (argc && !strcmp(argv[0], "minirt:proxy"))
        return mrt_proxy_main(argv + 1);
    if (argc && !strcmp(argv[0], "minirt:linger"))
        return mrt_linger_main();
    if (argc && !strcmp(argv[0], "minirt:waiter"))
        return mrt_waiter_main(argv + 1);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ignore_signals();
    const struct mrt_plan *plan = *number ? map_plan((int)mrt_take_number(&number)) : NULL;
    if (!plan)
        return 125; /* nobody to tell: the caller sees its channel close */
    uint32_t size = plan->size;
    if (adopt_settings(&monitor, plan)) {
        monitor.failure = (struct mrt_failure){.step = -1, .error = EINVAL};
        monitor.failed = monitor.dead = true;
    } else {
        give_birth(&monitor, plan);
    }
    munmap((void *)(uintptr_t)plan, size);
    mrt_serve(&monitor);
    clean_up(&monitor);
    return 0;
}
