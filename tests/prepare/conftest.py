"""An archive of invented chats, and a scrubber simple enough to see through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from clone.archive import Archive
from clone.prepare.pii import FAILED_TEXT, Entity, Finding, LiteralIndex, Scrubbed
from clone.prepare.stage import PrepareReport, prepare
from clone.recipe import PrepareRecipe
from clone.records import Account, Chat, ChatKind, Kind, Message
from clone.workspace import Workspace

START = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
SOURCE, ME = "telegram", "me-1"


class SeeThrough:
    """Masks the word "hunter2", fails on "undecodable", and leaves everything else."""

    def scrub_chat(self, texts: Sequence[str]) -> list[Scrubbed]:
        return [self._scrub(text) for text in texts]

    def second_pass(self, texts: Sequence[str], scrubbed: Sequence[Scrubbed], index: LiteralIndex) -> list[Scrubbed]:
        return list(scrubbed)

    def _scrub(self, text: str) -> Scrubbed:
        if "undecodable" in text:
            return Scrubbed(FAILED_TEXT, failed=True)
        findings = tuple(
            Finding(m.start(), m.end(), Entity.PASSWORD, 1.0, "test") for m in re.finditer("hunter2", text)
        )
        return Scrubbed(text.replace("hunter2", "[PASSWORD]"), findings)


def message(text: str, *, mine: bool = False, at: datetime = START, **other: Any) -> Message:
    """A message of a chat with Ann."""
    plain = Message(SOURCE, ME, "ann", 1, ME if mine else "ann", at, text, Kind.TEXT, None, None, False, mine)
    return replace(plain, **other)


class Chats:
    """Writes chats into the archive of a workspace, a line at a time."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace.here(root)
        self._n: dict[str, int] = {}
        with self._open() as archive, archive.transaction():
            archive.put_account(Account(SOURCE, ME, name="Sam Doe"))

    def _open(self) -> Archive:
        return Archive.create(self.workspace.archive)

    def add(self, chat_id: str, messages: Sequence[Message], kind: ChatKind = ChatKind.PERSON, title: str = "") -> None:
        chat = Chat(SOURCE, ME, chat_id, kind, title or chat_id.title())
        n = self._n.get(chat_id, 0)
        placed = [replace(m, chat_id=chat_id, message_id=n + i + 1) for i, m in enumerate(messages)]
        placed = [m if m.is_outgoing else replace(m, sender_id=chat_id) for m in placed]
        self._n[chat_id] = n + len(placed)
        with self._open() as archive, archive.transaction():
            archive.put_chat(chat)
            archive.put_messages(chat, [(m, None) for m in placed])

    def say(self, chat_id: str, lines: str, *, start: datetime = START, step: timedelta = timedelta(minutes=1)) -> None:
        """Add lines as "> mine" and "< theirs"."""
        rows = [line.strip() for line in lines.strip().splitlines()]
        self.add(chat_id, [message(r[2:], mine=r[0] == ">", at=start + i * step) for i, r in enumerate(rows)])

    def prepare(
        self, name: str = "default", n_workers: int = 1, scrubber: Any = SeeThrough, **settings: Any
    ) -> PrepareReport:
        return prepare(
            PrepareRecipe(**settings),
            self.workspace,
            name=name,
            base="tiny/bytes",
            n_workers=n_workers,
            build_scrubber=scrubber,
        )

    def read(self, file: str = "", name: str = "default") -> list[dict[str, Any]]:
        """The examples of one file, or of both."""
        folder = self.workspace.processed(name)
        return [
            json.loads(line)
            for part in ([file] if file else ["train", "validation"])
            for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        ]


@pytest.fixture
def chats(workspace: Path, byte_base: Path) -> Chats:
    """A workspace whose archive is empty and whose base counts bytes."""
    return Chats(workspace)


@pytest.fixture
def byte_base(workspace: Path) -> Path:
    """A base on disk, `tiny/bytes`: one token a byte."""
    folder = workspace / "checkpoints" / "base" / "tiny" / "bytes"
    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def steps() -> Callable[[PrepareReport, str], dict[str, int]]:
    """Why a step left things out."""
    return lambda report, step: dict(next(s.why for s in report.steps if s.step == step))
