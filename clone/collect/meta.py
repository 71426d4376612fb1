"""What Meta's downloads have in common: conversations as JSON, newest message first, cut into message_1..N.json.

Two shapes: the ordinary download (`sender_name`, `timestamp_ms`, `content`; each string is UTF-8 that was taken for
Latin-1 and written once more), and that of end-to-end encrypted chats (`senderName`, `timestamp`, `text`; a separate
download, written properly).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from clone.collect.contract import LARGEST_ID, Asked, Item, Tally, time_of
from clone.collect.files import READ_ERRORS, Part, damaged
from clone.collect.json_stream import Broken, CutShort, JsonReader, NotJson
from clone.collect.named import Line, Talk, read_talks
from clone.errors import SourceError
from clone.records import Kind

_MEDIA = {
    "photos": Kind.PHOTO,
    "videos": Kind.VIDEO,
    "audio_files": Kind.VOICE,
    "gifs": Kind.ANIMATION,
    "sticker": Kind.STICKER,
    "files": Kind.FILE,
}
_REACTION = re.compile(r"(?:.{0,60} )?(?:reacted .{1,20} to your message|liked a message) ?", re.I)
_MESSAGE_START = re.compile(r'\{\s*"(?:sender_name|isUnsent)"\s*:')
_BOM = "\ufeff"


def is_of_meta(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is a conversation as Meta's downloads have them."""
    if not part.file_name.lower().endswith(".json") or not head.lstrip(_BOM + " \t\r\n").startswith("{"):
        return False
    ordinary = re.search(r'"(?:sender_name|timestamp_ms)"\s*:', head)
    encrypted = re.search(r'"senderName"\s*:', head) and re.search(r'"(?:isUnsent|threadName)"\s*:', head)
    return bool(ordinary or encrypted)


def is_of_instagram(part: Part) -> bool:
    """Whether a file lies where Instagram's downloads put theirs; nothing inside tells the two apart."""
    return "instagram" in part.place.lower()


def read(source: str, parts: Sequence[Part], asked: Asked, tally: Tally) -> Iterator[Item]:
    """Yield what the conversations hold."""
    talks: dict[str, Talk] = {}
    for part in parts:
        place = PurePosixPath(part.name)
        # The parts of one conversation lie in one folder; titles are not unique.
        is_part = re.fullmatch(r"message_\d+\.json", place.name)
        key = place.parent.name if is_part and place.parent.name else place.stem
        talk = talks.setdefault(key, Talk(f"thread-{key}", "", part.file_name, []))
        _read_part(part, talk, tally)
    if not any(talk.lines for talk in talks.values()):
        raise SourceError(f"{parts[0].file_name} holds no messages.", "Download your messages again as JSON.")
    yield from read_talks(source, list(talks.values()), asked, tally)


def mend(text: Any) -> str:
    """Return a string of the download as it was typed. Strings that were written properly stay."""
    if not isinstance(text, str):
        return ""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _read_part(part: Part, talk: Talk, tally: Tally) -> None:
    lines: list[Line] = []
    n_before = tally.n_read
    reader: JsonReader | None = None
    try:
        with part.open() as stream:
            reader = JsonReader(stream, _MESSAGE_START)
            for key in reader.members():
                if key == "messages" and reader.peek() == "[":
                    for record, text in reader.elements():
                        tally.n_read += 1
                        if isinstance(record, Broken):
                            tally.add_bad(f"{part.file_name}:{record.line}", "not JSON")
                            continue
                        found = _line(record, text)
                        if isinstance(found, Line):
                            lines.append(found)
                        elif found.startswith("no "):
                            tally.add_bad(f"{part.file_name}: record {tally.n_read - n_before:,}", found)
                        else:
                            tally.skipped[found] += 1
                elif key == "participants":
                    people = reader.value()[0]
                    for one in people if isinstance(people, list) else []:
                        name = mend(one.get("name") if isinstance(one, Mapping) else one)
                        if name:
                            talk.people.add(name)
                elif key in ("thread_path", "joinable_mode"):
                    found = reader.value()[0]
                    talk.is_group |= key == "joinable_mode" and found is not None
                else:
                    reader.skip()
    except (CutShort, NotJson):
        if tally.n_read == n_before:
            raise SourceError(f"{part.name} is not JSON as Meta writes it.", "Download it again.") from None
        tally.cut[part.file_name] = tally.n_read - n_before
    except READ_ERRORS as error:
        raise damaged(part.name) from error
    if reader is not None:
        tally.n_repaired += reader.n_repaired
        for _ in range(reader.n_lost):
            tally.n_read += 1
            tally.add_bad(part.file_name, "not JSON")
    lines.reverse()  # newest first, so that messages of one moment come in the order they were written
    talk.lines.extend(lines)
    talk.people |= {line.sender for line in lines}


def _line(record: Any, raw: str) -> Line | str:
    """Return a message, or why there is none: "no ..." for one that cannot be read."""
    if not isinstance(record, dict):
        return "no object"
    sender = mend(record.get("sender_name", record.get("senderName")))
    if not sender:
        return "no sender"
    stamp = record.get("timestamp_ms", record.get("timestamp"))
    if not isinstance(stamp, int | float) or isinstance(stamp, bool) or abs(stamp) > LARGEST_ID:
        return "no date"
    sent_at = time_of(stamp / 1000)
    if sent_at is None:
        return "no date"
    if record.get("is_unsent") or record.get("isUnsent"):
        return "deleted before the export"
    text = mend(record.get("content", record.get("text")))
    kind = next((kind for key, kind in _MEDIA.items() if record.get(key)), Kind.TEXT)
    if record.get("media"):
        kind = _media(record["media"])
    share = record.get("share")
    if not text and isinstance(share, Mapping):
        text = mend(share.get("link")) or mend(share.get("share_text"))
    if "call_duration" in record or record.get("type") == "Call":
        kind, text = Kind.CALL, ""
    elif kind is Kind.TEXT and _REACTION.fullmatch(text):
        kind, text = Kind.SERVICE, ""
    if not text and kind is Kind.TEXT:
        return "without content"
    return Line(sender, sent_at, int(stamp), text, kind, raw.encode("utf-8", "replace"))


def _media(found: Any) -> Kind:
    uri = found[0].get("uri") if isinstance(found, list) and found and isinstance(found[0], Mapping) else ""
    ending = uri.rpartition(".")[2].lower() if isinstance(uri, str) else ""
    kinds = {"mp4": Kind.VIDEO, "mov": Kind.VIDEO, "gif": Kind.ANIMATION, "ogg": Kind.VOICE, "aac": Kind.VOICE}
    kinds |= dict.fromkeys(("jpg", "jpeg", "png", "webp", "heic"), Kind.PHOTO)
    return kinds.get(ending, Kind.FILE)
