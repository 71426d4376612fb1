"""`clone runs`: what was trained, and how well."""

from __future__ import annotations

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
    from clone.lm.runs import CARD, METRICS, read_card
    from clone.workspace import Workspace

    workspace = Workspace.here()
    folders = sorted(
        (path.parent for path in workspace.root.glob(f"checkpoints/*/*/{METRICS}") if path.parts[-3] != "base"),
        key=lambda run: run.name,
    )
    now = datetime.now(UTC)
    told: list[dict[str, object]] = []
    rows: list[list[object]] = []
    for folder in folders:
        name = workspace.show(folder).removeprefix("checkpoints/")
        if not (folder / CARD).exists():
            told.append({"run": str(folder), "finished": False})
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
    else:
        say("No runs yet. Train one: clone finetune")
