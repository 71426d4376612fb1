"""Two processes on this machine's CPU train as one does: whole bases or shards, one machine or two."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.fabric import Fabric

from clone.errors import RecipeError
from clone.finetune.devices import deal, make_fabric, passes
from clone.finetune.rows import fill_rows, padded_size
from clone.finetune.stage import choose_strategy, finetune
from clone.lm.base import build_random_base
from clone.lm.lit import fields_of
from clone.lm.shape import Shape
from clone.lm.weights import read_adapter
from clone.recipe import FinetuneRecipe, Recipe
from clone.workspace import Workspace
from tests.finetune.invented import sessions, write_prepared
from tests.finetune.shards import gradients

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
SETTINGS = {"epochs": 1, "step_tokens": 1024, "row_tokens": 256, "evaluations": 2, "learning_rate": 0.005}


def train(fabric: Fabric | None, workspace: Workspace, name: str, base: str = "embedded") -> None:
    """Train, at top level so that a forked process finds it."""
    recipe = Recipe.model_validate({"name": name, "finetune": {"base": base, **SETTINGS}})
    finetune(recipe, workspace, now=NOW, fabric=fabric)


def same_runs(a: Path, b: Path) -> None:
    """Compare two finished runs of different numbers of processes."""
    cards = [json.loads((run / "run.json").read_text()) for run in (a, b)]
    assert cards[1]["val_loss"] == pytest.approx(cards[0]["val_loss"], rel=1e-5)
    assert [card["n_tokens"] for card in cards] == [cards[0]["n_tokens"]] * 2
    assert [card["n_learned"] for card in cards] == [cards[0]["n_learned"]] * 2
    one, two = (read_adapter(run / "last.safetensors").tensors for run in (a, b))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_two_processes_train_as_one_does(workspace: Path) -> None:
    here = Workspace.here()
    for name in ("one", "two"):
        write_prepared(workspace, sessions(16, 1, "train"), sessions(4, 2, "held-out"), recipe=name)
    train(None, here, "one")
    torch.set_num_threads(1)
    pair = Fabric(accelerator="cpu", devices=2, strategy="ddp_fork", precision="32-true")
    pair.launch(train, here, "two")
    (one,), (two,) = here.runs("one").iterdir(), here.runs("two").iterdir()
    same_runs(one, two)
    assert json.loads((two / "run.json").read_text())["device"].startswith("2 x CPU")


# -- started as a person starts them -------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def begin(command: list[str], where: Path, **environment: str) -> subprocess.Popen[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "TORCHELASTIC_"))}
    env = {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, *command], cwd=where, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def torchrun(rank: int, port: int) -> list[str]:
    return [
        *("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"),
        *("--master-addr=127.0.0.1", f"--master-port={port}"),
    ]


def settings(base: Path, **more: Any) -> list[str]:
    return [f"--base={base}", *(f"--set=finetune.{key}={value}" for key, value in {**SETTINGS, **more}.items())]


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two workspaces with the same prepared data, as of two machines, and a base."""
    build_random_base(tmp_path / "base")
    for name in ("first", "second"):
        write_prepared(tmp_path / name, sessions(16, 1, "train"), sessions(4, 2, "held-out"))
    return tmp_path / "first", tmp_path / "second", tmp_path / "base"


def runs(root: Path) -> list[Path]:
    return sorted((root / "checkpoints" / "default").glob("*"))


