"""Changes of the tracking plan: what senders must mend, what reads what is no longer sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gateway.contract.changes.grades import BREAKING, DANGEROUS, SAFE, Both, Change, Done, Grade, listed
from gateway.contract.lineage import Node, Reading, at_path, readings_of
from gateway.contract.plan import EventDefinition, PlannedProperty, PropertyDefinition

_STRICTNESS = {"observe": 0, "warn": 1, None: 1, "quarantine": 2}
_SENDERS = "what senders send now would no longer fit"

#: What is said of a change: the words, its grade, why.
Said = tuple[str, Grade, str]


def event_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of events, and of which properties they carry."""
    before, after = both.before.events, both.after.events
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old is None:
            assert new is not None
            yield _event_added(both, new)
        elif new is None or new.name != old.name:
            yield _event_removed(both, old)
            if new is not None:
                yield _event_added(both, new)
        else:
            yield from _event_changed(both, old, new)


def property_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of properties, wherever they are carried."""
    before, after = both.before.properties, both.after.properties
    for key in sorted({*before, *after}):
        node = Node("property", key)
        if key not in before:
            yield Change("property", key, "added", f"property {key} is added", SAFE, "nothing has carried it so far")
        elif key not in after:
            yield _property_removed(both, node)
        else:
            retyped = before[key].type != after[key].type
            for what, grade, why in compared(before[key], after[key]):
                yield _of_property(both, node, what, grade, why, retyped=retyped)


def compared(old: PropertyDefinition, new: PropertyDefinition) -> Iterator[Said]:
    """What one definition says otherwise than another, but for what other properties say of themselves."""
    if old.type != new.type:
        wider = (old.type, new.type) == ("integer", "number")
        why = "clients that expect whole numbers must expect fractions" if wider else _SENDERS
        yield f"is {new.type} and was {old.type}", DANGEROUS if wider else BREAKING, why
        return
    yield from _values(old, new)
    yield from _limits(old, new)
    if old.privacy != new.privacy:
        why = "who may see it changes with that"
        yield f"is of privacy class {new.privacy} and was of {old.privacy}", DANGEROUS, why
    if old.unit != new.unit:
        yield f"is in {new.unit or 'no unit'} and was in {old.unit or 'none'}", DANGEROUS, "numbers mean something else"
    if old.items is not None and new.items is not None:
        if old.items.key != new.items.key:
            yield f"holds {new.items.key} and held {old.items.key}", BREAKING, _SENDERS
        elif old.items.key == old.key:  # said in place: no property tells of it by itself
            yield from ((f"in its items: {what}", grade, why) for what, grade, why in compared(old.items, new.items))
    for what, grade, why, _ in _carried(old.properties, new.properties):
        yield what, grade, why
    if (old.brief, old.term) != (new.brief, new.term):
        yield "has another description", SAFE, "it is for people"


def _values(old: PropertyDefinition, new: PropertyDefinition) -> Iterator[Said]:
    gone, come = [one for one in old.enum if one not in new.enum], [one for one in new.enum if one not in old.enum]
    if old.enum and not new.enum:
        yield "may have any value", DANGEROUS, "readers may meet values that they do not know"
    elif new.enum and not old.enum:
        yield f"may only be {_shown(new.enum)}", BREAKING, _SENDERS
    else:
        if gone:
            yield f"may no longer be {_shown(gone)}", BREAKING, _SENDERS
        if come:
            yield f"may also be {_shown(come)}", DANGEROUS, "readers may meet values that they do not know"
    if old.pattern != new.pattern:
        if new.pattern is None:
            yield "needs no pattern any more", SAFE, "whatever fitted fits"
        else:
            yield f"must match {new.pattern}", BREAKING, _SENDERS


def _limits(old: PropertyDefinition, new: PropertyDefinition) -> Iterator[Said]:
    for words, one, other, sign in (
        ("minimum", old.minimum, new.minimum, 1),
        ("maximum", old.maximum, new.maximum, -1),
        ("maxLength", old.max_length, new.max_length, -1),
    ):
        if one != other:
            tighter = other is not None and (one is None or (other - one) * sign > 0)
            what = f"has {'no ' + words if other is None else f'the {words} {other:g}'}"
            yield what, *((BREAKING, _SENDERS) if tighter else (SAFE, "whatever fitted fits"))


def _carried(
    old: tuple[PlannedProperty, ...], new: tuple[PlannedProperty, ...]
) -> Iterator[tuple[str, Grade, str, str]]:
    """What is carried otherwise, with the key of the property."""
    before, after = {one.key: one for one in old}, {one.key: one for one in new}
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            yield f"carries {key} no longer", BREAKING, "clients that ask for it by name get an error", key
        elif key not in before:
            must = after[key].required
            what = f"must carry {key}" if must else f"may carry {key}"
            yield what, *((BREAKING, _SENDERS) if must else (SAFE, "senders may leave it out")), key
        elif after[key].required and not before[key].required:
            yield f"must carry {key}, which was optional", BREAKING, "senders that leave it out no longer fit", key
        elif before[key].required and not after[key].required:
            yield f"need not carry {key} any more", DANGEROUS, "readers that count on it may not find it", key


# -- events -------------------------------------------------------------------------------------------------------


def _event_added(both: Both, event: EventDefinition) -> Change:
    beside = [one.key for one in both.after.events.values() if one.name == event.name and one.key != event.key]
    why = f"it stands beside {', '.join(beside)}" if beside else "nothing was planned under this name"
    return _event(both, event, "added", "is added", SAFE, why)


def _event_removed(both: Both, event: EventDefinition) -> Change:
    readers = _kpis(both, lambda one: one.event == event.name)
    if readers and not both.new.planned(event.name):
        why = f"{listed(readers)} reads it: change the KPI first"
        return _event(both, event, "removed", "is removed", BREAKING, why, refused=True)
    if event.deprecated is not None:
        return _event(both, event, "removed", "is removed", DANGEROUS, "it was deprecated, but may still be sent")
    return _event(both, event, "removed", "is removed", BREAKING, "what is sent is unplanned, its type is gone")


def _event_changed(both: Both, old: EventDefinition, new: EventDefinition) -> Iterator[Change]:
    if old.type != new.type:
        yield _event(both, new, "changed", f"is a {new.type} call and was {old.type}", BREAKING, _SENDERS)
    if old.mode != new.mode:
        stricter = _STRICTNESS[new.mode] > _STRICTNESS[old.mode]
        why = "misfits are treated more strictly" if stricter else "misfits are treated as leniently, or more so"
        what = f"has the mode {new.mode or 'of its workspace'}"
        yield _event(both, new, "changed", what, DANGEROUS if stricter else SAFE, why)
    for what, grade, why, key in _carried(old.properties, new.properties):
        gone = key not in {one.key for one in new.properties}
        lost = _losing(both, new.name, key) if gone else ()
        if lost:
            why = f"{listed(lost)} reads it: change the KPI first"
        yield _event(both, new, "changed", what, grade, why, property_=key, refused=bool(lost))
    if (old.brief, old.owners, old.term, old.deprecated) != (new.brief, new.owners, new.term, new.deprecated):
        yield _event(both, new, "changed", "is described otherwise", SAFE, "it is for people")


def _event(
    both: Both,
    event: EventDefinition,
    change: Done,
    what: str,
    grade: Grade,
    why: str,
    *,
    property_: str | None = None,
    refused: bool = False,
) -> Change:
    """A change of an event; of one of its properties, those depend on it that read that one."""
    node = Node("event", event.key)
    depend = both.dependants(node)
    if property_ is not None:
        of_property = both.dependants(Node("property", property_))
        depend = tuple(one for one in depend if one in of_property)
    return Change("event", event.key, change, f"event {event.key} {what}", grade, why, depend, refused)


def _reads(both: Both, reading: Reading, name: str, key: str) -> bool:
    """Whether the reading meets the property in the old plan of the event."""
    if reading.event != name or reading.property is None:
        return False
    return any(
        key in {one.key for one in at_path(event.properties, reading.property)} for event in both.old.planned(name)
    )


def _losing(both: Both, name: str, key: str) -> tuple[Node, ...]:
    """The KPIs of the new contract that read the property of events that none of them carries any more."""

    def loses(one: Reading) -> bool:
        left = both.new.planned(name)
        return _reads(both, one, name, key) and not any(at_path(event.properties, one.property or "") for event in left)

    return _kpis(both, loses)


def _kpis(both: Both, reads: Callable[[Reading], bool]) -> tuple[Node, ...]:
    """The KPIs of the new contract that read so."""
    return tuple(Node("kpi", key) for key, one in both.after.kpis.items() if any(map(reads, readings_of(one))))


# -- properties ---------------------------------------------------------------------------------------------------


def _property_removed(both: Both, node: Node) -> Change:
    what = f"property {node.key} is removed"
    readers = [one for one in both.new.of(node, "downstream") if one.kind == "kpi"]
    if readers:
        why = f"{listed(readers)} reads it: change the KPI first"
        return Change("property", node.key, "removed", what, BREAKING, why, both.dependants(node), refused=True)
    carried = [one for one in both.old.of(node, "downstream") if one.kind == "event"]
    if not carried:
        return Change("property", node.key, "removed", what, SAFE, "no event carried it")
    why = f"{listed(carried)} carried it"
    return Change("property", node.key, "removed", what, BREAKING, why, both.dependants(node))


def _of_property(both: Both, node: Node, what: str, grade: Grade, why: str, *, retyped: bool) -> Change:
    dependants = both.dependants(node)
    readers = [one for one in dependants if one.kind == "kpi" and _unchanged(both, one.key)]
    refused = retyped and grade is BREAKING and bool(readers)
    if refused:
        why = f"{listed(readers)} reads it: change the KPI with it, or add another property"
    elif readers and grade is not SAFE:
        why = f"{why}; {listed(readers)} reads it"
    return Change("property", node.key, "changed", f"property {node.key} {what}", grade, why, dependants, refused)


def _unchanged(both: Both, key: str) -> bool:
    """Whether the KPI was there before, and is as it was: one that is new comes with what it reads."""
    old, new = both.before.kpis.get(key), both.after.kpis.get(key)
    return old is not None and new is not None and old.hash == new.hash


def _shown(values: Sequence[object]) -> str:
    return ", ".join(str(one) for one in values)
