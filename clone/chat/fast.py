"""Falcon on a GPU, one token at a time, as fast as its weights can be read.

A step at batch 1 is bound by memory: every weight is read once, and nothing else should cost much. So the products are
matrix-vector kernels written for this (16-byte loads, many rows in flight, sums in fp32), everything small rides along
in them (the norm in front, GELU, the residual behind), attention looks at the used part of the cache only, and the
step is one CUDA graph. Attention runs beside the first product of the MLP, which does not wait for it. The host reads a
token while the device computes the next one.

In come ids, out come logits, as from `EagerRunner`, whose caches and prefill this uses. Triton comes with torch's CUDA
builds; this is the only module that imports it.
"""

# no `from __future__ import annotations`: Triton reads the annotations of kernels

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from clone.chat.engine import EagerRunner
from clone.chat.sampling import Sampler
from clone.lm.model import Transformer
from clone.lm.shape import Shape

SPLIT = 128  # positions of the cache that one program of attention takes
HEADS = 16  # heads that one program takes; they share the one head of keys and values
MOST_ROWS = 8  # candidates decoded at once; more go the eager way


@triton.jit
def _norm_product(
    x_ptr,
    gain_ptr,
    shift_ptr,
    w_ptr,
    scale_ptr,
    out_ptr,
    n_out,
    eps,
    C: tl.constexpr,
    C_POW2: tl.constexpr,
    B: tl.constexpr,
    R: tl.constexpr,
    BK: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_GELU: tl.constexpr,
):
    """out (B, n_out) = activation(LayerNorm(x (B, C)) W' (C, n_out)); each program takes R rows of W."""
    rows = tl.program_id(0) * R + tl.arange(0, R)
    is_row = rows < n_out
    b = tl.arange(0, B)
    every = tl.arange(0, C_POW2)
    x = tl.load(x_ptr + b[:, None] * C + every[None, :], mask=(every < C)[None, :], other=0.0)
    mean = tl.sum(x, 1) / C
    away = tl.where((every < C)[None, :], x - mean[:, None], 0.0)
    rstd = 1 / tl.sqrt(tl.sum(away * away, 1) / C + eps)
    acc = tl.zeros((B, R, BK), tl.float32)
    for start in range(0, C, BK):
        k = start + tl.arange(0, BK)
        w = tl.load(w_ptr + rows[:, None] * C + k[None, :], mask=is_row[:, None] & (k < C)[None, :], other=0.0)
        part = tl.load(x_ptr + b[:, None] * C + k[None, :], mask=(k < C)[None, :], other=0.0)
        gain = tl.load(gain_ptr + k, mask=k < C, other=0.0).to(tl.float32)
        shift = tl.load(shift_ptr + k, mask=k < C, other=0.0).to(tl.float32)
        h = (part - mean[:, None]) * rstd[:, None] * gain[None, :] + shift[None, :]
        acc += w.to(tl.float32)[None, :, :] * h[:, None, :]
    y = tl.sum(acc, 2)
    if HAS_SCALE:
        y = y * tl.load(scale_ptr + rows, mask=is_row, other=0.0)[None, :]
    if HAS_GELU:
        y = 0.5 * y * (1 + tl.erf(y * 0.7071067811865476))
    tl.store(out_ptr + b[:, None] * n_out + rows[None, :], y.to(out_ptr.dtype.element_ty), mask=is_row[None, :])


