"""Conversations as token ids, made once and mapped from disk after that.

In come conversations, out come sequences: ids with a mask of what is graded. A sequence that is longer than the base
can see is cut between turns, in strides, so that every reply keeps at least half of what fits before it. Nothing is
cut inside a turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from clone.finetune.examples import Conversation, ReadCount, Sample, fold, read_samples, split_newest
from clone.lm.template import TEMPLATE_VERSION, Control, header_segments, turn_segments
from clone.lm.tokens import Tokens
from clone.records import Segment
from clone.workspace import hash_file, write_atomically

_FORMAT = "1"
_AT_ONCE = 256  # conversations that are tokenised together

Part = tuple[Literal["train", "held-out"], float] | None


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token ids of all sequences end to end, with where each begins."""

    ids: Tensor  # (n_tokens,) int32
    is_learned: Tensor  # (n_tokens,) uint8: 1 where the token is graded, given those before it
    starts: Tensor  # (n + 1,) int64
    n_examples: int
    n_folded_away: int  # tokens that training one example at a time would have computed again
    n_too_long: int  # replies longer than the base can see, left out
    n_cut: int  # sequences begun anew because the one before was full
    n_bytes: int  # UTF-8 bytes of the graded text
    n_characters: int  # of all text
    passed_over: dict[str, int]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def n_tokens(self) -> int:
        return len(self.ids)

    @property
    def n_learned(self) -> int:
        return int(self.is_learned.sum())

    def count_learned(self, indices: Iterable[int]) -> int:
        """Return how many tokens of some sequences are graded. Nothing comes before the first of each."""
        starts = self.starts
        return sum(int(self.is_learned[starts[i] + 1 : starts[i + 1]].sum()) for i in indices)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each sequence, (n,) int64."""
        return self.starts.diff()

    @property
    def costs(self) -> Tensor:
        """Tokens of each that go through the model, (n,) int64: nothing is predicted from the last."""
        return self.lengths - 1


@dataclass(frozen=True, slots=True)
class _Piece:
    """A turn as ids."""

    ids: list[int]
    learned: list[bool]
    n_bytes: int

    @property
    def is_learned(self) -> bool:
        return any(self.learned)


def load_sequences(
    path: Path,
    tokens: Tokens,
    tokenizer_path: Path,
    cache: Path,
    max_tokens: int,
    on_progress: Callable[[str, int, int | None], None],
    part: Part = None,
) -> Sequences:
    """Return the sequences of a file of examples, from `cache` if they were made before with the same tokenizer.

    `part` takes one side of a file that holds both: which, and the share of its end that is held out.
    """
    parts = (_FORMAT, TEMPLATE_VERSION, hash_file(path), hash_file(tokenizer_path), str(max_tokens), str(part))
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    kept = cache / f"{path.stem}-{key}.safetensors"
    if kept.exists():
        try:
            return _read(kept)
        except (SafetensorError, KeyError, OSError, ValueError):
            kept.unlink()  # a damaged cache is made anew
    count = ReadCount()
    samples: Iterable[Sample] = read_samples(path, count)
    if part is not None:
        which, share = part
        samples = split_newest(list(samples), share)[which == "held-out"]
    sequences = make_sequences(fold(samples), tokens, max_tokens, count.passed_over, on_progress)
    _write(kept, sequences)
    return _read(kept)


def make_sequences(
    conversations: Iterable[Conversation],
    tokens: Tokens,
    max_tokens: int,
    passed_over: dict[str, int],
    on_progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> Sequences:
    """Return conversations as sequences of at most `max_tokens` ids."""
    ids: list[int] = []
    learned: list[bool] = []
    starts = [0]
    n_examples = n_too_long = n_cut = n_bytes = n_characters = n_unfolded = 0
    for conversation, header, pieces in _encoded(tokens, conversations):
        n_characters += sum(len(bubble) for item in conversation.turns for bubble in item.turn.bubbles)
        held: list[_Piece] = []

        def flush(held: list[_Piece], header: list[int] = header) -> None:
            nonlocal n_bytes, n_examples, n_unfolded
            while held and not held[-1].is_learned:
                held.pop()  # nothing after the last graded turn is of use
            if not held:
                return
            size = len(header)
            ids.extend(header)
            learned.extend([False] * len(header))
            for piece in held:
                ids.extend(piece.ids)
                learned.extend(piece.learned)
                size += len(piece.ids)
                if piece.is_learned:
                    n_bytes += piece.n_bytes
                    n_examples += 1
                    n_unfolded += size
            starts.append(len(ids))

        room = max_tokens - len(header)
        for piece in pieces:
            if len(piece.ids) > room:
                n_too_long += piece.is_learned
                flush(held)
                held = []  # what follows cannot see across the gap
                continue
            if sum(len(p.ids) for p in held) + len(piece.ids) > room:
                flush(list(held))
                n_cut += 1
                while held and sum(len(p.ids) for p in held) + len(piece.ids) > max(room // 2, len(piece.ids)):
                    held.pop(0)
                held = [_Piece(p.ids, [False] * len(p.ids), 0) for p in held]  # graded already, context now
            held.append(piece)
        flush(held)
        on_progress("tokenising", len(starts) - 1, None)
    return Sequences(
        ids=torch.tensor(ids, dtype=torch.int32),
        is_learned=torch.tensor(learned, dtype=torch.uint8),
        starts=torch.tensor(starts, dtype=torch.int64),
        n_examples=n_examples,
        n_folded_away=n_unfolded - len(ids),
        n_too_long=n_too_long,
        n_cut=n_cut,
        n_bytes=n_bytes,
        n_characters=n_characters,
        passed_over=dict(passed_over),
    )


def _encoded(
    tokens: Tokens, conversations: Iterable[Conversation]
) -> Iterator[tuple[Conversation, list[int], list[_Piece]]]:
    """Yield conversations with the ids of their header and of each turn; many are tokenised at once, on all cores."""
    waiting = iter(conversations)
    end = tokens.marks[Control.END]  # what ends the header and every turn, and what no text becomes
    while group := list(islice(waiting, _AT_ONCE)):
        segments: list[Segment] = []
        for conversation in group:
            segments.extend(header_segments(conversation.contact))
            for item in conversation.turns:
                segments.extend(turn_segments(item.turn, item.is_learned))
        encoded = tokens.encode(segments)
        ends = (i + 1 for i, token in enumerate(encoded.ids) if token == end)
        start = 0
        for conversation in group:
            stop = next(ends)
            header, start = encoded.ids[start:stop], stop
            pieces: list[_Piece] = []
            for item in conversation.turns:
                stop = next(ends)
                n_bytes = sum(len(bubble.encode()) for bubble in item.turn.bubbles)
                pieces.append(_Piece(encoded.ids[start:stop], encoded.is_learned[start:stop], n_bytes))
                start = stop
            yield conversation, header, pieces


_COUNTS = ("n_examples", "n_folded_away", "n_too_long", "n_cut", "n_bytes", "n_characters")


def _write(path: Path, sequences: Sequences) -> None:
    tensors = {"ids": sequences.ids, "is_learned": sequences.is_learned, "starts": sequences.starts}
    meta = {name: str(getattr(sequences, name)) for name in _COUNTS}
    meta |= {f"passed_over.{why}": str(n) for why, n in sequences.passed_over.items()}
    with write_atomically(path, binary=True) as stream:
        stream.write(save(tensors, meta))


def _read(path: Path) -> Sequences:
    with safe_open(str(path), framework="pt") as file:
        meta = file.metadata()
        tensors = {name: file.get_tensor(name) for name in ("ids", "is_learned", "starts")}
    passed_over = {k.removeprefix("passed_over."): int(n) for k, n in meta.items() if k.startswith("passed_over.")}
    counts = {name: int(meta[name]) for name in _COUNTS}
    return Sequences(
        ids=tensors["ids"],
        is_learned=tensors["is_learned"],
        starts=tensors["starts"],
        passed_over=passed_over,
        **counts,
    )
