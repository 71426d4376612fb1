"""How a run starts: what is imported, and what is done side by side before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from clone.finetune.examples import ReadCount, fold, read_samples
from clone.finetune.frozen import Courier, move
from clone.finetune.packed import PackedModel, warm_up
from clone.finetune.parallel import ParallelBlock
from clone.finetune.rows import lay_row
from clone.finetune.sequences import make_sequences
from clone.finetune.start import Beside
from clone.lm.base import build_random_base
from clone.lm.tokens import Tokens
from clone.lm.weights import adapter_parameters, add_adapter, open_model
from tests.finetune.invented import sessions, write_prepared
from tests.finetune.shards import invented


def test_the_stage_imports_nothing_that_the_first_step_does_not_need() -> None:
    script = (
        "import sys, clone.finetune.stage\n"
        "needless = {'lightning', 'torchmetrics', 'transformers', 'peft', 'litgpt', 'matplotlib', 'scipy', 'sklearn',\n"
        "    'pandas', 'tensorboard', 'huggingface_hub', 'requests'}\n"
        "print(sorted(needless & set(sys.modules)))\n"
        "import torchmetrics\n"  # Lightning's question about it leaves it as it is
        "from lightning_utilities.core.imports import compare_version\n"
        "import operator\n"
        "print(compare_version('torchmetrics', operator.ge, '0.1'))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["[]", "True"]


def test_where_the_time_before_the_first_step_went_stands_in_the_metrics(
    workspace: Path, clone: Callable[..., Result]
) -> None:
    write_prepared(workspace, sessions(10, 1, "train"), sessions(3, 2, "held-out"))
    assert clone("finetune", "--base", "embedded", "--set", "finetune.max_steps=1").exit_code == 0
    (metrics,) = workspace.glob("checkpoints/default/*/metrics.jsonl")
    told = json.loads(metrics.read_text().splitlines()[0])["start_s"]
    parts = {"imports", "checks", "processes", "finding the base", "tokens", "opening the base", "held-out loss"}
    assert parts <= told.keys()
    assert all(told["all"] >= told[name] >= 0 for name in parts)


def test_work_beside_is_raised_where_it_is_waited_for() -> None:
    def fails(beside: Beside[int]) -> int:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Beside(fails).wait(lambda done, total: None)

    def leads_on(beside: Beside[int]) -> int:
        beside.also(lambda: fails(beside) and None)
        return 1

    with pytest.raises(OSError, match="the disk is gone"):
        Beside(leads_on).wait(lambda done, total: None)


def test_work_that_nobody_waits_for_ends_at_its_next_word() -> None:
    reached: list[int] = []
    begun, given_up = threading.Event(), threading.Event()

    def work(beside: Beside[int]) -> int:
        for i in range(3):
            beside.reached(i, 3)
            reached.append(i)
            begun.set()
            given_up.wait(10)
        return 1

    beside = Beside(work)
    begun.wait(10)
    threading.Timer(0.05, given_up.set).start()
    beside.give_up()
    assert reached == [0]


def test_the_base_is_let_go_when_there_is_nothing_to_learn(workspace: Path, clone: Callable[..., Result]) -> None:
    rows = sessions(4, 1, "train")
    for row in rows:
        row["response"] = ""
    write_prepared(workspace, rows, sessions(1, 2, "held-out"))
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 1
    assert "data/processed/default has no reply to train on" in result.stderr
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("start")]


def test_many_conversations_tokenised_at_once_are_those_tokenised_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_random_base(tmp_path / "base")
    tokens = Tokens.load(tmp_path / "base")
    write_prepared(tmp_path, sessions(7, 1, "train"), sessions(1, 2, "held-out"))
    samples = list(read_samples(tmp_path / "data/processed/default/train.jsonl", ReadCount()))
    together = make_sequences(fold(samples), tokens, 80, {})
    monkeypatch.setattr("clone.finetune.sequences._AT_ONCE", 1)
    alone = make_sequences(fold(samples), tokens, 80, {})
    assert together.ids.tolist() == alone.ids.tolist()
    assert together.is_learned.tolist() == alone.is_learned.tolist()
    assert together.starts.tolist() == alone.starts.tolist()
    assert together.n_cut == alone.n_cut > 0


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_a_courier_brings_tensors_as_they_are_or_in_another_dtype(dtype: torch.dtype | None) -> None:
    courier = Courier(torch.device("cpu"), buffer_bytes=64)
    draw = torch.Generator().manual_seed(1)
    for shape in ((1,), (3, 5), (7, 33), (64,)):
        tensor = torch.randn(shape, generator=draw).to(torch.bfloat16)
        brought = courier.bring(tensor, dtype)
        assert brought.data_ptr() != tensor.data_ptr()
        assert torch.equal(brought, tensor.to(dtype or tensor.dtype))
        assert brought.dtype == (dtype or tensor.dtype)


def test_what_a_courier_moves_keeps_the_adapter_in_fp32_and_a_tied_head_tied(tmp_path: Path) -> None:
    build_random_base(tmp_path / "base", n_layer=2)
    ways = []
    for courier in (None, Courier(torch.device("cpu"), buffer_bytes=1000)):
        model = open_model(tmp_path / "base")
        add_adapter(model, targets=["qkv"], rank=4, alpha=8, dropout=0, seed=1)
        move(model, torch.device("cpu"), torch.bfloat16, courier)
        ways.append(model)
    for (name, plain), brought in zip(ways[0].named_parameters(), ways[1].parameters(), strict=True):
        assert torch.equal(plain, brought), name
        assert brought.dtype == (torch.float32 if "lora" in name else torch.bfloat16), name
    assert ways[1].lm_head.weight.data_ptr() == ways[1].embedding.data_ptr()


@pytest.mark.parametrize("frozen", ["same", "fp8", "nf4"])
def test_warming_a_block_up_leaves_nothing_behind(tmp_path: Path, frozen: str) -> None:
    build_random_base(tmp_path / "base", n_layer=2)
    batch = lay_row(invented(), [0, 1, 2, 3])

    def learn(is_warm: bool) -> tuple[float, list[torch.Tensor]]:
        model = open_model(tmp_path / "base")
        add_adapter(model, targets=["qkv", "proj", "fc"], rank=4, alpha=8, dropout=0, seed=1)
        warmed: list[int] = []

        def on_block(done: int, total: int, block: ParallelBlock | None) -> None:
            if is_warm and block is not None:
                state = torch.get_rng_state()
                warm_up(block, model.shape)
                assert torch.equal(torch.get_rng_state(), state)
                warmed.append(done)

        packed = PackedModel(model, frozen=frozen, fuses=True, on_block=on_block)
        assert warmed == ([1, 2] if is_warm else [])
        assert all(p.grad is None for p in packed.parameters())
        loss = packed(batch)
        loss.backward()
        return loss.item(), [p.grad for p in adapter_parameters(model).values() if p.grad is not None]

    (loss, gradients), (warm_loss, warm_gradients) = learn(False), learn(True)
    assert warm_loss == loss
    assert len(gradients) == 2 * 2 * 4
    assert all(torch.equal(a, b) for a, b in zip(gradients, warm_gradients, strict=True))


def test_work_at_once_is_done_in_no_thread_and_fails_where_it_is_waited_for() -> None:
    here = threading.get_ident()
    assert Beside(lambda beside: threading.get_ident(), at_once=True).wait(lambda done, total: None) == here

    def fail(beside: Beside[int]) -> int:
        raise ValueError("no base")

    failed = Beside(fail, at_once=True)
    with pytest.raises(ValueError, match="no base"):
        failed.wait(lambda done, total: None)
