"""`clone finetune`: train an adapter."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clone.cli.options import json_option, recipe_options

if TYPE_CHECKING:
    from clone.finetune.train import StepReport


@click.command()
@recipe_options
@click.option("--base", metavar="NAME", help="A hub name that LitGPT knows, a folder, or `embedded`.")
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished run.")
@click.option("--stale", "allow_stale", is_flag=True, help="Train on examples that are older than the archive.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    base: str | None,
    resume: bool,
    allow_stale: bool,
    as_json: bool,
) -> None:
    """Train an adapter that answers as you do.

    Learns from what `clone prepare` left, and keeps the base as it is. Ctrl-C saves; --resume goes on.
    """
    import dataclasses
    from datetime import UTC, datetime

    from clone.cli.show import emit, progress, say, show_table
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    if base is not None:
        overrides = (*overrides, f"finetune.base={base}")
    recipe = load_recipe(recipe_path, overrides)
    workspace = Workspace.here()
    with progress("Preparing to train") as on_progress:
        on_progress("loading torch", 0, None)
        from clone.finetune.stage import finetune
        from clone.finetune.train import Stopped

    try:
        with _stops_gently() as should_stop, _training_view() as (on_progress, on_step):
            report = finetune(
                recipe,
                workspace,
                now=datetime.now(UTC),
                resume=resume,
                allow_stale=allow_stale,
                on_progress=on_progress,
                on_note=say,
                on_step=on_step,
                should_stop=should_stop,
            )
    except Stopped as stopped:
        again = " ".join(["clone finetune", *([str(recipe_path)] if recipe_path else []), "--resume"])
        if base is not None:
            again += f" --base {base}"
        say(f"Stopped at step {stopped.step} of {stopped.n_steps}; saved in {workspace.show(stopped.run)}.")
        say(f"Go on with: {again}", style="bold cyan")
        if as_json:
            emit({"run": str(stopped.run), "stopped_at": stopped.step, "n_steps": stopped.n_steps})
        ctx.exit(130)
    card = report.card
    if as_json:
        emit({"run": str(report.run), "best_step": report.best_step, **dataclasses.asdict(card)})
        return
    data = report.train
    show_table(
        "",
        ["", "before", "after"],
        [
            ["held-out loss, nats a token", f"{card.val_loss_before:.3f}", f"{card.val_loss:.3f}"],
            [
                "held-out bits a byte",
                f"{card.val_bits_per_byte_before:.3f}",
                f"{card.val_bits_per_byte:.3f}",
            ],
        ],
    )
    say(
        f"{data.n_examples:,} replies in {len(data):,} sequences, {card.n_tokens:,} tokens in {card.n_steps:,} steps, "
        f"{_time(card.wall_s)}, {card.peak_memory_gb:.1f} GB. Best at step {report.best_step}."
    )
    if data.n_folded_away > 0:
        say(f"Folding sessions spared {data.n_folded_away:,} tokens an epoch.", style="dim")
    for why, n in {**data.passed_over, "longer than the base can see": data.n_too_long}.items():
        if n:
            say(f"Left out: {n:,} {why}.", style="dim")
    if card.n_steps < report.n_planned and recipe.finetune.max_steps is None:
        say("Stopped early: the held-out loss had stopped falling.", style="dim")
    say(f"Run: {workspace.show(report.run)}")
    say("Next: clone chat" + (f" {recipe_path}" if recipe_path else ""), style="bold cyan")


@contextmanager
def _stops_gently() -> Iterator[Any]:
    """Yield a function that says whether Ctrl-C was pressed; pressed twice, it interrupts at once."""
    from clone.cli.show import say

    asked = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say("\nStopping after this step…", style="yellow")

    try:
        before = signal.signal(signal.SIGINT, on_signal)
    except ValueError:  # not in the main thread: nothing to catch
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _training_view() -> Iterator[tuple[Any, Any]]:
    """Yield what shows the work before training and each step of it."""
    from clone.cli.show import console, say

    out = console()
    if not out.is_terminal:
        seen: set[str] = set()
        shown_at = [0.0]

        def on_line(what: str, done: int, total: int | None) -> None:
            if what not in seen:
                seen.add(what)
                say(f"{what}")

        def on_plain_step(report: StepReport) -> None:
            import time

            if report.val_loss is not None or time.monotonic() - shown_at[0] > 10:
                shown_at[0] = time.monotonic()
                say(_step_line(report))

        yield on_line, on_plain_step
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[line]}"),
        console=out,
        transient=True,
    ) as bars:
        before = bars.add_task("Preparing to train", total=None, line="")
        training: list[Any] = []
        best: list[float] = []

        def on_bar(what: str, done: int, total: int | None) -> None:
            count = f"{done:,}" + (f"/{total:,}" if total else "") if done else ""
            bars.update(before, description=what.capitalize(), completed=done, total=total, line=count)

        def on_step(report: StepReport) -> None:
            if not training:
                bars.remove_task(before)
                training.append(bars.add_task("Training", total=report.n_steps, line=""))
            if report.val_loss is not None:
                best.append(report.val_loss)
                out.print(_step_line(report), style="dim")
            bars.update(training[0], completed=report.step, line=_step_line(report, with_val=False))

        yield on_bar, on_step


def _step_line(report: StepReport, *, with_val: bool = True) -> str:
    line = f"step {report.step:,}/{report.n_steps:,}  loss {report.loss:.3f}"
    if with_val and report.val_loss is not None:
        line += f"  held out {report.val_loss:.3f}"
    return line + f"  {report.tokens_per_s:,.0f} tokens/s  {report.memory_gb:.1f} GB  {_time(report.seconds_left)} left"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
