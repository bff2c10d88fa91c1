# SPDX-License-Identifier: Apache-2.0
"""Each property of config.json, seen from inside a container: what the plan says is what the kernel did (needs root).

The compiler's rules without a kernel are in tests/plan. Each protection has its counterpart that is off.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import containers
from minirt.errors import StepFailed
from minirt.kernel import execute, flat
from minirt.kernel import host as host_facts
from minirt.model import spec as specification
from minirt.plan import rootfs
from minirt.plan.facts import Host
from minirt.runtime import start

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers: needs root")


@pytest.fixture
def box(tmp_path: pathlib.Path) -> Iterator[containers.Box]:
    made = containers.Box(tmp_path, containers.busybox_root(tmp_path / "root"))
    yield made
    made.destroy()


def shell(script: str, **process: Any) -> dict[str, Any]:
    return containers.spec("/bin/busybox", "sh", "-c", script, **process)


def output(box: containers.Box, config: dict[str, Any], **options: Any) -> str:
    specification.validate(config)
    code, out, err = box.run(config, **options)
    assert (code, err) == (0, ""), (code, out, err)
    return out


def bind(source: object, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": list(options)}


def attributes(box: containers.Box, config: dict[str, Any], path: str) -> set[str]:
    """The options of the mount at `path`, as the container's mountinfo has them."""
    config["process"]["args"][-1] = "cat /proc/self/mountinfo"
    lines = [line.split() for line in output(box, config).splitlines()]
    return {word for line in lines if line[4] == path for word in (*line[5].split(","), *line[6:7])}


def test_clock_offsets(box: containers.Box) -> None:
    config = shell("cat /proc/uptime /proc/self/timens_offsets")
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}}
    uptime, monotonic, boottime = output(box, config).splitlines()
    assert float(uptime.split()[0]) > 1_000_000
    assert monotonic.split() == ["monotonic", "5", "7"] and boottime.split() == ["boottime", "1000000", "0"]


def test_personality(box: containers.Box) -> None:
    config = shell("cat /proc/self/personality")
    config["linux"]["personality"] = {"domain": "LINUX32"}
    assert output(box, config) == "00000008\n"


def test_oom_score(box: containers.Box) -> None:
    assert output(box, shell("cat /proc/self/oom_score_adj", oomScoreAdj=321)) == "321\n"


def test_a_score_that_the_kernel_refuses_names_the_property(box: containers.Box) -> None:
    if "CAP_SYS_RESOURCE" in host_facts.facts().capabilities:
        pytest.skip("this host may lower it")
    with pytest.raises(StepFailed, match=r"write\(.*EACCES.*asked for by /process/oomScoreAdj"):
        box.run(shell("true", oomScoreAdj=-500))


def test_a_low_limit_of_files_does_not_stop_the_birth(box: containers.Box) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}
    config = containers.spec("/bin/busybox", "echo", "here", rlimits=[limit], cwd="/tmp")
    assert output(box, config) == "here\n"


def test_limits_umask_and_groups(box: containers.Box) -> None:
    config = shell(
        "umask; ulimit -n; id -G; id -u; id -g",
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}],
        user={"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [5, 1001]},
    )
    umask, files, groups, uid, gid = output(box, config).splitlines()
    assert (umask, files, uid, gid) == ("0027", "77", "1000", "1001")
    assert set(groups.split()) == {"5", "1001"}


