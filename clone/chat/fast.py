"""Falcon on a GPU, one token at a time, as fast as its weights can be read.

A step at batch 1 is bound by memory: every weight is read once, and nothing else should cost much. So the products are
kernels written for this, everything small rides along in them (the norm in front, GELU, the residual behind), attention
looks at the used part of the cache only and runs beside the first product of the MLP, which does not wait for it, and
the step is one CUDA graph that ends with the draw of the next token. The host reads a token while the device computes
the next one. A prefill of a few hundred tokens is launches more than work, and is recorded too.

In come ids, out come logits, as from `EagerRunner`, whose caches and prefill this uses. Triton comes with torch's CUDA
builds; this is the only module that imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton

from clone.chat import kernels
from clone.chat.engine import EagerRunner
from clone.chat.sampling import Sampler
from clone.lm.model import Heads, Transformer
from clone.lm.shape import Shape

SPLIT = 128  # positions of the cache that one program of attention takes
HEADS = 16  # heads that one program takes; they share the one head of keys and values
MOST_ROWS = 8  # candidates decoded at once; more go the eager way
TILE_ROWS = 16  # rows of a matrix that a program of a product takes: those of one instruction of a tensor core
PREFILLS = (16, 128, 512)  # new tokens that a recorded prefill takes; fewer are filled up
BLOCK, CHUNK = 1024, 16384  # scores that the programs of the draw take at once


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


class _Tile(NamedTuple):
    """How a product is cut: warps, columns a warp takes at once, and tiles under way."""

    warps: int
    columns: int
    stages: int


# the fastest, or within 3 % of it, of twenty on one H200
_IN = _Tile(1, 512, 3)
_OUT = {1: _Tile(4, 256, 3), 2: _Tile(2, 256, 3)}  # by the bytes of a weight


class FastRunner(EagerRunner):
    """Decodes as one CUDA graph a step, the draw included. More than `MOST_ROWS` candidates go the eager way."""

    def __init__(self, model: Transformer, *, n_context: int | None = None) -> None:
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
        self._prefills: dict[int, _Prefill] = {}
        with torch.inference_mode():
            self._folded = {
                linear: _fold(linear, norm)
                for norm, linears in (
                    *((block.norm_1, (block.attn.qkv, block.mlp.fc)) for block in model.blocks),
                    (model.transformer["ln_f"], (model.lm_head,)),
                )
                for linear in linears
            }

    def prefill(self, ids: Sequence[int], start: int) -> torch.Tensor:
        n_new = next((n for n in PREFILLS if n >= len(ids)), 0)
        if not n_new or start + n_new > self.n_context:
            return super().prefill(ids, start)
        if n_new not in self._prefills:
            self._prefills[n_new] = _Prefill(self, n_new)
        return self._prefills[n_new](ids, start)

    def spread(self, row: int, n: int, length: int) -> None:
        before = self._caches[0][0].data_ptr()
        super().spread(row, triton.next_power_of_2(n) if n <= MOST_ROWS else n, length)  # graphs come in such sizes
        if self._caches[0][0].data_ptr() != before:
            self._graphs.clear()  # they hold the addresses of the caches that were
            self._prefills.clear()

    def decode(self, sampler: Sampler, chosen: torch.Tensor, position: int, n_steps: int) -> Iterator[list[int]]:
        n = chosen.numel()
        if n > MOST_ROWS:
            yield from super().decode(sampler, chosen, position, n_steps)
            return
        graph = self._graph(n)
        graph.ids[:n].copy_(chosen)
        graph.begin(sampler, position, n_steps)
        told = _Told.copy(chosen)
        for i in range(n_steps):
            graph.replay()
            if sampler.sampling.has_penalties:  # these are reckoned outside the recording
                graph.ids[:n].copy_(sampler(graph.logits[:n]))
                next_told = _Told.copy(graph.ids[:n])
            else:
                next_told = _Told(graph.told[i, :n])
            yield told.read()  # the device is at the next step already
            told = next_told
        yield told.read()

    def step(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        n = ids.numel()
        if n > MOST_ROWS:
            return super().step(ids, position)
        graph = self._graph(n)
        graph.ids[:n].copy_(ids)
        graph.at(position)
        graph.replay()
        return graph.logits[:n].clone()

    def _graph(self, n: int) -> _Graph:
        n_rows = triton.next_power_of_2(n)
        assert n_rows <= self._caches[0][0].size(0), "spread comes first"
        if n_rows not in self._graphs:
            self._graphs[n_rows] = _Graph(self, n_rows)
        return self._graphs[n_rows]


class _Told:
    """Ids in the host's memory, pinned where a device writes them: there once what was asked of the device is done."""

    def __init__(self, ids: torch.Tensor) -> None:
        self._ids = ids
        self._event = torch.cuda.Event() if ids.is_pinned() else None  # type: ignore[no-untyped-call]
        if self._event is not None:
            self._event.record()

    @classmethod
    def copy(cls, ids: torch.Tensor) -> _Told:
        host = torch.empty(ids.shape, dtype=ids.dtype, pin_memory=ids.is_cuda)
        return cls(host.copy_(ids, non_blocking=True))

    def read(self) -> list[int]:
        if self._event is not None:
            self._event.synchronize()
        return [int(i) for i in self._ids]


