# SPDX-License-Identifier: Apache-2.0
"""RES-10 on every host: a container gets no better niceness, with or without a limit."""

from __future__ import annotations

from runner import Minirt

BETTER = "setpriority:0,0,-20"


def test_res_10_no_priority(minirt: Minirt) -> None:
    answers = minirt.calls(BETTER)
    assert answers[BETTER] in ("EACCES", "EPERM"), answers


def test_res_10_control_with_the_capability(minirt: Minirt) -> None:
    """The positive control: who is given CAP_SYS_NICE may."""
    assert minirt.calls(BETTER, options=("--cap-add", "SYS_NICE"))[BETTER] == "0"
