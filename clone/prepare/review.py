"""What would be masked, value by value, and what would not: for the person's own eyes, before anything is trained.

In comes an archive, out come values with the rule that found them, and a sample of messages in which nothing was found.
Lives in memory only; nothing of it is written. Knows nothing of terminals.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from clone.archive import Archive
from clone.prepare.choices import read_choices, write_choices
from clone.prepare.pii import LiteralIndex, Literals, Scrubbed
from clone.prepare.pseudonyms import keyed_id, load_key
from clone.prepare.source import Source
from clone.prepare.stage import choices_of, scrubber_for
from clone.recipe import PrepareRecipe
from clone.workspace import Workspace

N_UNMASKED = 50
_MAY_BE_PERSONAL = re.compile(r"\d|[A-Za-z]{3,}")

OnProgress = Callable[[str, int, int | None], None]


@dataclass(slots=True)
class Found:
    """A value that a rule found, how often, and one message with it."""

    rule: str
    entity: str
    value: str
    n: int = 0
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """Values by rule, the most frequent rule first; and messages that would stay as they are."""

    rules: dict[str, list[Found]]
    unmasked: list[str]
    n_messages: int


def review(
    recipe: PrepareRecipe,
    workspace: Workspace,
    *,
    on_progress: OnProgress = lambda what, done, total: None,
) -> Review:
    """Return what preparing would mask, and a sample of what it would not. The same archive gives the same sample."""
    found: dict[tuple[str, str], Found] = {}
    sample: list[tuple[str, str]] = []  # a heap of the greatest keyed ids
    n_messages = 0
    with Archive.open(workspace.archive) as archive:
        key = load_key(workspace.key)
        choices = choices_of(recipe, workspace)
        source = Source(archive, recipe, key, choices)
        scrubber = scrubber_for(recipe, choices, key, source.known_people())()
        literals = Literals()
        for batch in source.batches():
            for text, item in zip(batch.texts, scrubber.scrub_chat(batch.texts), strict=True):
                literals.collect(text, item)
            n_messages += len(batch.texts)
            on_progress("looking", n_messages, source.seen.n_messages)
        index = LiteralIndex(literals)
        n_messages = 0
        for batch in Source(archive, recipe, key, choices).batches():
            first = scrubber.scrub_chat(batch.texts)
            for i, (text, item) in enumerate(
                zip(batch.texts, scrubber.second_pass(batch.texts, first, index), strict=True)
            ):
                _note(found, text, item)
                if not item.findings and not item.failed and _MAY_BE_PERSONAL.search(text):
                    drawn = (keyed_id(key, "sample", batch.number, i), text)
                    (heapq.heappush if len(sample) < N_UNMASKED else heapq.heappushpop)(sample, drawn)
            n_messages += len(batch.texts)
            on_progress("looking again", n_messages, source.seen.n_messages)
    return Review(_by_rule(found), [text for _, text in sorted(sample)], n_messages)


def _note(found: dict[tuple[str, str], Found], text: str, item: Scrubbed) -> None:
    for finding in item.findings:
        value = text[finding.start : finding.end]
        known = found.setdefault(
            (finding.rule, value.casefold()),
            Found(finding.rule, str(finding.entity), value, 0, text[: finding.start][-60:], text[finding.end :][:60]),
        )
        known.n += 1


def _by_rule(found: dict[tuple[str, str], Found]) -> dict[str, list[Found]]:
    rules: dict[str, list[Found]] = {}
    for item in sorted(found.values(), key=lambda item: (-item.n, item.value)):
        rules.setdefault(item.rule, []).append(item)
    return dict(sorted(rules.items(), key=lambda rule: (-sum(item.n for item in rule[1]), rule[0])))


@dataclass(slots=True)
class Decisions:
    """What the person decides while looking, kept in the workspace's lists."""

    allow: list[str] = field(default_factory=list)
    deny: list[str] = field(default_factory=list)

    def save(self, workspace: Workspace) -> None:
        """Add the decisions to `data/raw/privacy.yaml`."""
        if not self.allow and not self.deny:
            return
        kept = read_choices(workspace.privacy)
        merged = replace(
            kept,
            allow=tuple(dict.fromkeys((*(w for w in kept.allow if w not in self.deny), *self.allow))),
            deny=tuple(dict.fromkeys((*(w for w in kept.deny if w not in self.allow), *self.deny))),
        )
        write_choices(workspace.privacy, merged)


def missed_share(n_missed: int, n: int) -> tuple[float, float]:
    """Return bounds of the share of messages with something missed: Wilson's score interval, 95 %."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, n_missed / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))
