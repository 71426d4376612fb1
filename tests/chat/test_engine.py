"""The engine gives what the model gives, from a cache that lives on."""

from __future__ import annotations

import pytest
import torch

from clone.chat.engine import Counts, EagerRunner, Engine, Marks
from clone.chat.sampling import Sampling, keep_likely
from clone.lm.model import Transformer, attend_within
from tests.chat.conftest import FALCON, GEMMA, LLAMA, make_model

GREEDY = Sampling(temperature=0, max_tokens=12)
NO_MARKS = Marks(frozenset(), end=-1, never_first=frozenset(), unpenalised=frozenset(), n_tokens=400)
PROMPT = [7, 30, 31, 99, 12, 200, 45, 301, 5, 17]


def without_cache(model: Transformer, ids: list[int], n: int) -> list[int]:
    """Return the likeliest continuation, each token from a forward over everything before it."""
    ids = list(ids)
    for _ in range(n):
        x = torch.tensor(ids)
        logits = model.logits(model.hidden(x, torch.arange(len(ids)), attend_within))[-1]
        ids.append(int(logits[:400].argmax()))
    return ids[-n:]


def run(engine: Engine, prompt: list[int], sampling: Sampling = GREEDY, n: int = 1) -> list[list[int | None]]:
    return [list(row) for row in zip(*engine.generate(prompt, sampling, n=n), strict=True)]


@pytest.mark.parametrize("config", [FALCON, LLAMA, GEMMA], ids=["falcon", "llama", "gemma"])
def test_cached_decoding_equals_a_forward_over_everything(config: dict[str, object]) -> None:
    model = make_model(config)
    engine = Engine(EagerRunner(model), NO_MARKS)
    assert run(engine, PROMPT) == [without_cache(model, PROMPT, 12)]


@pytest.mark.parametrize("config", [FALCON, LLAMA, GEMMA], ids=["falcon", "llama", "gemma"])
def test_a_later_turn_reuses_the_cache_and_changes_nothing(config: dict[str, object]) -> None:
    model = make_model(config)
    engine = Engine(EagerRunner(model), NO_MARKS)
    (first,) = run(engine, PROMPT)
    later = [*PROMPT, *first, 9, 8, 77]  # type: ignore[list-item]
    counts = Counts()
    out = [row[0] for row in engine.generate(later, GREEDY, counts=counts)]
    assert out == without_cache(model, later, 12)  # type: ignore[arg-type]
    assert counts.n_cached == len(PROMPT) + len(first) - 1  # the last token was chosen and never read
    assert counts.n_prompt == len(later)


def test_a_prompt_that_departs_early_reuses_only_what_is_equal() -> None:
    model = make_model()
    engine = Engine(EagerRunner(model), NO_MARKS)
    run(engine, PROMPT)
    other = [*PROMPT[:4], 222, 11, 13]
    counts = Counts()
    assert [row[0] for row in engine.generate(other, GREEDY, counts=counts)] == without_cache(model, other, 12)
    assert counts.n_cached == 4


def test_the_same_prompt_again_runs_its_last_token_only() -> None:
    engine = Engine(EagerRunner(make_model()), NO_MARKS)
    first = run(engine, PROMPT)
    counts = Counts()
    assert [[row[0] for row in engine.generate(PROMPT, GREEDY, counts=counts)]] == first
    assert counts.n_cached == len(PROMPT) - 1


def test_candidates_share_the_prompt_and_differ() -> None:
    model = make_model()
    engine = Engine(EagerRunner(model), NO_MARKS)
    several = run(engine, PROMPT, Sampling(temperature=1.5, max_tokens=10, seed=3), n=4)
    assert len({tuple(row) for row in several}) == 4
    assert run(engine, PROMPT, GREEDY, n=3) == [without_cache(model, PROMPT, 12)] * 3


def test_the_next_turn_goes_on_from_the_candidate_that_was_picked() -> None:
    model = make_model()
    engine = Engine(EagerRunner(model), NO_MARKS)
    several = run(engine, PROMPT, Sampling(temperature=1.5, max_tokens=10, seed=3), n=4)
    later = [*PROMPT, *several[2], 9]  # type: ignore[list-item]
    counts = Counts()
    out = [row[0] for row in engine.generate(later, GREEDY, counts=counts)]  # type: ignore[arg-type]
    assert out == without_cache(model, later, 12)  # type: ignore[arg-type]
    assert counts.n_cached == len(PROMPT) + 9


def test_a_seed_makes_replies_repeatable() -> None:
    engine = Engine(EagerRunner(make_model()), NO_MARKS)
    hot = Sampling(temperature=2.0, max_tokens=20, seed=11)
    assert run(engine, PROMPT, hot) == run(engine, PROMPT, hot)
    assert run(engine, PROMPT, hot) != run(engine, PROMPT, Sampling(temperature=2.0, max_tokens=20, seed=12))


