"""A twin on the embedded base says the same in this project, in LitGPT, in transformers and out of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file

from clone.lm.base import open_base, packaged_base
from clone.lm.model import attend_within
from clone.lm.template import TEMPLATE_VERSION, prompt_segments
from clone.lm.tokens import Tokens
from clone.lm.weights import apply_adapter, merge_adapter, open_model, read_adapter
from clone.records import Role, Turn
from tests.chat.workspaces import make_run

BASE = open_base(packaged_base())
TOKENS = Tokens.load(BASE.path)


@pytest.fixture
def run(workspace: Path) -> Path:
    """A finished run on the embedded base, whose adapter changes a little of what it says."""
    run = make_run(workspace, base="embedded", base_sha256=BASE.sha256)
    generator = torch.Generator().manual_seed(5)
    adapter = {}
    for layer in range(BASE.shape.n_layer):
        for name, (n_out, n_in) in {"attn.qkv": (448, 320), "mlp.proj": (320, 1280)}.items():
            adapter[f"transformer.h.{layer}.{name}.lora_A"] = torch.randn(4, n_in, generator=generator) * 0.02
            adapter[f"transformer.h.{layer}.{name}.lora_B"] = torch.randn(n_out, 4, generator=generator) * 0.02
    meta = {"rank": "4", "alpha": "8.0", "base": "embedded", "base_sha256": BASE.sha256, "template": TEMPLATE_VERSION}
    save_file(adapter, run / "best.safetensors", meta)
    return run


def greedy(logits_of: Callable[[torch.Tensor], torch.Tensor], text: str) -> list[int]:
    ids = TOKENS.encode(prompt_segments("sam", [Turn(Role.THEM, (text,))])).ids
    out: list[int] = []
    with torch.no_grad():
        while len(out) < 10:
            out.append(int(logits_of(torch.tensor(ids + out)).argmax()))
    return out


def test_greedy_text_agrees_among_the_readers(run: Path, clone: Callable[..., Result]) -> None:
    from litgpt import GPT, Config
    from transformers import AutoModelForCausalLM

    ours = open_model(BASE.path, dtype=torch.float32, is_head_tied=True)
    apply_adapter(ours, read_adapter(run / "best.safetensors"), base=BASE.name, base_sha256=BASE.sha256)
    merge_adapter(ours)
    lit = GPT(Config.from_file(BASE.path / "model_config.yaml")).eval()
    lit.load_state_dict(dict(ours.state_dict()))

    hf_path = json.loads(clone("export", "hf", "--json").stdout)["path"]
    gguf_path = Path(json.loads(clone("export", "gguf", "--kind", "F16", "--json").stdout)["path"])
    theirs: Any = AutoModelForCausalLM.from_pretrained(hf_path, dtype=torch.float32).eval()
    of_gguf: Any = AutoModelForCausalLM.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name, dtype=torch.float32
    ).eval()

    readers: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "clone": lambda x: ours.logits(ours.hidden(x, torch.arange(len(x)), attend_within))[-1],
        "litgpt": lambda x: lit(x[None])[0, -1],
        "transformers": lambda x: theirs(x[None]).logits[0, -1],
        "gguf": lambda x: of_gguf(x[None]).logits[0, -1],
    }
    for text in ("did you see the game?", "привет, ты сегодня дома?"):
        said = {name: TOKENS.decode(greedy(logits_of, text)) for name, logits_of in readers.items()}
        assert len(set(said.values())) == 1, said
        assert said["clone"].strip()
