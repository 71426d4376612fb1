"""How fast a live account is collected, beside a bare Telethon loop that reads the same history and keeps nothing.

    python benchmarks/collect_live.py [--messages 20000] [--rounds 5]

Both talk to the tests' MTProto server on loopback, which runs in a process of its own; they take turns, and the median
of the rounds' ratios counts. Ours does all that it does for a person: takeout, dialog list, archive with every
message's own bytes, syncs to disk, the count at the end. Six messages of ten are nothing but text. The last line
printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from telethon import TelegramClient
from telethon.sessions import StringSession
from telethon.tl import functions as f
from telethon.tl import types as t

from clone.archive import Archive
from clone.collect.telegram.connection import Application, Line
from clone.collect.telegram.dialogs import Scope
from clone.collect.telegram.live import collect_account
from tests.mtproto import FakeTelegram
from tests.mtproto.account import make_account
from tests.mtproto.server import trusted

N_PEOPLE = 10


def serve(n_messages: int, pipe: Any) -> None:
    """Run the server, and send one session through `pipe`."""

    async def run() -> None:
        account = make_account(N_PEOPLE, n_messages)
        for messages in account.dialogs.values():
            for i, message in enumerate(messages):  # of ten, two answer another, one has a bold word, one a photo
                if i % 10 in (2, 5):
                    message.reply_to = t.MessageReplyHeader(reply_to_msg_id=messages[0].id)
                elif i % 10 == 7:
                    message.entities = [t.MessageEntityBold(0, 5)]
                elif i % 10 == 9:
                    message.media = t.MessageMediaPhoto()
        server = FakeTelegram(account)
        await server.start()
        pipe.send((server.session_for(account), {u: user.access_hash for u, user in account.users.items()}))
        await asyncio.sleep(10**6)

    asyncio.run(run())


async def read_bare(session: str, hashes: dict[int, int]) -> int:
    """Read every dialog as a script of ten lines would: page after page, newest first."""
    client = TelegramClient(StringSession(session), 1, "x", receive_updates=False)
    await client.connect()
    n = 0
    for user_id in range(2001, 2001 + N_PEOPLE):
        offset_id = 0
        while True:
            peer = t.InputPeerUser(user_id, hashes[user_id])
            page = await client(f.messages.GetHistoryRequest(peer, offset_id, None, 0, 100, 0, 0, 0))
            if not page.messages:
                break
            n += len(page.messages)
            offset_id = page.messages[-1].id
    await client.disconnect()
    return n


async def collect(session: str, folder: Path) -> int:
    with Archive.create(folder / "archive.sqlite") as archive:
        line = Line(session, Application(1, "x"))
        await line.open()
        report = await collect_account(archive, line, Scope(), now=lambda: datetime.now(UTC))
        await line.close()
    assert report.is_complete
    return report.total(lambda dialog: dialog.n_new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ours_pipe, its_pipe = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(arguments.messages, its_pipe), daemon=True)
    server.start()
    session, hashes = ours_pipe.recv()
    bare, ours = [], []
    with trusted():
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            assert asyncio.run(read_bare(session, hashes)) == arguments.messages
            bare.append(arguments.messages / (time.perf_counter() - began))
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                began = time.perf_counter()
                assert asyncio.run(collect(session, Path(folder))) == arguments.messages
                ours.append(arguments.messages / (time.perf_counter() - began))
    server.terminate()
    ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
    print(f"{'messages a second':<40}{'median':>10}{'lowest':>10}{'highest':>10}")
    for name, rates in (("bare Telethon loop, nothing kept", bare), ("clone collect, everything kept", ours)):
        print(f"{name:<40}{statistics.median(rates):>10,.0f}{min(rates):>10,.0f}{max(rates):>10,.0f}")
    result = {
        "benchmark": "collect_live",
        "n_messages": arguments.messages,
        "bare_messages_per_s": round(statistics.median(bare)),
        "ours_messages_per_s": round(statistics.median(ours)),
        "ratio": round(ratio, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
