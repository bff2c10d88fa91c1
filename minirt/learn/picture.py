# SPDX-License-Identifier: Apache-2.0
"""The way of a packet, drawn in text: namespaces as boxes, interfaces as boxes in them, one line down through all.

    ├▶  a rule that matches this packet        │   one that does not        ├?  one that depends on more than is known

What a container or its user named is made visible before anything is measured, so that no name can draw a line of its
own. Pure; must not import cli.
"""

from __future__ import annotations

import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.learn.dissect import Entrance, Nic, Out, Picture
    from minirt.learn.rules import Passage
    from minirt.learn.wires import Way, Wire

STEM = 9  # the column of the line that the packet follows
WIDEST = 110  # columns of a line of text inside
MARKS = {True: "├▶ ", False: "│  ", None: "├? "}
MOST = 8  # neighbours, addresses, routes that are listed
GUARD = "which addresses this veth may use"
MEANINGS = {
    ("filter", "prerouting"): "before everything else",
    ("nat", "prerouting"): "published ports: new connections to addresses of this host",
    ("filter", "forward"): "what may pass from one network to another",
    ("filter", "input"): "what this host itself takes",
    ("nat", "postrouting"): "under which address it leaves",
}


def plain(text: str) -> str:
    r"""On one line, and with no control or bidirectional character: \x1b for ESC."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)


def width(text: str) -> int:
    """Columns on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def clip(text: str, limit: int = WIDEST) -> str:
    text = plain(text)
    return text if width(text) <= limit else text[: limit - 1] + "…"


