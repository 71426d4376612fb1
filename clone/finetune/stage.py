"""The stage: from a recipe and a workspace to a finished run.

Checks everything that can fail before the first step: the data and its scrubbing, the hardware, the base, the state to
resume from. Knows nothing of terminals.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from lightning.fabric import Fabric

from clone import __version__
from clone.archive import Archive
from clone.errors import DataError, HardwareError, ModelError
from clone.finetune.examples import check_prepared
from clone.finetune.packed import PackedModel
from clone.finetune.schedule import default_peak, default_step_tokens
from clone.finetune.sequences import Sequences, load_sequences
from clone.finetune.state import STATE, Origin, Progress, check_same, read_state, unfinished_runs
from clone.finetune.train import Plan, StepReport, count_steps, memory_gb, train
from clone.lm.base import BaseFolder, n_parameters, resolve_base
from clone.lm.runs import write_card
from clone.lm.template import TEMPLATE_VERSION
from clone.lm.tokens import Tokens
from clone.lm.weights import AdapterMeta, add_adapter, open_model
from clone.recipe import Recipe
from clone.records import RunCard
from clone.workspace import Workspace, make_private_folder

CPU_LIMIT = 1_000_000_000  # weights above which a CPU would need weeks


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """What a run came to."""

    run: Path
    card: RunCard
    best_step: int
    n_planned: int
    train: Sequences
    validation: Sequences


def finetune(
    recipe: Recipe,
    workspace: Workspace,
    *,
    now: datetime,
    resume: bool = False,
    allow_stale: bool = False,
    on_progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
    on_note: Callable[[str], None] = lambda text: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FinetuneReport:
    """Train an adapter on the prepared data of a recipe.

    With `resume`, go on with the newest unfinished run. Raises what its parts raise, each a CloneError with a hint, and
    Stopped where `should_stop` asked for it.
    """
    settings = recipe.finetune
    revision = None
    if workspace.archive.exists():
        with Archive.open(workspace.archive) as archive:
            revision = archive.revision()
    prepared = check_prepared(workspace, recipe.name, revision, allow_stale=allow_stale)
    device = pick_device()
    check_hardware(settings.base, n_parameters(settings.base, workspace.bases), device, settings.precision)

    base = resolve_base(settings.base, workspace.bases, on_progress=on_progress, on_note=on_note)
    tokens = Tokens.load(base.path)
    max_tokens = min(settings.max_sequence_tokens or 2048, base.shape.block_size)
    sets = [
        load_sequences(
            prepared.folder / f"{name}.jsonl",
            tokens,
            base.path / "tokenizer.json",
            prepared.folder / "tokens",
            max_tokens,
            on_progress,
        )
        for name in ("train", "validation")
    ]
    sequences, held_out = sets
    check_graded(sequences, held_out, workspace.show(prepared.folder))

    plan = make_plan(recipe, base, sequences, device)
    origin = Origin(
        recipe=settings.model_dump(mode="json"),
        base=base.name,
        base_sha256=base.sha256,
        data_sha256=prepared.sha256,
        created_at=now.isoformat(),
        template=TEMPLATE_VERSION,
    )
    resume_from: tuple[Progress, dict[str, torch.Tensor]] | None = None
    if resume:
        runs = unfinished_runs(workspace.runs(recipe.name))
        if not runs:
            raise ModelError(f"no unfinished run of '{recipe.name}' to go on with.", "Start one: clone finetune")
        run = runs[-1]
        progress, begun, tensors = read_state(run)
        check_same(begun, origin, workspace.show(run))
        origin = begun
        resume_from = (progress, tensors)
    else:
        run = new_run(workspace.runs(recipe.name), now)

    on_progress("opening the base", 0, None)
    fabric = make_fabric(device)
    fabric.launch()
    torch.use_deterministic_algorithms(settings.deterministic)
    dtype = torch.float32 if device == "cpu" or settings.precision == "fp32" else torch.bfloat16
    if settings.precision == "bf16":
        dtype = torch.bfloat16
    model = open_model(base.path, device=fabric.device, dtype=dtype, is_head_tied=base.is_head_tied)
    add_adapter(
        model,
        targets=list(settings.lora_targets),
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        seed=settings.seed,
    )
    compiles = device == "cuda" if settings.compile is None else settings.compile
    packed = PackedModel(model, checkpointing=settings.checkpointing, compiles=compiles)
    meta = AdapterMeta(settings.lora_rank, settings.lora_alpha, base.name, base.sha256)
    try:
        at = train(
            fabric,
            packed,
            sequences,
            held_out,
            settings,
            plan,
            run,
            origin,
            meta,
            resume_from=resume_from,
            on_step=on_step,
            should_stop=should_stop,
        )
    except torch.OutOfMemoryError as error:
        raise HardwareError(
            f"out of memory on {device_name(device)} with rows of {plan.row_tokens:,} tokens.",
            f"Try --set finetune.row_tokens={plan.row_tokens // 2}, then --set finetune.checkpointing=true.",
        ) from error

    per_byte = held_out.n_learned / max(1, held_out.n_bytes) / math.log(2)
    card = RunCard(
        run_id=run.name,
        created_at=origin.created_at,
        clone_version=__version__,
        recipe=recipe.model_dump(mode="json"),
        base=base.name,
        base_sha256=base.sha256,
        data_sha256=prepared.sha256,
        template=TEMPLATE_VERSION,
        seed=settings.seed,
        n_steps=at.step,
        n_tokens=at.n_tokens,
        n_learned=at.n_learned,
        val_loss_before=at.val_loss_before,
        val_loss=at.val_loss,
        val_bits_per_byte_before=at.val_loss_before * per_byte,
        val_bits_per_byte=at.val_loss * per_byte,
        wall_s=round(at.wall_s, 3),
        device=device_name(device),
        peak_memory_gb=round(memory_gb(fabric.device), 3),
        versions=versions(),
    )
    if fabric.is_global_zero:
        write_card(run, card)
        (run / STATE).unlink(missing_ok=True)
    return FinetuneReport(run, card, at.best_step, plan.n_steps, sequences, held_out)


def pick_device() -> str:
    """Return "cuda" where there is a GPU, otherwise "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_hardware(base: str, n_weights: int | None, device: str, precision: str) -> None:
    """Raise HardwareError where training would take weeks or cannot work at all."""
    if device == "cpu" and n_weights is not None and n_weights > CPU_LIMIT:
        raise HardwareError(
            f"{base} has {n_weights / 1e9:.1f} billion weights and this machine has no GPU: training would take weeks.",
            "Without a GPU there are\n"
            "  clone finetune --base embedded                  tiny, comes with clone, trains in a minute\n"
            "  clone finetune --base EleutherAI/pythia-160m    0.4 GB, hours\n"
            "  clone finetune --base Qwen/Qwen3-0.6B           1.5 GB, a night; many languages\n"
            "or the same command on a machine with a GPU of 24 GB.",
        )
    if device == "cuda" and precision != "fp32" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise HardwareError(
            f"{torch.cuda.get_device_name()} cannot compute in bf16.", "Use fp32: --set finetune.precision=fp32"
        )


