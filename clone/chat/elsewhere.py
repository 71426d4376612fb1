"""Voices that are not our engine: a GGUF file through llama.cpp, and any server that speaks OpenAI's API.

The first speaks in ids and takes the engine's place under `Twin`; the second speaks in text. Neither knows terminals.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clone.chat.engine import Counts, Marks
from clone.chat.sampling import Sampling
from clone.chat.twin import Answer, Finish, Piece, Reply, StopStrings, Twin, marks_of
from clone.errors import HubError, MissingExtra, ModelError
from clone.lm.template import Control, write_bubbles
from clone.lm.tokens import Tokens, find_marks
from clone.records import Role, Turn

# -- a GGUF file ------------------------------------------------------------------------------------------------------


def open_gguf(path: Path, *, n_context: int | None = None) -> Twin:
    """Return the twin in a GGUF file. Raises MissingExtra without llama-cpp-python, ModelError for what is none."""
    if not path.is_file():
        raise ModelError(f"there is no file {path}.", "clone export gguf writes one.")
    try:
        import llama_cpp
    except ImportError:
        raise MissingExtra("llama-cpp-python", "llama") from None
    try:
        model = llama_cpp.Llama(str(path), n_ctx=n_context or 0, verbose=False)
    except ValueError as error:
        raise ModelError(f"llama.cpp cannot read {path.name}.", "Export it again: clone export gguf") from error
    tokens = GgufTokens(model, path.name)
    return Twin(GgufEngine(model, marks_of(tokens)), tokens, path.stem, path.name)  # type: ignore[arg-type]


class GgufTokens(Tokens):
    """The tokenizer inside a GGUF file."""

    def __init__(self, model: Any, where: str) -> None:
        self._model = model
        vocabulary = {model._model.token_get_text(i): i for i in range(model.n_vocab())}

        class Names:
            def token_to_id(self, name: str) -> int | None:
                return vocabulary.get(name)

            def encode(self, *_: object, **__: object) -> Any:
                raise ModelError(f"{where} has no tokens that can mark turns.", "Export it with clone export gguf.")

        self.marks, self._cleans = find_marks(Names(), where)
        self._controls = {self.marks[mark]: mark for mark in Control}
        self._n_tokens = model.n_vocab() - sum(name.startswith("[PAD") for name in vocabulary)

    @property
    def n_tokens(self) -> int:
        return int(self._n_tokens)

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        return [
            list(self._model.tokenize(text.encode(), add_bos=False, special=False)) if text else []
            for text in self.cleaned(texts)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(self._model.detokenize([i for i in ids if i not in self._controls])).decode(errors="replace")


class GgufEngine:
    """llama.cpp in the engine's place: it keeps the last prompt's prefix too, and says candidates in turn."""

    def __init__(self, model: Any, marks: Marks) -> None:
        self._model, self.marks = model, marks
        self.n_context = int(model.n_ctx())
        self._lock = threading.Lock()

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, *, n: int = 1, counts: Counts | None = None
    ) -> Iterator[list[int | None]]:
        """Yield the next id of each candidate, as `Engine.generate` does."""
        import llama_cpp

        counts = counts or Counts()
        counts.n_prompt = len(prompt)
        never = sorted(self.marks.never_first)

        def forbid(ids: Any, scores: Any) -> Any:
            scores[self.marks.n_tokens :] = -float("inf")  # rows that only pad the vocabulary
            if len(ids) == len(prompt):
                scores[never] = -float("inf")
            return scores

        with self._lock:
            for row in range(n):
                if sampling.seed is not None:
                    self._model.set_seed(sampling.seed + row)
                ids = self._model.generate(
                    list(prompt),
                    top_k=sampling.top_k or 0,
                    top_p=sampling.top_p,
                    min_p=sampling.min_p,
                    temp=sampling.temperature,
                    repeat_penalty=sampling.repetition_penalty,
                    frequency_penalty=sampling.frequency_penalty,
                    presence_penalty=sampling.presence_penalty,
                    logits_processor=llama_cpp.LogitsProcessorList([forbid]),
                )
                for i, token_id in enumerate(ids):
                    yield [int(token_id) if at == row else None for at in range(n)]
                    if token_id in self.marks.stops or i + 1 >= min(sampling.max_tokens, self.n_context - len(prompt)):
                        break


# -- a server elsewhere -----------------------------------------------------------------------------------------------


class UrlVoice:
    """A model behind an OpenAI-compatible address. What is said goes there; nothing else does."""

    def __init__(
        self, url: str, *, model: str | None = None, api_key: str | None = None, timeout_s: float = 120
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError(f"{url} is no address of a server.", "For example: --url http://127.0.0.1:8080/v1")
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout_s = timeout_s
        try:
            with self._open("/models", None) as response:
                listed = json.loads(response.read())
            self._models = [str(item["id"]) for item in listed.get("data", ())]
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise ModelError(f"{url} does not speak OpenAI's API.", "Is /v1 part of the address?") from error
        if model is not None and model not in self._models:
            raise ModelError(
                f"{parts.netloc} has no model {model}.", f"It has {', '.join(self._models[:5]) or 'none'}."
            )
        if not self._models:
            raise ModelError(f"{parts.netloc} offers no model.", "Load one there first.")
        self._model = model
        self.name = parts.netloc
        self.base = model or self._models[0]
        self.contacts = tuple(name.removeprefix("me:") for name in self._models if name.startswith("me:"))
        is_here = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self.notes = () if is_here else (f"what you say goes to {parts.netloc}",)

    def answer(
        self,
        contact: str,
        turns: Sequence[Turn],
        sampling: Sampling,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        cancel: threading.Event | None = None,
    ) -> Iterator[Piece | Answer]:
        """Yield pieces as they come; each line of the text is a bubble."""
        started = time.perf_counter()
        body = self._body(contact, turns, sampling, n)
        tracks = [_Lines(i, stop) for i in range(n)]
        first_token_s = 0.0
        usage: dict[str, Any] = {}
        n_pieces = [0] * n
        with self._open("/chat/completions", body) as response:
            for event in self._events(response):
                usage = event.get("usage") or usage
                for choice in event.get("choices", ()):
                    track = tracks[choice.get("index", 0)]
                    text = (choice.get("delta") or {}).get("content") or ""
                    if text:
                        first_token_s = first_token_s or time.perf_counter() - started
                        n_pieces[track.index] += 1
                        yield from track.push(text)
                    if choice.get("finish_reason") and track.finish is None:
                        track.finish = "stop" if choice["finish_reason"] == "stop" else "length"
                if cancel is not None and cancel.is_set():
                    break
        is_cancelled = cancel is not None and cancel.is_set()
        replies = []
        for track in tracks:
            yield from track.flush()
            finish: Finish = track.finish or ("cancelled" if is_cancelled else "length")
            replies.append(Reply(track.bubbles(), finish, n_pieces[track.index]))
        details = usage.get("prompt_tokens_details") or {}
        yield Answer(
            tuple(replies),
            int(usage.get("prompt_tokens") or 0),
            int(details.get("cached_tokens") or 0),
            0,
            first_token_s,
            time.perf_counter() - started,
        )

    def _body(self, contact: str, turns: Sequence[Turn], sampling: Sampling, n: int) -> dict[str, Any]:
        ours = f"me:{contact}"
        body: dict[str, Any] = {
            "model": self._model or (ours if ours in self._models else self._models[0]),
            "messages": [
                {"role": "assistant" if turn.role is Role.ME else "user", "content": write_bubbles(turn.bubbles)}
                for turn in turns
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
        }
        if n > 1:
            body["n"] = n
        more = {"seed": sampling.seed, "top_k": sampling.top_k, "min_p": sampling.min_p or None}
        return body | {name: value for name, value in more.items() if value is not None}

    def _events(self, response: Any) -> Iterator[dict[str, Any]]:
        """Yield the objects of a stream of server-sent events. Raises HubError where it breaks off."""
        is_over = False
        try:
            for raw in response:
                line = raw.decode(errors="replace").strip()
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                event = json.loads(data)
                if "error" in event:
                    raise ModelError(f"the server failed: {event['error'].get('message', 'no reason given')}")
                is_over = is_over or any(choice.get("finish_reason") for choice in event.get("choices", ()))
                yield event
            if not is_over:
                raise EOFError
        except (EOFError, OSError, HTTPException, ValueError) as error:
            raise HubError(
                f"{urlsplit(self._url).netloc} broke off in the middle of its answer.", "Is the server still running?"
            ) from error

    def _open(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=self._headers)
        try:
            return urllib.request.urlopen(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            raise ModelError(f"the server refused: {_told(error)}", "See what it logs, and --model.") from error
        except (urllib.error.URLError, OSError) as error:
            raise HubError(
                f"no answer from {urlsplit(self._url).netloc} ({getattr(error, 'reason', error)}).",
                "Is the server running, and is /v1 part of the address?",
            ) from error


class _Lines:
    """One candidate on its way from streamed text to bubbles."""

    def __init__(self, index: int, stop: Sequence[str]) -> None:
        self.index = index
        self.finish: Finish | None = None
        self._held = StopStrings([text for text in stop if text])
        self._lines = [""]

    def push(self, text: str) -> Iterator[Piece]:
        if self.finish is None:
            shown, is_stopped = self._held.push(text)
            yield from self._show(shown)
            if is_stopped:
                self.finish = "stop"

    def flush(self) -> Iterator[Piece]:
        yield from self._show(self._held.flush())

    def _show(self, text: str) -> Iterator[Piece]:
        for i, part in enumerate(text.split("\n")):
            if i and self._lines[-1].strip():
                self._lines.append("")
            if not self._lines[-1]:
                part = part.lstrip()
            if part:
                self._lines[-1] += part
                yield Piece(self.index, len(self._lines) - 1, part)

    def bubbles(self) -> tuple[str, ...]:
        return tuple(line for raw in self._lines if (line := raw.rstrip()))


def _told(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
