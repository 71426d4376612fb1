"""`clone run RECIPE`: the four stages in order, each skipped where it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from clone.cli.options import json_option


@click.command()
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, as finetune.epochs=1.")
@click.option("--force", is_flag=True, help="Run every stage, up to date or not.")
@json_option
@click.pass_context
def command(ctx: click.Context, recipe_path: Path, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Walk the four stages of RECIPE and skip what is up to date.

    The last one, chat, begins where there is a terminal to talk in.
    """
    import importlib

    from clone.cli.show import emit, say
    from clone.cli.standing import standings
    from clone.recipe import STAGES, load_recipe
    from clone.workspace import Workspace

    recipe = load_recipe(recipe_path, overrides)
    workspace = Workspace.here()
    done: dict[str, str] = {}
    for i, stage in enumerate(STAGES[:3]):
        standing = standings(workspace, recipe, recipe_path)[i]  # anew each time: a stage makes the next one stale
        is_live = stage == "collect" and not recipe.collect.files
        if standing.state == "done" and not force and not is_live:
            say(f"{stage}: up to date ({standing.what})", style="dim")
            done[stage] = "skipped"
            continue
        say(f"{stage}", style="bold")
        arguments = [str(recipe_path), *(part for override in overrides for part in ("--set", override))]
        sub: click.Command = importlib.import_module(f"clone.cli.{stage}").command
        with sub.make_context(stage, arguments, parent=ctx) as inner:
            sub.invoke(inner)
        done[stage] = "ran"
    if as_json:
        emit({"recipe": recipe.name, "stages": done})
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        sub = importlib.import_module("clone.cli.chat").command
        with sub.make_context("chat", [str(recipe_path)], parent=ctx) as inner:
            sub.invoke(inner)
    else:
        say(f"Next: clone chat {recipe_path}")
