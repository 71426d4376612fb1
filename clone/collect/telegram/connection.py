"""One connection to Telegram: what may be asked, how long we wait, and what stops us.

Comes in: requests. Goes out: their answers, or an error that says what to do. Short pauses that Telegram asks for,
failures of its servers and lost connections are sat out here; everything else is told. Knows nothing of dialogs,
archives or terminals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from telethon import TelegramClient, errors
from telethon.extensions import BinaryReader
from telethon.network import (
    ConnectionTcpFull,
    ConnectionTcpMTProxyRandomizedIntermediate,
)
from telethon.sessions import StringSession
from telethon.tl import functions as f
from telethon.tl import types as t

from clone import __version__
from clone.collect.telegram.reading import Answer, read_answer
from clone.errors import LoginError, MissingExtra, SourceError

OnWait = Callable[[str, int], None]  # why, seconds left (0: it is over)

# Everything that this project ever asks of Telegram. Nothing here sends, marks as read, types or goes online.
ALLOWED = frozenset(
    {
        f.help.GetConfigRequest,
        f.auth.SendCodeRequest,
        f.auth.SignInRequest,
        f.auth.CheckPasswordRequest,
        f.auth.ExportLoginTokenRequest,
        f.auth.ImportLoginTokenRequest,
        f.account.GetPasswordRequest,
        f.users.GetUsersRequest,
        f.updates.GetStateRequest,
        f.updates.GetDifferenceRequest,
        f.contacts.GetContactsRequest,
        f.account.InitTakeoutSessionRequest,
        f.account.FinishTakeoutSessionRequest,
        f.messages.GetSplitRangesRequest,
        f.messages.GetDialogsRequest,
        f.messages.GetPinnedDialogsRequest,
        f.messages.GetPeerDialogsRequest,
        f.messages.GetHistoryRequest,
    }
)
DRAFTING = ALLOWED | {f.messages.SaveDraftRequest}  # for `clone suggest` alone

_SILENT = logging.getLogger("clone.collect.telegram.telethon")  # Telethon logs bytes of what it cannot read
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL + 1)
_SILENT.addHandler(logging.NullHandler())

_FLOODS = (errors.FloodWaitError, errors.FloodPremiumWaitError)
_PASSING = (
    errors.ServerError,
    errors.TimedOutError,
    errors.RpcCallFailError,
    errors.RpcMcgetFailError,
    errors.InterdcCallErrorError,
    errors.InterdcCallRichErrorError,
    OSError,
    asyncio.IncompleteReadError,
)
_SIGNED_OUT = (errors.UnauthorizedError, errors.AuthKeyError, errors.AuthKeyNotFound)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait, and for what."""

    max_pause_s: int = 300  # a longer pause that Telegram asks for ends the run
    pace_s: float = 1.0  # between two requests outside a takeout, in the long run
    burst: int = 5  # requests that may come at once
    answer_timeout_s: float = 60.0
    retries: int = 8  # of one request, over failures of servers and connections
    first_delay_s: float = 1.0  # doubled from try to try
    max_delay_s: float = 60.0


PATIENT = Patience()
_TURNS_OF_SENDING = 5  # the task that asks, Telethon's queue, its encryption, its socket


@dataclass(frozen=True, slots=True)
class Application:
    """What my.telegram.org gives to an application."""

    api_id: int
    api_hash: str


class ComeBackLater(LoginError):
    """Telegram asks for a pause that is too long to sit out. `until` is aware and in UTC."""

    def __init__(self, message: str, hint: str, until: datetime) -> None:
        super().__init__(message, hint)
        self.until = until


class TakeoutDelayed(LoginError):
    """Telegram wants the person to confirm the export on the phone, or to wait."""


def come_back(until: datetime) -> ComeBackLater:
    """Return the error that says when to come back, in the local time of this machine."""
    return ComeBackLater(
        f"Telegram asks for a pause until {local_time(until)}.",
        "Run the same command after that; what was collected is saved. Until then nothing is asked of Telegram.",
        until,
    )


