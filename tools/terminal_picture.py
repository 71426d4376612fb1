"""A picture of a terminal for the docs: what `tmux capture-pane -p -e` gave, as SVG.

Called by tools/pictures.sh; by hand:
tmux capture-pane -p -e | python -m tools.terminal_picture docs/images/terminal.svg "clone chat"
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

if __name__ == "__main__":
    text = Text.from_ansi(sys.stdin.read().strip("\n"))
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(text, soft_wrap=True)
    picture = console.export_svg(title=sys.argv[2])
    picture = re.sub(r"@font-face \{.*?\}\n", "", picture, flags=re.S)  # a picture asks nobody for a font
    Path(sys.argv[1]).write_text(picture, encoding="utf-8")
