"""A block of Falcon's kind on packed rows, forward and backward by hand.

Falcon's blocks have attention and MLP side by side, both reading one norm:

    y = x + attention(norm(x)) + mlp(norm(x))

Written out, its four products become two (`wide`), and what stands between them is a handful of steps that read and
write each tensor once (`kernels`, on a CPU `plain`). What autograd would do with the same block costs a quarter more
time, and a compiler's minute before the first step. Equal to `clone.lm.model.Block` for the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clone.finetune.documents import Documents
from clone.finetune.wide import Fp8Wide, Nf4Wide, Piece, Wide, steps_for
from clone.lm.model import Block, Linear, Norm
from clone.lm.shape import Shape

_EXTRA_STEP = 64  # products are fastest where rows begin at multiples of 128 bytes


def is_parallel_block(shape: Shape) -> bool:
    """Whether a base's blocks are of Falcon's kind: parallel, with one LayerNorm, and without biases or windows."""
    return (
        shape.is_parallel
        and shape.is_norm_shared
        and shape.norm == "LayerNorm"
        and shape.has_norm_1
        and shape.mlp == "GptNeoxMLP"
        and not (shape.has_bias or shape.has_qkv_bias or shape.has_post_attention_norm or shape.has_post_mlp_norm)
        and not (shape.qk_norm or shape.window or shape.attention_softcap or shape.local_rope_layers)
        and shape.rope_n_elem == shape.head_size
        and shape.head_size in (16, 32, 64, 128)
    )


@dataclass(frozen=True, slots=True)
class Row:
    """What a block must know of the row in work."""

    rope: tuple[Tensor, Tensor]
    documents: Documents
    places: Tensor | None  # compute these tokens alone (every token is attended to)
    is_kept: bool  # what the backward pass needs; otherwise it is computed again there


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the backward pass needs of a block beside its input."""

    mean: Tensor  # (T,)
    inverse: Tensor
    into: Tensor  # (T, C + extra): the norm and the adapters' u
    qkv: Tensor  # (T, heads * hs), rotated
    inner: Tensor  # (N, I), before GELU
    attended: Tensor  # (T, n_head * hs)
    level: Tensor
    out: Tensor  # (N, n_head * hs + I + extra): attended, GELU and the adapters' u

    def tensors(self) -> tuple[Tensor, ...]:
        return self.mean, self.inverse, self.into, self.qkv, self.inner, self.attended, self.level, self.out