def local_time(when: datetime) -> str:
    """Return a moment as a person here would write it."""
    return when.astimezone().strftime("%A %d %B, %H:%M")


class _Client(TelegramClient):  # type: ignore[misc]
    """Telethon's client, which refuses to ask for anything but what is allowed."""

    allowed = ALLOWED

    async def _call(self, sender: Any, request: Any, ordered: bool = False, flood_sleep_threshold: Any = None) -> Any:
        for one in request if isinstance(request, list | tuple) else [request]:
            check_allowed(one, self.allowed)
        return await super()._call(sender, request, ordered, flood_sleep_threshold)

    def forget_pauses(self) -> None:
        self._flood_waited_requests.clear()


def check_allowed(request: Any, allowed: frozenset[type]) -> None:
    """Raise AssertionError for a request that this project never makes: a mistake of ours, caught before it is sent."""
    while hasattr(request, "query"):
        request = request.query
    if type(request) not in allowed:
        raise AssertionError(f"{type(request).__name__} is not on the list of what may be asked")


class _Reading(f.InvokeWithoutUpdatesRequest):  # type: ignore[misc]
    """A request without updates in return, whose answer is taken as it comes, unread."""

    @staticmethod
    def read_result(reader: BinaryReader) -> bytes:
        data: bytes = reader.read()
        return data