@triton.jit
def _add_products(
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
    acc = tl.zeros((B, R, BK), tl.float32)
    for start in range(0, L, BK):
        k = start + tl.arange(0, BK)
        v = tl.load(v_ptr + rows[:, None] * L + k[None, :], mask=is_row[:, None] & (k < L)[None, :], other=0.0)
        g = tl.load(g_ptr + b[:, None] * L + k[None, :], mask=(k < L)[None, :], other=0.0)
        acc += v.to(tl.float32)[None, :, :] * g.to(tl.float32)[:, None, :]
    y = tl.sum(acc, 2)
    if HAS_SCALE:
        y = y * tl.load(v_scale_ptr + rows, mask=is_row, other=0.0)[None, :]
    acc = tl.zeros((B, R, BK), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        w = tl.load(w_ptr + rows[:, None] * K + k[None, :], mask=is_row[:, None] & (k < K)[None, :], other=0.0)
        a = tl.load(a_ptr + b[:, None] * K + k[None, :], mask=(k < K)[None, :], other=0.0)
        acc += w.to(tl.float32)[None, :, :] * a.to(tl.float32)[:, None, :]
    z = tl.sum(acc, 2)
    if HAS_SCALE:
        z = z * tl.load(scale_ptr + rows, mask=is_row, other=0.0)[None, :]
    at = x_ptr + b[:, None] * C + rows[None, :]
    x = tl.load(at, mask=is_row[None, :], other=0.0)
    tl.store(at, x + y + z, mask=is_row[None, :])


@triton.jit
def _attend(
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
def _join_splits(
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


def can_run(shape: Shape) -> bool:
    """Whether the kernels know this shape: Falcon-7B's, of any size."""
    return (
        shape.is_parallel
        and shape.is_norm_shared
        and shape.norm == "LayerNorm"
        and shape.mlp == "GptNeoxMLP"
        and shape.gelu == "none"
        and not (shape.has_bias or shape.has_qkv_bias or shape.has_head_bias or shape.scales_embeddings)
        and shape.n_query_groups == 1
        and shape.rope_n_elem == shape.head_size
        and shape.head_size in (32, 64, 128)
        and shape.rope_local_base is None
        and shape.window is None
        and shape.attention_softcap is None
        and shape.logit_softcap is None
        and not shape.qk_norm
    )


# rows and columns a program takes, and its warps, by what is read: measured on one H200
_TILES: dict[str, dict[str, tuple[int, int, int]]] = {
    "wide": {"qkv": (4, 1024, 4), "fc": (8, 512, 4), "out": (4, 1024, 4), "head": (8, 512, 4)},
    "eight": {"qkv": (4, 1024, 4), "fc": (8, 1024, 4), "out": (4, 2048, 4), "head": (8, 1024, 4)},
}


class FastRunner(EagerRunner):
    """Decodes as one CUDA graph a step. Prefill, and more than `MOST_ROWS` candidates, go the eager way."""

    def __init__(self, model: Transformer, *, n_context: int | None = None, has_side_stream: bool = True) -> None:
        super().__init__(model, n_context=n_context)
        shape = model.shape
        if not can_run(shape):
            raise AssertionError("the caller asks can_run first")
        positions = torch.arange(self.n_context, device=self.device)
        cos, sin = self._rope.at(positions)[0]  # (S, 1, D/2)
        self._cos, self._sin = cos[:, 0].contiguous(), sin[:, 0].contiguous()
        self._n_split = triton.cdiv(self.n_context, SPLIT)
        self._n_padded = triton.cdiv(shape.n_head, HEADS) * HEADS
        self._graphs: dict[int, _Graph] = {}
        self._has_side_stream = has_side_stream
        self.tiles = dict(_TILES["wide" if model.blocks[0].mlp.fc.weight.element_size() > 1 else "eight"])

    def spread(self, row: int, n: int, length: int) -> None:
        before = self._caches[0][0].data_ptr()
        super().spread(row, triton.next_power_of_2(n) if n <= MOST_ROWS else n, length)  # graphs come in such sizes
        if self._caches[0][0].data_ptr() != before:
            self._graphs.clear()  # they hold the addresses of the caches that were

    def decode(self, sampler: Sampler, chosen: torch.Tensor, position: int, n_steps: int) -> Iterator[list[int]]:
        n = chosen.numel()
        if n > MOST_ROWS:
            yield from super().decode(sampler, chosen, position, n_steps)
            return
        graph = self._graph(n)
        told = _Told(chosen)
        for i in range(n_steps):
            graph.ids[:n].copy_(chosen)
            graph.position.fill_(position + i)
            graph.replay()
            chosen = sampler(graph.logits[:n])
            next_told = _Told(chosen)
            yield told.read()  # the device is at the next step already
            told = next_told
        yield told.read()

    def step(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        n = ids.numel()
        if n > MOST_ROWS:
            return super().step(ids, position)
        graph = self._graph(n)
        graph.ids[:n].copy_(ids)
        graph.position.fill_(position)
        graph.replay()
        return graph.logits[:n].clone()

    def _graph(self, n: int) -> "_Graph":
        n_rows = triton.next_power_of_2(n)
        assert n_rows <= self._caches[0][0].size(0), "spread comes first"
        if n_rows not in self._graphs:
            self._graphs[n_rows] = _Graph(self, n_rows)
        return self._graphs[n_rows]


class _Told:
    """Ids on their way to the host."""

    def __init__(self, ids: torch.Tensor) -> None:
        self._host = torch.empty(ids.shape, dtype=ids.dtype, pin_memory=ids.is_cuda)
        self._host.copy_(ids, non_blocking=True)
        self._event = torch.cuda.Event() if ids.is_cuda else None
        if self._event is not None:
            self._event.record()

    def read(self) -> list[int]:
        if self._event is not None:
            self._event.synchronize()
        return [int(i) for i in self._host]


class _Graph:
    """One step for `n_rows` candidates: buffers, and the recording."""

    def __init__(self, runner: FastRunner, n_rows: int) -> None:
        shape, device = runner.model.shape, runner.device
        self.runner, self.n_rows = runner, n_rows
        wide = torch.float32
        narrow = runner.model.dtype
        self.ids = torch.zeros(n_rows, dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.int32, device=device)
        self.x = torch.zeros(n_rows, shape.n_embd, dtype=wide, device=device)  # the residual stream
        self.qkv = torch.zeros(n_rows, (shape.n_head + 2) * shape.head_size, dtype=wide, device=device)
        self.inner = torch.zeros(n_rows, shape.intermediate_size, dtype=narrow, device=device)
        size = (n_rows, runner._n_padded, runner._n_split)
        self.seen = torch.zeros(*size, shape.head_size, dtype=wide, device=device)
        self.stats = torch.zeros(*size, 2, dtype=wide, device=device)
        self.attended = torch.zeros(n_rows, shape.n_head * shape.head_size, dtype=narrow, device=device)
        self.logits = torch.zeros(n_rows, shape.vocab_size, dtype=wide, device=device)
        self.replay = self._record() if device.type == "cuda" else self._step

    def _record(self) -> Any:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # kernels are compiled here; capture must only see launches
            for _ in range(2):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._keep = graph
        return graph.replay

    def _step(self) -> None:
        runner, model = self.runner, self.runner.model
        shape = model.shape
        self.x.copy_(model.embed(self.ids))
        has_side = runner._has_side_stream and self.x.is_cuda
        main = torch.cuda.current_stream() if has_side else None
        side = torch.cuda.Stream() if has_side else None
        for layer, block in enumerate(model.blocks):
            if main is not None and side is not None:
                side.wait_stream(main)
                self._norm_product("qkv", block.norm_1, block.attn.qkv, self.qkv)
                with torch.cuda.stream(side):
                    self._norm_product("fc", block.norm_1, block.mlp.fc, self.inner)
                self._attend(layer)
                main.wait_stream(side)
            else:
                self._norm_product("qkv", block.norm_1, block.attn.qkv, self.qkv)
                self._norm_product("fc", block.norm_1, block.mlp.fc, self.inner)
                self._attend(layer)
            r, bk, warps = runner.tiles["out"]
            bk = max(128, bk // self.n_rows)
            proj, mlp_proj = block.attn.proj, block.mlp.proj
            _add_products[(triton.cdiv(shape.n_embd, r),)](
                self.x,
                self.attended,
                proj.weight,
                _scale(proj),
                self.inner,
                mlp_proj.weight,
                _scale(mlp_proj),
                C=shape.n_embd,
                K=shape.n_head * shape.head_size,
                L=shape.intermediate_size,
                B=self.n_rows,
                R=r,
                BK=bk,
                HAS_SCALE=proj.weight.element_size() == 1,
                num_warps=warps,
            )
        self._norm_product("head", model.transformer["ln_f"], model.lm_head, self.logits)

    def _norm_product(self, kind: str, norm: Any, linear: Any, out: torch.Tensor) -> None:
        r, bk, warps = self.runner.tiles[kind]
        n_embd = self.x.shape[1]
        bk = max(128, bk // self.n_rows)
        _norm_product[(triton.cdiv(out.shape[1], r),)](
            self.x,
            norm.weight,
            norm.bias,
            linear.weight,
            _scale(linear),
            out,
            out.shape[1],
            norm.eps,
            C=n_embd,
            C_POW2=triton.next_power_of_2(n_embd),
            B=self.n_rows,
            R=r,
            BK=bk,
            HAS_SCALE=linear.weight.element_size() == 1,
            HAS_GELU=kind == "fc",
            num_warps=warps,
        )

    def _attend(self, layer: int) -> None:
        runner, shape = self.runner, self.runner.model.shape
        keys, values = runner._caches[layer]
        n_blocks = runner._n_padded // HEADS
        _attend[(runner._n_split, n_blocks, self.n_rows)](
            self.qkv,
            runner._cos,
            runner._sin,
            keys,
            values,
            self.position,
            self.seen,
            self.stats,
            keys.stride(0),
            shape.attention_scalar**-0.5,
            N_HEAD=shape.n_head,
            N_PADDED=runner._n_padded,
            N_SPLIT=runner._n_split,
            D=shape.head_size,
            BS=SPLIT,
            BH=HEADS,
            num_warps=4,
        )
        _join_splits[(shape.n_head, self.n_rows)](
            self.seen,
            self.stats,
            self.attended,
            N_HEAD=shape.n_head,
            N_PADDED=runner._n_padded,
            N_SPLIT=runner._n_split,
            S_POW2=triton.next_power_of_2(runner._n_split),
            D=shape.head_size,
            num_warps=1,
        )


def _scale(linear: Any) -> torch.Tensor:
    """Return the scales of 8-bit rows; where the weights are wide, anything that is a pointer."""
    scale = getattr(linear, "scale", None)
    return scale if isinstance(scale, torch.Tensor) else linear.weight
