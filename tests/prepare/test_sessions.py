"""Sessions and turns, with silences drawn from the edges: evenly drawn ones never meet the bug of `.seconds`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from clone.prepare.sessions import Line, Standing, cut_sessions, merge_turns
from clone.records import Message, Role, Turn
from tests.prepare.conftest import START, message

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
EDGES = [timedelta(0), SECOND, DAY - SECOND, DAY, DAY + SECOND, DAY + timedelta(minutes=1), 2 * DAY, 400 * DAY]

silences = st.lists(st.one_of(st.sampled_from(EDGES), st.timedeltas(timedelta(0), 3 * DAY)), max_size=30)
gaps = st.sampled_from([timedelta(minutes=1), timedelta(hours=6), DAY, 7 * DAY])


def messages_with(silences: list[timedelta]) -> list[Message]:
    at, out = START, [message("0")]
    for i, silence in enumerate(silences):
        at += silence
        out.append(replace(message(str(i + 1), mine=i % 2 == 0), sent_at=at, message_id=i + 2))
    return out


@given(silences)
def test_sessions_keep_every_message_in_order(silences: list[timedelta]) -> None:
    messages = messages_with(silences)
    assert [m for session in cut_sessions(messages, DAY) for m in session.messages] == messages


@given(silences, gaps)
def test_a_session_ends_exactly_where_the_silence_is_longer_than_the_gap(
    silences: list[timedelta], gap: timedelta
) -> None:
    sessions = list(cut_sessions(messages_with(silences), gap))
    for session in sessions:
        times = [m.sent_at for m in session.messages]
        assert all(b - a <= gap for a, b in pairwise(times))
    for before, after in pairwise(sessions):
        assert after.messages[0].sent_at - before.messages[-1].sent_at > gap


def test_a_day_and_three_minutes_of_silence_end_a_session_and_a_day_does_not() -> None:
    assert len(list(cut_sessions(messages_with([DAY]), DAY))) == 1
    assert len(list(cut_sessions(messages_with([DAY + SECOND]), DAY))) == 2
    assert len(list(cut_sessions(messages_with([DAY + timedelta(minutes=3)]), DAY))) == 2


lines = st.lists(
    st.builds(
        Line,
        at=st.just(START),
        is_mine=st.booleans(),
        text=st.sampled_from(["ok", "two\nlines", "[photo]", "да", "👍"]),
        standing=st.sampled_from([Standing.OWN, Standing.SHOWN, Standing.SECRET]),
    ),
    max_size=20,
)


@given(lines)
def test_turns_alternate_and_keep_what_the_contact_said_bubble_by_bubble(lines: list[Line]) -> None:
    turns = [said.turn for said in merge_turns(lines)]
    assert all(a.role is not b.role for a, b in pairwise(turns))
    theirs = [bubble for turn in turns if turn.role is Role.THEM for bubble in turn.bubbles]
    assert theirs == [line.text for line in lines if not line.is_mine]


@given(lines)
def test_a_turn_that_may_be_graded_holds_nothing_but_own_words(lines: list[Line]) -> None:
    own = [line.text for line in lines if line.is_mine and line.standing is Standing.OWN]
    graded = [
        b for said in merge_turns(lines) if said.turn.role is Role.ME and not said.barred for b in said.turn.bubbles
    ]
    assert all(bubble in own for bubble in graded)
    assert len(graded) <= len(own)


def test_two_messages_of_the_friend_three_minutes_apart_are_two_bubbles_of_one_turn() -> None:
    said = list(
        merge_turns(
            [
                Line(START, False, "are you up?", Standing.OWN),
                Line(START + timedelta(minutes=3), False, "call me", Standing.OWN),
            ]
        )
    )
    assert [s.turn for s in said] == [Turn(Role.THEM, ("are you up?", "call me"))]


def test_a_forward_leaves_a_turn_that_has_own_words_and_stays_alone_otherwise() -> None:
    forward, comment = Line(START, True, "NEWS", Standing.SHOWN), Line(START, True, "look", Standing.OWN)
    assert [(s.turn.bubbles, s.barred) for s in merge_turns([forward, comment])] == [(("look",), "")]
    assert [(s.turn.bubbles, s.barred) for s in merge_turns([forward])] == [(("NEWS",), "not own words")]
