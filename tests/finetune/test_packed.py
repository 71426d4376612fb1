"""Packed training against LitGPT's own forward and loss, one document at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from clone.finetune.devices import make_fabric
from clone.finetune.examples import ReadCount, fold, read_samples
from clone.finetune.learner import Learner
from clone.finetune.packed import PackedModel
from clone.finetune.rows import fill_rows, fill_steps, lay_row, padded_size, plan_epoch
from clone.finetune.sequences import Sequences, make_sequences
from clone.finetune.train import evaluate
from clone.lm.base import resolve_base
from clone.lm.model import Transformer
from clone.lm.template import prompt_segments, read_bubbles, read_context
from clone.lm.tokens import Tokens
from clone.lm.weights import adapter_parameters, add_adapter, merge_adapter
from clone.records import Role, Turn
from tests.finetune.invented import sessions, write_prepared
from tests.lm.test_model import FAMILIES, pair

ALL = ["attn.qkv", "attn.proj", "mlp.fc", "mlp.fc_1", "mlp.fc_2", "mlp.proj"]


def with_adapter(model: Transformer) -> Transformer:
    """Give `model` an adapter that changes much: B is random too."""
    add_adapter(model, targets=ALL, rank=4, alpha=8, dropout=0, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapter_parameters(model).items():
            if name.endswith("lora_B"):
                parameter.normal_(0, 0.05, generator=generator)
    return model


def random_sequences(lengths: list[int], n_tokens: int = 96) -> Sequences:
    generator = torch.Generator().manual_seed(3)
    total = sum(lengths)
    learned = (torch.rand(total, generator=generator) < 0.4).to(torch.uint8)
    starts = torch.tensor([0, *lengths]).cumsum(0)
    learned[starts[:-1]] = 0  # the first token of a document has nothing before it
    ids = torch.randint(0, n_tokens, (total,), generator=generator, dtype=torch.int32)
    return Sequences(ids, learned, starts, len(lengths), 0, 0, 0, 1, 1, {})


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("family", "fuses"), [*((family, False) for family in FAMILIES), ("falcon-7b", True)])
def test_packed_loss_and_gradients_equal_litgpts_unpacked(family: str, checkpointing: bool, fuses: bool) -> None:
    theirs, ours = pair(family)
    ours.requires_grad_(False)
    with_adapter(ours)
    sequences = random_sequences([17, 5, 40, 9])
    row = [0, 1, 2, 3]
    packed = PackedModel(ours, checkpointing=checkpointing, fuses=fuses)
    packed(lay_row(sequences, row)).backward()

    lora = {name: p.detach().clone().requires_grad_() for name, p in adapter_parameters(ours).items()}
    scale = 8 / 4
    weights = dict(theirs.named_parameters())
    expected = torch.zeros(())
    for i in row:
        a, b = int(sequences.starts[i]), int(sequences.starts[i + 1])
        ids, learned = sequences.ids[a:b].long(), sequences.is_learned[a:b].bool()
        merged = {
            name: weight + scale * lora[f"{stem}.lora_B"] @ lora[f"{stem}.lora_A"]
            if f"{(stem := name.removesuffix('.weight'))}.lora_A" in lora
            else weight
            for name, weight in weights.items()
        }
        logits = torch.func.functional_call(theirs, merged, (ids[None],))[0]  # (T, V)
        expected = expected + F.cross_entropy(logits[:-1][learned[1:]], ids[1:][learned[1:]], reduction="sum")
    expected.backward()  # type: ignore[no-untyped-call]

    with torch.no_grad():
        torch.testing.assert_close(packed(lay_row(sequences, row)), expected.detach(), rtol=1e-5, atol=1e-5)
    for name, parameter in adapter_parameters(ours).items():
        assert parameter.grad is not None
        expected_gradient = lora[name].grad
        assert expected_gradient is not None
        error = (parameter.grad - expected_gradient).norm() / expected_gradient.norm()
        assert error < 1e-5, (name, float(error))


@pytest.mark.parametrize("frozen", ["same", "nf4"])
def test_steps_by_hand_learn_what_autograd_learns(frozen: str) -> None:
    """Each step, and each look at the held-out text between, must see what the optimizer made of the adapter."""
    sequences = random_sequences([17, 5, 40, 9])
    rows = [[[0, 1, 2, 3]]] * 4
    told: dict[bool, list[float]] = {}
    for fuses in (False, True):
        model = with_adapter(pair("falcon-7b")[1].requires_grad_(False))
        packed = PackedModel(model, frozen=frozen, fuses=fuses)
        learner = Learner(make_fabric("cpu"), packed, 0.01)
        told[fuses] = []
        for step in learner.lay(sequences, rows, 1 << 20):
            told[fuses].append(learner.learn(step, 0.01).tolist()[0])
            told[fuses].append(evaluate(learner.fabric, learner.trained, sequences, 1 << 20))
    assert told[True] == pytest.approx(told[False], rel=1e-4)
    assert told[True][-1] < told[True][0] - 0.1


def gradients(sequences: Sequences, row_tokens: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Return loss and gradients of one step over all sequences, in rows of at most `row_tokens`."""
    ours = pair("falcon-7b")[1].requires_grad_(False)
    packed = PackedModel(with_adapter(ours))
    (rows,) = plan_epoch(sequences, 0, 0, row_tokens, 1 << 30)
    total = 0.0
    for row in rows:
        loss = packed(lay_row(sequences, row)) / sequences.n_learned
        loss.backward()
        total += float(loss.detach())
    return total, {name: p.grad for name, p in adapter_parameters(ours).items() if p.grad is not None}


