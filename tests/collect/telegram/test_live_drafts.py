"""An answer becomes a draft, where the person wants it; nothing is sent, and nobody's draft is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clone.collect.telegram.connection import DRAFTING
from clone.collect.telegram.drafts import Draft, draft_answer
from clone.collect.telegram.login import Login
from clone.errors import SourceError
from clone.records import Account as Me
from clone.records import Chat, Message
from tests.collect.telegram.collector import APPLICATION, QUICK
from tests.mtproto import Account, FakeTelegram, faults


class Twin:
    """Writes what it is told to, and remembers what it was shown."""

    def __init__(self, answer: str = "sure, at eight?") -> None:
        self.answer = answer
        self.chat: Chat | None = None
        self.shown: list[Message] = []

    def __call__(self, me: Me, chat: Chat, messages: Sequence[Message]) -> str:
        self.chat, self.shown = chat, list(messages)
        return self.answer


def suggest(server: FakeTelegram, account: Account, tmp_path: Path, who: str, twin: Twin, **more: Any) -> Draft:
    login = Login(tmp_path / "telegram", application=APPLICATION, session=server.session_for(account))
    return draft_answer(login, who, twin, patience=QUICK, **more)


def test_an_answer_is_put_into_the_chats_draft(server: FakeTelegram, account: Account, tmp_path: Path) -> None:
    account.add_message(2002, "are you coming tonight?")
    twin = Twin()
    draft = suggest(server, account, tmp_path, "@person_2", twin, n_messages=10)
    assert account.drafts == {2002: "sure, at eight?"}
    assert (draft.chat.chat_id, draft.where) == ("2002", "chat")
    assert [m.message_id for m in twin.shown] == [m.id for m in account.dialogs[2002][-10:]]
    assert twin.shown[-1].text == "are you coming tonight?"


def test_an_answer_is_put_into_saved_messages_on_demand(server: FakeTelegram, account: Account, tmp_path: Path) -> None:
    account.drafts[2002] = "I began to"
    suggest(server, account, tmp_path, "2002", Twin("yes"), where="saved")
    assert account.drafts == {2002: "I began to", account.me.id: "yes"}


@pytest.mark.parametrize(("where", "user_id"), [("chat", 2002), ("saved", 1000)])
def test_a_draft_that_somebody_has_begun_is_left_alone(
    server: FakeTelegram, account: Account, tmp_path: Path, where: str, user_id: int
) -> None:
    account.drafts[user_id] = "I began to"
    with pytest.raises(SourceError, match="left alone"):
        suggest(server, account, tmp_path, "Person 2", Twin(), where=where)
    assert account.drafts == {user_id: "I began to"}


def test_a_draft_that_is_begun_while_the_twin_writes_is_left_alone(
    server: FakeTelegram, account: Account, tmp_path: Path
) -> None:
    class Slow(Twin):
        def __call__(self, me: Me, chat: Chat, messages: Sequence[Message]) -> str:
            account.drafts[2002] = "just now"
            return super().__call__(me, chat, messages)

    with pytest.raises(SourceError, match="left alone"):
        suggest(server, account, tmp_path, "Person 2", Slow())
    assert account.drafts == {2002: "just now"}


def test_nothing_is_sent_and_nothing_else_is_asked(server: FakeTelegram, account: Account, tmp_path: Path) -> None:
    for where in ("chat", "saved"):
        suggest(server, account, tmp_path, "Person 2", Twin(), where=where)
    asked = {type(call.request) for call in server.calls}
    assert asked <= DRAFTING
    saved = [call.request for call in server.calls if call.name == "messages.SaveDraft"]
    assert [type(request.peer).__name__ for request in saved] == ["InputPeerUser", "InputPeerSelf"]
    assert not [name for name in server.counts if name.startswith(("messages.Send", "messages.Read", "messages.Set"))]


@pytest.mark.parametrize(("who", "words"), [("Persn 2", "no dialog"), ("saved", "cannot be drafted")])
def test_only_people_are_answered(server: FakeTelegram, account: Account, tmp_path: Path, who: str, words: str) -> None:
    account.add_message(account.me.id, "a note")
    with pytest.raises(SourceError, match=words):
        suggest(server, account, tmp_path, who, Twin())
    assert account.drafts == {}


def test_an_empty_answer_saves_nothing(server: FakeTelegram, account: Account, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="empty"):
        suggest(server, account, tmp_path, "2002", Twin("  \n"))
    assert server.n("messages.SaveDraft") == 0


def test_messages_of_an_unknown_kind_do_not_keep_an_answer_back(
    server: FakeTelegram, account: Account, tmp_path: Path
) -> None:
    server.faults.append(faults.UnknownMedia({account.dialogs[2002][-5].id}))
    twin = Twin()
    suggest(server, account, tmp_path, "2002", twin)
    assert [m.message_id for m in twin.shown] == [m.id for m in account.dialogs[2002][-4:]]
