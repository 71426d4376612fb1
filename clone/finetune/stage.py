"""The stage: from a recipe and a workspace to a finished run.

Checks everything that can fail before the first step: the data and its scrubbing, the hardware, the base, the state to
resume from. Knows nothing of terminals.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from clone import __version__
from clone.archive import Archive
from clone.errors import DataError, HardwareError, ModelError
from clone.finetune.devices import (
    Strategy,
    check_alike,
    check_shardable,
    in_turn,
    is_sharded,
    join_blocks,
    losing_none,
    make_fabric,
    open_shards,
)
from clone.finetune.examples import Prepared, check_foreign, check_prepared
from clone.finetune.fabric import Fabric
from clone.finetune.frozen import check_fp8
from clone.finetune.packed import OnBlock, PackedModel, head_chunk, warm_up
from clone.finetune.parallel import ParallelBlock, is_parallel_block
from clone.finetune.plot import write_plots
from clone.finetune.rows import GPU_ROW
from clone.finetune.schedule import default_peak, default_step_tokens
from clone.finetune.sequences import Part, Sequences, load_sequences
from clone.finetune.start import Beside, Start
from clone.finetune.state import STATE, Origin, Progress, check_same, read_state, unfinished_runs
from clone.finetune.train import Plan, StepReport, count_steps, measure_steps, memory_gb, train
from clone.lm.base import BaseFolder, known_shape, n_parameters, resolve_base
from clone.lm.runs import write_card
from clone.lm.shape import Shape
from clone.lm.template import TEMPLATE_VERSION
from clone.lm.tokens import Tokens
from clone.lm.weights import AdapterMeta, adapter_parameters, add_adapter, open_model
from clone.recipe import FinetuneRecipe, Recipe
from clone.records import RunCard
from clone.workspace import Workspace, make_private_folder

CPU_LIMIT = 1_000_000_000  # weights above which a CPU would need weeks
_SAFE_SHARE = 0.92  # of a card's memory


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """What a run came to."""

    run: Path
    card: RunCard
    best_step: int
    n_planned: int
    train: Sequences
    validation: Sequences


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would take, from a few measured steps."""

    settings: FinetuneRecipe
    base: str
    plan: Plan
    train: Sequences
    validation: Sequences
    seconds_a_step: float
    seconds: float  # of the whole run, its evaluations included
    memory_gb: float
    device: str
    device_memory_gb: float
    disk_gb: float  # adapters and the state to resume from
    tokens_a_character: float
    ways_to_lower: list[str]  # what to type for less memory


@dataclass(frozen=True, slots=True)
class _Ready:
    """Everything that stands before the first step."""

    settings: FinetuneRecipe
    fabric: Fabric
    device: str
    base: BaseFolder
    data_sha256: str
    contacts: tuple[str, ...] | None  # pseudonyms in the examples, None for a stranger's file
    train: Sequences
    validation: Sequences
    plan: Plan
    opening: Beside[PackedModel]


# The run's folder, what it was begun with, and where it stands, None for a new one.
_Standing = tuple[Path, Origin, tuple[Progress, dict[str, torch.Tensor]] | None]
OnProgress = Callable[[str, int, int | None], None]
OnNote = Callable[[str], None]


def finetune(
    recipe: Recipe,
    workspace: Workspace,
    *,
    now: datetime,
    resume: bool = False,
    allow_stale: bool = False,
    data: Path | None = None,
    is_auto: bool = False,
    fabric: Fabric | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
    on_note: OnNote = lambda text: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
    start: Start | None = None,
) -> FinetuneReport:
    """Train an adapter on the prepared data of a recipe, or on the examples in `data`, which were not scrubbed by us.

    With `resume`, go on with the newest unfinished run. With `is_auto`, what the recipe leaves open about memory is
    chosen for the card. `fabric` is one that is launched already. `start` counts the seconds before the first step,
    which stand in the run's metrics. Raises what its parts raise, each a CloneError with a hint, and Stopped where
    `should_stop` asked for it.
    """
    start = start or Start()
    getting_ready = _get_ready(recipe, workspace, allow_stale, data, is_auto, fabric, on_progress, on_note, start)
    with getting_ready as ready:
        return _train_and_tell(ready, recipe, workspace, now, resume, on_progress, on_step, should_stop, start)


