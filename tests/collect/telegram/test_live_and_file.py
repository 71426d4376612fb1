"""One account from a file and from Telegram itself, as a person types it, in either order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from telethon.tl import types as t

from clone.collect.telegram import connection
from tests.collect import exports
from tests.collect.telegram.collector import QUICK
from tests.mtproto import Account, FakeTelegram

Type = Callable[..., Result]
WHAT_IS_KEPT = {
    "messages": """SELECT chat_id, message_id, sender_id, sent_at, text, m.kind, reply_to, edited_at, is_forwarded,
        is_outgoing, deleted_at FROM messages m JOIN chats USING (chat_pk)""",
    "versions": "SELECT chat_id, message_id, edited_at, text, v.kind, raw FROM versions v JOIN chats USING (chat_pk)",
    "raws": """SELECT chat_id, message_id, format, raw FROM raws JOIN chats USING (chat_pk)
        JOIN formats USING (format_pk)""",
    "gaps": "SELECT chat_id, message_id, why FROM gaps JOIN chats USING (chat_pk)",
    "chats": "SELECT chat_id, kind, title, username, phone, is_deleted FROM chats",
    "people": "SELECT person_id, name, username, phone FROM people",
    "accounts": "SELECT source, account_id, name, username, phone FROM accounts",
}


def dress(account: Account) -> None:
    """Give messages what makes them differ: replies, forwards, edits, media, a call, words that are composed."""
    sticker = t.DocumentAttributeSticker("🙂", t.InputStickerSetEmpty())
    documents = [[sticker], [t.DocumentAttributeAudio(5, voice=True)], [t.DocumentAttributeFilename("a.pdf")]]
    for messages in account.dialogs.values():
        for i, message in enumerate(messages):
            if i % 7 == 1:
                message.reply_to = t.MessageReplyHeader(reply_to_msg_id=messages[0].id)
            elif i % 7 == 2:
                message.fwd_from = t.MessageFwdHeader(date=message.date, from_name="Somebody")
            elif i % 7 == 3:
                message.edit_date = message.date + timedelta(hours=1)
            elif i % 7 == 4:
                message.media = t.MessageMediaPhoto(photo=t.PhotoEmpty(1))
            elif i % 7 == 5:
                date, attributes = message.date, documents[i // 7 % 3]
                document = t.Document(1, 2, b"r", date, "a/b", 9, 2, attributes)
                message.media, message.message = t.MessageMediaDocument(document=document), ""
            elif i % 7 == 6:
                message.message = "cafe\u0301, " + message.message
    account.add_service(2001, t.MessageActionPhoneCall(7, duration=61), out=True)


def export(account: Account) -> dict[str, Any]:
    """Return what Telegram Desktop writes of an account."""
    chats = []
    for user_id, messages in account.dialogs.items():
        user = account.users[user_id]
        records = [record(account, user_id, message) for message in messages]
        chats.append({"name": user.first_name, "type": "personal_chat", "id": user_id, "messages": records})
    me = account.me
    owner = {
        "user_id": me.id,
        "first_name": me.first_name,
        "last_name": "",
        "phone_number": "",
        "username": "@ada_tests",
    }
    return {"about": "", "personal_information": owner, "chats": {"about": "", "list": chats}}


def record(account: Account, user_id: int, message: Any) -> dict[str, Any]:
    sender = account.me if message.out else account.users[user_id]
    found: dict[str, Any] = {"id": message.id, **times("date", message.date)}
    if isinstance(message, t.MessageService):
        who = {"actor": sender.first_name, "actor_id": f"user{sender.id}"}
        return found | {"type": "service", "action": "phone_call", "duration_seconds": 61, **who, "text": ""}
    found |= {"type": "message", "from": sender.first_name, "from_id": f"user{sender.id}"}
    if message.edit_date is not None:
        found |= times("edited", message.edit_date)
    if message.reply_to is not None:
        found["reply_to_message_id"] = message.reply_to.reply_to_msg_id
    if message.fwd_from is not None:
        found["forwarded_from"] = message.fwd_from.from_name
    if isinstance(message.media, t.MessageMediaPhoto):
        found |= {"photo": "(File not included. Change data exporting settings to download.)", "width": 1, "height": 1}
    elif isinstance(message.media, t.MessageMediaDocument):
        found["file"] = "(File not included. Change data exporting settings to download.)"
        attribute = message.media.document.attributes[0]
        if isinstance(attribute, t.DocumentAttributeSticker):
            found |= {"media_type": "sticker", "sticker_emoji": attribute.alt}
        elif isinstance(attribute, t.DocumentAttributeAudio):
            found |= {"media_type": "voice_message"}
    entities = [{"type": "plain", "text": message.message}] if message.message else []
    return found | {"text": message.message, "text_entities": entities}


def times(name: str, when: datetime) -> dict[str, str]:
    return {name: when.strftime("%Y-%m-%dT%H:%M:%S"), f"{name}_unixtime": str(int(when.timestamp()))}


def kept(path: Path) -> dict[str, list[str]]:
    with sqlite3.connect(path) as db:
        return {name: sorted(map(repr, db.execute(sql))) for name, sql in WHAT_IS_KEPT.items()}


def test_file_and_live_make_the_same_archive_in_either_order(
    clone: Type, server: FakeTelegram, account: Account, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLONE_TELEGRAM_API_ID", "12345")
    monkeypatch.setenv("CLONE_TELEGRAM_API_HASH", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("CLONE_TELEGRAM_SESSION", server.session_for(account))
    monkeypatch.setattr(connection, "PATIENT", QUICK)
    dress(account)
    exports.write(workspace / "result.json", export(account))
    # and since then: two were edited (one of them again), one was deleted, some are new
    first, second, gone = (account.dialogs[2003][i] for i in (0, 3, 5))
    account.edit(2003, first.id, "other words", first.date + timedelta(hours=2))
    account.edit(2003, second.id, "yet other words", second.date + timedelta(hours=2))
    account.delete(2003, gone.id)
    for i in range(5):
        account.add_message(2002, f"new words {i}", out=i % 2 == 0)
    archive, archives = workspace / "data" / "raw" / "archive.sqlite", []
    for order in ([["--from", "result.json"], []], [[], ["--from", "result.json"]]):
        for arguments in order:
            result = clone("collect", *arguments)
            assert result.exit_code == 0 or "1 message here is no longer in Telegram" in result.stderr
        archives.append(kept(archive))
        (workspace / "data").rename(workspace / f"data-{len(archives)}")
    one, other = archives
    for name in WHAT_IS_KEPT:
        assert one[name] == other[name], name
    assert len(one["messages"]) == 600 + 1 + 5
    assert len(one["raws"]) == 2 * (600 + 1) - 1 + 5
    assert len(one["versions"]) == 2
    assert any("other words" in row for row in one["messages"])
