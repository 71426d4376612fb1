"""The two passes over the words, each over one batch of sessions at a time, in as many processes as asked for.

In come batches of one chat's sessions; the first pass leaves scrubbed batches in a folder, the second leaves examples
there as JSON Lines and says what each session holds. Neither pass looks beyond its batch, so batches can be done in any
order, by anybody. Knows nothing of the archive or of splits.
"""

from __future__ import annotations

import gc
import hashlib
import json
import pickle
import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Protocol, TypeVar, cast

from clone.errors import HardwareError
from clone.prepare.clean import COPIED
from clone.prepare.duplicates import Sketches, sketch
from clone.prepare.examples import Measured, build_examples
from clone.prepare.lengths import Lengths
from clone.prepare.pii import FAILED_TEXT, LiteralIndex, Literals, Scrubbed, ScrubCounts
from clone.prepare.pii.replace import script_of
from clone.prepare.sessions import Line, Standing, merge_turns
from clone.records import Example

A = TypeVar("A")
B = TypeVar("B")


class Scrubs(Protocol):
    """What takes personal data out of consecutive messages of one chat (`clone.prepare.pii.Scrubber`)."""

    def scrub_chat(self, texts: Sequence[str]) -> list[Scrubbed]: ...

    def second_pass(
        self, texts: Sequence[str], scrubbed: Sequence[Scrubbed], index: LiteralIndex
    ) -> list[Scrubbed]: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Sessions of one chat, a column a property: columns travel between processes ten times faster than objects."""

    number: int
    contact: str  # pseudonym
    session_ids: list[str]
    starts: list[int]  # where in the columns each session begins
    at: list[int]  # seconds since 1970
    is_mine: list[bool]
    standings: list[int]
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker needs to know."""

    folder: Path  # where batches lie between the passes
    tokenizer: Path
    max_context_tokens: int
    long_text_chars: int
    fingerprint_key: bytes  # of this run alone: values are told apart, and nobody can say later which they were
    build_scrubber: Callable[[], Scrubs]


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """What the first pass tells of a batch: counts, and of its long texts where, when and whose they are."""

    number: int
    n_messages: int
    n_failed: int
    literals: Literals  # values to be looked for in every batch
    long: list[int]
    at: list[int]
    is_mine: list[bool]
    sketches: Sketches


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """Which batch the second pass should build, and which of its messages repeat others."""

    number: int
    repeats: list[int]


@dataclass(frozen=True, slots=True)
class SessionPart:
    """Where one session's examples lie in a batch's file, and how many there are."""

    session_id: str
    contact: str
    ended_at: datetime
    n_examples: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Built:
    """What the second pass made of a batch."""

    number: int
    sessions: list[SessionPart]
    dropped: Counter[str] = field(default_factory=Counter)
    scrub: ScrubCounts = field(default_factory=ScrubCounts)
    by_script: Counter[str] = field(default_factory=Counter)  # findings by the script of their message
    fingerprints: dict[str, set[bytes]] = field(default_factory=dict)  # of the values found, by type
    n_context_tokens: array[int] = field(default_factory=lambda: array("i"))  # of each example, instruction included
    n_reply_tokens: array[int] = field(default_factory=lambda: array("i"))
    n_bubbles: array[int] = field(default_factory=lambda: array("i"))  # of each reply


