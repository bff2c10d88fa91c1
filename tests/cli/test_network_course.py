# SPDX-License-Identifier: Apache-2.0
"""What courses about docker have their students type about ports and networks, with minirt under the name of docker."""

from __future__ import annotations

import shlex
import subprocess
import urllib.request
from pathlib import Path

import pytest

import runner
from runner import Minirt, eventually

PAGE = "<h1>Welcome to nginx!</h1>"
LESSONS = [
    """
    docker run -d --name web-server -p 8080:80 nginx:alpine
    curl -sf http://localhost:8080
    docker ps
    docker stop web-server
    docker ps -a
    docker start web-server
    curl -sf --retry 5 --retry-connrefused http://localhost:8080
    docker exec web-server ls /www
    docker stop web-server
    docker rm web-server
    """,
    """
    for i in 1 2 3; do docker run -d -p "808${i}:80" --name "nginx-${i}" nginx; done
    docker ps
    for i in 1 2 3; do curl -sf http://localhost:808${i}; done
    for i in 1 2 3; do docker stop "nginx-${i}" && docker rm "nginx-${i}"; done
    """,
    """
    docker run -d --name web -p 8080:80 nginx:1.27
    docker ps
    docker logs web
    curl -sf http://127.0.0.1:8080/
    docker rm -f $(docker ps -aq --filter name=web)
    """,
    """
    docker run -d -p 80 --name any nginx
    curl -sf http://$(docker port any 80 | head -1)/
    docker run -d -p 127.0.0.1:8080:80 --name local nginx
    curl -sf http://127.0.0.1:8080/
    docker port local
    docker run -d -P --name all nginx
    curl -sf http://$(docker port all 80/tcp | head -1)/
    docker rm -f any local all
    """,
    """
    docker network create mynet
    docker run -d --network mynet --name web nginx
    docker run --rm --network mynet nginx:alpine wget -qO- http://web/
    docker network ls
    docker network inspect mynet
    docker network rm mynet || docker rm -f web
    docker network rm mynet
    """,
]


@pytest.fixture
def course(networked: Minirt, tmp_path: Path) -> Minirt:
    """The images of the lessons: a web server that says what nginx says."""
    root = tmp_path / "root"
    for folder in ("bin", "www", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for applet in ("sh", "ls", "httpd", "wget"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "www/index.html").write_text(PAGE)
    subprocess.run(["tar", "-C", root, "-cf", tmp_path / "root.tar", "."], check=True)
    command = 'CMD ["httpd", "-f", "-h", "/www"]'
    networked.ok("import", "-c", command, "-c", "EXPOSE 80", "-c", "STOPSIGNAL KILL", tmp_path / "root.tar", "nginx")
    for tag in ("alpine", "1.27"):
        networked.ok("tag", "nginx", f"nginx:{tag}")
    return networked


@pytest.mark.parametrize("lesson", LESSONS, ids=["one", "several", "logs", "ports", "networks"])
def test_lesson(course: Minirt, lesson: str) -> None:
    shell = f'docker() {{ {shlex.join(runner.program())} "$@"; }}\nset -e\n{lesson}'
    done = subprocess.run(
        ["sh", "-c", shell], env=course.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert PAGE in done.stdout
    assert course.ok("ps", "-aq") == ""


def test_published_at_once(course: Minirt) -> None:
    """The server answers on the host as soon as it listens: nothing else has to be waited for."""
    course.ok("run", "-d", "--name", "web", "-p", "8080:80", "nginx")

    def answered() -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5) as answer:
                return bool(answer.read().decode() == PAGE)
        except OSError:
            return False

    assert eventually(answered)
