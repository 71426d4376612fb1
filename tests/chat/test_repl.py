"""The terminal, typed into through a pipe: bursts, commands, Ctrl-C, and what is shown."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from clone.chat.contacts import Contacts
from clone.chat.pace import Pace
from clone.chat.recall import Recall
from clone.chat.repl import BubblePrinter, Repl, ctrl_c_sets
from clone.chat.sampling import Sampling
from clone.chat.session import Session
from clone.chat.transcripts import Transcripts, turns_of
from clone.chat.twin import Answer, Piece, Reply
from clone.errors import ModelError
from clone.records import Role, Turn
from clone.workspace import Workspace
from tests.chat.workspaces import make_run

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Parrot:
    """Answers with what it was told, and its number."""

    name: str = "default/run"
    base: str = "tiny"
    contacts: tuple[str, ...] = ("amber", "birch")
    heard: list[list[Turn]] = field(default_factory=list)
    asked_as: list[str] = field(default_factory=list)
    dropped: int = 0
    cut_after: int | None = None

    def answer(
        self,
        contact: str,
        turns: Sequence[Turn],
        sampling: Sampling,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        cancel: threading.Event | None = None,
    ) -> Iterator[Piece | Answer]:
        self.heard.append(list(turns))
        self.asked_as.append(contact)
        replies = []
        for i in range(n):
            bubbles = (f"reply {len(self.heard)}.{i}", *(turns[-1].bubbles if turns else ()))
            said: list[str] = []
            for j, bubble in enumerate(bubbles):
                if self.cut_after is not None and j >= self.cut_after and cancel is not None:
                    cancel.set()
                    break
                yield Piece(i, j, bubble[:3])
                yield Piece(i, j, bubble[3:])
                said.append(bubble)
            is_cut = cancel is not None and cancel.is_set()
            replies.append(Reply(tuple(said), "cancelled" if is_cut else "stop", 7))
        yield Answer(tuple(replies), 11, 5, self.dropped, 0.01, 0.02)


@dataclass
class Table:
    """A terminal with a parrot on the other side."""

    root: Path
    voice: Parrot = field(default_factory=Parrot)
    burst_s: float = 0.0
    pace: Pace | None = None
    log: bool = True
    session: Session | None = None
    error: Exception | None = None

    def load(self) -> Parrot:
        if self.error:
            raise self.error
        return self.voice

    def type(self, *lines: str, gaps_s: float = 0.0, leaves: bool = True) -> str:
        """Type lines, leave, and return what was shown, without colours."""
        out = io.StringIO()

        def make_session(voice: object, contact: str) -> Session:
            self.session = Session(
                self.voice,
                contact,
                Sampling(),
                now=lambda: NOON,
                log=Transcripts(self.root / "data" / "chats.sqlite") if self.log else None,
            )
            return self.session

        with create_pipe_input() as pipe:
            repl = Repl(
                load=self.load,
                make_session=make_session,
                contacts=Contacts(("amber", "birch"), lambda: {"birch": "Anna Berg"}),
                contact="amber",
                title="default/run · tiny",
                workspace=Workspace(self.root),
                burst_s=lambda: self.burst_s,
                recall=lambda: Recall(self.root / "data" / "processed" / "default"),
                pace=self.pace,
                console=Console(file=out, width=80, highlight=False),
                input=pipe,
                output=DummyOutput(),
            )

            def typist() -> None:
                for line in (*lines, "/quit") if leaves else lines:
                    pipe.send_text(line + "\r")
                    time.sleep(gaps_s)

            thread = threading.Thread(target=typist)
            thread.start()
            try:
                repl.run()
            finally:
                thread.join()
        return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_bubbles_stand_on_lines_of_their_own(table: Table) -> None:
    shown = table.type("hey")
    assert "amber ❯ hey" in shown
    assert "twin › reply 1.0\n" in shown
    assert "     › hey\n" in shown


def test_a_burst_of_lines_is_answered_once(table: Table) -> None:
    table.burst_s = 0.4
    table.type("hey", "are you there?", "hello", gaps_s=0.05)
    assert [turns[-1].bubbles for turns in table.voice.heard] == [("hey", "are you there?", "hello")]


def test_lines_with_silence_between_them_are_answered_each(table: Table) -> None:
    table.burst_s = 0.1
    table.type("hey", "hello", gaps_s=0.5)
    assert len(table.voice.heard) == 2


def test_a_command_ends_a_burst_and_comes_after_its_answer(table: Table) -> None:
    table.burst_s = 5
    shown = table.type("hey", "/stats")
    assert [turns[-1].bubbles for turns in table.voice.heard] == [("hey",)]
    assert "7 tokens in 0.02 s" in shown


def test_the_conversation_is_kept_from_turn_to_turn(table: Table) -> None:
    table.type("one", "two")
    assert table.voice.heard[1] == [
        Turn(Role.THEM, ("one",)),
        Turn(Role.ME, ("reply 1.0", "one")),
        Turn(Role.THEM, ("two",)),
    ]


def test_retry_says_the_reply_anew(table: Table) -> None:
    shown = table.type("one", "/retry")
    assert table.voice.heard[0] == table.voice.heard[1]
    assert "reply 2.0" in shown
    assert table.session is not None
    assert [line.bubbles for line in table.session.lines] == [("one",), ("reply 2.0", "one")]


def test_undo_takes_back_the_exchange(table: Table) -> None:
    shown = table.type("one", "two", "/undo", "three")
    assert "taken back: two" in shown
    assert table.voice.heard[-1] == [
        Turn(Role.THEM, ("one",)),
        Turn(Role.ME, ("reply 1.0", "one")),
        Turn(Role.THEM, ("three",)),
    ]
    assert "nothing to take back" in Table(table.root).type("/undo")


def test_edit_has_other_words_answered(table: Table) -> None:
    table.type("one", "/edit", "+more")  # the prompt opens with "one", the cursor at its end
    assert table.voice.heard[-1] == [Turn(Role.THEM, ("one+more",))]


def test_edit_twin_puts_other_words_into_the_reply(table: Table) -> None:
    table.type("one", "/edit twin", "!", "two")
    assert table.voice.heard[-1][1] == Turn(Role.ME, ("reply 1.0", "one!"))


def test_pick_shows_candidates_and_takes_one(table: Table) -> None:
    shown = table.type("one", "/pick 4", "3", "two")
    assert all(f"reply 2.{i}" in shown for i in range(4))
    assert table.voice.heard[-1][1] == Turn(Role.ME, ("reply 2.2", "one"))


def test_as_talks_as_somebody_else_by_the_owners_name_for_them(table: Table) -> None:
    shown = table.type("one", "/as anna berg", "two")
    assert table.voice.asked_as == ["amber", "birch"]
    assert table.voice.heard[-1] == [Turn(Role.THEM, ("two",))]
    assert "you are Anna Berg now" in shown
    assert "Anna Berg ❯ two" in shown


def test_as_nobody_offers_the_nearest_and_changes_nothing(table: Table) -> None:
    shown = table.type("/as Ana Berk", "one")
    assert "Did you mean Anna Berg" in shown
    assert table.voice.asked_as == ["amber"]


def test_why_shows_what_the_person_wrote_and_when(table: Table) -> None:
    make_run(table.root)
    shown = table.type("did the build pass", "/why")
    assert "02 Apr 2025, to Anna Berg" in shown
    assert "you:  no, the tests are red again" in shown


def test_stats_tell_tokens_and_speed(table: Table) -> None:
    shown = table.type("one", "/stats")
    assert "7 tokens in 0.02 s, the first after 10 ms" in shown
    assert "11 tokens, 5 of them still in the cache" in shown


def test_save_writes_where_the_person_says_or_beside_the_data(table: Table, tmp_path: Path) -> None:
    shown = table.type("one", "/save", f"/save {tmp_path / 'talk.jsonl'}")
    assert "saved: data/conversations/20261122-120000.md" in shown
    assert "reply 1.0" in (tmp_path / "data/conversations/20261122-120000.md").read_text(encoding="utf-8")
    assert len((tmp_path / "talk.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_asked_whether_it_is_an_ai_the_program_answers_and_the_model_never_sees_it(table: Table) -> None:
    shown = table.type("are you a bot?", "one")
    assert "[AI] Yes, I am an AI" in shown
    assert table.voice.heard == [[Turn(Role.THEM, ("one",))]]


def test_a_reply_that_was_cut_is_kept_as_cut(table: Table) -> None:
    table.voice.cut_after = 1
    shown = table.type("one")
    assert "cut; /retry says it anew" in shown
    assert table.session is not None
    assert table.session.lines[-1].is_cut
    kept = Transcripts(table.root / "data" / "chats.sqlite").load()
    assert kept is not None
    assert kept.lines[-1].is_cut


def test_oldest_turns_going_is_said_once(table: Table) -> None:
    table.voice.dropped = 3
    assert table.type("one", "two", "three").count("has outgrown the context") == 1


def test_realtime_sends_bubbles_at_the_persons_pace(table: Table) -> None:
    table.pace = Pace(chars_per_s=100, think_s=0.1)
    started = time.monotonic()
    shown = table.type("one")
    assert time.monotonic() - started > 0.15
    assert "reply 1.0" in shown


def test_an_empty_line_lets_the_twin_begin(table: Table) -> None:
    table.type("")
    assert table.voice.heard == [[]]


def test_a_mistyped_command_gets_the_nearest(table: Table) -> None:
    assert "no such command /retyr, did you mean /retry?" in table.type("/retyr")
    assert "/why" in table.type("/help")


def test_a_model_that_cannot_be_opened_ends_the_prompt_with_its_error(table: Table) -> None:
    table.error = ModelError("the base is gone.")
    with pytest.raises(ModelError, match="the base is gone"):
        table.type(leaves=False)


def test_what_is_undone_leaves_the_log_too(table: Table) -> None:
    table.type("one", "two", "/undo")
    kept = Transcripts(table.root / "data" / "chats.sqlite").load()
    assert kept is not None
    assert turns_of(kept.lines) == [Turn(Role.THEM, ("one",)), Turn(Role.ME, ("reply 1.0", "one"))]


def test_ctrl_c_sets_the_event_and_twice_interrupts() -> None:
    import os
    import signal

    def press_twice() -> None:
        with ctrl_c_sets() as event:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            assert event.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@given(st.lists(st.text(alphabet="ab 你好🙂\né", max_size=40), min_size=1, max_size=4))
def test_printing_in_pieces_shows_every_character_inside_the_width(bubbles: list[str]) -> None:
    from wcwidth import wcswidth

    out = io.StringIO()
    printer = BubblePrinter(out, "twin", 30, is_coloured=False)
    for i, bubble in enumerate(bubbles):
        for at in range(0, max(1, len(bubble)), 3):
            printer.push(i, bubble[at : at + 3])
    printer.finish()
    shown = out.getvalue()
    assert all(wcswidth(line) <= 30 for line in shown.splitlines())
    squeezed = re.sub(r"[\s›]", "", shown).removeprefix("twin")
    assert squeezed == re.sub(r"\s", "", "".join(bubbles))
    assert shown.count("›") == len(bubbles)
