"""A contract for other tools and for reading: JSON Schema, Mermaid, Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from gateway.contract.durations import duration_in_words
from gateway.contract.journeys import JourneyMap, Stage
from gateway.contract.loading import Contract
from gateway.contract.plan import PlannedProperty
from gateway.contract.surveys import Survey


def as_json_schema(contract: Contract) -> str:
    """One JSON Schema (2020-12) whose `$defs` hold what the properties of each event have to be, by its key."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.name,
        "$defs": {key: event.json_schema() for key, event in sorted(contract.events.items())},
    }
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode() + "\n"


def as_mermaid(contract: Contract, keys: Iterable[str] | None = None) -> str:
    """A flowchart of Mermaid, one box per journey map (`keys`: only these): its stages, and the ways a run may take."""
    lines = ["flowchart LR"]
    for journey in contract.journeys.values() if keys is None else (contract.journeys[key] for key in keys):
        title = f"{journey.name} ({_persona(contract, journey)})"
        lines.append(f"  subgraph {journey.key}[{_label(title)}]")
        for stage in journey.stages:
            shape = "([{}])" if stage.completes else "[{}]"
            lines.append(f"    {_node(journey, stage)}{shape.format(_label(_stage_text(stage)))}")
        for stage in journey.stages:
            for following in journey.next_stages(stage.key):
                arrow = "-.->" if following.optional or _is_back(journey, stage, following) else "-->"
                lines.append(f"    {_node(journey, stage)} {arrow} {_node(journey, following)}")
        lines.append("  end")
    return "\n".join(lines) + "\n"


def as_markdown(contract: Contract) -> str:
    """The catalogue: everything the contract says, for people."""
    lines = [f"# {contract.name}", ""]
    lines += _section("Journey maps", (line for one in contract.journeys.values() for line in _journey(contract, one)))
    lines += _section("KPIs", _kpis(contract))
    lines += _section("Events", _events(contract))
    lines += _section("Surveys", (line for one in contract.surveys.values() for line in _survey(one)))
    lines += _section("Segments", _segments(contract))
    lines += _section("Alerts", _alerts(contract))
    lines += _section("Rules", _rules(contract))
    lines += _section("Personas", _personas(contract))
    lines += _section("Consent", _consent(contract))
    lines += _section("Data requests", _requests(contract))
    lines += _section("Glossary", _glossary(contract))
    return "\n".join(lines).rstrip() + "\n"


# -- Mermaid ------------------------------------------------------------------------------------------------------


def _persona(contract: Contract, journey: JourneyMap) -> str:
    """The name people use; maps may also write words for which there is no file."""
    persona = contract.personas.get(journey.persona)
    return journey.persona if persona is None else persona.name


def _node(journey: JourneyMap, stage: Stage) -> str:
    return f"{journey.key}__{stage.key}"


def _stage_text(stage: Stage) -> str:
    said = [stage.label]
    if stage.emotion:
        said.append(f"({stage.emotion})")
    if stage.touchpoints:
        said.append(", ".join(f"{one.label} · {one.channel}" for one in stage.touchpoints))
    return "\n".join(said)


