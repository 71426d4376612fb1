import subprocess
import sys
from collections.abc import Callable

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


def test_a_mistyped_command_gets_the_nearest_one(clone: Callable[..., Result]) -> None:
    result = clone("prepair")
    assert result.exit_code == 2
    assert "No such command 'prepair'. Did you mean 'prepare'?" in result.stderr
