"""Which dialogs there are, and with whom.

Comes in: a connection. Goes out: every dialog with a user, in the order of the list. Finds dialogs over short pages,
in the archived folder, behind pinned ones, without their User, and (in a takeout) those that have left the list.
Knows nothing of archives.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from telethon.tl import functions as f
from telethon.tl import types as t

from clone.collect.telegram.connection import Line
from clone.collect.telegram.parse import chat_of, usernames
from clone.collect.telegram.reading import BriefMessage, Message, MessageService, find_users
from clone.errors import SourceError
from clone.records import Account, Chat, ChatKind

PAGE_SIZE = 100
FOLDERS = (0, 1)  # the list, and the archived folder


@dataclass(frozen=True, slots=True)
class Dialog:
    """A dialog with a user. `user` is None, and `access_hash` too, where Telegram did not say who it is."""

    user_id: int
    top_message: int  # id of its newest message
    user: Any = None
    access_hash: int | None = None
    draft: str = ""
    ranges: tuple[Any, ...] = ()  # of a takeout, for a dialog that stands in no list


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose dialogs are wanted: all with people, Saved Messages on demand; by id, name or @username."""

    include_saved: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A dialog with the chat that it is in the archive."""

    dialog: Dialog
    chat: Chat
    names: tuple[str, ...] = field(default=())  # all usernames


async def list_dialogs(line: Line) -> list[Dialog]:
    """Return every dialog with a user that the account's lists show; in a takeout, those too that no list shows."""
    found: dict[int, Dialog] = {}
    for folder_id in FOLDERS:
        await _walk_list(line, found, folder_id=folder_id)
    if line.takeout_id is not None:
        listed = set(found)
        for message_range in await line.ask(f.messages.GetSplitRangesRequest()):
            seen: dict[int, Dialog] = {}
            await _walk_list(line, seen, message_range=message_range)
            for user_id, dialog in seen.items():
                if user_id not in listed:
                    before = found.get(user_id)
                    ranges = (*(before.ranges if before else ()), message_range)
                    top = max(dialog.top_message, before.top_message if before else 0)
                    found[user_id] = replace(dialog, ranges=ranges, top_message=top)
                elif found[user_id].user is None:
                    found[user_id] = replace(found[user_id], user=dialog.user, access_hash=dialog.access_hash)
    return list(found.values())


async def _walk_list(
    line: Line, found: dict[int, Dialog], *, folder_id: int | None = None, message_range: Any = None
) -> None:
    """Put a list's dialogs into `found`. Only a page with nothing new ends it; a short one does not."""
    date, top, peer = None, 0, t.InputPeerEmpty()
    seen: set[tuple[str, int]] = set()
    is_first = True
    while True:
        request = f.messages.GetDialogsRequest(
            offset_date=date,
            offset_id=top,
            offset_peer=peer,
            limit=PAGE_SIZE,
            hash=0,
            exclude_pinned=not is_first or None,  # they stand before the order by date
            folder_id=folder_id,
        )
        answer = await line.read(request, message_range=message_range)
        dialogs = [part for part, _ in answer.parts if isinstance(part, t.Dialog)]
        dates = {(_peer_key(part.peer_id), part.id): part.date for part, _ in answer.parts if _is_dated(part)}
        entities = [part for part, _ in answer.parts]
        if answer.unknown is not None:
            entities += find_users(answer.unknown.rest)
        users = {part.id: part for part in entities if isinstance(part, t.User)}
        chats = {part.id: part for part in entities if isinstance(part, t.Chat | t.Channel)}
        n_before = len(seen)
        for dialog in dialogs:
            seen.add(_peer_key(dialog.peer))
            if isinstance(dialog.peer, t.PeerUser):
                _put(found, dialog, users.get(dialog.peer.user_id))
        unpinned = [dialog for dialog in dialogs if not dialog.pinned]
        if not dialogs or (len(seen) == n_before and not is_first):
            return
        if is_first and not unpinned and folder_id is not None:  # there may be more than fit on the page
            answer = await line.read(f.messages.GetPinnedDialogsRequest(folder_id), outside_takeout=True)
            more = {part.id: part for part, _ in answer.parts if isinstance(part, t.User)}
            for dialog, _ in answer.parts:
                if isinstance(dialog, t.Dialog) and isinstance(dialog.peer, t.PeerUser):
                    _put(found, dialog, more.get(dialog.peer.user_id))
        is_first = False
        for dialog in reversed(unpinned):  # the next page begins after the last whose date is known
            known = dates.get((_peer_key(dialog.peer), dialog.top_message))
            if known is not None:
                date, top, peer = known, dialog.top_message, _input_peer(dialog.peer, users, chats)
                break
        else:
            if unpinned:
                top, peer = unpinned[-1].top_message, _input_peer(unpinned[-1].peer, users, chats)


def _put(found: dict[int, Dialog], dialog: Any, user: Any) -> None:
    user_id = dialog.peer.user_id
    before = found.get(user_id)
    access_hash = getattr(user, "access_hash", None)
    if getattr(user, "min", False):
        access_hash = None  # of no use outside the chat that showed it
    if before is not None and before.access_hash is not None:
        user, access_hash = before.user, before.access_hash
    draft = dialog.draft.message if isinstance(dialog.draft, t.DraftMessage) else ""
    found[user_id] = Dialog(user_id, dialog.top_message, user, access_hash, draft)


