"""Text to token ids and back, for any base that ships a `tokenizer.json`.

In come segments of the template, out come ids with a mask of what is learned. Text from a chat never becomes a control
token: special tokens in it are encoded as the characters they are made of. Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from clone.errors import ModelError
from clone.lm.template import Control
from clone.records import Segment

# How each family writes the five marks: tokens that its vocabulary has and that ordinary text never yields, so that no
# row of a frozen embedding has to be added or trained.
_MARKS: tuple[tuple[str, str, str, str, str], ...] = (
    # doc, them, me, bubble, end
    ("<|doc|>", "<|them|>", "<|me|>", "<|bubble|>", "<|end|>"),  # embedded
    ("<|endoftext|>", ">>QUESTION<<", ">>ANSWER<<", ">>MIDDLE<<", ">>SUFFIX<<"),  # Falcon
    (
        "<|begin_of_text|>",
        "<|reserved_special_token_1|>",
        "<|reserved_special_token_2|>",
        "<|reserved_special_token_3|>",
        "<|eot_id|>",
    ),  # Llama 3
    ("<|endoftext|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|im_end|>"),  # Qwen 2.5, 3
    ("<bos>", "<unused0>", "<unused1>", "<unused2>", "<end_of_turn>"),  # Gemma
)
# Elsewhere the information separators of ASCII stand in: every byte-level vocabulary has them, no keyboard does.
_SEPARATORS = {Control.THEM: "\x1c", Control.ME: "\x1d", Control.BUBBLE: "\x1e", Control.END: "\x1f"}
_NO_SEPARATORS = dict.fromkeys(map(ord, _SEPARATORS.values()), " ")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids with, for each, whether it is learned. Same length."""

    ids: list[int]
    is_learned: list[bool]


class Tokens:
    """The tokenizer of one base, with the ids of the template's marks."""

    def __init__(self, tokenizer: Tokenizer, *, where: str = "the tokenizer") -> None:
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # "<|endoftext|>" typed by a friend is thirteen characters
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.marks, self._cleans = find_marks(tokenizer, where)
        # Some vocabularies (Gemma's) do not flag all of their marks as special, and would make one of typed text.
        marks = [self.marks[Control.DOC]] if self._cleans else list(self.marks.values())
        tokenizer.add_special_tokens(
            [AddedToken(tokenizer.id_to_token(i), special=True, normalized=False) for i in marks]
        )
        self._controls = {self.marks[mark]: mark for mark in Control}

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Return the tokenizer of a base's folder. Raises ModelError where it has none."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise ModelError(f"{folder} has no tokenizer.json.", "The base is incomplete; remove it and run again.")
        return cls(Tokenizer.from_file(str(path)), where=str(path))

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary, marks included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode_text(self, text: str) -> list[int]:
        """Return the ids of plain text; never one of a mark."""
        return self.encode_texts([text])[0]

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many plain texts: several times as fast as one by one."""
        texts = self.cleaned(texts)
        out = [list(item.ids) for item in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        if any(not self._controls.keys().isdisjoint(ids) for ids in out):
            raise AssertionError("text became a mark of the template")
        return out

    def cleaned(self, texts: Sequence[str]) -> Sequence[str]:
        """Return texts without the characters that this base has for marks."""
        return [text.translate(_NO_SEPARATORS) for text in texts] if self._cleans else texts

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text takes."""
        return [len(item.ids) for item in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode(self, segments: Iterable[Segment]) -> Encoded:
        """Return a rendered conversation as ids and mask."""
        held = list(segments)
        texts = iter(self.encode_texts([segment.text for segment in held if not segment.is_control]))
        ids: list[int] = []
        learned: list[bool] = []
        for segment in held:
            new = [self.marks[Control(segment.text)]] if segment.is_control else next(texts)
            ids.extend(new)
            learned.extend([segment.is_learned] * len(new))
        return Encoded(ids, learned)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; marks are left out."""
        return str(self._tokenizer.decode([i for i in ids if i not in self._controls], skip_special_tokens=False))

    def spelling(self, mark: Control) -> str:
        """Return how a mark is written for programs that read control tokens in text."""
        return str(self._tokenizer.id_to_token(self.marks[mark]))

    def control(self, token_id: int) -> Control | None:
        """Return the mark that an id stands for."""
        return self._controls.get(token_id)


def find_marks(tokenizer: Tokenizer, where: str) -> tuple[Mapping[Control, int], bool]:
    """Return the ids of the five marks, and whether text must be cleaned of them. Raises ModelError for no such ids."""
    for names in _MARKS:
        found = [tokenizer.token_to_id(name) for name in names]
        ids = [i for i in found if i is not None]
        if len(ids) == len(names):
            return dict(zip(_ORDER, ids, strict=True)), False
    doc = next(
        (
            i
            for n in ("<|endoftext|>", "<s>", "<bos>", "</s>", "<|begin_of_text|>")
            if (i := tokenizer.token_to_id(n)) is not None
        ),
        None,
    )
    if doc is None:
        raise _no_marks(where)
    marks: dict[Control, int] = {Control.DOC: doc}
    for mark, character in _SEPARATORS.items():
        ids = tokenizer.encode(character, add_special_tokens=False).ids
        if not ids or tokenizer.decode([ids[-1]]) != character:
            raise _no_marks(where)
        marks[mark] = ids[-1]
    return marks, True


def _no_marks(where: str) -> ModelError:
    return ModelError(
        f"{where} has no tokens that can mark turns.",
        "Choose another base: Falcon, Llama 3, Qwen, Gemma, Pythia or Mistral.",
    )


_ORDER = (Control.DOC, Control.THEM, Control.ME, Control.BUBBLE, Control.END)


class StreamDecoder:
    """Turns ids into text as they come, never splitting a character across two pieces."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._ids: list[int] = []
        self._n_shown = 0

    def push(self, token_id: int) -> str:
        """Return the text that is certain now and was not before."""
        self._ids.append(token_id)
        return self._rest(is_end=False)

    def flush(self) -> str:
        """Return what is left, a broken character included, and begin anew."""
        rest = self._rest(is_end=True)
        self._ids, self._n_shown = [], 0
        return rest

    def _rest(self, *, is_end: bool) -> str:
        text = self._tokens.decode(self._ids)
        if not is_end and text.endswith("�"):  # the first bytes of a character: wait for the others
            return ""
        new = text[self._n_shown :]
        self._n_shown = len(text)
        return new
