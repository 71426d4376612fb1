"""A workspace with a finished run, as finetune leaves it, on a tiny random base."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from clone.lm.template import TEMPLATE_VERSION
from clone.records import RunCard
from clone.workspace import Workspace, hash_file
from tests.chat.conftest import FALCON, make_model, make_tokenizer

RUN_ID = "20261122-120000"


def make_base(folder: Path) -> Path:
    """Write a random tiny Falcon with the embedding as its head."""
    folder.mkdir(parents=True)
    model = make_model()
    weights = {name: p.detach().clone() for name, p in model.named_parameters() if name != "lm_head.weight"}
    save_file(weights, folder / "lit_model.safetensors")
    (folder / "model_config.yaml").write_text(yaml.safe_dump(FALCON), encoding="utf-8")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    card = {
        "schema": 1,
        "name": str(folder),
        "sha256": hash_file(folder / "lit_model.safetensors"),
        "files": ["lit_model.safetensors"],
        "is_head_tied": True,
        "revision": "",
    }
    (folder / "base.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def make_run(root: Path, *, recipe: str = "default", run_id: str = RUN_ID, **changes: object) -> Path:
    """Write a finished run with an adapter that changes what the base says, and the data it was made from."""
    workspace = Workspace(root)
    base = workspace.bases / "tiny"
    if not base.exists():
        make_base(base)
    sha256 = json.loads((base / "base.json").read_text())["sha256"]
    run = workspace.runs(recipe) / run_id
    run.mkdir(parents=True)
    generator = torch.Generator().manual_seed(5)
    adapter = {}
    for layer in range(2):
        for name, (n_out, n_in) in {"attn.qkv": (48, 32), "mlp.fc": (128, 32)}.items():
            adapter[f"transformer.h.{layer}.{name}.lora_A"] = torch.randn(4, n_in, generator=generator)
            adapter[f"transformer.h.{layer}.{name}.lora_B"] = torch.randn(n_out, 4, generator=generator) * 0.1
    meta = {"rank": "4", "alpha": "8.0", "base": str(base), "base_sha256": sha256, "template": TEMPLATE_VERSION}
    for kind in ("best", "last"):
        save_file(adapter, run / f"{kind}.safetensors", meta)
    card = RunCard(
        run_id=run_id,
        created_at="2026-11-22T12:00:00+00:00",
        clone_version="0.1.0",
        recipe={},
        base=str(base),
        base_sha256=sha256,
        data_sha256="",
        template=TEMPLATE_VERSION,
        seed=0,
        n_steps=1,
        n_tokens=1,
        n_learned=1,
        val_loss_before=2.0,
        val_loss=1.0,
        val_bits_per_byte_before=2.0,
        val_bits_per_byte=1.0,
        wall_s=1.0,
        device="cpu",
        peak_memory_gb=0.0,
        versions={},
    )
    (run / "run.json").write_text(json.dumps({**asdict(card), **changes}), encoding="utf-8")
    data = workspace.processed(recipe)
    if not data.exists():
        data.mkdir(parents=True)
        examples = [
            ("amber", "are you coming tonight?", "yes!\nat eight", "2025-03-01T18:00:00+00:00"),
            ("birch", "did the build pass?", "no, the tests are red again", "2025-04-02T09:30:00+00:00"),
            ("amber", "как дела?", "всё хорошо, еду домой", "2025-05-03T20:15:00+00:00"),
        ]
        with (data / "train.jsonl").open("w", encoding="utf-8") as stream:
            for i, (contact, instruction, response, at) in enumerate(examples):
                row = {
                    "example_id": str(i),
                    "session_id": str(i),
                    "contact": contact,
                    "instruction": instruction,
                    "context": "",
                    "response": response,
                    "ended_at": at,
                }
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        (data / "validation.jsonl").write_text((data / "train.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
        manifest = {"schema": "clone-examples-1", "contacts": ["amber", "birch", "cedar"]}
        (data / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return run
