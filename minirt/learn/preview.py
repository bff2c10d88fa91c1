# SPDX-License-Identifier: Apache-2.0
"""The plan of a container that nobody makes: what `run` would do, found out without root and without doing it.

The same functions as in a real birth (engine/spec.py, plan/rootfs.py, plan/compile.py), with facts in place of
what only root can see: `assumed` names each of them. Writes nothing. Must not import cli.
"""

from __future__ import annotations

import os

from minirt.cgroup import home
from minirt.engine import create, environment, join, spec
from minirt.engine import options as options_
from minirt.engine.record import Record
from minirt.errors import MinirtError, StoreError
from minirt.image import embedded
from minirt.image import find as images
from minirt.kernel import host
from minirt.learn import preview_network
from minirt.model import spec as specification
from minirt.plan import compile as compiler
from minirt.plan import rootfs as rootfs_
from minirt.plan.facts import Host, RootFacts
from minirt.plan.step import Blob, Plan
from minirt.runtime import bundle, seccomp, survey, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions
    from minirt.engine.paths import Roots

IDENTITY = "<id>"  # 64 hex digits, drawn when a container is made


class Preview:
    """plan: root filesystem and all. origins: {JSON pointer: flag}. assumed: what could not be looked up, one line
    each."""

    __slots__ = ("assumed", "origins", "plan")

    def __init__(self) -> None:
        self.plan = Plan(())
        self.origins: dict[str, str] = {}
        self.assumed: list[str] = []


def of_options(roots: Roots, options: RunOptions) -> Preview:
    """What `run` with these options would execute. Raises what `create` raises for them."""
    preview, facts = Preview(), host.facts()
    options.env = environment.collect(options.env_file, options.env, os.environ)
    options.env_file = []
    options_.settle_network(options, os.environ)
    config, layers = _image(roots, options, preview)
    record = Record(options, config, list(layers))
    path = roots.container(IDENTITY)
    joined = {
        kind: f"/proc/<pid of {container}>/ns/{spec.ns_file(kind)}" for kind, container in join.targets(options).items()
    }
    place_of_all = home.home(facts.cgroup_mount or "/sys/fs/cgroup")
    resources, nodes = create.limits(options)
    place = spec.Place(
        IDENTITY,
        path,
        lambda volume: volume.source if volume.is_bind else f"{roots.volumes}/{volume.source or '<id>'}/_data",
        joined,
        host_name=os.uname().nodename,
        devices=nodes if not options.privileged else (),
        resources=resources,
        controllers=home.available(place_of_all),
    )
    built = spec.build(record, facts, place)
    preview.origins = built.origins
    who = _user(options, built.user, preview)
    spec.finish(built, who.uid, who.gid, who.groups, who.home)
    root = create.root_filesystem(record, path)
    targets = _survey(options.rootfs, built.spec, preview)
    _own_files(targets, built.spec, path)
    network = preview_network.assume(options, config, IDENTITY)
    preview.assumed += network.notes
    context = compiler.Context(
        id=IDENTITY,
        bundle=path,
        rootfs_path=f"{path}/rootfs",
        cgroup_path="/".join(filter(None, (place_of_all, options.cgroup_parent.strip("/"), IDENTITY))),
        seccomp=_filter(built.spec, facts, roots.cache, preview),
        tty=options.tty,
        stdin=options.interactive,
        init=options.init,
        links=network.links,
    )
    rest = compiler.compile(built.spec, facts, targets, context)
    _join(preview, network.plan, rootfs_.compile(root, facts), rest)
    return preview