class Sheet:
    """Lines that are drawn once the widest is known. Each is (kind, words): see `text`."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, tuple[str, ...]]] = []

    def open(self, title: str, note: str, arriving: bool = False) -> None:
        self.lines.append(("open", (clip(title, 60), clip(note, 60), "┼" if arriving else "─")))

    def close(self, leaving: bool = True) -> None:
        self.lines.append(("close", ("┼" if leaving else "─",)))

    def say(self, text: str) -> None:
        """A line inside, beside no stem."""
        self.lines.append(("say", (clip(text),)))

    def along(self, text: str = "", right: str = "", mark: str = "│  ") -> None:
        """A line inside, beside the stem."""
        self.lines.append(("along", (mark, clip(text, WIDEST - 16), right)))

    def between(self, text: str = "", mark: str = "│") -> None:
        """A line outside all boxes."""
        self.lines.append(("between", (mark, clip(text))))

    def box(self, title: str, note: str, inside: list[str], arriving: bool, leaving: bool) -> None:
        self.lines.append(("top", (clip(title, 60), clip(note, 40), "┴" if arriving else "─")))
        for text in inside:
            self.lines.append(("in", (clip(text, WIDEST - 4),)))
        self.lines.append(("bottom", ("┬" if leaving else "─",)))

    def text(self) -> str:
        inner = max([_needs(kind, words) for kind, words in self.lines], default=0)
        return "".join(_draw(kind, words, inner).rstrip() + "\n" for kind, words in self.lines)


def _needs(kind: str, words: tuple[str, ...]) -> int:
    """Columns that a line wants between the sides of an outer box."""
    if kind == "along":
        return STEM + width(words[0]) + width(words[1]) + (width(words[2]) + 2 if words[2] else 0)
    if kind in ("open", "top"):
        return STEM + width(words[0]) + width(words[1]) + 12
    return width(words[0]) + {"say": 3, "in": 8}.get(kind, 0) if kind in ("say", "in") else 0


def _draw(kind: str, words: tuple[str, ...], inner: int) -> str:
    if kind == "open":
        left = f"─ {words[0]} "
        if words[2] != "─":  # the stem comes in
            left += "─" * (STEM - 1 - width(left)) + words[2]
        right = f" {words[1]} ─" if words[1] else "─"
        return "┌" + left + "─" * (inner - width(left) - width(right)) + right + "┐"
    if kind == "close":
        return "└" + "─" * (STEM - 1) + words[0] + "─" * (inner - STEM) + "┘"
    if kind == "say":
        return "│  " + pad(words[0], inner - 2) + "│"
    if kind == "along":
        left = " " * (STEM - 1) + words[0] + words[1]
        return "│" + left + " " * (inner - width(left) - width(words[2]) - 1) + words[2] + " │"
    if kind == "between":
        return " " * STEM + words[0] + ("  " + words[1] if words[1] else "")
    if kind == "top":
        left = "┌" + "─" * (STEM - 4) + words[2] + f"─ {words[0]} "
        right = f" {words[1]} ─┐" if words[1] else "─┐"
        return "│  " + left + "─" * (inner - 4 - width(left) - width(right)) + right + "  │"
    if kind == "in":
        return "│  │ " + pad(words[0], inner - 8) + " │  │"
    return "│  └" + "─" * (STEM - 4) + words[0] + "─" * (inner - STEM - 3) + "┘  │"


def draw(picture: Picture) -> str:
    """The whole board."""
    sheet = Sheet()
    if picture.mode == "host":
        return _on_host(picture, sheet)
    out = picture.out
    way = next((nic for nic in picture.nics if out is not None and nic.wire.name == out.interface), None)
    _container(sheet, picture, way)
    if way is None or out is None:
        return _nowhere(picture, sheet)
    _host(sheet, picture, way, out)
    text = sheet.text()
    for nic in picture.nics:
        if nic is not way:
            text += "\n" + _beside(nic)
    text += _answer(out)
    for entrance in picture.ports:
        text += "\n" + _entrance(entrance, way)
    if not picture.whole:
        text += f'\ntable "{picture.table}" is not whole: minirt network reload\n'
    return text


def _on_host(picture: Picture, sheet: Sheet) -> str:
    out = picture.out
    sheet.open("host", picture.host)
    sheet.say(f"{picture.name}, pid {picture.pid}, has no network of its own: it is in the host's namespace,")
    sheet.say("sees its interfaces, and its ports are the host's. No bridge, no rule of minirt is on its way.")
    if out is not None and out.uplink is not None and out.way is not None:
        _interface(sheet, out.uplink, [], arriving=False, leaving=True)
        sheet.close()
        sheet.between(_towards(out, out.way), "▼")
    else:
        sheet.say("The host itself has no way out." if out is not None else "")
        sheet.close(leaving=False)
    return sheet.text()


def _container(sheet: Sheet, picture: Picture, way: Nic | None) -> None:
    title = f"{picture.name} {picture.id[:12]}"
    sheet.open(title, picture.namespace)
    where = f"the network namespace of {picture.shares}" if picture.shares else "a network namespace of its own"
    sheet.say(f"pid {picture.pid} on the host, in {where}")
    for place, route in enumerate(picture.routes[:MOST]):
        sheet.say(f"{'route' if place == 0 else '':7}{route}")
    if len(picture.routes) > MOST:
        sheet.say(f"{'':7}… and {len(picture.routes) - MOST} more")
    for nic in picture.nics:
        if nic is not way:
            sheet.box(nic.wire.name, f"ifindex {nic.wire.index}", _about(nic.wire), False, False)
    if way is not None:
        sheet.box(way.wire.name, f"ifindex {way.wire.index}", _about(way.wire), False, True)
    sheet.close(leaving=way is not None)


def _about(wire: Wire) -> list[str]:
    found = list(wire.addresses[:MOST])
    if len(wire.addresses) > MOST:
        found.append(f"… and {len(wire.addresses) - MOST} more")
    state = "up" if wire.up else "DOWN"
    hardware = f"{wire.mac}   mtu {wire.mtu}   {state}" if wire.mac else f"mtu {wire.mtu}   {state}"
    return ["   ".join(found), hardware] if len(found) < 4 and found else [*found, hardware]


def _interface(sheet: Sheet, wire: Wire, more: list[str], arriving: bool = True, leaving: bool = True) -> None:
    sheet.box(wire.name, f"ifindex {wire.index}", [*_about(wire), *more], arriving, leaving)


def _nowhere(picture: Picture, sheet: Sheet) -> str:
    text = sheet.text()
    if not picture.nics:
        text += "\nno interface but lo: nothing gets in or out\n"
    elif picture.out is not None:
        reason = picture.out.inside.reason or "not by an interface that minirt made"
        text += f"\nno way to {picture.out.destination} from inside: {plain(reason)}\n"
    for nic in picture.nics:
        text += "\n" + _beside(nic)
    return text


def _host(sheet: Sheet, picture: Picture, nic: Nic, out: Out) -> None:
    end = nic.host
    assert end is not None
    if nic.bridge is None:
        sheet.between(
            f"macvlan: {nic.wire.name} is a second MAC address of {end.name}; the host's rules are not asked,"
        )
        sheet.between("and the host itself cannot be reached this way")
        sheet.open("host", picture.host, arriving=True)
        _interface(sheet, end, [])
        sheet.close()
        sheet.between(f"to {out.destination}, from {out.seen}", "▼")
        return
    sheet.between(f"a veth pair, {nic.wire.index} and {end.index}: what goes in at one end comes out at the other")
    sheet.open("host", picture.host, arriving=True)
    plug = f"port {end.port} of {nic.bridge.name}, {end.state}"
    _interface(sheet, end, [f"{plug}; the other end is {nic.wire.index} in {picture.namespace}"])
    _passages(sheet, f"table bridge {picture.table}", [one for one in out.passages if one.family == "bridge"])
    _interface(sheet, nic.bridge, _around(nic), leaving=True)
    before = [one for one in out.passages if one.hook == "prerouting" and one.family == "inet"]
    after = [one for one in out.passages if one.hook != "prerouting"]
    if out.kind == "bridged":
        _bridged(sheet, picture, out, before + after)
        return
    _passages(sheet, f"table inet {picture.table}", before)
    if out.kind == "local":
        sheet.along(f"route: {out.destination} is this host itself")
        _passages(sheet, "the same table, after the route is known", after)
        sheet.close(leaving=False)
        return
    _routed(sheet, out, after)


def _bridged(sheet: Sheet, picture: Picture, out: Out, passages: list[Passage]) -> None:
    """To a neighbour on the same bridge: nothing is routed."""
    if passages:
        _passages(sheet, f"br_netfilter is on: table inet {picture.table} sees bridged packets, too", passages)
    if out.uplink is None:
        sheet.along(f"nobody that minirt knows has {out.destination}: the bridge asks all its ports (ARP)")
        sheet.close(leaving=False)
        return
    if any(one.verdict != "accept" for one in out.passages):
        sheet.close(leaving=False)
        return
    _interface(sheet, out.uplink, [f"port {out.uplink.port} of the same bridge, {out.uplink.state}"])
    sheet.close()
    sheet.between(f"to {out.destination}, from {out.seen}", "▼")


def _around(nic: Nic) -> list[str]:
    found = [f'bridge of the network "{nic.network}"' + (", internal: no way out" if nic.internal else "")]
    if nic.names:
        found.append(f"names: {nic.names}")
    if nic.neighbours:
        more = f", and {len(nic.neighbours) - MOST} more" if len(nic.neighbours) > MOST else ""
        found.append("neighbours: " + ", ".join(nic.neighbours[:MOST]) + more)
    return found


def _passages(sheet: Sheet, title: str, passages: list[Passage]) -> None:
    if not passages:
        return
    sheet.along()
    sheet.along(title, f"{'packets':>9} {'bytes':>11}")
    for passage in passages:
        meaning = GUARD if passage.family == "bridge" else MEANINGS.get((passage.kind, passage.hook), "")
        hook = "" if passage.hook == passage.chain else f"{passage.hook}, "
        sheet.along(f"  {passage.chain} ({hook}{passage.kind}, priority {passage.priority}): {meaning}".rstrip(": "))
        for rule in passage.rules:
            counter = "" if rule.packets is None else f"{rule.packets:>9} {rule.bytes:>11}"
            depth = "    " if rule.chain == passage.chain else f"    {rule.chain}: "
            sheet.along(depth + rule.text, counter, MARKS[rule.matched])
        if passage.verdict != "accept":
            sheet.along("    dropped here" if passage.certain else "    dropped here, if nothing above matches")
    sheet.along()


def _routed(sheet: Sheet, out: Out, after: list[Passage]) -> None:
    """From the host's routing decision on."""
    dropped = any(one.verdict != "accept" for one in out.passages)
    if out.way is None or out.uplink is None:
        reason = out.way.reason if out.way is not None else ""
        sheet.along(f"route: no way to {out.destination} for what comes from here: {reason}")
        sheet.close(leaving=False)
        return
    sheet.along(f"route: {_towards(out, out.way)}")
    _passages(sheet, "the same table, after the route is known", after)
    for name, word in out.others.items():
        sheet.along(f"another firewall on this way: {name} {word}")
    if dropped:
        sheet.close(leaving=False)
        return
    if out.seen != out.source:
        sheet.along(f"masquerade: {out.source} becomes {out.seen}; conntrack remembers it for the answer")
    _interface(sheet, out.uplink, [])
    sheet.close()
    sheet.between(f"to {out.destination}, from {out.seen}", "▼")