class Line:
    """A connection that was logged in before, or will be (see login.py)."""

    def __init__(
        self,
        session: str,
        application: Application,
        *,
        patience: Patience = PATIENT,
        proxy: str | None = None,
        on_wait: OnWait = lambda why, seconds: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        allowed: frozenset[type] = ALLOWED,
        is_watching: bool = False,
    ) -> None:
        """`session` is a StringSession, "" for a new one. Raises LoginError where it is none."""
        try:
            stored = StringSession(session)
        except Exception as error:
            raise LoginError(
                "the Telegram session is not a StringSession.", "clone collect --login makes a new one."
            ) from error
        stored.save_entities = False
        kind, proxy_settings = parse_proxy(proxy)
        self.client = _Client(
            stored,
            application.api_id,
            application.api_hash,
            connection=kind,
            proxy=proxy_settings,
            receive_updates=is_watching,
            request_retries=1,
            connection_retries=3,
            retry_delay=min(1, patience.first_delay_s),
            flood_sleep_threshold=0,
            raise_last_call_error=True,
            base_logger=_SILENT,
            device_model="clone",
            app_version=__version__,
        )
        self.client.allowed = allowed
        self.takeout_id: int | None = None
        self.on_new_takeout: Callable[[int | None], None] = lambda takeout_id: None
        self.n_calls = 0
        self._patience, self._on_wait, self._sleep, self._allowed = patience, on_wait, sleep, allowed
        self._next_at = time.monotonic() - patience.burst * patience.pace_s

    @property
    def session(self) -> str:
        return str(self.client.session.save())

    async def open(self) -> None:
        """Connect. Raises LoginError where Telegram cannot be reached or does not know the key."""
        for attempt in range(self._patience.retries + 1):
            try:
                async with asyncio.timeout(self._patience.answer_timeout_s):
                    await self.client.connect()
                return
            except _SIGNED_OUT as error:
                raise signed_out(error) from None
            except _PASSING as error:
                if attempt == self._patience.retries:
                    raise unreachable(error) from None
            await self._close_quietly()
            await self._wait_before_retry(attempt)

    async def close(self) -> None:
        await self._close_quietly()

    async def _close_quietly(self) -> None:
        with contextlib.suppress(*_PASSING, errors.AuthKeyNotFound):
            async with asyncio.timeout(10):
                await asyncio.shield(self.client.disconnect())

    async def ask(self, request: Any, *, message_range: Any = None, outside_takeout: bool = False) -> Any:
        """Return the answer to a request. Raises LoginError, ComeBackLater, or Telethon's RPCError for a refusal."""
        return (await self.read(request, message_range=message_range, outside_takeout=outside_takeout)).whole

    async def read(self, request: Any, *, message_range: Any = None, outside_takeout: bool = False) -> Answer:
        """Return the answer to a request together with its bytes. Raises as `ask` does."""
        return read_answer(await self.fetch(request, message_range=message_range, outside_takeout=outside_takeout))

    async def fetch(self, request: Any, *, message_range: Any = None, outside_takeout: bool = False) -> bytes:
        """Return the bytes of the answer to a request. Raises as `ask` does."""
        check_allowed(request, self._allowed)
        failures = 0
        while True:
            await self._keep_pace()
            self.n_calls += 1
            try:
                return await self._send(request, message_range, outside_takeout)
            except _FLOODS as flood:
                await self._sit_out(flood.seconds)
            except errors.TakeoutInvalidError:
                if self.takeout_id is None:
                    raise
                await self.start_takeout()
            except errors.SessionPasswordNeededError:
                raise
            except _SIGNED_OUT as error:
                raise signed_out(error) from None
            except (errors.InvalidBufferError, *_PASSING) as error:
                failures += 1
                if failures > self._patience.retries:
                    raise unreachable(error) from None
                await self._wait_before_retry(failures - 1)
                if isinstance(error, TimeoutError) or not self.client.is_connected():
                    await self._close_quietly()
                    await self.open()

    async def _send(self, request: Any, message_range: Any, outside_takeout: bool) -> bytes:
        if message_range is not None:
            request = f.InvokeWithMessagesRangeRequest(message_range, request)
        if self.takeout_id is not None and not outside_takeout:
            request = f.InvokeWithTakeoutRequest(self.takeout_id, request)
        future = self.client._sender.send(_Reading(request))
        async with asyncio.timeout(self._patience.answer_timeout_s):  # wait_for can lose a Ctrl-C that comes just now
            try:
                answer: bytes = await future
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                raise ConnectionError("the connection was lost") from None  # Telethon cancels what it was asked
        return answer

    async def let_go(self) -> None:
        """Let what was just asked leave the house, before the caller keeps the event loop busy."""
        for _ in range(_TURNS_OF_SENDING):
            await asyncio.sleep(0)

    async def _keep_pace(self) -> None:
        if self.takeout_id is not None or not self._patience.pace_s:
            return
        now = time.monotonic()
        credit = self._patience.burst * self._patience.pace_s
        due = max(self._next_at, now - credit)
        wait, self._next_at = due - now, due + self._patience.pace_s
        if wait > 0:
            await self._sleep(wait)

    async def _sit_out(self, seconds: int) -> None:
        if seconds > self._patience.max_pause_s:
            raise come_back(datetime.now(UTC) + timedelta(seconds=seconds))
        for left in range(max(1, seconds), 0, -1):
            self._on_wait("Telegram asks for a pause", left)
            await self._sleep(1)
        self._on_wait("Telegram asks for a pause", 0)
        self.client.forget_pauses()

    async def _wait_before_retry(self, attempt: int) -> None:
        delay = min(self._patience.first_delay_s * 2**attempt, self._patience.max_delay_s)
        self._on_wait("no answer from Telegram, trying again", max(1, round(delay)))
        await self._sleep(delay)
        self._on_wait("no answer from Telegram, trying again", 0)

    # -- takeout ----------------------------------------------------------------------------------------------------

    async def start_takeout(self) -> None:
        """Open a takeout for chats with people alone, the mode that Telegram has for exports.

        Raises TakeoutDelayed where Telegram wants the person to confirm it first.
        """
        self.takeout_id = None
        self.on_new_takeout(None)
        try:
            takeout = await self.ask(f.account.InitTakeoutSessionRequest(message_users=True), outside_takeout=True)
        except errors.TakeoutInitDelayError as delay:
            until = datetime.now(UTC) + timedelta(seconds=delay.seconds)
            raise TakeoutDelayed(
                f"Telegram wants the export confirmed: without that it may start at {local_time(until)}.",
                "Confirm the message about a data export that Telegram sent to your phone and run this again at once, "
                "or use --no-takeout to collect slowly without one.",
            ) from None
        self.takeout_id = int(takeout.id)
        self.on_new_takeout(self.takeout_id)

    async def finish_takeout(self) -> None:
        """Tell Telegram that everything was exported."""
        with contextlib.suppress(errors.RPCError):  # it may have ended by itself; nothing of ours depends on it
            await self.ask(f.account.FinishTakeoutSessionRequest(success=True))
        self.takeout_id = None
        self.on_new_takeout(None)


