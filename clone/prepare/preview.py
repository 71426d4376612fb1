"""A few examples as the model will see them.

In come the files of a recipe, out come rendered conversations: the template's segments, each with whether it is
learned. Knows nothing of terminals.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from clone.errors import DataError
from clone.lm.template import LearnedTurn, conversation_segments, read_bubbles, read_context
from clone.records import Role, Segment, Turn


def preview(folder: Path, n: int) -> list[list[Segment]]:
    """Return `n` examples spread evenly over the training file."""
    path = folder / "train.jsonl"
    if not (folder / "manifest.json").exists():
        raise DataError("there are no complete examples to show.", "clone prepare")
    with path.open("rb") as stream:
        n_lines = sum(1 for _ in stream)
    wanted = {n_lines * i // n for i in range(n)} if n_lines else set()
    with path.open(encoding="utf-8") as stream:
        lines = [line for i, line in enumerate(stream) if i in wanted]
    return [_segments(json.loads(line)) for line in lines]


def _segments(example: dict[str, str]) -> list[Segment]:
    turns = [LearnedTurn(turn, is_learned=False) for turn in _before(example)]
    reply = LearnedTurn(Turn(Role.ME, read_bubbles(example["response"])), is_learned=True)
    return conversation_segments(example["contact"], [*turns, reply])


def _before(example: dict[str, str]) -> Sequence[Turn]:
    turns = read_context(example["context"], example["contact"])
    if example["instruction"]:
        turns.append(Turn(Role.THEM, read_bubbles(example["instruction"])))
    return turns
