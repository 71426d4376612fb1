"""`clone collect`: from Telegram itself, or from export files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clone.cli.collect_live import encrypt, live_options
from clone.cli.options import json_option, recipe_options

if TYPE_CHECKING:
    from clone.collect import ImportReport


_LIVE_ALONE = {
    "is_list": "--list",
    "verify": "--verify",
    "no_takeout": "--no-takeout",
    "is_login": "--login",
    "use_qr": "--qr",
    "proxy": "--proxy",
}


@click.command()
@recipe_options
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read this export (a file, a .zip or a folder) instead of the account; may be repeated.",
)
@click.option("--me", metavar="ID|NAME", help="Who you are in the export, where it does not say it.")
@click.option(
    "--dates",
    type=click.Choice(["day-first", "month-first"]),
    help="How a WhatsApp export writes dates, where they do not tell.",
)
@click.option("--timezone", metavar="ZONE", help="Where times without a zone were written, as Europe/Berlin.")
@live_options
@json_option
def command(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    files: tuple[Path, ...],
    me: str | None,
    dates: str | None,
    timezone: str | None,
    as_json: bool,
    **live: Any,
) -> None:
    """Bring messages into the archive (data/raw/archive.sqlite).

    With --from, or with `collect.files` in the recipe, export files are read; otherwise the Telegram account itself.
    """
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    recipe = load_recipe(recipe_path, overrides)
    workspace = Workspace.here()
    paths = list(files) or [workspace.root / name for name in recipe.collect.files]
    if not paths:
        from clone.cli.collect_live import run_live

        run_live(workspace, as_json=as_json, **live)
        return

    for name, option in _LIVE_ALONE.items():
        if live[name]:
            raise click.UsageError(f"{option} is for the account itself, not for files.")

    from datetime import UTC, datetime

    from clone.archive import Archive
    from clone.cli.show import emit, progress, say
    from clone.collect import import_file
    from clone.collect.contract import Asked
    from clone.collect.files import zone

    timezone, dates = timezone or recipe.collect.timezone, dates or recipe.collect.dates
    asked = Asked(
        me=me or recipe.collect.me or "",
        timezone=zone(timezone) if timezone else None,
        is_day_first=None if dates is None else dates == "day-first",
        with_saved=live["saved"],
        only=live["only"],
        skip=live["skip"],
    )
    reports = []
    passphrase = encrypt(workspace) if live["is_encrypt"] else None
    with Archive.create(workspace.archive, passphrase) as archive:
        for path in paths:
            with progress("Reading") as on_progress:
                report = import_file(
                    path, archive, asked, recipe.collect.max_bad_share, datetime.now(UTC), on_progress=on_progress
                )
            reports.append(report)
            _show(report)
        n_messages = sum(chat.n_messages for chat in archive.chats())
    say(f"The archive holds {n_messages:,} messages: {workspace.show(workspace.archive)}")
    if n_messages:
        say(f"Next: clone prepare{f' {recipe_path}' if recipe_path else ''}", style="bold cyan")
    if as_json:
        from dataclasses import asdict

        emit({"files": [asdict(report) for report in reports], "n_messages": n_messages})


def _show(report: ImportReport) -> None:
    from clone.cli.show import say, show_table

    rows: list[tuple[str, int]] = [("records", report.n_read), ("new messages", report.n_new)]
    if report.n_known:
        rows.append(("already known", report.n_known))
    if report.n_edited:
        rows.append(("edited since", report.n_edited))
    rows += [(f"left out: {reason}", n) for reason, n in report.skipped.items()]
    if report.n_bad:
        rows.append(("unreadable", report.n_bad))
    if report.n_repaired:
        rows.append(("repaired", report.n_repaired))
    chats = "1 chat" if report.n_chats == 1 else f"{report.n_chats:,} chats"
    show_table(f"{report.file_name}: {chats}", ("", "count"), rows)
    for name, n in report.cut.items():
        say(
            f"Warning: {name} is cut off after {n:,} records, which were read. Export again to have the rest.", "yellow"
        )
    for where, why in report.bad:
        say(f"  {where}: {why}", style="yellow")
    for note in report.notes:
        say(f"Note: {note}")
