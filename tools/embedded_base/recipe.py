"""The numbers of a run: shapes, rates, seeds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A Falcon: `n_head` heads of `width / n_head`, one of them for keys and values."""

    n_layer: int
    width: int
    n_head: int
    vocab: int
    block: int = 1024


@dataclass(frozen=True)
class Phase:
    """How one model is trained. Rates are the peaks; the schedule warms up, holds, and falls to zero."""

    n_tokens: int
    muon_rate: float
    adam_rate: float
    weight_decay: float
    dropout: float = 0.0
    teacher_share: float = 0.0  # of the loss; the rest is the text itself
    rows: int = 64
    warmup_steps: int = 100
    hold_share: float = 0.4


@dataclass(frozen=True)
class Preset:
    student: Shape
    teacher: Shape
    learn_student: Phase
    learn_teacher: Phase
    n_renderings: int
    n_val_talks: int
    n_val_jokes: int
    grade_every: int  # steps
    save_every_s: float
    seed: int = 0


FULL = Preset(
    student=Shape(8, 320, 5, 10240),
    teacher=Shape(10, 512, 8, 10240),
    learn_student=Phase(5596 * 64 * 1024, 0.01, 4e-3, 0.1, teacher_share=0.75),
    learn_teacher=Phase(2630 * 64 * 1024, 0.01, 3e-3, 0.15, dropout=0.1),
    n_renderings=8,
    n_val_talks=40,
    n_val_jokes=2000,
    grade_every=250,
    save_every_s=60,
)
# What two minutes on the same split came to before this recipe (11.8 M parameters, AdamW, no teacher), as it graded.
TRIAL = {"english": 1.164, "russian": 0.946}
TINY = Preset(
    student=Shape(2, 32, 2, 400, block=128),
    teacher=Shape(2, 64, 2, 400, block=128),
    learn_student=Phase(8_000, 0.01, 4e-3, 0.1, teacher_share=0.75, rows=4, warmup_steps=2),
    learn_teacher=Phase(8_000, 0.01, 3e-3, 0.15, dropout=0.1, rows=4, warmup_steps=2),
    n_renderings=2,
    n_val_talks=2,
    n_val_jokes=10,
    grade_every=8,
    save_every_s=0,
)
