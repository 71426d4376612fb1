"""The figures of a report: numbers of messages and examples in, small tables out. The one home of pandas.

Knows nothing of words: it is given times, sizes and who spoke.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Table = Mapping[str, Sequence[Any]]  # column -> values

_SILENCES = ((0, "under 1 min"), (60, "1-10 min"), (600, "10-60 min"), (3600, "1-6 h"), (21600, "6-24 h"))
_LONG_SILENCES = ((86400, "1-7 days"), (604800, "1-4 weeks"), (2419200, "longer"))
_MOST_BUBBLES = 8  # the last bar holds what is longer


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the examples are, in tokens of the base."""

    n_context_tokens: array[int]
    n_reply_tokens: array[int]
    n_bubbles: array[int]


def tabulate(
    contact: array[int], at: array[int], is_mine: array[int], sizes: Sizes, max_context_tokens: int
) -> dict[str, Table]:
    """Return the tables of the report. Messages come chat by chat, oldest first; times are seconds since 1970, UTC."""
    messages = pd.DataFrame(
        {
            "contact": np.frombuffer(contact, np.int32),
            "at": np.frombuffer(at, np.int64),
            "is_mine": np.frombuffer(is_mine, np.int8).astype(bool),
        }
    )
    return {
        "months": _months(messages),
        "hours": _hours(messages),
        "silences": _silences(messages),
        "bubbles": _bubbles(np.frombuffer(sizes.n_bubbles, np.int32)),
        "reply_tokens": _doubling(np.frombuffer(sizes.n_reply_tokens, np.int32)),
        "context_tokens": _even(np.frombuffer(sizes.n_context_tokens, np.int32), max_context_tokens),
    }


def _months(messages: pd.DataFrame) -> Table:
    month = pd.to_datetime(messages["at"], unit="s").dt.to_period("M")
    counts = messages.groupby([month, "is_mine"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[True, False], fill_value=0)
    counts = counts.reindex(pd.period_range(counts.index.min(), counts.index.max(), freq="M"), fill_value=0)
    return {
        "month": [str(period) for period in counts.index],
        "mine": counts[True].tolist(),
        "theirs": counts[False].tolist(),
    }


def _hours(messages: pd.DataFrame) -> Table:
    hour = messages["at"] // 3600 % 24
    counts = messages.groupby([hour, "is_mine"]).size().unstack(fill_value=0)
    counts = counts.reindex(index=range(24), columns=[True, False], fill_value=0)
    return {"hour": list(range(24)), "mine": counts[True].tolist(), "theirs": counts[False].tolist()}


def _silences(messages: pd.DataFrame) -> Table:
    """Count the times between a message and the next one of the same chat."""
    silence = messages.groupby("contact")["at"].diff().dropna()
    edges = [*(low for low, _ in (*_SILENCES, *_LONG_SILENCES)), np.inf]
    labels = [label for _, label in (*_SILENCES, *_LONG_SILENCES)]
    counts = pd.cut(silence.clip(lower=0), edges, right=False, labels=labels).value_counts(sort=False)
    return {"silence": labels, "messages": counts.tolist()}


def _bubbles(n: np.ndarray[Any, Any]) -> Table:
    counts = pd.Series(n).clip(upper=_MOST_BUBBLES).value_counts().reindex(range(1, _MOST_BUBBLES + 1), fill_value=0)
    labels = [str(i) for i in range(1, _MOST_BUBBLES)] + [f"{_MOST_BUBBLES}+"]
    return {"bubbles": labels, "replies": counts.tolist()}


def _doubling(n: np.ndarray[Any, Any]) -> Table:
    """Count sizes in bins that double: to 4, to 8, to 16, ..."""
    edges = [0, 4]
    while edges[-1] < n.max(initial=4):
        edges.append(edges[-1] * 2)
    counts = pd.cut(pd.Series(n), edges).value_counts(sort=False)
    return {"tokens": [f"to {b:,}" for b in edges[1:]], "replies": counts.tolist()}


def _even(n: np.ndarray[Any, Any], limit: int, n_bins: int = 16) -> Table:
    """Count sizes in even bins up to the limit."""
    edges = np.linspace(0, max(limit, int(n.max(initial=0))), n_bins + 1).round().astype(int)
    counts, _ = np.histogram(n, edges)
    return {"up_to": edges[1:].tolist(), "examples": counts.tolist()}
