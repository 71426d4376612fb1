"""Personal data out of chats: found by Presidio with recognizers of our own, replaced by tags and surrogates."""

import clone.prepare.pii.light  # noqa: F401  # before anything that imports Presidio
from clone.prepare.pii.ner import require_model
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
    Scrubbed,
    ScrubCounts,
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
    "require_model",
]
