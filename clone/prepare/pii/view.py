"""A message as the recognizers read it: normalised text with a map back, its words, and what woke the gate.

In comes the text of one message; out comes a `View`, which is Presidio's `NlpArtifacts`, so that recognizers get it the
way Presidio hands artifacts around. Knows the word lists; knows nothing of what a recognizer does with them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, reduce
from operator import or_
from typing import Any

from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

from clone.prepare.pii.openings import LONGEST, SAME_LETTERS, heads
from clone.prepare.pii.words import BIP39, CJK_TRIGGERS, PREFIX_LENGTH, TRIGGER_PREFIXES, TRIGGERS, Wake

LANGUAGE = "xx"
"""The one language our recognizers are registered under: chats mix languages inside a message."""


def _table() -> dict[int, str]:
    """Return the characters that normalise to one other character, or to nothing.

    NFKC only where it maps one code point to one (full-width and mathematical letters, circled digits), so that offsets
    stay simple; every space is a space, every dash a hyphen; invisible characters and keycaps vanish.
    """
    table: dict[int, str] = {}
    for code in (*range(0x80, 0x20000), *range(0xE0000, 0xE0200)):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Cn", "Co", "Cs"):
            continue
        if category == "Cf" or code in (0xFE0E, 0xFE0F, 0x20E3, 0x034F, 0x115F, 0x1160, 0x3164):
            table[code] = ""
        elif category == "Zs":
            table[code] = " "
        elif category == "Zl" or category == "Zp":
            table[code] = "\n"
        elif category == "Pd" or char in "\u2212\u2043\u02d7":
            table[code] = "-"
        elif category == "Nd":
            table[code] = str(unicodedata.digit(char))
        elif char not in "ªº" and category != "Lm":
            folded = unicodedata.normalize("NFKC", char)
            if len(folded) == 1 and folded != char and not 0x1100 <= code <= 0x11FF:
                table[code] = folded
    table.update({0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x201C: '"', 0x201D: '"', 0x201E: '"'})
    return table


_TABLE = _table()


def _ranges(codes: Iterable[int]) -> str:
    """Return a character class of `codes`."""
    out: list[list[int]] = []
    run: list[int] = []
    for code in sorted(codes):
        if run and code == run[-1] + 1:
            run.append(code)
            continue
        if run:
            out.append(run)
        run = [code]
    out.append(run)
    return "[" + "".join(f"{re.escape(chr(r[0]))}-{re.escape(chr(r[-1]))}" for r in out) + "]"


_ODD = re.compile(_ranges(_TABLE)[:-1] + "\u3400-\u9fff]")
WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d[^\w\n]{0,3}\d[^\w\n]{0,3}\d")
_DIGIT = re.compile(r"\d")
_DIGITS_ALONE = b"0123456789"
_LONG = re.compile(r"[A-Za-z0-9_\-+/=]{20}")
# "Lindenweg 7", looked for from the space before the number: there are fewer of those than of letters
_STREET_ENDS = r"str|str\.|strasse|straße|weg|platz|gasse|allee|damm|ufer|ring|markt|hof|graben|berg|steig|chaussee"
_GERMAN_STREET = re.compile(
    rf" (?=\d)(?:{'|'.join(f'(?<={end} )' for end in _STREET_ENDS.split('|'))})"
    r"|(?<!\w)(?:[cp]/|[crv]\.|cl) ?\w|\d\w?, ?\d{4,5} \w{3}"
)
_CJK = re.compile(r"[\u3400-\u9fff]")
_EXOTIC = re.compile(r"[\u3400-\u9fffà-öø-ÿā-ſơưạ-ỹ]")
_CYRILLIC = re.compile(r"[\u0400-\u052f]")
_VIETNAMESE = re.compile(r"[ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
_SURNAME = re.compile(
    r"(?<!\w)[А-ЯЁІЇЄ][а-яёіїє]{2,}(?:[оеё]в|[иы]н|[сц]к|ськ|енк|чук|юк|ян|дзе|швили)(?:а|у|ым|ой|е|ий|ая|ого|ому|им|ую|о|ом|ою)?(?!\w)"
)
_PASSWORD_SHAPE = re.compile(
    r"[A-Za-z0-9][!#$%^&*][A-Za-z0-9]|[A-Za-z]_\w*\d|\d_[A-Za-z]|[A-Z][a-z]+[A-Z][a-z]+\d|[A-Z][a-z]{2,}\d{4}[!#$*]"
)
_SIGN = re.compile(r"[!#$%^&*]")
# what a word must have for the shapes above that want no sign, and for those of `_GERMAN_STREET`
_MAY_BE_PASSWORD = re.compile(r"_\w*\d|\d_|[a-z]{4}\d")
_MAY_BE_STREET = re.compile(rf"(?:{_STREET_ENDS})$|^(?:[cprv]$|cl|\d{{4,5}}$)")
_CJK_TRIGGER = re.compile("|".join(map(re.escape, CJK_TRIGGERS)))


def normalise(text: str) -> tuple[str, list[int] | None]:
    """Return the text as recognizers read it and, for each of its characters, the offset in `text`.

    The map is None where offsets did not move.
    """
    if text.isascii() or not _ODD.search(text):
        return text, None
    chars: list[str] = []
    offsets: list[int] = []
    was_cjk = was_ascii = has_moved = False
    for i, char in enumerate(text):
        new = _TABLE.get(ord(char), char)
        if not new:
            has_moved = True
            continue
        is_cjk = "\u3400" <= new <= "\u9fff"
        is_ascii = new.isascii() and new.isalnum()
        if (was_cjk and is_ascii) or (was_ascii and is_cjk):
            # Chinese runs into digits and Latin without a space; patterns need a word border there
            has_moved = True
            chars.append(" ")
            offsets.append(i - 1)
        was_cjk, was_ascii = is_cjk, is_ascii
        chars.append(new)
        offsets.append(i)
    return "".join(chars), offsets if has_moved else None


def unaccent(word: str) -> str:
    """Return a Latin word without its accents, ł and ı included."""
    plain = unicodedata.normalize("NFD", word.replace("ł", "l").replace("ı", "i"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def lower(text: str) -> str:
    """Return `text` in lower case with every character in its place (`"İ".lower()` is two; here it is i)."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join("i" if c == "İ" else c if len(c.lower()) != 1 else c.lower() for c in text)


