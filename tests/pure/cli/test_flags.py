# SPDX-License-Identifier: Apache-2.0
"""run's and create's flags as RunOptions: Docker's spellings, the refusals by name, commands from everyday use."""

from __future__ import annotations

import shlex

import pytest

from minirt.cli import container_flags, parse
from minirt.cli.verbs import run
from minirt.engine.options import RunOptions
from minirt.errors import InvalidValue, MinirtError


def options(line: str) -> RunOptions:
    return container_flags.options(run.COMMAND, parse.parse(run.COMMAND, shlex.split(line)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nginx", {"image": "nginx", "command": []}),
        ("--rm -it debian:12 /bin/bash", {"image": "debian:12", "command": ["/bin/bash"], "auto_remove": True,
                                          "interactive": True, "tty": True}),
        ("--name web -d nginx:1.27", {"name": "web", "image": "nginx:1.27"}),
        ("--rm -v /src:/app:ro -w /app node:16 npm test", {"volumes": ["/src:/app:ro"], "workdir": "/app",
                                                           "command": ["npm", "test"]}),
        ("-e A=1 --env B --env-file .env nginx", {"env": ["A=1", "B"], "env_file": [".env"]}),
        ("-u 1000:1000 -h box --entrypoint '' x y", {"user": "1000:1000", "hostname": "box", "entrypoint": "",
                                                     "image": "x", "command": ["y"]}),
        ("x", {"entrypoint": None}),
        ("--net none x", {"network": ["none"]}),
        ("--network a --net b --network name=c,alias=d x", {"network": ["b", "a", "name=c,alias=d"]}),
        ("-d -p 8080:80 -P --expose 90 nginx", {"publish": ["8080:80"], "publish_all": True, "expose": ["90"]}),
        ("--ip 10.0.0.2 --ip6 fd00::2 --mac-address 02:00:00:00:00:01 --network-alias w --net-alias v x",
         {"ip": "10.0.0.2", "ip6": "fd00::2", "mac_address": "02:00:00:00:00:01", "network_alias": ["v", "w"]}),
        ("--dns 1.1.1.1 --dns-search example.org --dns-option ndots:2 --dns-opt rotate x",
         {"dns": ["1.1.1.1"], "dns_search": ["example.org"], "dns_option": ["rotate", "ndots:2"]}),
        ("--cap-drop ALL --cap-add=CHOWN --security-opt no-new-privileges x",
         {"cap_drop": ["ALL"], "cap_add": ["CHOWN"], "security_opt": ["no-new-privileges"]}),
        ("--rootfs /srv/root:O sh -c 'echo a'", {"rootfs": "/srv/root:O", "image": "",
                                                 "command": ["sh", "-c", "echo a"]}),
        ("--stop-timeout 5 --stop-signal INT --ulimit nofile=1:2 --sysctl a.b=c --tmpfs /run:size=1m --shm-size 1g x",
         {"stop_timeout": 5, "stop_signal": "INT", "ulimit": ["nofile=1:2"], "sysctl": ["a.b=c"],
          "tmpfs": ["/run:size=1m"], "shm_size": "1g"}),
        ("--restart no x", {"image": "x", "restart": "no"}),
        ("--restart=on-failure:3 x", {"restart": "on-failure:3"}),
        ("--pull missing -q x", {"image": "x"}),
        ("--pull=always x", {"image": "x"}),
        ("--pull never --platform linux x", {"image": "x"}),
    ],
)  # fmt: skip
def test_options(line: str, expected: dict[str, object]) -> None:
    found = options(line)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("--link db nginx", "--link"),
        ("--memory-swappiness 0 nginx", "--memory-swappiness"),
        ("--oom-kill-disable nginx", "--oom-kill-disable"),
        ("--cpu-rt-runtime=1 nginx", "--cpu-rt-runtime"),
        ("--mount type=bind,src=/a,dst=/b nginx", "--mount"),
        ("--gpus all nginx", "--gpus"),
        ("--pull sometimes nginx", "invalid pull option: 'sometimes'"),
        ("--platform linux/s390x nginx", "--platform"),
    ],
)
def test_refused_by_name(line: str, flag: str) -> None:
    """What minirt cannot keep is never ignored."""
    with pytest.raises(InvalidValue) as caught:
        options(line)
    assert caught.value.message.startswith(flag)


def test_an_image_is_needed() -> None:
    with pytest.raises(MinirtError) as caught:
        options("--rm")
    assert caught.value.message == "'minirt run' requires at least 1 argument"
    assert caught.value.exit_code == 1
