"""Frozen weights in fewer bits."""

from __future__ import annotations

import pytest
import torch

from clone.errors import HardwareError
from clone.finetune.frozen import Nf4Product, check_fp8
from clone.finetune.packed import PackedModel
from clone.finetune.rows import lay_row
from clone.finetune.stage import activation_bytes, fit_card, needed_bytes
from clone.lm.shape import Shape
from clone.lm.weights import adapter_parameters
from clone.recipe import FinetuneRecipe
from tests.finetune.test_packed import random_sequences, with_adapter
from tests.lm.test_model import pair


def test_nf4_keeps_a_weight_to_within_its_steps() -> None:
    torch.manual_seed(0)
    weight = torch.randn(96, 128) * 0.02
    product = Nf4Product(weight)
    kept = product.weight(torch.float32)
    error = (kept - weight).norm() / weight.norm()
    assert 0.05 < error < 0.1  # normal weights lose 7 to 10 % in NF4
    assert sum(b.numel() * b.element_size() for b in (product.codes, product.largest)) == 96 * 128 / 2 + 96 * 2 * 2
    again = Nf4Product(kept).weight(torch.float32)
    torch.testing.assert_close(again, kept, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_hand_written_blocks_in_nf4_equal_the_others(checkpointing: bool) -> None:
    batch = lay_row(random_sequences([30, 9]), [0, 1])
    found = []
    for fuses in (False, True):
        ours = with_adapter(pair("falcon-7b")[1].requires_grad_(False))
        PackedModel(ours, frozen="nf4", checkpointing=checkpointing, fuses=fuses)(batch).backward()
        found.append({name: p.grad for name, p in adapter_parameters(ours).items()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_gradients_through_nf4_are_those_of_the_widened_weights() -> None:
    ours = with_adapter(pair("falcon-7b")[1].requires_grad_(False))
    batch = lay_row(random_sequences([30, 9]), [0, 1])
    PackedModel(ours, frozen="nf4")(batch).backward()
    found = {name: p.grad.clone() for name, p in adapter_parameters(ours).items() if p.grad is not None}
    for _, linear in ours.linears():
        assert isinstance(linear.product, Nf4Product)
        linear.weight = torch.nn.Parameter(linear.product.weight(torch.float32), requires_grad=False)
        linear.product = linear.lora_A.grad = linear.lora_B.grad = None  # type: ignore[union-attr]
    PackedModel(ours)(batch).backward()
    for name, parameter in adapter_parameters(ours).items():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_fp8_is_refused_where_there_is_none() -> None:
    with pytest.raises(HardwareError, match="fp8 needs a GPU of the Ada or Hopper generation or newer"):
        check_fp8(torch.device("cpu"))


def falcon() -> Shape:
    from clone.lm.lit import fields_of

    fields = fields_of("tiiuae/falcon-7b")
    assert fields is not None
    return Shape.of(fields)


@pytest.mark.parametrize(
    ("gigabytes", "capability", "frozen", "checkpointing", "rows"),
    [
        (141, (9, 0), "fp8", False, 8448),
        (80, (9, 0), "fp8", False, 8448),
        (48, (8, 0), "same", False, 4224),
        (24, (8, 9), "same", True, 8448),
        (8, (8, 6), "nf4", True, 2112),
    ],
)
def test_auto_chooses_what_fits_the_card(
    gigabytes: int, capability: tuple[int, int], frozen: str, checkpointing: bool, rows: int
) -> None:
    chosen = fit_card(FinetuneRecipe(), falcon(), gigabytes * 10**9, capability)
    assert (chosen.frozen, chosen.checkpointing, chosen.row_tokens) == (frozen, checkpointing, rows)


def test_auto_leaves_what_the_recipe_says() -> None:
    given = FinetuneRecipe(frozen="same", row_tokens=1024)
    chosen = fit_card(given, falcon(), 24 * 10**9, (9, 0))
    assert (chosen.frozen, chosen.row_tokens, chosen.checkpointing) == ("same", 1024, False)
    nothing = FinetuneRecipe(frozen="same", checkpointing=False, row_tokens=8192)
    with pytest.raises(HardwareError, match="does not fit a card of 24 GB, as the recipe has it"):
        fit_card(nothing, falcon(), 24 * 10**9, (9, 0))


@pytest.mark.parametrize(
    ("frozen", "checkpointing", "rows", "measured_gb"),
    [("same", False, 8448, 44.4), ("same", True, 4224, 16.8), ("nf4", True, 2816, 6.8)],
)
def test_the_estimate_of_memory_is_a_little_over_what_was_measured(
    frozen: str, checkpointing: bool, rows: int, measured_gb: float
) -> None:
    estimate_gb = needed_bytes(falcon(), frozen, checkpointing, rows) / 1e9
    assert measured_gb < estimate_gb < 1.15 * measured_gb


def test_shards_fit_where_the_whole_does_not() -> None:
    from clone.lm.lit import fields_of

    large = Shape.of(fields_of("falcon-40b") or {})
    with pytest.raises(HardwareError) as caught:
        fit_card(FinetuneRecipe(frozen="same"), large, 80 * 10**9, (9, 0))
    assert "more GPUs: finetune.devices with finetune.strategy=fsdp" in caught.value.hint
    chosen = fit_card(FinetuneRecipe(), large, 80 * 10**9, (9, 0), n_shards=4)
    assert chosen.frozen == "same"
    with pytest.raises(HardwareError, match="does not fit 2 cards of 24 GB, in shards"):
        fit_card(FinetuneRecipe(), large, 24 * 10**9, (9, 0), n_shards=2)


def test_auto_says_when_nothing_fits() -> None:
    with pytest.raises(HardwareError, match="does not fit a card of 4 GB, even in four bits"):
        fit_card(FinetuneRecipe(), falcon(), 4 * 10**9, (8, 6))


def test_the_estimate_of_activations_is_near_what_was_measured() -> None:
    measured = (44.6e9 - 14.5e9) / 8448  # one H200, Falcon-7B, rows of 8,448
    assert activation_bytes(falcon(), checkpointing=False) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("fuses", [False, True])
def test_fp8_gradients_are_near_those_of_the_full_weights(fuses: bool) -> None:
    batch = lay_row(random_sequences([40, 24]), [0, 1])
    found = []
    for frozen in ("same", "fp8"):
        ours = with_adapter(pair("falcon-7b")[1].requires_grad_(False))
        loss = PackedModel(ours, frozen=frozen, fuses=fuses)(batch)
        loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in adapter_parameters(ours).values() if p.grad is not None])
        found.append((float(loss.detach()), gradients))
    (full, expected), (narrow, gradients) = found
    assert narrow == pytest.approx(full, rel=0.01)
    assert narrow != full
    assert (gradients - expected).norm() < 0.1 * expected.norm()
    assert torch.nn.functional.cosine_similarity(gradients, expected, dim=0) > 0.99
