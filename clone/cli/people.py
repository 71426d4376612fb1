"""Whom the twin knows, by pseudonym and, on the owner's own machine, by the names of their chats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clone.chat.contacts import Contacts
    from clone.workspace import Workspace


def contacts_of(workspace: Workspace, recipe_name: str) -> Contacts:
    """Return the contacts of a recipe's examples."""
    from clone.chat.contacts import Contacts
    from clone.chat.runs import contacts_of as pseudonyms_of

    return Contacts(pseudonyms_of(workspace, recipe_name), {})
