"""Downloading a base, from a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clone.errors import HubError, ModelError
from clone.lm.base import resolve_base
from tests.lm.test_convert import build

NAME = "tiiuae/falcon-7b"
SHA = "0" * 39 + "1"


@dataclass
class Hub:
    """A hub of one repository, which can be gated, missing, or cut files short."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    error: tuple[int, str] | None = None
    cut_short: str = ""
    asked: list[str] = field(default_factory=list)

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(f"{request.command} {path}")
        if self.error:
            status, code = self.error
            request.send_response(status)
            request.send_header("X-Error-Code", code)
            request.send_header("X-Error-Message", code)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if path.startswith("/api/models/"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
            body = json.dumps({"id": NAME, "modelId": NAME, "sha": SHA, "siblings": siblings}).encode()
            headers = {"Content-Type": "application/json"}
        else:
            name = path.rpartition("/")[2]
            body = self.files[name]
            if name == self.cut_short:
                body = body[: len(body) // 2]
            headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": SHA}
        request.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    build("falcon", tmp_path / "source")
    held = Hub(files={p.name: p.read_bytes() for p in (tmp_path / "source").iterdir()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            held.serve(self)

        def do_HEAD(self) -> None:
            held.serve(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield held
    server.shutdown()
    server.server_close()


def test_a_base_is_downloaded_once_and_its_size_said_first(hub: Hub, tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = b"never read"
    said: list[str] = []
    base = resolve_base(NAME, tmp_path / "bases", on_note=said.append, endpoint=hub.url)
    assert base.path == tmp_path / "bases" / NAME
    assert (base.name, base.revision, base.shape.n_layer) == (NAME, SHA, 3)
    assert said == [f"{NAME}: 0.0 GB from the hub, kept in its cache."]
    assert not any("pytorch_model.bin" in line for line in hub.asked)
    hub.asked.clear()
    assert resolve_base(NAME, tmp_path / "bases", endpoint=hub.url) == base
    assert hub.asked == []


def test_a_gated_base_is_explained(hub: Hub, tmp_path: Path) -> None:
    hub.error = (403, "GatedRepo")
    with pytest.raises(HubError) as caught:
        resolve_base(NAME, tmp_path / "bases", endpoint=hub.url)
    assert caught.value.message == f"{NAME} is gated: its authors ask you to accept their terms first."
    assert "hf auth login" in caught.value.hint


def test_a_missing_base_is_explained(hub: Hub, tmp_path: Path) -> None:
    hub.error = (404, "RepoNotFound")
    with pytest.raises(HubError, match=f"the hub has no {NAME}, or it is private"):
        resolve_base(NAME, tmp_path / "bases", endpoint=hub.url)


def test_a_file_that_arrives_cut_off_is_noticed(hub: Hub, tmp_path: Path) -> None:
    hub.cut_short = "model.safetensors"
    with pytest.raises(HubError, match=r"did not arrive whole: model\.safetensors is missing or cut off"):
        resolve_base(NAME, tmp_path / "bases", endpoint=hub.url)
    assert not (tmp_path / "bases" / NAME).exists()


def test_without_a_hub_what_is_cached_is_used(hub: Hub, tmp_path: Path) -> None:
    resolve_base(NAME, tmp_path / "bases", endpoint=hub.url)
    base = resolve_base(NAME, tmp_path / "others", endpoint="http://127.0.0.1:9")
    assert base.shape.n_layer == 3


def test_without_a_hub_and_a_cache_it_says_so(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=f"the hub cannot be reached for {NAME}"):
        resolve_base(NAME, tmp_path / "bases", endpoint="http://127.0.0.1:9")


def test_a_cache_that_lacks_pieces_is_not_taken_for_whole(hub: Hub, tmp_path: Path) -> None:
    resolve_base(NAME, tmp_path / "bases", endpoint=hub.url)
    for path in (tmp_path / "cache").rglob("model.safetensors"):
        path.unlink()
    with pytest.raises(HubError, match="the hub cannot be reached"):
        resolve_base(NAME, tmp_path / "others", endpoint="http://127.0.0.1:9")


def test_a_name_that_litgpt_does_not_know_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_base("tiiuae/falcon-7", tmp_path)
    assert caught.value.message == "LitGPT knows no base tiiuae/falcon-7."
    assert "tiiuae/falcon-7b" in caught.value.hint


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no base at \./nothing\."):
        resolve_base("./nothing", tmp_path)
