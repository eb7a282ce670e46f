"""What the writers saw: of every message whether it was sent and acknowledged, of every request the answer."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from tests.faults.messages import Plan

_SENT, _ACKNOWLEDGED = 1, 2
_MOST_ANOMALIES = 100


@dataclass(frozen=True, slots=True)
class Request:
    """One request by this machine's clock (ms): how many messages, and the counts of its answer when one came.

    Without counts nobody knows whether a gateway has read it, or judged it, or stored any of it.
    """

    began: int
    ended: int
    messages: int
    counts: Mapping[str, int] | None


class History:
    """Messages by their number; requests as lines of `log` (NDJSON), when there is one."""

    def __init__(self, plan: Plan, log: Path | None = None) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        #: Answers that no fault excuses.
        self.anomalies: list[dict[str, Any]] = []
        #: When each request was acknowledged (monotonic seconds).
        self.acknowledged_at: list[float] = []
        self.requests: list[Request] = []
        self._states = bytearray()
        self._log = None if log is None else log.open("wb")
        self._began = time.monotonic()

    def next_numbers(self, count: int) -> range:
        """Numbers of messages that nobody has sent."""
        first = len(self._states)
        self._states.extend(b"\0" * count)
        return range(first, first + count)

    def __len__(self) -> int:
        """How many messages were made."""
        return len(self._states)

    def sent(self, numbers: list[int]) -> int:
        """Record that they are about to be sent; the time (ms)."""
        for number in numbers:
            self._states[number] |= _SENT
        self.counts["sent"] += len(numbers)
        return _now()

    def answered(
        self, numbers: list[int], gateway: int, status: int | str, reply: dict[str, Any] | None, *, began: int
    ) -> bool:
        """Record the answer to what was sent at `began` (ms); whether it acknowledged the messages."""
        self.answers[str(status)] += 1
        line: dict[str, Any] = {
            "t": round(time.monotonic() - self._began, 3),
            "g": gateway,
            "n": runs(numbers),
            "a": status,
        }
        good = status == 200 and reply is not None
        if good:
            assert reply is not None
            line["r"] = {key: reply.get(key, 0) for key in ("accepted", "duplicate")}
            if line["r"]["accepted"] + line["r"]["duplicate"] == len(numbers):
                self.acknowledged_at.append(time.monotonic())
                self.counts.update(line["r"])
                for number in numbers:
                    self._states[number] |= _ACKNOWLEDGED
            else:
                self.anomaly("verdicts that do not sum to what was sent, or bad ones", numbers=runs(numbers), **reply)
        elif isinstance(status, int) and status not in (429, 502, 503, 504):
            self.anomaly(f"status {status}", numbers=runs(numbers))
        self.requests.append(Request(began, _now(), len(numbers), line.get("r")))
        if self._log is not None:
            self._log.write(orjson.dumps(line) + b"\n")
        return good

    def anomaly(self, what: str, **details: Any) -> None:
        self.counts["anomalies"] += 1
        if len(self.anomalies) < _MOST_ANOMALIES:
            self.anomalies.append({"what": what, **details})

    def was_sent(self, number: int) -> bool:
        return number < len(self._states) and bool(self._states[number])

    def acknowledged(self) -> Iterator[int]:
        """Numbers of the messages that some answer called accepted or duplicate."""
        return (number for number, state in enumerate(self._states) if state & _ACKNOWLEDGED)

    def acknowledge(self, number: int) -> None:
        """For histories that tests make up."""
        self._states[number] |= _SENT | _ACKNOWLEDGED

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def longest_silence(self, began: float, ended: float) -> float:
        """Seconds: the longest pause between acknowledgments that touches this time."""
        return longest_pause(self.acknowledged_at, began, ended)


def _now() -> int:
    return int(time.time() * 1000)


def longest_pause(times: Sequence[float], began: float, ended: float) -> float:
    """The longest pause in `times` (sorted) that touches the time from `began` to `ended`."""
    first, last = bisect_left(times, began), bisect_right(times, ended)
    before = times[first - 1] if first else began
    after = times[last] if last < len(times) else ended
    return max(later - earlier for earlier, later in pairwise([before, *times[first:last], after]))


def runs(numbers: list[int]) -> list[list[int]]:
    """Numbers as [first, count], in the order they were sent."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][0] + found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, 1])
    return found
