"""The terminal: lines in, bubbles out, while the model still loads behind the prompt.

prompt_toolkit reads the lines: it lets a prompt time out while nobody types, which is how a burst of lines is answered
once, and it keeps history, completes commands and takes a paste as one text. Knows nothing of tensors.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from wcwidth import wcswidth, wcwidth

from clone.chat.contacts import Contacts, UnknownContact
from clone.chat.disclosure import LABEL
from clone.workspace import Workspace, write_atomically

if TYPE_CHECKING:
    from clone.chat.pace import Pace
    from clone.chat.recall import Recall
    from clone.chat.session import Session
    from clone.chat.twin import Answer, Reply, Voice

COMMANDS = {
    "/as NAME": "talk as somebody else the twin knows; a new conversation",
    "/retry": "have the last reply said anew",
    "/undo": "take back your last lines and the reply to them",
    "/edit": "change your last lines and have them answered; /edit twin changes the reply",
    "/pick [N]": "see N replies (3) and choose one",
    "/why": "the nearest things you really wrote, with their dates",
    "/save [FILE]": "keep the conversation as Markdown, or as JSON Lines (.jsonl)",
    "/stats": "tokens, speed, how much of the context is used",
    "/help": "this list",
    "/quit": "leave (Ctrl-D too)",
}
_NAMES = [name.split()[0] for name in COMMANDS]
_TWIN = "twin"


@dataclass
class Repl:
    """One sitting at the terminal. `load` is called in a thread once the first prompt can be seen."""

    load: Callable[[], Voice]
    make_session: Callable[[Voice, str], Session]
    contacts: Contacts
    contact: str
    title: str  # what talks: run and base
    workspace: Workspace
    burst_s: Callable[[], float]  # the silence that ends a burst; asked once a line has been typed
    recall: Callable[[], Recall]
    pace: Pace | None = None  # set with --realtime
    save_to: Path | None = None
    resumed: str = ""  # a note on the conversation that goes on
    console: Console = field(default_factory=lambda: Console(highlight=False))
    input: Any = None  # prompt_toolkit's, in tests
    output: Any = None
    voice: Future[Voice] = field(default_factory=Future)
    _loader: threading.Thread | None = None
    _session: Session | None = None
    _prompt: Any = None
    _next: str = ""  # a command that was typed during a burst

    def run(self) -> None:
        """Talk until the person leaves."""
        self._greet()
        while True:
            try:
                said = self._read()
            except EOFError:
                break
            except KeyboardInterrupt:
                self._note("Ctrl-D or /quit leaves.")
                continue
            if isinstance(said, str):
                if not self._command(said):
                    break
                continue
            session = self._wake()
            if not said:
                if session.is_waiting() or not session.lines:
                    self._answer()  # an empty line: answer now, or let the twin begin
                continue
            disclosure = session.say(said)
            if disclosure is not None:
                self._show_disclosure(disclosure)
            else:
                self._answer()
        if self.save_to is not None and self._session is not None and self._session.lines:
            self._save(str(self.save_to))

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> list[str] | str:
        """Return the lines of a burst, or a command; [] for an empty line."""
        if self._next:
            command, self._next = self._next, ""
            return command
        lines: list[str] = []
        while True:
            text = self._ask(self._label(), quiet_s=self.burst_s() if lines else None)
            if text is None or (lines and not text.strip()):
                return lines
            if text.startswith("/"):
                if not lines:
                    return text.strip()
                self._next = text.strip()  # a command ends a burst, and comes after its answer
                return lines
            if not text.strip():
                return []
            lines.extend(line for line in text.splitlines() if line.strip())
            for line in text.splitlines():
                self._echo(line)
            if self.burst_s() == 0:
                return lines

    def _ask(self, label: str, *, quiet_s: float | None = None, default: str = "") -> str | None:
        """Return a line that was typed, or None once nobody has typed anything for `quiet_s`."""
        from prompt_toolkit.formatted_text import ANSI

        session = self._prompt_session()
        app = session.app

        async def watch() -> None:
            quiet = 0.0
            while True:
                await asyncio.sleep(0.05)
                self._start_loading()  # not before the prompt is drawn: importing torch keeps the interpreter to itself
                if self.voice.done() and self.voice.exception() is not None and not app.is_done:
                    app.exit(exception=cast(BaseException, self.voice.exception()))
                    return
                quiet = 0.0 if app.current_buffer.text else quiet + 0.05
                if quiet_s is not None and quiet >= quiet_s and not app.is_done:
                    app.exit(result=None)
                    return

        def begin() -> None:
            app.create_background_task(watch())

        text: str | None = session.prompt(
            ANSI(f"\x1b[1;32m{label}\x1b[0m\x1b[32m ❯ \x1b[0m"), pre_run=begin, default=default
        )
        return text

    def _prompt_session(self) -> Any:
        if self._prompt is None:
            from prompt_toolkit import PromptSession
            from prompt_toolkit.completion import WordCompleter
            from prompt_toolkit.history import InMemoryHistory

            self._prompt = PromptSession(
                history=InMemoryHistory(),  # what is typed here is private: it goes into the log or nowhere
                completer=WordCompleter(_NAMES, sentence=True),
                complete_while_typing=False,
                erase_when_done=True,
                input=self.input,
                output=self.output,
            )
        return self._prompt

    def _label(self) -> str:
        return self.contacts.shown(self.contact) if self.contact else "you"

    def _echo(self, line: str) -> None:
        self.console.print(Text.assemble((self._label(), "bold green"), (" ❯ ", "green"), line))

    # -- answering ----------------------------------------------------------------------------------------------------

    def _start_loading(self) -> None:
        if self._loader is None:
            self._loader = threading.Thread(target=self._load, name="loading", daemon=True)
            self._loader.start()

    def _load(self) -> None:
        try:
            self.voice.set_result(self.load())
        except BaseException as error:
            self.voice.set_exception(error)

    def _wake(self) -> Session:
        self._start_loading()
        if self._session is None:
            if not self.voice.done():
                with self.console.status("waking up…", spinner="dots"):
                    voice = self.voice.result()
            else:
                voice = self.voice.result()
            self._session = self.make_session(voice, self.contact)
            for note in getattr(voice, "notes", ()):
                self._note(note)
        return self._session

    def _answer(self) -> None:
        """Stream the twin's next turn; Ctrl-C keeps what was said as cut."""
        from clone.chat.twin import Answer

        session = self._wake()
        printer = BubblePrinter(self.console.file, _TWIN, self._width(), is_coloured=self.console.is_terminal)
        with ctrl_c_sets() as cancel, no_echo():
            if self.pace is not None:
                answer = self._answer_in_real_time(session, cancel, printer)
            else:
                answer = None
                for part in session.reply(cancel=cancel):
                    if isinstance(part, Answer):
                        answer = part
                    else:
                        printer.push(part.bubble, part.text)
            printer.finish()
        assert answer is not None
        self._after(answer)

    def _answer_in_real_time(self, session: Session, cancel: threading.Event, printer: BubblePrinter) -> Answer:
        from clone.chat.twin import Answer

        assert self.pace is not None
        rng = random.Random()
        started = time.monotonic()
        *_, answer = session.reply(cancel=cancel)
        assert isinstance(answer, Answer)
        due = started
        for i, bubble in enumerate(answer.replies[0].bubbles):
            due += self.pace.seconds_for(bubble, is_first=i == 0, rng=rng)
            with self.console.status("typing…", spinner="simpleDots"):
                cancel.wait(max(0.0, due - time.monotonic()))
            printer.push(i, bubble)
            printer.finish_bubble()
        return answer

    def _after(self, answer: Answer) -> None:
        session = self._wake()
        reply = answer.replies[0]
        if reply.finish == "cancelled":
            self._note("cut; /retry says it anew")
        elif reply.finish == "length":
            self._note("the reply reached its longest length (chat.max_reply_tokens)")
        if not reply.bubbles and reply.finish != "cancelled":
            self._note("the twin says nothing to that; /retry asks again")
        if answer.n_dropped_turns and not session.was_cut_said:
            session.was_cut_said = True
            self._note("the conversation has outgrown the context: the twin no longer sees its oldest lines")
        self.console.print()

    def _show_disclosure(self, text: str) -> None:
        self.console.print(Padding(Text(text, style="bold yellow"), (0, 0, 0, 2)))
        self.console.print()

    # -- commands -----------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> bool:
        """Do what a command says. Returns whether to go on."""
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        if name in ("/quit", "/exit", "/q"):
            return False
        action = {
            "/as": self._as,
            "/retry": self._retry,
            "/undo": self._undo,
            "/edit": self._edit,
            "/pick": self._pick,
            "/why": self._why,
            "/save": self._save,
            "/stats": self._stats,
            "/help": self._help,
        }.get(name)
        if action is None:
            import difflib

            near = difflib.get_close_matches(name, _NAMES, n=1)
            self._note(f"no such command {name}" + (f", did you mean {near[0]}?" if near else "; /help lists them"))
            return True
        try:
            action(rest)
        except UnknownContact as error:
            self._note(f"{error.message} {error.hint}")
        return True

    def _as(self, name: str) -> None:
        if not name:
            known = ", ".join(self.contacts.shown(p) for p in self.contacts.pseudonyms[:20])
            self._note(f"you talk as {self._label()}. The twin knows: {known or 'nobody by name'}")
            return
        self.contact = self.contacts.find(name)
        if self._session is not None:
            self._session.begin_anew(self.contact)
        self._note(f"you are {self._label()} now; a new conversation")

    def _retry(self, _: str) -> None:
        session = self._wake()
        if not session.drop_reply() and not session.is_waiting():
            self._note("there is no reply to say anew")
            return
        self._answer()

    def _undo(self, _: str) -> None:
        taken = self._wake().undo()
        self._note("nothing to take back" if taken is None else f"taken back: {' / '.join(taken)}")

    def _edit(self, rest: str) -> None:
        session = self._wake()
        if rest == _TWIN:
            line = session.last_reply()
            if line is None or line is not session.lines[-1]:
                self._note("the twin has not said anything yet")
                return
            text = self._ask(_TWIN, default="\n".join(line.bubbles))
            if text and text.strip():
                session.rewrite_reply([part for part in text.splitlines() if part.strip()])
                printer = BubblePrinter(self.console.file, _TWIN, self._width(), is_coloured=self.console.is_terminal)
                for i, bubble in enumerate(session.lines[-1].bubbles):
                    printer.push(i, bubble)
                printer.finish()
                self.console.print()
            return
        before = session.undo()
        if before is None:
            self._note("nothing to edit yet")
            return
        text = self._ask(self._label(), default="\n".join(before))
        said = [part for part in (text or "").splitlines() if part.strip()] or list(before)
        for part in said:
            self._echo(part)
        disclosure = session.say(said)
        if disclosure is not None:
            self._show_disclosure(disclosure)
        else:
            self._answer()

    def _pick(self, rest: str) -> None:
        from clone.chat.twin import Answer

        session = self._wake()
        n = int(rest) if rest.isdecimal() else 3
        if not 2 <= n <= 16:
            self._note("choose among 2 to 16 replies")
            return
        if not session.drop_reply() and not session.is_waiting():
            self._note("there is nothing to reply to yet")
            return
        with ctrl_c_sets() as cancel, no_echo(), self.console.status("writing…", spinner="dots"):
            *_, answer = session.reply(n=n, cancel=cancel)
        assert isinstance(answer, Answer)
        for i, reply in enumerate(answer.replies):
            self._show_candidate(i + 1, reply)
        chosen = self._ask(f"which, 1 to {n}") or "1"
        index = int(chosen) - 1 if chosen.strip().isdecimal() and 1 <= int(chosen) <= n else 0
        session.take(answer.replies[index])
        self._note(f"taken: {index + 1}")
        self.console.print()

    def _show_candidate(self, number: int, reply: Reply) -> None:
        printer = BubblePrinter(self.console.file, f"{number}", self._width(), is_coloured=self.console.is_terminal)
        for i, bubble in enumerate(reply.bubbles or ("(nothing)",)):
            printer.push(i, bubble)
        printer.finish()

    def _why(self, _: str) -> None:
        session = self._wake()
        line = session.last_reply()
        if line is None:
            self._note("the twin has not said anything yet")
            return
        at = session.lines.index(line)
        asked = session.lines[at - 1].bubbles if at else ()
        memories = self.recall().nearest(line.bubbles, asked)
        if not memories:
            self._note("nothing you wrote comes near it")
        for memory in memories:
            head = f"{memory.ended_at:%d %b %Y}, to {self.contacts.shown(memory.contact)}"
            self._note(head)
            for bubble in memory.to[-2:]:
                self.console.print(Padding(Text(f"they: {bubble}", style="dim italic"), (0, 0, 0, 4)))
            for bubble in memory.bubbles:
                self.console.print(Padding(Text(f"you:  {bubble}"), (0, 0, 0, 4)))
        self.console.print()

    def _save(self, rest: str) -> None:
        from clone.chat.transcripts import write_jsonl, write_markdown

        session = self._wake()
        if not session.lines:
            self._note("nothing was said yet")
            return
        name = f"{session.lines[0].said_at:%Y%m%d-%H%M%S}.md"
        path = Path(rest).expanduser() if rest else self.workspace.root / "data" / "conversations" / name
        write = write_jsonl if path.suffix == ".jsonl" else write_markdown
        with write_atomically(path) as stream:
            cast(TextIO, stream).write(write(session.lines, contact=self._label(), run=session.voice.name))
        self._note(f"saved: {self.workspace.show(path.resolve())}")

    def _stats(self, _: str) -> None:
        session = self._wake()
        if not session.answers:
            self._note("the twin has not said anything yet")
            return
        last = session.answers[-1]
        n = sum(answer.n_tokens for answer in session.answers)
        wall = sum(answer.wall_s for answer in session.answers)
        after_first = last.wall_s - last.first_token_s
        rate = (last.n_tokens - len(last.replies)) / after_first if after_first > 0 else 0.0
        rows = {
            "last reply": f"{last.n_tokens} tokens in {last.wall_s:.2f} s, "
            f"the first after {last.first_token_s * 1000:.0f} ms" + (f", then {rate:.0f} a second" if rate else ""),
            "prompt": f"{last.n_prompt_tokens} tokens, {last.n_cached_tokens} of them still in the cache",
            "sitting": f"{len(session.answers)} replies, {n} tokens, {wall:.1f} s",
            "twin": self.title,
        }
        for key, value in rows.items():
            self.console.print(Text.assemble((f"  {key:<11}", "dim"), value))
        self.console.print()

    def _help(self, _: str) -> None:
        for name, what in COMMANDS.items():
            self.console.print(Text.assemble((f"  {name:<13}", "bold"), what))
        self._note(
            "Lines typed in a row are answered together, once you stop typing; an empty line asks for the answer at "
            "once. Ctrl-C cuts a reply."
        )

    # -- looks --------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self.console.print(Text.assemble((_TWIN, "bold cyan"), (f"  {self.title}", "dim")))
        who = f"you talk as {self._label()}" if self.contact else "you talk as somebody it does not know; /as NAME"
        self.console.print(Text(f"      {who} · an AI, not a person {LABEL} · /help", style="dim"))
        if self.resumed:
            self.console.print(Text(f"      {self.resumed}", style="dim"))
        self.console.print()

    def _note(self, text: str) -> None:
        self.console.print(Padding(Text(text, style="dim"), (0, 0, 0, 2)))

    def _width(self) -> int:
        return min(100, self.console.width or shutil.get_terminal_size().columns)


