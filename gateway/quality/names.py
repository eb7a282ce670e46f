"""Names that mean the same: other case, separators or number, or a slip of the pen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.contract.plan import words_of

#: Names that are compared letter by letter; those that differ in case, separators or number alone are found among all.
MOST_COMPARED = 300


def plain(name: str) -> str:
    """`Products Viewed`, `product_viewed` and `productViewed` alike."""
    return " ".join(_singular(word.lower()) for word in words_of(name)) or name.lower()


def near_duplicates(names: Iterable[str], settled: Iterable[str], *, slips: bool = True) -> Iterator[tuple[str, str]]:
    """Each of the `names` with the name it is probably meant to be: a settled one, else one that comes before it.

    Without `slips` letters are not compared: properties such as `min_x` and `max_x` stand beside each other. Names that
    differ in their digits alone are meant to.
    """
    settled, names = [*dict.fromkeys(settled)], [*dict.fromkeys(names)]
    known = set(settled)
    by_plain: dict[str, str] = {}
    for name in settled:
        by_plain.setdefault(plain(name), name)
    compared = [*settled]
    for number, name in enumerate(one for one in names if one not in known):
        same = by_plain.setdefault(plain(name), name)
        if slips and same == name and number < MOST_COMPARED:
            same = next((other for other in compared if _slip(plain(name), plain(other))), name)
        if same != name:
            yield name, same
        compared.append(name)


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-3] + "y" if word.endswith("ies") else word[:-1]
    return word


def _slip(one: str, other: str) -> bool:
    """Whether a letter or, in long names, two make the difference; digits do not count."""
    most = 0 if min(len(one), len(other)) < 5 else 1 if min(len(one), len(other)) < 12 else 2
    if not most or abs(len(one) - len(other)) > most or len(set(one) ^ set(other)) > 2 * most:
        return False
    if any(letter.isdigit() for letter in set(one) ^ set(other)) or _without_digits(one) == _without_digits(other):
        return False
    return _distance(one, other, most) <= most


def _without_digits(text: str) -> str:
    return "".join(letter for letter in text if not letter.isdigit())


def _distance(one: str, other: str, most: int) -> int:
    """How many letters to put in, leave out or replace (Levenshtein 1965), or swap with a neighbour; beyond `most`
    only that it is more."""
    before: list[int] = []
    row: list[int] = [*range(len(other) + 1)]
    for number, letter in enumerate(one, 1):
        older = before
        before, row = row, [number]
        for place, against in enumerate(other, 1):
            cost = min(before[place] + 1, row[-1] + 1, before[place - 1] + (letter != against))
            if number > 1 and place > 1 and letter == other[place - 2] and one[number - 2] == against:
                cost = min(cost, older[place - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]
