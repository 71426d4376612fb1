"""`clone prepare`: the archive's messages to training examples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clone.cli.options import json_option, recipe_options

if TYPE_CHECKING:
    from clone.prepare.review import Found, Review
    from clone.prepare.stage import PrepareReport
    from clone.recipe import Recipe
    from clone.records import Segment
    from clone.workspace import Workspace


@click.command()
@recipe_options
@json_option
@click.option("--preview", type=click.IntRange(1, 1000), metavar="N", help="Show N examples as the model sees them.")
@click.option(
    "--format",
    "forms",
    multiple=True,
    type=click.Choice(["alpaca", "sharegpt", "chatml"]),
    help="Also write what LLaMA-Factory, Axolotl or TRL read.",
)
@click.option("--review", is_flag=True, help="Look at what would be masked and what not; write nothing but your lists.")
@click.option("--contacts", is_flag=True, help="Show your contacts with their pseudonyms; write nothing.")
@click.option("--force", is_flag=True, help="Prepare even if nothing has changed.")
@click.option("--workers", type=click.IntRange(1), help="Processes to use; by default one a core, 4 at most.")
def command(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    preview: int | None,
    forms: tuple[str, ...],
    review: bool,
    contacts: bool,
    force: bool,
    workers: int | None,
) -> None:
    """Turn collected messages into training examples, with personal data out.

    Reads the archive; writes data/processed/NAME/, with report.html to look at.
    """
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    recipe = load_recipe(recipe_path, overrides)
    workspace = Workspace.here()
    if contacts:
        _show_contacts(recipe, workspace, as_json)
    elif review:
        _review(recipe, workspace)
    else:
        _prepare(recipe, workspace, recipe_path, as_json, preview, forms, force, workers)


def _prepare(
    recipe: Recipe,
    workspace: Workspace,
    recipe_path: Path | None,
    as_json: bool,
    n_preview: int | None,
    forms: tuple[str, ...],
    force: bool,
    workers: int | None,
) -> None:
    from dataclasses import asdict

    from clone.cli.show import emit, progress, say
    from clone.prepare.formats import HOW, write_format
    from clone.prepare.preview import preview
    from clone.prepare.stage import prepare

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    with progress("Preparing") as on_progress:
        report = prepare(
            recipe.prepare,
            workspace,
            name=recipe.name,
            base=recipe.finetune.base,
            n_workers=workers or min(4, _n_cores()),
            force=force,
            on_progress=on_progress,
        )
    folder = workspace.processed(recipe.name)
    written = {form: [workspace.show(path) for path in write_format(folder, form)] for form in forms}
    shown = preview(folder, n_preview) if n_preview else []
    if as_json:
        more: dict[str, Any] = {"formats": written} if written else {}
        if shown:
            more["preview"] = [[asdict(segment) for segment in segments] for segments in shown]
        emit({"recipe": recipe.name, **asdict(report), **more})
        return
    for segments in shown:
        _show_example(segments)
    if shown:
        say("Green is what the twin learns; ⟨marks⟩ are tokens of the template.", style="dim")
    _show_report(report)
    for form, paths in written.items():
        say(f"Also written: {', '.join(paths)}")
        say(HOW[form], style="dim")
    say(f"Look at {workspace.show(folder / 'report.html')}")
    say(f"Next: clone finetune{f' {recipe_path}' if recipe_path else ''}", style="bold cyan")


def _n_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show_report(report: PrepareReport) -> None:
    from clone.cli.show import say, show_table

    rows = [
        (step.step, step.kept, step.dropped, ", ".join(f"{why} {n:,}" for why, n in step.why.items()))
        for step in report.steps
    ]
    show_table("", ("step", "kept", "left out", "why"), rows)
    masked = sorted(report.scrub["by_type"].items(), key=lambda item: -item[1])
    if masked:
        say("Masked: " + ", ".join(f"{kind.replace('_', ' ').lower()} {n:,}" for kind, n in masked))
    for notice in report.notices:
        say(notice, style="yellow")
    if report.is_kept:
        say("Nothing has changed since these were made; --force makes them anew.", style="dim")
    say(
        f"{report.n_train:,} examples to train on, {report.n_validation:,} held out; {len(report.contacts):,} contacts."
        f" Lengths are in tokens of {report.tokenizer}."
    )


def _show_example(segments: list[Segment]) -> None:
    """Write a rendered conversation: what is learned in colour, the template's marks visible."""
    from rich.text import Text

    from clone.cli.show import console

    text = Text()
    for segment in segments:
        if segment.is_control:
            if segment.text in ("them", "me"):
                text.append("\n")
            text.append(f"⟨{segment.text}⟩", style="bold green" if segment.is_learned else "dim cyan")
            if segment.text == "bubble":
                text.append("\n  ")
        else:
            text.append(segment.text.replace("\n", "\n  "), style="green" if segment.is_learned else "")
    out = console()
    out.rule(style="dim")
    out.print(text)


