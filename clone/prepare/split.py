"""Which sessions are trained on, which are held out, and how much one contact may weigh.

In come sessions with their numbers of examples; out come choices. Knows nothing of what was said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from clone.prepare.batches import SessionPart


def choose_validation(sessions: Sequence[SessionPart], share: float) -> frozenset[str]:
    """Return the ids of the newest sessions whose examples come nearest to `share` of all; never of all sessions."""
    newest = sorted((s for s in sessions if s.n_examples), key=lambda s: (s.ended_at, s.session_id), reverse=True)
    wanted = share * sum(s.n_examples for s in newest)
    chosen: list[str] = []
    n = 0
    for session in newest[:-1]:
        if chosen and n + session.n_examples - wanted > wanted - n:
            break
        chosen.append(session.session_id)
        n += session.n_examples
        if n >= wanted:
            break
    return frozenset(chosen)


def balance_contacts(sessions: Iterable[SessionPart], max_share: float) -> frozenset[str]:
    """Return the ids of the sessions to leave out, oldest first, so that no contact has more than `max_share` of the
    examples, or as near to it as whole sessions allow.

    With so few contacts that the share cannot hold, all are brought down to the one who wrote least.
    """
    by_contact: dict[str, list[SessionPart]] = defaultdict(list)
    for session in sessions:
        if session.n_examples:
            by_contact[session.contact].append(session)
    sizes = {contact: sum(s.n_examples for s in theirs) for contact, theirs in by_contact.items()}
    if max_share >= 1 or not sizes:
        return frozenset()
    limit = _limit(list(sizes.values()), max_share)
    out: set[str] = set()
    for contact, theirs in by_contact.items():
        n = sizes[contact]
        for session in sorted(theirs, key=lambda s: (s.ended_at, s.session_id))[:-1]:  # the newest always stays
            if n <= limit:
                break
            out.add(session.session_id)
            n -= session.n_examples
    return frozenset(out)


def _limit(sizes: list[int], max_share: float) -> int:
    """Return the greatest number of examples a contact may have so that none exceeds the share of what is left."""
    low, high = min(sizes), max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        if middle <= max_share * sum(min(size, middle) for size in sizes):
            low = middle
        else:
            high = middle - 1
    return low
