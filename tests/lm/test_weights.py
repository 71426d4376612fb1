"""Weights that do not belong together are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from clone.errors import ModelError
from clone.lm.base import build_random_base
from clone.lm.weights import AdapterMeta, add_adapter, apply_adapter, open_model, read_adapter, save_adapter


@pytest.fixture
def base(tmp_path: Path) -> Path:
    build_random_base(tmp_path / "base")
    return tmp_path / "base"


def test_a_base_whose_own_head_is_missing_is_refused(base: Path) -> None:
    with pytest.raises(ModelError, match=r"has no lm_head\."):
        open_model(base, is_head_tied=False)


@pytest.mark.parametrize("change", ["lacks", "has in another size", "has, beyond its shape,"])
def test_a_base_whose_tensors_are_not_those_of_its_shape_is_refused(base: Path, change: str) -> None:
    path, name = base / "lit_model.safetensors", "transformer.h.0.attn.qkv.weight"
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    if change == "lacks":
        del tensors[name]
    elif change == "has in another size":
        tensors[name] = tensors[name][:-1].clone()
    else:
        name = "transformer.h.99.attn.qkv.weight"
        tensors[name] = tensors["transformer.h.0.attn.qkv.weight"].clone()
    save_file(tensors, path)
    with pytest.raises(ModelError) as caught:
        open_model(base)
    assert f"{change} {name}." in caught.value.message


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    model = open_model(base)
    add_adapter(model, targets=["attn.qkv"], rank=2, alpha=4, dropout=0, seed=0)
    save_adapter(tmp_path / "best.safetensors", model, AdapterMeta(2, 4, "org/one", "1" * 64))
    adapter = read_adapter(tmp_path / "best.safetensors")
    with pytest.raises(ModelError) as caught:
        apply_adapter(open_model(base), adapter, base="org/other", base_sha256="2" * 64)
    assert caught.value.message == "the adapter was trained on org/one, not on this org/other (their weights differ)."
    apply_adapter(open_model(base), adapter, base="org/one", base_sha256="1" * 64)
