"""The stage: archive in, `train.jsonl`, `validation.jsonl`, `report.json` and `manifest.json` out.

    chats → clean → sessions → [scrub] → [turns → examples] → balance → split → files
                                the brackets run in batches of sessions, on several processes

Memory holds a few batches and one small record a session, never the messages.
"""

from __future__ import annotations

import json
import pickle
import secrets
import shutil
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from clone import __version__
from clone.archive import Archive
from clone.errors import DataError, GateFailed, RecipeError
from clone.prepare.batches import (
    BuildOrder,
    Built,
    Crew,
    Scrubbing,
    Scrubs,
    SessionPart,
    Settings,
    crew,
    examples_path,
    literals_path,
)
from clone.prepare.choices import Choices, read_choices
from clone.prepare.duplicates import find_repeats
from clone.prepare.formats import FORMATS
from clone.prepare.lengths import TokenizerFile, find_tokenizer
from clone.prepare.lock import holding
from clone.prepare.page import render_page
from clone.prepare.pii import (
    ContactChoice,
    Entity,
    KnownPerson,
    Literals,
    Names,
    Ner,
    PiiSettings,
    Scrubber,
    ScrubCounts,
    require_model,
)
from clone.prepare.pseudonyms import file_id, load_key
from clone.prepare.source import Seen, Source
from clone.prepare.split import balance_contacts, choose_validation
from clone.recipe import PrepareRecipe
from clone.records import StepCount
from clone.workspace import Workspace, disk_error, hash_file, make_private_folder, write_atomically

SCHEMA = 1
MAX_FAILED_SHARE = 0.001  # of the messages, beyond which nothing is written
_WORTH_A_CREW = 20_000  # messages; starting processes takes about as long as scrubbing so many

OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was kept and dropped at each step, and what came out. Counts and pseudonyms only."""

    steps: list[StepCount]
    n_train: int
    n_validation: int
    contacts: Mapping[str, int]  # pseudonym -> examples
    tokenizer: str
    scrub: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Sequence[Any]]]  # of `clone.prepare.tables`: column -> values
    notices: list[str] = field(default_factory=list)
    is_kept: bool = False  # nothing had changed since an earlier time, and nothing was done


def prepare(
    recipe: PrepareRecipe,
    workspace: Workspace,
    *,
    name: str = "default",
    base: str,
    n_workers: int = 1,
    force: bool = False,
    build_scrubber: Callable[[], Scrubs] | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
) -> PrepareReport:
    """Make examples of everything in the archive, and return what became of it.

    `base` is the base model whose tokens are counted. Raises StageMissing without an archive, DataError where no
    example can come out or another process is at it, GateFailed where too many messages could not be scrubbed; then the
    files of before stay.
    """
    with Archive.open(workspace.archive) as archive, holding(workspace, name):
        key = load_key(workspace.key)
        choices = choices_of(recipe, workspace)
        source = Source(archive, recipe, key, choices)
        tokenizer = find_tokenizer(base, workspace.bases)
        folder = make_private_folder(workspace.processed(name))
        manifest = {
            "schema": SCHEMA,
            "clone_version": __version__,
            "archive_revision": archive.revision(),
            "recipe": recipe.model_dump(mode="json"),
            "tokenizer": {"base": tokenizer.name, "sha256": tokenizer.sha256},
            "choices": file_id(key, workspace.privacy),  # changes with the key and with the person's lists
        }
        if not force and (kept := _kept_report(folder, manifest)):
            return kept
        with _work_folder(folder) as work:
            settings = Settings(
                folder=work,
                tokenizer=tokenizer.path,
                max_context_tokens=recipe.max_context_tokens,
                long_text_chars=recipe.long_text_chars,
                fingerprint_key=secrets.token_bytes(32),
                build_scrubber=build_scrubber or scrubber_for(recipe, choices, key, source.known_people()),
            )
            with crew(settings, n_workers if source.seen.n_messages >= _WORTH_A_CREW else 1) as team:
                built = _both_passes(team, source, literals_path(work), on_progress)
            report, choice = _balance_and_split(built, recipe, source, tokenizer)
            on_progress("writing", 0, None)
            page = render_page(name, report, recipe.model_dump())
            _write(folder, manifest, report, page, partial(_copy_sessions, work, built, choice))
    return report


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Yield a private folder for what lies between the passes, and remove it with all that is in it."""
    for left in folder.glob(".work.*"):  # of a run that was killed; it holds messages
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".work.", dir=folder))
    try:
        yield work
    except OSError as error:
        raise disk_error(error, work) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _kept_report(folder: Path, manifest: Mapping[str, object]) -> PrepareReport | None:
    """Return the report of what stands in `folder` if it was made of the very same things."""
    try:
        before = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if any(before.get(key) != value for key, value in manifest.items()):
            return None
        if any(hash_file(folder / name) != sha256 for name, sha256 in before["files"].items()):
            return None
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        steps = [StepCount(**step) for step in report.pop("steps")]
        return PrepareReport(steps, **{**report, "is_kept": True})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged, or of another version: made anew


