"""How fast to learn, step by step."""

from __future__ import annotations

import math


def learning_rate(step: int, n_steps: int, peak: float, warmup_share: float, floor_share: float) -> float:
    """Return the rate of optimizer step `step` (from 0): a straight rise to the peak, then a cosine to the floor.

    The rise takes `warmup_share` of the steps and never all of them.
    """
    n_warmup = min(int(warmup_share * n_steps), n_steps - 1)
    if step < n_warmup:
        return peak * (step + 1) / (n_warmup + 1)
    done = (step - n_warmup) / max(1, n_steps - 1 - n_warmup)
    return peak * (floor_share + (1 - floor_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def default_peak(n_parameters: int) -> float:
    """Return the peak rate for LoRA on a base of this size: small ones want more."""
    return 2e-4 if n_parameters >= 1_000_000_000 else 1e-3


def default_step_tokens(n_tokens: int) -> int:
    """Return the tokens of a step, so that an epoch of `n_tokens` has about 32; two rows of a GPU at most."""
    return max(512, min(16_880, n_tokens // 32))


def evaluation_steps(n_steps: int, n_evaluations: int) -> set[int]:
    """Return after how many steps the held-out loss is measured; the last step is always among them."""
    return {round(n_steps * (i + 1) / n_evaluations) for i in range(n_evaluations)} - {0} | {n_steps}
