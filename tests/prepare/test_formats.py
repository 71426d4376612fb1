"""The forms of other trainers, checked against what their documentation asks for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from clone.errors import DataError
from clone.prepare.formats import FORMATS, write_format
from tests.prepare.conftest import START, Chats

LINES = "< hi\n< you there?\n> yes\n< good\n> what's up\n> tell me"


@pytest.fixture
def folder(chats: Chats) -> Path:
    chats.say("ann", LINES)
    chats.say("ann", "> an opener\n< oh\n> well", start=START + timedelta(days=9))
    chats.prepare(validation_share=0.4)
    return chats.workspace.processed("default")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_alpaca_is_a_list_with_history_in_pairs(folder: Path, chats: Chats) -> None:
    train, validation = write_format(folder, "alpaca")
    name = chats.read()[0]["contact"]
    assert json.loads(train.read_text(encoding="utf-8")) == [
        {
            "system": f"You are chatting with {name}.",
            "instruction": "hi\nyou there?",
            "input": "",
            "output": "yes",
            "history": [],
        },
        {
            "system": f"You are chatting with {name}.",
            "instruction": "good",
            "input": "",
            "output": "what's up\ntell me",
            "history": [["hi\nyou there?", "yes"]],
        },
    ]
    opener, answer = json.loads(validation.read_text(encoding="utf-8"))
    assert (opener["instruction"], opener["output"], opener["history"]) == ("", "an opener", [])
    assert (answer["instruction"], answer["history"]) == ("oh", [["", "an opener"]])


def test_sharegpt_alternates_and_trains_on_the_last_turn_alone(folder: Path) -> None:
    for path in write_format(folder, "sharegpt"):
        for row in lines(path):
            system, *turns = row["conversations"]
            assert system["from"] == "system"
            assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
            assert [turn["train"] for turn in turns] == [False] * (len(turns) - 1) + [True]
            assert all(set(turn) == {"from", "value", "train"} for turn in (system, *turns))


def test_chatml_is_a_conversational_prompt_with_its_completion(folder: Path) -> None:
    for path in write_format(folder, "chatml"):
        for row in lines(path):
            assert set(row) == {"prompt", "completion"}
            assert all(set(m) == {"role", "content"} for m in (*row["prompt"], *row["completion"]))
            assert [m["role"] for m in row["completion"]] == ["assistant"]
            roles = [m["role"] for m in row["prompt"]]
            assert roles[0] == "system"
            assert set(roles[1:]) <= {"user", "assistant"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_holds_every_reply_and_is_private(folder: Path, chats: Chats, form: str) -> None:
    for part, path in zip(("train", "validation"), write_format(folder, form), strict=True):
        text = path.read_text(encoding="utf-8")
        for example in chats.read(part):
            assert json.dumps(example["response"], ensure_ascii=False) in text
        assert path.stat().st_mode & 0o777 == 0o600


def test_without_examples_there_is_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no complete examples"):
        write_format(tmp_path, "alpaca")