def _train_and_tell(
    ready: _Ready,
    recipe: Recipe,
    workspace: Workspace,
    now: datetime,
    resume: bool,
    on_progress: OnProgress,
    on_step: Callable[[StepReport], None],
    should_stop: Callable[[], bool],
    start: Start,
) -> FinetuneReport:
    settings, plan, base, fabric = ready.settings, ready.plan, ready.base, ready.fabric
    origin = Origin(
        recipe=settings.model_dump(mode="json"),
        base=base.name,
        base_sha256=base.sha256,
        data_sha256=ready.data_sha256,
        created_at=now.isoformat(),
        template=TEMPLATE_VERSION,
    )
    standing: _Standing | None = _look_for_unfinished(recipe, workspace, fabric, origin) if resume else None
    try:
        with start.part("waiting for the base"):
            model = ready.opening.wait(lambda done, total: on_progress("opening the base", done, total))
        if standing is None:
            mine = new_run(workspace.runs(recipe.name), now) if fabric.is_global_zero else workspace.root
            standing = (fabric.broadcast(mine), origin, None)
        run, origin, resume_from = standing
        with losing_none(fabric, f"Start all processes again with --resume: {workspace.show(run)} goes on."):
            at = train(
                fabric,
                model,
                ready.train,
                ready.validation,
                settings,
                plan,
                run,
                origin,
                AdapterMeta(settings.lora_rank, settings.lora_alpha, base.name, base.sha256),
                start,
                resume_from=resume_from,
                on_step=on_step,
                should_stop=should_stop,
            )
    except RuntimeError as error:
        if not _ran_out(error):
            raise
        raise _too_large(settings, plan, ready.device, fabric) from error

    per_byte = ready.validation.n_learned / max(1, ready.validation.n_bytes) / math.log(2)
    card = RunCard(
        run_id=run.name,
        created_at=origin.created_at,
        clone_version=__version__,
        recipe=recipe.model_copy(update={"finetune": settings}).model_dump(mode="json"),
        base=base.name,
        base_sha256=base.sha256,
        data_sha256=ready.data_sha256,
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
        device=device_name(ready.device, fabric.world_size),
        peak_memory_gb=round(memory_gb(fabric.device), 3),
        versions=versions(),
        contacts=ready.contacts,
    )
    if fabric.is_global_zero:
        write_card(run, card)
        (run / STATE).unlink(missing_ok=True)
        write_plots(run)
    fabric.barrier()
    return FinetuneReport(run, card, at.best_step, plan.n_steps, ready.train, ready.validation)


def _look_for_unfinished(recipe: Recipe, workspace: Workspace, fabric: Fabric, origin: Origin) -> _Standing:
    """Return the newest unfinished run, what it was made of and where it stands, as the first process finds them."""
    found: list[Any] = []

    def look() -> None:
        if not fabric.is_global_zero:
            return
        runs = unfinished_runs(workspace.runs(recipe.name))
        if not runs:
            raise ModelError(f"no unfinished run of '{recipe.name}' to go on with.", "Start one: clone finetune")
        progress, begun, tensors = read_state(runs[-1])
        check_same(begun, origin, workspace.show(runs[-1]))
        found.extend((runs[-1], begun, (progress, tensors)))

    in_turn(fabric, look)
    run, begun, stands = fabric.broadcast(found)
    return run, begun, stands


