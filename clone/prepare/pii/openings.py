"""How a pattern's matches can begin: the letters of their first word, read off the pattern itself.

Most patterns begin with one of many words. Where no word of a message is one of them, the pattern need not be tried.
Pure functions over patterns; knows nothing of what they look for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from re import _constants as c  # type: ignore[attr-defined]  # the parse tree has no public door
from re import _parser  # type: ignore[attr-defined]
from typing import Any

LONGEST = 6
"""Letters of a word that are looked at; a longer one is taken for a match."""

SAME_LETTERS = str.maketrans("ёıİſ", "еiis")  # to a pattern without regard to case
_WIDEST = 8  # characters a class may have and still be spelled out; not all digits


@dataclass(frozen=True, slots=True)
class Heads:
    """First words of a pattern, in lower case, letters folded: whole ones, and how longer ones start."""

    whole: set[str] = field(default_factory=set)
    starts: set[str] = field(default_factory=set)


def heads(pattern: re.Pattern[str]) -> Heads:
    """Return the words, or their starts, that matches of `pattern` can begin with.

    May hold too many, never too few, of a pattern that matches only where a word begins. Raises ValueError of one that
    can begin with anything else than a letter or digit.
    """
    found = Heads()
    live = _walk(_parser.parse(pattern.pattern, pattern.flags), {""}, found)
    _note(found.starts, live)
    return found


def _note(known: set[str], words: Iterable[str]) -> None:
    for word in words:
        if not word:
            raise ValueError("the pattern can begin with what is no word")
        known.add(word)


def _walk(items: Iterable[tuple[Any, Any]], live: set[str], found: Heads) -> set[str]:
    """Return what the beginnings `live` are after `items`; those that grow no more are noted in `found`."""
    for kind, value in items:
        if not live:
            break
        live = _step(kind, value, live, found)
    return live


def _step(kind: Any, value: Any, live: set[str], found: Heads) -> set[str]:
    if kind is c.LITERAL:
        return _grow(live, {chr(value)}, found)
    if kind is c.IN:
        return _grow(live, _spell_out(value), found)
    if kind is c.BRANCH:
        return set().union(*(_walk(branch, live, found) for branch in value[1]))
    if kind is c.SUBPATTERN:
        return _walk(value[3], live, found)
    if kind in (c.MAX_REPEAT, c.MIN_REPEAT):
        fewest, most, repeated = value
        return _repeat(fewest, most, repeated, live, found)
    if kind is c.ASSERT_NOT and value[0] > 0 and _is_word_end(value[1]):
        return _grow(live, {" "}, found)
    if kind is c.AT:
        is_end = value is c.AT_END or (value is c.AT_BOUNDARY and "" not in live)
        return _grow(live, {" "}, found) if is_end else live
    if kind in (c.ASSERT, c.ASSERT_NOT):
        return live  # asks for more, so that fewer words would do
    return _grow(live, None, found)


def _grow(live: set[str], chars: set[str] | None, found: Heads) -> set[str]:
    """Return `live` with each of `chars` behind it; None is any character at all."""
    if chars is None:
        _note(found.starts, live)
        return set()
    letters = {char for char in chars if char.isalnum()}
    if len(letters) < len(chars):
        _note(found.whole, live)
    grown = {word + char.lower().translate(SAME_LETTERS)[:1] for word in live for char in letters}
    long = {word for word in grown if len(word) >= LONGEST}
    _note(found.starts, long)
    return grown - long


def _repeat(fewest: int, most: int, items: Any, live: set[str], found: Heads) -> set[str]:
    out: set[str] = set()
    for n in range(min(most, LONGEST + fewest)):
        if n >= fewest:
            out |= live
        live = _walk(items, live, found)
        if live <= out:
            break
    return out | live


def _spell_out(members: list[tuple[Any, Any]]) -> set[str] | None:
    """Return the characters of a class, None where they are too many."""
    chars: set[str] = set()
    for kind, value in members:
        if kind is c.LITERAL:
            chars.add(chr(value))
        elif kind is c.RANGE:
            chars.update(map(chr, range(value[0], min(value[1], value[0] + _WIDEST) + 1)))
        elif kind is c.CATEGORY and value is c.CATEGORY_SPACE:
            chars.add(" ")
        else:
            return None
        if len(chars) > _WIDEST:
            return None
    return chars


_WORD_ENDS = [list(_parser.parse(text)) for text in (r"[^\W_]", r"\w", r"[\w]")]


def _is_word_end(items: Any) -> bool:
    """Return whether what must not follow is a letter or digit, whatever else."""
    return list(items) in _WORD_ENDS
