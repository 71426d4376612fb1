"""`clone runs`: what was trained, and how well."""

from __future__ import annotations

import json
from pathlib import Path

import click

from clone.cli.options import json_option


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the runs of this workspace with their held-out loss, newest last."""
    import dataclasses
    from datetime import UTC, datetime

    from clone.cli.show import ago, emit, say, show_table
    from clone.errors import CloneError
    from clone.lm.runs import CARD, LAST, METRICS, read_card
    from clone.workspace import Workspace

    workspace = Workspace.here()
    folders = sorted(
        (path.parent for path in workspace.root.glob(f"checkpoints/*/*/{METRICS}") if path.parts[-3] != "base"),
        key=lambda run: run.name,
    )
    now = datetime.now(UTC)
    told: list[dict[str, object]] = []
    rows: list[list[object]] = []
    ways: list[str] = []  # out of what failed
    for folder in folders:
        name = workspace.show(folder).removeprefix("checkpoints/")
        if not (folder / CARD).exists():
            failed = _failed(folder / METRICS)
            told.append({"run": str(folder), "finished": False, **({"loss_lost_at_step": failed[0]} if failed else {})})
            if failed:
                rows.append([name, "failed", f"{failed[0]:,}", "no number", "", ""])
                ways.append(
                    f"{name}: the loss was no number at step {failed[0]:,}; {LAST} holds the adapter before it. "
                    f"Begin again with a lower rate: clone finetune --set finetune.learning_rate={failed[1] / 4:.2g}"
                )
            else:
                rows.append([name, "unfinished", "", "", "", "clone finetune --resume"])
            continue
        try:
            card = read_card(folder)
        except CloneError as error:
            told.append({"run": str(folder), "finished": True, "error": error.message})
            rows.append([name, "unreadable", "", "", "", error.message])
            continue
        told.append({"run": str(folder), "finished": True, **dataclasses.asdict(card)})
        rows.append(
            [
                name,
                card.base,
                f"{card.n_steps:,}",
                f"{card.val_loss_before:.3f} → {card.val_loss:.3f}",
                f"{card.wall_s:,.0f} s",
                ago(datetime.fromisoformat(card.created_at), now),
            ]
        )
    if as_json:
        emit({"runs": told})
    elif rows:
        show_table("", ["run", "base", "steps", "held-out loss", "time", "begun"], rows)
        for way in ways:
            say(way)
    else:
        say("No runs yet. Train one: clone finetune")


def _failed(metrics: Path) -> tuple[int, float] | None:
    """Return the step at which a run's loss was no longer a number, and its rate; None where it was one to the end."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    try:
        last = json.loads(lines[-1])
        return None if last.get("is_number", True) else (int(last["step"]), float(last["learning_rate"]))
    except (IndexError, ValueError):
        return None  # nothing written yet, or a line that a kill cut in two
