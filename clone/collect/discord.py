"""Discord, as DiscordChatExporter writes it to JSON: one channel a file, ids and zones as Discord has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
    local_time,
    text_of,
)
from clone.collect.files import READ_ERRORS, Part, damaged
from clone.collect.json_stream import Broken, CutShort, JsonReader, NotJson
from clone.errors import SourceError
from clone.records import Account, Chat, ChatKind, Kind, Message, Person

NAME = "discord"

_MESSAGE_START = re.compile(r'\{\s*"id"\s*:\s*"\d+"\s*,\s*"type"')
_WRITTEN = frozenset(["Default", "Reply", "0", "19"])  # the last two: of old versions
_KINDS = {"image": Kind.PHOTO, "video": Kind.VIDEO, "audio": Kind.AUDIO}
_ENDINGS = {
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "heic"), Kind.PHOTO),
    **dict.fromkeys(("mp4", "mov", "webm"), Kind.VIDEO),
    **dict.fromkeys(("mp3", "wav", "flac", "m4a"), Kind.AUDIO),
    "gif": Kind.ANIMATION,
    "ogg": Kind.VOICE,
}


def claims(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is a channel written by DiscordChatExporter."""
    return bool(re.search(r'"guild"\s*:\s*\{', head) and re.search(r'"channel"\s*:\s*\{', head))


def read(parts: Sequence[Part], asked: Asked, tally: Tally) -> Iterator[Item]:
    """Yield direct messages. Raises SourceError where there are none, UnknownMe where nobody in them is `me`."""
    channels = [_Channel(part, asked, tally) for part in parts]
    private = [channel for channel in channels if channel.is_private]
    for channel in channels:
        if not channel.is_private:
            tally.skipped["in servers and groups"] += channel.n_records
    if not any(channel.n_records for channel in channels):
        raise SourceError(f"{parts[0].file_name} holds no messages.", "Export the channel again as JSON.")
    if not private:
        raise SourceError(
            f"{parts[0].file_name} holds no direct messages with a person, only channels of servers or groups.",
            "Export a direct message (in DiscordChatExporter: exportdm).",
        )
    me = _pick_me(private, asked.me, parts[0].file_name)
    names = next((channel.authors[me] for channel in private if me in channel.authors), ("", ""))
    account = Account(NAME, me, names[0], names[1])
    yield account
    for channel in private:
        yield from channel.items(account)


