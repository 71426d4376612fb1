"""What `clone collect` is to an account that has logged in before, with nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clone.archive import Archive
from clone.collect.telegram.connection import Application, Line, Patience
from clone.collect.telegram.dialogs import Scope
from clone.collect.telegram.live import LiveReport, Step, check_pause, collect_account
from clone.records import Chat
from tests.mtproto import Account, FakeTelegram

QUICK = Patience(pace_s=0, first_delay_s=0.01, max_delay_s=0.05, answer_timeout_s=5)
APPLICATION = Application(12345, "0123456789abcdef0123456789abcdef")
EVERYBODY = Scope()
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Collector:
    """One account, its session and its archive."""

    def __init__(self, server: FakeTelegram, account: Account, folder: Path) -> None:
        self.server, self.account = server, account
        self.session = server.session_for(account)
        self.archive_path = folder / "data" / "raw" / "archive.sqlite"
        self.waits: list[tuple[str, int]] = []
        self.slept: list[float] = []
        self.progress: list[Step] = []
        self.on_progress: Callable[[Step], None] = self.progress.append
        self.now = NOW

    def collect(self, scope: Scope = EVERYBODY, *, patience: Patience = QUICK, **more: Any) -> LiveReport:
        async def run() -> LiveReport:
            with Archive.create(self.archive_path) as archive:
                check_pause(archive, datetime.now(UTC))
                line = self.line(patience)
                await line.open()
                try:
                    return await collect_account(
                        archive,
                        line,
                        scope,
                        now=lambda: self.now,
                        on_progress=self.on_progress,
                        **more,
                    )
                finally:
                    await line.close()

        return asyncio.run(run())

    def line(self, patience: Patience = QUICK, **more: Any) -> Line:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

        return Line(
            self.session,
            APPLICATION,
            patience=patience,
            on_wait=lambda why, left: self.waits.append((why, left)),
            sleep=more.pop("sleep", sleep),
            **more,
        )

    def ask(self, question: Callable[[Line], Any]) -> Any:
        """Run an async function on a fresh connection."""

        async def run() -> Any:
            line = self.line()
            await line.open()
            try:
                return await question(line)
            finally:
                await line.close()

        return asyncio.run(run())

    def archive(self) -> Archive:
        return Archive.open(self.archive_path)

    def chat(self, user_id: int) -> Chat:
        with self.archive() as archive:
            chat = archive.find_chat("telegram", str(self.account.me.id), str(user_id))
        assert chat is not None
        return chat

    def ids(self, user_id: int) -> list[int]:
        """Return the ids of the messages of a dialog that are in the archive and not marked as deleted."""
        chat = self.chat(user_id)
        with self.archive() as archive:
            return archive.message_ids(chat)

    def has_everything(self) -> bool:
        return all(
            self.ids(user_id) == [m.id for m in messages]
            for user_id, messages in self.account.dialogs.items()
            if messages
        )
