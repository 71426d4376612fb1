"""What people type: the group of commands, each in a module of its own that is imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from clone import __version__

# command -> its one line in --help; the module of the same name holds a click command `command`
COMMANDS = {
    "collect": "Bring messages into the archive, from Telegram or from export files.",
    "prepare": "Turn collected messages into training examples, with personal data out.",
    "finetune": "Train an adapter that answers as you do.",
    "runs": "List the runs with their held-out loss.",
    "chat": "Talk to your twin.",
    "serve": "Serve the twin on this machine: one page, and OpenAI's API.",
    "suggest": "Draft the twin's answer to somebody in Telegram; nothing is sent.",
    "export": "Give the twin to other programs: GGUF, Hugging Face, PEFT.",
    "forget": "Remove a contact from the archive and from processed data.",
    "run": "Walk the four stages of a recipe and skip what is up to date.",
    "status": "Say what stands, how old it is, and what to type next.",
    "doctor": "Check this machine: Python, torch, GPU, disk, memory, caches, login.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only when it is called (`clone --help` stays quick)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"clone.cli.{name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        from clone.errors import CloneError, ProcessLost

        try:
            return super().invoke(ctx)
        except CloneError as error:
            from clone.cli.show import show_error

            show_error(error)
            if isinstance(error, ProcessLost):  # an orderly exit is now and then aborted by the threads it waits for
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(error.exit_code)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.stderr.write("\nStopped. What was done is saved.\n")
            ctx.exit(130)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clone")
def main() -> None:
    """A digital twin from your own private chats, on your own hardware.

    collect, prepare, finetune, chat: each command does one stage, in the current folder.
    """
    from clone.passphrase import ask_passphrase_with

    ask_passphrase_with(_passphrase)


def _passphrase(is_new: bool) -> str | None:
    """Return the archive's passphrase from the environment or, for an archive that has one, from the person."""
    found = os.environ.get("CLONE_PASSPHRASE")
    if not found and not is_new and sys.stdin.isatty():
        found = click.prompt("Passphrase of the archive", hide_input=True, err=True)
    return found or None
