"""Survey responses: the events `Survey Response Submitted`, sent or stored by connectors, read as what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.clients import EVENTS
from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.model.event import Event, JsonObject
from gateway.model.response import RESPONDED
from gateway.plugin import Policy, Source, attribute, field

ANSWERS = Policy("events:read", subject=True, pii=True)

KEYSET = Keyset("responses", (int, int, bytes))

_STORED = Source.document("events", "properties")

SurveyKey = Annotated[strawberry.ID | None, strawberry.argument(description="Only of this survey; null for all.")]


@strawberry.type(description="The answer to one question of a survey.")
class SurveyAnswer:
    """One answer, as the survey's tool gave it."""

    question: str = attribute(source=_STORED, policy=EVENTS, description="The survey's key of the question.")
    kind: str | None = attribute(
        source=_STORED, policy=EVENTS, description="What it asks for: `nps`, `csat`, `ces`, `choice`, `text`, …"
    )
    text: str | None = attribute(source=_STORED, policy=EVENTS, description="The question in words.")
    value: JSON = attribute(source=_STORED, policy=ANSWERS, description="The answer: a number, a text, choices.")


@strawberry.type(description="What somebody answered to a survey.")
class SurveyResponse(Node):
    """One response; behind it is the event that it was stored as."""

    event: strawberry.Private[Event]

    def global_id(self) -> str:
        return f"response_{self.event.id.hex()}"

    @field(source=_STORED, policy=EVENTS, description="The survey.")
    def survey(self) -> str:
        return self._text("survey") or ""

    @field(source=_STORED, policy=EVENTS, description="The connector or tool that it came by.")
    def source(self) -> str | None:
        return self._text("source")

    @field(source=_STORED, policy=EVENTS, description="Where it was asked.")
    def touchpoint(self) -> str | None:
        return self._text("touchpoint")

    @field(source=_STORED, policy=EVENTS, description="Whether it was answered to the end.")
    def complete(self) -> bool:
        return self.event.properties.get("complete") is not False

    @field(
        source=_STORED,
        policy=ANSWERS,
        description="The number that the survey measures, as KPIs count it; null where it measures none.",
    )
    def score(self) -> float | None:
        found = self.event.properties.get("score")
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    @field(source=_STORED, policy=ANSWERS, description="What they said in words, as text: it may hold anything.")
    def comment(self) -> str | None:
        return self._text("comment")

    @field(source=_STORED, policy=EVENTS, description="The variant of the survey that was asked; null: as it is.")
    def variant(self) -> str | None:
        return self._text("variant")

    @field(
        source=_STORED,
        policy=EVENTS,
        description="Where in each journey they were when they answered, as `map/stage`; empty where that is unknown.",
        size=3,
    )
    def stages(self) -> list[strawberry.ID]:
        found = self.event.properties.get("journey")
        pairs = found.items() if isinstance(found, dict) else ()
        return [strawberry.ID(f"{key}/{stage}") for key, stage in sorted(pairs) if isinstance(stage, str)]

    @field(source=Source.document("events", "at"), policy=EVENTS, description="When it was answered.")
    def at(self) -> DateTime:
        return DateTime(self.event.at)

    @field(source=_STORED, policy=EVENTS, description="The answers, in the survey's order.", size=5)
    def answers(self) -> list[SurveyAnswer]:
        return list(_answers(self.event.properties))

    def _text(self, name: str) -> str | None:
        value = self.event.properties.get(name)
        return value if isinstance(value, str) else None


@strawberry.type(description="One page of responses.")
class ResponseConnection(Connection[SurveyResponse]):
    """A page, the newest first."""


async def response_page(
    context: Context, first: int | None, after: Cursor | None, sks: list[str]
) -> ResponseConnection:
    """A page of the responses of these identities, the newest first."""

    async def read(limit: int, before: Any) -> list[Event]:
        return await context.services.events.page(context.scope, limit=limit, before=before, names=[RESPONDED], sks=sks)

    def node(event: Event) -> SurveyResponse:
        return SurveyResponse(event=event)

    edges, page_info = await page(KEYSET, first, after, read=read, position=lambda event: event.order, node=node)
    return ResponseConnection(edges=edges, page_info=page_info)


async def response(context: Context, key: str) -> SurveyResponse | None:
    """The response that was stored as this event, if the caller may see it."""
    event = await context.load.events.load(bytes.fromhex(key))
    if event is None or event.name != RESPONDED:
        return None
    may = context.scope.subject is None or await context.may_see(await context.load.user_ids.load(event.identity))
    return SurveyResponse(event=event) if may else None


def _answers(properties: JsonObject) -> Iterator[SurveyAnswer]:
    """As they are stored; what is none is left out: anybody can send an event of this name. One's own may say no more
    than a score and a comment."""
    given = properties.get("answers")
    if given is None:
        given = [{"question": name, "value": properties[name]} for name in ("score", "comment") if name in properties]
    for one in given if isinstance(given, list) else ():
        if isinstance(one, dict) and isinstance(one.get("question"), str):
            kind, text = (one.get(name) if isinstance(one.get(name), str) else None for name in ("kind", "text"))
            yield SurveyAnswer(question=one["question"], kind=kind, text=text, value=JSON(one.get("value")))
