"""A tiny twin that knows nothing, for every test that needs one."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from clone.chat.engine import EagerRunner, Engine
from clone.chat.twin import Twin, marks_of
from clone.lm.model import Transformer
from clone.lm.shape import Shape
from clone.lm.tokens import Tokens

CONTROLS = ["<|doc|>", "<|them|>", "<|me|>", "<|bubble|>", "<|end|>"]
TALK = ["hey, are you there?", "yes! what's up", "привет, как дела?", "всё хорошо, а ты?", "see you at eight 🙂", "ok"]


def make_tokenizer(n_tokens: int = 400) -> Tokenizer:
    """Return a byte-level BPE trained on a few lines."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens,
        special_tokens=CONTROLS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TALK * 3, trainer)
    return tokenizer


FALCON = {
    "name": "tiny-falcon",
    "block_size": 256,
    "vocab_size": 400,
    "padded_vocab_size": 416,
    "n_layer": 2,
    "n_head": 4,
    "n_query_groups": 1,
    "n_embd": 32,
    "head_size": 8,
    "intermediate_size": 128,
    "rotary_percentage": 1.0,
    "parallel_residual": True,
    "shared_attention_norm": True,
    "bias": False,
    "lm_head_bias": False,
    "norm_class_name": "LayerNorm",
    "mlp_class_name": "GptNeoxMLP",
}
LLAMA = {
    **FALCON,
    "name": "tiny-llama",
    "n_query_groups": 2,
    "parallel_residual": False,
    "shared_attention_norm": False,
    "norm_class_name": "RMSNorm",
    "mlp_class_name": "LLaMAMLP",
}
GEMMA = {
    **LLAMA,
    "name": "tiny-Gemma",
    "mlp_class_name": "GemmaMLP",
    "sliding_window_size": 6,
    "sliding_window_indices": [1, 0],
    "attention_logit_softcapping": 20.0,
    "final_logit_softcapping": 15.0,
    "post_attention_norm": True,
    "post_mlp_norm": True,
    "scale_embeddings": True,
}


def make_model(config: dict[str, object] = FALCON, seed: int = 0) -> Transformer:
    """Return a random model: weights of the size that makes its choices sharp enough to tell apart."""
    model = Transformer(Shape.of(config))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "norm" in name or "ln_f" in name:
            parameter.data = torch.ones_like(parameter) if name.endswith("weight") else torch.zeros_like(parameter)
        else:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        parameter.requires_grad_(False)
    return model.eval()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture
def tokens(tokenizer: Tokenizer) -> Tokens:
    return Tokens(Tokenizer.from_str(tokenizer.to_str()))


@pytest.fixture
def engine(tokens: Tokens) -> Engine:
    return Engine(EagerRunner(make_model()), marks_of(tokens))


@pytest.fixture
def twin(engine: Engine, tokens: Tokens) -> Twin:
    return Twin(engine, tokens, name="default/20261122-120000", base="tiny", contacts=("amber", "birch", "cedar"))
