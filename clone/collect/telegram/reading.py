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

from clone.collect.telegram.layouts import skip_object, skip_objects, skip_string

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
_TWO = struct.Struct("<II").unpack_from
_LONG, _UNSIGNED_LONG = struct.Struct("<q").unpack_from, struct.Struct("<Q").unpack_from


class BriefMessage:
    """A Message with what the archive keeps of it, under Telethon's names.

    Of photos, web pages and forwards only the kind is there, of documents what tells their kind, of replies the message
    that they answer.
    """

    __slots__ = (
        "date",
        "edit_date",
        "edit_hide",
        "from_id",
        "fwd_from",
        "id",
        "media",
        "message",
        "out",
        "reply_to",
        "user_id",
    )
    id: int
    user_id: int
    date: datetime
    message: str
    out: bool
    edit_hide: bool
    edit_date: datetime | None
    from_id: Any
    fwd_from: Any
    reply_to: Any
    media: Any

    @property
    def peer_id(self) -> Any:
        return t.PeerUser(self.user_id)


class _Document:
    """A document of which nothing but its attributes is kept."""

    __slots__ = ("attributes",)

    def __init__(self, attributes: list[Any]) -> None:
        self.attributes = attributes


_A_PHOTO, _A_PAGE = t.MessageMediaPhoto(), t.MessageMediaWebPage(webpage=None)
_A_FORWARD = t.MessageFwdHeader(date=None)


def _bits(*bits: int) -> int:
    return sum(1 << bit for bit in bits)


# message#7600b9d3 flags:# … flags2:# … id:int … The number is the hash of the layout: it stands for no other.
_MESSAGE = struct.pack("<I", 0x7600B9D3)
# bits that stand for no field: out, mentioned, media_unread, silent, post, from_scheduled, legacy, edit_hide, pinned,
# noforwards, invert_media; offline, video_processing_pending
_MARKS, _MARKS2 = _bits(1, 4, 5, 13, 14, 18, 19, 21, 24, 26, 27), _bits(1, 4)
_HAS_SENDER, _HAS_FORWARD, _HAS_REPLY, _HAS_MARKUP, _HAS_ENTITIES, _HAS_MEDIA = (1 << b for b in (8, 2, 3, 6, 7, 9))
_HAS_VIEWS, _HAS_BOT, _IS_EDITED, _HAS_ALBUM, _HAS_REACTIONS, _HAS_TTL, _HAS_SAVED_PEER = (
    1 << b for b in (10, 11, 15, 17, 20, 25, 28)
)
_BEFORE_DATE = _HAS_FORWARD | _HAS_REPLY | _HAS_BOT | _HAS_SAVED_PEER
_BEHIND_MEDIA = _HAS_MARKUP | _HAS_ENTITIES | _HAS_VIEWS | _IS_EDITED | _HAS_ALBUM | _HAS_REACTIONS | _HAS_TTL
_KNOWN_FLAGS = _MARKS | _HAS_SENDER | _BEFORE_DATE | _HAS_MEDIA | _BEHIND_MEDIA
_KNOWN_FLAGS2 = _MARKS2 | 1 << 2  # an effect
_PEER_USER, _REPLY = t.PeerUser.CONSTRUCTOR_ID, t.MessageReplyHeader.CONSTRUCTOR_ID
_REPLY_TO_ID, _REPLY_TO_PEER, _REPLY_REST = 1 << 4, 1 << 0, _bits(1, 5, 6, 7, 8, 10, 11, 12)
_HEAD, _PEER, _PEER_DATE = (struct.Struct(form).unpack_from for form in ("<IIi", "<Iq", "<Iqi"))
_UNREADABLE = (struct.error, LookupError, BufferError, RuntimeError, ValueError, TypeNotFoundError)


def read_message(data: bytes, start: int) -> tuple[BriefMessage, int] | None:
    """Return the message that begins at `start` and where it ends, None where it is better left to Telethon.

    That is where a field or an object stands in it that is not known here, and where its bytes are not in order.
    Telethon's own reader takes five to ten times as long: it builds everything, and asks after fifty fields.
    """
    try:
        found = _read_message(data, start)
    except _UNREADABLE:
        return None
    return None if found is None or found[1] > len(data) else found


