# SPDX-License-Identifier: Apache-2.0
"""What OverlayFS says by inodes (overlayfs.rst, "whiteouts and opaque directories"): a character device 0:0 hides the
name that it has, the attribute trusted.overlay.opaque=y on a directory hides what lower layers have in it.
"""

from __future__ import annotations

import os
import stat

OPAQUE = "trusted.overlay.opaque"


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(directory: int | str) -> bool:
    """A directory by its descriptor or path; one that cannot be asked has no mark."""
    try:
        return os.getxattr(directory, OPAQUE) == b"y"
    except OSError:
        return False
