"""The gate: what it finds out about a text it finds out once."""

from __future__ import annotations

import pytest
from graphql import get_operation_ast, parse, specified_rules

from gateway.api import admission
from gateway.api.admission import CACHED_TEXTS, Gate
from gateway.api.limits import QueryLimit, check_shape
from gateway.api.schema import build_schema
from gateway.contract import Contract

SCHEMA = build_schema(Contract("", {}, {}))._schema
TEXT = "query($n: Int) { users(first: $n) { nodes { traits } } }"


def test_a_text_is_parsed_and_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("parse", "validate_document", "check_shape", "requirements"):
        real = getattr(admission, name)

        def counted(*given: object, real: object = real, name: str = name, **more: object) -> object:
            calls.append(name)
            return real(*given, **more)  # type: ignore[operator]

        monkeypatch.setattr(admission, name, counted)
    gate = Gate()
    for _ in range(3):
        known = gate.read(TEXT)
        gate.judge(known, SCHEMA, tuple(specified_rules))
        operation = get_operation_ast(known.document)
        assert operation is not None
        assert "User.traits" in gate.needed(known, SCHEMA, operation)
        assert known.refused == []
    assert sorted(calls) == ["check_shape", "parse", "requirements", "validate_document"]


def test_only_the_texts_seen_last_are_remembered() -> None:
    gate = Gate()
    first = gate.read("{ a0: __typename }")
    for number in range(CACHED_TEXTS):
        assert gate.read("{ a0: __typename }") is first
        gate.read(f"{{ b{number}: __typename }}")
    assert len(gate._known) == CACHED_TEXTS
    for number in range(CACHED_TEXTS):
        gate.read(f"{{ c{number}: __typename }}")
    assert gate.read("{ a0: __typename }") is not first


def test_a_long_text_is_not_remembered() -> None:
    gate = Gate()
    gate.read("{ __typename }" + " " * 30_000)
    assert gate._known == {}


@pytest.mark.parametrize("text", ["{ ...a } fragment a on Query { ...a }", "{ ...missing }", "{ unknown { x } }"])
def test_the_shape_of_an_invalid_text_is_left_to_validation(text: str) -> None:
    check_shape(parse(text))


def test_fragments_count_as_often_as_they_are_spread() -> None:
    fragment = "fragment a on Query { " + " ".join(f"f{n}" for n in range(100)) + " }"
    check_shape(parse("{ " + "...a " * 10 + "} " + fragment))
    with pytest.raises(QueryLimit, match="1,000 fields"):
        check_shape(parse("{ " + "...a " * 10 + "one } " + fragment))
