"""`clone collect` without files: the person's own Telegram account, as it is seen and asked at a terminal."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clone.errors import DataError, MissingExtra
from clone.workspace import Workspace, make_private_folder

if TYPE_CHECKING:
    from clone.archive import Archive
    from clone.collect.telegram.connection import OnWait
    from clone.collect.telegram.dialogs import Scope
    from clone.collect.telegram.live import DialogReport, ListedDialog, LiveReport, OnProgress, Step
    from clone.collect.telegram.login import Login
    from clone.records import Chat

F = TypeVar("F", bound=Callable[..., Any])


def live_options(function: F) -> F:
    """Add the options of live collection; the command receives them all and gives them to `run_live`."""
    for option in reversed(
        [
            click.option(
                "--list", "is_list", is_flag=True, help="Show the account's dialogs and counts; collect nothing."
            ),
            click.option(
                "--only", multiple=True, metavar="WHO", help="Only this dialog: an id, a name or an @username."
            ),
            click.option("--skip", multiple=True, metavar="WHO", help="Not this dialog; may be repeated, as --only."),
            click.option("--saved", is_flag=True, help="Saved Messages too."),
            click.option("--verify", is_flag=True, help="Read everything again; mark what was deleted in Telegram."),
            click.option("--no-takeout", is_flag=True, help="Without Telegram's export mode: a request a second."),
            click.option("--login", "is_login", is_flag=True, help="Log in anew although there is a session."),
            click.option("--qr", "use_qr", is_flag=True, help="Log in by a QR code instead of a phone number."),
            click.option(
                "--proxy",
                metavar="URL",
                envvar="CLONE_PROXY",
                help="socks5://…, http://… or mtproxy://SECRET@HOST:PORT.",
            ),
            click.option("--encrypt", "is_encrypt", is_flag=True, help="Encrypt the archive with a passphrase."),
        ]
    ):
        function = option(function)
    return function


def run_live(
    workspace: Workspace,
    *,
    as_json: bool,
    is_list: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    saved: bool,
    verify: bool,
    no_takeout: bool,
    is_login: bool,
    use_qr: bool,
    proxy: str | None,
    is_encrypt: bool,
) -> None:
    """Collect from the account, or list its dialogs, and show what came of it.

    Raises LoginError (exit 6) where Telegram cannot be asked, DataError (exit 1) where a dialog is not complete.
    """
    if importlib.util.find_spec("telethon") is None:
        raise MissingExtra("telethon", "telegram")
    from clone.archive import Archive
    from clone.cli.telegram import make_login
    from clone.collect.telegram.dialogs import Scope
    from clone.collect.telegram.live import explain
    from clone.collect.telegram.login import locked

    make_private_folder(workspace.raw).chmod(0o700)
    scope = Scope(saved, only, skip)
    login = make_login(workspace, proxy, use_qr=use_qr, is_anew=is_login)
    with locked(workspace.telegram):
        passphrase = encrypt(workspace) if is_encrypt else None
        with Archive.create(workspace.archive, passphrase) as archive, _screen() as (on_progress, on_wait):
            result: LiveReport | list[ListedDialog] = asyncio.run(
                _talk(archive, login, scope, is_list, verify, not no_takeout, on_progress, on_wait)
            )
    if isinstance(result, list):
        _show_list(result, as_json)
        return
    _show_report(result, workspace, as_json)
    problem = explain(result)
    if problem is not None:
        raise problem


async def _talk(
    archive: Archive,
    login: Login,
    scope: Scope,
    is_list: bool,
    verify: bool,
    use_takeout: bool,
    on_progress: OnProgress,
    on_wait: OnWait,
) -> LiveReport | list[ListedDialog]:
    from clone.collect.telegram import connection
    from clone.collect.telegram.live import check_pause, collect_account, list_account, note_pause
    from clone.collect.telegram.login import open_line

    check_pause(archive, datetime.now(UTC))
    try:
        line = await open_line(login, patience=connection.PATIENT, on_wait=on_wait)
        try:
            if is_list:
                return await list_account(line, scope, on_progress)
            return await collect_account(
                archive,
                line,
                scope,
                verify=verify,
                use_takeout=use_takeout,
                now=lambda: datetime.now(UTC),
                on_progress=on_progress,
            )
        finally:
            await line.close()
    except connection.ComeBackLater as error:
        note_pause(archive, error)
        raise


def encrypt(workspace: Workspace) -> str:
    """Ask for the passphrase of a new archive, or encrypt the one there is; return the passphrase."""
    from clone.archive import Archive, is_encrypted
    from clone.cli.show import say
    from clone.cli.telegram import is_terminal, prompt

    passphrase = os.environ.get("CLONE_PASSPHRASE")
    if not passphrase:
        if not is_terminal():
            raise DataError("--encrypt needs a passphrase, and nobody is there to be asked.", "Set CLONE_PASSPHRASE.")
        passphrase = prompt("New passphrase", hide_input=True, confirmation_prompt=True)
    path = workspace.archive
    if path.exists() and path.stat().st_size and not is_encrypted(path):
        Archive.encrypt(path, passphrase)
        say("The archive is encrypted. What stood on the disk before may still be found there by an expert.")
    return passphrase


@contextmanager
def _screen() -> Iterator[tuple[OnProgress, OnWait]]:
    """Show the run: dialogs, the one at work with its rate and time left, and pauses that count down.

    Without a terminal a line a dialog, by number: names stay out of logs.
    """
    from clone.cli.show import console, say

    out = console()
    if not out.is_terminal:
        told: set[int] = set()

        def on_step_line(step: Step) -> None:
            if step.number not in told and step.n_read:
                told.add(step.number)
                say(f"Collecting: dialog {step.number} of {step.n_dialogs}")

        waiting: set[str] = set()

        def on_wait_line(why: str, left: int) -> None:
            if left and why not in waiting:
                say(f"Waiting {left} s: {why}")
            (waiting.add if left else waiting.discard)(why)

        yield on_step_line, on_wait_line
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import ProgressColumn as Column
    from rich.text import Text

    class Rate(Column):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "", style="dim")

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=out,
        transient=True,
    ) as bars:
        whole = bars.add_task("Dialogs", total=None, visible=False)
        state: dict[str, Any] = {"number": 0, "task": None, "wait": None}

        def on_step(step: Step) -> None:
            bars.update(whole, completed=step.number - 1, total=step.n_dialogs, visible=True)
            if step.number != state["number"]:
                if state["task"] is not None:
                    bars.remove_task(state["task"])
                state["number"], state["task"] = step.number, bars.add_task(f"  {_title(step.chat)[:30]}", total=None)
            bars.update(state["task"], completed=step.n_read, total=step.n_messages)

        def on_wait(why: str, left: int) -> None:
            if state["wait"] is None and left:
                state["wait"] = bars.add_task(why, total=left)
            if state["wait"] is not None:
                if left:
                    minutes, seconds = divmod(left, 60)
                    bars.update(state["wait"], description=f"{why}: {minutes}:{seconds:02} left")
                    bars.advance(state["wait"])
                else:
                    bars.remove_task(state["wait"])
                    state["wait"] = None

        bars.stop()  # until there is something to show: questions come first

        def on_first(step: Step) -> None:
            bars.start()
            on_step(step)

        def on_first_wait(why: str, left: int) -> None:
            bars.start()
            on_wait(why, left)

        yield on_first, on_first_wait


def _title(chat: Chat) -> str:
    """Return what Telegram's own list shows of a chat."""
    if chat.kind.value == "saved":  # Telegram gives it the person's own name
        return "Saved Messages"
    return chat.title or "(deleted account)"


