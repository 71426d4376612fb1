"""Signal, as signal-export writes it: a folder a chat, in it data.json with one message a line.

The person is always "Me" there. Times are those of the machine that exported, without a zone. Versions before 2.0 wrote
text alone ("[2019-12-24, 12:23] Name: text").
"""

from __future__ import annotations

import json
import re
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from clone.collect.contract import Asked, Item, Source, Tally, local_time, no_messages, text_of
from clone.collect.files import READ_ERRORS, Part, damaged
from clone.collect.named import Line, Talk, read_talks
from clone.records import Kind

NAME = "signal"
ME = "Me"
NOBODY = "No-Sender"

_TEXT_HEAD = re.compile(r"\[(\d{4}-\d\d-\d\d),? (\d\d:\d\d(?::\d\d)?)\] ([^:\n]+): ?(.*)", re.S)
_ENDINGS = {
    **dict.fromkeys(("png", "jpg", "jpeg", "tif", "tiff", "webp", "heic"), Kind.PHOTO),
    **dict.fromkeys(("m4a", "aac", "mp3", "ogg", "opus", "wav", "flac"), Kind.VOICE),
    **dict.fromkeys(("mp4", "mov", "mkv", "mpeg", "webm"), Kind.VIDEO),
    "gif": Kind.ANIMATION,
}
LONGEST_LINE = 1 << 24  # bytes


def claims(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is a chat written by signal-export."""
    first = head.lstrip("\ufeff \t\r\n").partition("\n")[0]
    if part.file_name.lower().endswith(".txt"):
        return re.match(r"\[\d{4}-\d\d-\d\d, \d\d:\d\d\] ", first) is not None
    return first.startswith('{"date": ') and '"sender": ' in first and '"body": ' in first


def read(parts: Sequence[Part], asked: Asked, tally: Tally) -> Iterator[Item]:
    """Yield what the chats hold."""
    talks = []
    for part in parts:
        folder = PurePosixPath(part.name).parent.name
        lines = list(_lines(part, asked, tally))
        people = {line.sender for line in lines}
        talks.append(
            Talk(
                f"chat-{folder}" if folder else "",
                folder,
                part.file_name,
                lines,
                is_group=len(people - {ME}) > 1 if ME in people else len(people) > 2,
            )
        )
    if not any(talk.lines for talk in talks):
        raise no_messages(parts[0].file_name)
    has_me = any(ME in talk.people for talk in talks)
    yield from read_talks(NAME, talks, asked, tally, me=ME if has_me and not asked.me else "")


def _lines(part: Part, asked: Asked, tally: Tally) -> Iterator[Line]:
    is_text = part.file_name.lower().endswith(".txt")
    try:
        with part.open() as stream:
            for number, raw in _records(stream, is_text):
                tally.n_read += 1
                found = _from_text(raw, asked) if is_text else _from_json(raw, asked)
                if isinstance(found, Line):
                    yield found
                elif found == "deleted before the export" or found == "without a sender":
                    tally.skipped[found] += 1
                else:
                    tally.add_bad(f"{part.file_name}:{number}", found)
    except READ_ERRORS as error:
        raise damaged(part.name) from error
    if asked.timezone is None:
        tally.note("signal-export writes no time zone; times were read in this machine's, --timezone says another.")


def _records(stream: Any, is_text: bool) -> Iterator[tuple[int, str]]:
    """Yield each record with the number of its first line."""
    number, start, held = 0, 0, ""
    while line := stream.readline(LONGEST_LINE):
        number += 1
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r\n")
        if not is_text:
            if text.strip():
                yield number, text
        elif _TEXT_HEAD.match(text):
            if held:
                yield start, held
            start, held = number, text
        elif held:
            held += "\n" + text
        elif text.strip():
            yield number, text
    if held:
        yield start, held


def _from_text(raw: str, asked: Asked) -> Line | str:
    head = _TEXT_HEAD.match(raw)
    return _line(f"{head[1]}T{head[2]}", head[3], head[4], Kind.TEXT, raw, asked) if head else "not a message"


def _from_json(raw: str, asked: Asked) -> Line | str:
    try:
        record = json.loads(raw, strict=False)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(record, dict):
        return "not an object"
    if record.get("deleted") is True:
        return "deleted before the export"
    sender = text_of(record.get("sender"))
    if sender == NOBODY:
        return "without a sender"
    text, kind = text_of(record.get("body")), Kind.TEXT
    text = text.removesuffix("  ")  # two blanks, so that Markdown breaks the line
    sticker = record.get("sticker")
    attachments = record.get("attachments")
    if record.get("call") is True:
        kind, text = Kind.CALL, ""
    elif isinstance(sticker, Mapping):
        kind, text = Kind.STICKER, text_of(sticker.get("emoji"))
    elif isinstance(attachments, list) and attachments:
        first = attachments[0]
        name = text_of(first.get("name")) if isinstance(first, Mapping) else ""
        kind = _ENDINGS.get(name.rpartition(".")[2].lower(), Kind.FILE)
    return _line(text_of(record.get("date")), sender, text, kind, raw, asked)


def _line(date: str, sender: str, text: str, kind: Kind, raw: str, asked: Asked) -> Line | str:
    if not sender:
        return "no sender"
    try:
        stamp = datetime.fromisoformat(date)
    except ValueError:
        return "no date"
    sent_at = local_time(date, asked.timezone)
    if sent_at is None:
        return "no date"
    stamp_ms = timegm(stamp.timetuple()) * 1000 + stamp.microsecond // 1000
    return Line(sender, sent_at, stamp_ms, text, kind, raw.encode("utf-8", "replace"))


SOURCE = Source(NAME, "Signal (data.json of signal-export)", "signal-export", claims, read)
