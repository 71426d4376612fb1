"""What a change of the weights costs: the loss on held-out replies, in nats per graded token.

In come a model and the examples that training kept aside, out comes a number. Knows nothing of files' places.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from clone.lm.model import Transformer, attend_within
from clone.lm.template import LearnedTurn, conversation_segments, read_bubbles, read_context
from clone.lm.tokens import Encoded, Tokens
from clone.records import Role, Turn


def read_held_out(path: Path, tokens: Tokens, n_context: int, *, most: int) -> list[Encoded]:
    """Return at most `most` held-out examples as training graded them: the reply is learned, the rest is context."""
    found: list[Encoded] = []
    if not path.exists():
        return found
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            contact = row["contact"]
            turns = [LearnedTurn(turn, False) for turn in read_context(row["context"], contact)]
            if row["instruction"]:
                turns.append(LearnedTurn(Turn(Role.THEM, read_bubbles(row["instruction"])), False))
            turns.append(LearnedTurn(Turn(Role.ME, read_bubbles(row["response"])), True))
            encoded = tokens.encode(conversation_segments(contact, turns))
            if len(encoded.ids) <= n_context and any(encoded.is_learned):
                found.append(encoded)
            if len(found) == most:
                break
    return found


def held_out_loss(model: Transformer, examples: Sequence[Encoded]) -> float:
    """Return the loss per graded token over the examples."""
    total, n = 0.0, 0
    with torch.inference_mode():
        for example in examples:
            ids = torch.tensor(example.ids, device=model.device)
            is_learned = torch.tensor(example.is_learned, device=model.device)[1:]
            hidden = model.hidden(ids[:-1], torch.arange(len(ids) - 1, device=model.device), attend_within)
            logits = model.logits(hidden[is_learned]).float()
            total += float(F.cross_entropy(logits, ids[1:][is_learned], reduction="sum"))
            n += int(is_learned.sum())
    return total / max(1, n)