@pytest.mark.parametrize("uid", [0, 1000])
def test_run_01_capability_sets(box: containers.Box, uid: int) -> None:
    """RUN-01, CVE-2022-24769: inheritable and ambient are empty unless the specification fills them."""
    sets = {name: ["CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}
    config = shell("grep Cap /proc/self/status", user={"uid": uid, "gid": uid}, capabilities=sets)
    found = dict(line.split() for line in output(box, config).splitlines())
    own = "0000000000000001" if uid == 0 else "0" * 16
    assert found == {"CapInh:": "0" * 16, "CapPrm:": own, "CapEff:": own, "CapBnd:": f"{1:016}", "CapAmb:": "0" * 16}


def test_ambient_capabilities_of_a_user(box: containers.Box) -> None:
    five = ("bounding", "effective", "permitted", "inheritable", "ambient")
    sets = {name: ["CAP_CHOWN"] for name in five}
    config = shell("grep Cap /proc/self/status", user={"uid": 1000, "gid": 1000}, capabilities=sets)
    assert [line.split()[1] for line in output(box, config).splitlines()] == [f"{1:016}"] * 5


def test_no_new_privileges_and_the_filter_of_a_user(box: containers.Box) -> None:
    """RUN-08: the filter is there although the process that loads it has no CAP_SYS_ADMIN any more."""
    user = {"uid": 1000, "gid": 1000}
    config = shell("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status", user=user, noNewPrivileges=True)
    assert output(box, config).split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_root_read_only(box: containers.Box) -> None:
    config = shell("touch /x 2>/dev/null && echo written; touch /tmp/y && echo kept")
    config["root"]["readonly"] = True
    config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]})
    assert output(box, config) == "kept\n"


def test_root_writable(box: containers.Box) -> None:
    assert output(box, shell("touch /x && echo written")) == "written\n"


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        (["rbind"], {"rw"}, {"ro", "nosuid"}),
        (["rbind", "ro"], {"ro"}, {"rw"}),
        (["bind", "ro", "nosuid", "nodev", "noexec"], {"ro", "nosuid", "nodev", "noexec"}, {"rw"}),
        (["rbind", "noatime"], {"noatime"}, {"relatime"}),
        (["bind", "strictatime"], set(), {"relatime", "noatime"}),
        (["rbind", "rro", "rnosuid"], {"ro", "nosuid"}, {"rw"}),
        (["bind", "nosymfollow"], {"nosymfollow"}, set()),
    ],
)
def test_bind_options(
    box: containers.Box, tmp_path: pathlib.Path, words: list[str], there: set[str], absent: set[str]
) -> None:
    (tmp_path / "source").mkdir()
    config = shell("")
    config["mounts"].append(bind(tmp_path / "source", "/data", *words))
    found = attributes(box, config, "/data")
    assert there <= found and not absent & found, found


@pytest.mark.parametrize("words", [["rbind", "ro"], ["rbind", "rro"]])
def test_read_only_binds_are_so_all_the_way_down(
    box: containers.Box, own_mounts: pathlib.Path, words: list[str]
) -> None:
    """A file system mounted below the source is covered as well (mount_setattr(2), AT_RECURSIVE)."""
    config = shell("touch /data/inner/x 2>/dev/null && echo written; true")
    config["mounts"].append(bind(own_mounts, "/data", *words))
    assert output(box, config) == ""


def test_read_write_binds_bring_what_is_mounted_below(box: containers.Box, own_mounts: pathlib.Path) -> None:
    config = shell("touch /data/inner/x && echo written")
    config["mounts"].append(bind(own_mounts, "/data", "rbind", "rw"))
    assert output(box, config) == "written\n"


