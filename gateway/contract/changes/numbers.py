"""Changes of KPIs, surveys, words and the rest: what can no longer be compared, and what only people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gateway.contract.changes.grades import BREAKING, DANGEROUS, SAFE, Both, Change, Done, Grade, Kind
from gateway.contract.functions import StageMetric
from gateway.contract.kpis import Kpi
from gateway.contract.lineage import Node
from gateway.contract.surveys import Question, Survey

_COMPARED = "values before and after cannot be compared"


def kpi_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of KPIs."""
    before, after = both.before.kpis, both.after.kpis
    for key in sorted({*before, *after}):
        if key not in before:
            broken = both.new.broken(after[key])
            grade, why = (SAFE, "nothing reads it yet") if broken is None else (DANGEROUS, f"it is broken: {broken}")
            yield _kpi(both, key, "is added", grade, why, "added")
        elif key not in after:
            yield _kpi(both, key, "is removed", BREAKING, "whoever asks for it finds nothing any more", "removed")
        else:
            yield from _kpi_changed(both, before[key], after[key])


def _kpi_changed(both: Both, old: Kpi, new: Kpi) -> Iterator[Change]:
    broken = both.new.broken(new) if both.old.broken(old) is None else None
    if broken is not None and old.hash != new.hash:
        yield _kpi(both, new.key, "is broken", DANGEROUS, broken)
    elif broken is not None and isinstance(new.function, StageMetric):  # of others the change of the plan tells
        why = f"{broken}: change the KPI first"
        yield replace(_kpi(both, new.key, "is broken", BREAKING, why), refused=True)
    if old.hash != new.hash:
        yield _kpi(both, new.key, "counts something else", DANGEROUS, _COMPARED)
    if old.unit != new.unit:
        yield _kpi(both, new.key, f"is in {new.unit} and was in {old.unit}", DANGEROUS, _COMPARED)
    if old.better != new.better:
        yield _kpi(both, new.key, f"is better when {new.better}", DANGEROUS, "what was good is bad")
    if (old.target, old.thresholds) != (new.target, new.thresholds):
        yield _kpi(both, new.key, "has other targets", SAFE, "the number stays what it was")
    same = replace(
        new, function=old.function, filters=old.filters, unit=old.unit, better=old.better, target=old.target,
        thresholds=old.thresholds,
    )  # fmt: skip
    if same != old or (old.hash == new.hash and (old.function, old.filters) != (new.function, new.filters)):
        yield _kpi(both, new.key, "is described otherwise", SAFE, "it is for people")


def survey_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of surveys."""
    before, after = both.before.surveys, both.after.surveys
    for key in sorted({*before, *after}):
        if key not in before:
            yield _survey(both, key, "is added", SAFE, "nobody was asked so far", "added")
        elif key not in after:
            yield _survey(both, key, "is removed", BREAKING, "nobody is asked any more", "removed")
        else:
            yield from _survey_changed(both, before[key], after[key])


def _survey_changed(both: Both, old: Survey, new: Survey) -> Iterator[Change]:
    asked, asks = ({one.key: one for one in side.questions} for side in (old, new))
    for key in dict.fromkeys((*asked, *asks)):
        if key not in asks:
            yield _survey(both, new.key, f"does not ask {key} any more", BREAKING, "answers to it come no longer")
        elif key not in asked:
            yield _survey(both, new.key, f"asks {key} too", DANGEROUS, "longer surveys are answered less")
        elif _measure(asked[key]) != _measure(asks[key]):
            yield _survey(both, new.key, f"takes other answers to {key}", BREAKING, _COMPARED)
        elif asked[key] != asks[key]:
            yield _survey(both, new.key, f"asks {key} in other words or another order", DANGEROUS, _COMPARED)
    people = ("triggers", "touchpoints", "targeting", "sampling", "quota", "begins", "ends", "cooldown", "variants")
    if any(getattr(old, name) != getattr(new, name) for name in people):
        yield _survey(both, new.key, "is shown to others, or at another time", DANGEROUS, _COMPARED)
    if old.anonymous != new.anonymous:
        why = "answers from before keep what they were kept with"
        yield _survey(both, new.key, f"is {'' if new.anonymous else 'not '}anonymous from now on", DANGEROUS, why)
    texts = ("kind", "name", "owners", "term", "languages")
    if any(getattr(old, name) != getattr(new, name) for name in texts):
        yield _survey(both, new.key, "is described otherwise", SAFE, "it is for people")


def _measure(question: Question) -> tuple[object, ...]:
    options = tuple(one.key for one in question.options)
    return question.kind, question.scale, options, question.multiple


def term_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of the words of the glossary."""
    before, after = both.before.glossary, both.after.glossary
    for key in sorted({*before, *after}):
        meant = _meaning(both, key)
        if key not in before:
            yield Change("term", key, "added", f"term {key} is added", SAFE, "it is for people")
        elif key not in after:
            grade, why = (DANGEROUS, "it is still meant there") if meant else (SAFE, "nothing means it any more")
            yield Change("term", key, "removed", f"term {key} is removed", grade, why, meant)
        elif before[key] != after[key]:
            yield Change("term", key, "changed", f"term {key} is explained otherwise", SAFE, "it is for people", meant)


def _meaning(both: Both, key: str) -> tuple[Node, ...]:
    """What of the new contract names the term."""
    after = both.after
    named: list[tuple[Node, str | None]] = [
        *((Node("kpi", one.key), one.term) for one in after.kpis.values()),
        *((Node("event", one.key), one.term) for one in after.events.values()),
        *((Node("property", one.key), one.term) for one in after.properties.values()),
        *((Node("survey", one.key), one.term) for one in after.surveys.values()),
        *((Node("segment", one.key), one.term) for one in after.segments.values()),
    ]
    return tuple(node for node, term in named if term == key)


def other_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of personas, consent, requests and examples."""
    before, after = both.before, both.after
    yield from _plain("persona", before.personas, after.personas, SAFE, "it is for people")
    why = "what may be done with whose data changes with that"
    yield from _plain("consent", before.consent, after.consent, DANGEROUS, why)
    yield from _plain("request", before.requests, after.requests, SAFE, "it asks, and changes nothing")
    yield from _plain("example", before.examples, after.examples, SAFE, "it is a test of the plan")


def _plain(
    kind: Kind, before: Mapping[str, object], after: Mapping[str, object], grade: Grade, why: str
) -> Iterator[Change]:
    for key in sorted({*before, *after}):
        if key not in before:
            yield Change(kind, key, "added", f"{kind} {key} is added", grade, why)
        elif key not in after:
            yield Change(kind, key, "removed", f"{kind} {key} is removed", grade, why)
        elif before[key] != after[key]:
            yield Change(kind, key, "changed", f"{kind} {key} is another", grade, why)


def _kpi(both: Both, key: str, what: str, grade: Grade, why: str, change: Done = "changed") -> Change:
    depend = both.dependants(Node("kpi", key))
    return Change("kpi", key, change, f"KPI {key} {what}", grade, why, depend)


def _survey(both: Both, key: str, what: str, grade: Grade, why: str, change: Done = "changed") -> Change:
    depend = both.dependants(Node("survey", key))
    return Change("survey", key, change, f"survey {key} {what}", grade, why, depend)
