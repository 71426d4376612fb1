"""An answer to a chosen person, put into a draft: the person reads it, changes it, sends it or throws it away.

Comes in: a login, whom to answer, and something that writes (the twin). Goes out: a draft in that chat, or in Saved
Messages. There is no request here that sends, and a draft that somebody has begun is left alone. Knows nothing of
models or terminals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from telethon import errors
from telethon.tl import functions as f
from telethon.tl import types as t

from clone.collect.telegram.connection import DRAFTING, PATIENT, Line, OnWait, Patience, input_user, refused
from clone.collect.telegram.dialogs import Scope, choose, find_lost_users, list_dialogs
from clone.collect.telegram.history import History
from clone.collect.telegram.live import who_am_i
from clone.collect.telegram.login import Login, locked, open_line
from clone.collect.telegram.parse import parse_message
from clone.errors import SourceError
from clone.records import Account, Chat, ChatKind, Message

Where = Literal["chat", "saved"]
MOST_CHARACTERS = 4096  # of a message, as Telegram has it
Write = Callable[[Account, Chat, Sequence[Message]], str]  # the newest messages, oldest first -> an answer


@dataclass(frozen=True, slots=True)
class Draft:
    """What was put where."""

    chat: Chat
    text: str
    where: Where


def draft_answer(
    login: Login,
    who: str,
    write: Write,
    *,
    where: Where = "chat",
    n_messages: int = 50,
    patience: Patience = PATIENT,
    on_wait: OnWait = lambda why, seconds: None,
) -> Draft:
    """Read the newest messages of the dialog with `who` (an id, a name or an @username), and save what `write` answers.

    `where` is the chat's own draft or that of Saved Messages. Raises SourceError where there is a draft already, nobody
    of that name, or nothing to answer; LoginError as collecting does. Nothing is ever sent.
    """
    with locked(login.folder):
        return asyncio.run(_draft(login, who, write, where, n_messages, patience, on_wait))


async def _draft(
    login: Login, who: str, write: Write, where: Where, n_messages: int, patience: Patience, on_wait: OnWait
) -> Draft:
    line = await open_line(login, patience=patience, on_wait=on_wait, allowed=DRAFTING)
    try:
        account = await who_am_i(line)
        dialogs = await find_lost_users(line, await list_dialogs(line), lambda user_id: None)
        (found,) = choose(account, dialogs, Scope(only=(who,)), lambda user_id: None)
        chat = found.chat
        if found.dialog.access_hash is None or chat.kind is not ChatKind.PERSON:
            raise SourceError(
                f"an answer to {who!r} cannot be drafted.", "Choose a person that Telegram lets you reach."
            )
        peer = input_user(found.dialog.user_id, found.dialog.access_hash)
        target = peer if where == "chat" else t.InputPeerSelf()
        await _check_is_empty(line, target, where)
        recent = await History(line, peer).recent(n_messages)
        messages = [parse_message(message, chat) for message in recent]
        if not any(message.text for message in messages):
            raise SourceError("there is nothing in this chat that could be answered.")
        text = (await asyncio.to_thread(write, account, chat, messages)).strip()[:MOST_CHARACTERS]
        if not text:
            raise SourceError("the answer is empty; no draft was saved.")
        await _check_is_empty(line, target, where)  # writing takes a while, and the person may have begun one
        await line.ask(f.messages.SaveDraftRequest(target, text))
        return Draft(chat, text, where)
    except errors.RPCError as error:
        raise refused(error) from None
    finally:
        await line.close()


async def _check_is_empty(line: Line, target: Any, where: Where) -> None:
    """Raise SourceError where the person has begun to write there."""
    found = await line.ask(f.messages.GetPeerDialogsRequest([t.InputDialogPeer(target)]))
    for dialog in found.dialogs:
        if isinstance(dialog.draft, t.DraftMessage) and dialog.draft.message:
            if where == "chat":
                raise SourceError(
                    "you have begun to write in this chat; your draft was left alone.",
                    "Send or clear it, or have the answer put into Saved Messages.",
                )
            raise SourceError(
                "there is a draft in Saved Messages already; it was left alone.", "Clear it, and run this again."
            )
