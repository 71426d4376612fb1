"""A base with its adapter on packed rows: hidden states and loss.

The head is computed for graded tokens alone, in chunks, so that logits never stand in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clone.finetune.documents import Documents
from clone.finetune.frozen import Courier, move, quantise
from clone.finetune.parallel import ParallelBlock, Row, is_parallel_block
from clone.finetune.rows import PackedBatch, padded_size
from clone.finetune.wide import steps_for
from clone.lm.model import Block, Rope, Transformer
from clone.lm.shape import Shape

_TENSOR_CORE = 16  # rows that the tensor cores take together
_WARM_TOKENS = 256

# Blocks placed, of how many, and the last of them where it is hand-written.
OnBlock = Callable[[int, int, ParallelBlock | None], None]


def head_chunk(checkpointing: bool) -> int:
    """Return how many graded tokens' logits stand in memory at once."""
    return 512 if checkpointing else 2048


class PackedModel(nn.Module):
    """A base with its adapter, trained on packed rows: a batch in, the summed loss of its graded tokens out.

    Blocks of Falcon's kind run by hand-written steps on a GPU (`fuses`, which may be asked for elsewhere too); others
    as they are, compiled if `compiles`.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        frozen: str = "same",
        checkpointing: bool = False,
        compiles: bool = False,
        pads: bool = False,
        fuses: bool | None = None,
        on_block: OnBlock = lambda done, total, block: None,
    ) -> None:
        """Move `model` to `device` (None: it stays) block by block, its frozen weights kept as `frozen` says.

        `pads` fills rows up to few sizes for blocks that are compiled elsewhere; `compiles` does both.
        """
        super().__init__()
        self.model = model
        if fuses is None:
            fuses = (device or model.device).type == "cuda" and is_fusable(model)
        self.fused = place(model, device, dtype, frozen, fuses, on_block)
        self.checkpointing, self.compiles = checkpointing, compiles and not fuses
        self.pads = pads or self.compiles
        self._rope = Rope(model.shape, device=model.device)
        self._run, self._run_last = _run_block, _run_last_block
        if self.compiles:
            import torch._dynamo

            torch._dynamo.config.recompile_limit = 64  # a few sizes of row, with and without gradients
            # The matcher would make one product of "product plus product" and pay for a copy of the first.
            self._run = torch.compile(_run_block, dynamic=False, options={"pattern_matcher": False})
            self._run_last = torch.compile(_run_last_block, options={"pattern_matcher": False})
        self._head = torch.compile(_chunk_loss, dynamic=None) if self.compiles else _chunk_loss

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return the sum of the losses of a row's graded tokens, in nats, fp32."""
        batch = self.ready(batch)
        return self.head_loss(self.hidden(batch), batch.labels[batch.graded])

    def ready(self, batch: PackedBatch) -> PackedBatch:
        """Return a batch filled up to a size that suits the blocks, on their device, with what attention must know."""
        if batch.documents is not None:
            return batch
        n = len(batch.input_ids)
        if self.pads:
            batch = batch.padded(padded_size(n))
        elif self.fused:
            batch = batch.padded(-(-n // _TENSOR_CORE) * _TENSOR_CORE)
        device = self.model.device
        return replace(batch.to(device), documents=Documents.of(batch.offsets, device))

    def hidden(self, batch: PackedBatch) -> Tensor:
        """Return the hidden states of the graded tokens before the head, (N, C).

        Of the last block only these are computed: nothing attends to the others any more.
        """
        batch = self.ready(batch)
        model, documents = self.model, batch.documents
        assert documents is not None
        ropes = self._rope.at(batch.positions)
        x = model.embed(batch.input_ids)
        last = model.shape.n_layer - 1
        is_kept = not self.checkpointing
        for layer, fused in enumerate(self.fused):
            x = fused(x, Row(ropes[0], documents, batch.graded if layer == last else None, is_kept or layer == last))
        for layer, block in enumerate([] if self.fused else model.blocks):
            rope = ropes[layer in model.shape.local_rope_layers]
            if layer == last:
                x = self._run_last(block, x, rope, documents, batch.graded)
            elif self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._run, block, x, rope, documents, use_reentrant=False)
            else:
                x = self._run(block, x, rope, documents)
        return model.norm(x)

    def head_loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Return the summed cross entropy of hidden states (N, C) against labels (N,), in chunks."""
        head, size = self.model.lm_head, head_chunk(self.checkpointing)
        if self.model.shape.logit_softcap is None and head.bias is None and head.lora_A is None:
            loss: Tensor = _HeadLoss.apply(hidden, labels, head.weight, size)  # type: ignore[no-untyped-call]
            return loss
        total = hidden.new_zeros((), dtype=torch.float32)
        for states, targets in zip(torch.split(hidden, size), torch.split(labels, size), strict=True):
            if torch.is_grad_enabled():
                total = total + checkpoint(self._head, self.model, states, targets, use_reentrant=False)
            else:
                total = total + self._head(self.model, states, targets)
        return total


def is_fusable(model: Transformer) -> bool:
    """Whether the blocks of `model` with its adapter can run by hand-written steps."""
    linears = [linear for _, linear in model.linears()]
    return is_parallel_block(model.shape) and all(n.weight is not None and not n.lora_dropout for n in linears)


def place(
    model: Transformer,
    device: torch.device | None,
    dtype: torch.dtype | None,
    frozen: str,
    fuses: bool,
    on_block: OnBlock = lambda done, total, block: None,
) -> list[ParallelBlock]:
    """Move a model to a device, never more than a block of it in full width; return its blocks if they are fused.

    `frozen` is same, fp8 or nf4.
    """
    fused: list[ParallelBlock] = []
    shared: dict[tuple[int, int], Tensor] = {}
    courier = Courier(device) if device is not None and device.type == "cuda" else None
    blocks = model.blocks
    for i, block in enumerate(blocks):
        if device is not None or dtype is not None:
            move(block, device, dtype, courier)
        if fuses:
            fused.append(ParallelBlock(block, frozen, shared))
        elif frozen != "same":
            quantise(block, frozen)
        on_block(i + 1, len(blocks), fused[-1] if fused else None)
    if device is not None or dtype is not None:
        move(model, device, dtype, courier)
    return fused


def warm_up(block: ParallelBlock, shape: Shape) -> None:
    """Run a block and a head on a few tokens, there and back: their kernels are compiled once, and then are there.

    Nothing else is left behind: no gradient, and no number drawn. The rest of the model need not be there yet.
    """
    columns = block.into.columns
    device, dtype = columns.device, columns.dtype
    ids = torch.zeros(_WARM_TOKENS, dtype=torch.int64)
    graded = torch.arange(7, _WARM_TOKENS, 3)  # as in most rows, no multiple of 16 of them
    halves = [0, _WARM_TOKENS // 2, _WARM_TOKENS]
    batch = PackedBatch(ids, ids, torch.arange(_WARM_TOKENS) % halves[1], graded, halves).to(device)
    rope = Rope(shape, device=device).at(batch.positions)[0]
    documents = Documents.of(halves, device)
    adapters = [p for linear in block.linears for p in (linear.lora_A, linear.lora_B) if p is not None]
    for places in (None, batch.graded):
        x = torch.ones((_WARM_TOKENS, shape.n_embd), dtype=dtype, device=device, requires_grad=True)
        y = block(x, Row(rope, documents, places, is_kept=True))
        torch.autograd.grad(y, [x, *adapters], torch.ones_like(y))
    steps_for(columns).grade(columns.new_zeros((len(graded), shape.vocab_size)), batch.input_ids[: len(graded)])


class _HeadLoss(torch.autograd.Function):
    """The loss of chunk after chunk, whose gradient is found at once, while the logits stand."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, labels: Tensor, weight: Tensor, size: int) -> Tensor:
        grade = steps_for(hidden).grade
        d_hidden = torch.empty_like(hidden)
        total = hidden.new_zeros((), dtype=torch.float32)
        for i in range(0, len(hidden), size):
            logits = hidden[i : i + size] @ weight.t()
            total += grade(logits, labels[i : i + size]).sum()  # the logits are their gradient now
            if ctx.needs_input_grad[0]:
                torch.mm(logits, weight, out=d_hidden[i : i + size])
        ctx.save_for_backward(d_hidden)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (d_hidden,) = ctx.saved_tensors
        return (d_hidden * grads[0]).to(d_hidden.dtype), None, None, None


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
