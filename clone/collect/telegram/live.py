"""The run: all dialogs of an account into the archive.

Comes in: an open archive and a connection that is logged in. Goes out: a report, dialog by dialog, of what is here and
what Telegram counts. Knows nothing of terminals, files or how one logs in.

A page and the cursor that says it was read are one transaction. While a page is written (in a thread of its own), the
next one is already on its way; pages that come in during a write share the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
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
from clone.errors import DataError
from clone.records import Account, Chat, ChatKind, Person

EDIT_WINDOW = timedelta(hours=48)  # how long Telegram lets a message between people be edited
MANY_NEW_DIALOGS = 20  # more of them are worth a takeout
PAGES_IN_HAND = 16
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
    """What a run did. `n_calls` counts requests to Telegram."""

    account: Account
    dialogs: tuple[DialogReport, ...]
    n_calls: int

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


async def list_account(line: Line, scope: Scope, archive: Archive | None = None) -> list[ListedDialog]:
    """Return the dialogs with people, and Saved Messages, each with Telegram's count. Writes nothing."""
    account = await who_am_i(line)
    dialogs = await find_lost_users(line, await list_dialogs(line), lambda user_id: None)
    wanted = {found.dialog.user_id for found in choose(account, dialogs, scope, lambda user_id: None)}
    listed = []
    for found in choose(account, dialogs, Scope(include_saved=True), lambda user_id: None):
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
) -> LiveReport:
    """Bring what is new in the dialogs of `scope` into the archive.

    `verify` reads everything again, takes edits of any age, and marks what Telegram no longer has. Raises LoginError
    where Telegram cannot or will not be asked; what was read until then is in the archive.
    """
    run = _Run(archive, line, verify, now, on_progress)
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
        self, archive: Archive, line: Line, verify: bool, now: Callable[[], datetime], on_progress: OnProgress
    ) -> None:
        self.archive, self.line, self.verify, self.now, self.on_progress = archive, line, verify, now, on_progress
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
        chosen = choose(self.account, dialogs, scope, self._known_chat)
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
        return LiveReport(self.account, tuple(reports), self.line.n_calls)

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
        """Write pages as they come."""
        done, waiting, writing = _Done(), list[Page](), None
        n_read, n_before = 0, 0 if self.verify else await self.store(self.archive.n_messages, found.chat)
        try:
            async with aclosing(pages) as stream:  # type: ignore[type-var]
                async for page in stream:
                    done.note(page)
                    n_read += len(page.messages) + len(page.empty) + len(page.gaps)
                    n_messages = None if done.n_server is None else max(n_read, done.n_server - n_before)
                    self.on_progress(replace(self._step, n_read=n_read, n_messages=n_messages))
                    if not (page.messages or page.empty or page.gaps):
                        continue
                    waiting.append(page)
                    if writing is not None and (writing.done() or len(waiting) >= PAGES_IN_HAND):
                        done.count += await _settled(writing)
                        writing = None
                    if writing is None:
                        batch, waiting = waiting, []
                        writing = asyncio.ensure_future(self.store(self._put_pages, found.chat, batch))
        finally:  # Ctrl-C saves what has come
            if writing is not None:
                done.count += await _settled(writing)
            if waiting:
                done.count += await self.store(self._put_pages, found.chat, waiting)
        return done

    def _put_pages(self, chat: Chat, pages: list[Page]) -> PageCount:
        """Write pages and how far they bring the dialog, all or nothing."""
        count = PageCount()
        with self.archive.transaction():
            for page in pages:
                self._put_people(page.users)
                if page.messages:
                    messages = [(parse_message(message, chat), raw) for message, raw in page.messages]
                    count += self.archive.put_messages(chat, messages, raw_format=RAW_FORMAT)
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

    def note(self, page: Page) -> None:
        if page.n_server is not None:
            self.n_server = page.n_server
        self.seen.update(message.id for message, _ in page.messages)
        self.seen.update(gap.message_id for gap in page.gaps)

    def __add__(self, other: _Done) -> _Done:
        both = _Done()
        both.count = self.count + other.count
        counts = [n for n in (self.n_server, other.n_server) if n is not None]
        both.n_server = sum(counts) if counts else None
        both.seen = self.seen | other.seen
        return both


async def _settled(writing: asyncio.Future[PageCount]) -> PageCount:
    """Wait for a write, which goes on even where we are told to stop."""
    await asyncio.wait([writing])
    return writing.result()


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
    n_missing = sum(max(0, d.n_missing) for d in short)
    n_extra = sum(max(0, -d.n_missing) for d in short)
    n_unreadable = sum(d.n_unreadable for d in short)
    n_refused = sum(bool(d.why) for d in short)
    parts = [
        f"{n:,} {what}"
        for n, what in (
            (n_missing, "messages that Telegram counts are not here"),
            (n_extra, "messages are here that Telegram no longer counts"),
            (n_unreadable, "messages are of a kind that this Telethon does not know"),
            (n_refused, "dialogs could not be read"),
        )
        if n
    ]
    hint = "clone collect --verify reads everything again and marks what was deleted."
    if n_unreadable:
        hint = "A newer Telethon may know them: pip install --upgrade telethon, then clone collect --verify."
    return DataError(f"{len(short)} of {len(report.dialogs)} dialogs differ: {'; '.join(parts) or 'no count'}.", hint)