def choices_of(recipe: PrepareRecipe, workspace: Workspace) -> Choices:
    """Return what the person has chosen in the workspace and in the recipe."""
    pii = recipe.pii
    contacts = {who: ContactChoice(what) for who, what in pii.contacts.items()}
    return read_choices(workspace.privacy).and_also(Choices(contacts, tuple(pii.allow), tuple(pii.deny)))


def scrubber_for(
    recipe: PrepareRecipe, choices: Choices, key: bytes, people: Sequence[KnownPerson]
) -> Callable[[], Scrubber]:
    """Return what builds a scrubber, in this process or another."""
    unknown = [item for item in recipe.pii.ignore if item not in set(Entity)]
    if unknown:
        raise RecipeError(
            f"prepare.pii.ignore: there is no type {', '.join(unknown)}.", f"There are: {', '.join(sorted(Entity))}."
        )
    settings = PiiSettings(
        names=Names(recipe.pii.names),
        ner=Ner(recipe.pii.ner),
        ner_model=recipe.pii.ner_model,
        allow=choices.allow,
        deny=choices.deny,
        ignore=tuple(Entity(item) for item in recipe.pii.ignore),
    )
    require_model(settings)
    return partial(Scrubber, settings, key=key, people=people)


# -- the passes -----------------------------------------------------------------------------------------------------


def _both_passes(team: Crew, source: Source, literals_at: Path, on_progress: OnProgress) -> list[Built]:
    scrubbed: list[Scrubbing] = []
    literals = Literals()
    n_messages = n_failed = 0
    for item in team.scrub(source.batches()):
        scrubbed.append(item)
        literals.merge(item.literals)
        n_messages += item.n_messages
        n_failed += item.n_failed
        on_progress("scrubbing", n_messages, source.seen.n_messages)
    if n_failed > MAX_FAILED_SHARE * n_messages:
        raise GateFailed(
            f"{n_failed:,} of {n_messages:,} messages could not be scrubbed (more than {MAX_FAILED_SHARE:.1%}): "
            "nothing was written.",
            "This is a fault of clone, or of a name model: try --set prepare.pii.ner=none, and report it.",
        )
    with literals_at.open("wb") as stream:
        pickle.dump(literals, stream, protocol=5)
    done: list[Built] = []
    for built in team.build(_find_repeats(scrubbed, source.seen.words)):
        done.append(built)
        on_progress("building examples", built.number + 1, len(scrubbed))
    return done


def _find_repeats(scrubbed: Sequence[Scrubbing], words: Counter[str]) -> list[BuildOrder]:
    """Return each batch's messages that repeat a long text that was sent before, in any chat."""
    places = [(item.number, i) for item in scrubbed for i in item.long]
    is_mine = [mine for item in scrubbed for mine in item.is_mine]
    at = np.array([at for item in scrubbed for at in item.at], np.int64)
    order = np.empty(len(places), np.int64)
    order[np.argsort(at, kind="stable")] = np.arange(len(places))
    repeats: dict[int, list[int]] = {item.number: [] for item in scrubbed}
    for later, earlier in sorted(find_repeats(np.concatenate([item.sketches for item in scrubbed]), order).items()):
        number, i = places[later]
        repeats[number].append(i)
        words["copied" if is_mine[later] and not is_mine[earlier] else "repeated"] += 1
    return [BuildOrder(number, found) for number, found in repeats.items()]


@dataclass(frozen=True, slots=True)
class _Choice:
    """The ids of the sessions that are not trained on."""

    left_out: frozenset[str]
    validation: frozenset[str]


