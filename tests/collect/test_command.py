"""`clone collect --from` as a person types it, and the exact words it answers with."""

from __future__ import annotations

import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from clone import archive as archive_module
from clone.archive import SCHEMA_VERSION, Archive
from clone.records import ChatKind, Message
from tests.collect.exports import ANNA, BORIS, ME, account, message, personal_chat, write

Clone = Callable[..., Result]


def archived(workspace: Path) -> list[Message]:
    with Archive.open(workspace / "data/raw/archive.sqlite") as archive:
        return [m for chat in archive.chats() for m in archive.messages(chat.chat)]


def error_of(result: Result) -> list[str]:
    """Return the lines of the error, and make sure that there is one and nothing else."""
    assert result.exit_code != 0
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Error: "))
    return lines[start:]


@pytest.fixture
def export(workspace: Path) -> Path:
    chats = (
        personal_chat(ANNA, [message(1, ANNA, "hey"), message(2, ME, "hi"), message(5, ANNA, "bye")]),
        personal_chat(BORIS, [message(3, BORIS, "you there?"), message(4, ME, "yes")]),
    )
    return write(workspace / "result.json", account(*chats))


@pytest.fixture
def one_chat(workspace: Path) -> Path:
    messages = [message(1, ANNA, "hey"), message(2, ME, "hi"), message(3, ANNA, "bye")]
    return write(workspace / "anna.json", personal_chat(ANNA, messages))


def test_a_whole_account_comes_into_the_archive(export: Path, workspace: Path, clone: Clone) -> None:
    result = clone("collect", "--from", "result.json", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)["files"][0]
    assert (report["account_id"], report["n_chats"], report["n_new"], report["n_outgoing"]) == (str(ME), 2, 5, 2)
    with Archive.open(workspace / "data/raw/archive.sqlite") as archive:
        assert [(a.source, a.account_id, a.name, a.username) for a in archive.accounts()] == [
            ("telegram", str(ME), "Mara Lind", "mara")
        ]
        chats = {c.chat.chat_id: c for c in archive.chats()}
    assert {chat_id: (c.n_messages, c.n_outgoing, c.chat.kind) for chat_id, c in chats.items()} == {
        str(ANNA): (3, 1, ChatKind.PERSON),
        str(BORIS): (2, 1, ChatKind.PERSON),
    }
    assert [(m.message_id, m.sender_id, m.text, m.is_outgoing) for m in archived(workspace)][:3] == [
        (1, str(ANNA), "hey", False),
        (2, str(ME), "hi", True),
        (5, str(ANNA), "bye", False),
    ]


def test_the_payload_is_kept_as_it_was_written(export: Path, workspace: Path, clone: Clone) -> None:
    clone("collect", "--from", "result.json")
    rows = sqlite3.connect(workspace / "data/raw/archive.sqlite").execute(
        "SELECT raw, format FROM raws JOIN formats USING (format_pk) ORDER BY message_id"
    )
    raw, written_in = next(rows)
    assert raw.decode() in export.read_text(encoding="utf-8")
    assert json.loads(raw) == message(1, ANNA, "hey")
    assert written_in == "telegram-desktop-json"


def test_a_second_import_changes_nothing(export: Path, workspace: Path, clone: Clone) -> None:
    clone("collect", "--from", "result.json")
    before = Archive.open(workspace / "data/raw/archive.sqlite").revision()
    result = clone("collect", "--from", "result.json", "--json")
    report = json.loads(result.stdout)["files"][0]
    assert (report["n_new"], report["n_known"]) == (0, 5)
    assert Archive.open(workspace / "data/raw/archive.sqlite").revision() == before


def test_files_of_the_recipe_are_read_where_none_is_given(export: Path, workspace: Path, clone: Clone) -> None:
    (workspace / "mine.yaml").write_text("name: mine\ncollect:\n  files: [result.json]\n")
    assert clone("collect", "mine.yaml").exit_code == 0
    assert len(archived(workspace)) == 5


@pytest.mark.parametrize("kind", ["xz", "zip", "folder"])
def test_packed_exports_are_read_as_they_are(export: Path, workspace: Path, clone: Clone, kind: str) -> None:
    source = workspace / f"export.{kind}"
    if kind == "xz":
        source.write_bytes(lzma.compress(export.read_bytes()))
    elif kind == "zip":
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(export, "DataExport/result.json")
            archive.writestr("DataExport/chats/files/sent.json", "{}")
    else:
        source.mkdir()
        (source / "result.json").write_bytes(export.read_bytes())
        (source / "notes.txt").write_text("nothing")
    assert clone("collect", "--from", str(source)).exit_code == 0
    assert len(archived(workspace)) == 5