def of_bundle(path: str, cache: str) -> Preview:
    """What starting this OCI bundle would execute. Raises NotFound, SpecError (every fault), StoreError."""
    preview, facts = Preview(), host.facts()
    path = os.path.abspath(path)
    config: dict[str, Any] = bundle.read_spec(path)
    specification.validate(config)
    directory = os.path.join(path, config["root"]["path"])
    targets = _survey(directory, config, preview) if os.path.isdir(directory) else RootFacts()
    if not os.path.isdir(directory):
        preview.assumed.append(f"{directory} is not there: every mount point is taken to exist")
    context = compiler.Context(
        id=os.path.basename(path),
        bundle=path,
        rootfs_path=f"{path}/rootfs",
        cgroup_path=f"{home.home(facts.cgroup_mount or '/sys/fs/cgroup')}/{os.path.basename(path)}",
        seccomp=_filter(config, facts, cache, preview),
        tty=bool(config["process"].get("terminal")),
    )
    root = rootfs_.Directory(directory)
    _join(preview, rootfs_.compile(root, facts), compiler.compile(config, facts, targets, context))
    return preview


def _join(preview: Preview, *parts: Plan) -> None:
    preview.plan = Plan(tuple(step for part in parts for step in part.steps))


def _image(roots: Roots, options: RunOptions, preview: Preview) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The image's config and layers. The embedded image needs no store: nothing is made for a look at it."""
    if options.rootfs:
        create.rootfs_option(options.rootfs)
        return {}, ()
    readable = os.access(roots.root, os.R_OK | os.X_OK) or not os.path.lexists(roots.root)
    if options.image in (images.EMBEDDED, images.EMBEDDED.partition(":")[0]) and (
        not readable or all(one.name != images.EMBEDDED for one in images.images(roots.root))
    ):
        preview.assumed.append(f"{options.image} as it would be made: the image store has none, or is root's")
        return embedded.configuration(), (os.path.join(roots.root, "layers", "<diff-id>"),)
    if not readable:
        raise StoreError(
            f'cannot read the image store "{roots.root}": you are not root',
            f"sudo minirt plan …, or look at {images.EMBEDDED.partition(':')[0]}, or at --rootfs DIR",
        )
    found = images.find(roots.root, options.image)
    return found.config, found.layers


def _user(options: RunOptions, text: str, preview: Preview) -> user.User:
    """Who the workload is. A name stands in the root filesystem; without one at hand it is taken to be root."""
    directory = create.rootfs_option(options.rootfs)[0] if options.rootfs else ""
    if directory:
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return user.resolve(descriptor, text, options.group_add)
        finally:
            os.close(descriptor)
    name, _, group = text.partition(":")
    if (name or "0").isdecimal() and (group or "0").isdecimal():
        uid = int(name or 0)
        return user.User(uid, int(group or 0), (int(group or 0),), "/root" if uid == 0 else "/")
    preview.assumed.append(f'user "{text}" is taken to be root: its number stands in the image')
    return user.User(0, 0, (0,), "/root")


def _survey(directory: str, config: dict[str, Any], preview: Preview) -> RootFacts:
    """What the paths of the specification meet; an image's are taken to exist, since nothing is mounted."""
    if not directory:
        preview.assumed.append("every mount point is taken to exist in the image")
        return RootFacts()
    directory = create.rootfs_option(directory)[0]
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return survey.survey(descriptor, config, directory)
    finally:
        os.close(descriptor)


def _own_files(targets: RootFacts, config: dict[str, Any], path: str) -> None:
    """/etc/hosts and its like will be files of the container's directory, which is not there yet."""
    for mount in config["mounts"]:
        target = targets.targets.get(mount["destination"])
        if target is not None and target.missing and str(mount.get("source")).startswith(path + "/"):
            target.kind = "file"


def _filter(config: dict[str, Any], facts: Host, cache: str, preview: Preview) -> Blob | None:
    place = cache if os.path.isdir(cache) else os.devnull  # a look at a plan leaves nothing behind
    try:
        return seccomp.filter_for(config, facts, place)
    except (MinirtError, OSError, ImportError) as error:
        preview.assumed.append(f"the seccomp filter was not compiled: {error}")
        return Blob(b"", "default profile")
