"""Why the twin says what it says: the nearest things that the person really wrote, with their dates.

An index in memory (SQLite's FTS5, ranked by BM25) over the examples that the twin was trained on. Not what the model
computed, which nobody can read off, but where such words come from. Knows nothing of models.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clone.lm.template import read_bubbles

_MAX_WORDS = 40


@dataclass(frozen=True, slots=True)
class Memory:
    """Something that the person wrote."""

    bubbles: tuple[str, ...]
    to: tuple[str, ...]  # what it answered, () where it opened the conversation
    contact: str
    ended_at: datetime


class Recall:
    """The index of one recipe's examples."""

    def __init__(self, folder: Path) -> None:
        """Read `train.jsonl` of processed data; a folder without it makes an empty index."""
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute(
            """CREATE VIRTUAL TABLE said USING fts5(
            response, instruction, contact UNINDEXED, ended_at UNINDEXED, tokenize = "unicode61 remove_diacritics 2")"""
        )
        path = folder / "train.jsonl"
        if path.exists():
            with path.open(encoding="utf-8") as stream:
                rows = map(json.loads, stream)
                self._db.executemany(
                    "INSERT INTO said VALUES (?, ?, ?, ?)",
                    ((r["response"], r["instruction"], r["contact"], r["ended_at"]) for r in rows),
                )

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM said").fetchone()[0])

    def nearest(self, reply: Sequence[str], asked: Sequence[str] = (), *, n: int = 3) -> list[Memory]:
        """Return the `n` examples nearest to a reply and to what it answers; the reply counts four times as much."""
        words = _words([*reply, *asked])
        if not words:
            return []
        query = " OR ".join(
            part
            for name, texts in (("response", reply), ("instruction", asked))
            if (found := _words(texts))
            for part in (f"{name} : ({' OR '.join(found)})",)
        )
        rows = self._db.execute(
            """SELECT response, instruction, contact, ended_at FROM said WHERE said MATCH ?
            ORDER BY bm25(said, 4.0, 1.0) LIMIT ?""",
            (query, n),
        )
        return [Memory(read_bubbles(r[0]), read_bubbles(r[1]), r[2], datetime.fromisoformat(r[3])) for r in rows]


def _words(texts: Sequence[str]) -> list[str]:
    words = dict.fromkeys(re.findall(r"\w+", " ".join(texts).casefold()))
    return [f'"{word}"' for word in words][:_MAX_WORDS]
