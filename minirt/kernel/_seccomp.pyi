# SPDX-License-Identifier: Apache-2.0
"""The typed face of the extension over libseccomp (csrc/bindings/build_seccomp.py)."""

from typing import Any

from minirt.kernel._csrc import _Ffi

class _Lib:
    def __getattr__(self, name: str) -> Any: ...

ffi: _Ffi
lib: _Lib
