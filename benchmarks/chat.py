"""How fast a twin answers: ours beside `litgpt generate` and transformers, the same random Falcon-7B, one process.

    python -m benchmarks.chat                  one GPU with 40 GB; the last line is JSON
    python -m benchmarks.chat --tiny           a few layers on a CPU, to see that the script runs

Tokens a second are of a whole reply: prefill of 128 tokens, then 256 tokens at batch 1, each sampled at temperature 0.8
among the 50 likeliest, best of three. litgpt and transformers are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from clone.chat.eight_bit import to_eight_bits
from clone.chat.engine import EagerRunner, Engine, Marks
from clone.chat.held_out import held_out_loss
from clone.chat.sampling import Sampling
from clone.lm.model import Transformer
from clone.lm.shape import Shape
from clone.lm.tokens import Encoded

FALCON_7B: dict[str, Any] = {
    "name": "falcon-7b",
    "block_size": 2048,
    "vocab_size": 65024,
    "padded_vocab_size": 65024,
    "n_layer": 32,
    "n_head": 71,
    "n_query_groups": 1,
    "n_embd": 4544,
    "head_size": 64,
    "intermediate_size": 18176,
    "rotary_percentage": 1.0,
    "parallel_residual": True,
    "shared_attention_norm": True,
    "bias": False,
    "lm_head_bias": False,
    "norm_class_name": "LayerNorm",
    "mlp_class_name": "GptNeoxMLP",
}
TINY = {**FALCON_7B, "n_layer": 2, "n_head": 4, "n_embd": 256, "intermediate_size": 1024, "vocab_size": 512}
TINY["padded_vocab_size"] = 512
N_PROMPT, N_NEW, N_HISTORY = 128, 256, 1500
SAMPLING = Sampling(temperature=0.8, top_k=50, max_tokens=N_NEW)


def make_model(config: dict[str, Any], device: str, dtype: torch.dtype) -> Transformer:
    """Return a random model of a shape."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = Transformer(Shape.of(config))
    torch.set_default_dtype(before)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if "norm" in name or "ln_f" in name:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            parameter.normal_(0, 0.02)
    return model.eval()


def runner_for(model: Transformer) -> EagerRunner:
    """Return what `clone chat` would use."""
    if model.device.type == "cuda":
        from clone.chat.fast import FastRunner

        return FastRunner(model)
    return EagerRunner(model)


def best_of(runs: int, reply: Callable[[], int]) -> float:
    """Return tokens a second of the fastest of several replies, after one to warm up."""
    reply()
    best = 0.0
    for _ in range(runs):
        wait()
        started = time.perf_counter()
        n = reply()
        wait()
        best = max(best, n / (time.perf_counter() - started))
    return best


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def engine_of(model: Transformer) -> Engine:
    none: frozenset[int] = frozenset()
    marks = Marks(none, end=-1, never_first=none, unpenalised=none, n_tokens=model.shape.vocab_size)
    return Engine(runner_for(model), marks)


def ours(model: Transformer, sampling: Sampling, n: int = 1) -> float:
    """Return tokens a second of one candidate, through the engine as every face uses it."""
    engine = engine_of(model)
    prompt = random_ids(N_PROMPT, model.shape.vocab_size, 1)

    def reply() -> int:
        engine.forget()
        return sum(1 for _ in engine.generate(prompt, sampling, n=n))

    return best_of(3, reply)


def text_of(model: Transformer) -> list[int]:
    """Return a prompt and what the model says to it, drawn from its own distribution."""
    engine = engine_of(model)
    prompt = random_ids(N_PROMPT, model.shape.vocab_size, 3)
    sampling = Sampling(max_tokens=min(512, engine.n_context - N_PROMPT), seed=1)
    return prompt + [ids[0] for ids in engine.generate(prompt, sampling) if ids[0] is not None]


def loss_on(model: Transformer, text: list[int]) -> float:
    """Return the loss in nats a token on what follows the prompt of a text."""
    is_learned = [i >= N_PROMPT for i in range(len(text))]
    return held_out_loss(model, [Encoded(text, is_learned)])


def first_token_ms(model: Transformer, n_new: int) -> float:
    """Return the milliseconds to the first token of a later turn of `n_new` tokens over a long history."""
    engine = engine_of(model)
    n_history = min(N_HISTORY, engine.n_context - 2 * n_new - 8)
    history = random_ids(n_history, model.shape.vocab_size, 2)
    found = []
    for i in range(6):
        steps = engine.generate(history, Sampling(temperature=0.8, top_k=50, max_tokens=4))
        next(steps)
        steps.close()  # type: ignore[attr-defined]
        later = history + random_ids(n_new, model.shape.vocab_size, 10 + i)
        wait()
        started = time.perf_counter()
        steps = engine.generate(later, Sampling(temperature=0.8, top_k=50, max_tokens=4))
        next(steps)
        found.append((time.perf_counter() - started) * 1000)
        steps.close()  # type: ignore[attr-defined]
    return sorted(found[1:])[2]


