"""Our reader of messages beside Telethon's own, over bytes that are made from Telegram's lines."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon.errors import TypeNotFoundError
from telethon.tl import types as t
from telethon.tl.alltlobjects import tlobjects

from clone.collect.telegram import layouts
from clone.collect.telegram.parse import chat_of, parse_message
from clone.collect.telegram.reading import Message, _Inner, read_message
from clone.records import Account, Chat, Kind

WHEN = datetime(2026, 11, 22, 12, tzinfo=UTC)
MESSAGE = """message#7600b9d3 flags:# out:flags.1?true mentioned:flags.4?true media_unread:flags.5?true
silent:flags.13?true post:flags.14?true from_scheduled:flags.18?true legacy:flags.19?true edit_hide:flags.21?true
pinned:flags.24?true noforwards:flags.26?true invert_media:flags.27?true flags2:# offline:flags2.1?true
video_processing_pending:flags2.4?true paid_suggested_post_stars:flags2.8?true paid_suggested_post_ton:flags2.9?true
id:int from_id:flags.8?Peer from_boosts_applied:flags.29?int from_rank:flags2.12?string peer_id:Peer
saved_peer_id:flags.28?Peer fwd_from:flags.2?MessageFwdHeader via_bot_id:flags.11?long
via_business_bot_id:flags2.0?long guestchat_via_from:flags2.19?Peer reply_to:flags.3?MessageReplyHeader date:int
message:string media:flags.9?MessageMedia reply_markup:flags.6?ReplyMarkup entities:flags.7?Vector<MessageEntity>
views:flags.10?int forwards:flags.10?int replies:flags.23?MessageReplies edit_date:flags.15?int
post_author:flags.16?string grouped_id:flags.17?long reactions:flags.20?MessageReactions
restriction_reason:flags.22?Vector<RestrictionReason> ttl_period:flags.25?int quick_reply_shortcut_id:flags.30?int
effect:flags2.2?long factcheck:flags2.3?FactCheck report_delivery_until_date:flags2.5?int
paid_message_stars:flags2.6?long suggested_post:flags2.7?SuggestedPost schedule_repeat_period:flags2.10?int
summary_from_language:flags2.11?string rich_message:flags2.13?RichMessage = Message""".replace("\n", " ")
REPLY = """messageReplyHeader#1b97dd66 flags:# reply_to_scheduled:flags.2?true forum_topic:flags.3?true
quote:flags.9?true reply_to_ephemeral:flags.13?true reply_to_msg_id:flags.4?int reply_to_peer_id:flags.0?Peer
reply_from:flags.5?MessageFwdHeader reply_media:flags.8?MessageMedia reply_to_top_id:flags.1?int
quote_text:flags.6?string quote_entities:flags.7?Vector<MessageEntity> quote_offset:flags.10?int
todo_item_id:flags.11?int poll_option:flags.12?bytes = MessageReplyHeader""".replace("\n", " ")
STICKER = t.DocumentAttributeSticker("🙂", t.InputStickerSetEmpty(), mask_coords=t.MaskCoords(1, 0.5, 0.5, 1.0))
# what is not read by lines of ours, as Telethon writes it
WRITTEN: dict[str, list[Any]] = {
    "MessageMedia": [
        t.MessageMediaGeo(t.GeoPoint(1.0, 2.0, 3)),
        t.MessageMediaContact("49", "Anna", "B", "", 7),
        t.MessageMediaDice(6, "🎲"),
        t.MessageMediaVenue(t.GeoPointEmpty(), "a", "b", "c", "d", "e"),
        t.MessageMediaUnsupported(),
        t.MessageMediaEmpty(),
    ],
    "DocumentAttribute": [STICKER, t.DocumentAttributeCustomEmoji("🙂", t.InputStickerSetEmpty())],
    "MaskCoords": [t.MaskCoords(1, 0.5, 0.5, 1.0)],
    "ReplyMarkup": [t.ReplyInlineMarkup([]), t.ReplyKeyboardHide()],
    "MessageReplies": [t.MessageReplies(1, 2)],
    "RestrictionReason": [t.RestrictionReason("a", "b", "c")],
    "MessageReactor": [t.MessageReactor(3, peer_id=t.PeerUser(5))],
    "WebPageAttribute": [t.WebPageAttributeTheme()],
    "Page": [t.Page("u", [], [], [])],
    "FactCheck": [t.FactCheck(5)],
    "SuggestedPost": [t.SuggestedPost()],
    "RichMessage": [],
}
CHATS = [chat_of(Account("telegram", "1000"), user_id, None) for user_id in (2001, 1000)]  # a person, saved messages

LINES = [*layouts.LINES, MESSAGE, REPLY]
BY_TYPE: dict[str, list[str]] = {}
for line in LINES:
    BY_TYPE.setdefault(line.rpartition(" = ")[2], []).append(line)


def packed_string(value: bytes) -> bytes:
    head = bytes([len(value)]) if len(value) < 254 else b"\xfe" + len(value).to_bytes(3, "little")
    return head + value + bytes(-(len(head) + len(value)) % 4)


numbers = st.one_of(st.integers(0, 3), st.integers(-(2**31), 2**31 - 1))
strings = st.one_of(
    st.text(max_size=20).map(str.encode), st.binary(max_size=8), st.sampled_from([253, 254, 255, 256, 300]).map(bytes)
)
VALUES: dict[str, st.SearchStrategy[bytes]] = {
    "int": numbers.map(lambda n: struct.pack("<i", n)),
    "long": st.integers(-(2**63), 2**63 - 1).map(lambda n: struct.pack("<q", n)),
    "double": st.floats(width=32).map(lambda x: struct.pack("<d", x)),
    "string": strings.map(packed_string),
    "bytes": strings.map(packed_string),
}


@st.composite
def written(draw: Callable[..., Any], kind: str, depth: int = 0) -> bytes:
    """Draw the bytes of an object of a type, of any of its constructors."""
    if kind in VALUES:
        value: bytes = draw(VALUES[kind])
        return value
    if kind.startswith("Vector<"):
        of = kind.removeprefix("Vector<").removesuffix(">")
        items = draw(st.lists(written(of, depth + 1), max_size=3))
        return struct.pack("<Ii", 0x1CB5C415, len(items)) + b"".join(items)
    lines, ready = BY_TYPE.get(kind, []), WRITTEN.get(kind, [])
    chosen = draw(st.sampled_from([*lines, *ready]))
    return bytes(chosen) if not isinstance(chosen, str) else draw(from_line(chosen, depth))


@st.composite
def from_line(draw: Callable[..., Any], line: str, depth: int = 0) -> bytes:
    """Draw the bytes of an object of one constructor: a few of its fields, any of its marks."""
    name, *fields = line.partition(" = ")[0].split()
    optional = sorted(
        {found for found in re.findall(r"(flags2?\.\d+)\?", line) if "RichMessage" not in line or found != "flags2.13"}
    )
    chosen = draw(st.sets(st.sampled_from(optional), max_size=2 if depth else 4)) if optional else set()
    wire = struct.pack("<I", int(name.partition("#")[2], 16))
    for field in fields:
        key, _, kind = field.partition(":")
        if kind == "#":
            wire += struct.pack(
                "<I", sum(1 << int(bit.partition(".")[2]) for bit in chosen if bit.startswith(key + "."))
            )
            continue
        bit, is_optional, of = kind.rpartition("?")
        if (not is_optional or bit in chosen) and of != "true":
            wire += draw(written(of, depth + 1))
    return wire


def theirs(wire: bytes) -> tuple[Any, int] | None:
    """Return what Telethon reads at the start of `wire`, and where it ends; None where it cannot."""
    reader = _Inner(wire)
    reader.position = 4
    try:
        return Message.from_reader(reader), reader.position
    except (TypeNotFoundError, struct.error, BufferError, IndexError, ValueError, RuntimeError):
        return None


def assert_alike(found: tuple[Any, int], wire: bytes) -> None:
    """Assert that what our reader found is what Telethon finds, in all that the archive is told of a message."""
    again = theirs(wire)
    assert again is not None
    (ours, end), (other, its_end) = found, again
    assert end == its_end
    for name in ("id", "date", "message", "from_id", "peer_id", "edit_date", "out", "edit_hide"):
        assert getattr(ours, name) == getattr(other, name), name
    assert [type(m.media) for m in (ours, other)] == [type(other.media)] * 2
    assert (ours.fwd_from is None) == (other.fwd_from is None)
    for chat in CHATS:
        assert parse_message(ours, chat) == parse_message(other, chat)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition("#")[0])
def test_a_line_hashes_to_its_constructors_number(line: str) -> None:
    name, number = line.split()[0].split("#")
    plain = re.sub(r" \w+:flags2?\.\d+\?true", "", line.replace(f"{name}#{number}", name))
    plain = plain.replace(":bytes ", ":string ").replace("?bytes ", "?string ").replace("<", " ").replace(">", "")
    assert zlib.crc32(plain.encode()) == int(number, 16)
    assert int(number, 16) in tlobjects, "and Telethon knows it"


@given(wire=from_line(MESSAGE), behind=st.binary(max_size=12))
@settings(max_examples=600)
def test_any_message_is_read_as_telethon_reads_it_or_left_to_it(wire: bytes, behind: bytes) -> None:
    found = read_message(b"\0" * 8 + wire + behind, 8)
    if found is not None:
        assert_alike((found[0], found[1] - 8), wire + behind)
        assert found[1] == 8 + len(wire)


@given(data=st.data(), wire=from_line(MESSAGE))
@settings(max_examples=600)
def test_bytes_out_of_order_never_make_another_message_than_telethons(data: st.DataObject, wire: bytes) -> None:
    broken = bytearray(wire)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(4, len(broken) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(4, len(broken)))])
    for damaged in (bytes(broken), cut):
        found = read_message(damaged, 0)
        if found is not None:
            assert_alike(found, damaged)


PEER = t.PeerUser(2001)
PICTURE = t.Photo(
    *(1, 2, b"ref", WHEN),
    sizes=[
        t.PhotoStrippedSize("i", b"\1\2\3"),
        t.PhotoSize("m", 320, 240, 999),
        t.PhotoSizeProgressive("y", 1, 2, [3]),
    ],
    dc_id=2,
)
EVERYDAY: dict[str, tuple[Kind, dict[str, Any]]] = {
    "text": (Kind.TEXT, {}),
    "entities": (
        Kind.TEXT,
        {
            "entities": [
                t.MessageEntityBold(0, 2),
                t.MessageEntityTextUrl(1, 2, "u" * 300),
                t.MessageEntityPre(0, 1, "c"),
            ]
        },
    ),
    "reply": (Kind.TEXT, {"reply_to": t.MessageReplyHeader(reply_to_msg_id=3)}),
    "reply_elsewhere": (Kind.TEXT, {"reply_to": t.MessageReplyHeader(reply_to_msg_id=3, reply_to_peer_id=PEER)}),
    "reply_with_quote": (
        Kind.TEXT,
        {"reply_to": t.MessageReplyHeader(reply_to_msg_id=3, quote=True, quote_text="q", quote_offset=1)},
    ),
    "reply_to_story": (Kind.TEXT, {"reply_to": t.MessageReplyStoryHeader(PEER, 4)}),
    "forward": (Kind.TEXT, {"fwd_from": t.MessageFwdHeader(date=WHEN, from_id=PEER, from_name="Q")}),
    "edited": (Kind.TEXT, {"edit_date": WHEN}),
    "reactions": (
        Kind.TEXT,
        {
            "edit_date": WHEN,
            "edit_hide": True,
            "reactions": t.MessageReactions(
                [t.ReactionCount(t.ReactionEmoji("👍"), 1)],
                recent_reactions=[t.MessagePeerReaction(PEER, WHEN, t.ReactionCustomEmoji(4))],
            ),
        },
    ),
    "photo": (Kind.PHOTO, {"media": t.MessageMediaPhoto(photo=PICTURE), "grouped_id": 77}),
    "page": (
        Kind.TEXT,
        {"media": t.MessageMediaWebPage(t.WebPage(1, "u", "d", 0, title="x", description="y" * 400, photo=PICTURE))},
    ),
    "contact": (Kind.CONTACT, {"media": t.MessageMediaContact("49", "Anna", "B", "", 7)}),
    "gone_voice": (Kind.VOICE, {"media": t.MessageMediaDocument(voice=True, ttl_seconds=9), "ttl_period": 7}),
}
for name, kind, attributes in (
    ("voice", Kind.VOICE, [t.DocumentAttributeAudio(5, voice=True, waveform=b"w" * 63)]),
    ("audio", Kind.AUDIO, [t.DocumentAttributeAudio(5, title="t", performer="p"), t.DocumentAttributeFilename("f")]),
    ("video", Kind.VIDEO, [t.DocumentAttributeVideo(5.0, 1, 2, supports_streaming=True, preload_prefix_size=9)]),
    ("video_note", Kind.VIDEO_NOTE, [t.DocumentAttributeVideo(5.0, 1, 2, round_message=True)]),
    ("sticker", Kind.STICKER, [t.DocumentAttributeImageSize(512, 512), STICKER]),
    ("animation", Kind.ANIMATION, [t.DocumentAttributeAnimated(), t.DocumentAttributeVideo(5.0, 1, 2)]),
    ("file", Kind.FILE, [t.DocumentAttributeFilename("notes.pdf")]),
):
    document = t.Document(1, 2, b"r", WHEN, "a/b", 2**33, 4, attributes, thumbs=[t.PhotoPathSize("j", b"p")])
    EVERYDAY[name] = (kind, {"media": t.MessageMediaDocument(document=document)})


@pytest.mark.parametrize("name", EVERYDAY)
def test_everyday_messages_are_read_by_us(name: str) -> None:
    kind, more = EVERYDAY[name]
    wire = bytes(t.Message(id=5, peer_id=PEER, date=WHEN, message="né à 8h", out=True, **more))
    found = read_message(wire + b"next", 0)
    assert found is not None
    assert_alike(found, wire)
    chat: Chat = CHATS[0]
    assert parse_message(found[0], chat).kind is kind
    for length in range(len(wire)):
        assert read_message(wire[:length], 0) is None
