"""Which twin: finished runs by name, their cards, and the base under them.

In come a workspace and what a person asked for, out comes a `Twin` ready to talk. Knows nothing of terminals or HTTP.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from clone.errors import DataError, HardwareError, ModelError, StageMissing
from clone.lm.template import TEMPLATE_VERSION
from clone.records import RunCard
from clone.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from clone.chat.eight_bit import EightBits
    from clone.chat.engine import EagerRunner
    from clone.chat.twin import Twin
    from clone.lm.base import BaseFolder
    from clone.lm.model import Transformer
    from clone.lm.tokens import Tokens
    from clone.recipe import ChatRecipe

OnProgress = Callable[[str, int, int | None], None]
_N_HELD_OUT = 64  # replies on which the cost of 8 bits is measured
_HOW_TO_HAVE_ONE = "clone finetune makes one; clone status says whether something comes before it."
_SMALL = 500_000_000  # weights
_TINY = 50_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run on disk."""

    path: Path
    card: RunCard

    @property
    def recipe_name(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


def find_run(workspace: Workspace, *, recipe_name: str | None = None, run: str | None = None) -> Run:
    """Return the newest finished run, of one recipe or of all, or the one that `run` names ("id" or "recipe/id").

    Raises StageMissing where there is none, DataError where the name is unknown or the card cannot be read.
    """
    found = [path for path in workspace.all_runs() if recipe_name in (None, path.parent.name)]
    if run is not None:
        named = [path for path in workspace.all_runs() if run in (path.name, f"{path.parent.name}/{path.name}")]
        if not named:
            names = [f"{path.parent.name}/{path.name}" for path in workspace.all_runs()]
            near = difflib.get_close_matches(run, names, n=3, cutoff=0.3) or names[-3:]
            if not names:
                raise StageMissing("there is no finished run yet.", _HOW_TO_HAVE_ONE)
            raise DataError(f"there is no finished run {run}.", "There are: " + ", ".join(near))
        return Run(named[-1], read_card(named[-1]))
    if not found:
        others = sorted({path.parent.name for path in workspace.all_runs()})
        if recipe_name and others:
            raise StageMissing(
                f"the recipe '{recipe_name}' has no finished run yet (there are runs of {', '.join(others)}).",
                "clone finetune with this recipe makes one; without a recipe it is the newest run that answers.",
            )
        raise StageMissing("there is no finished run yet.", _HOW_TO_HAVE_ONE)
    return Run(found[-1], read_card(found[-1]))


def read_card(run: Path) -> RunCard:
    """Return a run's card. Raises DataError for one that is damaged or was written by a newer clone."""
    path = run / "run.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} of the run {run.name} is damaged.", "Train again: clone finetune") from error
    wanted = [field.name for field in fields(RunCard)]
    needed = [field.name for field in fields(RunCard) if field.default is MISSING]
    missing = [name for name in needed if name not in values] if isinstance(values, dict) else needed
    template = values.get("template") if isinstance(values, dict) else None
    if missing or template != TEMPLATE_VERSION:
        version = values.get("clone_version", "?") if isinstance(values, dict) else "?"
        raise DataError(
            f"the run {run.name} was made by another clone ({version}) that this one cannot read"
            + (f": its template is {template}." if template not in (None, TEMPLATE_VERSION) else "."),
            "Upgrade clone, or train again: clone finetune",
        )
    return RunCard(**{name: values[name] for name in wanted if name in values})


def contacts_of(workspace: Workspace, recipe_name: str) -> tuple[str, ...]:
    """Return the pseudonyms that a recipe's examples name, () where the examples are gone."""
    try:
        manifest = json.loads((workspace.processed(recipe_name) / "manifest.json").read_text(encoding="utf-8"))
        return tuple(str(name) for name in manifest.get("contacts", ()))
    except (OSError, ValueError, AttributeError):
        return ()


