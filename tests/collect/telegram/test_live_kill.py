"""kill -9 at any instant loses nothing and repeats nothing: after a restart the rows are those of a run in peace."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collect.telegram.collector import Collector
from tests.collect.telegram.forge import Forge
from tests.mtproto import Account, FakeTelegram, faults

N_KILLS = 50
TABLES = ("accounts", "chats", "people", "messages", "raws", "formats", "versions", "cursors", "gaps", "dialogs")


def rows(archive_path: Path) -> dict[str, list[Any]]:
    with sqlite3.connect(archive_path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {table: sorted(map(repr, db.execute(f"SELECT * FROM {table}"))) for table in TABLES}


@pytest.fixture
def forge() -> Iterator[Forge]:
    with Forge() as running:
        yield running


def test_fifty_kills_spread_over_a_run_cost_no_row(
    collector: Collector, server: FakeTelegram, account: Account, tmp_path: Path, forge: Forge
) -> None:
    """Each run is killed a little further on, each at a moment of its own between two answers."""
    server.faults += [faults.ShortHistoryPages(4), faults.UnknownMedia({account.dialogs[2002][30].id})]
    server.faults.append(faults.EmptyMessages({m.id for m in account.dialogs[2003][10:14]}))
    peaceful = Collector(server, account, tmp_path / "peace")
    assert forge.run(peaceful.archive_path, peaceful.session) == 0
    assert server.n(faults.HISTORY) > 2 * N_KILLS

    n_killed, marks = 0, []
    for i in range(N_KILLS):
        delay_s = (i % 7) * 0.0007  # into the decoding, the writing, the waiting

        def strike(delay_s: float = delay_s) -> None:
            server.loop.call_later(delay_s, forge.kill)

        # so that the kills spread over all of the run, and some hit what comes before the first dialog
        # (on a busy machine a page may not be written by then: who stood still is left two answers more)
        n_still = next((n for n, mark in enumerate(reversed(marks[:-1])) if mark != marks[-1]), len(marks[:-1]))
        at = 2 + i // 10 if i % 10 == 9 else 2 + i % 4 + 2 * n_still
        fatal = faults.LastAnswer(strike, name="" if i % 10 == 9 else faults.HISTORY, at=at)
        server.faults.append(fatal)
        status = forge.run(collector.archive_path, collector.session)
        server.faults.remove(fatal)
        assert status in (0, -signal.SIGKILL)
        n_killed += status == -signal.SIGKILL
        with sqlite3.connect(collector.archive_path) as db:
            marks.append(db.execute("SELECT count(*) FROM messages").fetchone()[0])
    assert n_killed >= N_KILLS - 2
    assert marks == sorted(marks)
    assert len(set(marks)) >= 20, marks
    assert forge.run(collector.archive_path, collector.session) == 0
    assert rows(collector.archive_path) == rows(peaceful.archive_path)
    assert len(server.finished_takeouts) == 2


def test_kills_between_commits_cost_no_row_either(
    collector: Collector, server: FakeTelegram, tmp_path: Path, forge: Forge
) -> None:
    """With pages sharing transactions, as people have it."""
    server.faults += [faults.ShortHistoryPages(6), faults.Slow(0.002)]
    peaceful = Collector(server, collector.account, tmp_path / "peace")
    assert forge.run(peaceful.archive_path, peaceful.session, 0.05) == 0
    for at in (3, 35, 45):
        server.forget_calls()
        fatal = faults.Does(forge.kill, at=at)
        server.faults.append(fatal)
        assert forge.run(collector.archive_path, collector.session, 0.05) in (0, -signal.SIGKILL)
        server.faults.remove(fatal)
    assert forge.run(collector.archive_path, collector.session, 0.05) == 0
    assert rows(collector.archive_path) == rows(peaceful.archive_path)
