"""Answers that hold messages: every object with its own bytes as the server sent them.

Comes in: the bytes of an answer. Goes out: its objects, and where the reading stopped if something in it is of a kind
that this Telethon does not know (a server is free to send what the library's layer has not announced). Telethon's own
reader gives up the whole answer then. Knows nothing of dialogs or archives.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from telethon import version
from telethon.errors import TypeNotFoundError
from telethon.extensions import BinaryReader
from telethon.tl import types as t
from telethon.tl.alltlobjects import LAYER, tlobjects

RAW_FORMAT = f"TL layer {LAYER}, Telethon {version.__version__}"
VECTOR = 0x1CB5C415
# Telethon's own classes, below the ones that its client dresses up: reading those costs half as much again.
Message, MessageService = (
    next(kind for kind in dressed.__mro__ if kind.__module__ == "telethon.tl.types")
    for dressed in (t.Message, t.MessageService)
)
_BARE: dict[bytes, Any] = {struct.pack("<I", kind.CONSTRUCTOR_ID): kind for kind in (Message, MessageService)}
_VECTOR_BYTES = struct.pack("<I", VECTOR)
_MOST_PADDING = 1024  # bytes, of MTProto 2.0
_MESSAGE_IDS_AT = {  # flags stand before the id
    t.Message.CONSTRUCTOR_ID: 12,
    t.MessageService.CONSTRUCTOR_ID: 8,
    t.MessageEmpty.CONSTRUCTOR_ID: 8,
}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Where reading stopped: what could not be named, and everything from the start of the object that holds it."""

    constructor: int
    list_index: int  # which of the answer's lists it stands in, from 0; -1: before them
    message_id: int | None  # of the message that holds it, where that much could be read
    rest: bytes

    @property
    def why(self) -> str:
        return f"unknown kind {self.constructor:08x} ({RAW_FORMAT})"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's parts. `whole` is None where something in it is of an unknown kind."""

    whole: Any
    parts: list[tuple[Any, bytes]]  # the objects in the answer's own lists, in order, each with its bytes
    head: list[int]  # the constructor and the numbers before the first list
    unknown: Unknown | None


class _Inner(BinaryReader):  # type: ignore[misc]
    """Telethon's reader, with what it reads most often read in one step."""

    stream: bytes
    position: int

    def read_int(self, signed: bool = True) -> int:
        at = self.position
        self.position = at + 4
        value: int = (_INT if signed else _UNSIGNED)(self.stream, at)[0]
        return value

    def read_long(self, signed: bool = True) -> int:
        at = self.position
        self.position = at + 8
        value: int = (_LONG if signed else _UNSIGNED_LONG)(self.stream, at)[0]
        return value

    def tgread_bytes(self) -> bytes:
        """Read a length of one byte, or 254 and three, then the bytes, then padding to a multiple of four."""
        at = self.position
        if self.stream[at] == 254:
            start, length = at + 4, int.from_bytes(self.stream[at + 1 : at + 4], "little")
        else:
            start, length = at + 1, self.stream[at]
        end = start + length
        if end > len(self.stream):
            raise BufferError
        self.position = end + (at - end) % 4
        return self.stream[start:end]


_INT, _UNSIGNED = struct.Struct("<i").unpack_from, struct.Struct("<I").unpack_from
_LONG, _UNSIGNED_LONG = struct.Struct("<q").unpack_from, struct.Struct("<Q").unpack_from


class TextMessage:
    """A Message that is nothing but text, which most are, with the fields that it has and the ones that it lacks."""

    __slots__ = ("date", "from_id", "id", "message", "out", "user_id")
    edit_date = edit_hide = fwd_from = media = reply_to = None

    def __init__(self, message_id: int, user_id: int, date: datetime, message: str, out: bool, from_id: Any) -> None:
        self.id, self.user_id, self.date = message_id, user_id, date
        self.message, self.out, self.from_id = message, out, from_id

    @property
    def peer_id(self) -> Any:
        return t.PeerUser(self.user_id)


# message#7600b9d3 flags:# flags2:# id:int from_id:flags.8?Peer … peer_id:Peer … date:int message:string …
# A constructor's number is the hash of its layout, so it stands for this layout and no other.
_TEXT_MESSAGE = struct.pack("<I", 0x7600B9D3)
_HAS_SENDER = 1 << 8
# bits that stand for no field: out, mentioned, media_unread, silent, post, from_scheduled, legacy, pinned, noforwards,
# invert_media; offline. Any other is left to Telethon.
_BARE_FLAGS = sum(1 << bit for bit in (1, 4, 5, 13, 14, 18, 19, 24, 26, 27)) | _HAS_SENDER
_BARE_FLAGS2 = 1 << 1
_PEER_USER = t.PeerUser.CONSTRUCTOR_ID
_HEAD, _PEER, _DATE = (struct.Struct(form).unpack_from for form in ("<IIi", "<Iq", "<Iqi"))