def open_twin(
    workspace: Workspace,
    run: Run,
    recipe: ChatRecipe,
    *,
    base: str | None = None,
    adapter: str = "best",
    device: str | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
) -> Twin:
    """Return the twin of a run, on the GPU if there is one.

    `base` must be the one the run was trained on. Raises ModelError, HardwareError.
    """
    from clone.chat.engine import Engine
    from clone.chat.twin import Twin, marks_of
    from clone.lm.base import resolve_base
    from clone.lm.tokens import Tokens
    from clone.lm.weights import apply_adapter, merge_adapter, open_model, read_adapter

    if base is not None and base != run.card.base:
        raise ModelError(
            f"the run {run.name} was trained on {run.card.base}, not on {base}.",
            "Leave out --base, or choose another run with --run.",
        )
    path = run.path / f"{adapter}.safetensors"
    if not path.exists():
        raise ModelError(f"{run.name} has no {path.name}.", "Train again: clone finetune")
    on_progress("opening the base", 0, None)
    folder = resolve_base(run.card.base, workspace.bases, on_progress=on_progress)
    place = choose_device(device)
    if place.type == "cpu" and folder.shape.n_parameters < _TINY:
        import torch

        torch.set_num_threads(1)  # threads that wait for each other cost a tiny model more than they help
    tokens = Tokens.load(folder.path)
    model = open_model(folder.path, device=place, dtype=_dtype(place, folder), is_head_tied=folder.is_head_tied)
    apply_adapter(model, read_adapter(path), base=folder.name, base_sha256=folder.sha256)
    merge_adapter(model)
    notes: list[str] = []
    if recipe.weights != "as-is":
        held_out = workspace.processed(run.recipe_name) / "validation.jsonl"
        notes.append(_narrow(model, recipe.weights, tokens, held_out))
    engine = Engine(_runner(model, recipe.max_context_tokens), marks_of(tokens))
    return Twin(engine, tokens, run.name, run.card.base, contacts_of(workspace, run.recipe_name), tuple(notes))


def _runner(model: Transformer, n_context: int | None) -> EagerRunner:
    """Return the fastest runner that the device and the base allow."""
    from clone.chat.engine import EagerRunner

    if model.device.type == "cuda":
        try:
            from clone.chat.fast import FastRunner, can_run
        except ImportError:  # a build of torch without Triton
            return EagerRunner(model, n_context=n_context)
        if can_run(model.shape):
            return FastRunner(model, n_context=n_context)
    return EagerRunner(model, n_context=n_context)


def _narrow(model: Transformer, kind: EightBits, tokens: Tokens, held_out: Path) -> str:
    """Put the weights into 8 bits and return what that costs on held-out replies."""
    from clone.chat.eight_bit import to_eight_bits
    from clone.chat.held_out import held_out_loss, read_held_out

    examples = read_held_out(held_out, tokens, model.shape.block_size, most=_N_HELD_OUT)
    before = held_out_loss(model, examples) if examples else 0.0
    to_eight_bits(model, kind)
    if not examples:
        return f"weights in {kind}; there are no held-out replies to say what that costs"
    after = held_out_loss(model, examples)
    return (
        f"weights in {kind}: {after - before:+.4f} nats per graded token on {len(examples)} held-out replies "
        f"({before:.4f} → {after:.4f})"
    )


def choose_device(name: str | None) -> torch.device:
    """Return the device of that name, or the best there is. Raises HardwareError where there is no such device."""
    import torch

    if name is None or name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HardwareError(
            f"there is no usable device {name} here.", "Use --device cpu, or see clone doctor."
        ) from error
    return device


def _dtype(device: torch.device, folder: BaseFolder) -> torch.dtype | None:
    import torch

    if device.type == "cuda":
        return torch.bfloat16
    if device.type == "cpu" and folder.shape.n_parameters < _SMALL:
        return torch.float32  # several times as fast as bf16 on most CPUs, where the memory allows it
    return None  # as the file has it: mapped, not copied
