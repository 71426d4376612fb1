"""`clone status`: what stands, how old it is, and what to type next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from clone.cli.options import json_option, recipe_options

_SIGNS = {"done": ("✓", "green"), "stale": ("!", "yellow"), "missing": ("·", "dim"), "broken": ("✗", "red")}


@click.command()
@recipe_options
@json_option
def command(recipe_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what stands in this workspace, how old it is, and what to type next."""
    from rich.text import Text

    from clone.cli.show import ago, console, emit, write
    from clone.cli.standing import standings
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    recipe = load_recipe(recipe_path, overrides)
    stages = standings(Workspace.here(), recipe, recipe_path)
    now = datetime.now(UTC)
    following = next((stage.next for stage in stages if stage.next), "")
    if as_json:
        emit(
            {
                "recipe": recipe.name,
                "stages": [
                    {"stage": s.stage, "state": s.state, "what": s.what, "made_at": s.made_at, "next": s.next}
                    for s in stages
                ],
                "next": following,
            }
        )
        return
    out = console()
    for stage in stages:
        sign, colour = _SIGNS[stage.state]
        age = f"  ({ago(stage.made_at, now)})" if stage.made_at else ""
        line = Text.assemble((f"{sign} ", colour), (f"{stage.stage:<9}", "bold"), stage.what, (age, "dim"))
        write(out, line, indent=11)
    if following:
        write(out, Text.assemble("\nNext: ", (following, "bold cyan")))
