"""`python -m tests.faults --seed 7 --rounds 10 --events 500000`: the fault suite by hand."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from pathlib import Path

import uvloop

from tests.faults.checker import summary
from tests.faults.nemesis import KINDS
from tests.faults.run import Options, Run, run, silences

_RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """0 when every rule was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="how often each kind of fault comes")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=1e9, help="make no more events after so long")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--output", type=Path, help="the JSON file of the result")
    parser.add_argument("--keep", type=Path, help="a folder for logs and data, which stay there")
    parser.add_argument("--transaction-seconds", type=int, default=10, help="how long mongod lets a transaction live")
    parser.add_argument("--uri-options", default="", help='for the gateways\' driver, as "&heartbeatFrequencyMS=500"')
    asked = parser.parse_args()
    name = f"{asked.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    output = asked.output or _RESULTS / f"{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    options = Options(
        seed=asked.seed,
        rounds=asked.rounds,
        events=asked.events,
        most_seconds=60 * asked.minutes,
        kinds=tuple(asked.kinds.split(",")),
        output=output,
        log=output.with_suffix(".ndjson"),
        keep=asked.keep,
        transaction_seconds=asked.transaction_seconds,
        uri_options=asked.uri_options,
    )
    print(f"seed {options.seed}: {options.rounds} x {len(options.kinds)} faults, {options.events} events", flush=True)
    try:
        done = uvloop.run(_until_told(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped before the end: everything that was started has ended, nothing is judged")
        return 130
    tell(done)
    print(f"written to {output}")
    return 0 if done.verdict.good else 1


async def _until_told(options: Options) -> Run:
    """The run; SIGTERM ends it as Ctrl-C does, with everything that it started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options)


def tell(done: Run) -> None:
    """The result for people."""
    print(f"{len(done.history)} messages, {len(done.nemesis.faults)} faults; {dict(done.history.counts)}")
    print(f"answers: {dict(done.history.answers.most_common())}")
    print("longest seconds without an acknowledgment (aims: killed 2.5, frozen 5, rolling 1.5), without news:")
    for kind, longest in sorted(silences(done).items()):
        print(f"  {kind:20} {longest['acknowledgment']:6.2f} {longest['news']:6.2f}")
    for one in done.subscribers:
        heard = one.heard
        print(f"{heard.kind}: {len(heard.news)} heard over {heard.connections} connections, {heard.gaps} gaps told")
    for kind, reason in done.nemesis.skipped.items():
        print(f"skipped {kind}: {reason}")
    if done.verdict.unchecked:
        print(f"NOT CHECKED (no rule yet): {', '.join(done.verdict.unchecked)}")
    print({name: round(seconds, 1) for name, seconds in done.seconds.items()})
    print(*summary(done.verdict), sep="\n")


if __name__ == "__main__":
    raise SystemExit(main())
