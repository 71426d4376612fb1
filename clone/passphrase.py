"""How the passphrase of an encrypted archive is come by, where nobody gives one.

Apart from the archive, so that the command line can say how without loading it.
"""

from __future__ import annotations

from collections.abc import Callable


def ask_passphrase_with(ask: Callable[[bool], str | None]) -> None:
    """Set how passphrases are come by: `ask(is_new)`, where `is_new` tells that there is no encrypted archive yet.

    The command line does so once, so that every stage opens an encrypted archive without knowing of it.
    """
    global _ask
    _ask = ask


def ask_passphrase(is_new: bool) -> str | None:
    """Return a passphrase, None where there is none."""
    return _ask(is_new)


def no_passphrase(is_new: bool) -> str | None:
    """Never know one."""
    return None


_ask: Callable[[bool], str | None] = no_passphrase