def _read_message(data: bytes, start: int) -> tuple[BriefMessage, int] | None:
    flags, flags2, message_id = _HEAD(data, start + 4)
    if flags & ~_KNOWN_FLAGS or flags2 & ~_KNOWN_FLAGS2:
        return None
    message = BriefMessage()
    message.id, message.out, message.edit_hide = message_id, bool(flags & 2), bool(flags & 1 << 21)
    message.from_id = message.fwd_from = message.reply_to = message.media = message.edit_date = None
    at = start + 16
    if flags & _HAS_SENDER:
        kind, sender_id = _PEER(data, at)
        if kind != _PEER_USER:
            return None
        at, message.from_id = at + 12, t.PeerUser(sender_id)
    kind, message.user_id, date = _PEER_DATE(data, at)
    if kind != _PEER_USER:
        return None
    at += 12
    if flags & _BEFORE_DATE:
        if flags & _HAS_SAVED_PEER:
            at = skip_object(data, at)
        if flags & _HAS_FORWARD:
            at, message.fwd_from = skip_object(data, at), _A_FORWARD
        if flags & _HAS_BOT:
            at += 8
        if flags & _HAS_REPLY:
            message.reply_to, at = _read_reply(data, at)
        date = _INT(data, at)[0]
    message.date = datetime.fromtimestamp(date, UTC)
    at += 4
    begin, end = _find_string(data, at)
    message.message = data[begin:end].decode("utf-8", "replace")
    at = end + (at - end) % 4
    if flags & _HAS_MEDIA:
        message.media, at = _read_media(data, at)
    if flags & _BEHIND_MEDIA:
        if flags & _HAS_MARKUP:
            at = skip_object(data, at)
        if flags & _HAS_ENTITIES:
            at = skip_objects(data, at)
        if flags & _HAS_VIEWS:  # and forwards
            at += 8
        if flags & _IS_EDITED:
            message.edit_date = datetime.fromtimestamp(_INT(data, at)[0], UTC)
            at += 4
        if flags & _HAS_ALBUM:
            at += 8
        if flags & _HAS_REACTIONS:
            at = skip_object(data, at)
        if flags & _HAS_TTL:
            at += 4
    return message, at + 8 if flags2 & 4 else at


def _find_string(data: bytes, at: int) -> tuple[int, int]:
    """Return where the bytes of the string at `at` begin and end."""
    length = data[at]
    if length == 254:
        return at + 4, at + 4 + int.from_bytes(data[at + 1 : at + 4], "little")
    return at + 1, at + 1 + length


def _read_reply(data: bytes, at: int) -> tuple[Any, int]:
    constructor, flags = _TWO(data, at)
    if constructor != _REPLY or flags & _REPLY_REST:
        return _read_by_telethon(data, at)
    reply_to_id, at = None, at + 8
    if flags & _REPLY_TO_ID:
        reply_to_id, at = _INT(data, at)[0], at + 4
    if not flags & _REPLY_TO_PEER:
        return t.MessageReplyHeader(reply_to_msg_id=reply_to_id), at
    peer, at = _read_by_telethon(data, at)
    return t.MessageReplyHeader(reply_to_msg_id=reply_to_id, reply_to_peer_id=peer), at


def _read_media(data: bytes, at: int) -> tuple[Any, int]:
    constructor, flags = _TWO(data, at)
    if constructor == t.MessageMediaPhoto.CONSTRUCTOR_ID:
        return _A_PHOTO, skip_object(data, at)
    if constructor == t.MessageMediaWebPage.CONSTRUCTOR_ID:
        return _A_PAGE, skip_object(data, at)
    if constructor != t.MessageMediaDocument.CONSTRUCTOR_ID or flags & ~_KNOWN_OF_MEDIA:
        return _read_by_telethon(data, at)
    marks = {"video": bool(flags & 1 << 6), "round": bool(flags & 1 << 7), "voice": bool(flags & 1 << 8)}
    at += 8
    document = None
    if flags & 1:
        document, at = _read_document(data, at)
    if flags & 1 << 2:  # seconds that it may be seen
        at += 4
    return t.MessageMediaDocument(document=document, **marks), at


_KNOWN_OF_MEDIA = _bits(0, 2, 3, 4, 6, 7, 8)


def _read_document(data: bytes, at: int) -> tuple[Any, int]:
    constructor, flags = _TWO(data, at)
    if constructor != t.Document.CONSTRUCTOR_ID:
        return _read_by_telethon(data, at)
    at = skip_string(data, at + 24)  # constructor, flags, id and access hash; file reference
    at = skip_string(data, at + 4) + 8  # date; type; size
    for bit in (1, 2):  # pictures, moving pictures
        if flags & bit:
            at = skip_objects(data, at)
    n_attributes = _INT(data, at + 8)[0]  # behind the data centre and the list's constructor
    at += 12
    attributes = []
    for _ in range(n_attributes):
        attribute, at = _read_by_telethon(data, at)
        attributes.append(attribute)
    return _Document(attributes), at


def _read_by_telethon(data: bytes, at: int) -> tuple[Any, int]:
    reader = _Inner(data)
    reader.position = at
    return reader.tgread_object(), reader.position


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
        if self.stream[start : start + 4] == _MESSAGE:
            found = read_message(self.stream, start)
            if found is not None:
                message, self.position = found
                self.parts.append((message, self.stream[start : self.position]))
                return message
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
