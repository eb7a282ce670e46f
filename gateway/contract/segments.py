"""Segments: groups of users by rules, and said in words so that everybody can check who is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import orjson

from gateway.contract.definitions import condition_in_words, event_in_words
from gateway.contract.durations import duration_in_words
from gateway.contract.hashing import content_hash
from gateway.contract.rules import Condition, EventRule

#: What is known of the client that sent an event and can be asked for (see `gateway.model.event.Client`).
CLIENT_FIELDS = ("platform", "app", "appVersion", "os", "osVersion", "browser", "browserVersion", "device", "country")


@dataclass(frozen=True, slots=True)
class Did:
    """At least so many events that the rule matches; `within`: not older than that, exactly so old still counts."""

    rule: EventRule
    at_least: int = 1
    within: timedelta | None = None

    @property
    def lasts_ms(self) -> int | None:
        """For how long an event counts, in ms; None: for good."""
        return None if self.within is None else self.within // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class OfTrait:
    """A trait as it was said last."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class OnClient:
    """What was last known of the client: `device`, `country`, …"""

    condition: Condition


@dataclass(frozen=True, slots=True)
class InJourney:
    """The latest run through a map: in this stage (None: wherever) and of this status (None: whichever)."""

    map: str
    stage: str | None = None
    status: Literal["active", "completed", "abandoned"] | None = None


@dataclass(frozen=True, slots=True)
class OfPersona:
    """Whose traits hold all that a profile of the persona says."""

    key: str
    traits: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of the rules."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One or more of the rules."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class NotOf:
    """Everybody else."""

    rule: Rule


Rule = Did | OfTrait | OnClient | InJourney | OfPersona | AllOf | AnyOf | NotOf


@dataclass(frozen=True, slots=True)
class Segment:
    """Everybody for whom the rule holds. `definition` says so in words, `hash` changes with the rule and only then."""

    key: str
    name: str
    description: str
    owners: tuple[str, ...]
    rule: Rule
    term: str | None = None
    definition: str = field(init=False, repr=False, compare=False)
    hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "definition", f"Users {_in_words(self.rule)}.")
        object.__setattr__(self, "hash", content_hash(_hashed(self.rule)))


@dataclass(frozen=True, slots=True)
class Segments:
    """Every segment of a contract, and what the fold has to remember for them: events by name, fields of clients."""

    all: Mapping[str, Segment] = field(default_factory=dict)
    counted: Mapping[str, tuple[Did, ...]] = field(init=False, repr=False, compare=False)
    client: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        counted: dict[str, tuple[Did, ...]] = {}
        client: set[str] = set()
        for rule in self.rules:
            if isinstance(rule, Did):
                counted[rule.rule.event] = (*counted.get(rule.rule.event, ()), rule)
            elif isinstance(rule, OnClient):
                client.add(rule.condition.property)
        object.__setattr__(self, "counted", counted)
        object.__setattr__(self, "client", frozenset(client))

    @property
    def rules(self) -> Iterator[Rule]:
        """All rules of all segments, and those inside them."""
        for segment in self.all.values():
            yield from rules_within(segment.rule)

    @property
    def hash(self) -> str:
        """Of who is meant, whatever else is said of them."""
        return content_hash({key: one.hash for key, one in self.all.items()})


#: What a fold works with where a contract has none.
NO_SEGMENTS = Segments()


def rules_within(rule: Rule) -> Iterator[Rule]:
    """The rule, and those that it is made of."""
    yield rule
    if isinstance(rule, AllOf | AnyOf):
        for one in rule.rules:
            yield from rules_within(one)
    elif isinstance(rule, NotOf):
        yield from rules_within(rule.rule)


def event_rules_of(segment: Segment) -> tuple[EventRule, ...]:
    """The events that it looks at."""
    return tuple(one.rule for one in rules_within(segment.rule) if isinstance(one, Did))


def _hashed(rule: Rule) -> object:
    """What is hashed: with the kind of each rule, for `all` and `any` hold the same."""
    name = type(rule).__name__
    if isinstance(rule, AllOf | AnyOf):
        return [name, *(_hashed(one) for one in rule.rules)]
    return [name, _hashed(rule.rule)] if isinstance(rule, NotOf) else [name, rule]


# -- words --------------------------------------------------------------------------------------------------------


def _in_words(rule: Rule, *, inside: bool = False) -> str:
    match rule:
        case Did():
            return _did(rule, "who did")
        case NotOf(Did() as did):
            return _did(did, "who did not do")
        case NotOf():
            return f"who are not those {_in_words(rule.rule, inside=True)}"
        case AllOf() | AnyOf():
            joint = " and " if isinstance(rule, AllOf) else " or "
            said = joint.join(_in_words(one, inside=True) for one in rule.rules)
            return f"({said})" if inside and len(rule.rules) > 1 else said
        case OfTrait():
            return f"whose trait {condition_in_words(rule.condition)}"
        case OnClient():
            return f"whose client's {condition_in_words(rule.condition)}, as far as was known last"
        case OfPersona():
            said = " and ".join(condition_in_words(one) for one in rule.traits)
            return f"who are the persona {_quoted(rule.key)} (trait {said})"
        case InJourney():
            status = "" if rule.status is None else f" is {rule.status}"
            where = "" if rule.stage is None else f"{' and' if status else ''} is in the stage {_quoted(rule.stage)}"
            told = f"{status}{where}" or " is there at all"
            return f"whose latest run through the journey map {_quoted(rule.map)}{told}"


def _did(did: Did, verb: str) -> str:
    often = "" if did.at_least == 1 else f" at least {did.at_least} times"
    when = "ever" if did.within is None else f"within the last {duration_in_words(did.within)}"
    return f"{verb} {event_in_words(did.rule)}{often} {when}"


def _quoted(text: Any) -> str:
    return orjson.dumps(text).decode()
