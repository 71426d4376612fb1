"""Three small proxies on loopback, each with what it was asked to reach: SOCKS5, HTTP CONNECT, MTProxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.mtproto.transport import DropConnection, ObfuscatedStream

USER, PASSWORD = "user", "pass word"
SECRET = bytes(range(16))


class Proxy:
    """Listens, speaks its own greeting, and passes bytes on. `reached` counts the connections that got through."""

    def __init__(self, telegram: tuple[str, int]) -> None:
        self.telegram = telegram
        self.reached = 0
        self.host, self.port = "", 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._on_client, "127.0.0.1", 0)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def _on_client(self, reader: Any, writer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, DropConnection):
            await self.serve(reader, writer)
        writer.close()

    async def serve(self, reader: Any, writer: Any) -> None:
        raise NotImplementedError

    async def connect(self, host: str, port: int) -> tuple[Any, Any]:
        assert (host, port) == self.telegram
        self.reached += 1
        return await asyncio.open_connection(host, port)

    async def pass_on(self, reader: Any, writer: Any, host: str, port: int) -> None:
        far_reader, far_writer = await self.connect(host, port)

        async def pump(source: Any, sink: Any) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


class Socks5(Proxy):
    """RFC 1928 with the user name and password of RFC 1929."""

    async def serve(self, reader: Any, writer: Any) -> None:
        _, n_methods = await reader.readexactly(2)
        await reader.readexactly(n_methods)
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if (user.decode(), password.decode()) != (USER, PASSWORD):
            writer.write(b"\x01\x01")
            raise DropConnection
        writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = ".".join(map(str, await reader.readexactly(4)))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await self.pass_on(reader, writer, host, port)


class Http(Proxy):
    """CONNECT of RFC 9110 with basic authorization."""

    async def serve(self, reader: Any, writer: Any) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if f"Basic {token}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            raise DropConnection
        host, port = head.split()[1].split(":")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self.pass_on(reader, writer, host, int(port))


class MTProxy(Proxy):
    """Telegram's own proxy: takes padded intermediate packets apart and sends them on in full frames."""

    async def serve(self, reader: Any, writer: Any) -> None:
        stream = ObfuscatedStream(reader, writer, SECRET)
        await stream.open()
        far_reader, far_writer = await self.connect(*self.telegram)

        async def there() -> None:
            number = 0
            while True:
                packet = await stream.receive()
                if packet[:8] == bytes(8):  # unencrypted: the length stands in it
                    packet = packet[: 20 + struct.unpack("<i", packet[16:20])[0]]
                else:  # the encrypted part is a multiple of 16
                    packet = packet[: 24 + (len(packet) - 24) // 16 * 16]
                frame = struct.pack("<ii", len(packet) + 12, number) + packet
                far_writer.write(frame + struct.pack("<I", zlib.crc32(frame)))
                number += 1

        async def back() -> None:
            while True:
                length, _ = struct.unpack("<ii", await far_reader.readexactly(8))
                stream.send((await far_reader.readexactly(length - 8))[:-4])

        tasks = [asyncio.ensure_future(there()), asyncio.ensure_future(back())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        far_writer.close()


@contextmanager
def running(proxy: Proxy) -> Iterator[Proxy]:
    """Run a proxy in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="proxy")
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
