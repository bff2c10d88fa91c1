# SPDX-License-Identifier: Apache-2.0
"""What holds for every plan, whatever was asked for: tried on some hundred specifications drawn from a fixed seed."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from minirt.model import spec as specification
from minirt.model.capabilities import NAMES
from minirt.plan import compile as compiler
from minirt.plan import defaults, text
from minirt.plan.facts import RootFacts, Target
from minirt.plan.netlink import Request, named
from minirt.plan.network import Link
from minirt.plan.step import HOST as CALLER
from minirt.plan.step import INIT, MONITOR, Blob, Caps, Fd, Flags, Gids, Plan, Step, Strings
from specimens import HOST, bind, context, process, spec

OPS = re.findall(r"X\((\w+)\)\s+/\*", (Path(__file__).parents[2] / "csrc/ops.h").read_text())
SEEDS = range(200)


def drawn(seed: int) -> tuple[dict[str, Any], RootFacts, compiler.Context]:
    """A valid specification, facts and wishes by chance."""
    chance = random.Random(seed)
    kinds = ["mount", *(kind for kind in defaults.NAMESPACES[1:] if chance.random() < 0.7)]
    namespaces = [{"type": kind} for kind in kinds]
    for namespace in namespaces[1:]:
        if chance.random() < 0.2:
            namespace["path"] = f"/proc/9/ns/{namespace['type']}"
    own = {namespace["type"] for namespace in namespaces if "path" not in namespace}
    mounts = [mount for mount in defaults.mounts() if chance.random() < 0.9]
    words = ["ro", "rw", "nosuid", "noexec", "rprivate", "rslave", "shared", "noatime", "rro"]
    facts = RootFacts()
    for number in range(chance.randrange(4)):
        path = chance.choice(["/data", "/a/b/c", "/dev/x", "/proc/fs/x", "/data/in"]) + str(number)
        mounts.append(bind(f"/srv/{number}", path, chance.choice(["bind", "rbind"]), *chance.sample(words, 2)))
        missing = (path,) if chance.random() < 0.5 else ()
        facts.targets[path] = Target(path, missing, chance.choice(["dir", "file"]))
    uid = chance.choice([0, 0, 1000])
    chosen = chance.sample(NAMES, chance.randrange(len(NAMES)))
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "maskedPaths": chance.sample(list(defaults.MASKED), 5),
        "readonlyPaths": chance.sample(defaults.READONLY, 3),
    }
    if "network" in own:
        linux["sysctl"] = dict(defaults.SYSCTL)
    if "time" in own and chance.random() < 0.5:
        linux["timeOffsets"] = {"monotonic": {"secs": 5}}
    if chance.random() < 0.3:
        linux["devices"] = [{"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "uid": 7}]
    document = spec(
        process=process(
            terminal=chance.random() < 0.4,
            user={"uid": uid, "gid": uid, "additionalGids": [7]},
            noNewPrivileges=chance.random() < 0.5,
            capabilities=dict.fromkeys(("bounding", "effective", "permitted"), chosen),
            args=[chance.choice(["sh", "/bin/sh"])],
        ),
        mounts=mounts,
        linux=linux,
        root={"path": "rootfs", "readonly": chance.random() < 0.5},
    )
    if "uts" not in own:
        del document["hostname"]
    wishes = context(
        stdin=chance.random() < 0.5, init=chance.random() < 0.3, wait=chance.random() < 0.3, seccomp=Blob(b"8", "f")
    )
    wishes.links = tuple(drawn_link(chance, number) for number in range(chance.randrange(3)))
    return document, facts, wishes


def drawn_link(chance: random.Random, number: int) -> Link:
    addresses = chance.choice([(), (("10.0.0.2", 24),), (("10.0.0.2", 24), ("fd00::2", 64)), (("fd00::2", 64),)])
    driver, veth = chance.choice([("bridge", f"veth{number:07x}"), ("macvlan", "")])
    mac, gateways = (
        chance.choice(["", "02:42:0a:00:00:02"]),
        chance.choice([(), ("10.0.0.1",), ("10.0.0.1", "fd00::1")]),
    )
    return Link(driver, f"eth{number}", 100 + number, mac, 0, veth, 7, addresses, gateways, f"--network n{number}")


@pytest.fixture(params=SEEDS)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Plan, compiler.Context]:
    document, facts, wishes = drawn(request.param)
    specification.validate(document)
    return document, compiler.compile(document, HOST, facts, wishes), wishes


def at(plan: Plan, op: str, first: object = None) -> int:
    return next(
        index for index, step in enumerate(plan.steps) if step.op == op and (first is None or step.args[:1] == (first,))
    )


def test_every_rule(case: tuple[dict[str, Any], Plan, compiler.Context]) -> None:
    document, plan, wishes = case
    for step in plan.steps:
        is_well_formed(step)
        points_into(document, step)
    actors_follow_each_other(plan)
    descriptors_exist_before_use(plan)
    paths_stay_inside(plan)
    the_network_is_the_containers_own(document, plan, wishes)
    identity_is_in_the_kernels_order(document, plan)
    nothing_follows_but_execve(plan, wishes)


def is_well_formed(step: Step) -> None:
    """csrc/plan.h: two descriptors, six numbers, four strings."""
    assert step.op in OPS
    assert step.kind, text.describe(step)
    fds = [value for value in step.args if isinstance(value, Fd)]
    strings = [v for v in step.args if isinstance(v, (Strings, Blob, Gids)) or (type(v) is str) or v is None]
    numbers = [value for value in step.args if isinstance(value, (Flags, Caps, int))]
    requests = [value for value in step.args if isinstance(value, Request)]  # bytes, and where a descriptor belongs
    assert len(fds) <= 2 and len(strings) <= 4 and len(numbers) <= 6 and len(step.tolerate) <= 4
    assert len(fds) + len(strings) + len(numbers) + len(requests) == len(step.args)
    assert not requests or (step.op, len(requests), named(requests[0])) == ("netlink", 1, fds[1] if fds[1:] else None)
    assert "\n" not in text.describe(step)


def points_into(document: dict[str, Any], step: Step) -> None:
    """A pointer leads to what asked for the step, or to where it would stand (a default)."""
    if not step.pointer or step.pointer.startswith("--"):
        return
    value: Any = document
    parts = step.pointer.split("/")[1:]
    for index, part in enumerate(parts):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(part)]
        elif part in value:
            value = value[part]
        else:
            assert index >= len(parts) - 2, step.pointer
            return


def actors_follow_each_other(plan: Plan) -> None:
    order = {CALLER: 0, MONITOR: 1, INIT: 2}
    places = [order[step.actor] for step in plan.steps]
    assert places == sorted(places)
    clone = at(plan, "clone3")
    assert plan.steps[clone].actor == MONITOR and plan.steps[clone + 1].actor == INIT
    assert sum(step.op == "clone3" for step in plan.steps) == 1


def descriptors_exist_before_use(plan: Plan) -> None:
    known = {*plan.inherited, "cwd", "report"}
    for step in plan.steps:
        for value in step.args:
            if isinstance(value, Fd):
                assert value.name in known, text.describe(step)
        known.update(step.out)
    assert "pidfd" in known


def paths_stay_inside(plan: Plan) -> None:
    """ROOT-04, ROOT-05: before the pivot no path of the container is resolved from the host's root, and after it
    none by a descriptor that could be outside."""
    pivot = at(plan, "pivot_root")
    for index, step in enumerate(plan.steps):
        if step.actor != INIT:
            continue
        from_cwd = step.args[:1] == (Fd("cwd"),)
        if index < pivot and from_cwd:
            assert step.op in ("open_tree", "mount_setattr", "openat2"), text.describe(step)
            assert step.op != "openat2" or step.args[1] == "/dev", text.describe(step)
        if index < pivot and step.op == "openat2" and not from_cwd:
            assert "RESOLVE_IN_ROOT" in str(step.args[4]) or "RESOLVE_BENEATH" in str(step.args[4])
        if step.op == "move_mount" and step.kind != "root":
            assert "MOVE_MOUNT_T_SYMLINKS" not in str(step.args[4])
            assert step.args[3] == "" or "/" not in str(step.args[3]), "one component, which is not followed"


def the_network_is_the_containers_own(document: dict[str, Any], plan: Plan, wishes: compiler.Context) -> None:
    """Links are made in a namespace that was made for them, by init, after what holds for every new link is set and
    before anything is given up; and the namespace left behind is only opened where there are links to make."""
    kinds = {one["type"]: one.get("path") for one in document["linux"]["namespaces"]}
    own = "network" in kinds and not kinds["network"]
    asked = [index for index, step in enumerate(plan.steps) if step.op == "netlink"]
    opened = [step for step in plan.steps if step.args[1:2] == ("/proc/self/ns/net",)]
    assert bool(asked) == bool(opened) == bool(own and wishes.links)
    if asked:
        sysctls = [index for index, step in enumerate(plan.steps) if step.kind == "sysctl"]
        assert {plan.steps[index].actor for index in asked} == {INIT} and opened[0].actor == CALLER
        assert max(sysctls) < min(asked) and max(asked) < at(plan, "pivot_root") < at(plan, "capset")


def identity_is_in_the_kernels_order(document: dict[str, Any], plan: Plan) -> None:
    """RUN-01, RUN-02, RUN-08."""
    groups, gid, uid = at(plan, "setgroups"), at(plan, "setresgid"), at(plan, "setresuid")
    capset, seccomp = at(plan, "capset"), at(plan, "seccomp")
    drops = [index for index, step in enumerate(plan.steps) if step.args[:1] == (Flags("PR_CAPBSET_DROP"),)]
    dropped = {str(plan.steps[index].args[1]) for index in drops}
    assert dropped == set(NAMES) - set(document["process"]["capabilities"]["bounding"])
    assert max(drops, default=0) < groups < gid < uid < capset
    assert plan.steps[groups].args[0] == Gids((document["process"]["user"]["gid"], 7))
    if document["process"]["noNewPrivileges"]:
        assert at(plan, "prctl", Flags("PR_SET_NO_NEW_PRIVS")) < uid and seccomp > capset
    else:
        assert seccomp < uid, "afterwards CAP_SYS_ADMIN is gone"
    if document["process"]["user"]["uid"]:
        again = [i for i, step in enumerate(plan.steps) if step.args[:1] == (Flags("PR_SET_PDEATHSIG"),)]
        assert again[-1] > uid, "a change of credentials clears it"
    permitted = set(document["process"]["capabilities"]["permitted"])
    wanted = plan.steps[capset].args
    assert isinstance(wanted[1], Caps) and set(wanted[1]) == permitted and wanted[2] == Caps(())


def nothing_follows_but_execve(plan: Plan, wishes: compiler.Context) -> None:
    """ROOT-11, RUN-17: what is open is closed by execve, and only execve is left."""
    close = at(plan, "close_range")
    rest = [step.op for step in plan.steps[close + 1 :] if step.op != "seccomp"]
    assert set(rest) == {"execveat"} if wishes.init else set(rest) == {"execve"}
    assert plan.steps[close].args == (3, 0xFFFFFFFF, Flags("CLOSE_RANGE_CLOEXEC"))


def test_every_mask_is_there_and_on_top() -> None:
    """RUN-03, CVE-2025-31133: each path that exists is covered, after its read-only parent, from our own node."""
    plan = compiler.compile(spec(), HOST, RootFacts(), context())
    steps = [text.describe(step) for step in plan.steps if step.kind == "mask"]
    for path in defaults.MASKED:
        name = path.rpartition("/")[2]
        assert any("move_mount(" in line and f'"{name}"' in line for line in steps) or any(
            f'"{path[5:]}"' in line for line in steps
        ), path
    pointers = [step.pointer.split("/")[2] for step in plan.steps if step.kind == "mask"]
    assert pointers == sorted(pointers, reverse=True)
    assert not any('"/dev/null"' in line for line in steps)


def test_compiling_is_deterministic() -> None:
    document, facts, wishes = drawn(3)
    assert (
        compiler.compile(document, HOST, facts, wishes).steps == compiler.compile(document, HOST, facts, wishes).steps
    )


def test_compiling_leaves_the_specification_as_it_is() -> None:
    document, facts, wishes = drawn(5)
    before = repr(document)
    compiler.compile(document, HOST, facts, wishes)
    assert repr(document) == before
