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
from clone.chat.repl import BubblePrinter, Repl, ctrl_c_sets, set_right
from clone.chat.sampling import Sampling
from clone.chat.session import Session
from clone.chat.transcripts import Conversation, Transcripts, turns_of
from clone.chat.twin import Answer, Piece, Reply
from clone.errors import HubError, ModelError
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
    cut_tokens: int = 0
    error: Exception | None = None  # raised once

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
        if self.error is not None:
            error, self.error = self.error, None
            raise error
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
        yield Answer(tuple(replies), 11, 5, self.dropped, 0.01, 0.02, self.cut_tokens)


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
    width: int = 80
    is_terminal: bool = False
    earlier: Conversation | None = None

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
                earlier=self.earlier,
                console=Console(file=out, width=self.width, highlight=False, force_terminal=self.is_terminal),
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
        return re.sub(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]", "", out.getvalue())


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_bubbles_stand_on_lines_of_their_own(table: Table) -> None:
    shown = table.type("hey")
    assert "amber ❯ hey" in shown
    assert "twin › reply 1.0\n" in shown
    assert "     › hey\n" in shown


def test_what_is_said_begins_in_one_column_on_both_sides(table: Table) -> None:
    shown = table.type("/as anna berg", " ".join(["two"] * 30))
    said = shown[shown.index("Anna Berg ❯ two") :].splitlines()
    assert said[0] == "Anna Berg ❯ " + ("two " * 17).rstrip()
    assert said[1] == "            " + ("two " * 13).rstrip()  # a long line is broken between words, under its first
    assert said[2] == "     twin › reply 1.0"


@pytest.mark.parametrize(
    ("label", "shown"), [("you", "    you"), ("Аня", "    Аня"), ("a long name", "a long…"), ("田中", "   田中")]
)
def test_names_end_in_one_column(label: str, shown: str) -> None:
    assert set_right(label, 7) == shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_greeting_fits_the_terminal(table: Table, width: int) -> None:
    table.width = width
    greeting = table.type().splitlines()[:4]
    assert greeting == [
        "twin  an AI, not a person [AI]",
        "      default/run · tiny",
        "      you talk as amber · /help",
        "",
    ]


def test_a_command_is_shown_above_what_it_gave(table: Table) -> None:
    assert "amber ❯ /undo\n  nothing to take back\n\n" in table.type("/undo")


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


def test_pick_asks_again_for_what_is_no_candidate(table: Table) -> None:
    table.type("one", "/pick", "9", "x", "", "2", "two")
    assert table.voice.heard[-1][1] == Turn(Role.ME, ("reply 2.1", "one"))


@pytest.mark.parametrize("command", ["/pick", "/edit", "/edit twin"])
@pytest.mark.parametrize("key", ["\x03", "\x04"])  # Ctrl-C and Ctrl-D
def test_leaving_a_command_leaves_the_conversation_as_it_was(table: Table, command: str, key: str) -> None:
    clears = "" if command == "/pick" else "\x7f" * 20  # Ctrl-D leaves from an empty line alone
    shown = table.type("one", command, clears + key + "two")
    assert "left as it was" in shown
    assert table.session is not None
    assert [line.bubbles for line in table.session.lines][:2] == [("one",), ("reply 1.0", "one")]
    assert table.voice.heard[-1][-1] == Turn(Role.THEM, ("two",))


def test_a_voice_that_fails_once_can_be_asked_again(table: Table) -> None:
    table.voice.error = HubError("no answer from 127.0.0.1:1.", "Is the server running?")
    shown = table.type("one", "/retry")
    assert "no answer from 127.0.0.1:1. Is the server running?" in shown
    assert "twin › reply 1.0" not in shown
    assert [turns[-1].bubbles for turns in table.voice.heard] == [("one",), ("one",)]
    assert table.session is not None
    assert table.session.lines[-1].bubbles == ("reply 2.0", "one")


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
    assert "  2 Apr 2025, to Anna Berg\n they ❯ did the build pass?\n  you › no, the tests are red again\n" in shown


def test_stats_tell_tokens_and_speed(table: Table) -> None:
    shown = table.type("one", "/stats")
    assert "7 tokens in 0.02 s, the first after 10 ms" in shown
    assert "11 tokens, 5 of them still in the cache" in shown


def test_save_writes_where_the_person_says_or_beside_the_data(table: Table, tmp_path: Path) -> None:
    shown = table.type("one", "/save", f"/save {tmp_path / 'talk.jsonl'}")
    assert "saved: data/conversations/20261122-120000.md" in shown
    assert "reply 1.0" in (tmp_path / "data/conversations/20261122-120000.md").read_text(encoding="utf-8")
    assert len((tmp_path / "talk.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_file_that_cannot_be_written_is_told_and_the_talk_goes_on(table: Table) -> None:
    shown = table.type("one", "/save /proc/talk.md", "two")
    assert "talk.md could not be written" in shown
    assert len(table.voice.heard) == 2


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


def test_a_line_longer_than_the_context_is_said(table: Table) -> None:
    table.voice.cut_tokens = 9
    assert "the twin saw only the end of it" in table.type("one")


def test_a_conversation_that_goes_on_shows_where_it_stopped(table: Table) -> None:
    table.type("one", "two", "three")
    table.earlier = Transcripts(table.root / "data" / "chats.sqlite").load()
    shown = table.type()
    assert "going on with 6 turns of 22 Nov 2026; its last 4:" in shown
    assert "amber ❯ one" not in shown
    assert "amber ❯ three\n twin › reply 3.0\n" in shown


def test_realtime_rubs_out_no_bubble(table: Table) -> None:
    table.pace = Pace(chars_per_s=200, think_s=0.05)
    table.is_terminal = True
    shown = table.type("one")
    for rubbed_out in shown.split("\x1b[2K")[:-1]:
        assert "reply" not in rubbed_out.rpartition("\n")[2]
    assert "reply 1.0\n" in shown


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
