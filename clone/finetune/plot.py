"""A run's losses as a picture, and as a page that needs nothing else."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from clone.lm.runs import METRICS, read_card
from clone.records import RunCard
from clone.workspace import write_atomically

PNG, HTML = "loss.png", "loss.html"

_INK, _STEP, _HELD_OUT = "#222222", "#7f9cb8", "#c0392b"
_VARIABLES = {_INK: "--ink", _STEP: "--step", _HELD_OUT: "--held-out"}  # the page's own, for light and for dark

Points = Sequence[tuple[int, float]]  # step, nats a graded token


def write_plots(run: Path) -> None:
    """Write `loss.png` and `loss.html` for a finished run, from its metrics and its card."""
    lines = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
    trained = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    judged = [(line["step"], line["val_loss"]) for line in lines if "val_loss" in line]
    card = read_card(run)

    picture = io.BytesIO()
    _draw(trained, judged, title=f"{card.base}, run {card.run_id}").savefig(picture, format="png", dpi=140)
    with write_atomically(run / PNG, binary=True) as stream:
        stream.write(picture.getvalue())
    with write_atomically(run / HTML) as page:
        page.write(_PAGE.format(name=html.escape(card.run_id), svg=_svg(trained, judged), rows=_rows(card)))


def _draw(trained: Points, judged: Points, *, title: str = "") -> Any:
    """Return a figure of the loss of each step and of the held-out examples."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    with mpl.rc_context(dict.fromkeys(colours, _INK)):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        if trained:
            steps, losses = zip(*trained, strict=True)
            axes.plot(steps, losses, color=_STEP, linewidth=1, label="each step")
        if judged:
            steps, losses = zip(*judged, strict=True)
            axes.plot(steps, losses, color=_HELD_OUT, marker="o", markersize=4, linewidth=1.8, label="held out")
            best = min(judged, key=lambda item: item[1])
            axes.annotate(
                f"{best[1]:.3f}", best, textcoords="offset points", xytext=(0, -15), ha="center", color=_HELD_OUT
            )
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats a graded token")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title:
            axes.set_title(title, loc="left", fontsize=11)
        axes.grid(alpha=0.15)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(frameon=False)
    return figure


def _svg(trained: Points, judged: Points) -> str:
    """Return the figure as SVG text whose colours are the page's."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "clone"}):
        figure = _draw(trained, judged)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # inside HTML it is known what an svg is
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


def _rows(card: RunCard) -> str:
    facts = {
        "base": card.base,
        "held-out loss": f"{card.val_loss_before:.3f} → {card.val_loss:.3f} nats a graded token",
        "held-out bits a byte": f"{card.val_bits_per_byte_before:.3f} → {card.val_bits_per_byte:.3f}",
        "steps": f"{card.n_steps:,}",
        "tokens": f"{card.n_tokens:,}, of which graded {card.n_learned:,}",
        "time": f"{card.wall_s:,.0f} s on {card.device}",
        "memory": f"{card.peak_memory_gb:.1f} GB",
        "begun": f"{datetime.fromisoformat(card.created_at):%Y-%m-%d %H:%M %Z}",
    }
    return "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(fact)}</td></tr>" for name, fact in facts.items())


_PAGE = """<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<title>Run {name}</title><style>
:root{{color-scheme:light dark;--page:#fbfaf8;--sheet:#fff;--ink:#2a2a2e;--soft:#6d6b73;--faint:#dcd9d3;--step:#7f9cb8;
--held-out:#b4472e}}
@media(prefers-color-scheme:dark){{:root{{--page:#17181b;--sheet:#1f2125;--ink:#e6e3dd;--soft:#9a978f;--faint:#3a3c42;
--step:#7fb0d4;--held-out:#e58a6f}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 ui-sans-serif,system-ui,"Segoe UI",Roboto,sans-serif}}
main{{max-width:880px;margin:0 auto;padding:40px 24px 64px}}
h1{{font-size:26px;font-weight:650;margin:0 0 20px}}
figure,.sheet{{background:var(--sheet);border:1px solid var(--faint);border-radius:10px;margin:0 0 16px}}
figure{{padding:16px}} figure svg{{width:100%;height:auto;display:block}} svg text{{font-family:inherit!important}}
.sheet{{padding:8px 18px}} table{{border-collapse:collapse;width:100%}} tr+tr>*{{border-top:1px solid var(--faint)}}
th{{text-align:left;font-weight:500;color:var(--soft);padding:7px 24px 7px 0;width:12rem;vertical-align:top}}
td{{padding:7px 0;vertical-align:top;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}}
@media(max-width:560px){{main{{padding:24px 14px 40px}} th{{width:8rem;padding-right:12px}} figure{{padding:8px}}}}
</style></head><body><main>
<h1>Run {name}</h1>
<figure role=img aria-label="Loss of each step and of the held-out examples">{svg}</figure>
<div class=sheet><table>{rows}</table></div>
</main></body></html>
"""
