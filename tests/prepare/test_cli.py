"""`clone prepare` as a person types it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result

from tests.prepare.conftest import START, Chats

Clone = Callable[..., Result]


@pytest.fixture
def talk(chats: Chats) -> Chats:
    for day in range(6):
        lines = f"""
            < my password is Xk7-plover-{day}9
            > ok got it {day}
            < mail me: zed.quill@mail.example
            > sure thing
            > later"""
        chats.say("ann", lines, start=START + timedelta(days=3 * day))
    return chats


def test_prepare_says_what_came_out_and_what_is_next(talk: Chats, clone: Clone) -> None:
    result = clone("prepare", "--set", "finetune.base=tiny/bytes")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "10 examples to train on, 2 held out; 1 contacts. Lengths are in tokens of tiny/bytes." in result.stderr
    assert "Look at data/processed/default/report.html" in result.stderr
    assert result.stderr.splitlines()[-1] == "Next: clone finetune"


def test_nothing_is_done_twice_unless_forced(talk: Chats, clone: Clone, workspace: Path) -> None:
    clone("prepare")
    train = workspace / "data/processed/default/train.jsonl"
    before = train.stat().st_mtime_ns
    assert "Nothing has changed" in clone("prepare").stderr
    assert train.stat().st_mtime_ns == before
    clone("prepare", "--force")
    assert train.stat().st_mtime_ns > before
    before = train.stat().st_mtime_ns
    (workspace / "data/raw/privacy.yaml").write_text("deny: [later]")
    assert "Nothing has changed" not in clone("prepare").stderr
    assert train.stat().st_mtime_ns > before


def test_json_is_one_object_of_counts(talk: Chats, clone: Clone) -> None:
    result = clone("prepare", "--json")
    report = json.loads(result.stdout)
    assert (report["recipe"], report["n_train"], report["n_validation"]) == ("default", 10, 2)
    assert report["scrub"]["by_type"]["PASSWORD"] >= 6


def test_no_word_or_secret_stands_in_what_is_said_or_reported(talk: Chats, clone: Clone, workspace: Path) -> None:
    folder = workspace / "data/processed/default"
    outputs = [clone("prepare").output, clone("prepare", "--json").output]
    reports = [(folder / name).read_text() for name in ("report.json", "report.html", "manifest.json")]
    for text in (*outputs, *reports):
        assert not re.search(r"plover|quill|got it|sure thing|\bAnn\b", text)
    for name in ("train.jsonl", "validation.jsonl"):
        assert not re.search(r"plover|zed\.quill", (folder / name).read_text())


def test_the_page_needs_nothing_from_elsewhere(talk: Chats, clone: Clone, workspace: Path) -> None:
    clone("prepare")
    page = (workspace / "data/processed/default/report.html").read_text()
    assert page.count("<svg") == 6
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|<script|url\(http""", page)
    for heading in (
        "Messages a month",
        "Reply length",
        "Bubbles a reply",
        "Hours of the day",
        "Silences",
        "Context, tokens",
    ):
        assert heading in page


def test_preview_shows_marks_and_the_graded_reply(talk: Chats, clone: Clone) -> None:
    shown = clone("prepare", "--preview", "1").stderr
    assert re.search(r"⟨doc⟩\w+⟨end⟩\n⟨them⟩my password is \[PASSWORD\]⟨end⟩\n⟨me⟩ok got it 0⟨end⟩", shown)
    segments = json.loads(clone("prepare", "--preview", "2", "--json").stdout)["preview"]
    learned = ["".join(s["text"] for s in one if s["is_learned"] and not s["is_control"]) for one in segments]
    assert learned == ["ok got it 0", "sure thinglater"]


def test_other_forms_are_written_beside(talk: Chats, clone: Clone, workspace: Path) -> None:
    result = clone("prepare", "--format", "chatml", "--format", "alpaca")
    assert "Also written: data/processed/default/train.chatml.jsonl" in result.stderr
    assert (workspace / "data/processed/default/train.alpaca.json").exists()


def test_contacts_are_shown_with_their_pseudonyms(talk: Chats, clone: Clone, workspace: Path) -> None:
    assert re.search(r"Ann +\w+ +pseudonymise +30 +18", clone("prepare", "--contacts").stderr)
    assert not (workspace / "data/processed").exists()


def test_review_hides_values_until_asked_and_keeps_what_is_decided(
    talk: Chats, clone: Clone, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter("su" + "m" + "q")
    monkeypatch.setattr("click.getchar", lambda: next(keys))
    result = clone("prepare", "--review")
    table, _, rest = result.stderr.partition("Values are hidden.")
    assert "plover" not in table
    assert "zed.quill" not in table
    assert "••••••••" in rest
    assert "1 of 1 had something that was missed" in rest
    assert not (workspace / "data/processed").exists()
    keys = iter("aq")
    clone("prepare", "--review")
    assert (workspace / "data/raw/privacy.yaml").read_text().startswith("allow:\n- ")


def test_errors_name_the_next_step(chats: Chats, clone: Clone, workspace: Path) -> None:
    result = clone("prepare")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "Error: the archive holds no private chat with a person."
    (workspace / "data/raw/archive.sqlite").unlink()
    result = clone("prepare")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "Error: nothing has been collected yet.",
        "Hint: clone collect --from result.json",
    ]


def test_a_privacy_file_that_cannot_be_read_stops_and_is_not_quoted(talk: Chats, clone: Clone, workspace: Path) -> None:
    (workspace / "data/raw/privacy.yaml").write_text("contacts: {Ann: forget}")
    result = clone("prepare")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "Error: privacy.yaml cannot be read."
    assert "Ann" not in result.stderr


def test_a_full_disk_leaves_what_was_there(
    talk: Chats, clone: Clone, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("clone.prepare.batches.pickle.dump", full)
    result = clone("prepare")
    assert result.exit_code == 1
    assert "Error: the disk is full" in result.stderr
    assert not list((workspace / "data/processed/default").glob(".work*"))
