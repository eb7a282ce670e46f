"""What files say of other files by key, where nothing would ever happen with a key that is not there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gateway.contract.reading.checks import check_known, mappings
from gateway.contract.reading.segments import rules_at
from gateway.contract.sources import Place, Source, shown


def check_references(named: Mapping[str, Sequence[Source]]) -> None:
    """Report keys of surveys, maps, stages, questions, purposes, personas, segments, KPIs and events that no file has;
    `named` by kind."""
    maps = {key: _keys(value, "stages") for key, value in _by_key(named["journey"]).items()}
    surveys = {key: _keys(value, "questions") for key, value in _by_key(named["survey"]).items()}
    anonymous = {key for key, value in _by_key(named["survey"]).items() if value.get("anonymous") is True}
    for source in named["journey"]:
        for index, stage in mappings(_value(source).get("stages")):
            for number, key in enumerate(_list(stage.get("feedback"))):
                check_known(source, ("stages", index, "feedback", number), key, surveys, "survey")
    for source in named["kpi"]:
        function = _value(source).get("function")
        metric = function.get("stage") if isinstance(function, dict) else None
        if isinstance(metric, dict):
            _check_stage(source, ("function", "stage"), metric, maps)
    for source in named["survey"]:
        _check_survey(source, _value(source), maps, surveys, _purposes(named["consent"]))
        _check_earlier(source, _value(source).get("targeting"), surveys, anonymous)
    segments, personas = _by_key(named["segment"]), _by_key(named["persona"])
    for source in named["survey"]:
        targeting = _value(source).get("targeting")
        # Before there were files of segments, surveys could name them all the same.
        if segments and isinstance(targeting, dict) and "segment" in targeting:
            check_known(source, ("targeting", "segment"), targeting["segment"], segments, "segment")
    for source in named["segment"]:
        _check_segment(source, maps, personas)
    for source in named["alert"]:
        _check_alert(source, _by_key(named["kpi"]), segments)
    for source in named["rule"]:
        _check_reaction(source, maps, surveys, segments, anonymous)
    events = [source.stem for source in named["event"]]
    for source in named["example"]:
        check_known(source, ("event",), _value(source).get("event"), events, "event")


def _check_segment(source: Source, maps: Mapping[str, list[str]], personas: Mapping[str, Mapping[str, Any]]) -> None:
    for place, rule, _ in rules_at(_value(source).get("who"), ("who",)):
        if isinstance(stage := rule.get("stage"), dict):
            _check_stage(source, (*place, "stage"), stage, maps)
        key = rule.get("persona")
        if "persona" in rule and check_known(source, (*place, "persona"), key, personas, "persona"):
            traits = personas[str(key)].get("traits")
            if not isinstance(traits, dict) or all(isinstance(value, list | dict) for value in traits.values()):
                what = f"the persona {shown(key)} has no traits by which one could be told"
                source.report((*place, "persona"), what, f"add traits: to personas/{key}.yaml, or write trait: here")


def _check_reaction(
    source: Source,
    maps: Mapping[str, list[str]],
    surveys: Mapping[str, list[str]],
    segments: Mapping[str, object],
    anonymous: Collection[str],
) -> None:
    when = _value(source).get("when")
    if not isinstance(when, dict):
        return
    if check_known(source, ("when", "survey"), when.get("survey"), surveys, "survey") and when["survey"] in anonymous:
        what = f"the survey {shown(when['survey'])} is anonymous: nobody knows whom to look after"
        source.report(("when", "survey"), what, "name one that is not")
    if "segment" in when:
        check_known(source, ("when", "segment"), when["segment"], segments, "segment")
    if isinstance(stage := when.get("stage"), dict):
        _check_stage(source, ("when", "stage"), stage, maps)


def _check_alert(source: Source, kpis: Mapping[str, object], segments: Mapping[str, object]) -> None:
    watch = _value(source).get("watch")
    kpi = watch.get("kpi") if isinstance(watch, dict) else None
    if isinstance(kpi, dict):
        check_known(source, ("watch", "kpi", "key"), kpi.get("key"), kpis, "KPI")
        if "segment" in kpi:
            check_known(source, ("watch", "kpi", "segment"), kpi["segment"], segments, "segment")


def _check_survey(
    source: Source,
    value: Mapping[str, Any],
    maps: Mapping[str, list[str]],
    surveys: Mapping[str, list[str]],
    purposes: list[str] | None,
) -> None:
    for index, trigger in mappings(value.get("triggers")):
        for name in ("stageEntered", "stageLeft", "taskCompleted"):
            if isinstance(said := trigger.get(name), dict):
                _check_stage(source, ("triggers", index, name), said, maps)
    targeting = value.get("targeting")
    if not isinstance(targeting, dict):
        return
    if purposes is not None and "consent" in targeting:
        check_known(source, ("targeting", "consent"), targeting["consent"], purposes, "purpose of consent.yaml")


def _check_earlier(
    source: Source, targeting: object, surveys: Mapping[str, list[str]], anonymous: Collection[str]
) -> None:
    if not isinstance(targeting, dict):
        return
    for index, answered in mappings(targeting.get("answered")):
        place: Place = ("targeting", "answered", index)
        if not check_known(source, (*place, "survey"), answered.get("survey"), surveys, "survey"):
            continue
        key = str(answered["survey"])
        check_known(source, (*place, "question"), answered.get("question"), surveys[key], "question of that survey")
        if key in anonymous:
            what = f"the survey {shown(key)} is anonymous: nobody knows who answered it how"
            source.report((*place, "survey"), what, "name one that is not, or remove this")


def _check_stage(source: Source, place: Place, said: Mapping[str, Any], maps: Mapping[str, list[str]]) -> None:
    if check_known(source, (*place, "map"), said.get("map"), maps, "journey map") and "stage" in said:
        check_known(source, (*place, "stage"), said["stage"], maps[str(said["map"])], "stage of that map")


def _by_key(sources: Iterable[Source]) -> dict[str, Mapping[str, Any]]:
    return {source.stem: _value(source) for source in sources}


def _purposes(sources: Sequence[Source]) -> list[str] | None:
    """None without a consent.yaml: then every purpose of the gateway may be asked for."""
    return _keys(_value(sources[0]), "purposes") if sources else None


def _keys(value: Mapping[str, Any], name: str) -> list[str]:
    return [entry["key"] for _, entry in mappings(value.get(name)) if isinstance(entry.get("key"), str)]


def _value(source: Source) -> Mapping[str, Any]:
    return source.value if isinstance(source.value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
