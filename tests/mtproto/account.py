"""What one person sees in Telegram: users, dialogs and their messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from telethon.tl import types as t

START = datetime(2020, 1, 1, 12, tzinfo=UTC)


class Account:
    """One account and all that it sees. `dialogs`: user id -> messages, ids ascending."""

    def __init__(self, user_id: int = 1000, phone: str = "4420100", password: str | None = None) -> None:
        self.me = t.User(user_id, is_self=True, first_name="Ada", username="ada_tests", access_hash=77, phone=phone)
        self.phone, self.password = phone, password
        self.users: dict[int, t.User] = {user_id: self.me}
        self.dialogs: dict[int, list[Any]] = {}
        self.archived: set[int] = set()
        self.pinned: list[int] = []
        self.gone: set[int] = set()  # no longer in the dialog list; a takeout's split ranges still show them
        self.groups: list[tuple[Any, Any, Any]] = []  # (dialog, message, chat or channel)
        self.drafts: dict[int, str] = {}
        self._last_id = 0

    def next_id(self) -> int:
        """Return the next message id: private chats of an account share one sequence."""
        self._last_id += 1
        return self._last_id

    def add_user(self, user_id: int, first_name: str | None = "", **more: Any) -> t.User:
        user = t.User(user_id, first_name=first_name or f"User{user_id}", access_hash=user_id * 7 + 1, **more)
        self.users[user_id] = user
        self.dialogs.setdefault(user_id, [])
        return user

    def add_message(
        self, user_id: int, text: str = "", *, out: bool = False, date: datetime | None = None, **more: Any
    ) -> t.Message:
        message_id = self.next_id()
        message = t.Message(
            id=message_id,
            peer_id=t.PeerUser(user_id),
            date=date or START + timedelta(minutes=message_id),
            message=text,
            out=out,
            **more,
        )
        self.dialogs.setdefault(user_id, []).append(message)
        return message

    def add_service(self, user_id: int, action: Any, *, out: bool = False) -> t.MessageService:
        message_id = self.next_id()
        message = t.MessageService(
            id=message_id,
            peer_id=t.PeerUser(user_id),
            date=START + timedelta(minutes=message_id),
            action=action,
            out=out,
        )
        self.dialogs.setdefault(user_id, []).append(message)
        return message

    def edit(self, user_id: int, message_id: int, text: str, date: datetime) -> None:
        for message in self.dialogs[user_id]:
            if message.id == message_id:
                message.message, message.edit_date = text, date

    def delete(self, user_id: int, *message_ids: int) -> None:
        self.dialogs[user_id] = [m for m in self.dialogs[user_id] if m.id not in message_ids]

    def add_group(self, chat_id: int, title: str, *, is_channel: bool = False) -> None:
        message_id = self.next_id()
        date = START + timedelta(minutes=message_id)
        peer = t.PeerChannel(chat_id) if is_channel else t.PeerChat(chat_id)
        chat: Any
        if is_channel:
            chat = t.Channel(chat_id, title, t.ChatPhotoEmpty(), date, access_hash=chat_id + 5)
        else:
            chat = t.Chat(chat_id, title, t.ChatPhotoEmpty(), 2, date, 1)
        message = t.Message(id=message_id, peer_id=peer, date=date, message=f"a group's words {chat_id}")
        self.groups.append((make_dialog(peer, message_id), message, chat))

    def n_messages(self, user_id: int) -> int:
        return len(self.dialogs[user_id])


def make_dialog(peer: Any, top_message: int, **more: Any) -> t.Dialog:
    return t.Dialog(
        peer=peer,
        top_message=top_message,
        read_inbox_max_id=top_message,
        read_outbox_max_id=top_message,
        unread_count=0,
        unread_mentions_count=0,
        unread_reactions_count=0,
        unread_poll_votes_count=0,
        notify_settings=t.PeerNotifySettings(),
        **more,
    )


def make_account(n_people: int = 5, n_messages: int = 200, **more: Any) -> Account:
    """Return an account whose dialogs take turns, so that every dialog's ids have gaps."""
    account = Account(**more)
    for i in range(n_people):
        account.add_user(2001 + i, f"Person {i + 1}", username=f"person_{i + 1}")
    for i in range(n_messages):
        user_id = 2001 + (i * i + i // 3) % n_people
        account.add_message(user_id, f"words {i} of a test", out=i % 3 == 0)
    return account