def find_words(text: str) -> list[str]:
    """Return the words of `text` as `WORD` finds them; most messages are ASCII, where splitting takes half the time."""
    return text.encode().translate(_GAPS).decode().split() if text.isascii() else WORD.findall(text)


_GAPS = bytes(code if re.match(r"\w", chr(code)) else 0x20 for code in range(0x80)) + bytes(range(0x80, 0x100))


class Wakes(dict[str, int]):
    """What each word wakes by itself or by how it begins; filled as words are met, since they come again and again.

    `openings` are patterns that match only where a word begins, after `_` too, or at Chinese letters. Each has a bit,
    and a word that could begin it wakes that bit: most messages hold none, and the pattern need not be tried on them.
    """

    def __init__(self, triggers: Mapping[str, int], openings: Iterable[re.Pattern[str]] = ()) -> None:
        super().__init__()
        self.triggers = triggers
        self.openings: dict[int, int] = {}  # bit by the pattern's id: to hash a long pattern takes microseconds
        self._whole: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        for pattern in openings:
            bit = self.openings[id(pattern)] = _FIRST_OPENING << len(self.openings)
            first = heads(pattern)
            for known, words in ((self._whole, first.whole), (self._starts, first.starts)):
                for word in words:
                    known[word] = known.get(word, 0) | bit

    def __missing__(self, word: str) -> int:
        if len(self) >= _MEMORY:
            self.clear()
        wake = self.triggers.get(word, 0) | TRIGGER_PREFIXES.get(word[:PREFIX_LENGTH], 0) | self._opened(word)
        if len(word) > 11:
            wake |= _WIDE
        if _DIGIT.search(word):
            wake |= _NUMERIC
            if _MAY_BE_PASSWORD.search(word):
                wake |= _SHAPED
        if _MAY_BE_STREET.search(word):
            wake |= _STREET
        self[word] = wake
        return wake

    def _opened(self, word: str) -> int:
        """Return the bits of the patterns that could begin at `word` or after a `_` in it."""
        if not word.isascii():
            if not _ALPHABETIC.fullmatch(word):
                return _ALL_OPEN
            word = word.translate(SAME_LETTERS)
        bits = 0
        for part in word.split("_") if "_" in word else (word,):
            bits |= self._whole.get(part, 0)
            for n in range(1, LONGEST + 1):
                bits |= self._starts.get(part[:n], 0)
        return bits


