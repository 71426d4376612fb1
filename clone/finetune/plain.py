"""What the kernels of `clone.finetune.kernels` compute, in plain torch: what a CPU runs, and what they are tested against.

Where an argument is called `out`, it may be columns of a wider tensor.
"""

from __future__ import annotations

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


def rotate(x: Tensor, rope: tuple[Tensor, Tensor], is_back: bool) -> None:
    """Rotate x (T, heads, hs) in place by the angles of `rope`, cosines and sines (T, 1, hs/2), or back by them."""
    cos, sin = rope
    if is_back:
        sin = -sin
    a, b = (half.float() for half in x.chunk(2, dim=-1))
    x.copy_(torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1))


def gelu(x: Tensor, kind: str, out: Tensor, u: Tensor | None = None, b: Tensor | None = None) -> None:
    """Write GELU of x (T, n) to `out`, of x + u b' where u (T, rank) is given; `kind` is none (exact) or tanh."""
    if u is not None and b is not None:
        x = x + u @ b.t()
    out.copy_(F.gelu(x, approximate=kind))


def gelu_back(
    x: Tensor, kind: str, d_y: Tensor, d_u: Tensor, a: Tensor, out: Tensor, u: Tensor | None = None,
    b: Tensor | None = None,
) -> None:  # fmt: skip
    """Write the gradient of x to `out`, where that of its GELU is `d_y` + `d_u` (T, rank) times `a` (rank, n)."""
    if u is not None and b is not None:
        x = x + u @ b.t()
    out.copy_(torch.ops.aten.gelu_backward(d_y + d_u @ a, x, approximate=kind))


def add(y: Tensor, other: Tensor, u: Tensor, b: Tensor) -> None:
    """Add `other` and u b' to y (T, n) in place."""
    y += other + u @ b.t()


def attend(heads: Heads, documents: Documents, q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> Tensor:
    """Write what each head gathers within its document to `out`, and return what `attend_back` needs of it."""
    for a, b in documents.spans:
        out[a:b].copy_(attend_within(heads, q[a:b], k[a:b], v[a:b]))
    return q.new_empty(0)


def attend_back(
    heads: Heads, documents: Documents, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: Tensor, d_out: Tensor,
    d_q: Tensor, d_k: Tensor, d_v: Tensor,
) -> None:  # fmt: skip
    """Write the gradients of q, k and v to `d_q`, `d_k` and `d_v`."""
    for a, b in documents.spans:
        with torch.enable_grad():
            inputs = [x[a:b].detach().requires_grad_() for x in (q, k, v)]
            gathered = attend_within(heads, *inputs)
        for d, found in zip((d_q, d_k, d_v), torch.autograd.grad(gathered, inputs, d_out[a:b]), strict=True):
            d[a:b].copy_(found)


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
