"""`clone prepare`: the archive's messages to training examples."""

from __future__ import annotations

import os
from pathlib import Path

import click

from clone.cli.options import json_option, recipe_options


@click.command()
@recipe_options
@json_option
@click.option("--workers", type=click.IntRange(1), help="Processes to use; by default one a core, 4 at most.")
def command(recipe_path: Path | None, overrides: tuple[str, ...], as_json: bool, workers: int | None) -> None:
    """Turn collected messages into training examples, with personal data out.

    Reads the archive; writes data/processed/NAME/.
    """
    from dataclasses import asdict

    from clone.cli.show import emit, progress, say, show_table
    from clone.prepare import prepare
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    recipe = load_recipe(recipe_path, overrides)
    workspace = Workspace.here()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    with progress("Preparing") as on_progress:
        report = prepare(
            recipe.prepare,
            workspace,
            name=recipe.name,
            base=recipe.finetune.base,
            n_workers=workers or min(4, _n_cores()),
            on_progress=on_progress,
        )
    if as_json:
        emit({"recipe": recipe.name, **asdict(report)})
        return
    rows = [
        (step.step, step.kept, step.dropped, ", ".join(f"{why} {n:,}" for why, n in step.why.items()))
        for step in report.steps
    ]
    show_table("", ("step", "kept", "left out", "why"), rows)
    for notice in report.notices:
        say(notice, style="yellow")
    folder = workspace.show(workspace.processed(recipe.name))
    say(
        f"{report.n_train:,} examples to train on, {report.n_validation:,} held out; {len(report.contacts):,} contacts."
    )
    say(f"Lengths are in tokens of {report.tokenizer}. Written to {folder}/", style="dim")
    say(f"Next: clone finetune{f' {recipe_path}' if recipe_path else ''}")


def _n_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
