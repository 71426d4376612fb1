"""Whom the twin knows, by pseudonym and, on the owner's own machine, by the names of their chats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    return pseudonyms(workspace, _people(workspace)).get((chat.source, chat.chat_id), "")


def pseudonyms(workspace: Workspace, chats: Iterable[Chat]) -> Mapping[tuple[str, str], str]:
    """Return the pseudonym of each person in an archive's chats by source and chat id, {} where none were drawn."""
    if not workspace.key.exists():
        return {}
    from clone.prepare.pseudonyms import contact_id, load_key, name_contacts
    from clone.records import ChatKind

    ids = {
        contact_id(chat.source, chat.chat_id): (chat.source, chat.chat_id)
        for chat in chats
        if chat.kind is ChatKind.PERSON
    }
    return {ids[contact]: name for contact, name in name_contacts(load_key(workspace.key), ids).items()}


def _real_names(workspace: Workspace) -> Mapping[str, str]:
    """Return the title of each contact's chat by pseudonym; {} where archive or key are gone."""
    chats = _people(workspace)
    names = pseudonyms(workspace, chats)
    return {names[chat.source, chat.chat_id]: chat.title for chat in chats if names and chat.title}


def _people(workspace: Workspace) -> list[Chat]:
    """Return the archive's chats with people, [] where there is no archive."""
    if not workspace.archive.exists():
        return []
    from clone.archive import Archive
    from clone.records import ChatKind

    with Archive.open(workspace.archive) as archive:
        return [item.chat for item in archive.chats() if item.chat.kind is ChatKind.PERSON]
