"""At what pace the person types, learned from the gaps between their own messages.

In comes the archive, out come seconds. A gap between two messages that the person sent in a row is about the time it
took to type the second; its median is robust to the coffee in between.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from clone.archive import Archive
from clone.records import ChatKind, Message

LONGEST_GAP_S = 90  # a longer one is not typing
LONGEST_WAIT_S = 12.0  # nobody wants to wait as long as the person could make them
_ENOUGH = 30
_MANY = 20_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a person takes."""

    chars_per_s: float = 4.0
    think_s: float = 2.0  # before the first bubble
    n_gaps: int = 0  # how many gaps it was learned from; 0 for the pace of people in general

    def seconds_for(self, bubble: str, *, is_first: bool, rng: random.Random) -> float:
        """Return the seconds until a bubble is sent: thinking, then typing, a little different each time."""
        seconds = len(bubble) / self.chars_per_s + (self.think_s if is_first else 0.0)
        return min(LONGEST_WAIT_S, seconds * rng.uniform(0.8, 1.25))


def learn_pace(archive: Archive) -> Pace:
    """Return the pace of the person whose archive it is; the general one where they wrote too little."""
    rates: list[float] = []
    thinks: list[float] = []
    for item in archive.chats():
        if item.chat.kind is not ChatKind.PERSON or not item.n_outgoing:
            continue
        for before, after in pairwise(archive.messages(item.chat)):
            gap = (after.sent_at - before.sent_at).total_seconds()
            if not _is_typed(after) or not 1 <= gap <= LONGEST_GAP_S:
                continue
            if before.is_outgoing and len(after.text) >= 4:
                rates.append(len(after.text) / gap)
            elif not before.is_outgoing:
                thinks.append(gap - len(after.text) / 4.0)
        if len(rates) >= _MANY:
            break
    if len(rates) < _ENOUGH:
        return Pace()
    think_s = median(thinks) if len(thinks) >= _ENOUGH else 2.0
    return Pace(min(20.0, max(0.5, median(rates))), min(8.0, max(0.5, think_s)), len(rates))


def _is_typed(message: Message) -> bool:
    return message.is_outgoing and not message.is_forwarded and bool(message.text)
