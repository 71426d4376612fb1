"""`clone finetune` as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from safetensors import safe_open

from clone.archive import Archive
from tests.finetune.invented import sessions, write_prepared

Type = Callable[..., Result]
QUICK = ("--set", "finetune.max_steps=6", "--set", "finetune.learning_rate=0.005")


def prepare(root: Path) -> Path:
    return write_prepared(root, sessions(10, 1, "train"), sessions(3, 2, "held-out"))


def test_a_run_lowers_the_held_out_loss_and_leaves_adapters_and_a_card(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    result = clone("finetune", "--base", "embedded", "--json", *QUICK)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    run = Path(told["run"])
    card = json.loads((run / "run.json").read_text())
    assert card["val_loss"] < card["val_loss_before"]
    assert card["n_steps"] == 6
    assert card["base"] == "embedded"
    assert sorted(p.name for p in run.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "loss.html",
        "loss.png",
        "metrics.jsonl",
        "run.json",
    ]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(7))
    with safe_open(run / "best.safetensors", "pt") as file:
        assert file.metadata()["base_sha256"] == card["base_sha256"]
        assert file.get_tensor("transformer.h.0.attn.qkv.lora_A").shape == (16, 128)


def test_the_summary_tells_the_loss_before_and_after_and_what_to_type_next(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    result = clone("finetune", "--base", "embedded", *QUICK)
    assert "held-out loss, nats a token" in result.stderr
    assert "Next: clone chat" in result.stderr
    assert result.stdout == ""


def test_without_prepared_data_it_says_what_to_run(workspace: Path, clone: Type) -> None:
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-2:] == [
        "Error: no examples in data/processed/default.",
        "Hint: Run clone prepare first.",
    ]


def test_data_of_another_recipe_is_named(workspace: Path, clone: Type) -> None:
    write_prepared(workspace, sessions(2, 1, "a"), sessions(1, 2, "b"), recipe="telegram")
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 4
    assert "Error: no examples for the recipe 'default'; there are some for telegram." in result.stderr


def test_data_without_a_scrub_record_is_refused(workspace: Path, clone: Type) -> None:
    write_prepared(workspace, sessions(2, 1, "a"), sessions(1, 2, "b"), scrub=None)
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 1
    assert "Error: data/processed/default does not say that personal data was taken out." in result.stderr


def test_data_changed_after_scrubbing_is_refused(workspace: Path, clone: Type) -> None:
    folder = prepare(workspace)
    with (folder / "train.jsonl").open("a") as stream:
        stream.write("{}\n")
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 1
    assert "Error: data/processed/default/train.jsonl was changed after it was scrubbed." in result.stderr


def test_data_older_than_the_archive_is_said_and_can_be_used_on_purpose(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    with Archive.create(workspace / "data" / "raw" / "archive.sqlite"):
        pass
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-2:] == [
        "Error: data/processed/default is older than the archive.",
        "Hint: Run clone prepare again, or train on it as it is: clone finetune --stale",
    ]
    assert clone("finetune", "--base", "embedded", "--stale", *QUICK).exit_code == 0


def test_without_a_gpu_and_without_base_it_says_what_can_be_done(
    workspace: Path, clone: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    prepare(workspace)
    result = clone("finetune")
    assert result.exit_code == 5
    assert (
        "Error: tiiuae/falcon-7b has 6.9 billion weights and this machine has no GPU: training would take weeks."
        in result.stderr
    )
    assert "clone finetune --base embedded" in result.stderr


def test_a_base_folder_that_lacks_pieces_is_named(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    clone("finetune", "--base", "embedded", "--set", "finetune.max_steps=1")
    (workspace / "checkpoints/base/embedded/lit_model.safetensors").unlink()
    result = clone("finetune", "--base", str(workspace / "checkpoints/base/embedded"))
    assert result.exit_code == 1
    assert f"Error: the base in {workspace}/checkpoints/base/embedded lacks lit_model.safetensors." in result.stderr


def test_data_of_a_newer_clone_is_refused(workspace: Path, clone: Type) -> None:
    write_prepared(workspace, sessions(2, 1, "a"), sessions(1, 2, "b"), schema=9, clone_version="7.0")
    result = clone("finetune", "--base", "embedded")
    assert result.exit_code == 1
    assert "Error: data/processed/default was written by clone 7.0, newer than this one." in result.stderr


def test_no_text_of_the_chats_reaches_what_is_printed_or_measured(workspace: Path, clone: Type) -> None:
    rows = sessions(6, 1, "train")
    for row in rows:
        row["response"] += " MARKEDSTRING"
    write_prepared(workspace, rows, sessions(2, 2, "held-out"))
    result = clone("finetune", "--base", "embedded", "--set", "finetune.max_steps=2")
    assert "MARKEDSTRING" not in result.output + result.stderr
    for path in (workspace / "checkpoints").rglob("*"):
        if path.is_file():
            assert b"MARKEDSTRING" not in path.read_bytes(), path


def test_a_dry_run_tells_what_it_would_take_and_leaves_no_run(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    result = clone("finetune", "--base", "embedded", "--dry-run")
    assert result.exit_code == 0
    for words in ("replies to learn", "tokens an epoch", "steps", "time", "memory", "disk", "tokens a character"):
        assert words in result.stderr
    assert not (workspace / "checkpoints" / "default").exists()
    told = json.loads(clone("finetune", "--base", "embedded", "--dry-run", "--json").stdout)
    assert told["n_steps"] > 0
    assert told["seconds"] > told["seconds_a_step"] > 0


def test_auto_without_a_gpu_says_that_it_changes_nothing(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    result = clone("finetune", "--base", "embedded", "--dry-run", "--auto")
    assert "--auto chooses for a GPU; this machine has none, so the settings stay as they are." in result.stderr


def test_runs_are_listed_with_their_held_out_loss(workspace: Path, clone: Type) -> None:
    assert "No runs yet. Train one: clone finetune" in clone("runs").stderr
    prepare(workspace)
    clone("finetune", "--base", "embedded", "--set", "finetune.max_steps=1")
    (run,) = (workspace / "checkpoints" / "default").iterdir()
    listed = json.loads(clone("runs", "--json").stdout)["runs"]
    assert [item["run"] for item in listed] == [str(run)]
    assert f"{listed[0]['val_loss_before']:.3f} → {listed[0]['val_loss']:.3f}" in clone("runs").stderr
    (run / "run.json").unlink()
    assert "unfinished" in clone("runs").stderr


def test_a_finished_run_has_its_losses_as_a_picture_and_a_page(workspace: Path, clone: Type) -> None:
    prepare(workspace)
    clone("finetune", "--base", "embedded", "--set", "finetune.max_steps=2")
    (run,) = (workspace / "checkpoints" / "default").iterdir()
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "loss.html").read_text()
    assert "<svg" in page
    assert "each step" in page
    assert "prefers-color-scheme:dark" in page
    assert "://" not in page


ALPACA = [{"instruction": f"Say {n}.", "input": "" if n % 2 else "please", "output": f"{n}!"} for n in range(40)]
DOLLY = [{"instruction": f"Say {n}.", "context": "", "response": f"{n}!"} for n in range(40)]


@pytest.mark.parametrize("records", [ALPACA, DOLLY])
@pytest.mark.parametrize("is_list", [True, False])
def test_instruction_data_of_others_trains_too(
    workspace: Path, clone: Type, records: list[dict[str, str]], is_list: bool
) -> None:
    path = workspace / "theirs.json"
    path.write_text(json.dumps(records) if is_list else "\n".join(json.dumps(record) for record in records))
    refused = clone("finetune", "--base", "embedded", "--data", "theirs.json")
    assert refused.exit_code == 1
    assert "Error: nothing says that personal data was taken out of theirs.json." in refused.stderr
    result = clone("finetune", "--base", "embedded", "--data", "theirs.json", "--unscrubbed", "--json", *QUICK)
    assert result.exit_code == 0, result.stderr
    card = json.loads(result.stdout)
    assert card["val_loss"] < card["val_loss_before"]


def test_a_file_that_is_no_data_is_said(workspace: Path, clone: Type) -> None:
    (workspace / "theirs.json").write_text('[{"question": "?"}]')
    result = clone("finetune", "--base", "embedded", "--data", "theirs.json", "--unscrubbed")
    assert result.exit_code == 1
    assert (
        "Error: theirs.json: 1 of 1 records cannot be read (1 without instruction and response as text)."
        in result.stderr
    )
    assert "no file at gone.json." in clone("finetune", "--data", "gone.json", "--unscrubbed").stderr


def test_ctrl_c_saves_and_says_how_to_go_on(workspace: Path, clone: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    import clone.finetune.train as training

    prepare(workspace)
    real = training.learning_rate

    def rate_and_press(step: int, *rest: float) -> float:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "learning_rate", rate_and_press)
    result = clone("finetune", "--base", "embedded", *QUICK)
    assert result.exit_code == 130
    assert "Stopped at step 3 of 6; saved in checkpoints/default/" in result.stderr
    assert "Go on with: clone finetune --resume --base embedded --set finetune.max_steps=6 --set" in result.stderr
    monkeypatch.setattr(training, "learning_rate", real)
    assert clone("finetune", "--base", "embedded", "--resume", *QUICK).exit_code == 0