def test_the_owner_of_a_single_chat_is_the_other_one_who_wrote(one_chat: Path, workspace: Path, clone: Clone) -> None:
    result = clone("collect", "--from", "anna.json", "--json")
    assert json.loads(result.stdout)["files"][0]["account_id"] == str(ME)
    assert [m.is_outgoing for m in archived(workspace)] == [False, True, False]


def test_an_export_that_does_not_say_whose_it_is_asks(one_chat: Path, workspace: Path, clone: Clone) -> None:
    messages = [message(1, ANNA, "hey"), message(2, ME, "hi"), message(3, BORIS, "ho"), message(4, ANNA, "hm")]
    write(workspace / "odd.json", personal_chat(ANNA, messages))
    assert error_of(clone("collect", "--from", "odd.json")) == [
        "Error: odd.json does not say who you are.",
        "Hint: --me must be one of the ids below.",
        "  user2000002   2 messages",
        "  user1000001   1 message",
        "  user3000003   1 message",
    ]


@pytest.mark.parametrize("me", ["user1000001", "1000001", "mara lind"])
def test_me_is_an_id_or_a_name(one_chat: Path, workspace: Path, clone: Clone, me: str) -> None:
    assert clone("collect", "--from", "anna.json", "--me", me).exit_code == 0
    assert [m.is_outgoing for m in archived(workspace)] == [False, True, False]


def test_an_unknown_me_is_told_the_candidates(one_chat: Path, workspace: Path, clone: Clone) -> None:
    assert error_of(clone("collect", "--from", "anna.json", "--me", "user7")) == [
        "Error: anna.json has no message from 'user7'.",
        "Hint: --me must be one of the ids below.",
        "  user2000002   2 messages",
        "  user1000001   1 message",
    ]
    assert archived(workspace) == []


@pytest.mark.parametrize(
    ("content", "error", "hint"),
    [
        ("", "Error: x.json is not an export that clone knows.", "Hint: It reads: "),
        ("hello there", "Error: x.json is not an export that clone knows.", "Hint: It reads: "),
        ('{"a": 1}', "Error: x.json is not an export that clone knows.", "Hint: It reads: "),
        (
            '{"name": "A", "type": "personal_chat", "id": 2, "messages": []}',
            "Error: x.json holds no messages.",
            "Hint: Export the chat again with its messages ticked.",
        ),
        (
            '{"name": "G", "type": "private_group", "id": 2, "messages": [{"id": 1, "type": "message"}]}',
            "Error: x.json holds no private chat with a person, only 1 of groups.",
            "Hint: Export a personal chat, or tick 'Personal chats' when you export the account.",
        ),
        (
            '{"type": "personal_chat"; }',
            "Error: x.json is not an export of Telegram Desktop.",
            "Hint: Export again in Telegram Desktop with the format 'Machine-readable JSON'.",
        ),
    ],
)
def test_a_file_that_is_no_export_is_said_so(
    workspace: Path, clone: Clone, content: str, error: str, hint: str
) -> None:
    (workspace / "x.json").write_text(content)
    lines = error_of(clone("collect", "--from", "x.json"))
    assert lines[0] == error
    assert lines[1].startswith(hint)


def test_a_missing_file_is_said_so(workspace: Path, clone: Clone) -> None:
    assert error_of(clone("collect", "--from", "no.json")) == [
        "Error: there is no file no.json.",
        "Hint: Check the path; quote it if it has spaces.",
    ]


def test_an_export_cut_in_the_middle_is_salvaged_with_a_warning(workspace: Path, clone: Clone) -> None:
    export = account(personal_chat(ANNA, [message(n, ANNA if n % 2 else ME, f"line {n}") for n in range(1, 2001)]))
    text = write(workspace / "result.json", export).read_text()
    (workspace / "result.json").write_text(text[: text.index("line 1801") + 3])
    result = clone("collect", "--from", "result.json", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)["files"][0]
    assert (report["n_new"], report["cut"]) == (1800, {"result.json": 1800})
    assert (
        "Warning: result.json is cut off after 1,800 records, which were read. Export again to have the rest."
        in result.stderr
    )
    assert len(archived(workspace)) == 1800


