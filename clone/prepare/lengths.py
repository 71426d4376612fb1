"""How many tokens a text takes in the base that will read it.

In come texts, out come counts. Knows where a base keeps its tokenizer; knows nothing of messages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tokenizers import Tokenizer

from clone.errors import ModelError

EMBEDDED = "embedded"
_MEMORY = 200_000  # words whose length is remembered


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A tokenizer on disk: whose it is and what it is made of."""

    name: str
    path: Path
    sha256: str


def find_tokenizer(base: str, bases: Path) -> TokenizerFile:
    """Return the tokenizer of `base` (a hub name, a folder or `embedded`) if it is on disk, else the packaged one."""
    for folder in (bases / base, Path(base)):
        path = folder / "tokenizer.json"
        if path.is_file():
            return _described(base, path)
    path = Path(str(files("clone.lm") / EMBEDDED / "tokenizer.json"))
    if not path.is_file():
        raise ModelError("clone's own tokenizer is missing.", "The installation is incomplete: pip install clone")
    return _described(EMBEDDED, path)


def _described(name: str, path: Path) -> TokenizerFile:
    return TokenizerFile(name, path, hashlib.sha256(path.read_bytes()).hexdigest())


class Lengths:
    """Counts tokens.

    A byte-level tokenizer cuts text into words before anything else, so there the length of a text is the sum of the
    lengths of its words. Words come again and again: remembering theirs is several times faster than encoding.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(
                f"{path.name} of {path.parent.name} is not a tokenizer.", "Remove that base and get it again."
            ) from error
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._cuts_at_words = _is_byte_level(self._tokenizer)
        self._known: dict[str, int] = {}

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text takes."""
        if not self._cuts_at_words:
            return self._encode(texts)
        pieces = [_WORD.findall(text) for text in texts]
        known = self._known
        new = list({piece for words in pieces for piece in words if piece not in known})
        if len(known) + len(new) > _MEMORY:
            known.clear()
            new = list({piece for words in pieces for piece in words})
        known.update(zip(new, self._encode(new), strict=True))
        return [sum([known[piece] for piece in words]) for words in pieces]

    def _encode(self, texts: Sequence[str]) -> list[int]:
        return [len(item) for item in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


# A word with all that stands before it. The patterns of GPT-2, Falcon, Llama 3 and Qwen cut wherever a letter or digit
# is followed by anything else (an apostrophe aside, which some keep: "don't").
_WORD = re.compile(r"[\W_]*[^\W_]+(?:'[^\W_]+)*|[\W_]+")


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether text is cut into words by one of GPT-2's family of patterns, and never normalised before."""
    import json

    state = json.loads(tokenizer.to_str())
    before = state.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers", [before])
    return state.get("normalizer") in (None, {"type": "NFC"}) and any(
        part.get("type") == "ByteLevel" and not part.get("add_prefix_space") for part in parts
    )
