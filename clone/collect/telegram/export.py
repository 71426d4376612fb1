"""Telegram Desktop's result.json: one chat or a whole account, of every version since 2018.

In come files, out come an account, its private chats, the people in them and pages of messages under the ids that
Telegram's own API has, so that they merge with what was collected live. Fields and versions are those of
`export_output_json.cpp` in telegramdesktop/tdesktop. Knows nothing of telethon.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from clone.collect.contract import (
    LARGEST_ID,
    PAGE,
    Asked,
    Item,
    Page,
    Source,
    Tally,
    UnknownMe,
    clean,
    id_of_name,
    local_time,
    no_messages,
    text_of,
    time_of,
)
from clone.collect.files import READ_ERRORS, Part, damaged
from clone.collect.json_stream import Broken, CutShort, JsonReader, NotJson
from clone.collect.telegram.system import SYSTEM_IDS
from clone.errors import SourceError
from clone.records import Account, Chat, ChatKind, Kind, Message, Person

NAME = "telegram"

CHAT_KINDS = {
    "personal_chat": ChatKind.PERSON,
    "saved_messages": ChatKind.SAVED,
    "bot_chat": ChatKind.BOT,
    "private_group": ChatKind.GROUP,
    "private_supergroup": ChatKind.GROUP,
    "public_supergroup": ChatKind.GROUP,
    "private_channel": ChatKind.CHANNEL,
    "public_channel": ChatKind.CHANNEL,
    "replies": ChatKind.SYSTEM,
    "verification_codes": ChatKind.SYSTEM,
}

_SYSTEM = frozenset(map(str, SYSTEM_IDS))  # exported as personal chats

_MEDIA_TYPES = {
    "sticker": Kind.STICKER,
    "video_message": Kind.VIDEO_NOTE,
    "voice_message": Kind.VOICE,
    "animation": Kind.ANIMATION,
    "video_file": Kind.VIDEO,
    "audio_file": Kind.AUDIO,
}
_MEDIA_KEYS = {
    "photo": Kind.PHOTO,
    "file": Kind.FILE,
    "contact_information": Kind.CONTACT,
    "location_information": Kind.LOCATION,
    "place_name": Kind.LOCATION,
    "poll": Kind.POLL,
    "game_title": Kind.GAME,
    "invoice_information": Kind.INVOICE,
    "todo_list": Kind.POLL,
    "giveaway_information": Kind.UNSUPPORTED,
    "giveaway_results": Kind.UNSUPPORTED,
    "paid_stars_amount": Kind.PHOTO,
}
_HAS_MEDIA = frozenset([*_MEDIA_KEYS, "media_type"])
_CALLS = frozenset(["phone_call", "conference_call"])

# Where a message begins, for files so broken that their brackets do not say it
_MESSAGE_START = re.compile(r'\{\s*"(?:id"\s*:\s*-?\d+\s*,\s*"type"|type"\s*:\s*"(?:message|service)")')


def claims(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is an export of Telegram Desktop."""
    if not head.lstrip().startswith("{") or re.search(r'"(participants|sender_name|guild|conversationId)"\s*:', head):
        return False
    kinds = "|".join(CHAT_KINDS)
    marks = (
        r'"(personal_information|frequent_contacts|left_chats)"\s*:',
        r'"chats"\s*:\s*\{',
        rf'"type"\s*:\s*"({kinds})"',
        r'"messages"[^"]*"(id|type)"[\s\S]*"(date|date_unixtime|text_entities|from_id)"\s*:',
    )
    return part.file_name == "result.json" or any(re.search(mark, head) for mark in marks)


def read(parts: Sequence[Part], asked: Asked, tally: Tally) -> Iterator[Item]:
    """Yield what the exports hold. Raises SourceError where one is none, UnknownMe where nobody in it is `me`."""
    for part in parts:
        yield from _read_one(part, asked, tally)


