"""A second run brings what is new, asks for little, and never loses what was there."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from telethon.tl import types as t

from clone.archive import Archive
from clone.collect import import_file
from clone.collect.contract import Asked
from clone.collect.telegram.connection import Patience
from clone.collect.telegram.dialogs import Scope
from clone.errors import SourceError
from clone.records import Message
from tests.collect.telegram.collector import NOW, Collector
from tests.mtproto import Account, FakeTelegram, faults

HISTORY = faults.HISTORY


def revision(collector: Collector) -> str:
    with collector.archive() as archive:
        return archive.revision()


def test_a_second_run_with_nothing_new_writes_nothing_and_reads_no_history(
    collector: Collector, server: FakeTelegram
) -> None:
    collector.collect()
    before, stored = revision(collector), collector.archive_path.read_bytes()
    server.forget_calls()
    report = collector.collect()
    assert report.is_complete
    assert report.total(lambda dialog: dialog.n_here) == 600
    assert server.n(HISTORY) == 0
    assert revision(collector) == before
    assert collector.archive_path.read_bytes() == stored


def test_a_changed_dialog_costs_one_history_call(collector: Collector, server: FakeTelegram, account: Account) -> None:
    collector.collect()
    for i in range(90):
        account.add_message(2002, f"new {i}", out=i % 2 == 0)
    account.add_message(2004, "new here too")
    server.forget_calls()
    report = collector.collect()
    assert report.is_complete
    assert report.total(lambda dialog: dialog.n_new) == 91
    assert server.n(HISTORY) == 2
    assert collector.has_everything()


def test_more_news_than_a_page_are_walked(collector: Collector, server: FakeTelegram, account: Account) -> None:
    collector.collect()
    for i in range(350):
        account.add_message(2002, f"new {i}")
    server.faults.append(faults.ShortHistoryPages(30))
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_new_dialog_is_collected_whole(collector: Collector, account: Account) -> None:
    collector.collect()
    account.add_user(2050, "Newcomer")
    for i in range(130):
        account.add_message(2050, f"hi {i}")
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_an_edit_in_the_window_becomes_a_version_and_the_old_text_is_kept(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    recent = account.add_message(2001, "first words", out=True, date=NOW - timedelta(hours=20))
    collector.collect()
    account.edit(2001, recent.id, "second words", NOW + timedelta(hours=1))
    collector.now = NOW + timedelta(hours=2)
    server.forget_calls()
    report = collector.collect()
    assert report.is_complete
    assert report.total(lambda dialog: dialog.n_edited) == 1
    assert server.n(HISTORY) == 1  # only the dialog that could have changed
    with collector.archive() as archive:
        last = list(archive.messages(collector.chat(2001)))[-1]
        versions = archive._db.execute("SELECT message_id, text, raw FROM versions").fetchall()
    assert last.text == "second words"
    assert last.edited_at == NOW + timedelta(hours=1)
    assert [(v[0], v[1]) for v in versions] == [(recent.id, "first words")]
    assert b"first words" in versions[0][2]


def test_another_photo_under_the_same_words_is_an_edit_too(collector: Collector, account: Account) -> None:
    recent = account.add_message(2001, "look", media=t.MessageMediaPhoto(), date=NOW - timedelta(hours=20))
    collector.collect()
    recent.media, recent.edit_date = t.MessageMediaGeo(t.GeoPoint(1.0, 2.0, 3)), NOW
    assert collector.collect().total(lambda dialog: dialog.n_edited) == 1
    assert collector.collect().total(lambda dialog: dialog.n_edited) == 0
    with collector.archive() as archive:
        last = list(archive.messages(collector.chat(2001)))[-1]
        versions = archive._db.execute("SELECT text, kind FROM versions").fetchall()
    assert (last.text, last.kind.value) == ("look", "location")
    assert versions == [("look", "photo")]


def test_a_dialog_is_left_alone_once_its_edit_window_has_closed(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    account.add_message(2001, "recent", date=NOW - timedelta(hours=1))
    collector.collect()
    collector.now = NOW + timedelta(days=3)
    collector.collect()  # looks once more: an edit could have come until two days later
    server.forget_calls()
    collector.now = NOW + timedelta(days=4)
    collector.collect()
    assert server.n(HISTORY) == 0


def test_a_reaction_is_no_edit(collector: Collector, account: Account) -> None:
    recent = account.add_message(2001, "fine", date=NOW - timedelta(hours=1))
    collector.collect()
    recent.edit_date, recent.edit_hide = NOW, True
    assert collector.collect().total(lambda dialog: dialog.n_edited) == 0


def test_a_deleted_message_is_kept_and_told_until_verify_marks_it(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    collector.collect()
    first, last = account.dialogs[2001][0].id, account.dialogs[2001][-1].id
    account.delete(2001, first, last)
    report = collector.collect()  # the newest message is another one, so the dialog is looked at
    assert [d.n_missing for d in report.dialogs if not d.is_complete] == [-2]
    assert {first, last} <= set(collector.ids(2001))
    report = collector.collect(verify=True)
    assert report.is_complete
    assert report.total(lambda dialog: dialog.n_deleted) == 2
    assert not {first, last} & set(collector.ids(2001))
    with collector.archive() as archive:
        marked = archive._db.execute("SELECT message_id, text FROM messages WHERE deleted_at IS NOT NULL").fetchall()
    assert [m[0] for m in marked] == [first, last]
    assert all(m[1] for m in marked)


def test_verify_takes_edits_of_any_age(collector: Collector, account: Account) -> None:
    collector.collect()
    old = account.dialogs[2003][5]
    account.edit(2003, old.id, "years later", NOW)
    assert collector.collect().total(lambda dialog: dialog.n_edited) == 0
    assert collector.collect(verify=True).total(lambda dialog: dialog.n_edited) == 1


def test_only_the_first_run_and_verify_take_a_takeout(collector: Collector, server: FakeTelegram) -> None:
    collector.collect()
    assert server.n("account.InitTakeoutSession") == 1
    assert [ok for _, ok in server.finished_takeouts] == [True]
    inside = [c for c in server.calls if c.name in (HISTORY, faults.DIALOGS)]
    assert inside
    assert all(call.takeout_id for call in inside)
    (init,) = [c.request for c in server.calls if c.name == "account.InitTakeoutSession"]
    assert init.message_users
    assert not any((init.contacts, init.message_chats, init.message_megagroups, init.message_channels, init.files))
    collector.collect()
    assert server.n("account.InitTakeoutSession") == 1
    collector.collect(verify=True)
    assert server.n("account.InitTakeoutSession") == 2


def test_without_a_takeout_requests_keep_their_distance(collector: Collector, server: FakeTelegram) -> None:
    account = collector.account
    for i in range(20):
        account.add_user(2100 + i)
        account.add_message(2100 + i, "hello")
    report = collector.collect(use_takeout=False, patience=Patience(pace_s=1.0, burst=5))
    assert report.is_complete
    assert server.n("account.InitTakeoutSession") == 0
    assert report.n_calls > 40
    assert sum(collector.slept) > 0.9 * (report.n_calls - 5)  # a handful at once, then one a second


def test_an_invalid_takeout_is_replaced_and_the_run_goes_on(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.TakeoutLost(at=4))
    assert collector.collect().is_complete
    assert collector.has_everything()
    assert server.n("account.InitTakeoutSession") == 2


def test_a_forgotten_contact_stays_out(collector: Collector, account: Account) -> None:
    collector.collect()
    chat = collector.chat(2003)
    with collector.archive() as archive, archive.transaction():
        archive.forget(chat)
    account.add_message(2003, "after all")
    report = collector.collect()
    assert report.is_complete
    assert report.n_forgotten == 1
    assert "2003" not in [dialog.chat.chat_id for dialog in report.dialogs]
    with collector.archive() as archive:
        assert archive.find_chat("telegram", str(account.me.id), "2003") is None
    with pytest.raises(SourceError, match="was forgotten") as caught:
        collector.collect(Scope(only=("2003",)))
    assert "--undo" in caught.value.hint


def test_an_import_and_a_live_run_fall_together_in_either_order(
    collector: Collector, server: FakeTelegram, account: Account, tmp_path: Path
) -> None:
    """A Telegram Desktop export of the same account: same ids, so nothing comes twice and nothing is lost."""
    account.add_service(
        2001, t.MessageActionPhoneCall(7, reason=t.PhoneCallDiscardReasonHangup(), duration=5), out=True
    )
    account.add_message(2001, "an answer", out=True, reply_to=t.MessageReplyHeader(reply_to_msg_id=1))
    export = tmp_path / "result.json"
    export.write_text(json.dumps(as_export(account)), encoding="utf-8")
    other = Collector(server, account, tmp_path / "other")

    def import_into(path: Path) -> None:
        with Archive.create(path) as archive:
            import_file(export, archive, Asked(), 0.01, NOW)

    collector.collect()
    import_into(collector.archive_path)
    import_into(other.archive_path)
    server.takeouts.clear()
    report = other.collect()
    assert report.is_complete
    assert contents(collector) == contents(other)
    assert sum(len(rows) for rows in contents(other).values()) == 602


def contents(collector: Collector) -> dict[str, list[Message]]:
    with collector.archive() as archive:
        return {item.chat.chat_id: list(archive.messages(item.chat)) for item in archive.chats()}


def as_export(account: Account) -> dict[str, Any]:
    """Return what Telegram Desktop would write of the account."""
    me = account.me

    def message(user_id: int, m: Any) -> dict[str, Any]:
        sender = me if m.out else account.users[user_id]
        shared = {
            "id": m.id,
            "date": m.date.strftime("%Y-%m-%dT%H:%M:%S"),
            "date_unixtime": str(int(m.date.timestamp())),
        }
        if isinstance(m, t.MessageService):
            who = {"actor": sender.first_name, "actor_id": f"user{sender.id}"}
            return {**shared, "type": "service", **who, "action": "phone_call", "duration_seconds": 5, "text": ""}
        reply = {"reply_to_message_id": m.reply_to.reply_to_msg_id} if m.reply_to else {}
        entities = [{"type": "plain", "text": m.message}]
        who = {"from": sender.first_name, "from_id": f"user{sender.id}"}
        return {**shared, "type": "message", **who, **reply, "text": m.message, "text_entities": entities}

    chats = [
        {
            "name": account.users[user_id].first_name,
            "type": "personal_chat",
            "id": user_id,
            "messages": [message(user_id, m) for m in messages],
        }
        for user_id, messages in account.dialogs.items()
    ]
    owner = {"user_id": me.id, "first_name": me.first_name, "username": "@" + me.username, "phone_number": me.phone}
    return {"personal_information": owner, "chats": {"about": "", "list": chats}}
