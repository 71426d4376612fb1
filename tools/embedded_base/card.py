"""The figures of a finished run, and the folder that the package ships."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer

from tools.embedded_base.falcon import Falcon
from tools.embedded_base.recipe import TRIAL, Preset, Shape
from tools.embedded_base.talk import CONTROLS, DOC_ID, Corpus, Talk, bare
from tools.embedded_base.train import HeldOut, grade, hold_out


def clean_jokes(corpus: Corpus) -> list[Talk]:
    """Return the held-out dialogues of which no line over forty letters stands in training: jokes are retold."""
    known = {bare(x) for joke in corpus.jokes for x in joke if len(x) > 40}
    whole = {bare(" ".join(joke)) for joke in corpus.jokes}
    return [
        joke
        for joke in corpus.val_jokes
        if bare(" ".join(joke)) not in whole and not any(bare(x) in known for x in joke if len(x) > 40)
    ]


@torch.no_grad()
def reply(model: Falcon, tokenizer: Tokenizer, prompt: str, seed: int, temperature: float = 0.7) -> str:
    """Return a sampled turn (top 50), up to its end mark."""
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    end, bubble = tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|bubble|>")
    out: list[int] = []
    while len(out) < 60:
        logits = model(torch.tensor([ids + out], device=model.head.device))[0, -1].float().cpu() / temperature
        values, which = logits.topk(min(50, len(logits)))
        token = int(which[torch.multinomial(values.softmax(-1), 1, generator=generator)])
        if token == end:
            break
        out.append(token)
    return " / ".join(
        tokenizer.decode(list(part)).strip()
        for is_bubble, part in itertools.groupby(out, key=lambda t: t == bubble)
        if not is_bubble
    )


PROMPTS = ("hey, are you coming tonight?", "so what do you think about it?", "what did you do today?", "i'm so tired",
           "do you like javascript?", "привет, как дела?", "ты где?", "что делаешь вечером?")  # fmt: skip


def figures(
    preset: Preset, corpus: Corpus, tokenizer: Tokenizer, held_out: dict[str, HeldOut], model: Falcon, teacher: Falcon
) -> dict[str, Any]:
    """Return everything that is claimed of the model, graded with the weights as they are shipped (bf16)."""
    rounded = Falcon(preset.student).to(model.head.device).eval()
    rounded.load_state_dict({k: v.bfloat16().float() for k, v in model.state_dict().items()})
    rows = preset.learn_student.rows
    graded: dict[str, Any] = {}
    sets = {**held_out, "russian_not_retold": hold_out(clean_jokes(corpus), tokenizer)}
    for name, held in sets.items():
        text = "".join("".join(t) for t in (corpus.val_talks if name == "english" else corpus.val_jokes)).encode()
        graded[name] = {
            "tokens": len(held.ids),
            "text_bytes": held.text_bytes,
            "trial_bytes": held.trial_bytes,
            "windows_of_512": held.bits(grade(rounded, held.ids, preset.student.block // 2, rows)),
            "windows_of_1024": held.bits(grade(rounded, held.ids, preset.student.block, rows)),
            "teacher_windows_of_1024": held.bits(grade(teacher, held.ids, preset.student.block, rows)),
        }
        if name != "russian_not_retold":
            graded[name]["gzip_9"] = 8 * len(zlib.compress(text, 9)) / len(text)
    samples = [
        {"prompt": p, "reply": reply(rounded, tokenizer, f"<|doc|>sam<|end|><|them|>{p}<|end|><|me|>", seed)}
        for p in PROMPTS
        for seed in (0, 1)
    ]
    return {"held_out": graded, "samples": samples}


def pack(work: Path, folder: Path) -> None:
    """Write the base as the package ships it: LitGPT's files, what transformers reads, figures, curve and card."""
    folder.mkdir(parents=True, exist_ok=True)
    found = json.loads((work / "figures.json").read_text())
    ngram = json.loads((work / "ngram.json").read_text())
    shape = Shape(**found["preset"]["student"])
    rows = [json.loads(line) for line in (work / "curve.jsonl").read_text().splitlines()]
    for name in ("lit_model.safetensors", "tokenizer.json"):
        shutil.copyfile(work / name, folder / name)
    # LitGPT tells the Falcons apart by their names, so this one has to say 7b.
    fields = {
        "name": "falcon-embedded-7b",
        "hf_config": {},
        "block_size": shape.block,
        "vocab_size": shape.vocab,
        "padded_vocab_size": shape.vocab,
        "n_layer": shape.n_layer,
        "n_head": shape.n_head,
        "n_embd": shape.width,
        "head_size": shape.width // shape.n_head,
        "n_query_groups": 1,
        "rotary_percentage": 1.0,
        "rope_base": 10000,
        "parallel_residual": True,
        "shared_attention_norm": True,
        "bias": False,
        "lm_head_bias": False,
        "norm_class_name": "LayerNorm",
        "norm_eps": 1e-5,
        "mlp_class_name": "GptNeoxMLP",
        "intermediate_size": 4 * shape.width,
    }
    (folder / "model_config.yaml").write_text(yaml.safe_dump(fields))
    special = {"bos_token": CONTROLS[0], "eos_token": CONTROLS[0], "pad_token": "<|pad|>"}
    special |= {"additional_special_tokens": [c for c in CONTROLS if c not in special.values()]}
    fast = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.block,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", fast | special)
    _write_json(
        folder / "config.json",
        {
            "architectures": ["FalconForCausalLM"],
            "model_type": "falcon",
            "vocab_size": shape.vocab,
            "hidden_size": shape.width,
            "num_hidden_layers": shape.n_layer,
            "num_attention_heads": shape.n_head,
            "num_kv_heads": 1,
            "ffn_hidden_size": 4 * shape.width,
            "max_position_embeddings": shape.block,
            "rope_theta": 10000.0,
            "layer_norm_epsilon": 1e-5,
            "activation": "gelu",
            "alibi": False,
            "bias": False,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "tie_word_embeddings": True,
            "bos_token_id": DOC_ID,
            "eos_token_id": DOC_ID,
            "pad_token_id": CONTROLS.index("<|pad|>"),
            "torch_dtype": "bfloat16",
        },
    )
    digest = hashlib.sha256((folder / "lit_model.safetensors").read_bytes()).hexdigest()
    _write_json(folder / "figures.json", found | {"ngram": ngram, "sha256": digest})
    with (folder / "curve.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    draw_curve(rows, folder / "curve.png")
    (folder / "README.md").write_text(model_card(found, ngram, digest))
    card = {"schema": 1, "name": "embedded", "sha256": digest, "files": ["lit_model.safetensors"], "is_head_tied": True}
    _write_json(folder / "base.json", card | {"revision": f"{len(rows)} points, seed {found['preset']['seed']}"})


def model_card(found: dict[str, Any], ngram: dict[str, Any], digest: str) -> str:
    """Return the model card, every figure of it taken from the run."""
    preset, held = found["preset"], found["held_out"]
    student = preset["student"]
    width, n_layer = student["width"], student["n_layer"]
    n_parameters = student["vocab"] * width + n_layer * width * (width * 10 + 2 * width // student["n_head"])

    def row(name: str, figures: Callable[[str, str], float | None]) -> str:
        cells = [figures(lang, how) for lang in ("english", "russian") for how in ("as_trial", "per_text_byte")]
        return f"| {name} | " + " | ".join("" if c is None else f"{c:.3f}" for c in cells) + " |\n"

    def marks(lang: str, how: str) -> float:  # the trial counted its marks as bytes of text
        return 1.0 if how == "as_trial" else held[lang]["trial_bytes"] / held[lang]["text_bytes"]

    table = row("gzip -9", lambda lang, how: held[lang].get("gzip_9") if how == "per_text_byte" else None)
    table += row("4-gram over the same tokens", lambda lang, how: ngram[lang][how])
    table += row("the trial, windows of 512", lambda lang, how: TRIAL[lang] * marks(lang, how))
    table += row("**this base, windows of 512**", lambda lang, how: held[lang]["windows_of_512"][how])
    table += row("this base, windows of 1,024", lambda lang, how: held[lang]["windows_of_1024"][how])
    table += row("its teacher, windows of 1,024", lambda lang, how: held[lang]["teacher_windows_of_1024"][how])
    retold = held["russian_not_retold"]["windows_of_512"]
    share = held["russian_not_retold"]["text_bytes"] / held["russian"]["text_bytes"]
    samples = "".join(f"| {s['prompt']} | {s['reply']} |\n" for s in found["samples"])
    return (
        (Path(__file__).parent / "card.md")
        .read_text(encoding="utf-8")
        .format(
            found=found,
            preset=preset,
            student=student,
            teacher=preset["teacher"],
            learned=preset["learn_student"],
            taught=preset["learn_teacher"],
            million=n_parameters / 1e6,
            epoch=found["tokens_an_epoch"] / 1e6,
            learned_tokens=preset["learn_student"]["n_tokens"] / 1e6,
            taught_tokens=preset["learn_teacher"]["n_tokens"] / 1e6,
            digest=digest,
            table=table,
            retold=retold,
            share=share,
            samples=samples,
        )
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def draw_curve(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw held-out bits a byte of both models and languages over the tokens they have read."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6), dpi=110, layout="constrained")
    for language, colour in (("english", "#1f6feb"), ("russian", "#d1242f")):
        for name, line in (("teacher", ":"), ("student", "-")):
            points = [(r["tokens"] / 1e6, r[language]) for r in rows if r["model"] == name]
            label = f"{language.capitalize()}, {'the base' if name == 'student' else 'its teacher'}"
            axes.plot(*zip(*points, strict=True), line, color=colour, label=label, linewidth=1.6)
    axes.set(xlabel="million tokens read", ylabel="held-out bits a byte", ylim=(0.8, 1.6))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)
