"""The engine: token ids in, token ids out, for every face of the twin.

It holds the model and a static key-value cache that lives on from one turn to the next: a later turn costs the prefill
of what is new. Several candidates that answer one prompt are decoded as rows of one batch. Knows nothing of text, turns
or the template; `clone.chat.twin` does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F

from clone.chat.sampling import Sampler, Sampling
from clone.errors import HardwareError
from clone.lm.model import Heads, Rope, Transformer

PREFILL_CHUNK = 512  # tokens: bounds the scores of a long prompt, and the wait of somebody who cancels


@dataclass(frozen=True, slots=True)
class Marks:
    """The ids that the engine treats apart."""

    stops: frozenset[int]  # any of these ends a reply: its own turn's end, or a mark that opens somebody else's
    end: int  # the proper one
    never_first: frozenset[int]  # a reply has at least one bubble, and it is not empty
    unpenalised: frozenset[int]
    n_tokens: int  # rows of the head from here on only pad the vocabulary


@dataclass(slots=True)
class Counts:
    """What one generation took; filled while it runs."""

    n_prompt: int = 0
    n_cached: int = 0  # of the prompt, still in the cache from the turn before


class Runner(Protocol):
    """A model with a key-value cache of `n_rows` rows and `n_context` positions."""

    n_context: int
    n_vocab: int
    device: torch.device

    def prefill(self, ids: Sequence[int], start: int) -> torch.Tensor:
        """Put ids at positions `start`… of row 0 and return the logits after the last of them, (1, V)."""

    def spread(self, row: int, n: int, length: int) -> None:
        """Copy the first `length` positions of a row to rows 0…n-1, making rows where there are too few."""

    def step(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        """Put one id a row, (n,), at `position` and return the logits after them, (n, V)."""

    def decode(self, sampler: Sampler, chosen: torch.Tensor, position: int, n_steps: int) -> Iterator[list[int]]:
        """Yield the ids of `chosen` (n,) and then of at most `n_steps` steps that follow."""


class Engine:
    """One model that answers one prompt at a time; others wait at the lock."""

    def __init__(self, runner: Runner, marks: Marks) -> None:
        self.runner = runner
        self.marks = marks
        self._rows: list[list[int]] = [[]]  # which ids each row of the cache holds
        self._lock = threading.Lock()

    @property
    def n_context(self) -> int:
        return self.runner.n_context

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, *, n: int = 1, counts: Counts | None = None
    ) -> Iterator[list[int | None]]:
        """Yield, step after step, the next id of each of `n` candidates; None for one that has ended.

        The mark that ended a candidate is yielded too. Close the iterator to stop: what the cache holds stays good.
        """
        if not prompt:
            raise AssertionError("a prompt has at least its header")
        if len(prompt) >= self.n_context:
            raise AssertionError("the caller keeps the prompt shorter than the context")
        with self._lock:
            try:
                yield from self._generate(list(prompt), sampling, n, counts or Counts())
            except GeneratorExit:
                raise
            except torch.cuda.OutOfMemoryError as error:
                self.forget()
                raise HardwareError(
                    "the GPU is out of memory.", "Close what else uses it, or use --weights int8 or fewer candidates."
                ) from error
            except torch.AcceleratorError as error:
                self.forget()
                raise HardwareError(
                    f"the device {self.runner.device} failed: {str(error).splitlines()[0]}.",
                    "Start again; if it stays so, use --device cpu.",
                ) from error
            except BaseException:
                self.forget()  # broken off inside a step: half a position may be written
                raise

    def forget(self) -> None:
        """Take the cache for empty."""
        self._rows = [[]]

    def _generate(self, prompt: list[int], sampling: Sampling, n: int, counts: Counts) -> Iterator[list[int | None]]:
        marks, runner = self.marks, self.runner
        with torch.inference_mode():
            start = self._reuse(prompt)
            counts.n_prompt, counts.n_cached = len(prompt), start
            logits = torch.empty(0)
            for i in range(start, len(prompt), PREFILL_CHUNK):
                chunk = prompt[i : i + PREFILL_CHUNK]
                self._rows[0] = prompt[:i]  # if the forward fails, what lies behind i is not to be trusted
                logits = runner.prefill(chunk, i)
            self._rows[0] = list(prompt)
            if n > 1:
                runner.spread(0, n, len(prompt))
            self._rows = [list(prompt) for _ in range(n)]
            sampler = Sampler(
                sampling,
                prompt,
                n=n,
                n_vocab=runner.n_vocab,
                device=runner.device,
                never_first=marks.never_first,
                unpenalised=marks.unpenalised,
                never_from=marks.n_tokens,
            )
            chosen = sampler(logits.expand(n, -1), is_first=True)
            n_tokens = min(sampling.max_tokens, self.n_context - len(prompt))
            is_live = [True] * n
            steps = runner.decode(sampler, chosen, len(prompt), n_tokens - 1)
            for i, ids in enumerate(steps):
                out: list[int | None] = []
                for row, token_id in enumerate(ids):
                    out.append(token_id if is_live[row] else None)
                    if is_live[row] and token_id in marks.stops:
                        is_live[row] = False
                yield out
                if not any(is_live):
                    break
                if i + 1 < n_tokens:  # the step that follows puts these ids into the cache
                    for row, token_id in enumerate(ids):
                        self._rows[row].append(token_id)

    def _reuse(self, prompt: list[int]) -> int:
        """Bring the row that shares most with the prompt to row 0 and return how many positions it spares."""
        shared = [_n_shared(row, prompt) for row in self._rows]
        best = max(range(len(shared)), key=shared.__getitem__)
        n_shared = min(shared[best], len(prompt) - 1)  # the last id must run to give logits
        if n_shared and best:
            self.runner.spread(best, 1, n_shared)
        self._rows = [prompt[:n_shared]]
        return n_shared


def _n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    n = min(len(a), len(b))
    for i in range(n):
        if a[i] != b[i]:
            return i
    return n


class EagerRunner:
    """Any base, one forward a step, on any device."""

    def __init__(self, model: Transformer, *, n_context: int | None = None) -> None:
        self.model = model
        self.device = model.device
        self.n_vocab = model.shape.vocab_size
        self.n_context = min(n_context or model.shape.block_size, model.shape.block_size)
        self._rope = Rope(model.shape, device=self.device)
        self._caches = self._new_caches(1)

    def _new_caches(self, n_rows: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        shape = self.model.shape
        size = (n_rows, shape.n_query_groups, self.n_context, shape.head_size)
        return [
            tuple(torch.zeros(size, device=self.device, dtype=self.model.dtype) for _ in "kv")  # type: ignore[misc]
            for _ in range(shape.n_layer)
        ]

    def prefill(self, ids: Sequence[int], start: int) -> torch.Tensor:
        x = torch.tensor([list(ids)], device=self.device)  # (1, T)
        return self._forward(x, start)

    def spread(self, row: int, n: int, length: int) -> None:
        old = self._caches
        if n > old[0][0].size(0):
            self._caches = self._new_caches(n)
        for layer, pair in enumerate(self._caches):
            for new, known in zip(pair, old[layer], strict=True):  # (rows, groups, context, head size)
                new[:n, :, :length] = known[row : row + 1, :, :length].clone()

    def step(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        return self._forward(ids[:, None], position)

    def decode(self, sampler: Sampler, chosen: torch.Tensor, position: int, n_steps: int) -> Iterator[list[int]]:
        yield chosen.tolist()
        for i in range(n_steps):
            chosen = sampler(self.step(chosen, position + i))
            yield chosen.tolist()

    def _forward(self, ids: torch.Tensor, start: int) -> torch.Tensor:
        n_rows, n_new = ids.shape
        end = start + n_new
        positions = torch.arange(start, end, device=self.device)  # (T,)

        def attend(heads: Heads, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            all_k, all_v = self._caches[heads.layer]
            all_k[:n_rows, :, start:end] = k.transpose(1, 2)
            all_v[:n_rows, :, start:end] = v.transpose(1, 2)
            return attend_to_cache(heads, q, all_k[:n_rows, :, :end], all_v[:n_rows, :, :end])

        hidden = self.model.hidden(ids, positions, attend, self._rope)  # (B, T, C)
        return self.model.logits(hidden[:, -1])  # (B, V): a prompt needs the scores after its last token alone


def attend_to_cache(heads: Heads, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend from the newest T of S positions: q (B, T, n_head, hs), k and v (B, n_group, S, hs) -> like q."""
    n_rows, n_new, n_head, size = q.shape
    n_group, n_all = k.shape[1], k.shape[2]
    if heads.window is not None and n_new == 1:
        k, v = k[:, :, -heads.window :], v[:, :, -heads.window :]
        n_all = k.shape[2]
    # the query heads of a group lie along the time axis, so that a group's keys and values are read once, not per head
    grouped = q.view(n_rows, n_new, n_group, n_head // n_group, size).permute(0, 2, 3, 1, 4)
    grouped = grouped.reshape(n_rows, n_group, -1, size)  # (B, groups, heads in a group x T, hs)
    sees: torch.Tensor | None = None
    if n_new > 1:
        sees = torch.ones(n_new, n_all, dtype=torch.bool, device=q.device).tril(n_all - n_new)
        if heads.window is not None:
            sees = sees.triu(n_all - n_new + 1 - heads.window)
        sees = sees.repeat(n_head // n_group, 1)
    if heads.softcap is None:
        y = F.scaled_dot_product_attention(grouped, k, v, attn_mask=sees, scale=heads.scale)
    else:
        scores = torch.tanh(grouped @ k.mT * heads.scale / heads.softcap) * heads.softcap
        if sees is not None:
            scores = scores.masked_fill(~sees, torch.finfo(scores.dtype).min)
        y = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v
    y = y.view(n_rows, n_group, n_head // n_group, n_new, size).permute(0, 3, 1, 2, 4)
    return y.reshape(n_rows, n_new, n_head, size)


def with_seed(sampling: Sampling, attempt: int) -> Sampling:
    """Return the settings for another attempt at the same prompt: a fixed seed moves on, so that the reply differs."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + attempt)
