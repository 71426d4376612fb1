"""The stage: archive in, `train.jsonl`, `validation.jsonl`, `report.json` and `manifest.json` out.

    chats → clean → sessions → [scrub] → [turns → examples] → balance → split → files
                                the brackets run in batches of sessions, on several processes

Memory holds a few batches and one small record a session, never the messages.
"""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from clone import __version__
from clone.archive import Archive, ChatCount
from clone.errors import DataError, GateFailed
from clone.prepare.batches import (
    Batch,
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
from clone.prepare.clean import why_dropped, wording
from clone.prepare.duplicates import find_repeats
from clone.prepare.lengths import TokenizerFile, find_tokenizer
from clone.prepare.pii import ContactChoice, KnownPerson, Literals, PiiSettings, Scrubber, ScrubCounts
from clone.prepare.pseudonyms import keyed_id, load_key, name_contacts
from clone.prepare.sessions import Standing, cut_sessions
from clone.prepare.split import balance_contacts, choose_validation
from clone.recipe import PrepareRecipe
from clone.records import ChatKind, Message, StepCount
from clone.workspace import Workspace, hash_file, make_private_folder, write_atomically

SCHEMA = 1
MAX_FAILED_SHARE = 0.001  # of the messages, beyond which nothing is written
_BATCH_MESSAGES = 4000
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
    scrub: Mapping[str, object]
    notices: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    """Counters of the steps while they fill."""

    chats: Counter[str] = field(default_factory=Counter)  # messages of chats left out, by reason
    cleaning: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    n_messages: int = 0  # in the chats that are used
    n_kept: int = 0  # after cleaning and short sessions
    scrub: ScrubCounts = field(default_factory=ScrubCounts)


def prepare(
    recipe: PrepareRecipe,
    workspace: Workspace,
    *,
    name: str = "default",
    base: str,
    n_workers: int = 1,
    build_scrubber: Callable[[], Scrubs] | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
) -> PrepareReport:
    """Make examples of everything in the archive, and return what became of it.

    `base` is the base model whose tokens are counted. Raises StageMissing without an archive, DataError where no
    example can come out, GateFailed where too many messages could not be scrubbed; then the files of before stay.
    """
    counts = _Counts()
    with Archive.open(workspace.archive) as archive:
        revision = archive.revision()
        chats = _choose_chats(archive.chats(), counts)
        key = load_key(workspace.key)
        tokenizer = find_tokenizer(base, workspace.bases)
        folder = make_private_folder(workspace.processed(name))
        people = _known_people(archive, {})
        for left in folder.glob(".work.*"):  # of a run that was killed; it holds messages
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=".work.", dir=folder))
        try:
            settings = Settings(
                folder=work,
                tokenizer=tokenizer.path,
                max_context_tokens=recipe.max_context_tokens,
                long_text_chars=recipe.long_text_chars,
                build_scrubber=build_scrubber or partial(Scrubber, _pii_settings(recipe), key=key, people=people),
            )
            is_large = sum(item.n_messages for item in chats) >= _WORTH_A_CREW
            with crew(settings, n_workers if is_large else 1) as team:
                batches = _batches(archive, chats, recipe, key, counts)
                built = _both_passes(team, batches, literals_path(work), counts, on_progress)
            sessions = [session for batch in built for session in batch.sessions]
            report, choice = _balance_and_split(sessions, recipe, counts, tokenizer)
            manifest = {
                "schema": SCHEMA,
                "clone_version": __version__,
                "archive_revision": revision,
                "recipe": recipe.model_dump(mode="json"),
                "tokenizer": {"base": tokenizer.name, "sha256": tokenizer.sha256},
            }
            _write(folder, manifest, report, partial(_copy_sessions, work, built, choice))
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return report


