"""A picture of a terminal for the docs: what `tmux capture-pane -p -e` gave, as SVG.

tmux capture-pane -p -e | python -m tools.terminal_picture docs/images/terminal.svg "clone chat"
"""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.text import Text

if __name__ == "__main__":
    text = Text.from_ansi(sys.stdin.read().strip("\n"))
    console = Console(record=True, width=84, file=io.StringIO())
    console.print(text)
    console.save_svg(sys.argv[1], title=sys.argv[2])
