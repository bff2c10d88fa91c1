# SPDX-License-Identifier: Apache-2.0
"""Names on a user network: one dnsmasq(8) for each, on its bridge only, fed by files, alive while somebody is there.

    <directory>/hosts     addresses and names (hosts(5))       read again at SIGHUP
    <directory>/servers   whom to ask for everything else      read again at SIGHUP
    <directory>/pid       written by dnsmasq as soon as its sockets are bound

dnsmasq runs as a user of its own, in a mount namespace where `directory` lies on /tmp (what leads there belongs to root
alone), and in a cgroup of its own, so that it ends with none of those who started containers. A process is ours if
MINIRT_RESOLVER in its environment names the directory: a number that was reused never does. The caller holds a lock for
each directory, whose last part is the network's id. Must not import subprocess, runtime, or pyroute2.
"""

from __future__ import annotations

import os
import select
import time
from _signal import SIG_SETMASK, pthread_sigmask  # type: ignore[import-not-found]  # `signal` imports enum, 4 ms
from errno import ENOENT

from minirt.cgroup import home, tree
from minirt.errors import HostError
from minirt.kernel import call
from minirt.model.network import BRIDGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minirt.model.network import Network

PLACES = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
USERS = ("dnsmasq", "nobody")  # Debian's package makes the first
INSIDE = "/tmp"  # where dnsmasq sees its directory; every system has one
HOST_RESOLVERS = "/etc/resolv.conf"  # the host's: dnsmasq runs there, so servers on loopback are reached too
CACHED_NAMES = 1000
MOST_QUERIES = 150  # under way to the host's resolvers at once; more are refused
START_S = 10.0
STOP_S = 2.0
RELOAD_S = 1.0
REMEDIES = (
    ("in use", "let that one listen on addresses of its own, not on all; see ss -lntup"),
    ("inotify", "allow more: sysctl fs.inotify.max_user_instances=1024"),
)
_SIGHUP, _SIGKILL, _SIGTERM = 1, 9, 15
_MARK = "MINIRT_RESOLVER"
_LIMIT_BYTES = 1 << 16
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def serves(network: Network) -> bool:
    """Whether containers on it have a resolver: not on the default network (as Docker has it), and not on macvlan,
    where the host cannot be reached."""
    return network.driver == BRIDGE and not network.is_default


def ensure(
    directory: str, network: Network, names: Mapping[str, Sequence[str]], upstream: Sequence[str] | None = None
) -> None:
    """The network's resolver answers for `names` (address → names, the one for PTR first) when this returns.

    upstream: whom it asks for all other names; None: the host's resolvers, followed when they change. A network that
    is internal asks nobody. Its bridge must be there with its addresses. HostError: no dnsmasq, or it cannot start.
    """
    if not serves(network):
        return
    os.makedirs(directory, 0o755, exist_ok=True)
    os.chmod(directory, 0o755)  # dnsmasq's user reads it; whatever the umask says
    _write(directory, "hosts", hosts(names))
    _write(directory, "servers", servers(names, () if network.internal else upstream or ()))
    wanted = [*arguments(network, upstream is None), *_user()]
    running = _Running.find(directory)
    if running is not None:
        with running:
            if running.argv[1:] == wanted:
                running.read_again()
                return
            running.end()  # of another version, or asks others
    _start(directory, network, wanted)


def stop(directory: str) -> None:
    """It ends and leaves no file; the directory itself stays. Nothing happens where it does not run."""
    running = _Running.find(directory)
    if running is not None:
        with running:
            running.end()
    _end_all(directory)
    for name in ("pid", "hosts", "servers"):
        try:
            os.unlink(f"{directory}/{name}")
        except OSError as error:
            if error.errno != ENOENT:
                raise


def alive(directory: str) -> bool:
    running = _Running.find(directory)
    if running is None:
        return False
    running.close()
    return True


def hosts(names: Mapping[str, Sequence[str]]) -> str:
    """hosts(5): a name may stand at several addresses, then all of them are answered."""
    lines = []
    for address, known in names.items():
        sound = [name for name in known if _is_sound(name)]
        if sound:
            lines.append(f"{address}\t{' '.join(sound)}\n")
    return "".join(lines)


