"""The server, spoken to by the real OpenAI client over a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
import schemathesis
from click.testing import Result
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from clone.chat.contacts import Contacts
from clone.chat.disclosure import LABEL, THIRD_PERSON_LABEL
from clone.chat.engine import EagerRunner, Engine
from clone.chat.sampling import Sampling
from clone.chat.server import create_app
from clone.chat.twin import Twin, marks_of
from clone.errors import HardwareError
from clone.lm.tokens import Tokens
from clone.records import Role, Turn
from tests.chat.conftest import make_model, make_tokenizer
from tests.chat.serving import serving
from tests.chat.test_repl import Parrot
from tests.chat.workspaces import make_run

CONTACTS = Contacts(("amber", "birch"), lambda: {"birch": "Anna Berg"})
HEY = [{"role": "user", "content": "hey"}]
DEFAULT = Sampling(temperature=0.8, max_tokens=24)


def make_twin() -> Twin:
    tokens = Tokens(make_tokenizer())
    return Twin(Engine(EagerRunner(make_model()), marks_of(tokens)), tokens, "default/run", "tiny", ("amber", "birch"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(make_twin(), CONTACTS, DEFAULT, started_at=1)) as address:
        yield address


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def test_models_are_me_and_one_for_each_contact(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["me", "me:amber", "me:birch"]
    assert client.models.retrieve("me:birch").id == "me:birch"
    assert models[2].name == "Anna Berg"  # type: ignore[attr-defined]


def test_a_model_nobody_made_is_a_404_in_openais_shape(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4", messages=HEY)  # type: ignore[arg-type]
    assert caught.value.code == "model_not_found"
    assert "The model 'gpt-4' does not exist." in str(caught.value)


def test_streaming_says_what_the_whole_response_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="me:amber", messages=HEY, seed=5, n=2)  # type: ignore[arg-type]
    texts = ["", ""]
    finishes = {}
    usage = None
    for chunk in client.chat.completions.create(
        model="me:amber",
        messages=HEY,  # type: ignore[arg-type]
        seed=5,
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes.get(choice.index)
    assert [text.rstrip() for text in texts] == [choice.message.content.rstrip() for choice in whole.choices]  # type: ignore[union-attr]
    assert [finishes[i] for i in range(2)] == [choice.finish_reason for choice in whole.choices]
    assert usage is not None
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_longest_reply_is_kept_and_said(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="me", messages=HEY, max_tokens=3, seed=1)  # type: ignore[arg-type]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    same = client.chat.completions.create(model="me", messages=HEY, max_completion_tokens=3, seed=1)  # type: ignore[arg-type]
    assert same.choices[0].message.content == answer.choices[0].message.content


def test_temperature_zero_is_greedy(client: openai.OpenAI) -> None:
    def once() -> str | None:
        return client.chat.completions.create(model="me", messages=HEY, temperature=0).choices[0].message.content  # type: ignore[arg-type]

    assert once() == once()


def test_a_stop_string_ends_the_reply_before_it(client: openai.OpenAI) -> None:
    def ask(stop: list[str] | None) -> str:
        answer = client.chat.completions.create(
            model="me",
            messages=HEY,  # type: ignore[arg-type]
            temperature=0,
            max_tokens=40,
            stop=stop,
        )
        assert stop is None or answer.choices[0].finish_reason == "stop"
        return answer.choices[0].message.content or ""

    whole = ask(None)
    stop = whole[5:7]
    assert ask([stop]) == whole[: whole.index(stop)].rstrip()


def test_later_turns_come_from_the_cache(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="me", messages=HEY, temperature=0, max_tokens=8)  # type: ignore[arg-type]
    talk = [*HEY, {"role": "assistant", "content": first.choices[0].message.content}, {"role": "user", "content": "ok"}]
    later = client.chat.completions.create(model="me", messages=talk, temperature=0, max_tokens=8)  # type: ignore[arg-type]
    assert later.usage is not None
    assert later.usage.prompt_tokens_details is not None
    assert (later.usage.prompt_tokens_details.cached_tokens or 0) >= 5


def test_completions_take_what_the_contact_says(client: openai.OpenAI) -> None:
    one = client.completions.create(model="me:amber", prompt="hey", seed=3, max_tokens=10)
    assert one.object == "text_completion"
    chat = client.chat.completions.create(model="me:amber", messages=HEY, seed=3, max_tokens=10)  # type: ignore[arg-type]
    assert one.choices[0].text == chat.choices[0].message.content
    several = client.completions.create(model="me", prompt=["hey", "ok"], n=2, max_tokens=5, echo=True)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[2].text.startswith("ok\n")
    streamed = list(client.completions.create(model="me:amber", prompt="hey", seed=3, max_tokens=10, stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed).rstrip() == one.choices[0].text.rstrip()


def test_ten_clients_at_once_are_all_answered(client: openai.OpenAI) -> None:
    def ask(i: int) -> str:
        parts = client.chat.completions.create(
            model="me",
            messages=[{"role": "user", "content": f"number {i}"}],
            temperature=0,
            max_tokens=12,
            stream=True,
        )
        return "".join(part.choices[0].delta.content or "" for part in parts if part.choices)

    alone = [ask(i) for i in range(10)]
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(ask, range(10))) == alone


class Slow(Parrot):
    """Says a word every hundredth of a second, without end."""

    def answer(self, contact, turns, sampling, *, n=1, stop=(), cancel=None):  # type: ignore[no-untyped-def]
        from clone.chat.twin import Answer, Piece, Reply

        self.heard.append(list(turns))
        for i in range(2000):
            if cancel.is_set():
                break
            yield Piece(0, 0, f"{i} ")
            time.sleep(0.01)
        yield Answer((Reply(("…",), "cancelled", i),), 1, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_goes_away_frees_the_twin(is_stream: bool) -> None:
    app = create_app(Slow(), CONTACTS, DEFAULT)
    with serving(app) as address:
        body = {"model": "me", "messages": HEY, "stream": is_stream}
        if is_stream:
            with httpx.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{address}/v1/chat/completions", json=body, timeout=0.3)
        deadline = time.monotonic() + 5
        while not app.state.desk.n_cancelled and time.monotonic() < deadline:
            time.sleep(0.02)
        assert app.state.desk.n_cancelled == 1


def test_who_leaves_the_queue_is_never_answered() -> None:
    voice = Slow()
    app = create_app(voice, CONTACTS, DEFAULT)
    with serving(app) as address:
        with httpx.stream(
            "POST", f"{address}/v1/chat/completions", json={"model": "me", "messages": HEY, "stream": True}
        ):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{address}/v1/chat/completions", json={"model": "me", "messages": HEY}, timeout=0.3)
            time.sleep(0.4)
        deadline = time.monotonic() + 5
        while app.state.desk.n_cancelled < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(voice.heard) == 1


def test_a_dead_gpu_is_a_503_and_the_next_request_is_served() -> None:
    class Dead(Parrot):
        def answer(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            if not self.heard:
                self.heard.append([])
                raise HardwareError("the device cuda failed: an illegal memory access.", "Start again.")
            yield from super().answer(*args, **kwargs)

    with serving(create_app(Dead(), CONTACTS, DEFAULT)) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="me", messages=HEY)  # type: ignore[arg-type]
        assert caught.value.status_code == 503
        assert "illegal memory access" in str(caught.value)
        assert client.chat.completions.create(model="me", messages=HEY).choices[0].message.content == "reply 2.0\nhey"  # type: ignore[arg-type]


# -- what the model sees ---------------------------------------------------------------------------------------------


def test_bubbles_go_in_and_out_as_lines() -> None:
    voice = Parrot()
    with serving(create_app(voice, CONTACTS, DEFAULT)) as address:
        talk = [
            {"role": "system", "content": "You are a pirate."},
            {"role": "user", "content": [{"type": "text", "text": "hi\nyou there?"}]},
            {"role": "assistant", "content": "yes\nwhat's\n\tup"},
            {"role": "user", "content": "nothing"},
        ]
        answer = httpx.post(f"{address}/v1/chat/completions", json={"model": "me:birch", "messages": talk}).json()
    assert voice.heard == [
        [Turn(Role.THEM, ("hi", "you there?")), Turn(Role.ME, ("yes", "what's\nup")), Turn(Role.THEM, ("nothing",))]
    ]
    assert voice.asked_as == ["birch"]
    assert answer["choices"][0]["message"]["bubbles"] == ["reply 1.0", "nothing"]
    assert answer["choices"][0]["message"]["is_ai"] is True


@pytest.mark.parametrize("is_stream", [True, False])
def test_asked_whether_it_is_an_ai_the_server_says_so_without_the_model(is_stream: bool) -> None:
    voice = Parrot()
    with serving(create_app(voice, CONTACTS, DEFAULT)) as address:
        body = {"model": "me", "messages": [{"role": "user", "content": "bist du eine KI?"}], "stream": is_stream}
        said = httpx.post(f"{address}/v1/chat/completions", json=body).text
        assert f"{LABEL} Ja, ich bin eine KI" in said
        assert voice.heard == []
        talk = [
            {"role": "user", "content": "bist du eine KI?"},
            {"role": "assistant", "content": f"{LABEL} Ja, ich bin eine KI"},
            {"role": "user", "content": "ok"},
        ]
        httpx.post(f"{address}/v1/chat/completions", json={"model": "me", "messages": talk})
    assert voice.heard == [[Turn(Role.THEM, ("ok",))]]


def test_what_others_may_read_is_labelled_and_tells_no_real_name() -> None:
    voice = Parrot()
    with serving(create_app(voice, CONTACTS, DEFAULT, api_key="s3cret", is_public=True)) as address:
        headers = {"Authorization": "Bearer s3cret"}
        body = {"model": "me", "messages": HEY}
        first = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers).json()
        text = first["choices"][0]["message"]["content"]
        assert text.startswith(f"{THIRD_PERSON_LABEL}\n")
        talk = [*HEY, {"role": "assistant", "content": text}, {"role": "user", "content": "ok"}]
        later = httpx.post(f"{address}/v1/chat/completions", json={"model": "me", "messages": talk}, headers=headers)
        assert LABEL not in later.json()["choices"][0]["message"]["content"]
        assert THIRD_PERSON_LABEL not in str(voice.heard[1])
        names = [model["name"] for model in httpx.get(f"{address}/v1/models", headers=headers).json()["data"]]
        assert "Anna Berg" not in names


# -- who may ask -----------------------------------------------------------------------------------------------------


def test_a_key_is_asked_for_where_there_is_one() -> None:
    with serving(create_app(Parrot(), CONTACTS, DEFAULT, api_key="s3cret")) as address:
        wrong = openai.OpenAI(base_url=f"{address}/v1", api_key="guess", max_retries=0)
        with pytest.raises(openai.AuthenticationError) as caught:
            wrong.models.list()
        assert caught.value.code == "invalid_api_key"
        right = openai.OpenAI(base_url=f"{address}/v1", api_key="s3cret", max_retries=0)
        assert len(right.models.list().data) == 3
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_a_page_elsewhere_cannot_reach_it_under_its_own_name(url: str) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[", "a@evil.example"):
        refused = httpx.get(f"{url}/v1/models", headers={"Host": host})
        assert refused.status_code == 400, host
        if host == "evil.example":
            assert "127.0.0.1 or localhost only" in refused.json()["error"]["message"]
    for host in ("127.0.0.1:9", "LOCALHOST", "[::1]:8765", "[::1]"):
        assert httpx.get(f"{url}/v1/models", headers={"Host": host}).status_code == 200, host
    plain = httpx.post(f"{url}/v1/chat/completions", content=json.dumps({"model": "me", "messages": HEY}).encode())
    assert plain.status_code == 400  # a form of another page cannot set a JSON content type without asking first


def test_the_page_asks_nothing_of_other_hosts(url: str) -> None:
    for name in ("", "page.js", "page.css"):
        response = httpx.get(f"{url}/{name}")
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "http://" not in response.text
        assert "https://" not in response.text


def test_health_says_what_answers(url: str) -> None:
    assert httpx.get(f"{url}/healthz").json()["run"] == "default/run"


# -- malformed bodies ------------------------------------------------------------------------------------------------

schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(Parrot(), CONTACTS, DEFAULT))


@schema.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_of_any_shape_breaks_the_server(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=[not_a_server_error, status_code_conformance, response_schema_conformance])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": HEY}, "model"),
        ({"model": "me"}, "messages"),
        ({"model": "me", "messages": []}, "messages"),
        ({"model": "me", "messages": HEY, "temperature": 9}, "temperature"),
        ({"model": "me", "messages": HEY, "n": 0}, "n"),
        ({"model": "me", "messages": HEY, "tools": [{}]}, "tools"),
        ({"model": "me", "messages": [*HEY, {"role": "assistant", "content": "x"}]}, "messages"),
        ({"model": "me", "messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
    ],
)
def test_a_mistake_is_named_in_openais_shape(url: str, body: dict[str, object], param: str) -> None:
    response = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": "me", "messages": 3}'])
def test_what_is_no_request_is_a_400(url: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{url}/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert "message" in response.json()["error"]


def test_a_body_without_end_is_refused_unread(url: str) -> None:
    response = httpx.post(f"{url}/v1/chat/completions", content=b"x" * (5 * 2**20))
    assert response.status_code == 413


def test_unknown_paths_and_methods_answer_in_openais_shape(url: str) -> None:
    assert httpx.get(f"{url}/v1/nothing").json()["error"]["message"] == "Not Found"
    assert httpx.get(f"{url}/v1/chat/completions").status_code == 405


# -- the command -----------------------------------------------------------------------------------------------------


def test_another_host_needs_a_key(workspace: Path, clone: Callable[..., Result]) -> None:
    make_run(workspace)
    result = clone("serve", "--host", "0.0.0.0")
    assert result.exit_code == 1
    assert "Error: whoever reaches 0.0.0.0 could talk to your twin." in result.stderr
    assert "Hint: Set CLONE_API_KEY to a long secret first, or leave out --host." in result.stderr


def test_a_port_in_use_is_said(workspace: Path, clone: Callable[..., Result]) -> None:
    make_run(workspace)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = clone("serve", "--port", str(port))
    assert result.exit_code == 1
    assert f"Error: port {port} of 127.0.0.1 cannot be listened on: Address already in use." in result.stderr
    assert "Hint: Choose another with --port" in result.stderr


def test_serve_before_any_run_says_what_to_type(workspace: Path, clone: Callable[..., Result]) -> None:
    result = clone("serve")
    assert result.exit_code == 4
    assert "Hint: clone finetune" in result.stderr


def test_the_command_serves_a_run(workspace: Path, clone: Callable[..., Result]) -> None:
    make_run(workspace)
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "clone", "serve", "--port", "0", "--json", "--quiet"],
        cwd=workspace,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert process.stdout is not None
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        told = json.loads(process.stdout.readline())
        answer = httpx.post(
            f"{told['api']}/chat/completions", json={"model": "me:amber", "messages": HEY, "max_tokens": 4}, timeout=30
        )
        assert answer.status_code == 200
    finally:
        timer.cancel()
        process.terminate()
        process.wait(10)
