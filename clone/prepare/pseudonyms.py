"""One stable, invented first name for each contact.

In come a secret key and who the contacts are; out come names. The same key gives the same names in every run, and
without the key nobody can tell whose they are. Knows nothing of the contacts' real names.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from clone.errors import DataError
from clone.workspace import PRIVATE_FILE, make_private_folder

_STARTS = ("b", "d", "f", "g", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "kr", "tr", "st")
_MIDDLES = ("l", "m", "n", "r", "v", "d", "s", "t", "b", "k", "z", "nd", "rl", "ss", "ll", "nn", "rt", "sk", "lm", "rn")
_ENDS = ("a", "o", "i", "an", "in", "el", "is", "us", "en", "ia")
_VOWELS = "aeiou"
_KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """Return the workspace's secret, made (mode 0600) where there is none yet."""
    if not path.exists():
        make_private_folder(path.parent)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) < 16:
        raise DataError(
            f"{path.name} is not a key of clone, or it is damaged.",
            "Remove it to have a new one made; every contact then gets a new pseudonym.",
        )
    return key


def contact_id(source: str, chat_id: str) -> str:
    """Return what stands for a contact where pseudonyms are drawn."""
    return f"{source}\0{chat_id}"


def name_contacts(key: bytes, contact_ids: Iterable[str]) -> Mapping[str, str]:
    """Return a pseudonym for each contact, no two alike and none of them "me".

    Of two contacts that draw the same name the one with the greater digest gets a longer one.
    """
    digests = {contact: hmac.digest(key, b"contact\0" + contact.encode(), "sha256") for contact in contact_ids}
    names: dict[str, str] = {}
    taken: set[str] = set()
    for contact, digest in sorted(digests.items(), key=lambda item: item[1]):
        n_syllables = 2
        while (name := _spell(digest, n_syllables)) in taken:
            n_syllables += 1
        taken.add(name)
        names[contact] = name
    return names


def keyed_id(key: bytes, *parts: object) -> str:
    """Return an id that says nothing to whoever lacks the key, 12 hex digits."""
    return hmac.new(key, "\0".join(map(str, parts)).encode(), hashlib.sha256).hexdigest()[:12]


def file_id(key: bytes, path: Path) -> str:
    """Return an id of what stands in `path` that says nothing to whoever lacks the key; of nothing where it is not."""
    return keyed_id(key, "file", path.read_bytes().hex() if path.exists() else "")


def _spell(digest: bytes, n_syllables: int) -> str:
    rest = int.from_bytes(digest, "big")

    def draw(letters: str | tuple[str, ...]) -> str:
        nonlocal rest
        rest, i = divmod(rest, len(letters))
        return letters[i]

    name = draw(_STARTS) + draw(_VOWELS)
    for _ in range(n_syllables - 1):
        name += draw(_MIDDLES) + draw(_VOWELS)
    return name[:-1] + draw(_ENDS) if n_syllables > 1 else name
