"""`clone chat`: talk to the twin, in a terminal or through a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clone.cli.options import json_option, recipe_options

if TYPE_CHECKING:
    from clone.chat.contacts import Contacts
    from clone.chat.pace import Pace
    from clone.chat.recall import Recall
    from clone.chat.session import Session
    from clone.chat.transcripts import Conversation, Transcripts
    from clone.chat.twin import Voice
    from clone.recipe import Recipe
    from clone.workspace import Workspace


@click.command()
@recipe_options
@click.option("--as", "as_contact", metavar="CONTACT", help="Talk as this contact: their name, or their pseudonym.")
@click.option("--run", "run_name", metavar="RUN", help="Another run than the newest: its id, or recipe/id.")
@click.option("--base", metavar="BASE", help="Insist on this base; it must be the one of the run.")
@click.option("--last", is_flag=True, help="The last adapter of the run in place of the best.")
@click.option("--device", metavar="DEVICE", help="cuda, mps or cpu; the best there is unless said.")
@click.option("--gguf", metavar="FILE", type=click.Path(path_type=Path), help="Talk to a GGUF file, through llama.cpp.")
@click.option("--url", metavar="URL", help="Talk to an OpenAI-compatible server, as http://127.0.0.1:8080/v1.")
@click.option("--model", metavar="NAME", help="The model of that server.")
@click.option("--message", "-m", multiple=True, metavar="TEXT", help="Say this, print the reply and leave.")
@click.option("--continue", "is_continued", is_flag=True, help="Go on with the last conversation.")
@click.option("--save", "save_to", metavar="FILE", type=click.Path(path_type=Path), help="Keep the conversation there.")
@click.option("--no-log", is_flag=True, help="Keep nothing of the conversation.")
@click.option("--realtime", is_flag=True, help="Type at your own pace, learned from your messages.")
@click.option("--temperature", type=float, help="0 is greedy; higher is more surprising.")
@click.option("--top-p", type=float, help="Sample from the smallest set of tokens with this probability.")
@click.option("--top-k", type=int, help="Sample from this many tokens at most.")
@click.option("--min-p", type=float, help="Leave out tokens less likely than this share of the likeliest.")
@click.option("--repetition-penalty", type=float, help="Makes what was said already less likely; 1 is off.")
@click.option("--frequency-penalty", type=float, help="The same, growing with each use in the reply.")
@click.option("--max-reply-tokens", type=int, help="Longest reply, in tokens of the base.")
@click.option("--weights", type=click.Choice(["as-is", "int8", "fp8"]), help="8 bits: smaller, faster, a little worse.")
@click.option("--seed", type=int, help="Makes replies repeatable.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End a reply where this text would come.")
@json_option
def command(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    as_contact: str | None,
    run_name: str | None,
    base: str | None,
    last: bool,
    device: str | None,
    gguf: Path | None,
    url: str | None,
    model: str | None,
    message: tuple[str, ...],
    is_continued: bool,
    save_to: Path | None,
    no_log: bool,
    realtime: bool,
    stop: tuple[str, ...],
    as_json: bool,
    **sampling: float | int | str | None,
) -> None:
    """Talk to your twin.

    In a terminal it is a conversation; through a pipe, or with -m, one turn: each line a bubble. Without RECIPE it is
    the newest finished run of this workspace.
    """
    from clone.chat.contacts import Contacts
    from clone.chat.runs import find_run
    from clone.cli.people import known_contacts
    from clone.workspace import Workspace

    given = [f"chat.{key}={value}" for key, value in sampling.items() if value is not None]

    @cache
    def recipe() -> Recipe:
        from clone.recipe import load_recipe

        return load_recipe(recipe_path, [*overrides, *given])

    if recipe_path or overrides or given:
        recipe()  # mistakes come first; without any, what reads recipes is loaded behind the prompt
    workspace = Workspace.here()
    if gguf is not None or url is not None:
        if gguf is not None and url is not None:
            raise click.UsageError("--gguf and --url exclude each other.")
        voice = _voice_elsewhere(gguf, url, model, recipe().chat.max_context_tokens)
        title, recipe_name = f"{voice.name} · {voice.base}", recipe().name
        contacts = Contacts(voice.contacts)

        def load() -> Voice:
            return voice

    else:
        run = find_run(workspace, recipe_name=recipe().name if recipe_path else None, run=run_name)
        title, recipe_name = f"{run.name} · {run.card.base}", run.recipe_name
        contacts = known_contacts(workspace, recipe_name)

        def load() -> Voice:
            from clone.chat.runs import open_twin

            return open_twin(
                workspace, run, recipe().chat, base=base, adapter="last" if last else "best", device=device
            )

    contact = contacts.find(as_contact) if as_contact else None
    sitting = Sitting(workspace, recipe, title, recipe_name, contacts, contact, not no_log, is_continued, stop)
    if message or as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _one_turn(sitting, load(), message, save_to, as_json)
    else:
        _conversation(sitting, load, save_to, realtime)


class Sitting:
    """What one call of the command knows."""

    def __init__(
        self,
        workspace: Workspace,
        recipe: Callable[[], Recipe],
        title: str,
        recipe_name: str,
        contacts: Contacts,
        contact: str | None,
        is_logged: bool,
        is_continued: bool,
        stop: tuple[str, ...],
    ) -> None:
        self.workspace, self.recipe, self.contacts, self.stop = workspace, recipe, contacts, stop
        self.title, self.recipe_name, self.is_logged = title, recipe_name, is_logged
        self.earlier: Conversation | None = None
        if is_continued:
            from clone.chat.transcripts import Transcripts

            self.earlier = (self.log or Transcripts(workspace.transcripts)).load(contact=contact)
        self.contact = contact if contact is not None else self.earlier.contact if self.earlier else ""

    @cached_property
    def log(self) -> Transcripts | None:
        """Where the conversation is kept; opened when it begins."""
        from clone.chat.transcripts import Transcripts

        return Transcripts(self.workspace.transcripts) if self.is_logged else None

    def session(self, voice: Voice, contact: str) -> Session:
        from clone.chat.sampling import Sampling
        from clone.chat.session import Session

        session = Session(
            voice, contact, Sampling.of(self.recipe().chat), now=lambda: datetime.now(UTC), log=self.log, stop=self.stop
        )
        if self.earlier is not None and contact == self.earlier.contact:
            session.lines = list(self.earlier.lines)
            session.conversation_id = self.earlier.conversation_id if self.log else None
        return session


def _one_turn(sitting: Sitting, voice: Voice, message: tuple[str, ...], save_to: Path | None, as_json: bool) -> None:
    from clone.chat.repl import answer_once
    from clone.cli.show import emit, say
    from clone.errors import CloneError

    bubbles = [line for text in (message or (sys.stdin.read(),)) for line in text.splitlines() if line.strip()]
    if not bubbles:
        raise CloneError("there is nothing to answer.", 'For example: echo "hey" | clone chat')
    for note in getattr(voice, "notes", ()):
        say(note, style="dim")
    session = sitting.session(voice, sitting.contact)
    shown = -1

    def show(bubble: int, text: str) -> None:
        nonlocal shown
        if shown not in (-1, bubble):
            sys.stdout.write("\n")
        shown = bubble
        sys.stdout.write(text)
        sys.stdout.flush()

    reply, answer = answer_once(session, bubbles, on_text=None if as_json else show)
    if shown >= 0:
        sys.stdout.write("\n")
    if answer is not None and answer.n_cut_tokens:
        say("That was longer than the context: the twin saw only the end of it.", style="dim")
    elif answer is not None and answer.n_dropped_turns:
        say("The conversation has outgrown the context: the twin no longer sees its oldest lines.", style="dim")
    if save_to is not None:
        save(session, save_to, sitting.contacts.shown(sitting.contact))
    if as_json:
        emit(
            {
                "reply": "\n".join(reply),
                "bubbles": list(reply),
                "contact": sitting.contact,
                "run": voice.name,
                "base": voice.base,
                "is_ai": True,
                "is_cut": bool(answer and answer.replies[0].is_cut),
                "finish_reason": answer.replies[0].finish if answer else "stop",
                "tokens": {
                    "prompt": answer.n_prompt_tokens if answer else 0,
                    "reply": answer.n_tokens if answer else 0,
                },
                "dropped_turns": answer.n_dropped_turns if answer else 0,
                "seconds": round(answer.wall_s, 3) if answer else 0.0,
                "first_token_seconds": round(answer.first_token_s, 3) if answer else 0.0,
            }
        )


def _conversation(sitting: Sitting, load: Callable[[], Voice], save_to: Path | None, realtime: bool) -> None:
    from clone.chat.repl import Repl

    pace: Pace | None = None
    if realtime:
        from clone.archive import Archive
        from clone.chat.pace import Pace, learn_pace

        pace = Pace()
        if sitting.workspace.archive.exists():
            with Archive.open(sitting.workspace.archive) as archive:
                pace = learn_pace(archive)

    def recall() -> Recall:
        from clone.chat.recall import Recall

        return Recall(sitting.workspace.processed(sitting.recipe_name))

    Repl(
        load=load,
        make_session=sitting.session,
        contacts=sitting.contacts,
        contact=sitting.contact,
        title=sitting.title,
        workspace=sitting.workspace,
        burst_s=lambda: sitting.recipe().chat.burst_seconds,
        recall=recall,
        pace=pace,
        save_to=save_to,
        earlier=sitting.earlier,
    ).run()


def _voice_elsewhere(gguf: Path | None, url: str | None, model: str | None, n_context: int | None) -> Voice:
    from clone.chat.elsewhere import UrlVoice, open_gguf

    if gguf is not None:
        return open_gguf(gguf, n_context=n_context)
    assert url is not None
    return UrlVoice(url, model=model, api_key=os.environ.get("CLONE_API_KEY"))


def save(session: Session, path: Path, contact: str) -> None:
    """Write a conversation to a file of the person's choice."""
    from clone.chat.transcripts import write_jsonl, write_markdown
    from clone.workspace import write_atomically

    write = write_jsonl if path.suffix == ".jsonl" else write_markdown
    with write_atomically(path) as stream:
        stream.write(write(session.lines, contact=contact, run=session.voice.name))
