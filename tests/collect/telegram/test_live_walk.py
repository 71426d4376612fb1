"""Whatever the server does, every message is in the archive or named as one that cannot be had."""

from __future__ import annotations

import pytest
from telethon.tl import types as t

from clone.collect.telegram.dialogs import Scope
from clone.collect.telegram.live import DialogReport, explain
from clone.collect.telegram.reading import RAW_FORMAT
from clone.errors import SourceError
from tests.collect.telegram.collector import Collector
from tests.mtproto import Account, FakeTelegram, faults
from tests.mtproto.account import make_account


def row(collector: Collector, user_id: int, **more: object) -> DialogReport:
    report = collector.collect(**more)  # type: ignore[arg-type]
    return next(dialog for dialog in report.dialogs if dialog.chat.chat_id == str(user_id))


def test_every_message_of_every_dialog_is_collected(collector: Collector) -> None:
    report = collector.collect()
    assert report.is_complete
    assert explain(report) is None
    assert len(report.dialogs) == 5
    assert collector.has_everything()
    assert report.total(lambda dialog: dialog.n_new) == 600


@pytest.mark.parametrize("size", [1, 7, 37, 99])
def test_short_history_pages_do_not_end_a_dialog(
    collector: Collector, server: FakeTelegram, account: Account, size: int
) -> None:
    for user_id in list(account.dialogs)[1:]:
        account.dialogs[user_id] = account.dialogs[user_id][:40]
    server.faults.append(faults.ShortHistoryPages(size))
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_short_dialog_pages_do_not_end_the_list(collector: Collector, server: FakeTelegram, account: Account) -> None:
    for i in range(120):
        account.add_user(5001 + i)
        account.add_message(5001 + i, "hello")
    account.archived |= {5001 + i for i in range(0, 120, 3)}
    account.pinned = [5007, 5013, 2003]
    server.faults.append(faults.ShortDialogPages(30))
    report = collector.collect()
    assert report.is_complete
    assert len(report.dialogs) == 125


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_first_page_of_nothing_but_pinned_dialogs_does_not_hide_the_others(
    collector: Collector, server: FakeTelegram, account: Account, size: int
) -> None:
    account.pinned = [2001, 2002, 2003]
    server.faults.append(faults.ShortDialogPages(size))
    assert len(collector.collect().dialogs) == 5


