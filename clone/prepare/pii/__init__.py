"""Personal data out of chats: found by Presidio with recognizers of our own, replaced by tags and surrogates."""

from clone.prepare.pii.scrubber import FAILED_TEXT, LiteralIndex, Literals, Scrubber
from clone.prepare.pii.types import (
    IDENTITIES,
    SECRETS,
    ContactChoice,
    Entity,
    Finding,
    KnownPerson,
    Names,
    Ner,
    PiiSettings,
    ScrubCounts,
    Scrubbed,
)

__all__ = [
    "FAILED_TEXT",
    "IDENTITIES",
    "SECRETS",
    "ContactChoice",
    "Entity",
    "Finding",
    "KnownPerson",
    "LiteralIndex",
    "Literals",
    "Names",
    "Ner",
    "PiiSettings",
    "ScrubCounts",
    "Scrubbed",
    "Scrubber",
]
