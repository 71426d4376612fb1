"""Exports read back by the programs they are for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import Result
from safetensors.torch import load_file, save_file

from clone.lm.base import open_base
from clone.lm.model import Transformer, attend_within
from clone.lm.tokens import Tokens
from clone.lm.weights import apply_adapter, merge_adapter, open_model, read_adapter
from clone.workspace import hash_file
from tests.chat.conftest import FALCON, LLAMA
from tests.chat.workspaces import RUN_ID, make_run

Clone = Callable[..., Result]
IDS = [0, 4, 1, 60, 61, 99, 4, 2]


def falcon_config() -> dict[str, object]:
    return {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "vocab_size": 416,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_kv_heads": 1,
        "ffn_hidden_size": 128,
        "max_position_embeddings": 256,
        "rope_theta": 10000.0,
        "layer_norm_epsilon": 1e-5,
        "activation": "gelu",
        "alibi": False,
        "bias": False,
        "multi_query": True,
        "parallel_attn": True,
        "new_decoder_architecture": False,
        "tie_word_embeddings": True,
    }


@pytest.fixture
def run(workspace: Path) -> Path:
    path = make_run(workspace)
    base = workspace / "checkpoints" / "base" / "tiny"
    (base / "config.json").write_text(json.dumps(falcon_config()))
    return path


def twin_of(run: Path) -> Transformer:
    folder = open_base(run.parents[1] / "base" / "tiny")
    model = open_model(folder.path, is_head_tied=True)
    apply_adapter(model, read_adapter(run / "best.safetensors"), base=folder.name, base_sha256=folder.sha256)
    merge_adapter(model)
    return model


def logits_of(model: Transformer) -> torch.Tensor:
    x = torch.tensor(IDS)
    return model.logits(model.hidden(x, torch.arange(len(IDS)), attend_within))


def test_the_hugging_face_folder_gives_equal_logits(run: Path, workspace: Path, clone: Clone) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told = json.loads(clone("export", "hf", "--json").stdout)
    theirs = AutoModelForCausalLM.from_pretrained(told["path"], dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.allclose(theirs(torch.tensor([IDS])).logits[0], logits_of(twin_of(run)), atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(told["path"])
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hey"}], add_generation_prompt=True, tokenize=True
    )
    ids = prompt if isinstance(prompt, list) else prompt["input_ids"]
    tokens = Tokens.load(Path(told["path"]))
    assert ids == [0, 4, 1, *tokens.encode_text("hey"), 4, 2]
    assert "[AI] A digital twin" in (Path(told["path"]) / "README.md").read_text()


def test_other_bases_are_exported_by_their_own_names(workspace: Path, clone: Clone) -> None:
    from transformers import AutoModelForCausalLM

    from clone.lm.model import Transformer
    from clone.lm.shape import Shape

    run = make_run(workspace)
    base = workspace / "checkpoints" / "base" / "tiny"
    config = {**LLAMA, "rotary_percentage": 1.0, "head_size": 8}
    model = Transformer(Shape.of(config))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        parameter.data = (
            torch.ones_like(parameter) if "norm" in name or "ln_f" in name else torch.randn_like(parameter) * 0.2
        )
    save_file({n: p.data for n, p in model.named_parameters()}, base / "lit_model.safetensors")
    (base / "model_config.yaml").write_text(yaml.safe_dump(config))
    card = json.loads((base / "base.json").read_text())
    card.update(sha256=hash_file(base / "lit_model.safetensors"), is_head_tied=False)
    (base / "base.json").write_text(json.dumps(card))
    hf = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 416,
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
    }
    (base / "config.json").write_text(json.dumps(hf))
    generator = torch.Generator().manual_seed(5)
    adapter = {
        "transformer.h.0.attn.qkv.lora_A": torch.randn(4, 32, generator=generator),
        "transformer.h.0.attn.qkv.lora_B": torch.randn(64, 4, generator=generator) * 0.1,
    }
    meta = {"rank": "4", "alpha": "8.0", "base": str(base), "base_sha256": card["sha256"], "template": "clone-chat-1"}
    save_file(adapter, run / "best.safetensors", meta)
    (run / "run.json").write_text(
        json.dumps({**json.loads((run / "run.json").read_text()), "base_sha256": card["sha256"]})
    )
    told = json.loads(clone("export", "hf", "--json").stdout)
    theirs = AutoModelForCausalLM.from_pretrained(told["path"], dtype=torch.float32).eval()
    folder = open_base(base)
    ours = open_model(folder.path, is_head_tied=False)
    apply_adapter(ours, read_adapter(run / "best.safetensors"), base=folder.name, base_sha256=folder.sha256)
    with torch.no_grad():
        assert torch.allclose(theirs(torch.tensor([IDS])).logits[0], logits_of(ours), atol=1e-4)
    refused = clone("export", "gguf")
    assert refused.exit_code == 1
    assert "GGUF is written for bases of Falcon-7B's kind" in refused.stderr


def test_gguf_is_read_by_transformers_with_no_difference(run: Path, clone: Clone) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told = Path(json.loads(clone("export", "gguf", "--kind", "F16", "--json").stdout)["path"])
    theirs = AutoModelForCausalLM.from_pretrained(told.parent, gguf_file=told.name, dtype=torch.float32)
    state = theirs.state_dict()
    hf = load_file(Path(json.loads(clone("export", "hf", "--json").stdout)["path"]) / "model.safetensors")
    for name, tensor in hf.items():
        expected = tensor.float() if "norm" in name or "ln_f" in name else tensor.half().float()
        assert (state[name] - expected).abs().max() == 0.0, name
    tokenizer = AutoTokenizer.from_pretrained(told.parent, gguf_file=told.name)
    tokens = Tokens.load(run.parents[1] / "base" / "tiny")
    for text in ("hey, are you there?", "привет, как дела? 🙂", "see you at 8"):
        assert tokenizer.encode(text, add_special_tokens=False) == tokens.encode_text(text)
    assert tokenizer.convert_tokens_to_ids("<|end|>") == 4


@pytest.mark.parametrize(("kind", "worst"), [("Q8_0", 0.02), ("Q4_0", 0.2)])
def test_quantised_gguf_is_near_and_smaller(run: Path, clone: Clone, kind: str, worst: float) -> None:
    import gguf

    told = json.loads(clone("export", "gguf", "--kind", kind, "--json").stdout)
    whole = json.loads(clone("export", "gguf", "--kind", "F16", "--json").stdout)
    assert told["bytes"] < whole["bytes"]
    ours = dict(twin_of(run).named_parameters())
    for tensor in gguf.GGUFReader(told["path"]).tensors:
        if tensor.name == "blk.0.attn_qkv.weight":
            theirs = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
            mine = ours["transformer.h.0.attn.qkv.weight"]
            assert (theirs - mine).norm() / mine.norm() < worst
            break
    else:
        raise AssertionError("no such tensor")


def test_gguf_says_what_it_is_and_how_it_talks(run: Path, clone: Clone) -> None:
    import gguf

    told = json.loads(clone("export", "gguf", "--json").stdout)
    reader = gguf.GGUFReader(told["path"])

    def value(key: str) -> object:
        return reader.fields[key].contents()

    assert value("general.architecture") == "falcon"
    assert value("falcon.tensor_data_layout") == "jploski"
    assert "Not a person." in str(value("general.description"))
    assert value("tokenizer.ggml.eos_token_id") == 4
    assert value("tokenizer.ggml.token_type")[3] == gguf.TokenType.CONTROL  # type: ignore[index]
    assert len(value("tokenizer.ggml.tokens")) == 416  # type: ignore[arg-type]
    modelfile = Path(told["also"][0]).read_text()
    assert modelfile.startswith("# [AI] a digital twin")
    assert f"FROM ./{Path(told['path']).name}\n" in modelfile
    assert '<|me|>"""' in modelfile
    assert 'PARAMETER stop "<|them|>"' in modelfile


