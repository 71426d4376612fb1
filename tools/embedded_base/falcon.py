"""LitGPT's Falcon in plain torch, and what it is graded by in training."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.embedded_base.recipe import Shape


class Block(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.n_head, self.head = shape.n_head, shape.width // shape.n_head
        self.norm_1 = nn.LayerNorm(shape.width, eps=1e-5)
        self.attn = nn.ModuleDict(
            {
                "qkv": nn.Linear(shape.width, (shape.n_head + 2) * self.head, bias=False),
                "proj": nn.Linear(shape.width, shape.width, bias=False),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "fc": nn.Linear(shape.width, 4 * shape.width, bias=False),
                "proj": nn.Linear(4 * shape.width, shape.width, bias=False),
            }
        )
        self.dropout = dropout

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        n_rows, length, width = x.shape
        normed = self.norm_1(x)
        qkv = (
            self.attn["qkv"](normed).view(n_rows, length, self.n_head + 2, self.head).transpose(1, 2)
        )  # (B, H+2, T, D)
        q, k, v = qkv.split((self.n_head, 1, 1), dim=1)
        q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        k, v = k.expand_as(q), v.expand_as(q)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = self.attn["proj"](y.transpose(1, 2).reshape(n_rows, length, width))
        y = y + self.mlp["proj"](F.gelu(self.mlp["fc"](normed)))
        return x + F.dropout(y, self.dropout, self.training)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-b, a), dim=-1) * sin).to(x.dtype)


class Falcon(nn.Module):
    """LitGPT's GPT for the Falcon family, with its parameter names. The head is the embedding."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(shape.vocab, shape.width),
                "h": nn.ModuleList(Block(shape, dropout) for _ in range(shape.n_layer)),
                "ln_f": nn.LayerNorm(shape.width, eps=1e-5),
            }
        )
        size = shape.width // shape.n_head
        angles = torch.outer(torch.arange(shape.block).float(), 1e4 ** (-torch.arange(0, size, 2).float() / size))
        self.register_buffer("cos", angles.repeat(1, 2).cos(), persistent=False)  # (T, D)
        self.register_buffer("sin", angles.repeat(1, 2).sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * shape.n_layer) if name.endswith("proj.weight") else 0.02)

    def features(self, ids: Tensor) -> Tensor:
        """Return what the head reads: (B, T) → (B, T, C)."""
        x = self.transformer["wte"](ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]  # type: ignore[index]
        for block in cast(nn.ModuleList, self.transformer["h"]):
            x = block(x, cos, sin)
        return cast(Tensor, self.transformer["ln_f"](x))

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.features(ids), self.head)  # (B, T, V)

    @property
    def head(self) -> Tensor:
        return cast(Tensor, self.transformer["wte"].weight)

    def compile_blocks(self) -> None:
        """Compile one block for all: the layers share their code, so this takes seconds, not a minute."""
        for block in cast(nn.ModuleList, self.transformer["h"]):
            block.compile(dynamic=False)


def text_loss(features: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return the mean nats a token."""
    return F.cross_entropy(F.linear(features, head).float().flatten(0, 1), targets.flatten())


def distilled_loss(
    features: Tensor, head: Tensor, targets: Tensor, teacher: Tensor, teacher_head: Tensor, share: float
) -> Tensor:
    """Return (1 - share) of the loss on the text and `share` of the cross entropy to the teacher's whole distribution.

    Hinton, Vinyals and Dean 2015, at temperature 1. A teacher that was held back (dropout, weight decay) says of every
    position what else could have stood there, which is what a small model needs when the text comes round again.
    """
    logs = F.linear(features, head).float().log_softmax(-1)  # (B, T, V)
    soft = F.linear(teacher, teacher_head).float().softmax(-1)
    to_text = -logs.gather(-1, targets[..., None]).mean()
    to_teacher = -(soft * logs).sum(-1).mean()
    return (1 - share) * to_text + share * to_teacher
