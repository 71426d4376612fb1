"""Frames, the key exchange, encryption and containers of MTProto 2.0, as the server sees them.

What comes in: the bytes of one TCP connection. What goes out: requests as TL objects, to `answer`. Knows nothing of
what the requests ask for. Specification: https://core.telegram.org/mtproto
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import struct
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from telethon.crypto import AES, AESModeCTR
from telethon.crypto import rsa as telethon_rsa
from telethon.extensions import BinaryReader
from telethon.network.mtprotostate import MTProtoState
from telethon.tl import functions as f
from telethon.tl import types as t
from telethon.tl.core import GzipPacked, MessageContainer

from tests.mtproto.key import DH_GENERATOR, DH_PRIME, PRIVATE_KEY, PUBLIC_KEY

FINGERPRINT = telethon_rsa._compute_fingerprint(PUBLIC_KEY)
P, Q = 1229739323, 1402015859  # two primes, for the client to factor

Answer = Callable[["Link", int, Any], Awaitable[bytes | None]]


class DropConnection(Exception):
    """The server hangs up."""


class ForgetKey(Exception):
    """The server says that it does not know the key (transport error -404)."""


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def random_int(n_bytes: int) -> int:
    return int.from_bytes(os.urandom(n_bytes), "little", signed=True)


def pad256(number: int) -> bytes:
    return number.to_bytes(256, "big")


class Link:
    """One connection of one client. `keys` (key id -> authorization key) belongs to the server and outlives it."""

    def __init__(self, reader: Any, writer: Any, keys: dict[bytes, bytes], answer: Answer) -> None:
        self.reader, self.writer, self.keys, self._answer = reader, writer, keys, answer
        self.key_id = bytes(8)
        self._frame_numbers = itertools.count()
        self._last_message_id = 0
        self._n_sent = 0
        self._salt = self._session = 0
        self._handshake = Handshake(keys)

    async def serve(self) -> None:
        """Answer until either side hangs up."""
        try:
            while True:
                length, _ = struct.unpack("<ii", await self.reader.readexactly(8))
                body = (await self.reader.readexactly(length - 8))[:-4]
                if body[:8] == bytes(8):
                    self._send_plain(bytes(self._handshake.step(BinaryReader(body[20:]).tgread_object())))
                else:
                    await self._receive(body)
                await self.writer.drain()
        except ForgetKey:
            self._send_frame(struct.pack("<i", -404))
            await self.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, DropConnection):
            pass
        finally:
            self.writer.close()

    async def _receive(self, body: bytes) -> None:
        self.key_id = body[:8]
        key = self.keys.get(self.key_id)
        if key is None:
            raise ForgetKey
        reader = BinaryReader(AES.decrypt_ige(body[24:], *MTProtoState._calc_key(key, body[8:24], True)))
        self._salt, self._session, message_id = reader.read_long(), reader.read_long(), reader.read_long()
        reader.read(8)  # sequence number and length
        for request_id, request in _flatten(message_id, reader.tgread_object()):
            if isinstance(request, t.MsgsAck):
                continue
            answer = await self._answer(self, request_id, request)
            if answer is not None:
                self.send(answer)

    def send(self, payload: bytes, *, is_answer: bool = True) -> None:
        """Encrypt one message and send it: an answer, or an update that nobody asked for."""
        key = self.keys[self.key_id]
        head = struct.pack(
            "<qqqii",
            self._salt,
            self._session,
            self._next_message_id(1 if is_answer else 3),
            self._n_sent * 2 + 1,
            len(payload),
        )
        self._n_sent += 1
        data = head + payload
        data += os.urandom(-(len(data) + 12) % 16 + 12)
        message_key = sha256(key[96:128] + data)[8:24]
        encrypted = AES.encrypt_ige(data, *MTProtoState._calc_key(key, message_key, False))
        self._send_frame(self.key_id + message_key + encrypted)

    def _send_plain(self, payload: bytes) -> None:
        self._send_frame(bytes(8) + struct.pack("<qi", self._next_message_id(1), len(payload)) + payload)

    def _send_frame(self, payload: bytes) -> None:
        frame = struct.pack("<ii", len(payload) + 12, next(self._frame_numbers)) + payload
        self.writer.write(frame + struct.pack("<I", zlib.crc32(frame)))

    def _next_message_id(self, kind: int) -> int:
        """Return an id whose upper half is the time in seconds and whose lowest bits say what kind it is."""
        number = (int(time.time() * 2**32) & ~3) | kind
        if number <= self._last_message_id:
            number = (self._last_message_id & ~3) + 4 + kind
        self._last_message_id = number
        return number


def _flatten(message_id: int, obj: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(obj, MessageContainer):
        for inner in obj.messages:
            yield from _flatten(inner.msg_id, inner.obj)
    elif isinstance(obj, GzipPacked):
        yield from _flatten(message_id, BinaryReader(obj.data).tgread_object())
    else:
        yield message_id, obj


class Handshake:
    """The Diffie-Hellman exchange of an authorization key, three requests long."""

    def __init__(self, keys: dict[bytes, bytes]) -> None:
        self.keys = keys

    def step(self, request: Any) -> Any:
        if isinstance(request, f.ReqPqMultiRequest):
            self.server_nonce = random_int(16)
            return t.ResPQ(request.nonce, self.server_nonce, (P * Q).to_bytes(8, "big"), [FINGERPRINT])
        if isinstance(request, f.ReqDHParamsRequest):
            return self._offer(request)
        if isinstance(request, f.SetClientDHParamsRequest):
            return self._accept(request)
        raise DropConnection

    def _offer(self, request: Any) -> Any:
        number = pow(int.from_bytes(request.encrypted_data, "big"), PRIVATE_KEY.d, PRIVATE_KEY.n)
        inner = BinaryReader(pad256(number).lstrip(b"\0")[20:]).tgread_object()
        new, server = (
            n.to_bytes(size, "little", signed=True) for n, size in ((inner.new_nonce, 32), (self.server_nonce, 16))
        )
        self._aes = (sha1(new + server) + sha1(server + new)[:12], sha1(server + new)[12:] + sha1(new + new) + new[:4])
        self._new_nonce = new
        self._secret = int.from_bytes(os.urandom(256), "big")
        g_a = pad256(pow(DH_GENERATOR, self._secret, DH_PRIME))
        answer = bytes(
            t.ServerDHInnerData(request.nonce, self.server_nonce, DH_GENERATOR, pad256(DH_PRIME), g_a, int(time.time()))
        )
        answer = sha1(answer) + answer
        answer += os.urandom(-len(answer) % 16)
        return t.ServerDHParamsOk(request.nonce, self.server_nonce, AES.encrypt_ige(answer, *self._aes))

    def _accept(self, request: Any) -> Any:
        inner = BinaryReader(AES.decrypt_ige(request.encrypted_data, *self._aes)[20:]).tgread_object()
        key = pad256(pow(int.from_bytes(inner.g_b, "big"), self._secret, DH_PRIME))
        self.keys[key_id_of(key)] = key
        proof = sha1(self._new_nonce + b"\x01" + sha1(key)[:8])[4:]
        return t.DhGenOk(request.nonce, self.server_nonce, int.from_bytes(proof, "little", signed=True))


def key_id_of(key: bytes) -> bytes:
    return sha1(key)[12:20]


class ObfuscatedStream:
    """The server's end of an MTProxy connection (obfuscated2, padded intermediate frames), spoken as "full" frames.

    `readexactly` returns what the client sent, `write` takes what the server answers.
    """

    def __init__(self, reader: Any, writer: Any, secret: bytes) -> None:
        self._reader, self._writer, self._secret = reader, writer, secret

    async def open(self) -> None:
        """Read the 64 random bytes from which both keys are derived. Raises DropConnection on a wrong secret."""
        head = await self._reader.readexactly(64)
        back = head[55:7:-1]
        self._incoming = AESModeCTR(sha256(head[8:40] + self._secret), head[40:56])
        self._outgoing = AESModeCTR(sha256(back[:32] + self._secret), back[32:48])
        if self._incoming.encrypt(head)[56:60] != b"\xdd\xdd\xdd\xdd":
            raise DropConnection

    async def receive(self) -> bytes:
        """Return one packet, padding and all."""
        length = struct.unpack("<i", self._incoming.encrypt(await self._reader.readexactly(4)))[0]
        return self._incoming.encrypt(await self._reader.readexactly(length))

    def send(self, packet: bytes) -> None:
        padding = os.urandom(os.urandom(1)[0] % 4)
        self._writer.write(self._outgoing.encrypt(struct.pack("<i", len(packet) + len(padding)) + packet + padding))
