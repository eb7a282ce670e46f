"""Which media type an answer has: the `Accept` header against what can be served."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
EVENTS = "text/event-stream"
HTML = "text/html"
TEXT = "text/plain"

_LONGEST_HEADER = 2_000
_MOST_RANGES = 50
_RANGE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+)\s*((?:;[^;]*)*)")
_QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)")


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered type that the client likes best; None when it takes none of them.

    Of equals the one named first wins, and a wildcard stands for the first of `offered` that it covers: clients that
    do not say what they want get what they always got.
    """
    if accept is None or not accept.strip():
        return offered[0]
    wanted = list(_ranges(accept))
    refused = {name for name, quality in wanted if quality == 0.0}
    best: tuple[float, int] | None = None
    chosen = None
    for place, (name, quality) in enumerate(wanted):
        found = next((one for one in offered if one not in refused and _covers(name, one)), None)
        # A type that is named beats a wildcard of the same quality, wherever they stand.
        rank = (quality, -place - (_MOST_RANGES if "*" in name else 0))
        if found is not None and quality > 0.0 and (best is None or rank > best):
            best, chosen = rank, found
    return chosen


def _ranges(accept: str) -> Iterable[tuple[str, float]]:
    for part in accept[:_LONGEST_HEADER].lower().split(",")[:_MOST_RANGES]:
        matched = _RANGE.fullmatch(part)
        if matched is not None:
            quality = _QUALITY.search(matched[2])
            yield matched[1], 1.0 if quality is None else float(quality[1])


def _covers(name: str, offered: str) -> bool:
    if name.endswith("/*"):
        # Streams are for those who ask for them by name.
        return offered != EVENTS and (name == "*/*" or offered.startswith(name[:-1]))
    return name == offered
