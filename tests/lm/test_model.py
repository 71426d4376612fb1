"""Our transformer against LitGPT's, shape by shape, with the same weights."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import torch
from litgpt.config import Config
from litgpt.model import GPT

from clone.errors import ModelError
from clone.lm.model import Transformer, attend_within
from clone.lm.shape import Shape

SMALL = {"n_layer": 3, "n_embd": 64, "n_head": 4, "head_size": 16, "padded_vocab_size": 96, "block_size": 64}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon-7b": ("falcon-7b", {"n_query_groups": 1, "intermediate_size": 256}),
    "falcon-40b": ("falcon-40b", {"n_query_groups": 2, "intermediate_size": 256}),
    "llama-3.2": ("Llama-3.2-1B", {"n_query_groups": 2, "intermediate_size": 96}),
    "qwen2.5": ("Qwen2.5-0.5B", {"n_query_groups": 2, "intermediate_size": 96}),
    "qwen3": ("Qwen3-0.6B", {"n_query_groups": 2, "intermediate_size": 96}),
    "gemma-2": ("Gemma-2-2b", {"n_query_groups": 2, "intermediate_size": 96, "sliding_window_size": 7,
                "sliding_window_indices": [1, 0, 1]}),
    "gemma-3": ("Gemma-3-1b-it", {"n_query_groups": 1, "intermediate_size": 96, "sliding_window_size": 7,
                "sliding_window_indices": [1, 0, 1], "rope_indices": [1, 0, 1]}),
    "pythia": ("pythia-14m", {"n_query_groups": 4, "intermediate_size": 256}),
    "mistral": ("Mistral-7B-v0.3", {"n_query_groups": 2, "intermediate_size": 96}),
    "olmo-2": ("OLMo-2-1124-7B", {"n_query_groups": 4, "intermediate_size": 96}),
    "phi-2": ("phi-2", {"n_query_groups": 4, "intermediate_size": 256}),
}  # fmt: skip


def pair(family: str, seed: int = 0) -> tuple[GPT, Transformer]:
    name, sizes = FAMILIES[family]
    config = Config.from_name(name, **{**SMALL, **sizes})
    torch.manual_seed(seed)
    theirs = GPT(config)
    for parameter in theirs.parameters():  # norms too: weights of one would hide a norm left out
        torch.nn.init.normal_(parameter, mean=0.1, std=0.2)
    with torch.device("meta"):
        ours = Transformer(Shape.of(asdict(config)))
    ours.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    return theirs.eval(), ours.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_litgpts(family: str) -> None:
    theirs, ours = pair(family)
    ids = torch.randint(0, 96, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(ids[None])[0]
        logits = ours.logits(ours.hidden(ids, torch.arange(40), attend_within))
    assert torch.isfinite(expected).all()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (asdict(Config.from_name("Mixtral-8x7B-v0.1")), "a mixture of experts"),
        (asdict(Config.from_name("pythia-14m")) | {"latent_attention": {"q_lora_rank": 8}}, "latent attention"),
    ],
)
def test_a_base_that_cannot_be_run_is_refused_by_name(fields: dict[str, object], what: str) -> None:
    with pytest.raises(ModelError, match=what):
        Shape.of(fields)
