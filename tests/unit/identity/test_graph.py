"""The identity graph in the cases that people meet."""

from __future__ import annotations

from gateway.identity.graph import Graph
from gateway.model.identity import Identity, user_id_of


def anonymous(value: str) -> Identity:
    return Identity("anonymousId", value)


def known(value: str) -> Identity:
    return Identity("userId", value)


def at(moment: int) -> tuple[int, int, bytes]:
    return (moment, 0, b"")


def test_identify_keeps_the_id_the_visitor_had_before() -> None:
    graph = Graph("w", {}, {})
    graph.see(anonymous("a"), at(1))
    graph.link((anonymous("a"), known("ada")), at(2))
    graph.settle()
    assert graph.user_of(known("ada")) == graph.user_of(anonymous("a")) == user_id_of("w", anonymous("a"))


def test_two_people_on_one_device_stay_two() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("device"), known("ada")), at(1))
    graph.link((anonymous("device"), known("bob")), at(2))
    resolution = graph.settle()
    assert graph.user_of(known("ada")) == graph.user_of(anonymous("device")) != graph.user_of(known("bob"))
    assert resolution.edges[(anonymous("device"), known("bob"))].refused == "two_user_ids"


def test_a_value_that_names_nobody_links_nobody() -> None:
    graph = Graph("w", {}, {})
    for number, value in enumerate(("anonymous", "null", "00000000-0000-0000-0000-000000000000")):
        graph.link((anonymous(value), known(f"user{number}")), at(number))
    resolution = graph.settle()
    assert {edge.refused for edge in resolution.edges.values()} == {"blocked_value"}
    assert len({graph.user_of(known(f"user{number}")) for number in range(3)}) == 3


def test_two_devices_of_one_person_become_one_user_and_the_younger_id_leads_to_it() -> None:
    graph = Graph("w", {}, {})
    graph.see(anonymous("phone"), at(1))
    graph.see(anonymous("laptop"), at(2))
    graph.settle()
    later = Graph("w", dict(graph._members), dict(graph._edges))
    later.link((anonymous("phone"), known("ada")), at(3))
    later.link((anonymous("laptop"), known("ada")), at(4))
    resolution = later.settle()
    assert resolution.gone == {user_id_of("w", anonymous("laptop")): user_id_of("w", anonymous("phone"))}
    assert resolution.regrouped == {user_id_of("w", anonymous("phone"))}


def test_a_new_identity_of_a_known_user_needs_no_second_fold() -> None:
    graph = Graph("w", {}, {})
    graph.see(anonymous("a"), at(1))
    graph.settle()
    later = Graph("w", dict(graph._members), dict(graph._edges))
    later.link((anonymous("a"), known("ada")), at(2))
    assert later.settle().regrouped == frozenset()
