"""Where a pattern need not be tried, it finds nothing."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import pytest

from clone.prepare.pii import PiiSettings, Scrubber
from clone.prepare.pii.openings import LONGEST, heads
from clone.prepare.pii.view import View, Wakes, find_words

LINES = Path(__file__).parents[3] / "benchmarks" / "data" / "pii_lines.jsonl.xz"
OPENINGS = [pattern for r in Scrubber(PiiSettings(), key=b"k").recognizers for pattern in r.openings()]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    with lzma.open(LINES, "rt", encoding="utf-8") as file:
        lines = [json.loads(line)["text"] for line in file]
    changed = [lines, map(str.upper, lines), map(str.title, lines), (t.replace("е", "ё") for t in lines)]
    changed += [(t.replace("i", "ı") for t in lines), (t.replace(" ", "_") for t in lines), map("_".__add__, lines)]
    return [text for texts in changed for text in texts]


def test_a_pattern_that_finds_something_may_be_held(texts: list[str]) -> None:
    wakes = Wakes({}, OPENINGS)
    n_closed = 0
    for text in texts:
        view = View(text, wakes)
        for pattern in OPENINGS:
            if not view.may_hold(pattern):
                n_closed += 1
                assert not pattern.search(view.norm), pattern.pattern[:60]
                assert not pattern.search(view.low), pattern.pattern[:60]
    assert n_closed > 0.8 * len(texts) * len(OPENINGS), "nothing would be saved"


def test_openings_match_only_where_a_word_begins(texts: list[str]) -> None:
    for text in texts:
        norm = View(text).norm
        for pattern in OPENINGS:
            for match in pattern.finditer(norm):
                first = match[0][0]
                assert first.isalnum(), pattern.pattern[:60]
                assert first >= "\u2e80" or not pattern.match("x" + norm[match.start() :], 1), pattern.pattern[:60]


def test_what_nobody_named_an_opening_is_always_tried() -> None:
    view = View("nothing here", Wakes({}, OPENINGS))
    other = re.compile(r"thing")
    assert view.may_hold(other)
    assert [m[0] for m in view.finditer(other)] == ["thing"]
    assert view.search(other)


@pytest.mark.parametrize(
    ("pattern", "whole", "starts"),
    [
        (r"(?<!\w)(?:log ?-?in|pass(?!\w))", {"log", "pass"}, {"login"}),
        (r"(?<![^\W_])(?:ник\w{0,4}|[iı]g)(?![^\W_])", {"ig", "ник"}, {"ник"}),
        (r"\bконтрольное слово", set(), {"контро"}),
        (r"(?:my )?p(?:in)?s?\s*\d", {"my", "p", "pin", "ps", "pins"}, {"p", "pin", "ps", "pins"}),
        (r"(?:учётк|a{2,3})$", {"aa", "aaa", "учетк"}, set()),
    ],
)
def test_the_first_words_of_a_pattern(pattern: str, whole: set[str], starts: set[str]) -> None:
    found = heads(re.compile(pattern, re.IGNORECASE))
    assert (found.whole, found.starts) == (whole, starts)
    assert all(len(word) <= LONGEST for word in found.starts)


@pytest.mark.parametrize("pattern", [r"[#*]?\d+", r"\w+@", r"(?:word)?", r".x", r"-?x"])
def test_a_pattern_that_can_begin_with_no_word_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no word"):
        heads(re.compile(pattern))


@pytest.mark.parametrize("text", ["", "it's a_b, 2\x1c3\x00x", "ночь и día", "a\tb\nc.d-e"])
def test_words_are_those_of_the_pattern(text: str) -> None:
    assert find_words(text) == re.findall(r"\w+", text)


def test_nothing_is_lost_by_what_is_not_tried(texts: list[str]) -> None:
    scrubber = Scrubber(PiiSettings(), key=b"k")
    careless = Scrubber(PiiSettings(), key=b"k")
    careless._wakes.openings.clear()  # every pattern may stand anywhere
    assert scrubber.find_chat(texts, lang="") == careless.find_chat(texts, lang="")
