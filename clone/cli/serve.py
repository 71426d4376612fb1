"""`clone serve`: the twin behind OpenAI's API, and one page to talk to it."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path

import click

from clone.cli.options import json_option, recipe_options

KEY_VARIABLE = "CLONE_API_KEY"


@click.command()
@recipe_options
@click.option("--run", "run_name", metavar="RUN", help="Another run than the newest: its id, or recipe/id.")
@click.option("--device", metavar="DEVICE", help="cuda, mps or cpu; the best there is unless said.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Another one only together with an API key.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--quiet", is_flag=True, help="Write no line for each request.")
@json_option
def command(
    recipe_path: Path | None,
    overrides: tuple[str, ...],
    run_name: str | None,
    device: str | None,
    host: str,
    port: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Serve the twin on this machine: a page for people, OpenAI's API for programs.

    The API is at /v1, the page at /. An API key is asked for where the variable CLONE_API_KEY holds one; without it
    only this machine is listened to. Ctrl-C ends it.
    """
    from clone.chat.runs import find_run, open_twin
    from clone.chat.sampling import Sampling
    from clone.cli.people import known_contacts
    from clone.cli.show import emit, progress, say
    from clone.errors import CloneError, MissingExtra
    from clone.recipe import load_recipe
    from clone.workspace import Workspace

    try:
        import uvicorn

        from clone.chat.server import LOOPBACK, create_app
    except ImportError as error:
        raise MissingExtra(str(error.name), "chat") from None

    api_key = os.environ.get(KEY_VARIABLE) or None
    if host not in LOOPBACK and api_key is None:
        raise CloneError(
            f"whoever reaches {host} could talk to your twin.",
            f"Set {KEY_VARIABLE} to a long secret first, or leave out --host.",
        )
    recipe = load_recipe(recipe_path, overrides)
    workspace = Workspace.here()
    run = find_run(workspace, recipe_name=recipe.name if recipe_path else None, run=run_name)
    listener = _listen(host, port)
    try:
        with progress("Waking up") as on_progress:
            twin = open_twin(workspace, run, recipe.chat, device=device, on_progress=on_progress)
        app = create_app(
            twin,
            known_contacts(workspace, run.recipe_name),
            Sampling.of(recipe.chat),
            api_key=api_key,
            is_public=host not in LOOPBACK,
            started_at=int(time.time()),
        )
        url = f"http://{'[' + host + ']' if ':' in host else host}:{listener.getsockname()[1]}"
        if as_json:
            emit({"url": url, "api": f"{url}/v1", "run": run.name, "base": run.card.base, "needs_key": bool(api_key)})
        say(f"{run.name} on {run.card.base}")
        say(f"  page  {url}/\n  API   {url}/v1", style="bold")
        say("Ctrl-C ends it.", style="dim")
        config = uvicorn.Config(app, access_log=not quiet, lifespan="off")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not its own account of starting and stopping
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
        app.state.desk.close()
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    from clone.errors import CloneError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # from here on a client waits rather than being refused
    except OSError as error:
        listener.close()
        raise CloneError(
            f"port {port} of {host} cannot be listened on: {error.strerror or error}.",
            "Choose another with --port, or --port 0 for any free one.",
        ) from error
    return listener
