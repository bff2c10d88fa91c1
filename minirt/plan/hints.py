# SPDX-License-Identifier: Apache-2.0
"""What an error usually means here, by the call that gave it: one table (the ERRORS section of each man page, and
what was seen to go wrong on real hosts).

A meaning goes on from "usually"; a check is what to do next. Imported only when something failed. Pure; must
import nothing.
"""

from __future__ import annotations


class Hint:
    __slots__ = ("check", "meaning")

    def __init__(self, meaning: str, check: str = "") -> None:
        self.meaning = meaning
        self.check = check


_PRIVILEGE = Hint("the caller lacks CAP_SYS_ADMIN", "run as root; in a container or VM look at capsh --print")
_SYMLINK = Hint(
    "a component of the path is a symbolic link where none may be",
    "the image has a link there, or somebody swapped one in; look at the directory in the image",
)
_ESCAPE = Hint("the path leads out of where it must stay", "look for .. and links in it")
_TOO_NEW = Hint("the kernel is older than minirt needs, or a filter hides the call", "uname -r must be 5.14 or newer")
_MISSING = Hint("the path does not exist", "check its spelling")
_SPACE = Hint("the file system is full", "df, df -i")

# (call, errno name); "" is any call
HINTS: dict[tuple[str, str], Hint] = {
    ("", "EPERM"): _PRIVILEGE,
    ("", "ENOSYS"): _TOO_NEW,
    ("", "ENOMEM"): Hint("the kernel has no memory left", "free -m; look at the cgroup that minirt runs in"),
    ("", "EMFILE"): Hint("the caller's limit of open files is too low for this many mounts or ports", "ulimit -n"),
    ("", "ENFILE"): Hint("the host has reached its limit of open files", "sysctl fs.file-nr"),
    ("", "ENOSPC"): _SPACE,
    ("", "EDQUOT"): Hint("a quota is used up", "quota"),
    ("", "EROFS"): Hint("what must be made lies on a read-only file system", "findmnt -T the path"),
    ("", "ENOENT"): _MISSING,
    ("", "EXDEV"): _ESCAPE,
    ("", "ELOOP"): _SYMLINK,
    ("fsopen", "ENODEV"): Hint(
        "the kernel does not have this file system, or its module is not loaded", "cat /proc/filesystems; modprobe"
    ),
    ("fsconfig", "EINVAL"): Hint("the file system does not know the option or its value", "dmesg | tail says which"),
    ("fsconfig", "ENOENT"): Hint("a directory or device that the mount is made of does not exist"),
    ("fsconfig", "EBUSY"): Hint(
        "the upper or work directory of the overlay is in use by another mount", "is this container running already"
    ),
    ("fsconfig", "EPERM"): Hint("the file system may not be mounted in this namespace", "dmesg | tail"),
    ("fsconfig", "ESTALE"): Hint("the upper directory was used with other layers before", "remove the container"),
    ("fsmount", "EPERM"): Hint(
        "the kernel hides a part of this file system from the caller, so it may not be mounted anew",
        "is minirt itself in a container with masked paths",
    ),
    ("open_tree", "ENOENT"): Hint("the source of the bind mount does not exist", "make it first: mkdir -p"),
    ("open_tree", "EINVAL"): Hint("the source is unbindable or in another mount namespace", "findmnt -o+PROPAGATION"),
    ("open_tree", "EACCES"): Hint("a directory on the way to the source may not be searched"),
    ("move_mount", "EINVAL"): Hint(
        "a directory is to be mounted on a file, or a file on a directory", "source and destination must be alike"
    ),
    ("move_mount", "ELOOP"): Hint("the mount would lie below itself"),
    ("move_mount", "EBUSY"): Hint("something is mounted there already that cannot be covered"),
    ("move_mount", "ENOENT"): Hint("the mount point does not exist"),
    ("mount_setattr", "EINVAL"): Hint("the mount does not take this attribute or propagation"),
    ("mount_setattr", "EBUSY"): Hint("somebody writes to the mount, so it cannot become read-only"),
    ("mount", "EINVAL"): Hint("the file system does not know an option", "dmesg | tail says which"),
    ("mount", "ENODEV"): Hint("the kernel does not have this file system", "cat /proc/filesystems; modprobe"),
    ("pivot_root", "EINVAL"): Hint(
        "the old or the new root is on a shared mount, or the host's root is an initramfs",
        "findmnt -o TARGET,PROPAGATION /",
    ),
    ("pivot_root", "EBUSY"): Hint("the new root is on the same mount as the old one"),
    ("openat2", "ENOTDIR"): Hint("a component of the path is not a directory"),
    ("openat2", "EACCES"): Hint("the file may not be opened, or a directory on the way may not be searched"),
    ("openat2", "ENXIO"): Hint("the device or pipe behind the path is not there"),
    ("openat2", "EAGAIN"): Hint("somebody keeps renaming what is on the path", "try again"),
    ("mkdirat", "ENOENT"): Hint("the directory above it is gone"),
    ("mknodat", "EPERM"): Hint(
        "the caller lacks CAP_MKNOD or may not make devices here", "in a VM or container: capsh --print"
    ),
    ("mknodat", "EACCES"): Hint("the directory may not be written"),
    ("fchown", "EPERM"): Hint("the caller lacks CAP_CHOWN"),
    ("fchown", "EINVAL"): Hint("the user or group has no number in this user namespace"),
    ("write", "EINVAL"): Hint("the kernel does not accept the value"),
    ("write", "EACCES"): Hint("the value may not be changed by this caller"),
    ("write", "EIO"): Hint("the kernel took only a part of the value"),
    ("read", "ECANCELED"): Hint("who should have started the container has gone", "start it again"),
    ("clone3", "EPERM"): Hint(
        "the caller may not make namespaces", "run as root; in a container it needs CAP_SYS_ADMIN and no filter"
    ),
    ("clone3", "EINVAL"): Hint("the kernel lacks one of these kinds of namespace", "ls /proc/self/ns"),
    ("clone3", "ENOSPC"): Hint("a limit of nested or of all namespaces is reached", "sysctl user"),
    ("clone3", "EAGAIN"): Hint("a limit of processes is reached", "ulimit -u; pids.max; sysctl kernel.pid_max"),
    ("clone3", "EACCES"): Hint("the container's cgroup may not be entered"),
    ("clone3", "EBUSY"): Hint("the container's cgroup has children with controllers of their own"),
    ("clone3", "ENOTSUP"): Hint("the container's cgroup is threaded"),
    ("clone3", "ENODEV"): Hint("the container's cgroup was removed meanwhile", "start it again"),
    ("unshare", "EINVAL"): Hint("the kernel lacks this kind of namespace", "ls /proc/self/ns"),
    ("unshare", "ENOSPC"): Hint("a limit of namespaces is reached", "sysctl user"),
    ("setns", "EINVAL"): Hint("the descriptor is not of that kind of namespace, or the process is gone"),
    ("setns", "ESRCH"): Hint("the container has ended meanwhile", "start it again"),
    ("setns", "EPERM"): Hint("the caller lacks rights in the user namespace that owns it", "run as root"),
    ("setns", "EUSERS"): Hint("a process with threads cannot enter a time namespace"),
    ("sethostname", "EINVAL"): Hint("the name is longer than 64 bytes"),
    ("prlimit64", "EPERM"): Hint("the caller lacks CAP_SYS_RESOURCE to raise its hard limit", "ulimit -H"),
    ("prlimit64", "EINVAL"): Hint("the soft limit is above the hard limit"),
    ("prctl", "EPERM"): Hint("the caller lacks CAP_SETPCAP"),
    ("prctl", "EINVAL"): Hint("the kernel does not know the option or the capability"),
    ("setgroups", "EPERM"): Hint("the caller lacks CAP_SETGID"),
    ("setresgid", "EINVAL"): Hint("the group has no number in this user namespace"),
    ("setresuid", "EINVAL"): Hint("the user has no number in this user namespace"),
    ("setresuid", "EAGAIN"): Hint("the user's limit of processes is reached", "the rlimit NPROC"),
    ("capset", "EPERM"): Hint("a capability is asked for that the caller does not have", "capsh --print"),
    ("seccomp", "EINVAL"): Hint("the filter is malformed or longer than 4096 instructions, or the kernel has none"),
    ("seccomp", "EACCES"): Hint("without no_new_privs a filter needs CAP_SYS_ADMIN"),
    ("ioctl", "EIO"): Hint("the other end of the terminal is gone or locked"),
    ("ioctl", "EPERM"): Hint("the process does not lead a session, or the terminal controls another one"),
    ("ioctl", "ENOTTY"): Hint("what lies at /dev/pts/ptmx is not a terminal multiplexer", "the image replaced it"),
    ("ioctl_ifflags", "ENODEV"): Hint("the network namespace has no such interface"),
    ("bind", "EADDRINUSE"): Hint("another process has the port", "ss -lntup says which"),
    ("bind", "EADDRNOTAVAIL"): Hint("no interface of the host has this address", "ip addr"),
    ("bind", "EACCES"): Hint(
        "a port this low needs CAP_NET_BIND_SERVICE", "run as root; sysctl net.ipv4.ip_unprivileged_port_start"
    ),
    ("listen", "EADDRINUSE"): Hint("another process has just taken the port", "ss -lntup says which"),
    ("socket", "EAFNOSUPPORT"): Hint("the kernel lacks this family of protocols", "modprobe ipv6; dmesg"),
    ("socket", "EPROTONOSUPPORT"): Hint("the kernel lacks this protocol", "modprobe nfnetlink nf_tables"),
    ("netlink", "EPERM"): Hint("the caller lacks CAP_NET_ADMIN", "run as root; in a container look at capsh --print"),
    ("netlink", "ENOTSUP"): Hint("the kernel lacks what is asked for", "modprobe veth bridge macvlan nf_tables"),
    ("netlink", "EIO"): Hint("the kernel has not answered"),
    ("netlink", "ENOBUFS"): Hint("there were more answers than the socket can hold", "sysctl net.core.rmem_default"),
    ("sendmsg_fd", "EPIPE"): Hint("the monitor has gone"),
    ("bpf_prog_load", "EPERM"): Hint(
        "the caller lacks CAP_BPF or CAP_SYS_ADMIN, or a filter forbids the call", "run as root; capsh --print"
    ),
    ("bpf_prog_load", "E2BIG"): Hint("there are more device rules than one program can have", "ask for fewer devices"),
    ("bpf_prog_attach", "EINVAL"): Hint("the kernel is built without CONFIG_CGROUP_BPF"),
    ("bpf_prog_attach", "EPERM"): Hint("a program of a cgroup above allows none below it", "bpftool cgroup tree"),
    ("close_range", "EINVAL"): _TOO_NEW,
    ("execve", "E2BIG"): Hint("arguments and environment together are too long", "getconf ARG_MAX"),
    ("execve", "ETXTBSY"): Hint("the program is open for writing"),
    ("execve", "EPERM"): Hint("the file system or a security module forbids to execute it"),
    ("execve", "ENOEXEC"): Hint("the file is no program: empty, for another machine, or a script without #!"),
    ("execve", "EACCES"): Hint("the file is not executable, or lies on a mount with noexec"),
}  # fmt: skip

