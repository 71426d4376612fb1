"""The requests that the test server answers: login, dialogs, history, takeout, drafts.

`FakeTelegram` holds accounts, keys and faults; `serve()` runs one in a thread of its own and points Telethon at it.
Everything that a client asks is kept in `calls`, so that tests can say what was asked and what never was.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import telethon.client.telegrambaseclient as telethon_base
from telethon.crypto import rsa as telethon_rsa
from telethon.password import compute_hash
from telethon.tl import functions as f
from telethon.tl import types as t
from telethon.tl.core import GzipPacked

from tests.mtproto.account import Account, make_dialog
from tests.mtproto.key import DH_GENERATOR, DH_PRIME, PUBLIC_KEY
from tests.mtproto.transport import (
    FINGERPRINT,
    DropConnection,
    ForgetKey,
    Link,
    key_id_of,
    pad256,
    random_int,
    sha256,
)

PAGE = 100  # the most that Telegram gives at once
PASSWORD_ALGORITHM = t.PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow(
    b"s1" * 8, b"s2" * 8, DH_GENERATOR, pad256(DH_PRIME)
)
WRAPPERS = (
    f.InvokeWithLayerRequest,
    f.InitConnectionRequest,
    f.InvokeWithoutUpdatesRequest,
    f.InvokeWithTakeoutRequest,
    f.InvokeAfterMsgRequest,
    f.InvokeWithMessagesRangeRequest,
)
CONFIG_NUMBERS = (
    "forwarded_count_max",
    "online_update_period_ms",
    "offline_blur_timeout_ms",
    "offline_idle_timeout_ms",
    "online_cloud_timeout_ms",
    "notify_cloud_delay_ms",
    "notify_default_delay_ms",
    "push_chat_period_ms",
    "push_chat_limit",
    "edit_time_limit",
    "revoke_time_limit",
    "revoke_pm_time_limit",
    "rating_e_decay",
    "stickers_recent_limit",
    "channels_read_media_period",
    "call_receive_timeout_ms",
    "call_ring_timeout_ms",
    "call_connect_timeout_ms",
    "call_packet_timeout_ms",
    "caption_length_max",
    "message_length_max",
    "webfile_dc_id",
    "chat_size_max",
    "megagroup_size_max",
)
BEFORE_LOGIN = ("auth.", "help.", "account.GetPassword")


class RpcFault(Exception):
    """An error that Telegram answers with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Vector:
    """A bare Vector<T>, which some requests are answered with."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __bytes__(self) -> bytes:
        return struct.pack("<Ii", 0x1CB5C415, len(self.items)) + b"".join(bytes(item) for item in self.items)


class Call:
    """One request as it came in."""

    def __init__(self, name: str, request: Any, takeout_id: int | None, message_range: Any) -> None:
        self.name, self.request, self.takeout_id, self.range = name, request, takeout_id, message_range

    def __repr__(self) -> str:
        return self.name


class FakeTelegram:
    def __init__(self, *accounts: Account) -> None:
        self.accounts = {account.phone: account for account in accounts}
        self.keys: dict[bytes, bytes] = {}  # key id -> authorization key
        self.signed_in: dict[bytes, Account] = {}  # key id -> account
        self.takeouts: dict[int, Account] = {}
        self.finished_takeouts: list[tuple[int, bool]] = []
        self.calls: list[Call] = []
        self.counts: Counter[str] = Counter()
        self.faults: list[Any] = []  # see faults.py
        self.bugs: list[Exception] = []  # of this server; every test looks
        self.code = "12345"
        self.split_at: list[tuple[int, int]] = [(1, 2**31 - 1)]
        self.qr_tokens: dict[bytes, Link] = {}
        self._waiting_for_password: dict[bytes, Account] = {}
        self._srp: dict[bytes, tuple[int, int]] = {}
        self._scanned: dict[bytes, Account] = {}
        self.n_connections = 0

    # -- running ----------------------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        self.loop = asyncio.get_running_loop()
        self._links: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._on_client, "127.0.0.1", port)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _on_client(self, reader: Any, writer: Any) -> None:
        self.n_connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await Link(reader, writer, self.keys, self._answer).serve()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._links.discard(task)

    def session_for(self, account: Account) -> str:
        """Return the StringSession of a client that has logged in before."""
        key = os.urandom(256)
        self.keys[key_id_of(key)] = key
        self.signed_in[key_id_of(key)] = account
        packed = struct.pack(">B4sH256s", 2, ipaddress.ip_address(self.host).packed, self.port, key)
        return "1" + base64.urlsafe_b64encode(packed).decode("ascii")

    def forget_keys(self) -> None:
        self.keys.clear()

    def n(self, name: str) -> int:
        """Return how often `name` was asked, as messages.GetHistory."""
        return self.counts[name]

    def forget_calls(self) -> None:
        self.calls.clear()
        self.counts.clear()

    # -- answering --------------------------------------------------------------------------------------------------

    async def _answer(self, link: Link, message_id: int, request: Any) -> bytes | None:
        if isinstance(request, f.PingRequest | f.PingDelayDisconnectRequest):
            return bytes(t.Pong(message_id, request.ping_id))
        if isinstance(request, f.GetFutureSaltsRequest):
            return struct.pack("<Iqiii", 0xAE500895, message_id, int(datetime.now(UTC).timestamp()), 0, 0)[:20]
        takeout_id = message_range = None
        while isinstance(request, WRAPPERS):
            takeout_id = getattr(request, "takeout_id", takeout_id)
            message_range = getattr(request, "range", message_range)
            request = request.query
        name = type(request).__module__.split(".")[-1] + "." + type(request).__name__.removesuffix("Request")
        self.counts[name] += 1
        call = Call(name, request, takeout_id, message_range)
        self.calls.append(call)
        account = self.signed_in.get(link.key_id)
        try:
            for trap in list(self.faults):
                await trap.before(self, link, call)
            if account is None and not name.startswith(BEFORE_LOGIN):
                raise RpcFault(401, "AUTH_KEY_UNREGISTERED")
            if takeout_id is not None and self.takeouts.get(takeout_id) is not account:
                raise RpcFault(400, "TAKEOUT_INVALID")
            handler = getattr(self, "on_" + name.replace(".", "_"), None)
            if handler is None:
                raise NotImplementedError(name)
            result = handler(account, call, link)
            for trap in list(self.faults):
                result = trap.after(self, call, result)
            body = (
                struct.pack("<I", 0x997275B5 if result else 0xBC799737) if isinstance(result, bool) else bytes(result)
            )
            if len(body) > 512:
                body = bytes(GzipPacked(body))
        except RpcFault as fault:
            body = bytes(t.RpcError(fault.code, fault.text))
        except NoAnswer:
            return None
        except (DropConnection, ForgetKey):
            raise
        except Exception as bug:
            self.bugs.append(bug)
            body = bytes(t.RpcError(400, "BUG_OF_THE_TEST_SERVER"))
        return struct.pack("<Iq", 0xF35C6D01, message_id) + body

    # -- login ------------------------------------------------------------------------------------------------------

    def on_help_GetConfig(self, account: Account, call: Call, link: Link) -> Any:
        zeros = dict.fromkeys(CONFIG_NUMBERS, 0)
        now = datetime.now(UTC)
        return t.Config(
            date=now,
            expires=now,
            test_mode=False,
            this_dc=2,
            dc_options=[t.DcOption(2, self.host, self.port)],
            dc_txt_domain_name="",
            me_url_prefix="",
            **zeros,
        )

    def on_auth_SendCode(self, account: Account, call: Call, link: Link) -> Any:
        if call.request.phone_number.strip("+") not in self.accounts:
            raise RpcFault(400, "PHONE_NUMBER_INVALID")
        return t.auth.SentCode(t.auth.SentCodeTypeApp(5), "hash")

    def on_auth_SignIn(self, account: Account, call: Call, link: Link) -> Any:
        if call.request.phone_code != self.code:
            raise RpcFault(400, "PHONE_CODE_INVALID")
        return self._sign_in(self.accounts[call.request.phone_number.strip("+")], link)

    def _sign_in(self, account: Account, link: Link) -> Any:
        if account.password:
            self._waiting_for_password[link.key_id] = account
            raise RpcFault(401, "SESSION_PASSWORD_NEEDED")
        self.signed_in[link.key_id] = account
        return t.auth.Authorization(account.me)

    def on_auth_LogOut(self, account: Account, call: Call, link: Link) -> Any:
        self.signed_in.pop(link.key_id, None)
        return t.auth.LoggedOut()

    def _verifier(self, password: str) -> int:
        return pow(DH_GENERATOR, int.from_bytes(compute_hash(PASSWORD_ALGORITHM, password), "big"), DH_PRIME)

    def on_account_GetPassword(self, account: Account, call: Call, link: Link) -> Any:
        waiting = self._waiting_for_password[link.key_id]
        assert waiting.password
        k = int.from_bytes(sha256(pad256(DH_PRIME) + pad256(DH_GENERATOR)), "big")
        secret = int.from_bytes(os.urandom(256), "big")
        public = (k * self._verifier(waiting.password) + pow(DH_GENERATOR, secret, DH_PRIME)) % DH_PRIME
        self._srp[link.key_id] = secret, public
        return t.account.Password(
            new_algo=PASSWORD_ALGORITHM,
            new_secure_algo=t.SecurePasswordKdfAlgoUnknown(),
            secure_random=b"x" * 32,
            has_password=True,
            current_algo=PASSWORD_ALGORITHM,
            srp_B=pad256(public),
            srp_id=7,
            hint="the usual",
        )

    def on_auth_CheckPassword(self, account: Account, call: Call, link: Link) -> Any:
        """Check the proof of SRP, https://core.telegram.org/api/srp."""
        waiting = self._waiting_for_password[link.key_id]
        assert waiting.password
        secret, public = self._srp[link.key_id]
        theirs = int.from_bytes(call.request.password.A, "big")
        u = int.from_bytes(sha256(pad256(theirs) + pad256(public)), "big")
        shared = pow(theirs * pow(self._verifier(waiting.password), u, DH_PRIME), secret, DH_PRIME)
        mixed = bytes(a ^ b for a, b in zip(sha256(pad256(DH_PRIME)), sha256(pad256(DH_GENERATOR)), strict=True))
        salts = sha256(PASSWORD_ALGORITHM.salt1) + sha256(PASSWORD_ALGORITHM.salt2)
        proof = sha256(mixed + salts + pad256(theirs) + pad256(public) + sha256(pad256(shared)))
        if proof != call.request.password.M1:
            raise RpcFault(400, "PASSWORD_HASH_INVALID")
        self.signed_in[link.key_id] = waiting
        return t.auth.Authorization(waiting.me)

    def on_auth_ExportLoginToken(self, account: Account, call: Call, link: Link) -> Any:
        scanned = self._scanned.pop(link.key_id, None)
        if scanned is not None:
            return t.auth.LoginTokenSuccess(self._sign_in(scanned, link))
        token = os.urandom(16)
        self.qr_tokens[token] = link
        return t.auth.LoginToken(datetime.fromtimestamp(datetime.now(UTC).timestamp() + 30, UTC), token)

    def scan(self, url: str, account: Account) -> None:
        """Do what a phone does with the QR code of `url`; call from any thread."""
        token = url.removeprefix("tg://login?token=")
        link = self.qr_tokens[base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))]
        self._scanned[link.key_id] = account
        update = bytes(t.UpdateShort(t.UpdateLoginToken(), datetime.now(UTC)))
        self.loop.call_soon_threadsafe(lambda: link.send(update, is_answer=False))

    # -- the account ------------------------------------------------------------------------------------------------

    def on_users_GetUsers(self, account: Account, call: Call, link: Link) -> Any:
        wanted = [account.me.id if isinstance(u, t.InputUserSelf) else u.user_id for u in call.request.id]
        return Vector([account.users[user_id] for user_id in wanted])

    def on_updates_GetState(self, account: Account, call: Call, link: Link) -> Any:
        return t.updates.State(1, 0, datetime.now(UTC), 1, 0)

    def on_updates_GetDifference(self, account: Account, call: Call, link: Link) -> Any:
        return t.updates.DifferenceEmpty(datetime.now(UTC), 1)

    def on_contacts_GetContacts(self, account: Account, call: Call, link: Link) -> Any:
        people = [user for user in account.users.values() if user.contact]
        return t.contacts.Contacts([t.Contact(user.id, False) for user in people], len(people), people)

    # -- takeout ----------------------------------------------------------------------------------------------------

    def on_account_InitTakeoutSession(self, account: Account, call: Call, link: Link) -> Any:
        takeout_id = random_int(7)
        self.takeouts[takeout_id] = account
        return t.account.Takeout(takeout_id)

    def on_account_FinishTakeoutSession(self, account: Account, call: Call, link: Link) -> Any:
        if call.takeout_id is None:
            raise RpcFault(403, "TAKEOUT_REQUIRED")
        del self.takeouts[call.takeout_id]
        self.finished_takeouts.append((call.takeout_id, bool(call.request.success)))
        return True

    def on_messages_GetSplitRanges(self, account: Account, call: Call, link: Link) -> Any:
        return Vector([t.MessageRange(low, high) for low, high in self.split_at])

    # -- dialogs and history ----------------------------------------------------------------------------------------

    def on_messages_GetDialogs(self, account: Account, call: Call, link: Link) -> Any:
        q = call.request
        rows = []  # (dialog, its top message, the user or chat)
        for user_id, messages in account.dialogs.items():
            if not messages or (user_id in account.gone and call.range is None):
                continue
            folder = 1 if user_id in account.archived else None
            pinned = user_id in account.pinned or None
            draft = account.drafts.get(user_id)
            dialog = make_dialog(
                t.PeerUser(user_id),
                messages[-1].id,
                folder_id=folder,
                pinned=pinned,
                draft=t.DraftMessage(draft, messages[-1].date) if draft else None,
            )
            rows.append((dialog, messages[-1], account.users.get(user_id)))
        rows += account.groups
        if q.folder_id is not None:
            rows = [row for row in rows if (row[0].folder_id or 0) == q.folder_id]
        rows.sort(key=lambda row: (row[1].date, row[1].id), reverse=True)
        pinned_rows = [row for row in rows if row[0].pinned]
        rows = [row for row in rows if not row[0].pinned]
        total = len(rows) + len(pinned_rows)
        offset_date = q.offset_date if q.offset_date and q.offset_date.timestamp() else None  # 0 on the wire is none
        if q.offset_id or offset_date:
            offset = (offset_date or datetime.max.replace(tzinfo=UTC), q.offset_id or 2**31)
            rows = [row for row in rows if (row[1].date, row[1].id) < offset]
        elif not q.exclude_pinned:
            rows = pinned_rows + rows
        page = rows[: min(q.limit or PAGE, PAGE)]
        lists = (
            [row[0] for row in page],
            [row[1] for row in page],
            [row[2] for row in page if isinstance(row[2], t.Chat | t.Channel)],
            [row[2] for row in page if isinstance(row[2], t.User)],
        )
        if len(page) == total:
            return t.messages.Dialogs(*lists)
        return t.messages.DialogsSlice(total, *lists)

    def on_messages_GetPinnedDialogs(self, account: Account, call: Call, link: Link) -> Any:
        archived = call.request.folder_id == 1
        user_ids = [user_id for user_id in account.pinned if (user_id in account.archived) == archived]
        return t.messages.PeerDialogs(
            [make_dialog(t.PeerUser(u), account.dialogs[u][-1].id, pinned=True) for u in user_ids],
            [account.dialogs[u][-1] for u in user_ids],
            [],
            [account.users[u] for u in user_ids],
            self.on_updates_GetState(account, call, link),
        )

    def on_messages_GetPeerDialogs(self, account: Account, call: Call, link: Link) -> Any:
        user_ids = [self._user_of(account, p.peer) for p in call.request.peers]
        dialogs, messages = [], []
        for user_id in user_ids:
            draft = account.drafts.get(user_id)
            top = account.dialogs.get(user_id) or []
            date = datetime.now(UTC)
            dialogs.append(
                make_dialog(
                    t.PeerUser(user_id),
                    top[-1].id if top else 0,
                    draft=t.DraftMessage(draft, date) if draft else t.DraftMessageEmpty(),
                )
            )
            messages += top[-1:]
        return t.messages.PeerDialogs(
            dialogs, messages, [], [account.users[u] for u in user_ids], self.on_updates_GetState(account, call, link)
        )

    def _user_of(self, account: Account, peer: Any) -> int:
        if isinstance(peer, t.InputPeerSelf):
            return account.me.id
        if account.users[peer.user_id].access_hash != peer.access_hash:
            raise RpcFault(400, "PEER_ID_INVALID")
        return int(peer.user_id)

    def on_messages_GetHistory(self, account: Account, call: Call, link: Link) -> Any:
        q = call.request
        user_id = self._user_of(account, q.peer)
        everything = account.dialogs.get(user_id, [])
        if user_id in account.gone and call.range is None:
            everything = []
        if call.range is not None:
            everything = [m for m in everything if call.range.min_id <= m.id <= call.range.max_id]
        newest_first = everything[::-1]
        start = 0
        if q.offset_id:
            start = next((i for i, m in enumerate(newest_first) if m.id < q.offset_id), len(newest_first))
        start += q.add_offset
        page = newest_first[max(0, start) : max(0, start + max(1, min(q.limit, PAGE)))]
        page = [m for m in page if (not q.max_id or m.id < q.max_id) and (not q.min_id or m.id > q.min_id)]
        users = [account.me] + ([account.users[user_id]] if user_id != account.me.id else [])
        if len(page) == len(everything):
            return t.messages.Messages(page, [], [], users)
        return t.messages.MessagesSlice(len(everything), page, [], [], users)

    def on_messages_SaveDraft(self, account: Account, call: Call, link: Link) -> Any:
        account.drafts[self._user_of(account, call.request.peer)] = call.request.message
        return True


