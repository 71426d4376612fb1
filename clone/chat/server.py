"""The twin behind HTTP: OpenAI's API for whatever speaks it, and one page for people.

One process, one worker thread that owns the voice, and one queue in front of it. A request that nobody waits for any
more is cancelled at its next token. The only module that knows FastAPI.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import queue
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from clone import __version__
from clone.chat.contacts import Contacts
from clone.chat.disclosure import THIRD_PERSON_LABEL, answer_to, is_disclosure
from clone.chat.sampling import Sampling
from clone.chat.twin import Answer, Piece, Voice, as_turns
from clone.errors import CloneError
from clone.lm.template import read_bubbles
from clone.records import Role, Turn

PAGE = Path(__file__).parent / "page"
ME = "me"  # the model of somebody unknown; "me:<contact>" talks to a contact
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TEST_HOST = "testserver"  # how Starlette's own client calls what it tests
_MAX_BODY = 4 * 2**20  # bytes
_POLL_S = 0.2

_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"


# -- what strangers send ---------------------------------------------------------------------------------------------


_SAMPLED = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "frequency_penalty", "presence_penalty", "max_tokens"),
)


class TextPart(BaseModel):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message. A twin has no system prompt: `system` and `developer` messages are passed over."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


StopList = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=16)]


class _Wishes(BaseModel):
    """What both kinds of request may ask for. Fields that mean nothing to a twin are ignored, as OpenAI does."""

    model_config = ConfigDict(extra="ignore", strict=False)

    model: str = Field(max_length=200)
    temperature: float | None = Field(None, ge=0, le=5, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=1, le=1_000_000)
    min_p: float | None = Field(None, ge=0, lt=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    frequency_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    presence_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=16)
    stop: str | StopList | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)

    def sampling(self, default: Sampling) -> Sampling:
        asked = {name: value for name in _SAMPLED if (value := getattr(self, name)) is not None}
        if self.seed is not None:
            asked["seed"] = self.seed % 2**63
        return replace(default, **asked)

    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(_Wishes):
    """The body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=10_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    tools: list[Any] | None = Field(None, description="A twin calls no tools.", json_schema_extra={"maxItems": 0})
    logprobs: Literal[False] | None = None

    @field_validator("tools")
    @classmethod
    def _calls_no_tools(cls, tools: list[Any] | None) -> list[Any] | None:
        if tools:
            raise ValueError("a twin calls no tools")
        return tools

    def sampling(self, default: Sampling) -> Sampling:
        sampling = super().sampling(default)
        longest = self.max_completion_tokens
        return sampling if longest is None else replace(sampling, max_tokens=longest)


