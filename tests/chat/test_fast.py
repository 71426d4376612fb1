"""The kernels of a step against the eager way, run by Triton's interpreter (see `tests/conftest.py`)."""

from __future__ import annotations

import platform
import sys
from typing import Any

import pytest
import torch

if not (sys.platform == "linux" and platform.machine() == "x86_64"):
    pytest.skip("Triton comes for Linux on x86-64", allow_module_level=True)

from clone.chat.eight_bit import to_eight_bits
from clone.chat.engine import EagerRunner
from clone.chat.fast import FastRunner
from clone.chat.sampling import Sampler, Sampling, keep_likely
from clone.lm.model import Transformer
from clone.lm.shape import Shape
from tests.chat.conftest import FALCON

SHAPE = {**FALCON, "n_layer": 1, "head_size": 32, "n_head": 3, "n_embd": 80, "block_size": 40, "intermediate_size": 120}
SHAPE |= {"vocab_size": 90, "padded_vocab_size": 96}
PROMPT = [7, 30, 12, 59, 5]


def make_model(weights: str = "as-is") -> Transformer:
    torch.manual_seed(3)
    model = Transformer(Shape.of(SHAPE))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False).normal_(1 if "norm" in name or "ln_f" in name else 0, 0.2)
    if weights != "as-is":
        to_eight_bits(model, weights)  # type: ignore[arg-type]
    return model.eval()


def sampler_for(runner: EagerRunner, sampling: Sampling, n: int = 1, **more: Any) -> Sampler:
    return Sampler(sampling, PROMPT, n=n, n_vocab=runner.n_vocab, device=runner.device, never_from=90, **more)


def ids_of(runner: EagerRunner, sampling: Sampling, n: int = 1, n_steps: int = 4) -> list[list[int]]:
    with torch.inference_mode():
        logits = runner.prefill(PROMPT, 0)
        runner.spread(0, n, len(PROMPT))
        sampler = sampler_for(runner, sampling, n)
        return list(runner.decode(sampler, sampler(logits.expand(n, -1)), len(PROMPT), n_steps))


@pytest.mark.parametrize(("weights", "tolerance"), [("as-is", 1e-4), ("int8", 2e-3), ("fp8", 2e-3)])
@pytest.mark.parametrize("n", [1, 3])
def test_a_step_gives_the_logits_of_the_eager_way(weights: str, tolerance: float, n: int) -> None:
    model = make_model(weights)
    eager, fast = EagerRunner(model), FastRunner(model)
    with torch.inference_mode():
        expected, got = eager.prefill(PROMPT, 0), fast.prefill(PROMPT, 0)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
        for runner in (eager, fast):
            runner.spread(0, n, len(PROMPT))
        for position in (5, 6):
            ids = torch.arange(20, 20 + n)
            expected, got = eager.step(ids, position), fast.step(ids, position)
            assert ((got - expected).norm() / expected.norm()).item() < tolerance


def test_a_prefill_in_pieces_gives_the_logits_of_one() -> None:
    """Pieces of 3 and 16 are filled up to 16, which is never looked at; the last has no room for that."""
    model = make_model()
    eager, fast = EagerRunner(model), FastRunner(model)
    ids = [(7 * i) % 60 for i in range(36)]
    with torch.inference_mode():
        expected = eager.prefill(ids, 0)
        fast.prefill(ids[:3], 0)
        fast.prefill(ids[3:19], 3)
        torch.testing.assert_close(fast.prefill(ids[19:], 19), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("weights", ["as-is", "int8", "fp8"])
def test_greedy_text_is_that_of_the_eager_way(weights: str) -> None:
    model = make_model(weights)
    greedy = Sampling(temperature=0)
    assert ids_of(FastRunner(model), greedy) == ids_of(EagerRunner(model), greedy)


def test_penalties_hold_in_the_fast_way() -> None:
    model = make_model()
    greedy = Sampling(temperature=0, repetition_penalty=1.8, frequency_penalty=0.5)
    assert ids_of(FastRunner(model), greedy) == ids_of(EagerRunner(model), greedy)


def test_a_seed_repeats_its_draws() -> None:
    model = make_model()
    told = [ids_of(FastRunner(model), Sampling(top_p=0.9, seed=seed), n=2, n_steps=3) for seed in (1, 1, 2)]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=3),
        Sampling(top_k=70, temperature=0.7),
        Sampling(top_p=0.5),
        Sampling(top_k=20, top_p=0.6, min_p=0.05),
        Sampling(min_p=0.2),
        Sampling(temperature=1.3),
    ],
)
def test_the_draw_takes_what_the_sampler_keeps_and_in_its_proportions(sampling: Sampling) -> None:
    runner = FastRunner(make_model())
    graph = runner._graph(1)
    sampler = sampler_for(runner, sampling)
    logits = torch.randn(1, runner.n_vocab) * 3
    graph.logits.copy_(logits)
    graph.begin(sampler, 0, 30)
    kept = keep_likely((logits + sampler.never) / sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)
    p = kept.softmax(-1)[0].cumsum(0)
    for uniform in (0.0, 0.31, 0.77, 0.999):
        graph.at(0)
        graph.uniforms[0] = uniform
        graph._draw()
        expected = int((p > uniform).nonzero()[0])
        assert int(graph.ids[0]) == expected
        assert int(graph.position) == 1
