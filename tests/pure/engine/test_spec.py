# SPDX-License-Identifier: Apache-2.0
"""Options and an image's config become config.json: Docker's rules for what wins, minirt's defaults for the rest."""

from __future__ import annotations

from typing import Any

import pytest

from minirt.engine import spec
from minirt.engine.options import RunOptions
from minirt.engine.record import Record
from minirt.errors import HostError, InvalidValue, MinirtError
from minirt.model import capabilities
from minirt.plan import defaults
from minirt.plan.facts import Host

IDENTITY = "c0ffee" + "0" * 58
KINDS = ("mount", "pid", "network", "uts", "ipc", "cgroup", "time", "user")


def host(**changes: Any) -> Host:
    facts: dict[str, Any] = {
        "kernel": (6, 1), "arch": "x86_64", "namespaces": KINDS, "hard_limits": {}, "cgroup_mount": "/sys/fs/cgroup",
        "capabilities": capabilities.NAMES, "lowerdir_plus": True,
    }  # fmt: skip
    return Host(**{**facts, **changes})


def built(config: dict[str, Any] | None = None, facts: Host | None = None, **options: Any) -> spec.Built:
    record = Record(RunOptions(**{"image": "x", "command": ["true"], **options}), config or {}, [])
    place = spec.Place(IDENTITY, "/store/c", lambda volume: volume.source or "/store/v/anon/_data")
    made = spec.build(record, facts or host(), place)
    spec.finish(made, 0, 0, (0,), "/root")
    return made


def made(**options: Any) -> dict[str, Any]:
    return built(**options).spec


def test_defaults_are_attacks_part_two() -> None:
    found = made()
    process = found["process"]
    assert process["capabilities"]["bounding"] == list(defaults.CAPABILITIES)
    assert process["capabilities"].keys() == {"bounding", "effective", "permitted"}
    assert process["user"] == {"uid": 0, "gid": 0, "umask": 0o022, "additionalGids": [0]}
    assert process["cwd"] == "/" and process["noNewPrivileges"] is False
    assert [each["type"] for each in found["linux"]["namespaces"]] == list(defaults.NAMESPACES)
    assert found["linux"]["maskedPaths"] == defaults.masked_paths()
    assert found["annotations"] == {spec.SECCOMP_ANNOTATION: "default"}
    assert found["hostname"] == IDENTITY[:12]
    assert "HOME=/root" in process["env"] and f"HOSTNAME={IDENTITY[:12]}" in process["env"]


def test_is_valid_by_the_validator() -> None:
    validate = pytest.importorskip("minirt.model.spec").validate
    validate(made())
    validate(made(privileged=True, tty=True, volumes=["/a:/b:ro", "/anon"], tmpfs=["/t:size=1m"], ulimit=["core=1"]))
    validate(made(pid="host", ipc="host", uts="host", network=["host"], cgroupns="host", read_only=True))


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "flag", "words", "expected"),
    [
        (["e", "1"], ["c"], None, [], ["e", "1", "c"]),
        (["e"], ["c"], None, ["w"], ["e", "w"]),
        (None, ["c", "2"], None, [], ["c", "2"]),
        (["e"], ["c"], "f", [], ["f"]),
        (["e"], ["c"], "f", ["w"], ["f", "w"]),
        (["e"], ["c"], "", ["w"], ["w"]),
    ],
)
def test_entrypoint_and_cmd(entrypoint: Any, cmd: Any, flag: Any, words: list[str], expected: list[str]) -> None:
    config = {"Entrypoint": entrypoint, "Cmd": cmd}
    assert spec.command(RunOptions(image="x", command=words, entrypoint=flag), config) == expected


def test_no_command() -> None:
    for options in (RunOptions(image="x"), RunOptions(image="x", entrypoint="")):
        with pytest.raises(InvalidValue, match="no command specified"):
            spec.command(options, {"Cmd": ["c"]} if options.entrypoint == "" else {})


def test_environment_order_and_precedence() -> None:
    env = built({"Env": ["PATH=/image", "A=image", "B=image"]}, env=["A=user", "B", "HOME=/h"], tty=True).spec[
        "process"
    ]["env"]
    assert env == ["PATH=/image", f"HOSTNAME={IDENTITY[:12]}", "TERM=xterm", "A=user", "HOME=/h"]


def test_img_26_working_directory() -> None:
    """IMG-26: never relative to the host, never out of the root, never endless."""
    assert spec.working_directory("", "../../..") == "/"
    assert spec.working_directory("", "app") == "/app"
    assert spec.working_directory("/w/../x/", "/image") == "/x"
    with pytest.raises(InvalidValue, match="needs to be an absolute path"):
        spec.working_directory("x", "")
    with pytest.raises(InvalidValue, match="longer than"):
        spec.working_directory("", "/a" * (1 << 19))


def test_img_27_reserved_labels_are_dropped() -> None:
    """IMG-27 (CVE-2026-53488): an image's labels never reach what a runtime interprets."""
    image = {"org.minirt.seccomp": "unconfined", "run.oci.hooks": "x", "io.podman.y": "z", "a\n\x1b": "b" * 100_000}
    found = built({"Labels": image}, label=["mine=1", "run.oci.hooks=user"])
    assert found.spec["annotations"] == {spec.SECCOMP_ANNOTATION: "default"}
    assert "org.minirt.seccomp" not in found.record.labels
    assert found.record.labels["mine"] == "1" and found.record.labels["run.oci.hooks"] == "user"
    assert [note for note in found.record.notes if "org.minirt.seccomp" in note]


