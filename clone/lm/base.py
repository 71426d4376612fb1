"""Bases: found, downloaded, converted once, and checked to be whole.

A base is a folder of LitGPT's files (`lit_model*.safetensors`, `model_config.yaml`) with the tokenizer beside them;
`base.json` is written last, so that its presence means complete. Knows nothing of training or talking.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from clone.errors import HubError, ModelError
from clone.lm.shape import Shape
from clone.lm.template import Control
from clone.workspace import disk_error, hash_file, make_private_folder, sync_folder, write_atomically

EMBEDDED = "embedded"
_BASE_SCHEMA = 1

OnProgress = Callable[[str, int, int | None], None]
OnNote = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """A base that stands whole on disk."""

    name: str
    path: Path
    sha256: str  # of the weights
    is_head_tied: bool
    revision: str  # of the source, "" where it has none

    @property
    def shape(self) -> Shape:
        return Shape.read(self.path)


def resolve_base(
    name: str,
    bases_folder: Path,
    *,
    on_progress: OnProgress = lambda what, done, total: None,
    on_note: OnNote = lambda text: None,
    endpoint: str | None = None,
) -> BaseFolder:
    """Return the base `name`, fetched and converted if need be.

    `embedded` is the one that comes with the package. Otherwise `name` is a folder, converted or as Hugging Face lays
    it out, or a hub name. `endpoint` stands in for HF_ENDPOINT.
    Raises ModelError or HubError.
    """
    if name == EMBEDDED:
        return open_base(packaged_base())
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _local_base(folder, bases_folder, on_progress)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"no base at {name}.", "Give a hub name such as tiiuae/falcon-7b, a folder, or `embedded`.")
    target = bases_folder / name
    if (target / "base.json").exists():
        return open_base(target)
    return _hub_base(name, target, on_progress, on_note, endpoint)


def packaged_base() -> Path:
    """Return the folder of the base that comes with the package."""
    return Path(str(resources.files("clone.lm"))) / EMBEDDED


def known_shape(name: str, bases_folder: Path) -> Shape | None:
    """Return the shape of a base without fetching anything; None where that cannot be known."""
    if name == EMBEDDED:
        return Shape.read(packaged_base())
    for folder in (Path(name).expanduser(), bases_folder / name):
        if (folder / "model_config.yaml").exists():
            return Shape.read(folder)
        if (folder / "config.json").exists():
            from clone.lm.lit import fields_for

            return Shape.of(fields_for(folder.name, _read_json(folder / "config.json")))
    from clone.lm.lit import fields_of

    fields = fields_of(name)
    return Shape.of(fields) if fields else None


def n_parameters(name: str, bases_folder: Path) -> int | None:
    """Return how many weights a base has, without fetching anything; None where that cannot be known."""
    shape = known_shape(name, bases_folder)
    return shape.n_parameters if shape else None


def open_base(folder: Path) -> BaseFolder:
    """Return the base in a converted folder. Raises ModelError, naming what is missing, where it is not whole."""
    card = folder / "base.json"
    if not card.exists():
        raise ModelError(
            f"the base in {folder} is incomplete: base.json, which is written last, is missing.",
            "Remove the folder and run again to fetch it anew.",
        )
    fields = _read_json(card)
    if int(fields.get("schema", 1)) > _BASE_SCHEMA:
        raise ModelError(f"the base in {folder} was converted by a newer clone.", "Upgrade clone.")
    names: list[str] = ["model_config.yaml", "tokenizer.json", *fields.get("files", ["lit_model.safetensors"])]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise ModelError(
            f"the base in {folder} lacks {' and '.join(missing)}.",
            "Remove the folder and run again to fetch it anew.",
        )
    return BaseFolder(
        name=str(fields.get("name", folder.name)),
        path=folder,
        sha256=str(fields["sha256"]),
        is_head_tied=bool(fields.get("is_head_tied", True)),
        revision=str(fields.get("revision", "")),
    )


# -- a folder that someone has --------------------------------------------------------------------------------------


def _local_base(folder: Path, bases_folder: Path, on_progress: OnProgress) -> BaseFolder:
    folder = folder.resolve()
    if (folder / "base.json").exists():
        return open_base(folder)
    if (folder / "lit_model.safetensors").exists() or (folder / "model_config.yaml").exists():
        return open_base(folder)  # says what is missing
    if not (folder / "config.json").exists():
        raise ModelError(
            f"{folder} is no base: it has neither base.json nor the config.json of a Hugging Face model.",
            "Give the folder of a whole model, or a hub name.",
        )
    key = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    target = bases_folder / "local" / f"{folder.name}-{key}"
    if (target / "base.json").exists():
        return open_base(target)
    convert_base(folder, target, name=str(folder), lit_name=folder.name, revision="", on_progress=on_progress)
    return open_base(target)


# -- the hub ----------------------------------------------------------------------------------------------------------

_SIDE_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


def _hub_base(name: str, target: Path, on_progress: OnProgress, on_note: OnNote, endpoint: str | None) -> BaseFolder:
    from clone.lm.lit import fields_of, known_names

    if fields_of(name) is None:
        import difflib

        near = difflib.get_close_matches(name, known_names(), n=3, cutoff=0.4)
        raise ModelError(
            f"LitGPT knows no base {name}.",
            (f"Did you mean {' or '.join(near)}? " if near else "") + "A folder with a model works too.",
        )
    source, revision = _download(name, target, on_progress, on_note, endpoint)
    convert_base(source, target, name=name, lit_name=name, revision=revision, on_progress=on_progress)
    return open_base(target)


def _download(
    name: str, target: Path, on_progress: OnProgress, on_note: OnNote, endpoint: str | None
) -> tuple[Path, str]:
    """Return the hub's folder in its cache, and its revision, after making sure that every file is whole."""
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError:
        from clone.errors import MissingExtra

        raise MissingExtra("huggingface_hub", "train") from None
    try:
        import httpx

        offline: tuple[type[Exception], ...] = (httpx.TransportError, HfHubHTTPError, LocalEntryNotFoundError, OSError)
    except ImportError:  # hub < 1 speaks through requests, whose errors are OSErrors
        offline = (HfHubHTTPError, LocalEntryNotFoundError, OSError)
    try:
        info = HfApi(endpoint=endpoint).model_info(name, files_metadata=True)
        sizes = {s.rfilename: s.size or 0 for s in info.siblings or [] if "/" not in s.rfilename}
        wanted = _wanted_files(sizes, name)
        total = sum(sizes[f] for f in wanted)
        on_note(f"{name}: {total / 1e9:,.1f} GB from the hub, kept in its cache.")
        _check_space(total, target, name)
        on_progress("downloading", 0, None)
        folder = Path(snapshot_download(name, allow_patterns=sorted(wanted), endpoint=endpoint, tqdm_class=None))
    except GatedRepoError as error:
        raise HubError(
            f"{name} is gated: its authors ask you to accept their terms first.",
            f"Accept them at https://huggingface.co/{name}, then log in with `hf auth login` or set HF_TOKEN.",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the hub has no {name}, or it is private.", "Check the name; for a private one set HF_TOKEN."
        ) from error
    except offline as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise disk_error(error, target) from error
        return _from_cache(name, error), ""
    # With the hub gone half-way an older folder comes back without a word, so the sizes are compared here.
    broken = [f for f in wanted if not (folder / f).exists() or (folder / f).stat().st_size != sizes[f]]
    if broken:
        raise HubError(
            f"{name} did not arrive whole: {broken[0]} is missing or cut off.",
            "Run the same command again to fetch the rest.",
        )
    return folder, str(info.sha or "")


