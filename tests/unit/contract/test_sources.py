"""Files as YAML: what can be read is read as JSON values, the rest is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract import Contract, load_contract
from gateway.contract.sources import read_source
from gateway.errors import ContractError
from tests.unit.contract.acme import JOURNEY, SCORE, edit, problems, write_acme


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_acme(tmp_path)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "1: the file is empty - write the keys, starting with key:"),
        (b"# only a comment\n", "1: the file is empty - write the keys, starting with key:"),
        (b"- key: ease\n", "1: the file is not a mapping of keys - start each line with a key, for example key: ..."),
        (b"just text", "1: the file is not a mapping of keys - start each line with a key, for example key: ..."),
        (b"key: ease\nname: \xff\n", "2: the file is not UTF-8 - save it with the encoding UTF-8"),
        (b"key: ease\nname: \x07\n", "2: the file holds a character that YAML does not allow - remove it"),
        (b"# " + b"x" * 256 * 1024, "1: the file is larger than 256 KB - split it or shorten its texts"),
        (b"key: ease\nx: " + b"[" * 100_000, "2: not valid YAML: nested deeper than 16 levels - flatten it"),
        (
            b'key: "\\UFFFFFFFF"',
            "1: not valid YAML: a number in it is too large - look for an escape like \\U or a line %YAML",
        ),
        (
            b"key: ease\n---\nkey: ease\n",
            "2: not valid YAML: expected a single document in the stream, but found another document - "
            "look for wrong indentation, a missing quote or a : inside a text without quotes",
        ),
        (
            b"key: ease\n\tname: x\n",
            "2: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token - "
            "look for wrong indentation, a missing quote or a : inside a text without quotes",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_line(folder: Path, raw: bytes, problem: str) -> None:
    (folder / "kpis" / "ease.yaml").write_bytes(raw)
    assert problems(folder) == [f"acme/kpis/ease.yaml:{problem}"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "better: higher",
            "better: higher\nbetter: lower",
            "5: key 'better' is written twice, first in line 4 - keep one of them",
        ),
        (
            "    lowest: 1",
            "    lowest: 1\n    lowest: 1",
            "12 function.satisfied: key 'lowest' is written twice, first in line 11 - keep one of them",
        ),
        ("better: higher", "better: &b higher", "4: the anchor '&b' is not allowed - remove it"),
        ("unit: percent", "unit: *b", "3 unit: the alias '*b' is not allowed - write the value out"),
        (
            "highest: 7",
            "highest: !!python/name:os.system 7",
            "12 function.satisfied.highest: the tag "
            "'tag:yaml.org,2002:python/name:os.system' is not allowed - remove it",
        ),
        (
            "highest: 7",
            "highest: 99999999999999999999",
            "12 function.satisfied.highest: '99999999999999999999' is not a whole number of 64 bits - "
            "write a smaller number, or text in quotes",
        ),
        (
            "highest: 7",
            "highest: 1e999",
            "12 function.satisfied.highest: '1e999' is not a number that JSON can carry - "
            "write a smaller number, or text in quotes",
        ),
        (
            "highest: 7",
            "highest: 2024-01-01",
            "12 function.satisfied.highest: '2024-01-01' is text - write a number (the highest answer of the scale)",
        ),
        (
            "property: score",
            'property: "\\ud800"',
            "9 function.satisfied.property: '\\ud800' is a text with NUL or half a surrogate pair - "
            "remove the escapes \\0 and \\ud800 to \\udfff",
        ),
        ("better: higher", "better: higher\n[a, b]: 1", "5: a key is not plain text - use a plain word as key"),
        (
            "better: higher",
            'better: higher\n"a\\nb": 1',
            "5: the key 'a\\nb' is not printable - use a plain word as key",
        ),
    ],
)
def test_what_yaml_allows_and_json_does_not_is_refused(folder: Path, old: str, new: str, problem: str) -> None:
    edit(folder, "kpis/ease", old, new)
    assert problems(folder) == [f"acme/kpis/ease.yaml:{problem}"]


def test_a_merge_key_is_an_unknown_key(folder: Path) -> None:
    edit(folder, "kpis/ease", "better: higher", "better: higher\n<<: {unit: percent}")
    assert [problem.partition(" - ")[0] for problem in problems(folder)] == ["acme/kpis/ease.yaml:5: unknown key '<<'"]


def test_two_anchors_of_one_name_are_both_told(folder: Path) -> None:
    edit(folder, "kpis/ease", "unit: percent\nbetter: higher", "unit: &a percent\nbetter: &a higher")
    assert problems(folder) == [
        f"acme/kpis/ease.yaml:{line}: the anchor '&a' is not allowed - remove it" for line in (3, 4)
    ]


def test_a_bomb_of_aliases_is_refused_without_being_unfolded(folder: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    (folder / "kpis" / "ease.yaml").write_text(SCORE + bomb)
    told = problems(folder)
    assert sum("the anchor" in line for line in told) == 12
    assert sum("the alias" in line for line in told) == 110


def test_values_are_read_as_yaml_1_2_has_them(folder: Path) -> None:
    texts = "[2024-01-01, 12:30:00, yes, on, .nan, 1_000, 0777x]"
    others = "[010, 0o17, 0x1F, 1e3, -2.5, true, null]"
    edit(folder, "journeys/trial", "in: [free, trial]", f"in: {texts}")
    edit(folder, "journeys/trial", "gte: 18", f"in: {others}")
    first, second = load_contract(folder).journeys["trial"].stage("signup").enter[0].where
    assert first.value == ("2024-01-01", "12:30:00", "yes", "on", ".nan", "1_000", "0777x")
    assert second.value == (10, 15, 31, 1000.0, -2.5, True, None)


def test_a_byte_order_mark_does_no_harm(folder: Path) -> None:
    (folder / "kpis" / "ease.yaml").write_bytes(b"\xef\xbb\xbf" + SCORE.encode())
    assert "ease" in load_contract(folder).kpis


def test_a_file_that_may_not_be_opened_is_told(tmp_path: Path) -> None:
    source = read_source(tmp_path, "acme/kpis/ease.yaml")
    assert str(source.problems[0]) == (
        "acme/kpis/ease.yaml:1: the file cannot be read: Is a directory - let the gateway's user read it"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    at=st.integers(0, len(JOURNEY)),
    cut=st.integers(0, 30),
    put=st.text(st.sampled_from("abc key:\n -[]{}&*!|>'\"%@`#,?~0189.\\UuxN\t\x00é\ud7ff"), max_size=12),
)
def test_whatever_is_typed_into_a_file_is_loaded_or_told(folder: Path, at: int, cut: int, put: str) -> None:
    (folder / "journeys" / "trial.yaml").write_text(JOURNEY[:at] + put + JOURNEY[at + cut :], encoding="utf-8")
    try:
        contract = load_contract(folder)
    except ContractError as error:
        for problem in error.problems:
            assert problem.startswith("acme/journeys/trial.yaml:")
            assert " - " in problem
            assert problem.isprintable()
    else:
        assert isinstance(contract, Contract)