@pytest.mark.parametrize("text", ["99", "KILL; rm", "SIGRTMIN+100", "0", "-9"])
def test_exe_15_stop_signal_of_an_image(text: str) -> None:
    """EXE-15: validated before anything is made."""
    with pytest.raises(MinirtError, match="signal"):
        built({"StopSignal": text})
    assert built({"StopSignal": "SIGQUIT"}).record.stop_signal == 3
    assert built({"StopSignal": text}, stop_signal="INT").record.stop_signal == 2


def test_run_21_capabilities_that_the_host_lacks() -> None:
    """RUN-21: left out with a note; an error only where the user named one."""
    lacking = host(capabilities=tuple(name for name in capabilities.NAMES if name != "CAP_SYS_RESOURCE"))
    found = built(facts=lacking, privileged=True)
    assert set(found.spec["process"]["capabilities"]["bounding"]) == set(capabilities.NAMES) - {"CAP_SYS_RESOURCE"}
    assert found.record.notes == ["CAP_SYS_RESOURCE left out: this host lacks it"]
    assert built(facts=lacking, cap_add=["ALL"]).record.notes
    with pytest.raises(HostError, match="lacks CAP_SYS_RESOURCE"):
        built(facts=lacking, cap_add=["sys_resource"])


def test_privileged() -> None:
    found = made(privileged=True)
    assert "maskedPaths" not in found["linux"] and "readonlyPaths" not in found["linux"]
    assert found["annotations"] == {}
    by_path = {mount["destination"]: mount["options"] for mount in found["mounts"]}
    assert "ro" not in by_path["/sys"] and "ro" not in by_path["/sys/fs/cgroup"]
    assert "ro" in {mount["destination"]: mount["options"] for mount in made()["mounts"]}["/sys"]


def test_users_that_are_not_root_have_bounded_capabilities_only() -> None:
    made_ = built(user="1000")
    assert made_.user == "1000"
    spec.finish(made_, 1000, 1000, (1000,), "/home/ann")
    sets = made_.spec["process"]["capabilities"]
    assert sets["effective"] == sets["permitted"] == [] and sets["bounding"] == list(defaults.CAPABILITIES)


def test_limits_are_clamped_to_the_callers() -> None:
    low = host(hard_limits={"RLIMIT_NOFILE": 512}, capabilities=defaults.CAPABILITIES)
    found = built(facts=low, ulimit=["nofile=1000:2000"])
    assert {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 512} in found.spec["process"]["rlimits"]
    assert "RLIMIT_NOFILE lowered to 512" in found.record.notes[0]
    assert not built(facts=low).record.notes, "our own default is lowered silently"


def test_mounts_of_the_user_replace_defaults_and_are_sorted() -> None:
    found = made(volumes=["/h/deep:/a/b/c", "/h/top:/a:ro", "/h/hosts:/etc/hosts"], tmpfs=["/dev/shm:size=1m"])
    destinations = [mount["destination"] for mount in found["mounts"]]
    assert len(destinations) == len(set(destinations))
    assert destinations.index("/a") < destinations.index("/a/b/c")
    sources = {mount["destination"]: mount["source"] for mount in found["mounts"]}
    assert sources["/etc/hosts"] == "/h/hosts" and sources["/etc/hostname"] == "/store/c/hostname"
    options = {mount["destination"]: mount["options"] for mount in found["mounts"]}
    assert options["/a"] == ["rbind", "rprivate", "ro", "rnodev"]
    assert {"nosuid", "nodev", "noexec"} <= set(options["/etc/hostname"])
    assert options["/dev/shm"] == ["noexec", "nosuid", "nodev", "size=1048576"]


def test_duplicate_mount_point() -> None:
    with pytest.raises(InvalidValue, match="Duplicate mount point: /a"):
        made(volumes=["/x:/a", "/y:/a/"])


def test_flags_are_the_origin_of_their_mounts() -> None:
    found = built(volumes=["/x:/a"])
    pointer = next(iter(found.origins))
    assert found.origins[pointer] == "-v /x:/a"
    assert found.spec["mounts"][int(pointer.rpartition("/")[2])]["destination"] == "/a"


def test_namespaces_of_the_host() -> None:
    found = made(pid="host", ipc="host", uts="host", network=["host"], cgroupns="host")
    assert {each["type"] for each in found["linux"]["namespaces"]} == {"mount", "time"}
    assert "hostname" not in found and "sysctl" not in found["linux"]
    shm = next(mount for mount in found["mounts"] if mount["destination"] == "/dev/shm")
    assert (shm["type"], shm["source"]) == ("bind", "/dev/shm")
    queues = next(mount for mount in found["mounts"] if mount["destination"] == "/dev/mqueue")
    assert queues["type"] == "mqueue"  # not every host has one to bind
    assert "time" not in {each["type"] for each in built(facts=host(namespaces=KINDS[:6])).spec["linux"]["namespaces"]}


def test_conflicting_options() -> None:
    with pytest.raises(InvalidValue, match="hostname and the UTS mode"):
        made(uts="host", hostname="x")
    with pytest.raises(InvalidValue, match=r"own|network"):
        made(network=["host"], sysctl=["net.ipv4.ip_forward=1"])


def test_record_survives_storing() -> None:
    record = built({"Labels": {"a": "b"}}, volumes=["/x:/a"], env=["é=ü"]).record
    again = Record.from_json(record.to_json())
    assert again.to_json() == record.to_json() and again.options.env == ["é=ü"]
    for damaged in ("", "{}", '{"options": {"nonsense": 1}}', "[]"):
        with pytest.raises(MinirtError):
            Record.from_json(damaged)