def test_the_loss_of_a_step_does_not_depend_on_its_rows() -> None:
    sequences = random_sequences([30, 3, 11, 50, 7, 22, 4, 16])
    whole, expected = gradients(sequences, 1 << 20)
    for row_tokens in (8, 60, 100):
        loss, found = gradients(sequences, row_tokens)
        assert loss == pytest.approx(whole, rel=1e-5)
        for name, gradient in expected.items():
            assert (found[name] - gradient).norm() < 1e-5 * gradient.norm(), name


def test_rows_hold_every_sequence_once_and_no_more_than_fits() -> None:
    lengths = [5, 90, 30, 30, 64, 1, 17, 200]
    rows = fill_rows(lengths, range(8), 100)
    assert sorted(i for row in rows for i in row) == list(range(8))
    assert all(sum(lengths[i] for i in row) <= 100 or len(row) == 1 for row in rows)


def test_rows_that_just_fit_are_not_spread_over_more() -> None:
    assert len(fill_rows([50, 30, 30, 30, 30, 30], range(6), 110)) == 2  # by size alone: 50 + 30 + 30 + 30 and 30 + 30
    assert len(fill_rows([70, 60, 50, 40], range(4), 110)) == 2


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=200), seed=st.integers(0, 5))
def test_steps_hold_every_sequence_once_and_are_filled(lengths: list[int], seed: int) -> None:
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    steps = fill_steps(lengths, order, 300)
    assert sorted(i for step in steps for i in step) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in step) <= 300 for step in steps)
    room = [300 - sum(lengths[i] for i in step) for step in steps]
    for k, step in enumerate(steps):
        assert step[0] == min((i for later in steps[k:] for i in later), key=order.index)  # nobody waits for ever
        coming = [i for i in order if any(i in later for later in steps[k + 1 :])][:32]
        assert all(lengths[i] > room[k] for i in coming)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens.load(resolve_base("embedded", tmp_path / "bases").path)


def test_folded_sessions_cost_what_their_replies_cost_one_by_one(tmp_path: Path, tokens: Tokens) -> None:
    folder = write_prepared(tmp_path, sessions(6, 5, "s", turns=5), [])
    samples = list(read_samples(folder / "train.jsonl", ReadCount()))
    folded = make_sequences(fold(samples), tokens, 1024, {})
    alone = make_sequences((c for s in samples for c in fold([s])), tokens, 1024, {})
    assert len(folded) == 6
    assert len(alone) == len(samples) == folded.n_examples == alone.n_examples
    assert folded.n_learned == alone.n_learned
    assert folded.n_tokens + folded.n_folded_away == alone.n_tokens

    base = resolve_base("embedded", tmp_path / "bases")
    from clone.lm.weights import open_model

    packed = PackedModel(with_adapter(open_model(base.path)))
    with torch.no_grad():
        one = sum(float(packed(lay_row(folded, [i]))) for i in range(len(folded)))
        other = sum(float(packed(lay_row(alone, [i]))) for i in range(len(alone)))
    assert one == pytest.approx(other, rel=1e-5)


