# SPDX-License-Identifier: Apache-2.0
"""Which words are verbs, and which file of cli/verbs/ holds each: one verb, one file, imported when it is used.

A group (`minirt container ls`) is a second spelling of the same verbs, as in Docker. Tables only: no verb is
imported here, because `exec` must not pay for `ps`.
"""

from __future__ import annotations

from minirt.cli.parse import INT, STRING, Command, Option, Parsed

# The order of the first help page.
COMMON = {
    "run": "Create and run a new container from an image",
    "exec": "Execute a command in a running container",
    "ps": "List containers",
    "images": "List images",
    "pull": "Download an image from a registry",
    "push": "Upload an image to a registry",
    "plan": "Show the system calls that make a container, without making it",
    "doctor": "Say what on this host helps or hinders, and the remedy",
    "version": "Show the version",
    "info": "Display system-wide information",
}
OTHERS = {
    "attach": "Attach local standard input, output, and error streams to a running container",
    "commit": "Create a new image from a container's changes",
    "create": "Create a new container",
    "events": "Get real time events from minirt",
    "export": "Export a container's filesystem as a tar archive",
    "history": "Show the history of an image",
    "import": "Import the contents from a tarball to create a filesystem image",
    "inspect": "Return low-level information on containers, images and networks",
    "kill": "Kill one or more running containers",
    "load": "Load an image from an archive or a directory",
    "login": "Authenticate to a registry",
    "logout": "Log out from a registry",
    "logs": "Fetch the logs of a container",
    "pause": "Pause all processes within one or more containers",
    "port": "List port mappings or a specific mapping for the container",
    "rename": "Rename a container",
    "restart": "Restart one or more containers",
    "rm": "Remove one or more containers",
    "rmi": "Remove one or more images",
    "save": "Save one or more images to a tar archive (streamed to STDOUT by default)",
    "start": "Start one or more stopped containers",
    "stats": "Display a live stream of container(s) resource usage statistics",
    "stop": "Stop one or more running containers",
    "tag": "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    "top": "Display the running processes of a container",
    "unpause": "Unpause all processes within one or more containers",
    "update": "Update configuration of one or more containers",
    "wait": "Block until one or more containers stop, then print their exit codes",
}
HIDDEN = {"internal-cleanup": "cleanup", "internal-boot": "boot", "internal-shutdown": "shutdown"}
RENAMED = {"import": "import_"}  # words that Python keeps for itself
ALIASES = {
    "container": {
        **{
            name: name
            for name in (
                "attach",
                "commit",
                "create",
                "exec",
                "export",
                "inspect",
                "kill",
                "logs",
                "pause",
                "port",
                "ps",
                "rename",
            )
        },
        **{name: name for name in ("restart", "rm", "run", "start", "stats", "stop", "top", "unpause")},
        **{name: name for name in ("update", "wait")},
        "ls": "ps",
        "list": "ps",
        "remove": "rm",
        "prune": "container_prune",
        "inspect": "container_inspect",
    },
    "image": {
        "ls": "images",
        "list": "images",
        "load": "load",
        "pull": "pull",
        "push": "push",
        "tag": "tag",
        "save": "save",
        "import": "import_",
        "inspect": "image_inspect",
        "rm": "rmi",
        "remove": "rmi",
        **{word: f"image_{word}" for word in ("prune", "tree", "which")},
        "history": "history",
    },
    "network": {
        **{
            word: f"network_{word}"
            for word in ("connect", "create", "disconnect", "dissect", "inspect", "ls", "prune", "reload", "rm")
        },
        "list": "network_ls",
        "remove": "network_rm",
    },
    "system": {"events": "events", "info": "info", **{word: f"system_{word}" for word in ("check", "df", "prune")}},
    "volume": {
        **{word: f"volume_{word}" for word in ("create", "inspect", "ls", "prune", "rm")},
        "list": "volume_ls",
        "remove": "volume_rm",
    },
}
GROUPS = {
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage minirt",
    "volume": "Manage volumes",
}
ONLY_GROUPED = {
    "container_prune": "Remove all stopped containers",
    "image_prune": "Remove unused images",
    "image_tree": "Show which layers images share and what each layer added",
    "image_which": "Show which layer of an image provides a path, and which hide it",
    "network_connect": "Connect a container to a network",
    "network_create": "Create a network",
    "network_disconnect": "Disconnect a container from a network",
    "network_dissect": "Draw the way of a packet between a container and the world",
    "network_ls": "List networks",
    "network_prune": "Remove all unused networks",
    "network_reload": "Restore bridges, firewall rules and resolvers of all networks",
    "network_rm": "Remove one or more networks",
    "system_check": "Check everything in the image store",
    "system_df": "Show disk usage",
    "system_prune": "Remove unused data",
    "volume_create": "Create a volume",
    "volume_ls": "List volumes",
    "volume_prune": "Remove unused local volumes",
    "volume_rm": "Remove one or more volumes",
}

GLOBAL = Command(
    "",
    "[OPTIONS] COMMAND",
    "A container runtime for Linux that shows how a container is made",
    (
        Option("debug", "D", help="Show the traceback of an error"),
        Option("root", kind=STRING, help="Where images and containers are kept (MINIRT_ROOT)"),
        Option("state", kind=STRING, help="Where what a reboot may forget is kept (MINIRT_STATE)"),
        Option("version", "v", help="Print version information and quit"),
    ),
    interspersed=False,
)

TIMEOUT = (
    Option("signal", "s", STRING, "Signal to send to the container"),
    Option("timeout", "t", INT, "Seconds to wait before killing the container"),
    Option("time", kind=INT, hidden=True),
)


def module_of(word: str) -> str | None:
    """The file in cli/verbs/ that holds a verb, None for no such verb."""
    if word in COMMON or word in OTHERS:
        return RENAMED.get(word, word)
    return HIDDEN.get(word)


def timeout(parsed: Parsed) -> tuple[int | None, int | None]:
    """(signal, seconds) of stop and restart; None: the container's own. Negative seconds wait for ever."""
    from minirt.model import signals

    signal = parsed.text("signal")
    seconds = parsed.number("timeout") if "timeout" in parsed.given else parsed.number("time")
    return signals.number(signal) if signal else None, seconds
