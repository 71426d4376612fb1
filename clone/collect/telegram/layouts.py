"""Where an object of a message ends, for the kinds that most messages are made of.

Comes in: the bytes of an answer and a place in them. Goes out: the place behind the object that begins there. Knows
nothing of what the objects mean; reading.py uses it to pass over what the archive does not keep.

The layouts are Telegram's own lines. A constructor's number is the CRC-32 of its line, so a number that stands here can
only mean the layout beside it, whatever layer the server speaks.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

LINES = """
peerUser#59511722 user_id:long = Peer
peerChat#36c6019a chat_id:long = Peer
peerChannel#a2a5371e channel_id:long = Peer
messageFwdHeader#4e4df4bb flags:# imported:flags.7?true saved_out:flags.11?true from_id:flags.0?Peer \
from_name:flags.5?string date:int channel_post:flags.2?int post_author:flags.3?string saved_from_peer:flags.4?Peer \
saved_from_msg_id:flags.4?int saved_from_id:flags.8?Peer saved_from_name:flags.9?string saved_date:flags.10?int \
psa_type:flags.6?string = MessageFwdHeader
messageReplyStoryHeader#0e5af939 peer:Peer story_id:int = MessageReplyHeader
messageMediaPhoto#e216eb63 flags:# spoiler:flags.3?true live_photo:flags.4?true photo:flags.0?Photo \
ttl_seconds:flags.2?int video:flags.4?Document = MessageMedia
messageMediaDocument#52d8ccd9 flags:# nopremium:flags.3?true spoiler:flags.4?true video:flags.6?true \
round:flags.7?true voice:flags.8?true document:flags.0?Document alt_documents:flags.5?Vector<Document> \
video_cover:flags.9?Photo video_timestamp:flags.10?int ttl_seconds:flags.2?int = MessageMedia
messageMediaWebPage#ddf10c3b flags:# force_large_media:flags.0?true force_small_media:flags.1?true \
manual:flags.3?true safe:flags.4?true webpage:WebPage = MessageMedia
photo#fb197a65 flags:# has_stickers:flags.0?true id:long access_hash:long file_reference:bytes date:int \
sizes:Vector<PhotoSize> video_sizes:flags.1?Vector<VideoSize> dc_id:int = Photo
photoEmpty#2331b22d id:long = Photo
photoSize#75c78e60 type:string w:int h:int size:int = PhotoSize
photoSizeEmpty#0e17e23c type:string = PhotoSize
photoSizeProgressive#fa3efb95 type:string w:int h:int sizes:Vector<int> = PhotoSize
photoCachedSize#021e1ad6 type:string w:int h:int bytes:bytes = PhotoSize
photoStrippedSize#e0b0bc2e type:string bytes:bytes = PhotoSize
photoPathSize#d8214d41 type:string bytes:bytes = PhotoSize
videoSize#de33b094 flags:# type:string w:int h:int size:int video_start_ts:flags.0?double = VideoSize
document#8fd4c4d8 flags:# id:long access_hash:long file_reference:bytes date:int mime_type:string size:long \
thumbs:flags.0?Vector<PhotoSize> video_thumbs:flags.1?Vector<VideoSize> dc_id:int \
attributes:Vector<DocumentAttribute> = Document
documentEmpty#36f8c871 id:long = Document
documentAttributeImageSize#6c37c15c w:int h:int = DocumentAttribute
documentAttributeAnimated#11b58939 = DocumentAttribute
documentAttributeSticker#6319d612 flags:# mask:flags.1?true alt:string stickerset:InputStickerSet \
mask_coords:flags.0?MaskCoords = DocumentAttribute
documentAttributeVideo#43c57c48 flags:# round_message:flags.0?true supports_streaming:flags.1?true \
nosound:flags.3?true duration:double w:int h:int preload_prefix_size:flags.2?int video_start_ts:flags.4?double \
video_codec:flags.5?string = DocumentAttribute
documentAttributeAudio#9852f9c6 flags:# voice:flags.10?true duration:int title:flags.0?string \
performer:flags.1?string waveform:flags.2?bytes = DocumentAttribute
documentAttributeFilename#15590068 file_name:string = DocumentAttribute
documentAttributeHasStickers#9801d2f7 = DocumentAttribute
inputStickerSetEmpty#ffb62b95 = InputStickerSet
inputStickerSetID#9de7a269 id:long access_hash:long = InputStickerSet
inputStickerSetShortName#861cc8a0 short_name:string = InputStickerSet
webPage#e89c45b2 flags:# has_large_media:flags.13?true video_cover_photo:flags.14?true id:long url:string \
display_url:string hash:int type:flags.0?string site_name:flags.1?string title:flags.2?string \
description:flags.3?string photo:flags.4?Photo embed_url:flags.5?string embed_type:flags.5?string \
embed_width:flags.6?int embed_height:flags.6?int duration:flags.7?int author:flags.8?string \
document:flags.9?Document cached_page:flags.10?Page attributes:flags.12?Vector<WebPageAttribute> = WebPage
webPageEmpty#211a1788 flags:# id:long url:flags.0?string = WebPage
webPagePending#b0d13e47 flags:# id:long url:flags.0?string date:int = WebPage
messageReactions#0a339f0b flags:# min:flags.0?true can_see_list:flags.2?true reactions_as_tags:flags.3?true \
results:Vector<ReactionCount> recent_reactions:flags.1?Vector<MessagePeerReaction> \
top_reactors:flags.4?Vector<MessageReactor> = MessageReactions
reactionCount#a3d1cb80 flags:# chosen_order:flags.0?int reaction:Reaction count:int = ReactionCount
reactionEmoji#1b2286b8 emoticon:string = Reaction
reactionCustomEmoji#8935fc73 document_id:long = Reaction
reactionPaid#523da4eb = Reaction
messagePeerReaction#8c79b63c flags:# big:flags.0?true unread:flags.1?true my:flags.2?true peer_id:Peer date:int \
reaction:Reaction = MessagePeerReaction
messageEntityUnknown#bb92ba95 offset:int length:int = MessageEntity
messageEntityMention#fa04579d offset:int length:int = MessageEntity
messageEntityHashtag#6f635b0d offset:int length:int = MessageEntity
messageEntityCashtag#4c4e743f offset:int length:int = MessageEntity
messageEntityBotCommand#6cef8ac7 offset:int length:int = MessageEntity
messageEntityUrl#6ed02538 offset:int length:int = MessageEntity
messageEntityEmail#64e475c2 offset:int length:int = MessageEntity
messageEntityPhone#9b69e34b offset:int length:int = MessageEntity
messageEntityBankCard#761e6af4 offset:int length:int = MessageEntity
messageEntityBold#bd610bc9 offset:int length:int = MessageEntity
messageEntityItalic#826f8b60 offset:int length:int = MessageEntity
messageEntityUnderline#9c4e7e8b offset:int length:int = MessageEntity
messageEntityStrike#bf0693d4 offset:int length:int = MessageEntity
messageEntitySpoiler#32ca960f offset:int length:int = MessageEntity
messageEntityCode#28a20571 offset:int length:int = MessageEntity
messageEntityPre#73924be0 offset:int length:int language:string = MessageEntity
messageEntityBlockquote#f1ccaaac flags:# collapsed:flags.0?true offset:int length:int = MessageEntity
messageEntityTextUrl#76a6d327 offset:int length:int url:string = MessageEntity
messageEntityMentionName#dc7b1140 offset:int length:int user_id:long = MessageEntity
messageEntityCustomEmoji#c8cf05f8 offset:int length:int document_id:long = MessageEntity
""".strip().splitlines()

_VALUES = {"int": 4, "long": 8, "double": 8}  # bytes
_STRING, _OBJECT, _OBJECTS, _INTS = -1, -2, -3, -4  # steps that have to look; a step above them is a number of bytes


@lru_cache(maxsize=4096)
def _steps(constructor: int, flags: int) -> tuple[int, ...]:
    """Return the way through an object with these flags. Raises KeyError for a kind that has no line here."""
    merged: list[int] = []
    for bit, step in _LAYOUTS[constructor]:
        if bit is not None and not flags & bit:
            continue
        if merged and step > 0 and merged[-1] > 0:
            merged[-1] += step
        else:
            merged.append(step)
    return tuple(merged)


def _read_line(line: str) -> tuple[int, list[tuple[int | None, int]]]:
    """Return a line's constructor and its fields: the bit that says whether a field is there, and the step over it."""
    left, _, _ = line.partition(" = ")
    name, *fields = left.split()
    layout: list[tuple[int | None, int]] = [(None, 4)]  # the constructor itself
    for field in fields:
        found = re.fullmatch(r"\w+:(?:flags\.(\d+)\?)?(.+)", field)
        assert found is not None, field
        bit, kind = None if found[1] is None else 1 << int(found[1]), found[2]
        if kind == "#":
            layout.append((None, 4))
        elif kind in ("string", "bytes"):
            layout.append((bit, _STRING))
        elif kind.startswith("Vector"):
            layout.append((bit, _INTS if kind == "Vector<int>" else _OBJECTS))
        elif kind != "true":  # a flag, and nothing else
            layout.append((bit, _VALUES.get(kind, _OBJECT)))
    return int(name.partition("#")[2], 16), layout


