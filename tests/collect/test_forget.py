"""`clone forget`: out of the archive and of processed data, for good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from clone.archive import Archive
from clone.prepare.lock import holding
from clone.prepare.pseudonyms import load_key, name_contacts
from clone.workspace import Workspace, hash_file
from tests.collect.exports import ANNA, BORIS, ME, account, message, personal_chat, write

Clone = Callable[..., Result]
SECRET = "quellwasser"


@pytest.fixture
def collected(workspace: Path, clone: Clone) -> Workspace:
    """An archive with two contacts; what Anna wrote is recognisable."""
    chats = (
        personal_chat(ANNA, [message(n, ANNA if n % 2 else ME, f"{SECRET} {n}") for n in range(1, 401)]),
        personal_chat(BORIS, [message(n, BORIS if n % 2 else ME, f"line {n}") for n in range(500, 600)]),
    )
    write(workspace / "result.json", account(*chats))
    assert clone("collect", "--from", "result.json").exit_code == 0
    return Workspace.here()


def processed(workspace: Workspace, name: str, contacts: list[str]) -> Path:
    """Write what prepare would, as far as forget looks at it."""
    folder = workspace.processed(name)
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(SECRET)
    (folder / "manifest.json").write_text(json.dumps({"name": name, "contacts": contacts}))
    return folder


def run_on(workspace: Workspace, recipe: str, run_id: str, manifest: Path | None) -> None:
    folder = workspace.runs(recipe) / run_id
    folder.mkdir(parents=True)
    data_sha256 = hash_file(manifest) if manifest else "0" * 64
    (folder / "run.json").write_text(json.dumps({"data_sha256": data_sha256}))


def test_no_byte_of_a_forgotten_contact_is_left(collected: Workspace, clone: Clone) -> None:
    assert any(SECRET.encode() in path.read_bytes() for path in collected.raw.iterdir())
    result = clone("forget", "Anna Berg", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["n_messages"] == 400
    assert "Forgot telegram:2000002: 400 messages are out of the archive." in result.stderr
    for path in collected.raw.iterdir():
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert b"Anna" not in content, path
    with Archive.open(collected.archive) as archive:
        assert [item.chat.chat_id for item in archive.chats()] == [str(BORIS)]
        assert archive.chats()[0].n_messages == 100
        assert {person.person_id for person in archive.people()} == {str(BORIS), str(ME)}


@pytest.mark.parametrize("name", ["2000002", "user2000002", "telegram:2000002", "anna berg"])
def test_a_contact_is_named_by_id_or_name(collected: Workspace, clone: Clone, name: str) -> None:
    assert clone("forget", name).exit_code == 0


def test_a_forgotten_contact_does_not_come_back_with_the_same_file(collected: Workspace, clone: Clone) -> None:
    clone("forget", str(ANNA))
    report = json.loads(clone("collect", "--from", "result.json", "--json").stdout)["files"][0]
    assert report["skipped"] == {"of contacts that were forgotten": 400}
    with Archive.open(collected.archive) as archive:
        assert [item.chat.chat_id for item in archive.chats()] == [str(BORIS)]
    assert clone("forget", "--undo", "telegram:2000002").exit_code == 0
    assert json.loads(clone("collect", "--from", "result.json", "--json").stdout)["files"][0]["n_new"] == 400


def test_examples_and_runs_with_the_contact_are_found(collected: Workspace, clone: Clone) -> None:
    names = name_contacts(load_key(collected.key), {f"telegram\0{ANNA}", f"telegram\0{BORIS}"})
    anna, boris = names[f"telegram\0{ANNA}"], names[f"telegram\0{BORIS}"]
    with_her = processed(collected, "default", [anna, boris])
    without_her = processed(collected, "other", [boris])
    run_on(collected, "default", "20260101-000000", with_her / "manifest.json")
    run_on(collected, "other", "20260102-000000", without_her / "manifest.json")
    run_on(collected, "default", "20250101-000000", None)
    result = clone("forget", str(ANNA), "--json")
    assert json.loads(result.stdout) == {
        "contact": "telegram:2000002",
        "n_messages": 400,
        "processed_removed": ["data/processed/default"],
        "runs_trained_on_them": ["checkpoints/default/20260101-000000"],
        "runs_perhaps_trained_on_them": ["checkpoints/default/20250101-000000"],
    }
    assert not with_her.exists()
    assert without_her.exists()


def test_a_run_whose_examples_are_gone_tells_by_itself_who_was_in_them(collected: Workspace, clone: Clone) -> None:
    names = name_contacts(load_key(collected.key), {f"telegram\0{ANNA}", f"telegram\0{BORIS}"})
    both, boris = list(names.values()), [names[f"telegram\0{BORIS}"]]
    for run_id, contacts in {"20260101-000000": both, "20260102-000000": boris}.items():
        run_on(collected, "default", run_id, None)
        card = collected.runs("default") / run_id / "run.json"
        card.write_text(json.dumps({"data_sha256": "0" * 64, "contacts": contacts}))
    found = json.loads(clone("forget", str(ANNA), "--json").stdout)
    assert found["runs_trained_on_them"] == ["checkpoints/default/20260101-000000"]
    assert found["runs_perhaps_trained_on_them"] == []


def test_without_the_key_nobody_can_tell_and_nothing_is_kept(collected: Workspace, clone: Clone) -> None:
    folder = processed(collected, "default", ["somebody"])
    run_on(collected, "default", "20260101-000000", folder / "manifest.json")
    found = json.loads(clone("forget", str(ANNA), "--json").stdout)
    assert found["processed_removed"] == ["data/processed/default"]
    assert found["runs_perhaps_trained_on_them"] == ["checkpoints/default/20260101-000000"]


def test_an_unknown_contact_is_said_so(collected: Workspace, clone: Clone) -> None:
    result = clone("forget", "Clara")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: the archive has no contact 'Clara'.",
        "Hint: Name one by id, @username or the name that the messenger shows.",
    ]


def test_a_name_that_several_have_asks_for_the_id(workspace: Path, clone: Clone) -> None:
    first, second = message(1, ANNA, "a"), message(2, BORIS, "b")
    chats = (personal_chat(ANNA, [first]), personal_chat(BORIS, [second, message(3, ME, "c")], name="Anna Berg"))
    write(workspace / "result.json", account(*chats))
    clone("collect", "--from", "result.json")
    result = clone("forget", "Anna Berg")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: several contacts are called 'Anna Berg'.",
        "Hint: Name one by id:",
        "  telegram:3000003   2 messages",
        "  telegram:2000002   1 message",
    ]


def test_nothing_is_forgotten_while_it_is_being_prepared(collected: Workspace, clone: Clone) -> None:
    folder = processed(collected, "default", [])
    with holding(collected, "default"):
        result = clone("forget", "Anna Berg")
        assert result.exit_code == 1
        assert "is at work on data/processed/default." in result.stderr
    with Archive.open(collected.archive) as archive:
        assert len(archive.chats()) == 2
    assert clone("forget", "Anna Berg").exit_code == 0
    assert not folder.exists()
