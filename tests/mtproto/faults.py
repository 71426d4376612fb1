"""One named fault for each trap. A fault is put on `FakeTelegram.faults`; it acts before a request is answered
(`before`: raise an error, hang up, keep silent) or on the answer (`after`)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from telethon.tl import types as t

from tests.mtproto.server import Call, FakeTelegram, NoAnswer, RpcFault
from tests.mtproto.transport import DropConnection, ForgetKey, Link

UNKNOWN_CONSTRUCTOR = 0xDEADBEEF
HISTORY = "messages.GetHistory"
DIALOGS = "messages.GetDialogs"


class Fault:
    async def before(self, server: FakeTelegram, link: Link, call: Call) -> None:
        return None

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        return result


class OnCall(Fault):
    """Strikes `times` times, from the `at`-th request of this name on ("" is any)."""

    def __init__(self, name: str = HISTORY, at: int = 1, times: int = 1) -> None:
        self.name, self.at, self.times, self.seen = name, at, times, 0

    async def before(self, server: FakeTelegram, link: Link, call: Call) -> None:
        if self.name in ("", call.name):
            self.seen += 1
            if self.at <= self.seen < self.at + self.times:
                await self.strike(server, link, call)

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        raise NotImplementedError


class RpcFailure(OnCall):
    """Answers with an error: FLOOD_WAIT_7, a 500, SESSION_REVOKED, AUTH_KEY_DUPLICATED, TAKEOUT_INIT_DELAY_60."""

    def __init__(self, code: int, text: str, name: str = HISTORY, at: int = 1, times: int = 1) -> None:
        super().__init__(name, at, times)
        self.code, self.text = code, text

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        raise RpcFault(self.code, self.text)


class HangUp(OnCall):
    """Closes the connection instead of answering."""

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        raise DropConnection


class KeyForgotten(OnCall):
    """Answers with transport error -404, now and from then on."""

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        server.forget_keys()
        raise ForgetKey


class NeverAnswers(OnCall):
    """Takes the request and says nothing."""

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        raise NoAnswer


class TakeoutLost(OnCall):
    """Forgets every takeout, so that the next request inside one is TAKEOUT_INVALID."""

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        server.takeouts.clear()


class Slow(OnCall):
    """Takes a while before it answers."""

    def __init__(self, seconds: float, name: str = HISTORY, at: int = 1, times: int = 10**9) -> None:
        super().__init__(name, at, times)
        self.seconds = seconds

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        await asyncio.sleep(self.seconds)


class Does(OnCall):
    """Calls a function, as to kill the client or to change the account in the middle of a run."""

    def __init__(self, action: Callable[[], object], name: str = HISTORY, at: int = 1, times: int = 1) -> None:
        super().__init__(name, at, times)
        self.action = action

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        self.action()


class LastAnswer(Does):
    """Does something at a request, answers it, and keeps silent from then on: nobody gets further."""

    def __init__(self, do: Callable[[], object], name: str = HISTORY, at: int = 1) -> None:
        super().__init__(do, name, at)
        self.times = 1_000_000

    async def strike(self, server: FakeTelegram, link: Link, call: Call) -> None:
        if self.seen > self.at:
            raise NoAnswer
        await super().strike(server, link, call)


class ShortHistoryPages(Fault):
    """Gives at most `size` messages whatever is asked: the ones nearest to the offset."""

    def __init__(self, size: int) -> None:
        self.size = size

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name == HISTORY and len(result.messages) > self.size:
            n_all = result.count if isinstance(result, t.messages.MessagesSlice) else len(result.messages)
            messages = result.messages[-self.size :] if call.request.add_offset < 0 else result.messages[: self.size]
            return t.messages.MessagesSlice(n_all, messages, [], [], result.users)
        return result


class ShortDialogPages(Fault):
    """Gives at most `size` dialogs whatever is asked."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def before(self, server: FakeTelegram, link: Link, call: Call) -> None:
        if call.name == DIALOGS:
            call.request.limit = min(call.request.limit, self.size)


class EmptyMessages(Fault):
    """Gives a MessageEmpty in the place of some messages."""

    def __init__(self, message_ids: set[int]) -> None:
        self.message_ids = message_ids

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name == HISTORY:
            result.messages = [
                t.MessageEmpty(m.id, peer_id=m.peer_id) if m.id in self.message_ids else m for m in result.messages
            ]
        return result


class _Unknown:
    def __init__(self, inside: Any = None) -> None:
        self.id = getattr(inside, "id", 0)

    def _bytes(self) -> bytes:
        return struct.pack("<4I", UNKNOWN_CONSTRUCTOR, self.id, UNKNOWN_CONSTRUCTOR, UNKNOWN_CONSTRUCTOR)

    __bytes__ = _bytes


class UnknownMedia(Fault):
    """Gives some messages a media that no library knows yet, in histories or in what `names` says."""

    def __init__(self, message_ids: set[int], names: tuple[str, ...] = (HISTORY,)) -> None:
        self.message_ids, self.names = message_ids, names

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name in self.names:
            result.messages = [self._spoil(m) if m.id in self.message_ids else m for m in result.messages]
        return result

    def _spoil(self, m: Any) -> Any:
        return t.Message(id=m.id, peer_id=m.peer_id, date=m.date, message=m.message, out=m.out, media=_Unknown())


class UnknownMessages(Fault):
    """Gives some messages as a constructor that no library knows yet."""

    def __init__(self, message_ids: set[int]) -> None:
        self.message_ids = message_ids

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name == HISTORY:
            result.messages = [_Unknown(m) if m.id in self.message_ids else m for m in result.messages]
        return result


class UnknownUsers(Fault):
    """Gives, after the messages, a user that no library knows yet."""

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name == HISTORY:
            result.users = [_Unknown(user) for user in result.users]
        return result


class DialogWithoutUser(Fault):
    """Leaves a dialog's User out of the first `times` answers."""

    def __init__(self, user_id: int, times: int = 10**9) -> None:
        self.user_id, self.times = user_id, times

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name == DIALOGS and self.times and any(u.id == self.user_id for u in result.users):
            self.times -= 1
            result.users = [u for u in result.users if u.id != self.user_id]
        return result


class WrongCount(Fault):
    """Counts more messages than there are."""

    def __init__(self, user_id: int, more: int) -> None:
        self.user_id, self.more = user_id, more

    def after(self, server: FakeTelegram, call: Call, result: Any) -> Any:
        if call.name == HISTORY and getattr(call.request.peer, "user_id", None) == self.user_id:
            count = getattr(result, "count", len(result.messages)) + self.more
            return t.messages.MessagesSlice(count, result.messages, [], [], result.users)
        return result