def _show_contacts(recipe: Recipe, workspace: Workspace, as_json: bool) -> None:
    from dataclasses import asdict

    from clone.archive import Archive
    from clone.cli.show import emit, say, show_table
    from clone.prepare.pseudonyms import load_key
    from clone.prepare.source import Source
    from clone.prepare.stage import choices_of

    with Archive.open(workspace.archive) as archive:
        source = Source(archive, recipe.prepare, load_key(workspace.key), choices_of(recipe.prepare, workspace))
    if as_json:
        emit({"contacts": [asdict(contact) for contact in source.contacts]})
        return
    rows = [
        (contact.title or "(no name)", contact.pseudonym, contact.choice.value, contact.n_messages, contact.n_outgoing)
        for contact in source.contacts
    ]
    show_table("", ("contact", "pseudonym", "choice", "messages", "yours"), rows)
    say(f"Choices stand in {workspace.show(workspace.privacy)}, such as contacts: {{Ann: exclude}}", style="dim")


# -- review ---------------------------------------------------------------------------------------------------------


def _review(recipe: Recipe, workspace: Workspace) -> None:
    from clone.cli.show import progress, say
    from clone.prepare.review import Decisions, review

    with progress("Reviewing") as on_progress:
        seen = review(recipe.prepare, workspace, on_progress=on_progress)
    decisions = Decisions()
    try:
        if _review_found(seen, decisions):
            _review_unmasked(seen, decisions)
    finally:
        decisions.save(workspace)  # Ctrl-C keeps what was decided so far
        if decisions.allow or decisions.deny:
            say(
                f"{len(decisions.allow)} allowed and {len(decisions.deny)} denied, "
                f"kept in {workspace.show(workspace.privacy)}. Next: clone prepare"
            )


def _review_found(review: Review, decisions: Any) -> bool:
    """Go through what would be masked; return False when the person has had enough."""
    from clone.cli.show import say, show_table

    rows = [(rule, found[0].entity, sum(item.n for item in found), len(found)) for rule, found in review.rules.items()]
    show_table(f"Would be masked in {review.n_messages:,} messages", ("rule", "type", "times", "values"), rows)
    say("Values are hidden. s show · a allow (never mask) · Enter next · r next rule · u unmasked messages · q quit")
    for rule, found in review.rules.items():
        for i, item in enumerate(found):
            say(f"{rule}  {item.entity}  {i + 1} of {len(found)}  ×{item.n}  " + "•" * 8, style="bold")
            key = _key("saruq\r\n")
            if key == "s":
                _show_found(item)
                key = _key("aruq\r\n")
            if key == "a":
                decisions.allow.append(item.value)
                say("  will never be masked", style="green")
            elif key == "r":
                break
            elif key == "u":
                return True
            elif key == "q":
                return False
    return True


def _show_found(item: Found) -> None:
    from rich.text import Text

    from clone.cli.show import console

    console().print(Text.assemble("  ", item.before, (item.value, "bold red"), item.after))


def _review_unmasked(review: Review, decisions: Any) -> None:
    """Show messages that would stay as they are, and estimate from the answers how much is missed."""
    from clone.cli.show import say
    from clone.prepare.review import missed_share

    say(f"\n{len(review.unmasked)} random messages with digits or Latin letters in which nothing was found.")
    say("Enter nothing personal in it · m something was missed · d deny a word of it · q quit")
    n_seen = n_missed = 0
    for i, text in enumerate(review.unmasked):
        say(f"{i + 1} of {len(review.unmasked)}", style="dim")
        say(f"  {text}")
        key = _key("mdq\r\n")
        if key == "q":
            break
        n_seen += 1
        if key == "d":
            decisions.deny.append(click.prompt("  always mask", err=True).strip())
        n_missed += key in "md"
    if n_seen:
        low, high = missed_share(n_missed, n_seen)
        say(f"{n_missed} of {n_seen} had something that was missed: of such messages {low:.0%} to {high:.0%}, at 95 %.")


def _key(allowed: str) -> str:
    """Wait for one of the keys."""
    while True:
        key = click.getchar().lower()
        if key in ("\x03", "\x04"):
            raise KeyboardInterrupt
        if key and key in allowed:
            return key
