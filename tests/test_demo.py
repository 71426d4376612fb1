"""What the twin of the demo says: its shape, not its words. A few steps here, where `make demo` trains a minute."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clone.cli import main

DEMO_CHAT = Path(__file__).parents[1] / "pipelines" / "demo_chat.json"
QUICK = ("finetune.max_steps=4", "finetune.step_tokens=1024", "finetune.evaluations=1")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliRunner]:
    """A workspace, made the current folder, in which the demo's stages have run."""
    folder, before, runner = tmp_path_factory.mktemp("demo"), Path.cwd(), CliRunner()
    os.chdir(folder)
    try:
        settings = [part for setting in QUICK for part in ("--set", setting)]
        for line in (
            ["collect", "--from", str(DEMO_CHAT)],
            ["prepare"],
            ["finetune", "--base", "embedded", *settings],
        ):
            result = runner.invoke(main, line, catch_exceptions=False)
            assert result.exit_code == 0, result.output
        yield runner
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("contact", "line"),
    [
        ("Tom Hale", "are you coming tonight?"),
        ("Tom Hale", "did the build pass?"),
        ("Вера Лисина", "привет, как дела?"),
    ],
)
def test_the_twin_of_the_demo_answers_in_words_and_ends_its_own_turn(demo: CliRunner, contact: str, line: str) -> None:
    replies = []
    for seed in ("1", "2"):
        typed = ["chat", "--as", contact, "--json", "--seed", seed]
        result = demo.invoke(main, typed, input=line + "\n", catch_exceptions=False)
        assert result.exit_code == 0, result.output
        replies.append(json.loads(result.stdout))
    for reply in replies:
        assert all(bubble.strip() for bubble in reply["bubbles"])
        assert re.search(r"\w", reply["reply"])
        assert not re.search(r"<\|\w+\|>|\ufffd", reply["reply"])
        assert reply["base"] == "embedded"
    assert "stop" in [reply["finish_reason"] for reply in replies]
    assert replies[0]["reply"] != line