def _from_cache(name: str, error: Exception) -> Path:
    """Return the hub's cached folder, whole as far as its own index can tell; otherwise say that the hub is away."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from clone.lm.lit import source_files

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        source_files(folder)
        if not (folder / "config.json").exists() or not (folder / "tokenizer.json").exists():
            raise ModelError(f"the cached {name} is incomplete.")
    except (LocalEntryNotFoundError, ModelError):
        raise HubError(
            f"the hub cannot be reached for {name} ({type(error).__name__}).",
            "Check the network and HF_ENDPOINT, or give --base a folder.",
        ) from error
    return folder


def _wanted_files(sizes: Mapping[str, int], name: str) -> set[str]:
    def weights(suffix: str) -> set[str]:
        found = {f for f in sizes if f.endswith(suffix) and not f.startswith(("adapter_", "training_args"))}
        shards = {f for f in found if "-of-" in f}
        return shards or found

    chosen = weights(".safetensors") or weights(".bin")
    if not chosen:
        raise ModelError(f"{name} holds no weights (*.safetensors or *.bin).", "Choose another base.")
    if "tokenizer.json" not in sizes:
        raise ModelError(f"{name} has no tokenizer.json.", "Choose a base that has one.")
    suffix = ".safetensors" if next(iter(chosen)).endswith(".safetensors") else ".bin"
    index = {f for f in sizes if f.endswith(f"{suffix}.index.json")}
    return chosen | index | {f for f in _SIDE_FILES if f in sizes}


def _check_space(n_bytes: int, target: Path, name: str) -> None:
    there = next(folder for folder in (target, *target.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < 2 * n_bytes:  # once in the hub's cache, once converted
        raise ModelError(
            f"{name} needs {2 * n_bytes / 1e9:,.1f} GB of disk, {free / 1e9:,.1f} GB are free.",
            "Free some space, or choose a smaller base.",
        )


# -- conversion -------------------------------------------------------------------------------------------------------


def convert_base(
    source: Path, target: Path, *, name: str, lit_name: str, revision: str, on_progress: OnProgress
) -> None:
    """Write the base of a Hugging Face folder to `target`, in a temporary neighbour that is renamed when whole."""
    from safetensors.torch import save_file

    from clone.lm.lit import convert_files, fields_for, source_files
    from clone.lm.weights import HEAD

    hf = _read_json(source / "config.json")
    if not (source / "tokenizer.json").exists():
        raise ModelError(f"{source} has no tokenizer.json.", "Give the folder of a whole model.")
    fields = fields_for(lit_name.rpartition("/")[2], hf)
    files = source_files(source)
    make_private_folder(target.parent)
    work = make_private_folder(target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}")
    shards: list[Path] = []
    names: set[str] = set()
    try:
        for tensors in convert_files(fields, files, lambda done, total: on_progress("converting", done, total)):
            if not tensors:
                continue
            shards.append(work / f"shard-{len(shards):05d}")
            names |= tensors.keys()
            save_file(tensors, shards[-1])
        is_tied = HEAD not in names
        if is_tied and hf.get("tie_word_embeddings") is False:
            raise ModelError(
                f"{source} has no lm_head, and its config.json says that the head is one of its own.",
                "The model is incomplete; fetch it again.",
            )
        weight_names = _name_shards(shards)
        (work / "model_config.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
        for side in _SIDE_FILES:
            if (source / side).exists():
                shutil.copyfile(source / side, work / side)
        _check_whole(work)
        _finish(work, target, name=name, files=weight_names, is_head_tied=is_tied, revision=revision)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _name_shards(shards: list[Path]) -> list[str]:
    names = []
    for i, shard in enumerate(shards):
        name = (
            "lit_model.safetensors" if len(shards) == 1 else f"lit_model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        )
        shard.rename(shard.with_name(name))
        names.append(name)
    return names


def _check_whole(folder: Path) -> None:
    """Raise ModelError unless the converted weights are exactly those of the shape, a tied head left out."""
    import torch

    from clone.lm.model import Transformer
    from clone.lm.weights import check_names, read_weights

    with torch.device("meta"):
        model = Transformer(Shape.read(folder))
    check_names(read_weights(folder), model, folder)


def _finish(work: Path, target: Path, *, name: str, files: list[str], is_head_tied: bool, revision: str) -> None:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hash_file(work / file).encode())
    card: dict[str, Any] = {
        "schema": _BASE_SCHEMA,
        "name": name,
        "sha256": hash_file(work / files[0]) if len(files) == 1 else digest.hexdigest(),
        "files": files,
        "is_head_tied": is_head_tied,
        "revision": revision,
    }
    with write_atomically(work / "base.json") as stream:
        stream.write(json.dumps(card, indent=1))
    if target.exists() and not (target / "base.json").exists():
        shutil.rmtree(target)  # what an interrupted conversion of an older clone left
    work.rename(target)
    sync_folder(target.parent)


# -- a base of random weights -----------------------------------------------------------------------------------------


def build_random_base(
    folder: Path, *, n_layer: int = 4, n_embd: int = 128, n_head: int = 2, block_size: int = 1024, seed: int = 0
) -> None:
    """Write a Falcon-shaped base of random weights with a tokenizer of bytes: no download, the same everywhere."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    from clone.lm.model import Transformer
    from clone.lm.weights import HEAD

    tokenizer = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{mark}|>", special=True, normalized=False) for mark in Control])
    n_tokens = tokenizer.get_vocab_size()
    fields: dict[str, Any] = {
        "name": "falcon-random-7b",  # LitGPT tells Falcon's sizes by the name
        "block_size": block_size,
        "vocab_size": n_tokens,
        "padded_vocab_size": -(-n_tokens // 64) * 64,
        "n_layer": n_layer,
        "n_embd": n_embd,
        "n_head": n_head,
        "head_size": n_embd // n_head,
        "n_query_groups": 1,
        "rotary_percentage": 1.0,
        "parallel_residual": True,
        "shared_attention_norm": True,
        "bias": False,
        "norm_class_name": "LayerNorm",
        "mlp_class_name": "GptNeoxMLP",
        "intermediate_size": 4 * n_embd,
    }
    with torch.device("meta"):
        model = Transformer(Shape.of(fields))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, like in model.state_dict().items():
        if name == HEAD:
            continue
        if "norm" in name or "ln_f" in name:
            tensors[name] = torch.ones(like.shape) if name.endswith("weight") else torch.zeros(like.shape)
        else:
            std = 0.02 / (2 * n_layer) ** 0.5 if name.endswith("proj.weight") else 0.02
            tensors[name] = torch.empty(like.shape).normal_(0, std, generator=generator)
    make_private_folder(folder.parent)
    work = make_private_folder(folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        save_file(tensors, work / "lit_model.safetensors")
        tokenizer.save(str(work / "tokenizer.json"))
        (work / "model_config.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
        _finish(work, folder, name=EMBEDDED, files=["lit_model.safetensors"], is_head_tied=True, revision="random")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(
            f"{path} is missing or damaged.", "Remove its folder and run again to fetch it anew."
        ) from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} is damaged.", "Remove its folder and run again to fetch it anew.")
    return value
