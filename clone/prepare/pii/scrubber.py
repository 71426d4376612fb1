"""The passes over a chat: gate, recognizers, neighbours, literals, replacement.

In come a chat's messages in order; out come scrubbed messages and findings. Knows nothing of files or archives. A message
that cannot be looked at is replaced whole and counted: nothing gets through because something broke.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

from clone.prepare.pii.addresses import ChatAddressRecognizer
from clone.prepare.pii.base import ChatRecognizer
from clone.prepare.pii.contact import ChatEmailRecognizer, ChatNetworkRecognizer, ChatPhoneRecognizer, ChatUsernameRecognizer
from clone.prepare.pii.documents import ChatBirthDateRecognizer, ChatDocumentRecognizer, ChatPlateRecognizer
from clone.prepare.pii.money import ChatBankRecognizer, ChatCardRecognizer, ChatWalletRecognizer
from clone.prepare.pii.names import ChatNameRecognizer, known_forms, lexicon, surnames
from clone.prepare.pii.replace import Replacer
from clone.prepare.pii.secrets import (
    ChatCodeRecognizer,
    ChatKeyRecognizer,
    ChatPasswordRecognizer,
    ChatSecretUrlRecognizer,
    ChatSeedRecognizer,
    answers,
    asks_for,
)
from clone.prepare.pii.types import ContactChoice, Entity, Finding, KnownPerson, PiiSettings, Scrubbed
from clone.prepare.pii.view import LANGUAGE, WORD, ChatNlpEngine, View, lower
from clone.prepare.pii.words import TRIGGERS, Wake

_LITERAL_ENTITIES = frozenset(
    {
        Entity.PASSWORD,
        Entity.API_KEY,
        Entity.PHONE_NUMBER,
        Entity.EMAIL_ADDRESS,
        Entity.USERNAME,
        Entity.CREDIT_CARD,
        Entity.IBAN_CODE,
        Entity.CRYPTO_WALLET,
        Entity.PASSPORT,
        Entity.NATIONAL_ID,
        Entity.PERSON,
    }
)
FAILED_TEXT = "[UNREADABLE]"


@dataclass(slots=True)
class Literals:
    """Values found once, to be looked for as they stand in every chat. Lives in memory only; never written."""

    by_value: dict[str, Entity] = field(default_factory=dict)

    def collect(self, text: str, scrubbed: Scrubbed) -> None:
        """Add the values of one message that are telling enough to be searched for by themselves."""
        for finding in scrubbed.findings:
            if finding.entity in _LITERAL_ENTITIES:
                value = text[finding.start : finding.end]
                if _is_telling(value, finding.entity):
                    self.by_value.setdefault(lower(value), finding.entity)

    def merge(self, other: Literals) -> None:
        for value, entity in other.by_value.items():
            self.by_value.setdefault(value, entity)


def _is_telling(value: str, entity: Entity) -> bool:
    """A short plain word would be masked wherever it is said."""
    n_digits = sum(c.isdigit() for c in value)
    if entity is Entity.PERSON:
        return " " in value.strip() and len(value) >= 8
    if entity is Entity.PASSWORD:
        return len(value) >= 6 and n_digits > 0 and n_digits < len(value) or len(value) >= 10 and " " not in value
    if entity is Entity.USERNAME:
        return len(value) >= 6 and (n_digits > 0 or "_" in value)
    return len(value) >= 6


class LiteralIndex:
    """Looks values up in messages. Built once from all chats' `Literals`."""

    def __init__(self, literals: Literals) -> None:
        self._by_word: dict[str, list[tuple[re.Pattern[str], Entity]]] = {}
        for value, entity in literals.by_value.items():
            words = WORD.findall(value.replace("ё", "е"))
            if words:
                pattern = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE)
                self._by_word.setdefault(max(words, key=len), []).append((pattern, entity))

    def find(self, text: str) -> Iterator[Finding]:
        words = WORD.findall(lower(text).replace("ё", "е"))
        if self._by_word.keys().isdisjoint(words):
            return
        for word in set(words):
            for pattern, entity in self._by_word.get(word, ()):
                for match in pattern.finditer(text):
                    yield Finding(match.start(), match.end(), entity, 0.9, "literal")


