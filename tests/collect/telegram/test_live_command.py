"""`clone collect` as it is typed: what it shows, how it exits, what it never shows."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from clone.archive import Archive
from clone.collect.telegram import connection
from tests.collect.telegram.collector import QUICK
from tests.mtproto import Account, FakeTelegram, faults

Type = Callable[..., Result]
PROJECT = Path(__file__).parents[3]


@pytest.fixture
def at_home(server: FakeTelegram, account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment that has everything: nobody needs to be asked."""
    monkeypatch.setenv("CLONE_TELEGRAM_API_ID", "12345")
    monkeypatch.setenv("CLONE_TELEGRAM_API_HASH", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("CLONE_TELEGRAM_SESSION", server.session_for(account))
    monkeypatch.setattr(connection, "PATIENT", QUICK)
    return


def test_collect_alone_collects_and_compares(clone: Type, account: Account, at_home: None, workspace: Path) -> None:
    result = clone("collect")
    assert result.exit_code == 0
    assert "600 messages of 5 dialogs: data/raw/archive.sqlite" in result.stderr
    table = [line.split() for line in result.stderr.splitlines() if "complete" in line]
    sizes = {str(user_id): len(messages) for user_id, messages in account.dialogs.items()}
    assert {row[0]: (int(row[1]), int(row[4]), int(row[5])) for row in table} == {
        u: (n, n, n) for u, n in sizes.items()
    }
    again = clone("collect")
    assert again.exit_code == 0
    assert "5 dialogs have nothing new." in again.stderr
    for folder in (workspace / "data", workspace / "data" / "raw", workspace / "data" / "raw" / "telegram"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_difference_is_a_non_zero_exit(clone: Type, server: FakeTelegram, at_home: None) -> None:
    server.faults.append(faults.WrongCount(2002, more=3))
    result = clone("collect")
    assert result.exit_code == 1
    assert "3 missing" in result.stderr
    assert "1 of 5 dialogs differs: 3 messages that Telegram counts are not here." in result.stderr


def test_list_shows_dialogs_and_counts_and_collects_nothing(clone: Type, account: Account, at_home: None) -> None:
    account.add_message(account.me.id, "a note")
    result = clone("collect", "--list", "--skip", "@person_2")
    assert result.exit_code == 0
    assert re.search(rf"2001 +Person 1 +@person_1 +{len(account.dialogs[2001])} +yes", result.stderr)
    assert re.search(rf"2002 +Person 2 +@person_2 +{len(account.dialogs[2002])} *$", result.stderr, re.MULTILINE)
    assert re.search(r"1000 +Saved Messages +@ada_tests +1 *$", result.stderr, re.MULTILINE)
    assert "4 of 6 would be collected" in result.stderr
    with Archive.open(Path("data/raw/archive.sqlite")) as archive:
        assert archive.chats() == []


def test_json_is_one_object_on_stdout(clone: Type, at_home: None) -> None:
    found = json.loads(clone("collect", "--json").stdout)
    assert found["is_complete"]
    assert sum(dialog["new"] for dialog in found["dialogs"]) == 600
    listed = json.loads(clone("collect", "--list", "--json").stdout)
    assert {dialog["name"] for dialog in listed["dialogs"]} == {f"Person {i}" for i in range(1, 6)}


def test_scope_is_typed(clone: Type, account: Account, at_home: None) -> None:
    account.add_message(account.me.id, "a note")
    assert "of 2 dialogs" in clone("collect", "--only", "2001", "--only", "person 3").stderr
    assert "of 5 dialogs" in clone("collect", "--saved", "--skip", "Person 5").stderr
    wrong = clone("collect", "--only", "Persn 3")
    assert wrong.exit_code == 1
    assert "Did you mean Person 3" in wrong.stderr


def test_without_a_terminal_and_a_session_it_is_an_error(
    clone: Type, server: FakeTelegram, at_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLONE_TELEGRAM_SESSION")
    result = clone("collect")
    assert result.exit_code == 6
    assert "CLONE_TELEGRAM_SESSION" in result.stderr
    assert server.n_connections == 0


def test_credentials_that_cannot_be_any_are_an_error(
    clone: Type, at_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLONE_TELEGRAM_API_ID", "not a number")
    result = clone("collect")
    assert result.exit_code == 6
    assert "my.telegram.org" in result.stderr


def test_a_long_pause_exits_6_and_says_when(clone: Type, server: FakeTelegram, at_home: None) -> None:
    server.faults.append(faults.RpcFailure(420, "FLOOD_WAIT_7200", at=3))
    result = clone("collect")
    assert result.exit_code == 6
    assert connection.local_time(datetime.now(UTC) + timedelta(hours=2))[:-2] in result.stderr
    n_before = server.n_connections
    assert clone("collect").exit_code == 6
    assert server.n_connections == n_before


def test_ctrl_c_saves_and_exits_130(server: FakeTelegram, account: Account, at_home: None, workspace: Path) -> None:
    server.faults += [faults.ShortHistoryPages(5), faults.Slow(0.02)]
    child = start("collect", workspace, server)
    while server.n(faults.HISTORY) < 25 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "What was done is saved" in told
    with Archive.open(workspace / "data/raw/archive.sqlite") as archive:
        assert sum(chat.n_messages for chat in archive.chats()) >= 100


def start(command: str, workspace: Path, server: FakeTelegram, **more: object) -> subprocess.Popen[str]:
    """Type a command in a process of its own, which trusts the test server."""
    code = "from tests.mtproto.server import pointing; from clone.cli import main\n"
    code += f"with pointing({server.host!r}, {server.port}): main({command.split()!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        text=True,
        **(more or {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL}),  # type: ignore[call-overload]
    )


def test_a_login_at_a_real_terminal(
    server: FakeTelegram, account: Account, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, a wrong code, the password that is not shown, progress and the table with names."""
    account.password = "correct horse"
    for name in ("CLONE_TELEGRAM_API_ID", "CLONE_TELEGRAM_API_HASH", "CLONE_TELEGRAM_SESSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    ours, its = pty.openpty()
    child = start("collect", workspace, server, stdin=its, stdout=its, stderr=its)
    os.close(its)
    screen = ""

    def wait_for(words: str, then: str = "") -> None:
        nonlocal screen
        until = time.monotonic() + 30
        while words not in screen:
            assert time.monotonic() < until, screen
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    screen += os.read(ours, 4096).decode()
                except OSError:  # the other side has closed
                    assert words in screen, screen
                    return
        if then:
            time.sleep(0.05)
            screen = screen.split(words, 1)[1]
            os.write(ours, then.encode() + b"\n")

    wait_for("api_id:", "12345")
    wait_for("api_hash:", "not a hash")
    wait_for("the api_hash is 32 letters and digits")
    wait_for("api_id:", "12345")
    wait_for("api_hash:", "0123456789abcdef0123456789abcdef")
    wait_for("Phone number", "+" + account.phone)
    wait_for("Code that Telegram sent to your Telegram app:", "00000")
    wait_for("That was not the code.")
    wait_for("Code that Telegram sent to your Telegram app:", "12345")
    wait_for("(hint: the usual):", "correct horse")
    wait_for("600 messages of 5 dialogs")
    assert child.wait(20) == 0
    os.close(ours)
    assert "correct horse" not in screen
    assert "Person 1 (2001)" in screen
    folder = workspace / "data" / "raw" / "telegram"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "session": 0o600,
        "application.json": 0o600,
        "lock": 0o600,
    }


def test_nothing_that_people_wrote_is_in_any_output_or_log(
    clone: Type, server: FakeTelegram, account: Account, at_home: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    marked = account.add_message(2001, "MARKED-WORDS of a friend")
    account.add_user(2060, "MARKED-NAME", username="marked_username", phone="4479999999")
    account.add_message(2060, "MARKED-WORDS again")
    server.faults += [
        faults.UnknownMedia({marked.id}),
        faults.HangUp(at=2),
        faults.RpcFailure(500, "INTERNAL", at=4),
        faults.NeverAnswers("users.GetUsers", at=10),
    ]
    outputs = [clone("collect"), clone("collect", "--verify"), clone("collect", "--json")]
    server.faults.append(faults.RpcFailure(420, "FLOOD_WAIT_9999", at=1))
    outputs.append(clone("collect", "--verify"))
    assert outputs[0].exit_code == 1
    for text in [*(o.stdout + o.stderr for o in outputs), caplog.text]:
        for secret in ("MARKED", "marked_username", "4479999999", account.phone, "0123456789abcdef0123456789abcdef"):
            assert secret not in text
