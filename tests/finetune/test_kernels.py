"""The kernels of the hand-written blocks against what they stand for in plain torch. Needs a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from clone.finetune import plain
from clone.finetune.documents import Documents
from clone.finetune.frozen import Nf4Product
from clone.finetune.packed import PackedModel
from clone.finetune.rows import lay_row
from clone.lm.model import Heads
from clone.lm.weights import adapter_parameters
from tests.finetune.test_packed import random_sequences, with_adapter
from tests.lm.test_model import pair

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="kernels need a GPU")


@pytest.fixture
def on_gpu() -> Iterator[None]:
    """Make tensors of random numbers there."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        yield


def near(found: Tensor, expected: Tensor, bound: float = 2e-3) -> None:
    """Kernels multiply fp32 in tf32, which keeps three digits."""
    assert torch.isfinite(found.float()).all()
    assert (found.float() - expected.float()).norm() <= bound * expected.float().norm()


@pytest.mark.usefixtures("on_gpu")
def test_norm() -> None:
    from clone.finetune import kernels

    x, weight, bias = torch.randn(37, 96), torch.randn(96), torch.randn(96)
    out, expected = torch.zeros(37, 160), torch.zeros(37, 160)
    found = kernels.norm(x, weight, bias, 1e-5, out[:, :96])
    kept = plain.norm(x, weight, bias, 1e-5, expected[:, :96])
    near(out, expected)
    near(found[0], kept[0])
    near(found[1], kept[1])
    d, other = torch.randn(37, 160)[:, :96], torch.randn(37, 96)
    near(kernels.norm_back(d, x, weight, *found, other), plain.norm_back(d, x, weight, *kept, other))
    by_torch = x.clone().requires_grad_()
    torch.nn.functional.layer_norm(by_torch, (96,), weight, bias).backward(d)
    assert by_torch.grad is not None
    near(kernels.norm_back(d, x, weight, *found, other), by_torch.grad + other)


@pytest.mark.usefixtures("on_gpu")
def test_rotation() -> None:
    from clone.finetune import kernels

    x, angles = torch.randn(37, 180), torch.rand(37, 1, 16)
    rope = (angles.cos(), angles.sin())
    found, expected = x.clone(), x.clone()
    kernels.rotate(found[:, :160].unflatten(1, (5, 32)), rope)
    plain.rotate(expected[:, :160].unflatten(1, (5, 32)), rope)
    near(found, expected)
    assert not torch.equal(found, x)


@pytest.mark.parametrize("is_low_rank", [False, True])
@pytest.mark.parametrize("kind", ["none", "tanh"])
@pytest.mark.usefixtures("on_gpu")
def test_gelu(kind: str, is_low_rank: bool) -> None:
    from clone.finetune import kernels

    x = torch.randn(37, 264)[:, :256] * 2
    given = (torch.randn(37, 64)[:, 16:32], torch.randn(16, 256)) if is_low_rank else ()
    found, expected = torch.zeros(37, 300)[:, :256], torch.zeros(37, 256)
    kernels.gelu(x, kind, found, *given)
    plain.gelu(x, kind, expected, *given)
    near(found, expected)
    d_y, d_u, a = torch.randn(37, 300)[:, :256], torch.randn(37, 64)[:, 16:32], torch.randn(16, 256)
    kernels.gelu_back(x, kind, d_y, d_u, a, found, *given)
    plain.gelu_back(x, kind, d_y, d_u, a, expected, *given)
    near(found, expected)


@pytest.mark.parametrize("kind", ["none", "tanh"])
@pytest.mark.usefixtures("on_gpu")
def test_gelu_far_from_zero(kind: str) -> None:
    from clone.finetune import kernels

    x = torch.cat([torch.linspace(-12, 12, 1000), torch.tensor([-3e4, 3e4])])[None].repeat(16, 1)
    out, d_x = torch.empty_like(x), torch.empty_like(x)
    kernels.gelu(x, kind, out)
    kernels.gelu_back(x, kind, torch.ones_like(x), torch.zeros(16, 16), torch.zeros(16, x.shape[1]), d_x)
    x.requires_grad_()
    expected = torch.nn.functional.gelu(x, approximate=kind)
    expected.sum().backward()
    assert x.grad is not None
    assert ((out - expected).abs() / x.detach().abs().clamp(min=1)).max() < 1e-4
    assert (d_x - x.grad).abs().max() < 3e-4


