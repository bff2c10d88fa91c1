# SPDX-License-Identifier: Apache-2.0
"""Which sysctls belong to a namespace, so that a container may have a value of its own (namespaces(7), sysctl(8)).

Everything else is the host's, and refused: `kernel.core_pattern` set "for a container" is a program that runs on
the host (CVE-2022-0811). Names are compared whole; only below net.* is a prefix enough, and only with exact
characters. Pure; must import nothing.
"""

IPC = frozenset(
    [
        *("kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni".split()),
        *("kernel.shm_rmid_forced kernel.msg_next_id kernel.sem_next_id kernel.shm_next_id".split()),
        *("fs.mqueue.queues_max fs.mqueue.msg_max fs.mqueue.msgsize_max".split()),
        *("fs.mqueue.msg_default fs.mqueue.msgsize_default".split()),
    ]
)
UTS = {"kernel.hostname": "hostname", "kernel.domainname": "domainname"}  # value: the property that sets it
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def fault(name: str, value: object, own: frozenset[str]) -> str:
    """What is wrong with setting `name`, or "". own: the kinds of namespace that are the container's own."""
    if not isinstance(value, str) or "\n" in value or "\0" in value:
        return "the value must be a string of one line"
    if name in UTS:
        return f"set {UTS[name]} instead"
    if name in IPC:
        return "" if "ipc" in own else "it is the host's: the container has no ipc namespace of its own"
    parts = name.replace("/", ".").split(".")
    if parts[0] != "net" or len(parts) < 3:
        return "it is not a namespaced sysctl: it would change the host"
    if not set(name) <= _PLAIN | {"/"} or "" in parts or ".." in name or name.startswith("/"):
        return "it is not the name of a sysctl"
    return "" if "network" in own else "it is the host's: the container has no network namespace of its own"


def path(name: str) -> str:
    """Where it lies below /proc/sys: a dot separates, unless slashes do; then a dot is part of an interface's name."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.replace(".", "\0").replace("/", ".").replace("\0", "/")