class _Channel:
    """One file."""

    def __init__(self, part: Part, asked: Asked, tally: Tally) -> None:
        self.part = part
        self.asked = asked
        self.tally = tally
        self.chat_id = ""
        self.name = ""
        self.type = ""
        self.n_records = 0
        self.n_by_author: Counter[str] = Counter()
        self.authors: dict[str, tuple[str, str]] = {}  # id -> name as shown, username
        self.found: list[tuple[str, dict[str, Any], str]] = []
        self._read()

    @property
    def is_private(self) -> bool:
        return self.type in ("DirectTextChat", "1") and len(self.authors) <= 2

    def _read(self) -> None:
        tally, part = self.tally, self.part
        try:
            with part.open() as stream:
                reader = JsonReader(stream, _MESSAGE_START)
                for key in reader.members():
                    if key == "channel":
                        channel = reader.value()[0]
                        if isinstance(channel, Mapping):
                            self.chat_id = text_of(channel.get("id"))
                            self.name = text_of(channel.get("name"))
                            self.type = text_of(channel.get("type")) or str(channel.get("type"))
                    elif key == "messages" and reader.peek() == "[":
                        for record, text in reader.elements():
                            self._take(record, text)
                    else:
                        reader.skip()
                tally.n_repaired += reader.n_repaired
                for _ in range(reader.n_lost):
                    tally.n_read += 1
                    tally.add_bad(part.file_name, "not JSON")
        except (CutShort, NotJson):
            if not self.n_records:
                raise SourceError(
                    f"{part.file_name} is not a channel as DiscordChatExporter writes it.", "Export it again as JSON."
                ) from None
            tally.cut[part.file_name] = self.n_records
        except READ_ERRORS as error:
            raise damaged(part.name) from error

    def _take(self, record: Any, text: str) -> None:
        tally, where = self.tally, f"{self.part.file_name}: record {self.n_records + 1:,}"
        self.n_records += 1
        tally.n_read += 1
        if isinstance(record, Broken):
            tally.add_bad(f"{self.part.file_name}:{record.line}", "not JSON")
            return
        author = record.get("author") if isinstance(record, dict) else None
        author_id = text_of(author.get("id")) if isinstance(author, Mapping) else ""
        if not isinstance(author, Mapping) or not author_id:
            tally.add_bad(where, "no sender")
        elif author.get("isBot") is True:
            tally.skipped["of bots"] += 1
        else:
            self.n_by_author[author_id] += 1
            username = text_of(author.get("name"))
            self.authors.setdefault(author_id, (text_of(author.get("nickname")) or username, username))
            self.found.append((author_id, record, text))

    def items(self, account: Account) -> Iterator[Item]:
        others = [author for author in self.authors if author != account.account_id]
        title, username = self.authors[others[0]] if others else (self.name, "")
        chat = Chat(NAME, account.account_id, self.chat_id or "channel", ChatKind.PERSON, title, username)
        yield chat
        for author in others:
            yield Person(NAME, account.account_id, author, *self.authors[author])
        page: list[tuple[Message, bytes]] = []
        for author_id, record, text in self.found:
            found = self._message(author_id, record, chat)
            if isinstance(found, Message):
                page.append((found, text.encode("utf-8", "replace")))
            else:
                self.tally.add_bad(self.part.file_name, found)
            if len(page) >= PAGE:
                yield Page(chat, page)
                page = []
        if page:
            yield Page(chat, page)

    def _message(self, author_id: str, record: Mapping[str, Any], chat: Chat) -> Message | str:
        message_id = _id(record.get("id"))
        if message_id is None:
            return "no id"
        sent_at = local_time(text_of(record.get("timestamp")), self.asked.timezone)
        if sent_at is None:
            return "no date"
        kind_name = str(record.get("type"))
        kind, text = Kind.TEXT, text_of(record.get("content"))
        if kind_name in ("Call", "3"):
            kind, text = Kind.CALL, ""
        elif kind_name not in _WRITTEN:
            kind, text = Kind.SERVICE, ""
        elif record.get("attachments"):
            kind = _attachment(record["attachments"])
        elif record.get("stickers"):
            kind = Kind.STICKER
        reference = record.get("reference")
        reply_to = _id(reference.get("messageId")) if isinstance(reference, Mapping) and kind_name == "Reply" else None
        if isinstance(reference, Mapping) and kind_name in ("Default", "19"):
            reply_to = _id(reference.get("messageId"))
        forwarded = record.get("forwardedMessage")
        if isinstance(forwarded, Mapping) and not text:
            text = text_of(forwarded.get("content"))
        edited = record.get("timestampEdited")
        return Message(
            NAME,
            chat.account_id,
            chat.chat_id,
            message_id,
            author_id,
            sent_at,
            clean(text),
            kind,
            reply_to,
            local_time(edited, self.asked.timezone) if isinstance(edited, str) else None,
            isinstance(forwarded, Mapping),
            author_id == chat.account_id,
        )


def _pick_me(channels: Sequence[_Channel], asked_me: str, file_name: str) -> str:
    n_messages: Counter[str] = Counter()
    for channel in channels:
        n_messages.update(channel.n_by_author)
    if asked_me:
        for channel in channels:
            for author, names in channel.authors.items():
                if asked_me == author or asked_me.casefold() in (name.casefold() for name in names):
                    return author
        raise UnknownMe(file_name, asked_me, n_messages)
    # A direct message carries the contact's name; and the person is in every one.
    contacts = {a for channel in channels for a, names in channel.authors.items() if channel.name in names}
    everywhere = set.intersection(*(set(channel.authors) for channel in channels)) - contacts
    if len(everywhere) == 1:
        return everywhere.pop()
    raise UnknownMe(file_name, "", n_messages)


def _id(found: Any) -> int | None:
    if not isinstance(found, str | int) or isinstance(found, bool):
        return None
    text = str(found)
    return int(text) if text.isdecimal() and len(text) < 20 and int(text) <= LARGEST_ID else None


def _attachment(found: Any) -> Kind:
    first = found[0] if isinstance(found, list) and found else None
    name = text_of(first.get("fileName")) if isinstance(first, Mapping) else ""
    return _ENDINGS.get(name.rpartition(".")[2].lower(), Kind.FILE)


SOURCE = Source(NAME, "Discord (JSON of DiscordChatExporter)", "discordchatexporter-json", claims, read)