class ParallelBlock:
    """The frozen weights of a block, laid out for training, and its adapters."""

    def __init__(self, block: Block, frozen: str, shared: dict[tuple[int, int], Tensor]) -> None:
        """Take the weights of `block`, kept as `frozen` says (same, fp8 or nf4), away from it."""
        self.block = block
        attention, mlp = block.attn, block.mlp
        self.linears: tuple[Linear, ...] = (attention.qkv, mlp.fc, attention.proj, mlp.proj)
        self.slot, extra = adapter_columns(max(n.lora_A.shape[0] if n.lora_A is not None else 1 for n in self.linears))
        self.n_qkv, self.n_attended = attention.qkv.n_out, attention.proj.n_in
        qkv, fc = slice(0, self.n_qkv), slice(self.n_qkv, self.n_qkv + mlp.fc.n_out)
        attended, inner = slice(0, self.n_attended), slice(self.n_attended, self.n_attended + mlp.proj.n_in)
        every = slice(0, attention.proj.n_out)
        weights = [linear.weight for linear in self.linears]
        assert all(weight is not None for weight in weights)
        self.qkv_outputs, self.fc_outputs = qkv, fc
        into = [Piece(weights[0], qkv, every), Piece(weights[1], fc, every)]  # type: ignore[arg-type]
        out = [Piece(weights[2], every, attended), Piece(weights[3], every, inner)]  # type: ignore[arg-type]
        if frozen == "nf4":
            self.into: Wide = Nf4Wide(into, extra, shared)
            self.out: Wide = Nf4Wide(out, extra, shared)
        else:
            kind = Fp8Wide if frozen == "fp8" else Wide
            self.into, self.out = kind(into, extra), kind(out, extra)
        for linear in self.linears:
            linear.weight = None
        first, second = slice(0, self.slot), slice(self.slot, 2 * self.slot)
        # each linear's B: columns of the wide weights, (out, slot)
        self.b_qkv, self.b_fc = self.into.columns[qkv, first], self.into.columns[fc, second]
        self.b_proj, self.b_down = self.out.columns[:, first], self.out.columns[:, second]
        # and its A: rows, zero where there are more than the rank
        like = self.into.columns
        self.a_into = like.new_zeros((extra, attention.qkv.n_in))  # (extra, C) of qkv, then of fc
        self.a_proj = like.new_zeros((self.slot, self.n_attended))
        self.a_down = like.new_zeros((extra - self.slot, mlp.proj.n_in))

    def __call__(self, x: Tensor, row: Row) -> Tensor:
        """Return the next hidden states, (T, C), or (N, C) for `row.places`."""
        lora = [p for linear in self.linears for p in (linear.lora_A, linear.lora_B)]
        out: Tensor = _Run.apply(x, self, row, *lora)  # type: ignore[no-untyped-call]
        return out

    def lay_adapters(self) -> None:
        """Take over what the adapters are now.

        Done for each row: a fused optimizer's step does not show in a parameter's version, and one launch is cheap.
        """
        found = [(n.lora_A, n.lora_B, n.lora_scale) for n in self.linears]
        rows = (self.a_into[: self.slot], self.a_into[self.slot :], self.a_proj, self.a_down)
        columns = (self.b_qkv, self.b_fc, self.b_proj, self.b_down)
        copies = []
        for (lora_a, lora_b, scale), a, b in zip(found, rows, columns, strict=True):
            if lora_a is not None and lora_b is not None:
                rank = len(lora_a)
                copies += [(lora_a.detach(), a[:rank], 1.0), (lora_b.detach(), b[:, :rank], scale)]
        if copies:
            steps_for(self.a_into).copy_all(copies)
        # where products leave them out: B of fc, (slot, I), and of proj and mlp.proj, (2 * slot, C)
        self.left_fc = None if self.into.has_adapters else self.b_fc.t().contiguous()
        self.left_out = None if self.out.has_adapters else self.out.columns[:, : 2 * self.slot].t().contiguous()

    def open(self) -> None:
        """Make the products ready, until the next block is opened."""
        self.into.open()
        self.out.open()

    def run_inner(self, x: Tensor, row: Row) -> _Kept:
        """Return everything up to the last product."""
        steps, block, norm = steps_for(x), self.block, self.block.norm_1
        assert isinstance(norm, Norm)
        n, slot = x.shape[1], self.slot
        into = x.new_empty((x.shape[0], n + len(self.a_into)))
        mean, inverse = steps.norm(x, norm.weight, norm.bias, norm.eps, into[:, :n])
        torch.mm(into[:, :n], self.a_into.t(), out=into[:, n:])
        if row.places is None:
            both = self.into.forward(into)  # (T, qkv + I)
            qkv, inner = both[:, self.qkv_outputs], both[:, self.fc_outputs]
        else:
            qkv = self.into.forward(into, self.qkv_outputs)
            inner = self.into.forward(into[row.places], self.fc_outputs)
        if not self.into.has_adapters:
            qkv.addmm_(into[:, n : n + slot], self.b_qkv.t())
        q, k, v = self.heads(qkv)
        n_attended = self.n_attended
        end = n_attended + inner.shape[1]
        out = x.new_empty((inner.shape[0], end + len(self.a_into)))
        attended = out[:, :n_attended] if row.places is None else x.new_empty((x.shape[0], n_attended))
        level = steps.attend(block.attn.heads, row.documents, row.rope, q, k, v, _in_heads(attended, v.shape[2]))
        if row.places is not None:
            out[:, :n_attended] = attended[row.places]
        steps.gelu(inner, block.mlp.gelu, out[:, n_attended:end], *self.inner_adapter(into, row))
        torch.mm(out[:, :n_attended], self.a_proj.t(), out=out[:, end : end + slot])
        torch.mm(out[:, n_attended:end], self.a_down.t(), out=out[:, end + slot :])
        return _Kept(mean, inverse, into, qkv, inner, attended, level, out)

    def inner_adapter(self, into: Tensor, row: Row) -> tuple[Tensor, Tensor] | tuple[()]:
        """Return u and B of fc where its product left them out."""
        if self.left_fc is None:
            return ()
        u = into[:, self.into.n_in + self.slot : self.into.n_in + 2 * self.slot]
        return u if row.places is None else u[row.places], self.left_fc

    def run_last(self, x: Tensor, kept: _Kept, row: Row) -> Tensor:
        """Return the block's answer."""
        y = self.out.forward(kept.out)
        x = x if row.places is None else x[row.places]
        if self.left_out is None:
            return y.add_(x)
        steps_for(x).add(y, x, kept.out[:, self.out.n_in : self.out.n_in + 2 * self.slot], self.left_out)
        return y

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v as (T, heads, hs), where they stand in (T, heads * hs)."""
        attention = self.block.attn
        size = attention.size
        parts = torch.split(qkv, [attention.n_q * size, attention.n_kv * size, attention.n_kv * size], dim=1)
        return _in_heads(parts[0], size), _in_heads(parts[1], size), _in_heads(parts[2], size)

    def run_back(self, x: Tensor, kept: _Kept, row: Row, d_y: Tensor, needs_x: bool) -> tuple[Tensor | None, ...]:
        """Return the gradient of x, and those of A and B of each linear."""
        steps, block, norm, slot = steps_for(x), self.block, self.block.norm_1, self.slot
        assert isinstance(norm, Norm)
        n, n_attended, size = x.shape[1], self.n_attended, block.attn.size
        end = n_attended + kept.inner.shape[1]

        d_out, d_u = self.out.backward(d_y)  # (N, attended + I), (N, extra)
        d_u_proj, d_u_down = d_u[:, :slot], d_u[:, slot : 2 * slot]
        d_b_out = d_y.t() @ kept.out[:, end:]  # (C, extra)
        d_a_proj = d_u_proj.t() @ kept.out[:, :n_attended]
        d_a_down = d_u_down.t() @ kept.out[:, n_attended:end]
        d_attended = d_out[:, :n_attended].addmm_(d_u_proj, self.a_proj)
        if row.places is not None:
            d_attended = torch.zeros_like(kept.attended).index_add_(0, row.places, d_attended)

        n_inner = kept.inner.shape[1]
        d_both = x.new_empty((x.shape[0], self.n_qkv + n_inner)) if row.places is None else None
        d_qkv = x.new_empty((x.shape[0], self.n_qkv)) if d_both is None else d_both[:, self.qkv_outputs]
        d_inner = torch.empty_like(kept.inner) if d_both is None else d_both[:, self.fc_outputs]
        steps.gelu_back(
            kept.inner, block.mlp.gelu, d_out[:, n_attended:end], d_u_down, self.a_down[:slot], d_inner,
            *self.inner_adapter(kept.into, row),
        )  # fmt: skip
        q, k, v = self.heads(kept.qkv)
        steps.attend_back(
            block.attn.heads, row.documents, row.rope, q, k, v, _in_heads(kept.attended, size), kept.level,
            _in_heads(d_attended, size), *self.heads(d_qkv),
        )  # fmt: skip

        u = kept.into[:, n:]
        u_inner = u if row.places is None else u[row.places]
        d_b_qkv = d_qkv.t() @ u[:, :slot]
        d_b_fc = d_inner.t() @ u_inner[:, slot : 2 * slot]
        d_x = d_normed = None
        if row.places is None:
            if needs_x:
                d_normed, d_u = self.into.backward(d_both)  # type: ignore[arg-type]
            else:
                d_u = self.into.backward_to_adapters(d_both)  # type: ignore[arg-type]
        else:
            d_normed, d_u = self.into.backward(d_qkv, self.qkv_outputs)
            d_normed_inner, d_u_inner = self.into.backward(d_inner, self.fc_outputs)
            d_normed, d_u = d_normed.index_add(0, row.places, d_normed_inner), d_u.index_add(0, row.places, d_u_inner)
        d_a_into = d_u.t() @ kept.into[:, :n]  # (extra, C)
        if needs_x:
            assert d_normed is not None
            d_normed.addmm_(d_u, self.a_into)
            if row.places is not None:
                d_y = torch.zeros_like(x).index_add_(0, row.places, d_y)
            d_x = steps.norm_back(d_normed, x, norm.weight, kept.mean, kept.inverse, d_y)

        a_gradients = (d_a_into[:slot], d_a_into[slot:], d_a_proj, d_a_down)
        b_gradients = (d_b_qkv, d_b_fc, d_b_out[:, :slot], d_b_out[:, slot:])
        return d_x, *self.gradients(a_gradients, b_gradients)

    def gradients(self, of_a: tuple[Tensor, ...], of_b: tuple[Tensor, ...]) -> list[Tensor | None]:
        """Return the gradients of A and B of each linear, from those of their rows and columns."""
        found: list[Tensor | None] = []
        copies = []
        for linear, d_a, d_b in zip(self.linears, of_a, of_b, strict=True):
            if linear.lora_A is None or linear.lora_B is None:
                found += [None, None]
                continue
            rank = len(linear.lora_A)
            mine = (torch.empty_like(linear.lora_A), torch.empty_like(linear.lora_B))
            found += mine
            copies += [(d_a[:rank], mine[0], 1.0), (d_b[:, :rank], mine[1], linear.lora_scale)]
        if copies:
            steps_for(self.a_into).copy_all(copies)
        return found


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, block: ParallelBlock, row: Row, *lora: Tensor | None) -> Tensor:
        block.lay_adapters()
        block.open()
        kept = block.run_inner(x, row)
        y = block.run_last(x, kept, row)
        ctx.block, ctx.row = block, row
        ctx.save_for_backward(x, *(kept.tensors() if row.is_kept else ()))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        block, row = ctx.block, ctx.row
        x, *tensors = ctx.saved_tensors
        block.open()
        kept = _Kept(*tensors) if tensors else block.run_inner(x, row)
        d_x, *d_lora = block.run_back(x, kept, row, grads[0].contiguous(), ctx.needs_input_grad[0])
        return d_x, None, None, *d_lora


def adapter_columns(rank: int) -> tuple[int, int]:
    """Return how many columns an adapter of `rank` takes in a wide weight, and how many two take together."""
    slot = max(16, 1 << (rank - 1).bit_length())  # the tensor cores want powers of two from 16 on
    return slot, -(-2 * slot // _EXTRA_STEP) * _EXTRA_STEP


def _in_heads(x: Tensor, size: int) -> Tensor:
    return x.view(len(x), -1, size)  # (T, heads, hs)
