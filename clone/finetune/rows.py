"""Sequences laid end to end in rows: what goes through the model at once, without padding.

In come sequences, out come batches with the borders between documents. The order is a function of seed and epoch
alone, so that a resumed run meets the same batches. Knows nothing of models.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clone.finetune.documents import Documents
from clone.finetune.sequences import Sequences

# Tokens of a row on a GPU: 66 tiles of 128, so that Falcon-7B's products are whole waves on the 132 multiprocessors of
# an H100 or H200.
GPU_ROW = 8448
_FILLER = 128  # tokens of a document that only fills a row
_LOOK_AHEAD = 64  # sequences that a step is filled up from


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """One row of documents."""

    input_ids: Tensor  # (T,) int64
    labels: Tensor  # (T,) int64: the next token of the same document where it is graded, -100 elsewhere
    positions: Tensor  # (T,) int64, from 0 in each document
    graded: Tensor  # (n_learned,) int64: the places whose label is not -100
    offsets: list[int]  # (D + 1,) where documents begin
    documents: Documents | None = None  # the same for attention, once the row is on its device

    @property
    def n_learned(self) -> int:
        return len(self.graded)

    def padded(self, size: int) -> PackedBatch:
        """Return the batch with documents that nobody grades at its end, `size` tokens in all."""
        n = len(self.input_ids)
        more = size - n
        if not more:
            return self
        offsets = [*self.offsets, *range(n + _FILLER, n + more, _FILLER), n + more]
        ids, positions = (F.pad(tensor, (0, more)) for tensor in (self.input_ids, self.positions))
        return PackedBatch(ids, F.pad(self.labels, (0, more), value=-100), positions, self.graded, offsets)

    def to(self, device: torch.device) -> PackedBatch:
        """Return the batch on a device."""
        if device.type == self.input_ids.device.type:
            return self
        return PackedBatch(
            _move(self.input_ids, device),
            _move(self.labels, device),
            _move(self.positions, device),
            _move(self.graded, device),
            self.offsets,
            self.documents,
        )


def padded_size(n: int) -> int:
    """Return the smallest of 2^k and 3 * 2^k that is at least `n`, from 256 on.

    A compiled block is made anew for every size of row that it meets.
    """
    size = max(256, 1 << (n - 1).bit_length())
    return size * 3 // 4 if n <= size * 3 // 4 and size > 256 else size


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True)


def order_of_epoch(sequences: Sequences, seed: int, epoch: int) -> list[int]:
    """Return the sequences of one epoch in the order in which they are trained on."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(len(sequences), generator=generator).tolist()


def fill_rows(lengths: Sequence[int], which: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Return rows of at most `row_tokens` tokens, as few as will do and about equally long.

    A short row costs nearly what a long one does, and devices that share rows wait for the longest. A sequence that is
    longer than a row gets one of its own.
    """
    longest_first = sorted(which, key=lambda i: -lengths[i])
    alone = [[i] for i in longest_first if lengths[i] >= row_tokens]
    shared = longest_first[len(alone) :]
    n_rows = -(-sum(lengths[i] for i in shared) // row_tokens)
    while True:
        rows: list[list[int]] = [[] for _ in range(n_rows)]
        heap = [(0, k) for k in range(n_rows)]  # (tokens, row)
        for i in shared:
            n, k = heap[0]  # the emptiest
            heapq.heapreplace(heap, (n + lengths[i], k))
            rows[k].append(i)
        if heap and max(heap)[0] > row_tokens:
            _even_out(lengths, rows)
        if all(sum(lengths[i] for i in row) <= row_tokens for row in rows):
            return alone + rows
        n_rows += 1


def _even_out(lengths: Sequence[int], rows: list[list[int]]) -> None:
    """Exchange sequences between the fullest row and the emptiest for as long as that brings them nearer."""
    while len(rows) > 1:
        full, empty = (pick(rows, key=lambda row: sum(lengths[i] for i in row)) for pick in (max, min))
        gap = sum(lengths[i] for i in full) - sum(lengths[i] for i in empty)
        better = [(abs(gap - 2 * (lengths[i] - lengths[k])), i, k) for i in full for k in empty]
        if not better or min(better)[0] >= gap:
            return
        _, i, k = min(better)
        full[full.index(i)], empty[empty.index(k)] = k, i


def plan_epoch(sequences: Sequences, seed: int, epoch: int, row_tokens: int, step_tokens: int) -> list[list[list[int]]]:
    """Return an epoch as steps of rows of sequences.

    Steps are cut first, rows after: which sequences a step learns from does not depend on how long a row is.
    """
    costs = sequences.costs.tolist()
    steps = fill_steps(costs, order_of_epoch(sequences, seed, epoch), step_tokens)
    return [fill_rows(costs, step, row_tokens) for step in steps]


def fill_steps(lengths: Sequence[int], order: Sequence[int], step_tokens: int) -> list[list[int]]:
    """Return the sequences of an order in steps of at most `step_tokens` tokens.

    Where the next one does not fit, a step is filled up with what fits of those that follow soon.
    """
    coming, steps = deque(order), []
    while coming:
        step, n = [first := coming.popleft()], lengths[first]
        passed: list[int] = []
        while coming and len(passed) < _LOOK_AHEAD:
            i = coming.popleft()
            if n + lengths[i] > step_tokens:
                passed.append(i)
                continue
            step.append(i)
            n += lengths[i]
        coming.extendleft(reversed(passed))
        steps.append(step)
    return steps


def lay_row(sequences: Sequences, row: Sequence[int]) -> PackedBatch:
    """Return the sequences of a row as one batch.

    The last token of each is a label only: nothing is predicted from it.
    """
    ids, labels, positions, offsets = [], [], [], [0]
    for i in row:
        a, b = int(sequences.starts[i]), int(sequences.starts[i + 1])
        document = sequences.ids[a:b].long()
        ids.append(document[:-1])
        labels.append(torch.where(sequences.is_learned[a + 1 : b].bool(), document[1:], -100))
        positions.append(torch.arange(b - a - 1))
        offsets.append(offsets[-1] + b - a - 1)
    targets = torch.cat(labels)
    return PackedBatch(torch.cat(ids), targets, torch.cat(positions), (targets != -100).nonzero()[:, 0], offsets)