class NoAnswer(Exception):
    """The server keeps silent."""


@contextmanager
def trusted() -> Iterator[None]:
    """Make Telethon trust the test server's key alone."""
    before = dict(telethon_rsa._server_keys)
    telethon_rsa._server_keys.clear()
    telethon_rsa._server_keys[FINGERPRINT] = (PUBLIC_KEY, False)
    try:
        yield
    finally:
        telethon_rsa._server_keys.clear()
        telethon_rsa._server_keys.update(before)


@contextmanager
def pointing(host: str, port: int) -> Iterator[None]:
    """Make a new session of Telethon's begin at the test server, and trust it."""
    before = telethon_base.DEFAULT_IPV4_IP, telethon_base.DEFAULT_PORT
    telethon_base.DEFAULT_IPV4_IP, telethon_base.DEFAULT_PORT = host, port
    try:
        with trusted():
            yield
    finally:
        telethon_base.DEFAULT_IPV4_IP, telethon_base.DEFAULT_PORT = before


@contextmanager
def serve(*accounts: Account) -> Iterator[FakeTelegram]:
    """Run a server in a thread, with Telethon's first address and trusted key pointing at it."""
    server = FakeTelegram(*accounts)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="fake telegram")
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        with pointing(server.host, server.port):
            yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
    assert not server.bugs, server.bugs
