import pytest
from hypothesis import given
from hypothesis import strategies as st

from clone.lm.template import (
    LearnedTurn,
    conversation_segments,
    prompt_segments,
    read_bubbles,
    read_context,
    write_bubbles,
    write_context,
)
from clone.records import Role, Turn

BUBBLE = st.text(min_size=1, max_size=30).map(str.strip).filter(bool).filter(lambda text: "\r" not in text)
CONVERSATION = st.lists(st.lists(BUBBLE, min_size=1, max_size=4).map(tuple), max_size=6).map(
    lambda turns: [Turn(Role.ME if i % 2 else Role.THEM, bubbles) for i, bubbles in enumerate(turns)]
)


@given(st.lists(BUBBLE, max_size=5).map(tuple))
def test_bubbles_read_back_as_written(bubbles: tuple[str, ...]) -> None:
    assert read_bubbles(write_bubbles(bubbles)) == bubbles


@given(CONVERSATION)
def test_context_reads_back_as_written(turns: list[Turn]) -> None:
    assert read_context(write_context("Robin", turns), "Robin") == turns


@given(CONVERSATION)
def test_a_prompt_is_the_beginning_of_what_training_saw(turns: list[Turn]) -> None:
    whole = conversation_segments("Robin", [LearnedTurn(turn, False) for turn in turns])
    for i, turn in enumerate(turns):
        if turn.role is Role.ME:
            prompt = prompt_segments("Robin", turns[:i])
            assert whole[: len(prompt)] == prompt


@given(CONVERSATION)
def test_only_the_persons_words_and_borders_are_learned(turns: list[Turn]) -> None:
    segments = conversation_segments("Robin", [LearnedTurn(turn, turn.role is Role.ME) for turn in turns])
    learned = [segment.text for segment in segments if segment.is_learned]
    expected = []
    for turn in turns:
        if turn.role is Role.ME:
            for i, bubble in enumerate(turn.bubbles):
                expected += ["bubble", bubble] if i else [bubble]
            expected.append("end")
    assert learned == expected


def test_a_turn_of_the_contact_is_never_learned() -> None:
    with pytest.raises(AssertionError):
        conversation_segments("Robin", [LearnedTurn(Turn(Role.THEM, ("hi",)), True)])


def test_a_line_without_a_tag_is_refused() -> None:
    with pytest.raises(ValueError):
        read_context("Robin: hi\nwho am I", "Robin")