def check_graded(sequences: Sequences, held_out: Sequences, where: str) -> None:
    """Raise DataError where there is nothing to learn from or to be judged by."""
    for what, these in (("to train on", sequences), ("held out", held_out)):
        if len(these) == 0:
            reasons = [f"{n} {why}" for why, n in these.passed_over.items()]
            if these.n_too_long:
                reasons.append(f"{these.n_too_long} longer than the base can see")
            raise DataError(
                f"{where} has no reply {what}" + (f" ({', '.join(reasons)})." if reasons else "."),
                "Collect more chats, or change finetune.max_sequence_tokens or prepare.validation_share.",
            )


def make_plan(recipe: Recipe, base: BaseFolder, sequences: Sequences, device: str) -> Plan:
    """Return the recipe with everything decided that it left open."""
    settings = recipe.finetune
    row_tokens = settings.row_tokens or (8192 if device == "cuda" else 2048)
    step_tokens = settings.step_tokens or default_step_tokens(sequences.n_tokens)
    return Plan(
        peak_rate=settings.learning_rate or default_peak(base.shape.n_parameters),
        row_tokens=row_tokens,
        step_tokens=step_tokens,
        n_steps=count_steps(sequences, settings, step_tokens),
    )


def new_run(folder: Path, now: datetime) -> Path:
    """Create and return the folder of a new run, named by the time in UTC."""
    name = now.strftime("%Y%m%d-%H%M%S")
    make_private_folder(folder)
    for suffix in ("", *(f"-{i}" for i in range(2, 100))):
        try:
            (folder / f"{name}{suffix}").mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder / f"{name}{suffix}"
    raise AssertionError("a hundred runs in one second")


def make_fabric(device: str) -> Fabric:
    """Return the Fabric that places modules and carries gradients."""
    warnings.filterwarnings("ignore", module="lightning")
    return Fabric(accelerator=device, devices=1, precision="32-true")


def device_name(device: str) -> str:
    """Return the device in words."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"CPU, {torch.get_num_threads()} threads ({platform.machine()})"


def versions() -> dict[str, str]:
    """Return the versions of what computed a run."""
    names = ("torch", "lightning", "litgpt", "tokenizers", "safetensors")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
