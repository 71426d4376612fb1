"""Drafts of the twin, on the in-process Telegram: marked, put where the person decides, never sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from clone.chat.disclosure import LABEL, THIRD_PERSON_LABEL
from clone.chat.sampling import Sampling
from clone.chat.suggest import running_turns, suggest_answer
from clone.collect.telegram import connection
from clone.errors import DataError
from clone.records import Kind, Message, Role, Turn
from tests.chat.test_repl import Parrot
from tests.chat.workspaces import make_run
from tests.collect.telegram.collector import QUICK
from tests.mtproto import Account, FakeTelegram, serve
from tests.mtproto.account import make_account

DAY = timedelta(days=1)


def said(text: str, minute: int, *, mine: bool = False) -> Message:
    at = datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(minutes=minute)
    return Message("telegram", "1", "2", minute, "1" if mine else "2", at, text, Kind.TEXT, None, None, False, mine)


def test_only_the_running_conversation_is_read() -> None:
    old = [said("last week", 0), said("yes", 1, mine=True)]
    new = [said("hey", 20000), said("", 20001), said("you there?", 20002)]
    assert running_turns([*old, *new], DAY) == [Turn(Role.THEM, ("hey", "you there?"))]


def test_a_suggestion_says_who_wrote_it() -> None:
    voice = Parrot()
    text = suggest_answer(voice, "amber", [said("hey", 0)], Sampling(), session_gap=DAY)
    assert text == f"{THIRD_PERSON_LABEL}\nreply 1.0\nhey"
    assert voice.asked_as == ["amber"]


def test_a_question_whether_it_is_an_ai_is_answered_by_rule() -> None:
    voice = Parrot()
    text = suggest_answer(voice, "", [said("are you a bot?", 0)], Sampling(), session_gap=DAY)
    assert text.startswith(f"{LABEL} Yes, I am an AI")
    assert voice.heard == []


def test_who_spoke_last_gets_no_suggestion() -> None:
    with pytest.raises(DataError, match="you spoke last"):
        suggest_answer(Parrot(), "", [said("hey", 0), said("yes", 1, mine=True)], Sampling(), session_gap=DAY)
    with pytest.raises(DataError, match="nothing to answer"):
        suggest_answer(Parrot(), "", [], Sampling(), session_gap=DAY)


@pytest.fixture
def account() -> Account:
    return make_account(n_people=3, n_messages=60)


@pytest.fixture
def server(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTelegram]:
    with serve(account) as running:
        monkeypatch.setenv("CLONE_TELEGRAM_API_ID", "12345")
        monkeypatch.setenv("CLONE_TELEGRAM_API_HASH", "0123456789abcdef0123456789abcdef")
        monkeypatch.setenv("CLONE_TELEGRAM_SESSION", running.session_for(account))
        monkeypatch.setattr(connection, "PATIENT", QUICK)
        yield running


@pytest.mark.parametrize("where", ["chat", "saved"])
def test_the_command_leaves_a_marked_draft_and_sends_nothing(
    workspace: Path, clone: Callable[..., Result], server: FakeTelegram, account: Account, where: str
) -> None:
    make_run(workspace)
    account.add_message(2002, "are you coming tonight?")
    result = clone("suggest", "@person_2", "--seed", "1", *(["--saved"] if where == "saved" else []))
    assert result.exit_code == 0, result.output
    (user_id, text), *others = account.drafts.items()
    assert others == []
    assert user_id == (2002 if where == "chat" else account.me.id)
    assert text.startswith(THIRD_PERSON_LABEL)
    assert "Nothing was sent." in result.stderr
    assert not [name for name in server.counts if name.startswith(("messages.Send", "messages.Read"))]


def test_json_says_where_and_that_nothing_was_sent(
    workspace: Path, clone: Callable[..., Result], server: FakeTelegram, account: Account
) -> None:
    make_run(workspace)
    account.add_message(2001, "hey")
    told = json.loads(clone("suggest", "2001", "--json").stdout)
    assert told == {"chat_id": "2001", "where": "chat", "run": "default/20261122-120000", "is_sent": False}


def test_a_draft_of_the_persons_own_is_left_alone(
    workspace: Path, clone: Callable[..., Result], server: FakeTelegram, account: Account
) -> None:
    make_run(workspace)
    account.add_message(2001, "hey")
    account.drafts[2001] = "I began to"
    result = clone("suggest", "2001")
    assert result.exit_code == 1
    assert "your draft was left alone" in result.stderr
    assert account.drafts == {2001: "I began to"}
