"""The report as a page: one file of HTML with its plots inside, for a browser without a network.

In comes a report, out comes text. Knows counts and pseudonyms, nothing of words. The one home of matplotlib here.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clone.prepare.stage import PrepareReport

# Drawn in these, shown in the page's own colours, so that a plot follows light and dark.
_INK, _FAINT, _MINE, _THEIRS, _ALARM = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _MINE: "--mine", _THEIRS: "--theirs", _ALARM: "--alarm"}

_STEPS = {
    "chats": ("Chats", "messages in private chats with people; the rest is never used"),
    "cleaning": ("Cleaning", "messages that belong to a conversation"),
    "sessions": ("Sessions", "messages in sessions that are long enough"),
    "words": ("Words", "messages whose words are kept; the others stand as a placeholder"),
    "replies": ("Replies", "turns of yours that can be learned; the others are context only"),
    "balance": ("Balance", "examples after no contact has more than its share"),
}


def render_page(name: str, report: PrepareReport, settings: Mapping[str, Any]) -> str:
    """Return the page of a report. The same report gives the same bytes."""
    tables = report.tables
    n_masked = sum(report.scrub["by_type"].values())
    cards = [
        ("examples to train on", report.n_train),
        ("held out, the newest", report.n_validation),
        ("contacts", len(report.contacts)),
        ("personal details masked", n_masked),
    ]
    months = tables["months"]["month"]
    plots = [
        _figure("Messages a month", _draw(_two_sides(months, tables["months"], months=True)), _LEGEND),
        _figure("Hours of the day, UTC", _draw(_two_sides(tables["hours"]["hour"], tables["hours"])), _LEGEND),
        _figure(
            "Silences between messages",
            _draw(_bars(tables["silences"]["silence"], tables["silences"]["messages"], "messages")),
            f"A silence over {_minutes(settings['session_gap_minutes'])} ends a session.",
        ),
        _figure(
            "Bubbles a reply",
            _draw(_bars(tables["bubbles"]["bubbles"], tables["bubbles"]["replies"], "replies")),
            "How many messages you send before somebody answers.",
        ),
        _figure(
            "Reply length, tokens",
            _draw(_bars(tables["reply_tokens"]["tokens"], tables["reply_tokens"]["replies"], "replies")),
            f"In tokens of {html.escape(report.tokenizer)}.",
        ),
        _figure(
            "Context, tokens",
            _draw(_context(tables["context_tokens"], settings["max_context_tokens"])),
            f"The limit is {settings['max_context_tokens']:,}; a context that outgrows it is cut to half.",
        ),
    ]
    return _PAGE.format(
        name=html.escape(name),
        cards="".join(f"<div class=card><b>{n:,}</b><span>{label}</span></div>" for label, n in cards),
        notices="".join(f"<p class=notice>{html.escape(notice)}</p>" for notice in report.notices),
        steps="".join(_step(step) for step in report.steps),
        plots="".join(plots),
        scrub=_ranking({k.replace("_", " ").lower(): n for k, n in report.scrub["by_type"].items()}, 30)
        or "<p class=note>Nothing was found.</p>",
        scrub_note=f"{report.scrub['n_messages']:,} messages were read, {report.scrub['n_failed']:,} could not be and "
        "were replaced whole. Values are never written here.",
        contacts=_ranking(report.contacts, 40),
        more=f"<p class=note>and {len(report.contacts) - 40:,} more</p>" if len(report.contacts) > 40 else "",
    )


def _step(step: Any) -> str:
    title, what = _STEPS[step.step]
    all_ = step.kept + step.dropped
    share = 100 * step.kept / all_ if all_ else 0
    gone = f"−{step.dropped:,}" if step.dropped else ""
    why = " · ".join(f"{html.escape(reason)} <b>{n:,}</b>" for reason, n in step.why.items())
    return (
        f"<tr><th>{title}<span>{what}</span></th><td class=n>{step.kept:,}</td>"
        f"<td class=bar><i style='width:{share:.1f}%'></i></td><td class=n>{gone}</td><td class=why>{why}</td></tr>"
    )


def _ranking(counts: Mapping[str, int], most: int) -> str:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    top = max((n for _, n in rows), default=0)
    return "".join(
        f"<div class=rank><span>{html.escape(name)}</span><em><i style='width:{100 * n / top:.1f}%'></i></em>"
        f"<b>{n:,}</b></div>"
        for name, n in rows
    )


def _figure(title: str, svg: str, note: str) -> str:
    return f"<figure><h3>{title}</h3>{svg}<figcaption>{note}</figcaption></figure>"


def _minutes(n: int) -> str:
    for size, unit in ((1440, "day"), (60, "hour")):
        if n % size == 0:
            return f"{n // size:,} {unit}{'s' * (n != size)}"
    return f"{n:,} minutes"


# -- plots ----------------------------------------------------------------------------------------------------------

Draw = Callable[[Any], None]


def _bars(labels: Sequence[Any], values: Sequence[int], unit: str) -> Draw:
    def draw(axes: Any) -> None:
        axes.bar(range(len(labels)), values, color=_MINE, width=0.78)
        axes.set_xticks(range(len(labels)), [str(label) for label in labels])
        if sum(len(str(label)) for label in labels) > 45:
            axes.tick_params(axis="x", rotation=35)
            for label in axes.get_xticklabels():
                label.set_ha("right")

    return draw


def _two_sides(labels: Sequence[Any], table: Mapping[str, Sequence[int]], *, months: bool = False) -> Draw:
    def draw(axes: Any) -> None:
        at = range(len(labels))
        axes.bar(at, table["mine"], color=_MINE, width=0.8)
        axes.bar(at, table["theirs"], bottom=table["mine"], color=_THEIRS, width=0.8)
        every = max(1, -(-len(labels) // (5 if months else 8)))
        axes.set_xticks(list(at)[::every], [str(label) for label in labels][::every])

    return draw


def _context(table: Mapping[str, Sequence[int]], limit: int) -> Draw:
    def draw(axes: Any) -> None:
        edges = [0, *table["up_to"]]
        widths = [b - a for a, b in pairwise(edges)]
        axes.bar(edges[:-1], table["examples"], width=[0.88 * w for w in widths], align="edge", color=_MINE)
        axes.axvline(limit, color=_ALARM, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.axvline(limit // 2, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 3)))

    return draw


def _draw(draw: Draw) -> str:
    """Return a plot as SVG text whose colours are the page's."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "clone",  # ids in the SVG are otherwise new in every run
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.edgecolor": _FAINT,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "text.color": _INK,
        "grid.color": _FAINT,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(5.2, 2.5), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        draw(axes)
        axes.margins(x=0.01)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", svg.replace("\n", " "), count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*pt"', r"\1", svg, count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