def _known_people(archive: Archive, choices: Mapping[str, ContactChoice]) -> list[KnownPerson]:
    """Return everybody whom the archive names: contacts, people in their chats, the person."""
    names: dict[str, tuple[set[str], set[str], set[str]]] = {}

    def note(person_id: str, name: str, username: str, phone: str) -> None:
        known = names.setdefault(person_id, (set(), set(), set()))
        for values, value in zip(known, (name, username.lstrip("@"), phone), strict=True):
            if value:
                values.add(value)

    for account in archive.accounts():
        note(f"{account.source}\0{account.account_id}", account.name, account.username, account.phone)
    for item in archive.chats():
        if item.chat.kind is ChatKind.PERSON:
            note(_contact_id(item), item.chat.title, item.chat.username, item.chat.phone)
    for person in archive.people():
        note(f"{person.source}\0{person.person_id}", person.name, person.username, person.phone)
    return [
        KnownPerson(
            person_id,
            tuple(sorted(titles)),
            tuple(sorted(usernames)),
            tuple(sorted(phones)),
            choices.get(person_id, ContactChoice.PSEUDONYMISE),
        )
        for person_id, (titles, usernames, phones) in sorted(names.items())
    ]


def _pii_settings(recipe: PrepareRecipe) -> PiiSettings:
    return PiiSettings(allow=tuple(recipe.pii.allow), deny=tuple(recipe.pii.deny))


# -- what goes in ---------------------------------------------------------------------------------------------------


def _choose_chats(chats: Sequence[ChatCount], counts: _Counts) -> list[ChatCount]:
    people = [item for item in chats if item.chat.kind is ChatKind.PERSON]
    for item in chats:
        if item.chat.kind is not ChatKind.PERSON:
            counts.chats[item.chat.kind.value] += item.n_messages
    if not people:
        raise DataError(
            "the archive holds no private chat with a person.",
            "Groups, channels, bots and saved messages are not used; collect an export that has personal chats.",
        )
    used = [item for item in people if item.n_outgoing]
    counts.chats["you never wrote"] += sum(item.n_messages for item in people if not item.n_outgoing)
    if not used:
        raise DataError(
            "no message in the private chats was written by you.",
            "If the export did not say who you are, collect it again: clone collect --from result.json --me ID",
        )
    return used


def _contact_id(item: ChatCount) -> str:
    return f"{item.chat.source}\0{item.chat.chat_id}"


def _batches(
    archive: Archive, chats: Sequence[ChatCount], recipe: PrepareRecipe, key: bytes, counts: _Counts
) -> Iterator[Batch]:
    """Yield the sessions of all chats in batches of some thousand messages."""
    names = name_contacts(key, {_contact_id(item) for item in chats})
    gap = timedelta(minutes=recipe.session_gap_minutes)
    number = 0
    for item in chats:
        batch = Batch(number, names[_contact_id(item)], [], [], [], [], [], [])
        for session in cut_sessions(_clean(archive.messages(item.chat), recipe, counts), gap):
            if len(session.messages) < recipe.min_session_messages:
                counts.sessions["too short"] += len(session.messages)
                continue
            first = session.messages[0]
            batch.session_ids.append(keyed_id(key, "session", _contact_id(item), first.account_id, first.message_id))
            batch.starts.append(len(batch.texts))
            for message in session.messages:
                _add(batch, message, counts)
            if len(batch.texts) >= _BATCH_MESSAGES:
                yield batch
                number += 1
                batch = Batch(number, batch.contact, [], [], [], [], [], [])
        if batch.texts:
            yield batch
            number += 1


def _clean(messages: Iterator[Message], recipe: PrepareRecipe, counts: _Counts) -> Iterator[Message]:
    """Yield the messages that are part of the conversation; count the others."""
    since = datetime.combine(recipe.since, time(), UTC) if recipe.since else None
    until = datetime.combine(recipe.until, time(), UTC) if recipe.until else None
    for message in messages:
        counts.n_messages += 1
        if since and message.sent_at < since:
            why = "before since"
        elif until and message.sent_at >= until:
            why = "after until"
        else:
            why = why_dropped(message)
        if why:
            counts.cleaning[why] += 1
        else:
            yield message


