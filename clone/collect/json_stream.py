"""Read JSON of any size from a stream, value by value, each with the text it was written in.

The outer levels are walked, only the innermost values are built, so memory is bounded by the largest of those. JSON
that is a little wrong (control characters written as \\x0B, unquoted file names) is repaired; a value that cannot be
read is passed over and handed out as `Broken`; a file that ends too early raises `CutShort`. Knows nothing of what the
values mean.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from json.scanner import make_scanner
from typing import IO, Any

CHUNK_BYTES = 1 << 18
MAX_VALUE_CHARS = 1 << 26

_scan = make_scanner(json.JSONDecoder(strict=False))  # type: ignore[arg-type]  # any context will do
_BARE_WORD = re.compile(r"[^,\]}\n]*")
_blank = re.compile(r"[ \t\r\n]*").match
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*("?)|[{}\[\]]', re.S)
_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\x([0-9A-Fa-f]{2})")
_BARE_NAME = re.compile(r'(?<!\\)("document_id":\s*)(?![\s"{\[\d-])([^"\n]*?)(?=\s*(?:\n|\}|,\s*["\n]))')
_EDGE = 16  # the longest token that a chunk's end can cut and the scanner blames before it: -Infinity, \\ud83d\\ude00


class CutShort(Exception):
    """The stream ended inside a value."""


class NotJson(Exception):
    """What stands here cannot be JSON, and there is no way to go on behind it."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that cannot be read, with the number of the line it begins on."""

    line: int


