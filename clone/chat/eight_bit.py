"""Weights in 8 bits, activations as they were: half the memory, and half the bytes that a token reads.

One scale a row: int8 rounds to 255 steps, fp8 (e4m3) to a float of four exponent bits. The adapter is merged before.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clone.lm.model import Linear, Transformer

EightBits = Literal["int8", "fp8"]


class EightBitLinear(nn.Module):
    """A product whose weight is kept in 8 bits and widened when it is used."""

    def __init__(self, linear: Linear, kind: EightBits) -> None:
        super().__init__()
        assert linear.weight is not None, "a base is narrowed once"
        weight, scale = quantise(linear.weight.data, kind)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", linear.bias.data if linear.bias is not None else None)

    def forward(self, x: Tensor) -> Tensor:
        weight, scale = self.get_buffer("weight").to(x.dtype), self.get_buffer("scale")  # widening does not round
        if x.dtype == torch.float16:  # the range of fp16 wants the scale inside the product
            y = F.linear(x, weight * scale[:, None].to(x.dtype))
        else:
            y = (F.linear(x, weight) * scale).to(x.dtype)  # behind it the scale costs a row, not a matrix
        bias = self.bias
        return y if bias is None else y + bias  # type: ignore[operator]


def quantise(weight: Tensor, kind: EightBits) -> tuple[Tensor, Tensor]:
    """Return a weight (out, in) in 8 bits and the scale of each row (out,) in fp32: row = 8 bits times scale."""
    wide = weight.float()
    top = 127.0 if kind == "int8" else torch.finfo(torch.float8_e4m3fn).max
    scale = wide.abs().amax(dim=1).clamp_min(1e-12) / top
    steps = wide / scale[:, None]
    if kind == "int8":
        return steps.round().clamp(-127, 127).to(torch.int8), scale
    return steps.to(torch.float8_e4m3fn), scale


def to_eight_bits(model: Transformer, kind: EightBits) -> None:
    """Replace every product of the model, the head among them, by its 8-bit form. The embedding stays as it is."""
    for name, linear in [*model.linears(), ("lm_head", model.lm_head)]:
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], EightBitLinear(linear, kind))
