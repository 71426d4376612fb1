"""`clone chat` through a pipe: what stands on stdout, what errors say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from clone.chat.disclosure import LABEL
from tests.chat.workspaces import RUN_ID, make_run

Clone = Callable[..., Result]


def test_one_turn_through_a_pipe_is_one_object(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    result = clone("chat", "--json", "--as", "amber", "--seed", "1", stdin="hey\nyou there?\n")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["contact"] == "amber"
    assert answer["run"] == f"default/{RUN_ID}"
    assert answer["is_ai"] is True
    assert answer["reply"] == "\n".join(answer["bubbles"])
    assert answer["is_cut"] == (answer["finish_reason"] != "stop")
    assert 1 <= answer["tokens"]["reply"] <= 256
    again = clone("chat", "--json", "--as", "amber", "--seed", "1", stdin="hey\nyou there?\n")
    assert json.loads(again.stdout)["bubbles"] == answer["bubbles"]


def test_without_json_the_bubbles_stand_on_lines(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    told = json.loads(clone("chat", "--json", "--seed", "4", "-m", "hey").stdout)
    plain = clone("chat", "--seed", "4", "-m", "hey")
    assert plain.exit_code == 0
    assert [line.rstrip() for line in plain.stdout.splitlines()] == [
        line.rstrip() for bubble in told["bubbles"] for line in bubble.splitlines()
    ]


def test_asked_whether_it_is_an_ai_it_says_so_without_the_model(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    answer = json.loads(clone("chat", "--json", "-m", "ты бот?").stdout)
    assert answer["reply"].startswith(f"{LABEL} Да, я ИИ")
    assert answer["tokens"] == {"prompt": 0, "reply": 0}


def test_continue_goes_on_with_the_last_conversation(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    first = json.loads(clone("chat", "--json", "--as", "birch", "-m", "one", "--max-reply-tokens", "8").stdout)
    later = json.loads(clone("chat", "--json", "--continue", "-m", "two").stdout)
    assert later["contact"] == "birch"
    assert later["tokens"]["prompt"] > first["tokens"]["prompt"]
    rows = sqlite3.connect(workspace / "data" / "chats.sqlite").execute("SELECT count(*) FROM conversations").fetchone()
    assert rows == (1,)


def test_transcripts_are_their_owners_alone_and_can_be_left_out(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    assert clone("chat", "--no-log", "-m", "hey").exit_code == 0
    path = workspace / "data" / "chats.sqlite"
    assert not path.exists()
    assert clone("chat", "-m", "hey").exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_save_writes_the_conversation_marked_as_an_ais(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    assert clone("chat", "-m", "hey", "--save", "talk.md").exit_code == 0
    assert LABEL in (workspace / "talk.md").read_text(encoding="utf-8")
    assert clone("chat", "-m", "hey", "--save", "talk.jsonl").exit_code == 0
    lines = [json.loads(line) for line in (workspace / "talk.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["is_ai"] for line in lines] == [False, True]


def test_the_newest_finished_run_answers_unless_another_is_named(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    make_run(workspace, run_id="20261123-080000")
    (workspace / "checkpoints" / "default" / "20261124-080000").mkdir()  # not finished
    assert json.loads(clone("chat", "--json", "-m", "hey").stdout)["run"] == "default/20261123-080000"
    named = clone("chat", "--json", "-m", "hey", "--run", RUN_ID)
    assert json.loads(named.stdout)["run"] == f"default/{RUN_ID}"


def test_a_transcript_that_cannot_be_written_is_told(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    result = clone("chat", "-m", "hey", "--save", "/proc/talk.md")
    assert result.exit_code == 1
    assert "Error: talk.md could not be written" in result.stderr


def test_a_message_longer_than_the_context_is_told(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    result = clone("chat", "-m", "word " * 3000)
    assert "the twin saw only the end of it" in result.stderr


# -- what goes wrong ------------------------------------------------------------------------------------------------


def refused(result: Result, error: str, hint: str, code: int) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.replace("\n", " ").strip() == f"Error: {error} Hint: {hint}".strip()


def test_before_any_run_it_says_what_to_type(workspace: Path, clone: Clone) -> None:
    hint = "clone finetune makes one; clone status says whether something comes before it."
    refused(clone("chat", "-m", "hey"), "there is no finished run yet.", hint, 4)
    refused(clone("chat", "-m", "hey", "--run", "x"), "there is no finished run yet.", hint, 4)


def test_a_contact_nobody_knows_gets_the_nearest_names(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    refused(clone("chat", "-m", "hey", "--as", "ambre"), "the twin knows no 'ambre'.", "Did you mean amber?", 2)
    refused(clone("chat", "-m", "hey", "--as", "Zoë"), "the twin knows no 'Zoë'.", "It knows amber, birch, cedar.", 2)


def test_a_run_nobody_made_gets_the_nearest_ids(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    refused(
        clone("chat", "-m", "hey", "--run", "20261122-120001"),
        "there is no finished run 20261122-120001.",
        f"There are: default/{RUN_ID}",
        1,
    )


def test_another_base_is_refused(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    result = clone("chat", "-m", "hey", "--base", "tiiuae/falcon-7b")
    assert result.exit_code == 1
    assert "was trained on" in result.stderr
    assert "Leave out --base" in result.stderr


def test_a_base_whose_weights_changed_is_refused(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    card = workspace / "checkpoints" / "base" / "tiny" / "base.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": "0" * 64}))
    result = clone("chat", "-m", "hey")
    assert result.exit_code == 1
    assert "their weights differ" in result.stderr


def test_a_missing_base_is_said(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    shutil.rmtree(workspace / "checkpoints" / "base")
    result = clone("chat", "-m", "hey")
    assert result.exit_code == 1
    assert "Error: no base at" in result.stderr


@pytest.mark.parametrize("changes", [{"template": "clone-chat-9"}, {"clone_version": "9.0"}])
def test_a_run_of_a_newer_version_is_refused_or_read(workspace: Path, clone: Clone, changes: dict[str, str]) -> None:
    make_run(workspace, **changes)
    result = clone("chat", "-m", "hey")
    if "template" in changes:
        assert result.exit_code == 1
        assert "its template is clone-chat-9" in result.stderr
        assert "Upgrade clone, or train again" in result.stderr
    else:
        assert result.exit_code == 0  # a newer version that left everything this one needs


def test_a_damaged_card_is_said(workspace: Path, clone: Clone) -> None:
    run = make_run(workspace)
    (run / "run.json").write_text("{")
    refused(clone("chat", "-m", "hey"), f"run.json of the run {RUN_ID} is damaged.", "Train again: clone finetune", 1)


def test_a_file_that_is_no_adapter_is_refused(workspace: Path, clone: Clone) -> None:
    run = make_run(workspace)
    (run / "best.safetensors").write_bytes(b"\x80\x04 a pickle")
    result = clone("chat", "-m", "hey")
    assert result.exit_code == 1
    assert "is not an adapter of clone" in result.stderr
    (run / "best.safetensors").unlink()
    assert "has no best.safetensors" in clone("chat", "-m", "hey").stderr
    assert clone("chat", "-m", "hey", "--last").exit_code == 0


def test_nothing_to_answer_is_said(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    refused(clone("chat", stdin=" \n"), "there is nothing to answer.", 'For example: echo "hey" | clone chat', 1)


def test_no_such_device_is_said(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    result = clone("chat", "-m", "hey", "--device", "cuda:7")
    assert result.exit_code == 5
    assert "Error: there is no usable device cuda:7 here." in result.stderr


def test_a_wrong_setting_is_said(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    result = clone("chat", "-m", "hey", "--temperature", "-1")
    assert result.exit_code == 2
    assert "chat.temperature" in result.stderr


def test_a_file_that_holds_no_transcripts_is_left_alone(workspace: Path, clone: Clone) -> None:
    make_run(workspace)
    (workspace / "data" / "chats.sqlite").write_text(
        "something else entirely, but long enough to be read as a page" * 20
    )
    result = clone("chat", "-m", "hey")
    assert result.exit_code == 1
    assert "Error: chats.sqlite holds no conversations of clone" in result.stderr
    assert (workspace / "data" / "chats.sqlite").read_text().startswith("something else")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pty")
def test_the_prompt_shows_before_anything_heavy_is_loaded(workspace: Path) -> None:
    make_run(workspace)
    heavy = ("torch", "pydantic", "yaml", "tokenizers", "sqlite3", "clone.recipe", "clone.chat.transcripts")
    script = f"""
import sys
import prompt_toolkit

def prompt(self, *arguments, **options):
    print("loaded:", [name for name in {heavy!r} if name in sys.modules], flush=True)
    raise EOFError

prompt_toolkit.PromptSession.prompt = prompt
from clone.cli import main
main(["chat"])
"""
    import pty

    terminal, end = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", script], stdin=end, stdout=end, stderr=end)
    os.close(end)
    said = b""
    with contextlib.suppress(OSError):  # what a pty says once nobody is at its other end
        while part := os.read(terminal, 65536):
            said += part
    assert process.wait(timeout=60) == 0
    os.close(terminal)
    assert b"loaded: []" in said


@pytest.mark.parametrize("weights", ["int8", "fp8"])
def test_weights_of_8_bits_answer_and_say_what_they_cost(workspace: Path, clone: Clone, weights: str) -> None:
    make_run(workspace)
    result = clone("chat", "--json", "--as", "amber", "--weights", weights, "--temperature", "0", stdin="hey\n")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["finish_reason"] in ("stop", "length")
    told = re.search(rf"weights in {weights}: ([+-][\d.]+) nats per graded token on 3 held-out replies", result.stderr)
    assert told is not None
    assert abs(float(told[1])) < 0.1