@pytest.mark.usefixtures("on_gpu")
def test_copies() -> None:
    from clone.finetune import kernels

    sources = [torch.randn(16, 40), torch.randn(16, 40), torch.randn(50, 64)[:, 3:19].bfloat16(), torch.randn(700, 9)]

    def targets() -> list[Tensor]:
        return [torch.zeros(20, 48)[:16, :40], torch.zeros(40, 16).t(), torch.zeros(50, 16), torch.zeros(700, 9).half()]

    found, expected = targets(), targets()
    factors = [1.0, 2.0, 0.5, 3.0]
    kernels.copy_all(list(zip(sources, found, factors, strict=True)))
    plain.copy_all(list(zip(sources, expected, factors, strict=True)))
    for one, other in zip(found, expected, strict=True):
        near(one, other, 1e-6)


@pytest.mark.usefixtures("on_gpu")
def test_low_rank_sum() -> None:
    from clone.finetune import kernels

    y, other, u, b = torch.randn(37, 264), torch.randn(37, 256), torch.randn(37, 32), torch.randn(32, 256)
    expected = y.clone()
    kernels.add(y[:, :256], other, u, b)
    plain.add(expected[:, :256], other, u, b)
    near(y, expected)


@pytest.mark.parametrize("lengths", [[5, 12, 20], [3, 197, 100], [1, 1, 300]])
@pytest.mark.usefixtures("on_gpu")
def test_attention_within_documents(lengths: list[int]) -> None:
    from clone.finetune import kernels

    offsets = [0, *torch.tensor(lengths, device="cpu").cumsum(0).tolist()]
    sizes, bounds = torch.tensor(lengths), torch.tensor(offsets, dtype=torch.int32)
    starts, ends = bounds[:-1].repeat_interleave(sizes), bounds[1:].repeat_interleave(sizes)
    documents = Documents(offsets, 512, bounds, starts, ends)
    heads = Heads(layer=0, scale=0.17, window=None, softcap=None)
    n = offsets[-1]
    angles = torch.rand(n, 1, 16)
    rope = (angles.cos(), angles.sin())

    def parts(wide: Tensor) -> list[Tensor]:
        return [part.unflatten(1, (-1, 32)) for part in torch.split(wide[:, : 7 * 32], [160, 32, 32], 1)]

    qkv = torch.randn(n, 250)
    found, expected = qkv.clone(), qkv.clone()
    out, true = (torch.zeros(n, 200)[:, :160].unflatten(1, (5, 32)) for _ in range(2))
    kept = kernels.attend(heads, documents, rope, *parts(found), out)
    plain.attend(heads, documents, rope, *parts(expected), true)
    near(found, expected)
    near(out, true)
    d_out, d_found, d_expected = torch.randn(n, 5, 32), torch.zeros(n, 230), torch.zeros(n, 230)
    kernels.attend_back(heads, documents, rope, *parts(found), out, kept, d_out, *parts(d_found))
    plain.attend_back(heads, documents, rope, *parts(expected), true, kept, d_out, *parts(d_expected))
    for one, other in zip(parts(d_found), parts(d_expected), strict=True):
        near(one, other)


@pytest.mark.usefixtures("on_gpu")
def test_loss_and_its_gradient() -> None:
    from clone.finetune import kernels

    logits, labels = torch.randn(9, 5000) * 3, torch.randint(0, 5000, (9,))
    expected = logits.clone()
    near(kernels.grade(logits, labels), plain.grade(expected, labels))
    near(logits, expected)


@pytest.mark.usefixtures("on_gpu")
def test_widths() -> None:
    from clone.finetune import kernels

    four = Nf4Product(torch.randn(24, 128))
    found, expected = torch.zeros(24, 150), torch.zeros(24, 150)
    kernels.widen(four.codes, four.largest, four.levels, found[:, :128])
    plain.widen(four.codes, four.largest, four.levels, expected[:, :128])
    near(found, expected, 1e-6)
    x = torch.randn(9, 5000).to(torch.bfloat16)[:, :4992]
    (narrow, scale), (true_narrow, true_scale) = kernels.to_fp8(x), plain.to_fp8(x)
    near(scale, true_scale, 1e-6)
    near(narrow, true_narrow)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("frozen", ["same", "fp8", "nf4"])
def test_hand_written_blocks_learn_what_the_others_learn(frozen: str, checkpointing: bool) -> None:
    device = torch.device("cuda")
    batch = lay_row(random_sequences([40, 24, 100]), [0, 1, 2]).to(device)
    found: list[tuple[float, Tensor]] = []
    for fuses in (False, True):
        model = with_adapter(pair("falcon-7b")[1].requires_grad_(False))
        packed = PackedModel(
            model, device=device, dtype=torch.bfloat16, frozen=frozen, checkpointing=checkpointing, fuses=fuses
        )
        loss = packed(batch)
        loss.backward()
        gradients = [p.grad.flatten() for p in adapter_parameters(model).values() if p.grad is not None]
        found.append((float(loss.detach()), torch.cat(gradients)))
    (loss_of_one, one), (loss_of_other, other) = found
    assert loss_of_other == pytest.approx(loss_of_one, rel=0.01)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.99
