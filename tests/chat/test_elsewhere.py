"""Voices that are not our engine: any server that speaks OpenAI's API, and a GGUF file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import Result

from clone.chat.contacts import Contacts
from clone.chat.elsewhere import GgufTokens, UrlVoice
from clone.chat.sampling import Sampling
from clone.chat.server import create_app
from clone.chat.twin import Answer
from clone.errors import HubError, ModelError
from clone.lm.template import header_segments, turn_segments
from clone.lm.tokens import Tokens
from clone.records import Role, Turn
from tests.chat.conftest import make_tokenizer
from tests.chat.serving import serving
from tests.chat.test_page import Scripted
from tests.chat.workspaces import make_run

CONTACTS = Contacts(("amber", "birch"))


@pytest.fixture
def voice() -> Scripted:
    return Scripted()


@pytest.fixture
def url(voice: Scripted) -> Iterator[str]:
    with serving(create_app(voice, CONTACTS, Sampling(), api_key="s3cret")) as address:
        yield f"{address}/v1"


def test_a_server_elsewhere_is_talked_to_like_a_twin(url: str, voice: Scripted) -> None:
    ours = UrlVoice(url, api_key="s3cret")
    assert ours.contacts == ("amber", "birch")
    turns = [Turn(Role.THEM, ("hi", "you?")), Turn(Role.ME, ("yes\nreally",)), Turn(Role.THEM, ("ok",))]
    *pieces, answer = ours.answer("birch", turns, Sampling(temperature=0.3, seed=4, top_k=7), n=2)
    assert isinstance(answer, Answer)
    assert [reply.bubbles for reply in answer.replies] == [("reply 1.0", "ok"), ("reply 1.1", "ok")]
    assert answer.n_prompt_tokens == 11
    assert voice.heard == [turns]
    assert voice.asked_as == ["birch"]
    assert (voice.sampling.temperature, voice.sampling.seed, voice.sampling.top_k) == (0.3, 4, 7)
    assert "".join(p.text for p in pieces if p.candidate == 1 and p.bubble == 0) == "reply 1.1"  # type: ignore[union-attr]


def test_stop_strings_and_cancelling_work_there_too(url: str) -> None:
    ours = UrlVoice(url, api_key="s3cret")
    *_, answer = ours.answer("", [Turn(Role.THEM, ("hey",))], Sampling(), stop=["ly"])
    assert isinstance(answer, Answer)
    assert answer.replies[0].bubbles == ("rep",)
    cancel = threading.Event()
    parts = ours.answer("", [Turn(Role.THEM, ("talk on",))], Sampling(), cancel=cancel)
    next(parts)
    cancel.set()
    *_, answer = parts
    assert isinstance(answer, Answer)
    assert answer.replies[0].finish == "cancelled"


def test_the_command_talks_to_a_server(
    url: str, workspace: Path, clone: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLONE_API_KEY", "s3cret")
    told = json.loads(clone("chat", "--url", url, "--as", "amber", "-m", "hey", "--json").stdout)
    assert told["bubbles"] == ["reply 1.0", "hey"]
    assert told["contact"] == "amber"


def test_what_is_wrong_with_an_address_is_said(url: str) -> None:
    with pytest.raises(ModelError, match="is no address of a server"):
        UrlVoice("localhost:8080")
    with pytest.raises(HubError, match=r"no answer from 127\.0\.0\.1:9"):
        UrlVoice("http://127.0.0.1:9/v1")
    with pytest.raises(ModelError, match="The API key is missing or wrong"):
        UrlVoice(url)
    with pytest.raises(ModelError, match="has no model gpt-5"):
        UrlVoice(url, model="gpt-5", api_key="s3cret")


@contextmanager
def answering(*bodies: bytes) -> Iterator[str]:
    """Yield the address of a server that gives each request the next of `bodies`, and says that more would follow."""
    left = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(10**6 if len(left) == 1 else len(left[0])))
            self.end_headers()
            self.wfile.write(left.pop(0))

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_page_in_place_of_an_api_is_told() -> None:
    for body in (b"<html>hello</html>", b"[1, 2]", b'{"data": [{"name": "x"}]}'):
        with answering(body, b"") as address, pytest.raises(ModelError, match="does not speak OpenAI's API"):
            UrlVoice(address)


@pytest.mark.parametrize("rest", [b"", b"data: {", b"data: {}\n\ndata: not json\n\n"])
def test_a_server_that_breaks_off_is_told(rest: bytes) -> None:
    said = b'data: {"choices": [{"index": 0, "delta": {"content": "so"}}]}\n\n'
    with answering(b'{"data": [{"id": "me"}]}', said + rest) as address:
        parts = UrlVoice(address).answer("", [Turn(Role.THEM, ("hey",))], Sampling())
        assert next(parts).text == "so"  # type: ignore[union-attr]
        with pytest.raises(HubError, match="broke off in the middle"):
            list(parts)


def test_gguf_without_llama_cpp_names_the_extra(workspace: Path, clone: Callable[..., Result]) -> None:
    try:
        import llama_cpp  # noqa: F401
    except ImportError:
        assert "Error: there is no file twin.gguf." in clone("chat", "--gguf", "twin.gguf", "-m", "hey").stderr
        Path("twin.gguf").touch()
        result = clone("chat", "--gguf", "twin.gguf", "-m", "hey")
        assert result.exit_code == 1
        assert "Error: llama-cpp-python is not installed." in result.stderr
        assert 'pip install "clone[llama]"' in result.stderr


def test_a_gguf_file_answers_as_the_engine_does(workspace: Path, clone: Callable[..., Result]) -> None:
    pytest.importorskip("llama_cpp")
    make_run(workspace)
    path = json.loads(clone("export", "gguf", "--kind", "F16", "--json").stdout)["path"]
    greedy = ("-m", "hey", "--temperature", "0", "--max-reply-tokens", "8", "--json")
    ours = json.loads(clone("chat", *greedy).stdout)
    theirs = json.loads(clone("chat", "--gguf", path, *greedy).stdout)
    assert theirs["bubbles"] == ours["bubbles"]


class OneOfLlamaCpp:
    """What `GgufTokens` asks of llama.cpp's model, over the tokenizer of the tests."""

    def __init__(self) -> None:
        self.tokenizer = make_tokenizer()
        self._model = self

    def n_vocab(self) -> int:
        return self.tokenizer.get_vocab_size() + 2

    def token_get_text(self, i: int) -> str:
        return self.tokenizer.id_to_token(i) or f"[PAD{i}]"

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        assert not add_bos
        assert not special
        return list(self.tokenizer.encode(text.decode(), add_special_tokens=False).ids)

    def detokenize(self, ids: list[int]) -> bytes:
        return self.tokenizer.decode(ids).encode()


def test_a_gguf_file_is_prompted_with_the_ids_of_training() -> None:
    ours, theirs = Tokens(make_tokenizer()), GgufTokens(OneOfLlamaCpp(), "twin.gguf")
    said = [*header_segments("amber"), *turn_segments(Turn(Role.THEM, ("hey", "are you there?")), is_learned=False)]
    assert theirs.encode(said).ids == ours.encode(said).ids
    assert theirs.n_tokens == ours.n_tokens
    assert theirs.decode(theirs.encode_text("see you 🙂")) == "see you 🙂"
