"""Prepared examples, read and folded into the conversations that are trained on.

In come the files that prepare left, or a stranger's instruction data; out come conversations in which every turn of
the person that is learned is marked. Knows nothing of token ids.

The examples of one session repeat each other: each holds the turns before it. Where one's conversation begins the
next one's, both fold into one, and each token of the session is computed once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clone.errors import DataError, StageMissing, StaleData
from clone.lm.template import LearnedTurn, read_bubbles, read_context
from clone.records import Role, Turn
from clone.workspace import Workspace, hash_file

MANIFEST = "manifest.json"
DATA_SCHEMA = 1
MAX_BAD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder of prepared data that may be trained on."""

    folder: Path
    sha256: str  # of the manifest, which holds those of the files
    manifest: dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """Turns with one contact, and which of them are learned."""

    contact: str
    turns: list[LearnedTurn]
    n_examples: int = 1

    def extends(self, contact: str, before: list[Turn]) -> bool:
        """Whether `before` begins with this whole conversation."""
        n = len(self.turns)
        return (
            contact == self.contact
            and len(before) >= n
            and all(item.turn == turn for item, turn in zip(self.turns, before, strict=False))
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One example, parsed: the turns before and the reply."""

    session_id: str
    contact: str
    before: tuple[Turn, ...]
    reply: Turn


@dataclass(slots=True)
class ReadCount:
    """What reading a file kept, and what it passed over by reason."""

    n_read: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)

    def pass_over(self, reason: str) -> None:
        self.passed_over[reason] = self.passed_over.get(reason, 0) + 1


def check_prepared(
    workspace: Workspace, recipe_name: str, archive_revision: str | None, *, allow_stale: bool = False
) -> Prepared:
    """Return the prepared data of a recipe.

    Raises StageMissing where there is none, DataError where it was not scrubbed, was changed since, or was written by a
    newer clone, and StaleData where the archive has moved on (`archive_revision` is None where there is no archive).
    """
    folder = workspace.processed(recipe_name)
    path = folder / MANIFEST
    where = workspace.show(folder)
    if not path.exists():
        others = [other.name for other in workspace.all_processed()]
        if others:
            raise StageMissing(
                f"no examples for the recipe '{recipe_name}'; there are some for {', '.join(others)}.",
                "Run clone prepare, or give the recipe by its file.",
            )
        raise StageMissing(f"no examples in {where}.", "Run clone prepare first.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        schema = int(manifest["schema"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{where}/{MANIFEST} is damaged.", "Run clone prepare again.") from None
    if schema > DATA_SCHEMA:
        raise DataError(
            f"{where} was written by clone {manifest.get('clone_version', '?')}, newer than this one.", "Upgrade clone."
        )
    if not manifest.get("scrub"):
        raise DataError(
            f"{where} does not say that personal data was taken out.",
            "Run clone prepare again; it scrubs what it writes.",
        )
    for name, sha256 in files.items():
        if not (folder / name).exists():
            raise DataError(f"{where}/{name} is missing.", "Run clone prepare again.")
        if hash_file(folder / name) != sha256:
            raise DataError(f"{where}/{name} was changed after it was scrubbed.", "Run clone prepare again.")
    if archive_revision is not None and manifest.get("archive_revision") != archive_revision and not allow_stale:
        raise StaleData(
            f"{where} is older than the archive.",
            "Run clone prepare again, or train on it as it is: clone finetune --stale",
        )
    return Prepared(folder, hash_file(path), manifest)


def check_foreign(path: Path) -> Prepared:
    """Return a file of examples that prepare did not make. Its text is trained on as it stands."""
    if not path.is_file():
        raise DataError(f"no file at {path}.", "Give a JSON or JSON Lines file of instruction and response.")
    return Prepared(path.parent, hash_file(path), {})


def read_samples(path: Path, count: ReadCount) -> Iterator[Sample]:
    """Yield the examples of a JSON Lines file or a JSON list.

    Prepared examples, Dolly's instruction/context/response and Alpaca's instruction/input/output are read. Bad records
    are counted and passed over; more than 1 % of them raise DataError.
    """
    for number, record in _records(path, count):
        reason = ""
        sample: Sample | None = None
        if not isinstance(record, dict):
            reason = "not an object"
        else:
            try:
                sample = _sample(record, number)
            except (KeyError, TypeError, ValueError):
                reason = "without instruction and response as text"
            else:
                if sample is None:
                    reason = "an empty response"
        if sample is None:
            count.pass_over(reason)
            continue
        count.n_read += 1
        yield sample
    n_bad = sum(n for why, n in count.passed_over.items() if why != "an empty response")
    if n_bad > MAX_BAD_SHARE * (n_bad + count.n_read):
        reasons = ", ".join(f"{n} {why}" for why, n in count.passed_over.items())
        raise DataError(
            f"{path.name}: {n_bad} of {n_bad + count.n_read} records cannot be read ({reasons}).",
            "Each should be an object with instruction, context and response (or instruction, input and output).",
        )


def _records(path: Path, count: ReadCount) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8") as stream:
            start = stream.read(1)
            while start.isspace():
                start = stream.read(1)
            stream.seek(0)
            if start == "[":
                yield from enumerate(json.load(stream))
                return
            for number, line in enumerate(stream):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except ValueError:
                    count.pass_over("not JSON")
    except FileNotFoundError:
        raise DataError(f"no file at {path}.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is neither JSON nor JSON Lines in UTF-8.") from error


def _sample(record: dict[str, Any], number: int) -> Sample | None:
    instruction = _text(record["instruction"])
    if "session_id" in record:
        contact = _text(record.get("contact", ""))
        before = read_context(_text(record["context"]), contact)
        if bubbles := read_bubbles(instruction):
            before.append(Turn(Role.THEM, bubbles))
        reply = read_bubbles(_text(record["response"]))
        return Sample(_text(record["session_id"]), contact, tuple(before), Turn(Role.ME, reply)) if reply else None
    context = _text(record.get("context", record.get("input", "")) or "")
    response = _text(record["response"] if "response" in record else record["output"])
    asked = tuple(text for text in (context, instruction) if text)
    before = [Turn(Role.THEM, asked)] if asked else []
    return Sample(f"record {number}", "", tuple(before), Turn(Role.ME, (response,))) if response.strip() else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def split_newest(samples: list[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Return samples to train on and, of the end, at least one and about `share` to hold out; no session is split."""
    cut = max(0, min(len(samples) - 1, round(len(samples) * (1 - share))))
    while cut > 0 and samples[cut].session_id == samples[cut - 1].session_id:
        cut -= 1
    return samples[:cut], samples[cut:]


def fold(samples: Iterable[Sample]) -> Iterator[Conversation]:
    """Yield conversations in which the examples of a session are folded together as far as they nest.

    Expects the examples of one session to stand together, in order. Every reply is learned exactly once, and sees the
    same tokens before it as it would alone.
    """
    session: str | None = None
    held: Conversation | None = None
    for sample in samples:
        before = list(sample.before)
        if held is not None and session == sample.session_id and held.extends(sample.contact, before):
            held.turns += [LearnedTurn(turn, is_learned=False) for turn in before[len(held.turns) :]]
            held.turns.append(LearnedTurn(sample.reply, is_learned=True))
            held.n_examples += 1
            continue
        if held is not None:
            yield held
        session = sample.session_id
        held = Conversation(
            sample.contact,
            [*(LearnedTurn(turn, is_learned=False) for turn in before), LearnedTurn(sample.reply, is_learned=True)],
        )
    if held is not None:
        yield held