def _add(batch: Batch, message: Message, counts: _Counts) -> None:
    said = wording(message)
    counts.n_kept += 1
    if said.instead:
        counts.words[said.instead] += 1
    batch.at.append(int(message.sent_at.timestamp()))
    batch.is_mine.append(message.is_outgoing)
    batch.texts.append(said.text)
    batch.standings.append(Standing.SHOWN if said.instead or message.is_forwarded else Standing.OWN)


# -- the passes -----------------------------------------------------------------------------------------------------


def _both_passes(
    team: Crew, batches: Iterator[Batch], literals_at: Path, counts: _Counts, on_progress: OnProgress
) -> list[Built]:
    scrubbed: list[Scrubbing] = []
    literals = Literals()
    n_messages = n_failed = 0
    for item in team.scrub(batches):
        scrubbed.append(item)
        literals.merge(item.literals)
        n_messages += item.n_messages
        n_failed += item.n_failed
        on_progress("scrubbing", n_messages, None)
    if n_failed > MAX_FAILED_SHARE * n_messages:
        raise GateFailed(
            f"{n_failed:,} of {n_messages:,} messages could not be scrubbed (more than {MAX_FAILED_SHARE:.1%}): "
            "nothing was written.",
            "This is a fault of clone, or of a name model: try --set prepare.pii.ner=none, and report it.",
        )
    with literals_at.open("wb") as stream:
        pickle.dump(literals, stream, protocol=5)
    done: list[Built] = []
    for built in team.build(_find_repeats(scrubbed, counts)):
        done.append(built)
        counts.replies.update(built.dropped)
        counts.scrub.merge(built.scrub)
        on_progress("building examples", built.number + 1, len(scrubbed))
    return done


def _find_repeats(scrubbed: Sequence[Scrubbing], counts: _Counts) -> list[BuildOrder]:
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
        counts.words["copied" if is_mine[later] and not is_mine[earlier] else "repeated"] += 1
    return [BuildOrder(number, found) for number, found in repeats.items()]


@dataclass(frozen=True, slots=True)
class _Choice:
    """The ids of the sessions that are not trained on."""

    left_out: frozenset[str]
    validation: frozenset[str]


def _balance_and_split(
    sessions: list[SessionPart], recipe: PrepareRecipe, counts: _Counts, tokenizer: TokenizerFile
) -> tuple[PrepareReport, _Choice]:
    left_out = balance_contacts(sessions, recipe.max_contact_share)
    kept = [session for session in sessions if session.session_id not in left_out]
    n_built = sum(session.n_examples for session in sessions)
    n_kept = sum(session.n_examples for session in kept)
    steps = _steps(counts, n_built, n_kept)
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
        scrub=counts.scrub.as_json(),
        notices=_notices(kept, n_kept, n_validation),
    )
    return report, _Choice(left_out, validation)


def _steps(counts: _Counts, n_built: int, n_kept: int) -> list[StepCount]:
    def step(name: str, kept: int, why: Counter[str]) -> StepCount:
        why = +why
        return StepCount(name, kept, why.total(), dict(sorted(why.items(), key=lambda item: (-item[1], item[0]))))

    n_clean = counts.n_messages - counts.cleaning.total()
    return [
        step("chats", counts.n_messages, counts.chats),
        step("cleaning", n_clean, counts.cleaning),
        step("sessions", counts.n_kept, counts.sessions),
        step("words", counts.n_kept - counts.words.total(), counts.words),
        step("replies", n_built, counts.replies),
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
    copy_sessions: Callable[[IO[bytes], IO[bytes]], None],
) -> None:
    manifest_path = folder / "manifest.json"
    manifest_path.unlink(missing_ok=True)  # its presence says that the files beside it belong together
    with (
        write_atomically(folder / "train.jsonl", binary=True) as train,
        write_atomically(folder / "validation.jsonl", binary=True) as validation,
    ):
        copy_sessions(train, validation)
    _write_json(folder / "report.json", asdict(report))
    files = {file: hash_file(folder / file) for file in ("train.jsonl", "validation.jsonl", "report.json")}
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