def test_what_is_graded_is_the_persons_own_turns_and_nothing_else(tmp_path: Path, tokens: Tokens) -> None:
    folder = write_prepared(tmp_path, sessions(6, 7, "s", turns=5), [])
    samples = list(read_samples(folder / "train.jsonl", ReadCount()))
    folded = make_sequences(fold(samples), tokens, 1024, {})
    graded = folded.ids[folded.is_learned.bool()].tolist()
    own = [bubble for sample in samples for bubble in sample.reply.bubbles]
    assert tokens.decode(graded) == "".join(own)
    marks = [tokens.control(i) for i in graded if tokens.control(i) is not None]
    assert marks.count("end") == len(samples)
    assert marks.count("bubble") == len(own) - len(samples)
    assert set(marks) <= {"end", "bubble"}


def test_the_prompt_of_a_chat_is_the_beginning_of_what_training_saw(tmp_path: Path, tokens: Tokens) -> None:
    rows = sessions(4, 9, "s", turns=4)
    folder = write_prepared(tmp_path, rows, [])
    folded = make_sequences(fold(read_samples(folder / "train.jsonl", ReadCount())), tokens, 1024, {})
    trained = {
        tuple(folded.ids[int(a) : int(b)].tolist()) for a, b in zip(folded.starts[:-1], folded.starts[1:], strict=True)
    }
    for row in rows:
        turns = [*read_context(row["context"], "alex"), Turn(Role.THEM, read_bubbles(row["instruction"]))]
        prompt = tuple(tokens.encode(prompt_segments("alex", turns)).ids)
        assert any(ids[: len(prompt)] == prompt for ids in trained)


def test_a_long_session_is_cut_between_turns_and_no_reply_is_lost(tmp_path: Path, tokens: Tokens) -> None:
    folder = write_prepared(tmp_path, sessions(3, 11, "s", turns=30), [])
    samples = list(read_samples(folder / "train.jsonl", ReadCount()))
    cut = make_sequences(fold(samples), tokens, 200, {})
    assert cut.n_cut > 0
    assert int(cut.lengths.max()) <= 200
    assert cut.n_examples == len(samples)
    assert tokens.decode(cut.ids[cut.is_learned.bool()].tolist()) == "".join(
        bubble for sample in samples for bubble in sample.reply.bubbles
    )


def test_a_reply_longer_than_the_base_can_see_is_counted_out(tmp_path: Path, tokens: Tokens) -> None:
    rows = sessions(2, 11, "s", turns=1)
    rows[0]["response"] = "x" * 300
    folder = write_prepared(tmp_path, rows, [])
    made = make_sequences(fold(read_samples(folder / "train.jsonl", ReadCount())), tokens, 200, {})
    assert (made.n_examples, made.n_too_long) == (1, 1)


def test_text_that_looks_like_a_mark_stays_text(tokens: Tokens) -> None:
    for mark in tokens.marks.values():
        name = f"<|{tokens.control(mark)}|>"
        ids = tokens.encode_text(f"a{name}b")
        assert mark not in ids
        assert tokens.decode(ids) == f"a{name}b"


@pytest.mark.parametrize("family", ["falcon-7b", "qwen3", "gemma-2"])
def test_merged_weights_equal_base_plus_adapter(family: str) -> None:
    ours = with_adapter(pair(family)[1].requires_grad_(False))
    packed = PackedModel(ours)
    batch = lay_row(random_sequences([40, 9]), [0, 1])
    with torch.no_grad():
        beside = packed.hidden(batch)
        merge_adapter(ours)
        merged = packed.hidden(batch)
    assert not adapter_parameters(ours)
    torch.testing.assert_close(merged, beside, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 384, 385, 1000, 8191, 8192, 8193])
def test_rows_are_filled_up_to_one_of_few_sizes(n: int) -> None:
    size = padded_size(n)
    assert n <= size <= max(256, n * 3 // 2)
    assert {padded_size(m) for m in range(1, 10_000)} == {
        256,
        384,
        512,
        768,
        1024,
        1536,
        2048,
        3072,
        4096,
        6144,
        8192,
        12288,
    }


def test_filling_a_row_up_changes_nothing() -> None:
    packed = PackedModel(with_adapter(pair("qwen3")[1].requires_grad_(False)))
    batch = lay_row(random_sequences([30, 9, 21]), [0, 1, 2])
    filled = batch.padded(256)
    assert len(filled.input_ids) == 256 == filled.offsets[-1]
    with torch.no_grad():
        torch.testing.assert_close(packed(filled), packed(batch))
