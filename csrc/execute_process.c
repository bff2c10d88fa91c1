/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that change what a process is and may: namespaces(7), credentials(7), capabilities(7), limits, execve(2).
 * See execute.c for who runs here; each such step runs with the privileges that the steps before it left. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "execute.h"
#include "syscalls.h"

/* The monitor clones; a plan run by anyone else must not. */
long mrt_do_clone3(struct mrt_call *call)
{
    (void)call;
    errno = ENOTSUP;
    return -1;
}

long mrt_do_unshare(struct mrt_call *call)
{
    return syscall(SYS_unshare, call->num[0]);
}

long mrt_do_setns(struct mrt_call *call)
{
    return syscall(SYS_setns, call->fd[0], call->num[0]);
}

long mrt_do_setsid(struct mrt_call *call)
{
    (void)call;
    return syscall(SYS_setsid);
}

long mrt_do_sethostname(struct mrt_call *call)
{
    return syscall(SYS_sethostname, call->str[0], call->len[0]);
}

long mrt_do_setdomainname(struct mrt_call *call)
{
    return syscall(SYS_setdomainname, call->str[0], call->len[0]);
}

long mrt_do_umask(struct mrt_call *call)
{
    return syscall(SYS_umask, call->num[0]);
}

long mrt_do_personality(struct mrt_call *call)
{
    return syscall(SYS_personality, call->num[0]);
}

long mrt_do_prlimit64(struct mrt_call *call)
{
    const uint64_t limit[2] = {call->num[1], call->num[2]}; /* struct rlimit64 */
    return syscall(SYS_prlimit64, 0, call->num[0], limit, NULL);
}

long mrt_do_prctl(struct mrt_call *call)
{
    unsigned long second = call->str[0] ? (unsigned long)(uintptr_t)call->str[0] : call->num[1];
    return syscall(SYS_prctl, call->num[0], second, call->num[2], call->num[3], call->num[4]);
}

long mrt_do_keyctl(struct mrt_call *call)
{
    return syscall(SYS_keyctl, call->num[0], call->str[0], 0, 0, 0);
}

long mrt_do_setgroups(struct mrt_call *call)
{
    return syscall(SYS_setgroups, call->len[0] / sizeof(gid_t), call->str[0]);
}

long mrt_do_setresgid(struct mrt_call *call)
{
    return syscall(SYS_setresgid, call->num[0], call->num[1], call->num[2]);
}

long mrt_do_setresuid(struct mrt_call *call)
{
    return syscall(SYS_setresuid, call->num[0], call->num[1], call->num[2]);
}

long mrt_do_capset(struct mrt_call *call)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(call->num[0] >> (32 * i));
        data[i].permitted = (uint32_t)(call->num[1] >> (32 * i));
        data[i].inheritable = (uint32_t)(call->num[2] >> (32 * i));
    }
    return syscall(SYS_capset, &header, data);
}

long mrt_do_seccomp(struct mrt_call *call)
{
    struct sock_fprog program = {.len = (unsigned short)(call->len[0] / sizeof(struct sock_filter)),
                                 .filter = (struct sock_filter *)(uintptr_t)call->str[0]};
    return syscall(SYS_seccomp, call->num[0], call->num[1], &program);
}

long mrt_do_bpf_prog_load(struct mrt_call *call)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = (uint32_t)call->num[0];
    attributes.expected_attach_type = (uint32_t)call->num[1];
    attributes.insns = (uintptr_t)call->str[0];
    attributes.insn_cnt = call->len[0] / (uint32_t)sizeof(struct bpf_insn);
    attributes.license = (uintptr_t) "Apache-2.0"; /* it calls no function of the kernel's that asks for another */
    call->out[0] = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    return call->out[0];
}

long mrt_do_bpf_prog_attach(struct mrt_call *call)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.target_fd = (uint32_t)call->fd[0];
    attributes.attach_bpf_fd = (uint32_t)call->fd[1];
    attributes.attach_type = (uint32_t)call->num[0];
    attributes.attach_flags = (uint32_t)call->num[1];
    return syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes);
}

long mrt_do_close_range(struct mrt_call *call)
{
    return syscall(SYS_close_range, (unsigned)call->num[0], (unsigned)call->num[1], (unsigned)call->num[2]);
}

long mrt_do_execve(struct mrt_call *call)
{
    return syscall(SYS_execve, call->str[0], call->list[0], call->list[1]);
}

long mrt_do_execveat(struct mrt_call *call)
{
    return syscall(SYS_execveat, call->fd[0], call->str[0], call->list[0], call->list[1], call->num[0]);
}