def _is_dated(part: Any) -> bool:
    return isinstance(part, (BriefMessage, Message, MessageService)) and part.date is not None


def _peer_key(peer: Any) -> tuple[str, int]:
    if isinstance(peer, t.PeerUser):
        return "user", peer.user_id
    if isinstance(peer, t.PeerChat):
        return "chat", peer.chat_id
    return "channel", getattr(peer, "channel_id", 0)


def _input_peer(peer: Any, users: dict[int, Any], chats: dict[int, Any]) -> Any:
    kind, peer_id = _peer_key(peer)
    if kind == "user":
        return t.InputPeerUser(peer_id, getattr(users.get(peer_id), "access_hash", None) or 0)
    if kind == "chat":
        return t.InputPeerChat(peer_id)
    return t.InputPeerChannel(peer_id, getattr(chats.get(peer_id), "access_hash", None) or 0)


async def find_lost_users(line: Line, dialogs: list[Dialog], known_hash: Callable[[int], int | None]) -> list[Dialog]:
    """Return the dialogs with the users that Telegram left out filled in, from the archive or the contacts.

    Those that are nowhere stay without an access hash: they cannot be read, and the run says so.
    """
    if all(dialog.access_hash is not None for dialog in dialogs):
        return dialogs
    filled = [
        dialog if dialog.access_hash is not None else replace(dialog, access_hash=known_hash(dialog.user_id))
        for dialog in dialogs
    ]
    if any(dialog.access_hash is None for dialog in filled):
        again: dict[int, Dialog] = {}
        for folder_id in FOLDERS:  # the same list again, which mostly is whole the second time
            await _walk_list(line, again, folder_id=folder_id)
        contacts = await line.ask(f.contacts.GetContactsRequest(hash=0), outside_takeout=True)
        by_id = {user.id: user for user in getattr(contacts, "users", [])}
        by_id |= {user_id: dialog.user for user_id, dialog in again.items() if dialog.user is not None}
        filled = [_fill(dialog, by_id.get(dialog.user_id)) for dialog in filled]
    return filled


def _fill(dialog: Dialog, user: Any) -> Dialog:
    if dialog.access_hash is not None or user is None:
        return dialog
    return replace(dialog, user=user, access_hash=getattr(user, "access_hash", None))


def choose(
    account: Account, dialogs: Iterable[Dialog], scope: Scope, known: Callable[[int], Chat | None]
) -> list[Found]:
    """Return the dialogs that `scope` asks for, people first as they come, with their chats.

    `known` gives the chat that the archive has for a user whom Telegram did not name. Raises SourceError for a name in
    the scope that fits nobody, or more than one.
    """
    candidates = []
    for dialog in dialogs:
        chat = chat_of(account, dialog.user_id, dialog.user)
        if dialog.user is None and chat.kind is ChatKind.PERSON:
            chat = known(dialog.user_id) or chat
        candidates.append(Found(dialog, chat, tuple(usernames(dialog.user))))
    people = [found for found in candidates if found.chat.kind is ChatKind.PERSON]
    saved = [found for found in candidates if found.chat.kind is ChatKind.SAVED]
    if scope.only:
        wanted = {_find(name, people + saved, candidates).dialog.user_id for name in scope.only}
        chosen = [found for found in people + saved if found.dialog.user_id in wanted]
    else:
        chosen = people + (saved if scope.include_saved else [])
    unwanted = {_find(name, people + saved, candidates).dialog.user_id for name in scope.skip}
    return [found for found in chosen if found.dialog.user_id not in unwanted]


def _find(name: str, choosable: Sequence[Found], everyone: Sequence[Found]) -> Found:
    """Return the one dialog that a person means by an id, a name or an @username."""
    fitting = [found for found in choosable if fits(name, found.chat, found.names)]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        ids = ", ".join(found.chat.chat_id for found in fitting)
        raise SourceError(f"{name!r} fits {len(fitting)} dialogs.", f"Give the id: {ids}")
    others = [found for found in everyone if fits(name, found.chat, found.names)]
    if others:
        raise SourceError(
            f"{name!r} is a {others[0].chat.kind.value} chat, not one with a person.",
            "Only dialogs with people, and Saved Messages, are collected.",
        )
    titles = [found.chat.title for found in choosable] + ["@" + n for found in choosable for n in found.names]
    near = difflib.get_close_matches(name, titles, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    raise SourceError(f"no dialog with {name!r}.", hint + "clone collect --list shows them all.")


def fits(name: str, chat: Chat, names: Iterable[str] = ()) -> bool:
    """Whether an id, a name or an @username as a person types it means this chat."""
    name = name.strip()
    if name.startswith("@"):
        return name[1:].casefold() in {n.casefold() for n in (*names, chat.username) if n}
    if name == chat.chat_id:
        return True
    if chat.kind is ChatKind.SAVED and name.casefold() in ("saved", "saved messages"):
        return True
    return bool(chat.title) and name.casefold() == chat.title.casefold()