@pytest.fixture
def own_mounts(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A shared tmpfs of the host with another one below it; gone afterwards."""
    outer = tmp_path / "outer"
    outer.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(outer)], check=True)
    subprocess.run(["mount", "--make-shared", str(outer)], check=True)
    (outer / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(outer / "inner")], check=True)
    yield outer
    subprocess.run(["umount", "-R", str(outer)], check=True)


@pytest.mark.parametrize(("word", "arrives"), [("rshared", True), ("rslave", False), ("rprivate", False), ("", False)])
def test_root_14_a_mount_reaches_the_host_only_if_it_was_asked_for(
    box: containers.Box, own_mounts: pathlib.Path, word: str, arrives: bool
) -> None:
    """ROOT-14: what a container with CAP_SYS_ADMIN mounts below a volume."""
    everything = list(host_facts.facts().capabilities)
    sets = dict.fromkeys(("bounding", "effective", "permitted"), everything)
    config = shell("mkdir /data/made && mount -t tmpfs tmpfs /data/made", capabilities=sets)
    config["annotations"] = {}
    config["mounts"].append(bind(own_mounts, "/data", "rbind", *filter(None, [word])))
    output(box, config)
    mounted = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    assert (str(own_mounts / "made") in mounted) is arrives


@pytest.mark.parametrize(("word", "mark"), [("shared", "shared:"), ("rprivate", "-"), ("unbindable", "unbindable")])
def test_propagation_of_the_root(box: containers.Box, word: str, mark: str) -> None:
    config = shell("")
    config["linux"]["rootfsPropagation"] = word
    assert any(found.startswith(mark) for found in attributes(box, config, "/"))


def test_default_devices_are_new_and_usable(box: containers.Box) -> None:
    script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a %u' /dev/$d; done; cat </dev/null"
    found = output(box, shell(script)).splitlines()
    assert found == [
        "/dev/null 1:3 666 0",
        "/dev/zero 1:5 666 0",
        "/dev/full 1:7 666 0",
        "/dev/random 1:8 666 0",
        "/dev/urandom 1:9 666 0",
        "/dev/tty 5:0 666 0",
    ]


@pytest.mark.parametrize("path", ["/dev/net/tun", "/opt/nodes/tun"])
def test_devices_of_the_specification(box: containers.Box, path: str) -> None:
    config = shell(f"stat -c '%F %t:%T %a %u:%g' {path}")
    node = {"path": path, "type": "c", "major": 10, "minor": 200, "fileMode": 0o640, "uid": 7, "gid": 8}
    config["linux"]["devices"] = [node]
    assert output(box, config) == "character special file a:c8 640 7:8\n"


def test_root_02_an_images_own_dev(box: containers.Box) -> None:
    """No tmpfs on /dev: the nodes are made in the image's directory, and masks need none of them (ROOT-07)."""
    config = shell("test -c /dev/null && stat -c %t:%T /proc/keys && cat /proc/keys")
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    assert output(box, config) == "1:3\n"


def test_root_07_a_dev_of_the_hosts(box: containers.Box) -> None:
    """ROOT-07, CVE-2025-31133: with /dev bound from elsewhere and no null in it, the masks are ours all the same."""
    empty = pathlib.Path(box.lower).parent / "empty"
    empty.mkdir()
    config = shell("cat /proc/keys; ls /dev")
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    config["mounts"].append(bind(empty, "/dev", "rbind"))
    assert output(box, config) == ""


def test_run_03_masks_and_read_only_paths_may_be_left_out(box: containers.Box) -> None:
    """The counterpart of RUN-03: what the masks hide is there without them."""
    config = shell("cat /proc/keys /proc/interrupts")
    for name in ("maskedPaths", "readonlyPaths"):
        del config["linux"][name]
    assert output(box, config) != ""


def test_a_mask_below_a_read_only_path(box: containers.Box) -> None:
    config = shell("ls /proc/sys/kernel; ls -d /proc/sys/vm; echo 1 2>/dev/null >/proc/sys/vm/swappiness; true")
    config["linux"]["maskedPaths"].append("/proc/sys/kernel")
    specification.validate(config)
    code, out, _ = box.run(config)
    assert (code, out) == (0, "/proc/sys/vm\n")


def test_run_24_standard_input_is_not_the_hosts_null(box: containers.Box) -> None:
    """RUN-24: root inside may change the mode of what it was given, and that is its own."""
    before = os.stat("/dev/null")
    assert output(box, shell("chmod 600 /proc/self/fd/0; stat -Lc '%a %t:%T' /proc/self/fd/0")) == "600 1:3\n"
    after = os.stat("/dev/null")
    assert (before.st_mode, before.st_uid, before.st_ctime_ns) == (after.st_mode, after.st_uid, after.st_ctime_ns)


def test_a_working_directory_that_is_missing_is_made(box: containers.Box) -> None:
    assert output(box, shell("pwd; stat -c '%a %u' .", cwd="/made/for/me")) == "/made/for/me\n755 0\n"


def test_a_user_starts_in_a_directory_that_is_roots(box: containers.Box) -> None:
    os.chmod(f"{box.lower}/root", 0o700)
    user = {"uid": 1000, "gid": 1000}
    assert output(box, shell("readlink /proc/self/cwd", cwd="/root", user=user)) == "/root\n"


def test_host_network_and_names(box: containers.Box) -> None:
    """sysfs in a network namespace that is not ours, and the cgroup tree of the host: both can be mounted."""
    config = shell(
        "readlink /proc/self/ns/net; readlink /proc/self/ns/uts; ls /sys/class/net >/dev/null; ls /sys/fs/cgroup"
    )
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "pid", "ipc")]
    del config["linux"]["sysctl"], config["hostname"]
    lines = output(box, config).splitlines()
    assert lines[:2] == [os.readlink("/proc/self/ns/net"), os.readlink("/proc/self/ns/uts")]
    assert "cgroup.procs" in lines


