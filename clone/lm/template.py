"""How a conversation becomes text for a model, and what of it is learned.

In come turns, out come segments. Knows nothing of token ids or tensors. Training and talking both render here, so
that the prompt of a chat is, to the character, the beginning of what training saw:

    DOC alex END  THEM hi BUBBLE you there? END  ME yes END  ...
                                                    ^^^^^^^ learned

The header names (by pseudonym) whom the person talks to. Of the person's own turns the words, the borders between
bubbles and the end of the turn are learned; everything else is context.

The same page holds the text form that `instruction`, `context` and `response` have in processed data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from clone.records import Role, Segment, Turn

TEMPLATE_VERSION = "clone-chat-1"

ME_TAG = "me"


class Control(StrEnum):
    """The five marks of the template. Each base writes them with tokens of its own (see `clone.lm.tokens`)."""

    DOC = "doc"  # a conversation begins
    THEM = "them"  # a turn of the contact begins
    ME = "me"  # a turn of the person begins
    BUBBLE = "bubble"  # the next message of the same turn
    END = "end"  # a turn, or the header, ends


@dataclass(frozen=True, slots=True)
class LearnedTurn:
    """A turn, and whether it is graded in training."""

    turn: Turn
    is_learned: bool


def _control(mark: Control, is_learned: bool = False) -> Segment:
    return Segment(mark.value, is_learned, is_control=True)


def header_segments(contact: str) -> Iterator[Segment]:
    """Yield the opening of a conversation with `contact` ("" for somebody unknown)."""
    yield _control(Control.DOC)
    if contact:
        yield Segment(contact, is_learned=False, is_control=False)
    yield _control(Control.END)


def turn_segments(turn: Turn, is_learned: bool) -> Iterator[Segment]:
    """Yield one whole turn. The mark that opens it is never learned: who speaks next is given, not guessed."""
    yield _control(Control.ME if turn.role is Role.ME else Control.THEM)
    for i, bubble in enumerate(turn.bubbles):
        if i:
            yield _control(Control.BUBBLE, is_learned)
        yield Segment(bubble, is_learned, is_control=False)
    yield _control(Control.END, is_learned)


def conversation_segments(contact: str, turns: Iterable[LearnedTurn]) -> list[Segment]:
    """Return a conversation as training sees it."""
    out = list(header_segments(contact))
    for item in turns:
        if item.is_learned and item.turn.role is not Role.ME:
            raise AssertionError("only the person's own turns are ever learned")
        out.extend(turn_segments(item.turn, item.is_learned))
    return out


def prompt_segments(contact: str, turns: Iterable[Turn]) -> list[Segment]:
    """Return the prompt that asks for the person's next turn: the conversation so far, and the mark that opens it."""
    out = list(header_segments(contact))
    for turn in turns:
        out.extend(turn_segments(turn, is_learned=False))
    out.append(_control(Control.ME))
    return out


# -- the text form in processed data --------------------------------------------------------------------------------
# One line a bubble. A line break inside a bubble is followed by a tab, so the form reads back without loss:
#   instruction, response   "hi\nyou there?"
#   context                 "alex: hi\nalex: you there?\nme: yes"


def write_bubbles(bubbles: Sequence[str]) -> str:
    """Return one turn's bubbles as text: a line each, inner line breaks continued with a tab."""
    return "\n".join(bubble.replace("\n", "\n\t") for bubble in bubbles)


def read_bubbles(text: str) -> tuple[str, ...]:
    """Return the bubbles of `write_bubbles`; () for ""."""
    if not text:
        return ()
    bubbles: list[str] = []
    for line in text.split("\n"):
        if line.startswith("\t") and bubbles:
            bubbles[-1] += "\n" + line[1:]
        else:
            bubbles.append(line)
    return tuple(bubbles)


def write_context(contact: str, turns: Iterable[Turn]) -> str:
    """Return turns as lines with speaker tags: "me" for the person, the pseudonym for the contact."""
    lines: list[str] = []
    for turn in turns:
        tag = ME_TAG if turn.role is Role.ME else contact
        lines.extend(f"{tag}: " + bubble.replace("\n", "\n\t") for bubble in turn.bubbles)
    return "\n".join(lines)


def read_context(text: str, contact: str) -> list[Turn]:
    """Return the turns of `write_context`. Lines with a tag that is neither "me" nor `contact` raise ValueError."""
    turns: list[Turn] = []
    role: Role | None = None
    for line in text.split("\n") if text else []:
        if line.startswith("\t") and turns:
            last = turns[-1]
            turns[-1] = Turn(last.role, (*last.bubbles[:-1], last.bubbles[-1] + "\n" + line[1:]))
            continue
        if line.startswith(f"{ME_TAG}: "):
            role, bubble = Role.ME, line[len(ME_TAG) + 2 :]
        elif line.startswith(f"{contact}: "):
            role, bubble = Role.THEM, line[len(contact) + 2 :]
        else:
            raise ValueError("a context line carries no known speaker tag")
        if turns and turns[-1].role is role:
            turns[-1] = Turn(role, (*turns[-1].bubbles, bubble))
        else:
            turns.append(Turn(role, (bubble,)))
    return turns