def test_two_machines_under_torchrun_train_shards_as_one_process_trains_the_whole(
    machines: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, base = machines
    port = free_port()
    command = ["-m", "clone", "finetune", *settings(base, strategy="fsdp")]
    pair = [begin([*torchrun(k, port), *command], where) for k, where in enumerate((first, second))]
    (_, told), (_, told_there) = (process.communicate(timeout=120) for process in pair)
    assert [process.returncode for process in pair] == [0, 0], told + told_there
    assert "Next: clone chat" in told
    # torchrun's own agent may grumble there when the first one leaves before it
    assert not [word for word in ("Preparing", "tokenising", "loss ", "Next:") if word in told_there], told_there
    assert not (second / "checkpoints").exists()
    (run,) = runs(first)
    card = json.loads((run / "run.json").read_text())
    assert card["recipe"]["finetune"]["nodes"] == 2
    monkeypatch.chdir(first)
    train(None, Workspace.here(), "default", str(base))
    same_runs(next(other for other in runs(first) if other != run), run)


def test_two_tasks_under_slurm_train_as_one_process(
    machines: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, base = machines
    job = {"SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "twin", "SLURM_NODELIST": "127.0.0.1"}
    job |= {"SLURM_JOB_ID": "7", "MASTER_PORT": str(free_port())}
    pair = [
        begin(
            ["-m", "clone", "finetune", *settings(base)],
            first,  # a disk that both share
            **job,
            SLURM_PROCID=str(k),
            SLURM_NODEID=str(k),
            SLURM_LOCALID="0",
        )
        for k in range(2)
    ]
    told = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    assert told[1] == ("", "")
    (run,) = runs(first)
    assert json.loads((run / "run.json").read_text())["device"].startswith("2 x CPU")
    monkeypatch.chdir(first)
    train(None, Workspace.here(), "default", str(base))
    same_runs(next(other for other in runs(first) if other != run), run)


def test_a_lost_process_ends_the_others_with_a_word_and_the_run_goes_on_to_the_same_bytes(
    machines: tuple[Path, Path, Path],
) -> None:
    first, _, base = machines

    def pair(*more: str) -> list[subprocess.Popen[str]]:
        command = ["-m", "clone", "finetune", *settings(base, epochs=6, save_every_seconds=0, strategy="fsdp"), *more]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "lost"}
        shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        return [begin(command, first, **shared, RANK=str(k), LOCAL_RANK=str(k)) for k in range(2)]

    both = pair()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and both[0].poll() is None:
        metrics = list(first.glob("checkpoints/default/*/metrics.jsonl"))
        if metrics and len(metrics[0].read_text().splitlines()) > 2:
            break
        time.sleep(0.01)
    both[1].send_signal(signal.SIGKILL)
    _, told = both[0].communicate(timeout=60)
    both[1].communicate()
    assert both[0].returncode == 5, told
    assert "Error: another of the 2 processes of this run was lost." in told
    assert "Start all processes again with --resume: checkpoints/default/" in told
    assert "Traceback" not in told

    for more in (["--resume"], []):  # one after the other: --resume takes the newest run that is not finished
        again = pair(*more)
        told = str([process.communicate(timeout=120) for process in again])
        assert [process.returncode for process in again] == [0, 0], told
    resumed, whole = runs(first)
    for name in ("best.safetensors", "last.safetensors"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_machines_with_different_data_are_refused(machines: tuple[Path, Path, Path]) -> None:
    first, second, base = machines
    write_prepared(second, sessions(16, 5, "train"), sessions(4, 2, "held-out"))
    port = free_port()
    command = ["-m", "clone", "finetune", *settings(base)]
    pair = [begin([*torchrun(k, port), *command], where) for k, where in enumerate((first, second))]
    (_, told), _ = (process.communicate(timeout=120) for process in pair)
    assert "Error: the processes of this run do not agree on the data." in told
    assert "copy data/processed to all of them" in told
    assert not runs(first)


def test_what_the_first_process_finds_wrong_is_told_once(machines: tuple[Path, Path, Path]) -> None:
    first, _, base = machines
    (first / "data" / "processed" / "default" / "train.jsonl").unlink()
    two = begin(["-m", "clone", "finetune", *settings(base / "gone", devices=2)], first)
    _, told = two.communicate(timeout=60)
    assert two.returncode != 0
    assert told.count("Error:") == 1


# -- shards --------------------------------------------------------------------------------------------------------


def test_shards_give_the_loss_and_the_gradients_of_one_process(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    build_random_base(base)
    script = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    process = begin([*script, "-m", "tests.finetune.shards", str(base), str(out)], tmp_path)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    expected = gradients(make_fabric("cpu"), base)
    first, second = (torch.load(f"{out}.{rank}", weights_only=True) for rank in range(2))
    assert {"plain", "checkpointing"} <= first.keys() == second.keys()
    for way in first:
        assert int(first[way]["n_here"]) + int(second[way]["n_here"]) == int(first[way]["n_cut"]) > 0
        assert abs(int(first[way]["n_here"]) - int(second[way]["n_here"])) < 0.01 * int(first[way]["n_cut"])
        for name, value in expected.items():
            if name.startswith("n_"):
                continue
            assert torch.equal(first[way][name], second[way][name])
            error = float((first[way][name] - value).norm() / value.norm().clamp(min=1e-12))
            assert error < 1e-5, (way, name)


@pytest.mark.parametrize("frozen", ["nf4", "fp8"])
def test_shards_of_fewer_bits_are_refused(frozen: str) -> None:
    recipe = FinetuneRecipe.model_validate({"strategy": "fsdp", "devices": 2, "frozen": frozen})
    with pytest.raises(RecipeError, match=f"fsdp and finetune.frozen {frozen} do not go together"):
        choose_strategy(recipe, None, "cuda", is_auto=False)


def test_shards_over_one_device_are_refused() -> None:
    with pytest.raises(RecipeError, match="needs more than one device"):
        choose_strategy(FinetuneRecipe(strategy="fsdp"), None, "cpu", is_auto=False)


FALCON_7B, FALCON_40B = (Shape.of(fields_of(name) or {}) for name in ("falcon-7b", "falcon-40b"))


@pytest.mark.parametrize(
    ("shape", "gb", "given", "expected"),
    [
        (FALCON_7B, 80, {}, "ddp"),
        (FALCON_7B, 24, {}, "fsdp"),
        (FALCON_7B, 24, {"row_tokens": 4096, "checkpointing": True}, "ddp"),
        (FALCON_7B, 24, {"strategy": "ddp"}, "ddp"),
        (FALCON_7B, 24, {"frozen": "nf4"}, "ddp"),
        (FALCON_7B, 80, {"strategy": "fsdp"}, "fsdp"),
        (FALCON_40B, 80, {"row_tokens": 2048, "checkpointing": True}, "fsdp"),
        (FALCON_40B, 141, {"row_tokens": 2048, "checkpointing": True}, "ddp"),
        (FALCON_7B, 80, {"devices": 1}, "one"),
    ],
)
def test_shards_are_chosen_where_the_base_does_not_fit_one_card(
    monkeypatch: pytest.MonkeyPatch, shape: Shape, gb: int, given: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr("clone.finetune.stage.card_of", lambda device: (gb * 10**9, (9, 0)))
    recipe = FinetuneRecipe.model_validate({"devices": 2, **given})
    assert choose_strategy(recipe, shape, "cuda", is_auto=False)[0] == expected


# -- who does what -------------------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(2, 300), min_size=1, max_size=80),
    row_tokens=st.sampled_from([64, 256, 1024]),
    n=st.integers(1, 8),
)
def test_every_sequence_of_a_step_is_dealt_to_one_device_and_no_device_waits_long(
    lengths: list[int], row_tokens: int, n: int
) -> None:
    rows = fill_rows(lengths, range(len(lengths)), row_tokens)
    dealt = deal(lengths, rows, row_tokens, n)
    assert len(dealt) == n
    assert sorted(i for mine in dealt for row in mine for i in row) == list(range(len(lengths)))
    assert all(len(row) == 1 or sum(lengths[i] for i in row) <= row_tokens for mine in dealt for row in mine)
    loads = [sum(lengths[i] for row in mine for i in row) for mine in dealt]
    assert max(loads) - min(loads) <= max(row_tokens, *lengths)
    every = [passes(dealt, rank) for rank in range(n)]
    assert len({len(mine) for mine in every}) == 1
    assert sorted(i for mine in every for row, counts in mine if counts for i in row) == list(range(len(lengths)))


def test_a_step_of_chats_is_dealt_evenly() -> None:
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 400, (2000,), generator=draw).tolist()
    worst = 0.0
    for at in range(0, 1900, 78):  # about 16,384 tokens
        step = sorted(range(at, at + 78), key=lambda i: -lengths[i])
        rows = fill_rows(lengths, step, 8192)
        dealt = deal(lengths, rows, 8192, 2)
        loads = [sum(padded_size(sum(lengths[i] for i in row)) for row in mine) for mine in dealt]
        worst = max(worst, max(loads) / (sum(loads) / 2))
    assert worst < 1.03
