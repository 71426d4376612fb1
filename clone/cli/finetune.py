"""`clone finetune`: train an adapter."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clone.cli.options import json_option, recipe_options

if TYPE_CHECKING:
    from clone.finetune.stage import DryRun
    from clone.finetune.train import StepReport


@click.command()
@recipe_options
@click.option("--base", metavar="NAME", help="A hub name that LitGPT knows, a folder, or `embedded`.")
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished run.")
@click.option("--stale", "allow_stale", is_flag=True, help="Train on examples that are older than the archive.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what it would take, from a few measured steps.")
@click.option("--auto", "is_auto", is_flag=True, help="Choose rows, checkpointing and quantisation for the card.")
@click.option(
    "--data",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Learn from this file of instruction/context/response (or Alpaca) records instead.",
)
@click.option("--unscrubbed", is_flag=True, help="Needed with --data: its text is learned as it stands.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    base: str | None,
    resume: bool,
    allow_stale: bool,
    is_dry: bool,
    is_auto: bool,
    data: Path | None,
    unscrubbed: bool,
    as_json: bool,
) -> None:
    """Train an adapter that answers as you do.

    Learns from what `clone prepare` left, and keeps the base as it is. Ctrl-C saves; --resume goes on.
    """
    import dataclasses
    from datetime import UTC, datetime

    from clone.cli.show import emit, progress, say, show_table
    from clone.errors import DataError
    from clone.finetune.start import Start
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    start = Start()
    given = overrides
    if base is not None:
        overrides = (*overrides, f"finetune.base={base}")
    recipe = load_recipe(recipe_path, (*overrides, *_as_started()))
    workspace = Workspace.here()
    if data is not None and not unscrubbed:
        raise DataError(
            f"nothing says that personal data was taken out of {data}.",
            "If its text may be learned as it stands, add --unscrubbed.",
        )
    is_first = _is_first_process()
    seen = progress("Preparing to train") if is_first else nullcontext(_silent)
    with start.part("imports"), seen as on_progress:
        on_progress("loading torch", 0, None)
        from clone.finetune.devices import ToldElsewhere
        from clone.finetune.stage import dry_run, finetune
        from clone.finetune.train import Stopped

    view = _training_view if is_first else _no_view
    if is_dry:
        with view() as (on_progress, _, on_note):
            told = dry_run(
                recipe,
                workspace,
                allow_stale=allow_stale,
                data=data,
                is_auto=is_auto,
                on_progress=on_progress,
                on_note=on_note,
            )
        if is_first:
            _show_dry_run(told, as_json)
        return
    try:
        with view() as (on_progress, on_step, on_note), _stops_gently(on_note) as should_stop:
            report = finetune(
                recipe,
                workspace,
                now=datetime.now(UTC),
                resume=resume,
                allow_stale=allow_stale,
                data=data,
                is_auto=is_auto,
                on_progress=on_progress,
                on_note=on_note,
                on_step=on_step,
                should_stop=should_stop,
                start=start,
            )
    except ToldElsewhere:
        ctx.exit(1)
    except Stopped as stopped:
        if not is_first:
            return  # the first process tells, and what started them looks at its exit code
        again = _again(recipe_path, given, base, data, allow_stale, is_auto)
        say(f"Stopped at step {stopped.step} of {stopped.n_steps}; saved in {workspace.show(stopped.run)}.")
        say(f"Go on with: {again}", style="bold cyan")
        if as_json:
            emit({"run": str(stopped.run), "stopped_at": stopped.step, "n_steps": stopped.n_steps})
        ctx.exit(130)
    if not is_first:
        return
    card = report.card
    if as_json:
        emit({"run": str(report.run), "best_step": report.best_step, **dataclasses.asdict(card)})
        return
    learned = report.train
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
        f"{learned.n_examples:,} replies in {len(learned):,} sequences, {card.n_tokens:,} tokens in "
        f"{card.n_steps:,} steps, {_time(card.wall_s)}, {card.peak_memory_gb:.1f} GB. Best at step {report.best_step}."
    )
    if learned.n_folded_away > 0:
        say(f"Folding sessions spared {learned.n_folded_away:,} tokens an epoch.", style="dim")
    for why, n in {**learned.passed_over, "longer than the base can see": learned.n_too_long}.items():
        if n:
            say(f"Left out: {n:,} {why}.", style="dim")
    if card.n_steps < report.n_planned and recipe.finetune.max_steps is None:
        say("Stopped early: the held-out loss had stopped falling.", style="dim")
    say(f"Run: {workspace.show(report.run)} (loss.html shows its losses)")
    say("Next: clone chat" + (f" {recipe_path}" if recipe_path else ""), style="bold cyan")


def _show_dry_run(told: DryRun, as_json: bool) -> None:
    from clone.cli.show import emit, say, show_table

    data = told.train
    if as_json:
        emit(
            {
                "base": told.base,
                "device": told.device,
                "n_examples": data.n_examples,
                "n_sequences": len(data),
                "n_tokens": data.n_tokens,
                "n_learned": data.n_learned,
                "n_cut": data.n_cut,
                "n_too_long": data.n_too_long,
                "n_steps": told.plan.n_steps,
                "row_tokens": told.plan.row_tokens,
                "step_tokens": told.plan.step_tokens,
                "seconds_a_step": told.seconds_a_step,
                "seconds": told.seconds,
                "memory_gb": told.memory_gb,
                "disk_gb": told.disk_gb,
                "tokens_a_character": told.tokens_a_character,
                "ways_to_lower": told.ways_to_lower,
                "settings": told.settings.model_dump(mode="json"),
            }
        )
        return
    memory = f"{told.memory_gb:.1f} GB" + (f" of {told.device_memory_gb:.0f}" if told.device_memory_gb else "")
    show_table(
        "",
        ["this run would take", ""],
        [
            ["base", told.base],
            ["device", told.device],
            ["replies to learn", f"{data.n_examples:,} ({told.validation.n_examples:,} held out)"],
            ["sequences", f"{len(data):,}, {data.n_cut:,} of them begun anew where one was full"],
            ["replies too long", f"{data.n_too_long:,}"],
            ["tokens an epoch", f"{data.n_tokens:,}, of which graded {data.n_learned:,}"],
            [
                "steps",
                f"{told.plan.n_steps:,} of {told.plan.step_tokens:,} tokens, in rows of {told.plan.row_tokens:,}",
            ],
            ["time", f"{_time(told.seconds)} ({told.seconds_a_step:.2f} s a step)"],
            ["memory", memory],
            ["disk", f"{told.disk_gb:.2f} GB"],
            ["tokens a character", f"{told.tokens_a_character:.2f}"],
        ],
    )
    if told.device_memory_gb and told.memory_gb > 0.9 * told.device_memory_gb:
        say(
            f"That is close to full. To be safe: {', then '.join(told.ways_to_lower)}; or --auto",
            style="yellow",
        )
    if told.tokens_a_character > 0.6 and told.base != "embedded":
        say(
            f"{told.base} spends {told.tokens_a_character:.2f} tokens on a character of these chats. Bases that know "
            "their language better cost less: Qwen/Qwen3-8B, google/gemma-2-9b, meta-llama/Llama-3.1-8B.",
            style="yellow",
        )


def _again(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    base: str | None,
    data: Path | None,
    allow_stale: bool,
    is_auto: bool,
) -> str:
    """Return what to type to go on: a run goes on with the settings that it was begun with only."""
    import shlex

    words = ["clone", "finetune", *([str(recipe_path)] if recipe_path else []), "--resume"]
    words += ["--base", base] if base is not None else []
    words += [word for text in overrides for word in ("--set", text)]
    words += ["--data", str(data), "--unscrubbed"] if data is not None else []
    words += ["--stale"] * allow_stale + ["--auto"] * is_auto
    return shlex.join(words)


def _as_started() -> tuple[str, ...]:
    """Return the settings that say how many processes torchrun or SLURM started; () where neither did."""
    import os

    if "TORCHELASTIC_RUN_ID" in os.environ:
        each, n = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    elif "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        n = int(os.environ["SLURM_NTASKS"])
        each = n // int(os.environ.get("SLURM_NNODES", "1"))
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(each))  # Lightning asks for it
    else:
        return ()
    return (f"finetune.devices={each}", f"finetune.nodes={n // each}")


def _is_first_process() -> bool:
    """Whether this is the process that speaks, of those that torchrun, SLURM or Lightning started for one run."""
    import os

    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return os.environ[name] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("NODE_RANK", "LOCAL_RANK"))


def _silent(*_: object) -> None:
    """Show nothing."""


@contextmanager
def _no_view() -> Iterator[tuple[Any, Any, Any]]:
    yield _silent, _silent, _silent


@contextmanager
def _stops_gently(on_note: Callable[[str], None]) -> Iterator[Any]:
    """Yield a function that says whether Ctrl-C was pressed; pressed twice, it interrupts at once."""
    asked = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        on_note("Stopping after this step…")

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
def _training_view() -> Iterator[tuple[Any, Any, Any]]:
    """Yield what shows the work before training, each step of it, and a line beside them."""
    from clone.cli.show import console, say, write

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

        yield on_line, on_plain_step, say
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

        def on_note(text: str) -> None:
            write(out, text, "yellow")  # above the bar

        yield on_bar, on_step, on_note


def _step_line(report: StepReport, *, with_val: bool = True) -> str:
    n_steps = f"{report.n_steps:,}"
    line = f"step {report.step:>{len(n_steps)},}/{n_steps}  loss {report.loss:.3f}"
    if with_val and report.val_loss is not None:
        line += f"  held out {report.val_loss:.3f}"
    return (
        line + f"  {report.tokens_per_s:>7,.0f} tokens/s  {report.memory_gb:.1f} GB  {_time(report.seconds_left)} left"
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
