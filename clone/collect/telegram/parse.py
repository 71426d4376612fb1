"""A Telegram message as a record: what it says, what it carries, who sent it.

Comes in: Telethon's message objects. Goes out: `Message` records, and the people and chats beside them. Ids are those
that exports of Telegram Desktop carry too, so that a live collection and an export of one account fall together.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from telethon.tl import types as t

from clone.collect.telegram.reading import MessageService
from clone.collect.telegram.system import SYSTEM_IDS
from clone.records import Account, Chat, ChatKind, Kind, Message, make_message

SOURCE = "telegram"

_MEDIA = {
    t.MessageMediaPhoto: Kind.PHOTO,
    t.MessageMediaContact: Kind.CONTACT,
    t.MessageMediaGeo: Kind.LOCATION,
    t.MessageMediaGeoLive: Kind.LOCATION,
    t.MessageMediaVenue: Kind.LOCATION,
    t.MessageMediaPoll: Kind.POLL,
    t.MessageMediaToDo: Kind.UNSUPPORTED,
    t.MessageMediaGame: Kind.GAME,
    t.MessageMediaInvoice: Kind.INVOICE,
    t.MessageMediaPaidMedia: Kind.UNSUPPORTED,
    t.MessageMediaDice: Kind.STICKER,
    t.MessageMediaUnsupported: Kind.UNSUPPORTED,
    t.MessageMediaStory: Kind.UNSUPPORTED,
    t.MessageMediaGiveaway: Kind.UNSUPPORTED,
    t.MessageMediaGiveawayResults: Kind.UNSUPPORTED,
    t.MessageMediaVideoStream: Kind.UNSUPPORTED,
    t.MessageMediaWebPage: Kind.TEXT,  # a preview of a link in the text
    t.MessageMediaEmpty: Kind.TEXT,
}


def account_of(me: Any) -> Account:
    """Return the account that is logged in."""
    return Account(SOURCE, str(me.id), full_name(me), me.username or "", me.phone or "")


def chat_of(account: Account, user_id: int, user: Any) -> Chat:
    """Return the dialog with a user; `user` is None where Telegram did not say who it is."""
    if str(user_id) == account.account_id:
        kind = ChatKind.SAVED
    elif user_id in SYSTEM_IDS or getattr(user, "support", False):
        kind = ChatKind.SYSTEM
    elif getattr(user, "bot", False):
        kind = ChatKind.BOT
    else:
        kind = ChatKind.PERSON
    return Chat(
        SOURCE,
        account.account_id,
        str(user_id),
        kind,
        title=full_name(user),
        username=(getattr(user, "username", None) or next(iter(usernames(user)), "")),
        phone=getattr(user, "phone", None) or "",
        is_deleted=bool(getattr(user, "deleted", False)),
    )


def full_name(user: Any) -> str:
    """Return a user's name as Telegram shows it, "" for a deleted account."""
    parts = (getattr(user, "first_name", None), getattr(user, "last_name", None))
    return unicodedata.normalize("NFC", " ".join(part for part in parts if part))


def usernames(user: Any) -> list[str]:
    """Return every username of a user; a user may have several."""
    more = [name.username for name in getattr(user, "usernames", None) or [] if name.active]
    return [name for name in [getattr(user, "username", None), *more] if name]


def parse_message(message: Any, chat: Chat) -> Message:
    """Return a Message or MessageService of a dialog as a record."""
    is_service = isinstance(message, MessageService)
    kind, text = (_service_kind(message), "") if is_service else _content(message)
    sender_id = _sender(message, chat)
    edited_at = None if is_service or message.edit_hide else message.edit_date  # hidden: a reaction, not an edit
    reply = message.reply_to
    is_same_chat = isinstance(reply, t.MessageReplyHeader) and reply.reply_to_peer_id is None
    return make_message(
        chat.source,
        chat.account_id,
        chat.chat_id,
        message.id,
        sender_id,
        message.date,
        text,
        kind,
        reply.reply_to_msg_id if is_same_chat else None,
        edited_at,
        not is_service and message.fwd_from is not None,
        sender_id == chat.account_id,
    )


def _sender(message: Any, chat: Chat) -> str:
    if isinstance(message.from_id, t.PeerUser):
        return str(message.from_id.user_id)
    if message.out or chat.kind is ChatKind.SAVED:
        return chat.account_id
    return chat.chat_id


def _service_kind(message: Any) -> Kind:
    return Kind.CALL if isinstance(message.action, t.MessageActionPhoneCall) else Kind.SERVICE


def _content(message: Any) -> tuple[Kind, str]:
    text = unicodedata.normalize("NFC", message.message or "")
    media = message.media
    if media is None:
        return Kind.TEXT, text
    if isinstance(media, t.MessageMediaDocument):
        kind, emoji = _document_kind(media)
        return kind, emoji or text
    if isinstance(media, t.MessageMediaDice):
        return Kind.STICKER, media.emoticon
    return _MEDIA.get(type(media), Kind.UNSUPPORTED), text


def _document_kind(media: Any) -> tuple[Kind, str]:
    """Return what a document is, and a sticker's emoji."""
    attributes = {type(a): a for a in getattr(media.document, "attributes", None) or []}
    if t.DocumentAttributeSticker in attributes:
        return Kind.STICKER, attributes[t.DocumentAttributeSticker].alt or ""
    if t.DocumentAttributeAnimated in attributes:
        return Kind.ANIMATION, ""
    if t.DocumentAttributeVideo in attributes:
        return (Kind.VIDEO_NOTE if attributes[t.DocumentAttributeVideo].round_message else Kind.VIDEO), ""
    if t.DocumentAttributeAudio in attributes:
        return (Kind.VOICE if attributes[t.DocumentAttributeAudio].voice else Kind.AUDIO), ""
    if media.voice:  # view-once media that has expired keeps only these marks
        return Kind.VOICE, ""
    if media.round:
        return Kind.VIDEO_NOTE, ""
    return (Kind.VIDEO if media.video else Kind.FILE), ""
