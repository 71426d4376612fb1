"""Long texts that say the same, to the letter or nearly.

In come texts, out come sketches (MinHash, Broder 1997, over runs of five characters); in come sketches of all chats,
out comes which texts repeat an earlier one. Short texts are never asked about: people say "ok" a thousand times, and a
twin should. Knows nothing of chats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_RUN = 5  # characters hashed together
_N_HASHES = 32
_N_BANDS = 8  # of four hashes: texts that share 80 % of their runs meet in some band 98 times of 100
_MIN_EQUAL = 26  # of 32 hashes: the estimate of 80 %

Sketches = NDArray[np.uint32]  # (n_texts, _N_HASHES)

_SPACE = re.compile(r"\s+")
_ODD = 0x9E3779B97F4A7C15
_rng = np.random.default_rng(20240229)  # the hash functions are constants of the method, not of a run
_MULTIPLIERS = _rng.integers(1, 2**63, _N_HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _rng.integers(0, 2**63, _N_HASHES, dtype=np.uint64)


def sketch(texts: Sequence[str]) -> Sketches:
    """Return the sketch of each text; case and white space do not count."""
    plain = [_SPACE.sub(" ", text.casefold()).ljust(_RUN) for text in texts]
    if not plain:
        return np.empty((0, _N_HASHES), np.uint32)
    codes = np.frombuffer("".join(plain).encode("utf-32-le"), np.uint32).astype(np.uint64)  # (n_characters,)
    sizes = np.array([len(text) for text in plain])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    runs = np.zeros(len(codes) - _RUN + 1, np.uint64)
    for i in range(_RUN):
        runs = runs * np.uint64(_ODD) + codes[i : i + len(runs)]
    runs ^= runs >> np.uint64(31)
    is_across = np.zeros(len(runs), bool)  # runs that begin in one text and end in the next
    for i in range(1, _RUN):
        at = starts[1:] - i
        is_across[at[at < len(runs)]] = True
    out = np.empty((len(plain), _N_HASHES), np.uint32)
    for k in range(_N_HASHES):
        hashes = ((runs * _MULTIPLIERS[k] + _OFFSETS[k]) >> np.uint64(32)).astype(np.uint32)
        hashes[is_across] = np.iinfo(np.uint32).max
        out[:, k] = np.minimum.reduceat(hashes, starts)
    return out


def find_repeats(sketches: Sketches, order: NDArray[np.int64]) -> dict[int, int]:
    """Return, for each text that repeats an earlier one, which it repeats. `order` ascends from the earliest."""
    found: dict[int, int] = {}
    rows = _N_HASHES // _N_BANDS
    bands = [range(i, i + rows) for i in range(0, _N_HASHES, rows)]
    for band in (range(_N_HASHES), *bands):  # the first finds the texts that are the same to the letter
        key = np.zeros(len(sketches), np.uint64)
        for k in band:
            key = key * np.uint64(_ODD) + sketches[:, k]
        ranked = np.lexsort((order, key))  # equal keys stand together, the earliest first
        key = key[ranked]
        is_first = np.concatenate(([True], key[1:] != key[:-1])) if len(key) else np.empty(0, bool)
        first = ranked[np.maximum.accumulate(np.where(is_first, np.arange(len(key)), 0))] if len(key) else ranked
        later = np.flatnonzero(~is_first)
        n_equal = (sketches[ranked[later]] == sketches[first[later]]).sum(axis=1)
        for i in later[n_equal >= _MIN_EQUAL]:
            found.setdefault(int(ranked[i]), int(first[i]))
    return found