def dry_run(
    recipe: Recipe,
    workspace: Workspace,
    *,
    allow_stale: bool = False,
    data: Path | None = None,
    is_auto: bool = False,
    n_measured: int = 3,
    on_progress: OnProgress = lambda what, done, total: None,
    on_note: OnNote = lambda text: None,
) -> DryRun:
    """Return what `finetune` would take, from `n_measured` real steps that are thrown away. Leaves no run.

    Raises HardwareError, naming the settings to lower, where it does not fit.
    """
    getting_ready = _get_ready(recipe, workspace, allow_stale, data, is_auto, None, on_progress, on_note, Start())
    with getting_ready as ready:
        settings, plan = ready.settings, ready.plan
        try:
            with losing_none(ready.fabric, "Its own message says why."):
                model = ready.opening.wait(lambda done, total: on_progress("opening the base", done, total))
                on_progress("measuring steps", 0, None)
                seconds = measure_steps(ready.fabric, model, ready.train, settings, plan, n_measured)
        except RuntimeError as error:
            if not _ran_out(error):
                raise
            raise _too_large(settings, plan, ready.device, ready.fabric) from error
    n_weights = sum(p.numel() for p in adapter_parameters(model.model).values())
    # An evaluation costs a forward pass, a third of a step, for each token.
    evaluation = seconds / plan.step_tokens * ready.validation.n_tokens / 3  # spread over the devices as a step is
    total_gb = (
        torch.cuda.get_device_properties(ready.fabric.device).total_memory / 1e9 if ready.device == "cuda" else 0.0
    )
    return DryRun(
        settings=settings,
        base=ready.base.name,
        plan=plan,
        train=ready.train,
        validation=ready.validation,
        seconds_a_step=seconds,
        seconds=seconds * plan.n_steps + evaluation * (1 + settings.evaluations),
        memory_gb=memory_gb(ready.fabric.device),
        device=device_name(ready.device, ready.fabric.world_size),
        device_memory_gb=total_gb,
        disk_gb=n_weights * 4 * (2 + 3) / 1e9,
        tokens_a_character=ready.train.n_tokens / max(1, ready.train.n_characters),
        ways_to_lower=ways_to_lower(settings, plan, ready.device, ready.fabric),
    )


@contextmanager
def _get_ready(
    recipe: Recipe,
    workspace: Workspace,
    allow_stale: bool,
    data: Path | None,
    is_auto: bool,
    fabric: Fabric | None,
    on_progress: OnProgress,
    on_note: OnNote,
    start: Start,
) -> Iterator[_Ready]:
    """Yield what stands before the first step; the base, which takes longest, is opened beside the tokenising."""
    settings = recipe.finetune
    with start.part("checks"):
        prepared, files = _check_data(recipe, workspace, data, allow_stale)
        device = pick_device()
        check_hardware(settings.base, n_parameters(settings.base, workspace.bases), device, settings.precision)
    if fabric is None:
        with start.part("processes"):
            strategy, why = choose_strategy(settings, known_shape(settings.base, workspace.bases), device, is_auto)
            fabric = make_fabric(device, strategy, settings.devices, settings.nodes)
        if why and fabric.is_global_zero:
            on_note(why)
    if not fabric.is_global_zero:
        on_progress, on_note = _unseen, _unheard
    base = _find_base(settings, workspace, fabric, on_progress, on_note, start)
    if is_auto and device == "cuda":
        n_shards = fabric.world_size if is_sharded(fabric) else 1
        settings = fit_card(settings, base.shape, *card_of(fabric.device), n_shards=n_shards)
        on_note(
            f"For this card: rows of {settings.row_tokens:,} tokens, frozen weights {settings.frozen}, "
            f"activations {'recomputed' if settings.checkpointing else 'kept'}."
        )
    elif is_auto:
        on_note("--auto chooses for a GPU; this machine has none, so the settings stay as they are.")
    torch.use_deterministic_algorithms(settings.deterministic)
    on_progress("opening the base", 0, None)
    opening = _start_opening(settings, base, fabric, start)
    try:
        loaded: list[Sequences] = []

        def load() -> None:
            tokens = Tokens.load(base.path)
            max_tokens = min(settings.max_sequence_tokens or 2048, base.shape.block_size)
            cache = workspace.processed(recipe.name) / "tokens"
            tokenizer = base.path / "tokenizer.json"
            for path, part in files:
                loaded.append(load_sequences(path, tokens, tokenizer, cache, max_tokens, on_progress, part))
            check_graded(loaded[0], loaded[1], workspace.show(data or prepared.folder))

        with start.part("tokens"):
            in_turn(fabric, load)  # the first tokenises, the others find it done
        sequences, held_out = loaded
        plan = make_plan(settings, base.shape, sequences, device)
        facts = {"the recipe": settings.model_dump(mode="json"), "the base": base.sha256, "the data": prepared.sha256}
        check_alike(fabric, {**facts, "the strategy": is_sharded(fabric), "the steps": plan})
        contacts = prepared.manifest.get("contacts")
        known = None if contacts is None else tuple(str(name) for name in contacts)
        yield _Ready(settings, fabric, device, base, prepared.sha256, known, sequences, held_out, plan, opening)
    finally:
        opening.give_up()


