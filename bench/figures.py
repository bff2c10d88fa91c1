# SPDX-License-Identifier: Apache-2.0
"""The figures of one benchmark: medians in a table, how many times minirt's each is, and what was aimed at."""

from __future__ import annotations

import statistics
from typing import NamedTuple

ORDER = ("minirt", "docker", "podman", "skopeo", "runc", "bwrap", "bare C")
WIDTH = 47


class Target(NamedTuple):
    """For rows that begin with `row`: minirt is `factor` times faster than the fastest of `others`, or needs at most
    `most` of `unit`."""

    row: str
    factor: float = 0.0
    others: tuple[str, ...] = ()
    most: float = 0.0
    unit: str = ""

    def verdict(self, row: str, medians: dict[str, float]) -> str:
        """One line: reached or missed; "" if the figures do not say."""
        own = medians.get("minirt")
        asked = [name for name in self.others if name in medians]
        if own is None or not (asked or self.unit):
            return ""
        if self.unit:
            word = "reached" if own <= self.most else "MISSED "
            return f"{word} {row}: {own:.1f} of at most {self.most:.0f} {self.unit}"
        fastest = min(asked, key=lambda name: medians[name])
        ratio = medians[fastest] / own if own else 0.0
        word = "reached" if ratio >= self.factor else "MISSED "
        return f"{word} {row}: {ratio:.2f} of {self.factor:g} x {fastest}"


class Table:
    """rows[row][peer]: every figure that was taken, in order."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[float]]] = {}

    def note(self, row: str, peer: str, value: float) -> None:
        self.rows.setdefault(row, {}).setdefault(peer, []).append(value)

    def medians(self, row: str) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.rows[row].items()}

    def text(self) -> str:
        """Medians (milliseconds where the row does not say otherwise), and below each how many times minirt's it is."""
        names = [name for name in ORDER if any(name in figures for figures in self.rows.values())]
        lines = [f"{'':{WIDTH}}" + "".join(f"{name:>12}" for name in names)]
        for row in self.rows:
            medians = self.medians(row)
            cells = "".join(f"{medians[name]:12.1f}" if name in medians else f"{'':12}" for name in names)
            lines.append(f"{row:{WIDTH}}{cells}".rstrip())
            if own := medians.get("minirt"):
                ratios = (f"{medians[name] / own:11.2f}x" if name in medians else f"{'':12}" for name in names)
                lines.append(f"{'':{WIDTH}}{''.join(ratios)}".rstrip())
        return "\n".join(lines)

    def verdicts(self, targets: tuple[Target, ...]) -> list[str]:
        """Each target that the figures can be held against, in the table's order."""
        found = [
            target.verdict(row, self.medians(row))
            for row in self.rows
            for target in targets
            if (row == target.row if target.factor else row.startswith(target.row))
        ]
        return [line for line in found if line]