_LEGEND = "<span class=key style='--c:var(--mine)'></span>you <span class=key style='--c:var(--theirs)'></span>others"

_PAGE = """<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<title>Prepared: {name}</title><style>
:root{{color-scheme:light dark;--page:#fbfaf8;--sheet:#fff;--ink:#2a2a2e;--soft:#6d6b73;--faint:#dcd9d3;
--mine:#3d6b8e;--theirs:#c9b79c;--alarm:#b4472e}}
@media(prefers-color-scheme:dark){{:root{{--page:#17181b;--sheet:#1f2125;--ink:#e6e3dd;--soft:#9a978f;--faint:#3a3c42;
--mine:#7fb0d4;--theirs:#7d705c;--alarm:#e58a6f}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 ui-sans-serif,system-ui,"Segoe UI",Roboto,sans-serif}}
main{{max-width:1080px;margin:0 auto;padding:40px 24px 64px}}
h1{{font-size:26px;font-weight:650;margin:0 0 4px}} h2{{font-size:18px;font-weight:650;margin:44px 0 12px}}
h3{{font-size:14px;font-weight:600;margin:0 0 6px}}
.note,figcaption,th span{{color:var(--soft);font-size:13px}}
.cards{{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:24px 0 0}}
.card,figure,.sheet{{background:var(--sheet);border:1px solid var(--faint);border-radius:10px}}
.card{{padding:14px 18px}} .card b{{display:block;font-size:28px;font-weight:650;font-variant-numeric:tabular-nums}}
.card span{{color:var(--soft);font-size:13px}}
.notice{{border-left:3px solid var(--alarm);padding:2px 0 2px 12px;margin:16px 0 0}}
.sheet{{padding:8px 18px;overflow-x:auto}}
table{{border-collapse:collapse;width:100%}} tr+tr>*{{border-top:1px solid var(--faint)}}
th{{text-align:left;font-weight:600;padding:10px 14px 10px 0;width:34%}} th span{{display:block;font-weight:400}}
td{{padding:10px 14px 10px 0;vertical-align:middle}}
td.n{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
td.bar{{width:130px}} .bar i,.rank i{{display:block;height:8px;border-radius:4px;min-width:3px;background:var(--mine)}}

.why{{color:var(--soft);font-size:13px}} .why b{{font-weight:500;color:var(--ink)}}
.plots{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(330px,100%),1fr));gap:14px}}
figure{{margin:0;padding:14px 16px 12px}} figure svg{{width:100%;height:auto;display:block}}
svg text{{font-family:inherit!important}}
.key{{display:inline-block;width:10px;height:10px;border-radius:2px;background:var(--c);margin:0 5px 0 8px}}
figcaption .key:first-child{{margin-left:0}}
@media(max-width:560px){{main{{padding:24px 14px 40px}} td.bar{{display:none}} th{{width:60%}}
.sheet{{padding:8px 14px}} .cards{{grid-template-columns:1fr 1fr}}}}
.ranks{{columns:2;column-gap:40px;padding:14px 18px}} @media(max-width:720px){{.ranks{{columns:1}}}}
.rank{{display:grid;grid-template-columns:150px 1fr 70px;gap:10px;align-items:center;break-inside:avoid;padding:2px 0}}
.rank span{{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
.rank b{{text-align:right;font-weight:500;font-variant-numeric:tabular-nums}}
</style></head><body><main>
<h1>Prepared: {name}</h1>
<p class=note>What became of the messages. Counts and pseudonyms only; nothing anybody wrote stands here.</p>
<div class=cards>{cards}</div>{notices}
<h2>What was kept, and why the rest was not</h2><div class=sheet><table>{steps}</table></div>
<h2>How you write</h2><div class=plots>{plots}</div>
<h2>What was masked</h2><div class="sheet ranks">{scrub}</div><p class=note>{scrub_note}</p>
<h2>Examples a contact</h2><div class="sheet ranks">{contacts}</div>{more}
</main></body></html>
"""
