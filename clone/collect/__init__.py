"""Bring messages from where they are into the archive.

`import_file` reads an export and writes it page by page. Which kinds of export there are stands in `sources`, what each
gives in `contract`; the account itself is read by `telegram`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from clone.archive import Archive, PageCount
from clone.collect.contacts import is_called
from clone.collect.contract import Asked, Item, Page, Tally
from clone.collect.files import fingerprint, parts_of
from clone.errors import GateFailed, SourceError
from clone.records import Account, Chat, Person

OnProgress = Callable[[str, int, int | None], None]

WRITTEN_TOGETHER = 2_000  # records at least; a smaller file is judged and written at its end, all or nothing


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the records of one export. Counts only."""

    file_name: str
    source: str
    account_id: str
    n_chats: int
    n_read: int  # records in the file
    n_new: int
    n_known: int
    n_edited: int  # known, with an edit that is later than what was known
    n_outgoing: int  # of the person, among those read
    n_bad: int  # could not be read
    bad: tuple[tuple[str, str], ...] = ()  # where and why, the first few
    skipped: Mapping[str, int] = field(default_factory=dict)  # reason -> records
    n_repaired: int = 0
    cut: Mapping[str, int] = field(default_factory=dict)  # files that end too early -> records before that
    notes: tuple[str, ...] = ()


def import_file(
    path: Path,
    archive: Archive,
    asked: Asked,
    max_bad_share: float,
    now: datetime,
    on_progress: OnProgress = lambda what, done, total: None,
) -> ImportReport:
    """Write what the export at `path` holds into the archive, each page with what is told of it in one transaction.

    An import only fills holes: what is known stays. Raises SourceError for a file that is no export, and GateFailed
    where more than `max_bad_share` of its records cannot be read; pages written before that stay.
    """
    from clone.collect.sources import detect  # not above: `python -m clone.collect.sources` would load it twice

    writing = _Writing(archive, asked)
    total: int | None = None
    with parts_of(path) as parts:
        source, claimed = detect(parts, path.name)
        tally = Tally()
        for item in source.read(claimed, asked, tally):
            writing.pending.append(item)
            if isinstance(item, Page) and tally.n_read >= writing.n_read_at_write + WRITTEN_TOGETHER:
                _judge(path.name, tally, max_bad_share)
                writing.write(source.raw_format, tally.n_read)
                expected = round(tally.n_read / tally.share_read) if tally.share_read else None
                if expected and (total is None or abs(expected - total) > total / 10):
                    total = expected  # kept while it is about right: a bar forgets its speed with each new total
                on_progress(path.name, tally.n_read, max(total, tally.n_read) if total else None)
    _judge(path.name, tally, max_bad_share)
    writing.check_names(path.name)
    writing.write(source.raw_format, tally.n_read)
    with archive.transaction():
        archive.put_import(fingerprint(path), path.name, source.name, now, tally.n_read)
    on_progress(path.name, tally.n_read, tally.n_read)
    return ImportReport(
        path.name,
        source.name,
        writing.account_id,
        len(writing.chats),
        tally.n_read,
        writing.count.n_new,
        writing.count.n_known,
        writing.count.n_edited,
        writing.n_outgoing,
        tally.n_bad,
        tuple(tally.bad),
        {**tally.skipped, **writing.skipped},
        tally.n_repaired,
        dict(tally.cut),
        tuple(tally.notes),
    )


class _Writing:
    """What was read and is still to be written, and what was written so far."""

    def __init__(self, archive: Archive, asked: Asked) -> None:
        self.archive = archive
        self.asked = asked
        self.unmet = {*asked.only, *asked.skip}  # of these nobody was met yet
        self.pending: list[Item] = []
        self.count = PageCount()
        self.chats: set[tuple[str, str]] = set()
        self.left_out: dict[tuple[str, str], str] = {}  # account and chat -> why
        self.skipped: Counter[str] = Counter()
        self.n_outgoing = 0
        self.account_id = ""
        self.n_read_at_write = 0

    def write(self, raw_format: str, n_read: int) -> None:
        """Write what is pending in one transaction."""
        archive = self.archive
        with archive.transaction():
            for item in self.pending:
                if isinstance(item, Account):
                    archive.put_account(item)
                    self.account_id = item.account_id
                elif isinstance(item, Chat):
                    why = self._why_left_out(item)
                    if why:
                        self.left_out[item.account_id, item.chat_id] = why
                        continue
                    archive.put_chat(item)
                    self.chats.add((item.account_id, item.chat_id))
                elif isinstance(item, Person):
                    if (item.account_id, item.person_id) not in self.left_out:
                        archive.put_person(item)
                elif why := self.left_out.get((item.chat.account_id, item.chat.chat_id), ""):
                    self.skipped[why] += len(item.messages)
                else:
                    self.count += archive.put_messages(
                        item.chat, item.messages, raw_format=raw_format, fills_holes_only=True
                    )
                    for message_id, why in item.gaps:
                        archive.put_gap(item.chat, message_id, why)
                    self.n_outgoing += sum(message.is_outgoing for message, _ in item.messages)
        self.pending = []
        self.n_read_at_write = n_read

    def check_names(self, file_name: str) -> None:
        """Raise where somebody was named whom the file does not have: a slip would take in whom it should not."""
        met = [item for item in self.pending if isinstance(item, Chat)]
        unmet = {name for name in self.unmet if not any(is_called(chat, name) for chat in met)}
        if unmet:
            raise SourceError(
                f"{file_name} has no chat with '{min(unmet)}'.", "Name contacts by id, @username or as the file does."
            )

    def _why_left_out(self, chat: Chat) -> str:
        named = {name for name in self.unmet | {*self.asked.only, *self.asked.skip} if is_called(chat, name)}
        self.unmet -= named
        if named & {*self.asked.skip}:
            return "of contacts to skip"
        if self.asked.only and not named:
            return "of other contacts"
        return "of contacts that were forgotten" if self.archive.is_forgotten(chat) else ""


def _judge(file_name: str, tally: Tally, max_bad_share: float) -> None:
    """Stop where too much cannot be read: then it is the reading that is wrong, or the file."""
    if tally.n_bad <= max_bad_share * tally.n_read:
        return
    lines = "\n".join(f"  {where}: {why}" for where, why in tally.bad)
    raise GateFailed(
        f"{tally.n_bad:,} of {tally.n_read:,} records of {file_name} cannot be read "
        f"({tally.n_bad / tally.n_read:.1%}, at most {max_bad_share:.1%} may be):\n{lines}",
        "To take the readable ones: --set collect.max_bad_share=1",
    )
