"""What our recognizers share: a Presidio recognizer that reads a `View` and yields hits by named rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from presidio_analyzer import AnalysisExplanation, EntityRecognizer, RecognizerResult

from clone.prepare.pii.types import Entity
from clone.prepare.pii.view import LANGUAGE, View


class Hit(NamedTuple):
    """A span in the normalised text."""

    start: int
    end: int
    entity: Entity
    score: float
    rule: str


class ChatRecognizer(EntityRecognizer):  # type: ignore[misc]
    """A Presidio recognizer for chats. Subclasses say what wakes them and yield hits.

    Their names begin with Chat: Presidio finds its own recognizers by class name among all subclasses in the process,
    so a second `PhoneRecognizer` would silently take the place of the stock one.
    """

    wake: ClassVar[int]  # any of these bits (see `clone.prepare.pii.words.Wake`)
    entities: ClassVar[tuple[Entity, ...]]

    def __init__(self) -> None:
        super().__init__(
            supported_entities=[str(e) for e in self.entities],
            name=type(self).__name__,
            supported_language=LANGUAGE,
        )

    def load(self) -> None:
        pass

    def openings(self) -> tuple[re.Pattern[str], ...]:
        """Return patterns of which `clone.prepare.pii.view.Wakes` says where they need not be tried."""
        return ()

    def scan(self, view: View) -> Iterator[Hit]:
        """Yield the hits of one message, with offsets in `view.norm`; overlaps are sorted out later."""
        raise NotImplementedError

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Return Presidio results with offsets in `text`. Without a `View` it makes its own."""
        view = nlp_artifacts if isinstance(nlp_artifacts, View) else View(text)
        if self.wake >= 0 and not view.wake & self.wake:
            return []
        out = []
        for hit in self.scan(view):
            if hit.entity in entities and hit.end > hit.start:
                start, end = view.span(hit.start, hit.end)
                why = AnalysisExplanation(recognizer=self.name, original_score=hit.score, pattern_name=hit.rule)
                out.append(RecognizerResult(hit.entity, start, end, hit.score, why))
        return out
