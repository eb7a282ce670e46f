"""Conditions of the contract as filters of MongoDB that mean the same, to the letter.

MongoDB looks into lists where a condition does not, and takes what is missing for null: both are ruled out here.
`tests/store/test_conditions.py` compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from gateway.contract import Condition
from gateway.store.database import Document
from gateway.store.events import escaped_path

_OPERATORS = {"equals": "$eq", "in": "$in", "gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte"}
_NO_LIST: Document = {"$not": {"$type": "array"}}


def as_filter(conditions: Iterable[Condition], within: str = "properties") -> Document:
    """Documents that meet all conditions on what they hold at `within`; an empty filter for none."""
    parts = [part for condition in conditions for part in _parts(condition, within)]
    return {"$and": parts} if parts else {}


def _parts(condition: Condition, within: str) -> list[Document]:
    *before, last = escaped_path(condition.property).split(".")
    path, above = within, []
    for name in before:
        path = f"{path}.{name}"
        above.append(path)
    path = f"{path}.{last}"
    if condition.op == "exists":
        if condition.value:
            return [{path: {"$exists": True}}, *({one: _NO_LIST} for one in above)]
        return [{"$or": [{path: {"$exists": False}}, *({one: {"$type": "array"}} for one in above)]}]
    parts = [{one: _NO_LIST} for one in (*above, path)]
    value = condition.value
    if condition.op == "in":
        return [*parts, {path: {"$in": list(cast("tuple[object, ...]", value))}}, {path: {"$exists": True}}]
    if value is None and condition.op == "equals":
        return [*parts, {path: {"$type": "null"}}]
    if condition.op not in ("equals", "in") and not _ordered(value):
        return [_NOTHING]  # a condition orders numbers and text only
    return [*parts, {path: {_OPERATORS[condition.op]: value}}]


_NOTHING: Document = {"_id": {"$in": []}}


def _ordered(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)