_RELOAD = "minirt network reload"
# (request of the step netlink or one of its attributes, errno name)
REQUEST_HINTS: dict[tuple[str, str], Hint] = {
    ("RTM_NEWLINK", "EEXIST"): Hint("an interface of this name or number is there already", "ip link"),
    ("IFLA_MASTER", "EINVAL"): Hint("the network's bridge is gone", _RELOAD),
    ("IFLA_LINK", "ENODEV"): Hint("the interface that the network stands on is gone", "ip link"),
    ("RTM_NEWLINK", "ENODEV"): Hint("the interface is gone", _RELOAD),
    ("RTM_NEWLINK", "EBUSY"): Hint("the interface belongs to a bridge or bond already", "ip -d link"),
    ("RTM_NEWLINK", "EXFULL"): Hint("the bridge has as many ports as it can have: 1023", "minirt network create"),
    ("RTM_NEWLINK", "EADDRINUSE"): Hint("another interface has this MAC address", "ip link"),
    ("RTM_NEWLINK", "EADDRNOTAVAIL"): Hint("the MAC address is a group's", "its first byte must be even: 02:…"),
    ("RTM_NEWLINK", "EINVAL"): Hint(
        "the kernel does not accept the MTU or the name", "ip -d link shows minmtu, maxmtu"
    ),
    ("RTM_NEWLINK", "ERANGE"): Hint("the name of the interface is too long"),
    ("RTM_NEWADDR", "EEXIST"): Hint("the interface has the address already"),
    ("RTM_NEWADDR", "EACCES"): Hint(
        "IPv6 is switched off in the container", "--sysctl net.ipv6.conf.all.disable_ipv6=0"
    ),
    ("RTM_NEWADDR", "EINVAL"): Hint("the address is not one that an interface can have"),
    ("RTM_NEWROUTE", "EEXIST"): Hint("another network has brought a default route already"),
    ("RTM_NEWROUTE", "ENETUNREACH"): Hint("the gateway is outside of the interface's subnet", "minirt network inspect"),
    ("RTM_NEWROUTE", "EHOSTUNREACH"): Hint(
        "the gateway is outside of the interface's subnet", "minirt network inspect"
    ),
    ("RTM_NEWNSID", "EEXIST"): Hint("the new namespace knows the host's already"),
    ("NFT_MSG_NEWSETELEM", "ENOENT"): Hint("somebody has removed minirt's tables from nftables", _RELOAD),
    ("NFT_MSG_NEWSETELEM", "EEXIST"): Hint(
        "nftables' maps still have the port for a container that has ended", _RELOAD
    ),
    ("NFT_MSG_NEWSETELEM", "ENFILE"): Hint("the set is full", _RELOAD),
    ("NFT_MSG_DELSETELEM", "ENOENT"): Hint("the entry, or minirt's tables in nftables, are gone already", _RELOAD),
}

