# SPDX-License-Identifier: Apache-2.0
"""The cgroup v2 tree (cgroups(7)). Knows no container but its directory."""
