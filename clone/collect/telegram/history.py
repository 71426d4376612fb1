"""One dialog's messages, ascending, none passed over unsaid.

Comes in: a connection and the id up to which a dialog was read. Goes out: pages, each with the messages that follow,
what was empty, what could not be read, and how many messages Telegram counts in the dialog. Knows nothing of archives.

Ascending, because a kill then always leaves a whole prefix. A page may be shorter than asked and yet not the last, so
only an empty one ends the walk. A message of an unknown kind spoils its whole page: smaller pages close in on it, it is
noted, and the walk steps over it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from telethon.tl import functions as f
from telethon.tl import types as t

from clone.collect.telegram.connection import Line
from clone.collect.telegram.reading import (
    Answer,
    BriefMessage,
    Message,
    MessageService,
    cut_off_lists,
    peek_newest_id,
    read_answer,
)

_MESSAGES = (BriefMessage, Message, MessageService, t.MessageEmpty)
PAGE_SIZE = 100  # the most that Telegram gives at once


@dataclass(frozen=True, slots=True)
class Gap:
    """A message that was seen and cannot be had. `raw` is what Telegram sent of it."""

    message_id: int
    why: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Page:
    """What follows the cursor: `messages` ascending, each with its bytes. `cursor` says how far the dialog is read."""

    messages: list[tuple[Any, bytes]]
    empty: list[int]
    gaps: list[Gap]
    n_server: int | None  # messages in the whole dialog, as Telegram counts
    cursor: int
    users: list[Any] = field(default_factory=list)
    is_last: bool = False

    @property
    def lowest_id(self) -> int:
        return min([m.id for m, _ in self.messages] + self.empty + [g.message_id for g in self.gaps], default=0)


class History:
    """The messages of one dialog. `message_range` serves dialogs that only a takeout's split ranges show."""

    def __init__(self, line: Line, peer: Any, message_range: Any = None) -> None:
        self._line, self._peer, self._range = line, peer, message_range

    async def walk(self, after: int) -> AsyncIterator[Page]:
        """Yield pages of everything after message `after`, until Telegram has no more."""
        cursor = after
        asked = asyncio.ensure_future(self._fetch(cursor))
        try:
            while True:
                data = await asked
                ahead = peek_newest_id(data) or 0
                if ahead > cursor:  # the next page is on its way before this one is read and written
                    asked = asyncio.ensure_future(self._fetch(ahead))
                    await self._line.let_go()
                page = self._page(read_answer(data), cursor)
                if page is None:
                    asked.cancel()
                    page = await self._close_in(cursor)
                is_last = page.is_last or page.cursor == cursor
                cursor = page.cursor
                if not is_last and ahead != cursor:
                    asked.cancel()
                    asked = asyncio.ensure_future(self._fetch(cursor))
                yield page
                if is_last:
                    return
        finally:
            if not asked.cancel() and not asked.cancelled():
                asked.exception()  # looked at, so that asyncio does not complain of it

    async def newest(self) -> Page | None:
        """Return the newest page, None where something in it is of an unknown kind."""
        answer = await self._read(offset_id=0, add_offset=0, limit=PAGE_SIZE)
        return self._page(answer, 0)

    async def recent(self, n_messages: int) -> list[Any]:
        """Return the newest messages, oldest first; at most a page, and none past one of an unknown kind."""
        answer = await self._read(offset_id=0, add_offset=0, limit=min(n_messages, PAGE_SIZE))
        return [part for part, _ in reversed(answer.parts) if isinstance(part, (BriefMessage, Message, MessageService))]

    async def count(self) -> int | None:
        """Return how many messages Telegram counts in the dialog, None where it does not say."""
        answer = await self._read(offset_id=0, add_offset=0, limit=1)
        return _count(answer)

    async def _ask(self, after: int, limit: int) -> Answer:
        return read_answer(await self._fetch(after, limit))

    async def _fetch(self, after: int, limit: int = PAGE_SIZE) -> bytes:
        return await self._get(offset_id=after + 1, add_offset=-limit, limit=limit)

    async def _read(self, offset_id: int, add_offset: int, limit: int) -> Answer:
        return read_answer(await self._get(offset_id, add_offset, limit))

    async def _get(self, offset_id: int, add_offset: int, limit: int) -> bytes:
        request = f.messages.GetHistoryRequest(
            self._peer,
            offset_id=offset_id,
            offset_date=None,
            add_offset=add_offset,
            limit=limit,
            max_id=0,
            min_id=0,
            hash=0,
        )
        return await self._line.fetch(request, message_range=self._range)

    def _page(self, answer: Answer, after: int) -> Page | None:
        """Return what an answer tells, None where a message in it is of an unknown kind."""
        if answer.unknown is not None and answer.unknown.list_index <= 0:  # the first list holds the messages
            return None
        found: list[tuple[int, Any, bytes]] = []
        empty, users = [], []
        for part, raw in answer.parts:
            kind = type(part)
            if kind is BriefMessage or kind is Message or kind is MessageService:
                if part.id > after:
                    found.append((part.id, part, raw))
            elif kind is t.MessageEmpty:
                if part.id > after:
                    empty.append(part.id)
            elif kind is t.User:
                users.append(part)
        found.sort(key=itemgetter(0))
        cursor = max([after, *empty, *(row[0] for row in found[-1:])])
        return Page([row[1:] for row in found], sorted(empty), [], _count(answer), cursor, users)

    async def _close_in(self, after: int) -> Page:
        """Return a smaller page after `after` that can be read, or one that holds nothing but the gap."""
        limit = PAGE_SIZE
        while limit > 1:
            limit //= 4 if limit > 4 else limit
            page = self._page(await self._ask(after, max(1, limit)), after)
            if page is not None:
                return page
        return await self._step_over(after)

    async def _step_over(self, after: int) -> Page:
        """Return the run of unreadable messages right after `after` as gaps."""
        gaps: list[Gap] = []
        last, rest = after, b""
        for k in range(1, 10_000):
            answer = await self._read(offset_id=after + 1, add_offset=-k, limit=1)  # the k-th after `after`, alone
            page = self._page(answer, last)
            if page is not None:  # readable again, or there is nothing further
                if page.cursor > last:
                    return Page([], [], gaps, None, page.lowest_id - 1)
                break
            assert answer.unknown is not None
            known, raw = answer.unknown.message_id, cut_off_lists(answer.unknown.rest)
            if raw == rest or (known is not None and known <= last):
                break  # the same one again: there is nothing further
            rest = raw
            last = known or last + 1  # an unknown kind does not tell its id: the lowest that it can have stands for it
            gaps.append(Gap(last, answer.unknown.why, rest))
        return Page([], [], gaps, None, max([after, *(gap.message_id for gap in gaps)]), is_last=True)


def _count(answer: Answer) -> int | None:
    """Return the size of the dialog that an answer tells. An answer without a count holds all of it, or nothing."""
    kind = answer.head[0] if answer.head else None
    if kind == t.messages.MessagesSlice.CONSTRUCTOR_ID:
        return answer.head[2]  # after the flags
    if kind == t.messages.Messages.CONSTRUCTOR_ID:
        return sum(isinstance(part, _MESSAGES) for part, _ in answer.parts) or None
    return None
