"""The audit: the plan beside what comes in. Pure; `auditing` reads what it looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.contract.finding import NAMELESS
from gateway.contract.plan import EventDefinition, PropertyDefinition
from gateway.model.alert import Severity
from gateway.quality.findings import KINDS, AuditFinding, Share
from gateway.quality.gathering import OTHER, UNKNOWN
from gateway.quality.ids import Sender, inconsistent_ids
from gateway.quality.names import near_duplicates
from gateway.quality.volumes import HOUR_MS, SILENT_MS, anomalies, silence
from gateway.store.accounting import SourceHour
from gateway.store.catalog import Name, Sightings, merge

#: A property of an event that came so often and never had it is dead.
_ENOUGH = 20
#: Loss is a rising share of what is sent: of so many events at least, this share, and so many times that of before.
_LOST_EVENTS = 20
_LOST_SHARE = 0.01
_LOST_TIMES = 3.0
LOST = ("quarantined", "refused", "conflict")
HELD_BY = {
    "string": {"string"},
    "datetime": {"string"},
    "integer": {"integer", "number"},  # 2.0 is whole too; what is not is a misfit of rule `type`
    "number": {"integer", "number"},
    "boolean": {"boolean"},
    "array": {"array"},
    "object": {"object"},
}
_ORDER = {severity: number for number, severity in enumerate((Severity.CRITICAL, Severity.WARNING, Severity.INFO))}


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


def audit(looked: Looked) -> list[AuditFinding]:
    """Everything there is to find, the most severe first."""
    facts = _Facts(looked)
    found = [
        *_never_seen(facts),
        *_unplanned(facts),
        *_near_duplicates(facts),
        *_properties(facts),
        *_misfits(facts),
        *_volumes(facts),
        *_silences(facts),
        *inconsistent_ids(looked.senders),
        *_losses(facts),
    ]
    return sorted(found, key=lambda one: (_ORDER[one.severity], KINDS.index(one.kind), one.subject))


class _Facts:
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
        self.planned: dict[Name, list[EventDefinition]] = {}
        for event in looked.plan:
            self.planned.setdefault(place(event.type, event.name), []).append(event)

    def properties(self, key: Name) -> dict[str, PropertyDefinition]:
        """Those of all majors."""
        return {one.key: one.definition for event in self.planned.get(key, ()) for one in event.properties}


def place(kind: str, name: str) -> Name:
    """What an event type is known by: identify and group have no names."""
    return kind, "" if kind in NAMELESS else name


def _never_seen(facts: _Facts) -> Iterator[AuditFinding]:
    for key, definitions in facts.planned.items():
        within = facts.within.get(key)
        event = definitions[-1]
        if event.deprecated or (within is not None and within.count + within.quarantined):
            continue
        before = facts.seen.get(key)
        last = f"last seen {_day(before.last_at)}" if before is not None else "never seen"
        yield AuditFinding(
            "never_seen",
            Severity.WARNING,
            event.name,
            f"{event.name!r} is planned and did not come in this time.",
            f"Ask its owners ({', '.join(event.owners)}) to send it, or mark it as deprecated.",
            (last,),
        )


def _unplanned(facts: _Facts) -> Iterator[AuditFinding]:
    for key, within in facts.within.items():
        if key in facts.planned or within.name == OTHER or key[0] == "alias":
            continue
        yield AuditFinding(
            "unplanned",
            Severity.INFO,
            within.name,
            f"{within.name!r} ({within.type}) came {within.count:,} times and nobody has planned it.",
            "Write it into events/ (`journey-gateway contract infer` drafts it), or ask its sender to stop.",
            (f"since {_day(facts.seen[key].first_at)}",) if key in facts.seen else (),
            _shares(within),
        )


def _near_duplicates(facts: _Facts) -> Iterator[AuditFinding]:
    kinds = {kind for kind, name in facts.within if name}
    for kind in sorted(kinds):
        settled = [name for of, name in facts.planned if of == kind]
        names = [one for (of, one), seen in facts.within.items() if of == kind and seen.name != OTHER]
        names.sort(key=lambda name: -facts.within[kind, name].count)
        for name, meant in near_duplicates(names, settled):
            yield _duplicate(name, name, meant, facts.within[kind, name].count, facts.within[kind, name])
    for key, within in facts.within.items():
        planned = [*facts.properties(key)]
        keys = sorted(within.properties, key=lambda one: -within.properties[one].count)
        for name, meant in near_duplicates([one for one in keys if one != OTHER], planned, slips=False):
            yield _duplicate(f"{within.name}.{name}", name, meant, within.properties[name].count, within)


def _duplicate(subject: str, name: str, meant: str, count: int, seen: Sightings) -> AuditFinding:
    return AuditFinding(
        "near_duplicate",
        Severity.WARNING,
        subject,
        f"{name!r} came {count:,} times; it is probably {meant!r}.",
        f"Send {meant!r} alone: what is counted under two names is counted wrongly under both.",
        (f"near {meant}",),
        _shares(seen),
    )


def _properties(facts: _Facts) -> Iterator[AuditFinding]:
    for key, within in facts.within.items():
        planned = facts.properties(key)
        examined = within.count - within.unexamined
        for name, definition in planned.items():
            seen = within.properties.get(name)
            if examined >= _ENOUGH and (seen is None or not seen.count):
                yield AuditFinding(
                    "dead_property",
                    Severity.INFO,
                    f"{within.name}.{name}",
                    f"{name!r} of {within.name!r} is planned, and none of {examined:,} events had it.",
                    "Send it, or take it out of the plan.",
                    (),
                    _shares(within),
                )
            drift = {} if seen is None else _only(seen.types, but={*HELD_BY[definition.type], "null"})
            nested = Counter({
                reason: count
                for reason, count in within.misfits.items()
                if reason.startswith("type ") and reason.removeprefix("type ").split(".")[0] == name
            })  # fmt: skip
            if drift or nested:
                yield _drift(within, name, definition.type, Counter(drift), nested)
        for name, seen in within.properties.items():
            if name in planned or name == OTHER:
                continue
            now, before = _classes(seen.types), _classes(_earlier(facts, key, name))
            fresh = {kind for kind in now if kind not in before} if before.total() >= _ENOUGH else set()
            if len(now) > 1 or fresh:
                others = Counter(dict(now.most_common()[1:])) or Counter({kind: now[kind] for kind in fresh})
                usual = next(iter(before or now), "another type")
                yield _drift(within, name, usual, others, Counter())


def _drift(within: Sightings, name: str, usual: str, drift: Counter[str], nested: Counter[str]) -> AuditFinding:
    told = [f"{kind}: {count:,}" for kind, count in drift.most_common()]
    told += [f"{reason.removeprefix('type ')}: {count:,}" for reason, count in nested.most_common(5)]
    return AuditFinding(
        "type_drift",
        Severity.WARNING,
        f"{within.name}.{name}",
        f"{name!r} of {within.name!r} should be {usual}, and came as something else ({', '.join(told)}).",
        f"Send {usual} alone, or give the new meaning a name of its own.",
        tuple(told),
        event=within.key,
        property=name,
        expected=usual,
    )


def _misfits(facts: _Facts) -> Iterator[AuditFinding]:
    for within in facts.within.values():
        for reason, count in within.misfits.items():
            rule, _, name = reason.partition(" ")
            if rule == "type":
                continue  # drift
            total = within.count + within.quarantined
            yield AuditFinding(
                "misfit",
                Severity.WARNING,
                f"{within.name}.{name}",
                f"{count:,} of {total:,} {within.name!r} break the rule `{rule}` of {name!r}.",
                "Send what is planned, or change the plan.",
                (f"{within.quarantined:,} are in quarantine",) if within.quarantined else (),
                event=within.key,
                property=name,
                rule=rule,
            )


def _volumes(facts: _Facts) -> Iterator[AuditFinding]:
    for name, hours in facts.looked.hours.items():
        for one in anomalies(hours, facts.looked.between):
            yield AuditFinding(
                "volume",
                Severity.WARNING,
                name,
                f"{name!r} came {one.count:,} times on {_day(one.day)}; usual are {one.usual:,.0f}.",
                "Look at what was released, and at campaigns and bots, that day.",
                (f"{_day(one.day)}: {one.count:,}", f"median before: {one.usual:,.0f}"),
            )


def _silences(facts: _Facts) -> Iterator[AuditFinding]:
    now = facts.looked.between[1]
    found = {name: one for name, hours in facts.looked.hours.items() if (one := silence(hours, now)) is not None}
    latest = max((hour for hours in facts.looked.hours.values() for hour in hours if hour < now), default=now)
    if len(found) > 1 and now - latest > SILENT_MS:
        since = max(one.since for one in found.values())
        yield _silence("*", "Nothing at all", since, f"{len(found):,} events that came regularly")
        return
    for name, one in found.items():
        yield _silence(name, repr(name), one.since, f"longest pause before: {one.pause / HOUR_MS:,.0f} h")


def _silence(subject: str, what: str, since: int, evidence: str) -> AuditFinding:
    return AuditFinding(
        "silence",
        Severity.CRITICAL,
        subject,
        f"{what} has come since {_moment(since)}, and it used to come regularly.",
        "Look at the sender: its last release, its consent banner, its write key, its way here.",
        (evidence,),
    )


def _losses(facts: _Facts) -> Iterator[AuditFinding]:
    now, before = _sums(facts.looked.accounts), _sums(facts.looked.accounts_before)
    for source, counts in now.items():
        sent, lost = counts["sent"], sum(counts[one] for one in LOST)
        earlier = before.get(source, Counter())
        share, usual = lost / max(sent, 1), sum(earlier[one] for one in LOST) / max(earlier["sent"], 1)
        if lost < _LOST_EVENTS or share < _LOST_SHARE or share < _LOST_TIMES * usual:
            continue
        yield AuditFinding(
            "loss",
            Severity.CRITICAL if share > 0.1 else Severity.WARNING,
            source,
            f"{share:.0%} of what the source {source!r} sends does not become events; before it was {usual:.0%}.",
            "`journey-gateway quarantine list` says why; mend the sender, then replay.",
            tuple(f"{one}: {counts[one]:,} of {sent:,}" for one in LOST if counts[one]),
        )


def _sums(accounts: Sequence[SourceHour]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for one in accounts:
        counts = found.setdefault(one.source, Counter())
        counts.update(one.counts)
        counts["sent"] += one.sent
    return found


def _earlier(facts: _Facts, key: Name, name: str) -> Counter[str]:
    """Types of a property's values before the range."""
    ever = facts.seen.get(key)
    if ever is None or name not in ever.properties:
        return Counter()
    return ever.properties[name].types - facts.within[key].properties[name].types


def _classes(types: Counter[str]) -> Counter[str]:
    """Types that are told apart by whoever reads them: whole numbers are numbers, null is none."""
    found = Counter({kind: count for kind, count in types.items() if kind not in ("null", "integer")})
    if types["integer"]:
        found["number"] += types["integer"]
    return Counter(dict(found.most_common()))


def _only(types: Counter[str], but: set[str]) -> dict[str, int]:
    return {kind: count for kind, count in types.items() if kind not in but and count}


def _shares(seen: Sightings) -> tuple[Share, ...]:
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


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
