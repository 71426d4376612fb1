"""Whom the twin knows, by pseudonym and, on the owner's own machine, by the names of their chats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clone.chat.contacts import Contacts
    from clone.records import Chat
    from clone.workspace import Workspace


def known_contacts(workspace: Workspace, recipe_name: str) -> Contacts:
    """Return the contacts of a recipe's examples; the archive is asked for their real names once one is needed."""
    from clone.chat.contacts import Contacts
    from clone.chat.runs import contacts_of

    return Contacts(contacts_of(workspace, recipe_name), lambda: _real_names(workspace))


def pseudonym_of(workspace: Workspace, chat: Chat) -> str:
    """Return the pseudonym under which training saw a chat; "" where it did not."""
    return _pseudonyms(workspace)[0].get(_contact_id(chat), "")


def _real_names(workspace: Workspace) -> Mapping[str, str]:
    """Return the title of each contact's chat by pseudonym; {} where archive or key are gone."""
    pseudonyms, titles = _pseudonyms(workspace)
    return {pseudonyms[contact]: title for contact, title in titles.items() if title}


def _pseudonyms(workspace: Workspace) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return pseudonym and title of every contact that examples were made of."""
    if not workspace.archive.exists() or not workspace.key.exists():
        return {}, {}
    from clone.archive import Archive
    from clone.prepare.pseudonyms import load_key, name_contacts
    from clone.records import ChatKind

    with Archive.open(workspace.archive) as archive:
        chats = [item.chat for item in archive.chats() if item.chat.kind is ChatKind.PERSON]
    titles = {_contact_id(chat): chat.title for chat in chats}
    return name_contacts(load_key(workspace.key), titles), titles


def _contact_id(chat: Chat) -> str:
    return f"{chat.source}\0{chat.chat_id}"
