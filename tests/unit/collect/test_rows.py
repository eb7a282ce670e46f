"""Rows of files: every row is read or refused with its reason, whatever stands around it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gateway.collect.rows import MAX_ROW_BYTES, Refused, Row, RowFile
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject


def read(path: Path, text: str | bytes) -> list[Row]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with RowFile(path) as file:
        rows = list(file.rows())
        file.check_end()
        return rows


def told(row: Row) -> JsonObject | str:
    return row.content.code if isinstance(row.content, Refused) else row.content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
@pytest.mark.parametrize("start", ["", "\n\n", "\ufeff"])
def test_csv_rows_are_objects_by_column_name(path: Path, end: str, last: str, start: str) -> None:
    rows = read(path, start + end.join(["user, name ", "1,Ada", "", '2,"Eve, ""the"" one"']) + last)
    assert [told(row) for row in rows] == [{"user": "1", "name": "Ada"}, {"user": "2", "name": 'Eve, "the" one'}]
    assert [row.raw for row in rows] == [b"1,Ada", b'2,"Eve, ""the"" one"'], "the same bytes whatever ends the line"


def test_empty_cells_are_left_out(path: Path) -> None:
    assert [told(row) for row in read(path, "a,b\n1,\n,2\n,\n")] == [{"a": "1"}, {"b": "2"}, {}]


def test_a_cell_may_hold_lines(path: Path) -> None:
    (row,) = read(path, 'a,b\n1,"x\n\ny"\n')
    assert told(row) == {"a": "1", "b": "x\n\ny"}
    assert row.raw == b'1,"x\n\ny"'


def test_columns_without_a_name_get_one(path: Path) -> None:
    assert [told(row) for row in read(path, ",b\n1,2\n")] == [{"column_1": "1", "b": "2"}]


BROKEN_CSV = {
    "too few cells": (b"1", "wrong_width"),
    "too many cells": (b"1,2,3", "wrong_width"),
    "an open quote": (b'"1,2', "broken_csv"),
    "text behind a quote": (b'"1"x,2', "broken_csv"),
    "not UTF-8": (b"1,\xff", "not_utf8"),
    "too long": (b"1," + b"x" * MAX_ROW_BYTES, "row_too_long"),
    "a cell too long for CSV": (b"1," + b"x" * 200_000, "broken_csv"),
}


@pytest.mark.parametrize("case", BROKEN_CSV)
def test_a_broken_row_of_csv_takes_no_other_row_with_it(path: Path, case: str) -> None:
    line, code = BROKEN_CSV[case]
    rows = read(path, b"a,b\n0,0\n" + line + b"\n1,1\n2,2\n")
    assert [told(row) for row in rows] == [{"a": "0", "b": "0"}, code, {"a": "1", "b": "1"}, {"a": "2", "b": "2"}]
    assert rows[1].raw == line[: MAX_ROW_BYTES + 1]


def test_two_broken_rows_in_a_row_are_two(path: Path) -> None:
    rows = read(path, b'a,b\n"1,2\n"1,"2\n\n3,3\n')
    assert [told(row) for row in rows] == ["broken_csv", "broken_csv", {"a": "3", "b": "3"}]


@pytest.mark.parametrize("start", ["", "\n \n", "\ufeff", "  "])
def test_ndjson_rows_are_their_objects(path: Path, start: str) -> None:
    rows = read(path, start + '{"a": {"b": 1}}\n\n  {"a": 2}  \r\n{"a": 18446744073709551616}')
    assert [told(row) for row in rows] == [{"a": {"b": 1}}, {"a": 2}, {"a": 2**64}]


BROKEN_JSON = {
    "half an object": (b'{"a": ', "broken_json"),
    "a number": (b"1", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "not UTF-8": (b'{"a": "\xff"}', "not_utf8"),
    "too deep": (b'{"a":' * 2_000, "broken_json"),
    "too long": (b'{"a": "' + b"x" * 3 * MAX_ROW_BYTES + b'"}', "row_too_long"),
}


@pytest.mark.parametrize("case", BROKEN_JSON)
def test_a_broken_row_of_ndjson_takes_no_other_row_with_it(path: Path, case: str) -> None:
    line, code = BROKEN_JSON[case]
    rows = read(path, b'{"a": 0}\n' + line + b'\n{"a": 1}\n')
    assert [told(row) for row in rows] == [{"a": 0}, code, {"a": 1}]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", '{"a": 1}\n'])
def test_gzip_is_known_by_its_first_bytes_not_by_its_name(path: Path, text: str) -> None:
    assert read(path, gzip.compress(text.encode())) == read(path, text)


def test_the_position_is_that_in_the_file_on_disk(path: Path) -> None:
    text = b"a\n" + b"1\n" * 100_000
    for content in (text, gzip.compress(text)):
        path.write_bytes(content)
        with RowFile(path) as file:
            assert len(list(file.rows())) == 100_000
            assert file.position == len(content)


@pytest.mark.parametrize("cut", [20, 4])
def test_a_gzip_file_that_is_cut_short_gives_what_it_has_and_says_so(path: Path, cut: int) -> None:
    path.write_bytes(gzip.compress(b"a\n" + b"".join(b"%d\n" % number for number in range(100_000)))[:-cut])
    with RowFile(path) as file:
        assert len(list(file.rows())) > 90_000
        with pytest.raises(InvalidInput, match="cut short"):
            file.check_end()


UNREADABLE = {
    "nothing": (b"", "no rows"),
    "blanks": (b"\n \n", "no rows"),
    "a JSON array": (b'[{"a": 1}]', "JSON array"),
    "a column twice": (b"a,b,a\n1,2,3\n", "several columns `a`"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "column names"),
    "an open quote": (b'"a,b\n1,2\n', "column names"),
    "broken gzip": (b"\x1f\x8b\x08\x00 no gzip at all", "gzip"),
    "the start of gzip": (b"\x1f\x8b", "gzip"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(path: Path, case: str) -> None:
    content, reason = UNREADABLE[case]
    with pytest.raises(InvalidInput, match=reason):
        read(path, content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InvalidInput, match=f"{missing} cannot be read"):
            RowFile(missing)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"who,what\rada,x\r", "a carriage return without a line feed stands in it. Save it with the line ends"),
        ("who,what\nada,x\n".encode("utf-16"), "not valid UTF-8. Save it as CSV in UTF-8."),
        (b"\x89PNG\r\n\x1a\n\0\0", "not valid UTF-8. Save it as CSV in UTF-8."),
        (b'"who,what\n', "a quote is not closed."),
    ],
)
def test_a_first_line_that_cannot_be_read_says_what_to_do(path: Path, text: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(path, text)
    assert said in str(refused.value)
    assert "newline=''" not in str(refused.value)


def test_a_carriage_return_in_a_row_is_told_in_our_words(path: Path) -> None:
    broken, good = read(path, b"a,b\n1,2\r3\n4,5\n")
    assert isinstance(broken.content, Refused)
    assert str(broken.content) == "The row is not valid CSV: a carriage return without a line feed stands in it."
    assert told(good) == {"a": "4", "b": "5"}
