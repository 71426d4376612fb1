import io
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result


def test_help_loads_neither_torch_nor_pandas() -> None:
    script = (
        "import sys\n"
        "from clone.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'pydantic', 'rich', 'telethon', 'presidio_analyzer', 'litgpt', 'sqlite3'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_every_command_has_help(clone: Callable[..., Result]) -> None:
    from clone.cli import COMMANDS

    for name in COMMANDS:
        result = clone(name, "--help")
        assert result.exit_code == 0, name
        assert "Usage: " in result.output


@pytest.mark.parametrize("width", [30, 40, 80])
def test_lines_in_a_terminal_are_broken_between_words_and_never_inside_one(width: int) -> None:
    from rich.console import Console

    from clone.cli.show import write

    path = "data/raw/a/very/long/path/of/somebody/archive.sqlite"
    text = f"The archive holds 419 messages: {path} and what follows it stands on\n  another line."
    out = io.StringIO()
    write(Console(file=out, width=width, force_terminal=True, soft_wrap=True, color_system=None), text, indent=4)
    lines = out.getvalue().splitlines()
    assert path in out.getvalue()
    assert all(len(line) <= width for line in lines if path not in line)
    assert " ".join(out.getvalue().split()) == " ".join(text.split())
    assert "  another line." in lines


def test_lines_elsewhere_are_left_as_they_are() -> None:
    from rich.console import Console

    from clone.cli.show import write

    out = io.StringIO()
    write(Console(file=out, width=20, soft_wrap=True), "a line that is longer than twenty columns [bold]")
    assert out.getvalue() == "a line that is longer than twenty columns [bold]\n"


def test_a_mistyped_command_gets_the_nearest_one(clone: Callable[..., Result]) -> None:
    result = clone("prepair")
    assert result.exit_code == 2
    assert "No such command 'prepair'. Did you mean 'prepare'?" in result.stderr
