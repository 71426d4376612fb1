"""Whom the person means by an id, an @username or a name."""

from __future__ import annotations

from collections.abc import Sequence

from clone.archive import ChatCount
from clone.errors import SourceError
from clone.records import Chat


def is_called(chat: Chat, text: str) -> bool:
    """Whether `text` names a chat's contact: "source:id", id, "user" and id, @username or name."""
    return _has_id(chat, text) or _has_name(chat, text)


def find_contact(chats: Sequence[ChatCount], text: str) -> ChatCount:
    """Return the chat with the contact that `text` names: by "source:id", id, "user" and id, @username or name.

    Raises SourceError where nobody is called so, or several are.
    """
    found = [item for item in chats if _has_id(item.chat, text)]
    found = found or [item for item in chats if _has_name(item.chat, text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SourceError(
            f"the archive has no contact '{text}'.",
            "Name one by id, @username or the name that the messenger shows.",
        )
    names = [f"{item.chat.source}:{item.chat.chat_id}" for item in found]
    width = max(map(len, names))
    digits = max(len(f"{item.n_messages:,}") for item in found)
    lines = [
        f"  {name:<{width}}   {item.n_messages:>{digits},} {'message' if item.n_messages == 1 else 'messages'}"
        for name, item in zip(names, found, strict=True)
    ]
    raise SourceError(f"several contacts are called '{text}'.", "\n".join(["Name one by id:", *lines]))


def _has_id(chat: Chat, text: str) -> bool:
    chat_id, source = chat.chat_id.casefold(), chat.source.casefold()
    return text.strip().casefold() in (chat_id, f"user{chat_id}", f"{source}:{chat_id}")


def _has_name(chat: Chat, text: str) -> bool:
    wanted = text.strip().casefold().removeprefix("@")
    return bool(wanted) and wanted in (chat.title.casefold(), chat.username.casefold())