def test_empty_messages_do_not_end_a_dialog_and_are_counted(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    empty = {m.id for m in account.dialogs[2001][50:190]}  # whole pages of nothing else
    server.faults += [faults.EmptyMessages(empty), faults.ShortHistoryPages(20)]
    dialog = row(collector, 2001)
    assert dialog.is_complete
    assert dialog.n_empty == len(empty)
    assert collector.ids(2001) == [m.id for m in account.dialogs[2001] if m.id not in empty]
    with collector.archive() as archive:
        assert {message_id for message_id, _ in archive.gaps(collector.chat(2001))} == empty


@pytest.mark.parametrize("where", [[0], [60], [-1], [10, 11, 12, 90], [0, 1], [-2, -1], [99, 100, 101]])
def test_a_message_with_a_media_of_an_unknown_kind_is_named_and_stepped_over(
    collector: Collector, server: FakeTelegram, account: Account, where: list[int]
) -> None:
    unknown = {account.dialogs[2001][i].id for i in where}
    server.faults.append(faults.UnknownMedia(unknown))
    dialog = row(collector, 2001)
    assert collector.ids(2001) == [m.id for m in account.dialogs[2001] if m.id not in unknown]
    assert dialog.n_unreadable == len(unknown)
    assert dialog.n_missing == 0
    assert not dialog.is_complete
    with collector.archive() as archive:
        gaps = dict(archive.gaps(collector.chat(2001)))
    assert set(gaps) == unknown  # each by its own id
    assert all("deadbeef" in why and RAW_FORMAT in why for why in gaps.values())


@pytest.mark.parametrize("where", [[0], [60], [-1], [10, 11, 12, 90], [-2, -1]])
def test_a_message_of_an_unknown_kind_is_counted_and_stepped_over(
    collector: Collector, server: FakeTelegram, account: Account, where: list[int]
) -> None:
    unknown = {account.dialogs[2001][i].id for i in where}
    server.faults.append(faults.UnknownMessages(unknown))
    dialog = row(collector, 2001)
    assert collector.ids(2001) == [m.id for m in account.dialogs[2001] if m.id not in unknown]
    assert dialog.n_unreadable == len(unknown)


def test_users_of_an_unknown_kind_cost_no_message(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.UnknownUsers())
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_gap_closes_when_the_message_can_be_read(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    server.faults.append(faults.UnknownMedia({account.dialogs[2001][3].id}))
    assert not row(collector, 2001).is_complete
    server.faults.clear()
    dialog = row(collector, 2001, verify=True)
    assert dialog.is_complete
    assert dialog.n_new == 1
    assert collector.has_everything()


def test_a_dialog_whose_newest_message_is_of_an_unknown_kind_is_found(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    server.faults.append(faults.UnknownMedia({account.dialogs[2003][-1].id}, names=(faults.DIALOGS,)))
    report = collector.collect()
    assert report.is_complete
    assert len(report.dialogs) == 5


def test_a_dialog_without_its_user_is_asked_for_again(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.DialogWithoutUser(2004, times=1))
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_dialog_without_its_user_is_read_with_what_an_earlier_run_knew(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    collector.collect()
    account.add_message(2004, "later")
    server.faults.append(faults.DialogWithoutUser(2004))
    assert collector.collect().is_complete
    assert collector.has_everything()
    assert collector.chat(2004).title == "Person 4"


def test_a_dialog_whose_user_nobody_knows_is_named_and_fails_the_run(
    collector: Collector, server: FakeTelegram
) -> None:
    server.faults.append(faults.DialogWithoutUser(2004))
    report = collector.collect()
    assert not report.is_complete
    assert [d.chat.chat_id for d in report.dialogs if d.why] == ["2004"]
    assert sum(d.is_complete for d in report.dialogs) == 4


def test_a_contact_that_the_list_left_out_is_found_among_the_contacts(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    account.users[2004].contact = True
    server.faults.append(faults.DialogWithoutUser(2004))
    assert collector.collect().is_complete


def test_a_count_that_differs_is_told(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.WrongCount(2002, more=2))
    report = collector.collect()
    assert not report.is_complete
    assert [d.n_missing for d in report.dialogs if not d.is_complete] == [2]
    problem = explain(report)
    assert problem is not None
    assert "2 messages that Telegram counts are not here" in problem.message


def test_messages_that_come_while_we_read_are_not_lost(
    collector: Collector, server: FakeTelegram, account: Account
) -> None:
    server.faults.append(faults.Does(lambda: account.add_message(2001, "just now"), at=2))
    assert collector.collect().is_complete
    collector.collect()
    assert collector.has_everything()


def test_only_dialogs_with_people_are_collected(collector: Collector, server: FakeTelegram, account: Account) -> None:
    account.add_user(3001, "A bot", bot=True, bot_info_version=1)
    account.add_user(3002, "Support", support=True)
    account.add_user(3003, "", deleted=True)
    account.users[3003].first_name = None
    for user_id in (3001, 3002, 3003, account.me.id):
        account.add_message(user_id, "hello")
    for user_id in (777000, 1271266957):
        account.add_user(user_id, "Telegram")
        account.add_message(user_id, "a notice")
    account.add_group(4001, "A group")
    account.add_group(4002, "A channel", is_channel=True)
    account.archived.add(2002)
    report = collector.collect()
    assert {d.chat.chat_id for d in report.dialogs} == {"2001", "2002", "2003", "2004", "2005", "3003"}
    deleted = collector.chat(3003)
    assert deleted.is_deleted
    assert deleted.title == ""


def test_saved_messages_come_on_demand_and_are_ones_own_words(collector: Collector, account: Account) -> None:
    account.add_message(account.me.id, "a note to myself")
    assert len(collector.collect().dialogs) == 5
    report = collector.collect(Scope(include_saved=True))
    assert report.is_complete
    with collector.archive() as archive:
        (note,) = archive.messages(collector.chat(account.me.id))
    assert note.is_outgoing


@pytest.mark.parametrize("name", ["2002", "Person 2", "person 2", "@Person_2"])
def test_a_dialog_is_chosen_by_id_name_or_username(collector: Collector, name: str) -> None:
    report = collector.collect(Scope(only=(name,)))
    assert [d.chat.chat_id for d in report.dialogs] == ["2002"]
    report = collector.collect(Scope(skip=(name,)))
    assert {d.chat.chat_id for d in report.dialogs} == {"2001", "2003", "2004", "2005"}


def test_a_name_that_fits_nobody_is_an_error_with_the_nearest_names(collector: Collector, account: Account) -> None:
    with pytest.raises(SourceError, match="no dialog with 'Persn 2'") as caught:
        collector.collect(Scope(only=("Persn 2",)))
    assert "Person 2" in caught.value.hint
    account.add_user(2009, "Person 2")
    account.add_message(2009, "a namesake")
    with pytest.raises(SourceError, match="fits 2 dialogs") as caught:
        collector.collect(Scope(only=("Person 2",)))
    assert "2009" in caught.value.hint


def test_a_takeout_finds_dialogs_that_have_left_the_list(tmp_path: object, account: Account) -> None:
    from pathlib import Path

    from tests.mtproto import serve

    with serve(account) as server:
        account.gone.add(2003)
        server.split_at = [(1, 300), (301, 2**31 - 1)]
        collector = Collector(server, account, Path(str(tmp_path)))
        report = collector.collect()
        assert report.is_complete
        assert collector.has_everything()


def test_every_message_keeps_its_own_bytes_with_layer_and_version(collector: Collector, account: Account) -> None:
    collector.collect()
    with collector.archive() as archive:
        rows = archive._db.execute(
            """SELECT message_id, raw, format FROM raws JOIN formats USING (format_pk) JOIN chats USING (chat_pk)
            WHERE chat_id = '2001' ORDER BY message_id"""
        ).fetchall()
    assert [(r[0], r[1]) for r in rows] == [(m.id, bytes(m)) for m in account.dialogs[2001]]
    assert {r[2] for r in rows} == {RAW_FORMAT}
    assert "Telethon 1.45.0" in RAW_FORMAT
    assert "layer 229" in RAW_FORMAT


def test_what_a_message_carries_is_told(collector: Collector, server: FakeTelegram) -> None:
    account = make_account(1, 0)
    server.accounts[account.phone] = account
    collector.account = account
    collector.session = server.session_for(account)

    def document(*attributes: object) -> t.MessageMediaDocument:
        return t.MessageMediaDocument(document=t.Document(1, 2, b"", None, "x/y", 9, 2, list(attributes)))

    sticker = document(t.DocumentAttributeSticker("🙂", t.InputStickerSetEmpty()))
    reply = t.MessageReplyHeader(reply_to_msg_id=1)
    edited = account.dialogs[2001]
    account.add_message(2001, "plain", out=True)
    account.add_message(2001, "caf\u0065\u0301", reply_to=reply)
    account.add_message(2001, "look", media=t.MessageMediaPhoto())
    account.add_message(2001, media=sticker)
    account.add_message(2001, media=document(t.DocumentAttributeAudio(3, voice=True)))
    account.add_message(2001, media=document(t.DocumentAttributeVideo(3, 1, 1, round_message=True)))
    account.add_message(2001, "song", media=document(t.DocumentAttributeAudio(3)))
    account.add_message(2001, "forwarded", fwd_from=t.MessageFwdHeader(date=edited[0].date))
    account.add_message(2001, "edited", edit_date=edited[0].date)
    account.add_message(2001, "reacted to", edit_date=edited[0].date, edit_hide=True)
    account.add_service(2001, t.MessageActionPhoneCall(7))
    account.add_service(2001, t.MessageActionPinMessage())
    assert collector.collect().is_complete
    with collector.archive() as archive:
        got = list(archive.messages(collector.chat(2001)))
    assert " ".join(m.kind.value for m in got) == (
        "text text photo sticker voice video_note audio text text text call service"
    )
    assert [m.text for m in got][:5] == ["plain", "caf\u00e9", "look", "🙂", ""]
    assert [m.is_outgoing for m in got][:2] == [True, False]
    assert [m.sender_id for m in got][:2] == ["1000", "2001"]
    assert got[1].reply_to == 1
    assert [m.is_forwarded for m in got].index(True) == 7
    assert [m.edited_at is not None for m in got] == [i == 8 for i in range(12)]