class Scrubber:
    """Finds and replaces personal data in chats. Presidio is the engine; the recognizers are ours.

    `key` makes surrogates stable: the same key gives the same pseudonyms. `people` are those the export names; whoever
    chose ALLOW keeps the own names. Picklable: it travels to worker processes as its arguments.
    """

    def __init__(self, settings: PiiSettings, *, key: bytes, people: Sequence[KnownPerson] = ()) -> None:
        self.settings = settings
        self._key = key
        self._people = tuple(people)
        self._build()

    def __getstate__(self) -> dict[str, object]:
        return {"settings": self.settings, "_key": self._key, "_people": self._people}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._build()

    def _build(self) -> None:
        settings = self.settings
        self.recognizers: list[ChatRecognizer] = [
            ChatSeedRecognizer(),
            ChatKeyRecognizer(),
            ChatSecretUrlRecognizer(),
            ChatEmailRecognizer(),
            ChatWalletRecognizer(),
            ChatCardRecognizer(),
            ChatBankRecognizer(),
            ChatDocumentRecognizer(),
            ChatPhoneRecognizer(),
            ChatNetworkRecognizer(),
            ChatPlateRecognizer(),
            ChatPasswordRecognizer(),
            ChatCodeRecognizer(),
            ChatUsernameRecognizer(),
            ChatBirthDateRecognizer(),
            ChatAddressRecognizer(),
            ChatNameRecognizer(self._people),
        ]
        forms = known_forms(p for p in self._people if p.choice is not ContactChoice.ALLOW)
        self._triggers = dict(TRIGGERS)
        for name in (*lexicon(), *surnames(), *forms):
            self._triggers[name] = self._triggers.get(name, 0) | int(Wake.NAME)
        self.registry = RecognizerRegistry(recognizers=list(self.recognizers), supported_languages=[LANGUAGE])
        self.analyzer = AnalyzerEngine(
            registry=self.registry, nlp_engine=ChatNlpEngine(self._triggers), supported_languages=[LANGUAGE]
        )
        self._entities = [str(e) for e in Entity if e not in settings.ignore]
        self._plan = [(int(r.wake), r) for r in self.recognizers]
        self.replacer = Replacer(self._key, self._people, forms)
        self._allow = frozenset(lower(a) for a in settings.allow)
        self._allow_handles = frozenset(
            lower(u) for p in self._people if p.choice is ContactChoice.ALLOW for u in (*p.usernames, *p.phones)
        )
        deny = [d for d in settings.deny if d.strip()]
        usernames = {u for p in self._people if p.choice is not ContactChoice.ALLOW for u in p.usernames if len(u) > 3}
        self._deny = _literal_pattern(deny)
        self._usernames = _literal_pattern(usernames)

    # -- one message -------------------------------------------------------------------------------------------------

    def find(
        self, text: str, *, lang: str | None = None, before: Sequence[str] = (), after: Sequence[str] = ()
    ) -> list[Finding]:
        """Return what is personal in one message, sorted, without overlaps; offsets are code points of `text`.

        `before` and `after` are neighbours of the same chat, nearest last and nearest first. `lang` is not needed and
        only there for callers that know it.
        """
        texts = [*before[-self.settings.n_neighbours :], text, *after[: self.settings.n_neighbours]]
        return list(self.find_chat(texts)[min(len(before), self.settings.n_neighbours)])

    def find_chat(self, texts: Sequence[str]) -> list[tuple[Finding, ...]]:
        """Return the findings of each message of one chat, in order. Raises what a recognizer raises."""
        found, asked = [], []
        for text in texts:
            findings, asks = self._look(text)
            found.append(findings)
            asked.append(asks)
        self._ask_neighbours(texts, found, asked)
        return found

    def _look(self, text: str) -> tuple[tuple[Finding, ...], int]:
        """Return one message's findings, and whether it speaks of a password or code without giving one."""
        if not text:
            return (), 0
        if len(text) > self.settings.max_message_chars:
            raise ValueError("message too long")
        if not text.isascii():
            text.encode()  # lone surrogates raise here
        view = View(text, self._triggers)
        wake = view.wake
        raw: list[Finding] = []
        if wake:
            for mask, recognizer in self._plan:
                if wake & mask:
                    for result in recognizer.analyze(text, self._entities, view):
                        raw.append(
                            Finding(
                                result.start,
                                result.end,
                                Entity(result.entity_type),
                                result.score,
                                result.analysis_explanation.pattern_name,
                            )
                        )
        for pattern, entity in ((self._deny, Entity.DENIED), (self._usernames, Entity.USERNAME)):
            if pattern is not None:
                raw.extend(Finding(m.start(), m.end(), entity, 1.0, "list") for m in pattern.finditer(text))
        findings = self._settle(text, raw) if raw else ()
        asks = 0
        if wake & (Wake.PASSWORD | Wake.CODE | Wake.CJK):
            asks = asks_for(view, {f.entity for f in findings})
        return findings, asks

    def _settle(self, text: str, raw: list[Finding]) -> tuple[Finding, ...]:
        """Return findings without overlaps or allowed values: of two that touch the longer wins and covers both."""
        if self._allow or self._allow_handles:
            raw = [
                f
                for f in raw
                if f.entity is Entity.DENIED
                or lower(text[f.start : f.end]) not in self._allow
                and lower(text[f.start : f.end]) not in self._allow_handles
            ]
        if len(raw) < 2:
            return tuple(raw)
        raw.sort(key=lambda f: (f.start, -f.end))
        out: list[Finding] = [raw[0]]
        for finding in raw[1:]:
            last = out[-1]
            if finding.start >= last.end:
                out.append(finding)
                continue
            best = max(last, finding, key=lambda f: (f.end - f.start, f.score))
            out[-1] = Finding(last.start, max(last.end, finding.end), best.entity, best.score, best.rule)
        return tuple(out)

    def _ask_neighbours(
        self, texts: Sequence[str], found: list[tuple[Finding, ...]], asked: Sequence[int]
    ) -> None:
        """Mask values that stand in one message and are spoken of in another: "what's the password?" - "Rexy2015"."""
        reach = self.settings.n_neighbours
        n = len(texts)
        for i, asks in enumerate(asked):
            if not asks:
                continue
            for step in (*range(1, reach + 1), -1):
                j = i + step
                if not 0 <= j < n or not texts[j] or any(f.entity in (Entity.PASSWORD, Entity.PIN, Entity.OTP) for f in found[j]):
                    continue
                values = [f for f in answers(texts[j], asks, step) if not _overlaps(f, found[j])]
                values = [f for f in values if str(f.entity) in self._entities and lower(texts[j][f.start : f.end]) not in self._allow]
                if values:
                    found[j] = tuple(sorted((*found[j], *values), key=lambda f: f.start))
                    if step > 0:
                        break

    # -- chats ---------------------------------------------------------------------------------------------------------

    def scrub_chat(self, texts: Sequence[str]) -> list[Scrubbed]:
        """Return one chat's messages scrubbed, in order. Never raises: what cannot be read is replaced whole."""
        found: list[tuple[Finding, ...]] = []
        asked: list[int] = []
        failed: set[int] = set()
        for i, text in enumerate(texts):
            try:
                findings, asks = self._look(text)
            except Exception:  # noqa: BLE001 - fail closed, and say nothing of the text
                failed.add(i)
                findings, asks = (), 0
            found.append(findings)
            asked.append(asks)
        readable = [t if i not in failed else "" for i, t in enumerate(texts)] if failed else texts
        self._ask_neighbours(readable, found, asked)
        out = []
        for i, text in enumerate(texts):
            if i in failed:
                out.append(Scrubbed(FAILED_TEXT, (), failed=True))
            elif not found[i]:
                out.append(Scrubbed(text))
            else:
                out.append(self._render(text, found[i]))
        return out

    def _render(self, text: str, findings: tuple[Finding, ...]) -> Scrubbed:
        try:
            return Scrubbed(self.replacer.replace(text, findings), findings)
        except Exception:  # noqa: BLE001 - fail closed
            return Scrubbed(FAILED_TEXT, (), failed=True)

    def second_pass(self, texts: Sequence[str], scrubbed: Sequence[Scrubbed], index: LiteralIndex) -> list[Scrubbed]:
        """Return one chat's messages with the values that other messages gave away masked too.

        `texts` are the originals, `scrubbed` what `scrub_chat` made of them.
        """
        out = []
        for text, first in zip(texts, scrubbed, strict=True):
            if first.failed:
                out.append(first)
                continue
            more = [f for f in index.find(text) if not _overlaps(f, first.findings) and str(f.entity) in self._entities]
            out.append(self._render(text, self._settle(text, [*first.findings, *more])) if more else first)
        return out

    def pseudonym(self, person_id: str) -> str:
        """Return the one name that stands for a contact everywhere."""
        return self.replacer.pseudonym(person_id)


def _overlaps(finding: Finding, others: Iterable[Finding]) -> bool:
    return any(finding.start < f.end and f.start < finding.end for f in others)


def _literal_pattern(values: Iterable[str]) -> re.Pattern[str] | None:
    parts = sorted((re.escape(v.strip().lstrip("@")) for v in values), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE) if parts else None


logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it logs matched text at lower levels
