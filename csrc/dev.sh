#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the C parts and puts them into the source tree, so that `.venv/bin/python -m minirt` runs from it.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
[ -f build/dev/build.ninja ] || meson setup build/dev --werror >/dev/null || { meson setup build/dev --werror; exit 1; }
ninja -C build/dev >build/dev/log 2>&1 || { cat build/dev/log; exit 1; }
for file in build/dev/_csrc*.so build/dev/_seccomp*.so build/dev/minirt-monitor; do
    name=minirt/kernel/$(basename "$file")
    cmp -s "$file" "$name" || { cp "$file" "$name.new" && mv -f "$name.new" "$name"; }
done