class CompletionRequest(_Wishes):
    """The body of /v1/completions. The prompt is what the contact says; the completion is the twin's turn."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=16)] = ""
    echo: bool | None = None
    logprobs: Literal[None] = None


# -- the desk --------------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """One prompt in the queue, and where its parts go."""

    contact: str
    turns: Sequence[Turn]
    sampling: Sampling
    n: int
    stop: tuple[str, ...]
    loop: asyncio.AbstractEventLoop
    parts: asyncio.Queue[Piece | Answer | Exception] = field(default_factory=asyncio.Queue)
    cancel: threading.Event = field(default_factory=threading.Event)

    def put(self, part: Piece | Answer | Exception) -> None:
        try:
            self.loop.call_soon_threadsafe(self.parts.put_nowait, part)
        except RuntimeError:  # the loop is closed: nobody is left to read
            self.cancel.set()


class Desk:
    """The one thread that talks to the voice; jobs come in their order."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self.n_done = 0
        self.n_cancelled = 0
        self._thread = threading.Thread(target=self._work, name="twin", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        return self._jobs.qsize()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.cancel.is_set():  # who asked went away while waiting
                self.n_cancelled += 1
                continue
            try:
                for part in self.voice.answer(
                    job.contact, job.turns, job.sampling, n=job.n, stop=job.stop, cancel=job.cancel
                ):
                    job.put(part)
            except Exception as error:  # whatever it is, the one who waits must hear of it, and the next is served
                job.put(error)
            self.n_cancelled += job.cancel.is_set()
            self.n_done += 1


# -- the application -------------------------------------------------------------------------------------------------


class ApiError(Exception):
    """A refusal in OpenAI's shape."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "message": message,
                "type": kind or ("invalid_request_error" if status < 500 else "server_error"),
                "param": param,
                "code": code,
            }
        }


class Guard:
    """What every request passes: the name it came under, the key, the size of its body, and the marks on what goes out.

    Plain ASGI, since Starlette's own wrapper for middleware hides from a handler that its client has gone.
    """

    def __init__(self, app: ASGIApp, api_key: str | None, is_public: bool) -> None:
        self._app = app
        self._is_public = is_public
        self._key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # a page elsewhere must not reach this machine under a name of its own (DNS rebinding)
        if not self._is_public and _host(headers) not in (*LOOPBACK, _TEST_HOST):
            refusal = _refuse(ApiError(400, "This twin is served as 127.0.0.1 or localhost only; see --host."))
            await refusal(scope, receive, send)
            return
        if self._key is not None and scope["path"].startswith("/v1/"):
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._key):
                refusal = _refuse(ApiError(401, "The API key is missing or wrong.", code="invalid_api_key"))
                await refusal(scope, receive, send)
                return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            await _refuse(ApiError(413, f"The body may have {_MAX_BODY:,} bytes at most."))(scope, receive, send)
            return
        n_read = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > _MAX_BODY:  # a body that did not say how long it is
                raise HTTPException(413, f"The body may have {_MAX_BODY:,} bytes at most.")
            return message

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out["X-Generated-By"] = "ai"
                out["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, counted, marked)


def create_app(
    voice: Voice,
    contacts: Contacts,
    sampling: Sampling,
    *,
    api_key: str | None = None,
    is_public: bool = False,
    started_at: int = 0,
) -> FastAPI:
    """Return the application for a voice.

    With an `api_key` every request must carry it. `is_public` says that others than the owner may read the replies:
    then a conversation's first reply is labelled, and real names are not told.
    """
    desk = Desk(voice)
    app = FastAPI(title="clone", version=__version__, docs_url=None, redoc_url=None)
    app.state.desk = desk
    app.add_middleware(Guard, api_key=api_key, is_public=is_public)

    @app.exception_handler(ApiError)
    async def on_api_error(request: Request, error: ApiError) -> Response:
        return _refuse(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        # of the ways in which a union is not met the one that came furthest says the most
        first = max(error.errors(), key=lambda found: len(found["loc"]))
        where = [str(part) for part in first["loc"] if part != "body" and not re.search(r"[\[<]", str(part))]
        message = first["msg"].removeprefix("Value error, ")
        return _refuse(ApiError(400, f"{'.'.join(where) or 'the body'}: {message}", param=".".join(where) or None))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        response = _refuse(ApiError(error.status_code, str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    models = {ME: "", **{f"{ME}:{pseudonym}": pseudonym for pseudonym in contacts.pseudonyms}}

    def model_card(name: str) -> dict[str, Any]:
        pseudonym = models[name]
        shown = "somebody" if not pseudonym else pseudonym if is_public else contacts.shown(pseudonym)
        return {
            "id": name,
            "object": "model",
            "created": started_at,
            "owned_by": "clone",
            "contact": pseudonym,
            "name": shown,
            "run": voice.name,
            "base": voice.base,
            "context": getattr(voice, "n_context", None),
            "sampling": {wish: getattr(sampling, wish) for wish in (*_SAMPLED, "seed")},
        }

    def contact_of(model: str) -> str:
        if model not in models:
            known = ", ".join(list(models)[:5])
            raise ApiError(
                404,
                f"The model '{model}' does not exist. There are: {known}{'…' if len(models) > 5 else ''}",
                param="model",
                code="model_not_found",
            )
        return models[model]

    # -- for people ----------------------------------------------------------------------------------------------

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file("index.html")

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        return _file("page.js")

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Response:
        return _file("page.css")

    # -- for programs --------------------------------------------------------------------------------------------

    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": what, "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
        for status, what in {
            400: "The request makes no sense.",
            401: "The API key is missing or wrong.",
            404: "There is no such model.",
            413: "The body is too large.",
            503: "The twin cannot answer.",
        }.items()
    }

    @app.get("/healthz")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "run": voice.name, "waiting": desk.n_waiting, "answered": desk.n_done}

    @app.get("/v1/models", responses={401: errors[401]})
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [model_card(name) for name in models]}

    @app.get("/v1/models/{model}", responses={401: errors[401], 404: errors[404]})
    async def one_model(model: str) -> dict[str, Any]:
        contact_of(model)
        return model_card(model)

    @app.post("/v1/chat/completions", responses=errors)
    async def chat(body: ChatRequest, request: Request) -> Response:
        contact = contact_of(body.model)
        turns = _turns(body.messages)
        if turns and turns[-1].role is Role.ME:
            raise ApiError(400, "messages: the last one must be the user's.", param="messages")
        label = [THIRD_PERSON_LABEL] if is_public and not any(turn.role is Role.ME for turn in turns) else []
        call = _Call("chat.completion", "chatcmpl", body, label)
        disclosure = answer_to(turns[-1].bubbles) if turns else None
        if disclosure is not None:
            return call.fixed(disclosure)
        job = _job(contact, turns, body, sampling)
        desk.submit(job)
        return await call.respond(request, [job])

    @app.post("/v1/completions", responses=errors)
    async def complete(body: CompletionRequest, request: Request) -> Response:
        contact = contact_of(body.model)
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        call = _Call("text_completion", "cmpl", body, [THIRD_PERSON_LABEL] if is_public else [])
        call.echoes = prompts if body.echo else None
        asked = [as_turns([(Role.THEM, read_bubbles(prompt))]) for prompt in prompts]
        if len(asked) == 1 and asked[0] and (disclosure := answer_to(asked[0][-1].bubbles)):
            return call.fixed(disclosure)
        jobs = [_job(contact, turns, body, sampling) for turns in asked]
        for job in jobs:
            desk.submit(job)
        return await call.respond(request, jobs)

    return app


def _turns(messages: Sequence[Message]) -> list[Turn]:
    """Return the conversation that the model sees: our labels, and the questions they answered, are not in it."""
    lines: list[tuple[Role, Sequence[str]]] = []
    for message in messages:
        if message.role not in ("user", "assistant"):
            continue
        bubbles = list(read_bubbles(message.text()))
        if message.role == "assistant":
            if bubbles and bubbles[0].strip() == THIRD_PERSON_LABEL:
                bubbles = bubbles[1:]
            elif bubbles and is_disclosure(bubbles[0]):
                if lines and lines[-1][0] is Role.THEM:
                    lines.pop()
                continue
        lines.append((Role.ME if message.role == "assistant" else Role.THEM, bubbles))
    return as_turns(lines)


def _job(contact: str, turns: Sequence[Turn], wishes: _Wishes, default: Sampling) -> Job:
    return Job(contact, turns, wishes.sampling(default), wishes.n or 1, wishes.stops(), asyncio.get_running_loop())


def _host(headers: Headers) -> str:
    """Return the name under which a request came, without its port."""
    try:
        return urlsplit("//" + headers.get("host", "")).hostname or ""
    except ValueError:
        return ""


def _refuse(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, status_code=error.status)


def _file(name: str) -> Response:
    return FileResponse(PAGE / name, headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-cache"})


class _Call:
    """One request on its way to becoming a response, whole or in pieces."""

    def __init__(self, kind: str, prefix: str, wishes: _Wishes, label: Sequence[str]) -> None:
        self.is_chat = kind == "chat.completion"
        self.is_stream = bool(wishes.stream)
        self.echoes: Sequence[str] | None = None
        self._has_usage = bool(wishes.stream_options and wishes.stream_options.include_usage)
        self._kind = f"{kind}.chunk" if self.is_chat and wishes.stream else kind
        self._head = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": self._kind,
            "created": int(time.time()),
            "model": wishes.model,
        }
        self._looked_at = time.monotonic()  # when it was last asked whether the client is still there
        self._label = "".join(f"{line}\n" for line in label)

    def fixed(self, text: str) -> Response:
        """Return a response that no model was asked for."""
        if not self.is_stream:
            return JSONResponse({**self._head, "choices": [self._choice(0, text, [text], "stop")], "usage": _usage([])})

        async def events() -> AsyncIterator[str]:
            yield self._event(self._delta(0, text, 0, is_first=True))
            yield self._event(self._delta(0, "", 0, finish="stop"))
            if self._has_usage:
                yield self._event([], _usage([]))
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def respond(self, request: Request, jobs: Sequence[Job]) -> Response:
        if self.is_stream:
            # the first part is awaited here, so that a voice that fails at once can still answer with a status
            first = await self._next(jobs[0], request)
            return StreamingResponse(self._events(jobs, first, request), media_type="text/event-stream")
        choices: list[dict[str, Any]] = []
        answers: list[Answer] = []
        for k, job in enumerate(jobs):
            while not isinstance(part := await self._next(job, request), Answer):
                pass
            answers.append(part)
            for reply in part.replies:
                text = self._opening(k) + "\n".join(reply.bubbles)
                choices.append(self._choice(len(choices), text, reply.bubbles, _finish(reply.finish)))
        dropped = sum(answer.n_dropped_turns for answer in answers)
        return JSONResponse(
            {**self._head, "choices": choices, "usage": _usage(answers)},
            headers={"X-Dropped-Turns": str(dropped)},
        )

    async def _events(self, jobs: Sequence[Job], first: Piece | Answer, request: Request) -> AsyncIterator[str]:
        answers: list[Answer] = []
        try:
            for k, job in enumerate(jobs):
                base = k * job.n
                bubbles: dict[int, int] = {}
                part = first if k == 0 else await self._next(job, request)
                for i in range(job.n):
                    yield self._event(self._delta(base + i, self._opening(k), 0, is_first=True))
                while not isinstance(part, Answer):
                    index = base + part.candidate
                    border = "\n" * (part.bubble - bubbles.get(part.candidate, part.bubble))
                    bubbles[part.candidate] = part.bubble
                    yield self._event(self._delta(index, border + part.text, part.bubble))
                    part = await self._next(job, request)
                answers.append(part)
                for i, reply in enumerate(part.replies):
                    yield self._event(self._delta(base + i, "", 0, finish=_finish(reply.finish)))
            if self._has_usage:
                yield self._event([], _usage(answers))
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield f"data: {json.dumps(error.body)}\n\n"
        finally:
            for job in jobs:
                job.cancel.set()

    async def _next(self, job: Job, request: Request) -> Piece | Answer:
        """Return a job's next part; a client that has gone cancels it."""
        while True:
            try:
                if time.monotonic() - self._looked_at > _POLL_S:
                    self._looked_at = time.monotonic()
                    if await request.is_disconnected():
                        job.cancel.set()
                        raise ApiError(499, "The client has gone.")
                part = await asyncio.wait_for(job.parts.get(), _POLL_S)
            except TimeoutError:
                continue
            except asyncio.CancelledError:
                job.cancel.set()
                raise
            if isinstance(part, CloneError):
                raise ApiError(503, f"{part.message} {part.hint}".strip()) from part
            if isinstance(part, Exception):
                raise part
            return part

    def _opening(self, k: int) -> str:
        return (self.echoes[k] + "\n" if self.echoes else "") + self._label

    def _choice(self, index: int, text: str, bubbles: Sequence[str], finish: str) -> dict[str, Any]:
        if not self.is_chat:
            return {"index": index, "text": text, "finish_reason": finish, "logprobs": None}
        message = {"role": "assistant", "content": text, "refusal": None, "bubbles": list(bubbles), "is_ai": True}
        return {"index": index, "message": message, "finish_reason": finish, "logprobs": None}

    def _delta(
        self, index: int, text: str, bubble: int, *, is_first: bool = False, finish: str | None = None
    ) -> list[dict[str, Any]]:
        if not self.is_chat:
            return [{"index": index, "text": text, "finish_reason": finish, "logprobs": None}]
        delta: dict[str, Any] = {"content": text, "bubble": bubble} if not finish else {}
        if is_first:
            delta["role"] = "assistant"
        return [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}]

    def _event(self, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None = None) -> str:
        body: dict[str, Any] = {**self._head, "choices": choices}
        if self._has_usage:
            body["usage"] = usage
        return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _finish(finish: str) -> str:
    return "stop" if finish == "stop" else "length"


def _usage(answers: Sequence[Answer]) -> dict[str, Any]:
    prompt = sum(answer.n_prompt_tokens for answer in answers)
    said = sum(answer.n_tokens for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "dropped_turns": sum(answer.n_dropped_turns for answer in answers),
        "cut_tokens": sum(answer.n_cut_tokens for answer in answers),
        "prompt_tokens_details": {"cached_tokens": sum(answer.n_cached_tokens for answer in answers)},
    }


_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
