"""The twin: turns in, bubbles out, piece by piece as they come.

It renders the conversation with the template of training, leaves out the oldest turns where it is too long, and cuts
what the engine says into bubbles. It never speaks for the other: the first mark that is not a border between bubbles
ends its turn. Knows nothing of terminals, HTTP or tensors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from clone.chat.engine import Counts, Engine, Marks
from clone.chat.sampling import Sampling
from clone.errors import ModelError
from clone.lm.template import Control, header_segments, turn_segments
from clone.lm.tokens import StreamDecoder, Tokens
from clone.records import Role, Turn

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that is certain, of one bubble of one candidate."""

    candidate: int
    bubble: int
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One candidate, whole."""

    bubbles: tuple[str, ...]
    finish: Finish
    n_tokens: int

    @property
    def is_cut(self) -> bool:
        """Whether it ends before its own end."""
        return self.finish != "stop"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one prompt."""

    replies: tuple[Reply, ...]
    n_prompt_tokens: int
    n_cached_tokens: int
    n_dropped_turns: int  # oldest turns that the context had no room for
    first_token_s: float
    wall_s: float
    n_cut_tokens: int = 0  # of a last turn that is longer than the context by itself

    @property
    def n_tokens(self) -> int:
        return sum(reply.n_tokens for reply in self.replies)


class Voice(Protocol):
    """Whatever can answer as the person: the engine here, a GGUF file, a server elsewhere."""

    name: str  # of the run, the file or the server
    base: str
    contacts: tuple[str, ...]  # pseudonyms that it was trained with; () where that is not known

    def answer(
        self,
        contact: str,
        turns: Sequence[Turn],
        sampling: Sampling,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        cancel: threading.Event | None = None,
    ) -> Iterator[Piece | Answer]:
        """Yield pieces of the person's next turn as they come, then the answer."""


