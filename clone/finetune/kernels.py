"""The steps between the products of a Falcon block as Triton kernels: each tensor is read and written once.

`clone.finetune.plain` says what each computes; columns of a wider tensor will do for any argument. Needs CUDA and
Triton, which comes with torch there; imported where it is used.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]
from torch import Tensor

from clone.finetune.attention import attend_backward, attend_forward
from clone.finetune.documents import Documents
from clone.lm.model import Heads

_E4M3_MAX = tl.constexpr(448.0)
_GELU_TILE = (32, 128)  # rows, columns


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _norm(x, weight, bias, eps, out, means, inverses, x_stride, out_stride, N: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    is_there = column < N
    value = tl.load(x + row * x_stride + column, mask=is_there, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / N
    centred = tl.where(is_there, value - mean, 0.0)
    inverse = 1 / tl.sqrt(tl.sum(centred * centred, 0) / N + eps)
    gain = tl.load(weight + column, mask=is_there, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=is_there, other=0.0).to(tl.float32)
    tl.store(
        out + row * out_stride + column, (centred * inverse * gain + shift).to(out.dtype.element_ty), mask=is_there
    )
    tl.store(means + row, mean)
    tl.store(inverses + row, inverse)


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, out: Tensor) -> tuple[Tensor, Tensor]:
    n_rows, n = x.shape
    mean, inverse = x.new_empty((2, n_rows), dtype=torch.float32)
    width = triton.next_power_of_2(n)
    _norm[(n_rows,)](
        x, weight, bias, eps, out, mean, inverse, x.stride(0), out.stride(0), N=n, WIDTH=width, num_warps=8
    )
    return mean, inverse


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _norm_back(  # type: ignore[no-untyped-def]
    d_normed, x, weight, means, inverses, d_other, out, d_stride, x_stride, other_stride, N: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    is_there = column < N
    mean, inverse = tl.load(means + row), tl.load(inverses + row)
    value = tl.load(x + row * x_stride + column, mask=is_there, other=0.0).to(tl.float32)
    centred = tl.where(is_there, (value - mean) * inverse, 0.0)
    gain = tl.load(weight + column, mask=is_there, other=0.0).to(tl.float32)
    d = tl.load(d_normed + row * d_stride + column, mask=is_there, other=0.0).to(tl.float32) * gain
    other = tl.load(d_other + row * other_stride + column, mask=is_there, other=0.0).to(tl.float32)
    d = (d - tl.sum(d, 0) / N - centred * (tl.sum(d * centred, 0) / N)) * inverse
    tl.store(out + row * N + column, (d + other).to(out.dtype.element_ty), mask=is_there)


def norm_back(d_normed: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, d_other: Tensor) -> Tensor:
    n_rows, n = x.shape
    out = torch.empty_like(x)
    _norm_back[(n_rows,)](
        d_normed, x, weight, mean, inverse, d_other, out, d_normed.stride(0), x.stride(0), d_other.stride(0), N=n,
        WIDTH=triton.next_power_of_2(n), num_warps=8,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _rotate(  # type: ignore[no-untyped-def]
    x, cos, sin, n_rows, stride, sign, HEADS: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)  # token * HEADS + head
    is_row = (row < n_rows)[:, None]
    token = row // HEADS
    element = tl.arange(0, HALF)[None, :]
    place = x + token[:, None] * stride + (row % HEADS)[:, None] * (2 * HALF) + element
    angle = token[:, None] * HALF + element
    c = tl.load(cos + angle, mask=is_row, other=0.0)
    s = tl.load(sin + angle, mask=is_row, other=0.0) * sign
    a = tl.load(place, mask=is_row, other=0.0).to(tl.float32)
    b = tl.load(place + HALF, mask=is_row, other=0.0).to(tl.float32)
    tl.store(place, (a * c - b * s).to(x.dtype.element_ty), mask=is_row)
    tl.store(place + HALF, (b * c + a * s).to(x.dtype.element_ty), mask=is_row)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor], is_back: bool) -> None:
    n_tokens, n_heads, size = x.shape
    n_rows, rows = n_tokens * n_heads, 64
    _rotate[(triton.cdiv(n_rows, rows),)](
        x, *rope, n_rows, x.stride(0), -1.0 if is_back else 1.0, HEADS=n_heads, HALF=size // 2, ROWS=rows, num_warps=4
    )


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _share(x, IS_TANH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the share of x that GELU lets through (GELU is x times it), and the slope of that share."""
    if IS_TANH:
        share = tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))  # (1 + tanh) / 2
        return share, 1.5957691216057308 * share * (1 - share) * (1 + 3 * 0.044715 * x * x)
    # erf by 7.1.26 of Abramowitz and Stegun, to within 2e-7: the library's costs more than reading x does
    density = tl.exp(-0.5 * x * x)
    t = 1 / (1 + 0.2316419 * tl.abs(x))
    poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    tail = 0.5 * poly * density
    return tl.where(x < 0, tail, 1 - tail), 0.3989422804014327 * density


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gelu(  # type: ignore[no-untyped-def]
    x, out, u, b, n_rows, x_stride, out_stride, u_stride, b_stride, N: tl.constexpr, RANK: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, IS_TANH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    is_row, is_column = (row < n_rows)[:, None], (column < N)[None, :]
    is_there = is_row & is_column
    value = tl.load(x + row[:, None] * x_stride + column[None, :], mask=is_there, other=0.0).to(tl.float32)
    if RANK:
        value += _low_rank(u, b, row, column, is_row, is_column, u_stride, b_stride, RANK)
    share, _ = _share(value, IS_TANH)
    tl.store(out + row[:, None] * out_stride + column[None, :], (value * share).to(out.dtype.element_ty), mask=is_there)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _low_rank(u, b, row, column, is_row, is_column, u_stride, b_stride, RANK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return rows of u (T, RANK) times rows of b (n, RANK) transposed."""
    rank = tl.arange(0, RANK)
    narrow = tl.load(u + row[:, None] * u_stride + rank[None, :], mask=is_row, other=0.0)
    back = tl.load(b + column[None, :] * b_stride + rank[:, None], mask=is_column, other=0.0)
    return tl.dot(narrow, back)


def gelu(x: Tensor, kind: str, out: Tensor, u: Tensor | None = None, b: Tensor | None = None) -> None:
    (n_rows, n), (rows, width) = x.shape, _GELU_TILE
    _gelu[(triton.cdiv(n, width), triton.cdiv(n_rows, rows))](
        x, out, u, b, n_rows, x.stride(0), out.stride(0), 0 if u is None else u.stride(0), 0 if b is None else b.stride(0),
        N=n, RANK=0 if u is None else u.shape[1], ROWS=rows, WIDTH=width, IS_TANH=kind == "tanh", num_warps=4,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gelu_back(  # type: ignore[no-untyped-def]
    x, d_y, d_u, a, out, u, b, n_rows, x_stride, d_y_stride, d_u_stride, a_stride, out_stride, u_stride, b_stride,
    N: tl.constexpr, WIDE: tl.constexpr, RANK: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
    IS_TANH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    rank = tl.arange(0, WIDE)
    is_row, is_column = (row < n_rows)[:, None], (column < N)[None, :]
    is_there = is_row & is_column
    value = tl.load(x + row[:, None] * x_stride + column[None, :], mask=is_there, other=0.0).to(tl.float32)
    if RANK:
        value += _low_rank(u, b, row, column, is_row, is_column, u_stride, b_stride, RANK)
    d_narrow = tl.load(d_u + row[:, None] * d_u_stride + rank[None, :], mask=is_row, other=0.0)
    d = tl.dot(d_narrow, tl.load(a + rank[:, None] * a_stride + column[None, :], mask=is_column, other=0.0))
    d += tl.load(d_y + row[:, None] * d_y_stride + column[None, :], mask=is_there, other=0.0).to(tl.float32)
    share, slope = _share(value, IS_TANH)
    place = out + row[:, None] * out_stride + column[None, :]
    tl.store(place, (d * (share + value * slope)).to(out.dtype.element_ty), mask=is_there)


def gelu_back(
    x: Tensor, kind: str, d_y: Tensor, d_u: Tensor, a: Tensor, out: Tensor, u: Tensor | None = None,
    b: Tensor | None = None,
) -> None:  # fmt: skip
    (n_rows, n), (rows, width) = x.shape, _GELU_TILE
    _gelu_back[(triton.cdiv(n, width), triton.cdiv(n_rows, rows))](
        x, d_y, d_u, a, out, u, b, n_rows, x.stride(0), d_y.stride(0), d_u.stride(0), a.stride(0), out.stride(0),
        0 if u is None else u.stride(0), 0 if b is None else b.stride(0), N=n, WIDE=d_u.shape[1],
        RANK=0 if u is None else u.shape[1], ROWS=rows, WIDTH=width, IS_TANH=kind == "tanh", num_warps=4,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _add(  # type: ignore[no-untyped-def]
    y, other, u, b, n_rows, y_stride, other_stride, u_stride, b_stride, N: tl.constexpr, RANK: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    is_row, is_column = (row < n_rows)[:, None], (column < N)[None, :]
    is_there = is_row & is_column
    place = y + row[:, None] * y_stride + column[None, :]
    value = tl.load(place, mask=is_there, other=0.0).to(tl.float32)
    value += tl.load(other + row[:, None] * other_stride + column[None, :], mask=is_there, other=0.0).to(tl.float32)
    value += _low_rank(u, b, row, column, is_row, is_column, u_stride, b_stride, RANK)
    tl.store(place, value.to(y.dtype.element_ty), mask=is_there)


def add(y: Tensor, other: Tensor, u: Tensor, b: Tensor) -> None:
    (n_rows, n), (rows, width) = y.shape, _GELU_TILE
    _add[(triton.cdiv(n, width), triton.cdiv(n_rows, rows))](
        y, other, u, b, n_rows, y.stride(0), other.stride(0), u.stride(0), b.stride(0), N=n, RANK=u.shape[1],
        ROWS=rows, WIDTH=width, num_warps=4,
    )  # fmt: skip


def attend(heads: Heads, documents: Documents, q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> Tensor:
    assert documents.starts is not None
    return attend_forward(q, k, v, documents.starts, heads.scale, out)


def attend_back(
    heads: Heads, documents: Documents, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: Tensor, d_out: Tensor,
    d_q: Tensor, d_k: Tensor, d_v: Tensor,
) -> None:  # fmt: skip
    assert documents.starts is not None
    assert documents.ends is not None
    found = attend_backward(q, k, v, documents.starts, documents.ends, heads.scale, out, kept, d_out, d_q)
    d_k.copy_(found[0])
    d_v.copy_(found[1])


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _grade(logits, labels, losses, stride, N: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    label = tl.load(labels + row)
    highest = tl.full([WIDTH], float("-inf"), tl.float32)
    total = tl.zeros([WIDTH], tl.float32)
    for i in range(0, N, WIDTH):
        column = i + tl.arange(0, WIDTH)
        value = tl.load(logits + row * stride + column, mask=column < N, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(highest, value)
        safe = tl.where(higher == float("-inf"), 0.0, higher)
        total = total * tl.exp(highest - safe) + tl.exp(value - safe)
        highest = higher
    top = tl.max(highest, 0)
    level = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    tl.store(losses + row, level - tl.load(logits + row * stride + label).to(tl.float32))
    tl.debug_barrier()  # the label's logit is read before it is written over
    for i in range(0, N, WIDTH):
        column = i + tl.arange(0, WIDTH)
        value = tl.load(logits + row * stride + column, mask=column < N, other=0.0).to(tl.float32)
        d = tl.exp(value - level) - tl.where(column == label, 1.0, 0.0)
        tl.store(logits + row * stride + column, d.to(logits.dtype.element_ty), mask=column < N)


def grade(logits: Tensor, labels: Tensor) -> Tensor:
    n_rows, n = logits.shape
    losses = logits.new_empty(n_rows, dtype=torch.float32)
    _grade[(n_rows,)](logits, labels, losses, logits.stride(0), N=n, WIDTH=4096, num_warps=8)
    return losses


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _widen(codes, largest, levels, out, out_stride, N: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    pair = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    both = tl.load(codes + row * (N // 2) + pair, mask=pair < N // 2, other=0).to(tl.int32)
    value = tl.interleave(tl.load(levels + (both >> 4)), tl.load(levels + (both & 15)))
    column = tl.program_id(1) * (2 * WIDTH) + tl.arange(0, 2 * WIDTH)
    scale = tl.load(largest + (row * N + column) // 64, mask=column < N, other=0.0).to(tl.float32)
    tl.store(out + row * out_stride + column, (value * scale).to(out.dtype.element_ty), mask=column < N)


def widen(codes: Tensor, largest: Tensor, levels: Tensor, out: Tensor) -> None:
    n_rows, n = out.shape
    width = 512
    _widen[(n_rows, triton.cdiv(n, 2 * width))](
        codes, largest, levels, out, out.stride(0), N=n, WIDTH=width, num_warps=4
    )


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _to_fp8(x, out, scales, stride, N: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    value = tl.load(x + row * stride + column, mask=column < N, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(value), 0), 1e-12) / _E4M3_MAX
    tl.store(scales + row, scale)
    value = tl.minimum(tl.maximum(value / scale, -_E4M3_MAX), _E4M3_MAX)
    tl.store(out + row * N + column, value.to(out.dtype.element_ty), mask=column < N)


def to_fp8(x: Tensor) -> tuple[Tensor, Tensor]:
    n_rows, n = x.shape
    out = x.new_empty((n_rows, n), dtype=torch.float8_e4m3fn)
    scale = x.new_empty((n_rows, 1), dtype=torch.float32)
    width = triton.next_power_of_2(n)
    _to_fp8[(n_rows,)](x, out, scale, x.stride(0), N=n, WIDTH=width, num_warps=min(16, max(4, width // 1024)))
    return out, scale
