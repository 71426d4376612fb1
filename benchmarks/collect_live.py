"""How fast a live account is collected, beside a bare Telethon loop that reads the same history and keeps nothing.

    python benchmarks/collect_live.py [--mix private|text] [--messages 20000] [--rounds 7]

Both talk to the tests' MTProto server on loopback, which runs in a process of its own; they take turns, and the median
of the rounds' ratios counts: of messages a second, and of the processor's time in the process that asks. Ours does all
that it does for a person: takeout, dialog list, archive with every message's own bytes, syncs to disk, the count at the
end. In the mix `private` twelve messages of twenty are nothing but text; three answer another, and one each has links,
a web page's preview, a photo, a document (sticker, voice, video and file in turn), or is a forward; one of twenty has
a reaction. The last line printed is one JSON object.
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
from collections.abc import Callable, Coroutine
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


def serve(n_messages: int, mix: str, pipe: Any) -> None:
    """Run the server, and send one session through `pipe`."""

    async def run() -> None:
        account = make_account(N_PEOPLE, n_messages)
        if mix == "private":
            for messages in account.dialogs.values():
                for i, message in enumerate(messages):
                    dress(message, i, messages[0].id)
        server = FakeTelegram(account)
        await server.start()
        pipe.send((server.session_for(account), {u: user.access_hash for u, user in account.users.items()}))
        await asyncio.sleep(10**6)

    asyncio.run(run())


def dress(message: Any, i: int, first_id: int) -> None:
    """Give the i-th message of a dialog what messages of private chats have besides words."""
    place, turn = i % 20, i // 20
    if place in (2, 9, 15):
        message.reply_to = t.MessageReplyHeader(reply_to_msg_id=first_id)
        if place == 15:
            message.reactions = t.MessageReactions(
                [t.ReactionCount(t.ReactionEmoji("\U0001f44d"), 1)],
                recent_reactions=[t.MessagePeerReaction(message.peer_id, message.date, t.ReactionEmoji("\U0001f44d"))],
            )
    elif place == 4:
        message.entities = [t.MessageEntityBold(0, 5), t.MessageEntityTextUrl(6, 2, "https://example.org/page")]
        message.edit_date = message.date
    elif place == 7:
        message.entities = [t.MessageEntityUrl(0, 5)]
        page = t.WebPage(i, "https://example.org/page", "example.org/page", 0, site_name="Example", title="A page")
        page.description, page.photo = "What the page says of itself. " * 6, photo(i, message.date)
        message.media = t.MessageMediaWebPage(page)
    elif place == 11:
        message.media = t.MessageMediaPhoto(photo=photo(i, message.date))
    elif place == 13:
        message.media = t.MessageMediaDocument(document=document(i, turn, message.date))
    elif place == 18:
        message.fwd_from = t.MessageFwdHeader(date=message.date, from_id=t.PeerUser(77), from_name="Somebody")


def photo(number: int, date: datetime) -> Any:
    sizes = [t.PhotoStrippedSize("i", bytes(900)), t.PhotoSize("m", 320, 240, 22_000)]
    sizes += [t.PhotoSize("x", 800, 600, 90_000), t.PhotoSizeProgressive("y", 1280, 960, [9_000, 30_000, 150_000])]
    return t.Photo(number, -number, bytes(24), date, sizes, 2)


def document(number: int, turn: int, date: datetime) -> Any:
    mime_type, attributes = (
        (
            "image/webp",
            [t.DocumentAttributeImageSize(512, 512), t.DocumentAttributeSticker(":)", t.InputStickerSetID(1, 2))],
        ),
        ("audio/ogg", [t.DocumentAttributeAudio(5, voice=True, waveform=bytes(63))]),
        ("video/mp4", [t.DocumentAttributeVideo(9.0, 720, 1280, supports_streaming=True)]),
        ("application/pdf", [t.DocumentAttributeFilename("paper.pdf")]),
    )[turn % 4]
    thumbs = [t.PhotoPathSize("j", bytes(80)), t.PhotoSize("m", 320, 320, 9_000)] if turn % 4 != 1 else None
    return t.Document(number, -number, bytes(24), date, mime_type, 40_000, 2, attributes, thumbs=thumbs)


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
    parser.add_argument("--mix", choices=["private", "text"], default="private", help="what the messages carry")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    ours_pipe, its_pipe = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(arguments.messages, arguments.mix, its_pipe), daemon=True)
    server.start()
    session, hashes = ours_pipe.recv()
    bare, ours = [], []
    with trusted():
        for _ in range(arguments.rounds):
            bare.append(measure(lambda: read_bare(session, hashes), arguments.messages))
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                ours.append(measure(lambda: collect(session, Path(folder)), arguments.messages))
    server.terminate()
    ratio, cpu_ratio = (
        statistics.median(o / b for o, b in zip(column(ours, i), column(bare, i), strict=True)) for i in (0, 1)
    )
    print(f"{arguments.rounds} rounds, mix {arguments.mix}")
    print(f"{'messages a second':<40}{'median':>10}{'lowest':>10}{'highest':>10}{'of CPU':>10}")
    for name, rates in (("bare Telethon loop, nothing kept", bare), ("clone collect, everything kept", ours)):
        wall, cpu = column(rates, 0), column(rates, 1)
        print(
            f"{name:<40}{statistics.median(wall):>10,.0f}{min(wall):>10,.0f}{max(wall):>10,.0f}"
            f"{statistics.median(cpu):>10,.0f}"
        )
    print(f"{'ratio, median of the rounds':<40}{ratio:>10.2f}{'':>20}{cpu_ratio:>10.2f}")
    result = {
        "benchmark": "collect_live",
        "mix": arguments.mix,
        "n_messages": arguments.messages,
        "n_rounds": arguments.rounds,
        "bare_messages_per_s": round(statistics.median(column(bare, 0))),
        "ours_messages_per_s": round(statistics.median(column(ours, 0))),
        "ratio": round(ratio, 3),
        "bare_messages_per_cpu_s": round(statistics.median(column(bare, 1))),
        "ours_messages_per_cpu_s": round(statistics.median(column(ours, 1))),
        "cpu_ratio": round(cpu_ratio, 3),
    }
    print(json.dumps(result))


def measure(read: Callable[[], Coroutine[Any, Any, int]], n_messages: int) -> tuple[float, float]:
    """Return messages a second, and a second of this process's processor time, of reading all of them."""
    began, cpu_began = time.perf_counter(), time.process_time()
    n = asyncio.run(read())
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    assert n == n_messages
    return n / seconds, n / cpu_s


def column(rows: list[tuple[float, float]], i: int) -> list[float]:
    return [row[i] for row in rows]


if __name__ == "__main__":
    main()
