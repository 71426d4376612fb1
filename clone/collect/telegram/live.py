"""The run: all dialogs of an account into the archive.

Comes in: an open archive and a connection that is logged in. Goes out: a report, dialog by dialog, of what is here and
what Telegram counts. Knows nothing of terminals, files or how one logs in.

A page and the cursor that says it was read are one transaction. The next page is on its way before this one is written,
and the sync to disk has a thread of its own; pages that come fast share a transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from telethon import errors
from telethon.tl import functions as f
from telethon.tl import types as t

from clone.archive import Archive, DialogState, PageCount
from clone.collect.telegram.connection import ComeBackLater, Line, come_back, input_user, refused
from clone.collect.telegram.dialogs import Found, Scope, choose, find_lost_users, list_dialogs
from clone.collect.telegram.history import History, Page
from clone.collect.telegram.parse import SOURCE, account_of, full_name, parse_message
from clone.collect.telegram.reading import RAW_FORMAT
from clone.errors import DataError, SourceError
from clone.records import Account, Chat, ChatKind, Person

EDIT_WINDOW = timedelta(hours=48)  # how long Telegram lets a message between people be edited
MANY_NEW_DIALOGS = 20  # more of them are worth a takeout
PAGES_IN_HAND = 64
COMMIT_EVERY_S = 0.2  # what a kill can cost of reading, nothing else
EMPTY = "empty"  # the reason of a gap where Telegram itself holds nothing any more

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run is: in which dialog, and how many of its messages were read."""

    chat: Chat
    number: int  # of the dialog, from 1
    n_dialogs: int
    n_read: int = 0
    n_messages: int | None = None  # to read in it, as far as is known


OnProgress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class DialogReport:
    """One dialog: what this run brought, what is here now, and what Telegram counts."""

    chat: Chat
    n_new: int = 0
    n_edited: int = 0
    n_deleted: int = 0
    n_here: int = 0
    n_empty: int = 0  # seen, and empty at Telegram's
    n_unreadable: int = 0
    n_server: int | None = None  # None: Telegram did not say
    why: str = ""  # why it could not be read

    @property
    def n_missing(self) -> int:
        """Messages that Telegram counts and are not accounted for here; negative where there are more here."""
        if self.n_server is None:
            return 0
        if self.n_here + self.n_unreadable <= self.n_server <= self.n_here + self.n_unreadable + self.n_empty:
            return 0  # whether Telegram counts its empty ones is not promised
        return self.n_server - self.n_here - self.n_unreadable - self.n_empty

    @property
    def is_complete(self) -> bool:
        return not self.why and not self.n_missing and not self.n_unreadable and self.n_server is not None


@dataclass(frozen=True, slots=True)
class LiveReport:
    """What a run did. `n_calls` counts requests to Telegram, `n_forgotten` dialogs that `clone forget` keeps out."""

    account: Account
    dialogs: tuple[DialogReport, ...]
    n_calls: int
    n_forgotten: int = 0

    @property
    def is_complete(self) -> bool:
        return all(dialog.is_complete for dialog in self.dialogs)

    def total(self, of: Callable[[DialogReport], int]) -> int:
        return sum(of(dialog) for dialog in self.dialogs)


@dataclass(frozen=True, slots=True)
class ListedDialog:
    """A dialog as Telegram shows it, before anything is collected."""

    chat: Chat
    n_server: int | None
    is_wanted: bool


def check_pause(archive: Archive, now: datetime) -> None:
    """Raise ComeBackLater while a pause that Telegram asked for in an earlier run lasts."""
    noted = archive.recall(_PAUSE)
    if noted is not None:
        until = datetime.fromisoformat(noted)
        if now < until:
            raise come_back(until)
        archive.remember(_PAUSE, None)


def note_pause(archive: Archive, error: ComeBackLater) -> None:
    """Keep the end of a pause for the next run."""
    archive.remember(_PAUSE, error.until.isoformat())


_PAUSE = "telegram.pause_until"


async def who_am_i(line: Line) -> Account:
    """Return the account that a connection is logged in to."""
    users = await line.ask(f.users.GetUsersRequest([t.InputUserSelf()]), outside_takeout=True)
    return account_of(users[0])


async def list_account(line: Line, scope: Scope, on_progress: OnProgress = lambda step: None) -> list[ListedDialog]:
    """Return the dialogs with people, and Saved Messages, each with Telegram's count. Writes nothing."""
    account = await who_am_i(line)
    dialogs = await find_lost_users(line, await list_dialogs(line), lambda user_id: None)
    wanted = {found.dialog.user_id for found in choose(account, dialogs, scope, lambda user_id: None)}
    listed = []
    everybody = choose(account, dialogs, Scope(include_saved=True), lambda user_id: None)
    for number, found in enumerate(everybody, 1):
        on_progress(Step(found.chat, number, len(everybody)))
        n_server = None
        if found.dialog.access_hash is not None or found.chat.kind is ChatKind.SAVED:
            n_server = await History(line, _peer(found)).count()
        listed.append(ListedDialog(found.chat, n_server, found.dialog.user_id in wanted))
    return listed


