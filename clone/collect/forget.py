"""Find whom the person means, so that they can be forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from clone.archive import ChatCount
from clone.errors import SourceError


def find_contact(chats: Sequence[ChatCount], text: str) -> ChatCount:
    """Return the chat with the contact that `text` names: by "source:id", id, "user" and id, @username or name.

    Raises SourceError where nobody is called so, or several are.
    """
    wanted = text.strip().casefold()
    found = [item for item in chats if wanted in _ids(item)]
    if not found:
        bare = wanted.removeprefix("@")
        found = [item for item in chats if bare and bare in (item.chat.title.casefold(), item.chat.username.casefold())]
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
        f"  {name:<{width}}   {item.n_messages:>{digits},} messages" for name, item in zip(names, found, strict=True)
    ]
    raise SourceError(f"several contacts are called '{text}'.", "\n".join(["Name one by id:", *lines]))


def _ids(item: ChatCount) -> tuple[str, ...]:
    chat_id, source = item.chat.chat_id.casefold(), item.chat.source.casefold()
    return chat_id, f"user{chat_id}", f"{source}:{chat_id}"
