# SPDX-License-Identifier: Apache-2.0
"""What `stats` shows of figures and makes of /proc/<pid>/net/dev: Docker's words, "--" for what nobody counts."""

from __future__ import annotations

import pytest

from minirt.cli.verbs import stats as verb
from minirt.engine import stats

TITLES = b"Inter-|   Receive                |  Transmit\n face |bytes packets |bytes packets\n"


def interface(name: str, received: int, sent: int) -> bytes:
    return f"{name:>6}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n".encode()


def test_traffic_is_that_of_all_interfaces_but_lo() -> None:
    text = TITLES + interface("lo", 5, 5) + interface("eth0", 100, 20) + interface("eth1", 1, 2)
    assert stats.traffic(text) == (101, 22)


@pytest.mark.parametrize("text", [b"", TITLES, TITLES + b"eth0: 1 2 3\n", TITLES + b"no colon at all\n"])
def test_traffic_of_what_is_no_table(text: bytes) -> None:
    assert stats.traffic(text) == (0, 0)


def test_nothing_known_is_shown_as_nothing_known() -> None:
    shown = verb.fields(stats.Usage("f" * 64, "otter", "otter"), whole=False)
    assert shown.pop("MemUsage") == "-- / --"
    assert (shown.pop("ID"), shown.pop("Name"), shown.pop("Container")) == ("f" * 12, "otter", "otter")
    assert set(shown.values()) == {"--"}


def test_figures_in_dockers_words() -> None:
    usage = stats.Usage("f" * 64, "otter", "otter")
    usage.cpu_percent, usage.pids = 150.456, 3
    usage.memory_bytes, usage.limit_bytes = 6 << 20, 64 << 20
    usage.network, usage.block = (1_234_567, 0), (4096, 999)
    usage.pressure = {"cpu": (1.5, 0.25), "memory": (0.0, 0.0), "io": None}
    shown = verb.fields(usage, whole=True)
    assert shown["ID"] == "f" * 64
    assert (shown["CPUPerc"], shown["PIDs"]) == ("150.46%", "3")
    assert (shown["MemUsage"], shown["MemPerc"]) == ("6MiB / 64MiB", "9.38%")
    assert (shown["NetIO"], shown["BlockIO"]) == ("1.23MB / 0B", "4.1kB / 999B")
    assert [shown[f"{what}Pressure"] for what in ("CPU", "Mem", "IO")] == ["1.50% / 0.25%", "0.00% / 0.00%", "--"]


def test_every_title_has_its_field() -> None:
    shown = verb.fields(stats.Usage("f" * 64, "otter", "otter"), whole=False)
    assert set(shown) == set(verb.TITLES) and set(verb.LAYOUT) < set(shown)
