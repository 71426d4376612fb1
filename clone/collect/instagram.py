"""Instagram: the JSON of "Download your information", which has Messenger's shape in folders of its own."""

from __future__ import annotations

from functools import partial

from clone.collect import meta
from clone.collect.contract import Source
from clone.collect.files import Part

NAME = "instagram"


def claims(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is a conversation in Instagram."""
    return meta.is_of_meta(part, head) and meta.is_of_instagram(part)


SOURCE = Source(NAME, "Instagram (message_1.json, folder or .zip)", "meta-json", claims, partial(meta.read, NAME))
