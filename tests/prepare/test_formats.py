"""The forms of other trainers, checked against what their documentation asks for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from clone.errors import DataError
from clone.prepare.formats import FORMATS, HOW, write_format
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


# -- as the trainers read the files, after their documentation --------------------------------------------------------

AXOLOTL_KEYS = {  # of a dataset of type chat_template (config reference)
    "type", "chat_template", "field_messages", "message_property_mappings", "message_field_training",
    "message_field_training_detail", "roles_to_train", "train_on_eos", "roles", "drop_system_message",
}  # fmt: skip
AXOLOTL_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def test_axolotl_trains_on_the_reply_alone_with_the_settings_we_name(folder: Path, chats: Chats) -> None:
    settings = yaml.safe_load("{" + HOW["sharegpt"].removeprefix("Axolotl: ").rstrip(".") + "}")
    assert set(settings) <= AXOLOTL_KEYS
    mapping = settings["message_property_mappings"]
    for part, path in zip(("train", "validation"), write_format(folder, "sharegpt"), strict=True):
        trained = []
        for row in lines(path):
            messages = row[settings["field_messages"]]
            assert all(AXOLOTL_ROLES[m[mapping["role"]]] and isinstance(m[mapping["content"]], str) for m in messages)
            picked = [
                m
                for m in messages
                if m.get(settings["message_field_training"], m[mapping["role"]] in settings["roles_to_train"])
            ]
            assert [AXOLOTL_ROLES[m[mapping["role"]]] for m in picked] == ["assistant"]
            trained.append(picked[0][mapping["content"]])
        assert trained == [e["response"].replace("\n\t", "\n") for e in chats.read(part)]


def test_llama_factory_reads_history_then_prompt_then_answer(folder: Path) -> None:
    for path in write_format(folder, "alpaca"):
        for row in json.loads(path.read_text(encoding="utf-8")):
            assert set(row) == {"system", "instruction", "input", "output", "history"}
            assert all(len(pair) == 2 and all(isinstance(p, str) for p in pair) for pair in row["history"])
            assert row["output"]
            assert isinstance(row["instruction"], str)
    for column in ("prompt", "query", "response", "system", "history", "mask_history: true"):
        assert column in HOW["alpaca"]


def test_trl_sees_a_conversational_prompt_completion_row(folder: Path) -> None:
    assert "completion_only_loss=True" in HOW["chatml"]
    for path in write_format(folder, "chatml"):
        for row in lines(path):
            for column in ("prompt", "completion"):  # TRL's is_conversational: a list of dicts with role and content
                first = row[column][0]
                assert {"role", "content"} == set(first)
            assert row["completion"][0]["content"]
