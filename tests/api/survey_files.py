"""Surveys for tests of the API, beside the shop's map, segments and consent."""

from __future__ import annotations

from dataclasses import replace

from gateway.contract import Contract, load_contract, load_texts
from gateway.contract.surveys import Survey
from tests.api.gateway_api import SHOP, load_shop

CSAT = """\
key: csat
kind: CSAT
name: After an order
owners: [ux]
languages: [en, de]
questions:
  - key: satisfaction
    kind: CSAT
    required: true
    text: {en: How satisfied are you?, de: Wie zufrieden sind Sie?}
    next: [{gte: 4, go: end}]
  - key: reason
    kind: CHOICE
    multiple: true
    text: {en: What was it?, de: Woran lag es?}
    options:
      - {key: paying, text: {en: Paying, de: Bezahlen}}
      - {key: delivery, text: {en: Delivery, de: Lieferung}}
  - key: comment
    kind: TEXT
    maxLength: 200
    text: {en: What could be better?, de: Was könnte besser sein?}
triggers:
  - stageEntered: {map: purchase, stage: purchased}
cooldown: 1d
"""
NPS = """\
key: nps
kind: NPS
name: Every quarter
owners: [ux]
questions:
  - {key: recommend, kind: NPS, required: true, text: Would you recommend us?}
triggers:
  - periodic: {every: 90d}
"""
CES = """\
key: ces
kind: CES
name: How easy it was
owners: [ux]
touchpoints: [help]
questions:
  - {key: effort, kind: CES, required: true, text: Was it easy?}
triggers:
  - event: {name: Support Solved}
  - exitIntent: {path: /checkout*}
  - timeOnPage: {seconds: 30, path: /help}
cooldown: 30d
"""


def surveys(*texts: str) -> dict[str, Survey]:
    """The surveys that these files say, read beside the shop's own maps, segments and consent."""
    shop = load_contract(SHOP)
    files = {path: text for path, text in shop.files.items() if not path.startswith("surveys/")}
    said = {f"surveys/{text.partition('key: ')[2].partition(chr(10))[0]}.yaml": text for text in texts}
    named = {f"surveys/{key}.yaml": shop.files[f"surveys/{key}.yaml"] for key in shop.surveys}
    return {
        key: one
        for key, one in load_texts("shop", {**files, **named, **said}).surveys.items()
        if f"surveys/{key}.yaml" in said
    }


def asking(*texts: str) -> Contract:
    """The shop that asks these surveys and no other."""
    return replace(load_shop(), surveys=surveys(*texts))
