"""XES logs: what is written is read back exactly, what others write is read, and what attacks is refused."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.collect.presets import XesLog
from gateway.collect.rows import MAX_ROW_BYTES, Refused, Row, RowFile
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject
from gateway.pipeline import xes

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<log xes.version="1849.2016" xmlns="http://www.xes-standard.org/">'
ONE = '<trace><string key="concept:name" value="c1"/><event><string key="concept:name" value="A"/></event></trace>'


def read(path: Path, text: str | bytes) -> list[Row]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with RowFile(path) as file:
        assert file.kind == "xes"
        rows = list(file.rows())
        file.check_end()
        return rows


def records(path: Path, body: str) -> list[Any]:
    rows = read(path, f"{HEAD}{body}</log>")
    return [row.content.code if isinstance(row.content, Refused) else row.content for row in rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.xes"


# -- what we write --------------------------------------------------------------------------------------------------

texts = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["", "\0", "\ud800", "\ufffe", "a\"<&>'", "\r\n\t", "]]>"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
keys = texts | st.sampled_from(["concept:name", "time:timestamp", "journey:type", "lifecycle:transition", "case:x"])
optional_ids = st.none() | texts


@st.composite
def messages(draw: st.DrawFn) -> JsonObject:
    """What `wire.message_of` makes, and then some."""
    kind = draw(st.sampled_from(["track", "page", "screen", "identify", "group", "alias"]))
    ids = {key: draw(optional_ids) for key in ("userId", "anonymousId", "previousId", "groupId")}
    message: JsonObject = {"type": kind, "messageId": draw(texts), "timestamp": "2024-03-13T10:21:14.000Z"}
    message |= {key: value for key, value in ids.items() if value is not None}
    name = draw(texts if kind == "track" else st.none() | texts | st.just(kind))
    if name is not None:
        message["event" if kind == "track" else "name"] = name
    message["originalTimestamp"] = "1970-01-01T00:00:00.001Z"
    message["receivedAt"] = "2024-03-13T10:21:15.000Z"
    for key in ("properties", "traits", "context"):
        found = draw(st.dictionaries(keys, values, max_size=4))
        if found:
            message[key] = found
    return message | draw(st.dictionaries(st.sampled_from(["integrations", "category", "channel"]), values, max_size=2))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(messages(), min_size=1, max_size=3))
def test_what_is_written_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, sent: list[JsonObject]) -> None:
    events = b"".join(map(xes.event, sent))
    log = xes.header("w\0") + xes.trace_start("u\0\ud800", [("run", 1)]) + events + xes.TRACE_END + xes.FOOTER
    rows = read(tmp_path_factory.getbasetemp() / "exact.xes", log)
    assert [row.content for row in rows] == sent
    assert all(row.whole for row in rows)


def test_types_survive_beside_each_other(path: Path) -> None:
    properties = {"i": 1, "f": 1.0, "b": True, "s": "1", "n": None, "l": [1, [2.0, {}]], "o": {"": {"\x01": "x"}}}
    sent = {"type": "track", "messageId": "1", "event": "e", "timestamp": "t", "properties": properties}
    (row,) = read(path, xes.header("w") + xes.trace_start("u") + xes.event(sent) + xes.TRACE_END + xes.FOOTER)
    assert repr(row.content) == repr({**sent, "properties": row.content["properties"]})  # type: ignore[index]
    assert {key: repr(value) for key, value in row.content["properties"].items()} == {  # type: ignore[index]
        key: repr(value) for key, value in properties.items()
    }


def test_the_log_has_the_order_and_the_types_of_the_standard() -> None:
    sent = {
        "type": "track",
        "messageId": "1",
        "event": "Paid",
        "timestamp": "2024-03-13T10:21:14.000Z",
        "properties": {"price": 9.5, "count": 2, "gift": False, "note": "a\nb", "list": [1]},
    }
    log = xes.header("main") + xes.trace_start("ada") + xes.event(sent) + xes.TRACE_END + xes.FOOTER
    root = ElementTree.fromstring(log)
    plain = [child.tag.removeprefix("{http://www.xes-standard.org/}") for child in root]
    assert plain == ["extension"] * 5 + ["global", "global", "classifier", "string", "trace"]
    assert float(root.attrib["xes.version"]) == 1849.2023
    told = {child.get("key"): (child.tag.rpartition("}")[2], child.get("value")) for child in root[-1][-1]}
    assert told["concept:name"] == ("string", "Paid")
    assert told["time:timestamp"] == ("date", "2024-03-13T10:21:14.000Z")
    assert (told["price"], told["count"], told["gift"]) == (("float", "9.5"), ("int", "2"), ("boolean", "false"))
    assert told["note"] == ("string", "a\nb")
    assert told["journey:message"] == ("string", '{"properties":{"list":[1]}}')


def test_our_prefix_in_somebody_elses_log_means_nothing(path: Path) -> None:
    event = '<event><string key="journey:type" value="track"/><string key="concept:name" value="A"/></event>'
    (row,) = read(path, f"{HEAD}{event}</log>")
    assert row.content == {"journey:type": "track", "concept:name": "A"}
    assert not row.whole


@pytest.mark.parametrize("text", ["[]", "{", '{"properties": 1}', "1"])
def test_a_message_of_ours_that_was_damaged_is_refused(path: Path, text: str) -> None:
    extension = f'<extension name="J" prefix="journey" uri="{xes.URI}"/>'
    attributes = f"<string key='journey:type' value='track'/><string key='journey:message' value='{text}'/>"
    assert records(path, f"{extension}<event>{attributes}</event>") == ["broken_message"]


# -- what others write ----------------------------------------------------------------------------------------------


def test_attributes_have_their_types(path: Path) -> None:
    event = """<event>
      <string key="concept:name" value="A &amp; B"/><date key="time:timestamp" value="2020-01-01T00:00:00.000+02:00"/>
      <int key="i" value="-7"/><float key="f" value="1e3"/><boolean key="b" value="true"/><id key="x" value="u-1"/>
      <int key="long" value="99999999999999999999"/><int key="no" value="1_0"/><float key="word" value="many"/>
      <boolean key="maybe" value="maybe"/><string key="none"/><unknown key="u" value="1"/>
    </event>"""
    assert records(
        path, f'<trace><string key="concept:name" value="c1"/><int key="age" value="3"/>{event}</trace>'
    ) == [
        {
            "case:concept:name": "c1",
            "case:age": 3,
            "concept:name": "A & B",
            "time:timestamp": "2020-01-01T00:00:00.000+02:00",
            "i": -7,
            "f": 1000.0,
            "b": True,
            "x": "u-1",
            "long": "99999999999999999999",
            "no": "1_0",
            "word": "many",
            "maybe": "maybe",
            "none": None,
        }
    ]


def test_lists_containers_and_nested_attributes_keep_everything(path: Path) -> None:
    event = """<event>
      <string key="plain" value="v"><int key="meta" value="1"><string key="deeper" value="x"/></int></string>
      <list key="drivers"><values>
        <string key="d" value="one"><float key="cost:amount" value="2.5"/></string><string key="d" value="two"/>
      </values></list>
      <list key="old"><int key="a" value="1"/></list>
      <container key="place">
        <string key="city" value="Bonn"/><container key="geo"><int key="x" value="1"/></container>
      </container>
    </event>"""
    assert records(path, event) == [
        {
            "plain": "v",
            "plain:nested": {"meta": 1, "meta:nested": {"deeper": "x"}},
            "drivers": [{"d": "one", "d:nested": {"cost:amount": 2.5}}, {"d": "two"}],
            "old": [{"a": 1}],
            "place": {"city": "Bonn", "geo": {"x": 1}},
        }
    ]


def test_globals_fill_in_what_is_missing_but_never_who_what_or_when(path: Path) -> None:
    body = """
      <global scope="trace"><string key="concept:name" value="UNKNOWN"/><string key="region" value="EU"/></global>
      <global scope="event"><string key="concept:name" value="UNKNOWN"/><date key="time:timestamp" value="1970-01-01"/>
        <string key="org:resource" value="nobody"/></global>
      <trace><event/><event><string key="org:resource" value="ada"/></event></trace>"""
    region = {"case:region": "EU"}
    assert records(path, body) == [region | {"org:resource": "nobody"}, region | {"org:resource": "ada"}]


def test_prefixes_are_those_of_the_extensions_addresses(path: Path) -> None:
    body = '<extension name="Concept" prefix="c" uri="http://www.xes-standard.org/concept.xesext"/>' + ONE.replace(
        "concept:", "c:"
    )
    assert records(path, body) == [{"case:concept:name": "c1", "concept:name": "A"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("prefix", ["", "x:"])
@pytest.mark.parametrize("zipped", [False, True])
def test_namespaces_encodings_and_gzip_make_no_difference(path: Path, encoding: str, prefix: str, zipped: bool) -> None:
    space = f'xmlns{":x" if prefix else ""}="http://www.xes-standard.org/"'
    text = f'<?xml version="1.0" encoding="{encoding}"?><log {space}>{ONE.replace("A", "é")}</log>'
    if prefix:
        text = text.replace("</", f"</{prefix}").replace("<log", "<x:log")
        for tag in ("trace", "event", "string"):
            text = text.replace(f"<{tag}", f"<{prefix}{tag}")
    content = text.encode(encoding)
    (row,) = read(path, gzip.compress(content) if zipped else content)
    assert row.content == {"case:concept:name": "c1", "concept:name": "é"}


def test_events_without_a_trace_are_rows_too(path: Path) -> None:
    assert records(path, f'{ONE}<event><string key="concept:name" value="B"/></event>') == [
        {"case:concept:name": "c1", "concept:name": "A"},
        {"concept:name": "B"},
    ]


def test_the_same_event_has_the_same_bytes_however_it_is_written(path: Path) -> None:
    one = read(path, f"{HEAD}{ONE}</log>")
    other = read(path, f"{HEAD}<!-- x -->{ONE.replace('/>', ' />').replace('><', '> <')}</log>")
    assert [row.raw for row in one] == [row.raw for row in other]


# -- as messages ----------------------------------------------------------------------------------------------------

EVENT = {
    "case:concept:name": "c1",
    "case:amount": 5,
    "concept:name": "A",
    "time:timestamp": "2020-01-01T00:00:00Z",
    "lifecycle:transition": "start",
}


def test_a_trace_is_a_user_and_an_event_a_track() -> None:
    assert XesLog().message(EVENT) == {
        "type": "track",
        "userId": "c1",
        "event": "A",
        "timestamp": "2020-01-01T00:00:00Z",
        "properties": {"case:amount": 5, "lifecycle:transition": "start"},
    }
    assert XesLog(trace_is="anonymousId").message(EVENT)["anonymousId"] == "c1"
    session = XesLog(trace_is="session").message(EVENT)
    assert session["properties"]["case:concept:name"] == "c1"
    assert not {"userId", "anonymousId"} & session.keys()


def test_a_classifier_names_the_event() -> None:
    known = {"Activity": ("concept:name", "lifecycle:transition")}
    message = XesLog(classifier="Activity").with_classifier(known).message(EVENT)
    assert (message["event"], message["properties"]["concept:name"]) == ("A+start", "A")
    with pytest.raises(InvalidInput, match="It has: Activity"):
        XesLog(classifier="Other").with_classifier(known)


def test_classifiers_are_known_before_the_first_row(path: Path) -> None:
    keys = "<classifier name='Activity' keys=\"concept:name 'Action Type'\"/>"
    path.write_text(f"{HEAD}{keys}{ONE}</log>")
    with RowFile(path) as file:
        assert file.classifiers == {"Activity": ("concept:name", "Action Type")}


def test_an_event_without_a_time_is_refused() -> None:
    with pytest.raises(Refused, match="time:timestamp"):
        XesLog().message({"concept:name": "A"})


# -- bad files ------------------------------------------------------------------------------------------------------

BOMB = '<!DOCTYPE log [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
REFUSED = {
    "an entity bomb": (
        f'{HEAD.replace("<log", BOMB + "<log")}<event><string key="k" value="&b;"/></event></log>',
        "document type",
    ),
    "an external entity": ('<!DOCTYPE log SYSTEM "http://127.0.0.1:1/x.dtd"><log/>', "document type"),
    "another root": ("<html><body/></html>", "root is <html>"),
    "no XML": ("< no xml", "begins like XML"),
    "no events": (f"{HEAD}</log>", "no events"),
    "an encoding nobody knows": ('<?xml version="1.0" encoding="klingon"?><log/>', "begins like XML"),
    "a CSV file": ("a,b\n1,2\n", "holds no XML"),
    "an NDJSON file": ('{"a": 1}\n', "holds no XML"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_log_is_refused_with_the_reason(path: Path, case: str) -> None:
    content, reason = REFUSED[case]
    with pytest.raises(InvalidInput, match=reason):
        read(path, content)


@pytest.mark.parametrize("cut", [4, 40, 4_000])
def test_a_log_that_is_cut_short_gives_what_it_has_and_says_where(path: Path, cut: int) -> None:
    log = f"{HEAD}\n{(ONE + chr(10)) * 5_000}</log>"
    path.write_text(log[:-cut])
    with RowFile(path) as file:
        count = len(list(file.rows()))
        assert 5_000 - cut // 100 - 1 <= count <= 5_000
        with pytest.raises(InvalidInput, match=rf"at line [\d,]+, column [\d,]+; the {count:,} events before"):
            file.check_end()


def test_an_entity_in_the_middle_stops_there(path: Path) -> None:
    path.write_text(f"{HEAD}{ONE}<trace>&b;</trace></log>")
    with RowFile(path) as file:
        assert len(list(file.rows())) == 1
        with pytest.raises(InvalidInput, match="undefined entity"):
            file.check_end()


def test_gzip_that_is_cut_short_is_told_as_such(path: Path) -> None:
    path.write_bytes(gzip.compress(f"{HEAD}{ONE * 5_000}</log>".encode())[:-20])
    with RowFile(path) as file:
        assert len(list(file.rows())) > 3_000
        with pytest.raises(InvalidInput, match="gzip stream"):
            file.check_end()


@pytest.mark.parametrize("what", ["attribute", "comment"])
def test_a_huge_attribute_does_not_fill_the_memory(path: Path, what: str) -> None:
    start = '<event><string key="k" value="' if what == "attribute" else "<!--"
    with gzip.open(path, "wb", compresslevel=1) as log:
        log.write(f"{HEAD}{ONE}{start}".encode())
        for _ in range(100):
            log.write(b"x" * 1_000_000)
    tracemalloc.start()
    with RowFile(path) as file:
        assert len(list(file.rows())) == 1
        with pytest.raises(InvalidInput, match="more than 1,048,576 bytes at line 2"):
            file.check_end()
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_an_event_too_large_or_too_deep_takes_no_other_with_it(path: Path) -> None:
    long = '<string key="k" value="x"/>' * (MAX_ROW_BYTES // 20)
    deep = '<container key="c">' * 100 + "</container>" * 100
    body = f"<event>{long}</event><event>{deep}</event>{ONE}"
    assert records(path, body) == ["row_too_long", "too_deep", {"case:concept:name": "c1", "concept:name": "A"}]


def test_a_trace_too_large_refuses_its_own_events_alone(path: Path) -> None:
    long = '<string key="k" value="x"/>' * (MAX_ROW_BYTES // 20)
    assert records(path, f"<trace>{long}<event/><event/></trace>{ONE}") == [
        "row_too_long",
        "row_too_long",
        {"case:concept:name": "c1", "concept:name": "A"},
    ]


def test_a_large_trace_with_many_events_does_not_fill_the_memory(path: Path) -> None:
    long = f'<string key="k" value="{"x" * 900_000}"/>'
    path.write_text(f"{HEAD}<trace>{long}{'<event/>' * 5_000}</trace>{ONE}</log>")
    tracemalloc.start()
    with RowFile(path) as file:
        assert sum(not isinstance(row.content, Refused) for row in file.rows()) == 5_001
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_an_event_and_its_trace_are_measured_together(path: Path) -> None:
    half = f'<string key="k" value="{"x" * (MAX_ROW_BYTES // 2)}"/>'
    assert records(path, f"<trace>{half}<event>{half}</event></trace>{ONE}") == [
        "row_too_long",
        {"case:concept:name": "c1", "concept:name": "A"},
    ]


def test_a_long_log_takes_no_more_memory_than_a_short_one(path: Path) -> None:
    assert peak_of(path, 10_000) < peak_of(path, 1_000) + 500_000


def peak_of(path: Path, traces: int) -> int:
    """The most bytes at a time while a log of so many traces is read."""
    with path.open("w") as log:
        log.write(HEAD)
        for number in range(traces):
            log.write(ONE.replace("c1", f"case {number}"))
        log.write("</log>")
    tracemalloc.start()
    with RowFile(path) as file:
        assert sum(1 for _ in file.rows()) == traces
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_an_attribute_without_a_key_is_refused_with_what_it_belongs_to(path: Path) -> None:
    a, b = (f'<event><string key="concept:name" value="{name}"/>' for name in "AB")
    lost = '<string value="x"/>'
    found = records(path, f"<trace>{a}{lost}</event>{b}</event></trace><trace>{lost}{a}</event></trace>{b}</event>")
    assert found == ["no_key", {"concept:name": "B"}, "no_key", {"concept:name": "B"}]


@pytest.mark.parametrize(
    ("tag", "value"), [("int", "abc"), ("int", "9" * 5_000), ("boolean", "maybe"), ("float", "1,5")]
)
def test_a_value_that_is_not_of_its_type_stays_the_text_it_is(path: Path, tag: str, value: str) -> None:
    assert records(path, f'<event><{tag} key="n" value="{value}"/></event>') == [{"n": value}]
