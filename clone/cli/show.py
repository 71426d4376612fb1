"""How commands speak: errors, tables, progress. All of it on stderr, so that stdout can be piped."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from clone.errors import CloneError

OnProgress = Callable[[str, int, int | None], None]  # what is worked on, how many are done, of how many


def console() -> Any:
    """Return the console of stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(error: CloneError) -> None:
    """Write an error and its hint as docs/STYLE has them."""
    from rich.text import Text

    out = console()
    write(out, Text.assemble(("Error: ", "bold red"), error.message), indent=7)
    if error.hint:
        write(out, Text.assemble(("Hint: ", "bold cyan"), error.hint), indent=6)


def say(text: str, style: str = "") -> None:
    """Write a line for a person."""
    write(console(), text, style)


def write(out: Any, text: Any, style: str = "", *, indent: int = 0) -> None:
    """Write a text, of rich or plain, to a console.

    In a terminal its lines are broken between words, never inside a path or a command that somebody will copy; what
    follows a break stands `indent` columns in. Elsewhere lines are left as they are.
    """
    from rich.cells import cell_len
    from rich.text import Text

    text = text if isinstance(text, Text) else Text(text, style=style)
    for line in text.split("\n", allow_blank=True):
        if not out.is_terminal:
            out.print(line)
            continue
        breaks, column = [], 0
        for word in re.finditer(r"\s*\S+", line.plain):
            n = cell_len(word.group())
            if column and column + n > out.width:
                n_blank = len(word.group()) - len(word.group().lstrip())
                breaks.append(word.start() + n_blank)
                column, n = indent, n - n_blank
            column += n
        for i, part in enumerate(line.divide(breaks)):
            part.rstrip()
            out.print(Text(" " * indent) + part if i else part)


def emit(value: Mapping[str, Any]) -> None:
    """Write the one JSON object of --json to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table; columns of numbers stand right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row])
    if title:
        say(title, style="bold")  # a title of the table's own would be folded to its width
    console().print(table, soft_wrap=False)


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in one unit."""
    seconds = max(0, (now - then).total_seconds())
    for size, unit in ((86400 * 2, "day"), (3600 * 2, "hour"), (120, "minute")):
        if seconds >= size:
            n = int(seconds // {"day": 86400, "hour": 3600, "minute": 60}[unit])
            return f"{n} {unit}s ago"
    return "just now"


@contextmanager
def progress(title: str) -> Iterator[OnProgress]:
    """Show a bar with rate and time left while the work inside calls what this yields.

    Without a terminal a line is written for each new thing that is worked on.
    """
    out = console()
    if not out.is_terminal:
        seen: set[str] = set()

        def on_line(what: str, done: int, total: int | None) -> None:
            if what not in seen:
                seen.add(what)
                say(f"{title}: {what}")

        yield on_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import ProgressColumn as _Column
    from rich.progress import Task as _Task
    from rich.text import Text

    class Rate(_Column):
        def render(self, task: _Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "", style="dim")

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=out,
        transient=True,
    ) as bars:
        tasks: dict[str, Any] = {}

        def on_bar(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                for task in tasks.values():
                    bars.stop_task(task)
                tasks[what] = bars.add_task(f"{title}: {what}", total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield on_bar
