"""A suggestion: what the twin would answer in a real conversation, for the person to read, change or throw away.

In come the newest messages of a chat, out comes a text that says who wrote it: it is meant for the person's eyes, and
if they pass it on as it is, its reader knows too. Asked whether it is an AI, it says so. Knows nothing of Telegram.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from clone.chat.disclosure import answer_to, label_for_third_person
from clone.chat.sampling import Sampling
from clone.chat.twin import Answer, Voice, as_turns
from clone.errors import DataError
from clone.records import Message, Role, Turn


def suggest_answer(
    voice: Voice, contact: str, messages: Sequence[Message], sampling: Sampling, *, session_gap: timedelta
) -> str:
    """Return a labelled answer to messages of one chat, oldest first, a bubble a line.

    Only what belongs to the running conversation is read: what came before a silence longer than `session_gap` is not.
    Raises DataError where the person spoke last, or the twin says nothing.
    """
    turns = running_turns(messages, session_gap)
    if not turns or turns[-1].role is Role.ME:
        raise DataError("you spoke last in this chat; there is nothing to answer.", "Wait for what they say.")
    disclosure = answer_to(turns[-1].bubbles)
    if disclosure is not None:
        return disclosure
    *_, answer = voice.answer(contact, turns, sampling)
    assert isinstance(answer, Answer)
    bubbles = answer.replies[0].bubbles
    if not bubbles:
        raise DataError("the twin says nothing to that.", "Run it again: replies are drawn, unless there is a seed.")
    return label_for_third_person("\n".join(bubbles))


def running_turns(messages: Sequence[Message], session_gap: timedelta) -> list[Turn]:
    """Return the turns since the last long silence; messages without words are left out."""
    start = 0
    for i in range(1, len(messages)):
        if messages[i].sent_at - messages[i - 1].sent_at > session_gap:
            start = i
    return as_turns([(Role.ME if m.is_outgoing else Role.THEM, (m.text,)) for m in messages[start:]])
