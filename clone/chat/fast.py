"""Falcon on a GPU, one token at a time, as fast as its weights can be read.

A step at batch 1 is bound by memory: every weight is read once, and nothing else should cost much. So the products are
matrix-vector kernels written for this (16-byte loads, many rows in flight, sums in fp32), everything small rides along
in them (the norm in front, GELU, the residual behind), attention looks at the used part of the cache only, and the
step is one CUDA graph. Attention runs beside the first product of the MLP, which does not wait for it. The host reads a
token while the device computes the next one.

In come ids, out come logits, as from `EagerRunner`, whose caches and prefill this uses. Triton comes with torch's CUDA
builds; this is the only module that imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import triton

from clone.chat import kernels
from clone.chat.engine import EagerRunner
from clone.chat.sampling import Sampler
from clone.lm.model import Transformer
from clone.lm.shape import Shape

SPLIT = 128  # positions of the cache that one program of attention takes
HEADS = 16  # heads that one program takes; they share the one head of keys and values
MOST_ROWS = 8  # candidates decoded at once; more go the eager way


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


# rows and columns a program takes, and its warps, by what is read: the fastest of fifteen on one H200
_TILES: dict[torch.dtype, dict[str, tuple[int, int, int]]] = {
    torch.bfloat16: {"qkv": (2, 512, 1), "fc": (2, 512, 1), "out": (2, 512, 1), "head": (2, 512, 1)},
    torch.float8_e4m3fn: {"qkv": (4, 512, 1), "fc": (4, 512, 1), "out": (4, 1024, 2), "head": (4, 512, 1)},
    torch.int8: {"qkv": (4, 512, 2), "fc": (4, 512, 1), "out": (4, 512, 2), "head": (4, 256, 1)},
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
        weight: Any = model.lm_head.weight
        self.tiles = dict(_TILES.get(weight.dtype, _TILES[torch.bfloat16]))

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

    def _graph(self, n: int) -> _Graph:
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
        self._event = torch.cuda.Event() if ids.is_cuda else None  # type: ignore[no-untyped-call]
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
        # the last position never holds anything: what runs before the recording may write there
        self.position = torch.full((1,), runner.n_context - 1, dtype=torch.int32, device=device)
        self.x = torch.zeros(n_rows, shape.n_embd, dtype=wide, device=device)  # the residual stream
        self.normed = torch.zeros(n_rows, shape.n_embd, dtype=narrow, device=device)
        self.qkv = torch.zeros(n_rows, (shape.n_head + 2) * shape.head_size, dtype=wide, device=device)
        self.inner = torch.zeros(n_rows, shape.intermediate_size, dtype=narrow, device=device)
        size = (n_rows, runner._n_padded, runner._n_split)
        self.seen = torch.zeros(*size, shape.head_size, dtype=wide, device=device)
        self.stats = torch.zeros(*size, 2, dtype=wide, device=device)
        self.attended = torch.zeros(n_rows, shape.n_head * shape.head_size, dtype=narrow, device=device)
        self.logits = torch.zeros(n_rows, shape.vocab_size, dtype=wide, device=device)
        self.replay = self._record() if device.type == "cuda" else self._step

    def _record(self) -> Any:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
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
        side = torch.cuda.Stream() if has_side else None  # type: ignore[no-untyped-call]
        for layer, block in enumerate(model.blocks):
            self._norm(block.norm_1)
            if main is not None and side is not None:
                side.wait_stream(main)
                self._product("qkv", block.attn.qkv, self.qkv)
                with torch.cuda.stream(side):
                    self._product("fc", block.mlp.fc, self.inner)
                self._attend(layer)
                main.wait_stream(side)
            else:
                self._product("qkv", block.attn.qkv, self.qkv)
                self._product("fc", block.mlp.fc, self.inner)
                self._attend(layer)
            r, bk, warps = runner.tiles["out"]
            bk = max(128, bk // self.n_rows)
            proj: Any = block.attn.proj
            mlp_proj: Any = block.mlp.proj
            kernels.add_products[(triton.cdiv(shape.n_embd, r),)](
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
        self._norm(model.transformer["ln_f"])
        self._product("head", model.lm_head, self.logits)

    def _norm(self, norm: Any) -> None:
        n_embd = self.x.shape[1]
        kernels.norm[(self.n_rows,)](
            self.x,
            norm.weight,
            norm.bias,
            self.normed,
            norm.eps,
            C=n_embd,
            C_POW2=triton.next_power_of_2(n_embd),
            num_warps=16,
        )

    def _product(self, kind: str, linear: Any, out: torch.Tensor) -> None:
        r, bk, warps = self.runner.tiles[kind]
        kernels.product[(triton.cdiv(out.shape[1], r),)](
            self.normed,
            linear.weight,
            _scale(linear),
            out,
            out.shape[1],
            K=self.normed.shape[1],
            B=self.n_rows,
            R=r,
            BK=max(128, bk // self.n_rows),
            HAS_SCALE=linear.weight.element_size() == 1,
            HAS_GELU=kind == "fc",
            num_warps=warps,
        )

    def _attend(self, layer: int) -> None:
        runner, shape = self.runner, self.runner.model.shape
        keys, values = runner._caches[layer]
        n_blocks = runner._n_padded // HEADS
        kernels.attend[(runner._n_split, n_blocks, self.n_rows)](
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
        kernels.join_splits[(shape.n_head, self.n_rows)](
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
