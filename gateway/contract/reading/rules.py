"""Event rules, as maps, KPIs and surveys write them."""

from __future__ import annotations

from typing import Any

from gateway.contract.rules import OPERATORS, Condition, EventRule


def build_rules(place: str, name: str, content: dict[str, Any]) -> tuple[EventRule, ...]:
    """The rules in the list `name`; each is called after its place."""
    return tuple(build_rule(f"{place}.{name}[{index}]", rule) for index, rule in enumerate(content.get(name, ())))


def build_rule(rule_id: str, content: dict[str, Any]) -> EventRule:
    """The rule that `event` and `where` write."""
    return EventRule(rule_id, content["event"], build_where(content))


def build_where(content: dict[str, Any]) -> tuple[Condition, ...]:
    """The conditions in `where`."""
    return tuple(build_condition(condition) for condition in content.get("where", ()))


def build_condition(content: dict[str, Any]) -> Condition:
    """A property and one test of it."""
    op = next(op for op in OPERATORS if op in content)
    value = content[op]
    return Condition(content["property"], op, tuple(value) if op == "in" else value)
