# SPDX-License-Identifier: Apache-2.0
"""nft(8) as a test uses it in the current namespace: to damage our tables, to open a gate for a positive control, and
to stand beside us as another program's rules do. Must not import minirt.
"""

from __future__ import annotations

import subprocess

import traces


def nft(script: str) -> str:
    """One script, one transaction."""
    told = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True)
    assert told.returncode == 0, f"{told.stderr}\n{script}"
    return told.stdout


def open_gate(family: str, chain: str) -> None:
    """Takes every rule out of one chain of ours: what it held back gets through. For positive controls."""
    nft(f"flush chain {family} {traces.table()} {chain}")


def listing(family: str, table: str) -> str:
    """Everything of one table, without counters."""
    told = subprocess.run(["nft", "-s", "list", "table", family, table], capture_output=True, text=True, check=True)
    return told.stdout
