"""Sources that know people by name alone and messages by time alone: WhatsApp, Messenger, Instagram, Signal.

In come conversations as lines of somebody at some moment; out come the account, its private chats and their messages
under ids made of the time and the place within it, so that a later export of the same chat meets the same ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from clone.collect.contract import PAGE, Asked, Item, Page, Tally, UnknownMe, clean, id_of_name
from clone.errors import SourceError
from clone.records import Account, Chat, ChatKind, Kind, Message, Person

PLACES = 1_000  # ids that one millisecond has


@dataclass(frozen=True, slots=True)
class Line:
    """One message, before it is known who the person is."""

    sender: str  # the name as the source writes it
    sent_at: datetime
    stamp_ms: int  # of the clock that the source writes, whatever its zone: the same in every export
    text: str
    kind: Kind
    raw: bytes
    place: int | None = None  # among everything of that moment; counted here where the source does not


@dataclass(slots=True)
class Talk:
    """One conversation, in any order."""

    chat_id: str
    title: str
    file_name: str
    lines: list[Line]
    people: set[str] = field(default_factory=set)  # who can write in it; those who did are added
    is_group: bool = False
    contact: str = ""  # the other's name, where the source says it

    def __post_init__(self) -> None:
        self.people |= {line.sender for line in self.lines}


def read_talks(source: str, talks: Sequence[Talk], asked: Asked, tally: Tally, me: str = "") -> Iterator[Item]:
    """Yield private conversations as items. `me` is the name under which the source itself shows the person."""
    private = []
    for talk in talks:
        if talk.is_group or len(talk.people) > 2:
            tally.skipped["in groups"] += len(talk.lines)
        else:
            private.append(talk)
    names = "and others" if len(talks) > 1 else ""
    file_name = " ".join(part for part in (talks[0].file_name, names) if part)
    if not private:
        raise SourceError(f"{file_name} holds no private chat with a person, only groups.", "Export a chat of two.")
    if not any(talk.lines for talk in private):
        raise SourceError(f"{file_name} holds no messages.", "Export the chat again with its messages.")
    me = me or _pick_me(private, asked.me, file_name)
    account = Account(source, id_of_name(me), clean(me))
    yield account
    for talk in private:
        yield from _read_talk(account, me, talk)


def _pick_me(talks: Sequence[Talk], asked_me: str, file_name: str) -> str:
    n_lines: Counter[str] = Counter()
    for talk in talks:
        n_lines.update(line.sender for line in talk.lines)
    if asked_me:
        for name in n_lines:
            if name.casefold() == asked_me.casefold() or id_of_name(name) == asked_me:
                return name
        raise UnknownMe(file_name, asked_me, n_lines)
    # The person is in every chat, and is never the one whom the source calls the contact.
    contacts = {talk.contact for talk in talks if talk.contact}
    everywhere = set.intersection(*(talk.people for talk in talks)) - contacts
    if len(everywhere) == 1:
        return everywhere.pop()
    raise UnknownMe(file_name, "", n_lines)


def _read_talk(account: Account, me: str, talk: Talk) -> Iterator[Item]:
    others = talk.people - {me}
    contact = next(iter(others), talk.contact or talk.title)
    chat = Chat(
        account.source, account.account_id, talk.chat_id or id_of_name(contact), ChatKind.PERSON, clean(contact)
    )
    yield chat
    senders = {name: id_of_name(name) for name in talk.people}
    for name in others:
        yield Person(account.source, account.account_id, senders[name], clean(name))
    messages: list[tuple[Message, bytes]] = []
    stamp, place = -1, 0
    for line in sorted(talk.lines, key=lambda line: line.stamp_ms):  # stable: lines of one moment keep their order
        place = place + 1 if line.stamp_ms == stamp else 0
        stamp = line.stamp_ms
        if line.place is not None:
            place = line.place
        message = Message(
            account.source,
            account.account_id,
            chat.chat_id,
            stamp * PLACES + place,
            senders[line.sender],
            line.sent_at,
            clean(line.text),
            line.kind,
            None,
            None,
            False,
            line.sender == me,
        )
        messages.append((message, line.raw))
        if len(messages) >= PAGE:
            yield Page(chat, messages)
            messages = []
    if messages:
        yield Page(chat, messages)
