"""Facebook Messenger: the JSON of "Download your information", and of its end-to-end encrypted chats."""

from __future__ import annotations

from functools import partial

from clone.collect import meta
from clone.collect.contract import Source
from clone.collect.files import Part

NAME = "messenger"


def claims(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is a conversation in Messenger."""
    return meta.is_of_meta(part, head) and not meta.is_of_instagram(part)


SOURCE = Source(NAME, "Messenger (message_1.json, folder or .zip)", "meta-json", claims, partial(meta.read, NAME))
