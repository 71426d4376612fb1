"""`clone export`: the twin as a file for llama.cpp and Ollama, as a Hugging Face folder, or as a PEFT adapter."""

from __future__ import annotations

from pathlib import Path

import click

from clone.cli.options import json_option


@click.command()
@click.argument("form", metavar="FORM", type=click.Choice(["gguf", "hf", "peft"]))
@click.argument("recipe_path", metavar="[RECIPE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--kind", type=click.Choice(["F16", "Q8_0", "Q4_0"]), default="Q8_0", show_default=True, help="GGUF only."
)
@click.option("--lora", is_flag=True, help="GGUF only: the adapter alone, to lay beside a GGUF of the base.")
@click.option("--run", "run_name", metavar="RUN", help="Another run than the newest: its id, or recipe/id.")
@click.option("--last", is_flag=True, help="The last adapter of the run in place of the best.")
@click.option(
    "--out", metavar="PATH", type=click.Path(path_type=Path), help="Where to; checkpoints/exports/ unless said."
)
@click.option("--i-have-consent", is_flag=True, help="Also show how to publish it. Everybody in it must have agreed.")
@json_option
def command(
    form: str,
    recipe_path: Path | None,
    kind: str,
    lora: bool,
    run_name: str | None,
    last: bool,
    out: Path | None,
    i_have_consent: bool,
    as_json: bool,
) -> None:
    """Give the twin to other programs.

    \b
    gguf   one file for llama.cpp, LM Studio and Ollama, with Ollama's Modelfile
    hf     the merged model as transformers loads it
    peft   the adapter, to lay over the base with PEFT
    """
    from clone.chat.export.source import Source
    from clone.chat.runs import find_run
    from clone.cli.show import emit, progress, say
    from clone.errors import MissingExtra
    from clone.lm.base import resolve_base
    from clone.recipe import load_recipe
    from clone.workspace import Workspace, make_private_folder

    if lora and form != "gguf":
        raise click.UsageError("--lora goes with gguf; the adapter for transformers is `clone export peft`.")
    recipe = load_recipe(recipe_path)
    workspace = Workspace.here()
    run = find_run(workspace, recipe_name=recipe.name if recipe_path else None, run=run_name)
    adapter = run.path / ("last.safetensors" if last else "best.safetensors")
    name = f"{run.recipe_name}-{run.path.name}"
    suffix = {"gguf": "-lora.gguf" if lora else f"-{kind}.gguf", "hf": "-hf", "peft": "-peft"}[form]
    target = (out or workspace.root / "checkpoints" / "exports" / f"{name}{suffix}").resolve()
    if target.is_dir() and form == "gguf":
        target = target / f"{name}{suffix}"
    make_private_folder(target.parent)
    extra: list[Path] = []
    with progress("Exporting") as on_progress:
        base = resolve_base(run.card.base, workspace.bases, on_progress=on_progress)
        source = Source.open(base, adapter, run.name)
        if form == "gguf":
            try:
                import gguf  # noqa: F401
            except ImportError:
                raise MissingExtra("gguf", "chat") from None
            from clone.chat.export import gguf as to_gguf

            if lora:
                written = to_gguf.write_lora(source, target)
            else:
                written = to_gguf.write_model(source, target, kind, on_progress=on_progress)  # type: ignore[arg-type]
                extra.append(target.with_suffix(".Modelfile"))
                to_gguf.write_modelfile(source, extra[0], target, temperature=recipe.chat.temperature)
            n_bytes = written.n_bytes
        else:
            from clone.chat.export import hf as to_hf

            folder = (
                to_hf.write_model(source, target, on_progress=on_progress)
                if form == "hf"
                else to_hf.write_peft(source, target)
            )
            n_bytes = folder.n_bytes
    if as_json:
        emit({"form": form, "path": str(target), "bytes": n_bytes, "run": run.name, "also": [str(p) for p in extra]})
        return
    say(f"{workspace.show(target)}  {n_bytes / 1e6:,.1f} MB", style="bold")
    if form == "gguf" and not lora:
        say(f"clone chat --gguf {workspace.show(target)}")
        say(f"ollama create my-twin -f {workspace.show(extra[0])}")
    if lora:
        say(f"llama-cli -m base.gguf --lora {workspace.show(target)}")
    say("It may repeat what you and others wrote. It is yours to keep, not to publish.", style="yellow")
    if i_have_consent:
        say(f"hf upload --private YOU/my-twin {workspace.show(target)}", style="dim")
