"""Which kind a file is, and what is asked where a file does not tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from clone.archive import Archive
from clone.collect import whatsapp
from clone.collect.files import parts_of, zone
from clone.collect.sources import SOURCES, detect
from clone.errors import SourceError
from tests.collect.exports import ANNA, ME, message, personal_chat, write
from tests.golden import FOLDER, exports

ROOT = Path(__file__).parents[2]
Clone = Callable[..., Result]


def error_of(result: Result) -> list[str]:
    assert result.exit_code == 1, result.output
    lines = result.stderr.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("Error: ")) :]


@pytest.mark.parametrize("export", exports(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_export_is_claimed_by_its_own_source_alone(export: Path) -> None:
    with parts_of(export) as parts:
        source, claimed = detect(parts, export.name)
    assert source.name == export.parent.name.removesuffix("_export")
    assert len(claimed) == len(parts)


def test_two_sources_that_claim_a_file_are_both_named() -> None:
    twin = replace(whatsapp.SOURCE, name="twin", title="Another messenger")
    with parts_of(FOLDER / "whatsapp" / "WhatsApp-Chat mit Anna.txt") as parts, pytest.raises(SourceError) as raised:
        detect(parts, "chat.txt", (*SOURCES, twin))
    assert raised.value.message == (
        "WhatsApp-Chat mit Anna.txt could be of WhatsApp (.txt or .zip) and of Another messenger."
    )


def test_a_folder_of_two_kinds_is_refused(workspace: Path, clone: Clone) -> None:
    (workspace / "both").mkdir()
    shutil.copy(FOLDER / "whatsapp" / "WhatsApp-Chat mit Anna.txt", workspace / "both")
    shutil.copy(FOLDER / "discord" / "direct.json", workspace / "both")
    lines = error_of(clone("collect", "--from", "both"))
    assert lines[0].startswith("Error: both holds exports of several kinds: ")
    assert "WhatsApp" in lines[0]
    assert "Discord" in lines[0]
    assert lines[1] == "Hint: Give one of them at a time."


def test_the_sources_list_themselves() -> None:
    command = [sys.executable, "-W", "error", "-m", "clone.collect.sources"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [
        "telegram",
        "whatsapp",
        "messenger",
        "instagram",
        "discord",
        "signal",
    ]


def test_day_and_month_are_asked_where_no_date_tells(workspace: Path, clone: Clone) -> None:
    name = "WhatsApp Chat with Anna.txt"
    (workspace / name).write_text("1/3/24, 10:30 - Anna: hey\n1/3/24, 10:31 - Mara: ho\n")
    assert error_of(clone("collect", "--from", name)) == [
        f"Error: {name} does not tell whether 1/3 is a day and a month or a month and a day.",
        "Hint: Say it with --dates day-first or --dates month-first.",
    ]
    assert clone("collect", "--from", name, "--dates", "month-first", "--timezone", "+00:00").exit_code == 0
    with Archive.open(workspace / "data/raw/archive.sqlite") as archive:
        assert archive.chats()[0].first_at is not None
        assert archive.chats()[0].first_at.isoformat() == "2024-01-03T10:30:00+00:00"


@pytest.mark.parametrize(
    ("lines", "first_day"),
    [
        (["13/01/24, 10:00 - Anna: a", "02/02/24, 10:00 - Mara: b"], "2024-01-13"),
        (["01/13/24, 10:00 - Anna: a", "02/02/24, 10:00 - Mara: b"], "2024-01-13"),
        (["03/01/24, 10:00 - Anna: a", "04/01/24, 10:00 - Mara: b", "01/02/24, 10:00 - Anna: c"], "2024-01-03"),
        (["01/03/24, 10:00 - Anna: a", "01/04/24, 10:00 - Mara: b", "02/01/24, 10:00 - Anna: c"], "2024-01-03"),
        (["03.01.24, 10:00 - Anna: a", "03.01.24, 10:00 - Mara: b"], "2024-01-03"),
        (["2024-01-03, 10:00 - Anna: a", "2024-01-04, 10:00 - Mara: b"], "2024-01-03"),
    ],
)
def test_dates_tell_by_themselves_where_they_can(
    workspace: Path, clone: Clone, lines: list[str], first_day: str
) -> None:
    (workspace / "WhatsApp Chat with Anna.txt").write_text("\n".join(lines))
    result = clone("collect", "--from", "WhatsApp Chat with Anna.txt", "--timezone", "UTC")
    assert result.exit_code == 0, result.output
    with Archive.open(workspace / "data/raw/archive.sqlite") as archive:
        first = archive.chats()[0].first_at
    assert first is not None
    assert first.date().isoformat() == first_day


def test_a_zipped_whatsapp_chat_is_named_after_its_zip(workspace: Path, clone: Clone) -> None:
    with zipfile.ZipFile(workspace / "WhatsApp Chat - Anna.zip", "w") as archive:
        archive.writestr("_chat.txt", "[13.01.24, 10:00:00] Anna: hey\r\n[13.01.24, 10:00:01] Mara: ho\r\n")
        archive.writestr("00000001-PHOTO.jpg", b"\xff\xd8")
    assert clone("collect", "--from", "WhatsApp Chat - Anna.zip").exit_code == 0
    with Archive.open(workspace / "data/raw/archive.sqlite") as store:
        assert store.accounts()[0].name == "Mara"
        assert [m.is_outgoing for m in store.messages(store.chats()[0].chat)] == [False, True]


def test_a_whatsapp_chat_that_does_not_say_who_you_are_asks(workspace: Path, clone: Clone) -> None:
    (workspace / "chat.txt").write_text(
        "13/01/24, 10:00 - Anna: a\n13/01/24, 10:00 - Anna: b\n13/01/24, 10:01 - Mara: c\n"
    )
    assert error_of(clone("collect", "--from", "chat.txt")) == [
        "Error: chat.txt does not say who you are.",
        "Hint: --me must be one of the ids below.",
        "  Anna   2 messages",
        "  Mara   1 message",
    ]


def test_a_whatsapp_group_is_left_out(workspace: Path, clone: Clone) -> None:
    lines = [f"13/01/24, 10:0{n} - {name}: x" for n, name in enumerate(["Anna", "Mara", "Boris"])]
    (workspace / "chat.txt").write_text("\n".join(lines))
    assert error_of(clone("collect", "--from", "chat.txt"))[0] == (
        "Error: chat.txt holds no private chat with a person, only groups."
    )


def test_the_zone_of_times_without_one_is_said(workspace: Path, clone: Clone) -> None:
    old = [{**message(n, ANNA if n % 2 else ME, "x")} for n in range(1, 3)]
    for record in old:
        record.pop("date_unixtime")
    write(workspace / "result.json", personal_chat(ANNA, old))
    said = clone("collect", "--from", "result.json").stderr
    assert "Note: Times without a zone were read in this machine's zone; --timezone says another." in said
    said = clone("collect", "--from", "result.json", "--timezone", "Europe/Berlin").stderr
    assert "Note: Times without a zone were read as Europe/Berlin." in said
    assert error_of(clone("collect", "--from", "result.json", "--timezone", "Atlantis"))[0] == (
        "Error: there is no time zone 'Atlantis'."
    )


def test_zones_are_names_or_offsets() -> None:
    assert [str(zone(name)) for name in ("Europe/Berlin", "+02:00", "UTC-3")] == [
        "Europe/Berlin",
        "UTC+02:00",
        "UTC-03:00",
    ]


def test_a_damaged_zip_is_said_so(workspace: Path, clone: Clone) -> None:
    (workspace / "export.zip").write_bytes(b"PK\x03\x04 no zip")
    assert error_of(clone("collect", "--from", "export.zip")) == [
        "Error: export.zip is damaged and cannot be unpacked.",
        "Hint: Copy or download it again.",
    ]


def test_a_file_that_was_read_is_known_as_read_even_where_it_is_cut(workspace: Path, clone: Clone) -> None:
    text = json.dumps(personal_chat(ANNA, [message(1, ANNA, "a"), message(2, ME, "b"), message(3, ANNA, "c")]))
    (workspace / "result.json").write_text(text[:-40])
    (workspace / "mine.yaml").write_text("name: mine\ncollect:\n  files: [result.json]\n")
    assert clone("collect", "mine.yaml").exit_code == 0
    status = json.loads(clone("status", "mine.yaml", "--json").stdout)
    assert status["stages"][0]["state"] == "done"
