"""Triton kernels of one step at batch 1: products of a matrix with a few vectors, and attention to a cache.

A matrix-vector product is bound by memory, so that what counts is how many bytes are under way: 16-byte loads, a few
rows a program, many small programs, sums in fp32. Every sum has a fixed order, so that a reply can be repeated.
"""

# no `from __future__ import annotations`: Triton reads the annotations of kernels

import triton
import triton.language as tl


@triton.jit
def norm(x_ptr, gain_ptr, shift_ptr, out_ptr, eps, C: tl.constexpr, C_POW2: tl.constexpr):
    """out (B, C) = LayerNorm(x (B, C)); a program a row."""
    k = tl.arange(0, C_POW2)
    is_in = k < C
    x = tl.load(x_ptr + tl.program_id(0) * C + k, mask=is_in, other=0.0)
    gain = tl.load(gain_ptr + k, mask=is_in, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + k, mask=is_in, other=0.0).to(tl.float32)
    mean = tl.sum(x, 0) / C
    away = tl.where(is_in, x - mean, 0.0)
    y = away / tl.sqrt(tl.sum(away * away, 0) / C + eps) * gain + shift
    tl.store(out_ptr + tl.program_id(0) * C + k, y.to(out_ptr.dtype.element_ty), mask=is_in)


