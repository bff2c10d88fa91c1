# SPDX-License-Identifier: Apache-2.0
"""Mount options, as runtime-spec config.md ("Linux mount options") and mount(8) write them.

One list of words becomes four things: attributes of the mount (mount_setattr(2)), the same for everything below
it, its propagation, and parameters of the file system (fsconfig(2)). The words are the kernel's numbers' names.
Pure; must import nothing.
"""

# word: (attribute set, attribute cleared); every atime word first clears the whole field MOUNT_ATTR__ATIME
ATTRIBUTES: dict[str, tuple[str, str]] = {
    "ro": ("MOUNT_ATTR_RDONLY", ""),
    "rw": ("", "MOUNT_ATTR_RDONLY"),
    "nosuid": ("MOUNT_ATTR_NOSUID", ""),
    "suid": ("", "MOUNT_ATTR_NOSUID"),
    "nodev": ("MOUNT_ATTR_NODEV", ""),
    "dev": ("", "MOUNT_ATTR_NODEV"),
    "noexec": ("MOUNT_ATTR_NOEXEC", ""),
    "exec": ("", "MOUNT_ATTR_NOEXEC"),
    "nodiratime": ("MOUNT_ATTR_NODIRATIME", ""),
    "diratime": ("", "MOUNT_ATTR_NODIRATIME"),
    "nosymfollow": ("MOUNT_ATTR_NOSYMFOLLOW", ""),
    "symfollow": ("", "MOUNT_ATTR_NOSYMFOLLOW"),
    "relatime": ("MOUNT_ATTR_RELATIME", "MOUNT_ATTR__ATIME"),
    "noatime": ("MOUNT_ATTR_NOATIME", "MOUNT_ATTR__ATIME"),
    "strictatime": ("MOUNT_ATTR_STRICTATIME", "MOUNT_ATTR__ATIME"),
    "atime": ("MOUNT_ATTR_RELATIME", "MOUNT_ATTR__ATIME"),
    "norelatime": ("MOUNT_ATTR_RELATIME", "MOUNT_ATTR__ATIME"),
    "nostrictatime": ("MOUNT_ATTR_RELATIME", "MOUNT_ATTR__ATIME"),
}
_ATIMES = ("MOUNT_ATTR_NOATIME", "MOUNT_ATTR_STRICTATIME")
PROPAGATIONS = {"private": "MS_PRIVATE", "slave": "MS_SLAVE", "shared": "MS_SHARED", "unbindable": "MS_UNBINDABLE"}
_NOTHING = ("defaults", "async", "nomand", "nolazytime", "loud", "silent", "noiversion")  # what a new mount is anyway
UNSUPPORTED = ("idmap", "ridmap", "tmpcopyup", "remount", "iversion")


class Options:
    """What a list of mount options says.

    bind: "", "bind" or "rbind". sets, clears: MOUNT_ATTR_… words for the mount; all_sets, all_clears: those for
    every mount below it as well. propagation: "MS_PRIVATE" …, or ""; all_propagation: whether it is recursive.
    data: (key, value or None) for fsconfig, in order.
    """

    __slots__ = (
        "bind", "sets", "clears", "all_sets", "all_clears", "propagation", "all_propagation", "data",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bind = ""
        self.sets: list[str] = []
        self.clears: list[str] = []
        self.all_sets: list[str] = []
        self.all_clears: list[str] = []
        self.propagation = ""
        self.all_propagation = False
        self.data: list[tuple[str, str | None]] = []


def parse(words: "list[str] | tuple[str, ...]") -> Options:
    """The rule of mount(8): a later word wins over an earlier one that says the opposite. A word that is nothing
    else is the file system's."""
    options = Options()
    for word in words:
        if word in ATTRIBUTES:
            _apply(options.sets, options.clears, *ATTRIBUTES[word])
        elif word in ("bind", "rbind"):
            options.bind = word
        elif word in PROPAGATIONS or (word[:1] == "r" and word[1:] in PROPAGATIONS):
            options.all_propagation = word not in PROPAGATIONS
            options.propagation = PROPAGATIONS[word[1:] if options.all_propagation else word]
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            _apply(options.all_sets, options.all_clears, *ATTRIBUTES[word[1:]])
        elif word not in _NOTHING and word:
            key, equals, value = word.partition("=")
            options.data.append((key, value if equals else None))
    return options


def _apply(sets: list[str], clears: list[str], set_: str, clear: str) -> None:
    if clear == "MOUNT_ATTR__ATIME":
        for other in (*_ATIMES, "MOUNT_ATTR_RELATIME"):
            if other in sets:
                sets.remove(other)
    elif clear and clear in sets:
        sets.remove(clear)
    if set_ in clears:
        clears.remove(set_)
    if set_ and set_ not in sets:
        sets.append(set_)
    if clear and clear not in clears:
        clears.append(clear)


def unsupported(word: str) -> bool:
    """Whether the option is one that the specification knows and minirt does not do yet."""
    return word in UNSUPPORTED or word.startswith(("idmap=", "ridmap="))
