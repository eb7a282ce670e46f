"""What an audit finds of properties, also inside of objects and lists (`address.city`, `products[].color`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from gateway.contract.paths import ITEMS, holder_of, inside, without_places
from gateway.contract.plan import PropertyDefinition
from gateway.model.alert import Severity
from gateway.quality.facts import Facts, shares_of
from gateway.quality.findings import AuditFinding
from gateway.quality.names import near_duplicates
from gateway.quality.nested import OTHER
from gateway.store.catalog import Name, Sightings

#: A property of an event that came so often and never had it is dead.
_ENOUGH = 20
#: Properties of one event that are told to be planned by nobody, the most frequent.
_MOST_UNPLANNED = 20
HELD_BY = {
    "string": {"string"},
    "datetime": {"string"},
    "integer": {"integer", "number"},  # 2.0 is whole too; what is not is a misfit of rule `type`
    "number": {"integer", "number"},
    "boolean": {"boolean"},
    "array": {"array"},
    "object": {"object"},
}


def properties_of(facts: Facts) -> Iterator[AuditFinding]:
    """Everything there is to find of them."""
    for key, within in facts.within.items():
        planned = facts.properties(key)
        doubles = [*_near_duplicates(within, planned)]
        yield from doubles
        yield from _dead(within, planned)
        yield from _planned_drifts(within, planned)
        yield from _unplanned_drifts(facts, key, within, planned)
        if key in facts.planned:
            told = {one.subject for one in doubles}
            yield from _never_planned(within, planned, told)


def _near_duplicates(within: Sightings, planned: Mapping[str, PropertyDefinition]) -> Iterator[AuditFinding]:
    """Names are compared with those that stand beside them."""
    settled: dict[str | None, dict[str, str]] = {}
    for path in planned:
        if not path.endswith(ITEMS):
            settled.setdefault(holder_of(path), {})[_name(path)] = path
    seen: dict[str | None, dict[str, str]] = {}
    for path in sorted(within.properties, key=lambda one: -within.properties[one].count):
        if not path.endswith(ITEMS) and _name(path) != OTHER and not _left_open(path, planned):
            seen.setdefault(holder_of(path), {})[_name(path)] = path
    for holder, names in seen.items():
        known = settled.get(holder, {})
        for name, meant in near_duplicates(names, known, slips=False):
            path, other = names[name], known.get(meant) or names[meant]
            told = f"{path!r} of {within.title!r}"
            yield duplicate(f"{within.title}.{path}", told, other, within.properties[path].count, within)


def _dead(within: Sightings, planned: Mapping[str, PropertyDefinition]) -> Iterator[AuditFinding]:
    for path in planned:
        seen, holder = within.properties.get(path), holder_of(path)
        if path.endswith(ITEMS) or (seen is not None and seen.count):
            continue
        if holder is None:
            held, among = within.count - within.unexamined, "events"
        else:
            held, among = _looked_into(within, holder), f"events with {holder!r}"
        if held >= _ENOUGH:
            yield AuditFinding(
                "dead_property",
                Severity.INFO,
                f"{within.title}.{path}",
                f"{path!r} of {within.title!r} is planned, and none of {held:,} {among} had it.",
                "Send it, or take it out of the plan.",
                (),
                shares_of(within),
            )


def _looked_into(within: Sightings, holder: str) -> int:
    """Events with an object at this path that was looked at as a whole, at least."""
    seen = within.properties.get(holder)
    least = 0 if seen is None else seen.types["object"]
    around: str | None = holder
    while around is not None:
        beyond = within.properties.get(inside(around, OTHER))
        least -= 0 if beyond is None else beyond.types.total()
        around = holder_of(around)
    return least


def _planned_drifts(within: Sightings, planned: Mapping[str, PropertyDefinition]) -> Iterator[AuditFinding]:
    drifts: dict[str, Counter[str]] = {}
    named: dict[str, str] = {}
    for path, definition in planned.items():
        seen = within.properties.get(path)
        odd = {} if seen is None else _only(seen.types, but={*HELD_BY[definition.type], "null"})
        drifts[path] = Counter(odd)
        # A reason names a list and what it holds alike: it is told of that which is seen to drift.
        if odd or without_places(path) not in named:
            named[without_places(path)] = path
    reasons: dict[str, Counter[str]] = {}
    for reason, count in within.misfits.items():
        rule, _, name = reason.partition(" ")
        if rule == "type" and (of := named.get(name)) is not None:
            reasons.setdefault(of, Counter())[reason] += count
    for path, odd in drifts.items():
        if odd or path in reasons:
            yield _drift(within, path, planned[path].type, odd, reasons.get(path, Counter()))


def _unplanned_drifts(
    facts: Facts, key: Name, within: Sightings, planned: Mapping[str, PropertyDefinition]
) -> Iterator[AuditFinding]:
    for path, seen in within.properties.items():
        if path in planned or _name(path) == OTHER or _left_open(path, planned):
            continue
        now, before = _classes(seen.types), _classes(_earlier(facts, key, path))
        fresh = {kind for kind in now if kind not in before} if before.total() >= _ENOUGH else set()
        if len(now) > 1 or fresh:
            others = Counter(dict(now.most_common()[1:])) or Counter({kind: now[kind] for kind in fresh})
            usual = next(iter(before or now), "another type")
            yield _drift(within, path, usual, others, Counter())


def _never_planned(
    within: Sightings, planned: Mapping[str, PropertyDefinition], told: set[str]
) -> Iterator[AuditFinding]:
    """Properties of planned events: of an object that nobody planned, the object alone."""
    found = [
        path
        for path, seen in within.properties.items()
        if path not in planned
        and seen.count
        and _name(path) != OTHER
        and ((holder := holder_of(path)) is None or (holder in planned and not _is_open(planned[holder])))
        and f"{within.title}.{path}" not in told
    ]
    found.sort(key=lambda path: (-within.properties[path].count, path))
    for path in found[:_MOST_UNPLANNED]:
        yield AuditFinding(
            "unplanned",
            Severity.INFO,
            f"{within.title}.{path}",
            f"{path!r} of {within.title!r} came {_times(within.properties[path].count)} and nobody has planned it.",
            "Write it into properties.yaml and the event's file, or ask its sender to stop.",
            tuple(f"{kind}: {count:,}" for kind, count in within.properties[path].types.most_common()),
            shares_of(within),
        )
    if (more := len(found) - _MOST_UNPLANNED) > 0:
        yield AuditFinding(
            "unplanned",
            Severity.INFO,
            f"{within.title}.*",
            f"{more:,} more properties came with {within.title!r} and nobody has planned them.",
            "The catalogue lists them: `catalog { nodes { properties { key planned } } }`.",
        )


def _left_open(path: str, planned: Mapping[str, PropertyDefinition]) -> bool:
    """Whether it stands inside something of which the plan does not say what it holds."""
    holder = holder_of(path)
    while holder is not None and holder not in planned:
        holder = holder_of(holder)
    return holder is not None and _is_open(planned[holder])


def _is_open(definition: PropertyDefinition) -> bool:
    return not definition.properties and definition.items is None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _name(path: str) -> str:
    """The last of the names that a path leads through, as paths write it."""
    holder = holder_of(path)
    return path if holder is None else path[len(holder) :].removeprefix(".")


def duplicate(subject: str, told: str, meant: str, count: int, seen: Sightings) -> AuditFinding:
    """A name, as it is `told`, that is probably meant to be another."""
    return AuditFinding(
        "near_duplicate",
        Severity.WARNING,
        subject,
        f"{told} came {_times(count)}; it is probably {meant!r}.",
        f"Send {meant!r} alone: what is counted under two names is counted wrongly under both.",
        (f"near {meant}",),
        shares_of(seen),
    )


def _drift(within: Sightings, name: str, usual: str, drift: Counter[str], nested: Counter[str]) -> AuditFinding:
    told = [f"{kind}: {count:,}" for kind, count in drift.most_common()]
    told += [f"{reason.removeprefix('type ')}: {count:,}" for reason, count in nested.most_common(5)]
    return AuditFinding(
        "type_drift",
        Severity.WARNING,
        f"{within.title}.{name}",
        f"{name!r} of {within.title!r} should be {usual}, and came as something else ({', '.join(told)}).",
        f"Send {usual} alone, or give the new meaning a name of its own.",
        tuple(told),
        event=within.key,
        property=name,
        expected=usual,
    )


def _earlier(facts: Facts, key: Name, name: str) -> Counter[str]:
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
