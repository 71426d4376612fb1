"""The four stages as a person types them, on invented chats, with the embedded base."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clone.cli import main

ROOT = Path(__file__).parents[1]

# Seen nowhere but in the words, names and numbers of the invented people
MARKS = ("Zqvorbel", "zqvwoven", "zqvnimble", "zqvharrow", "zqvsecret1!", "+44 7700 900987")


def marked_export(path: Path) -> None:
    """Write an account whose every word, name and secret can be recognised."""
    contact, owner = MARKS[0], "Owner Marked"
    messages = []
    for day in range(24):
        lines = (
            (contact, f"hello {MARKS[1]} are you there {day}"),
            (owner, f"yes {MARKS[2]} i am"),
            (contact, f"my password is {MARKS[4]}"),
            (contact, f"call {MARKS[5]} or ask {contact}"),
            (owner, f"ok {MARKS[3]} {day}"),
        )
        for i, (who, text) in enumerate(lines):
            at = 1_700_000_000 + day * 200_000 + i * 60
            messages.append(
                {
                    "id": len(messages) + 1,
                    "type": "message",
                    "date": "2023-11-14T22:13:20",
                    "date_unixtime": str(at),
                    "from": who,
                    "from_id": "user1" if who == owner else "user2",
                    "text": text,
                    "text_entities": [{"type": "plain", "text": text}],
                }
            )
    export = {
        "personal_information": {"user_id": 1, "first_name": "Owner", "last_name": "Marked"},
        "chats": {"list": [{"name": contact, "type": "personal_chat", "id": 2, "messages": messages}]},
    }
    path.write_text(json.dumps(export), encoding="utf-8")


@dataclass
class Walk:
    """What one walk of the four stages left."""

    root: Path
    outputs: dict[str, Result]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    root = tmp_path_factory.mktemp("walk")
    source = tmp_path_factory.mktemp("source") / "result.json"
    marked_export(source)
    before = Path.cwd()
    os.chdir(root)
    try:
        outputs = {}
        for name, line in {
            "collect": f"collect --from {shlex.quote(str(source))} --json",
            "prepare": "prepare --json",
            "finetune": "finetune --base embedded --set finetune.max_steps=2 --json",
            "chat": "chat --json",
            "status": "status --json",
        }.items():
            outputs[name] = CliRunner().invoke(main, shlex.split(line), input="hello\n" if name == "chat" else None)
            if outputs[name].exception and not isinstance(outputs[name].exception, SystemExit):
                raise outputs[name].exception
            assert outputs[name].exit_code == 0, f"{name}: {outputs[name].output}"
    finally:
        os.chdir(before)
    return Walk(root, outputs)


@pytest.mark.parametrize("stage", ["collect", "prepare", "finetune", "chat", "status"])
def test_json_is_one_object_on_stdout(walk: Walk, stage: str) -> None:
    assert isinstance(json.loads(walk.outputs[stage].stdout), dict)


def test_no_word_of_a_chat_leaves_data_and_checkpoints(walk: Walk) -> None:
    for name, result in walk.outputs.items():
        for mark in MARKS:
            assert mark.lower() not in result.stdout.lower(), f"{mark} on stdout of {name}"
            assert mark.lower() not in result.stderr.lower(), f"{mark} on stderr of {name}"
    for path in walk.root.rglob("*"):
        if path.is_file() and path.relative_to(walk.root).parts[0] not in ("data", "checkpoints"):
            content = path.read_bytes().lower()
            assert not any(mark.lower().encode() in content for mark in MARKS), path


def test_reports_and_cards_hold_counts_only(walk: Walk) -> None:
    files = [
        path
        for path in walk.root.rglob("*")
        if path.name in ("report.json", "manifest.json", "run.json", "metrics.jsonl", "report.html", "loss.html")
    ]
    assert {path.name for path in files} >= {"report.json", "manifest.json", "run.json", "metrics.jsonl"}
    for path in files:
        content = path.read_text(encoding="utf-8").lower()
        assert not any(mark.lower() in content for mark in MARKS), path


def test_no_secret_or_name_of_others_reaches_the_examples(walk: Walk) -> None:
    for path in (walk.root / "data" / "processed").rglob("*.jsonl"):
        content = path.read_text(encoding="utf-8")
        assert MARKS[4] not in content
        assert MARKS[5] not in content
        assert MARKS[0] not in content


def test_status_knows_that_all_is_done(walk: Walk) -> None:
    status = json.loads(walk.outputs["status"].stdout)
    assert [stage["state"] for stage in status["stages"]] == ["done"] * 4
    assert status["next"] == "clone chat"


def test_the_twin_answers_and_ends_its_turn(walk: Walk) -> None:
    answer = json.loads(walk.outputs["chat"].stdout)
    text = json.dumps(answer, ensure_ascii=False)
    assert not re.search(r"<\|\w+\|>", text), "a control token reached the reader"


def test_the_commands_of_the_readme_run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"<!-- demo -->\n```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert block, "README has no demo"
    commands = [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]
    assert [shlex.split(line.split("|")[-1])[1] for line in commands][:3] == ["collect", "prepare", "finetune"]
    (workspace / "pipelines").symlink_to(ROOT / "pipelines")
    for line in commands:
        said = re.fullmatch(r'echo "([^"]*)" \| (.*)', line)
        arguments = shlex.split(said[2] if said else line)
        assert arguments.pop(0) == "clone"
        if arguments[0] == "finetune":
            arguments += ["--set", "finetune.max_steps=2"]  # every word as written, only shorter
        result = CliRunner().invoke(main, arguments, input=said[1] + "\n" if said else None)
        assert result.exit_code == 0, f"{line}: {result.output}"


@pytest.mark.parametrize(
    ("command", "error", "hint"),
    [
        ("prepare", "nothing has been collected yet.", "clone collect --from result.json"),
        ("finetune --base embedded", "no examples in data/processed/default.", "Run clone prepare first."),
        (
            "chat",
            "there is no finished run yet.",
            "clone finetune makes one; clone status says whether something comes before it.",
        ),
    ],
)
def test_a_stage_before_its_predecessor_says_what_to_type(
    clone: Callable[..., Result], command: str, error: str, hint: str
) -> None:
    result = clone(*shlex.split(command))
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.splitlines()[-2:] == [f"Error: {error}", f"Hint: {hint}"]


def test_run_skips_what_is_up_to_date(workspace: Path, clone: Callable[..., Result]) -> None:
    (workspace / "pipelines").symlink_to(ROOT / "pipelines")
    line = ("run", "pipelines/demo.yaml", "--json", "--set", "finetune.max_steps=1")
    first = clone(*line)
    assert json.loads(first.stdout.splitlines()[-1])["stages"] == dict.fromkeys(
        ("collect", "prepare", "finetune"), "ran"
    )
    second = clone(*line)
    assert json.loads(second.stdout)["stages"] == dict.fromkeys(("collect", "prepare", "finetune"), "skipped")


def test_newer_messages_make_the_examples_stale(workspace: Path, clone: Callable[..., Result]) -> None:
    source = workspace / "result.json"
    marked_export(source)
    assert clone("collect", "--from", "result.json").exit_code == 0
    assert clone("prepare").exit_code == 0
    export = json.loads(source.read_text())
    extra = dict(export["chats"]["list"][0]["messages"][-1], id=9999)
    export["chats"]["list"][0]["messages"].append(extra)
    source.write_text(json.dumps(export))
    assert clone("collect", "--from", "result.json").exit_code == 0
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-2:] == [
        "Error: data/processed/default is older than the archive.",
        "Hint: Run clone prepare again, or train on it as it is: clone finetune --stale",
    ]