def test_a_lora_gguf_holds_the_adapter_as_llama_cpp_reads_it(run: Path, clone: Clone) -> None:
    import gguf

    told = json.loads(clone("export", "gguf", "--lora", "--json").stdout)
    reader = gguf.GGUFReader(told["path"])
    assert reader.fields["adapter.type"].contents() == "lora"
    tensors = {tensor.name: torch.from_numpy(tensor.data.copy()) for tensor in reader.tensors}
    a, b = tensors["blk.1.ffn_up.weight.lora_a"], tensors["blk.1.ffn_up.weight.lora_b"]
    scale = reader.fields["adapter.lora.alpha"].contents() / b.shape[1]
    base = load_file(run.parents[1] / "base" / "tiny" / "lit_model.safetensors")["transformer.h.1.mlp.fc.weight"]
    merged = dict(twin_of(run).named_parameters())["transformer.h.1.mlp.fc.weight"]
    assert torch.allclose(base + scale * b @ a, merged, atol=1e-5)


def test_peft_gives_equal_logits(run: Path, clone: Clone, workspace: Path) -> None:
    from peft import PeftModel
    from transformers import FalconConfig, FalconForCausalLM

    told = json.loads(clone("export", "peft", "--json").stdout)
    config = {k: v for k, v in falcon_config().items() if k not in ("architectures", "model_type")}
    theirs = FalconForCausalLM(FalconConfig(**config)).eval()
    base = load_file(workspace / "checkpoints" / "base" / "tiny" / "lit_model.safetensors")
    from clone.chat.export.hf import _falcon_name

    theirs.load_state_dict({_falcon_name(name): tensor for name, tensor in base.items()}, strict=False)
    theirs.tie_weights()
    wrapped = PeftModel.from_pretrained(theirs, told["path"]).eval()
    with torch.no_grad():
        assert torch.allclose(wrapped(torch.tensor([IDS])).logits[0], logits_of(twin_of(run)), atol=1e-4)


def test_exports_are_their_owners_alone_and_say_so(run: Path, workspace: Path, clone: Clone) -> None:
    result = clone("export", "gguf")
    assert "It is yours to keep, not to publish." in result.stderr
    assert "hf upload" not in result.stderr
    assert "hf upload --private" in clone("export", "gguf", "--i-have-consent").stderr
    path = workspace / "checkpoints" / "exports" / f"default-{RUN_ID}-Q8_0.gguf"
    assert path.stat().st_mode & 0o077 == 0
    assert not list(path.parent.glob(".*"))


def test_what_is_there_is_not_overwritten_and_mistakes_are_said(run: Path, clone: Clone) -> None:
    assert clone("export", "peft").exit_code == 0
    again = clone("export", "peft")
    assert again.exit_code == 1
    assert "is there already." in again.stderr
    assert clone("export", "peft", "--lora").exit_code == 2
    (run.parents[1] / "base" / "tiny" / "config.json").unlink()
    assert "has no config.json" in clone("export", "hf").stderr


def test_export_before_any_run_says_what_to_type(clone: Clone) -> None:
    result = clone("export", "gguf")
    assert result.exit_code == 4
    assert "Hint: clone finetune" in result.stderr


def test_the_falcon_of_the_tests_is_the_one_of_transformers() -> None:
    assert FALCON["n_embd"] == falcon_config()["hidden_size"]