def servers(names: Mapping[str, Sequence[str]], upstream: Sequence[str]) -> str:
    """Lines of --servers-file. Names without a dot are asked of nobody (`server=//`), so that no container's name gets
    out. A container's name with a dot is answered here for every type: nobody outside may add an AAAA to its A."""
    dotted = {name.lower().rstrip(".") for known in names.values() for name in known if "." in name and _is_sound(name)}
    lines = ["server=//", *(f"server=/{name}/" for name in sorted(dotted)), *(f"server={one}" for one in upstream)]
    return "\n".join(lines) + "\n"


def arguments(network: Network, follow_host: bool) -> list[str]:
    """dnsmasq's options, less whose powers it has: no DHCP, no TFTP, none of the host's files but its resolv.conf.

    --bind-dynamic with --interface binds the bridge's addresses alone, and what reaches them through another interface
    is not answered: neither a neighbour on the wire nor another network's container that routes to the gateway.
    """
    words = [
        "--conf-file=/dev/null", "--no-hosts", f"--addn-hosts={INSIDE}/hosts", f"--servers-file={INSIDE}/servers",
        "--bind-dynamic", f"--interface={network.interface}", "--except-interface=lo", f"--pid-file={INSIDE}/pid",
        f"--cache-size={CACHED_NAMES}", f"--dns-forward-max={MOST_QUERIES}",
        "--domain-needed", "--no-ident",
    ]  # fmt: skip
    words += [f"--rev-server={subnet}" for subnet in (network.subnet4, network.subnet6) if subnet]  # asked of nobody
    if network.internal:
        words += ["--no-resolv", "--address=/#/"]  # all else does not exist: no tunnel through names (CVE-2024-29018)
    elif follow_host and os.path.isdir(os.path.dirname(os.path.realpath(HOST_RESOLVERS))):
        words.append(f"--resolv-file={HOST_RESOLVERS}")
    else:
        words.append("--no-resolv")
    return words


def _is_sound(name: str) -> bool:
    """What a line of these files can hold and DNS can ask for (RFC 1035, 2.3.4), underscores included."""
    labels = name.rstrip(".").split(".")
    return _NAME_CHARACTERS.issuperset(name) and len(name) <= 253 and all(0 < len(label) <= 63 for label in labels)


def _user() -> list[str]:
    import grp
    import pwd

    for name in USERS:
        try:
            found = pwd.getpwnam(name)
            return [f"--user={name}", f"--group={grp.getgrgid(found.pw_gid).gr_name}"]
        except KeyError:
            continue
    raise HostError(f'no user "{USERS[0]}" and no user "{USERS[1]}" to run dnsmasq as', "apt install dnsmasq-base")


def _write(directory: str, name: str, text: str) -> None:
    """The whole file or none of it. Nothing is synchronised: the next start of a container writes it anew."""
    path = f"{directory}/{name}"
    file = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(file, 0o644)
        data = memoryview(text.encode())
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)
    os.rename(f"{path}.new", path)


class _Running:
    """The dnsmasq of one directory; a context manager. argv: as it was started."""

    __slots__ = ("argv", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, argv: list[str]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.argv = argv

    @classmethod
    def find(cls, directory: str) -> _Running | None:
        """None: it does not run. The pidfd is opened first, so what is looked at is what is signalled."""
        try:
            pid = int(_read(f"{directory}/pid") or b"0")
            pidfd = os.pidfd_open(pid) if pid > 0 else -1
        except (ValueError, OverflowError, OSError):
            return None
        if f"{_MARK}={directory}".encode() in _read(f"/proc/{pid}/environ").split(b"\0"):
            return cls(pid, pidfd, [os.fsdecode(word) for word in _read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]])
        if pidfd >= 0:
            os.close(pidfd)
        return None

    def send(self, signo: int) -> None:
        try:
            call.pidfd_send_signal(self.pidfd, signo)
        except ProcessLookupError:
            pass

    def read_again(self) -> None:
        """Its files have changed. poll(2) may return for a question that came after the signal was sent, and that would
        be answered from the old files; not for one that comes after the signal was taken. So wait for that."""
        self.send(_SIGHUP)
        deadline = time.monotonic() + RELOAD_S
        while _is_pending(self.pid, _SIGHUP) and time.monotonic() < deadline:
            time.sleep(0.0001)

    def end(self) -> None:
        """Asked first, then made to: at SIGTERM it takes its own children along."""
        self.send(_SIGTERM)
        if not _ended(self.pidfd, STOP_S):
            self.send(_SIGKILL)
            _ended(self.pidfd, STOP_S)

    def close(self) -> None:
        os.close(self.pidfd)

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cgroup(directory: str) -> str:
    return f"{home.home()}/resolver-{os.path.basename(directory)[:12]}"


