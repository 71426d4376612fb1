"""`clone forget`: a contact out of the archive and of processed data, and which runs have seen them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clone.cli.options import json_option

if TYPE_CHECKING:
    from clone.workspace import Workspace


@click.command()
@click.argument("contact")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--undo", is_flag=True, help="Let a forgotten contact (given by id) be collected again.")
@json_option
def command(contact: str, yes: bool, undo: bool, as_json: bool) -> None:
    """Remove a contact for good: from the archive and from processed data.

    CONTACT is an id, an @username or the name that the messenger shows. Later collections and imports leave them out.
    What a model has learned cannot be taken out of it: the runs that were trained on them are listed.
    """
    import sys
    from contextlib import ExitStack

    from clone.archive import Archive
    from clone.cli.people import pseudonyms
    from clone.cli.show import emit, say
    from clone.collect.contacts import find_contact
    from clone.prepare.lock import holding
    from clone.workspace import Workspace

    workspace = Workspace.here()
    with Archive.open(workspace.archive) as archive:
        if undo:
            _undo(archive, contact, as_json)
            return
        chats = archive.chats()
        item = find_contact(chats, contact)
        name = f"{item.chat.source}:{item.chat.chat_id}"
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            click.confirm(f"Remove {item.n_messages:,} messages with {name} for good?", abort=True, err=True)
        names = pseudonyms(workspace, [other.chat for other in chats])
        pseudonym = names.get((item.chat.source, item.chat.chat_id), "") if workspace.key.exists() else None
        trained, perhaps = _runs(workspace, pseudonym)
        with ExitStack() as held:
            for place in _processed(workspace):  # a run of prepare would write what it has read of them
                held.enter_context(holding(workspace, place.name))
            with archive.transaction():
                n_messages = archive.forget(item.chat)
            folders = _drop_processed(workspace, pseudonym)
        archive.scrub()
    say(f"Forgot {name}: {n_messages:,} messages are out of the archive.")
    for folder in folders:
        say(f"Removed {folder}/, which held examples with them.  Next: clone prepare")
    if trained or perhaps:
        say("A trained model cannot forget. Remove these runs and train again:", style="yellow")
        for run in trained:
            say(f"  {run}   trained on them")
        for run in perhaps:
            say(f"  {run}   perhaps: neither the run nor its examples tell")
    if as_json:
        emit(
            {
                "contact": name,
                "n_messages": n_messages,
                "processed_removed": folders,
                "runs_trained_on_them": trained,
                "runs_perhaps_trained_on_them": perhaps,
            }
        )


def _undo(archive: Any, contact: str, as_json: bool) -> None:
    from clone.cli.show import emit, say
    from clone.errors import SourceError

    source, _, chat_id = contact.rpartition(":")
    with archive.transaction():
        n = archive.unforget(source or "telegram", chat_id.removeprefix("user"))
    if not n:
        raise SourceError(
            f"'{contact}' was not forgotten.", "Give the id as `clone forget` showed it: telegram:2000002."
        )
    say(f"{contact} may be collected again.  Next: clone collect")
    if as_json:
        emit({"contact": contact, "undone": True})


def _processed(workspace: Workspace) -> list[Path]:
    return sorted(path for path in workspace.processed("x").parent.glob("*") if path.is_dir())


def _drop_processed(workspace: Workspace, pseudonym: str | None) -> list[str]:
    """Remove every folder of examples in which the contact is, or may be."""
    removed = []
    for folder in _processed(workspace):
        contacts = _contacts(folder / "manifest.json")
        if contacts is None or pseudonym is None or pseudonym in contacts:
            shutil.rmtree(folder)
            removed.append(workspace.show(folder))
    return removed


def _runs(workspace: Workspace, pseudonym: str | None) -> tuple[list[str], list[str]]:
    """Return the runs that were trained on the contact, and those of which nothing is left to tell."""
    from clone.workspace import hash_file

    prepared = {hash_file(folder / "manifest.json"): folder / "manifest.json" for folder in workspace.all_processed()}
    trained, perhaps = [], []
    for run in workspace.all_runs():
        contacts = _contacts(run / "run.json")
        if contacts is None:  # made before runs kept their contacts, or trained on a file of somebody else's
            manifest = prepared.get(_data_sha256(run / "run.json"))
            contacts = _contacts(manifest) if manifest else None
        if contacts is None or pseudonym is None:  # without the key nobody can tell who is who
            perhaps.append(workspace.show(run))
        elif pseudonym in contacts:
            trained.append(workspace.show(run))
    return trained, perhaps


def _data_sha256(card: Path) -> str:
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["data_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _contacts(path: Path) -> list[str] | None:
    """Return the pseudonyms in a manifest or a run's card, None where it names none."""
    try:
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))["contacts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
