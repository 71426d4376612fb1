"""The passes over a chat: gate, recognizers, neighbours, literals, replacement.

In come a chat's messages in order; out come scrubbed messages and findings. Knows nothing of files or archives. A
message that cannot be looked at is replaced whole and counted: nothing gets through because something broke.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, RecognizerResult

from clone.prepare.pii.addresses import ChatAddressRecognizer
from clone.prepare.pii.base import ChatRecognizer
from clone.prepare.pii.contact import (
    ChatEmailRecognizer,
    ChatNetworkRecognizer,
    ChatPhoneRecognizer,
    ChatUsernameRecognizer,
)
from clone.prepare.pii.documents import ChatBirthDateRecognizer, ChatDocumentRecognizer, ChatPlateRecognizer
from clone.prepare.pii.money import ChatBankRecognizer, ChatCardRecognizer, ChatWalletRecognizer
from clone.prepare.pii.names import ChatNameRecognizer, known_forms, lexicon, patronymics, surnames
from clone.prepare.pii.ner import ChatNerRecognizer
from clone.prepare.pii.openings import SAME_LETTERS
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
from clone.prepare.pii.types import ContactChoice, Entity, Finding, KnownPerson, Names, Ner, PiiSettings, Scrubbed
from clone.prepare.pii.view import LANGUAGE, WORD, ChatNlpEngine, View, Wakes, find_words, lower
from clone.prepare.pii.words import TRIGGERS, Wake

_LITERAL_ENTITIES = frozenset(
    {
        Entity.PASSWORD,
        Entity.API_KEY,
        Entity.PHONE_NUMBER,
        Entity.EMAIL_ADDRESS,
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
        # who writes of code says words such as llvm12 and block_ptr often: one mistaken for a password would take all
        has_sign = any(not c.isalnum() and c not in "_-" for c in value)
        is_mixed = value != value.lower() and value[1:] != value[1:].lower()
        return n_digits < len(value) and (
            (len(value) >= 8 and n_digits > 0)
            or (len(value) >= 6 and ((has_sign and (n_digits > 0 or is_mixed)) or (is_mixed and n_digits > 0)))
        )
    return len(value) >= 6


def _all_words(text: str) -> list[str]:
    """Return the words of `text`, of all letters that a pattern takes for the same without regard to case one."""
    return WORD.findall(text.lower() if text.isascii() else lower(text).translate(SAME_LETTERS))


class LiteralIndex:
    """Looks values up in messages. Built once from all chats' `Literals`."""

    def __init__(self, literals: Literals) -> None:
        words_of = {value: frozenset(_all_words(value)) for value in literals.by_value}
        n_values = Counter(word for words in words_of.values() for word in words)
        self._by_word: dict[str, list[tuple[frozenset[str], re.Pattern[str], Entity]]] = {}
        for value, words in words_of.items():
            if words:
                # under the word that fewest values share: hundreds of addresses may end in one company's name
                key = min(words, key=lambda word: (n_values[word], -len(word), word))
                pattern = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE)
                self._by_word.setdefault(key, []).append((words, pattern, literals.by_value[value]))

    def find(self, text: str) -> Iterator[Finding]:
        words = set(_all_words(text))
        for word in words & self._by_word.keys():
            for needed, pattern, entity in self._by_word[word]:
                if needed <= words:
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
            ChatNameRecognizer(
                self._people,
                has_lists=settings.names is not Names.CONTACTS,
                is_careful=settings.names is Names.CAREFUL,
            ),
        ]
        forms = known_forms(p for p in self._people if p.choice is not ContactChoice.ALLOW)
        triggers = dict(TRIGGERS)
        known = forms if settings.names is Names.CONTACTS else (*lexicon(), *surnames(), *patronymics(), *forms)
        for name in known:
            triggers[name] = triggers.get(name, 0) | Wake.NAME
        self._wakes = Wakes(triggers, [pattern for r in self.recognizers for pattern in r.openings()])
        if settings.ner is not Ner.NONE:
            self.recognizers.append(ChatNerRecognizer(settings.ner, settings.ner_model))
        self.registry = RecognizerRegistry(recognizers=list(self.recognizers), supported_languages=[LANGUAGE])
        self.analyzer = AnalyzerEngine(
            registry=self.registry, nlp_engine=ChatNlpEngine(self._wakes), supported_languages=[LANGUAGE]
        )
        self._entities = [str(e) for e in Entity if e not in settings.ignore]
        self._woken: dict[int, list[ChatRecognizer]] = {}  # by what is awake, filled as it is met
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

        `before` and `after` are neighbours of the same chat, nearest last and nearest first. `lang` is what the chat is
        written in, where known (ISO 639-1): it decides which words are names.
        """
        texts = [*before[-self.settings.n_neighbours :], text, *after[: self.settings.n_neighbours]]
        return list(self.find_chat(texts, lang=lang)[min(len(before), self.settings.n_neighbours)])

    def find_chat(self, texts: Sequence[str], *, lang: str | None = None) -> list[tuple[Finding, ...]]:
        """Return the findings of each message of one chat, in order. Raises what a recognizer raises."""
        found, asked = [], []
        lang = guess_language(texts) if lang is None else lang
        for text in texts:
            findings, asks = self._look(text, lang)
            found.append(findings)
            asked.append(asks)
        self._ask_neighbours(texts, found, asked)
        return found

    def _look(self, text: str, lang: str) -> tuple[tuple[Finding, ...], int]:
        """Return one message's findings, and whether it speaks of a password or code without giving one."""
        if not text:
            return (), 0
        if len(text) > self.settings.max_message_chars:
            raise ValueError("message too long")
        if not text.isascii():
            text.encode()  # lone surrogates raise here
        view = View(text, self._wakes, lang)
        wake = view.wake
        raw: list[Finding] = []
        woken = self._woken.get(wake)
        if woken is None:
            woken = self._woken[wake] = [r for r in self.recognizers if wake & r.wake or r.wake < 0]
        for recognizer in woken:
            raw.extend(map(_as_finding, recognizer.analyze(text, self._entities, view)))
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
                or (
                    lower(text[f.start : f.end]) not in self._allow
                    and lower(text[f.start : f.end]) not in self._allow_handles
                )
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

    def _ask_neighbours(self, texts: Sequence[str], found: list[tuple[Finding, ...]], asked: Sequence[int]) -> None:
        """Mask values that stand in one message and are spoken of in another: "what's the password?" - "Rexy2015"."""
        reach = self.settings.n_neighbours
        n = len(texts)
        for i, asks in enumerate(asked):
            if not asks:
                continue
            for step in (*range(1, reach + 1), -1):
                j = i + step
                if (
                    not 0 <= j < n
                    or not texts[j]
                    or any(f.entity in (Entity.PASSWORD, Entity.PIN, Entity.OTP) for f in found[j])
                ):
                    continue
                values = [f for f in answers(texts[j], asks, step) if not _overlaps(f, found[j])]
                values = [
                    f
                    for f in values
                    if str(f.entity) in self._entities and lower(texts[j][f.start : f.end]) not in self._allow
                ]
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
        lang = guess_language(texts)
        for i, text in enumerate(texts):
            try:
                findings, asks = self._look(text, lang)
            except Exception:
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
        except Exception:
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


