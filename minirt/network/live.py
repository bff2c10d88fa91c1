# SPDX-License-Identifier: Apache-2.0
"""One more interface in a container that runs, or one less (network_namespaces(7), rtnetlink(7)).

The requests are those of a birth (plan/network.py), run by the caller as host steps: its sockets are opened inside the
container's network namespace, which it enters for that moment only (setns(2) concerns one thread, and this process has
no other). Nothing of the container's is executed, and no file of its is opened. Cold path. Must not import runtime.
"""

from __future__ import annotations

import os
from errno import ENODEV
from struct import Struct

from minirt.errors import Conflict, HostError, StepFailed
from minirt.kernel import call, execute, flat
from minirt.network import netlink, sysctl
from minirt.plan import network, text
from minirt.plan.netlink import Index, Request, named
from minirt.plan.step import HOST, Fd, Plan, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from minirt.model.network import Endpoint
    from minirt.plan.network import Link

_IFINFO = Struct("=BxHiII")  # struct ifinfomsg
_NSID = Struct("=i")
_DELLINK, _NEWNSID, _GETNSID = 17, 88, 90  # RTM_*
_NSID_ID, _NSID_FD = 1, 3  # NETNSA_NSID, NETNSA_FD
_NAME = 3  # IFLA_IFNAME


class _Inside:
    """Descriptors for work in a container's network namespace: `host` and `there`, the namespaces; `host_links` and
    `links`, sockets of rtnetlink in them. Conflict: the process is gone, or it is in the host's namespace."""

    def __init__(self, pid: int) -> None:
        self._opened: list[int] = []
        try:
            self.host = self._keep(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            try:
                self.there = self._keep(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except (FileNotFoundError, ProcessLookupError):
                raise Conflict("the container has ended meanwhile", "start it again: minirt start") from None
            if os.path.sameopenfile(self.host, self.there):
                raise Conflict("the container is in the host's network: it has no interfaces of its own")
            self.host_links = self._keep(netlink.open_socket(netlink.NETLINK_ROUTE).detach())
            with _Visit(self):
                self.links = self._keep(netlink.open_socket(netlink.NETLINK_ROUTE).detach())
        except BaseException:
            self.close()
            raise

    def _keep(self, descriptor: int) -> int:
        self._opened.append(descriptor)
        return descriptor

    def close(self) -> None:
        for descriptor in self._opened:
            os.close(descriptor)
        self._opened.clear()

    def __enter__(self) -> _Inside:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, kind: int, body: bytes) -> list[bytes]:
        """One request inside, beside the steps."""
        channel = netlink.Channel(fileno=os.dup(self.links))
        try:
            return netlink.exchange(channel, kind, body)
        finally:
            channel.close()


class _Visit:
    """This thread is in the container's network namespace from enter to exit: for sockets and /proc/sys/net."""

    def __init__(self, inside: _Inside) -> None:
        self._inside = inside

    def __enter__(self) -> None:
        call.setns(self._inside.there, "CLONE_NEWNET")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        call.setns(self._inside.host, "CLONE_NEWNET")


class _Said:
    """An error of the kernel's beside the steps, in words: HostError."""

    def __init__(self, verb: str) -> None:
        self._verb = verb

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, OSError):
            said = os.strerror(error.errno or 0)
            raise HostError(f"cannot {self._verb} the container's interface: {said}", "try it again") from error


def attach(pid: int, link: Link) -> None:
    """Make the link in the namespace of process `pid`. On failure nothing of it is left.

    StepFailed; Conflict: there is no such namespace any more; HostError."""
    with _Said("add"), _Inside(pid) as inside:
        first, *rest = _requests(inside, link)
        _run(inside, [_step(*first, link.pointer)])
        try:
            # Before the first address: where its other networks are IPv4's alone, its new interfaces have no IPv6.
            with _Visit(inside):
                sysctl.own_ipv6(link.interface, any(":" in address for address, _ in link.addresses))
            _run(inside, [_step(*one, link.pointer) for one in rest])
        except BaseException:
            _delete(inside, link.veth, link.index)
            raise


def detach(pid: int, endpoint: Endpoint) -> None:
    """Take the link away. That it is gone is fine: its veth died with the namespace, or the container removed it."""
    with _Said("remove"):
        try:
            inside = _Inside(pid)
        except Conflict:
            return
        with inside:
            _delete(inside, endpoint.veth, endpoint.index)


def lead_out(pid: int, endpoint: Endpoint, gateways: Sequence[str]) -> None:
    """Default routes by these gateways, over the interface of this endpoint. A family that has one keeps it."""
    with _Said("route"), _Inside(pid) as inside:
        interface = Index(endpoint.index, endpoint.interface)
        requests = [network.new_route(interface, gateway) for gateway in gateways]
        _run(inside, [_step(network.LINKS, request, "network disconnect") for request in requests])


def _delete(inside: _Inside, veth: str, index: int) -> None:
    """A veth by its host's end: the other one may have been renamed or moved by the container. If it is the host's that
    somebody renamed, by the other one: without its guards it may not stay."""
    if veth:
        name = netlink.attribute(_NAME, veth.encode() + b"\0")
        if _gone(lambda: netlink.ask(netlink.NETLINK_ROUTE, _DELLINK, _IFINFO.pack(0, 0, 0, 0, 0) + name)):
            return
    _gone(lambda: inside.ask(_DELLINK, _IFINFO.pack(0, 0, index, 0, 0)))


def _gone(delete: Callable[[], object]) -> bool:
    """Whether it was there to be deleted."""
    try:
        delete()
    except OSError as error:
        if error.errno != ENODEV:
            raise
        return False
    return True


def _requests(inside: _Inside, link: Link) -> list[tuple[Fd, Request]]:
    """Those of a birth; but in a namespace that lives, the host's may have another number than 0."""
    made = network.requests(link)
    if link.driver != "macvlan":
        return made
    number = _number_of_host(inside)
    socket, first = made[0]
    attributes = tuple((name, number if name == "IFLA_LINK_NETNSID" else value) for name, value in first.attributes)
    return [(socket, Request(first.type, first.flags, first.header, attributes)), *made[1:]]


def _number_of_host(inside: _Inside) -> int:
    """How requests inside speak of the host's namespace (ip-netns(8), list-id); the kernel chooses if it has none."""
    question = bytes(4) + netlink.attribute(_NSID_FD, _NSID.pack(inside.host))
    for _ in range(2):
        [answer] = inside.ask(_GETNSID, question)
        number: int = _NSID.unpack(netlink.attributes(answer, 4)[_NSID_ID])[0]
        if number >= 0:
            break
        inside.ask(_NEWNSID, question + netlink.attribute(_NSID_ID, _NSID.pack(-1)))
    return number


def _step(socket: Fd, request: Request, pointer: str) -> Step:
    descriptor = named(request)
    arguments = (socket, request) if descriptor is None else (socket, descriptor, request)
    # a container that has a way out keeps it
    tolerate = ("EEXIST",) if request.type == "RTM_NEWROUTE" else ()
    return Step("netlink", *arguments, actor=HOST, pointer=pointer, kind="network", tolerate=tolerate)


def _run(inside: _Inside, steps: Sequence[Step]) -> None:
    slots = {
        network.LINKS.name: inside.links,
        network.HOST_LINKS.name: inside.host_links,
        network.HOST_NETWORK.name: inside.host,
    }
    plan = Plan(tuple(steps))
    try:
        execute.run(flat.encode(plan, None, slots))
    except execute.StepError as error:
        number = error.errno or 0
        raise StepFailed(*text.failure(plan, error.index, number), error.index, number) from None
