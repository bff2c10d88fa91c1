# SPDX-License-Identifier: Apache-2.0
"""What a container is called: 64 hex digits, a name, and whatever of the id is unique (docker-run(1) --name).

An id is the only thing that ever becomes part of a path, and ids are made here: a name is never one. Must not
import anything but errors.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue

ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
HEX = frozenset("0123456789abcdef")
NAME_LIMIT = 255
REMEDY = "names have 2 to 255 of these characters, and begin with a letter or digit"

ADJECTIVES = (
    "able agile amber awake bold brave breezy bright brisk calm candid careful cheerful clever cosmic crisp curious "
    "dapper daring eager early earnest easy elastic elegant fair faithful fearless festive fluent fond free fresh "
    "friendly frosty gentle gifted glad golden graceful grand happy hardy hearty helpful honest hopeful humble jolly "
    "jovial keen kind lively logical loyal lucid lucky mellow merry mighty mild modest musing neat nimble noble open "
    "patient peaceful placid plucky polite proud quick quiet radiant rapid ready relaxed robust serene sharp silent "
    "sincere sleek smart snappy solid spry stable steady stoic sunny swift tender thrifty tidy tranquil trusting "
    "upbeat valiant vivid warm wise witty zealous"
).split()
NOUNS = (
    "acorn alder anchor aspen badger basil beacon beaver birch bison breeze brook canyon cedar clover comet coral "
    "crane cricket cypress dolphin dragonfly dune eagle ember falcon fern finch fjord forest fox garnet gecko glacier "
    "granite grove harbor hare hawk hazel heron hill ibis iris island ivy jasmine juniper kestrel koala lagoon lark "
    "lemur lichen lily lotus lynx magpie maple marble marten meadow mesa moose moss nebula newt oak oasis ocelot "
    "olive orchid osprey otter owl panda pebble pelican pine plover poplar prairie puffin quail quartz raven reef "
    "river robin rowan sage salmon seal sequoia sparrow spruce squirrel stork summit swan teal thicket thrush tiger "
    "tulip valley walnut willow wolf wren yak yew zebra"
).split()


def new_id() -> str:
    """64 hex digits of the kernel's randomness. One in 70 000 000 begins with twelve decimal digits: those
    are drawn again, because Docker's short id must never look like a number."""
    while True:
        identity = os.urandom(32).hex()
        if not identity[:12].isdecimal():
            return identity


def new_name() -> str:
    """adjective_noun; some 15 000 of them. The caller draws again when it is taken."""
    draw = int.from_bytes(os.urandom(8), "little")
    draw, adjective = divmod(draw, len(ADJECTIVES))
    return f"{ADJECTIVES[adjective]}_{NOUNS[draw % len(NOUNS)]}"


def checked_name(text: str) -> str:
    """The name as stored. Grammar: [a-zA-Z0-9][a-zA-Z0-9_.-]+, with one leading slash dropped (Docker)."""
    name = text[1:] if text.startswith("/") else text
    if len(name) > NAME_LIMIT:
        raise InvalidValue(f"Invalid container name ({name[:32]}…): {len(name)} characters", REMEDY)
    if len(name) < 2 or not ALPHABET.issuperset(name) or name[0] in "_.-":
        raise InvalidValue(
            f"Invalid container name ({ascii(name)[1:-1]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", REMEDY
        )
    return name


def is_id(text: str) -> bool:
    return len(text) == 64 and HEX.issuperset(text)


def is_prefix(text: str) -> bool:
    """Whether it can be the beginning of an id at all."""
    return 0 < len(text) <= 64 and HEX.issuperset(text)


def short(identity: str) -> str:
    return identity[:12]
