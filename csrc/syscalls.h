/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls as the kernel has them, numbers and structures from the kernel's own headers; what Debian 12's
 * headers or musl lack stands here with the header that it comes from. */
#ifndef MRT_SYSCALLS_H
#define MRT_SYSCALLS_H
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000 /* linux/mount.h, 5.14 */
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL /* linux/sched.h, 5.7 */
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080 /* linux/sched.h, 5.6 */
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2) /* linux/close_range.h, 5.11 */
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000 /* linux/fcntl.h, 5.2 */
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000 /* linux/fcntl.h */
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC /* linux/mount.h */
#endif

/* Every signal to its default action. The C libraries keep signals 32 to 34 for themselves and refuse to touch them,
 * but a caller's caller may have ignored one, and execve(2) hands that on: so rt_sigaction(2), 0 being SIG_DFL. */
static inline void mrt_default_actions(void)
{
    const unsigned long action[4] = {0}; /* the kernel's struct: handler, flags, restorer, mask */
    for (int number = 1; number <= 64; number++)
        syscall(SYS_rt_sigaction, number, action, NULL, 8);
}
#endif