_LAYOUTS = dict(map(_read_line, LINES))
_HAS_FLAGS = {_read_line(line)[0] for line in LINES if " flags:# " in line}
_SIZES = {  # of the kinds that are always of one size
    constructor: sum(step for _, step in layout)
    for constructor, layout in _LAYOUTS.items()
    if constructor not in _HAS_FLAGS and all(step > 0 for _, step in layout)
}
_int, _two_ints = struct.Struct("<i").unpack_from, struct.Struct("<II").unpack_from


def skip_object(data: bytes, at: int) -> int:
    """Return where the object at `at` ends.

    Raises LookupError for a kind that has no line here, and LookupError or struct.error where the bytes end before the
    object does, unless only its last value is cut: then what is returned lies behind the end.
    """
    constructor, flags = _two_ints(data, at)
    size = _SIZES.get(constructor)
    if size is not None:
        return at + size
    for step in _steps(constructor, flags if constructor in _HAS_FLAGS else 0):
        if step > 0:
            at += step
        elif step == _STRING:
            at = skip_string(data, at)
        elif step == _OBJECT:
            at = skip_object(data, at)
        elif step == _OBJECTS:
            at = skip_objects(data, at)
        else:
            at += 8 + 4 * max(0, _int(data, at + 4)[0])
    return at


def skip_objects(data: bytes, at: int) -> int:
    """Return where the list of objects at `at` ends. Raises as `skip_object` does."""
    n = _int(data, at + 4)[0]
    at += 8  # the list's own constructor, and the number
    for _ in range(n):
        at = skip_object(data, at)
    return at


def skip_string(data: bytes, at: int) -> int:
    """Return where the string at `at` ends: a length of one byte, or 254 and three; the bytes; up to a whole four."""
    length = data[at]
    if length == 254:
        return at + (int.from_bytes(data[at + 1 : at + 4], "little") + 7 & ~3)
    return at + (length + 4 & ~3)