class BubblePrinter:
    """Writes bubbles as they come, each on lines of its own, broken between words and never inside a wide character."""

    def __init__(self, out: TextIO | Any, label: str, width: int, *, is_coloured: bool) -> None:
        self._out = out
        self._margin = max(4, wcswidth(label) + 2)
        self._head = f"\x1b[1;36m{label:>{self._margin - 2}}\x1b[0m" if is_coloured else f"{label:>{self._margin - 2}}"
        self._mark = "\x1b[36m › \x1b[0m" if is_coloured else " › "
        self._width = max(20, width - self._margin - 2)
        self._bubble = -1
        self._column = 0
        self._word = ""

    def push(self, bubble: int, text: str) -> None:
        if bubble != self._bubble:
            self._begin(bubble)
        for character in text:
            if character == "\n":
                self._flush_word()
                self._break()
            elif character == " ":
                self._flush_word()
                if self._column < self._width:
                    self._write(" ", 1)
            else:
                self._word += character
                if wcwidth(character) == 2 or wcswidth(self._word) >= self._width:
                    self._flush_word()  # scripts without spaces break anywhere
        # a word may still grow, but nobody should wait for its end to see its beginning
        if self._word and self._column + wcswidth(self._word) + 12 <= self._width:
            self._flush_word()
        self._out.flush()

    def finish_bubble(self) -> None:
        self._flush_word()
        self._out.flush()

    def finish(self) -> None:
        self._flush_word()
        if self._bubble >= 0:
            self._out.write("\n")
        self._out.flush()

    def _begin(self, bubble: int) -> None:
        self._flush_word()
        if self._bubble >= 0:
            self._out.write("\n")
        self._out.write((self._head if self._bubble < 0 else " " * (self._margin - 2)) + self._mark)
        self._bubble, self._column = bubble, 0

    def _flush_word(self) -> None:
        if not self._word:
            return
        n = max(0, wcswidth(self._word))
        if self._column and self._column + n > self._width:
            self._break()
        self._write(self._word, n)
        self._word = ""

    def _break(self) -> None:
        self._out.write("\n" + " " * (self._margin + 1))
        self._column = 0

    def _write(self, text: str, n_columns: int) -> None:
        self._out.write(text)
        self._column += n_columns


@contextmanager
def no_echo() -> Iterator[None]:
    """Keep what is typed meanwhile from being shown in the middle of a reply; the next prompt receives it."""
    if not (sys.stdin is not None and sys.stdin.isatty()) or sys.platform == "win32":
        yield
        return
    import termios

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(handle, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSANOW, before)


@contextmanager
def ctrl_c_sets() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets; a second Ctrl-C interrupts as usual. Outside the main thread nothing changes."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def answer_once(
    session: Session, bubbles: Sequence[str], *, on_text: Callable[[int, str], None] | None = None
) -> tuple[tuple[str, ...], Answer | None]:
    """Return the reply to one turn, and the answer it came with; None where the question was whether this is an AI."""
    from clone.chat.twin import Answer

    disclosure = session.say(bubbles)
    if disclosure is not None:
        if on_text:
            on_text(0, disclosure)
        return (disclosure,), None
    answer: Answer | None = None
    with ctrl_c_sets() as cancel:
        for part in session.reply(cancel=cancel):
            if isinstance(part, Answer):
                answer = part
            elif on_text:
                on_text(part.bubble, part.text)
    assert answer is not None
    return answer.replies[0].bubbles, answer
