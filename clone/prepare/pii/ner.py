"""Names by a model that the person installed: a spaCy pipeline, or natasha for Russian. Nothing is downloaded here.

Runs on every message that holds a letter in upper case (natasha: and one in Cyrillic), so it costs far more than the
word lists; off by default. natasha was made for news: in chats it masks many a word for a name (docs/performance.md).
It brings DAWG-Python, which writes the same module as pymorphy3's DAWG2-Python; either serves pymorphy3, but to take
natasha out again, reinstall DAWG2-Python after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from clone.errors import CloneError, MissingExtra
from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.names import is_plain_word
from clone.prepare.pii.types import Entity, Ner, PiiSettings
from clone.prepare.pii.view import View

_EVERYTHING = -1
_OPENS = re.compile(r"(?:^|[.!?…\n])\W*$")


class ChatNerRecognizer(ChatRecognizer):
    """People's names as a named-entity model sees them."""

    wake = _EVERYTHING
    entities = (Entity.PERSON,)

    def __init__(self, ner: Ner, model: str) -> None:
        super().__init__()
        self._is_russian = ner is Ner.NATASHA
        self._spans = _natasha() if self._is_russian else _spacy(model)
        self._rule = f"ner.{ner}"

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        if not any(map(str.isupper, norm)) or (self._is_russian and not view.has_cyrillic):
            return  # both models read names by their capitals
        for start, end in self._spans(norm):
            if self._is_russian and _OPENS.search(norm, 0, start) and is_plain_word(norm[start:end]):
                continue  # natasha takes many a verb that opens a sentence for a name
            yield Hit(start, end, Entity.PERSON, 0.6, self._rule)


def require_model(settings: PiiSettings) -> None:
    """Raise MissingExtra where the library of the name model that the settings ask for is not installed."""
    if settings.ner is not Ner.NONE and find_spec(str(settings.ner)) is None:
        raise MissingExtra(str(settings.ner), "ner")


def _spacy(model: str) -> Callable[[str], list[tuple[int, int]]]:
    try:
        import spacy
    except ImportError as e:
        raise MissingExtra("spacy", "ner") from e
    try:
        pipeline = spacy.load(model)
    except OSError as e:
        raise CloneError(
            f"The spaCy model {model} is not installed.",
            f"python -m spacy download {model}, or set prepare.pii.ner: none",
        ) from e
    return lambda text: [(s.start_char, s.end_char) for s in pipeline(text).ents if s.label_ in ("PER", "PERSON")]


def _natasha() -> Callable[[str], list[tuple[int, int]]]:
    try:
        from natasha import Doc, NewsEmbedding, NewsNERTagger, Segmenter
    except ImportError as e:
        raise MissingExtra("natasha", "ner") from e
    segmenter = Segmenter()
    tagger = NewsNERTagger(NewsEmbedding())

    def spans(text: str) -> list[tuple[int, int]]:
        doc = Doc(text)
        doc.segment(segmenter)
        doc.tag_ner(tagger)
        return [(s.start, s.stop) for s in doc.spans if s.type == "PER"]

    return spans
