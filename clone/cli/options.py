"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def recipe_options(function: F) -> F:
    """Add RECIPE and --set; the command receives `recipe_path` and `overrides` (see `load`)."""
    function = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, as finetune.epochs=1."
    )(function)
    return click.argument("recipe_path", metavar="[RECIPE]", required=False, type=click.Path(path_type=Path))(function)


def json_option(function: F) -> F:
    """Add --json: one object on stdout, everything else on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, the rest on stderr.")(
        function
    )