class Worker:
    """Does batches, one after another."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made_scrubber: Scrubs | None = None
        self._made_lengths: Lengths | None = None
        self._made_index: LiteralIndex | None = None

    def scrub(self, batch: Batch) -> Scrubbing:
        """Leave the batch and what was found in it in the folder; return what all batches must know of each other."""
        scrubbed = self._scrubber().scrub_chat(batch.texts)
        assert len(scrubbed) == len(batch.texts), "every message comes back from scrubbing"
        literals = Literals()
        changed = {}
        for i, (text, item) in enumerate(zip(batch.texts, scrubbed, strict=True)):
            if item.findings or item.failed:
                changed[i] = item
                literals.collect(text, item)
        with batch_path(self._settings.folder, batch.number).open("wb") as stream:
            pickle.dump((batch, changed), stream, protocol=5)
        long = [i for i, text in enumerate(batch.texts) if len(text) >= self._settings.long_text_chars]
        return Scrubbing(
            number=batch.number,
            n_messages=len(scrubbed),
            n_failed=sum(item.failed for item in changed.values()),
            literals=literals,
            long=long,
            at=[batch.at[i] for i in long],
            is_mine=[batch.is_mine[i] for i in long],
            sketches=sketch([batch.texts[i] for i in long]),
        )

    def build(self, order: BuildOrder) -> Built:
        """Turn a scrubbed batch into examples, left in the folder; return what each session holds."""
        built = Built(order.number, [])
        batch = self._finish_scrubbing(order, built)
        lengths = self._lengths().count(batch.texts)
        n_header = self._lengths().count([batch.contact])[0] + 2
        with examples_path(self._settings.folder, order.number).open("wb") as out:
            for session_id, first, last in zip(
                batch.session_ids, batch.starts, [*batch.starts[1:], len(batch.texts)], strict=True
            ):
                n_examples = n_bytes = 0
                for example, sizes in build_examples(
                    _measure(batch, lengths, first, last),
                    session_id=session_id,
                    contact=batch.contact,
                    n_header=n_header,
                    max_context_tokens=self._settings.max_context_tokens,
                    dropped=built.dropped,
                ):
                    n_bytes += out.write(write_example(example))
                    n_examples += 1
                    built.n_context_tokens.append(sizes.n_context_tokens)
                    built.n_reply_tokens.append(sizes.n_reply_tokens)
                    built.n_bubbles.append(sizes.n_bubbles)
                ended_at = datetime.fromtimestamp(batch.at[last - 1], UTC)
                built.sessions.append(SessionPart(session_id, batch.contact, ended_at, n_examples, n_bytes))
        return built

    def _finish_scrubbing(self, order: BuildOrder, built: Built) -> Batch:
        """Return a batch with the values that any batch gave away masked, and repeats replaced."""
        path = batch_path(self._settings.folder, order.number)
        with path.open("rb") as stream:
            batch, changed = cast("tuple[Batch, dict[int, Scrubbed]]", pickle.load(stream))
        path.unlink()
        first = [changed.get(i) or Scrubbed(text) for i, text in enumerate(batch.texts)]
        for i, item in enumerate(self._scrubber().second_pass(batch.texts, first, self._index())):
            built.scrub.add(item)
            if item.findings:
                self._note(batch.texts[i], item, built)
            text = item.text.strip()
            batch.texts[i] = text or FAILED_TEXT
            if item.failed or not text:
                batch.standings[i] = Standing.FAILED
            elif item.has_secret:
                batch.standings[i] = Standing.SECRET
        for i in order.repeats:
            batch.texts[i] = COPIED
            batch.standings[i] = Standing.SHOWN
        return batch

    def _note(self, text: str, item: Scrubbed, built: Built) -> None:
        built.by_script[script_of(text)] += len(item.findings)
        for finding in item.findings:
            value = text[finding.start : finding.end].casefold().encode()
            fingerprint = hashlib.blake2b(value, key=self._settings.fingerprint_key, digest_size=8).digest()
            built.fingerprints.setdefault(str(finding.entity), set()).add(fingerprint)

    # Each made when it is first needed: a worker of the first pass needs no tokenizer.

    def _scrubber(self) -> Scrubs:
        if self._made_scrubber is None:
            self._made_scrubber = self._settings.build_scrubber()
        return self._made_scrubber

    def _lengths(self) -> Lengths:
        if self._made_lengths is None:
            self._made_lengths = Lengths(self._settings.tokenizer)
        return self._made_lengths

    def _index(self) -> LiteralIndex:
        if self._made_index is None:
            with literals_path(self._settings.folder).open("rb") as stream:
                self._made_index = LiteralIndex(cast(Literals, pickle.load(stream)))
        return self._made_index


def _measure(batch: Batch, lengths: Sequence[int], first: int, last: int) -> Iterator[Measured]:
    known = dict(zip(batch.texts[first:last], lengths[first:last], strict=True))
    lines = (
        Line(datetime.fromtimestamp(batch.at[i], UTC), batch.is_mine[i], batch.texts[i], _STANDINGS[batch.standings[i]])
        for i in range(first, last)
    )
    for said in merge_turns(lines):
        yield Measured(said, tuple(known[bubble] for bubble in said.turn.bubbles))


_STANDINGS = tuple(Standing)


def write_example(example: Example) -> bytes:
    """Return an example as its line of JSON."""
    value = {
        "example_id": example.example_id,
        "session_id": example.session_id,
        "contact": example.contact,
        "instruction": example.instruction,
        "context": example.context,
        "response": example.response,
        "ended_at": example.ended_at.isoformat(),
    }
    return _JSON.encode(value).encode() + b"\n"


_JSON = json.JSONEncoder(ensure_ascii=False)


def batch_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.batch"


def literals_path(folder: Path) -> Path:
    return folder / "literals"


def examples_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.jsonl"


# -- in one process or in several -----------------------------------------------------------------------------------

_worker: Worker | None = None  # of this process, set once by the pool


def _start(settings: Settings) -> None:
    import signal

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    gc.disable()  # a batch is many thousand objects and no cycle; those that libraries leave go after each batch
    gc.freeze()
    _worker = Worker(settings)


def _scrub(batch: Batch) -> Scrubbing:
    assert _worker is not None
    done = _worker.scrub(batch)
    del batch
    gc.collect()
    return done


def _build(order: BuildOrder) -> Built:
    assert _worker is not None
    done = _worker.build(order)
    gc.collect()
    return done


class Crew:
    """Runs both passes over any number of batches; results come in the order of the batches."""

    def __init__(self, settings: Settings, pool: ProcessPoolExecutor | None, n_workers: int) -> None:
        self._alone = Worker(settings)
        self._pool = pool
        self._n_in_flight = n_workers * 2 + 1

    def scrub(self, batches: Iterable[Batch]) -> Iterator[Scrubbing]:
        return self._run(self._alone.scrub, _scrub, batches)

    def build(self, orders: Iterable[BuildOrder]) -> Iterator[Built]:
        return self._run(self._alone.build, _build, orders)

    def _run(self, here: Callable[[A], B], there: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        if self._pool is None:
            yield from map(here, items)
            return
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(there, item))
                if len(waiting) >= self._n_in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise HardwareError(
                "a process of prepare was killed, most likely for want of memory.",
                "Close other programs, or use fewer processes: clone prepare --workers 1",
            ) from None


def _context() -> BaseContext:
    """Return how processes are started: never by a fork of this one, which shows progress from a thread.

    On Linux they are forks of a small server that has imported Presidio once for all of them.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextmanager
def crew(settings: Settings, n_workers: int) -> Iterator[Crew]:
    """Yield a crew of `n_workers` processes, or of this one alone."""
    if n_workers < 2:
        yield Crew(settings, None, 1)
        return
    pool = ProcessPoolExecutor(n_workers, mp_context=_context(), initializer=_start, initargs=(settings,))
    try:
        yield Crew(settings, pool, n_workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
