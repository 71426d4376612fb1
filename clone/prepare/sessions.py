"""Messages of one chat to sessions and turns.

In come messages of a single chat, oldest first; out come sessions, and the turns of a session. Knows how long a silence
ends a conversation; knows nothing of what the words say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from clone.records import Message, Role, Session, Turn


def cut_sessions(messages: Iterable[Message], gap: timedelta) -> Iterator[Session]:
    """Yield one chat's messages as sessions: runs with no silence longer than `gap`.

    Expects a single chat, oldest first.
    """
    run: list[Message] = []
    for message in messages:
        if run and message.sent_at - run[-1].sent_at > gap:
            yield Session(tuple(run))
            run = []
        run.append(message)
    if run:
        yield Session(tuple(run))


class Standing(IntEnum):
    """What a line may be used for."""

    OWN = 0  # the sender's own words
    SHOWN = 1  # a forward or a placeholder: context, never a target
    SECRET = 2  # holds a secret's tag: the whole turn is no target
    FAILED = 3  # could not be scrubbed and was replaced: neither the turn nor its answer is a target


@dataclass(frozen=True, slots=True)
class Line:
    """One message, cleaned and scrubbed: what becomes a bubble."""

    at: datetime
    is_mine: bool
    text: str  # not empty, no white space around it
    standing: Standing


@dataclass(frozen=True, slots=True)
class Said:
    """A turn with the time of its last message, and why it may not be graded ("" where it may)."""

    turn: Turn
    ended_at: datetime
    barred: str


def merge_turns(lines: Iterable[Line]) -> Iterator[Said]:
    """Yield a session's lines as turns: runs of one speaker, each message kept as a bubble.

    A turn of the person that has own words keeps only those; one that consists of forwards and placeholders keeps them
    and is barred.
    """
    run: list[Line] = []
    for line in lines:
        if run and line.is_mine is not run[-1].is_mine:
            yield _turn(run)
            run = []
        run.append(line)
    if run:
        yield _turn(run)


def _turn(run: list[Line]) -> Said:
    worst = max(line.standing for line in run)
    failed = "scrub failed" if worst is Standing.FAILED else ""
    if not run[0].is_mine:
        return Said(Turn(Role.THEM, tuple(line.text for line in run)), run[-1].at, failed)
    own = [line for line in run if line.standing is not Standing.SHOWN]
    barred = failed or ("secret" if worst is Standing.SECRET else "" if own else "not own words")
    return Said(Turn(Role.ME, tuple(line.text for line in own or run)), run[-1].at, barred)
