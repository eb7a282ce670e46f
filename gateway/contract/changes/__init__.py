"""What changes between two contracts, each change graded safe, dangerous or breaking, with the reason."""

from __future__ import annotations

from gateway.contract.changes.audiences import alert_changes, rule_changes, segment_changes
from gateway.contract.changes.grades import Both, Change, Grade, refusals, worst
from gateway.contract.changes.maps import map_changes
from gateway.contract.changes.numbers import kpi_changes, other_changes, survey_changes, term_changes
from gateway.contract.changes.plan import event_changes, property_changes
from gateway.contract.loading import Contract

__all__ = ["Change", "Grade", "classify", "refusals", "worst"]


def classify(before: Contract | None, after: Contract) -> list[Change]:
    """Every change, the worst first; none before the first version, which nothing lives on yet.

    safe: nobody has to do anything. dangerous: numbers, or what people see, may change. breaking: senders or clients
    of the API have to be mended.
    """
    if before is None:
        return []
    both = Both.of(before, after)
    found = [
        *event_changes(both),
        *property_changes(both),
        *map_changes(both),
        *kpi_changes(both),
        *survey_changes(both),
        *segment_changes(both),
        *alert_changes(both),
        *rule_changes(both),
        *term_changes(both),
        *other_changes(both),
    ]
    return sorted(found, key=lambda one: -one.grade.rank)
