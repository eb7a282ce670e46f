"""Mappings: what they set, what they leave, and how a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.collect.mapping import Mapping, check_columns
from gateway.collect.rows import Refused
from gateway.errors import InvalidInput

WHO_AND_WHAT = ["userId=user", "event=action"]


def message(record: dict[str, Any], *maps: str, renames: tuple[str, ...] = (), only_mapped: bool = False) -> Any:
    return Mapping.parse([*WHO_AND_WHAT, *maps], renames, only_mapped=only_mapped).message(record)


def test_columns_become_fields_and_the_others_properties() -> None:
    record = {"user": "1", "action": "buy", "when": "2024-03-13 10:21:14", "price": "12.50", "plan": "pro"}
    assert message(record, "timestamp=when", "traits.plan=plan") == {
        "type": "track",
        "userId": "1",
        "event": "buy",
        "timestamp": "2024-03-13 10:21:14",
        "traits": {"plan": "pro"},
        "properties": {"price": "12.50"},
    }


def test_only_mapped_leaves_the_others_out() -> None:
    record = {"user": "1", "action": "buy", "price": "12.50", "secret": "x"}
    mapped = message(record, "properties.amount=price", only_mapped=True)
    assert mapped == {"type": "track", "userId": "1", "event": "buy", "properties": {"amount": "12.50"}}


def test_constants_are_the_same_in_every_row() -> None:
    mapping = Mapping.parse(["userId=user", "type==page", "name==Home", "context.app.name==shop = x"])
    assert mapping.message({"user": "1"}) == {
        "type": "page",
        "userId": "1",
        "name": "Home",
        "context": {"app": {"name": "shop = x"}},
        "properties": {},
    }


def test_dotted_targets_nest() -> None:
    mapped = message({"user": "1", "action": "a", "x": 1, "y": 2}, "properties.size.x=x", "properties.size.y=y")
    assert mapped["properties"] == {"size": {"x": 1, "y": 2}}


def test_dotted_columns_reach_into_records_and_take_only_what_they_name() -> None:
    record = {"user": "1", "action": "a", "who": {"id": 7, "ip": "::1"}, "a.b": "dotted"}
    mapped = message(record, "anonymousId=who.id", "properties.c=a.b")
    assert mapped["anonymousId"] == 7
    assert mapped["properties"] == {"who": {"ip": "::1"}, "c": "dotted"}
    assert record["who"] == {"id": 7, "ip": "::1"}, "the row itself is left as it was"


def test_a_whole_object_may_be_mapped() -> None:
    record = {"event": "buy", "properties": {"distinct_id": "7", "time": 1710325274, "price": 3}, "v": 1}
    mapping = Mapping.parse(
        ["event=event", "userId=properties.distinct_id", "timestamp=properties.time", "properties=properties"]
    )
    mapped = mapping.message(record)
    assert (mapped["userId"], mapped["timestamp"]) == ("7", 1710325274)
    assert mapped["properties"] == {"v": 1, "distinct_id": "7", "time": 1710325274, "price": 3}


@pytest.mark.parametrize("path", ["gone", "who.gone", "who.id.deeper", "gone.at.all"])
def test_what_a_row_does_not_have_is_left_out(path: str) -> None:
    record = {"user": "1", "action": "a", "who": {"id": 7}}
    assert message(record, f"anonymousId={path}") == message(record)


def test_events_are_renamed_and_unknown_ones_kept() -> None:
    renames = ("catalog=Product List Viewed", "a b=c=d")
    names = [message({"user": "1", "action": name}, renames=renames)["event"] for name in ("catalog", "a b", "Catalog")]
    assert names == ["Product List Viewed", "c=d", "Catalog"]


def test_without_a_mapping_rows_are_messages() -> None:
    record = {"type": "track", "event": "old", "userId": "1", "timestamp": "2024-03-13T10:21:14Z", "anything": 1}
    assert Mapping.parse([], ["old=new"]).message(record) == record | {"event": "new"}
    assert record["event"] == "old"


TIMES = {
    "2024-03-13 10:21:14": "2024-03-13 10:21:14",
    "2024-03-13T10:21:14+02:00": "2024-03-13T10:21:14+02:00",
    "2024-03-13": "2024-03-13",
    "20240313": "20240313",
    "1710325274": 1710325274,
    " 1710325274000 ": 1710325274000,
    "1710325274.25": 1710325274.25,
}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_iso_or_seconds_or_milliseconds(text: str) -> None:
    assert message({"user": "1", "action": "a", "when": text}, "timestamp=when")["timestamp"] == TIMES[text]


@pytest.mark.parametrize("time", ["yesterday", "13.03.2024", "03/13/2024", "20240313102114", "-1", True, ["now"], {}])
@pytest.mark.parametrize("maps", [["timestamp=timestamp"], None])
def test_a_row_whose_time_is_none_is_refused(time: Any, maps: list[str] | None) -> None:
    mapping = Mapping.parse([] if maps is None else [*WHO_AND_WHAT, *maps])
    with pytest.raises(Refused) as refused:
        mapping.message({"user": "1", "action": "a", "timestamp": time})
    assert refused.value.code == "not_a_time"


@pytest.mark.parametrize("record", [{}, {"when": None}])
def test_a_row_without_the_time_that_is_mapped_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="`when`") as refused:
        message({"user": "1", "action": "a"} | record, "timestamp=when")
    assert refused.value.code == "no_time"


def test_a_time_that_is_not_mapped_is_not_asked_for() -> None:
    assert "timestamp" not in message({"user": "1", "action": "a"})


WRONG = {
    "no equals sign": (["userId"], "userId"),
    "no column": (["userId="], "userId="),
    "no constant": (["type=="], "type=="),
    "no target": (["=user"], "cannot set ``"),
    "an unknown target": ([*WHO_AND_WHAT, "userID=user"], "Did you mean userId"),
    "properties without a name": ([*WHO_AND_WHAT, "properties.=x"], "properties."),
    "a gap in a path": ([*WHO_AND_WHAT, "properties.a..b=x"], "properties.a..b"),
    "a field with a path": ([*WHO_AND_WHAT, "userId.x=x"], "userId.x"),
    "a target twice": ([*WHO_AND_WHAT, "userId=other"], "`userId` twice"),
    "a target and what is below it": ([*WHO_AND_WHAT, "traits.a=x", "traits.a.b=y"], "twice"),
    "a target and what is above it": ([*WHO_AND_WHAT, "traits.a.b=y", "traits=x"], "twice"),
    "nobody": (["event=action"], "does not say who"),
    "nothing": (["userId=user"], "does not say what happened"),
    "nothing tracked": (["userId=user", "type==track"], "does not say what happened"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_mapping_is_refused_with_the_way_out(case: str) -> None:
    maps, said = WRONG[case]
    with pytest.raises(InvalidInput) as refused:
        Mapping.parse(maps)
    assert said in str(refused.value)


@pytest.mark.parametrize("maps", [["userId=user", "type==identify"], ["anonymousId=a", "type=kind"]])
def test_calls_other_than_track_need_no_event(maps: list[str]) -> None:
    assert not Mapping.parse(maps).empty


@pytest.mark.parametrize("rename", ["a", "a=", "=b", "="])
def test_a_wrong_rename_is_refused(rename: str) -> None:
    with pytest.raises(InvalidInput, match="old=new"):
        Mapping.parse([], [rename])


def test_a_csv_file_without_a_mapping_gets_an_example_for_its_columns() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_columns(Mapping.parse([]), ["user_id", "session_id", "event", "timestamp"], "shop.csv")
    assert "user_id, session_id, event, timestamp" in refused.value.message
    assert refused.value.hint.endswith(
        "journey-gateway import shop.csv --map userId=user_id --map event=event --map timestamp=timestamp"
    )


def test_a_column_that_is_not_there_is_told_with_the_closest_one() -> None:
    mapping = Mapping.parse(["userId=userid", "event=event"])
    with pytest.raises(InvalidInput, match="Did you mean --map userId=user_id"):
        check_columns(mapping, ["user_id", "event"], "shop.csv")
    with pytest.raises(InvalidInput, match="columns are: x, event"):
        check_columns(mapping, ["x", "event"], "shop.csv")


def test_equal_mappings_are_described_alike_and_others_are_not() -> None:
    one = Mapping.parse(["userId=u", "event=e"], ["a=b"])
    assert one.describe() == Mapping.parse(["event=e", "userId=u"], ["a=b"]).describe()
    others = [
        Mapping.parse(["userId=u", "event==e"], ["a=b"]),
        Mapping.parse(["userId=u", "event=e"]),
        Mapping.parse(["userId=u", "event=e"], ["a=b"], only_mapped=True),
    ]
    assert one.describe() not in [other.describe() for other in others]
