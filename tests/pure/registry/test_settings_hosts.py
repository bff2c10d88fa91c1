# SPDX-License-Identifier: Apache-2.0
"""registries.conf, version 2: from a name to the servers that are asked, in their order; bad files are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minirt.errors import HostError, InvalidValue
from minirt.image.registry import files, hosts
from minirt.image.registry.settings import Settings
from minirt.model import reference

TOP = Path(files.__file__).parents[3]
DIGEST = "sha256:" + "0123456789abcdef" * 4


def settings(folder: Path, text: str, **drop_ins: str) -> Settings:
    """What a registries.conf of that text says, with drop-ins NAME.conf."""
    path = folder / "registries.conf"
    path.write_text(text)
    for name, content in drop_ins.items():
        (folder / "registries.conf.d").mkdir(exist_ok=True)
        (folder / "registries.conf.d" / f"{name}.conf").write_text(content)
    return Settings({"HOME": str(folder / "home"), "CONTAINERS_REGISTRIES_CONF": str(path)})


def asked(found: Settings, text: str, push: bool = False) -> list[str]:
    """HOST/PATH of each endpoint, "!" where it is insecure."""
    endpoints = found.endpoints(found.reference(text), push)
    assert [one.mirror for one in endpoints] == [True] * (len(endpoints) - 1) + [False]
    assert {one.scheme for one in endpoints} == {"https"}
    return [f"{one.host}/{one.path}{'!' if one.insecure else ''}" for one in endpoints]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", "registry-1.docker.io/library/nginx"),
        ("index.docker.io/a/b:c", "registry-1.docker.io/a/b"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        ("LOCALHOST:5000/x", "localhost:5000/x"),
        ("docker.io.evil.com/x", "docker.io.evil.com/x"),
    ],
)
def test_without_a_file(tmp_path: Path, text: str, expected: str) -> None:
    assert asked(settings(tmp_path, "# nothing\n"), text) == [expected]


MIRRORS = """
unqualified-search-registries = ["quay.io"]
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "one.example:5000/hub/"
insecure = true
[[registry.mirror]]
location = "two.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "three.example"
pull-from-mirror = "tag-only"
"""


def test_mirrors_come_first_and_the_registry_last(tmp_path: Path) -> None:
    """A short name stays Docker Hub's whatever unqualified-search-registries says."""
    found = settings(tmp_path, MIRRORS)
    one, hub = "one.example:5000/hub/library/nginx!", "registry-1.docker.io/library/nginx"
    assert asked(found, "nginx") == [one, "three.example/library/nginx", hub]
    assert asked(found, f"nginx@{DIGEST}") == [one, "two.example/library/nginx", hub]
    assert asked(found, "nginx", push=True) == [hub]
    assert asked(found, "quay.io/nginx") == ["quay.io/nginx"]


def test_mirror_by_digest_only(tmp_path: Path) -> None:
    text = '[[registry]]\nlocation = "a.b"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m.n"\n'
    assert asked(settings(tmp_path, text), "a.b/x") == ["a.b/x"]
    assert asked(settings(tmp_path, text), f"a.b/x@{DIGEST}") == ["m.n/x", "a.b/x"]


def test_longest_prefix_counts_and_ends_at_a_slash(tmp_path: Path) -> None:
    text = """
        [[registry]]
        prefix = "a.b"
        location = "short.example"
        [[registry]]
        prefix = "a.b/team/app"
        location = "long.example/other"
        insecure = true
    """
    found = settings(tmp_path, text)
    assert asked(found, "a.b/team/app") == ["long.example/other!"]
    assert asked(found, "a.b/team/app/x") == ["long.example/other/x!"]
    assert asked(found, "a.b/team/apple") == ["short.example/team/apple"]
    assert asked(found, "a.b.c/team/app") == ["a.b.c/team/app"]
    assert asked(found, "a.b:5000/team/app") == ["a.b:5000/team/app"]


def test_wildcard(tmp_path: Path) -> None:
    text = """
        [[registry]]
        prefix = "*.example.com"
        insecure = true
        [[registry]]
        prefix = "*.de.example.com"
        location = "central.example/de"
    """
    found = settings(tmp_path, text)
    assert asked(found, "a.example.com/x") == ["a.example.com/x!"]
    assert asked(found, "a.b.example.com:80/x") == ["a.b.example.com:80/x!"]
    assert asked(found, "b.de.example.com/x") == ["central.example/de/x"]
    assert asked(found, "example.com/x") == ["example.com/x"]
    assert asked(found, "a.example.com.evil.org/x") == ["a.example.com.evil.org/x"]
    assert asked(found, "evil.org/a.example.com/x") == ["evil.org/a.example.com/x"]


