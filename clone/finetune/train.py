"""Training, from the first step to the last: read it from top to bottom.

In come a model with a fresh adapter, sequences to learn from and sequences to be judged by; out come the adapters and
the numbers of the run. The base stays frozen, in bf16 on a GPU; the adapter and AdamW are in fp32.

A step's loss is the sum over its graded tokens divided by their number, however they are spread over rows and
devices: a mean of means would give a token of a two-word reply many times the pull of one in a long reply.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from clone.errors import ModelError
from clone.finetune.devices import deal, passes
from clone.finetune.fabric import Fabric
from clone.finetune.learner import Learner
from clone.finetune.packed import PackedModel
from clone.finetune.rows import lay_row, plan_epoch
from clone.finetune.schedule import evaluation_steps, learning_rate
from clone.finetune.sequences import Sequences
from clone.finetune.start import Start
from clone.finetune.state import Origin, Progress, restore, save_state
from clone.lm.runs import BEST, LAST, METRICS
from clone.lm.weights import AdapterMeta, save_adapter
from clone.recipe import FinetuneRecipe
from clone.workspace import write_atomically


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe with everything decided that it left open."""

    peak_rate: float
    row_tokens: int
    step_tokens: int
    n_steps: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """One line of a run's progress."""

    step: int
    n_steps: int
    loss: float  # nats per graded token of this step
    val_loss: float | None  # of the held-out examples, where it was just measured
    tokens_per_s: float
    memory_gb: float
    seconds_left: float


class Stopped(Exception):
    """Training was asked to stop, and saved where it stands."""

    def __init__(self, run: Path, step: int, n_steps: int) -> None:
        super().__init__(f"stopped at step {step} of {n_steps}")
        self.run, self.step, self.n_steps = run, step, n_steps


