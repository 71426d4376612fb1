"""Examples in the forms that other trainers read.

    alpaca     LLaMA-Factory: a JSON list of {system, instruction, input, output, history: [[prompt, answer], ...]}
    sharegpt   Axolotl (chat_template): a line each of {conversations: [{from: system|human|gpt, value, train}]}
    chatml     TRL (SFTTrainer, conversational prompt-completion): {prompt: [{role, content}], completion: [...]}

In come our own files, out go theirs, beside them. In all three only the last turn of the person is graded if the
trainer is told so: `HOW` says how. Knows nothing of training.

Checked against Axolotl's docs/dataset-formats/conversation.qmd and its config reference, LLaMA-Factory's data/README.md
and hparams (mask_history), TRL's "Dataset formats and types" and SFTConfig (completion_only_loss).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clone.errors import DataError
from clone.lm.template import read_context
from clone.records import Role
from clone.workspace import write_atomically

HOW = {
    "alpaca": "LLaMA-Factory: name the file in dataset_info.json with columns prompt, query, response, system and "
    "history, and set mask_history: true.",
    "sharegpt": "Axolotl: type: chat_template, chat_template: tokenizer_default_fallback_chatml, field_messages: "
    "conversations, message_property_mappings: {role: from, content: value}, message_field_training: train, "
    "roles_to_train: [], train_on_eos: turn.",
    "chatml": "TRL: load_dataset('json', data_files=...) and SFTConfig(completion_only_loss=True).",
}
FORMATS = tuple(HOW)


def write_format(folder: Path, form: str) -> list[Path]:
    """Write the train and validation examples of `folder` in another form; return the files.

    Raises DataError where the folder holds no complete examples.
    """
    if not (folder / "manifest.json").exists():
        raise DataError("there are no complete examples to write in another form.", "clone prepare")
    written = []
    for part in ("train", "validation"):
        source = folder / f"{part}.jsonl"
        target = folder / f"{part}.{form}.{'json' if form == 'alpaca' else 'jsonl'}"
        convert = _CONVERT[form]
        with write_atomically(target) as out:
            if form == "alpaca":  # a list: that is what LLaMA-Factory's own examples are
                before = "[\n"
                for example in _read(source):
                    out.write(before + json.dumps(convert(example), ensure_ascii=False))
                    before = ",\n"
                out.write("[]\n" if before == "[\n" else "\n]\n")
            else:
                for example in _read(source):
                    out.write(json.dumps(convert(example), ensure_ascii=False) + "\n")
        written.append(target)
    return written


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def _dialogue(example: Mapping[str, Any]) -> list[tuple[Role, str]]:
    """Return the turns of an example, the reply last; the bubbles of a turn are lines."""
    turns = [(t.role, "\n".join(t.bubbles)) for t in read_context(example["context"], example["contact"])]
    if example["instruction"]:
        turns.append((Role.THEM, _lines(example["instruction"])))
    return [*turns, (Role.ME, _lines(example["response"]))]


def _lines(text: str) -> str:
    return text.replace("\n\t", "\n")


def _system(example: Mapping[str, Any]) -> str:
    return f"You are chatting with {example['contact']}."


def _alpaca(example: Mapping[str, Any]) -> dict[str, Any]:
    *before, (_, reply) = _dialogue(example)
    prompt = before.pop()[1] if before and before[-1][0] is Role.THEM else ""
    if before and before[0][0] is Role.ME:
        before.insert(0, (Role.THEM, ""))
    if len(before) % 2:
        before.append((Role.ME, ""))
    history = [[asked, answered] for (_, asked), (_, answered) in zip(before[::2], before[1::2], strict=True)]
    return {"system": _system(example), "instruction": prompt, "input": "", "output": reply, "history": history}


def _sharegpt(example: Mapping[str, Any]) -> dict[str, Any]:
    turns = _dialogue(example)
    names = {Role.ME: "gpt", Role.THEM: "human"}
    conversation = [
        {"from": names[role], "value": text, "train": i == len(turns) - 1} for i, (role, text) in enumerate(turns)
    ]
    if turns[0][0] is Role.ME:
        conversation.insert(0, {"from": "human", "value": "", "train": False})
    return {"conversations": [{"from": "system", "value": _system(example), "train": False}, *conversation]}


def _chatml(example: Mapping[str, Any]) -> dict[str, Any]:
    names = {Role.ME: "assistant", Role.THEM: "user"}
    messages = [{"role": names[role], "content": text} for role, text in _dialogue(example)]
    return {"prompt": [{"role": "system", "content": _system(example)}, *messages[:-1]], "completion": messages[-1:]}


_CONVERT: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "chatml": _chatml,
}
