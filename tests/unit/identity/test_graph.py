"""The identity graph in the cases that people meet."""

from __future__ import annotations

from gateway.identity.graph import Graph
from gateway.identity.replay import Limits
from gateway.model.identity import Decision, Edge, Identity, Member, Pair, user_id_of


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


def decided(kind: str, one: set[Identity], other: set[Identity], moment: int) -> Decision:
    return Decision(kind, frozenset(one), frozenset(other), at(moment))  # type: ignore[arg-type]


def kept(graph: Graph) -> tuple[dict[Identity, Member], dict[Pair, Edge], dict[bytes, Decision]]:
    return dict(graph._members), dict(graph._edges), dict(graph._decisions)


def test_every_change_writes_the_row_that_names_the_group_so_that_concurrent_changes_meet() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("a"), known("ada")), at(1))
    graph.link((anonymous("b"), known("bob")), at(2))
    graph.settle()
    joined = Graph("w", *kept(graph))
    joined.link((anonymous("b"), known("ada")), at(3))  # refused: and yet it changes both groups
    resolution = joined.settle()
    assert resolution.edges[(anonymous("b"), known("ada"))].refused == "two_user_ids"
    assert {anonymous("a"), anonymous("b")} <= resolution.members.keys()
    refused = Graph("w", *kept(joined))
    refused.link((anonymous("b"), known("cy")), at(4))
    assert anonymous("a") in refused.settle().members  # the one group's name, although nothing of it changed
    repeated = Graph("w", *kept(refused))
    repeated.link((anonymous("b"), known("cy")), at(9))
    resolution = repeated.settle()
    assert not resolution.members
    assert not resolution.edges


def test_an_earlier_first_event_and_a_new_member_write_the_row_too() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("a"), known("ada")), at(5))
    graph.settle()
    earlier = Graph("w", *kept(graph))
    earlier.see(known("ada"), at(1))
    assert anonymous("a") in earlier.settle().members
    larger = Graph("w", *kept(earlier))
    larger.link((anonymous("z"), known("ada")), at(7))
    assert anonymous("a") in larger.settle().members


def test_links_to_nobody_make_no_group_of_strangers() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("null"), known("ada")), at(1))
    graph.link((anonymous("null"), known("bob")), at(2))
    resolution = graph.settle()
    assert len({member.group for member in resolution.members.values()}) == 3
    assert {edge.group for edge in resolution.edges.values()} == {"u:ada", "u:bob"}
    again = Graph("w", *kept(graph))
    again.link((anonymous("null"), known("cy")), at(3))
    assert again.settle().members.keys() == {known("cy")}


def test_one_link_too_many_is_refused_and_what_an_operator_merges_is_not() -> None:
    graph = Graph("w", {}, {}, limits=Limits(anonymous_ids=2))
    for number in range(4):
        graph.link((anonymous(f"a{number}"), known("ada")), at(number))
    resolution = graph.settle()
    refused = {pair[0].value: edge.refused for pair, edge in resolution.edges.items()}
    assert refused == {"a0": None, "a1": None, "a2": "limit_anonymousId", "a3": "limit_anonymousId"}
    merged = Graph("w", *kept(graph), limits=Limits(anonymous_ids=2))
    merged.decide(b"m", decided("merge", {known("ada")}, {anonymous("a2")}, 9))
    merged.settle()
    assert merged.user_of(anonymous("a2")) == merged.user_of(known("ada")) != merged.user_of(anonymous("a3"))


def test_after_a_merge_of_two_known_people_their_devices_still_join() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("a"), known("ada")), at(1))
    graph.link((anonymous("l"), known("lovelace")), at(2))
    graph.decide(b"m", decided("merge", {known("ada")}, {known("lovelace")}, 3))
    graph.link((anonymous("new"), known("lovelace")), at(4))
    graph.settle()
    assert len({graph.user_of(one) for one in graph._members}) == 1


def test_a_split_moves_identities_away_and_keeps_later_links_out_until_a_merge() -> None:
    graph = Graph("w", {}, {})
    graph.see(anonymous("kiosk"), at(0))
    graph.link((anonymous("kiosk"), known("ada")), at(1))
    graph.see(anonymous("phone"), at(2))
    graph.link((anonymous("phone"), known("ada")), at(3))
    graph.settle()
    whole = graph.user_of(known("ada"))
    split = Graph("w", *kept(graph))
    split.decide(b"s", decided("split", {anonymous("kiosk")}, {anonymous("phone"), known("ada")}, 5))
    split.link((anonymous("kiosk"), known("ada")), at(6))
    resolution = split.settle()
    assert split.user_of(anonymous("kiosk")) == whole
    assert split.user_of(known("ada")) == split.user_of(anonymous("phone")) == user_id_of("w", known("ada"))
    assert resolution.moves == {whole: frozenset({user_id_of("w", known("ada"))})}
    assert resolution.gone == {}
    assert resolution.edges[(anonymous("kiosk"), known("ada"))].refused == "split"
    merged = Graph("w", *kept(split))
    merged.decide(b"m", decided("merge", {anonymous("kiosk")}, {known("ada")}, 8))
    resolution = merged.settle()
    assert merged.user_of(known("ada")) == whole
    assert resolution.gone == {user_id_of("w", known("ada")): whole}
    assert resolution.edges[(anonymous("kiosk"), known("ada"))].refused is None


def test_a_link_that_was_refused_holds_once_a_split_makes_room_for_it() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("tablet"), known("ada")), at(1))
    graph.link((anonymous("tablet"), known("bob")), at(2))
    graph.decide(b"s", decided("split", {anonymous("tablet")}, {known("ada")}, 3))
    resolution = graph.settle()
    assert graph.user_of(anonymous("tablet")) == graph.user_of(known("bob")) != graph.user_of(known("ada"))
    assert resolution.edges[(anonymous("tablet"), known("bob"))].refused is None


def test_whom_the_operator_did_not_know_goes_with_whom_they_are_linked_to() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("a"), known("ada")), at(1))
    graph.link((anonymous("late"), known("ada")), at(2))
    graph.decide(b"s", decided("split", {known("ada")}, {anonymous("a")}, 3))
    graph.settle()
    assert graph.user_of(anonymous("late")) == graph.user_of(known("ada")) != graph.user_of(anonymous("a"))


def test_of_a_link_that_is_everybodys_first_event_the_user_id_names_the_user() -> None:
    graph = Graph("w", {}, {})
    graph.link((anonymous("a"), known("ada")), at(1))
    graph.settle()
    assert graph.user_of(anonymous("a")) == user_id_of("w", known("ada"))
