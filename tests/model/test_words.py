# SPDX-License-Identifier: Apache-2.0
"""JSON, signals, capabilities, mount options and sysctl names: the small languages."""

from __future__ import annotations

import json as reference
import random
import signal
import string

import pytest

from minirt.errors import InvalidValue
from minirt.model import capabilities, json, mounts, signals, sysctls


def any_value(chance: random.Random, depth: int = 0) -> object:
    kind = chance.randrange(8 if depth < 4 else 6)
    if kind < 2:
        return chance.choice([None, True, False, 0, -1, 1 << 70, 0.5, 1e300, ""])
    if kind < 6:
        return "".join(chance.choice(string.printable + "é€😀\u2028\x7f") for _ in range(chance.randrange(12)))
    if kind == 6:
        return [any_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {str(any_value(chance, 9)): any_value(chance, depth + 1) for _ in range(chance.randrange(4))}


@pytest.mark.parametrize("seed", range(50))
def test_json_agrees_with_the_standard_library(seed: int) -> None:
    value = any_value(random.Random(seed))
    assert json.dumps(value) == reference.dumps(value, separators=(",", ":"))
    for text in (json.dumps(value), json.pretty(value), reference.dumps(value, ensure_ascii=False)):
        assert json.loads(text) == reference.loads(text) == value
        assert json.loads(f" \n{text}\t".encode()) == value
    assert json.pretty(value) == reference.dumps(value, indent=4, ensure_ascii=False)


@pytest.mark.parametrize(
    "document",
    ["", " ", "[", "{", '{"a"', '{"a":}', '{"a":1,}', "[1,]", "[1]x", "nul", "NaN", "[Infinity]", "-Infinity", "'a'"]
    + ['"\n"', '"\\x"', '"\\ud800"', '["\\udc00a"]', '{"\\ud800": 1}', "\ufeff{}", "1" * 5000, "[" * 100000]
    + ['{"a":' * 100000, "01", "{1:2}", b"\xff", b'"\xc3"', b"\xef\xbb\xbf{}"],
    ids=lambda document: repr(document[:12]),
)
def test_img_30_malformed_json_is_an_error_of_ours(document: str | bytes) -> None:
    """IMG-30: never a traceback, whatever a hostile document does."""
    with pytest.raises(InvalidValue):
        json.loads(document)


def test_img_30_a_member_named_twice() -> None:
    """IMG-30: two programs may read such a document differently; by default the last one wins, as everywhere."""
    assert json.loads('{"a":1,"a":2}') == {"a": 2}
    with pytest.raises(InvalidValue):
        json.loads('[{"a":1,"a":2}]', unique=True)


def test_json_refuses_what_is_not_json() -> None:
    with pytest.raises(TypeError):
        json.dumps({1, 2})
    with pytest.raises(ValueError, match="float"):
        json.dumps(float("nan"))


def test_signals_are_the_kernels() -> None:
    for member in signal.Signals:
        if member.name not in ("SIGRTMIN", "SIGRTMAX"):
            assert signals.number(member.name) == member.value == signals.number(member.name[3:].lower())
            assert signals.number(str(member.value)) == member.value
    assert signals.number("RTMIN+3") == 37 and signals.number("SIGRTMAX-1") == 63
    assert (signals.number("RTMIN"), signals.number("rtmax")) == (signal.SIGRTMIN, signal.SIGRTMAX)


@pytest.mark.parametrize("number", [*range(1, 32), *range(34, 65)])
def test_signal_names_lead_back(number: int) -> None:
    assert signals.number(signals.name(number)) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIG", "SIG9", "TEA", "RTMIN+31", "RTMAX+1", "9 ", "٩", "1e0"])
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidValue):
        signals.number(text)


def test_capabilities() -> None:
    assert capabilities.normalise("net_admin") == capabilities.normalise("CAP_NET_ADMIN") == "CAP_NET_ADMIN"
    assert capabilities.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40 and len(capabilities.NAMES) == 41
    assert capabilities.mask(("CAP_CHOWN", "CAP_SYS_ADMIN")) == 1 | 1 << 21
    assert capabilities.from_mask(1 | 1 << 21 | 1 << 60) == ("CAP_CHOWN", "CAP_SYS_ADMIN")
    with pytest.raises(InvalidValue):
        capabilities.normalise("CAP_TEA")


@pytest.mark.parametrize(
    ("add", "drop", "left"),
    [
        ([], [], ("CAP_CHOWN", "CAP_KILL")),
        (["net_admin"], ["KILL"], ("CAP_CHOWN", "CAP_NET_ADMIN")),
        (["kill"], ["kill"], ("CAP_CHOWN", "CAP_KILL")),
        ([], ["all"], ()),
        (["sys_time"], ["ALL"], ("CAP_SYS_TIME",)),
        (["ALL"], [], capabilities.NAMES),
        (["ALL"], ["CAP_CHOWN"], capabilities.NAMES[1:]),
    ],
)
def test_cap_add_and_cap_drop_are_dockers(add: list[str], drop: list[str], left: tuple[str, ...]) -> None:
    assert capabilities.adjust(("CAP_CHOWN", "CAP_KILL"), add, drop) == left


def test_mount_options_become_attributes_propagation_and_data() -> None:
    options = mounts.parse(["rbind", "ro", "nosuid", "rro", "rslave", "size=64k", "newinstance", "defaults", "noatime"])
    assert (options.bind, options.propagation, options.all_propagation) == ("rbind", "MS_SLAVE", True)
    assert options.sets == ["MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NOATIME"]
    assert options.clears == ["MOUNT_ATTR__ATIME"] and options.all_sets == ["MOUNT_ATTR_RDONLY"]
    assert options.data == [("size", "64k"), ("newinstance", None)]


@pytest.mark.parametrize(
    ("words", "sets", "clears"),
    [
        (["ro", "rw"], [], ["MOUNT_ATTR_RDONLY"]),
        (["rw", "ro"], ["MOUNT_ATTR_RDONLY"], []),
        (["noatime", "strictatime"], ["MOUNT_ATTR_STRICTATIME"], ["MOUNT_ATTR__ATIME"]),
        (["nosuid", "suid", "nosuid"], ["MOUNT_ATTR_NOSUID"], []),
    ],
)
def test_a_later_mount_option_wins(words: list[str], sets: list[str], clears: list[str]) -> None:
    options = mounts.parse(words)
    assert (options.sets, options.clears) == (sets, clears)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_sysctl_names_are_paths(name: str, path: str) -> None:
    assert sysctls.path(name) == path
