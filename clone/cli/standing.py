"""What stands in a workspace: of each stage, whether it is done, how old it is, and the next thing to type.

Reads only what stages leave behind for each other: the archive's revision, manifests, run cards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from clone.archive import Archive
from clone.collect.files import fingerprint
from clone.errors import CloneError
from clone.recipe import Recipe, Stage
from clone.workspace import Workspace, hash_file

State = Literal["missing", "stale", "done", "broken"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one stage stands."""

    stage: Stage
    state: State
    what: str
    made_at: datetime | None
    next: str  # the command to type, "" where there is nothing to do


def standings(workspace: Workspace, recipe: Recipe, recipe_path: Path | None) -> list[Standing]:
    """Return the four stages of a recipe, in order."""
    suffix = f" {recipe_path}" if recipe_path else ""
    collect, revision = _collect(workspace, recipe, suffix)
    prepare, manifest = _prepare(workspace, recipe, revision, suffix)
    finetune = _finetune(workspace, recipe, manifest, suffix)
    chat = Standing(
        "chat",
        "done" if finetune.state in ("done", "stale") else "missing",
        "ready" if finetune.state in ("done", "stale") else "no twin yet",
        None,
        f"clone chat{suffix}" if finetune.state in ("done", "stale") else "",
    )
    return [collect, prepare, finetune, chat]


def _collect(workspace: Workspace, recipe: Recipe, suffix: str) -> tuple[Standing, str | None]:
    command = f"clone collect{suffix}" if recipe.collect.files or suffix else "clone collect --from result.json"
    if not workspace.archive.exists():
        return Standing("collect", "missing", "nothing collected yet", None, command), None
    try:
        with Archive.open(workspace.archive) as archive:
            chats, revision = archive.chats(), archive.revision()
            pending = [
                name
                for name in recipe.collect.files
                if not (path := workspace.root / name).exists() or not archive.has_import(fingerprint(path))
            ]
    except CloneError as error:
        return Standing("collect", "broken", error.message, _modified(workspace.archive), error.hint), None
    n = sum(chat.n_messages for chat in chats)
    what = f"{n:,} messages in {len(chats):,} chats"
    made_at = _modified(workspace.archive)
    if pending:
        return Standing("collect", "stale", f"{what}; not read yet: {', '.join(pending)}", made_at, command), revision
    if n == 0:
        return Standing("collect", "missing", "the archive is empty", made_at, command), revision
    return Standing("collect", "done", what, made_at, ""), revision


def _prepare(workspace: Workspace, recipe: Recipe, revision: str | None, suffix: str) -> tuple[Standing, Path | None]:
    folder = workspace.processed(recipe.name)
    path = folder / "manifest.json"
    command = f"clone prepare{suffix}" if revision else ""
    manifest = read_json(path)
    if manifest is None:
        others = [other.name for other in workspace.all_processed()]
        what = "no examples yet" + (f" for '{recipe.name}' (there are: {', '.join(others)})" if others else "")
        return Standing("prepare", "missing", what, None, command), None
    n_train, n_validation = manifest.get("n_train", 0), manifest.get("n_validation", 0)
    what = f"{n_train:,} examples to train on, {n_validation:,} held out"
    if revision is not None and manifest.get("archive_revision") != revision:
        return Standing("prepare", "stale", f"{what}; older than the archive", _modified(path), command), path
    if manifest.get("recipe") != recipe.prepare.model_dump(mode="json"):
        return Standing("prepare", "stale", f"{what}; made with other settings", _modified(path), command), path
    if manifest.get("choices") != _choices_id(workspace):
        what += f"; made with another {workspace.privacy.name} or another key"
        return Standing("prepare", "stale", what, _modified(path), command), path
    return Standing("prepare", "done", what, _modified(path), ""), path


def _choices_id(workspace: Workspace) -> str | None:
    """Return what a manifest made now would hold of the person's lists, None where the key is gone."""
    from clone.prepare.pseudonyms import file_id, load_key

    return file_id(load_key(workspace.key), workspace.privacy) if workspace.key.exists() else None


def _finetune(workspace: Workspace, recipe: Recipe, manifest: Path | None, suffix: str) -> Standing:
    command = f"clone finetune{suffix}" if manifest else ""
    runs = [run for run in workspace.all_runs() if run.parent.name == recipe.name]
    cards = [(run, card) for run in runs if (card := read_json(run / "run.json")) is not None]
    if not cards:
        return Standing("finetune", "missing", "no run yet", None, command)
    run, card = cards[-1]
    what = (
        f"{workspace.show(run)}: held-out loss {card['val_loss_before']:.3f} → {card['val_loss']:.3f} on {card['base']}"
    )
    made_at = _modified(run / "run.json")
    if manifest and card["data_sha256"] != hash_file(manifest):
        return Standing("finetune", "stale", f"{what}; trained on older examples", made_at, command)
    return Standing("finetune", "done", what, made_at, "")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in `path`, None where there is no whole one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