def _balance_and_split(
    built: Sequence[Built], recipe: PrepareRecipe, source: Source, tokenizer: TokenizerFile
) -> tuple[PrepareReport, _Choice]:
    sessions = [session for batch in built for session in batch.sessions]
    left_out = balance_contacts(sessions, recipe.max_contact_share)
    kept = [session for session in sessions if session.session_id not in left_out]
    n_kept = sum(session.n_examples for session in kept)
    replies: Counter[str] = Counter()
    scrub = ScrubCounts()
    by_contact: Counter[str] = Counter()
    by_script: Counter[str] = Counter()
    values: dict[str, set[bytes]] = {}
    for batch in built:
        for part in batch.sessions[:1]:  # a batch holds one contact's sessions
            by_contact[part.contact] += sum(batch.scrub.by_entity.values())
        replies.update(batch.dropped)
        by_script.update(batch.by_script)
        for kind, fingerprints in batch.fingerprints.items():
            values.setdefault(kind, set()).update(fingerprints)
        scrub.merge(batch.scrub)
    steps = _steps(source.seen, replies, sum(session.n_examples for session in sessions), n_kept)
    if not n_kept:
        why = ", ".join(f"{reason} {n:,}" for step in steps for reason, n in step.why.items())
        raise DataError(
            "no example came out: nothing is left that you wrote in a conversation.", f"Left out: {why or 'nothing'}."
        )
    validation = choose_validation(kept, recipe.validation_share)
    n_validation = sum(session.n_examples for session in kept if session.session_id in validation)
    contacts: Counter[str] = Counter()
    for session in kept:
        if session.n_examples:
            contacts[session.contact] += session.n_examples
    report = PrepareReport(
        steps=steps,
        n_train=n_kept - n_validation,
        n_validation=n_validation,
        contacts=dict(sorted(contacts.items(), key=lambda item: (-item[1], item[0]))),
        tokenizer=tokenizer.name,
        scrub={
            **scrub.as_json(),
            "distinct_by_type": {kind: len(values[kind]) for kind in sorted(values)},
            "by_script": dict(sorted(by_script.items())),
            "by_contact": dict(sorted(by_contact.items())),
        },
        tables=_tables(built, source.seen, recipe.max_context_tokens),
        notices=_notices(kept, n_kept, n_validation),
    )
    return report, _Choice(left_out, validation)


def _tables(built: Sequence[Built], seen: Seen, max_context_tokens: int) -> Mapping[str, Mapping[str, Sequence[Any]]]:
    from clone.prepare.tables import Sizes, tabulate  # pandas: not for every process that scrubs

    sizes = Sizes(array("i"), array("i"), array("i"))
    for batch in built:
        sizes.n_context_tokens.extend(batch.n_context_tokens)
        sizes.n_reply_tokens.extend(batch.n_reply_tokens)
        sizes.n_bubbles.extend(batch.n_bubbles)
    return tabulate(seen.contact, seen.at, seen.is_mine, sizes, max_context_tokens)


def _steps(seen: Seen, replies: Counter[str], n_built: int, n_kept: int) -> list[StepCount]:
    def step(name: str, kept: int, why: Counter[str]) -> StepCount:
        why = +why
        return StepCount(name, kept, why.total(), dict(sorted(why.items(), key=lambda item: (-item[1], item[0]))))

    return [
        step("chats", seen.n_messages, seen.chats),
        step("cleaning", seen.n_messages - seen.cleaning.total(), seen.cleaning),
        step("sessions", seen.n_kept, seen.sessions),
        step("words", seen.n_kept - seen.words.total(), seen.words),
        step("replies", n_built, replies),
        step("balance", n_kept, Counter({"contact over its share": n_built - n_kept})),
    ]


def _notices(sessions: Sequence[SessionPart], n_kept: int, n_validation: int) -> list[str]:
    notices = []
    largest = max(session.n_examples for session in sessions)
    if not n_validation or n_validation > n_kept // 2:
        notices.append(
            f"One conversation without a long silence holds {largest:,} of {n_kept:,} examples, so "
            f"{n_validation:,} are held out for validation. A shorter session gap cuts finer: "
            "--set prepare.session_gap_minutes=360"
        )
    return notices


# -- what comes out -------------------------------------------------------------------------------------------------


def _write(
    folder: Path,
    manifest: Mapping[str, object],
    report: PrepareReport,
    page: str,
    copy_sessions: Callable[[IO[bytes], IO[bytes]], None],
) -> None:
    manifest_path = folder / "manifest.json"
    for form in FORMATS:  # what other trainers read would be of the examples before
        for path in (*folder.glob(f"train.{form}.*"), *folder.glob(f"validation.{form}.*")):
            path.unlink()
    manifest_path.unlink(missing_ok=True)  # its presence says that the files beside it belong together
    with (
        write_atomically(folder / "train.jsonl", binary=True) as train,
        write_atomically(folder / "validation.jsonl", binary=True) as validation,
    ):
        copy_sessions(train, validation)
    _write_json(folder / "report.json", {k: v for k, v in asdict(report).items() if k != "is_kept"})
    with write_atomically(folder / "report.html") as stream:
        stream.write(page)
    names = ("train.jsonl", "validation.jsonl", "report.json", "report.html")
    files = {file: hash_file(folder / file) for file in names}
    _write_json(
        manifest_path,
        {
            **manifest,
            "files": files,
            "n_train": report.n_train,
            "n_validation": report.n_validation,
            "contacts": list(report.contacts),
            "scrub": report.scrub,
        },
    )


def _copy_sessions(
    work: Path, built: Sequence[Built], choice: _Choice, train: IO[bytes], validation: IO[bytes]
) -> None:
    for batch in built:
        path = examples_path(work, batch.number)
        with path.open("rb") as stream:
            for session in batch.sessions:
                lines = stream.read(session.n_bytes)
                if session.session_id not in choice.left_out:
                    (validation if session.session_id in choice.validation else train).write(lines)
        path.unlink()


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    with write_atomically(path) as stream:
        stream.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")