def random_ids(n: int, n_vocab: int, seed: int) -> list[int]:
    return torch.randint(12, n_vocab, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def litgpt(config: dict[str, Any], device: str, dtype: torch.dtype) -> float:
    """Return tokens a second of LitGPT's own generate."""
    import litgpt.generate.base as stock
    from litgpt.config import Config
    from litgpt.model import GPT

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = GPT(Config(**config))
        model.max_seq_length = N_PROMPT + N_NEW
        model.set_kv_cache(batch_size=1, device=torch.device(device), dtype=dtype)
    torch.set_default_dtype(before)
    model.eval()
    prompt = torch.tensor(random_ids(N_PROMPT, config["vocab_size"], 1), device=device)

    def reply() -> int:
        out = stock.generate(model, prompt, N_PROMPT + N_NEW, temperature=0.8, top_k=50, eos_id=None)
        for block in model.transformer.h:
            block.attn.kv_cache.reset_parameters()
        return int(out.numel()) - N_PROMPT

    with torch.inference_mode():
        return best_of(3, reply)


def transformers(config: dict[str, Any], device: str, dtype: torch.dtype) -> float:
    """Return tokens a second of transformers' generate."""
    from transformers import FalconConfig, FalconForCausalLM

    theirs = FalconConfig(
        vocab_size=config["vocab_size"],
        hidden_size=config["n_embd"],
        num_hidden_layers=config["n_layer"],
        num_attention_heads=config["n_head"],
        multi_query=True,
        parallel_attn=True,
        bias=False,
        alibi=False,
        new_decoder_architecture=False,
        max_position_embeddings=config["block_size"],
        bos_token_id=11,
        eos_token_id=None,
        pad_token_id=11,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = FalconForCausalLM(theirs).eval()
    torch.set_default_dtype(before)
    prompt = torch.tensor([random_ids(N_PROMPT, config["vocab_size"], 1)], device=device)

    def reply() -> int:
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=0.8,
            top_k=50,
            min_new_tokens=N_NEW,
            max_new_tokens=N_NEW,
        )
        return int(out.shape[1]) - N_PROMPT

    with torch.inference_mode():
        return best_of(3, reply)


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the table, print the JSON line and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a few layers on a CPU")
    tiny = parser.parse_args(arguments).tiny
    device, dtype = ("cpu", torch.float32) if tiny else ("cuda", torch.bfloat16)
    config = TINY if tiny else FALCON_7B
    out: dict[str, Any] = {"device": "CPU" if tiny else torch.cuda.get_device_name(), "torch": torch.__version__}
    rows: list[tuple[str, float]] = []

    def tell(name: str, value: float) -> None:
        rows.append((name, value))
        print(f"  {name:<44} {value:8.1f}", flush=True)

    with torch.no_grad():
        for name, peer in (("litgpt generate", litgpt), ("transformers generate", transformers)):
            try:
                out[name.split()[0]] = peer(config, device, dtype)
                tell(f"{name}, tokens/s", out[name.split()[0]])
            except ImportError as error:
                print(f"  {name}: left out ({error})", flush=True)
            free()
        model = make_model(config, device, dtype)
        out["ours"] = ours(model, SAMPLING)
        tell("ours, bf16, tokens/s" if not tiny else "ours, tokens/s", out["ours"])
        out["ours_top_p"] = ours(model, Sampling(temperature=0.8, top_p=0.95, max_tokens=N_NEW))
        tell("ours, top-p 0.95, tokens/s", out["ours_top_p"])
        out["ours_4_candidates"] = ours(model, SAMPLING, n=4)
        tell("ours, each of 4 candidates, tokens/s", out["ours_4_candidates"])
        for n_new in (8, 32):
            key = f"first_token_ms_{n_new}_new"
            out[key] = first_token_ms(model, n_new)
            tell(f"first token of a later turn, {n_new} new, ms", out[key])
        text = text_of(model)
        loss = loss_on(model, text)
        for kind in ("int8", "fp8"):
            del model
            free()
            model = make_model(config, device, dtype)
            to_eight_bits(model, kind)  # type: ignore[arg-type]
            out[f"ours_{kind}"] = ours(model, SAMPLING)
            tell(f"ours, {kind} weights, tokens/s", out[f"ours_{kind}"])
            out[f"first_token_ms_8_new_{kind}"] = first_token_ms(model, 8)
            tell(f"first token of a later turn, {kind}, ms", out[f"first_token_ms_8_new_{kind}"])
            out[f"cost_{kind}"] = loss_on(model, text) - loss
            print(
                f"  its cost, nats a token of the model's own text (loss {loss:.3f}): {out[f'cost_{kind}']:+.4f}",
                flush=True,
            )
    for peer_name in ("litgpt", "transformers"):
        if peer_name in out:
            out[f"ratio_to_{peer_name}"] = out["ours"] / out[peer_name]
            print(f"  ours is {out[f'ratio_to_{peer_name}']:.1f} times {peer_name}")
    print(json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in out.items()}))
    return out


if __name__ == "__main__":
    main()
