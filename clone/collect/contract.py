"""What every source of messages gives: an account, its chats, the people in them, pages of messages, counted skips.

A source is one module with a `SOURCE`. It reads files and yields these things in order: the account before its chats,
a chat before its pages. It knows nothing of the archive or of other sources.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from clone.collect.files import Part
from clone.errors import SourceError
from clone.records import Account, Chat, Message, Person

PAGE = 5_000  # messages that are written, and lost by a kill, together
LARGEST_ID = 2**63 - 1
EARLIEST, LATEST = 86_400, 253_402_300_799  # 2 January 1970 (the first day is what a missing time looks like) .. 9999

_UNFIT = re.compile(r"[\ud800-\udfff\0]")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person says about a file."""

    me: str = ""  # an id or a name, as --me has it
    timezone: tzinfo | None = None  # of times that carry none; None is this machine's
    is_day_first: bool | None = None  # of dates that can be read both ways
    with_saved: bool = False  # notes to oneself too
    only: tuple[str, ...] = ()  # these contacts alone, by id, name or @username
    skip: tuple[str, ...] = ()  # not these


@dataclass(slots=True)
class Tally:
    """What was met on the way and became no message; filled while a source is read."""

    n_read: int = 0  # records met, whatever became of them
    n_bad: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)  # the first few: where, why; never a text
    skipped: Counter[str] = field(default_factory=Counter)  # reason -> records
    n_repaired: int = 0
    cut: dict[str, int] = field(default_factory=dict)  # files that end too early -> records before that
    notes: dict[str, None] = field(default_factory=dict)  # said once each
    share_read: float = 0.0  # of the bytes

    def add_bad(self, where: str, why: str) -> None:
        """Count a record that cannot be read."""
        self.n_bad += 1
        if len(self.bad) < 10:
            self.bad.append((where, why))

    def note(self, text: str) -> None:
        """Keep something to be said at the end."""
        self.notes[text] = None


@dataclass(frozen=True, slots=True)
class Page:
    """Messages of one chat, each with the payload it was read from."""

    chat: Chat
    messages: Sequence[tuple[Message, bytes]]
    gaps: Sequence[tuple[int, str]] = ()  # message_id and why: seen, and not to be had


Item = Account | Chat | Person | Page


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of export."""

    name: str  # as accounts carry it
    title: str  # for people
    raw_format: str
    claims: Callable[[Part, str], bool]  # by where a file lies and its first characters
    read: Callable[[Sequence[Part], Asked, Tally], Iterator[Item]]


class UnknownMe(SourceError):
    """It cannot be told who the person is; `candidates` are ids as people type them, with their messages."""

    def __init__(self, file_name: str, me: str, candidates: Mapping[str, int]) -> None:
        self.candidates = sorted(candidates.items(), key=lambda item: (-item[1], item[0]))[:20]
        self.is_unsaid = not me
        width = max((len(name) for name, _ in self.candidates), default=0)
        digits = max((len(f"{n:,}") for _, n in self.candidates), default=0)
        lines = [
            f"  {name:<{width}}   {n:>{digits},} {'message' if n == 1 else 'messages'}" for name, n in self.candidates
        ]
        super().__init__(
            f"{file_name} has no message from '{me}'." if me else f"{file_name} does not say who you are.",
            "\n".join(["--me must be one of the ids below.", *lines]),
        )


def clean(text: str) -> str:
    """Return `text` in NFC and fit to be stored: halves of surrogate pairs and zero bytes become U+FFFD."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return _UNFIT.sub("\ufffd", unicodedata.normalize("NFC", text))


def text_of(found: Any) -> str:
    """Return a JSON value as clean text, "" where it is none."""
    return clean(found) if isinstance(found, str) else ""


def time_of(seconds: float) -> datetime | None:
    """Return a moment from Unix seconds, None where it is none that a message can have."""
    if not EARLIEST <= seconds <= LATEST:  # NaN too
        return None
    return datetime.fromtimestamp(int(seconds), UTC)


def local_time(text: str, timezone: tzinfo | None) -> datetime | None:
    """Return a moment from ISO 8601 without a zone, read in `timezone` (this machine's where None)."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=timezone) if timezone and not moment.tzinfo else moment
        return time_of(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def id_of_name(name: str) -> str:
    """Return a stable id for somebody of whom only the name is known."""
    return "name-" + hashlib.sha256(clean(name).encode("utf-8")).hexdigest()[:16]


def no_messages(file_name: str) -> SourceError:
    return SourceError(f"{file_name} holds no messages.", "Export the chat again with its messages ticked.")
