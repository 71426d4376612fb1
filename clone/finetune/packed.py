"""Attention and loss over packed documents.

A document's tokens see their own document only. On a GPU one kernel does all documents of a row
(`torch.nn.attention.varlen`); elsewhere each document is attended to by itself. The head is computed for graded tokens
alone, in chunks that are computed again in the backward pass, so that logits never stand in memory whole.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clone.finetune.rows import PackedBatch
from clone.lm.model import Block, Heads, Rope, Transformer, attend_within

_DOCUMENTS_STEP = 128  # offsets are padded to a multiple, so that a compiled block meets few shapes


def head_chunk(checkpointing: bool) -> int:
    """Return how many graded tokens' logits stand in memory at once."""
    return 512 if checkpointing else 2048


@dataclass(frozen=True, slots=True)
class Documents:
    """The borders of a row, and how to attend within them."""

    offsets: list[int]
    longest: int  # rounded up to a power of two
    # on a GPU, None elsewhere:
    cumulative: Tensor | None = None  # (padded D + 1,) int32: the offsets
    starts: Tensor | None = None  # (T,) int32: where each token's document begins
    ends: Tensor | None = None  # (T,) int32: and ends

    @classmethod
    def of(cls, batch: PackedBatch) -> Documents:
        lengths = [b - a for a, b in zip(batch.offsets, batch.offsets[1:], strict=False)]
        longest = 1 << (max(lengths) - 1).bit_length()
        if batch.input_ids.device.type != "cuda":
            return cls(batch.offsets, longest)
        n = -(-len(batch.offsets) // _DOCUMENTS_STEP) * _DOCUMENTS_STEP + 1
        padded = batch.offsets + [batch.offsets[-1]] * (n - len(batch.offsets))
        offsets, sizes = torch.tensor(batch.offsets, dtype=torch.int32), torch.tensor(lengths)
        on_device = [
            tensor.pin_memory().to(batch.input_ids.device, non_blocking=True)
            for tensor in (
                torch.tensor(padded, dtype=torch.int32),
                offsets[:-1].repeat_interleave(sizes),
                offsets[1:].repeat_interleave(sizes),
            )
        ]
        return cls(batch.offsets, longest, *on_device)

    def __call__(self, heads: Heads, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend: q (T, n_head, hs), k and v (T, n_query_groups, hs) -> (T, n_head, hs)."""
        if self.cumulative is not None and heads.softcap is None and q.dtype in (torch.bfloat16, torch.float16):
            if (
                self.starts is not None
                and k.shape[1] < q.shape[1]
                and heads.window is None
                and q.shape[2] in (32, 64, 128)
            ):
                from clone.finetune.kernels import packed_attention

                out: Tensor = packed_attention(q, k, v, self.starts, self.ends, heads.scale)[0]
                return out
            return self._varlen(heads, q, k, v)
        return torch.cat(
            [attend_within(heads, q[a:b], k[a:b], v[a:b]) for a, b in zip(self.offsets, self.offsets[1:], strict=False)]
        )

    def _varlen(self, heads: Heads, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        window = (-1, 0) if heads.window is None else (heads.window - 1, 0)
        options: dict[str, object] = {"scale": heads.scale, "window_size": window}
        if k.shape[1] != q.shape[1]:
            if "enable_gqa" in inspect.signature(varlen_attn).parameters:
                options["enable_gqa"] = True
            else:
                share = q.shape[1] // k.shape[1]
                k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        cumulative, longest = self.cumulative, self.longest
        return cast(Tensor, varlen_attn(q, k, v, cumulative, cumulative, longest, longest, **options))  # type: ignore[arg-type]


class PackedModel(nn.Module):
    """A base with its adapter, trained on packed rows: a batch in, the summed loss of its graded tokens out."""

    def __init__(
        self, model: Transformer, *, checkpointing: bool = False, compiles: bool = False, pads: bool = False
    ) -> None:
        """`pads` fills rows up to few sizes for blocks that are compiled elsewhere; `compiles` does both."""
        super().__init__()
        self.pads = pads or compiles
        self.model = model
        self.checkpointing, self.compiles = checkpointing, compiles
        self._rope = Rope(model.shape, device=model.device)
        self._run, self._run_last = _run_block, _run_last_block
        if compiles:
            import torch._dynamo

            torch._dynamo.config.recompile_limit = 64  # a few sizes of row, with and without gradients
            # The matcher would make one product of "product plus product" and pay for a copy of the first.
            self._run = torch.compile(_run_block, dynamic=False, options={"pattern_matcher": False})
            self._run_last = torch.compile(_run_last_block, options={"pattern_matcher": False})
        self._head = torch.compile(_chunk_loss, dynamic=None) if compiles else _chunk_loss

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return the sum of the losses of a row's graded tokens, in nats, fp32."""
        if self.pads:
            batch = batch.padded()
        return self.head_loss(self.hidden(batch), batch.labels[batch.graded])

    def hidden(self, batch: PackedBatch) -> Tensor:
        """Return the hidden states of the graded tokens before the head, (N, C).

        Of the last block only these are computed: nothing attends to the others any more.
        """
        model, documents = self.model, Documents.of(batch)
        ropes = self._rope.at(batch.positions)
        x = model.embed(batch.input_ids)
        for layer, block in enumerate(model.blocks):
            rope = ropes[layer in model.shape.local_rope_layers]
            if layer == model.shape.n_layer - 1:
                x = self._run_last(block, x, rope, documents, batch.graded)
            elif self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._run, block, x, rope, documents, use_reentrant=False)
            else:
                x = self._run(block, x, rope, documents)
        return model.norm(x)

    def head_loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Return the summed cross entropy of hidden states (N, C) against labels (N,), in chunks."""
        total = hidden.new_zeros((), dtype=torch.float32)
        size = head_chunk(self.checkpointing)
        for states, targets in zip(torch.split(hidden, size), torch.split(labels, size), strict=True):
            if torch.is_grad_enabled():
                total = total + checkpoint(self._head, self.model, states, targets, use_reentrant=False)
            else:
                total = total + self._head(self.model, states, targets)
        return total


def _run_block(block: Block, x: Tensor, rope: tuple[Tensor, Tensor], documents: Documents) -> Tensor:
    out: Tensor = block(x, rope, documents)
    return out


def _run_last_block(
    block: Block, x: Tensor, rope: tuple[Tensor, Tensor], documents: Documents, places: Tensor
) -> Tensor:
    out: Tensor = block(x, rope, documents, places)
    return out


def _chunk_loss(model: Transformer, states: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model.logits(states).float(), targets, reduction="sum")
