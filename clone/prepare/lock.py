"""One process at a time for the examples of a recipe: what prepares them, and what removes them.

Knows nothing of what stands in them, and imports nothing heavy: commands that only remove use it too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from clone.errors import DataError
from clone.workspace import Workspace, hold


def holding(workspace: Workspace, name: str) -> AbstractContextManager[None]:
    """Keep every other process from changing the examples of recipe `name`. Raises DataError where one is at it."""

    def busy(other: str) -> DataError:
        return DataError(
            f"another clone (process {other}) is at work on {workspace.show(workspace.processed(name))}.",
            "Wait for it to end, or stop it, and run the same command again.",
        )

    return hold(workspace.prepare_lock(name), busy)