def _show_list(dialogs: list[ListedDialog], as_json: bool) -> None:
    from clone.cli.show import emit, say, show_table

    rows = [
        (
            listed.chat.chat_id,
            _title(listed.chat),
            f"@{listed.chat.username}" if listed.chat.username else "",
            listed.n_server if listed.n_server is not None else -1,
            "yes" if listed.is_wanted else "",
        )
        for listed in dialogs
    ]
    if as_json:
        keys = ("id", "name", "username", "messages", "collected")
        emit({"dialogs": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    show_table("Dialogs", ("id", "name", "username", "messages", "is collected"), rows)
    n_wanted = sum(listed.is_wanted for listed in dialogs)
    say(f"{n_wanted:,} of {len(dialogs):,} would be collected. Choose with --only, --skip and --saved.")


def _show_report(report: LiveReport, workspace: Workspace, as_json: bool) -> None:
    from clone.cli.show import console, emit, say, show_table

    shows_names = console().is_terminal  # elsewhere this may be a log

    def name(dialog: DialogReport) -> str:
        return f"{_title(dialog.chat)} ({dialog.chat.chat_id})" if shows_names else dialog.chat.chat_id

    shown = [d for d in report.dialogs if d.n_new or d.n_edited or d.n_deleted or not d.is_complete]
    rows = [
        (
            name(d),
            d.n_new,
            d.n_edited,
            d.n_deleted,
            d.n_here,
            d.n_server if d.n_server is not None else "?",
            _standing(d),
        )
        for d in shown
    ]
    if rows:
        show_table("", ("dialog", "new", "edited", "deleted", "here", "Telegram", ""), rows)
    n_quiet = len(report.dialogs) - len(shown)
    if n_quiet:
        say("1 dialog has nothing new." if n_quiet == 1 else f"{n_quiet:,} dialogs have nothing new.")
    if report.n_forgotten:
        say(f"Left out, as clone forget has it: {report.n_forgotten:,}.")
    n_here = report.total(lambda d: d.n_here)
    dialogs = "1 dialog" if len(report.dialogs) == 1 else f"{len(report.dialogs):,} dialogs"
    say(f"{n_here:,} messages of {dialogs}: {workspace.show(workspace.archive)}")
    if n_here and report.is_complete:
        say("Next: clone prepare", style="bold cyan")
    if as_json:
        emit(
            {
                "is_complete": report.is_complete,
                "n_calls": report.n_calls,
                "n_forgotten": report.n_forgotten,
                "dialogs": [
                    {
                        "id": d.chat.chat_id,
                        "new": d.n_new,
                        "edited": d.n_edited,
                        "deleted": d.n_deleted,
                        "here": d.n_here,
                        "empty": d.n_empty,
                        "unreadable": d.n_unreadable,
                        "telegram": d.n_server,
                        "is_complete": d.is_complete,
                        "why": d.why,
                    }
                    for d in report.dialogs
                ],
            }
        )


def _standing(dialog: DialogReport) -> str:
    """Return in words how a dialog stands."""
    if dialog.why:
        return dialog.why
    parts = []
    if dialog.n_missing > 0:
        parts.append(f"{dialog.n_missing:,} missing")
    if dialog.n_missing < 0:
        parts.append(f"{-dialog.n_missing:,} no longer in Telegram")
    if dialog.n_unreadable:
        parts.append(f"{dialog.n_unreadable:,} of an unknown kind")
    if dialog.n_server is None:
        parts.append("not counted by Telegram")
    if dialog.n_empty:
        parts.append(f"{dialog.n_empty:,} empty")
    return ", ".join(parts) or "complete"
