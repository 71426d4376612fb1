"""From ids to bubbles: borders, stops, cuts, and never a word for the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clone.chat.engine import Counts
from clone.chat.sampling import Sampling
from clone.chat.twin import Answer, Piece, StopStrings, Twin, as_turns, fit_prompt
from clone.lm.template import Control, prompt_segments
from clone.lm.tokens import Tokens
from clone.records import Role, Turn
from tests.chat.conftest import make_tokenizer

HELLO = [Turn(Role.THEM, ("hey",))]
TOKENS = Tokens(make_tokenizer())


class Scripted:
    """Says given ids, a list a candidate, whatever the prompt."""

    n_context = 256

    def __init__(self, *scripts: Sequence[int]) -> None:
        self.scripts = scripts
        self.is_closed = False

    def generate(self, prompt: list[int], sampling: Sampling, *, n: int, counts: Counts) -> Iterator[list[int | None]]:
        counts.n_prompt = len(prompt)
        try:
            for i in range(max(map(len, self.scripts))):
                yield [script[i] if i < len(script) else None for script in self.scripts]
        finally:
            self.is_closed = True


def ids_of(tokens: Tokens, *parts: str | Control) -> list[int]:
    return [
        i for part in parts for i in ([tokens.marks[part]] if isinstance(part, Control) else tokens.encode_text(part))
    ]


def say(tokens: Tokens, *scripts: list[int], stop: Sequence[str] = ()) -> tuple[list[Piece], Answer]:
    twin = Twin(Scripted(*scripts), tokens, "r", "b")  # type: ignore[arg-type]
    *pieces, answer = twin.answer("amber", HELLO, Sampling(), n=len(scripts), stop=stop)
    assert isinstance(answer, Answer)
    return pieces, answer  # type: ignore[return-value]


def test_bubbles_come_apart_at_their_mark(tokens: Tokens) -> None:
    pieces, answer = say(tokens, ids_of(tokens, "hey you", Control.BUBBLE, "what's up?", Control.END, "never"))
    (reply,) = answer.replies
    assert reply.bubbles == ("hey you", "what's up?")
    assert reply.finish == "stop"
    assert not reply.is_cut
    assert "".join(p.text for p in pieces if p.bubble == 1) == "what's up?"


@pytest.mark.parametrize("mark", [Control.THEM, Control.ME, Control.DOC])
def test_the_twin_never_speaks_for_the_other(tokens: Tokens, mark: Control) -> None:
    _, answer = say(tokens, ids_of(tokens, "fine", mark, "and what the other says"))
    assert answer.replies[0].bubbles == ("fine",)


@given(st.text(alphabet="héя🙂👩‍👧ok ", min_size=1, max_size=20).filter(lambda text: text.strip() != ""))
def test_streamed_pieces_are_the_text_and_whole_characters(text: str) -> None:
    pieces, answer = say(TOKENS, ids_of(TOKENS, text, Control.END))
    assert "".join(piece.text for piece in pieces).rstrip() == text.strip() == answer.replies[0].bubbles[0]
    assert all("�" not in piece.text for piece in pieces)


def test_candidates_are_kept_apart(tokens: Tokens) -> None:
    pieces, answer = say(tokens, ids_of(tokens, "one", Control.END), ids_of(tokens, "number two", Control.END))
    assert [reply.bubbles for reply in answer.replies] == [("one",), ("number two",)]
    assert "".join(p.text for p in pieces if p.candidate == 1) == "number two"


def test_a_stop_string_is_cut_exactly_across_tokens(tokens: Tokens) -> None:
    pieces, answer = say(tokens, ids_of(tokens, "see you at eight then", Control.END), stop=["ou at ei", "zzz"])
    assert "".join(piece.text for piece in pieces) == "see y"
    assert answer.replies[0].bubbles == ("see y",)
    assert answer.replies[0].finish == "stop"


@given(
    st.lists(st.text(alphabet="ab", max_size=3), max_size=8), st.lists(st.text(alphabet="ab", min_size=1, max_size=4))
)
def test_stop_strings_show_what_a_search_in_the_whole_would(parts: list[str], stops: list[str]) -> None:
    whole = "".join(parts)
    found = [at for stop in stops if (at := whole.find(stop)) >= 0]
    held, shown, is_stopped = StopStrings(stops), "", False
    for part in parts:
        text, is_stopped = held.push(part)
        shown += text
        if is_stopped:
            break
    if not is_stopped:
        shown += held.flush()
    assert is_stopped == bool(found)
    if found:  # an earlier, longer one may still have been growing when a shorter one was whole
        assert shown == whole[: len(shown)]
        assert all(stop not in shown for stop in stops)
    else:
        assert shown == whole


def test_the_end_of_the_budget_is_told_from_the_end_of_the_turn(tokens: Tokens) -> None:
    _, answer = say(tokens, ids_of(tokens, "and then"))
    assert answer.replies[0].finish == "length"
    assert answer.replies[0].is_cut


def test_cancelling_keeps_what_was_said_and_frees_the_engine(tokens: Tokens) -> None:
    script = Scripted(ids_of(tokens, "one two three four", Control.END))
    cancel = threading.Event()
    parts = Twin(script, tokens, "r", "b").answer("", HELLO, Sampling(), cancel=cancel)  # type: ignore[arg-type]
    said = next(parts)
    assert isinstance(said, Piece)
    cancel.set()
    *_, answer = parts
    assert isinstance(answer, Answer)
    assert answer.replies[0].finish == "cancelled"
    assert answer.replies[0].bubbles[0].startswith(said.text)
    assert script.is_closed


def test_a_listener_that_goes_frees_the_engine(tokens: Tokens) -> None:
    script = Scripted(ids_of(tokens, "one two three four", Control.END))
    parts = Twin(script, tokens, "r", "b").answer("", HELLO, Sampling())  # type: ignore[arg-type]
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert script.is_closed


def test_the_prompt_is_the_one_of_training(tokens: Tokens) -> None:
    turns = [Turn(Role.THEM, ("hey", "there?")), Turn(Role.ME, ("yes",)), Turn(Role.THEM, ("ok",))]
    prompt, n_dropped, _ = fit_prompt(tokens, "amber", turns, 200)
    assert prompt == tokens.encode(prompt_segments("amber", turns)).ids
    assert n_dropped == 0


def test_a_long_conversation_loses_its_oldest_whole_turns(tokens: Tokens) -> None:
    turns = [Turn(Role.ME if i % 2 else Role.THEM, (f"line {i} of the talk",)) for i in range(40)]
    prompt, n_dropped, _ = fit_prompt(tokens, "amber", turns, 120)
    assert 0 < n_dropped < 40
    assert prompt == tokens.encode(prompt_segments("amber", turns[n_dropped:])).ids
    assert len(prompt) <= 120


def test_prompts_go_on_beginning_alike_after_a_cut(tokens: Tokens) -> None:
    turns = [Turn(Role.ME if i % 2 else Role.THEM, (f"line {i} of the talk",)) for i in range(80)]
    cuts = [fit_prompt(tokens, "amber", turns[:n], 200)[1] for n in range(1, 81)]
    assert cuts == sorted(cuts)
    assert len(set(cuts)) < 30  # most turns find the cut where the turn before left it


def test_one_turn_that_is_too_long_keeps_its_newest_tokens(tokens: Tokens) -> None:
    prompt, _, n_cut = fit_prompt(tokens, "amber", [Turn(Role.THEM, ("word " * 300 + "the end",))], 64)
    assert len(prompt) == 64
    assert "the end" in tokens.decode(prompt)
    assert n_cut > 200


def test_a_conversation_longer_than_the_context_is_answered(twin: Twin) -> None:
    turns = [Turn(Role.ME if i % 2 else Role.THEM, (f"line {i} of a long talk",)) for i in range(101)]
    *_, answer = twin.answer("amber", turns, Sampling(max_tokens=20, seed=1))
    assert isinstance(answer, Answer)
    assert answer.n_dropped_turns > 0
    assert answer.n_prompt_tokens + 20 < twin.engine.n_context


def test_every_reply_of_a_real_model_has_something_in_it(twin: Twin) -> None:
    for seed in range(10):
        *_, answer = twin.answer("amber", HELLO, Sampling(temperature=2, max_tokens=30, seed=seed), n=3)
        assert isinstance(answer, Answer)
        for reply in answer.replies:
            assert 1 <= reply.n_tokens <= 30
            assert all(bubble.strip() for bubble in reply.bubbles)


def test_neighbours_of_one_speaker_become_one_turn() -> None:
    lines = [(Role.THEM, ["hi"]), (Role.THEM, [" ", "you?"]), (Role.ME, [""]), (Role.THEM, ["hm"]), (Role.ME, ["ok"])]
    assert as_turns(lines) == [Turn(Role.THEM, ("hi", "you?", "hm")), Turn(Role.ME, ("ok",))]
