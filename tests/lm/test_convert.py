"""Models built by transformers, converted, against transformers' own logits; and the traps on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from clone.errors import ModelError
from clone.lm.base import build_random_base, open_base, resolve_base
from clone.lm.model import attend_within
from clone.lm.weights import open_model, read_weights

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 288,
    "max_position_embeddings": 64,
}
GROUPED: dict[str, Any] = {**SMALL, "intermediate_size": 96, "num_key_value_heads": 2}
FALCON: dict[str, Any] = {**SMALL, "multi_query": True, "parallel_attn": True, "bias": False, "alibi": False}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
GEMMA: dict[str, Any] = {**GROUPED, "head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 16}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]

MODELS: dict[str, Callable[[], Any]] = {
    "falcon": lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON)),
    "falcon-own-head": lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON, tie_word_embeddings=False)),
    "falcon-40b": lambda: hf.FalconForCausalLM(
        hf.FalconConfig(**{**FALCON, "num_kv_heads": 2, "new_decoder_architecture": True})
    ),
    "llama-3": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED, rope_parameters=LLAMA_3_ROPE)),
    "qwen2.5": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED, head_dim=24)),
    "gemma-2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**GEMMA)),
    "gemma-3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**GEMMA, layer_types=LAYERS)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=None)),
    "pythia": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SMALL, intermediate_size=256)),
}


def build(name: str, folder: Path) -> Any:
    """Save a random model and a tokenizer of bytes to `folder`, and return the model."""
    torch.manual_seed(0)
    model = MODELS[name]()
    model.config._attn_implementation = "eager"  # the others leave out Gemma's soft capping
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.2)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(ALPHABET))}, merges=[]))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return model.eval()


ALPHABET = pre_tokenizers.ByteLevel.alphabet()
IDS = torch.randint(0, 256, (40,), generator=torch.Generator().manual_seed(0))


def logits_of(folder: Path, bases: Path) -> torch.Tensor:
    base = resolve_base(str(folder), bases)
    model = open_model(base.path, is_head_tied=base.is_head_tied)
    with torch.no_grad():
        return model.logits(model.hidden(IDS, torch.arange(len(IDS)), attend_within))


@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_transformers(name: str, tmp_path: Path) -> None:
    model = build(name, tmp_path / name)
    with torch.no_grad():
        expected = model(IDS[None]).logits[0]
    torch.testing.assert_close(logits_of(tmp_path / name, tmp_path / "bases"), expected, rtol=1e-4, atol=2e-5)


def test_a_tied_head_is_left_out_and_found_again(tmp_path: Path) -> None:
    model = build("falcon", tmp_path / "falcon")
    base = resolve_base(str(tmp_path / "falcon"), tmp_path / "bases")
    assert base.is_head_tied
    assert "lm_head.weight" not in read_weights(base.path)
    opened = open_model(base.path)
    assert torch.equal(opened.lm_head.weight, model.get_input_embeddings().weight)


def test_a_missing_head_that_is_not_tied_is_refused(tmp_path: Path) -> None:
    build("qwen3", tmp_path / "m")
    tensors = load_file(tmp_path / "m/model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != "lm_head.weight"}, tmp_path / "m/model.safetensors")
    with pytest.raises(ModelError, match="has no lm_head"):
        resolve_base(str(tmp_path / "m"), tmp_path / "bases")
    assert not list((tmp_path / "bases").rglob("base.json"))


def test_safetensors_are_read_alone_where_bin_files_lie_beside_them(tmp_path: Path) -> None:
    model = build("llama-3", tmp_path / "m")
    state = {k: torch.zeros_like(v) for k, v in model.state_dict().items()}
    torch.save(state, tmp_path / "m/pytorch_model.bin")
    with torch.no_grad():
        expected = model(IDS[None]).logits[0]
    torch.testing.assert_close(logits_of(tmp_path / "m", tmp_path / "bases"), expected, rtol=1e-4, atol=2e-5)


def test_bin_files_are_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    model = build("falcon", tmp_path / "m")
    torch.save(model.state_dict(), tmp_path / "m/pytorch_model.bin")
    (tmp_path / "m/model.safetensors").unlink()
    with torch.no_grad():
        expected = model(IDS[None]).logits[0]
    torch.testing.assert_close(logits_of(tmp_path / "m", tmp_path / "bases"), expected, rtol=1e-4, atol=2e-5)


def test_q_k_and_v_of_one_layer_may_lie_in_different_shards(tmp_path: Path) -> None:
    model = build("qwen3", tmp_path / "m")
    tensors = load_file(tmp_path / "m/model.safetensors")
    (tmp_path / "m/model.safetensors").unlink()
    where = {name: f"model-0000{1 + i % 3}-of-00003.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(where.values()):
        save_file({n: t for n, t in tensors.items() if where[n] == file}, tmp_path / "m" / file)
    (tmp_path / "m/model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with torch.no_grad():
        expected = model(IDS[None]).logits[0]
    torch.testing.assert_close(logits_of(tmp_path / "m", tmp_path / "bases"), expected, rtol=1e-4, atol=2e-5)


def test_gemmas_norm_epsilon_is_taken_from_its_config(tmp_path: Path) -> None:
    build("gemma-2", tmp_path / "m")
    base = resolve_base(str(tmp_path / "m"), tmp_path / "bases")
    assert base.shape.norm_eps == 1e-6


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    build("falcon", tmp_path / "m")
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "m/model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002.safetensors\."):
        resolve_base(str(tmp_path / "m"), tmp_path / "bases")


def test_a_file_that_is_cut_off_leaves_no_base_behind(tmp_path: Path) -> None:
    build("falcon", tmp_path / "m")
    whole = (tmp_path / "m/model.safetensors").read_bytes()
    (tmp_path / "m/model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors is cut off or damaged\."):
        resolve_base(str(tmp_path / "m"), tmp_path / "bases")
    assert list((tmp_path / "bases/local").iterdir()) == []
    (tmp_path / "m/model.safetensors").write_bytes(whole)
    assert resolve_base(str(tmp_path / "m"), tmp_path / "bases").shape.n_layer == 3


def test_tensors_that_are_missing_are_noticed(tmp_path: Path) -> None:
    build("falcon", tmp_path / "m")
    tensors = load_file(tmp_path / "m/model.safetensors")
    del tensors["transformer.h.1.mlp.dense_h_to_4h.weight"]
    save_file(tensors, tmp_path / "m/model.safetensors")
    with pytest.raises(ModelError, match=r"lacks transformer\.h\.1\.mlp\.fc\.weight\."):
        resolve_base(str(tmp_path / "m"), tmp_path / "bases")


def test_a_half_converted_base_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    base = resolve_base("embedded", tmp_path)
    (base.path / "base.json").unlink()
    with pytest.raises(ModelError, match=r"is incomplete: base\.json"):
        resolve_base(str(base.path), tmp_path)


def test_a_second_run_converts_nothing(tmp_path: Path) -> None:
    build("falcon", tmp_path / "m")
    first = resolve_base(str(tmp_path / "m"), tmp_path / "bases")
    (tmp_path / "m/model.safetensors").unlink()
    assert resolve_base(str(tmp_path / "m"), tmp_path / "bases") == first


def test_a_base_of_a_newer_clone_is_refused(tmp_path: Path) -> None:
    base = resolve_base("embedded", tmp_path)
    card = json.loads((base.path / "base.json").read_text())
    (base.path / "base.json").write_text(json.dumps({**card, "schema": 99}))
    with pytest.raises(ModelError, match="converted by a newer clone"):
        resolve_base(str(base.path), tmp_path)


def test_the_random_base_is_the_same_everywhere(tmp_path: Path) -> None:
    for name in "ab":
        build_random_base(tmp_path / name)
    assert open_base(tmp_path / "a").sha256 == open_base(tmp_path / "b").sha256


def test_a_base_without_config_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no base: it has neither base\.json nor the config\.json"):
        resolve_base(str(tmp_path), tmp_path / "bases")


def test_a_shape_that_is_not_yaml_is_said(tmp_path: Path) -> None:
    base = resolve_base("embedded", tmp_path)
    (base.path / "model_config.yaml").write_text("a: [")
    with pytest.raises(ModelError, match=r"model_config\.yaml is not YAML"):
        _ = base.shape
    shutil.copyfile(base.path / "base.json", base.path / "model_config.yaml")
    (base.path / "model_config.yaml").write_text(yaml.safe_dump([]))
    with pytest.raises(ModelError, match=r"model_config\.yaml is empty"):
        _ = base.shape
