"""The types that travel between stages. Frozen; units in the names; datetimes aware and in UTC.

Knows nothing of files, Telegram, tensors or terminals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a message carries besides, or instead of, its text."""

    TEXT = "text"
    PHOTO = "photo"
    VIDEO = "video"
    VIDEO_NOTE = "video_note"
    VOICE = "voice"
    AUDIO = "audio"
    ANIMATION = "animation"
    STICKER = "sticker"  # text holds its emoji, "" where the source names none
    FILE = "file"
    CONTACT = "contact"
    LOCATION = "location"
    POLL = "poll"
    GAME = "game"
    INVOICE = "invoice"
    CALL = "call"
    SERVICE = "service"  # the application speaks, not a person
    UNSUPPORTED = "unsupported"  # the source itself could not say what it is


class ChatKind(StrEnum):
    PERSON = "person"
    SAVED = "saved"  # notes to oneself
    BOT = "bot"
    GROUP = "group"
    CHANNEL = "channel"
    SYSTEM = "system"  # replies, verification codes, the messenger's own notices


@dataclass(frozen=True, slots=True)
class Account:
    """The person whose chats these are, in one source."""

    source: str
    account_id: str
    name: str = ""
    username: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """One dialog of one account. `title` is what the source calls it; "" for a deleted account."""

    source: str
    account_id: str
    chat_id: str
    kind: ChatKind
    title: str = ""
    username: str = ""
    phone: str = ""
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in an account's chats, under the id that messages have as `sender_id`."""

    source: str
    account_id: str
    person_id: str
    name: str = ""
    username: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as every source tells it."""

    source: str
    account_id: str
    chat_id: str
    message_id: int  # unique within its chat, ascending in time
    sender_id: str  # stable, never a display name
    sent_at: datetime
    text: str  # NFC; "" for media without a caption
    kind: Kind
    reply_to: int | None
    edited_at: datetime | None
    is_forwarded: bool
    is_outgoing: bool


_new = object.__new__
(
    _set_source,
    _set_account_id,
    _set_chat_id,
    _set_message_id,
    _set_sender_id,
    _set_sent_at,
    _set_text,
    _set_kind,
    _set_reply_to,
    _set_edited_at,
    _set_is_forwarded,
    _set_is_outgoing,
) = (getattr(Message, field.name).__set__ for field in fields(Message))


def make_message(
    source: str,
    account_id: str,
    chat_id: str,
    message_id: int,
    sender_id: str,
    sent_at: datetime,
    text: str,
    kind: Kind,
    reply_to: int | None,
    edited_at: datetime | None,
    is_forwarded: bool,
    is_outgoing: bool,
) -> Message:
    """Return Message(...) in a third of its time: a frozen dataclass fills itself by object.__setattr__."""
    message = _new(Message)
    _set_source(message, source)
    _set_account_id(message, account_id)
    _set_chat_id(message, chat_id)
    _set_message_id(message, message_id)
    _set_sender_id(message, sender_id)
    _set_sent_at(message, sent_at)
    _set_text(message, text)
    _set_kind(message, kind)
    _set_reply_to(message, reply_to)
    _set_edited_at(message, edited_at)
    _set_is_forwarded(message, is_forwarded)
    _set_is_outgoing(message, is_outgoing)
    return message


@dataclass(frozen=True, slots=True)
class Session:
    """Messages of one chat, oldest first, with no silence longer than the recipe's gap."""

    messages: tuple[Message, ...]


class Role(StrEnum):
    ME = "me"
    THEM = "them"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker said before the other spoke: the merged messages, each kept whole as a bubble."""

    role: Role
    bubbles: tuple[str, ...]  # at least one, none empty


@dataclass(frozen=True, slots=True)
class Example:
    """One reply of the person with what came before it.

    `instruction` and `response` hold one turn each, `context` the turns before, all in the text form of
    `clone.lm.template` (one line a bubble; `context` lines carry a speaker tag).
    """

    example_id: str  # hash of the content
    session_id: str
    contact: str  # pseudonym of whom the person talks to
    instruction: str  # "" where the person opens the conversation
    context: str
    response: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a rendered conversation."""

    text: str
    is_learned: bool
    is_control: bool


@dataclass(frozen=True, slots=True)
class StepCount:
    """What one step of a stage kept and dropped, with the reason of each drop. Counts only."""

    step: str
    kept: int
    dropped: int = 0
    why: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCard:
    """What a training run was made of and what came out."""

    run_id: str
    created_at: str  # ISO 8601, UTC
    clone_version: str
    recipe: Mapping[str, object]  # as resolved
    base: str
    base_sha256: str
    data_sha256: str
    template: str
    seed: int
    n_steps: int
    n_tokens: int
    n_learned: int
    val_loss_before: float  # nats per graded token, adapter at zero
    val_loss: float  # nats per graded token, best adapter
    val_bits_per_byte_before: float  # bits per UTF-8 byte of the graded text
    val_bits_per_byte: float
    wall_s: float
    device: str
    peak_memory_gb: float
    versions: Mapping[str, str]
    contacts: Sequence[str] | None = None  # pseudonyms of who is in the examples; None: not known
