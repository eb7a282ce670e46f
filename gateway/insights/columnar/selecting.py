"""What a question wants of the events, as SQL over parts and as Python over the tail: both say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import orjson

from gateway.contract.rules import Condition, EventRule, kind_of, property_at
from gateway.errors import InvalidInput
from gateway.insights.columnar.conditions import Asked, holds, number_at, value_at
from gateway.insights.columnar.engine import Connection
from gateway.insights.columnar.folder import Folder
from gateway.insights.columnar.parts import OF_CLIENT, properties_of, who_of
from gateway.model.identity import key_of
from gateway.store.columnar import Part
from gateway.store.database import Document

#: Columns of events that can be asked for as labels, beside properties.
Column: TypeAlias = Literal["type", "platform", "device", "country", "app", "app_version"]
Scalar: TypeAlias = str | bool | int | float | None
Array: TypeAlias = npt.NDArray[Any]

#: Values that one label may have.
MOST_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Events that one of `rules` matches, or whose name is one of `others`, and whose `at` is in [start, end) ms.

    `numbers` and `labels` are dotted paths of properties: numbers come as doubles, labels as codes for the scalars that
    are there. `columns` are labels of the event itself, and come as `@platform`.
    """

    rules: tuple[EventRule, ...]
    between: tuple[int, int]
    columns: tuple[Column, ...] = ()
    numbers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    filters: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if not (self.rules or self.others):
            raise InvalidInput("A question needs at least one event.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its events, each once, in the order of the rules and of the others."""
        return tuple(dict.fromkeys((*(rule.event for rule in self.rules), *self.others)))

    @property
    def paths(self) -> set[str]:
        """Properties that have to be read."""
        conditions = {condition.property for rule in self.rules for condition in rule.where}
        return conditions | {*self.numbers, *self.labels} | {condition.property for condition in self.filters}


@dataclass(frozen=True, slots=True)
class Rows:
    """Events as columns of equal length. `name` is a place in the selection's names, `matches` has a column for each
    rule with conditions, a label is a place in its values (-1: none). `id` only where it was asked for."""

    name: Array
    who: Array
    at: Array
    seq: Array
    matches: Mapping[int, Array]
    numbers: Mapping[str, Array]
    labels: Mapping[str, Array]
    values: Mapping[str, list[Scalar]]
    id: Array | None = None

    def __len__(self) -> int:
        return len(self.who)


@dataclass(slots=True)
class _Values:
    """The values of one label as they are met: 1 and 1.0 are one, 1 and true are two."""

    codes: dict[tuple[str | None, Scalar], int] = field(default_factory=dict)

    def code(self, value: object) -> int:
        kind = kind_of(value)
        if kind is None:
            return -1
        return self.codes.setdefault((kind, cast("Scalar", value)), len(self.codes))

    @property
    def values(self) -> list[Scalar]:
        return [value for _, value in self.codes]


def labels_of(selection: Selection) -> dict[str, str]:
    """Its labels, each with the name that it has in SQL; columns behind an @, so that no property is taken for one."""
    columns = (f"@{column}" for column in selection.columns)
    return {label: f"l{place}" for place, label in enumerate((*columns, *selection.labels))}


# -- parts --------------------------------------------------------------------------------------------------------


def from_parts(
    cursor: Connection,
    folder: Folder,
    parts: Sequence[Part],
    selection: Selection,
    *,
    tied: tuple[Array, Array, Array] | None = None,
) -> Rows:
    """The selected events of these parts, in no order; `tied`: only those of these (who, at, seq), with their ids."""
    asked = Asked({"files": [folder.path(part.file) for part in parts]})
    labels = labels_of(selection)
    query = _select(selection, asked, labels, with_ids=tied is not None)
    if tied is not None:
        cursor.register("tied", dict(zip(("who", "at_ms", "seq"), tied, strict=True)))
        query = f"SELECT * FROM ({query}) SEMI JOIN tied USING (who, at_ms, seq)"
    if labels:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE found AS {query}", asked.values)
        values = {label: _encode(cursor, column, label.startswith("@")) for label, column in labels.items()}
        coded = ", ".join(f"c{column}.code AS {column}" for column in labels.values())
        joins = " ".join(f"LEFT JOIN codes_{one} c{one} ON found.{one} = c{one}.value" for one in labels.values())
        rest = ", ".join(labels.values())
        found = cursor.execute(f"SELECT found.* EXCLUDE ({rest}), {coded} FROM found {joins}").fetchnumpy()
        cursor.execute("DROP TABLE found")
    else:
        values = {}
        found = cursor.execute(query, asked.values).fetchnumpy()
    return Rows(
        name=found["n"],
        who=found["who"],
        at=found["at_ms"],
        seq=found["seq"],
        matches={place: found[f"m{place}"] for place in _conditional(selection)},
        numbers={path: _doubles(found[f"x{place}"]) for place, path in enumerate(selection.numbers)},
        labels={label: _filled(found[column]) for label, column in labels.items()},
        values=values,
        id=found["id"] if tied is not None else None,
    )


def _conditional(selection: Selection) -> list[int]:
    return [place for place, rule in enumerate(selection.rules) if rule.where]


def _select(selection: Selection, asked: Asked, labels: Mapping[str, str], *, with_ids: bool) -> str:
    names = selection.names
    places = {name: asked.add(name) for name in names}
    listed = ", ".join(f"{place}::VARCHAR" for place in places.values())
    start, end = (asked.add(bound) for bound in selection.between)
    columns = [f"(list_position([{listed}], name) - 1)::USMALLINT AS n", "who", "at_ms", "seq"]
    always = dict.fromkeys((*(rule.event for rule in selection.rules if not rule.where), *selection.others))
    kept = [f"name = {places[name]}" for name in always]
    for place in _conditional(selection):
        rule = selection.rules[place]
        tests = " AND ".join(holds(condition, asked) for condition in rule.where)
        columns.append(f"CASE WHEN name = {places[rule.event]} THEN {tests} ELSE FALSE END AS m{place}")
        kept.append(f"m{place}")
    columns += [f"{number_at(path, asked)} AS x{place}" for place, path in enumerate(selection.numbers)]
    columns += [f"{column} AS {labels[f'@{column}']}" for column in selection.columns]
    columns += [f"{value_at(path, asked)} AS {labels[path]}" for path in selection.labels]
    columns += ["id"] if with_ids else []
    where = f"name IN ({listed}) AND at_ms >= {start} AND at_ms < {end}"
    where += "".join(f" AND {holds(condition, asked)}" for condition in selection.filters)
    inner = f"SELECT name, {', '.join(columns)} FROM read_parquet($files) WHERE {where}"
    if not _conditional(selection):
        return f"SELECT * EXCLUDE (name) FROM ({inner})"
    return f"SELECT * EXCLUDE (name) FROM ({inner}) WHERE {' OR '.join(kept)}"


def _encode(cursor: Connection, column: str, plain: bool) -> list[Scalar]:
    """Give each text of a column a code; the values by code."""
    texts = [
        text
        for (text,) in cursor.execute(
            f"SELECT DISTINCT {column} FROM found WHERE {column} IS NOT NULL LIMIT {MOST_VALUES + 1}"
        ).fetchall()
    ]
    if len(texts) > MOST_VALUES:
        raise InvalidInput(
            f"A breakdown has more than {MOST_VALUES:,} values.", hint="Break down by a property with fewer values."
        )
    values = _Values()
    codes = [values.code(text if plain else _scalar(text)) for text in texts]  # of lists and objects -1
    told = np.empty(len(texts), object)
    told[:] = texts
    cursor.register("texts", {"value": told, "code": np.array(codes, np.int32)})
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE codes_{column} AS SELECT value::VARCHAR AS value, code FROM texts")
    cursor.unregister("texts")
    return values.values


def _scalar(text: str) -> object:
    """A value by its JSON text; of a list or an object only that it is one."""
    return [] if text[0] in "[{" else orjson.loads(text)


def _filled(codes: Array) -> Array:
    return np.ma.filled(codes, -1).astype(np.int32)


def _doubles(numbers: Array) -> Array:
    return np.ma.filled(numbers, np.nan).astype(np.float64)


# -- the tail -----------------------------------------------------------------------------------------------------


def from_documents(rows: Sequence[Document], workspace: str, selection: Selection) -> Rows:
    """The selected ones of these events as MongoDB has them, with their ids."""
    places = {name: place for place, name in enumerate(selection.names)}
    conditional = _conditional(selection)
    always = {rule.event for rule in selection.rules if not rule.where} | {*selection.others}
    values = {label: _Values() for label in labels_of(selection)}
    kept: list[Document] = []
    matches: dict[int, list[bool]] = {place: [] for place in conditional}
    numbers: dict[str, list[float]] = {path: [] for path in selection.numbers}
    codes: dict[str, list[int]] = {label: [] for label in values}
    for row in rows:
        properties = properties_of(row)
        met = [selection.rules[place].matches(row["name"], properties) for place in conditional]
        if not any(met) and row["name"] not in always:
            continue
        if not all(condition.holds(properties) for condition in selection.filters):
            continue
        kept.append(row)
        for place, one in zip(conditional, met, strict=True):
            matches[place].append(one)
        for path in selection.numbers:
            found = property_at(properties, tuple(path.split(".")))
            numbers[path].append(float(cast(float, found)) if kind_of(found) == "number" else np.nan)
        for column in selection.columns:
            value = row["type"] if column == "type" else (row.get("client") or {}).get(OF_CLIENT[column]) or None
            codes[f"@{column}"].append(-1 if value is None else values[f"@{column}"].code(value))
        for path in selection.labels:
            codes[path].append(values[path].code(property_at(properties, tuple(path.split(".")))))
    whos = {sk: who_of(key_of(workspace, sk)) for sk in {row["sk"] for row in kept}}
    ids = np.empty(len(kept), object)
    ids[:] = [bytes(row["_id"]) for row in kept]
    return Rows(
        name=np.array([places[row["name"]] for row in kept], np.uint16),
        who=np.array([whos[row["sk"]] for row in kept], np.uint64),
        at=np.array([row["at"] for row in kept], np.int64),
        seq=np.array([row["seq"] for row in kept], np.int64),
        matches={place: np.array(column, bool) for place, column in matches.items()},
        numbers={path: np.array(column, np.float64) for path, column in numbers.items()},
        labels={label: np.array(column, np.int32) for label, column in codes.items()},
        values={label: one.values for label, one in values.items()},
        id=ids,
    )


# -- both ---------------------------------------------------------------------------------------------------------


def taken(rows: Rows, which: Array) -> Rows:
    """Those rows that a mask or an array of places names."""
    return Rows(
        name=rows.name[which],
        who=rows.who[which],
        at=rows.at[which],
        seq=rows.seq[which],
        matches={place: column[which] for place, column in rows.matches.items()},
        numbers={path: column[which] for path, column in rows.numbers.items()},
        labels={label: column[which] for label, column in rows.labels.items()},
        values=rows.values,
        id=None if rows.id is None else rows.id[which],
    )


def met(rows: Rows) -> Rows:
    """The same rows, their labels without the values that none of them has."""
    values: dict[str, list[Scalar]] = {}
    labels: dict[str, Array] = {}
    for label, codes in rows.labels.items():
        there = np.unique(codes[codes >= 0])
        place = np.full(len(rows.values[label]) + 1, -1, np.int32)  # the last one is for those without
        place[there] = np.arange(len(there))
        labels[label] = place[codes]
        values[label] = [rows.values[label][code] for code in there.tolist()]
    return replace(rows, labels=labels, values=values)


def joined(one: Rows, other: Rows) -> Rows:
    """Both, one behind the other; values of labels are those of either. Ids are kept when both have them."""
    if not len(one) or not len(other):
        return one if len(one) else other
    values: dict[str, list[Scalar]] = {}
    labels: dict[str, Array] = {}
    for label in one.labels:
        both = _Values()
        told = []
        for rows in (one, other):
            codes = np.array([both.code(value) for value in rows.values[label]] + [-1], np.int32)
            told.append(codes[rows.labels[label]])  # -1 is its last
        labels[label], values[label] = np.concatenate(told), both.values
    return Rows(
        name=np.concatenate((one.name, other.name)),
        who=np.concatenate((one.who, other.who)),
        at=np.concatenate((one.at, other.at)),
        seq=np.concatenate((one.seq, other.seq)),
        matches={place: np.concatenate((column, other.matches[place])) for place, column in one.matches.items()},
        numbers={path: np.concatenate((column, other.numbers[path])) for path, column in one.numbers.items()},
        labels=labels,
        values=values,
        id=None if one.id is None or other.id is None else np.concatenate((one.id, other.id)),
    )