@triton.jit
def _dots(h_ptr, w_ptr, rows, is_row, b, K: tl.constexpr, B: tl.constexpr, R: tl.constexpr, BK: tl.constexpr):
    """h (B, K) times R rows of W (out, K): (B, R), summed in fp32."""
    acc = tl.zeros((B, R, BK), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        w = tl.load(
            w_ptr + rows[:, None] * K + k[None, :],
            mask=is_row[:, None] & (k < K)[None, :],
            other=0.0,
            eviction_policy="evict_first",  # read once a token: what is read often stays in the cache
        )
        h = tl.load(h_ptr + b[:, None] * K + k[None, :], mask=(k < K)[None, :], other=0.0)
        acc += w.to(tl.float32)[None, :, :] * h.to(tl.float32)[:, None, :]
    return tl.sum(acc, 2)


@triton.jit
def product(
    h_ptr,
    w_ptr,
    scale_ptr,
    out_ptr,
    n_out,
    K: tl.constexpr,
    B: tl.constexpr,
    R: tl.constexpr,
    BK: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_GELU: tl.constexpr,
):
    """out (B, n_out) = activation(h (B, K) W'); each program takes R rows of W (n_out, K)."""
    rows = tl.program_id(0) * R + tl.arange(0, R)
    is_row = rows < n_out
    b = tl.arange(0, B)
    y = _dots(h_ptr, w_ptr, rows, is_row, b, K, B, R, BK)
    if HAS_SCALE:
        y = y * tl.load(scale_ptr + rows, mask=is_row, other=0.0)[None, :]
    if HAS_GELU:
        y = 0.5 * y * (1 + tl.erf(y * 0.7071067811865476))
    tl.store(out_ptr + b[:, None] * n_out + rows[None, :], y.to(out_ptr.dtype.element_ty), mask=is_row[None, :])


@triton.jit
def add_products(
    x_ptr,
    a_ptr,
    w_ptr,
    scale_ptr,
    g_ptr,
    v_ptr,
    v_scale_ptr,
    C: tl.constexpr,
    K: tl.constexpr,
    L: tl.constexpr,
    B: tl.constexpr,
    R: tl.constexpr,
    BK: tl.constexpr,
    HAS_SCALE: tl.constexpr,
):
    """x (B, C) += a (B, K) W' + g (B, L) V'; each program takes R rows of W (C, K) and V (C, L)."""
    rows = tl.program_id(0) * R + tl.arange(0, R)
    is_row = rows < C
    b = tl.arange(0, B)
    y = _dots(g_ptr, v_ptr, rows, is_row, b, L, B, R, BK)
    z = _dots(a_ptr, w_ptr, rows, is_row, b, K, B, R, BK)
    if HAS_SCALE:
        y = y * tl.load(v_scale_ptr + rows, mask=is_row, other=0.0)[None, :]
        z = z * tl.load(scale_ptr + rows, mask=is_row, other=0.0)[None, :]
    at = x_ptr + b[:, None] * C + rows[None, :]
    x = tl.load(at, mask=is_row[None, :], other=0.0)
    tl.store(at, x + y + z, mask=is_row[None, :])


@triton.jit
def attend(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    k_ptr,
    v_ptr,
    position_ptr,
    out_ptr,
    stat_ptr,
    row_stride,
    scale,
    N_HEAD: tl.constexpr,
    N_PADDED: tl.constexpr,
    N_SPLIT: tl.constexpr,
    D: tl.constexpr,
    BS: tl.constexpr,
    BH: tl.constexpr,
):
    """Rotate q and k, put k and v into the cache, and attend to SPLIT positions of it.

    Leaves unnormalised sums in out (B, heads, splits, D) and maximum and weight in stat (B, heads, splits, 2).
    """
    split, block, b = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    position = tl.load(position_ptr)
    heads = block * BH + tl.arange(0, BH)
    where = (b * N_PADDED + heads) * N_SPLIT + split
    if split * BS > position:
        tl.store(stat_ptr + where * 2, tl.full((BH,), float("-inf"), tl.float32))
        tl.store(stat_ptr + where * 2 + 1, tl.zeros((BH,), tl.float32))
    else:
        H: tl.constexpr = D // 2
        d = tl.arange(0, H)
        cos = tl.load(cos_ptr + position * H + d)
        sin = tl.load(sin_ptr + position * H + d)
        mine = qkv_ptr + b * (N_HEAD + 2) * D
        is_head = (heads < N_HEAD)[:, None]
        q1 = tl.load(mine + heads[:, None] * D + d[None, :], mask=is_head, other=0.0).to(tl.float32)
        q2 = tl.load(mine + heads[:, None] * D + H + d[None, :], mask=is_head, other=0.0).to(tl.float32)
        kind = k_ptr.dtype.element_ty
        r1 = (q1 * cos[None, :] - q2 * sin[None, :]).to(kind)
        r2 = (q2 * cos[None, :] + q1 * sin[None, :]).to(kind)
        k1 = tl.load(mine + N_HEAD * D + d).to(tl.float32)
        k2 = tl.load(mine + N_HEAD * D + H + d).to(tl.float32)
        new1 = (k1 * cos - k2 * sin).to(kind)
        new2 = (k2 * cos + k1 * sin).to(kind)
        full = tl.arange(0, D)
        new_v = tl.load(mine + (N_HEAD + 1) * D + full).to(kind)
        at = split * BS + tl.arange(0, BS)
        is_old = (at < position)[:, None]
        is_new = (at == position)[:, None]
        keys = k_ptr + b * row_stride + at[:, None] * D
        values = v_ptr + b * row_stride + at[:, None] * D
        old1 = tl.where(is_new, new1[None, :], tl.load(keys + d[None, :], mask=is_old, other=0.0))
        old2 = tl.where(is_new, new2[None, :], tl.load(keys + H + d[None, :], mask=is_old, other=0.0))
        v = tl.where(is_new, new_v[None, :], tl.load(values + full[None, :], mask=is_old, other=0.0))
        is_mine = (block == 0) & (position < (split + 1) * BS)
        tl.store(k_ptr + b * row_stride + position * D + d, new1, mask=is_mine & (d < H))
        tl.store(k_ptr + b * row_stride + position * D + H + d, new2, mask=is_mine & (d < H))
        tl.store(v_ptr + b * row_stride + position * D + full, new_v, mask=is_mine & (full < D))
        scores = (tl.dot(r1, tl.trans(old1)) + tl.dot(r2, tl.trans(old2))) * scale
        scores = tl.where((at <= position)[None, :], scores, float("-inf"))
        top = tl.max(scores, 1)
        p = tl.exp(scores - top[:, None])
        tl.store(stat_ptr + where * 2, top)
        tl.store(stat_ptr + where * 2 + 1, tl.sum(p, 1))
        tl.store(out_ptr + where[:, None] * D + full[None, :], tl.dot(p.to(kind), v))


@triton.jit
def join_splits(
    out_ptr,
    stat_ptr,
    a_ptr,
    N_HEAD: tl.constexpr,
    N_PADDED: tl.constexpr,
    N_SPLIT: tl.constexpr,
    S_POW2: tl.constexpr,
    D: tl.constexpr,
):
    """a (B, heads, D): what the splits saw, weighed together. A program a head."""
    head, b = tl.program_id(0), tl.program_id(1)
    split = tl.arange(0, S_POW2)
    d = tl.arange(0, D)
    where = (b * N_PADDED + head) * N_SPLIT + split
    top = tl.load(stat_ptr + where * 2, mask=split < N_SPLIT, other=float("-inf"))
    weight = tl.load(stat_ptr + where * 2 + 1, mask=split < N_SPLIT, other=0.0)
    share = tl.where(weight > 0, tl.exp(top - tl.max(top, 0)), 0.0)
    seen = tl.load(out_ptr + where[:, None] * D + d[None, :], mask=(share > 0)[:, None], other=0.0)
    y = tl.sum(seen * share[:, None], 0) / tl.sum(weight * share, 0)
    tl.store(a_ptr + (b * N_HEAD + head) * D + d, y.to(a_ptr.dtype.element_ty))