def test_blocked_is_refused_with_file_and_remedy(tmp_path: Path) -> None:
    found = settings(tmp_path, '[[registry]]\nlocation = "bad.example"\nblocked = true\n')
    assert asked(found, "good.example/x") == ["good.example/x"]
    with pytest.raises(HostError) as caught:
        asked(found, "BAD.example/x/y:1")
    with pytest.raises(HostError, match="blocked"):
        asked(settings(tmp_path, '[[registry]]\nlocation = "Bad.Example"\nblocked = true\n'), "bad.example/x/y:1")
    path = tmp_path / "registries.conf"
    assert caught.value.message == f'registry "bad.example" is blocked by "{path}"'
    assert f"remove blocked = true from {path}" in caught.value.remedy


def test_aliases(tmp_path: Path) -> None:
    """A short name only: whoever writes a registry means it."""
    text = '[aliases]\n"fedora" = "registry.fedoraproject.org/fedora"\n"a/b" = "quay.io/c"\n"hub" = "docker.io/x/y"\n'
    found = settings(tmp_path, text, more='[aliases]\n"fedora" = "other.example/f"\n"a/b" = ""\n')
    assert str(found.reference("fedora:39")) == "other.example/f:39"
    assert str(found.reference(f"fedora:39@{DIGEST}")) == f"other.example/f:39@{DIGEST}"
    assert str(found.reference("docker.io/fedora")) == "docker.io/library/fedora"
    assert str(found.reference("docker.io/library/fedora")) == "docker.io/library/fedora"
    assert str(found.reference("library/fedora")) == "docker.io/library/fedora"
    assert str(found.reference("a/b")) == "docker.io/a/b"  # a drop-in removed it
    assert str(found.reference("hub")) == "docker.io/x/y"
    with pytest.raises(InvalidValue, match="invalid reference format"):
        found.reference("fedora:")


def test_drop_ins_replace_what_they_name(tmp_path: Path) -> None:
    text = '[[registry]]\nlocation = "a.b"\ninsecure = true\n[[registry]]\nlocation = "c.d"\ninsecure = true\n'
    found = settings(
        tmp_path,
        text,
        **{
            "20-later": '[[registry]]\nlocation = "a.b"\n',
            "10-first": '[[registry]]\nlocation = "a.b"\nblocked = true\n',
        },
    )
    (tmp_path / "registries.conf.d" / "30-off.conf.bak").write_text("not TOML at all")
    assert asked(found, "a.b/x") == ["a.b/x"]
    assert asked(found, "c.d/x") == ["c.d/x!"]


