"""Properties: what is planted is gone, offsets hold, nothing crashes, time grows with length."""

from __future__ import annotations

import random
import re
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clone.prepare.pii import Entity, LiteralIndex, Literals, PiiSettings, Scrubber
from clone.prepare.pii.view import View, lower, normalise

SCRUBBER = Scrubber(PiiSettings(), key=b"a key for tests")

ODD = "\u200b\u200d\u00ad\u2060\u00a0\u2009\ufeff😀👩‍👩‍👧İßŁ１２⁵\u0301ё中文"


def planted(draw: st.DrawFn) -> tuple[str, str]:
    kind = draw(st.sampled_from(["password", "card", "phone", "mail", "key"]))
    rng = random.Random(draw(st.integers(0, 10**9)))
    if kind == "password":
        value = "".join(rng.choices(string.ascii_letters, k=5)) + "".join(rng.choices(string.digits, k=4)) + "x#Z"
        return f"password: {value}", value
    if kind == "card":
        value = "4539 " + " ".join("".join(rng.choices("123456789", k=4)) for _ in range(3))
        return f"card {value}", value
    if kind == "phone":
        value = "+7 9" + "".join(rng.choices(string.digits, k=2)) + " " + "".join(rng.choices("123456789", k=7))
        return f"звони {value}", value
    if kind == "mail":
        value = "".join(rng.choices(string.ascii_lowercase, k=8)) + "@corp.internal"
        return f"mail {value}", value
    value = "gh" + "p_" + "".join(rng.choices(string.ascii_letters + string.digits, k=36))
    return f"key {value}", value


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, str]:
    around = st.text(alphabet=ODD + "аб вг ", max_size=12)
    text, value = planted(draw)
    return f"{draw(around)} {text} {draw(around)}", value


@settings(max_examples=150, deadline=None)
@given(messages())
def test_what_is_planted_is_gone_whatever_stands_around_it(message: tuple[str, str]) -> None:
    text, value = message
    (item,) = SCRUBBER.scrub_chat([text])
    assert value not in item.text
    start = text.index(value)
    assert any(f.start <= start and start + len(value) <= f.end for f in item.findings)


@settings(max_examples=150, deadline=None)
@given(messages())
def test_redaction_leaves_no_secret_to_be_found_again(message: tuple[str, str]) -> None:
    (item,) = SCRUBBER.scrub_chat([message[0]])
    (again,) = SCRUBBER.scrub_chat([item.text])
    assert not again.has_secret


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_comes_back_and_unmasked_stretches_are_untouched(text: str) -> None:
    (item,) = SCRUBBER.scrub_chat([text])
    if item.failed:
        return
    at = 0
    for finding in item.findings:
        assert at <= finding.start < finding.end <= len(text)
        at = finding.end
    assert item.text.startswith(text[: item.findings[0].start] if item.findings else text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=ODD + "abc 123-", max_size=60))
def test_every_normalised_character_maps_into_the_text(text: str) -> None:
    norm, offsets = normalise(text)
    assert len(lower(norm)) == len(norm)
    if offsets is not None:
        assert len(offsets) == len(norm)
        assert all(0 <= i < len(text) for i in offsets)
        assert sorted(offsets) == offsets
    view = View(text)
    assert all(0 <= s < e <= len(norm) for s, e in view.tokens_at)


WORDS = st.sampled_from(["kil", "KIL", "kıl", "Ёж", "еж", "mozilla", "com", "a", "x7", "ann", "$z"])
PHRASES = st.builds(
    lambda words, signs: "".join(w + s for w, s in zip(words, signs, strict=True)),
    st.lists(WORDS, min_size=4, max_size=4),
    st.lists(st.sampled_from(["", " ", ".", "@", "-"]), min_size=4, max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PHRASES, max_size=8), st.lists(PHRASES, min_size=1, max_size=4))
def test_a_literal_is_found_wherever_its_pattern_would_be(values: list[str], said: list[str]) -> None:
    text = " ".join([*said, *values[:2]])
    literals = Literals({lower(value): Entity.PASSWORD for value in values if re.search(r"\w", value)})
    found = {(f.start, f.end) for f in LiteralIndex(literals).find(text)}
    for value in literals.by_value:
        pattern = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE)
        assert {match.span() for match in pattern.finditer(text)} <= found


@pytest.mark.parametrize(
    "unit",
    ["1 ", "a1-", "пароль ", "улица 5 ", "@a.", "1.", "A1B2", "https://x/", "Анна ", "12 rue ", "a at b dot ", "«(["],
)
def test_time_grows_with_length_and_not_faster(unit: str) -> None:
    def seconds(n: int) -> float:
        text = (unit * (n // len(unit) + 1))[:n]
        start = time.process_time()
        SCRUBBER.scrub_chat([text])
        return time.process_time() - start

    seconds(200)
    assert seconds(4096) < 2.0  # a Telegram message is 4,096 characters at most
