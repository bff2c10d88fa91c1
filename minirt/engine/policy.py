# SPDX-License-Identifier: Apache-2.0
"""Restart policies: `--restart no|always|unless-stopped|on-failure[:N]` (docker-run(1); moby's restartmanager.go).

    policy            after its end            after `stop`, `kill`      at boot
    no                –                        –                         –
    on-failure[:N]    unless the code is 0,    –                         –
                      at most N times
    unless-stopped    always                   –                         if not stopped by hand
    always            always                   –                         always

A restart waits 100 ms, then twice as long each time, at most a minute; a life of 10 s makes it 100 ms again. Pure.
"""

from __future__ import annotations

from minirt.errors import Conflict, InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.options import RunOptions

NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED = "no", "always", "on-failure", "unless-stopped"
FIRST_MS, LONGEST_MS = 100, 60_000
SETTLED_S = 10.0
GRAMMAR = "write --restart no, always, on-failure, on-failure:N or unless-stopped"
MOST_RETRIES = 2**63 - 1  # what Go's strconv.Atoi takes


class Policy:
    """name: one of the four. retries: how often at most, 0 without limit; only with on-failure."""

    __slots__ = ("name", "retries")

    def __init__(self, name: str, retries: int = 0) -> None:
        self.name = name
        self.retries = retries


def parse(text: str) -> Policy:
    """name[:retries]; "" is no. Raises InvalidValue in Docker's words (docker/cli opts/parse.go, moby
    hostconfig.go)."""
    name, colon, number = text.partition(":")
    if colon and not name:
        raise InvalidValue("invalid restart policy format: no policy provided before colon", GRAMMAR)
    digits = number.removeprefix("-") if number.startswith("-") else number.removeprefix("+")
    if number and not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) <= MOST_RETRIES):
        raise InvalidValue("invalid restart policy format: maximum retry count must be an integer", GRAMMAR)
    retries = int(number) if number else 0
    if not name:
        return Policy(NO)
    if name not in (NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED):
        raise InvalidValue(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
            GRAMMAR,
        )
    if name != ON_FAILURE and retries:
        also = " and cannot be negative" if retries < 0 else ""
        raise InvalidValue(
            f"invalid restart policy: maximum retry count can only be used with 'on-failure'{also}", GRAMMAR
        )
    if retries < 0:
        raise InvalidValue("invalid restart policy: maximum retry count cannot be negative", GRAMMAR)
    return Policy(name, retries)


def check(options: RunOptions) -> None:
    """What `run` and `create` may ask for. Raises InvalidValue."""
    if parse(options.restart).name != NO and options.auto_remove:
        raise InvalidValue("conflicting options: cannot specify both --restart and --rm", "leave one of them out")


def check_change(options: RunOptions, text: str) -> None:
    """What `update --restart` may ask for. Raises InvalidValue, Conflict."""
    if parse(text).name != NO and options.auto_remove:
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")


def is_wanted(policy: Policy, exit_code: int | None, count: int, by_hand: bool) -> bool:
    """Whether a container that has ended is started again. exit_code None: nobody saw how it ended, so nobody saw it
    succeed. count: how often it has been."""
    if policy.name == NO or by_hand:
        return False
    return policy.name != ON_FAILURE or (exit_code != 0 and (not policy.retries or count < policy.retries))


def is_wanted_at_boot(policy: Policy, by_hand: bool) -> bool:
    return policy.name == ALWAYS or (policy.name == UNLESS_STOPPED and not by_hand)


def delay_ms(before_ms: int, lived_s: float) -> int:
    """How long to wait. before_ms: how long the last time, 0 for never."""
    if before_ms <= 0 or lived_s >= SETTLED_S:
        return FIRST_MS
    return min(2 * before_ms, LONGEST_MS)
