"""Whom the twin talks to: the contacts of its run, found by pseudonym or by the name their owner knows them by.

Training saw pseudonyms only. Whoever holds the archive may type a real name; it is looked up here, on this machine, and
only the pseudonym reaches the model. Knows nothing of archives or models.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from clone.errors import CloneError

SOMEBODY = ""  # a conversation with somebody unknown


class UnknownContact(CloneError):
    """Nobody of that name; the nearest names are offered."""

    exit_code = 2


@dataclass(frozen=True)
class Contacts:
    """Pseudonyms, most talked with first, and the owner's names for them."""

    pseudonyms: Sequence[str] = ()
    load_names: Callable[[], Mapping[str, str]] = dict  # pseudonym -> title of the chat; asked once, when needed

    @cached_property
    def real_names(self) -> Mapping[str, str]:
        return self.load_names() if self.pseudonyms else {}

    def find(self, text: str) -> str:
        """Return the pseudonym that a person means. Raises UnknownContact."""
        wanted = _fold(text)
        if not wanted:
            return SOMEBODY
        by_name: dict[str, set[str]] = {}
        for pseudonym in self.pseudonyms:
            for name in {pseudonym, self.real_names.get(pseudonym, "")} - {""}:
                by_name.setdefault(_fold(name), set()).add(pseudonym)
        exact = by_name.get(wanted, set())
        begins = {p for name, found in by_name.items() if name.startswith(wanted) for p in found}
        for found in (exact, begins):
            if len(found) == 1:
                return found.pop()
        if not self.pseudonyms:
            return text.strip()  # the examples are gone, so that nobody can say who is known
        several = exact or begins
        if several:
            shown = ", ".join(sorted(self.shown(p) for p in several))
            raise UnknownContact(f"several contacts are called '{text}'.", f"Type one of: {shown}")
        near = difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.5)
        known = list(dict.fromkeys(self.shown(p) for name in near for p in sorted(by_name[name])))
        if known:
            raise UnknownContact(f"the twin knows no '{text}'.", "Did you mean " + " or ".join(known) + "?")
        some = ", ".join(self.shown(p) for p in self.pseudonyms[:5])
        raise UnknownContact(
            f"the twin knows no '{text}'.", f"It knows {some}" + ("…" if len(self.pseudonyms) > 5 else ".")
        )

    def shown(self, pseudonym: str) -> str:
        """Return how a contact is shown to the owner: by their own name for it where that is known."""
        return self.real_names.get(pseudonym) or pseudonym or "somebody"


def _fold(text: str) -> str:
    return " ".join(text.casefold().replace("ё", "е").split())