def _end_all(directory: str) -> None:
    """What may be left of one that was killed: its processes for connections over TCP have its sockets."""
    path = _cgroup(directory)
    if tree.kill(path):
        tree.remove(path, STOP_S)


def _is_pending(pid: int, signo: int) -> bool:
    """Sent and not taken yet (proc(5), ShdPnd)."""
    _, key, rest = _read(f"/proc/{pid}/status").partition(b"\nShdPnd:")
    return bool(key) and bool(int(rest.split()[0], 16) & 1 << (signo - 1))


def _read(path: str) -> bytes:
    """b"" for what is not there (any more)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, _LIMIT_BYTES)
    except OSError:
        return b""
    finally:
        os.close(file)


def _ended(pidfd: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _program() -> str:
    for place in PLACES:
        if os.access(f"{place}/dnsmasq", os.X_OK):
            return f"{place}/dnsmasq"
    raise HostError("dnsmasq is missing: it answers the names on user networks", "apt install dnsmasq-base")


def _start(directory: str, network: Network, wanted: list[str]) -> None:
    program = _program()
    _end_all(directory)
    why = _launch(program, directory, wanted)
    if why:
        _end_all(directory)
        raise HostError(
            f'cannot answer names on network "{network.name}": {why}{_taken_by(why)}',
            next((remedy for word, remedy in REMEDIES if word in why), "see journalctl -t dnsmasq"),
        )


def _taken_by(why: str) -> str:
    if "in use" not in why:
        return ""
    from minirt.network import port_owner

    owner = port_owner.find("tcp", 53, everywhere=True) or port_owner.find("udp", 53, everywhere=True)
    return f" by {owner}" if owner else ""


def _launch(program: str, directory: str, wanted: list[str]) -> str:
    """ "", or why not. dnsmasq goes into the background by itself; the process that we start ends when its sockets are
    bound and its powers are dropped, or says why it could not."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", _MARK: directory}
    path = _cgroup(directory)
    cgroup = os.open(home.create(*os.path.split(path), {}), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = call.clone3("CLONE_NEWNS", cgroup=cgroup)
        if pid == 0:
            _become(program, wanted, environment, directory, theirs)
        try:
            in_time = _ended(pidfd, START_S)
            if not in_time:
                call.pidfd_send_signal(pidfd, _SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(pidfd)
        if not in_time:
            return f"it was not ready after {START_S:g} s"
        return "" if code == 0 else _said(ours) or f"dnsmasq ended with {code}"
    finally:
        for descriptor in (cgroup, ours, theirs):
            os.close(descriptor)


def _said(pipe: int) -> str:
    """dnsmasq's last words, one line."""
    os.set_blocking(pipe, False)
    try:
        lines = os.read(pipe, 4096).decode(errors="replace").split("\n")
    except BlockingIOError:
        return ""
    return next((line.strip() for line in lines if line.strip()), "")


def _become(program: str, wanted: list[str], environment: dict[str, str], directory: str, errors: int) -> None:
    """Runs in the child, in a mount namespace of its own, as root. Ends in execve or _exit."""
    try:
        pthread_sigmask(SIG_SETMASK, ())
        nothing = os.open("/dev/null", os.O_RDWR)
        for target, source in ((0, nothing), (1, nothing), (2, errors)):
            os.dup2(source, target)
        call.mount(None, "/", None, "MS_REC|MS_SLAVE")  # what the host unmounts later goes away here as well
        call.mount(directory, INSIDE, None, "MS_BIND")
        os.execve(program, [program, *wanted], environment)
    except OSError as error:
        os.write(2, f"{error.strerror}\n".encode())
    finally:
        os._exit(126)
