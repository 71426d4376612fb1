"""The small parts: lengths, names, repeats, examples, review."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clone.errors import DataError, ModelError
from clone.lm.template import read_bubbles, read_context
from clone.prepare.batches import SessionPart
from clone.prepare.duplicates import find_repeats, sketch
from clone.prepare.examples import Measured, build_examples
from clone.prepare.lengths import Lengths, find_tokenizer
from clone.prepare.pseudonyms import load_key, name_contacts
from clone.prepare.review import missed_share
from clone.prepare.sessions import Line, Standing, merge_turns
from clone.prepare.split import balance_contacts, choose_validation
from clone.records import Role
from tests.prepare.conftest import START, Chats

PIECES = [
    *("ok", "don't", "...", "(so", "x_y", "a1b22", "1,000.50", "https://a.b/c?d=e", "ё", "привет!", "'s", "'", "#1"),
    *("…", "_", "-", "?!", "²", "日本語", "👍🏽", "é", "e\u0301", " ", "  ", "\n", "\t"),
]
WORDS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@pytest.fixture(scope="module")
def lengths() -> Lengths:
    return Lengths(find_tokenizer("embedded", Path("/nowhere")).path)


@settings(max_examples=150)
@given(text=st.one_of(WORDS, st.text(max_size=60)))
def test_lengths_counted_by_words_are_those_of_the_whole_text(lengths: Lengths, text: str) -> None:
    assert lengths.count([text]) == lengths._encode([text])


def test_the_packaged_tokenizer_is_cut_at_words(lengths: Lengths) -> None:
    assert lengths._cuts_at_words


def test_the_bases_tokenizer_is_taken_where_it_is_on_disk(tmp_path: Path, byte_base: Path) -> None:
    assert find_tokenizer("tiny/bytes", byte_base.parents[1]).name == "tiny/bytes"
    assert find_tokenizer("tiny/other", byte_base.parents[1]).path.is_relative_to(str(files("clone.lm")))


def test_a_broken_tokenizer_says_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer.json of .* is not a tokenizer"):
        Lengths(tmp_path / "tokenizer.json")


def test_a_thousand_contacts_get_a_thousand_names_that_can_be_said() -> None:
    names = name_contacts(b"k" * 32, map(str, range(1000)))
    assert len(set(names.values())) == 1000
    assert all(name.isalpha() and name.islower() and 3 <= len(name) <= 14 and name != "me" for name in names.values())
    assert name_contacts(b"k" * 32, ["7"])["7"] in (names["7"], names["7"][:5])


def test_a_damaged_key_is_not_replaced_quietly(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not hex")
    with pytest.raises(DataError, match="is not a key of clone"):
        load_key(tmp_path / "key")


TEXT = "the quick brown fox jumps over the lazy dog and then sleeps for a very long time in the warm sun of june"


@pytest.mark.parametrize(
    ("other", "is_repeat"),
    [
        (TEXT, True),
        (TEXT.upper().replace(" ", "  "), True),
        (TEXT.replace("june", "july"), True),
        (TEXT[: len(TEXT) // 2] + " but nobody knows why it should have done anything like that at all", False),
        ("completely other words that share nothing with what was said before, however long they go on", False),
    ],
)
def test_repeats_are_told_from_other_texts(other: str, is_repeat: bool) -> None:
    found = find_repeats(sketch(["something else entirely " * 5, TEXT, other]), np.arange(3))
    assert found == ({2: 1} if is_repeat else {})


def test_the_earliest_of_repeats_stays() -> None:
    assert find_repeats(sketch([TEXT, TEXT, TEXT]), np.array([2, 0, 1])) == {0: 1, 2: 1}


def test_no_texts_have_no_repeats() -> None:
    assert find_repeats(sketch([]), np.empty(0, np.int64)) == {}


def part(contact: str, day: int, n: int) -> SessionPart:
    return SessionPart(f"{contact}{day}", contact, START + timedelta(days=day), n, 0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_validation_is_the_newest_sessions_and_never_all(sizes: list[int], share: float) -> None:
    sessions = [part("a", day, n) for day, n in enumerate(sizes)]
    chosen = choose_validation(sessions, share)
    with_examples = [s for s in sessions if s.n_examples]
    assert [s.session_id in chosen for s in with_examples] == sorted(s.session_id in chosen for s in with_examples)
    assert len(chosen) < max(1, len(with_examples))
    assert bool(chosen) is (len(with_examples) > 1)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0.05, 1.0))
def test_balance_holds_each_contact_to_its_share_to_within_a_session(n_sessions: list[int], share: float) -> None:
    sessions = [part(f"c{i}-", day, 1) for i, n in enumerate(n_sessions) for day in range(n)]
    out = balance_contacts(sessions, share)
    left = Counter(s.contact for s in sessions if s.session_id not in out)
    assert len(left) == len(n_sessions)
    possible = max(share, 1 / len(n_sessions))
    assert max(left.values()) <= max(possible * left.total(), min(n_sessions)) + 1e-9


LINES = st.lists(
    st.builds(
        Line,
        at=st.just(START),
        is_mine=st.booleans(),
        text=st.text("ab \n:\tя", min_size=1, max_size=12).map(str.strip).filter(bool),
        standing=st.sampled_from([Standing.OWN] * 4 + [Standing.SHOWN, Standing.SECRET, Standing.FAILED]),
    ),
    max_size=40,
)


@given(LINES, st.integers(30, 200))
def test_examples_nest_fit_and_read_back(lines: list[Line], limit: int) -> None:
    said = list(merge_turns(lines))
    turns = [Measured(s, tuple(len(b) for b in s.turn.bubbles)) for s in said]
    dropped: Counter[str] = Counter()
    out = list(
        build_examples(turns, session_id="s", contact="zoe", n_header=5, max_context_tokens=limit, dropped=dropped)
    )
    mine = [s for s in said if s.turn.role is Role.ME]
    assert len(out) + dropped.total() == len(mine)
    everything = [t.said.turn for t in turns]
    for example, sizes in out:
        assert sizes.n_context_tokens <= limit
        heard = read_context(example.context, "zoe")
        bubbles = read_bubbles(example.instruction)
        reply = read_bubbles(example.response)
        at = [
            i
            for i, turn in enumerate(everything)
            if turn.role is Role.ME
            and turn.bubbles == reply
            and all(
                a.role is b.role and a.bubbles[-1] == b.bubbles[-1]
                for a, b in zip(heard[::-1], everything[: i - bool(bubbles)][::-1], strict=False)
            )
        ]
        assert at, "a context is the end of what came before the reply"


def test_an_estimate_of_none_in_fifty_is_not_nothing() -> None:
    low, high = missed_share(0, 50)
    assert low == 0
    assert 0.05 < high < 0.09


def test_review_finds_values_and_leaves_other_messages_to_be_looked_at(chats: Chats) -> None:
    from clone.prepare.review import Decisions, review
    from clone.recipe import PrepareRecipe

    chats.say(
        "ann", "< write to mira.stone@mail.example or call +44 7700 900123\n> ok, 12 o'clock\n< the 12 it is\n> yes"
    )
    seen = review(PrepareRecipe(), chats.workspace)
    values = {item.value for found in seen.rules.values() for item in found}
    assert any("mira.stone@mail.example" in value for value in values)
    assert set(seen.unmasked) == {"ok, 12 o'clock", "the 12 it is", "yes"}
    Decisions(allow=["Mira"], deny=["twelve"]).save(chats.workspace)
    Decisions(allow=["twelve"]).save(chats.workspace)
    assert chats.workspace.privacy.read_text() == "allow:\n- Mira\n- twelve\n"
    assert chats.workspace.privacy.stat().st_mode & 0o777 == 0o600
