"""From scores to tokens: temperature, top-k, top-p, min-p and the penalties, for several candidates at once.

In come logits, out come token ids. Everything stays on the device of the logits and nothing waits for it, so that a
step can be recorded as a CUDA graph. Knows nothing of text.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from clone.recipe import ChatRecipe


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. The defaults choose from the model's own distribution."""

    temperature: float = 1.0  # 0 takes the likeliest token
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # of prompt and reply, as in Keskar et al. 2019 (CTRL)
    frequency_penalty: float = 0.0  # of the reply alone, as in OpenAI's API
    presence_penalty: float = 0.0
    max_tokens: int = 256
    seed: int | None = None

    @classmethod
    def of(cls, recipe: ChatRecipe) -> Sampling:
        """Return the settings of a recipe."""
        return cls(
            recipe.temperature,
            recipe.top_p,
            recipe.top_k,
            recipe.min_p,
            recipe.repetition_penalty,
            recipe.frequency_penalty,
            recipe.presence_penalty,
            recipe.max_reply_tokens,
            recipe.seed,
        )

    @property
    def has_penalties(self) -> bool:
        return self.repetition_penalty != 1.0 or self.frequency_penalty != 0.0 or self.presence_penalty != 0.0


class Sampler:
    """Chooses the next token of each of `n` candidates that answer the same prompt.

    `never` are ids that cannot be chosen, `never_first` ids that cannot open the reply, and `unpenalised` ids that no
    penalty touches: a penalty on the end of a turn would make the twin ramble.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int],
        *,
        n: int,
        n_vocab: int,
        device: torch.device,
        never: Collection[int] = (),
        never_first: Collection[int] = (),
        unpenalised: Collection[int] = (),
        never_from: int | None = None,
    ) -> None:
        self.sampling = sampling
        self._never = torch.zeros(n_vocab, dtype=torch.float32, device=device)  # added to the scores
        if never_from is not None:
            self._never[never_from:] = -torch.inf  # rows that pad the vocabulary
        self._never[list(never)] = -torch.inf
        self._first = self._never.clone()
        self._first[list(never_first)] = -torch.inf
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)
        self._in_reply: torch.Tensor | None = None
        if sampling.has_penalties:
            self._is_penalised = torch.ones(n_vocab, dtype=torch.bool, device=device)
            self._is_penalised[list(unpenalised)] = False
            self._in_reply = torch.zeros(n, n_vocab, dtype=torch.float32, device=device)  # how often, (n, V)
            self._in_prompt = torch.zeros(n_vocab, dtype=torch.bool, device=device)
            self._in_prompt[torch.tensor(list(prompt), dtype=torch.long, device=device)] = True

    def __call__(self, logits: torch.Tensor, *, is_first: bool = False) -> torch.Tensor:
        """Return the ids (n,) chosen from logits (n, V)."""
        s = self.sampling
        scores = logits.float() + (self._first if is_first else self._never)
        if self._in_reply is not None:
            scores = self._penalise(scores, self._in_reply)
        if s.temperature == 0:
            chosen = scores.argmax(-1)
        else:
            kept = keep_likely(scores / s.temperature, s.top_k, s.top_p, s.min_p)
            noise = torch.empty_like(kept).exponential_(generator=self._generator)
            chosen = (kept.softmax(-1) / noise).argmax(-1)  # the exponential race: a draw without a wait for the device
        if self._in_reply is not None:
            self._in_reply.scatter_add_(1, chosen[:, None], torch.ones_like(chosen[:, None], dtype=torch.float32))
        return chosen

    @property
    def never(self) -> torch.Tensor:
        """What is added to the scores of every token after the first, (V,): -inf where it cannot be chosen."""
        return self._never

    def thresholds(self) -> torch.Tensor:
        """Return 1/temperature, top-k, top-p and how far a score may lie behind the best: (4,), on the host."""
        s = self.sampling
        n_vocab = self._never.numel()
        if s.temperature == 0:
            return torch.tensor([1.0, 1.0, 1.0, 0.0])
        top_k = n_vocab if s.top_k is None else min(s.top_k, n_vocab)
        behind = -math.log(s.min_p) if s.min_p > 0 else 3e38
        return torch.tensor([1 / s.temperature, top_k, s.top_p, behind])

    def uniforms(self, n_steps: int, n: int) -> torch.Tensor:
        """Return numbers for the draws of the steps to come, (n_steps, n) in [0, 1); 0 takes the first of equals."""
        device = self._never.device
        if self.sampling.temperature == 0:
            return torch.zeros(n_steps, n, device=device)
        return torch.rand(n_steps, n, device=device, generator=self._generator)

    def _penalise(self, scores: torch.Tensor, in_reply: torch.Tensor) -> torch.Tensor:
        s = self.sampling
        is_known = (in_reply > 0) | self._in_prompt
        shrunk = torch.where(scores > 0, scores / s.repetition_penalty, scores * s.repetition_penalty)
        penalised = torch.where(is_known, shrunk, scores)
        penalised = penalised - s.frequency_penalty * in_reply - s.presence_penalty * (in_reply > 0)
        return torch.where(self._is_penalised, penalised, scores)


def keep_likely(scores: torch.Tensor, top_k: int | None, top_p: float, min_p: float) -> torch.Tensor:
    """Return scores (n, V) with the unlikely tokens at -inf; the likeliest always stays.

    Top-k first, then top-p on what is left (Holtzman et al. 2020), then min-p (Nguyen et al. 2024).
    """
    if top_k is not None and top_k < scores.size(-1):
        kth = scores.topk(top_k).values[:, -1:]
        scores = scores.masked_fill(scores < kth, -torch.inf)
    if top_p < 1:
        ordered, order = scores.sort(descending=True)
        p = ordered.softmax(-1)
        is_beyond = p.cumsum(-1) - p >= top_p  # the probability before this token is enough already
        scores = scores.masked_fill(torch.zeros_like(is_beyond).scatter_(1, order, is_beyond), -torch.inf)
    if min_p > 0:
        p = scores.softmax(-1)
        scores = scores.masked_fill(p < min_p * p.amax(-1, keepdim=True), -torch.inf)
    return scores
