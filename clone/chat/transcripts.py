"""What was said to the twin and by it: an SQLite file that its owner alone can read, and its text forms.

    conversations ── lines      one row a turn, its bubbles as a JSON array

Knows nothing of models or terminals. The clock is the caller's.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clone.chat.disclosure import LABEL
from clone.errors import DataError
from clone.records import Role, Turn
from clone.workspace import PRIVATE_FILE, make_private_folder

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY, started_at INTEGER NOT NULL, run TEXT NOT NULL, base TEXT NOT NULL, contact TEXT NOT NULL);
CREATE TABLE lines (
    conversation_id INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE, n INTEGER NOT NULL, role TEXT NOT NULL,
    bubbles TEXT NOT NULL, said_at INTEGER NOT NULL, is_cut INTEGER NOT NULL, is_aside INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, n)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One turn of a conversation with the twin. Role ME is the twin's."""

    role: Role
    bubbles: tuple[str, ...]
    said_at: datetime
    is_cut: bool = False  # stopped by the reader, or at the longest length
    is_aside: bool = False  # the question whether it is an AI, and the answer: the model never sees them


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as it was kept."""

    conversation_id: int
    started_at: datetime
    run: str
    base: str
    contact: str
    lines: tuple[Line, ...]


class Transcripts:
    """The open file. Every line is on disk before the next one is typed."""

    def __init__(self, path: Path) -> None:
        make_private_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))  # SQLite gives its journal the mode of the file
        path.chmod(PRIVATE_FILE)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        try:
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            self._db.execute("PRAGMA foreign_keys = ON")
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise DataError(
                f"{path.name} holds no conversations of clone, or it is damaged.",
                "Put it aside, or talk with --no-log.",
            ) from error
        if version > _SCHEMA_VERSION:
            self._db.close()
            raise DataError(f"{path.name} was written by a newer clone.", "Upgrade clone, or talk with --no-log.")

    def close(self) -> None:
        self._db.close()

    def begin(self, *, run: str, base: str, contact: str, now: datetime) -> int:
        """Open a conversation and return its number."""
        row = self._db.execute(
            "INSERT INTO conversations (started_at, run, base, contact) VALUES (?, ?, ?, ?)",
            (int(now.timestamp()), run, base, contact),
        )
        assert row.lastrowid is not None
        return row.lastrowid

    def put(self, conversation_id: int, lines: Sequence[Line]) -> None:
        """Make the conversation's lines these: what was undone goes, what is new comes."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM lines WHERE conversation_id = ?", (conversation_id,))
            self._db.executemany(
                "INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        conversation_id,
                        n,
                        line.role.value,
                        json.dumps(line.bubbles, ensure_ascii=False),
                        int(line.said_at.timestamp()),
                        line.is_cut,
                        line.is_aside,
                    )
                    for n, line in enumerate(lines)
                ],
            )
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if "full" in str(error):
                raise DataError("the disk is full: the conversation could not be kept.", "Free some space.") from error
            raise

    def load(self, conversation_id: int | None = None, *, contact: str | None = None) -> Conversation | None:
        """Return a conversation by number, or the newest (with a contact) that has lines; None where there is none."""
        row = self._db.execute(
            """SELECT c.id, c.started_at, c.run, c.base, c.contact FROM conversations c
            WHERE coalesce(c.id = :id, 1) AND coalesce(c.contact = :contact, 1)
            AND EXISTS (SELECT 1 FROM lines WHERE conversation_id = c.id) ORDER BY c.id DESC LIMIT 1""",
            {"id": conversation_id, "contact": contact},
        ).fetchone()
        if row is None:
            return None
        lines = self._db.execute(
            "SELECT role, bubbles, said_at, is_cut, is_aside FROM lines WHERE conversation_id = ? ORDER BY n", (row[0],)
        )
        return Conversation(
            row[0],
            datetime.fromtimestamp(row[1], UTC),
            row[2],
            row[3],
            row[4],
            tuple(
                Line(Role(r[0]), tuple(json.loads(r[1])), datetime.fromtimestamp(r[2], UTC), bool(r[3]), bool(r[4]))
                for r in lines
            ),
        )


def turns_of(lines: Sequence[Line]) -> list[Turn]:
    """Return what the model sees of a conversation: asides left out, neighbours of one speaker made one turn."""
    turns: list[Turn] = []
    for line in lines:
        if line.is_aside or not line.bubbles:
            continue
        if turns and turns[-1].role is line.role:
            turns[-1] = Turn(line.role, turns[-1].bubbles + line.bubbles)
        else:
            turns.append(Turn(line.role, line.bubbles))
    return turns


def write_markdown(lines: Sequence[Line], *, contact: str, run: str) -> str:
    """Return a conversation for people to read, marked as what it is."""
    out = [f"# A conversation as {contact}", ""]
    out += [f"{LABEL} The lines of **twin** were written by a language model ({run}).", ""]
    for line in lines:
        who = "twin" if line.role is Role.ME else contact
        cut = " *(cut)*" if line.is_cut else ""
        out.append(f"**{who}**{cut}, {line.said_at:%Y-%m-%d %H:%M} UTC  ")
        out.extend(bubble.replace("\n", "  \n") + "  " for bubble in line.bubbles)
        out.append("")
    return "\n".join(out)


def write_jsonl(lines: Sequence[Line], *, contact: str, run: str) -> str:
    """Return a conversation as JSON Lines; each line of the twin carries `is_ai`."""
    rows = [
        {
            "speaker": "twin" if line.role is Role.ME else contact,
            "is_ai": line.role is Role.ME,
            "bubbles": line.bubbles,
            "said_at": line.said_at.isoformat(),
            "is_cut": line.is_cut,
            "run": run,
        }
        for line in lines
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
