"""No file makes an importer crash, and none loses a message uncounted."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clone.archive import Archive
from clone.collect import ImportReport, import_file
from clone.collect.contract import Asked, Page, Tally
from clone.collect.files import parts_of
from clone.collect.json_stream import Broken, CutShort, JsonReader, NotJson
from clone.collect.sources import detect
from clone.errors import CloneError
from tests.collect.exports import ANNA, ME, account, message, personal_chat
from tests.golden import exports

FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
GOLDEN = [(path.name, path.read_bytes()) for path in exports() if path.is_file()]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@contextmanager
def file_with(name: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def read(name: str, content: bytes, **asked: Any) -> tuple[int, Tally]:
    """Return how many messages an importer gives, and what it counted."""
    tally, n = Tally(), 0
    with file_with(name, content) as path, parts_of(path) as parts:
        source, claimed = detect(parts, path.name)
        for item in source.read(claimed, Asked(timezone=UTC, **asked), tally):
            if isinstance(item, Page):
                n += len(item.messages)
    return n, tally


def mangle(content: bytes, seed: int) -> bytes:
    """Cut, repeat, swap or overwrite a few stretches."""
    chance = random.Random(seed)
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        at, size = chance.randrange(len(data)), chance.choice([1, 1, 2, 10, 100])
        match chance.randrange(5):
            case 0:
                del data[at : at + size]
            case 1:
                data[at:at] = data[at : at + size]
            case 2:
                data[at : at + size] = chance.randbytes(size)
            case 3:
                del data[at:]
            case 4:
                data[at:at] = chance.choice(
                    [b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\\x0B", b"\n", b"\xff", b"\0"]
                )
    return bytes(data)


@MANY
@given(st.sampled_from(GOLDEN), st.integers(0, 2**32), st.sampled_from(["", "Mara Lind", "Mara"]))
def test_a_mangled_export_is_read_or_explained(golden: tuple[str, bytes], seed: int, me: str) -> None:
    name, content = golden
    try:
        n, tally = read(name, mangle(content, seed), me=me, is_day_first=True)
    except CloneError:
        return
    assert n + tally.n_bad + tally.skipped.total() == tally.n_read


@MANY
@given(st.integers(0, 2**32))
def test_a_record_that_is_whole_is_read_or_the_loss_is_told(seed: int) -> None:
    records = [message(n, ANNA if n % 2 else ME, f"line {n}") for n in range(1, 30)]
    content = mangle(json.dumps(account(personal_chat(ANNA, records)), indent=1).encode(), seed)
    whole = {r["id"] for r in records if json.dumps(r, indent=1).replace("\n", "\n     ").encode() in content}
    tally, found = Tally(), set()
    try:
        with file_with("result.json", content) as path, parts_of(path) as parts:
            source, claimed = detect(parts, path.name)
            for item in source.read(claimed, Asked(), tally):
                found |= {m.message_id for m, _ in item.messages} if isinstance(item, Page) else set()
    except CloneError:
        return
    assert len(whole) > 5 or tally.n_bad or tally.cut or len(content) < 5000
    assert whole <= found or tally.n_bad or tally.cut


@FEW
@given(st.sampled_from(["result.json", "x.json", "WhatsApp Chat with Anna.txt", "data.json"]), st.binary(max_size=400))
def test_any_bytes_are_read_or_explained(name: str, content: bytes) -> None:
    with suppress(CloneError):
        read(name, content)


FIELDS = st.sampled_from(
    [
        "id",
        "type",
        "date",
        "date_unixtime",
        "edited",
        "edited_unixtime",
        "from",
        "from_id",
        "actor",
        "actor_id",
        "text",
        "text_entities",
        "media_type",
        "sticker_emoji",
        "photo",
        "file",
        "reply_to_message_id",
        "reply_to_peer_id",
        "forwarded_from",
        "action",
        "poll",
    ]
)


@MANY
@given(st.lists(st.dictionaries(FIELDS, json_values, max_size=4), max_size=8))
def test_every_record_becomes_a_message_or_is_counted(changes: list[dict[str, Any]]) -> None:
    records = [message(n + 1, ANNA if n % 2 else ME, f"line {n}") | change for n, change in enumerate(changes)]
    content = json.dumps(account(personal_chat(ANNA, [*records, message(99, ME, "last")]))).encode()
    n, tally = read("result.json", content)
    assert tally.n_read == len(records) + 1
    assert n + tally.n_bad + tally.skipped.total() == tally.n_read


@FEW
@given(st.lists(st.dictionaries(FIELDS, json_values, max_size=4), max_size=8))
def test_whatever_an_importer_gives_the_archive_takes(changes: list[dict[str, Any]]) -> None:
    records = [message(n + 1, ANNA if n % 2 else ME, f"line {n}") | change for n, change in enumerate(changes)]
    content = json.dumps(account(personal_chat(ANNA, [*records, message(99, ME, "last")]))).encode()
    with file_with("result.json", content) as path, Archive.create(path.parent / "raw" / "archive.sqlite") as archive:
        report: ImportReport = import_file(path, archive, Asked(timezone=UTC), 1, datetime(2026, 1, 1, tzinfo=UTC))
        held = [m for item in archive.chats() for m in archive.messages(item.chat)]
        assert len(held) == report.n_new
        assert (
            report.n_new + report.n_known + report.n_edited + report.n_bad + sum(report.skipped.values())
            == report.n_read
        )


@MANY
@given(json_values, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 64))
def test_the_json_reader_agrees_with_the_standard_library(value: Any, indent: int, ascii_only: bool, size: int) -> None:
    text = json.dumps([value, value], indent=indent, ensure_ascii=ascii_only)
    stream = Dribble(text.encode("utf-8", "surrogatepass"), size)
    found = [(json.dumps(item), json.loads(raw)) for item, raw in JsonReader(stream).elements()]  # type: ignore[arg-type]
    expected = json.loads(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    assert [item for item, _ in found] == [json.dumps(item) for item in expected]
    assert [json.dumps(raw) for _, raw in found] == [json.dumps(item) for item in expected]


class Dribble:
    """A stream that gives a few bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size, self._at = content, size, 0

    def read(self, _: int) -> bytes:
        chunk = self._content[self._at : self._at + self._size]
        self._at += len(chunk)
        return chunk