def test_joining_by_path(box: containers.Box) -> None:
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup", "time": "time", "pid": "pid"}
    first = containers.Box(pathlib.Path(box.lower).parent, pathlib.Path(box.lower))
    try:
        pid = first.start(shell("sleep 100")).pid
        script = "; ".join(f"readlink /proc/self/ns/{name}" for name in kinds.values())
        config = shell(script)
        del config["linux"]["sysctl"], config["hostname"]
        config["linux"]["namespaces"] = [
            {"type": "mount"},
            *({"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in kinds.items()),
        ]
        expected = [os.readlink(f"/proc/{pid}/ns/{name}") for name in kinds.values()]
        assert output(box, config).splitlines() == expected
    finally:
        first.destroy()


def test_a_namespace_that_has_ended_names_the_property(box: containers.Box) -> None:
    config = shell("true")
    config["linux"]["namespaces"][2] = {"type": "network", "path": "/proc/0/ns/net"}
    del config["linux"]["sysctl"]
    with pytest.raises(StepFailed, match="asked for by /linux/namespaces/2; usually the container"):
        box.run(config)


def test_a_terminal(box: containers.Box) -> None:
    config = shell(
        "tty; stat -c '%t:%T %u' /dev/console; cat /proc/self/stat | cut -d' ' -f7; stty size",
        terminal=True,
        consoleSize={"height": 33, "width": 101},
        user={"uid": 1000, "gid": 1000},
    )
    specification.validate(config)
    code, out, _ = box.run(config)
    assert code == 0
    assert out.split("\r\n")[:4] == ["/dev/pts/0", "88:0 1000", str(136 << 8), "33 101"]


@pytest.mark.parametrize("layers", [1, 5, 40])
def test_overlay_as_an_old_kernel_takes_it(box: containers.Box, tmp_path: pathlib.Path, layers: int) -> None:
    """Before Linux 6.5: one string of layers, and beyond 255 bytes a mount namespace that lasts for a few steps; the
    caller's namespace and working directory are the same afterwards."""
    now = host_facts.facts()
    old = Host((5, 15), now.arch, now.capabilities, now.namespaces, now.hard_limits, now.cgroup_mount, False)
    made = [tmp_path / f"layer{number}" for number in range(layers)]
    for number, layer in enumerate(made):
        layer.mkdir()
        (layer / f"f{number}").touch()
    lower = (*map(str, made), box.lower)
    overlay = rootfs.Overlay(lower, box.bundle.upper, box.bundle.work, mount_point=box.bundle.rootfs)
    before = pathlib.Path("/proc/self/mountinfo").read_text(), os.readlink("/proc/self/ns/mnt"), os.getcwd()
    mounted = start.Mounted(*_mount(overlay, old))
    assert before == (pathlib.Path("/proc/self/mountinfo").read_text(), os.readlink("/proc/self/ns/mnt"), os.getcwd())
    out = output(box, shell("ls / | grep -c ^f; touch /x"), mounted=mounted, rootfs=None)
    assert out == f"{layers}\n"
    assert os.path.exists(f"{box.bundle.upper}/x")


def _mount(overlay: rootfs.Overlay, host: Host) -> Any:
    plan = rootfs.compile(overlay, host)
    made = execute.run(flat.encode(plan), "host")
    fd = made.pop("rootfs")
    for other in made.values():
        os.close(other)
    return fd, plan, host
