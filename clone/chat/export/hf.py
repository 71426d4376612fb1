"""Hugging Face's forms: the merged model as transformers loads it, or the adapter as PEFT does."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from clone.chat.disclosure import LABEL
from clone.chat.export.gguf import chat_template
from clone.chat.export.source import Source, require_falcon
from clone.errors import ModelError
from clone.lm.template import Control
from clone.lm.weights import EMBEDDING, HEAD
from clone.workspace import disk_error, make_private_folder, sync_folder

SHARD_BYTES = 4 * 10**9
OnProgress = Callable[[str, int, int | None], None]

_FALCON = {
    "attn.qkv": "self_attention.query_key_value",
    "attn.proj": "self_attention.dense",
    "mlp.fc": "mlp.dense_h_to_4h",
    "mlp.proj": "mlp.dense_4h_to_h",
}


@dataclass(frozen=True, slots=True)
class WrittenFolder:
    """A folder that was written."""

    path: Path
    files: tuple[str, ...]
    n_bytes: int


def write_model(source: Source, folder: Path, *, on_progress: OnProgress) -> WrittenFolder:
    """Write the merged model in shards of at most 4 GB, with config and tokenizer.

    Raises ModelError where the base keeps no config.json, or the folder is there already.
    """
    config_path = source.base.path / "config.json"
    if not config_path.exists():
        raise ModelError(f"the base in {source.base.path} has no config.json.", "Fetch the base anew.")
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["eos_token_id"] = source.tokens.marks[Control.END]
    config["bos_token_id"] = source.tokens.marks[Control.DOC]
    with _new_folder(folder) as work:
        total, shards, index = 0, list[dict[str, Tensor]]([{}]), dict[str, int]()
        size = 0
        n = len(source.weights)
        for i, (name, tensor) in enumerate(_hf_tensors(source)):
            on_progress("writing", i, n)
            n_bytes = tensor.numel() * tensor.element_size()
            if size and size + n_bytes > SHARD_BYTES:
                save_file(shards[-1], work / f"part-{len(shards)}", {"format": "pt"})
                shards[-1].clear()
                shards.append({})
                size = 0
            shards[-1][name] = tensor.contiguous()
            index[name] = len(shards)
            size += n_bytes
            total += n_bytes
        save_file(shards[-1], work / f"part-{len(shards)}", {"format": "pt"})
        names = _name_parts(work, len(shards))
        if len(names) > 1:
            weight_map = {name: names[part - 1] for name, part in index.items()}
            _write_json(
                work / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map}
            )
        _write_json(work / "config.json", config)
        _write_tokenizer(source, work)
        (work / "README.md").write_text(_card(source), encoding="utf-8")
    return _told(folder)


def write_peft(source: Source, folder: Path) -> WrittenFolder:
    """Write the adapter as PEFT loads it beside the base (https://github.com/huggingface/peft). Falcon's kind only."""
    require_falcon(source.shape, "A PEFT adapter")
    tensors: dict[str, Tensor] = {}
    for name in source.linears():
        _, _, layer, rest = name.split(".", 3)
        theirs = f"base_model.model.transformer.h.{layer}.{_FALCON[rest]}"
        tensors[f"{theirs}.lora_A.weight"] = source.adapter.tensors[f"{name}.lora_A"].contiguous()
        tensors[f"{theirs}.lora_B.weight"] = source.adapter.tensors[f"{name}.lora_B"].contiguous()
    targets = sorted({_FALCON[name.split(".", 3)[3]].rpartition(".")[2] for name in source.linears()})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": source.base.name,
        "r": source.adapter.meta.rank,
        "lora_alpha": source.adapter.meta.alpha,
        "target_modules": targets,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with _new_folder(folder) as work:
        save_file(tensors, work / "adapter_model.safetensors", {"format": "pt"})
        _write_json(work / "adapter_config.json", config)
        _write_tokenizer(source, work)
        (work / "README.md").write_text(_card(source), encoding="utf-8")
    return _told(folder)


def _hf_tensors(source: Source) -> Iterator[tuple[str, Tensor]]:
    """Yield the merged weights by Hugging Face's names."""
    if source.shape.name.lower().startswith("falcon") or _is_falcon(source):
        for name, tensor in source.merged():
            yield _falcon_name(name), tensor
        return
    from clone.lm.lit import hf_tensors

    weights = dict(source.merged())
    is_tied = HEAD not in weights
    if is_tied:
        weights[HEAD] = weights[EMBEDDING]
    theirs = hf_tensors(source.base.path, weights)
    for name, tensor in theirs.items():
        if not (is_tied and name == "lm_head.weight"):
            yield name, tensor


def _is_falcon(source: Source) -> bool:
    try:
        require_falcon(source.shape, "")
    except ModelError:
        return False
    return True


def _falcon_name(name: str) -> str:
    if name == HEAD:
        return name
    name = name.replace("transformer.wte.", "transformer.word_embeddings.")
    if not name.startswith("transformer.h."):
        return name
    transformer, h, layer, rest = name.split(".", 3)
    kind, _, end = rest.rpartition(".")
    theirs = {"norm_1": "input_layernorm", **_FALCON}[kind]
    return f"{transformer}.{h}.{layer}.{theirs}.{end}"


def _write_tokenizer(source: Source, work: Path) -> None:
    shutil.copyfile(source.base.path / "tokenizer.json", work / "tokenizer.json")
    path = source.base.path / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    config["eos_token"] = source.tokens.spelling(Control.END)
    config["chat_template"] = chat_template(source.tokens)
    _write_json(work / "tokenizer_config.json", config)


def _card(source: Source) -> str:
    return (
        f"# {source.title}\n\n{LABEL} A digital twin: a language model trained on one person's messages "
        f"({source.base.name} with a LoRA adapter). It is not that person, and what it writes is made up.\n\n"
        "It may repeat what the person and those who wrote to them said. Keep it to yourself: nobody in it agreed to "
        "its publication.\n"
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _name_parts(work: Path, n: int) -> list[str]:
    names = []
    for i in range(n):
        name = "model.safetensors" if n == 1 else f"model-{i + 1:05d}-of-{n:05d}.safetensors"
        (work / f"part-{i + 1}").rename(work / name)
        names.append(name)
    return names


class _new_folder:
    """A neighbour of a folder that takes its name when all of it is written."""

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            raise ModelError(f"{folder} is there already.", "Remove it, or choose another with --out.")
        self._folder = folder
        self._work = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Path:
        make_private_folder(self._work)
        return self._work

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                for path in self._work.iterdir():
                    path.chmod(0o600)
                self._work.rename(self._folder)
                sync_folder(self._folder.parent)
            elif isinstance(error, OSError):
                raise disk_error(error, self._folder) from error
        finally:
            shutil.rmtree(self._work, ignore_errors=True)


def _told(folder: Path) -> WrittenFolder:
    files = sorted(folder.iterdir())
    return WrittenFolder(folder, tuple(path.name for path in files), sum(path.stat().st_size for path in files))