_FUNCTION_WORDS = {
    "en": "the and you is to it that of in are was not have for what so just with but my",
    "es": "que el los las por para una mi no es de pero como con muy eso está qué y en",
    "fr": "le les des est pas une je tu et que pour dans avec mais mon c'est ça il on qui",
    "de": "das ist und nicht ich du wir mit der die auf für ein aber auch was ja noch mal zu",
    "pt": "que não uma você com para por mas meu minha eu isso tá muito está de vc bem",
    "it": "che non il di per una sono ma con mi ho è anche come gli del ci della ti",
    "pl": "nie jest się na to że co jak ale mam tak już czy mi dla będzie od jestem",
    "tr": "bir bu ve ne ben sen çok da de var yok ama için mi değil evet gibi daha olur",
    "vi": "là không em anh có cho của và đi với mà rồi này thì chị được ạ gì",
}
_LANGUAGE_OF: dict[str, list[str]] = {}
for _language, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _LANGUAGE_OF.setdefault(_word, []).append(_language)


def guess_language(texts: Sequence[str]) -> str:
    """Return the Latin-script language most of a chat is in by its function words, "" where too few tell."""
    counts: dict[str, float] = {}
    n = 0
    for text in texts[:: max(1, len(texts) // 400)]:
        for word in find_words(text.lower()):
            for language in _LANGUAGE_OF.get(word, ()):
                counts[language] = counts.get(language, 0) + 1 / len(_LANGUAGE_OF[word])
                n += 1
    if n < 20:
        return ""
    best = max(counts, key=lambda k: counts[k])
    return best if counts[best] > 0.5 * sum(counts.values()) else ""


def _as_finding(result: RecognizerResult) -> Finding:
    rule = result.analysis_explanation.pattern_name
    return Finding(result.start, result.end, Entity(result.entity_type), result.score, rule)


def _overlaps(finding: Finding, others: Iterable[Finding]) -> bool:
    return any(finding.start < f.end and f.start < finding.end for f in others)


def _literal_pattern(values: Iterable[str]) -> re.Pattern[str] | None:
    parts = sorted((re.escape(v.strip().lstrip("@")) for v in values), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE) if parts else None


logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it logs matched text at lower levels
