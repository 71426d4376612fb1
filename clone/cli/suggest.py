"""`clone suggest`: an answer to somebody in Telegram, as a draft that the person sends or does not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clone.cli.options import json_option

if TYPE_CHECKING:
    from clone.records import Account, Chat, Message


@click.command()
@click.argument("who")
@click.argument("recipe_path", metavar="[RECIPE]", required=False, type=click.Path(path_type=Path))
@click.option("--saved", is_flag=True, help="Into Saved Messages' draft, in place of the chat's own.")
@click.option("--run", "run_name", metavar="RUN", help="Another run than the newest: its id, or recipe/id.")
@click.option("--device", metavar="DEVICE", help="cuda, mps or cpu; the best there is unless said.")
@click.option("--seed", type=click.IntRange(0), help="Makes the answer repeatable.")
@click.option(
    "--proxy", metavar="URL", envvar="CLONE_PROXY", help="socks5://…, http://… or mtproxy://SECRET@HOST:PORT."
)
@json_option
def command(
    who: str,
    recipe_path: Path | None,
    saved: bool,
    run_name: str | None,
    device: str | None,
    seed: int | None,
    proxy: str | None,
    as_json: bool,
) -> None:
    """Draft the twin's answer to WHO in Telegram: an id, a name or an @username.

    The draft waits in that chat, or in Saved Messages, marked as an AI's, until you change, send or delete it. Nothing
    is ever sent. A draft that you have begun yourself is left alone.
    """
    from dataclasses import replace

    from clone.chat.runs import find_run, open_twin
    from clone.chat.sampling import Sampling
    from clone.chat.suggest import suggest_answer
    from clone.cli.people import pseudonym_of
    from clone.cli.show import emit, say
    from clone.errors import MissingExtra
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    if importlib.util.find_spec("telethon") is None:
        raise MissingExtra("telethon", "telegram")
    from clone.cli.telegram import make_login
    from clone.collect.telegram import connection
    from clone.collect.telegram.drafts import draft_answer

    recipe = load_recipe(recipe_path)
    workspace = Workspace.here()
    run = find_run(workspace, recipe_name=recipe.name if recipe_path else None, run=run_name)
    sampling = Sampling.of(recipe.chat)
    if seed is not None:
        sampling = replace(sampling, seed=seed)
    twin = open_twin(workspace, run, recipe.chat, device=device)
    gap = timedelta(minutes=recipe.prepare.session_gap_minutes)

    def write(account: Account, chat: Chat, messages: Sequence[Message]) -> str:
        contact = pseudonym_of(workspace, chat)
        known = contact if contact in twin.contacts else ""
        return suggest_answer(twin, known, messages, sampling, session_gap=gap)

    login = make_login(workspace, proxy)
    draft = draft_answer(
        login,
        who,
        write,
        where="saved" if saved else "chat",
        patience=connection.PATIENT,
        on_wait=lambda why, seconds: say(f"Telegram asks to wait {seconds} s ({why})", style="dim"),
    )
    if as_json:
        emit({"chat_id": draft.chat.chat_id, "where": draft.where, "run": run.name, "is_sent": False})
        return
    place = "Saved Messages" if draft.where == "saved" else "the chat"
    say(f"A draft waits in {place}. Nothing was sent.", style="bold")
    click.echo(draft.text)
