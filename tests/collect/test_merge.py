"""A file and a live collection of one account fall together, in either order."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clone.archive import Archive
from clone.collect import ImportReport, import_file
from clone.collect.contract import Asked
from clone.records import Account, Chat, ChatKind, Kind, Message
from tests.collect.exports import ANNA, ME, account, message, personal_chat, write

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIVE_ACCOUNT = Account("telegram", str(ME), "Mara Lind", "mara", "15550100")
LIVE_CHAT = Chat("telegram", str(ME), str(ANNA), ChatKind.PERSON, "Anna Berg", "annab", "")


def live(number: int, text: str, sender: int = ANNA, **more: Any) -> tuple[Message, bytes]:
    """Return a message as the live collector has it, with its TL payload."""
    sent_at = datetime.fromtimestamp(1_700_000_000 + number, UTC)
    found = Message(
        "telegram", str(ME), str(ANNA), number, str(sender), sent_at, text, Kind.TEXT, None, None, False, sender == ME
    )
    return replace(found, **more), b"TL" + bytes([number])


def put_live(archive: Archive, *messages: tuple[Message, bytes]) -> None:
    with archive.transaction():
        archive.put_account(LIVE_ACCOUNT)
        archive.put_chat(LIVE_CHAT)
        archive.put_messages(LIVE_CHAT, messages, raw_format="tl-229")
        archive.put_cursor(LIVE_CHAT, max(m.message_id for m, _ in messages))


def put_file(archive: Archive, folder: Path, *messages: dict[str, Any], **chat: Any) -> ImportReport:
    path = write(folder / "result.json", account(personal_chat(ANNA, list(messages), **chat)))
    return import_file(path, archive, Asked(), 0.01, NOW)


def rows(archive: Archive, sql: str) -> list[tuple[Any, ...]]:
    return sqlite3.connect(archive._path).execute(sql).fetchall()


def held(archive: Archive) -> list[tuple[int, str, str]]:
    return [(m.message_id, m.sender_id, m.text) for item in archive.chats() for m in archive.messages(item.chat)]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.create(tmp_path / "raw" / "archive.sqlite")


@pytest.mark.parametrize("is_file_first", [True, False])
def test_file_and_live_make_one_chat_without_loss_or_doubles(
    archive: Archive, tmp_path: Path, is_file_first: bool
) -> None:
    of_file = [message(1, ANNA, "one"), message(2, ME, "two"), message(3, ANNA, "three")]
    of_live = [live(2, "two", ME), live(3, "three"), live(4, "four")]
    steps = [lambda: put_file(archive, tmp_path, *of_file), lambda: put_live(archive, *of_live)]
    for step in steps if is_file_first else reversed(steps):
        step()
    assert held(archive) == [
        (1, str(ANNA), "one"),
        (2, str(ME), "two"),
        (3, str(ANNA), "three"),
        (4, str(ANNA), "four"),
    ]
    assert len(archive.accounts()) == len(archive.chats()) == 1
    assert archive.chats()[0].chat.username == "annab"
    formats = rows(archive, "SELECT message_id, format FROM raws JOIN formats USING (format_pk) ORDER BY 1, 2")
    assert formats == [
        (1, "telegram-desktop-json"),
        (2, "telegram-desktop-json"),
        (2, "tl-229"),
        (3, "telegram-desktop-json"),
        (3, "tl-229"),
        (4, "tl-229"),
    ]
    assert rows(archive, "SELECT count(*) FROM versions") == [(0,)]


def test_an_import_never_changes_what_is_known(archive: Archive, tmp_path: Path) -> None:
    edited_at = datetime.fromtimestamp(1_700_009_000, UTC)
    put_live(archive, live(1, "edited since", edited_at=edited_at))
    report = put_file(archive, tmp_path, message(1, ANNA, "as it was"), name=None)
    assert (report.n_new, report.n_known) == (0, 1)
    assert held(archive) == [(1, str(ANNA), "edited since")]
    assert archive.chats()[0].chat.title == "Anna Berg"
    assert archive.chats()[0].chat.username == "annab"
    assert rows(archive, "SELECT text, edited_at FROM versions") == [("as it was", 0)], "the older text is kept"


def test_an_import_fills_fields_that_are_empty(archive: Archive, tmp_path: Path) -> None:
    put_live(archive, live(1, "one"), live(2, ""))
    put_file(archive, tmp_path, message(1, ANNA, "one"), message(2, ANNA, "two", reply_to_message_id=1))
    with Archive.open(archive._path) as again:
        second = list(again.messages(LIVE_CHAT))[1]
    assert (second.text, second.reply_to) == ("two", 1)


def test_an_edit_that_came_live_keeps_the_text_of_the_file(archive: Archive, tmp_path: Path) -> None:
    put_file(archive, tmp_path, message(1, ANNA, "as it was"))
    put_live(archive, live(1, "edited", edited_at=datetime.fromtimestamp(1_700_009_000, UTC)))
    assert held(archive) == [(1, str(ANNA), "edited")]
    assert rows(archive, "SELECT text FROM versions") == [("as it was",)]


def test_a_later_export_brings_an_edit_and_an_earlier_one_does_not(archive: Archive, tmp_path: Path) -> None:
    first = message(1, ANNA, "as it was")
    second = message(1, ANNA, "edited", edited_unixtime="1700009000")
    third = message(1, ANNA, "edited again", edited_unixtime="1700009999")
    counts = [put_file(archive, tmp_path, export) for export in (first, third, second, first)]
    assert [(report.n_new, report.n_edited, report.n_known) for report in counts] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (0, 0, 1),
    ]
    assert held(archive) == [(1, str(ANNA), "edited again")]
    texts = rows(archive, "SELECT text, edited_at FROM versions ORDER BY edited_at")
    assert texts == [("as it was", 0), ("edited", 1_700_009_000)]


def test_what_the_export_could_not_write_is_a_gap_until_it_comes_live(archive: Archive, tmp_path: Path) -> None:
    put_file(archive, tmp_path, message(1, ANNA, "one"), {"id": 2, "type": "unsupported"})
    assert archive.gaps(LIVE_CHAT) == [(2, "not supported by the export")]
    put_live(archive, live(2, "two"))
    assert archive.gaps(LIVE_CHAT) == []
    put_file(archive, tmp_path, message(1, ANNA, "one"), {"id": 2, "type": "unsupported"})
    assert archive.gaps(LIVE_CHAT) == []


def test_a_later_export_of_a_whatsapp_chat_adds_only_what_is_new(archive: Archive, tmp_path: Path) -> None:
    lines = [f"31/12/2023, 23:5{n % 4} - {'Anna' if n % 3 else 'Mara'}: line {n}" for n in range(40)]
    lines.sort(key=lambda line: line[:17])
    path = tmp_path / "WhatsApp Chat with Anna.txt"
    path.write_text("\n".join(lines[:25]))
    assert import_file(path, archive, Asked(timezone=UTC), 0.01, NOW).n_new == 25
    lines[10] = lines[10].partition("line")[0] + "This message was deleted"
    path.write_text("\n".join(lines))
    report = import_file(path, archive, Asked(timezone=UTC), 0.01, NOW)
    assert (report.n_new, report.n_known) == (15, 24)
    assert len(held(archive)) == 40
    assert sorted(text for _, _, text in held(archive)) == sorted(f"line {n}" for n in range(40))


def test_json_of_any_layout_is_read_alike(archive: Archive, tmp_path: Path) -> None:
    export = account(personal_chat(ANNA, [message(n, ANNA if n % 2 else ME, f"{n} ü") for n in range(1, 50)]))
    for indent, ascii_only in ((None, True), (1, False), (4, True)):
        path = tmp_path / "result.json"
        path.write_text("\ufeff" + json.dumps(export, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
        import_file(path, archive, Asked(), 0.01, NOW)
    assert len(held(archive)) == 49
    assert rows(archive, "SELECT count(*) FROM versions") == [(0,)]
