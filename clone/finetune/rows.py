"""Sequences laid end to end in rows: what goes through the model at once, without padding.

In come sequences, out come batches with the borders between documents. The order is a function of seed and epoch
alone, so that a resumed run meets the same batches. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clone.finetune.sequences import Sequences

_FILLER = 128  # tokens of a document that only fills a row


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """One row of documents."""

    input_ids: Tensor  # (T,) int64
    labels: Tensor  # (T,) int64: the next token of the same document where it is graded, -100 elsewhere
    positions: Tensor  # (T,) int64, from 0 in each document
    graded: Tensor  # (n_learned,) int64: the places whose label is not -100
    offsets: list[int]  # (D + 1,) where documents begin

    @property
    def n_learned(self) -> int:
        return len(self.graded)

    def padded(self) -> PackedBatch:
        """Return the batch with documents that nobody grades at its end, up to one of few sizes.

        A compiled block is made anew for every size of row that it meets.
        """
        n = len(self.input_ids)
        more = padded_size(n) - n
        if not more:
            return self
        offsets = [*self.offsets, *range(n + _FILLER, n + more, _FILLER), n + more]
        ids, positions = (F.pad(tensor, (0, more)) for tensor in (self.input_ids, self.positions))
        return PackedBatch(ids, F.pad(self.labels, (0, more), value=-100), positions, self.graded, offsets)

    def to(self, device: torch.device) -> PackedBatch:
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        return PackedBatch(
            _move(self.input_ids, device),
            _move(self.labels, device),
            _move(self.positions, device),
            _move(self.graded, device),
            self.offsets,
        )


def padded_size(n: int) -> int:
    """Return the smallest of 2^k and 3 * 2^k that is at least `n`, from 256 on."""
    size = max(256, 1 << (n - 1).bit_length())
    return size * 3 // 4 if n <= size * 3 // 4 and size > 256 else size


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True)


def order_of_epoch(sequences: Sequences, seed: int, epoch: int) -> list[int]:
    """Return the sequences of one epoch in the order in which they are trained on."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(len(sequences), generator=generator).tolist()


def fill_rows(lengths: Sequence[int], order: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Return rows of at most `row_tokens` tokens: each sequence goes into the first open row that has room.

    A sequence that is longer than a row gets one of its own.
    """
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (index, room), the newest few
    for i in order:
        n = lengths[i]
        for k, (row, room) in enumerate(open_rows):
            if n <= room:
                rows[row].append(i)
                open_rows[k] = (row, room - n)
                break
        else:
            rows.append([i])
            open_rows.append((len(rows) - 1, row_tokens - n))
            open_rows = [item for item in open_rows if item[1] >= 8][-16:]
    return rows


def plan_epoch(sequences: Sequences, seed: int, epoch: int, row_tokens: int, step_tokens: int) -> list[list[list[int]]]:
    """Return an epoch as steps of rows of sequences.

    Steps are cut first, rows after: which sequences a step learns from does not depend on how long a row is.
    """
    lengths = sequences.lengths.tolist()
    steps: list[list[int]] = [[]]
    n = 0
    for i in order_of_epoch(sequences, seed, epoch):
        if steps[-1] and n + lengths[i] > step_tokens:
            steps.append([])
            n = 0
        steps[-1].append(i)
        n += lengths[i]
    # The longest first, so that the short ones fill what the long ones leave.
    return [fill_rows(lengths, sorted(step, key=lambda i: -lengths[i]), row_tokens) for step in steps]


def lay_row(sequences: Sequences, row: Sequence[int]) -> PackedBatch:
    """Return the sequences of a row as one batch."""
    ids, labels, positions, offsets = [], [], [], [0]
    for i in row:
        a, b = int(sequences.starts[i]), int(sequences.starts[i + 1])
        document = sequences.ids[a:b].long()
        following = torch.full((b - a,), -100)
        following[:-1] = torch.where(sequences.is_learned[a + 1 : b].bool(), document[1:], -100)
        ids.append(document)
        labels.append(following)
        positions.append(torch.arange(b - a))
        offsets.append(offsets[-1] + b - a)
    targets = torch.cat(labels)
    return PackedBatch(torch.cat(ids), targets, torch.cat(positions), (targets != -100).nonzero()[:, 0], offsets)
