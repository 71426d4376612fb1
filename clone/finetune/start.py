"""The time before the first step: what is done side by side, and how long each part takes.

Knows nothing of tensors, so that it can be asked before torch is imported.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Start:
    """The seconds that the parts of a start took, by name. Parts that ran side by side add up to more than all."""

    def __init__(self) -> None:
        self._began_at = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done inside as `name`."""
        began_at = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began_at

    def told(self) -> dict[str, float]:
        """Return the seconds of each part so far, and of all."""
        return {
            name: round(s, 2) for name, s in (*self._seconds.items(), ("all", time.perf_counter() - self._began_at))
        }


class GivenUp(Exception):
    """Nobody waits for this work any more."""


class Beside(Generic[T]):
    """Work in a thread of its own, with more beside it; what fails there is raised where it is waited for."""

    def __init__(self, work: Callable[[Beside[T]], T], *, at_once: bool = False) -> None:
        """Begin `work`; with `at_once` it is done here, in no thread, and then waited for as the other is."""
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="start")
        self._is_given_up = threading.Event()
        self._at: tuple[int, int | None] = (0, None)
        self._more: list[Future[None]] = []
        self._work: Future[T] = Future()
        if not at_once:
            self._work = self._pool.submit(work, self)
            return
        try:
            self._work.set_result(work(self))
        except Exception as error:  # raised where it is waited for
            self._work.set_exception(error)

    def reached(self, done: int, total: int | None) -> None:
        """Note how far the work is. Raises GivenUp, in the work, where nobody waits for it any more."""
        if self._is_given_up.is_set():
            raise GivenUp
        self._at = (done, total)

    def also(self, more: Callable[[], None]) -> None:
        """Do more in another thread, which is waited for as well."""
        self._more.append(self._pool.submit(more))

    def wait(self, on_progress: Callable[[int, int | None], None]) -> T:
        """Return what came of the work, after telling how far it is as long as it takes."""
        while not self._work.done():
            on_progress(*self._at)
            wait_for([self._work], timeout=0.1)
        result = self._work.result()
        for more in self._more:
            more.result()
        return result

    def give_up(self) -> None:
        """Let the work end where it next says how far it is, and wait until then; nothing where it is done."""
        self._is_given_up.set()
        self._pool.shutdown(cancel_futures=True)
