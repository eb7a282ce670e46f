"""What a slow machine changes: how long a test waits, and what a limit on CPU is there."""

from __future__ import annotations

import time

#: Seconds that a test waits for what must come. It says nothing of how fast the product is: a wait ends when it comes.
PATIENCE = 300.0

#: CPU seconds that `_work` takes where the limits were set.
_USUAL = 0.01
#: How often it is done: where others take the processor away, not every time suffers.
_TIMES, _MANY = 20, 60
#: Beyond this a test that judges times would judge the machine.
TOO_SLOW = 4.0


def strain() -> float:
    """How many times longer than usual work takes here and now by the clock, whatever else the machine does."""
    began = time.monotonic()
    for _ in range(_MANY):
        _work()
    return (time.monotonic() - began) / (_MANY * _USUAL)


def slowness() -> float:
    """How many times longer than usual a second of CPU lasts here and now; never below 1."""
    return max(1.0, sum(_work() for _ in range(_TIMES)) / (_TIMES * _USUAL))


def _work() -> float:
    began = time.process_time()
    total = 0
    for number in range(300_000):
        total += number
    assert total
    return time.process_time() - began


if __name__ == "__main__":
    _found = sum(strain() for _ in range(4)) / 4
    print(f"usual work takes {_found:.1f} times as long as usual on this machine just now")
    raise SystemExit(0 if _found > TOO_SLOW else 1)