# (kind of isolation, call, errno name): where what the step serves says more than the call
KIND_HINTS: dict[tuple[str, str, str], Hint] = {
    ("root", "fsconfig", "EINVAL"): Hint(
        "the upper directory lies on a file system that cannot hold one, such as another overlay",
        "findmnt -T the directory; put --root onto ext4, xfs or btrfs; dmesg | tail",
    ),
    ("root", "fsconfig", "ENOENT"): Hint("a layer or the container's own directory is gone", "minirt images"),
    ("root", "fsconfig", "ENAMETOOLONG"): Hint("the path of a layer is too long", "choose a shorter --root"),
    ("root", "fsopen", "ENODEV"): Hint("the kernel does not have overlayfs", "modprobe overlay"),
    ("root", "open_tree", "ENOENT"): Hint("the root directory does not exist", "check root.path or --rootfs"),
    ("root", "move_mount", "ENOENT"): Hint("the container's directory is gone", "remove the container"),
    ("cgroup", "fsopen", "ENODEV"): Hint("the kernel has no cgroup v2"),
    ("cgroup", "openat2", "ENOENT"): Hint("the container's cgroup was removed meanwhile", "start it again"),
    ("cgroup", "fsconfig", "EBUSY"): Hint("cgroup v2 cannot be mounted beside what is mounted already"),
    ("mask", "openat2", "ENOENT"): Hint("the path has vanished since it was looked up", "start it again"),
    ("mask", "move_mount", "ENOENT"): Hint("the path has vanished since it was looked up", "start it again"),
    ("sysctl", "openat2", "ENOENT"): Hint("this kernel does not have the sysctl", "ls /proc/sys"),
    ("sysctl", "openat2", "EISDIR"): Hint("the name is a group of sysctls, not one"),
    ("sysctl", "write", "EINVAL"): Hint("the kernel does not accept the value"),
    ("sysctl", "write", "EPERM"): Hint("the sysctl cannot be changed in a namespace"),
    ("limit", "openat2", "ENOENT"): Hint(
        "the controller is not enabled above the container's cgroup, or the kernel is built without this limit",
        "minirt doctor; cat cgroup.subtree_control of the cgroup above",
    ),
    ("limit", "write", "EINVAL"): Hint("the kernel does not accept the value"),
    ("limit", "write", "ERANGE"): Hint("the value is out of the kernel's range", "cgroup-v2.rst names it"),
    ("limit", "write", "ENODEV"): Hint("there is no such device, or it is a partition: limits are for whole disks"),
    ("limit", "write", "EACCES"): Hint(
        "a score lower than the caller's own needs CAP_SYS_RESOURCE", "cat /proc/self/oom_score_adj"
    ),
    ("console", "openat2", "ENOENT"): Hint("the container has no /dev/pts, so it can have no terminal", "leave out -t"),
    ("console", "openat2", "ENOSPC"): Hint("the limit of pseudoterminals is reached", "sysctl kernel.pty"),
    ("identity", "openat2", "ENOENT"): Hint("the working directory does not exist"),
    ("identity", "openat2", "ENOTDIR"): Hint("the working directory is not a directory"),
    ("identity", "openat2", "ELOOP"): Hint("the working directory leads through a descriptor, or around in a circle"),
    ("identity", "fchdir", "EACCES"): Hint("the working directory may not be entered"),
    ("time", "write", "ERANGE"): Hint("the offset would set the clock before its beginning or after its end"),
    ("time", "write", "EACCES"): Hint("a process is in the time namespace already"),
    ("network", "openat2", "ENOENT"): Hint("the container whose network shall be joined has ended", "start it first"),
    ("pid", "openat2", "ENOENT"): Hint("the container whose processes shall be joined has ended", "start it first"),
    ("ipc", "openat2", "ENOENT"): Hint("the container whose IPC shall be joined has ended", "start it first"),
    ("uts", "openat2", "ENOENT"): Hint("the container whose host name shall be joined has ended", "start it first"),
}  # fmt: skip