class JsonReader:
    """A cursor over a JSON stream. What is yielded must be consumed (read or skipped) before going on."""

    def __init__(self, stream: IO[bytes], resync: re.Pattern[str] | None = None) -> None:
        """`resync` matches where the next value of an array begins, used where one is so broken that its end is not
        to be found."""
        self._stream = stream
        self._resync = resync
        self._decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
        self._text = ""
        self._at = 0
        self._is_over = False
        self._n_lines_before = 0
        self.n_bytes = 0
        self.n_repaired = 0
        self.n_lost = 0  # stretches between elements that are no JSON

    # -- walking ----------------------------------------------------------------------------------------------------

    def peek(self) -> str:
        """Return the next character that is not blank, "" at the end."""
        while True:
            self._at = _blank(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; the value of each must be consumed."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() not in ('"', ""):
                raise NotJson
            key, _ = self.value()
            if isinstance(key, Broken):
                raise NotJson
            self._take(":")
            yield str(key)
            if self._take(",}") == "}":
                return

    def items(self) -> Iterator[None]:
        """Stop at each element of the array that begins here; each must be consumed."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            self.peek()
            yield
            if not self._step():
                return

    def elements(self) -> Iterator[tuple[Any, str]]:
        """Yield the elements of the array that begins here, each with its text; an unreadable one is `Broken`."""
        for _ in self.items():
            yield self.value()

    def value(self) -> tuple[Any, str]:
        """Return the value that begins here and its text; `Broken` and "" if it cannot be read."""
        self.peek()
        while True:
            start = self._at
            try:
                found, end = _scan(self._text, start)
            except StopIteration as stop:
                blamed = int(stop.value)
            except json.JSONDecodeError as error:
                blamed = len(self._text) if error.msg.startswith("Unterminated") else error.pos
            except (ValueError, RecursionError):  # a number of thousands of digits, brackets thousands deep
                blamed = start
            else:
                # a number may go on behind the chunk: "1" of "10", of "1.5", of "1e+16"
                is_whole = end + 2 < len(self._text) or (end < len(self._text) and self._text[end] in " ,]}\n\r\t")
                if is_whole or self._is_over:
                    self._at = end
                    return found, self._text[start:end]
                self._fill()
                continue
            if self._is_over and blamed >= len(self._text):
                raise CutShort
            if self._is_over or len(self._text[blamed : blamed + 4096].strip()) > _EDGE:
                return self._mend()
            if len(self._text) - start > MAX_VALUE_CHARS:
                return self._mend()
            self._fill()

    def skip(self) -> None:
        """Pass over the value that begins here, whatever its size."""
        depth = 0
        first = self.peek()
        if first not in ("{", "["):
            self.value()
            return
        while True:
            for token in _TOKEN.finditer(self._text, self._at):
                mark = token[0]
                if mark[0] == '"':
                    if not token[1]:
                        break  # cut by the end of the chunk
                    self._at = token.end()
                    continue
                self._at = token.end()
                depth += 1 if mark in "{[" else -1
                if depth == 0:
                    return
            else:
                self._at = len(self._text)
            if len(self._text) - self._at > MAX_VALUE_CHARS:
                raise NotJson
            if not self._fill():
                raise CutShort

    # -- within -----------------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Read on and forget what lies behind the cursor; False at the end of the stream."""
        if self._is_over:
            return False
        rest = len(self._text) - self._at
        chunk = self._stream.read(max(CHUNK_BYTES, rest))  # as much again, so that long values are scanned few times
        self.n_bytes += len(chunk)
        self._is_over = not chunk
        self._n_lines_before += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + self._decode(chunk, not chunk)
        self._at = 0
        return bool(chunk)

    def _take(self, expected: str) -> str:
        """Step over one of the `expected` characters and return it."""
        mark = self.peek()
        if not mark:
            raise CutShort
        if mark not in expected:
            raise NotJson
        self._at += 1
        return mark

    def _step(self) -> bool:
        """Step to the next element of an array; False behind its last one."""
        mark = self.peek()
        if mark == ",":
            self._at += 1
            return True
        if mark == "]":
            self._at += 1
            return False
        if not mark:
            raise CutShort
        self.n_lost += 1
        self._find_next()
        return True

    def _find_next(self) -> None:
        if self._resync is None:
            raise NotJson
        while True:
            found = self._resync.search(self._text, self._at)
            if found:
                self._at = found.start()
                return
            self._at = max(self._at, len(self._text) - 256)
            if not self._fill():
                raise CutShort

    def _mend(self) -> tuple[Any, str]:
        """Read a value that is wrong: find its end by its brackets, repair it, pass over it if that does not help."""
        line = self._n_lines_before + self._text.count("\n", 0, self._at) + 1
        text = self._outline()
        if text is not None:
            mended = _BARE_NAME.sub(r'\1"\2"', _ESCAPE.sub(r"\g<1>\\u00\2", text))
            try:
                found = json.loads(mended, strict=False)
            except (ValueError, RecursionError):
                self._look_inside(text)
                return Broken(line), ""
            self.n_repaired += 1
            return found, mended
        if self._resync is None:
            raise NotJson if not self._is_over else CutShort
        self._at += 1
        try:
            self._find_next()
        except CutShort:
            self._at = len(self._text)
        else:
            self._pretend_comma(self._at)
        return Broken(line), ""

    def _look_inside(self, text: str) -> None:
        """Go back to where another element begins inside what looked like one (a quote was missing)."""
        inner = self._resync.search(text, 1) if self._resync else None
        if inner:
            self._pretend_comma(self._at - len(text) + inner.start())

    def _pretend_comma(self, at: int) -> None:
        self._n_lines_before += self._text.count("\n", 0, at)
        self._text = "," + self._text[at:]
        self._at = 0

    def _outline(self) -> str | None:
        """Step over the value that begins here, judged by brackets and quotes alone, and return its text."""
        at, depth = self._at, 0
        if self._text[at] not in '{["':  # a bare word
            word = _BARE_WORD.match(self._text, at)
            assert word is not None
            if word.end() == at:
                return None
            self._at = word.end()
            return word[0]
        while True:
            for token in _TOKEN.finditer(self._text, at):
                mark = token[0]
                if mark[0] == '"':
                    if not token[1]:
                        break
                    at = token.end()
                else:
                    at = token.end()
                    depth += 1 if mark in "{[" else -1
                if depth == 0:
                    text = self._text[self._at : at]
                    self._at = at
                    return text
            else:
                at = len(self._text)
            if len(self._text) - self._at > MAX_VALUE_CHARS:
                return None
            at -= self._at
            if not self._fill():
                return None
