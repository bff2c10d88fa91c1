# SPDX-License-Identifier: Apache-2.0
"""What `commit -c` and `import -c` make of a configuration: Docker's meaning of each instruction, and every misuse."""

from __future__ import annotations

from typing import Any

import pytest

from minirt.errors import InvalidValue
from minirt.model.instructions import apply
from minirt.model.words import words

BASE: dict[str, Any] = {"Env": ["PATH=/bin", "HOME=/x"], "Cmd": ["old"], "Entrypoint": ["entry"], "WorkingDir": "/srv"}


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ('CMD ["a", "b c"]', "Cmd", ["a", "b c"]),
        ("CMD a b", "Cmd", ["/bin/sh", "-c", "a b"]),
        ("cmd []", "Cmd", []),
        ("CMD [not json]", "Cmd", ["/bin/sh", "-c", "[not json]"]),
        ('ENTRYPOINT ["x"]', "Entrypoint", ["x"]),
        ("ENTRYPOINT x $HOME", "Entrypoint", ["/bin/sh", "-c", "x $HOME"]),
        ("ENV A=b", "Env", ["PATH=/bin", "HOME=/x", "A=b"]),
        ("ENV HOME=/y A=\"b c\" D='$HOME'", "Env", ["PATH=/bin", "HOME=/y", "A=b c", "D=$HOME"]),
        ("ENV A old form", "Env", ["PATH=/bin", "HOME=/x", "A=old form"]),
        ("ENV P=$PATH:/sbin E=${NO:-e}${HOME:+h}", "Env", ["PATH=/bin", "HOME=/x", "P=/bin:/sbin", "E=eh"]),
        ("ENV A=b\\ c D=\\$HOME", "Env", ["PATH=/bin", "HOME=/x", "A=b c", "D=$HOME"]),
        ("ENV A=b \\\n  C=d\n# no\n\n", "Env", ["PATH=/bin", "HOME=/x", "A=b", "C=d"]),
        ("EXPOSE 80 53/udp 8000-8002/tcp", "ExposedPorts",
         {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}),
        ("LABEL a=1 'b c'=\"d e\"", "Labels", {"a": "1", "b c": "d e"}),
        ("LABEL a b c", "Labels", {"a": "b c"}),
        ("USER 1000:1000", "User", "1000:1000"),
        ("WORKDIR sub/../dir", "WorkingDir", "/srv/dir"),
        ("WORKDIR /a//b/", "WorkingDir", "/a/b"),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}),
        ('VOLUME ["/a b"]', "Volumes", {"/a b": {}}),
        ("STOPSIGNAL SIGUSR1", "StopSignal", "SIGUSR1"),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"]),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        ("HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x", "Healthcheck",
         {"Interval": 90 * 10**9, "Retries": 3, "Test": ["CMD-SHELL", "curl -f x"]}),
        ('HEALTHCHECK --timeout=500ms CMD ["a", "b"]', "Healthcheck",
         {"Timeout": 5 * 10**8, "Test": ["CMD", "a", "b"]}),
    ],
)  # fmt: skip
def test_instruction(change: str, name: str, value: object) -> None:
    before = {key: list(there) if isinstance(there, list) else there for key, there in BASE.items()}
    assert apply(BASE, [change])[name] == value
    assert before == BASE, "what was given is not changed"


def test_entry_point_takes_the_old_command_away() -> None:
    assert "Cmd" not in apply(BASE, ['ENTRYPOINT ["x"]'])
    assert apply(BASE, ["CMD y", 'ENTRYPOINT ["x"]'])["Cmd"] == ["/bin/sh", "-c", "y"]
    assert apply(BASE, ["WORKDIR /"])["Cmd"] == ["old"]


def test_a_shell_of_the_images_own() -> None:
    assert apply({"Shell": ["/bin/bash", "-ec"]}, ["CMD a"])["Cmd"] == ["/bin/bash", "-ec", "a"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("RUN x", "'RUN' is not a valid change command"),
        ("FROM x", "'FROM' is not"),
        ("COPY a b", "'COPY' is not"),
        ("\x1b[31m", "not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV =x", "names can not be blank"),
        ("ENV $NONE x", "names can not be blank"),
        ("ENV A=b C", "cannot find = in 'C'"),
        ("ENV A='b", "looking for matching '"),
        ("ENV A=${", "missing '}'"),
        ("ENV A=${HOME%x}", "unsupported modifier"),
        ("ENV A=" + "${B:-" * 30 + "}" * 30, "nested too deeply"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE 9-8", "invalid containerPort"),
        ("EXPOSE 80/icmp", "invalid containerPort"),
        ("EXPOSE -1", "invalid containerPort"),
        ("VOLUME [\"\"]", "can not be an empty string"),
        ("STOPSIGNAL SIGNOT", "invalid signal: SIGNOT"),
        ("USER $NOBODY", "is empty"),
        ("ONBUILD ONBUILD RUN x", "ONBUILD isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed"),
        ("HEALTHCHECK x", "unknown type 'X'"),
        ("HEALTHCHECK CMD", "unknown type"),
        ("HEALTHCHECK --interval=1 CMD x", "invalid duration"),
        ("HEALTHCHECK --interval=1us CMD x", "invalid duration"),
        ("HEALTHCHECK --retries=-1 CMD x", "unknown flag"),
        ("HEALTHCHECK --no=1 CMD x", "unknown flag"),
        ("LABEL a=\ud800", "not UTF-8"),
        ("LABEL a=\0", "holds a NUL"),
    ],
)  # fmt: skip
def test_misuse(change: str, says: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        apply(BASE, [change])
    assert says in str(caught.value)


def test_words() -> None:
    assert words("""a "b c"d '' $X e\\f""", {"X": ""}) == ["a", "b cd", "ef"]
