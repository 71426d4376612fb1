"""What is asked for: every setting with its default, its range and one line of explanation.

A recipe is a YAML file: a name, then one block a stage with the departures from the defaults. Unknown keys are errors
with the nearest spelling; all mistakes are told at once. Knows nothing of paths or stages.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from clone.errors import RecipeError

DEFAULT_BASE = "tiiuae/falcon-7b"


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CollectRecipe(_Block):
    """Where messages come from."""

    files: list[str] = Field([], description="Export files to read, as paths from the workspace.")
    me: str | None = Field(None, description="Your id or name in the export, where the file does not say it.")
    timezone: str | None = Field(
        None, description="Where times without a zone were written, as Europe/Berlin; this machine's zone otherwise."
    )
    dates: Literal["day-first", "month-first"] | None = Field(
        None, description="How a WhatsApp export writes dates, where they do not tell."
    )
    max_bad_share: float = Field(
        0.01, ge=0, le=1, description="Share of unreadable records above which an import stops."
    )


class PiiRecipe(_Block):
    """What is done about personal data. Choices for every recipe stand in data/raw/privacy.yaml."""

    contacts: dict[str, Literal["allow", "pseudonymise", "exclude"]] = Field(
        {}, description="What is done about a contact, by title, @username, phone or chat id."
    )
    allow: list[str] = Field([], description="Words that are never masked.")
    deny: list[str] = Field([], description="Words that are always masked.")
    ignore: list[str] = Field(
        [], description="Types that are not looked for, such as LICENSE_PLATE; see docs/data-format.md."
    )
    names: Literal["contacts", "careful", "all"] = Field(
        "careful",
        description="Whose names are masked: the contacts', also listed first names (English ones where a word beside "
        "them says so), or listed first names wherever they stand with a capital.",
    )
    ner: Literal["none", "spacy", "natasha"] = Field(
        "none", description="A model that you installed and that looks for names too."
    )
    ner_model: str = Field("xx_ent_wiki_sm", description="The spaCy model, where ner is spacy.")


class PrepareRecipe(_Block):
    """How messages become examples."""

    session_gap_minutes: int = Field(1440, ge=1, description="A longer silence ends a session.")
    max_context_tokens: int = Field(
        1024, ge=16, le=131072, description="Longest instruction and context together, in tokens of the base."
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="Share of the examples held out for validation: those of the newest sessions."
    )
    since: date | None = Field(None, description="Leave out messages before this day, UTC.")
    until: date | None = Field(None, description="Leave out messages from this day on, UTC.")
    min_session_messages: int = Field(2, ge=1, description="Leave out sessions with fewer messages.")
    long_text_chars: int = Field(
        100, ge=20, description="Texts at least this long count once: repeats and near repeats of them are left out."
    )
    max_contact_share: float = Field(
        1.0, gt=0, le=1, description="Largest share of the examples that one contact may have; its oldest sessions go."
    )
    pii: PiiRecipe = Field(PiiRecipe(), description="What is done about personal data.")


class FinetuneRecipe(_Block):
    """How the adapter is trained."""

    base: str = Field(
        DEFAULT_BASE, description="The base model: a hub name that LitGPT knows, a folder, or `embedded`."
    )
    epochs: float = Field(3.0, gt=0, description="Passes over the training examples.")
    max_steps: int | None = Field(None, ge=1, description="Stop after this many optimizer steps.")
    learning_rate: float | None = Field(
        None, gt=0, lt=1, description="Peak learning rate of AdamW; by the base's size if not given (2e-4 from 1B on)."
    )
    min_learning_rate_share: float = Field(
        0.1, ge=0, le=1, description="Where the cosine ends, as a share of the peak learning rate."
    )
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps over which the rate rises to its peak."
    )
    weight_decay: float = Field(0.0, ge=0, lt=1, description="AdamW's weight decay.")
    clip_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm at most.")
    lora_rank: int = Field(16, ge=1, le=1024, description="Rank of the LoRA matrices.")
    lora_alpha: float = Field(32.0, gt=0, description="LoRA scale: the update is multiplied by alpha / rank.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on what the LoRA matrices read.")
    lora_targets: list[Literal["attn.qkv", "attn.proj", "mlp.fc", "mlp.fc_1", "mlp.fc_2", "mlp.proj"]] = Field(
        ["attn.qkv", "attn.proj", "mlp.fc", "mlp.fc_1", "mlp.fc_2", "mlp.proj"],
        min_length=1,
        description="Layers that get LoRA matrices: all linear ones unless given (those that the base has).",
    )
    max_sequence_tokens: int | None = Field(
        None, ge=16, description="Longest sequence; the base's longest, 2048 at most, if not given."
    )
    row_tokens: int | None = Field(
        None, ge=16, description="Tokens that go through the model at once; 8192 on a GPU, 2048 on a CPU, if not given."
    )
    step_tokens: int | None = Field(
        None, ge=16, description="Tokens of an optimizer step; if not given, so that an epoch has about 32 steps."
    )
    evaluations: int = Field(10, ge=1, description="How often the held-out loss is measured, spread over the run.")
    patience: int = Field(3, ge=0, description="Evaluations without a better held-out loss before stopping; 0: never.")
    save_every_seconds: float = Field(60.0, ge=0, description="How often the state to resume from is saved.")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="What the frozen base computes in; auto is bf16 on a GPU and fp32 on a CPU."
    )
    frozen: Literal["same", "fp8", "nf4"] = Field(
        "same",
        description="How frozen weights are kept: as `precision` says, in fp8 (faster; Ada, Hopper or newer) or nf4 "
        "(a quarter of the memory).",
    )
    checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, a third more time."
    )
    compile: bool | None = Field(None, description="Compile the blocks; on a GPU if not given.")
    devices: int = Field(1, ge=1, description="GPUs (or CPU processes) of this machine to train on together.")
    nodes: int = Field(1, ge=1, description="Machines, started together by torchrun or SLURM.")
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="How several devices share the base: each holds it whole (ddp), or its frozen weights are cut over "
        "them (fsdp, for one that does not fit a card; not with fp8 or nf4). auto is ddp where it fits.",
    )
    deterministic: bool = Field(False, description="Refuse kernels whose results vary from run to run.")
    seed: int = Field(0, ge=0, description="Seed of weights and order.")


class ChatRecipe(_Block):
    """How the twin answers."""

    temperature: float = Field(0.8, ge=0, le=5, description="0 is greedy; higher is more surprising.")
    top_p: float = Field(0.95, gt=0, le=1, description="Sample from the smallest set of tokens with this probability.")
    top_k: int | None = Field(None, ge=1, description="Sample from this many tokens at most.")
    min_p: float = Field(0.0, ge=0, lt=1, description="Leave out tokens less likely than this share of the likeliest.")
    repetition_penalty: float = Field(
        1.0, gt=0, le=10, description="Divides the score of tokens that the conversation holds already; 1 is off."
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="Taken from a token's score each time the reply has used it."
    )
    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="Taken once from the score of each token that the reply has used."
    )
    max_reply_tokens: int = Field(256, ge=1, le=4096, description="Longest reply, in tokens of the base.")
    max_context_tokens: int | None = Field(
        None, ge=16, le=131072, description="Longest conversation the twin sees, where the base could see more."
    )
    seed: int | None = Field(None, ge=0, description="Makes replies repeatable.")
    weights: Literal["as-is", "int8", "fp8"] = Field(
        "as-is", description="Keep the base's weights as they are, or in 8 bits: smaller, faster, a little worse."
    )
    burst_seconds: float = Field(
        1.2, ge=0, le=60, description="Silence after which lines typed in a row are answered, together."
    )


class Recipe(_Block):
    """One way of making a clone."""

    name: str = Field("default", description="Names the folders of processed data and runs.")
    collect: CollectRecipe = CollectRecipe()
    prepare: PrepareRecipe = PrepareRecipe()
    finetune: FinetuneRecipe = FinetuneRecipe()
    chat: ChatRecipe = ChatRecipe()

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        import re

        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name == "base":
            raise ValueError("letters, digits, '.', '_' and '-' only, and not 'base'")
        return name


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe in `path` (all defaults where None) with `overrides` ("block.key=value") laid over it.

    Raises RecipeError that names every mistake.
    """
    data: dict[str, Any] = {}
    where = "the recipe"
    if path is not None:
        where = str(path)
        data = _read_yaml(path)
    for text in overrides:
        _override(data, text)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        mistakes = [_explain(item) for item in error.errors()]
        n = len(mistakes)
        raise RecipeError(
            f"{n} mistake{'s' * (n != 1)} in {where}:\n" + "\n".join(f"  {line}" for line in mistakes),
            "docs/recipes.md lists every setting.",
        ) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else "Recipes are YAML files, usually in pipelines/."
        raise RecipeError(f"no recipe at {path}.", hint) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{path}{line} is not YAML.", "Compare it with a recipe in pipelines/.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe: it should hold `name:` and a block a stage.")
    return data


def _override(data: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text}: not of the form key=value.", "For example: --set finetune.epochs=1")
    *blocks, last = key.strip().split(".")
    for block in blocks:
        inner = data.setdefault(block, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {text}: {block} is not a block.")
        data = inner
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        data[last] = value


def _explain(error: Mapping[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], known_keys(path[:-1]), n=1, cutoff=0.5)
        return f"{key}: no such setting" + (f", did you mean {'.'.join([*path[:-1], near[0]])}?" if near else ".")
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return (
        f"{key}: should be {message}, not {error['input']!r}."
        if "Input should" in error["msg"]
        else f"{key}: {message}."
    )


def known_keys(path: Sequence[str]) -> list[str]:
    """Return the settings of the block at `path`."""
    model: type[BaseModel] = Recipe
    for part in path:
        inner = block_of(model.model_fields[part].annotation) if part in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def block_of(annotation: Any) -> type[BaseModel] | None:
    """Return the block that an annotation names, None for a plain setting."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((b for arg in get_args(annotation) if (b := block_of(arg))), None)
    return None


Stage = Literal["collect", "prepare", "finetune", "chat"]
STAGES: tuple[Stage, ...] = ("collect", "prepare", "finetune", "chat")
