"""Runs on disk: the card that says what a training run was made of, written when it is finished.

`run.json` holds a `RunCard` and the number of its schema; its presence means that the run is whole.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from clone import __version__
from clone.errors import ModelError
from clone.records import RunCard
from clone.workspace import write_atomically

CARD = "run.json"
BEST = "best.safetensors"
LAST = "last.safetensors"
METRICS = "metrics.jsonl"
RUN_SCHEMA = 1


def write_card(folder: Path, card: RunCard) -> None:
    """Write a run's card: from here on the run is finished."""
    with write_atomically(folder / CARD) as stream:
        text = json.dumps({"schema": RUN_SCHEMA, **dataclasses.asdict(card)}, indent=1, ensure_ascii=False)
        stream.write(text + "\n")


def read_card(folder: Path) -> RunCard:
    """Return a run's card. Raises ModelError for a run that is unfinished, damaged or made by a newer clone."""
    path = folder / CARD
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        schema = int(fields.pop("schema", 1))
    except FileNotFoundError:
        raise ModelError(f"the run in {folder} is not finished.", "Go on with it: clone finetune --resume") from None
    except (ValueError, AttributeError, TypeError):
        raise ModelError(f"{path} is damaged.", "Choose another run: clone runs") from None
    if schema > RUN_SCHEMA:
        raise ModelError(
            f"the run in {folder} was made by clone {fields.get('clone_version', '?')}, this is {__version__}.",
            "Upgrade clone to use it.",
        )
    known = {field.name for field in dataclasses.fields(RunCard)}
    try:
        return RunCard(**{key: value for key, value in fields.items() if key in known})
    except TypeError:
        raise ModelError(f"{path} is damaged.", "Choose another run: clone runs") from None
