"""A conversation in progress, whoever shows it: what was said, what can be taken back, what is kept.

In come bubbles and wishes, out come pieces and lines. The question whether it is an AI never reaches the model. Knows
nothing of terminals or HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from clone.chat.disclosure import answer_to
from clone.chat.engine import with_seed
from clone.chat.sampling import Sampling
from clone.chat.transcripts import Line, Transcripts, turns_of
from clone.chat.twin import Answer, Piece, Reply, Voice
from clone.records import Role


@dataclass
class Session:
    """One conversation. `now` is the clock; `log` is None where nothing is kept."""

    voice: Voice
    contact: str
    sampling: Sampling
    now: Callable[[], datetime]
    log: Transcripts | None = None
    stop: tuple[str, ...] = ()
    lines: list[Line] = field(default_factory=list)
    conversation_id: int | None = None
    answers: list[Answer] = field(default_factory=list)  # of this sitting, for /stats
    n_attempts: int = 0  # at the newest reply
    was_cut_said: bool = False

    def say(self, bubbles: Sequence[str]) -> str | None:
        """Take in what the contact says. Returns the labelled answer where they ask whether this is an AI.

        Where it returns None, `reply` is next.
        """
        bubbles = tuple(text for raw in bubbles if (text := raw.strip()))
        if not bubbles:
            return None
        disclosure = answer_to(bubbles)
        self.lines.append(Line(Role.THEM, bubbles, self.now(), is_aside=disclosure is not None))
        if disclosure is not None:
            self.lines.append(Line(Role.ME, (disclosure,), self.now(), is_aside=True))
        self.n_attempts = 0
        self.keep()
        return disclosure

    def reply(self, *, n: int = 1, cancel: threading.Event | None = None) -> Iterator[Piece | Answer]:
        """Yield the twin's next turn as it comes; the first candidate becomes a line when it is whole."""
        sampling = with_seed(self.sampling, self.n_attempts)
        self.n_attempts += 1
        for part in self.voice.answer(self.contact, turns_of(self.lines), sampling, n=n, stop=self.stop, cancel=cancel):
            if isinstance(part, Answer):
                self.answers.append(part)
                if n == 1:
                    self.take(part.replies[0])
            yield part

    def take(self, reply: Reply) -> None:
        """Make a candidate the twin's line."""
        if reply.bubbles:
            self.lines.append(Line(Role.ME, reply.bubbles, self.now(), is_cut=reply.is_cut))
        self.keep()

    def drop_reply(self) -> bool:
        """Take back what the twin said last. Returns whether there was anything."""
        if self.lines and self.lines[-1].role is Role.ME and not self.lines[-1].is_aside:
            self.lines.pop()
            self.keep()
            return True
        return False

    def undo(self) -> tuple[str, ...] | None:
        """Take back the last exchange, and return what the contact had said; None where there is none."""
        while self.lines and self.lines[-1].role is Role.ME:
            self.lines.pop()
        taken = self.lines.pop().bubbles if self.lines else None
        self.n_attempts = 0
        self.keep()
        return taken

    def rewrite_reply(self, bubbles: Sequence[str]) -> None:
        """Put other words into the twin's last line."""
        if self.lines and self.lines[-1].role is Role.ME:
            self.lines[-1] = replace(self.lines[-1], bubbles=tuple(bubbles), is_cut=False)
            self.keep()

    def last_reply(self) -> Line | None:
        """Return the twin's last line."""
        return next((line for line in reversed(self.lines) if line.role is Role.ME and not line.is_aside), None)

    def is_waiting(self) -> bool:
        """Whether the contact spoke last."""
        turns = turns_of(self.lines)
        return bool(turns) and turns[-1].role is Role.THEM

    def begin_anew(self, contact: str) -> None:
        """Start another conversation, with somebody else or the same."""
        self.contact, self.lines, self.conversation_id = contact, [], None
        self.n_attempts, self.was_cut_said = 0, False

    def keep(self) -> None:
        """Bring the log up to date."""
        if self.log is None:
            return
        if self.conversation_id is None:
            if not self.lines:
                return
            self.conversation_id = self.log.begin(
                run=self.voice.name, base=self.voice.base, contact=self.contact, now=self.now()
            )
        self.log.put(self.conversation_id, self.lines)
