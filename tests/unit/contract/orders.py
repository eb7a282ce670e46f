"""A small contract with a plan, to be changed by tests: an order, a score, a map, three KPIs and a survey."""

from __future__ import annotations

from gateway.contract import Contract, load_texts

ORDERS: dict[str, str] = {
    "glossary.yaml": """\
terms:
  - {key: basket, name: Basket, definition: What somebody is about to buy.}
  - {key: unused, name: Unused, definition: Nobody says it.}
""",
    "properties.yaml": """\
properties:
  - {key: total, type: number, brief: What is paid., minimum: 0, unit: currency}
  - {key: pieces, type: integer, brief: How many.}
  - {key: payment, type: string, brief: How it is paid., enum: [card, invoice]}
  - {key: score, type: integer, brief: From 1 to 5.}
  - {key: coupon, type: string, brief: A code., maxLength: 20}
  - {key: spare, type: string, brief: Nothing carries it.}
""",
    "events/order_completed.1.yaml": """\
name: Order Completed
major: 1
brief: Somebody bought.
owners: [backend]
properties:
  - {property: total, required: true}
  - {property: payment, required: true}
  - {property: pieces}
  - {property: coupon}
""",
    "events/answered.1.yaml": """\
name: Answered
major: 1
brief: Somebody answered.
owners: [web]
properties:
  - {property: score, required: true}
""",
    "events/viewed.1.yaml": """\
name: Viewed
major: 1
brief: Somebody looked.
owners: [web]
""",
    "journeys/buying.yaml": """\
key: buying
version: 1
name: Buying
persona: Shopper
goal: Have it
owners: [ux, web]
abandonedAfter: 12h
stages:
  - key: look
    label: Looking
    enter:
      - event: Viewed
  - key: bought
    label: Bought
    enter:
      - event: Order Completed
        where: [{property: pieces, gte: 1}]
    completes: true
    feedback: [ease]
""",
    "kpis/easy.yaml": """\
key: easy
question: Is it easy?
unit: percent
better: higher
owners: [ux]
term: basket
function:
  satisfied: {event: Answered, property: score, atLeast: 4, lowest: 1, highest: 5}
""",
    "kpis/cards.yaml": """\
key: cards
question: How many pay by card?
unit: percent
better: higher
owners: [ux]
function:
  funnel:
    steps:
      - {key: look, label: Look, event: Viewed}
      - {key: card, label: Card, event: Order Completed, where: [{property: payment, equals: card}]}
""",
    "surveys/ease.yaml": """\
key: ease
kind: CSAT
name: Ease
owners: [ux]
questions:
  - key: easy
    kind: CSAT
    text: {en: Was it easy}
triggers:
  - stageEntered: {map: buying, stage: bought}
""",
}


def orders(*edits: tuple[str, str, str], **files: str | None) -> Contract:
    """The contract after edits (path, old text, new text); `files`, by path, come in or, when they are None, go."""
    texts: dict[str, str | None] = {**ORDERS, **files}
    for path, old, new in edits:
        text = texts[path]
        assert text is not None
        assert text.count(old) == 1, (path, old)
        texts[path] = text.replace(old, new)
    return load_texts("orders", {path: text for path, text in texts.items() if text is not None})