def test_own_file_comes_before_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One main file, the drop-ins of both: containers-registries.conf(5)."""
    system, own = tmp_path / "etc.conf", tmp_path / ".config/containers/registries.conf"
    monkeypatch.setattr(hosts, "SYSTEM", str(system))
    own.parent.mkdir(parents=True)
    for path in (system, own):
        Path(f"{path}.d").mkdir()
        path.write_text(f'[aliases]\n"{path.stem}" = "main.example/x"\n')
        (Path(f"{path}.d") / "a.conf").write_text(f'[aliases]\n"{path.stem}-d" = "drop.example/x"\n')
    assert set(hosts.load({"HOME": str(tmp_path)}).aliases) == {"registries", "registries-d", "etc-d"}
    own.unlink()
    assert set(hosts.load({"HOME": str(tmp_path)}).aliases) == {"etc", "registries-d", "etc-d"}


BAD = {
    "[[registry": "malformed",
    "x = 1\nx = 2": "malformed",
    "a = " + "[" * 5000: "malformed",
    "\x00": "malformed",
    "[registries.search]\nregistries = ['docker.io']": "version 1 of the format",
    "unqualified-search-registries = 'docker.io'": "unqualified-search-registries is not a list",
    "unqualified-search-registries = [1]": "is not a list of strings",
    "credential-helpers = [true]": "credential-helpers is not a list of strings",
    "registry = 1": "registry is not a list",
    "registry = [1]": "registry is not a list of tables",
    "[[registry]]\nprefix = 'a.b'": "has no location",
    "[[registry]]\nlocation = 1": "location is not a string",
    "[[registry]]\nlocation = 'https://a.b'": "has a scheme",
    "[[registry]]\nlocation = 'a.b'\nprefix = 'a.*.b'": "is a wildcard",
    "[[registry]]\nlocation = 'a.b'\nprefix = '*a.b'": "is a wildcard",
    "[[registry]]\nlocation = 'a.b'\nprefix = 'http://a.b'": "has no scheme",
    "[[registry]]\nlocation = 'a b'": "printable",
    "[[registry]]\nlocation = 'a.b'\ninsecure = 'true'": "insecure is neither true nor false",
    "[[registry]]\nlocation = 'a.b'\nblocked = 1": "blocked is neither true nor false",
    "[[registry]]\nlocation = 'a.b'\nmirror = {}": "mirror is not a list",
    "[[registry]]\nlocation = 'a.b'\nmirror = ['x']": "mirror is not a list of tables",
    "[[registry]]\nlocation = 'a.b'\nmirror = [{insecure = true}]": "a mirror has no location",
    "[[registry]]\nlocation = 'a.b'\nmirror = [{location = 'm', pull-from-mirror = 'often'}]": "pull-from-mirror",
    "[[registry]]\nlocation = 'a.b'\nmirror-by-digest-only = true\n[[registry.mirror]]\n"
    "location = 'm'\npull-from-mirror = 'all'": "exclude each other",
    "aliases = 1": "aliases is not a table",
    "[aliases]\nx = 1": "the alias 'x' is not a string",
    '[aliases]\n"a" = "b/c"\n"a" = "d/e"': "malformed",
    '[aliases]\n"a" = "b"c"': "malformed",
}


@pytest.mark.parametrize(("text", "fault"), BAD.items(), ids=range(len(BAD)))
def test_bad_file_is_named(tmp_path: Path, text: str, fault: str) -> None:
    found = settings(tmp_path, text)
    with pytest.raises(InvalidValue) as caught:
        asked(found, "nginx")
    assert caught.value.message.startswith(f'malformed registries.conf "{tmp_path}/registries.conf": ')
    assert fault in caught.value.message
    assert caught.value.remedy
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("value", ["not a name!", "quay.io/x:tag", f"quay.io/x@{DIGEST}"])
def test_bad_alias_is_told_when_it_is_used(tmp_path: Path, value: str) -> None:
    found = settings(tmp_path, f'[aliases]\n"x" = "{value}"\n')
    assert asked(found, "y") == ["registry-1.docker.io/library/y"]
    with pytest.raises(InvalidValue, match=r'malformed registries\.conf ".*": ') as caught:
        found.reference("x")
    assert str(tmp_path) in caught.value.message


def test_file_that_cannot_be_one(tmp_path: Path) -> None:
    """Not there although chosen, not UTF-8, a fifo, a directory, too long: each says which file."""
    path = tmp_path / "conf"
    found = {"CONTAINERS_REGISTRIES_CONF": str(path), "HOME": str(tmp_path)}
    with pytest.raises(HostError, match=f'"{path}": no such file'):
        hosts.load(found)
    path.write_bytes(b"# \xff")
    with pytest.raises(InvalidValue, match="not UTF-8 at byte 2"):
        hosts.load(found)
    path.write_bytes(b"#" * (files.LIMIT + 1))
    with pytest.raises(InvalidValue, match="larger than the limit"):
        hosts.load(found)
    path.unlink()
    path.mkdir()
    with pytest.raises(InvalidValue, match="not a regular file"):
        hosts.load(found)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(InvalidValue, match="not a regular file"):
        hosts.load(found)


def test_simple_files_are_read_as_tomllib_reads_them(tmp_path: Path) -> None:
    """The reading by hand of files of aliases: the same, or left to tomllib."""
    import tomllib

    texts = [
        "", "# c\n\n", '[aliases]\n"a" = "b"\n', '[aliases]\n  "a"\t= "b"  \n# c\n"c"="d"',
        '[aliases]\r\n"a" = "b"\r\n',
        '[aliases]\n"a" = "b" # c\n', '[aliases]\na = "b"\n', '[aliases]\n"a" = "\\u0062"\n',
        "[aliases]\n'a' = \"b\"\n",
        '"a" = "b"\n', '[other]\n"a" = "b"\n', '[aliases]\n"a" = "b"\n[other]\n"c" = "d"\n',
    ]  # fmt: skip
    for text in texts:
        expected = tomllib.loads(text)
        found = hosts._parse(text)
        assert found.get("aliases", {}) == expected.get("aliases", {}), text


def test_import_and_plain_names_cost_nothing(tmp_path: Path) -> None:
    """No tomllib, ssl, re, subprocess before somebody needs them; nothing is opened by the import itself."""
    conf = tmp_path / "conf"
    conf.write_text('# only\n[aliases]\n"fedora" = "x.y/z"\n')
    code = f"""if True:
        import sys
        sys.path[:0] = [{str(TOP)!r}]
        opened = []
        sys.addaudithook(lambda event, words: event == "open" and opened.append(str(words[0])))
        from minirt.image.registry.settings import Settings
        from minirt.model import reference
        made = Settings({{"HOME": "/nonexistent", "CONTAINERS_REGISTRIES_CONF": {str(conf)!r}}})
        assert not [path for path in opened if not path.endswith((".py", ".pyc"))], opened
        made.endpoints(made.reference("fedora"))
        made.credentials("docker.io")
        assert {str(conf)!r} in opened
        print(*sorted(sys.modules))
    """
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"tomllib", "ssl", "re", "subprocess", "json", "typing", "enum", "base64"} & set(done.stdout.split())


def test_reference_of_another_parse_is_the_same(tmp_path: Path) -> None:
    found = settings(tmp_path, "")
    for text in ("nginx", "a.b/c:d", f"x@{DIGEST}"):
        assert found.reference(text) == reference.parse(text)
