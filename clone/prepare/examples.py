"""Turns of one session to examples: what is answered, what came before, what the person said.

In come turns with their lengths in tokens; out come examples. Knows how a context is cut; knows nothing of files,
personal data or what stands in the words.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from clone.lm.template import write_bubbles, write_context
from clone.prepare.sessions import Said
from clone.records import Example, Role, Turn


@dataclass(frozen=True, slots=True)
class _Before:
    """A turn that later turns see, written once."""

    turn: Turn
    barred: str
    length: int
    lines: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A turn and how many tokens each of its bubbles takes."""

    said: Said
    n_tokens: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens of the rendered turn: a mark before each bubble and one at the end."""
        return sum(self.n_tokens) + len(self.n_tokens) + 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large an example is, in tokens of the base; the marks of the template are counted."""

    n_context_tokens: int  # header, context and instruction
    n_reply_tokens: int
    n_bubbles: int


def build_examples(
    turns: Iterable[Measured],
    *,
    session_id: str,
    contact: str,
    n_header: int,
    max_context_tokens: int,
    dropped: Counter[str],
) -> Iterator[tuple[Example, Sizes]]:
    """Yield an example for each turn of the person that may be graded, with its sizes.

    A context that has outgrown `max_context_tokens` loses its oldest whole turns until at most half is left, so that
    the contexts of a session go on nesting. `n_header` is the length of the template's header. Why a turn of the person
    made no example is counted in `dropped`.
    """
    before: list[_Before] = []
    n_before = n_header
    for whole in turns:
        item, was_cut = cut_turn(whole, max_context_tokens - n_header)
        turn = item.said.turn
        if turn.role is Role.ME:
            asked = before[-1].barred if before and before[-1].turn.role is Role.THEM else ""
            barred = item.said.barred or asked or ("longer than the context" if was_cut else "")
            if barred:
                dropped[barred] += 1
            else:
                example = _example(before, turn, item.said.ended_at, session_id, contact)
                yield example, Sizes(n_before, item.length, len(turn.bubbles))
        before.append(_Before(turn, item.said.barred, item.length, write_context(contact, [turn])))
        n_before += item.length
        if n_before > max_context_tokens:
            while len(before) > 1 and n_before > max_context_tokens // 2:
                n_before -= before.pop(0).length


def cut_turn(item: Measured, max_tokens: int) -> tuple[Measured, bool]:
    """Return the turn with only its newest bubbles that fit into `max_tokens`, at least one, and whether any went."""
    if item.length <= max_tokens:
        return item, False
    room, keep = max_tokens - 1, 0
    for n in reversed(item.n_tokens):
        room -= n + 1
        if room < 0:
            break
        keep += 1
    keep = max(keep, 1)
    turn = item.said.turn
    kept = Turn(turn.role, turn.bubbles[-keep:])
    return Measured(Said(kept, item.said.ended_at, item.said.barred), item.n_tokens[-keep:]), True


def _example(before: Sequence[_Before], reply: Turn, ended_at: datetime, session_id: str, contact: str) -> Example:
    instruction = ""
    if before and before[-1].turn.role is Role.THEM:
        instruction = write_bubbles(before[-1].turn.bubbles)
        before = before[:-1]
    context = "\n".join([item.lines for item in before])
    response = write_bubbles(reply.bubbles)
    content = "\0".join((session_id, contact, ended_at.isoformat(), instruction, context, response))
    example_id = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    return Example(example_id, session_id, contact, instruction, context, response, ended_at)