def signed_out(error: BaseException) -> LoginError:
    """Return the explanation of a session that is over."""
    hint = "clone collect --login logs in again. What was collected is kept."
    if isinstance(error, errors.AuthKeyDuplicatedError):
        return LoginError(
            "Telegram ended this session: it was used from two places at once (AUTH_KEY_DUPLICATED).",
            hint + " Do not copy a session to a second machine.",
        )
    if isinstance(error, errors.AuthKeyNotFound):
        return LoginError("Telegram no longer knows the key of this session.", hint)
    if isinstance(error, errors.UserDeactivatedBanError | errors.UserDeactivatedError):
        return LoginError("Telegram says that this account is deactivated.", "Ask Telegram: recover@telegram.org")
    if isinstance(error, errors.SessionRevokedError):
        return LoginError("this session was ended in Telegram's settings (SESSION_REVOKED).", hint)
    return LoginError(f"Telegram does not accept this session ({name_of(error)}).", hint)


def unreachable(error: BaseException) -> LoginError:
    """Return the explanation of a Telegram that does not answer."""
    return LoginError(
        f"Telegram cannot be reached ({type(error).__name__}).",
        "Check the network, or set --proxy, and run the same command again; it goes on where it stopped.",
    )


def refused(error: errors.RPCError) -> SourceError:
    """Return the explanation of an error that we have no better words for."""
    return SourceError(
        f"Telegram refused a request ({error.code} {name_of(error)}).",
        "Run the same command again; it goes on where it stopped.",
    )


def name_of(error: BaseException) -> str:
    """Return the name that Telegram gives an error, as PEER_ID_INVALID."""
    if type(error) in (errors.RPCError, *errors.RPCError.__subclasses__()):  # one that Telethon has no class for
        return re.sub(r"[^A-Z0-9_]", "", str(getattr(error, "message", ""))) or "?"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).upper()


def parse_proxy(url: str | None) -> tuple[type, Any]:
    """Return Telethon's connection class and proxy settings for a proxy's address.

    socks5://[user:password@]host:port, http://[user:password@]host:port, mtproxy://secret@host:port, or a
    tg://proxy?server=…&port=…&secret=… link. Raises LoginError for anything else.
    """
    if not url:
        return ConnectionTcpFull, None
    shown = re.sub(r"(//)[^@/]*@", r"\1…@", url) if "secret=" not in url else url.split("?")[0]
    wrong = LoginError(
        f"{shown} is not a proxy.",
        "socks5://user:password@host:port, http://host:port, mtproxy://secret@host:port, or a tg://proxy link",
    )
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    try:
        if query.get("secret"):
            return ConnectionTcpMTProxyRandomizedIntermediate, (
                query["server"][0],
                int(query["port"][0]),
                query["secret"][0],
            )
        host, port = parts.hostname, parts.port
        user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    except (KeyError, ValueError):
        raise wrong from None
    if not host or not port:
        raise wrong
    if parts.scheme in ("mtproxy", "mtproto"):
        if not user or not re.fullmatch(r"[0-9A-Fa-f]{32,}|[A-Za-z0-9_+/=-]{22,}", user):
            raise wrong
        return ConnectionTcpMTProxyRandomizedIntermediate, (host, port, user)
    if parts.scheme in ("socks5", "socks5h", "socks4", "http"):
        try:
            import python_socks  # noqa: F401  Telethon uses it, and warns and goes without a proxy where it is missing
        except ImportError:
            raise MissingExtra("python-socks", "telegram") from None
        settings = {"proxy_type": parts.scheme.removesuffix("h"), "addr": host, "port": port, "rdns": True}
        if user:
            settings |= {"username": user, "password": password}
        return ConnectionTcpFull, settings
    raise wrong


def input_user(user_id: int, access_hash: int) -> Any:
    return t.InputPeerUser(user_id, access_hash)