def _label(text: str) -> str:
    """In quotes, with what Mermaid would read as its own written as entities."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "#quot;"), ("`", "#96;")):
        text = text.replace(sign, entity)
    return '"' + text.replace("\n", "<br>") + '"'


def _is_back(journey: JourneyMap, stage: Stage, following: Stage) -> bool:
    return journey.stages.index(following) <= journey.stages.index(stage)


# -- Markdown -----------------------------------------------------------------------------------------------------


def _section(title: str, lines: Iterable[str]) -> list[str]:
    said = list(lines)
    return [f"## {title}", "", *said, ""] if said else []


def _cell(text: object) -> str:
    """Text in a table or a line: nothing in it is markup."""
    said = " ".join(str(text).split())
    for sign in "\\|*_`<[#":
        said = said.replace(sign, f"\\{sign}")
    return said


def _code(text: str) -> str:
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _table(*heads: str) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _journey(contract: Contract, journey: JourneyMap) -> Iterator[str]:
    yield f"### {_cell(journey.name)}"
    yield ""
    yield (
        f"{_code(journey.key)}, version {journey.version}. Persona: {_cell(_persona(contract, journey))}. Goal: "
        f"{_cell(journey.goal)} Owners: {_cell(', '.join(journey.owners))}. Abandoned after "
        f"{duration_in_words(journey.abandoned_after)}."
    )
    yield ""
    for text in journey.pain_points:
        yield f"- Pain point: {_cell(text)}"
    yield ""
    yield from _table("stage", "emotion", "touchpoints", "entered by", "pain points", "asked", "owner")
    for stage in journey.stages:
        yield _row(
            _cell(stage.label),
            _cell(stage.emotion or ""),
            _cell(", ".join(f"{one.label} ({one.channel})" for one in stage.touchpoints)),
            ", ".join(_code(rule.event) for rule in stage.enter),
            _cell(" ".join(stage.pain_points)),
            ", ".join(_code(key) for key in stage.feedback),
            _cell(stage.owner or ""),
        )
    yield ""
    yield "```mermaid"
    yield as_mermaid(contract, [journey.key]).rstrip()
    yield "```"
    yield ""


def _kpis(contract: Contract) -> Iterator[str]:
    for kpi in contract.kpis.values():
        term = contract.term(kpi.term)
        yield f"### {_cell(kpi.question)}"
        yield ""
        target = "" if kpi.target is None else f", target {kpi.target:g}"
        word = f" {_cell(term.name)}." if term is not None else ""
        yield (
            f"{_code(kpi.key)}, in {kpi.unit}, {kpi.better} is better{target}.{word} Owners: "
            f"{_cell(', '.join(kpi.owners))}."
        )
        yield ""
        yield _cell(kpi.definition)
        yield ""


def _events(contract: Contract) -> Iterator[str]:
    for event in contract.events.values():
        yield f"### {_cell(event.name)}" + ("" if event.major == 1 else f", major version {event.major}")
        yield ""
        gone = f" **Deprecated:** {_cell(event.deprecated)}" if event.deprecated else ""
        yield f"{_cell(event.brief)} ({event.type}, {_cell(', '.join(event.owners))}){gone}"
        yield ""
        if event.properties:
            yield from _table("property", "type", "required", "privacy", "meaning")
            yield from (_property(one) for one in event.properties)
            yield ""


def _property(planned: PlannedProperty) -> str:
    one = planned.definition
    kind = (
        one.type if one.items is None else f"{one.type} of {one.items.key if one.items.properties else one.items.type}"
    )
    values = f" One of {', '.join(_code(str(value)) for value in one.enum)}." if one.enum else ""
    unit = f" In {_cell(one.unit)}." if one.unit else ""
    return _row(
        _code(one.key), kind, "yes" if planned.required else "", one.privacy, f"{_cell(one.brief)}{values}{unit}"
    )


def _survey(survey: Survey) -> Iterator[str]:
    yield f"### {_cell(survey.name)}"
    yield ""
    yield f"{_code(survey.key)}, {survey.kind}. Owners: {_cell(', '.join(survey.owners))}."
    yield ""
    for question in survey.questions:
        words = next(iter(question.text.values()))
        scale = question.scale
        answers = f" {scale.lowest} to {scale.highest}" if scale is not None else ""
        yield f"1. {_cell(words)} ({question.kind}{answers})"
    yield ""


def _segments(contract: Contract) -> Iterator[str]:
    for segment in contract.segments.values():
        yield f"### {_cell(segment.name)}"
        yield ""
        yield f"{_code(segment.key)}. {_cell(segment.description)} Owners: {_cell(', '.join(segment.owners))}."
        yield ""
        yield _cell(segment.definition)
        yield ""


def _alerts(contract: Contract) -> Iterator[str]:
    for alert in contract.alerts.values():
        yield f"### {_cell(alert.name)}"
        yield ""
        yield f"{_code(alert.key)}, {alert.severity}. Owners: {_cell(', '.join(alert.owners))}. {_cell(alert.hint)}"
        yield ""
        yield _cell(alert.definition)
        yield ""


def _rules(contract: Contract) -> Iterator[str]:
    for rule in contract.rules.values():
        yield f"### {_cell(rule.name)}"
        yield ""
        yield f"{_code(rule.key)}, {rule.severity}. Owners: {_cell(', '.join(rule.owners))}. {_cell(rule.definition)}"
        yield ""


def _personas(contract: Contract) -> Iterator[str]:
    for persona in contract.personas.values():
        yield f"### {_cell(persona.name)}"
        yield ""
        yield _cell(persona.brief)
        yield ""
        for title, texts in (
            ("Goal", persona.goals),
            ("Need", persona.needs),
            ("Frustration", persona.frustrations),
        ):
            yield from (f"- {title}: {_cell(text)}" for text in texts)
        yield ""


def _consent(contract: Contract) -> Iterator[str]:
    if not contract.consent:
        return
    yield from _table("purpose", "default", "elsewhere", "meaning")
    words = {True: "granted", False: "denied"}
    for purpose in contract.consent.values():
        elsewhere = "; ".join(f"{', '.join(one.countries)}: {words[one.granted]}" for one in purpose.regions)
        yield _row(_code(purpose.key), words[purpose.granted], elsewhere, _cell(purpose.brief))


def _requests(contract: Contract) -> Iterator[str]:
    for request in contract.requests.values():
        yield f"- **{_cell(request.title)}** ({_cell(request.asked_by)}): {_cell(request.what)} {_cell(request.why)}"


def _glossary(contract: Contract) -> Iterator[str]:
    for term in contract.glossary.values():
        also = f" (also {_cell(', '.join(term.also))})" if term.also else ""
        yield f"- **{_cell(term.name)}**{also}: {_cell(term.definition)}"
