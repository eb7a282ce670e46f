"""Which identities are one person: everything that was said about it, replayed in order.

- A link, once said, is a *claim* that stands from its first occurrence on. It joins two persons unless a rule
  refuses it; a person only grows by it, so that a refused claim stays refused until a split.
- A merge by an operator joins whom it names whatever the rules say, and opens the walls between them.
- A split by an operator puts a wall between its two sides. A person on both is taken apart: one side, the other, and
  whoever the operator did not know of, alone. Then every claim made before is asked again, in order: so whoever was
  alone goes with whom they are linked to, and a claim that had been refused because of the other side may now hold.

Repeating a link therefore never changes anything, and the first occurrence of each is all there is to remember.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.model.event import OrderKey
from gateway.model.identity import Decision, Identity, Pair


@dataclass(frozen=True, slots=True)
class Limits:
    """How many identities of a type links may bring together in one person; an operator's merge may exceed it."""

    user_ids: int = 1
    anonymous_ids: int = 100


LIMITS = Limits()


@dataclass(eq=False, slots=True)
class Person:
    """Identities that are one person, and how many of them are userIds."""

    identities: set[Identity]
    user_ids: int

    @property
    def anonymous_ids(self) -> int:
        return len(self.identities) - self.user_ids


def person(identities: Iterable[Identity]) -> Person:
    members = set(identities)
    return Person(members, sum(identity.type == "userId" for identity in members))


def replay(
    identities: Iterable[Identity],
    links: Mapping[Pair, OrderKey],
    decisions: Iterable[Decision],
    limits: Limits = LIMITS,
) -> People:
    """The persons that a whole group of identities falls into. All identities of links and decisions are among them.

    Equal order keys (of nothing that intake stamped) are told apart by what they say.
    """
    people = People(identities, limits)
    said: list[tuple[OrderKey, tuple[Identity, ...], Pair | Decision]] = [
        *((order, pair, pair) for pair, order in links.items()),
        *((one.order, (*sorted(one.one), *sorted(one.other)), one) for one in decisions),
    ]
    claims: list[Pair | Decision] = []
    for _, _, statement in sorted(said, key=lambda item: item[:2]):
        if isinstance(statement, Decision) and statement.kind == "split":
            people.part(statement.one, statement.other)
            for claim in claims:
                people.ask_again(claim)
        else:
            claims.append(statement)
            people.hear(statement)
    return people


class People:
    """Identities in persons, with the walls between them."""

    def __init__(self, identities: Iterable[Identity], limits: Limits) -> None:
        self._limits = limits
        self._of = {identity: person([identity]) for identity in identities}
        # No identity of the one set may be the same person as any of the other; splits built these walls.
        self._walls: list[tuple[frozenset[Identity], frozenset[Identity]]] = []

    def __iter__(self) -> Iterator[set[Identity]]:
        return iter([one.identities for one in {id(one): one for one in self._of.values()}.values()])

    def hear(self, claim: Pair | Decision) -> None:
        """A link or merge that is said for the first time."""
        if isinstance(claim, Decision):
            self._merge(claim)
        elif self.refusal(claim) is None:
            self._join(*claim)

    def ask_again(self, claim: Pair | Decision) -> None:
        """A link or merge from before a split: what has a wall in between since stays apart."""
        if not isinstance(claim, Decision):
            self.hear(claim)
            return
        leads: list[Identity] = []
        for identity in _named(claim):
            lead = next((one for one in leads if not self._walled(one, identity)), None)
            if lead is None:
                leads.append(identity)
            else:
                self._join(lead, identity)

    def refusal(self, pair: Pair) -> str | None:
        """Why this link does not hold now; None when it does or may."""
        if any(identity.blocked for identity in pair):
            return "blocked_value"
        left, right = (self._of[identity] for identity in pair)
        if left is right:
            return None
        if self._walled(*pair):
            return "split"
        if left.user_ids and right.user_ids and left.user_ids + right.user_ids > self._limits.user_ids:
            return "two_user_ids" if self._limits.user_ids == 1 else "limit_userId"
        together = left.anonymous_ids + right.anonymous_ids
        if left.anonymous_ids and right.anonymous_ids and together > self._limits.anonymous_ids:
            return "limit_anonymousId"
        return None

    def part(self, one: frozenset[Identity], other: frozenset[Identity]) -> None:
        """Take apart every person on both sides, for good."""
        self._walls.append((one, other))
        for whole in {id(self._of[identity]): self._of[identity] for identity in one}.values():
            if whole.identities & other:
                rest = whole.identities - one - other
                for identities in (whole.identities & one, whole.identities & other, *({single} for single in rest)):
                    found = person(identities)
                    self._of.update(dict.fromkeys(identities, found))

    def _merge(self, decision: Decision) -> None:
        first, *others = _named(decision) or (None,)
        if first is None:
            return
        for identity in others:
            self._join(first, identity)
        inside = self._of[first].identities
        self._walls = [part for wall in self._walls for part in _without(wall, inside)]

    def _join(self, left: Identity, right: Identity) -> None:
        big, small = sorted((self._of[left], self._of[right]), key=lambda one: -len(one.identities))
        if big is small:
            return
        big.identities |= small.identities
        big.user_ids += small.user_ids
        self._of.update(dict.fromkeys(small.identities, big))

    def _walled(self, left: Identity, right: Identity) -> bool:
        here, there = self._of[left].identities, self._of[right].identities
        if here is there:
            return False
        return any(
            (not here.isdisjoint(one) and not there.isdisjoint(other))
            or (not here.isdisjoint(other) and not there.isdisjoint(one))
            for one, other in self._walls
        )


def _named(decision: Decision) -> list[Identity]:
    """Whom a merge joins, in the order they are joined in: values that name nobody join nobody."""
    return sorted(identity for identity in decision.one | decision.other if not identity.blocked)


def _without(
    wall: tuple[frozenset[Identity], frozenset[Identity]], inside: set[Identity]
) -> Iterator[tuple[frozenset[Identity], frozenset[Identity]]]:
    """What is left of a wall once there is none between those inside."""
    one, other = wall
    if one.isdisjoint(inside) or other.isdisjoint(inside):
        yield wall
        return
    if one - inside:
        yield one - inside, other
    if other - inside:
        yield one & inside, other - inside
