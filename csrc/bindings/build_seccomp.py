# SPDX-License-Identifier: Apache-2.0
"""Writes the C source of the cffi extension minirt.kernel._seccomp: libseccomp (seccomp_init(3) …), nothing else.

    build_seccomp.py OUTPUT

An extension of its own, because it is needed only when a profile is compiled for the first time.
"""

import sys

import cffi

DECLARATIONS = """
typedef ... *scmp_filter_ctx;
enum scmp_compare { SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT,
    SCMP_CMP_MASKED_EQ, ... };
struct scmp_arg_cmp { unsigned int arg; enum scmp_compare op; uint64_t datum_a; uint64_t datum_b; ...; };
enum scmp_filter_attr { SCMP_FLTATR_CTL_NNP, SCMP_FLTATR_ACT_BADARCH, SCMP_FLTATR_CTL_OPTIMIZE, ... };
#define SCMP_ACT_ALLOW ...
#define SCMP_ACT_KILL_PROCESS ...
#define SCMP_ACT_KILL_THREAD ...
#define SCMP_ACT_TRAP ...
#define SCMP_ACT_LOG ...
#define SCMP_ACT_NOTIFY ...
#define __NR_SCMP_ERROR ...
uint32_t mrt_act_errno(uint16_t error);
uint32_t mrt_act_trace(uint16_t message);
scmp_filter_ctx seccomp_init(uint32_t action);
void seccomp_release(scmp_filter_ctx filter);
int seccomp_attr_set(scmp_filter_ctx filter, enum scmp_filter_attr attribute, uint32_t value);
uint32_t seccomp_arch_resolve_name(const char *name);
int seccomp_arch_add(scmp_filter_ctx filter, uint32_t arch);
int seccomp_syscall_resolve_name(const char *name);
int seccomp_rule_add_array(scmp_filter_ctx filter, uint32_t action, int number, unsigned int count,
    const struct scmp_arg_cmp *compares);
int seccomp_export_bpf(scmp_filter_ctx filter, int fd);
"""

PREAMBLE = """
#include <seccomp.h>
static uint32_t mrt_act_errno(uint16_t error) { return SCMP_ACT_ERRNO(error); }
static uint32_t mrt_act_trace(uint16_t message) { return SCMP_ACT_TRACE(message); }
"""

if __name__ == "__main__":
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    ffi.set_source("minirt.kernel._seccomp", PREAMBLE)
    ffi.emit_c_code(sys.argv[1])
