"""GGUF: one file that llama.cpp, Ollama and LM Studio run, on a laptop too; or the adapter alone, beside such a base.

Names and keys as llama.cpp's converter writes them for arch "falcon" (https://github.com/ggml-org/llama.cpp, gguf-py).
LitGPT already holds Falcon-7B's q, k and v in the order that GGUF calls "jploski". K-quants want rows of 256, which
4,544 columns are not, so there is F16, Q8_0 and Q4_0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clone.chat.disclosure import LABEL
from clone.chat.export.source import Source, require_falcon, to_numpy_f32
from clone.errors import ModelError
from clone.lm.template import Control
from clone.lm.weights import HEAD
from clone.workspace import disk_error, sync_folder, write_atomically

Kind = Literal["F16", "Q8_0", "Q4_0"]
KINDS: tuple[Kind, ...] = ("F16", "Q8_0", "Q4_0")

_LAYER = {
    "norm_1.weight": "attn_norm.weight",
    "norm_1.bias": "attn_norm.bias",
    "attn.qkv.weight": "attn_qkv.weight",
    "attn.proj.weight": "attn_output.weight",
    "mlp.fc.weight": "ffn_up.weight",
    "mlp.proj.weight": "ffn_down.weight",
}
_TOP = {
    "transformer.wte.weight": "token_embd.weight",
    "transformer.ln_f.weight": "output_norm.weight",
    "transformer.ln_f.bias": "output_norm.bias",
    HEAD: "output.weight",
}
OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written."""

    path: Path
    n_bytes: int
    n_tensors: int


def write_model(source: Source, path: Path, kind: Kind, *, on_progress: OnProgress) -> Written:
    """Write the merged model. Raises ModelError for a base that is not Falcon's kind."""
    import gguf

    require_falcon(source.shape, "GGUF")
    block = 32
    if kind != "F16" and source.shape.n_embd % block:
        raise ModelError(f"{kind} takes rows of {block}, and {source.shape.n_embd} is no multiple of it.", "Use F16.")
    work = path.with_name(f".{path.name}.part")
    writer = gguf.GGUFWriter(work, "falcon", use_temp_file=False)
    try:
        _describe(writer, source, kind)
        _tokens(writer, source)
        n = len(source.weights)
        kinds = {name: _kind_of(name, kind) for name in source.weights}
        for name, tensor in source.weights.items():
            _announce(writer, gguf_name(name), tensor.shape, kinds[name])

        def arrays() -> Iterator[Any]:
            for i, (name, tensor) in enumerate(source.merged()):
                on_progress(f"writing {kind}", i, n)
                yield gguf.quants.quantize(to_numpy_f32(tensor), kinds[name])

        n_bytes = _finish(writer, work, path, arrays())
        on_progress(f"writing {kind}", n, n)
        return Written(path, n_bytes, n)
    finally:
        work.unlink(missing_ok=True)


def write_lora(source: Source, path: Path) -> Written:
    """Write the adapter alone, for `llama-cli --lora` beside a GGUF of the base.

    llama.cpp multiplies by alpha / rank, the rank read off the tensors: our matrices are plain, so that is ours too.
    """
    import gguf

    require_falcon(source.shape, "GGUF")
    work = path.with_name(f".{path.name}.part")
    writer = gguf.GGUFWriter(work, "falcon", use_temp_file=False)
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(source.adapter.meta.alpha))
        writer.add_name(f"{source.title} {LABEL}")
        writer.add_string("general.base_model.0.name", source.base.name)
        names = source.linears()
        tensors = [
            (f"{gguf_name(f'{name}.weight')}.lora_{side.lower()}", source.adapter.tensors[f"{name}.lora_{side}"])
            for name in names
            for side in "AB"
        ]
        for target, tensor in tensors:
            _announce(writer, target, tensor.shape, gguf.GGMLQuantizationType.F32)
        n_bytes = _finish(writer, work, path, (to_numpy_f32(tensor) for _, tensor in tensors))
        return Written(path, n_bytes, len(tensors))
    finally:
        work.unlink(missing_ok=True)


def write_modelfile(source: Source, path: Path, model: Path, *, temperature: float) -> None:
    """Write Ollama's Modelfile: the template of training, the stops, and what this is."""
    marks = {control: source.tokens.spelling(control) for control in Control}
    stops = [marks[control] for control in (Control.END, Control.THEM, Control.ME, Control.DOC)]
    lines = [
        f"# {LABEL} a digital twin: replies are written by a language model trained on one person's messages",
        f"FROM ./{model.name}",
        f'TEMPLATE """{_ollama_template(marks)}"""',
        f"PARAMETER temperature {temperature}",
        f"PARAMETER num_ctx {source.shape.block_size}",
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops),
    ]
    with write_atomically(path) as stream:
        stream.write("\n".join(lines) + "\n")


def gguf_name(name: str) -> str:
    """Return GGUF's name of one of LitGPT's Falcon weights."""
    if name in _TOP:
        return _TOP[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_LAYER[rest]}"


