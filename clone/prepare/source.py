"""What goes in: the chats that are used, who is in them, and their messages as batches of sessions.

In comes an open archive with the person's choices; out come batches, with a count of everything left out and a few
numbers of every message that stays. Knows nothing of scrubbing or examples.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from clone.archive import Archive, ChatCount
from clone.errors import DataError
from clone.prepare.batches import Batch
from clone.prepare.choices import Choices, choose
from clone.prepare.clean import why_dropped, wording
from clone.prepare.pii import ContactChoice, KnownPerson
from clone.prepare.pseudonyms import contact_id, keyed_id, name_contacts
from clone.prepare.sessions import Standing, cut_sessions
from clone.recipe import PrepareRecipe
from clone.records import Chat, ChatKind, Message

_BATCH_MESSAGES = 4000
_QUOTE_CHARS = 20  # a shorter line that two people wrote is no quote


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody with whom the person has private chats that are used or left out."""

    contact_id: str
    title: str
    pseudonym: str
    choice: ContactChoice
    n_messages: int
    n_outgoing: int


@dataclass(slots=True)
class Seen:
    """A few numbers of every message that stays, a column a property; and why the others did not."""

    chats: Counter[str] = field(default_factory=Counter)  # messages of chats left out, by reason
    cleaning: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)  # messages that stand as a placeholder
    n_messages: int = 0  # in the chats that are used
    n_kept: int = 0  # after cleaning and short sessions
    contact: array[int] = field(default_factory=lambda: array("i"))  # which of `contacts`
    at: array[int] = field(default_factory=lambda: array("q"))  # seconds since 1970
    is_mine: array[int] = field(default_factory=lambda: array("b"))


