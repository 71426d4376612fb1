"""Passwords that are plain words, by the place they have in the sentence.

`clone.prepare.pii.plain` knows turns of speech; this knows only what kinds of words there are: the name of the thing,
words that join it and its value ("is", "это", a colon), words that may stand between, words that put or change one. A
word that none of the lists holds, in a place where those leave room for a value, is one. Pure functions over normalised
text; written once for all languages, since chats mix them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clone.prepare.pii.names import is_noun_in_nominative
from clone.prepare.pii.plain import Span, is_of_thing, is_talk
from clone.prepare.pii.words import read_list, read_words

_TOKEN = re.compile(r"[^\W_]+(?:[-&][^\W_]+)*")
_SIGN = re.compile(r"[:=→>\"«“`]|\s-+\s|\s-+$|^-+\s")
_CLAUSE = re.compile(r"[,;()\n.!?…]")
_ASKED = re.compile(r"[?\n]")
_LETTERS = re.compile(r"[^\W\d_\u3400-\u9fff]+(?:[-&][^\W\d_\u3400-\u9fff]+)*")
_PATH, _PATH_ON = re.compile(r"(?:[/\\@#$%|_~+]|\w\.|--)$"), re.compile(r"[/\\@_+|(\[]|://|\.(?=\w)|\.$(?!\n)|%\w")
_FAR = 12  # words between the thing and its value at most
_UKRAINIAN = re.compile(r"[іїєґ]")
_STOP_WORDS = read_words("stop_words.txt")
_THINGS = read_words("password_things.txt")
_MANY = re.compile(  # of passwords in general one only talks
    r"passwords|passwörte\w*|kennwörte\w*|парол(?:ей|ями|ям|ях)|паролів|contraseñas|claves|senhas|mots de passe"
    r"|haseł\w*|şifreler\w*|creds|credentials"
)


def _classes() -> dict[str, frozenset[str]]:
    words: dict[str, set[str]] = {}
    for line in read_list("password_grammar.txt"):
        name, *rest = line.split()
        words.setdefault(name, set()).update(rest)
    return {name: frozenset(rest) for name, rest in words.items()}


_CLASS = _classes()
_TOLD, _SKIP, _THE, _OF, _PUT = (_CLASS[name] for name in ("told", "skip", "the", "of", "put"))
_AS, _INTO, _CHANGED, _FROM, _OR = (_CLASS[name] for name in ("as", "into", "changed", "from", "or"))
_NAME, _CLOSE, _USER, _WANTS = (_CLASS[name] for name in ("name", "close", "user", "wants"))
_THATS = frozenset(("thats", "that", "it", "s", "das", "ist", "es", "war", "это", "вот", "це"))
_BUT, _WITH, _WORKS, _LOOSE = (_CLASS[name] for name in ("but", "with", "works", "loose"))
_WAS, _NEW, _NONE = (_CLASS[name] for name in ("was", "new", "none"))


@dataclass(slots=True, frozen=True)
class _Sentence:
    """A message as words, the gaps before each and after the last, and which words are the name of the thing."""

    norm: str
    words: tuple[str, ...]
    spans: tuple[Span, ...]
    gaps: tuple[str, ...]  # n + 1
    is_key: tuple[bool, ...]
    keys: tuple[str, ...]  # as they are written, lower case

    def has_sign(self, i: int) -> bool:
        """Return whether a colon or the like stands before word `i`, no time of day."""
        gap = self.gaps[i]
        if gap == ":" and i and self.words[i - 1][-1].isdigit() and self.words[i][0].isdigit():
            return False
        return _SIGN.search(gap) is not None

    def ends(self, i: int) -> bool:
        """Return whether the clause ends behind word `i`."""
        gap = self.gaps[i + 1]
        if i + 1 == len(self.words) or _CLAUSE.search(gap) or _SIGN.search(gap):
            return True
        return self.words[i + 1] in _BUT

    def clause_start(self, i: int) -> int:
        """Return the first word of the clause that word `i` stands in."""
        while i > 0 and not _CLAUSE.search(self.gaps[i]):
            i -= 1
        return i


def told(norm: str, keys: Sequence[re.Match[str]]) -> Iterator[Span]:
    """Yield the plain words that are told to be what `keys`, matches in `norm`, name."""
    sentence = _read(norm, keys)
    if len(sentence.words) > 60:
        return
    words = sentence.words
    candidates = [i for i in range(len(words)) if not sentence.is_key[i] and _may_be(sentence, i)]
    found: list[int] = []
    for i in candidates:
        is_other = bool(found) and i == found[-1] + 2 and words[i - 1] in _OR  # `honeybee or bumblebee`
        if is_other or _has_place(sentence, i):
            found.append(i)
    for i in found:
        yield sentence.spans[i]
    yield from _of_several(sentence)
    yield from _with_spaces(sentence)
    yield from _answers_in_line(sentence)
    yield from _joined(sentence, _LINKED)
    if found and any(word in _CHANGED or word in _INTO for word in words):
        for i in candidates:  # `from butterfly to dragonfly`
            if i < found[0] <= i + 4 and i and words[i - 1] in _FROM:
                yield sentence.spans[i]


_SPELT = re.compile(
    r"(?<![^\W_])(?:no caps|all (?:lower|caps|small)|lower ?case|one word|capital \w|mayúscula|minúsculas?|majuscule|minuscules?|minuscolo|maiuscol[ao]|tudo junto|todo junto|tutto attaccato|zusammengeschrieben|mit (?:gro(?:ß|ss)em|kleinem) \w|klein ?geschrieben|alles klein|małymi|z dużej|küçük harf|hepsi küçük|viết (?:liền|thường|hoa)|латиниц\w+|латинк\w+|раскладк\w+|розкладк\w+|слитно|с (?:большой|маленькой|заглавной)|букв[аы] [а-яёa-z] (?:больш|маленьк|заглавн)\w+|з великої|全小写|小写)(?![^\W_])"
)
_ORDINARY = re.compile(  # endings of long words that are no inventions
    r".*(?:tions?|ments?|ness|ities|ity|ings?|ship|ences?|ances?|ists?|isms?|ally|able|ible|ously|fully|logy|graphy|where|thing|body|selves|self|ciones|ción|siones|sión|dad|dades|mente|miento|mientos|aje|ísimo|ísima|eur|euse|ique|iques|ement|ements|zione|zioni|mento|menti|mente|issimo|issima|ità|ção|ções|mento|idade|íssimo|ości|ość|anie|enie|owy|owa|owe|ami|ach|lik|lık|luk|lük|ler|lar|leri|ları|dan|den|sız|siz|ung|ungen|keit|heit|schaft|lich|liche|lichen|isch|ische|ieren|iert|chen|tion|tionen|ismus|stes|ster|sten|erweise|ость|ости|ение|ения|ание|ания|ться|тся|ский|ская|ского|ский|ських|ський|ання|ення|ість)"
)


def invented(norm: str) -> Iterator[Span]:
    """Yield words that look put together by someone, told where an account or a spelling is spoken of, not a password.

    `same as on the ipad, hungrycaterpillar`: of ten letters or more, or of three parts, that stand alone in their
    clause or behind a word of telling.
    """
    if len(norm) > 200 or not _LONG_WORD.search(norm):
        return
    low = norm.lower()
    is_spelt = _SPELT.search(low) is not None
    if not is_spelt and not _ACCOUNT.search(low):
        return
    sentence = _read(norm, ())
    words = sentence.words
    linked = next(_joined(sentence, _LINKED), None)
    if linked:
        yield linked
        return
    is_german = bool(re.search(r"[äöüß]|(?<!\w)(?:ist|das|und|nicht|ich)(?!\w)", low))
    for i, word in enumerate(words):
        is_long = len(word) >= 10 or word.count("-") > 1
        is_put = i > 0 and words[i - 1] in _PUT and not _CLAUSE.search(sentence.gaps[i])
        if not (is_long or ((is_spelt or is_put) and len(word) > 5)) or not _may_be(sentence, i):
            continue
        written = norm[slice(*sentence.spans[i])]
        is_quoted = sentence.gaps[i].endswith(('"', "«")) and sentence.gaps[i + 1].startswith(('"', "»"))
        if is_quoted and is_spelt and _ACCOUNT.search(low):
            yield sentence.spans[i]
            return
        if _ORDINARY.fullmatch(word) or not written[1:].islower() or (written[0].isupper() and not is_spelt):
            continue
        if not word.isascii() and "а" <= word[0] <= "я" and is_noun_in_nominative(word) is not None:
            continue
        j, joined = i - 1, _SIGN.search(sentence.gaps[i]) is not None
        while not joined and j >= 0 and not _CLAUSE.search(sentence.gaps[j + 1]):
            if words[j] in _TOLD or words[j][-1] in "是为成" or words[j] in _PUT:
                joined = True
            elif words[j] not in _SKIP:
                break
            j -= 1
        is_alone = is_long and j >= 0 and _CLAUSE.search(sentence.gaps[j + 1]) is not None and not is_german
        is_place = (joined and _closes(sentence, i)) or (is_alone and _ends_so(sentence, i))
        if is_place and "?" not in sentence.gaps[i + 1]:
            yield sentence.spans[i]
            return


_LONG_WORD = re.compile(r"[^\W\d_][^\W\d_-]{8}|[^\W\d_]-[^\W\d_]{2,}-[^\W\d_]|[\"«]")
_ACCOUNT = re.compile(  # what one logs in to, where no password is named
    r"(?<![^\W_])(?:wi-?fi|wlan|modem\w{0,3}|router\w?|hotspot|netflix\w*|hulu|spotify|disney|hbo|prime|steam|icloud|ipad|laptop\w{0,3}|вай-?фа\w+|роутер\w?|модем\w?|нетфликс\w?|ноут\w?|стим\w|кинопоиск\w?|спотифа\w+|ordi|ordinateur|portátil|compu|computador\w?|computer\w{0,2}|komp\w{0,4}|bilgisayar\w{0,4}|комп\w{0,3}|tablet\w{0,3}|планшет\w?|vault|винд[ае])(?![^\W_])|路由器|无线"
)


def _of_several(sentence: _Sentence) -> Iterator[Span]:
    """Yield values of several words: in quotes, or after a colon up to the end of the line."""
    words = sentence.words
    for key in range(len(words) - 1):
        if not sentence.is_key[key] or not _is_strong(sentence, key, sign=True):
            continue
        first = key + 1
        while first < len(words) and not sentence.has_sign(first) and first - key < 7:
            if _CLAUSE.search(sentence.gaps[first]):
                break
            first += 1
        if first >= len(words) or not sentence.has_sign(first) or _CLAUSE.search(sentence.gaps[first]):
            continue
        is_quoted = '"' in sentence.gaps[first] or "«" in sentence.gaps[first]
        last = first
        while last + 1 < len(words) and not sentence.gaps[last + 1].strip(" '") and last - first < 7:
            last += 1
        n_talk = sum(not _may_be(sentence, i) for i in range(first, last + 1))
        if not 1 <= last - first <= 5 or any(sentence.is_key[first : last + 1]):
            continue
        rest = sentence.gaps[last + 1].lstrip(" '")
        if is_quoted:
            is_value = rest.startswith(('"', "»")) and n_talk <= last - first
        else:
            is_few = n_talk <= (last - first) // 3 and (not rest or rest[0] in "\n.,!;)")
            is_value = is_few or (not rest.strip(" .!") and _is_phrase(sentence, first, last))
        if is_value:
            yield sentence.spans[first][0], sentence.spans[last][1]


_SPACES = re.compile(
    r",? *(?:có dấu cách|with (?:the )?spaces|con (?:gli )?spazi|con espacios|avec (?:les )?espaces|mit leerzeichen|с пробелами|з пробілами|ze spacjami|boşluklu|com espaços?)(?![^\W_])"
)


def _with_spaces(sentence: _Sentence) -> Iterator[Span]:
    """Yield the several words before `with spaces`, back to what joins them with the thing."""
    cue = _SPACES.search(sentence.norm.lower())
    if not cue or not any(sentence.is_key):
        return
    last = sum(end <= cue.start() for _, end in sentence.spans) - 1
    first = last
    while first > 0 and not sentence.is_key[first - 1] and not _CLAUSE.search(sentence.gaps[first]):
        if sentence.has_sign(first) or sentence.words[first - 1] in _TOLD or _is_into(sentence, first - 1):
            break
        first -= 1
    if 1 <= last - first <= 6 and any(sentence.is_key[:first]):
        yield sentence.spans[first][0], sentence.spans[last][1]


def _answers_in_line(sentence: _Sentence) -> Iterator[Span]:
    """Yield the line of two to four words that answers a line which asks, where none of them talks."""
    words, gaps = sentence.words, sentence.gaps
    for first in range(1, len(words)):
        if "\n" not in gaps[first]:
            continue
        last = first
        while last + 1 < len(words) and "\n" not in gaps[last + 1]:
            last += 1
        line = words[first : last + 1]
        start = max((i for i in range(first) if i == 0 or "\n" in gaps[i]), default=0)
        keys = [i for i in range(start, first) if sentence.is_key[i]]
        if (
            not keys
            or not 2 <= len(line) <= 4
            or not _wants(sentence, keys[-1])
            or any(gaps[first + 1 : last + 1][k].strip() for k in range(last - first))
        ):
            continue
        if any(w in _STOP_WORDS or w in _SKIP or w in _WANTS or w in _PUT or is_talk(w, 1, language="") for w in line):
            continue
        if any(_may_be(sentence, i) for i in range(first, last + 1)):
            yield sentence.spans[first][0], sentence.spans[last][1]


_LINKED = re.compile(r"[^\W\d_]{2,}(?:-[^\W\d_]{2,}){2,}")


def _joined(sentence: _Sentence, shape: re.Pattern[str]) -> Iterator[Span]:
    """Yield words of three parts and more: `correct-donkey-battery`, unless they are joined by words of talk alone."""
    for i, word in enumerate(sentence.words):
        if not shape.fullmatch(word) or _PATH.search(sentence.gaps[i]) or _PATH_ON.match(sentence.gaps[i + 1]):
            continue
        parts = word.split("-")
        n_common = sum(part in _STOP_WORDS or part in _OF or part in _THE or is_talk(part, 1) for part in parts)
        if n_common * 2 < len(parts):
            yield sentence.spans[i]


def _is_phrase(sentence: _Sentence, first: int, last: int) -> bool:
    """Return whether words `first` to `last` name something and do not talk: `la casa de la abuela`."""
    words = sentence.words[first : last + 1]
    if last + 1 < len(sentence.words) or any(word in _WANTS or word in _PUT or word in _CHANGED for word in words):
        return False
    content = [w for w in words if not any(w in common for common in (_THE, _OF, _SKIP, _TOLD))]
    return len(words) > 2 and len(content) > 1 and not any(is_talk(word, 1, language="") for word in content)


def _read(norm: str, keys: Sequence[re.Match[str]]) -> _Sentence:
    words, spans, gaps, is_key = [], [], [], []
    end, k = 0, 0
    for match in _TOKEN.finditer(norm):
        if match.start() < end:
            continue
        while k < len(keys) and keys[k].end() <= match.start():
            k += 1
        span = match.span()
        named = k < len(keys) and keys[k].start() < match.end()
        if named:
            span = (min(span[0], keys[k].start()), keys[k].end())
        gaps.append(norm[end : span[0]])
        words.append(norm[slice(*span)].lower().replace("ё", "е"))
        spans.append(span)
        is_key.append(named)
        end = span[1]
    gaps.append(norm[end:])
    return _Sentence(norm, tuple(words), tuple(spans), tuple(gaps), tuple(is_key), tuple(k[0].lower() for k in keys))


def _may_be(sentence: _Sentence, i: int) -> bool:
    """Return whether word `i` can be a value by itself: none of those that sentences are built of."""
    word = sentence.words[i]
    if len(word) < 4 or not _LETTERS.fullmatch(word) or word in _STOP_WORDS or word in _SKIP:
        return False
    if _PATH.search(sentence.gaps[i]) or _PATH_ON.match(sentence.gaps[i + 1]):
        return False
    if word in _THE or word in _OF or word in _PUT or word in _CHANGED or word in _TOLD or word in _USER:
        return False
    if word in _THINGS or word in _WANTS or word in _NEW or is_of_thing(word):
        return False
    before = sentence.gaps[i]
    if before.endswith(("...", "... ", "…", "… ")) and sentence.gaps[i + 1].startswith(("...", "…")):
        return False  # drum roll
    if i and not _SIGN.search(before) and not _CLAUSE.search(before):
        last = sentence.words[i - 1]
        if last in _THE and last not in _TOLD and last not in _PUT and not _is_into(sentence, i - 1):
            return False
        if last in _OF and not (
            _is_into(sentence, i - 1) or _is_put_with(sentence, i - 1) or last in _SKIP or last in _FROM
        ):
            return False
    if not word.isascii() and "а" <= word[0] <= "я" and not _UKRAINIAN.search(sentence.norm.lower()):
        noun = is_noun_in_nominative(word)
        if noun is not None:
            return noun and not is_talk(word, shapes=False)
    return not is_talk(word, language=_language(sentence))


def _language(sentence: _Sentence) -> str:
    """Return the language whose endings tell talk: that of the name of the thing, "" where it is one of many."""
    key = sentence.keys[0] if sentence.keys else ""
    if key.startswith(("has", "klucz", "tajne")):
        return "pl"
    if key.startswith(("ş", "sif", "ağ", "gizli", "parolam", "parolan", "parolas")):
        return "tr"
    return ""


def _is_into(sentence: _Sentence, i: int) -> bool:
    """Return whether word `i` says what a password was changed to."""
    return sentence.words[i] in _INTO and any(word in _CHANGED for word in sentence.words)


def _is_put_with(sentence: _Sentence, i: int) -> bool:
    """Return whether word `i` is the second of `try with`."""
    return sentence.words[i] in _WITH and any(word in _PUT for word in sentence.words[max(0, i - 3) : i])


def _closes(sentence: _Sentence, i: int) -> bool:
    """Return whether the clause may end with word `i`, what little follows being how it is written and the like."""
    return (
        sentence.ends(i)
        or sentence.words[i + 1] in _CLOSE
        or sentence.words[i + 1] in _CHANGED
        or sentence.words[i + 1] in _OR
    )


def _ends_so(sentence: _Sentence, i: int) -> bool:
    """Return whether the clause ends with word `i` but for words that close."""
    for k in range(i, min(i + 7, len(sentence.words))):
        if sentence.ends(k):
            return True
        word = sentence.words[k + 1]
        if not any(word in words for words in (_CLOSE, _CHANGED, _SKIP, _OR)):
            return False
    return False


def _has_place(sentence: _Sentence, i: int) -> bool:
    """Return whether word `i` stands where the value of a password stands."""
    words, gaps, is_key = sentence.words, sentence.gaps, sentence.is_key
    if _stands_as_key(sentence, i) or _is_key_later(sentence, i):
        return True
    is_closed = _closes(sentence, i)
    asked = gaps[i + 1].lstrip(" \"'»”)").startswith("?")
    # what stands before it: as far as the words go that may stand between
    j, joined, is_sign, skipped = i - 1, False, False, set()
    gap = gaps[i]
    while True:
        if j >= 0 and sentence.has_sign(j + 1):
            is_sign = True
            break
        if j < 0 or _CLAUSE.search(gap):
            break
        word = words[j]
        if is_key[j]:
            break
        if word in _TOLD and not (word == "to" and not sentence.keys[0].startswith(("has", "klucz"))):
            joined = True
        elif word not in _SKIP or i - j > 6:
            break
        skipped.add(word)
        gap = gaps[j]
        j -= 1
    if asked and not (joined and skipped & _WAS):
        return False
    if joined and is_closed and j >= 0 and not _CLAUSE.search(gap) and words[j] in _NEW:
        return any(is_key)  # `the old one was mountain`
    near = [k for k in range(max(0, j - _FAR), j + 1) if is_key[k]]
    if is_sign:
        return (
            bool(near)
            and is_closed
            and _is_one_clause(sentence, near[-1], j)
            and _is_strong(sentence, near[-1], sign=True)
        )
    if not is_closed:
        return False
    if j >= 0 and not _CLAUSE.search(gap):
        return _in_clause(sentence, i, j, joined, near)
    return _in_next(sentence, i, j, joined)


def _is_one_clause(sentence: _Sentence, first: int, last: int) -> bool:
    """Return whether no clause ends between words `first` and `last`, but for a comma."""
    return not any(re.search(r"[.!?;\n]", gap) for gap in sentence.gaps[first + 1 : last + 1])


def _in_clause(sentence: _Sentence, i: int, j: int, joined: bool, near: list[int]) -> bool:
    """`password is raincloud`, `пароль от вайфая одуванчик`; word `j` is the first that may not stand between."""
    words = sentence.words
    if sentence.is_key[j]:
        if joined:
            return _is_strong(sentence, j)
        return _ends_so(sentence, i) and len(words[i]) > 4 and _is_strong(sentence, j) and not _wants(sentence, j)
    if (
        (words[j] in _PUT or _is_put_with(sentence, j))
        and any(sentence.is_key)
        and not _MANY.fullmatch(_key_word(sentence))
    ):
        return len(words[i]) > 4
    if _is_into(sentence, j) and any(sentence.is_key):
        return True
    if j and any(word in _FROM for word in words[max(0, j - 2) : j]) and any(sentence.is_key):
        return True  # `instead of butterfly now dragonfly`
    if not near:
        return False
    key = near[-1]
    if not _is_one_clause(sentence, key, j) or any(sentence.gaps[k].strip(" '\"-") for k in range(key + 1, j + 1)):
        return False
    if joined:
        return _is_strong(sentence, key)
    if not _ends_so(sentence, i) or _wants(sentence, key) or not _is_strong(sentence, key):
        return False
    if any(word in _NAME for word in words[key + 1 : j + 1]):
        return True
    return len(words[i]) > 4 and _is_of(sentence, key + 1, j)


def _is_of(sentence: _Sentence, first: int, last: int) -> bool:
    """Return whether words `first` to `last` only say what the password is of: `от вайфая у бабушки`."""
    was_of = False
    for k in range(first, last + 1):
        word = sentence.words[k]
        is_of = word in _OF or word in _THE
        if not (is_of or was_of or word in _THINGS or word in _SKIP or is_of_thing(word) or word in _NEW):
            return False
        was_of = is_of and not word.isascii()  # Latin languages go on after the noun: their things must be known ones
    return True


def _in_next(sentence: _Sentence, i: int, j: int, joined: bool) -> bool:
    """`what was the password?` and, in the next clause, the word with nothing but what may stand beside it."""
    if j < 0:
        return False
    start = sentence.clause_start(j)
    key = next((k for k in range(start, j + 1) if sentence.is_key[k]), None)
    if key is None and joined and start > 0:  # one clause between
        start = sentence.clause_start(start - 1)
        key = next((k for k in range(start, j + 1) if sentence.is_key[k]), None)
    if key is None or not _is_strong(sentence, key):
        return False
    gap = sentence.gaps[j + 1]
    if joined:
        return True
    if not _ends_so(sentence, i):
        return False
    return len(sentence.words[i]) > 4 and (_ASKED.search(gap) is not None or not _wants(sentence, key))


def _stands_as_key(sentence: _Sentence, i: int) -> bool:
    """`raincloud as the password`."""
    words, k = sentence.words, i + 1
    start = sentence.clause_start(i)
    if all(word in _SKIP for word in words[start:i]):
        while k < min(i + 4, len(words)) and words[k] in _WORKS:  # `raincloud should still work as the password`
            k += 1
    if k >= len(words) or words[k] not in _AS or _CLAUSE.search(sentence.gaps[k]):
        return False
    return _reaches_key(sentence, k + 1)


def _is_key_later(sentence: _Sentence, i: int) -> bool:
    """`raincloud is the password`, nothing but what may stand between before it."""
    words, k = sentence.words, i + 1
    if k < len(words) and _CLAUSE.search(sentence.gaps[k]) and all(word in _SKIP for word in words[:i]):
        for at in range(k, len(words) - 1):  # `Noisette, comme le lapin, c'est le mot de passe`
            is_first = _CLAUSE.search(sentence.gaps[at]) is not None
            if is_first and (words[at] in _THATS or words[at] == "c") and _reaches_key(sentence, at + 1):
                return True
    while k < min(i + 6, len(words)) and words[k] in _THATS:
        k += 1
    if k >= len(words) or (k == i + 1 and words[k] not in _TOLD):
        return False
    k -= words[k] not in _TOLD
    start = sentence.clause_start(i)
    if any(word not in _SKIP for word in words[start:i]):
        return False
    return _reaches_key(sentence, k + 1)


def _reaches_key(sentence: _Sentence, k: int) -> bool:
    """Return whether from word `k` only articles and the like stand before the name of the thing."""
    n = 0
    while k < len(sentence.words) and n < 4:
        if sentence.is_key[k]:
            return not _MANY.fullmatch(sentence.words[k])
        word = sentence.words[k]
        if not (word in _THE or word in _SKIP or word in _NEW or word in _TOLD or word in _THINGS or is_of_thing(word)):
            return False
        k, n = k + 1, n + 1
    return False


def _key_word(sentence: _Sentence) -> str:
    return next(word for word, is_key in zip(sentence.words, sentence.is_key, strict=True) if is_key)


def _is_strong(sentence: _Sentence, key: int, *, sign: bool = False) -> bool:
    """Return whether the name of the thing means it here: `pass` and `clave` also mean other things."""
    word = sentence.words[key]
    if key and sentence.words[key - 1] in _NONE:
        return False
    if _MANY.fullmatch(word):
        return sign
    if word not in _LOOSE:
        return True
    return sign or any(
        w in _USER or w in _CHANGED or is_of_thing(w) or (word == "mk" and w in _THINGS) for w in sentence.words
    )


def _wants(sentence: _Sentence, key: int) -> bool:
    """Return whether the clause of word `key` asks for one or tells that there is none."""
    start = sentence.clause_start(key)
    stop = key
    while not sentence.ends(stop):
        stop += 1
    return any(word in _WANTS for word in sentence.words[start : stop + 1])
