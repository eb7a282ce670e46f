"""What an audit looks at, by event type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.contract.finding import NAMELESS
from gateway.contract.paths import planned_paths
from gateway.contract.plan import EventDefinition, PropertyDefinition
from gateway.quality.findings import Share
from gateway.quality.gathering import UNKNOWN
from gateway.quality.ids import Sender
from gateway.store.accounting import SourceHour
from gateway.store.catalog import Name, Sightings, merge


@dataclass(frozen=True, slots=True)
class Looked:
    """What an audit looks at, for [from, to) in ms.

    `seen` is the catalogue of all time, `days` that of the range; `hours` events by name and hour (ms) of the range and
    four weeks before; `accounts` of the range, `accounts_before` of as long before it or longer.
    """

    between: tuple[int, int]
    plan: Sequence[EventDefinition]
    seen: Sequence[Sightings]
    days: Mapping[int, Sequence[Sightings]]
    hours: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    senders: Sequence[Sender] = ()
    accounts: Sequence[SourceHour] = ()
    accounts_before: Sequence[SourceHour] = ()


class Facts:
    """What was looked at, by event type."""

    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        self.seen = {place(one.type, one.name): one for one in looked.seen}
        self.within: dict[Name, Sightings] = {}
        for several in looked.days.values():
            for one in several:
                key = place(one.type, one.name)
                total = self.within.get(key) or Sightings(one.type, one.name, one.first_at, one.last_at)
                self.within[key] = merge(total, one)
        self._properties: dict[Name, dict[str, PropertyDefinition]] = {}
        self.planned: dict[Name, list[EventDefinition]] = {}
        for event in looked.plan:
            self.planned.setdefault(place(event.type, event.name), []).append(event)

    def properties(self, key: Name) -> dict[str, PropertyDefinition]:
        """Those of all majors by their paths, also inside of objects and lists."""
        found = self._properties.get(key)
        if found is None:
            events = self.planned.get(key, ())
            found = dict(path for event in events for path in planned_paths(event.properties))
            self._properties[key] = found
        return found


def place(kind: str, name: str) -> Name:
    """What an event type is known by: identify and group have no names."""
    return kind, "" if kind in NAMELESS else name


def shares_of(seen: Sightings) -> tuple[Share, ...]:
    """By platform and app version, as far as the catalogue has counted them together."""
    with_version: Counter[str] = Counter()
    shares: list[Share] = []
    for named, count in seen.versions.items():
        platform, _, version = named.partition(" ")
        with_version[platform] += count
        shares.append((platform, version or None, count))
    shares += [(one, None, rest) for one, count in seen.platforms.items() if (rest := count - with_version[one]) > 0]
    shares = [one for one in shares if one[:2] != (UNKNOWN, None)] or shares
    return tuple(sorted(shares, key=lambda one: -one[2])[:10])