def read_text_message(data: bytes, start: int) -> tuple[TextMessage, int] | None:
    """Return the message that begins at `start` and where it ends, None where it is more than text.

    Telethon's own reader takes ten times as long, over fifty fields that such a message does not have.
    """
    flags, flags2, message_id = _HEAD(data, start + 4)
    if flags & ~_BARE_FLAGS or flags2 & ~_BARE_FLAGS2:
        return None
    at, sender = start + 16, None
    if flags & _HAS_SENDER:
        kind, sender_id = _PEER(data, at)
        if kind != _PEER_USER:
            return None
        at, sender = at + 12, t.PeerUser(sender_id)
    kind, user_id, date = _DATE(data, at)
    if kind != _PEER_USER:
        return None
    at += 16
    if data[at] == 254:
        begin, length = at + 4, int.from_bytes(data[at + 1 : at + 4], "little")
    else:
        begin, length = at + 1, data[at]
    end = begin + length
    if end > len(data):
        raise BufferError
    text = data[begin:end].decode("utf-8", "replace")
    message = TextMessage(message_id, user_id, datetime.fromtimestamp(date, UTC), text, bool(flags & 2), sender)
    return message, end + (at - end) % 4


class _Reader(BinaryReader):  # type: ignore[misc]
    """Reads an answer's lists; what stands in them is read by another reader of the same bytes, and noted."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.parts: list[tuple[Any, bytes]] = []
        self.started_at = 0
        self.n_lists = 0
        self.head: list[int] = []
        self._inner = _Inner(data)

    def read_answer(self) -> Any:
        constructor = self._inner.read_int(signed=False)
        if constructor not in tlobjects:  # a bool or a bare list
            return self._plain()
        self.position = 4
        self.head.append(constructor)
        return tlobjects[constructor].from_reader(self)

    def _plain(self) -> Any:
        self._inner.position = self.position
        return self._inner.tgread_object()

    def tgread_object(self) -> Any:
        inner = self._inner
        start = self.started_at = inner.position = self.position
        if self.stream[start : start + 4] == _TEXT_MESSAGE:
            text = read_text_message(self.stream, start)
            if text is not None:
                self.position = text[1]
                self.parts.append((text[0], self.stream[start : text[1]]))
                return text[0]
        kind = _BARE.get(self.stream[start : start + 4])
        if kind is not None:
            inner.position += 4
            part = kind.from_reader(inner)
        else:
            part = inner.tgread_object()
        self.position = inner.position
        self.parts.append((part, self.stream[start : inner.position]))
        return part

    def read_int(self, signed: bool = True) -> int:
        value = int(super().read_int(signed))
        self.n_lists += value == VECTOR
        if not self.n_lists:
            self.head.append(value)
        return value


def peek_newest_id(data: bytes) -> int | None:
    """Return the id of the first message in a history's answer, its newest, without reading the answer."""
    kind, flags = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    if kind == t.messages.Messages.CONSTRUCTOR_ID:
        at = 4
    elif kind == t.messages.MessagesSlice.CONSTRUCTOR_ID and not flags & 8:  # 8: an object of any length follows
        at = 12 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
    else:
        return None
    if data[at : at + 4] != _VECTOR_BYTES or not any(data[at + 4 : at + 8]):
        return None
    id_at = _MESSAGE_IDS_AT.get(int.from_bytes(data[at + 8 : at + 12], "little"))
    if id_at is None:
        return None
    return int.from_bytes(data[at + 8 + id_at : at + 12 + id_at], "little", signed=True)


def read_answer(data: bytes) -> Answer:
    """Read the bytes of an answer. Never raises for what they hold."""
    mine = _Reader(data)
    try:
        return Answer(mine.read_answer(), mine.parts, mine.head, None)
    except TypeNotFoundError as error:
        return Answer(None, mine.parts, mine.head, _describe(mine, error.invalid_constructor_id))
    except (struct.error, BufferError, IndexError, ValueError, RuntimeError):  # a known kind in an unknown layout
        return Answer(None, mine.parts, mine.head, _describe(mine, 0))


def _describe(reader: _Reader, constructor: int) -> Unknown:
    rest: bytes = reader.stream[reader.started_at :]
    at = _MESSAGE_IDS_AT.get(int.from_bytes(rest[:4], "little"))
    message_id = int.from_bytes(rest[at : at + 4], "little", signed=True) if at and len(rest) >= at + 4 else None
    return Unknown(constructor, reader.n_lists - 1, message_id, rest)


def find_users(rest: bytes) -> list[Any]:
    """Return the users of an answer of which only `rest` could not be read: they are its last list."""
    _, lists = _find_last_lists(rest)
    return [user for user in lists[-1] if isinstance(user, t.User)] if lists else []


def cut_off_lists(rest: bytes) -> bytes:
    """Return what of `rest` belongs to the object at its start, where the answer's last lists follow it."""
    end, _ = _find_last_lists(rest)
    return rest[:end]


def _find_last_lists(rest: bytes) -> tuple[int, list[list[Any]]]:
    """Return where the lists that end an answer begin, and the lists; the end and none, where they cannot be found."""
    for at in _vectors(rest):
        reader = BinaryReader(rest)
        reader.set_position(at)
        lists: list[list[Any]] = []
        try:
            while rest[reader.position : reader.position + 4] == _VECTOR_BYTES:
                lists.append(list(reader.tgread_object()))
        except (TypeNotFoundError, struct.error, BufferError, IndexError, ValueError, RuntimeError, MemoryError):
            continue
        # chats and users at least; what follows can only be the padding of the encryption
        if len(lists) >= 2 and len(rest) - reader.position <= _MOST_PADDING:
            return at, lists
    return len(rest), []


def _vectors(data: bytes) -> Iterator[int]:
    at = data.find(_VECTOR_BYTES)
    while at >= 0:
        if at % 4 == 0:
            yield at
        at = data.find(_VECTOR_BYTES, at + 1)
