"""What the kernels of `clone.finetune.kernels` compute, in plain torch: what a CPU runs, and what tests hold them to.

Where an argument is called `out`, it may be columns of a wider tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clone.finetune.documents import Documents
from clone.lm.model import Heads, attend_within

_E4M3 = torch.float8_e4m3fn
_E4M3_MAX = 448.0


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, out: Tensor) -> tuple[Tensor, Tensor]:
    """Write the LayerNorm of x (T, C) to `out`, and return mean and 1 / deviation of each row, (T,) fp32."""
    normed, mean, inverse = torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)
    out.copy_(normed)
    return mean[:, 0], inverse[:, 0]


def norm_back(d_normed: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, d_other: Tensor) -> Tensor:
    """Return the gradient of x through its LayerNorm, added to `d_other`, that of x by another way."""
    centred = (x.float() - mean[:, None]) * inverse[:, None]
    d = d_normed.float() * weight.float()
    d = (d - d.mean(-1, keepdim=True) - centred * (d * centred).mean(-1, keepdim=True)) * inverse[:, None]
    return (d + d_other.float()).to(x.dtype)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> None:
    """Rotate x (T, heads, hs) in place by the angles of `rope`, cosines and sines (T, 1, hs/2)."""
    cos, sin = rope
    a, b = (half.float() for half in x.chunk(2, dim=-1))
    x.copy_(torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1))


def gelu(x: Tensor, kind: str, out: Tensor, u: Tensor | None = None, b: Tensor | None = None) -> None:
    """Write GELU of x (T, n) to `out`, of x + u b where b (rank, n) and u (T, rank) are given.

    `kind` is none (exact) or tanh.
    """
    if u is not None and b is not None:
        x = x + u @ b
    out.copy_(F.gelu(x, approximate=kind))


def gelu_back(
    x: Tensor, kind: str, d_y: Tensor, d_u: Tensor, a: Tensor, out: Tensor, u: Tensor | None = None,
    b: Tensor | None = None,
) -> None:  # fmt: skip
    """Write the gradient of x to `out`, where that of its GELU is `d_y` + `d_u` (T, rank) times `a` (rank, n)."""
    if u is not None and b is not None:
        x = x + u @ b
    out.copy_(torch.ops.aten.gelu_backward(d_y + d_u @ a, x, approximate=kind))


def add(y: Tensor, other: Tensor, u: Tensor, b: Tensor) -> None:
    """Add `other` and u (T, rank) times b (rank, n) to y in place."""
    y += other + u @ b


def attend(
    heads: Heads, documents: Documents, rope: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, out: Tensor
) -> Tensor:
    """Rotate q and k in place, write what each head gathers within its document to `out`.

    Returns what `attend_back` needs of it.
    """
    rotate(q, rope)
    rotate(k, rope)
    for a, b in documents.spans:
        out[a:b].copy_(attend_within(heads, q[a:b], k[a:b], v[a:b]))
    return q.new_empty(0)


def attend_back(
    heads: Heads, documents: Documents, rope: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, out: Tensor,
    kept: Tensor, d_out: Tensor, d_q: Tensor, d_k: Tensor, d_v: Tensor,
) -> None:  # fmt: skip
    """Write the gradients of q and k as they were before their rotation, and of v, to `d_q`, `d_k` and `d_v`."""
    for a, b in documents.spans:
        with torch.enable_grad():
            inputs = [x[a:b].detach().requires_grad_() for x in (q, k, v)]
            gathered = attend_within(heads, *inputs)
        for d, found in zip((d_q, d_k, d_v), torch.autograd.grad(gathered, inputs, d_out[a:b]), strict=True):
            d[a:b].copy_(found)
    cos, sin = rope
    rotate(d_q, (cos, -sin))
    rotate(d_k, (cos, -sin))


def grade(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of each row of logits (N, V), (N,) fp32, and turn the logits into its gradient."""
    loss = F.cross_entropy(logits.float(), labels, reduction="none")
    logits.copy_(torch.softmax(logits.float(), dim=-1))
    logits[torch.arange(len(labels)), labels] -= 1
    return loss


def widen(codes: Tensor, largest: Tensor, levels: Tensor, out: Tensor) -> None:
    """Write the weight that nf4's codes (out * in / 2,) and block scales (out * in / 64,) stand for to `out`."""
    both = torch.stack([codes >> 4, codes & 15], dim=-1).reshape(len(largest), -1)  # (blocks, 64)
    out.copy_((levels[both.int()] * largest.float()[:, None]).reshape(out.shape))


def to_fp8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (rows, n) in fp8 and the scale of each row, (rows, 1) fp32: x is narrow * scale."""
    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / _E4M3_MAX
    narrow = (x.float() / scale).clamp(-_E4M3_MAX, _E4M3_MAX).to(_E4M3)
    return narrow.contiguous(), scale.contiguous()


def copy_all(copies: Sequence[tuple[Tensor, Tensor, float]]) -> None:
    """Write each source times a factor to its target, both (n, m); their dtypes may differ."""
    for source, target, scale in copies:
        target.copy_(source * scale)
