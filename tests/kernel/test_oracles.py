# SPDX-License-Identifier: Apache-2.0
"""Steps as others see them: what the executor does to a link and to a process, read back through pyroute2 and
python-prctl, which share no code with it."""

from __future__ import annotations

import pytest

from minirt.kernel import host
from minirt.plan.step import Fd, Flags
from own import NONE, inside, run, step

pytestmark = pytest.mark.kernel


def _link_is_up() -> bool:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        return bool(netlink.link("get", ifname="lo")[0]["flags"] & 1)


def test_lo_comes_up() -> None:
    """SIOCSIFFLAGS against RTM_GETLINK: down in a new network namespace, up after the steps."""

    def body() -> tuple[bool, bool]:
        before = _link_is_up()
        run(
            step("socket", Flags("AF_INET"), Flags("SOCK_DGRAM|SOCK_CLOEXEC"), NONE, out="socket"),
            step("ioctl_ifflags", Fd("socket"), "lo", Flags("IFF_UP")),
        )
        return before, _link_is_up()

    assert inside(body) == (False, True)


def test_name_and_bounding_set() -> None:
    """PR_SET_NAME, PR_CAPBSET_DROP and what host.facts() says of the bounding set."""

    def body() -> tuple[str, bool, bool, bool]:
        import prctl

        before = bool(prctl.capbset_read(prctl.CAP_CHOWN))
        run(
            step("prctl", Flags("PR_SET_NAME"), "minirt:init"),
            step("prctl", Flags("PR_CAPBSET_DROP"), Flags("CAP_CHOWN")),
        )
        name = prctl.get_name()
        return name, before, bool(prctl.capbset_read(prctl.CAP_CHOWN)), "CAP_CHOWN" in host.facts().capabilities

    assert inside(body) == ("minirt:init", True, False, False)