def _check_data(
    recipe: Recipe, workspace: Workspace, data: Path | None, allow_stale: bool
) -> tuple[Prepared, list[tuple[Path, Part]]]:
    """Return the prepared data, or a stranger's, and its two files: to train on and held out."""
    if data is not None:
        share = recipe.prepare.validation_share
        return check_foreign(data), [(data, ("train", share)), (data, ("held-out", share))]
    revision = None
    if workspace.archive.exists():
        with Archive.open(workspace.archive) as archive:
            revision = archive.revision()
    prepared = check_prepared(workspace, recipe.name, revision, allow_stale=allow_stale)
    return prepared, [(prepared.folder / f"{n}.jsonl", None) for n in ("train", "validation")]


def _find_base(
    settings: FinetuneRecipe,
    workspace: Workspace,
    fabric: Fabric,
    on_progress: OnProgress,
    on_note: OnNote,
    start: Start,
) -> BaseFolder:
    found: list[BaseFolder] = []

    def find() -> None:
        found.append(resolve_base(settings.base, workspace.bases, on_progress=on_progress, on_note=on_note))

    with start.part("finding the base"):
        in_turn(fabric, find)  # the first fetches and converts, the others find it done
    return found[0]


def _start_opening(settings: FinetuneRecipe, base: BaseFolder, fabric: Fabric, start: Start) -> Beside[PackedModel]:
    """Begin to open the base in a thread; as soon as a hand-written block stands, its kernels are compiled in another.

    Opening says nothing to other processes, so that these may tokenise in turn meanwhile.
    """
    shape = base.shape

    def compile_kernels(block: ParallelBlock) -> None:
        with start.part("kernels"):
            warm_up(block, shape)

    def work(beside: Beside[PackedModel]) -> PackedModel:
        def on_block(done: int, total: int, block: ParallelBlock | None) -> None:
            beside.reached(done, total)
            if done == 1 and block is not None:
                beside.also(lambda: compile_kernels(block))

        with start.part("opening the base"):
            return open_packed(settings, base, fabric, on_block)

    # On a CPU there is nothing to hide, and a model that another thread has opened trains at half the speed there.
    return Beside(work, at_once=fabric.device.type == "cpu")


def _unseen(what: str, done: int, total: int | None) -> None:
    """Show nothing: only the first process tells."""


def _unheard(text: str) -> None:
    """Say nothing: only the first process tells."""


