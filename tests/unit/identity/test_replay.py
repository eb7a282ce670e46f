"""Merges, splits, limits and late events: whatever the order of arrival, the persons and refusals of the oracle.

The check must also fail: each planted mutant of the product is caught by it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.identity import replay as replaying
from gateway.identity.graph import Graph
from gateway.identity.replay import Limits, People
from gateway.model.identity import Decision, Edge, Identity, Member, Pair, user_id_of
from tests import oracle

Plain = dict[str, Any]

ANONYMOUS = [("anonymousId", value) for value in ("a1", "a2", "a3", "a4", "anonymous")]
KNOWN = [("userId", value) for value in ("u1", "u2", "u3")]
LIMITS = Limits(user_ids=1, anonymous_ids=2)


@st.composite
def stories(draw: st.DrawFn) -> list[Plain]:
    """Few identities and little time, so that rules are broken, walls are built and opened, and ties happen."""
    events: list[Plain] = []
    for number in range(draw(st.integers(1, 24))):
        kind = draw(st.sampled_from(["track", "identify", "identify", "identify", "identify", "merge", "split"]))
        event: Plain = {"id": number.to_bytes(16, "big"), "type": kind, "previousId": None}
        event |= {"at": draw(st.integers(0, 4)), "seq": draw(st.integers(0, 3))}
        if kind in ("merge", "split"):
            chosen = draw(st.lists(st.sampled_from(ANONYMOUS + KNOWN), min_size=2, max_size=5, unique=True))
            cut = draw(st.integers(1, len(chosen) - 1))
            event |= {"one": chosen[:cut], "other": chosen[cut:]}
        else:
            user = draw(st.sampled_from(KNOWN))[1] if kind == "identify" else None
            event |= {"userId": user, "anonymousId": draw(st.sampled_from(ANONYMOUS))[1]}
        events.append(event)
    return events


class Kept:
    """What a store keeps: rows by key, found by group."""

    def __init__(self) -> None:
        self.members: dict[Identity, Member] = {}
        self.edges: dict[Pair, Edge] = {}
        self.decisions: dict[bytes, Decision] = {}

    def take(self, batch: list[Plain]) -> None:
        touched = {identity for event in batch for identity in _identities(event)}
        groups = {self.members[identity].group for identity in touched if identity in self.members}
        graph = Graph(
            "w",
            {i: replace(m) for i, m in self.members.items() if m.group in groups},
            {p: replace(e) for p, e in self.edges.items() if e.group in groups},
            {key: replace(d) for key, d in self.decisions.items() if d.group in groups},
            limits=LIMITS,
        )
        for event in batch:
            _tell(graph, event)
        resolution = graph.settle()
        self.members |= resolution.members
        self.edges |= resolution.edges
        self.decisions |= resolution.decisions

    def people(self) -> list[list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for identity, member in self.members.items():
            found.setdefault(member.user, []).append((identity.type, identity.value))
        return sorted(sorted(one) for one in found.values())


def _identity(plain: tuple[str, str]) -> Identity:
    return Identity(*plain)  # type: ignore[arg-type]


def _identities(event: Plain) -> list[Identity]:
    found = [oracle.sender(event), *(oracle.edge(event) or ()), *event.get("one", ()), *event.get("other", ())]
    return [_identity(one) for one in found if one is not None]


def _tell(graph: Graph, event: Plain) -> None:
    order, pair = oracle.order(event), oracle.edge(event)
    if event["type"] in ("merge", "split"):
        one, other = (frozenset(map(_identity, event[side])) for side in ("one", "other"))
        graph.decide(event["id"], Decision(event["type"], one, other, order))
        return
    sender = oracle.sender(event)
    assert sender is not None
    graph.see(_identity(sender), order)
    if pair is not None:
        graph.link((_identity(pair[0]), _identity(pair[1])), order)


def _arrival(events: list[Plain], seed: int) -> Iterator[list[Plain]]:
    """In any order, some twice, in batches of any size."""
    chance = random.Random(seed)
    arrival = events + [event for event in events if chance.random() < 0.3]
    chance.shuffle(arrival)
    while arrival:
        size = chance.randint(1, 6)
        yield arrival[:size]
        arrival = arrival[size:]


def _check(events: list[Plain], seed: int) -> None:
    kept = Kept()
    for batch in _arrival(events, seed):
        kept.take(batch)
    crowd = oracle.crowd(events, LIMITS.user_ids, LIMITS.anonymous_ids)
    assert kept.people() == sorted(sorted(group) for group in crowd.groups)
    expected = oracle.refusals(events, LIMITS.user_ids, LIMITS.anonymous_ids)
    found = {tuple((one.type, one.value) for one in pair): edge.refused for pair, edge in kept.edges.items()}
    assert found == expected
    firsts: dict[tuple[str, str], tuple[int, int, bytes]] = {}
    for event in sorted(events, key=oracle.order):
        for identity in _identities(event):
            firsts.setdefault((identity.type, identity.value), oracle.order(event))
    for group in crowd.groups:
        first = min(group, key=lambda one: (firsts[one], one[0] != "userId", one[1]))
        assert {kept.members[_identity(one)].user for one in group} == {user_id_of("w", _identity(first))}


def _checked(examples: int) -> Callable[[], None]:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(stories(), st.integers(0, 1_000_000))
    def check(events: list[Plain], seed: int) -> None:
        _check(events, seed)

    return check


def test_any_arrival_gives_the_persons_and_refusals_of_the_oracle() -> None:
    _checked(500)()


# -- mutants: what a careless change would do -----------------------------------------------------------------


def _skip_merges(patch: pytest.MonkeyPatch) -> None:
    decide = Graph.decide
    patch.setattr(Graph, "decide", lambda self, key, one: None if one.kind == "merge" else decide(self, key, one))


def _ignore_splits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(People, "part", lambda self, one, other: None)


def _cut_without_a_wall(patch: pytest.MonkeyPatch) -> None:
    part = People.part

    def mutant(self: People, one: frozenset[Identity], other: frozenset[Identity]) -> None:
        part(self, one, other)
        self._walls.pop()

    patch.setattr(People, "part", mutant)


def _merge_under_a_wall(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replaying, "_without", lambda wall, inside: [wall])


def _open_whole_walls(patch: pytest.MonkeyPatch) -> None:
    def mutant(wall: tuple[frozenset[Identity], frozenset[Identity]], inside: set[Identity]) -> list[Any]:
        return [wall] if wall[0].isdisjoint(inside) or wall[1].isdisjoint(inside) else []

    patch.setattr(replaying, "_without", mutant)


def _never_ask_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(People, "ask_again", lambda self, claim: None)


def _merge_again_through_walls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(People, "ask_again", People.hear)


def _one_too_many(patch: pytest.MonkeyPatch) -> None:
    refusal = People.refusal

    def mutant(self: People, pair: Pair) -> str | None:
        self._limits = Limits(1, LIMITS.anonymous_ids + 1)
        return refusal(self, pair)

    patch.setattr(People, "refusal", mutant)


def _limit_what_was_merged(patch: pytest.MonkeyPatch) -> None:
    refusal = People.refusal

    def mutant(self: People, pair: Pair) -> str | None:
        why = refusal(self, pair)
        if why is not None:
            return why
        left, right = (self._of[identity] for identity in pair)
        return "two_user_ids" if left is not right and left.user_ids + right.user_ids > 1 else None

    patch.setattr(People, "refusal", mutant)


def _forget_the_tie_break(patch: pytest.MonkeyPatch) -> None:
    link, decide = Graph.link, Graph.decide
    patch.setattr(Graph, "link", lambda self, pair, order: link(self, pair, (order[0], 0, b"")))
    patch.setattr(
        Graph,
        "decide",
        lambda self, key, one: decide(self, key, Decision(one.kind, one.one, one.other, (one.order[0], 0, b""))),
    )


def _keep_the_latest_link(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Graph, pair: Pair, order: tuple[int, int, bytes]) -> None:
        for identity in pair:
            self.see(identity, order)
        self._edges[pair] = Edge(order, self._edges[pair].group if pair in self._edges else "")
        self._dirty.update(pair)

    patch.setattr(Graph, "link", mutant)


def _link_to_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Identity, "blocked", property(lambda self: False))


def _resolve_in_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replaying, "sorted", lambda said, key=None: list(said), raising=False)


@pytest.mark.parametrize(
    "mutant",
    [
        _skip_merges,
        _ignore_splits,
        _cut_without_a_wall,
        _merge_under_a_wall,
        _open_whole_walls,
        _never_ask_again,
        _merge_again_through_walls,
        _one_too_many,
        _limit_what_was_merged,
        _forget_the_tie_break,
        _keep_the_latest_link,
        _link_to_nobody,
        _resolve_in_order_of_arrival,
    ],
)
def test_a_mutant_is_caught(mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        _checked(400)()