def test_too_many_bad_records_stop_the_import_before_anything_is_written(workspace: Path, clone: Clone) -> None:
    messages = [message(n, ANNA if n % 2 else ME, "x") for n in range(1, 101)]
    messages[10].pop("date_unixtime")
    messages[10].pop("date")
    messages[20]["id"] = "7"
    write(workspace / "result.json", account(personal_chat(ANNA, messages)))
    result = clone("collect", "--from", "result.json")
    assert result.exit_code == 3
    assert error_of(result) == [
        "Error: 2 of 100 records of result.json cannot be read (2.0%, at most 1.0% may be):",
        "  result.json: record 11 of a chat: no date",
        "  result.json: record 21 of a chat: no id",
        "Hint: To take the readable ones: --set collect.max_bad_share=1",
    ]
    assert archived(workspace) == []
    assert clone("collect", "--from", "result.json", "--set", "collect.max_bad_share=1").exit_code == 0
    assert len(archived(workspace)) == 98


def test_an_archive_of_a_newer_clone_is_left_alone(export: Path, workspace: Path, clone: Clone) -> None:
    clone("collect", "--from", "result.json")
    path = workspace / "data/raw/archive.sqlite"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    assert error_of(clone("collect", "--from", "result.json")) == [
        f"Error: archive.sqlite was written by a newer clone (schema {SCHEMA_VERSION + 1}, "
        f"this one knows {SCHEMA_VERSION}).",
        "Hint: pip install --upgrade clone",
    ]


def test_a_damaged_archive_is_said_so(export: Path, workspace: Path, clone: Clone) -> None:
    clone("collect", "--from", "result.json")
    path = workspace / "data/raw/archive.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    assert error_of(clone("collect", "--from", "result.json")) == [
        "Error: archive.sqlite is not an archive of clone, or it is damaged.",
        "Hint: Put it aside and collect again.",
    ]


def test_the_archive_is_readable_by_its_owner_alone(export: Path, workspace: Path, clone: Clone) -> None:
    clone("collect", "--from", "result.json")
    assert (workspace / "data/raw/archive.sqlite").stat().st_mode & 0o777 == 0o600


def test_nothing_of_what_people_wrote_is_said(export: Path, clone: Clone) -> None:
    result = clone("collect", "--from", "result.json")
    assert not any(word in result.stderr for word in ("hey", "you there", "Anna", "Boris", "Mara", "Lind"))


def test_a_full_disk_stops_cleanly_and_the_next_run_goes_on(
    workspace: Path, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [message(n, ANNA if n % 2 else ME, f"line {n}") for n in range(1, 12_001)]
    write(workspace / "result.json", account(personal_chat(ANNA, messages)))
    connect = archive_module._connect

    def connect_small(path: Path, passphrase: str | None) -> sqlite3.Connection:
        connection = connect(path, passphrase)
        connection.execute("PRAGMA max_page_count = 350")  # SQLite answers as it does when the disk is full
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "_connect", connect_small)
        result = clone("collect", "--from", "result.json")
    assert result.exit_code == 1
    assert error_of(result) == [
        "Error: the disk is full: the archive could not grow.",
        "Hint: Free some space and run the same command again; it goes on where it stopped.",
    ]
    n_kept = len(archived(workspace))
    assert n_kept % 5_000 == 0
    assert clone("collect", "--from", "result.json").exit_code == 0
    assert [m.message_id for m in archived(workspace)] == list(range(1, 12_001))


@pytest.mark.parametrize(
    ("options", "held", "why"),
    [
        (["--skip", "Anna Berg"], {str(BORIS)}, {"of contacts to skip": 3}),
        (["--only", "user2000002"], {str(ANNA)}, {"of other contacts": 2}),
        (["--skip", "2000002", "--skip", "boris falk"], set(), {"of contacts to skip": 5}),
    ],
)
def test_contacts_are_chosen_in_files_too(
    export: Path, workspace: Path, clone: Clone, options: list[str], held: set[str], why: dict[str, int]
) -> None:
    result = clone("collect", "--from", "result.json", "--json", *options)
    assert json.loads(result.stdout)["files"][0]["skipped"] == why
    with Archive.open(workspace / "data/raw/archive.sqlite") as archive:
        assert {item.chat.chat_id for item in archive.chats()} == held
        assert {person.person_id for person in archive.people()} - {str(ME)} == held


def test_a_contact_to_skip_whom_the_file_does_not_have_stops_the_import(
    export: Path, workspace: Path, clone: Clone
) -> None:
    assert error_of(clone("collect", "--from", "result.json", "--skip", "Anna Brg")) == [
        "Error: result.json has no chat with 'Anna Brg'.",
        "Hint: Name contacts by id, @username or as the file does.",
    ]
    assert archived(workspace) == []


@pytest.mark.parametrize("option", ["--list", "--verify", "--login", "--qr", "--no-takeout"])
def test_options_of_the_live_account_are_refused_for_files(export: Path, clone: Clone, option: str) -> None:
    result = clone("collect", "--from", "result.json", option)
    assert result.exit_code == 2
    assert f"Error: {option} is for the account itself, not for files." in result.stderr
