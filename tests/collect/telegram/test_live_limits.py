"""Pauses, failures and lost connections: sat out, or told with the next step."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from telethon.tl import functions as f
from telethon.tl import types as t

from clone.collect.telegram.connection import (
    ALLOWED,
    ComeBackLater,
    Line,
    Patience,
    TakeoutDelayed,
    check_allowed,
    local_time,
)
from clone.errors import LoginError
from tests.collect.telegram.collector import APPLICATION, QUICK, Collector
from tests.mtproto import Account, FakeTelegram, faults


def test_a_short_pause_counts_down_and_the_run_goes_on(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.RpcFailure(420, "FLOOD_WAIT_17", at=2))
    assert collector.collect().is_complete
    assert collector.has_everything()
    assert [left for _, left in collector.waits] == [*range(17, 0, -1), 0]
    assert collector.slept.count(1) >= 17


def test_a_long_pause_says_when_to_come_back_and_a_restart_before_then_asks_nothing(
    collector: Collector, server: FakeTelegram
) -> None:
    server.faults.append(faults.RpcFailure(420, "FLOOD_WAIT_7200", at=4))
    began = datetime.now(UTC)
    with pytest.raises(ComeBackLater) as caught:
        collector.collect()
    assert caught.value.exit_code == 6
    assert timedelta(0) <= caught.value.until - began - timedelta(hours=2) < timedelta(minutes=1)
    assert local_time(caught.value.until) in caught.value.message
    n_calls, n_connections = len(server.calls), server.n_connections
    with pytest.raises(ComeBackLater) as again:
        collector.collect()
    assert abs(again.value.until - caught.value.until) < timedelta(seconds=1)
    assert (len(server.calls), server.n_connections) == (n_calls, n_connections)
    with collector.archive() as archive:  # two hours later
        archive.remember("telegram.pause_until", (datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_pause_in_the_middle_of_the_dialog_list_resumes_at_its_page(
    collector: Collector, server: FakeTelegram
) -> None:
    server.faults += [
        faults.ShortDialogPages(2),
        faults.RpcFailure(420, "FLOOD_WAIT_3", name=faults.DIALOGS, at=2),
    ]
    assert len(collector.collect().dialogs) == 5
    offsets = [c.request.offset_id for c in server.calls if c.name == faults.DIALOGS and c.request.folder_id == 0]
    assert offsets.count(0) == 1  # the first page is not asked for again


@pytest.mark.parametrize("text", ["INTERNAL", "RPC_CALL_FAIL", "Timedout"])
def test_failures_of_their_servers_are_survived(collector: Collector, server: FakeTelegram, text: str) -> None:
    server.faults.append(faults.RpcFailure(500, text, at=2, times=3))
    assert collector.collect().is_complete
    assert collector.has_everything()


@pytest.mark.parametrize("name", [faults.HISTORY, faults.DIALOGS, "account.InitTakeoutSession", "users.GetUsers"])
def test_a_lost_connection_is_taken_up_again(collector: Collector, server: FakeTelegram, name: str) -> None:
    server.faults.append(faults.HangUp(name, at=1, times=2))
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_more_lost_connections_than_telethon_bears_are_survived(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.HangUp(faults.HISTORY, at=2, times=7))
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_request_that_is_never_answered_is_asked_again(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.NeverAnswers(at=3, times=2))
    hasty = Patience(pace_s=0, first_delay_s=0.01, answer_timeout_s=0.3)
    assert collector.collect(patience=hasty).is_complete
    assert collector.has_everything()


def test_a_telegram_that_stays_away_ends_the_run_and_keeps_what_came(
    collector: Collector, server: FakeTelegram
) -> None:
    server.faults.append(faults.RpcFailure(500, "INTERNAL", at=5, times=10**6))
    with pytest.raises(LoginError, match="cannot be reached") as caught:
        collector.collect()
    assert "goes on where it stopped" in caught.value.hint
    server.faults.clear()
    n_before = sum(len(collector.ids(user_id)) for user_id in (2001, 2002))
    assert n_before > 100
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_nobody_at_the_other_end_is_explained(server: FakeTelegram, account: Account, tmp_path: Path) -> None:
    session = server.session_for(account)
    asyncio.run_coroutine_threadsafe(server.stop(), server.loop).result(10)

    async def run() -> None:
        await Line(session, APPLICATION, patience=Patience(pace_s=0, retries=1, first_delay_s=0.01)).open()

    with pytest.raises(LoginError, match="cannot be reached"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "text"), [(401, "SESSION_REVOKED"), (406, "AUTH_KEY_DUPLICATED"), (401, "AUTH_KEY_UNREGISTERED")]
)
def test_a_session_that_ends_in_the_middle_stops_at_once_and_keeps_what_came(
    collector: Collector, server: FakeTelegram, code: int, text: str
) -> None:
    server.faults.append(faults.RpcFailure(code, text, at=4, times=10**6))
    with pytest.raises(LoginError) as caught:
        collector.collect()
    assert caught.value.exit_code == 6
    assert "--login" in caught.value.hint
    assert server.n(faults.HISTORY) <= 5
    server.faults.clear()
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_key_that_is_forgotten_in_the_middle_stops_at_once(collector: Collector, server: FakeTelegram) -> None:
    server.faults.append(faults.KeyForgotten(at=3))
    with pytest.raises(LoginError, match="no longer knows the key"):
        collector.collect()
    collector.session = server.session_for(collector.account)
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_takeout_that_has_to_be_confirmed_says_when_and_how(collector: Collector, server: FakeTelegram) -> None:
    delay = faults.RpcFailure(420, "TAKEOUT_INIT_DELAY_86400", name="account.InitTakeoutSession")
    server.faults.append(delay)
    with pytest.raises(TakeoutDelayed) as caught:
        collector.collect()
    assert caught.value.exit_code == 6
    assert local_time(datetime.now(UTC) + timedelta(days=1))[:-3] in caught.value.message
    assert "phone" in caught.value.hint
    assert "--no-takeout" in caught.value.hint
    assert server.n(faults.HISTORY) == 0
    assert collector.collect().is_complete  # confirmed on the phone: at once


def test_a_takeout_is_used_again_after_a_crash_and_finished_only_when_all_is_done(
    collector: Collector, server: FakeTelegram
) -> None:
    server.faults.append(faults.RpcFailure(500, "INTERNAL", at=4, times=10**6))
    with pytest.raises(LoginError):
        collector.collect()
    assert server.n("account.InitTakeoutSession") == 1
    assert server.finished_takeouts == []
    (takeout_id,) = server.takeouts
    server.faults.clear()
    assert collector.collect().is_complete
    assert server.n("account.InitTakeoutSession") == 1
    assert server.finished_takeouts == [(takeout_id, True)]


def test_a_dialog_that_telegram_refuses_does_not_keep_the_others_back(
    collector: Collector, server: FakeTelegram
) -> None:
    server.faults.append(faults.RpcFailure(400, "PEER_ID_INVALID", at=1))
    report = collector.collect()
    assert sum(d.is_complete for d in report.dialogs) == 4
    (refused,) = [d for d in report.dialogs if d.why]
    assert "PEER_ID_INVALID" in refused.why
    assert collector.collect().is_complete


def test_only_what_is_on_the_list_is_ever_asked(collector: Collector, server: FakeTelegram, account: Account) -> None:
    server.faults += [faults.DialogWithoutUser(2003), faults.HangUp(at=3), faults.TakeoutLost(at=6)]
    account.pinned = list(account.dialogs)
    collector.collect()
    account.add_message(2001, "news")
    collector.collect(verify=True)
    asked = {type(call.request) for call in server.calls}
    assert asked <= ALLOWED
    assert len(asked) >= 9
    written = [
        name for name in (r.__name__ for r in ALLOWED) if name.startswith(("Send", "Read", "Set", "Update", "Save"))
    ]
    assert written == ["SendCodeRequest"]  # the login code, to oneself


@pytest.mark.parametrize(
    "request_",
    [
        f.messages.SendMessageRequest(t.InputPeerSelf(), "hello"),
        f.messages.ReadHistoryRequest(t.InputPeerSelf(), 1),
        f.messages.SetTypingRequest(t.InputPeerSelf(), t.SendMessageTypingAction()),
        f.account.UpdateStatusRequest(offline=False),
        f.messages.SaveDraftRequest(t.InputPeerSelf(), "hello"),
    ],
)
def test_what_is_not_on_the_list_does_not_leave_the_house(
    collector: Collector, server: FakeTelegram, request_: object
) -> None:
    async def try_it(line: Line) -> None:
        server.forget_calls()
        for send in (line.ask, line.client):
            with pytest.raises(AssertionError, match="not on the list"):
                await send(request_)

    collector.ask(try_it)
    assert server.calls == []
    with pytest.raises(AssertionError):
        check_allowed(f.InvokeWithTakeoutRequest(1, request_), ALLOWED)


def test_progress_tells_the_dialog_how_far_it_is_and_of_how_many(collector: Collector, account: Account) -> None:
    collector.collect()
    assert [step.number for step in collector.progress if step.n_read == 0] == [1, 2, 3, 4, 5]
    ends = {step.chat.chat_id: step for step in collector.progress}
    sizes = {str(user_id): len(messages) for user_id, messages in account.dialogs.items()}
    assert {chat_id: step.n_read for chat_id, step in ends.items()} == sizes
    assert {chat_id: step.n_messages for chat_id, step in ends.items()} == sizes
    assert {step.n_dialogs for step in collector.progress} == {5}


def test_a_stop_in_the_middle_saves_what_has_come(collector: Collector, server: FakeTelegram, account: Account) -> None:
    """Ctrl-C cancels the run, as asyncio has it."""
    from clone.archive import Archive
    from clone.collect.telegram.dialogs import Scope
    from clone.collect.telegram.live import collect_account

    server.faults += [faults.ShortHistoryPages(5), faults.Slow(0.003)]

    async def run() -> None:
        with Archive.create(collector.archive_path) as archive:
            line = collector.line(QUICK)
            await line.open()
            task = asyncio.ensure_future(
                collect_account(
                    archive, line, Scope(), now=lambda: collector.now, on_progress=collector.progress.append
                )
            )
            while server.n(faults.HISTORY) < 30:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await line.close()

    asyncio.run(run())
    n_read = {step.chat.chat_id: step.n_read for step in collector.progress}
    saved = {str(u): len(collector.ids(u)) for u in account.dialogs if str(u) in n_read}
    assert saved == n_read
    assert 100 < sum(saved.values()) < 600
    assert collector.collect().is_complete
    assert collector.has_everything()