class _Header:
    """What an export says of a chat before its messages."""

    def __init__(self) -> None:
        self.name = ""
        self.type = ""
        self.chat_id = ""
        self.is_nameless = False  # the name is null: a deleted account
        self.has_messages = False

    @property
    def kind(self) -> ChatKind:
        if self.chat_id in _SYSTEM:
            return ChatKind.SYSTEM
        return CHAT_KINDS.get(self.type, ChatKind.SYSTEM) if self.type else ChatKind.PERSON


Element = tuple[Any, str]


class _Export:
    """One pass over a file: who owns it, and its chats with the records in them."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.owner = Account(NAME, "")
        self.contacts: list[Person] = []
        self.reader: JsonReader | None = None
        self.n_loose = 0

    def chats(self) -> Iterator[tuple[_Header, Iterator[Element]]]:
        """Yield each chat that has messages, with the records, which must be consumed before the next chat.

        `owner` and `contacts` are known as soon as they were passed, which is before the chats.
        """
        with self.part.open() as stream:
            self.reader = reader = JsonReader(stream, _MESSAGE_START)
            alone = _Header()
            for key in reader.members():
                if key == "personal_information":
                    self.owner = _owner(reader.value()[0])
                elif key == "contacts":
                    self.contacts = list(_contacts(reader.value()[0]))
                elif key in ("chats", "left_chats") and reader.peek() == "{":
                    yield from self._list(reader)
                else:
                    yield from self._chat_key(reader, alone, key)

    def _list(self, reader: JsonReader) -> Iterator[tuple[_Header, Iterator[Element]]]:
        for key in reader.members():
            if key != "list" or reader.peek() != "[":
                reader.skip()
                continue
            for _ in reader.items():
                header = _Header()
                if reader.peek() != "{":
                    raise NotJson
                for inner in reader.members():
                    yield from self._chat_key(reader, header, inner)
                if not header.has_messages:  # every chat has some key of that name: this was a record that got loose
                    self.n_loose += 1

    def _chat_key(self, reader: JsonReader, header: _Header, key: str) -> Iterator[tuple[_Header, Iterator[Element]]]:
        if key == "messages" and reader.peek() == "[":
            header.has_messages = True
            yield header, reader.elements()
        elif key in ("name", "type", "id"):
            found = reader.value()[0]
            if header.has_messages and key != "name":  # a group would have been taken for a person
                raise SourceError(
                    f"{self.part.file_name} was rewritten by another program: '{key}' stands behind the messages.",
                    "Give the file as Telegram Desktop wrote it.",
                )
            if key == "id":
                header.chat_id = str(found) if _is_int(found) else ""
            elif key == "type":
                header.type = text_of(found)
            else:
                header.name, header.is_nameless = text_of(found), found is None
        else:
            reader.skip()


# -- whose export it is ---------------------------------------------------------------------------------------------


def _find_owner(part: Part, asked: Asked) -> Account:
    """Return the person whose export it is, after a pass over the file where it does not begin with it."""
    export = _Export(part)
    me = _sender(asked.me.strip())
    n_messages: Counter[str] = Counter()
    names: dict[str, set[str]] = {}
    contacts: set[str] = set()
    in_personal: set[str] = set()
    try:
        for header, elements in export.chats():
            if export.owner.account_id and me in ("", export.owner.account_id):
                return export.owner
            is_personal = header.kind is ChatKind.PERSON
            if is_personal:
                contacts.add(header.chat_id)
            for record, _ in elements:
                if not isinstance(record, Mapping):
                    continue
                name = text_of(record.get("from", record.get("actor")))
                sender = _sender(record.get("from_id", record.get("actor_id"))) or _by_name(name, header)
                if not sender:
                    continue
                n_messages[sender] += 1
                names.setdefault(sender, set()).add(name)
                if is_personal:
                    in_personal.add(sender)
    except (CutShort, NotJson):
        pass  # said by the pass that reads
    shown = {_shown(sender, names[sender]): n for sender, n in n_messages.items()}
    if me:
        spoken = asked.me.strip().casefold()
        named = [sender for sender in names if any(name.casefold() == spoken for name in names[sender])]
        if me not in n_messages and len(named) != 1:
            raise UnknownMe(part.file_name, asked.me, shown)
        found = me if me in n_messages else named[0]
        return export.owner if found == export.owner.account_id else Account(NAME, found)
    if export.owner.account_id or not contacts or not n_messages:
        return export.owner
    # The id of a personal chat is the contact's, so the only other one who wrote is the person.
    others = in_personal - contacts
    if len(others) == 1 and "" not in contacts:
        return Account(NAME, others.pop())
    raise UnknownMe(part.file_name, "", shown)


def _shown(sender: str, names: set[str]) -> str:
    """Return the id that a person types: as exports have it, and the name where there is only that."""
    return f"user{sender}" if sender.isdecimal() else min(names) if sender.startswith("name-") else sender


def _owner(found: Any) -> Account:
    if not isinstance(found, Mapping):
        return Account(NAME, "")
    names = (text_of(found.get("first_name")), text_of(found.get("last_name")))
    return Account(
        NAME,
        _sender(found.get("user_id")),
        " ".join(name for name in names if name),
        text_of(found.get("username")).removeprefix("@"),
        text_of(found.get("phone_number")),
    )


def _contacts(found: Any) -> Iterator[Person]:
    listed = found.get("list") if isinstance(found, Mapping) else None
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, Mapping) and (person_id := _sender(one.get("user_id"))) not in ("", "0"):
            names = (text_of(one.get("first_name")), text_of(one.get("last_name")))
            yield Person(NAME, "", person_id, " ".join(n for n in names if n), "", text_of(one.get("phone_number")))


# -- chats and messages ---------------------------------------------------------------------------------------------


def _read_one(part: Part, asked: Asked, tally: Tally) -> Iterator[Item]:
    try:
        account = _find_owner(part, asked)
        yield from _read_chats(_Export(part), account, asked, tally)
    except READ_ERRORS as error:
        raise damaged(part.name) from error


def _read_chats(export: _Export, account: Account, asked: Asked, tally: Tally) -> Iterator[Item]:
    part, n_before = export.part, tally.n_read
    is_told = False
    left_out: Counter[str] = Counter()
    try:
        for header, elements in export.chats():
            reason = _why_left_out(header.kind, asked)
            if reason:
                left_out[reason] += 1
                for _ in elements:
                    tally.n_read += 1
                    tally.skipped[reason] += 1
                continue
            if not is_told:
                if not account.account_id:  # notes to oneself, or records without senders
                    account = Account(NAME, header.chat_id if header.kind is ChatKind.SAVED else "nobody")
                yield account
                is_told = True
            is_deleted = header.is_nameless and header.kind is ChatKind.PERSON
            chat = Chat(
                NAME, account.account_id, _chat_id(header, account), header.kind, header.name, is_deleted=is_deleted
            )
            yield chat
            reading = _ChatReader(export, header, chat, asked, tally)
            yield from reading.items(elements)
    except CutShort:
        tally.cut[part.file_name] = tally.n_read - n_before
        if tally.n_read == n_before and not left_out:
            raise _no_export(part) from None
    except NotJson:
        if tally.n_read == n_before:
            raise _no_export(part) from None
        tally.cut[part.file_name] = tally.n_read - n_before
    reader = export.reader
    if reader is not None:
        tally.n_repaired += reader.n_repaired
        for _ in range(reader.n_lost):
            tally.n_read += 1
            tally.add_bad(part.file_name, "not JSON")
        for _ in range(export.n_loose):
            tally.n_read += 1
            tally.add_bad(part.file_name, "not in a chat")
    if tally.n_read == n_before:
        raise no_messages(part.file_name)
    if not is_told:
        raise SourceError(
            f"{part.file_name} holds no private chat with a person, only {_listed(left_out)}.",
            "Export a personal chat, or tick 'Personal chats' when you export the account.",
        )


def _no_export(part: Part) -> SourceError:
    return SourceError(
        f"{part.file_name} is not an export of Telegram Desktop.",
        "Export again in Telegram Desktop with the format 'Machine-readable JSON'.",
    )


def _why_left_out(kind: ChatKind, asked: Asked) -> str:
    if kind is ChatKind.PERSON or (kind is ChatKind.SAVED and asked.with_saved):
        return ""
    return {
        ChatKind.SAVED: "in saved messages",
        ChatKind.BOT: "in chats with bots",
        ChatKind.GROUP: "in groups",
        ChatKind.CHANNEL: "in channels",
    }.get(kind, "in notices")


def _listed(reasons: Counter[str]) -> str:
    return " and ".join(f"{n:,} of {reason.removeprefix('in ')}" for reason, n in reasons.items())


def _chat_id(header: _Header, account: Account) -> str:
    if header.chat_id:
        return header.chat_id
    return account.account_id if header.kind is ChatKind.SAVED else _by_name(header.name, None) or "chat"


class _ChatReader:
    """Turns the records of one chat into messages."""

    def __init__(self, export: _Export, header: _Header, chat: Chat, asked: Asked, tally: Tally) -> None:
        self.export = export
        self.header = header
        self.chat = chat
        self.asked = asked
        self.tally = tally
        self.names: dict[str, str] = {}
        self.times: dict[str, datetime | None] = {}

    def items(self, elements: Iterator[Element]) -> Iterator[Item]:
        """Yield the chat in pages, and who is in it. What was read before a cut is yielded before CutShort goes on."""
        tally, part = self.tally, self.export.part
        messages: list[tuple[Message, bytes]] = []
        gaps: list[tuple[int, str]] = []
        cut: Exception | None = None
        n = 0
        while True:
            try:
                record, text = next(elements)
            except StopIteration:
                break
            except (CutShort, NotJson) as error:
                cut = error
                break
            n += 1
            tally.n_read += 1
            if isinstance(record, Broken):
                tally.add_bad(f"{part.file_name}:{record.line}", "not JSON")
                continue
            found = self._message(record, n)
            if isinstance(found, Message):
                messages.append((found, text.encode("utf-8", "replace")))
            elif isinstance(found, int):
                gaps.append((found, "not supported by the export"))
                tally.skipped["not supported by the export"] += 1
            else:
                tally.add_bad(f"{part.file_name}: record {n:,} of a chat", found)
            if len(messages) >= PAGE:
                self._tell_share()
                yield Page(self.chat, messages, gaps)
                messages, gaps = [], []
        self._tell_share()
        if messages or gaps:
            yield Page(self.chat, messages, gaps)
        yield from self._people()
        if cut is not None:
            raise cut

    def _people(self) -> Iterator[Person]:
        """Yield who wrote in the chat, and the contact as the address book has them."""
        for person_id, name in self.names.items():
            yield Person(NAME, self.chat.account_id, person_id, name)
        for person in self.export.contacts:
            if person.person_id == self.chat.chat_id:
                yield Person(NAME, self.chat.account_id, person.person_id, person.name, "", person.phone)

    def _tell_share(self) -> None:
        reader, size = self.export.reader, self.export.part.size
        if reader is not None and size:
            self.tally.share_read = reader.n_bytes / size

    def _message(self, record: Any, n: int) -> Message | int | str:
        """Return the message, the id of one that the export itself could not write, or why it cannot be read."""
        if not isinstance(record, dict):
            return "not an object"
        message_id = record.get("id", n if "id" not in record else None)
        if type(message_id) is not int or not -LARGEST_ID <= message_id <= LARGEST_ID:
            return "no id"
        kind_name = record.get("type")
        if kind_name == "unsupported":
            return message_id
        if kind_name not in ("message", "service", None):
            return "a type that is not known"
        if "id" not in record:
            self.tally.note("Messages without ids were numbered by their place; they merge with no other collection.")
        sent_at = self._time(record, "date_unixtime", "date")
        if sent_at is None:
            return "no date"
        is_service = kind_name == "service"
        name = record.get("actor" if is_service else "from")
        sender = _sender(record.get("actor_id" if is_service else "from_id"))
        if not sender:
            sender = _by_name(text_of(name), self.header)
            if not sender and name is None and ("from" in record or is_service):
                sender = self.chat.chat_id  # a deleted account: only the other side can be one
            if not sender:
                return "no sender"
        if sender not in self.names and isinstance(name, str):
            self.names[sender] = clean(name)
        edited_at = None
        if "edited" in record or "edited_unixtime" in record:
            edited_at = self._time(record, "edited_unixtime", "edited")  # 1970 before v2.1.9, and so None
        reply_to = record.get("reply_to_message_id")
        if type(reply_to) is not int or "reply_to_peer_id" in record or not -LARGEST_ID <= reply_to <= LARGEST_ID:
            reply_to = None
        kind = Kind.TEXT
        if is_service:
            kind = Kind.CALL if record.get("action") in _CALLS else Kind.SERVICE
        elif not _HAS_MEDIA.isdisjoint(record):
            kind = _media(record)
        text = record.get("text")
        if type(text) is not str:
            text = _longest(text, record.get("text_entities"))
        elif not text and "text_entities" in record and not is_service:
            text = _flat(record["text_entities"])
        if not text and kind is Kind.STICKER:
            text = text_of(record.get("sticker_emoji"))
        if not text.isascii() or "\0" in text:
            text = clean(text)
        chat = self.chat
        return Message(
            NAME,
            chat.account_id,
            chat.chat_id,
            message_id,
            sender,
            sent_at,
            text,
            kind,
            reply_to,
            edited_at,
            "forwarded_from" in record,
            sender == chat.account_id,
        )

    def _time(self, record: Mapping[str, Any], unix_key: str, local_key: str) -> datetime | None:
        unix = record.get(unix_key)
        if isinstance(unix, str | int):
            try:
                moment = time_of(int(unix))
            except (ValueError, OverflowError):
                moment = None
            if moment is not None:
                return moment
        local = record.get(local_key)
        if not isinstance(local, str):
            return None
        moment = local_time(local, self.asked.timezone)
        if moment is not None:
            self.tally.note(_zone_note(self.asked))
        return moment


def _zone_note(asked: Asked) -> str:
    if asked.timezone is not None:
        return f"Times without a zone were read as {asked.timezone}."
    return "Times without a zone were read in this machine's zone; --timezone says another."


def _media(record: Mapping[str, Any]) -> Kind:
    media_type = record.get("media_type")
    if isinstance(media_type, str) and media_type in _MEDIA_TYPES:
        return _MEDIA_TYPES[media_type]
    return next((kind for key, kind in _MEDIA_KEYS.items() if key in record), Kind.FILE)


def _longest(text: Any, entities: Any) -> str:
    """Return the words of `text` and `text_entities`, which are the same unless another program wrote one of them."""
    return max(_flat(entities), _flat(text), key=len)


def _flat(parts: Any) -> str:
    """Return a text that may be cut into entities; nothing stands between them."""
    if isinstance(parts, str):
        return parts
    if not isinstance(parts, list):
        return ""
    words = [part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else "" for part in parts]
    return "".join(word for word in words if isinstance(word, str))


def _is_int(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def _sender(found: Any) -> str:
    """Return "123" for a user's id in each of its spellings (123, "user123"); "channel123" and "chat123" stay."""
    if isinstance(found, str):
        return found[4:] if found.startswith("user") and found[4:].isdecimal() else clean(found)
    return str(found) if _is_int(found) and abs(found) <= LARGEST_ID else ""


def _by_name(name: str, header: _Header | None) -> str:
    """Return an id for somebody who has only a name, as in exports of 2018."""
    if not name:
        return ""
    if header is not None and header.chat_id and name == header.name:
        return header.chat_id
    return id_of_name(name)


SOURCE = Source(NAME, "Telegram Desktop (result.json)", "telegram-desktop-json", claims, read)