def _towards(out: Out, way: Way) -> str:
    via = f" via {way.gateway}" if way.gateway else ""
    return f"{out.destination}{via} dev {way.interface}"


def _beside(nic: Nic) -> str:
    """An interface that the drawn packet does not take."""
    wire, end = nic.wire, nic.host
    text = f"{plain(wire.name)} (ifindex {wire.index}): {', '.join(wire.addresses[:MOST]) or 'no address'}\n"
    if end is None:
        return text + "  the other end is not in the host's namespace\n" if wire.elsewhere else text
    if nic.bridge is None:
        return text + f"  {wire.kind} on {plain(end.name)} (ifindex {end.index})\n"
    text += f"  veth pair: {wire.index} inside, {plain(end.name)} (ifindex {end.index}) on the host, port {end.port}"
    text += f" of {plain(nic.bridge.name)} (ifindex {nic.bridge.index}), {end.state}\n"
    return text + "".join(f"  {plain(line)}\n" for line in _around(nic))


def _rules(passages: list[Passage]) -> str:
    """The rules that match, one line each."""
    text = ""
    for passage in passages:
        for rule in passage.rules:
            if rule.matched is not False:
                mark = "▶" if rule.matched else "?"
                count = "" if rule.packets is None else f"   {rule.packets} packets, {rule.bytes} bytes"
                text += f"    {mark} {rule.chain}: {plain(rule.text)}{count}\n"
        if passage.verdict != "accept":
            text += f"    {passage.chain} drops it\n"
    return text


