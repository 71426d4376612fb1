"""Which kinds of export there are, and which of them a file is. `python -m clone.collect.sources` lists them."""

from __future__ import annotations

from collections.abc import Sequence

from clone.collect import discord, instagram, messenger, signal, whatsapp
from clone.collect.contract import Source
from clone.collect.files import Part
from clone.collect.telegram import export as telegram_export
from clone.errors import SourceError

SOURCES: tuple[Source, ...] = (
    telegram_export.SOURCE,
    whatsapp.SOURCE,
    messenger.SOURCE,
    instagram.SOURCE,
    discord.SOURCE,
    signal.SOURCE,
)


def detect(parts: Sequence[Part], name: str, sources: Sequence[Source] = SOURCES) -> tuple[Source, list[Part]]:
    """Return the source that claims the texts in `name`, and those it claims.

    Raises SourceError where none does, or where two do.
    """
    claimed: dict[str, tuple[Source, list[Part]]] = {}
    for part in parts:
        head = part.head()
        takers = [source for source in sources if source.claims(part, head)]
        if len(takers) > 1:
            raise SourceError(
                f"{part.name} could be of {' and of '.join(source.title for source in takers)}.",
                "This is a mistake of ours; please report it, without the file.",
            )
        if takers:
            claimed.setdefault(takers[0].name, (takers[0], []))[1].append(part)
        if len(claimed) > 1:
            titles = " and ".join(source.title for source, _ in claimed.values())
            raise SourceError(f"{name} holds exports of several kinds: {titles}.", "Give one of them at a time.")
    if not claimed:
        raise SourceError(
            f"{name} is not an export that clone knows.",
            "It reads: " + "; ".join(source.title for source in sources) + ".",
        )
    return next(iter(claimed.values()))


def _list() -> str:
    width = max(len(source.name) for source in SOURCES)
    return "\n".join(f"{source.name:<{width}}  {source.title}" for source in SOURCES)


if __name__ == "__main__":
    import sys

    sys.stdout.write(_list() + "\n")
