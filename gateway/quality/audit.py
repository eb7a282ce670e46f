"""The audit: the plan beside what comes in. Pure; `auditing` reads what it looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from gateway.model.alert import Severity
from gateway.quality.facts import Facts, Looked, shares_of
from gateway.quality.findings import KINDS, AuditFinding
from gateway.quality.ids import inconsistent_ids
from gateway.quality.names import near_duplicates
from gateway.quality.nested import OTHER
from gateway.quality.properties import duplicate, properties_of
from gateway.quality.volumes import HOUR_MS, SILENT_MS, anomalies, silence
from gateway.store.accounting import SourceHour

#: Loss is a rising share of what is sent: of so many events at least, this share, and so many times that of before.
_LOST_EVENTS = 20
_LOST_SHARE = 0.01
_LOST_TIMES = 3.0
LOST = ("quarantined", "refused", "conflict")
_ORDER = {severity: number for number, severity in enumerate((Severity.CRITICAL, Severity.WARNING, Severity.INFO))}


def audit(looked: Looked) -> list[AuditFinding]:
    """Everything there is to find, the most severe first."""
    facts = Facts(looked)
    found = [
        *_never_seen(facts),
        *_unplanned(facts),
        *_near_duplicates(facts),
        *properties_of(facts),
        *_misfits(facts),
        *_volumes(facts),
        *_silences(facts),
        *inconsistent_ids(looked.senders),
        *_losses(facts),
    ]
    return sorted(found, key=lambda one: (_ORDER[one.severity], KINDS.index(one.kind), one.subject))


def _never_seen(facts: Facts) -> Iterator[AuditFinding]:
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


def _unplanned(facts: Facts) -> Iterator[AuditFinding]:
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
            shares_of(within),
        )


def _near_duplicates(facts: Facts) -> Iterator[AuditFinding]:
    kinds = {kind for kind, name in facts.within if name}
    for kind in sorted(kinds):
        settled = [name for of, name in facts.planned if of == kind]
        names = [one for (of, one), seen in facts.within.items() if of == kind and seen.name != OTHER]
        names.sort(key=lambda name: -facts.within[kind, name].count)
        for name, meant in near_duplicates(names, settled):
            yield duplicate(name, repr(name), meant, facts.within[kind, name].count, facts.within[kind, name])


def _misfits(facts: Facts) -> Iterator[AuditFinding]:
    for within in facts.within.values():
        for reason, count in within.misfits.items():
            rule, _, name = reason.partition(" ")
            if rule == "type":
                continue  # drift
            total = within.count + within.quarantined
            yield AuditFinding(
                "misfit",
                Severity.WARNING,
                f"{within.title}.{name}",
                f"{count:,} of {total:,} {within.title!r} break the rule `{rule}` of {name!r}.",
                "Send what is planned, or change the plan.",
                (f"{within.quarantined:,} are in quarantine",) if within.quarantined else (),
                event=within.key,
                property=name,
                rule=rule,
            )


def _volumes(facts: Facts) -> Iterator[AuditFinding]:
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


def _silences(facts: Facts) -> Iterator[AuditFinding]:
    now = facts.looked.between[1]
    found = {name: one for name, hours in facts.looked.hours.items() if (one := silence(hours, now)) is not None}
    latest = max((hour for hours in facts.looked.hours.values() for hour in hours if hour < now), default=now)
    if len(found) > 1 and now - latest > SILENT_MS:
        since = max(one.since for one in found.values())
        yield _silence("*", "Nothing at all has", since, f"{len(found):,} events that came regularly")
        return
    for name, one in found.items():
        yield _silence(name, f"{name!r} has not", one.since, f"longest pause before: {one.pause / HOUR_MS:,.0f} h")


def _silence(subject: str, what: str, since: int, evidence: str) -> AuditFinding:
    return AuditFinding(
        "silence",
        Severity.CRITICAL,
        subject,
        f"{what} come since {_moment(since)}, and it used to come regularly.",
        "Look at the sender: its last release, its consent banner, its write key, its way here.",
        (evidence,),
    )


def _losses(facts: Facts) -> Iterator[AuditFinding]:
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


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