@MANY
@given(st.integers(0, 2**32), st.integers(1, 64))
def test_broken_json_gives_what_is_whole_in_whatever_chunks_it_comes(seed: int, size: int) -> None:
    records = [message(n, ANNA, f"line {n}") for n in range(1, 12)]
    content = mangle(json.dumps(records, indent=1).encode(), seed)
    whole = [text for r in records if (text := json.dumps(r, indent=1).replace("\n", "\n ")).encode() in content]
    reader = JsonReader(Dribble(content, size), re.compile(r'\{\s*"id"\s*:\s*-?\d+\s*,\s*"type"'))  # type: ignore[arg-type]
    found, is_loss_told = [], False
    try:
        for item, text in reader.elements():
            is_loss_told |= isinstance(item, Broken)
            found.append(text)
            assert isinstance(item, Broken) or json.loads(text, strict=False) == item
        is_loss_told |= bool(reader.peek())  # the list closed early: its reader sees that something follows
    except (CutShort, NotJson):
        is_loss_told = True
    assert is_loss_told or reader.n_lost or set(whole) <= set(found)


@pytest.mark.parametrize("at", range(60, 2200, 97))
def test_every_whole_record_before_a_cut_is_saved(at: int) -> None:
    records = [message(n, ANNA if n % 2 else ME, f"line {n} ü\\") for n in range(1, 10)]
    text = json.dumps(account(personal_chat(ANNA, records)), ensure_ascii=False)
    cut = text.encode()[:at]
    n_whole = sum(cut.count(json.dumps(record, ensure_ascii=False).encode()) for record in records)
    if n_whole == 0:
        with pytest.raises(CloneError):
            read("result.json", cut)
        return
    n, tally = read("result.json", cut)
    assert (n, tally.cut) == (n_whole, {"result.json": n_whole})


def test_deep_brackets_and_long_numbers_are_bad_records() -> None:
    texts = [json.dumps(message(n, ANNA if n % 2 else ME, "x")) for n in range(1, 4)]
    odd = ["[" * 100_000 + "]" * 100_000, "1" * 5_000, '{"id": ' + "9" * 5_000 + ', "type": "message"}']
    export = json.dumps(account(personal_chat(ANNA, [{"mark": 1}])))
    n, tally = read("result.json", export.replace('{"mark": 1}', ", ".join([*texts, *odd])).encode())
    assert (n, tally.n_bad, tally.n_read) == (3, 3, 6)
