"""The wire bytes of a few answers and requests, written down once.

The server and the collector use one library's classes, so an error that it makes both ways would not be noticed. These
files stay as they are when the library changes; REWRITE_GOLDEN=1 rewrites them, and the difference is read by a person.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from telethon.tl import functions as f
from telethon.tl import types as t

from clone.collect.telegram.history import History
from clone.collect.telegram.parse import chat_of, parse_message
from clone.collect.telegram.reading import peek_newest_id, read_answer
from clone.records import Account, Kind
from tests.mtproto.account import make_dialog

GOLDEN = Path(__file__).parents[2] / "mtproto" / "golden"
WHEN = datetime(2026, 11, 22, 12, tzinfo=UTC)


def user() -> t.User:
    return t.User(2001, first_name="Grace", last_name="H", access_hash=-5, username="grace", phone="4420101")


def messages() -> list[Any]:
    peer = t.PeerUser(2001)
    sticker = t.Document(
        1, 2, b"\1", WHEN, "image/webp", 9, 2, [t.DocumentAttributeSticker("🙂", t.InputStickerSetEmpty())]
    )
    return [
        t.MessageService(id=9, peer_id=peer, date=WHEN, action=t.MessageActionPhoneCall(7, duration=61), out=True),
        t.Message(id=7, peer_id=peer, date=WHEN, message="", media=t.MessageMediaDocument(document=sticker)),
        t.MessageEmpty(6, peer_id=peer),
        t.Message(
            id=5,
            peer_id=peer,
            date=WHEN,
            message="né à 8h",
            out=True,
            edit_date=WHEN,
            reply_to=t.MessageReplyHeader(reply_to_msg_id=3),
            entities=[t.MessageEntityBold(0, 2)],
        ),
    ]


SAMPLES: dict[str, Any] = {
    "history_slice.bin": lambda: t.messages.MessagesSlice(1234, messages(), [], [], [user()]),
    "dialogs.bin": lambda: t.messages.Dialogs([make_dialog(t.PeerUser(2001), 9)], messages()[:1], [], [user()]),
    "takeout.bin": lambda: t.account.Takeout(-77),
    "ask_history.bin": lambda: f.InvokeWithoutUpdatesRequest(
        f.InvokeWithTakeoutRequest(
            -77, f.messages.GetHistoryRequest(t.InputPeerUser(2001, -5), 6, None, -100, 100, 0, 0, 0)
        )
    ),
    "ask_takeout.bin": lambda: f.account.InitTakeoutSessionRequest(message_users=True),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_wire_bytes_are_those_that_were_written_down(name: str) -> None:
    wire = bytes(SAMPLES[name]())
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_bytes(wire)
    assert wire == (GOLDEN / name).read_bytes()


def test_written_bytes_of_a_page_are_read_as_the_messages_they_are() -> None:
    answer = read_answer((GOLDEN / "history_slice.bin").read_bytes())
    page = History(None, None)._page(answer, 0)  # type: ignore[arg-type]
    assert page is not None
    assert (page.n_server, page.empty, page.cursor) == (1234, [6], 9)
    assert peek_newest_id((GOLDEN / "history_slice.bin").read_bytes()) == 9
    chat = chat_of(Account("telegram", "1000"), 2001, page.users[0])
    assert (chat.title, chat.username, chat.phone) == ("Grace H", "grace", "4420101")
    text, sticker, call = [parse_message(message, chat) for message, _ in page.messages]
    assert (text.message_id, text.text, text.is_outgoing, text.reply_to) == (5, "né à 8h", True, 3)
    assert text.sent_at == text.edited_at == WHEN
    assert (sticker.kind, sticker.text, sticker.sender_id) == (Kind.STICKER, "🙂", "2001")
    assert (call.kind, call.sender_id) == (Kind.CALL, "1000")
    assert b"".join(raw for _, raw in reversed(page.messages)) in (GOLDEN / "history_slice.bin").read_bytes().replace(
        bytes(t.MessageEmpty(6, peer_id=t.PeerUser(2001))), b""
    )


def test_an_answer_that_is_cut_anywhere_is_never_an_exception() -> None:
    wire = (GOLDEN / "history_slice.bin").read_bytes()
    for length in range(len(wire)):
        answer = read_answer(wire[:length])
        assert answer.whole is None
        assert answer.unknown is not None
        peek_newest_id(wire[:length])
