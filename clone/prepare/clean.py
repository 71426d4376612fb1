"""What of a message is said to the twin: its words, a placeholder, or nothing.

In comes a message; out comes a `Wording`. Knows the kinds of messages and the shapes of texts that nobody typed; knows
nothing of sessions or personal data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clone.records import Kind, Message

PLACEHOLDERS = {
    Kind.PHOTO: "[photo]",
    Kind.VIDEO: "[video]",
    Kind.VIDEO_NOTE: "[video message]",
    Kind.VOICE: "[voice message]",
    Kind.AUDIO: "[audio]",
    Kind.ANIMATION: "[gif]",
    Kind.STICKER: "[sticker]",
    Kind.FILE: "[file]",
    Kind.CONTACT: "[contact]",
    Kind.LOCATION: "[location]",
    Kind.POLL: "[poll]",
    Kind.GAME: "[game]",
    Kind.INVOICE: "[invoice]",
    Kind.CALL: "[call]",
    Kind.UNSUPPORTED: "[message]",
}
LINK = "[link]"
COPIED = "[copied text]"

_HAS_NO_WORDS = frozenset({Kind.CONTACT, Kind.LOCATION, Kind.GAME, Kind.INVOICE, Kind.CALL, Kind.UNSUPPORTED})

_COMMAND = re.compile(r"/[A-Za-z]\w{1,31}(@\w+)?(\s[^/]*)?")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|www\.)\S+|(?:t\.me|telegram\.me)/\S+", re.IGNORECASE)
_LEFT_OF_LINKS = re.compile(r"[\s.,;:()<>\[\]|–—-]*")

# What a messenger writes above text that is copied out of it: "Ann, [12.03.2024 14:05]", "[12/03/2024, 14:05] Ann: ..."
_COPY_HEADER = re.compile(
    r"^(?:.{1,64}, ?\[\d{1,4}[./-]\d{1,2}[./-]\d{1,4},? \d{1,2}:\d{2}(?::\d{2})?(?: ?[AP]M)?\]:?\s*$"
    r"|\[\d{1,4}[./-]\d{1,2}[./-]\d{1,4},? \d{1,2}:\d{2}(?::\d{2})?(?: ?[AP]M)?\] ?[^:\n]{1,64}: "
    r"|> ?\S.*\n> ?\S)",
    re.MULTILINE,
)
LONG_CHARS = 200  # repeated texts are looked for among those at least this long
_PASTED_LINES = 12
_CODE_LINE = re.compile(r"^\s{2,}\S|[;{}\\]\s*$|^\s*[#<@\[{}/*|+-]|^\S+:\d+|\d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Wording:
    """What stands for a message, and why it is not its own words ("" where it is)."""

    text: str
    instead: str = ""


def wording(message: Message) -> Wording:
    """Return what is shown of a message that `why_dropped` has nothing against."""
    text = tidy(message.text)
    placeholder = PLACEHOLDERS.get(message.kind, "")
    if message.kind in _HAS_NO_WORDS or not text:
        return Wording(placeholder, message.kind.value)
    if message.kind is Kind.STICKER:
        return Wording(text)
    if is_links_only(text):
        return Wording(LINK, "link only")
    if is_copied(text):
        return Wording(COPIED, "copied")
    if message.is_outgoing or not placeholder:
        return Wording(text)  # of the person's own captions the words alone: a placeholder is nothing to learn to say
    return Wording(f"{placeholder} {text}")


def why_dropped(message: Message) -> str:
    """Return why nothing of a message is shown, "" where something is."""
    if message.kind is Kind.SERVICE:
        return "service"
    if message.kind is Kind.TEXT:
        if not message.text.strip():
            return "empty"
        if _COMMAND.fullmatch(message.text.strip()):
            return "command"
    return ""


def tidy(text: str) -> str:
    """Return text as a bubble holds it: no carriage returns, no white space around it, no NUL."""
    if "\r" in text or "\0" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.strip()


def is_links_only(text: str) -> bool:
    """Whether nothing but links stands in a text."""
    if "/" not in text and "www." not in text.lower():
        return False
    rest, n = _URL.subn("", text)
    return n > 0 and _LEFT_OF_LINKS.fullmatch(rest) is not None


def is_copied(text: str) -> bool:
    """Whether a text has the marks of one that was pasted: a messenger's copy header, quote signs, code or a log."""
    if "\n" not in text:
        return text[:1] == "[" and _COPY_HEADER.match(text) is not None
    if _COPY_HEADER.search(text):
        return True
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) >= _PASTED_LINES and sum(bool(_CODE_LINE.search(line)) for line in lines) > len(lines) // 2
