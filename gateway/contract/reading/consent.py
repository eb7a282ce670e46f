"""`consent.yaml`."""

from __future__ import annotations

from typing import Any

from gateway.contract.consent import ConsentPurpose, RegionDefault
from gateway.contract.reading.checks import check_keys, mappings
from gateway.contract.sources import Source, shown


def check_consent(source: Source) -> None:
    """Report purposes that stand twice, and countries that two regions of one purpose claim."""
    purposes = mappings(source.value.get("purposes")) if isinstance(source.value, dict) else []
    check_keys(source, ("purposes",), purposes, "purpose")
    for index, purpose in purposes:
        seen: set[str] = set()
        for number, region in mappings(purpose.get("regions")):
            countries = region.get("countries")
            here = {one for one in countries if isinstance(one, str)} if isinstance(countries, list) else set()
            if here & seen:
                what = f"{shown(min(here & seen))} is already in another region of this purpose"
                place = ("purposes", index, "regions", number, "countries")
                source.report(place, what, "let each country be in one region")
            seen |= here


def build_consent(content: dict[str, Any]) -> dict[str, ConsentPurpose]:
    """What a file without a problem says, by purpose."""
    return {
        purpose["key"]: ConsentPurpose(
            purpose["key"],
            purpose["brief"].strip(),
            purpose["default"] == "granted",
            tuple(
                RegionDefault(tuple(region["countries"]), region["default"] == "granted")
                for region in purpose.get("regions", ())
            ),
        )
        for purpose in content["purposes"]
    }
