"""Our adapters in peft's format, loaded by peft into transformers."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
import transformers as hf

from clone.errors import ModelError
from clone.lm.base import resolve_base
from clone.lm.model import attend_within
from clone.lm.peft import write_peft
from clone.lm.weights import AdapterMeta, adapter_parameters, add_adapter, open_model, read_adapter, save_adapter
from tests.lm.test_convert import IDS, MODELS, build

TARGETS = ["attn.qkv", "attn.proj", "mlp.fc", "mlp.fc_1", "mlp.fc_2", "mlp.proj"]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "falcon-own-head"])
def test_logits_with_the_adapter_equal_pefts(name: str, tmp_path: Path) -> None:
    build(name, tmp_path / name)
    base = resolve_base(str(tmp_path / name), tmp_path / "bases")
    ours = open_model(base.path, is_head_tied=base.is_head_tied)
    add_adapter(ours, targets=TARGETS, rank=4, alpha=8, dropout=0, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapter_parameters(ours).values():
            parameter.normal_(0, 0.1)
        expected = ours.logits(ours.hidden(IDS, torch.arange(len(IDS)), attend_within))
    save_adapter(tmp_path / "best.safetensors", ours, AdapterMeta(4, 8, base.name, base.sha256))

    write_peft(tmp_path / "peft", read_adapter(tmp_path / "best.safetensors"), base)
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path / name, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        before = model(IDS[None]).logits[0]
        found = peft.PeftModel.from_pretrained(model, str(tmp_path / "peft")).eval()(IDS[None]).logits[0]
    assert (found - before).abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_kind_that_peft_has_no_names_for_is_said(tmp_path: Path) -> None:
    build("falcon", tmp_path / "m")
    base = resolve_base(str(tmp_path / "m"), tmp_path / "bases")
    (base.path / "config.json").write_text('{"model_type": "odd"}')
    ours = open_model(base.path)
    add_adapter(ours, targets=TARGETS, rank=2, alpha=2, dropout=0, seed=0)
    save_adapter(tmp_path / "a.safetensors", ours, AdapterMeta(2, 2, base.name, base.sha256))
    with pytest.raises(ModelError, match=r"peft has no names for .*, a odd"):
        write_peft(tmp_path / "peft", read_adapter(tmp_path / "a.safetensors"), base)
