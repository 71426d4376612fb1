"""Runs of the collector in processes of their own, forked in milliseconds from one that has everything imported."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from clone.archive import Archive
from clone.collect.telegram.connection import Line
from clone.collect.telegram.dialogs import Scope
from clone.collect.telegram.live import collect_account
from tests.collect.telegram.collector import APPLICATION, NOW, QUICK
from tests.mtproto.server import trusted


class Forge:
    """The process that forks; `run` waits for a run's end, `kill` ends the one that is running."""

    def __enter__(self) -> Forge:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.collect.telegram.forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        self._pid = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        assert self._parent.stdin
        self._parent.stdin.close()
        self._parent.wait(10)

    def run(self, archive_path: Path, session: str, commit_every_s: float = 0) -> int:
        """Return the exit code of one run, negative where a signal ended it."""
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write(f"{session} {commit_every_s} {archive_path}\n")
        self._parent.stdin.flush()
        self._pid = int(self._parent.stdout.readline())
        status = int(self._parent.stdout.readline())
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


async def collect(archive_path: Path, session: str, commit_every_s: float) -> None:
    with Archive.create(archive_path) as archive:
        line = Line(session, APPLICATION, patience=QUICK)
        await line.open()
        await collect_account(archive, line, Scope(), now=lambda: NOW, commit_every_s=commit_every_s)
        await line.close()


def main() -> None:
    with trusted():
        for order in sys.stdin:
            session, commit_every_s, path = order.rstrip("\n").split(" ", 2)
            pid = os.fork()
            if not pid:
                asyncio.run(collect(Path(path), session, float(commit_every_s)))
                os._exit(0)
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            _, status = os.waitpid(pid, 0)
            sys.stdout.write(f"{status}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
