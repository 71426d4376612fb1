"""What the person has chosen about people and words: kept beside the archive, apart from any recipe.

`data/raw/privacy.yaml` (mode 0600) holds three lists, all optional:

    contacts: {"Ann Lee": exclude, "@bob": allow}    by title, @username, phone or chat id
    allow: [words that are never masked]
    deny: [words that always are]

Knows nothing of what is done with them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clone.errors import RecipeError
from clone.prepare.pii import ContactChoice
from clone.records import Chat
from clone.workspace import write_atomically


@dataclass(frozen=True, slots=True)
class Choices:
    """Lists of the person, of the workspace or of a recipe."""

    contacts: Mapping[str, ContactChoice] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def and_also(self, other: Choices) -> Choices:
        """Return both; where they disagree about a contact `other` holds."""
        return Choices(
            {**self.contacts, **other.contacts},
            tuple(dict.fromkeys((*self.allow, *other.allow))),
            tuple(dict.fromkeys((*self.deny, *other.deny))),
        )


def read_choices(path: Path) -> Choices:
    """Return the choices in `path`, none where there is no file. Raises RecipeError that quotes nothing of it."""
    if not path.exists():
        return Choices()
    hint = (
        "It should hold `contacts:` (a name and allow, pseudonymise or exclude), `allow:` and `deny:` (lists of words)."
    )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        unknown = set(data) - {"contacts", "allow", "deny"}
        if unknown:
            raise ValueError
        return Choices(
            {str(who): ContactChoice(what) for who, what in (data.get("contacts") or {}).items()},
            _words(data.get("allow")),
            _words(data.get("deny")),
        )
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, AttributeError, TypeError):
        raise RecipeError(f"{path.name} cannot be read.", hint) from None


def write_choices(path: Path, choices: Choices) -> None:
    """Write the choices, readable by the person alone."""
    data = {
        "contacts": {who: what.value for who, what in choices.contacts.items()},
        "allow": list(choices.allow),
        "deny": list(choices.deny),
    }
    with write_atomically(path) as stream:
        yaml.safe_dump({key: value for key, value in data.items() if value}, stream, allow_unicode=True)


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError
    return tuple(str(word) for word in value)


def choose(chats: Sequence[Chat], choices: Choices) -> dict[tuple[str, str], ContactChoice]:
    """Return the choice made about each contact that one was made about, by source and chat id.

    Raises RecipeError where a name fits no chat: a typo in "exclude" must not let somebody in.
    """
    by_name: dict[str, set[tuple[str, str]]] = {}
    for chat in chats:
        for name in (chat.title, f"@{chat.username}" if chat.username else "", chat.phone, chat.chat_id):
            if name:
                by_name.setdefault(_plain(name), set()).add((chat.source, chat.chat_id))
    found: dict[tuple[str, str], ContactChoice] = {}
    missing = []
    for who, what in choices.contacts.items():
        fits = by_name.get(_plain(who)) or by_name.get("@" + _plain(who))
        if fits:
            found.update(dict.fromkeys(fits, what))
        else:
            near = difflib.get_close_matches(_plain(who), list(by_name), n=1)
            missing.append(f"'{who}'" + (", is there a typo?" if near else ""))
    if missing:
        raise RecipeError(
            f"no private chat with {'; '.join(missing)}.",
            "clone prepare --contacts shows the titles as the archive has them.",
        )
    return found


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
