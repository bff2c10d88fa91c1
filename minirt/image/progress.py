# SPDX-License-Identifier: Apache-2.0
"""What happens to a layer, in Docker's words, told to whoever shows it (docker-pull(1), docker-push(1)).

The room tells; it does not print. This class hears everything and says nothing: the one for work that nobody watches.
"""

from __future__ import annotations

PULLING = "Pulling fs layer"
WAITING = "Waiting"
DOWNLOADING = "Downloading"
VERIFYING = "Verifying Checksum"
DOWNLOADED = "Download complete"
EXTRACTING = "Extracting"
COMPLETE = "Pull complete"
EXISTS = "Already exists"

PREPARING = "Preparing"
PUSHING = "Pushing"
PUSHED = "Pushed"
MOUNTED = "Mounted from"
LAYER_EXISTS = "Layer already exists"


class Progress:
    """One piece of work. Its method is called by several threads at once."""

    __slots__ = ()

    def tell(self, digest_hex: str, state: str, done: int = 0, total: int = 0) -> None:
        """`state` is one of the constants above; done and total in bytes where it moves, else 0."""

    def say(self, text: str) -> None:
        """A line about the whole."""

    def warn(self, text: str) -> None:
        """What is unsafe and can be mended, for people who want to know it even where nothing else is shown."""
