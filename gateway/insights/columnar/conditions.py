"""Conditions of the contract as SQL over the JSON text of properties, with the meaning of `Condition.holds`.

Values are compared within their JSON kind. What JSON writes with a fraction or an exponent is compared as a double,
whole numbers exactly: they are within int64, and beyond 2^53 no double stands for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nextafter

from gateway.contract.rules import Condition, Operator, kind_of

_WHOLE_IN_DOUBLE = 2**53
_SIGNS: dict[Operator, str] = {"equals": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(slots=True)
class Asked:
    """Parameters of a statement, by the names under which its text has them."""

    values: dict[str, object] = field(default_factory=dict)

    def add(self, value: object) -> str:
        """A place for this value."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def value_at(path: str, asked: Asked) -> str:
    """The JSON text of the value at a dotted path; NULL where there is none, the text null where it is null.

    A JSON Pointer would look a number up in a list too; `property_at` does not.
    """
    names = path.split(".")
    found = f"json_extract(properties, {asked.add(_pointer(names))}::VARCHAR)::VARCHAR"
    guards = [
        f"json_type(properties, {asked.add(_pointer(names[:place]))}::VARCHAR) = 'OBJECT'"
        for place, name in enumerate(names)
        if place and (name.isdigit() or name == "-")
    ]
    return f"CASE WHEN {' AND '.join(guards)} THEN {found} END" if guards else found


def number_at(path: str, asked: Asked) -> str:
    """The number at a path as a double; NULL where there is none, or something else."""
    return f"TRY_CAST({value_at(path, asked)} AS DOUBLE)"


def holds(condition: Condition, asked: Asked) -> str:
    """A boolean expression, never NULL."""
    op, wanted = condition.op, condition.value
    if op == "exists":
        there = f"({value_at(condition.property, asked)}) IS NOT NULL"
        return there if wanted is True else f"NOT ({there})"
    values = wanted if isinstance(wanted, tuple) and op == "in" else (wanted,)
    values = tuple(value for value in values if _comparable(op, value))
    if not values:
        return "FALSE"
    found = value_at(condition.property, asked)
    each = [_compared(found, "equals" if op == "in" else op, value, asked) for value in values]
    return f"coalesce({' OR '.join(each)}, FALSE)"


def _comparable(op: Operator, wanted: object) -> bool:
    kind = kind_of(wanted)
    if kind == "number":
        return wanted == wanted
    return kind is not None and (kind == "string" or op in ("equals", "in"))


def _pointer(names: list[str]) -> str:
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def _compared(found: str, op: Operator, wanted: object, asked: Asked) -> str:
    """Of what is comparable; NULL or false where it does not hold."""
    if isinstance(wanted, bool) or wanted is None:
        return f"({found}) = '{'null' if wanted is None else str(wanted).lower()}'"
    if isinstance(wanted, int | float):
        return _number(found, op, wanted, asked)
    place = asked.add(wanted)
    if op == "equals":
        # As this JSON library writes it, so that the texts are the same when the strings are.
        return f"({found}) = to_json({place}::VARCHAR)::VARCHAR"
    text = f"json_extract_string(({found})::JSON, '$')"
    return f"(({found}) LIKE '\"%' AND {text} {_SIGNS[op]} {place}::VARCHAR)"


def _number(found: str, op: Operator, wanted: float, asked: Asked) -> str:
    sign = _SIGNS[op]
    if abs(wanted) < _WHOLE_IN_DOUBLE:
        return f"TRY_CAST(({found}) AS DOUBLE) {sign} {asked.add(float(wanted))}::DOUBLE"
    whole = f"regexp_full_match(({found}), '-?[0-9]+')"
    # Nothing that is stored goes beyond int64, so that a wanted number may stop a little further out.
    near = int(max(-(2**65), min(2**65, wanted)))
    exact = f"TRY_CAST(({found}) AS HUGEINT) {sign} {asked.add(str(near))}::HUGEINT"
    bound, sign = _double(op, wanted)
    beside = "FALSE" if bound is None else f"TRY_CAST(({found}) AS DOUBLE) {sign} {asked.add(bound)}::DOUBLE"
    return f"CASE WHEN {whole} THEN {exact} ELSE {beside} END"


def _double(op: Operator, wanted: float) -> tuple[float | None, str]:
    """The same test against a double, where no double is the wanted number."""
    try:
        nearest = float(wanted)
    except OverflowError:
        nearest = inf if wanted > 0 else -inf
    if nearest == wanted:
        return nearest, _SIGNS[op]
    if op == "equals":
        return None, ""
    if op in ("gt", "gte"):
        return (nearest if nearest > wanted else nextafter(nearest, inf)), ">="
    return (nearest if nearest < wanted else nextafter(nearest, -inf)), "<="
