"""`clone doctor`: whether this machine can do the work, each line with its fix."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from clone.cli.options import json_option

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    what: str
    verdict: Verdict
    found: str
    fix: str = ""


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine: Python, torch, GPU, disk, memory, caches, login. Each line comes with its fix."""
    from rich.text import Text

    from clone.cli.show import console, emit, write
    from clone.workspace import Workspace

    findings = list(examine(Workspace.here().root))
    n_bad = sum(finding.verdict == "bad" for finding in findings)
    if as_json:
        emit({"findings": [asdict(finding) for finding in findings], "n_bad": n_bad})
    else:
        out = console()
        signs = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}
        for finding in findings:
            sign, colour = signs[finding.verdict]
            line = Text.assemble((f"{sign} ", colour), (f"{finding.what:<11}", "bold"), finding.found)
            write(out, line, indent=13)
            if finding.fix:
                write(out, Text.assemble(" " * 13, ("→ " + finding.fix, "cyan")), indent=15)
    ctx.exit(1 if n_bad else 0)


def examine(root: Path) -> Iterator[Finding]:
    """Yield what was found, one line a subject."""
    yield _python()
    yield from _extras()
    yield from _torch()
    yield _memory()
    yield _disk(root)
    yield _hub_cache()
    yield from _workspace(root)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.maxsize < 2**32:
        return Finding("Python", "bad", f"{version}, 32 bit", "Install a 64-bit Python: torch has no other.")
    return Finding("Python", "ok", version)


def _extras() -> Iterator[Finding]:
    needs = {
        "telegram": ("telethon",),
        "prepare": ("pandas", "presidio_analyzer", "tokenizers"),
        "train": ("torch", "lightning", "litgpt", "safetensors"),
    }
    for extra, modules in needs.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            yield Finding(extra, "bad", f"missing: {', '.join(missing)}", f'pip install "clone[{extra}]"')
        else:
            yield Finding(extra, "ok", "installed")


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 7):
        yield Finding("torch", "bad", torch.__version__, 'pip install --upgrade "torch>=2.7"')
    else:
        yield Finding("torch", "ok", torch.__version__)
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            has_bf16 = card.major >= 8
            yield Finding(
                "GPU",
                "ok" if has_bf16 else "note",
                f"{card.name}, {card.total_memory / 1e9:.0f} GB, compute {card.major}.{card.minor}",
                "" if has_bf16 else "This card has no bf16: training will be in fp16 or not at all.",
            )
    else:
        built = torch.version.cuda
        fix = (
            "torch was built for CUDA, but sees no card: check the driver with nvidia-smi."
            if built
            else "On this machine use `--base embedded`; for Falcon-7B use one with an NVIDIA card of 16 GB or more."
        )
        yield Finding("GPU", "note", "none", fix)


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "note", "unknown on this system")
    verdict: Verdict = "ok" if total > 7e9 else "note"
    return Finding(
        "memory",
        verdict,
        f"{total / 1e9:.0f} GB",
        "" if verdict == "ok" else "Converting a 7B base takes 8 GB; the embedded base takes one.",
    )


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    if free < 2e9:
        return Finding("disk", "bad", f"{free / 1e9:.1f} GB free", "Free at least 2 GB, or work in another folder.")
    if free < 32e9:
        return Finding("disk", "note", f"{free / 1e9:.0f} GB free", "Falcon-7B takes 30 GB while it is converted.")
    return Finding("disk", "ok", f"{free / 1e9:.0f} GB free")


def _hub_cache() -> Finding:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    endpoint = os.environ.get("HF_ENDPOINT")
    where = f"{cache}" + (f", from {endpoint}" if endpoint else "")
    near = cache
    while not near.exists():
        near = near.parent
    if not os.access(near, os.W_OK):
        return Finding("hub cache", "bad", f"{where} cannot be written", "Set HF_HOME to a folder of yours.")
    return Finding("hub cache", "ok", where)


def _workspace(root: Path) -> Iterator[Finding]:
    from clone.workspace import Workspace

    workspace = Workspace(root)
    if not workspace.archive.exists():
        yield Finding("archive", "note", "none here yet", "clone collect --from result.json")
    elif workspace.archive.stat().st_mode & 0o077:
        yield Finding("archive", "bad", "others can read it", f"chmod 600 {workspace.show(workspace.archive)}")
    else:
        yield Finding("archive", "ok", workspace.show(workspace.archive))
    sessions = list(workspace.telegram.glob("*.session"))
    if not sessions:
        yield Finding("login", "note", "not logged in to Telegram", "clone collect (not needed for export files)")
    elif any(path.stat().st_mode & 0o077 for path in sessions):
        yield Finding("login", "bad", "others can read the session", f"chmod 600 {workspace.show(sessions[0])}")
    else:
        yield Finding("login", "ok", "a Telegram session is here")