class _Graph:
    """One step for `n_rows` candidates and the draw of what follows: buffers, and the recording.

    A replay takes the ids at the position, leaves logits and the ids that were drawn, and moves the position on.
    """

    def __init__(self, runner: FastRunner, n_rows: int) -> None:
        shape, device = runner.model.shape, runner.device
        self.runner, self.n_rows = runner, n_rows
        head: Any = runner.model.lm_head
        self.is_narrow = head.weight.element_size() == 1
        wide = torch.float32
        narrow = torch.float16 if self.is_narrow else head.weight.dtype  # 8 bits widen to fp16 without rounding
        self.n_parts = triton.cdiv(shape.n_embd, TILE_ROWS)
        self.n_blocks = triton.cdiv(shape.vocab_size, BLOCK)

        def room(*size: int, dtype: torch.dtype = wide) -> torch.Tensor:
            return torch.zeros(size, dtype=dtype, device=device)

        self.ids = room(n_rows, dtype=torch.long)
        self.position, self.start = room(1, dtype=torch.int32), room(1, dtype=torch.int32)
        self.x = room(n_rows, shape.n_embd)  # the residual stream
        self.h = room(n_rows, shape.n_embd, dtype=narrow)  # times the gain of the norm that follows
        self.parts = room(n_rows, self.n_parts, 2)  # sums of x and of its squares
        self.qkv = room(n_rows, (shape.n_head + 2) * shape.head_size)
        self.inner = room(n_rows, shape.intermediate_size, dtype=narrow)
        size = (n_rows, runner._n_split, runner._n_padded)
        self.seen, self.stats = room(*size, shape.head_size), room(*size, 2)
        self.arrived = room(n_rows, runner._n_padded // HEADS, dtype=torch.int32)
        self.attended = room(n_rows, shape.n_head * shape.head_size, dtype=narrow)
        self.logits, self.scores = room(n_rows, shape.vocab_size), room(n_rows, shape.vocab_size)
        n_few = self.n_blocks * int(kernels.FEW.value)
        self.few, self.where = room(n_rows, n_few), room(n_rows, n_few, dtype=torch.int32)
        self.never = room(shape.vocab_size)
        self.settings = torch.tensor([1.0, 1.0, 1.0, 3e38], device=device)
        self.uniforms, self.uniform = room(runner.n_context, n_rows), room(n_rows)
        self.n_drawn = room(n_rows, dtype=torch.int32)
        self.told = torch.zeros(runner.n_context, n_rows, dtype=torch.long, pin_memory=device.type == "cuda")
        is_cuda = device.type == "cuda"
        self.side = torch.cuda.Stream(priority=-1) if is_cuda else None  # type: ignore[no-untyped-call]
        self.replay = _record(self._step, self._reset) if device.type == "cuda" else self._step

    def _reset(self) -> None:
        self.at(self.runner.n_context - 1)  # never holds anything: what runs before the recording may write there

    def at(self, position: int) -> None:
        """Have the next replay run at a position."""
        self.position.fill_(position)
        self.start.fill_(position)

    def begin(self, sampler: Sampler, position: int, n_steps: int) -> None:
        """Have the next replays run from a position on, and draw as the sampler would."""
        self.at(position)
        self.never.copy_(sampler.never)
        self.settings.copy_(sampler.thresholds())
        self.uniforms[:n_steps] = sampler.uniforms(n_steps, self.n_rows)

    def _step(self) -> None:
        model = self.runner.model
        shape = model.shape
        norms: list[Any] = [*(block.norm_1 for block in model.blocks), model.transformer["ln_f"]]
        kernels.embed[(self.n_parts, self.n_rows)](
            self.ids,
            model.embedding,
            norms[0].weight,
            self.x,
            self.h,
            self.parts,
            C=shape.n_embd,
            R=TILE_ROWS,
            num_warps=1,
        )
        for layer, block in enumerate(model.blocks):
            with self._beside():
                self._product(block.attn.qkv, norms[layer], self.qkv)
                self._attend(layer)
            self._product(block.mlp.fc, norms[layer], self.inner, has_gelu=True)
            self._join()
            self._add_products(block.attn.proj, block.mlp.proj, norms[layer + 1])
        self._product(model.lm_head, norms[-1], self.logits)
        self._draw()

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Have what is launched here run beside what follows, and its programs come first where places are free."""
        if self.side is None:
            yield
            return
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            yield

    def _join(self) -> None:
        """Have what follows wait for what ran beside."""
        if self.side is not None:
            torch.cuda.current_stream().wait_stream(self.side)

    def _cut(self, tile: _Tile) -> dict[str, Any]:
        """Return how a product is cut, as its kernel wants to hear it."""
        return {
            "B": self.n_rows,
            "N": 8,  # columns of an instruction; those beyond B stay empty
            "R": TILE_ROWS,
            "S": tile.warps,
            "BK": tile.columns,
            "STAGES": tile.stages,
            "HAS_SCALE": self.is_narrow,
            "HAS_PTX": self.x.is_cuda,
            "num_warps": tile.warps,
        }

    def _product(self, linear: Any, norm: Any, out: torch.Tensor, *, has_gelu: bool = False) -> None:
        of_gain, of_shift = self.runner._folded[linear]
        kernels.product[(triton.cdiv(out.shape[1], TILE_ROWS),)](
            self.h,
            self.parts,
            linear.weight,
            _scale(linear),
            of_gain,
            of_shift,
            out,
            out.shape[1],
            norm.eps,
            C=self.h.shape[1],
            P=self.n_parts,
            P_POW2=triton.next_power_of_2(self.n_parts),
            HAS_GELU=has_gelu,
            **self._cut(_IN),
        )

    def _add_products(self, proj: Any, mlp_proj: Any, norm: Any) -> None:
        kernels.add_products[(self.n_parts,)](
            self.x,
            self.attended,
            proj.weight,
            _scale(proj),
            self.inner,
            mlp_proj.weight,
            _scale(mlp_proj),
            norm.weight,
            self.h,
            self.parts,
            C=self.x.shape[1],
            K=self.attended.shape[1],
            L=self.inner.shape[1],
            **self._cut(_OUT.get(proj.weight.element_size(), _OUT[2])),
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
            self.arrived,
            self.attended,
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

    def _draw(self) -> None:
        n_vocab = self.logits.shape[1]
        kernels.weigh[(self.n_blocks, self.n_rows)](
            self.logits,
            self.never,
            self.settings,
            self.uniforms,
            self.position,
            self.start,
            self.scores,
            self.few,
            self.where,
            self.uniform,
            self.n_drawn,
            V=n_vocab,
            BLOCK=BLOCK,
            num_warps=4,
        )
        kernels.draw[(self.n_rows,)](
            self.scores,
            self.few,
            self.where,
            self.settings,
            self.uniform,
            self.n_drawn,
            self.ids,
            self.told,
            self.position,
            V=n_vocab,
            N_FEW=self.few.shape[1],
            CHUNK=min(CHUNK, triton.next_power_of_2(n_vocab)),
            FEW_CHUNK=min(CHUNK, triton.next_power_of_2(self.few.shape[1])),
            num_warps=32,
        )


class _Prefill:
    """The forward of up to `n_new` ids from any position of row 0, recorded: a thousand launches become one.

    What fills up the ids lies behind them in the cache, where nothing is looked at before it is written anew.
    """

    def __init__(self, runner: FastRunner, n_new: int) -> None:
        self.runner = runner
        device = runner.device
        self.ids = torch.zeros(1, n_new, dtype=torch.long, device=device)
        self.start, self.last = (torch.zeros(1, dtype=torch.long, device=device) for _ in "sl")
        self.steps = torch.arange(n_new, device=device)
        self.all = torch.arange(runner.n_context, device=device)
        self.logits = torch.empty(0)
        self.replay = _record(self._run, self._reset) if device.type == "cuda" else self._run

    def __call__(self, ids: Sequence[int], start: int) -> torch.Tensor:
        """Put ids at positions `start`… and return the logits after the last of them, (1, V)."""
        filled = [*ids, *(0 for _ in range(self.ids.shape[1] - len(ids)))]
        self.ids.copy_(torch.tensor([filled]))
        self.start.fill_(start)
        self.last.fill_(len(ids) - 1)
        self.replay()
        return self.logits.clone()

    def _reset(self) -> None:
        self.start.fill_(self.runner.n_context - self.ids.shape[1])

    def _run(self) -> None:
        runner = self.runner
        positions = self.start + self.steps  # (T,)
        sees = torch.zeros(len(self.steps), len(self.all), dtype=runner.model.dtype, device=runner.device)
        sees.masked_fill_(self.all > positions[:, None], -torch.inf)  # (T, S)

        def attend(heads: Heads, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            all_k, all_v = (cache[:1] for cache in runner._caches[heads.layer])  # (1, 1, S, hs)
            all_k.index_copy_(2, positions, k.transpose(1, 2))
            all_v.index_copy_(2, positions, v.transpose(1, 2))
            size = (-1, q.shape[2], -1, -1)
            y = F.scaled_dot_product_attention(
                q.transpose(1, 2), all_k.expand(size), all_v.expand(size), attn_mask=sees, scale=heads.scale
            )
            return y.transpose(1, 2)  # (1, T, heads, hs)

        hidden = runner.model.hidden(self.ids, positions, attend, runner._rope)  # (1, T, C)
        self.logits = runner.model.logits(hidden[0].index_select(0, self.last))


def _record(run: Callable[[], None], reset: Callable[[], None]) -> Callable[[], None]:
    """Return what replays a run as one CUDA graph; `reset` says where runs before that may write."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # kernels are compiled here; capture must only see launches
        for _ in range(2):
            reset()
            run()
    torch.cuda.current_stream().wait_stream(stream)
    reset()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    replay: Callable[[], None] = graph.replay  # holds the graph
    return replay


def _fold(linear: Any, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a product's weight times the gain and times the shift of the norm in front, (out,) each in fp32."""
    both = torch.stack([norm.weight, norm.bias]).float()  # (2, in)
    scale = getattr(linear, "scale", None)
    found = torch.cat([F.linear(both, rows.float()) for rows in linear.weight.split(4096)], dim=1)  # (2, out)
    if isinstance(scale, torch.Tensor):
        found = found * scale
    return found[0].contiguous(), found[1].contiguous()


def _scale(linear: Any) -> torch.Tensor:
    """Return the scales of 8-bit rows; where the weights are wide, anything that is a pointer."""
    scale = getattr(linear, "scale", None)
    return scale if isinstance(scale, torch.Tensor) else linear.weight
