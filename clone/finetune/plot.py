"""A run's losses as a picture, and as a page that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path

from clone.lm.runs import METRICS, read_card
from clone.workspace import write_atomically

PNG, HTML = "loss.png", "loss.html"


def write_plots(run: Path) -> None:
    """Write `loss.png` and `loss.html` for a finished run, from its metrics and its card."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
    trained = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    judged = [(line["step"], line["val_loss"]) for line in lines if "val_loss" in line]
    card = read_card(run)

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    if trained:
        steps, losses = zip(*trained, strict=True)
        axes.plot(steps, losses, color="#9db4c9", linewidth=1, label="each step")
    if judged:
        steps, losses = zip(*judged, strict=True)
        axes.plot(steps, losses, color="#c0392b", marker="o", markersize=4, linewidth=1.8, label="held out")
        best = min(judged, key=lambda item: item[1])
        axes.annotate(f"{best[1]:.3f}", best, textcoords="offset points", xytext=(0, -14), ha="center", color="#c0392b")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats a graded token")
    axes.set_title(f"{card.base}, run {card.run_id}", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=140)
    with write_atomically(run / PNG, binary=True) as stream:
        stream.write(picture.getvalue())

    facts = [
        ("base", card.base),
        ("held-out loss", f"{card.val_loss_before:.3f} → {card.val_loss:.3f} nats a graded token"),
        ("held-out bits a byte", f"{card.val_bits_per_byte_before:.3f} → {card.val_bits_per_byte:.3f}"),
        ("steps", f"{card.n_steps:,}"),
        ("tokens", f"{card.n_tokens:,}, of which graded {card.n_learned:,}"),
        ("time", f"{card.wall_s:,.0f} s on {card.device}"),
        ("memory", f"{card.peak_memory_gb:.1f} GB"),
        ("begun", card.created_at),
    ]
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts)
    data = base64.b64encode(picture.getvalue()).decode()
    with write_atomically(run / HTML) as page:
        page.write(
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Run {html.escape(card.run_id)}</title>"
            "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}"
            "img{max-width:100%}th{text-align:left;font-weight:500;color:#666;padding-right:1.5rem}</style>"
            f"<h1>Run {html.escape(card.run_id)}</h1><img alt='Loss of each step and of the held-out examples' "
            f"src='data:image/png;base64,{data}'><table>{rows}</table></html>\n"
        )