def open_packed(
    settings: FinetuneRecipe,
    base: BaseFolder,
    fabric: Fabric,
    on_block: OnBlock = lambda done, total, block: None,
) -> PackedModel:
    """Return the base on the device with a fresh adapter, ready for packed rows."""
    device = fabric.device
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    if settings.precision == "auto" and device.type == "cuda":
        dtype = torch.bfloat16
    if settings.frozen == "fp8":
        check_fp8(device)
    # Mapped from the file, and moved to the device block by block: a card need not hold the base in full width.
    if is_sharded(fabric):
        model = open_shards(fabric, base, dtype)
    else:
        model = open_model(base.path, is_head_tied=base.is_head_tied)
    add_adapter(
        model,
        targets=list(settings.lora_targets),
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        seed=settings.seed,
    )
    compiles = device.type == "cuda" if settings.compile is None else settings.compile
    if is_sharded(fabric):
        packed = PackedModel(model, checkpointing=settings.checkpointing, pads=compiles, fuses=False)
        join_blocks(fabric, packed, compiles)
        return packed
    return PackedModel(
        model,
        device=device,
        dtype=dtype,
        frozen=settings.frozen,
        checkpointing=settings.checkpointing,
        compiles=compiles,
        on_block=on_block,
    )


def activation_bytes(shape: Shape, checkpointing: bool) -> float:
    """Return the bytes that a token of a row takes while its gradients are awaited (measured on Falcon-7B, bf16)."""
    n_wide = 4 if is_parallel_block(shape) else 7  # hand-written blocks keep less
    inside = 2 * (n_wide * shape.n_embd + 2 * shape.intermediate_size)  # what one block keeps
    between = 2 * shape.n_embd
    return shape.n_layer * between + 2 * inside if checkpointing else shape.n_layer * inside


def needed_bytes(shape: Shape, frozen: str, checkpointing: bool, row_tokens: int, n_shards: int = 1) -> float:
    """Return the memory that training in bf16 takes on a GPU, rather too much than too little.

    Of Falcon-7B it says 45.9, 17.5 and 7.1 GB where 44.4 (rows of 8,448), 16.8 (4,224, checkpointing) and 6.8 GB
    (2,816, nf4, checkpointing) were measured.
    """
    embedding = 2 * shape.vocab_size * shape.n_embd
    blocks = (shape.n_parameters - shape.vocab_size * shape.n_embd) * (0.5 + 2 / 64 if frozen == "nf4" else 2)
    if n_shards > 1:
        blocks = blocks / n_shards + 3 * blocks / shape.n_layer  # the block in use, the one fetched and its wire copy
    head = head_chunk(checkpointing) * shape.vocab_size * 10  # logits in bf16 and fp32, with their gradients
    rest = 1.2e9  # the adapter with its moments, a widened weight, the CUDA context
    return blocks + embedding + head + row_tokens * activation_bytes(shape, checkpointing) + rest