def chat_template(tokens: Any) -> str:
    """Return the template of training as Jinja, for programs that read it from the file."""
    m: dict[Control, str] = {control: tokens.spelling(control) for control in Control}
    return (
        f"{m[Control.DOC]}{m[Control.END]}"
        "{% for message in messages %}"
        "{% if message['role'] == 'user' %}"
        f"{m[Control.THEM]}" + "{{ message['content'] }}" + f"{m[Control.END]}"
        "{% elif message['role'] == 'assistant' %}"
        f"{m[Control.ME]}" + "{{ message['content'] }}" + f"{m[Control.END]}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + m[Control.ME] + "{% endif %}"
    )


def _ollama_template(m: dict[Control, str]) -> str:
    return (
        f"{m[Control.DOC]}{m[Control.END]}"
        "{{- range .Messages }}"
        '{{- if eq .Role "user" }}' + m[Control.THEM] + "{{ .Content }}" + m[Control.END] + ""
        '{{- else if eq .Role "assistant" }}' + m[Control.ME] + "{{ .Content }}" + m[Control.END] + "{{- end }}"
        "{{- end }}" + m[Control.ME]
    )


def _kind_of(name: str, kind: Kind) -> Any:
    """Return how a tensor is stored."""
    import gguf

    kinds = gguf.GGMLQuantizationType
    if "norm" in name or "ln_f" in name:
        return kinds.F32
    if kind == "Q4_0" and name in ("transformer.wte.weight", HEAD):
        return kinds.Q8_0  # four bits cost most where words are chosen
    return kinds[kind]


def _describe(writer: Any, source: Source, kind: Kind) -> None:
    import gguf

    shape = source.shape
    writer.add_type("model")
    writer.add_name(f"{source.title} {LABEL}")
    writer.add_description("A digital twin: a language model trained on one person's messages. Not a person.")
    writer.add_string("general.base_model.0.name", source.base.name)
    writer.add_context_length(shape.block_size)
    writer.add_tensor_data_layout("jploski")
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_block_count(shape.n_layer)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_query_groups)
    writer.add_layer_norm_eps(shape.norm_eps)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocab_size)
    types = {"F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0", "Q4_0": "MOSTLY_Q4_0"}
    writer.add_file_type(gguf.LlamaFileType[types[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _tokens(writer: Any, source: Source) -> None:
    import gguf

    spec = json.loads((source.base.path / "tokenizer.json").read_text(encoding="utf-8"))
    if spec["model"]["type"] != "BPE":
        raise ModelError(f"the tokenizer of {source.base.name} is no byte-level BPE.", "Use clone export hf.")
    words = {i: word for word, i in spec["model"]["vocab"].items()}
    special = {item["id"]: item["content"] for item in spec.get("added_tokens", ())}
    controls = {item["id"] for item in spec.get("added_tokens", ()) if item["special"]}
    controls |= set(source.tokens.marks.values())
    texts: list[str] = []
    types: list[int] = []
    for i in range(source.shape.vocab_size):
        known = special.get(i, words.get(i))
        texts.append(f"[PAD{i}]" if known is None else known)
        if known is None:
            types.append(gguf.TokenType.UNUSED)
        else:
            types.append(gguf.TokenType.CONTROL if i in controls else gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(spec, source.base.name))
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]])
    marks = source.tokens.marks
    writer.add_bos_token_id(marks[Control.DOC])
    writer.add_eos_token_id(marks[Control.END])
    writer.add_eot_token_id(marks[Control.END])
    writer.add_add_bos_token(False)  # the template writes it
    writer.add_add_eos_token(False)
    writer.add_chat_template(chat_template(source.tokens))


def _pre_tokenizer(spec: dict[str, Any], base: str) -> str:
    """Return llama.cpp's name for how a tokenizer splits text before BPE. Raises ModelError where it has none."""
    kinds = list(_pre_kinds(spec.get("pre_tokenizer") or {}))
    if kinds == ["Punctuation", "ByteLevel", "Digits", "Split"]:
        return "falcon"
    if kinds == ["Digits", "ByteLevel"]:
        return "smollm"
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    raise ModelError(f"llama.cpp has no name for how the tokenizer of {base} splits text.", "Use clone export hf.")


def _pre_kinds(spec: dict[str, Any]) -> Iterator[str]:
    if spec.get("type") == "Sequence":
        for inner in spec["pretokenizers"]:
            yield from _pre_kinds(inner)
    elif spec:
        yield spec["type"]


def _announce(writer: Any, name: str, shape: Sequence[int], kind: Any) -> None:
    """Enter a tensor into the file's table; its data come later, so that one at a time is in memory."""
    import gguf
    import numpy as np

    n_bytes = math.prod(gguf.quants.quant_shape_to_byte_shape(tuple(shape), kind))
    writer.add_tensor_info(name, tuple(shape), np.dtype(np.float32), n_bytes, raw_dtype=kind)


def _finish(writer: Any, work: Path, path: Path, arrays: Iterator[Any]) -> int:
    """Write the head and the data of the tensors, as announced, to `work`, and give it its name."""
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for array in arrays:
            writer.write_tensor_data(array)
        writer.close()
        work.chmod(0o600)
        work.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    return path.stat().st_size
