"""The person's Telegram login at a terminal: what the environment says, and who can be asked for the rest."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from clone.errors import LoginError, MissingExtra

if TYPE_CHECKING:
    from clone.collect.telegram.connection import Application
    from clone.collect.telegram.login import Login
    from clone.workspace import Workspace


def make_login(workspace: Workspace, proxy: str | None, *, use_qr: bool = False, is_anew: bool = False) -> Login:
    """Return how a command logs in: with the environment's credentials, or the workspace's, or by asking.

    Raises LoginError where the environment holds credentials that cannot be any.
    """
    from clone.collect.telegram.login import Login

    return Login(
        workspace.telegram,
        application=_application(),
        session=os.environ.get("CLONE_TELEGRAM_SESSION") or None,
        person=_Terminal() if is_terminal() else None,
        proxy=proxy,
        use_qr=use_qr,
        is_anew=is_anew,
    )


def is_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _application() -> Application | None:
    from clone.collect.telegram.login import make_application

    api_id, api_hash = (os.environ.get(f"CLONE_TELEGRAM_API_{name}") for name in ("ID", "HASH"))
    if not api_id and not api_hash:
        return None
    try:
        return make_application(api_id, api_hash or "")
    except ValueError:
        raise LoginError(
            "CLONE_TELEGRAM_API_ID and CLONE_TELEGRAM_API_HASH are not what my.telegram.org gives.",
            "Set both: a number, and 32 letters and digits.",
        ) from None


def prompt(text: str, **more: Any) -> str:
    """Ask on stderr. Ctrl-C is what it is everywhere else."""
    try:
        return str(click.prompt(text, err=True, **more))
    except click.Abort:
        raise KeyboardInterrupt from None


class _Terminal:
    """The person at the terminal, asked on stderr so that stdout can be piped."""

    def application(self) -> Application:
        from clone.collect.telegram.login import make_application

        self.tell("Telegram wants an application of your own: https://my.telegram.org/apps")
        while True:
            api_id = prompt("api_id")
            api_hash = prompt("api_hash", hide_input=True)
            try:
                return make_application(api_id, api_hash)
            except ValueError:
                self.tell("The api_id is a number; the api_hash is 32 letters and digits.")

    def phone(self) -> str:
        question = "Phone number, as +4915112345678 (empty: log in by QR code)"
        return prompt(question, default="", show_default=False).strip()

    def code(self, where: str) -> str:
        return prompt(f"Code that Telegram sent to {where}")

    def password(self, hint: str) -> str:
        shown = f" (hint: {hint})" if hint else ""
        return prompt(f"Password of two-step verification{shown}", hide_input=True)

    def show_qr(self, url: str) -> None:
        try:
            import segno
        except ImportError:
            raise MissingExtra("segno", "telegram") from None
        self.tell("In Telegram on your phone: Settings, Devices, Link Desktop Device. Scan this:")
        segno.make(url, error="l").terminal(out=sys.stderr, border=2, compact=True)

    def tell(self, text: str) -> None:
        from clone.cli.show import say

        say(text)
