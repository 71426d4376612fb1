"""Where a run stands: all that is needed to go on as if it had never stopped.

One safetensors file, replaced whole: LoRA matrices, AdamW's two moments, and in its metadata the counters and what the
run was made of. The order of the data and the random numbers of a step follow from seed and step.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from clone.errors import ModelError
from clone.lm.runs import CARD
from clone.workspace import write_atomically

STATE = "resume.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_SCHEMA = 2  # rises when steps are planned in another way, so that a run begun before cannot go on to the same bytes


@dataclass(slots=True)
class Progress:
    """The counters of a run, as they stand after `step` optimizer steps."""

    step: int = 0
    n_tokens: int = 0
    n_learned: int = 0
    wall_s: float = 0.0
    val_loss_before: float = float("nan")  # nats per graded token
    val_loss: float = float("inf")  # the best so far
    best_step: int = 0
    n_worse: int = 0  # evaluations since the best


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run was made of. A run goes on only where all of it is the same."""

    recipe: Mapping[str, Any]
    base: str
    base_sha256: str
    data_sha256: str
    created_at: str
    template: str = ""
    schema: int = field(default=_SCHEMA)


def save_state(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, at: Progress, of: Origin
) -> None:
    """Write where the run stands, over where it stood."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"parameter.{name}"] = parameter.detach().cpu().contiguous()
        for moment in _MOMENTS:
            value = optimizer.state[parameter].get(moment)
            if value is not None:
                tensors[f"{moment}.{name}"] = value.detach().cpu().contiguous()
    meta = {"progress": json.dumps(dataclasses.asdict(at)), "origin": json.dumps(dataclasses.asdict(of))}
    with write_atomically(folder / STATE, binary=True) as stream:
        stream.write(save(tensors, meta))


def read_state(folder: Path) -> tuple[Progress, Origin, dict[str, Tensor]]:
    """Return where an unfinished run stands. Raises ModelError for a state that is damaged or of a newer clone."""
    path = folder / STATE
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata()
            origin = json.loads(meta["origin"])
            if int(origin["schema"]) > _SCHEMA:
                raise ModelError(f"the run in {folder} was begun by a newer clone.", "Upgrade clone to go on with it.")
            if int(origin["schema"]) < _SCHEMA:
                raise ModelError(
                    f"the run in {folder} was begun by an older clone, which planned its steps in another way.",
                    "Start a new run: clone finetune. The old run's adapters stay as they are.",
                )
            progress = Progress(**json.loads(meta["progress"]))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return progress, Origin(**origin), tensors
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is damaged.", "Start a new run: clone finetune") from error


def restore(
    tensors: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Put parameters and moments back where they were."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
    if step == 0:
        return
    state = optimizer.state_dict()
    names = {id(parameter): name for name, parameter in parameters.items()}
    ordered = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    state["state"] = {
        i: {"step": torch.tensor(float(step)), **{moment: tensors[f"{moment}.{name}"] for moment in _MOMENTS}}
        for i, name in enumerate(ordered)
    }
    optimizer.load_state_dict(state)


def unfinished_runs(runs_folder: Path) -> list[Path]:
    """Return the runs that can be gone on with, oldest first."""
    found = sorted(path.parent for path in runs_folder.glob(f"*/{STATE}"))
    return [run for run in found if not (run / CARD).exists()]


def check_same(then: Origin, now: Origin, run: str) -> None:
    """Raise ModelError, naming each difference, unless a run may go on with what is given now."""
    if then.base_sha256 != now.base_sha256:
        raise ModelError(
            f"{run} was begun on the base {then.base}, not on this {now.base} (their weights differ).",
            "Give the same base, or start a new run without --resume.",
        )
    if then.data_sha256 != now.data_sha256:
        raise ModelError(
            f"{run} was begun on other examples: the prepared data has changed since.",
            "Start a new run without --resume.",
        )
    if then.template != now.template:
        raise ModelError(f"{run} was begun with the template {then.template}.", "Start a new run without --resume.")
    differ = [key for key in now.recipe if then.recipe.get(key) != now.recipe[key]]
    if differ:
        lines = "".join(f"\n  finetune.{key}: {then.recipe.get(key)} then, {now.recipe[key]} now" for key in differ)
        raise ModelError(
            f"{run} was begun with other settings:{lines}",
            "Set them as they were, or start a new run without --resume.",
        )
