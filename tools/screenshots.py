"""Pictures of the page for the docs: a talk with a running `clone serve`, photographed.

Called by tools/pictures.sh; by hand, with a server running:
python -m tools.screenshots http://127.0.0.1:8765 docs/images
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

LINES = ["hey, are you coming tonight?", "did the build pass?", "are you a bot?"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def main(url: str, folder: Path) -> None:
    """Write page-light.png, page-dark.png, page-phone.png and page-pick.png."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 860, "height": 640})
        page.goto(url)
        page.wait_for_selector("#contact option >> nth=1", state="attached")
        page.select_option("#contact", index=1)
        for i, line in enumerate(LINES):
            page.fill("#text", line)
            page.press("#text", "Enter")
            settle(page, i + 1)
        page.screenshot(path=folder / "page-light.png")
        page.keyboard.press("Alt+d")
        page.screenshot(path=folder / "page-dark.png")
        page.set_viewport_size({"width": 390, "height": 700})
        page.screenshot(path=folder / "page-phone.png")
        page.set_viewport_size({"width": 860, "height": 640})
        page.keyboard.press("Alt+d")
        page.click("#undo")
        page.fill("#text", "")
        page.click("#pick")
        page.wait_for_selector(".candidate >> nth=2")
        while page.evaluate("!document.getElementById('stop').hidden"):
            page.wait_for_timeout(50)
        page.screenshot(path=folder / "page-pick.png")
        browser.close()


def settle(page: Any, n: int) -> None:
    """Wait until `n` replies stand."""
    for _ in range(600):
        if page.evaluate(
            f"document.querySelectorAll('.turn.twin').length >= {n} && document.getElementById('stop').hidden"
            " && !document.querySelector('.typing')"
        ):
            return
        page.wait_for_timeout(50)
    raise SystemExit("the twin did not answer in time")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
