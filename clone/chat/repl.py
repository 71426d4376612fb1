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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from wcwidth import wcswidth, wcwidth

from clone.chat.contacts import Contacts
from clone.chat.disclosure import LABEL
from clone.errors import CloneError, HardwareError
from clone.records import Role
from clone.workspace import Workspace, write_atomically

if TYPE_CHECKING:
    from clone.chat.pace import Pace
    from clone.chat.recall import Recall
    from clone.chat.session import Session
    from clone.chat.transcripts import Conversation, Line
    from clone.chat.twin import Answer, Voice

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
_WIDEST_LABEL = 16  # columns; a longer name is shortened, so that what is said has room
_N_SHOWN_AGAIN = 4  # lines of a conversation that goes on


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
    earlier: Conversation | None = None  # the one that goes on
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
                self.console.print()
                continue
            try:
                if isinstance(said, str):
                    if not self._command(said):
                        break
                else:
                    self._hear(said)
            except (
                KeyboardInterrupt
            ):  # twice in the middle of a reply; while it wakes up there is nothing to go on with
                if not self.voice.done():
                    raise
                self._note("stopped; /retry asks again")
                self.console.print()
        if self.save_to is not None and self._session is not None and self._session.lines:
            self._save(str(self.save_to))

    def _hear(self, said: list[str]) -> None:
        """Take in a burst of lines and answer it. An empty one asks for the answer now, or lets the twin begin."""
        session = self._wake()
        if not said:
            if not session.is_waiting() and session.lines:
                return
            self._answer()
        elif (disclosure := session.say(said)) is not None:
            self._show_disclosure(disclosure)
        else:
            self._answer()
        self.console.print()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> list[str] | str:
        """Return the lines of a burst, or a command; [] for an empty line."""
        if self._next:
            command, self._next = self._next, ""
            return command
        lines: list[str] = []
        while True:
            # the lines that follow the first of a burst carry no name
            text = self._ask("" if lines else self._label(), quiet_s=self.burst_s() if lines else None)
            if text is None or (lines and not text.strip()):
                return lines
            if text.startswith("/"):
                if not lines:
                    return text.strip()
                self._next = text.strip()  # a command ends a burst, and comes after its answer
                return lines
            if not text.strip():
                return []
            said = [line for line in text.splitlines() if line.strip()]
            self._echo(said, is_first=not lines)
            lines.extend(said)
            if self.burst_s() == 0:
                return lines

    def _ask(self, label: str, *, quiet_s: float | None = None, default: str = "", hint: str = "") -> str | None:
        """Return a line that was typed, or None once nobody has typed anything for `quiet_s`."""
        from prompt_toolkit.formatted_text import ANSI

        session = self._prompt_session()
        app = session.app
        label = set_right(label, max(self._gutter(), min(_WIDEST_LABEL, wcswidth(label))))

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
            ANSI(f"\x1b[1;32m{label}\x1b[0m\x1b[32m ❯ \x1b[0m"),
            pre_run=begin,
            default=default,
            placeholder=ANSI(f"\x1b[2m{hint}\x1b[0m"),
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

    def _gutter(self) -> int:
        """Return the columns in which names stand, so that what is said begins in one column on both sides."""
        return min(_WIDEST_LABEL, max(len(_TWIN), wcswidth(self._label())))

    def _printer(self, label: str = _TWIN) -> BubblePrinter:
        return BubblePrinter(
            self.console.file, label, self._width(), n_label=self._gutter(), is_coloured=self.console.is_terminal
        )

    def _echo(self, lines: Sequence[str], *, is_first: bool = True) -> None:
        printer = BubblePrinter(
            self.console.file,
            self._label() if is_first else "",
            self._width(),
            n_label=self._gutter(),
            mark="❯",
            colour=32,
            is_coloured=self.console.is_terminal,
        )
        for i, line in enumerate(lines):
            printer.push(i, line)
        printer.finish()

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
                with self._busy("waking up…"):
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
        printer = self._printer()
        answer: Answer | None = None
        try:
            with ctrl_c_sets() as cancel, no_echo():
                if self.pace is not None:
                    answer = self._answer_in_real_time(session, cancel, printer)
                else:
                    for part in session.reply(cancel=cancel):
                        if isinstance(part, Answer):
                            answer = part
                        else:
                            printer.push(part.bubble, part.text)
        except HardwareError:  # the model is gone, and with it whatever could be said next
            raise
        except CloneError as error:  # a server elsewhere that is gone may come back
            printer.finish()
            self._explain(error)
            return
        finally:
            printer.finish()
        assert answer is not None
        self._after(answer)

    def _answer_in_real_time(self, session: Session, cancel: threading.Event, printer: BubblePrinter) -> Answer:
        from clone.chat.twin import Answer

        assert self.pace is not None
        rng = random.Random()
        started = time.monotonic()
        with self._busy("typing…"):
            *_, answer = session.reply(cancel=cancel)
        assert isinstance(answer, Answer)
        due = started
        for i, bubble in enumerate(answer.replies[0].bubbles):
            due += self.pace.seconds_for(bubble, is_first=i == 0, rng=rng)
            with self._busy("typing…"):
                cancel.wait(max(0.0, due - time.monotonic()))
            printer.push(i, bubble)
            printer.finish()  # what shows the typing rubs out the line it stands on
        return answer

    def _after(self, answer: Answer) -> None:
        session = self._wake()
        reply = answer.replies[0]
        if reply.finish == "cancelled":
            self._note("cut; /retry says it anew")
        elif reply.finish == "length":
            self._note("cut at the longest length of a reply; --max-reply-tokens allows more")
        if not reply.bubbles and reply.finish != "cancelled":
            self._note("the twin says nothing to that; /retry asks again")
        if answer.n_cut_tokens:
            self._note("that was longer than the context: the twin saw only the end of it")
        if answer.n_dropped_turns and not session.was_cut_said:
            session.was_cut_said = True
            self._note("the conversation has outgrown the context: the twin no longer sees its oldest lines")

    def _show_disclosure(self, text: str) -> None:
        self.console.print(Padding(Text(text, style="bold yellow"), (0, 0, 0, self._gutter() + 3), expand=False))

    # -- commands -----------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> bool:
        """Do what a command says. Returns whether to go on."""
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        if name in ("/quit", "/exit", "/q"):
            return False
        self.console.print(
            Text.assemble((set_right(self._label(), self._gutter()), "dim green"), (f" ❯ {text}", "dim"))
        )
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
        else:
            before = list(self._session.lines) if self._session is not None else []
            try:
                action(rest)
            except HardwareError:
                raise
            except CloneError as error:
                if self.voice.done() and self.voice.exception() is error:
                    raise  # not the command's: the model could not be opened
                self._put_back(before)
                self._explain(error)
            except (KeyboardInterrupt, EOFError):
                if not self.voice.done():
                    raise
                self._put_back(before)
                self._note("left as it was")
        self.console.print()
        return True

    def _put_back(self, lines: Sequence[Line]) -> None:
        """Make the conversation what it was before a command that came to nothing."""
        if self._session is not None and self._session.lines != lines:
            self._session.lines = list(lines)
            self._session.keep()

    def _as(self, name: str) -> None:
        if not name:
            known = ", ".join(self.contacts.shown(p) for p in self.contacts.pseudonyms[:20])
            who = self._label() if self.contact else "somebody it does not know"
            self._note(f"you talk as {who}. The twin knows: {known or 'nobody by name'}")
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
                self._show_reply(session.lines[-1].bubbles)
            return
        before = session.undo()
        if before is None:
            self._note("nothing to edit yet")
            return
        text = self._ask(self._label(), default="\n".join(before))
        said = [part for part in (text or "").splitlines() if part.strip()] or list(before)
        self._echo(said)
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
        with ctrl_c_sets() as cancel, no_echo(), self._busy("writing…"):
            *_, answer = session.reply(n=n, cancel=cancel)
        assert isinstance(answer, Answer)
        for i, reply in enumerate(answer.replies):
            self._show_reply(reply.bubbles or ("(nothing)",), label=f"{i + 1}")
        session.take(answer.replies[self._which(n)])

    def _which(self, n: int) -> int:
        """Return the index of the candidate that the person takes; asks until it is one of them."""
        while True:
            chosen = (self._ask("which?", hint=f"1 to {n}; Ctrl-C leaves the reply as it was") or "").strip()
            if chosen.isdecimal() and 1 <= int(chosen) <= n:
                self._note(f"taken: {int(chosen)}")
                return int(chosen) - 1

    def _show_reply(self, bubbles: Sequence[str], *, label: str = _TWIN) -> None:
        printer = self._printer(label)
        for i, bubble in enumerate(bubbles):
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
        self._note("of what you really wrote, the nearest:" if memories else "nothing you wrote comes near it")
        for memory in memories:
            self.console.print()
            day = f"{memory.ended_at.day} {memory.ended_at:%b %Y}"
            self._note(f"{day}, to {self.contacts.shown(memory.contact)}")
            for label, mark, colour, said in (("they", "❯", 32, memory.to[-2:]), ("you", "›", 36, memory.bubbles)):
                printer = BubblePrinter(
                    self.console.file,
                    label,
                    self._width(),
                    n_label=self._gutter(),
                    mark=mark,
                    colour=colour,
                    is_coloured=self.console.is_terminal,
                )
                for i, bubble in enumerate(said):
                    printer.push(i, bubble)
                printer.finish()

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
        context = getattr(session.voice, "n_context", 0)
        n_replies = len(session.answers)
        rows = {
            "last reply": f"{last.n_tokens} tokens in {last.wall_s:.2f} s, "
            f"the first after {last.first_token_s * 1000:.0f} ms" + (f", then {rate:.0f} a second" if rate else ""),
            "prompt": f"{last.n_prompt_tokens:,} tokens"
            + (f" of a context of {context:,}" if context else "")
            + f", {last.n_cached_tokens:,} of them still in the cache",
            "sitting": f"{n_replies} {'reply' if n_replies == 1 else 'replies'}, {n:,} tokens, {wall:.1f} s",
            "twin": self.title,
        }
        self._list(rows, "dim", "")

    def _help(self, _: str) -> None:
        self._list(COMMANDS, "bold", "dim")
        self.console.print()
        self._note(
            "Lines typed in a row are answered together, once you stop typing; an empty line asks for the answer at "
            "once. Ctrl-C cuts a reply."
        )

    # -- looks --------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self.console.print(Text.assemble((_TWIN, "bold cyan"), (f"  an AI, not a person {LABEL}", "dim")))
        who = "" if self.contact else " somebody it does not know; /as says whom it knows"
        for text in (self.title, f"you talk as {self._label() if self.contact else who.strip()} · /help"):
            self.console.print(Padding(Text(text, style="dim"), (0, 0, 0, 6), expand=False))
        self.console.print()
        if self.earlier is not None:
            self._show_again(self.earlier)

    def _show_again(self, earlier: Conversation) -> None:
        """Show where the conversation that goes on had stopped."""
        n = len(earlier.lines)
        day = f"{earlier.started_at.day} {earlier.started_at:%b %Y}"
        more = f"; its last {_N_SHOWN_AGAIN}:" if n > _N_SHOWN_AGAIN else ":"
        self._note(f"going on with {n} {'turn' if n == 1 else 'turns'} of {day}{more}")
        for line in earlier.lines[-_N_SHOWN_AGAIN:]:
            if line.role is Role.THEM:
                self._echo(line.bubbles)
            else:
                self._show_reply(line.bubbles)
        self.console.print()

    @contextmanager
    def _busy(self, text: str) -> Iterator[None]:
        """Show that something is being waited for, where the answer will stand, until the work inside is done."""
        what = Padding(Spinner("dots", Text(text, style="dim"), style="cyan"), (0, 0, 0, self._gutter() + 1))
        with Live(what, console=self.console, transient=True):
            yield

    def _list(self, rows: Mapping[str, str], name_style: str, text_style: str) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, text in rows.items():
            table.add_row(Text(name, style=name_style, no_wrap=True), Text(text, style=text_style))
        self.console.print(Padding(table, (0, 0, 0, 2), expand=False))

    def _explain(self, error: CloneError) -> None:
        self.console.print(
            Padding(Text(f"{error.message} {error.hint}".strip(), style="yellow"), (0, 0, 0, 2), expand=False)
        )

    def _note(self, text: str) -> None:
        self.console.print(Padding(Text(text, style="dim"), (0, 0, 0, 2), expand=False))

    def _width(self) -> int:
        return min(100, self.console.width or shutil.get_terminal_size().columns)


