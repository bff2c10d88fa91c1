# SPDX-License-Identifier: Apache-2.0
"""Writes the C source of the cffi extension minirt.kernel._csrc (cffi API mode, ffi.emit_c_code).

    build.py HERE OPS_H OUTPUT

Called by meson. Constants are declared `#define X ...`: the compiler gives them their values. The step functions
are declared from the same list, csrc/ops.h, as the executor's table. Imports nothing of minirt.
"""

import pathlib
import re
import sys

import cffi


def main(here: str, ops_header: str, output: str) -> None:
    directory = pathlib.Path(here)
    declarations = (directory / "bindings.cdef").read_text()
    names = (directory / "constants.txt").read_text().split()
    ops = re.findall(r"^\s+X\((\w+)\)", pathlib.Path(ops_header).read_text(), re.MULTILINE)
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    ffi.cdef("\n".join(f"#define {name} ..." for name in names))
    ffi.cdef("\n".join(f"#define MRT_OP_{op} ...\nlong mrt_do_{op}(struct mrt_call *call);" for op in ops))
    ffi.set_source("minirt.kernel._csrc", '#include "bindings/bindings.h"')
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