class Source:
    """The messages of an archive that the twin may learn from."""

    def __init__(self, archive: Archive, recipe: PrepareRecipe, key: bytes, choices: Choices) -> None:
        """Raises DataError where no chat can be used, RecipeError where a choice fits nobody."""
        self.seen = Seen()
        self._archive = archive
        self._recipe = recipe
        self._key = key
        counts = archive.chats()
        people = [item for item in counts if item.chat.kind is ChatKind.PERSON]
        chosen = choose([item.chat for item in people], choices)
        self._choices = {contact_id(*who): what for who, what in chosen.items()}
        names = name_contacts(key, {_contact_id(item.chat) for item in people})
        self.contacts = _contacts(people, names, self._choices)
        self.chats = self._choose_chats(counts, people)
        self._names = names

    def _choose_chats(self, counts: Sequence[ChatCount], people: Sequence[ChatCount]) -> list[Chat]:
        left_out = self.seen.chats
        for item in counts:
            if item.chat.kind is not ChatKind.PERSON:
                left_out[item.chat.kind.value] += item.n_messages
        if not people:
            raise DataError(
                "the archive holds no private chat with a person.",
                "Groups, channels, bots and saved messages are not used; collect an export that has personal chats.",
            )
        if not any(item.n_outgoing for item in people):
            raise DataError(
                "no message in the private chats was written by you.",
                "If the export did not say who you are, collect it again: clone collect --from result.json --me ID",
            )
        used: list[Chat] = []
        for item in people:
            if self._choices.get(_contact_id(item.chat)) is ContactChoice.EXCLUDE:
                left_out["excluded contact"] += item.n_messages
            elif not item.n_outgoing:
                left_out["you never wrote"] += item.n_messages
            else:
                used.append(item.chat)
                self.seen.n_messages += item.n_messages
        return used

    def known_people(self) -> list[KnownPerson]:
        """Return everybody whom the archive names: contacts, people in their chats, the person."""
        known: dict[str, tuple[set[str], set[str], set[str]]] = {}

        def note(person_id: str, *values: str) -> None:
            for found, value in zip(known.setdefault(person_id, (set(), set(), set())), values, strict=True):
                if value and value.casefold() not in _NOT_NAMES:
                    found.add(value.lstrip("@"))

        for account in self._archive.accounts():
            note(contact_id(account.source, account.account_id), account.name, account.username, account.phone)
        for item in self._archive.chats():
            if item.chat.kind is ChatKind.PERSON:
                note(_contact_id(item.chat), item.chat.title, item.chat.username, item.chat.phone)
        for person in self._archive.people():
            note(contact_id(person.source, person.person_id), person.name, person.username, person.phone)
        return [
            KnownPerson(
                person_id,
                tuple(sorted(names)),
                tuple(sorted(usernames)),
                tuple(sorted(phones)),
                self._choices.get(person_id, ContactChoice.PSEUDONYMISE),
            )
            for person_id, (names, usernames, phones) in sorted(known.items())
        ]

    def batches(self) -> Iterator[Batch]:
        """Yield the sessions of all chats in batches of some thousand messages. Fills `seen`."""
        gap = timedelta(minutes=self._recipe.session_gap_minutes)
        quotes = self._excluded_lines()
        number = 0
        numbers = {item.contact_id: i for i, item in enumerate(self.contacts)}
        for chat in self.chats:
            contact = _contact_id(chat)
            batch = Batch(number, self._names[contact], [], [], [], [], [], [])
            for session in cut_sessions(self._clean(chat, quotes), gap):
                if len(session.messages) < self._recipe.min_session_messages:
                    self.seen.sessions["too short"] += len(session.messages)
                    continue
                first = session.messages[0]
                batch.session_ids.append(keyed_id(self._key, "session", contact, first.account_id, first.message_id))
                batch.starts.append(len(batch.texts))
                for message in session.messages:
                    self._add(batch, message, numbers[contact])
                if len(batch.texts) >= _BATCH_MESSAGES:
                    yield batch
                    number += 1
                    batch = Batch(number, batch.contact, [], [], [], [], [], [])
            if batch.texts:
                yield batch
                number += 1

    def _clean(self, chat: Chat, quotes: frozenset[bytes]) -> Iterator[Message]:
        """Yield the messages that are part of the conversation; count the others."""
        since = datetime.combine(self._recipe.since, time(), UTC) if self._recipe.since else None
        until = datetime.combine(self._recipe.until, time(), UTC) if self._recipe.until else None
        dropped = self.seen.cleaning
        has_excluded = bool(quotes) or ContactChoice.EXCLUDE in self._choices.values()
        for message in self._archive.messages(chat):
            if since and message.sent_at < since:
                why = "before since"
            elif until and message.sent_at >= until:
                why = "after until"
            elif has_excluded and message.is_forwarded:
                why = "forward, perhaps of an excluded contact"  # the archive does not say whose words they were
            elif quotes and not quotes.isdisjoint(_lines(message.text)):
                why = "quotes an excluded contact"
            else:
                why = why_dropped(message)
            if why:
                dropped[why] += 1
                continue
            yield message

    def _add(self, batch: Batch, message: Message, contact: int) -> None:
        said = wording(message)
        seen, at = self.seen, int(message.sent_at.timestamp())
        seen.n_kept += 1
        if said.instead:
            seen.words[said.instead] += 1
        seen.contact.append(contact)
        seen.at.append(at)
        seen.is_mine.append(message.is_outgoing)
        batch.at.append(at)
        batch.is_mine.append(message.is_outgoing)
        batch.texts.append(said.text)
        batch.standings.append(Standing.SHOWN if said.instead or message.is_forwarded else Standing.OWN)

    def _excluded_lines(self) -> frozenset[bytes]:
        """Return hashes of what excluded contacts wrote, so that quotes of it are known elsewhere."""
        return frozenset(
            line
            for item in self._archive.chats()
            if item.chat.kind is ChatKind.PERSON and self._choices.get(_contact_id(item.chat)) is ContactChoice.EXCLUDE
            for message in self._archive.messages(item.chat)
            if not message.is_outgoing
            for line in _lines(message.text)
        )


# What messengers call somebody whose name they do not know, and the owner of the account.
_NOT_NAMES = frozenset({"me", "you", "i", "я", "вы", "ты", "deleted account", "удалённый аккаунт", "unknown"})


def _contacts(
    people: Sequence[ChatCount], names: Mapping[str, str], choices: Mapping[str, ContactChoice]
) -> list[Contact]:
    """Return each contact once: chats of several accounts with one person are one contact's."""
    by_id: dict[str, list[ChatCount]] = {}
    for item in people:
        by_id.setdefault(_contact_id(item.chat), []).append(item)
    return [
        Contact(
            contact,
            items[0].chat.title,
            names[contact],
            choices.get(contact, ContactChoice.PSEUDONYMISE),
            sum(item.n_messages for item in items),
            sum(item.n_outgoing for item in items),
        )
        for contact, items in by_id.items()
    ]


def _contact_id(chat: Chat) -> str:
    return contact_id(chat.source, chat.chat_id)


_QUOTE_SIGNS = re.compile(r"^[\s>|«»\"“”„'‘’]+|[\s«»\"“”„'‘’]+$")


def _lines(text: str) -> Iterable[bytes]:
    """Yield a hash of each line that is long enough to be told from a coincidence, without quote signs."""
    if len(text) >= _QUOTE_CHARS:
        for line in text.split("\n"):
            plain = " ".join(_QUOTE_SIGNS.sub("", line).casefold().split())
            if len(plain) >= _QUOTE_CHARS:
                yield hashlib.blake2b(plain.encode(), digest_size=8).digest()