# of words, no recognizer's bits: one long enough to be looked at for a key, with a digit, and the two kinds above
_WIDE, _NUMERIC, _SHAPED, _STREET = 1 << 26, 1 << 27, 1 << 28, 1 << 29
_UNKNOWN = 1 << 31  # of patterns that are no openings: always awake
_FIRST_OPENING = 1 << 32
_ALL_OPEN = -_FIRST_OPENING  # every bit from there on
_ALPHABETIC = re.compile(r"[a-z0-9_\u00df-\u024f\u0400-\u052f\u1e00-\u1eff]+")
_MEMORY = 200_000  # words that are remembered
_WAKES = Wakes(TRIGGERS)


class View(NlpArtifacts):  # type: ignore[misc]
    """One message. `norm` is what patterns run on; offsets of `norm` go through `span` before they leave."""

    # what AnalyzerEngine and the context enhancer read; ours carry their own context
    entities: list[Any] = []  # noqa: RUF012 - shared and never written
    tokens: Any = ()
    lemmas: list[str] = []  # noqa: RUF012
    tokens_indices: list[int] = []  # noqa: RUF012
    keywords: list[str] = []  # noqa: RUF012
    scores: list[float] = []  # noqa: RUF012
    nlp_engine: Any = None

    def __init__(self, text: str, wakes: Wakes = _WAKES, lang: str = "") -> None:
        self._matches: dict[int, list[re.Match[str]]] = {}
        self._openings = wakes.openings
        self.text = text
        self.lang = lang  # of the chat, "" where nobody knows
        self.norm, self._offsets = normalise(text)
        self.low = low = lower(self.norm)
        if "ё" in low:
            low = low.replace("ё", "е")
        self.words = words = find_words(low)
        wake = reduce(or_, map(wakes.__getitem__, words), 0)
        if wake & _NUMERIC:
            if _DIGITS.search(low):
                wake |= Wake.DIGITS
            if wake & _STREET and _GERMAN_STREET.search(low):
                wake |= Wake.ADDRESS
            if (wake & _SHAPED or _SIGN.search(low)) and _PASSWORD_SHAPE.search(self.norm):
                wake |= Wake.PASSWORD
        if "@" in low:
            wake |= Wake.AT
        if lang == "pl":
            wake |= Wake.NAME  # surnames tell themselves by their endings
        if "u/" in low:
            wake |= Wake.USER
        if "(at" in low or "[at" in low or (" at " in low and "dot" in low):
            wake |= Wake.MAIL
        if "://" in low or ".com" in low or ".me/" in low or ".gg/" in low or "www." in low:
            wake |= Wake.URL
        if wake & _WIDE and _LONG.search(low):
            wake |= Wake.LONG
        if len(words) > 11 and sum(map(BIP39.__contains__, words)) > 7:
            run = 0
            for word in words:
                run = run + 1 if word in BIP39 else run if word.isdigit() else 0
                if run > 7:
                    wake |= Wake.SEED
                    break
        if not low.isascii():
            if self.norm is not low and _SURNAME.search(self.norm):
                wake |= Wake.NAME
            exotic = _EXOTIC.search(low)
            if exotic:
                if exotic[0] >= "\u3400":
                    wake |= Wake.CJK
                    for match in _CJK_TRIGGER.finditer(low):
                        wake |= CJK_TRIGGERS[match[0]]
                else:
                    wake |= Wake.NAME | (Wake.ADDRESS if wake & _NUMERIC else 0)
                    for word in words:
                        if not word.isascii():
                            wake |= wakes.triggers.get(unaccent(word), 0)
        self._awake = wake | _UNKNOWN
        self.wake = wake & (_WIDE - 1)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return offsets in the original text. Invisible characters inside the span are part of it."""
        if self._offsets is None:
            return start, end
        return self._offsets[start], self._offsets[end - 1] + 1

    def matches(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        """Return where `pattern` stands, looked for once however many ask.

        One that does not ignore case is a lower-case one and is looked for in `low`: that takes a third of the time.
        """
        known = self._matches.get(id(pattern))
        if known is None:
            text = self.norm if pattern.flags & re.IGNORECASE else self.low
            known = self._matches[id(pattern)] = list(pattern.finditer(text)) if self.may_hold(pattern) else []
        return known

    def may_hold(self, pattern: re.Pattern[str]) -> bool:
        """Return whether any word could begin `pattern`; True of every pattern that the scrubber named no opening."""
        return self._awake & self._openings.get(id(pattern), _UNKNOWN) != 0

    def finditer(self, pattern: re.Pattern[str]) -> Iterable[re.Match[str]]:
        """Return where `pattern` stands in `norm`."""
        return pattern.finditer(self.norm) if self.may_hold(pattern) else ()

    def search(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return where `pattern` first stands in `norm`."""
        return pattern.search(self.norm) if self.may_hold(pattern) else None

    @cached_property
    def n_digits(self) -> int:
        raw = self.low.encode(errors="replace")  # every digit is one of ten by now
        return len(raw) - len(raw.translate(None, _DIGITS_ALONE))

    @cached_property
    def has_cyrillic(self) -> bool:
        return not self.low.isascii() and bool(_CYRILLIC.search(self.low))

    @cached_property
    def is_vietnamese(self) -> bool:
        return not self.low.isascii() and bool(_VIETNAMESE.search(self.low))

    @cached_property
    def tokens_at(self) -> list[tuple[int, int]]:
        """Start and end of each word of `words`."""
        if not self.low.isascii():
            return [m.span() for m in WORD.finditer(self.low)]
        out, end = [], 0
        for word in self.words:
            start = self.low.index(word, end)  # between words stands no letter, so that this is the word itself
            end = start + len(word)
            out.append((start, end))
        return out


class ChatNlpEngine(NlpEngine):  # type: ignore[misc]
    """Presidio's NLP step for chats: makes a `View`, needs no model and downloads nothing."""

    def __init__(self, wakes: Wakes = _WAKES) -> None:
        self.wakes = wakes

    def load(self) -> None:
        pass

    def is_loaded(self) -> bool:
        return True

    def process_text(self, text: str, language: str) -> View:
        return View(text, self.wakes)

    def process_batch(
        self, texts: Iterable[str], language: str, *args: Any, **kwargs: Any
    ) -> Iterator[tuple[str, View]]:
        for text in texts:
            yield text, View(text, self.wakes)

    def is_stopword(self, word: str, language: str) -> bool:
        return False

    def is_punct(self, word: str, language: str) -> bool:
        return not word.isalnum()

    def get_supported_entities(self) -> list[str]:
        return []

    def get_supported_languages(self) -> list[str]:
        return [LANGUAGE]