async def collect_account(
    archive: Archive,
    line: Line,
    scope: Scope,
    *,
    verify: bool = False,
    use_takeout: bool = True,
    now: Callable[[], datetime],
    on_progress: OnProgress = lambda step: None,
    commit_every_s: float = COMMIT_EVERY_S,
) -> LiveReport:
    """Bring what is new in the dialogs of `scope` into the archive.

    `verify` reads everything again, takes edits of any age, and marks what Telegram no longer has. Raises LoginError
    where Telegram cannot or will not be asked; what was read until then is in the archive.
    """
    run = _Run(archive, line, verify, now, on_progress, commit_every_s)
    try:
        return await run.collect(scope, use_takeout)
    except ComeBackLater as error:
        await run.store(note_pause, archive, error)
        raise
    except errors.RPCError as error:
        raise refused(error) from None
    finally:
        await run.close()


class _Run:
    """One run over an account."""

    def __init__(
        self,
        archive: Archive,
        line: Line,
        verify: bool,
        now: Callable[[], datetime],
        on_progress: OnProgress,
        commit_every_s: float,
    ) -> None:
        self.archive, self.line, self.verify, self.now, self.on_progress = archive, line, verify, now, on_progress
        self.commit_every_s = commit_every_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")  # the archive's only user while we run
        self._people: set[str] = set()

    async def store(self, do: Callable[..., Result], *arguments: Any) -> Result:
        """Run something that uses the archive in the archive's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    async def collect(self, scope: Scope, use_takeout: bool) -> LiveReport:
        self.account = await who_am_i(self.line)
        await self.store(self._put_account)
        first_key = f"telegram.collected.{self.account.account_id}"
        is_first = await self.store(self.archive.recall, first_key) is None
        if use_takeout:
            await self._resume_takeout()
            if self.line.takeout_id is None and (is_first or self.verify):
                await self.line.start_takeout()
        dialogs = await list_dialogs(self.line)
        dialogs = await find_lost_users(self.line, dialogs, self._known_hash)
        wanted = choose(self.account, dialogs, scope, self._known_chat)
        is_out = [await self.store(self.archive.is_forgotten, found.chat) for found in wanted]
        chosen = [found for found, is_forgotten in zip(wanted, is_out, strict=True) if not is_forgotten]
        if scope.only and any(is_out):
            raise SourceError(
                f"{wanted[is_out.index(True)].chat.chat_id} was forgotten, and stays out.",
                "clone forget --undo lets a forgotten contact be collected again.",
            )
        await self.store(self._put_chats, chosen)
        states = [await self.store(self.archive.dialog, found.chat) for found in chosen]
        n_new = sum(state is None or not state.is_walked for state in states)
        if use_takeout and self.line.takeout_id is None and n_new > MANY_NEW_DIALOGS:
            await self.line.start_takeout()
        reports = []
        for number, (found, state) in enumerate(zip(chosen, states, strict=True), 1):
            self._step = Step(found.chat, number, len(chosen))
            self.on_progress(self._step)
            reports.append(await self._visit(found, state))
        if self.line.takeout_id is not None:
            await self.line.finish_takeout()
        if is_first:
            await self.store(self.archive.remember, first_key, self.now().isoformat())
        return LiveReport(self.account, tuple(reports), self.line.n_calls, sum(is_out))

    async def _resume_takeout(self) -> None:
        key = f"telegram.takeout.{self.account.account_id}"
        noted = await self.store(self.archive.recall, key)
        self.line.takeout_id = int(noted) if noted else None
        self.line.on_new_takeout = lambda takeout_id: self._thread.submit(
            self.archive.remember, key, None if takeout_id is None else str(takeout_id)
        ).result()

    def _put_account(self) -> None:
        with self.archive.transaction():
            self.archive.put_account(self.account)

    def _put_chats(self, chosen: list[Found]) -> None:
        with self.archive.transaction():
            for found in chosen:
                self.archive.put_chat(found.chat)

    def _known_hash(self, user_id: int) -> int | None:
        chat = self._known_chat(user_id)
        state = self._thread.submit(self.archive.dialog, chat).result() if chat else None
        return state.access_hash if state else None

    def _known_chat(self, user_id: int) -> Chat | None:
        return self._thread.submit(self.archive.find_chat, SOURCE, self.account.account_id, str(user_id)).result()

    # -- one dialog -------------------------------------------------------------------------------------------------

    async def _visit(self, found: Found, state: DialogState | None) -> DialogReport:
        chat, dialog = found.chat, found.dialog
        if dialog.access_hash is None and chat.kind is not ChatKind.SAVED:
            return await self._report(chat, DialogReport(chat, why="Telegram did not say how to reach this account"))
        started = self.now()
        known = await self.store(self.archive.message_ids, chat) if self.verify else []
        try:
            if state is None or not state.is_walked:
                after = await self.store(self.archive.cursor, chat)
                done = await self._walk(found, 0 if self.verify else after)
            elif self.verify:
                done = await self._walk(found, 0)
            else:
                since = (state.visited_at or started) - EDIT_WINDOW
                first = await self.store(self.archive.first_id_since, chat, since)
                if dialog.top_message == state.top_message and first is None:
                    return await self._report(chat, DialogReport(chat, n_server=state.n_server))
                cursor = await self.store(self.archive.cursor, chat)
                done = await self._refresh(found, cursor if first is None else min(cursor, first - 1))
        except (errors.BadRequestError, errors.ForbiddenError) as error:
            return await self._report(chat, DialogReport(chat, why=refused(error).message))
        n_deleted = await self.store(self._finish, found, state, done, known, started)
        report = DialogReport(
            chat, n_new=done.count.n_new, n_edited=done.count.n_edited, n_deleted=n_deleted, n_server=done.n_server
        )
        return await self._report(chat, report)

    async def _report(self, chat: Chat, report: DialogReport) -> DialogReport:
        n_here = await self.store(self.archive.n_messages, chat)
        gaps = await self.store(self.archive.gaps, chat)
        n_empty = sum(why == EMPTY for _, why in gaps)
        return replace(report, n_here=n_here, n_empty=n_empty, n_unreadable=len(gaps) - n_empty)

    async def _refresh(self, found: Found, after: int) -> _Done:
        """Read what came and changed after message `after`: mostly one page."""
        page = None if found.dialog.ranges else await History(self.line, _peer(found)).newest()
        if page is None or not page.messages or page.lowest_id > after + 1:
            is_whole = page is not None and page.n_server == len(page.messages) + len(page.empty)
            if not is_whole:
                return await self._walk(found, after)
        assert page is not None
        return await self._take(found, _only(page))

    async def _walk(self, found: Found, after: int) -> _Done:
        if not found.dialog.ranges:
            return await self._take(found, History(self.line, _peer(found)).walk(after))
        done = _Done()
        for message_range in found.dialog.ranges:
            part = await self._take(found, History(self.line, _peer(found), message_range).walk(after))
            done = done + part
        return done

    async def _take(self, found: Found, pages: AsyncIterator[Page]) -> _Done:
        """Write pages as they come; what has come is written even where we are told to stop."""
        done, writer = _Done(), _Writer(self, found.chat)
        n_read, n_before = 0, 0 if self.verify else await self.store(self.archive.n_messages, found.chat)
        try:
            async with aclosing(pages) as stream:  # type: ignore[type-var]
                async for page in stream:
                    done.note(page, keeps_ids=self.verify)
                    n_read += len(page.messages) + len(page.empty) + len(page.gaps)
                    n_messages = None if done.n_server is None else max(n_read, done.n_server - n_before)
                    self.on_progress(replace(self._step, n_read=n_read, n_messages=n_messages))
                    if page.messages or page.empty or page.gaps:
                        await writer.put(page)
        finally:
            done.count = await writer.finish()
        return done

    def put_page(self, chat: Chat, page: Page) -> PageCount:
        """Write a page and how far it brings the dialog. Call inside a transaction."""
        count = PageCount()
        self._put_people(page.users)
        if page.messages:
            messages = [(parse_message(message, chat), raw) for message, raw in page.messages]
            count = self.archive.put_messages(chat, messages, raw_format=RAW_FORMAT)
        for message_id in page.empty:
            self.archive.put_gap(chat, message_id, EMPTY)
        for gap in page.gaps:
            self.archive.put_gap(chat, gap.message_id, gap.why, gap.raw)
        self.archive.put_cursor(chat, page.cursor)
        return count

    def _put_people(self, users: list[Any]) -> None:
        for user in users:
            person_id = str(user.id)
            if person_id not in self._people and not user.min:
                self._people.add(person_id)
                self.archive.put_person(
                    Person(
                        SOURCE,
                        self.account.account_id,
                        person_id,
                        full_name(user),
                        user.username or "",
                        user.phone or "",
                    )
                )

    def _finish(self, found: Found, state: DialogState | None, done: _Done, known: list[int], started: datetime) -> int:
        """Note how the dialog stands; return how many messages were found to be gone."""
        chat, n_deleted = found.chat, 0
        with self.archive.transaction():
            if self.verify:
                gone = [message_id for message_id in known if message_id not in done.seen]
                n_deleted = self.archive.mark_deleted(chat, gone, started)
            new = DialogState(found.dialog.access_hash, found.dialog.top_message, done.n_server, True, started)
            has_changed = state is None or replace(state, visited_at=None) != replace(new, visited_at=None)
            is_settled = self.archive.first_id_since(chat, started - EDIT_WINDOW) is None
            if has_changed or done.count.n_new or done.count.n_edited or n_deleted or is_settled:
                self.archive.put_dialog(chat, new)
        return n_deleted


class _Done:
    """What reading a dialog brought."""

    def __init__(self) -> None:
        self.count = PageCount()
        self.n_server: int | None = None
        self.seen: set[int] = set()

    def note(self, page: Page, *, keeps_ids: bool) -> None:
        if page.n_server is not None:
            self.n_server = page.n_server
        if not keeps_ids:
            return
        self.seen.update(message.id for message, _ in page.messages)
        self.seen.update(gap.message_id for gap in page.gaps)

    def __add__(self, other: _Done) -> _Done:
        both = _Done()
        both.count = self.count + other.count
        counts = [n for n in (self.n_server, other.n_server) if n is not None]
        both.n_server = sum(counts) if counts else None
        both.seen = self.seen | other.seen
        return both


class _Writer:
    """Writes one dialog's pages, several in a transaction where they come fast.

    The sync to disk is the slow part: it runs in the archive's thread while the next pages come, and they wait for it.
    """

    def __init__(self, run: _Run, chat: Chat) -> None:
        self._run, self._chat = run, chat
        self._count = PageCount()
        self._waiting: list[Page] = []
        self._transaction: ExitStack | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._synced_at = time.monotonic()

    async def put(self, page: Page) -> None:
        self._waiting.append(page)
        if self._syncing is not None and not self._syncing.done() and len(self._waiting) < PAGES_IN_HAND:
            return
        await self._settle()
        self._write()
        if time.monotonic() - self._synced_at >= self._run.commit_every_s:
            self._sync()

    async def finish(self) -> PageCount:
        await self._settle()
        self._write()
        self._sync()
        await self._settle()
        return self._count

    def _write(self) -> None:
        pages, self._waiting = self._waiting, []
        for page in pages:
            if self._transaction is None:
                self._transaction = ExitStack()
                self._transaction.enter_context(self._run.archive.transaction())
            with ExitStack() as undo:
                undo.push(self._transaction.__exit__)
                self._count += self._run.put_page(self._chat, page)
                undo.pop_all()

    def _sync(self) -> None:
        if self._transaction is not None:
            self._syncing = asyncio.ensure_future(self._run.store(self._transaction.close))
            self._transaction = None

    async def _settle(self) -> None:
        if self._syncing is not None:
            await asyncio.wait([self._syncing])  # which goes on even where we are told to stop
            self._synced_at = time.monotonic()
            syncing, self._syncing = self._syncing, None
            syncing.result()


async def _only(page: Page) -> AsyncIterator[Page]:
    yield page


def _peer(found: Found) -> Any:
    if found.chat.kind is ChatKind.SAVED:
        return t.InputPeerSelf()
    assert found.dialog.access_hash is not None
    return input_user(found.dialog.user_id, found.dialog.access_hash)


def explain(report: LiveReport) -> DataError | None:
    """Return what keeps a collection from being complete, None where nothing does. Names no one."""
    short = [d for d in report.dialogs if not d.is_complete]
    if not short:
        return None
    n_unreadable = sum(d.n_unreadable for d in short)
    parts = [
        f"{n:,} {one if n == 1 else many}"
        for n, one, many in (
            (
                sum(max(0, d.n_missing) for d in short),
                "message that Telegram counts is not here",
                "messages that Telegram counts are not here",
            ),
            (
                sum(max(0, -d.n_missing) for d in short),
                "message here is no longer in Telegram",
                "messages here are no longer in Telegram",
            ),
            (n_unreadable, "message is of an unknown kind", "messages are of an unknown kind"),
            (sum(bool(d.why) for d in short), "dialog could not be read", "dialogs could not be read"),
            (
                sum(d.n_server is None and not d.why for d in short),
                "dialog was not counted by Telegram",
                "dialogs were not counted by Telegram",
            ),
        )
        if n
    ]
    hint = "clone collect --verify reads everything again and marks what was deleted."
    if n_unreadable:
        hint = "Telegram is ahead of this Telethon: pip install --upgrade clone, then clone collect --verify."
    n, n_all = len(short), len(report.dialogs)
    return DataError(f"{n:,} of {n_all:,} dialogs {'differs' if n == 1 else 'differ'}: {'; '.join(parts)}.", hint)
