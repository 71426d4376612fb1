"""Two processes on this machine's CPU train as one does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from clone.finetune.stage import finetune
from clone.lm.weights import read_adapter
from clone.recipe import Recipe
from clone.workspace import Workspace
from tests.finetune.invented import sessions, write_prepared

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def train(fabric: Fabric | None, workspace: Workspace, name: str) -> None:
    """Train, at top level so that a forked process finds it."""
    settings = {"base": "embedded", "epochs": 1, "step_tokens": 1024, "row_tokens": 256, "evaluations": 2}
    recipe = Recipe.model_validate({"name": name, "finetune": {**settings, "learning_rate": 0.005}})
    finetune(recipe, workspace, now=NOW, fabric=fabric)


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
    a, b = read_adapter(one / "last.safetensors").tensors, read_adapter(two / "last.safetensors").tensors
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=1e-3, atol=1e-5)
    cards = [json.loads((run / "run.json").read_text()) for run in (one, two)]
    assert cards[1]["val_loss"] == pytest.approx(cards[0]["val_loss"], rel=1e-5)
    assert cards[1]["n_tokens"] == cards[0]["n_tokens"]
    assert cards[1]["device"].startswith("2 x CPU")
