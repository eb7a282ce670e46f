"""`glossary.yaml`."""

from __future__ import annotations

from typing import Any

from gateway.contract.glossary import Term
from gateway.contract.reading.checks import check_keys, mappings
from gateway.contract.sources import Source, shown


def check_glossary(source: Source) -> None:
    """Report keys and names that two terms claim."""
    terms = mappings(source.value.get("terms")) if isinstance(source.value, dict) else []
    check_keys(source, ("terms",), terms, "term")
    first: dict[str, int] = {}
    for index, term in terms:
        also = term.get("also")
        for word in {term.get("name"), *(also if isinstance(also, list) else ())}:
            if not isinstance(word, str):
                continue
            line = source.lines[("terms", first.setdefault(word.casefold(), index))]
            if first[word.casefold()] != index:
                what = f"{shown(word)} is already a name of the term in line {line}"
                source.report(("terms", index), what, "let each word mean one thing")


def build_glossary(content: dict[str, Any]) -> dict[str, Term]:
    """What a file without a problem says, by key."""
    terms = (
        Term(term["key"], term["name"], term["definition"].strip(), tuple(term.get("also", ())))
        for term in content["terms"]
    )
    return {term.key: term for term in terms}
