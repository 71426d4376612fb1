"""The steps between the products of a Falcon block as Triton kernels: each tensor is read and written once.

`clone.finetune.plain` says what each computes; columns of a wider tensor will do for any argument. Needs CUDA and
Triton, which comes with torch there; imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]
from torch import Tensor

from clone.finetune.attention import attend_backward, attend_forward
from clone.finetune.documents import Documents
from clone.lm.model import Heads

_E4M3_MAX = tl.constexpr(448.0)


@dataclass(frozen=True, slots=True)
class Tile:
    """How the work of a kernel that reads a wide tensor is cut."""

    rows: int
    width: int
    warps: int = 4


# The fastest of those tried on an H200 with Falcon-7B's widths.
_GELU = Tile(rows=32, width=128)
_GELU_BACK = Tile(rows=64, width=64)
_ADD = Tile(rows=32, width=128)
_NORM_WARPS = 4


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _load(x, columns, is_there):  # type: ignore[no-untyped-def]
    return tl.load(x + columns, mask=is_there, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _norm(  # type: ignore[no-untyped-def]
    x, weight, bias, eps, out, means, inverses, x_stride, out_stride, N: tl.constexpr, HEAD: tl.constexpr,
    TAIL: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    x += row * x_stride
    out += row * out_stride
    head, tail = tl.arange(0, HEAD), HEAD + tl.arange(0, TAIL)
    in_head, in_tail = head < N, tail < N
    a, b = _load(x, head, in_head), _load(x, tail, in_tail)
    mean = (tl.sum(a, 0) + tl.sum(b, 0)) / N
    a, b = a - mean, tl.where(in_tail, b - mean, 0.0)
    inverse = 1 / tl.sqrt((tl.sum(a * a, 0) + tl.sum(b * b, 0)) / N + eps)
    a = a * inverse * _load(weight, head, in_head) + _load(bias, head, in_head)
    b = b * inverse * _load(weight, tail, in_tail) + _load(bias, tail, in_tail)
    tl.store(out + head, a.to(out.dtype.element_ty), mask=in_head)
    tl.store(out + tail, b.to(out.dtype.element_ty), mask=in_tail)
    tl.store(means + row, mean)
    tl.store(inverses + row, inverse)


def _halves(n: int) -> dict[str, int]:
    """Return two powers of two that hold a row of n together, the first of them full."""
    head = triton.next_power_of_2(n) // 2
    return {"HEAD": head, "TAIL": triton.next_power_of_2(n - head)}


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, out: Tensor) -> tuple[Tensor, Tensor]:
    n_rows, n = x.shape
    mean, inverse = x.new_empty((2, n_rows), dtype=torch.float32)
    _norm[(n_rows,)](
        x, weight, bias, eps, out, mean, inverse, x.stride(0), out.stride(0), N=n, **_halves(n), num_warps=_NORM_WARPS
    )
    return mean, inverse


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _norm_back(  # type: ignore[no-untyped-def]
    d_normed, x, weight, means, inverses, d_other, out, d_stride, x_stride, other_stride, N: tl.constexpr,
    HEAD: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    x += row * x_stride
    d_normed += row * d_stride
    d_other += row * other_stride
    out += row * N
    head, tail = tl.arange(0, HEAD), HEAD + tl.arange(0, TAIL)
    in_head, in_tail = head < N, tail < N
    other_a, other_b = _load(d_other, head, in_head), _load(d_other, tail, in_tail)
    mean, inverse = tl.load(means + row), tl.load(inverses + row)
    a, b = (_load(x, head, in_head) - mean) * inverse, (_load(x, tail, in_tail) - mean) * inverse
    d_a = _load(d_normed, head, in_head) * _load(weight, head, in_head)
    d_b = _load(d_normed, tail, in_tail) * _load(weight, tail, in_tail)  # 0 beyond the end, so what b is there is lost
    level = (tl.sum(d_a, 0) + tl.sum(d_b, 0)) / N
    slope = (tl.sum(d_a * a, 0) + tl.sum(d_b * b, 0)) / N
    d_a = (d_a - level - a * slope) * inverse + other_a
    d_b = (d_b - level - b * slope) * inverse + other_b
    tl.store(out + head, d_a.to(out.dtype.element_ty), mask=in_head)
    tl.store(out + tail, d_b.to(out.dtype.element_ty), mask=in_tail)


def norm_back(d_normed: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, d_other: Tensor) -> Tensor:
    n_rows, n = x.shape
    out = torch.empty_like(x)
    _norm_back[(n_rows,)](
        d_normed, x, weight, mean, inverse, d_other, out, d_normed.stride(0), x.stride(0), d_other.stride(0), N=n,
        **_halves(n), num_warps=_NORM_WARPS,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _rotate(  # type: ignore[no-untyped-def]
    x, cos, sin, n_rows, stride, HEADS: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)  # token * HEADS + head
    is_row = (row < n_rows)[:, None]
    token = row // HEADS
    element = tl.arange(0, HALF)[None, :]
    place = x + token[:, None] * stride + (row % HEADS)[:, None] * (2 * HALF) + element
    angle = token[:, None] * HALF + element
    c = tl.load(cos + angle, mask=is_row, other=0.0)
    s = tl.load(sin + angle, mask=is_row, other=0.0)
    a = tl.load(place, mask=is_row, other=0.0).to(tl.float32)
    b = tl.load(place + HALF, mask=is_row, other=0.0).to(tl.float32)
    tl.store(place, (a * c - b * s).to(x.dtype.element_ty), mask=is_row)
    tl.store(place + HALF, (b * c + a * s).to(x.dtype.element_ty), mask=is_row)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> None:
    n_tokens, n_heads, size = x.shape
    n_rows, rows = n_tokens * n_heads, 64
    _rotate[(triton.cdiv(n_rows, rows),)](
        x, *rope, n_rows, x.stride(0), HEADS=n_heads, HALF=size // 2, ROWS=rows, num_warps=4
    )


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _share(x, IS_TANH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the share of x that GELU lets through (GELU is x times it), and the slope of that share.

    Both kinds are a logistic function of x times a polynomial of x squared. For the exact one, whose share is that of
    the normal distribution, it was fitted: GELU is within 3e-5, a hundredth of what bf16 rounds away. Its library
    function costs more than reading x does.
    """
    square = tl.minimum(x * x, 64.0)  # beyond, the share is 0 or 1
    if IS_TANH:  # (1 + tanh) / 2
        level = 1.5957691216057308 + 0.07135481282 * square
        rise = 1.5957691216057308 + 0.21406443847 * square
    else:
        level = -2.135840320558291e-05 + 6.85339590280113e-07 * square
        level = 0.07378200926347114 + square * (-0.0005632764294219656 + square * level)
        level = 1.595070311636395 + square * level
        rise = -1.4950882243908037e-04 + 6.168056312521017e-06 * square
        rise = 0.22134602779041342 + square * (-0.002816382147109828 + square * rise)
        rise = 1.595070311636395 + square * rise
    share = 1 / (1 + tl.exp2(-1.4426950408889634 * (x * level)))
    return share, (share - share * share) * rise


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _before_gelu(  # type: ignore[no-untyped-def]
    x, u, b, row, column, is_row, is_column, x_stride, u_stride, b_stride, RANK: tl.constexpr
):
    """Return a tile of x, or of x + u b, in fp32."""
    place = x + row[:, None] * x_stride + column[None, :]
    value = tl.load(place, mask=is_row & is_column, other=0.0).to(tl.float32)
    if RANK:
        value += _low_rank(u, b, row, column, is_row, is_column, u_stride, b_stride, RANK)
    return value


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _low_rank(u, b, row, column, is_row, is_column, u_stride, b_stride, RANK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return rows of u (T, RANK) times columns of b (RANK, n)."""
    rank = tl.arange(0, RANK)
    narrow = tl.load(u + row[:, None] * u_stride + rank[None, :], mask=is_row, other=0.0)
    back = tl.load(b + rank[:, None] * b_stride + column[None, :], mask=is_column, other=0.0)
    return tl.dot(narrow, back)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gelu(  # type: ignore[no-untyped-def]
    x, out, u, b, n_rows, x_stride, out_stride, u_stride, b_stride, N: tl.constexpr, RANK: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, IS_TANH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    is_row, is_column = (row < n_rows)[:, None], (column < N)[None, :]
    value = _before_gelu(x, u, b, row, column, is_row, is_column, x_stride, u_stride, b_stride, RANK)
    share, _ = _share(value, IS_TANH)
    place = out + row[:, None] * out_stride + column[None, :]
    tl.store(place, (value * share).to(out.dtype.element_ty), mask=is_row & is_column)


def gelu(x: Tensor, kind: str, out: Tensor, u: Tensor | None = None, b: Tensor | None = None) -> None:
    (n_rows, n), tile = x.shape, _GELU
    _gelu[(triton.cdiv(n, tile.width), triton.cdiv(n_rows, tile.rows))](
        x, out, u, b, n_rows, x.stride(0), out.stride(0), *_low_rank_strides(u, b), N=n,
        RANK=0 if b is None else len(b), ROWS=tile.rows, WIDTH=tile.width, IS_TANH=kind == "tanh",
        num_warps=tile.warps,
    )  # fmt: skip


def _low_rank_strides(u: Tensor | None, b: Tensor | None) -> tuple[int, int]:
    return 0 if u is None else u.stride(0), 0 if b is None else b.stride(0)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gelu_back(  # type: ignore[no-untyped-def]
    x, d_y, d_u, a, out, u, b, n_rows, x_stride, d_y_stride, d_u_stride, a_stride, out_stride, u_stride, b_stride,
    N: tl.constexpr, WIDE: tl.constexpr, RANK: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
    IS_TANH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    is_row, is_column = (row < n_rows)[:, None], (column < N)[None, :]
    value = _before_gelu(x, u, b, row, column, is_row, is_column, x_stride, u_stride, b_stride, RANK)
    d = _before_gelu(d_y, d_u, a, row, column, is_row, is_column, d_y_stride, d_u_stride, a_stride, WIDE)
    share, slope = _share(value, IS_TANH)
    place = out + row[:, None] * out_stride + column[None, :]
    tl.store(place, (d * (share + value * slope)).to(out.dtype.element_ty), mask=is_row & is_column)


def gelu_back(
    x: Tensor, kind: str, d_y: Tensor, d_u: Tensor, a: Tensor, out: Tensor, u: Tensor | None = None,
    b: Tensor | None = None,
) -> None:  # fmt: skip
    (n_rows, n), tile = x.shape, _GELU_BACK
    _gelu_back[(triton.cdiv(n, tile.width), triton.cdiv(n_rows, tile.rows))](
        x, d_y, d_u, a, out, u, b, n_rows, x.stride(0), d_y.stride(0), d_u.stride(0), a.stride(0), out.stride(0),
        *_low_rank_strides(u, b), N=n, WIDE=len(a), RANK=0 if b is None else len(b), ROWS=tile.rows,
        WIDTH=tile.width, IS_TANH=kind == "tanh", num_warps=tile.warps,
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
    (n_rows, n), tile = y.shape, _ADD
    _add[(triton.cdiv(n, tile.width), triton.cdiv(n_rows, tile.rows))](
        y, other, u, b, n_rows, y.stride(0), other.stride(0), u.stride(0), b.stride(0), N=n, RANK=u.shape[1],
        ROWS=tile.rows, WIDTH=tile.width, num_warps=tile.warps,
    )  # fmt: skip


def attend(
    heads: Heads, documents: Documents, rope: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, out: Tensor
) -> Tensor:
    assert documents.starts is not None
    rotate(k, rope)
    return attend_forward(q, k, v, documents.starts, heads.scale, out, rope)


def attend_back(
    heads: Heads, documents: Documents, rope: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, out: Tensor,
    kept: Tensor, d_out: Tensor, d_q: Tensor, d_k: Tensor, d_v: Tensor,
) -> None:  # fmt: skip
    assert documents.starts is not None
    assert documents.ends is not None
    attend_backward(
        q, k, v, documents.starts, documents.ends, heads.scale, out, kept, d_out, d_q, d_k, d_v, rope
    )  # fmt: skip


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


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _copy_all(sources, targets, sizes, strides, scales, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    cell = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    for i in tl.static_range(len(sources)):
        if tl.program_id(1) == i:
            n_rows, n_columns = sizes[i]
            row_stride, column_stride, to_row, to_column = strides[i]
            row, column = cell // n_columns, cell % n_columns
            place = sources[i] + row * row_stride + column * column_stride
            value = tl.load(place, mask=row < n_rows, other=0.0).to(tl.float32) * scales[i]
            place = targets[i] + row * to_row + column * to_column
            tl.store(place, value.to(targets[i].dtype.element_ty), mask=row < n_rows)


def copy_all(copies: Sequence[tuple[Tensor, Tensor, float]]) -> None:
    sources, targets, scales = zip(*copies, strict=True)
    strides = tuple((*source.stride(), *target.stride()) for source, target, _ in copies)
    width = 1024
    _copy_all[(max(triton.cdiv(target.numel(), width) for target in targets), len(copies))](
        sources, targets, tuple(tuple(target.shape) for target in targets), strides, scales, WIDTH=width, num_warps=4
    )
