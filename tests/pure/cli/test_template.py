# SPDX-License-Identifier: Apache-2.0
"""--format: templates that people write for Docker, what Go prints for them, and what is refused."""

from __future__ import annotations

import pytest

from minirt.cli.evaluate import Record, render
from minirt.errors import InvalidValue

DATA = {
    "Id": "abc",
    "State": {"Status": "running", "Pid": 7, "Paused": False, "Error": None},
    "Config": {
        "Cmd": ["nginx", "-g", "daemon off;"],
        "Labels": {"com.example/x": "1", "a": "b"},
        "Env": [],
    },
    "Mounts": [
        {"Source": "/a", "Destination": "/b", "RW": True},
        {"Source": "/c", "Destination": "/d", "RW": False},
    ],
    "Networks": {"bridge": {"IPAddress": "172.17.0.2"}, "web": {"IPAddress": "10.0.0.3"}},
    "Size": 1.5,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Id}}", "abc"),
        ("{{.State.Status}} {{.State.Pid}}", "running 7"),
        ("{{ .State.Paused }}", "false"),
        ("{{.State.Error}}", "<no value>"),
        ("{{.Config.Cmd}}", "[nginx -g daemon off;]"),
        ("{{.Config.Env}}", "[]"),
        ("{{.Config.Labels}}", "map[a:b com.example/x:1]"),
        ("{{json .State}}", '{"Status":"running","Pid":7,"Paused":false,"Error":null}'),
        ("{{.State | json}}", '{"Status":"running","Pid":7,"Paused":false,"Error":null}'),
        ('{{index .Config.Labels "com.example/x"}}', "1"),
        ('{{index .Config.Labels "none"}}', "<no value>"),
        ("{{index .Config.Cmd 1}}", "-g"),
        ("{{(index .Mounts 0).Source}}", "/a"),
        ('{{(index .Networks "web").IPAddress}}', "10.0.0.3"),
        ('{{join .Config.Cmd ","}}', "nginx,-g,daemon off;"),
        ("{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}", "/a:/b /c:/d "),
        (
            "{{range $k, $v := .Networks}}{{$k}}={{$v.IPAddress}};{{end}}",
            "bridge=172.17.0.2;web=10.0.0.3;",
        ),
        ("{{range .Networks}}{{.IPAddress}} {{end}}", "172.17.0.2 10.0.0.3 "),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $m := .Mounts}}{{$i}}{{$.Id}}{{end}}", "0abc1abc"),
        ("{{if .State.Paused}}yes{{else if .Id}}no{{else}}never{{end}}", "no"),
        ('{{if eq .State.Status "exited" "running"}}up{{end}}', "up"),
        ("{{if and .Id (ne .State.Pid 0) (not .State.Paused)}}x{{end}}", "x"),
        ("{{with .State}}{{.Pid}}{{end}}", "7"),
        ("{{$s := .State}}{{$s.Status}}", "running"),
        ("{{len .Mounts}}", "2"),
        ("{{upper .Id}} {{title .Id}} {{truncate .Id 2}}|{{pad .Id 1 2}}|", "ABC Abc ab| abc  |"),
        ('{{split "a,b" ","}}', "[a b]"),
        ('{{printf "%-5s|%3d|%q|%%" .Id .State.Pid .Id}}', 'abc  |  7|"abc"|%'),
        ("{{println .Id}}", "abc\n"),
        ("a {{- .Id -}} b", "aabcb"),
        ("{{/* nothing */}}x", "x"),
        ('{{"a\\tb\\x41"}}{{`raw\\n`}}', "a\tbAraw\\n"),
        ('{{"}}"}}', "}}"),
        ("{{slice .Id 0 2}}", "ab"),
        ("{{.Size}} {{gt .State.Pid 3}}", "1.5 true"),
        ("{{range 2}}{{.}}{{end}}", "01"),
        ("no template", "no template"),
    ],
)
def test_rendered(template: str, text: str) -> None:
    assert render(template, DATA) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{.Id", "unclosed action"),
        ("{{", "unclosed action"),
        ("{{}}", "missing value for command"),
        ("{{.Id | }}", "missing value for command"),
        ("{{if .Id}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if .Id}}{{else}}{{else}}{{end}}", "expected {{end}}"),
        ("{{nosuch .Id}}", 'function "nosuch" not defined'),
        ("{{.Nothing}}", "map has no entry for key 'Nothing'"),
        ("{{.Id.More}}", "can't evaluate field More"),
        ("{{.State.Error.X}}", "nil pointer"),
        ("{{.Id .Id}}", "can't give argument to non-function"),
        ("{{index .Mounts 9}}", "error calling index"),
        ("{{join .Id}}{{join 3 4}}", "error calling join"),
        ("{{range .Id}}{{end}}", "range can't iterate"),
        ("{{(.Id}}", "unclosed left paren"),
        ("{{.Id)}}", "unexpected ')'"),
        ('{{"a}}', "unclosed action"),
        ("{{$x}}", "undefined variable"),
        ("{{$x = 1}}", "undefined variable"),
        ('{{template "x"}}', "is not supported"),
        ("{{..}}", "unexpected '.'"),
        ('{{printf "%99999999s" .Id}}', "error calling printf"),
        ("{{__import__}}", "not defined"),
        ("{{.__class__}}", "no entry"),
        ("{{1x}}", "bad number"),
        ('{{"\\z"}}', "invalid syntax"),
    ],
)
def test_refused(template: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        render(template, DATA)
    assert reason in caught.value.message
    assert caught.value.message.startswith(("failed to parse template: ", "template: "))


def test_methods_of_a_row() -> None:
    row = Record({"ID": "1", "Labels": "a=b"}, {"Label": {"a": "b"}.get})
    assert render('{{.Label "a"}}', row) == "b"
    assert render("{{json .}}", row) == '{"ID":"1","Labels":"a=b"}'
