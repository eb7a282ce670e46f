"""Filters of KPIs: conditions on properties, which a scan looks at, and on clients and traits, looked at here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from gateway.contract import Condition
from gateway.contract.shape import closest
from gateway.errors import InvalidInput
from gateway.insights.columnar.parts import OF_CLIENT
from gateway.insights.columnar.scan import Scanned
from gateway.insights.columnar.selecting import Column
from gateway.insights.kernels.events import Flags

CLIENT, TRAITS = "client.", "traits."


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions by what they are on; those on clients and traits with the column or path alone."""

    properties: tuple[Condition, ...] = ()
    clients: tuple[Condition, ...] = ()
    of_users: tuple[Condition, ...] = ()

    @classmethod
    def of(cls, conditions: tuple[Condition, ...]) -> Filters:
        """Raises InvalidInput for something that is not known of clients."""
        plain, clients, users = [], [], []
        for one in conditions:
            if one.property.startswith(CLIENT):
                clients.append(replace(one, property=client_column(one.property)))
            elif one.property.startswith(TRAITS):
                users.append(replace(one, property=one.property.removeprefix(TRAITS)))
            else:
                plain.append(one)
        return cls(tuple(plain), tuple(clients), tuple(users))

    @property
    def columns(self) -> tuple[Column, ...]:
        """What a scan has to bring of clients."""
        return tuple(cast("Column", one.property) for one in self.clients)

    @property
    def traits(self) -> tuple[str, ...]:
        """The paths of the traits that they look at."""
        return tuple(dict.fromkeys(one.property for one in self.of_users))

    def met(self, scanned: Scanned, traits: Mapping[str, Mapping[int, object]]) -> Scanned:
        """The events that meet those on clients and traits. `traits`: by path the value of each user's code."""
        kept = np.ones(len(scanned), np.bool_)
        for one in self.clients:
            label = f"@{one.property}"
            holds = np.array([_holds(one, {"value": value}) for value in scanned.values[label]] + [_holds(one, {})])
            kept &= holds[scanned.labels[label]]  # -1, the last one, is for those without
        for one in self.of_users:
            kept &= _of_users(one, scanned, traits[one.property])
        return scanned if kept.all() else scanned.take(kept)


def _of_users(condition: Condition, scanned: Scanned, traits: Mapping[int, object]) -> Flags:
    codes, number = np.unique(scanned.user, return_inverse=True)
    holds = [_holds(condition, {"value": traits[one]} if one in traits else {}) for one in codes.tolist()]
    found: Flags = np.array(holds, np.bool_)[number]
    return found


def _holds(condition: Condition, said: dict[str, Any]) -> bool:
    return replace(condition, property="value").holds(said)


def client_column(path: str) -> str:
    """The column behind `client.device` and the like. Raises InvalidInput with what was probably meant."""
    name = path.removeprefix(CLIENT)
    by_field = {field: column for column, field in OF_CLIENT.items()}
    column = by_field.get(name, name)
    if column not in OF_CLIENT:
        meant = closest(name, sorted(OF_CLIENT))
        hint = f"Did you mean 'client.{meant}'?" if meant else f"Known: {', '.join(sorted(OF_CLIENT))}."
        raise InvalidInput(f"Of a client {name!r} is not known.", hint=hint, path="by")
    return column
