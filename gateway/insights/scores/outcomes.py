"""Whether people with other scores do other things afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.insights.columnar.users import Codes
from gateway.insights.kernels.events import Events, Floats, changes
from gateway.insights.scores.correlation import Correlation, correlated


@dataclass(frozen=True, slots=True)
class Outcome:
    """`found` of the people who answered; `open`: how many cannot be judged yet. `mean_with`, `mean_without`: the mean
    score of those with the outcome, and of the others."""

    found: Correlation
    open: int
    with_outcome: int
    mean_with: float | None
    mean_without: float | None


def did_afterwards(
    events: Events,
    score: Floats,
    codes: tuple[tuple[int, ...], ...],
    between: tuple[int, int],
    within: int,
    as_of: int,
    scale: tuple[int, int],
) -> Outcome:
    """People by their first answer on the scale in [start, end) ms, and whether the outcome came after it, within so
    many ms, which count. `codes` are those of answers, and of what counts as the outcome. Who still has time and has
    not done it is open."""
    answers, outcomes = codes
    valid = events.having(answers) & (score >= scale[0]) & (score <= scale[1])
    row = np.flatnonzero(valid & (events.at >= between[0]) & (events.at < between[1]))
    row = row[changes(events.user[row])]
    done = np.flatnonzero(events.having(outcomes))
    hit = np.zeros(len(row), np.bool_)
    for place, one in enumerate(row.tolist()):
        low, high = np.searchsorted(events.user[done], [events.user[one], events.user[one] + 1])
        later = events.at[done[low:high]]
        hit[place] = bool(((later > events.at[one]) & (later <= events.at[one] + within)).any())
    judged = hit | (events.at[row] + within <= as_of)
    return _outcome(score[row[judged]], hit[judged].astype(np.float64), int((~judged).sum()))


def are_among(
    events: Events,
    score: Floats,
    answers: tuple[int, ...],
    members: Codes,
    between: tuple[int, int],
    scale: tuple[int, int],
) -> Outcome:
    """People by their last answer on the scale in [start, end) ms, and whether they are among these users now."""
    valid = events.having(answers) & (score >= scale[0]) & (score <= scale[1])
    row = np.flatnonzero(valid & (events.at >= between[0]) & (events.at < between[1]))
    row = row[np.append(changes(events.user[row])[1:], True)[: len(row)]]
    return _outcome(score[row], np.isin(events.user[row], members).astype(np.float64), 0)


def _outcome(scores: Floats, outcome: Floats, waiting: int) -> Outcome:
    having, lacking = scores[outcome > 0], scores[outcome == 0]
    return Outcome(
        correlated(scores, outcome),
        waiting,
        len(having),
        float(having.mean()) if len(having) else None,
        float(lacking.mean()) if len(lacking) else None,
    )