def train(
    fabric: Fabric,
    model: PackedModel,
    sequences: Sequences,
    held_out: Sequences,
    recipe: FinetuneRecipe,
    plan: Plan,
    run: Path,
    origin: Origin,
    meta: AdapterMeta,
    start: Start,
    *,
    resume_from: tuple[Progress, dict[str, torch.Tensor]] | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train the adapter of `model` and return where the run ended.

    Writes to `run`: best and last adapter, a line of metrics a step, and the state to resume from. The line of step 0
    also tells where the time before it went. Raises Stopped when
    `should_stop` says so, and ModelError when the loss is no longer a number; both leave a state to go on from.
    """
    learner = Learner(fabric, model, plan.peak_rate, weight_decay=recipe.weight_decay, clip_norm=recipe.clip_norm)
    trained, parameters, optimizer = learner.trained, learner.parameters, learner.optimizer
    evaluate_after = evaluation_steps(plan.n_steps, recipe.evaluations)
    at = Progress()

    if resume_from is None:
        with start.part("held-out loss"):
            at.val_loss_before = evaluate(fabric, trained, held_out, plan.row_tokens)
        _note(fabric, run, {"step": 0, "val_loss": at.val_loss_before, "start_s": start.told()})
        _save(fabric, run, parameters, optimizer, at, origin)
    else:
        at, tensors = resume_from
        restore(tensors, parameters, optimizer, at.step)
        _forget_after(fabric, run, at.step)

    began_at = saved_at = time.perf_counter()
    first_step, tokens_before, wall_before = at.step, at.n_tokens, at.wall_s
    trained.train()

    steps = learner.lay(sequences, _steps(sequences, recipe.seed, plan, skip=at.step), plan.row_tokens)
    coming = next(steps, None)
    while coming is not None:
        step = coming
        torch.manual_seed(recipe.seed * 1_000_003 + at.step)  # dropout of a step is the same after a resume
        rate = learning_rate(at.step, plan.n_steps, plan.peak_rate, recipe.warmup_share, recipe.min_learning_rate_share)
        told = learner.learn(step, rate, should_stop())
        coming = next(steps, None)  # laid while the device works
        step_loss, n_asking, norm = told.tolist()
        if not math.isfinite(step_loss) or not math.isfinite(norm):
            _save(
                fabric, run, parameters, optimizer, at, origin
            )  # the parameters are still those of the last good step
            _note(fabric, run, {"step": at.step + 1, "is_number": False, "learning_rate": rate})
            if fabric.is_global_zero:
                save_adapter(run / LAST, model.model, meta)
            fabric.barrier()  # who ends first may take the others with it
            raise ModelError(
                f"the loss is no longer a number at step {at.step + 1} of {plan.n_steps}.",
                f"{run.name}/{LAST} holds the adapter before it. Begin again with a lower rate: "
                f"--set finetune.learning_rate={rate / 4:.2g}",
            )
        at.step += 1
        at.n_tokens += step.n_tokens
        at.n_learned += step.n_learned
        at.wall_s = wall_before + time.perf_counter() - began_at
        line: dict[str, Any] = {
            "step": at.step,
            "loss": step_loss,
            "learning_rate": rate,
            "gradient_norm": norm,
            "n_tokens": at.n_tokens,
            "n_learned": at.n_learned,
            "wall_s": round(at.wall_s, 3),
        }
        val_loss: float | None = None
        if at.step in evaluate_after:
            val_loss = line["val_loss"] = evaluate(fabric, trained, held_out, plan.row_tokens)
            if val_loss < at.val_loss:
                at.val_loss, at.best_step, at.n_worse = val_loss, at.step, 0
                if fabric.is_global_zero:
                    save_adapter(run / BEST, model.model, meta)
            else:
                at.n_worse += 1
        _note(fabric, run, line)
        rate_s = (at.n_tokens - tokens_before) / (time.perf_counter() - began_at)
        left_s = (plan.n_steps - at.step) * (time.perf_counter() - began_at) / (at.step - first_step)
        on_step(StepReport(at.step, plan.n_steps, step_loss, val_loss, rate_s, memory_gb(fabric.device), left_s))

        is_tired = 0 < recipe.patience <= at.n_worse
        if n_asking or val_loss is not None or time.perf_counter() - saved_at >= recipe.save_every_seconds:
            _save(fabric, run, parameters, optimizer, at, origin)
            saved_at = time.perf_counter()
        if is_tired:
            break
        if n_asking and at.step < plan.n_steps:
            fabric.barrier()
            raise Stopped(run, at.step, plan.n_steps)

    if fabric.is_global_zero:
        save_adapter(run / LAST, model.model, meta)
    return at


def measure_steps(
    fabric: Fabric, model: PackedModel, sequences: Sequences, recipe: FinetuneRecipe, plan: Plan, n: int
) -> float:
    """Return the seconds of a step, the shortest of `n` after one to warm up. The adapter is spent afterwards."""
    learner = Learner(fabric, model, 1e-5)
    taken: list[float] = []
    steps = learner.lay(
        sequences, _steps(sequences, recipe.seed, replace(plan, n_steps=n + 1), skip=0), plan.row_tokens
    )
    coming = next(steps, None)
    while coming is not None:
        began_at = time.perf_counter()
        told = learner.learn(coming, 1e-5)
        coming = next(steps, None)
        told.tolist()
        taken.append(time.perf_counter() - began_at)
    return min(taken[1:])


@torch.no_grad()
def evaluate(fabric: Fabric, model: Any, held_out: Sequences, row_tokens: int) -> float:
    """Return the held-out loss: nats per graded token."""
    was_training = model.training
    model.eval()
    rows = plan_epoch(held_out, 0, 0, row_tokens, 1 << 62)[0]
    total = torch.zeros((), dtype=torch.float64, device=fabric.device)
    dealt = deal(held_out.costs.tolist(), rows, row_tokens, fabric.world_size)
    for row, counts in passes(dealt, fabric.global_rank):
        loss = model(lay_row(held_out, row)).double()
        total += loss if counts else 0.0
    model.train(was_training)
    return float(cast(torch.Tensor, fabric.all_reduce(total, reduce_op="sum"))) / held_out.n_learned


def memory_gb(device: torch.device) -> float:
    """Return the most memory that was held on the device (on a CPU: by the process), in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def count_steps(sequences: Sequences, recipe: FinetuneRecipe, step_tokens: int) -> int:
    """Return how many optimizer steps the recipe's epochs take."""
    whole, rest = int(recipe.epochs), recipe.epochs - int(recipe.epochs)
    n = sum(len(plan_epoch(sequences, recipe.seed, epoch, step_tokens, step_tokens)) for epoch in range(whole))
    if rest:
        n += math.ceil(rest * len(plan_epoch(sequences, recipe.seed, whole, step_tokens, step_tokens)))
    return max(1, min(n, recipe.max_steps or n))


def _steps(sequences: Sequences, seed: int, plan: Plan, skip: int) -> Iterator[list[list[int]]]:
    """Yield the rows of every step of the run, but for the first `skip` steps."""
    n = epoch = 0
    while True:
        for rows in plan_epoch(sequences, seed, epoch, plan.row_tokens, plan.step_tokens):
            if n == plan.n_steps:
                return
            n += 1
            if n > skip:
                yield rows
        epoch += 1


def _save(fabric: Fabric, run: Path, parameters: Any, optimizer: Any, at: Progress, origin: Origin) -> None:
    if fabric.is_global_zero:
        save_state(run, parameters, optimizer, at, origin)


def _note(fabric: Fabric, run: Path, line: dict[str, Any]) -> None:
    if fabric.is_global_zero:
        with (run / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def _forget_after(fabric: Fabric, run: Path, step: int) -> None:
    """Drop the metrics of steps that will be done again."""
    path = run / METRICS
    if not fabric.is_global_zero or not path.exists():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(text)["step"] <= step:
                kept.append(text)
        except (ValueError, KeyError):
            continue  # a line that the kill cut in two
    with write_atomically(path) as stream:
        stream.write("".join(line + "\n" for line in kept))
