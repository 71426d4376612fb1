"""The frozen products of a Falcon block, two wide ones in place of four, with the adapter's columns beside the weights.

Attention and MLP of such a block read the same norm and are summed. So the products into them are one over stacked
outputs, and the products out of them one over inputs side by side. A row of what goes in is [x | u], where u = x A' is
what the adapter made of x; a row of the weight is [W | alpha/rank B]. One product then gives x W' + alpha/rank u B',
and the gradient times [W | alpha/rank B] gives those of x and of u at once.

In fp8 (https://arxiv.org/abs/2209.05433) W alone is narrow, with a scale for each row of what comes in and for each
output (forward) or input (backward) of the weight. In nf4 W is widened for each use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clone.finetune.frozen import Nf4Product

EVERY = slice(None)


@dataclass(frozen=True, slots=True)
class Piece:
    """One linear layer's place in a wide weight."""

    weight: Tensor  # (out, in)
    outputs: slice
    inputs: slice


def steps_for(tensor: Tensor) -> Any:
    """Return the module whose functions do the steps between products on the device of a tensor."""
    if tensor.is_cuda:
        from clone.finetune import kernels

        return kernels
    from clone.finetune import plain

    return plain


class Wide:
    """A frozen weight (out, n_in), and `extra` columns for what the adapters add."""

    has_adapters = True  # whether `forward` adds what the columns make of u

    def __init__(self, pieces: Sequence[Piece], extra: int) -> None:
        self.n_out, self.n_in = _size(pieces)
        self._weight = pieces[0].weight.new_zeros((self.n_out, self.n_in + extra))
        for piece in pieces:
            self._weight[piece.outputs, piece.inputs] = piece.weight
        self.columns = self._weight[:, self.n_in :]  # (out, extra), the adapters'

    def open(self) -> None:
        """Make ready for use, until the next block is opened."""

    def forward(self, x: Tensor, outputs: slice = EVERY) -> Tensor:
        """Return x (T, n_in + extra) times the weight transposed, some of its outputs: (T, out)."""
        return x @ self._weight[outputs].t()

    def backward(self, d_y: Tensor, outputs: slice = EVERY) -> tuple[Tensor, Tensor]:
        """Return the gradients of x, (T, n_in), and of u, (T, extra), from that of some outputs."""
        both = d_y @ self._weight[outputs]
        return both[:, : self.n_in], both[:, self.n_in :]

    def backward_to_adapters(self, d_y: Tensor) -> Tensor:
        """Return the gradient of u alone."""
        return d_y @ self.columns


class Fp8Wide(Wide):
    """The same with W kept twice in fp8: each of the two products wants its own layout, so it takes what bf16 takes.

    The adapters stay in the dtype of x, so `forward` leaves them out: what follows it adds them.
    """

    has_adapters = False

    def __init__(self, pieces: Sequence[Piece], extra: int) -> None:
        super().__init__(pieces, 0)
        to_fp8 = steps_for(self._weight).to_fp8
        self._forward, self._forward_scale = to_fp8(self._weight)  # (out, in), (out, 1)
        self._backward, self._backward_scale = to_fp8(self._weight.t().contiguous())  # (in, out), (in, 1)
        self.columns = self._weight.new_zeros((self.n_out, extra))
        del self._weight

    def forward(self, x: Tensor, outputs: slice = EVERY) -> Tensor:
        return _scaled_product(x[:, : self.n_in], self._forward[outputs], self._forward_scale[outputs])

    def backward(self, d_y: Tensor, outputs: slice = EVERY) -> tuple[Tensor, Tensor]:
        d_x = _scaled_product(d_y, self._backward[:, outputs], self._backward_scale)
        return d_x, d_y @ self.columns[outputs]


class Nf4Wide(Wide):
    """The same with W in four bits, widened into a tensor that the blocks of a model share."""

    def __init__(self, pieces: Sequence[Piece], extra: int, shared: dict[tuple[int, int], Tensor]) -> None:
        self.n_out, self.n_in = _size(pieces)
        size = (self.n_out, self.n_in + extra)
        if size not in shared:
            shared[size] = pieces[0].weight.new_empty(size)
        self._weight = shared[size]
        self.columns = self._weight.new_zeros((self.n_out, extra))
        self._pieces = [(piece.outputs, piece.inputs, Nf4Product(piece.weight)) for piece in pieces]

    def open(self) -> None:
        widen = steps_for(self._weight).widen
        for outputs, inputs, four in self._pieces:
            widen(four.codes, four.largest, four.levels, self._weight[outputs, inputs])
        self._weight[:, self.n_in :] = self.columns


def _size(pieces: Sequence[Piece]) -> tuple[int, int]:
    return max(p.outputs.stop for p in pieces), max(p.inputs.stop for p in pieces)


def _scaled_product(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Return x (T, in) times weight (out, in) transposed, both in fp8, in the dtype of x."""
    narrow, x_scale = steps_for(x).to_fp8(x)
    return torch._scaled_mm(narrow, weight.t(), x_scale, scale.t(), out_dtype=x.dtype, use_fast_accum=True)