def _answer(out: Out) -> str:
    if not out.answer:
        return ""
    changed = f"conntrack turns {out.seen} back into {out.source}, then\n" if out.seen != out.source else "\n"
    return f"\nthe answer: {changed}{_rules(out.answer)}".replace("answer: \n", "answer\n")


def _entrance(entrance: Entrance, nic: Nic) -> str:
    port = entrance.port
    wanted = f"[{port.host_address}]" if ":" in port.host_address else port.host_address or "any address"
    target = port.target4 or f"[{port.target6}]"
    text = f"published: {wanted}, port {port.host_port}/{port.protocol} → {target}:{port.container_port}\n"
    if entrance.elements:
        text += "  from outside, from other containers, and from the host to an address of its own but loopback\n"
        text += "".join(f"    {name}: {element}\n" for name, element in entrance.elements.items())
        text += _rules(entrance.passages)
        if nic.bridge is not None and nic.host is not None:
            text += f"    {plain(nic.bridge.name)} → {plain(nic.host.name)} → {plain(nic.wire.name)}\n"
    for name in entrance.missing:
        text += f"    {name}: no element of this port: minirt network reload\n"
    if entrance.proxy:
        relays = f"{plain(entrance.proxy)} holds the port and relays to {target}:{port.container_port}"
        text += f"  from the host to loopback: {relays}\n"
    else:
        text += "  from the host to loopback: nobody holds the port\n"
    return text