class BubblePrinter:
    """Writes bubbles as they come, each on lines of its own, broken between words and never inside a wide character."""

    def __init__(
        self,
        out: TextIO | Any,
        label: str,
        width: int,
        *,
        n_label: int = 4,
        mark: str = "›",
        colour: int = 36,
        is_coloured: bool,
    ) -> None:
        """`n_label` is how many columns the label has, `colour` an ANSI colour."""
        label = set_right(label, n_label)
        self._out = out
        self._n_label = n_label
        self._head = f"\x1b[1;{colour}m{label}\x1b[0m" if is_coloured else label
        self._mark = f"\x1b[{colour}m {mark} \x1b[0m" if is_coloured else f" {mark} "
        self._width = max(20, width - n_label - 4)
        self._bubble = -1
        self._is_open = False  # whether the cursor stands behind something on its line
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

    def finish(self) -> None:
        """Show what was held back and end the line."""
        self._flush_word()
        if self._is_open:
            self._out.write("\n")
        self._is_open = False
        self._out.flush()

    def _begin(self, bubble: int) -> None:
        self.finish()
        self._out.write((self._head if self._bubble < 0 else " " * self._n_label) + self._mark)
        self._bubble, self._column, self._is_open = bubble, 0, True

    def _flush_word(self) -> None:
        if not self._word:
            return
        n = max(0, wcswidth(self._word))
        if self._column and self._column + n > self._width:
            self._break()
        self._write(self._word, n)
        self._word = ""

    def _break(self) -> None:
        self._out.write("\n" + " " * (self._n_label + 3))
        self._column = 0

    def _write(self, text: str, n_columns: int) -> None:
        self._out.write(text)
        self._column += n_columns


def set_right(label: str, n_columns: int) -> str:
    """Return a label that ends in the last of so many columns, shortened where it is longer."""
    if wcswidth(label) > n_columns:
        while wcswidth(label) > n_columns - 1:
            label = label[:-1]
        label = label.rstrip() + "…"
    return " " * (n_columns - max(0, wcswidth(label))) + label


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