def test_closing_the_iterator_stops_and_leaves_the_cache_good() -> None:
    model = make_model()
    engine = Engine(EagerRunner(model), NO_MARKS)
    steps = engine.generate(PROMPT, GREEDY)
    seen = [next(steps)[0] for _ in range(5)]
    steps.close()  # type: ignore[attr-defined]
    later = [*PROMPT, *seen, 250]  # type: ignore[list-item]
    counts = Counts()
    out = [row[0] for row in engine.generate(later, GREEDY, counts=counts)]  # type: ignore[arg-type]
    assert out == without_cache(model, later, 12)  # type: ignore[arg-type]
    assert counts.n_cached == len(PROMPT) + 4


def test_a_candidate_ends_at_a_stop_and_the_others_go_on() -> None:
    model = make_model()
    (plain,) = run(Engine(EagerRunner(model), NO_MARKS), PROMPT)
    stop = plain[3]
    marks = Marks(frozenset([stop]), end=stop, never_first=frozenset(), unpenalised=frozenset(), n_tokens=400)  # type: ignore[arg-type,list-item]
    (cut,) = run(Engine(EagerRunner(model), marks), PROMPT)
    assert cut == plain[: plain.index(stop) + 1]


def test_padding_of_the_vocabulary_is_never_chosen() -> None:
    engine = Engine(EagerRunner(make_model()), NO_MARKS)
    (ids,) = run(engine, PROMPT, Sampling(temperature=5, max_tokens=200, seed=0))
    assert max(ids) < 400  # type: ignore[type-var]


def test_generation_ends_where_the_context_does() -> None:
    engine = Engine(EagerRunner(make_model(), n_context=16), NO_MARKS)
    (ids,) = run(engine, PROMPT, Sampling(temperature=0, max_tokens=100))
    assert len(ids) == 16 - len(PROMPT)


def test_a_failure_inside_a_step_empties_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    runner = EagerRunner(model)
    engine = Engine(runner, NO_MARKS)
    run(engine, PROMPT)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
        with pytest.raises(RuntimeError, match="broken"):
            run(engine, PROMPT)
    assert run(engine, PROMPT) == [without_cache(model, PROMPT, 12)]


# -- sampling ------------------------------------------------------------------------------------------------------

SCORES = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])


def kept(**settings: object) -> list[int]:
    values = {"top_k": None, "top_p": 1.0, "min_p": 0.0, **settings}
    return torch.isfinite(keep_likely(SCORES, **values)[0]).nonzero()[:, 0].tolist()  # type: ignore[arg-type]


def test_top_k_keeps_the_k_likeliest() -> None:
    assert kept(top_k=2) == [0, 1]
    assert kept(top_k=9) == [0, 1, 2, 3, 4]


def test_top_p_keeps_the_smallest_set_with_the_probability() -> None:
    p = SCORES.softmax(-1)[0]
    assert kept(top_p=float(p[0]) - 0.01) == [0]
    assert kept(top_p=float(p[0]) + 0.01) == [0, 1]
    assert kept(top_p=1e-6) == [0]


def test_min_p_is_measured_against_the_likeliest() -> None:
    assert kept(min_p=0.3) == [0, 1]  # e^-1 = 0.37, e^-2 = 0.14


def test_draws_follow_the_distribution() -> None:
    from clone.chat.sampling import Sampler

    sampler = Sampler(Sampling(seed=0), [], n=20000, n_vocab=5, device=torch.device("cpu"))
    drawn = torch.bincount(sampler(SCORES.expand(20000, -1)), minlength=5) / 20000
    assert torch.allclose(drawn, SCORES.softmax(-1)[0], atol=0.015)


def test_penalties_act_on_what_was_said_and_spare_the_marks() -> None:
    from clone.chat.sampling import Sampler

    def first(sampling: Sampling, prompt: list[int], **more: object) -> list[int]:
        sampler = Sampler(sampling, prompt, n=1, n_vocab=5, device=torch.device("cpu"), **more)  # type: ignore[arg-type]
        return [int(sampler(SCORES)) for _ in range(3)]

    assert first(Sampling(temperature=0), [0]) == [0, 0, 0]
    assert first(Sampling(temperature=0, repetition_penalty=2), [0]) == [1, 0, 0]  # 4/2 < 3, then 3/2 < 4/2
    assert first(Sampling(temperature=0, frequency_penalty=1.5), [0]) == [0, 1, 0]
    assert first(Sampling(temperature=0, presence_penalty=1.5), []) == [0, 1, 0]
    assert first(Sampling(temperature=0, frequency_penalty=1.5), [], unpenalised=[0]) == [0, 0, 0]