@dataclass
class Twin:
    """The voice of a finished run, through the engine."""

    engine: Engine
    tokens: Tokens
    name: str
    base: str
    contacts: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())  # what a person should know before talking to it

    @property
    def n_context(self) -> int:
        """Tokens that prompt and reply have together."""
        return self.engine.n_context

    def answer(
        self,
        contact: str,
        turns: Sequence[Turn],
        sampling: Sampling,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        cancel: threading.Event | None = None,
    ) -> Iterator[Piece | Answer]:
        started = time.perf_counter()
        n_room = self.engine.n_context - min(sampling.max_tokens, self.engine.n_context // 4) - 1
        prompt, n_dropped, n_cut = fit_prompt(self.tokens, contact, turns, n_room)
        counts = Counts()
        tracks = [_Track(i, self.tokens, tuple(s for s in stop if s)) for i in range(n)]
        first_token_s = 0.0
        steps = self.engine.generate(prompt, sampling, n=n, counts=counts)
        try:
            for ids in steps:
                first_token_s = first_token_s or time.perf_counter() - started
                for track, token_id in zip(tracks, ids, strict=True):
                    if token_id is not None and track.finish is None:
                        yield from track.push(token_id)
                if cancel is not None and cancel.is_set():
                    break
                if all(track.finish for track in tracks):
                    break
        finally:
            steps.close()  # type: ignore[attr-defined]  # a generator: frees the engine for who waits
        is_cancelled = cancel is not None and cancel.is_set()
        for track in tracks:
            if track.finish is None:
                yield from track.end("cancelled" if is_cancelled else "length")
        replies = tuple(track.reply() for track in tracks)
        wall_s = time.perf_counter() - started
        yield Answer(replies, counts.n_prompt, counts.n_cached, n_dropped, first_token_s, wall_s, n_cut)


def marks_of(tokens: Tokens) -> Marks:
    """Return the ids that the engine treats apart for a tokenizer."""
    marks = tokens.marks
    stops = frozenset(marks[c] for c in (Control.END, Control.THEM, Control.ME, Control.DOC))
    return Marks(
        stops=stops,
        end=marks[Control.END],
        never_first=stops | {marks[Control.BUBBLE]},
        unpenalised=frozenset(marks.values()),
        n_tokens=tokens.n_tokens,
    )


def fit_prompt(tokens: Tokens, contact: str, turns: Sequence[Turn], n_room: int) -> tuple[list[int], int, int]:
    """Return the prompt for the person's next turn in at most `n_room` tokens, and what it leaves out.

    That is so many whole turns, and so many tokens of a turn that is too long by itself.

    The oldest whole turns go, a quarter of the room at a time: until that is used up again the prompts of later turns
    begin alike, and the cache stays good. Of a single turn that is too long the newest tokens stay.
    """
    head = tokens.encode(header_segments(contact)).ids
    opening = [tokens.marks[Control.ME]]
    encoded = [tokens.encode(turn_segments(turn, is_learned=False)).ids for turn in turns]
    n_room -= len(head) + len(opening)
    if n_room < 8:
        raise ModelError("the context of this base is too short to talk in.", "Raise chat.max_context_tokens.")
    excess = sum(map(len, encoded)) - n_room
    n_dropped = 0
    if excess > 0:
        stride = max(1, n_room // 4)
        n_to_go = -(-excess // stride) * stride
        while n_to_go > 0 and n_dropped < len(encoded) - 1:
            n_to_go -= len(encoded[n_dropped])
            n_dropped += 1
    ids = [i for turn in encoded[n_dropped:] for i in turn]
    n_cut = max(0, len(ids) - n_room)
    if n_cut:  # one turn alone: keep the mark that opens it and its end
        ids = ids[:1] + ids[n_cut + 1 :]
    return head + ids + opening, n_dropped, n_cut


def as_turns(lines: Sequence[tuple[Role, Sequence[str]]]) -> list[Turn]:
    """Return lines as turns: neighbours of one speaker become one, empty bubbles go."""
    turns: list[Turn] = []
    for role, texts in lines:
        bubbles = tuple(text for raw in texts if (text := raw.strip()))
        if not bubbles:
            continue
        if turns and turns[-1].role is role:
            turns[-1] = Turn(role, turns[-1].bubbles + bubbles)
        else:
            turns.append(Turn(role, bubbles))
    return turns


# A model may say any byte; escape sequences have no business in a terminal, nor in a bubble.
_UNSHOWABLE = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class _Track:
    """One candidate on its way from ids to bubbles."""

    def __init__(self, index: int, tokens: Tokens, stop: tuple[str, ...]) -> None:
        self._index = index
        self._tokens = tokens
        self._decoder = StreamDecoder(tokens)
        self._bubbles: list[str] = [""]
        self._held = StopStrings(stop)
        self._n_tokens = 0
        self.finish: Finish | None = None

    def push(self, token_id: int) -> Iterator[Piece]:
        self._n_tokens += 1
        control = self._tokens.control(token_id)
        if control is None:
            yield from self._say(self._decoder.push(token_id).translate(_UNSHOWABLE))
        elif control is Control.BUBBLE:
            yield from self._close_bubble()
            if self.finish is None and self._bubbles[-1].strip():
                self._bubbles.append("")
        else:
            yield from self.end("stop")

    def end(self, finish: Finish) -> Iterator[Piece]:
        yield from self._close_bubble()
        self.finish = self.finish or finish

    def _close_bubble(self) -> Iterator[Piece]:
        yield from self._say(self._decoder.flush().translate(_UNSHOWABLE))
        if self.finish is None:
            yield from self._show(self._held.flush())

    def _say(self, text: str) -> Iterator[Piece]:
        if self.finish is not None:
            return
        shown, is_stopped = self._held.push(text)
        yield from self._show(shown)
        if is_stopped:
            self.finish = "stop"

    def _show(self, text: str) -> Iterator[Piece]:
        if not self._bubbles[-1]:
            text = text.lstrip()  # a bubble begins with something to see
        if text:
            self._bubbles[-1] += text
            yield Piece(self._index, len(self._bubbles) - 1, text)

    def reply(self) -> Reply:
        bubbles = tuple(b for bubble in self._bubbles if (b := bubble.rstrip()))
        return Reply(bubbles, self.finish or "length", self._n_tokens)


class StopStrings:
    """Lets text through up to the first stop string, and holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Return the text that may be shown, and whether a stop string was met (it is not shown)."""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            shown, self._held = self._held[: min(found)], ""
            return shown, True
        n_held = max(
            (n for stop in self._stops for n in range(1, len(stop)) if self._held.endswith(stop[:n])), default=0
        )
        shown, self._held = self._held[: len(self._held) - n_held], self._held[len(self._held) - n_held :]
        return shown, False

    def flush(self) -> str:
        """Return what was held back: no stop string came of it."""
        shown, self._held = self._held, ""
        return shown
