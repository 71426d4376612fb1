"""Runs: stopped, killed, gone on with, refused, and judged."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import save_file

from clone.cli import main as cli
from clone.errors import DataError, HardwareError, ModelError
from clone.finetune.schedule import evaluation_steps, learning_rate
from clone.finetune.stage import FinetuneReport, dry_run, finetune
from clone.finetune.train import Stopped
from clone.lm.runs import read_card
from clone.recipe import Recipe
from clone.workspace import Workspace
from tests.finetune.invented import sessions, write_prepared

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
SETTINGS: dict[str, Any] = {
    "base": "embedded",
    "epochs": 2,
    "step_tokens": 512,
    "row_tokens": 256,
    "learning_rate": 0.005,
    "lora_rank": 4,
    "evaluations": 3,
    "save_every_seconds": 0,
}


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"finetune": {**SETTINGS, **changes}})


@pytest.fixture
def here(workspace: Path) -> Workspace:
    write_prepared(workspace, sessions(12, 1, "train"), sessions(3, 2, "held-out"))
    return Workspace.here()


def run(here: Workspace, *, stop_after: int | None = None, resume: bool = False, **changes: Any) -> FinetuneReport:
    """Train, asking it to stop after a number of steps if one is given."""
    n = 0

    def should_stop() -> bool:
        nonlocal n
        n += 1
        return n == stop_after

    return finetune(recipe(**changes), here, now=NOW, resume=resume, should_stop=should_stop)


def files(report: FinetuneReport) -> dict[str, bytes]:
    return {name: (report.run / f"{name}.safetensors").read_bytes() for name in ("best", "last")}


def losses(report: FinetuneReport) -> list[tuple[int, float | None, float | None]]:
    lines = [json.loads(line) for line in (report.run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("val_loss")) for line in lines]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(here: Workspace) -> None:
    one, other = run(here, deterministic=True), run(here, deterministic=True)
    torch.use_deterministic_algorithms(False)
    assert one.run != other.run
    assert files(one) == files(other)
    assert files(run(here, seed=1)) != files(one)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_run_resumed_at_any_step_ends_with_the_same_bytes(here: Workspace, dropout: float) -> None:
    whole = run(here, lora_dropout=dropout)
    n_steps = whole.card.n_steps
    assert n_steps >= 6
    for stop_after in range(1, n_steps) if dropout == 0 else (2, n_steps - 1):
        with pytest.raises(Stopped):
            run(here, lora_dropout=dropout, stop_after=stop_after)
        resumed = run(here, lora_dropout=dropout, resume=True)
        assert files(resumed) == files(whole), stop_after
        assert losses(resumed) == losses(whole)
        assert resumed.card.val_loss_before == whole.card.val_loss_before
        assert (resumed.card.n_tokens, resumed.card.n_learned) == (whole.card.n_tokens, whole.card.n_learned)


def test_a_run_killed_outright_resumes_to_the_same_bytes(here: Workspace) -> None:
    whole = run(here, epochs=3)
    overrides = [f"--set=finetune.{key}={value}" for key, value in {**SETTINGS, "epochs": 3}.items()]
    base = f"pathlib.Path({str(here.bases / 'embedded')!r})"  # as the fixture of this folder has it
    code = f"import pathlib, clone.lm.base as b; b.packaged_base = lambda: {base}; from clone.cli import main; main()"
    command = [sys.executable, "-c", code, "finetune", *overrides]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=here.root, env=environment, stderr=subprocess.PIPE)
    metrics: list[Path] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        metrics = [p for p in here.runs("default").glob("*/metrics.jsonl") if p.parent != whole.run]
        if metrics and len(metrics[0].read_text().splitlines()) > 4:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (metrics[0].parent / "run.json").exists()
    resumed = run(here, epochs=3, resume=True)
    assert resumed.run == metrics[0].parent
    assert files(resumed) == files(whole)
    assert losses(resumed) == losses(whole)


def stopped(here: Workspace, **changes: Any) -> None:
    with pytest.raises(Stopped):
        run(here, stop_after=2, **changes)


def test_a_run_is_not_resumed_with_another_recipe(here: Workspace) -> None:
    stopped(here)
    with pytest.raises(ModelError) as caught:
        run(here, resume=True, learning_rate=0.001, lora_rank=8)
    assert caught.value.message == (
        "checkpoints/default/20261122-153000 was begun with other settings:"
        "\n  finetune.learning_rate: 0.005 then, 0.001 now"
        "\n  finetune.lora_rank: 4 then, 8 now"
    )


def test_a_run_is_not_resumed_on_other_data(here: Workspace) -> None:
    stopped(here)
    write_prepared(here.root, sessions(12, 99, "train"), sessions(3, 2, "held-out"))
    with pytest.raises(ModelError, match="was begun on other examples"):
        run(here, resume=True)


def test_a_run_is_not_resumed_on_another_base(here: Workspace) -> None:
    from clone.lm.base import build_random_base

    stopped(here)
    build_random_base(here.root / "other", seed=5)
    with pytest.raises(ModelError, match="was begun on the base embedded, not on this embedded"):
        run(here, resume=True, base=str(here.root / "other"))


def test_a_finished_run_leaves_nothing_to_resume(here: Workspace) -> None:
    run(here, max_steps=2)
    with pytest.raises(ModelError, match="no unfinished run of 'default' to go on with"):
        run(here, resume=True)


def test_a_damaged_state_is_said(here: Workspace) -> None:
    stopped(here)
    (path,) = here.runs("default").glob("*/resume.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"resume\.safetensors is damaged\."):
        run(here, resume=True)


def test_the_best_adapter_is_that_of_the_lowest_held_out_loss(here: Workspace) -> None:
    report = run(here, epochs=3, evaluations=6, patience=0)
    judged = {step: val for step, _, val in losses(report) if val is not None and step > 0}
    assert report.best_step == min(judged, key=lambda step: judged[step])
    assert report.card.val_loss == min(judged.values())


def test_training_stops_early_when_the_held_out_loss_rises(here: Workspace) -> None:
    report = run(here, epochs=10, learning_rate=0.1, min_learning_rate_share=1, evaluations=30, patience=2)
    assert report.card.n_steps < report.n_planned
    assert report.best_step < report.card.n_steps
    assert files(report)["best"] != files(report)["last"]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_adapter(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clone.finetune.packed import PackedModel

    real, calls = PackedModel.head_loss, []

    def poisoned(self: PackedModel, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = real(self, hidden, labels)
        if torch.is_grad_enabled():
            calls.append(1)
        return loss * float("nan") if len(calls) > 8 else loss

    monkeypatch.setattr(PackedModel, "head_loss", poisoned)
    with pytest.raises(ModelError) as caught:
        run(here)
    assert "the loss is no longer a number at step" in caught.value.message
    assert "--set finetune.learning_rate=" in caught.value.hint
    assert "20261122-153000/last.safetensors holds the adapter before it" in caught.value.hint
    from clone.lm.weights import read_adapter

    (path,) = here.runs("default").glob("*/last.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in read_adapter(path).tensors.values())

    monkeypatch.chdir(here.root)
    listed = CliRunner().invoke(cli, ["runs"]).stderr
    assert "--resume" not in listed
    assert "20261122-153000: the loss was no number at step " in listed
    assert "Begin again with a lower rate: clone finetune --set finetune.learning_rate=" in listed


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_names_the_settings_to_lower(
    here: Workspace, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("clone.finetune.packed.PackedModel.hidden", full)
    with pytest.raises(HardwareError) as caught:
        run(here)
    assert "out of memory" in caught.value.message
    assert "finetune.row_tokens=128" in caught.value.hint
    assert "finetune.checkpointing=true" in caught.value.hint
    with pytest.raises(HardwareError) as forecast:
        dry_run(recipe(), here)
    assert forecast.value.hint == caught.value.hint


def test_another_failure_of_torch_is_not_called_out_of_memory(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("clone.finetune.packed.PackedModel.hidden", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(here)


def test_a_run_that_cannot_begin_leaves_no_folder(here: Workspace) -> None:
    with pytest.raises(HardwareError, match="fp8 needs a GPU"):
        run(here, frozen="fp8")
    assert not here.runs("default").exists()


def test_a_gpu_without_bf16_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from clone.finetune.stage import check_hardware

    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Old Card")
    with pytest.raises(HardwareError, match="Old Card cannot compute in bf16"):
        check_hardware("tiiuae/falcon-7b", 7_000_000_000, "cuda", "auto")
    check_hardware("tiiuae/falcon-7b", 7_000_000_000, "cuda", "fp32")


def test_examples_without_a_graded_token_are_counted_and_nothing_left_is_an_error(here: Workspace) -> None:
    rows = sessions(3, 1, "train", turns=1)
    for row in rows:
        row["response"] = ""
    write_prepared(here.root, rows, sessions(1, 2, "held-out"))
    with pytest.raises(DataError, match=r"has no reply to train on \(3 an empty response\)"):
        run(here)


def test_a_run_of_a_newer_clone_is_refused(here: Workspace) -> None:
    report = run(here, max_steps=1)
    card = json.loads((report.run / "run.json").read_text())
    (report.run / "run.json").write_text(json.dumps({**card, "schema": 99, "clone_version": "9.0"}))
    with pytest.raises(ModelError, match=r"was made by clone 9\.0, this is 0\.1\.0"):
        read_card(report.run)


def test_a_card_says_who_is_in_the_examples_and_older_cards_do_without(here: Workspace) -> None:
    report = run(here, max_steps=1)
    assert read_card(report.run).contacts == ["alex"]
    card = json.loads((report.run / "run.json").read_text())
    del card["contacts"]
    (report.run / "run.json").write_text(json.dumps(card))
    assert read_card(report.run).contacts is None


def test_an_unfinished_run_has_no_card(here: Workspace) -> None:
    stopped(here)
    (folder,) = here.runs("default").iterdir()
    with pytest.raises(ModelError, match="is not finished"):
        read_card(folder)


def test_a_run_that_an_older_clone_began_is_not_gone_on_with(here: Workspace) -> None:
    stopped(here)
    (path,) = here.runs("default").glob("*/resume.safetensors")
    with safe_open(path, framework="pt") as file:
        meta, tensors = file.metadata(), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {**meta, "origin": json.dumps({**json.loads(meta["origin"]), "schema": 1})})
    with pytest.raises(ModelError, match="was begun by an older clone, which planned its steps in another way"):
        run(here, resume=True)


def test_a_full_disk_keeps_the_state_before(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import clone.workspace as place

    calls = []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 12 and Path(f"/dev/fd/{handle}").is_file():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(place.os, "fsync", fsync)
    with pytest.raises(DataError, match="the disk is full"):
        run(here)
    monkeypatch.setattr(place.os, "fsync", lambda handle: None)
    whole = run(here)
    unfinished = [p.parent for p in here.runs("default").glob("*/resume.safetensors")]
    assert len(unfinished) == 1
    assert files(run(here, resume=True)) == files(whole)


def test_the_rate_rises_over_a_share_of_the_steps_and_falls_to_the_floor() -> None:
    rates = [learning_rate(step, 100, 1.0, 0.1, 0.1) for step in range(100)]
    assert rates[9] < rates[10] == 1.0
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.999])
def test_short_runs_have_rates_above_zero(n_steps: int, warmup: float) -> None:
    rates = [learning_rate(step, n_steps, 1.0, warmup, 0.1) for step in range(n_steps)]
    assert all(math.isfinite(rate) and 0 < rate <= 1 for rate in rates)
    assert max(rates) == 1.0


def test_the_held_out_loss_is_measured_after_the_last_step() -> None:
    assert evaluation_steps(10, 4) == {2, 5, 8, 10}
    assert evaluation_steps(1, 10) == {1}


def test_gradients_are_clipped(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def look(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        found = math.sqrt(sum(float(p.grad.square().sum()) for g in self.param_groups for p in g["params"]))
        seen.append(found / float(self.grad_scale))  # type: ignore[attr-defined]  # what the optimizer divides by
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", look)
    run(here, clip_norm=0.01)
    assert seen
    assert max(seen) <= 0.01 * 1.001
