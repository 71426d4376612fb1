"""Attention within packed documents for bases whose query heads share keys and values, as Triton kernels.

Falcon-7B has 71 query heads on one head of keys and values, and chats are short. The kernels lay the query heads of
a group beside each other as rows, token by token, so that 128 rows are two tokens of Falcon: no tile is wasted on
the unseen half of a short document, K and V are never repeated, and their gradients are summed in registers. The
algorithm is FlashAttention's (https://arxiv.org/abs/2205.14135, backward as in https://arxiv.org/abs/2307.08691).

Needs CUDA and Triton, which comes with torch there; imported where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tile:
    """How the work is cut."""

    rows: int  # queries times heads of a program
    columns: int  # keys that it looks at together
    parts: int = 1  # programs that share the rows above one block of keys
    warps: int = 4
    stages: int = 3


# The fastest of those tried on an H200 with Falcon-7B's heads, for chats of 120 tokens and for documents of 480.
_FORWARD = Tile(rows=64, columns=32)
_TO_QUERIES = Tile(rows=64, columns=32)
_TO_KEYS = Tile(rows=64, columns=64, parts=16)

_Rope = tuple[Tensor, Tensor]  # cosines and sines, (T, 1, hs / 2) fp32


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _clear(starts, first, first_token, last, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return up to which key every row of a tile sees all: none where its tokens are of two documents."""
    is_one = tl.load(starts + last) == first
    return first + tl.where(is_one, (first_token + 1 - first) // COLUMNS * COLUMNS, 0)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _turned(  # type: ignore[no-untyped-def]
    query, q, cos, sin, token, is_row, within, q_stride, SIZE: tl.constexpr
):
    """Return a tile of queries rotated, and write it where it came from."""
    element = tl.arange(0, SIZE)
    is_second = (element >= SIZE // 2)[None, :]
    other = tl.where(is_second, -SIZE // 2, SIZE // 2)
    place = q + token[:, None] * q_stride + within
    partner = tl.load(place + other, mask=is_row[:, None], other=0.0).to(tl.float32)
    angle = token[:, None] * (SIZE // 2) + (element % (SIZE // 2))[None, :]
    c = tl.load(cos + angle, mask=is_row[:, None], other=0.0)
    s = tl.load(sin + angle, mask=is_row[:, None], other=0.0)
    turned = (query.to(tl.float32) * c + partner * tl.where(is_second, s, -s)).to(query.dtype)
    tl.debug_barrier()  # all have read before one writes
    tl.store(place, turned, mask=is_row[:, None])
    return turned


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gather(  # type: ignore[no-untyped-def]
    query, k, v, j, token, start, last, highest, total, summed, k_stride, v_stride, group, scale, SIZE: tl.constexpr,
    COLUMNS: tl.constexpr, IS_MASKED: tl.constexpr,
):  # fmt: skip
    column = j + tl.arange(0, COLUMNS)
    element = tl.arange(0, SIZE)
    is_column = column <= last
    key = tl.load(k + column[None, :] * k_stride + group * SIZE + element[:, None], mask=is_column[None, :], other=0.0)
    score = tl.dot(query, key) * (scale * 1.4426950408889634)
    if IS_MASKED:
        sees = (column[None, :] <= token[:, None]) & (column[None, :] >= start[:, None])
        score = tl.where(sees, score, float("-inf"))
    higher = tl.maximum(highest, tl.max(score, 1))
    safe = tl.where(higher == float("-inf"), 0.0, higher)
    share = tl.exp2(score - safe[:, None])
    fade = tl.exp2(highest - safe)
    total = total * fade + tl.sum(share, 1)
    value = tl.load(
        v + column[:, None] * v_stride + group * SIZE + element[None, :], mask=is_column[:, None], other=0.0
    )
    summed = summed * fade[:, None] + tl.dot(share.to(value.dtype), value)
    return higher, total, summed


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _attend(  # type: ignore[no-untyped-def]
    q, k, v, cos, sin, starts, out, lse, n_tokens, q_stride, k_stride, v_stride, out_stride, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ROTATES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1)
    first_row = tl.program_id(0) * ROWS
    rows = first_row + tl.arange(0, ROWS)  # token * GROUP + head within the group
    token = rows // GROUP
    is_row = token < n_tokens
    head = group * GROUP + rows % GROUP
    element = tl.arange(0, SIZE)
    within = head[:, None] * SIZE + element[None, :]
    start = tl.load(starts + token, mask=is_row, other=0)
    query = tl.load(q + token[:, None] * q_stride + within, mask=is_row[:, None], other=0.0)
    if ROTATES:
        query = _turned(query, q, cos, sin, token, is_row, within, q_stride, SIZE)
    first = tl.load(starts + first_row // GROUP)
    last = tl.minimum((first_row + ROWS - 1) // GROUP, n_tokens - 1)
    highest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS, SIZE], tl.float32)
    clear = _clear(starts, first, first_row // GROUP, last, COLUMNS)
    for j in range(first, clear, COLUMNS):
        highest, total, summed = _gather(
            query, k, v, j, token, start, last, highest, total, summed, k_stride, v_stride, group, scale, SIZE, COLUMNS,
            False,
        )  # fmt: skip
    for j in range(clear, last + 1, COLUMNS):
        highest, total, summed = _gather(
            query, k, v, j, token, start, last, highest, total, summed, k_stride, v_stride, group, scale, SIZE, COLUMNS,
            True,
        )  # fmt: skip
    total = tl.where(total == 0.0, 1.0, total)
    answer = summed / total[:, None]
    tl.store(out + token[:, None] * out_stride + within, answer.to(out.dtype.element_ty), mask=is_row[:, None])
    tl.store(lse + token * HEADS + head, highest + tl.log2(total), mask=is_row)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _to_queries(  # type: ignore[no-untyped-def]
    query, gradient, level, weight, k, v, j, token, start, last, k_stride, v_stride, group, scale, SIZE: tl.constexpr,
    COLUMNS: tl.constexpr, IS_MASKED: tl.constexpr,
):  # fmt: skip
    column = j + tl.arange(0, COLUMNS)
    element = tl.arange(0, SIZE)
    is_column = column <= last
    key = tl.load(k + column[:, None] * k_stride + group * SIZE + element[None, :], mask=is_column[:, None], other=0.0)
    value = tl.load(
        v + column[:, None] * v_stride + group * SIZE + element[None, :], mask=is_column[:, None], other=0.0
    )
    score = tl.dot(query, tl.trans(key)) * (scale * 1.4426950408889634)
    share = tl.exp2(score - level[:, None])
    if IS_MASKED:
        sees = (column[None, :] <= token[:, None]) & (column[None, :] >= start[:, None])
        share = tl.where(sees, share, 0.0)
    d_share = tl.dot(gradient, tl.trans(value))
    d_score = share * (d_share - weight[:, None])
    return tl.dot(d_score.to(key.dtype), key)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _attend_back_to_queries(  # type: ignore[no-untyped-def]
    q, k, v, cos, sin, starts, out, lse, d_out, d_q, delta, n_tokens, q_stride, k_stride, v_stride, out_stride,
    d_out_stride, d_q_stride, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ROTATES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1)
    first_row = tl.program_id(0) * ROWS
    rows = first_row + tl.arange(0, ROWS)
    token = rows // GROUP
    is_row = token < n_tokens
    head = group * GROUP + rows % GROUP
    place = token * HEADS + head
    element = tl.arange(0, SIZE)
    within = head[:, None] * SIZE + element[None, :]
    start = tl.load(starts + token, mask=is_row, other=0)
    query = tl.load(q + token[:, None] * q_stride + within, mask=is_row[:, None], other=0.0)
    gradient = tl.load(d_out + token[:, None] * d_out_stride + within, mask=is_row[:, None], other=0.0)
    answer = tl.load(out + token[:, None] * out_stride + within, mask=is_row[:, None], other=0.0)
    weight = tl.sum(gradient.to(tl.float32) * answer.to(tl.float32), 1)
    tl.store(delta + place, weight, mask=is_row)
    level = tl.load(lse + place, mask=is_row, other=0.0)
    first = tl.load(starts + first_row // GROUP)
    last = tl.minimum((first_row + ROWS - 1) // GROUP, n_tokens - 1)
    summed = tl.zeros([ROWS, SIZE], tl.float32)
    clear = _clear(starts, first, first_row // GROUP, last, COLUMNS)
    for j in range(first, clear, COLUMNS):
        summed += _to_queries(
            query, gradient, level, weight, k, v, j, token, start, last, k_stride, v_stride, group, scale, SIZE,
            COLUMNS, False,
        )  # fmt: skip
    for j in range(clear, last + 1, COLUMNS):
        summed += _to_queries(
            query, gradient, level, weight, k, v, j, token, start, last, k_stride, v_stride, group, scale, SIZE,
            COLUMNS, True,
        )  # fmt: skip
    summed *= scale
    cell = d_q + token[:, None] * d_q_stride
    if ROTATES:
        half = tl.arange(0, SIZE // 2)[None, :]
        a, b = tl.split(tl.permute(tl.reshape(summed, (ROWS, 2, SIZE // 2)), (0, 2, 1)))
        a, b = _turned_back(a, b, cos, sin, token[:, None] * (SIZE // 2) + half, is_row[:, None])
        cell += head[:, None] * SIZE + half
        tl.store(cell, a.to(d_q.dtype.element_ty), mask=is_row[:, None])
        tl.store(cell + SIZE // 2, b.to(d_q.dtype.element_ty), mask=is_row[:, None])
    else:
        tl.store(cell + within, summed.to(d_q.dtype.element_ty), mask=is_row[:, None])


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _turned_back(a, b, cos, sin, angle, is_row):  # type: ignore[no-untyped-def]
    """Return first and second half of rotated heads rotated back."""
    c = tl.load(cos + angle, mask=is_row, other=0.0)
    s = tl.load(sin + angle, mask=is_row, other=0.0)
    return a * c + b * s, b * c - a * s


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _to_keys(  # type: ignore[no-untyped-def]
    i, key, value, q, d_out, starts, lse, delta, first_column, column, n_rows, q_stride, d_out_stride, group, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, IS_MASKED: tl.constexpr,
):  # fmt: skip
    row = i + tl.arange(0, ROWS)
    element = tl.arange(0, SIZE)
    token = first_column + row // GROUP
    is_row = row < n_rows
    head = group * GROUP + row % GROUP
    place = token * HEADS + head
    within = head[:, None] * SIZE + element[None, :]
    query = tl.load(q + token[:, None] * q_stride + within, mask=is_row[:, None], other=0.0)
    # a row that is not there has no gradient, and so adds nothing
    gradient = tl.load(d_out + token[:, None] * d_out_stride + within, mask=is_row[:, None], other=0.0)
    level = tl.load(lse + place, mask=is_row, other=0.0)
    weight = tl.load(delta + place, mask=is_row, other=0.0)
    score = tl.dot(query, tl.trans(key)) * (scale * 1.4426950408889634)
    share = tl.exp2(score - level[:, None])
    if IS_MASKED:
        start = tl.load(starts + token, mask=is_row, other=0)
        sees = (column[None, :] <= token[:, None]) & (column[None, :] >= start[:, None]) & is_row[:, None]
        share = tl.where(sees, share, 0.0)
    d_share = tl.dot(gradient, tl.trans(value))
    d_score = share * (d_share - weight[:, None])
    return tl.dot(tl.trans(d_score.to(query.dtype)), query), tl.dot(tl.trans(share.to(gradient.dtype)), gradient)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _attend_back_to_keys(  # type: ignore[no-untyped-def]
    q, k, v, starts, ends, lse, d_out, delta, d_k, d_v, n_tokens, q_stride, k_stride, v_stride, d_out_stride, scale,
    GROUPS: tl.constexpr, HEADS: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1)
    part = tl.program_id(2)
    first_column = tl.program_id(0) * COLUMNS
    column = first_column + tl.arange(0, COLUMNS)
    is_column = column < n_tokens
    element = tl.arange(0, SIZE)
    key = tl.load(k + column[:, None] * k_stride + group * SIZE + element[None, :], mask=is_column[:, None], other=0.0)
    value = tl.load(
        v + column[:, None] * v_stride + group * SIZE + element[None, :], mask=is_column[:, None], other=0.0
    )
    end = tl.load(ends + tl.minimum(first_column + COLUMNS - 1, n_tokens - 1))
    n_rows = (end - first_column) * GROUP
    summed_k = tl.zeros([COLUMNS, SIZE], tl.float32)
    summed_v = tl.zeros([COLUMNS, SIZE], tl.float32)
    step = ROWS * PARTS
    # Rows from the last column's token on see all columns, where these are of one document.
    n_near = tl.where(tl.load(ends + first_column) == end, (COLUMNS - 1) * GROUP, n_rows)
    masked = part * ROWS + tl.cdiv(tl.maximum(n_near - part * ROWS, 0), step) * step
    for i in range(masked, n_rows, step):
        more_k, more_v = _to_keys(
            i, key, value, q, d_out, starts, lse, delta, first_column, column, n_rows, q_stride, d_out_stride, group,
            scale, HEADS, GROUP, SIZE, ROWS, False,
        )  # fmt: skip
        summed_k += more_k
        summed_v += more_v
    for i in range(part * ROWS, tl.minimum(masked, n_rows), step):
        more_k, more_v = _to_keys(
            i, key, value, q, d_out, starts, lse, delta, first_column, column, n_rows, q_stride, d_out_stride, group,
            scale, HEADS, GROUP, SIZE, ROWS, True,
        )  # fmt: skip
        summed_k += more_k
        summed_v += more_v
    cell = ((part * n_tokens + column[:, None]) * GROUPS + group) * SIZE + element[None, :]
    tl.store(d_k + cell, summed_k * scale, mask=is_column[:, None])
    tl.store(d_v + cell, summed_v, mask=is_column[:, None])


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _sum_of_parts(  # type: ignore[no-untyped-def]
    parts_k, parts_v, cos, sin, d_k, d_v, n_tokens, k_stride, v_stride, GROUPS: tl.constexpr, SIZE: tl.constexpr,
    PARTS: tl.constexpr, ROWS: tl.constexpr, ROTATES: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    is_row = token < n_tokens
    group = tl.program_id(1)
    half = tl.arange(0, SIZE // 2)[None, :]
    is_key = tl.program_id(2) == 0
    parts = parts_k if is_key else parts_v
    cell = token * GROUPS * SIZE + group * SIZE + half
    a = tl.zeros([ROWS, SIZE // 2], tl.float32)
    b = tl.zeros([ROWS, SIZE // 2], tl.float32)
    for part in tl.static_range(PARTS):
        of_part = parts + part * n_tokens * GROUPS * SIZE + cell
        a += tl.load(of_part, mask=is_row, other=0.0)
        b += tl.load(of_part + SIZE // 2, mask=is_row, other=0.0)
    if ROTATES:  # noqa: SIM102 - decided when compiling, the other when running
        if is_key:
            a, b = _turned_back(a, b, cos, sin, token * (SIZE // 2) + half, is_row)
    out = d_k if is_key else d_v
    place = out + token * tl.where(is_key, k_stride, v_stride) + group * SIZE + half
    tl.store(place, a.to(out.dtype.element_ty), mask=is_row)
    tl.store(place + SIZE // 2, b.to(out.dtype.element_ty), mask=is_row)


def attend_forward(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, scale: float, out: Tensor, rope: _Rope | None = None,
    tile: Tile = _FORWARD,
) -> Tensor:  # fmt: skip
    """Write causal attention within documents to `out` and return the log2 of the softmax's sums, (T, n_head).

    q and `out` are (T, n_head, hs), k and v (T, n_groups, hs) with hs a power of two and the heads of a token side by
    side; `starts` (T,) int32 says of each token where its document begins. With `rope` q (not k) is rotated first, in
    place.
    """
    n_tokens, n_head, size = q.shape
    group = n_head // k.shape[1]
    lse = q.new_empty((n_tokens, n_head), dtype=torch.float32)
    _attend[(triton.cdiv(n_tokens * group, tile.rows), k.shape[1])](
        q, k, v, *(rope or (None, None)), starts, out, lse, n_tokens, q.stride(0), k.stride(0), v.stride(0),
        out.stride(0), scale, HEADS=n_head, GROUP=group, SIZE=size, ROWS=tile.rows, COLUMNS=tile.columns,
        ROTATES=rope is not None, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return lse


def attend_backward(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, scale: float, out: Tensor, lse: Tensor,
    d_out: Tensor, d_q: Tensor, d_k: Tensor, d_v: Tensor, rope: _Rope | None = None, to_queries: Tile = _TO_QUERIES,
    to_keys: Tile = _TO_KEYS,
) -> None:  # fmt: skip
    """Write the gradients of q, k and v to `d_q`, `d_k` and `d_v`; with `rope`, of q and k before their rotation."""
    n_tokens, n_head, size = q.shape
    groups = k.shape[1]
    group = n_head // groups
    delta = torch.empty_like(lse)
    turn, is_turned = rope or (None, None), rope is not None
    _attend_back_to_queries[(triton.cdiv(n_tokens * group, to_queries.rows), groups)](
        q, k, v, *turn, starts, out, lse, d_out, d_q, delta, n_tokens, q.stride(0), k.stride(0), v.stride(0),
        out.stride(0), d_out.stride(0), d_q.stride(0), scale, HEADS=n_head, GROUP=group, SIZE=size,
        ROWS=to_queries.rows, COLUMNS=to_queries.columns, ROTATES=is_turned, num_warps=to_queries.warps,
        num_stages=to_queries.stages,
    )  # fmt: skip
    parts_k = q.new_empty((to_keys.parts, n_tokens, groups, size), dtype=torch.float32)
    parts_v = torch.empty_like(parts_k)
    _attend_back_to_keys[(triton.cdiv(n_tokens, to_keys.columns), groups, to_keys.parts)](
        q, k, v, starts, ends, lse, d_out, delta, parts_k, parts_v, n_tokens, q.stride(0), k.stride(0), v.stride(0),
        d_out.stride(0), scale, GROUPS=groups, HEADS=n_head, GROUP=group, SIZE=size, ROWS=to_keys.rows,
        COLUMNS=to_keys.columns, PARTS=to_keys.parts, num_warps=to_keys.warps, num_stages=to_keys.stages,
    )  # fmt: skip
    rows = 16
    _sum_of_parts[(triton.cdiv(n_tokens, rows), groups, 2)](
        parts_k, parts_v, *turn, d_k, d_v, n_tokens, d_k.stride(0), d_v.stride(0), GROUPS=groups, SIZE=size,
        PARTS=to_keys.parts, ROWS=rows, ROTATES=is_turned, num_warps=4,
    )  # fmt: skip


# -- for blocks that torch compiles ------------------------------------------------------------------------------------


@torch.library.custom_op("clone::packed_attention", mutates_args=())
def packed_attention(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Return what `attend_forward` writes and returns."""
    q, k, v = _in_rows(q), _in_rows(k), _in_rows(v)
    out = torch.empty_like(q)
    return out, attend_forward(q, k, v, starts, scale, out)


@packed_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    out = q.new_empty(q.shape)
    return out, q.new_empty(q.shape[:2], dtype=torch.float32)


@torch.library.custom_op("clone::packed_attention_backward", mutates_args=())
def packed_attention_backward(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, scale: float, out: Tensor, lse: Tensor, d_out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v."""
    q, k, v, d_out = _in_rows(q), _in_rows(k), _in_rows(v), d_out.contiguous()
    d_q, d_k, d_v = torch.empty_like(q), k.new_empty(k.shape), v.new_empty(v.shape)
    attend_backward(q, k, v, starts, ends, scale, out, lse, d_out, d_q, d_k, d_v)
    return d_q, d_k, d_v


@packed_attention_backward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor, scale: float, out: Tensor, lse: Tensor, d_out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, starts, ends, scale = inputs
    ctx.save_for_backward(q, k, v, starts, ends, *output)
    ctx.scale = scale


def _back(ctx: Any, d_out: Tensor, d_lse: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, starts, ends, out, lse = ctx.saved_tensors
    return (*packed_attention_backward(q, k, v, starts, ends, ctx.scale, out, lse, d_out), None, None, None)


packed_attention.register_autograd(_back, setup_context=_keep)


def _in_rows(x: Tensor) -> Tensor:
    """Return (T, heads, hs) with the heads of a token side by side; tokens may be apart."""
    return x if x.stride()[1:] == (x.shape[2], 1) and x.shape[1] == 1 else x.contiguous()