def fit_card(
    settings: FinetuneRecipe, shape: Shape, total_bytes: int, capability: tuple[int, int], n_shards: int = 1
) -> FinetuneRecipe:
    """Return settings with rows, checkpointing and the keeping of weights chosen for a card, the fastest that fits.

    What the recipe says of them itself stays. Shards keep the weights as they are.
    """
    fast = "fp8" if capability >= (9, 0) and n_shards == 1 else "same"
    tries = [(fast, False, rows) for rows in (GPU_ROW, GPU_ROW // 2)]
    tries += [(fast, True, rows) for rows in (GPU_ROW, GPU_ROW // 2, GPU_ROW // 4)]
    if n_shards == 1:
        tries += [("nf4", True, rows) for rows in (GPU_ROW, GPU_ROW // 2, GPU_ROW // 4, GPU_ROW // 8)]
    for choice in tries:
        given = dict(zip(("frozen", "checkpointing", "row_tokens"), choice, strict=True))
        given |= {key: getattr(settings, key) for key in given.keys() & settings.model_fields_set}
        chosen = settings.model_copy(update={**given, "row_tokens": given["row_tokens"] or choice[2]})
        needed = needed_bytes(shape, chosen.frozen, chosen.checkpointing, chosen.row_tokens or 0, n_shards)
        if needed <= _SAFE_SHARE * total_bytes:
            return chosen
    where = f"{n_shards} cards" if n_shards > 1 else "a card"
    how = "in shards" if n_shards > 1 else "as the recipe has it" if settings.model_fields_set else "even in four bits"
    raise HardwareError(
        f"this base does not fit {where} of {total_bytes / 1e9:.0f} GB, {how}.",
        "Choose a smaller base, or more GPUs: finetune.devices with finetune.strategy=fsdp.",
    )


def choose_strategy(settings: FinetuneRecipe, shape: Shape | None, device: str, is_auto: bool) -> tuple[Strategy, str]:
    """Return how the recipe's devices share the work, and a word on it where that was decided here.

    DDP, which moves least, wherever the base fits one card with a row; FSDP otherwise. Raises RecipeError for settings
    that do not go together.
    """
    n = settings.devices * settings.nodes
    if settings.strategy == "fsdp":
        check_shardable(settings)
        return "fsdp", ""
    if n == 1:
        return "one", ""
    if settings.strategy == "ddp" or device != "cuda" or shape is None or settings.frozen != "same":
        return "ddp", ""
    total, capability = card_of(torch.device("cuda", 0))
    if is_auto:
        try:
            fit_card(settings.model_copy(update={"frozen": "same"}), shape, total, capability)
        except HardwareError:
            return (
                "fsdp",
                f"The base does not fit one card of {total / 1e9:.0f} GB: its weights are cut over {n} (FSDP).",
            )
        return "ddp", ""
    needed = needed_bytes(shape, "same", settings.checkpointing, settings.row_tokens or GPU_ROW)
    if needed <= _SAFE_SHARE * total:
        return "ddp", ""
    return "fsdp", (
        f"On one card this would take {needed / 1e9:.0f} of {total / 1e9:.0f} GB: its weights are cut over {n} (FSDP)."
    )


def card_of(device: torch.device) -> tuple[int, tuple[int, int]]:
    """Return a GPU's memory in bytes (what this process may use of it), and its generation."""
    properties = torch.cuda.get_device_properties(device)
    share = torch.cuda.get_per_process_memory_fraction(device)
    return int(properties.total_memory * share), torch.cuda.get_device_capability(device)


def _ran_out(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def ways_to_lower(settings: FinetuneRecipe, plan: Plan, device: str, fabric: Fabric) -> list[str]:
    """Return what to type for less memory, what costs least first."""
    ways = [f"--set finetune.row_tokens={max(128, plan.row_tokens // 2)}"]
    if not settings.checkpointing:
        ways.append("--set finetune.checkpointing=true")
    if fabric.world_size > 1 and not is_sharded(fabric) and settings.frozen == "same":
        ways.append("--set finetune.strategy=fsdp")
    if settings.frozen != "nf4" and device == "cuda" and not is_sharded(fabric):
        ways.append("--set finetune.frozen=nf4")
    return ways


def _too_large(settings: FinetuneRecipe, plan: Plan, device: str, fabric: Fabric) -> HardwareError:
    ways = ways_to_lower(settings, plan, device, fabric)
    return HardwareError(
        f"out of memory on {device_name(device)} with rows of {plan.row_tokens:,} tokens.",
        f"Try {', then '.join(ways)}" + ("; or let clone choose: clone finetune --auto" if device == "cuda" else "."),
    )


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


def make_plan(settings: FinetuneRecipe, shape: Shape, sequences: Sequences, device: str) -> Plan:
    """Return the recipe with everything decided that it left open."""
    row_tokens = settings.row_tokens or (GPU_ROW if device == "cuda" else 2048)
    step_tokens = settings.step_tokens or default_step_tokens(sequences.n_tokens)
    return Plan(
        peak_rate=settings.learning_rate or default_peak(shape.n_parameters),
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


def device_name(device: str, n: int = 1) -> str:
    """Return the device in words."""
    n_threads = torch.get_num_threads()
    cpu = "CPU, 1 thread" if n_threads == 1 else f"CPU, {n_threads} threads"
    name = torch.cuda.get_device_name() if device == "cuda" else cpu
    return f"{n} x {name}" if n > 1 else str(name)


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
