"""`surveys/<key>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, cast

from gateway.contract.durations import parse_duration
from gateway.contract.reading.checks import check_duration, check_key, check_keys, mappings, reported
from gateway.contract.reading.rules import build_rule
from gateway.contract.rules import OPERATORS, Operator
from gateway.contract.shape import did_you_mean
from gateway.contract.sources import Place, Source, shown
from gateway.contract.surveys import (
    USUAL_SCALES,
    Branch,
    EarlierAnswer,
    OnEvent,
    OnExitIntent,
    OnStage,
    OnTaskCompleted,
    OnTimeOnPage,
    Option,
    Periodically,
    Question,
    QuestionKind,
    Quota,
    Scale,
    Survey,
    Targeting,
    Text,
    Trigger,
    Variant,
)

#: Where a branch goes that ends the survey.
END = "end"
#: Which keys belong to questions of which kind.
_BELONGS = {"scale": tuple(USUAL_SCALES), "options": ("CHOICE",), "multiple": ("CHOICE",), "maxLength": ("TEXT",)}


def check_survey(source: Source) -> None:
    """Report questions nobody is asked, circles, answers that are on no scale, texts that lack a language."""
    check_key(source)
    value = source.value
    if not isinstance(value, dict):
        return
    questions = mappings(value.get("questions"))
    check_keys(source, ("questions",), questions, "question")
    languages = value.get("languages")
    for index, question in questions:
        _check_question(source, ("questions", index), question)
        _check_texts(source, ("questions", index), question, languages if isinstance(languages, list) else ["en"])
    first = questions[0][1].get("kind") if questions else None
    if first is not None and first != value.get("kind") and not reported(source, ("kind",)):
        what = f"the survey measures {shown(value.get('kind'))} and asks {shown(first)} first"
        source.report(("kind",), what, f"write kind: {first}, or ask the other question first")
    check_duration(source, ("cooldown",), value.get("cooldown"))
    for index, trigger in mappings(value.get("triggers")):
        if isinstance(periodic := trigger.get("periodic"), dict):
            check_duration(source, ("triggers", index, "periodic", "every"), periodic.get("every"))
    _check_schedule(source, value.get("schedule"))
    _check_variants(source, value, languages if isinstance(languages, list) else ["en"])
    quota = value.get("quota")
    if value.get("anonymous") is True and isinstance(quota, dict) and "per" in quota:
        what = "anonymous answers have no time of their own, by which one could count them"
        source.report(("quota", "per"), what, "remove per: the quota is then of all answers")
    if not any(problem.place[:1] == ("questions",) for problem in source.problems):
        _check_ways(source, [_question(one, ["en"]) for _, one in questions])


def build_survey(content: dict[str, Any]) -> Survey:
    """What a file without a problem says."""
    languages: list[str] = content.get("languages", ["en"])
    targeting, quota, schedule = (content.get(name, {}) for name in ("targeting", "quota", "schedule"))
    return Survey(
        key=content["key"],
        kind=content["kind"],
        name=content["name"],
        owners=tuple(content["owners"]),
        questions=tuple(_question(question, languages) for question in content["questions"]),
        triggers=tuple(_triggers(content)),
        term=content.get("term"),
        languages=tuple(languages),
        touchpoints=tuple(content.get("touchpoints", ())),
        targeting=Targeting(targeting.get("segment"), targeting.get("consent"), tuple(_answered(targeting))),
        sampling=float(content.get("sampling", 100)),
        quota=Quota(int(quota["answers"]), quota.get("per")) if quota else None,
        begins=date.fromisoformat(schedule["from"]) if "from" in schedule else None,
        ends=date.fromisoformat(schedule["to"]) if "to" in schedule else None,
        cooldown=parse_duration(content["cooldown"]) if "cooldown" in content else None,
        variants=tuple(_variant(one, languages) for one in content.get("variants", ())),
        anonymous=bool(content.get("anonymous", False)),
    )


# -- checks -------------------------------------------------------------------------------------------------------


def _check_question(source: Source, place: Place, question: dict[str, Any]) -> None:
    kind = question.get("kind")
    for name, kinds in _BELONGS.items():
        if name in question and isinstance(kind, str) and kind not in kinds and not reported(source, (*place, "kind")):
            source.report((*place, name), f"a question of the kind {kind} has no {name}", "remove it")
    if kind == "CHOICE" and "options" not in question:
        source.report(place, "there is nothing to choose from", "add options")
    if question.get("key") == END:
        source.report((*place, "key"), f"{shown(END)} is where surveys end", "give the question another key")
    check_keys(source, (*place, "options"), mappings(question.get("options")), "option")
    scale = question.get("scale")
    if not isinstance(scale, dict):
        return
    here: Place = (*place, "scale")
    lowest, highest, satisfied = (scale.get(name) for name in ("lowest", "highest", "satisfied"))
    if kind == "NPS" and (lowest, highest) != (0, 10):
        source.report(here, "NPS is answered from 0 to 10", "write lowest: 0 and highest: 10, or remove scale")
    elif isinstance(lowest, int) and isinstance(highest, int):
        if lowest >= highest:
            what = f"the scale from {lowest} to {highest} is empty"
            source.report((*here, "highest"), what, "make highest the larger number")
        elif isinstance(satisfied, int) and not lowest < satisfied <= highest:
            what = f"{satisfied} does not part the scale from {lowest} to {highest}"
            source.report((*here, "satisfied"), what, f"write a number above {lowest} and up to {highest}")


def _check_texts(source: Source, place: Place, question: dict[str, Any], languages: list[Any]) -> None:
    texts: list[tuple[Place, object]] = [((*place, "text"), question.get("text"))]
    texts += [
        ((*place, "options", index, "text"), option.get("text")) for index, option in mappings(question.get("options"))
    ]
    _check_languages(source, texts, languages)


def _check_languages(source: Source, texts: Iterable[tuple[Place, object]], languages: list[Any]) -> None:
    for here, text in texts:
        if isinstance(text, str) and len(languages) > 1:
            fix = "write " + "{" + ", ".join(f"{language}: ..." for language in languages) + "}"
            source.report(here, f"the text is written once, for {len(languages)} languages", fix)
        elif isinstance(text, dict):
            for language in languages:
                if language not in text:
                    source.report(here, f"there is no text in {shown(language)}", f"add {language}: ...")
            for language in text:
                if language not in languages:
                    fix = did_you_mean(language, [str(one) for one in languages], otherwise="languages has")
                    source.report((*here, language), f"{shown(language)} is none of the survey's languages", fix)


def _check_variants(source: Source, value: dict[str, Any], languages: list[Any]) -> None:
    variants = mappings(value.get("variants"))
    check_keys(source, ("variants",), variants, "variant")
    keys = [str(one.get("key")) for _, one in mappings(value.get("questions"))]
    for index, variant in variants:
        place: Place = ("variants", index)
        texts = mappings(variant.get("questions"))
        check_keys(source, (*place, "questions"), texts, "question")
        for number, wording in texts:
            if (key := wording.get("key")) not in keys:
                fix = did_you_mean(key, keys, otherwise="use one of")
                source.report((*place, "questions", number, "key"), f"no question has the key {shown(key)}", fix)
        worded = [((*place, "questions", number, "text"), wording.get("text")) for number, wording in texts]
        _check_languages(source, worded, languages)
        if variant.get("ask", True) is not bool(texts):
            what = "words that nobody is asked in" if texts else "the variant asks in the same words"
            source.report(place, what, "write other words in questions:, or ask: false for a control group")
    shares = [one.get("share") for _, one in variants]
    total = sum(share for share in shares if isinstance(share, int | float))
    if total > 100:
        source.report(("variants",), f"the shares come to {total:g} percent", "let them be 100 or less together")


def _check_schedule(source: Source, schedule: object) -> None:
    days: dict[str, date] = {}
    for name in ("from", "to"):
        text = schedule.get(name) if isinstance(schedule, dict) else None
        if isinstance(text, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            try:
                days[name] = date.fromisoformat(text)
            except ValueError:
                source.report(("schedule", name), f"{shown(text)} is no day", "look it up in a calendar")
    if len(days) == 2 and days["from"] > days["to"]:
        source.report(("schedule", "to"), "the schedule ends before it begins", "write a later day")


def _check_ways(source: Source, questions: list[Question]) -> None:
    """Whether every branch counts, and every question can be asked, once: over every answer that can be given."""
    keys = [question.key for question in questions]
    leads: dict[str, set[str]] = {}
    for index, question in enumerate(questions):
        place: Place = ("questions", index, "next")
        for number, branch in enumerate(question.branches):
            if branch.go is not None and branch.go not in keys:
                fix = did_you_mean(branch.go, [*keys, END], otherwise="use one of")
                source.report((*place, number, "go"), f"no question has the key {shown(branch.go)}", fix)
        taken: set[int] = set()
        leads[question.key] = set()
        for answer in question.answers():
            way = next((at for at, branch in enumerate(question.branches) if branch.takes(answer)), None)
            behind = keys[index + 1] if index + 1 < len(keys) else None
            follows = behind if way is None else question.branches[way].go
            leads[question.key] |= {follows} if follows is not None else set()
            taken |= set() if way is None else {way}
        for number in sorted(set(range(len(question.branches))) - taken):
            what = "no answer takes this branch: none that can be given fits, or others take them all"
            source.report((*place, number), what, "mend the condition, move it up, or remove it")
    if not source.problems:
        _check_graph(source, keys, leads)


def _check_graph(source: Source, keys: list[str], leads: Mapping[str, set[str]]) -> None:
    for index, key in enumerate(keys):
        if key in _reached(leads[key], leads):
            fix = "let its answers lead to later questions or to the end"
            source.report(("questions", index), f"the question {shown(key)} leads back to itself", fix)
    reached = _reached({keys[0]}, leads) if keys else set()
    for index, key in enumerate(keys):
        if key not in reached:
            fix = f"let an answer lead to it (go: {key}), or remove it"
            source.report(("questions", index), f"no answer leads to the question {shown(key)}", fix)


def _reached(waiting: set[str], leads: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    queue = list(waiting)
    while queue:
        key = queue.pop()
        if key not in reached:
            reached.add(key)
            queue += leads[key]
    return reached


# -- building -----------------------------------------------------------------------------------------------------


def _question(content: Mapping[str, Any], languages: list[str]) -> Question:
    kind: QuestionKind = content["kind"]
    scale = content.get("scale")
    return Question(
        key=content["key"],
        kind=kind,
        text=_text(content["text"], languages),
        required=content.get("required", False),
        scale=USUAL_SCALES.get(kind)
        if scale is None
        else Scale(int(scale["lowest"]), int(scale["highest"]), scale.get("satisfied")),
        options=tuple(Option(one["key"], _text(one["text"], languages)) for one in content.get("options", ())),
        multiple=content.get("multiple", False),
        longest=content.get("maxLength"),
        branches=tuple(_branch(branch) for branch in content.get("next", ())),
    )


def _text(text: str | Mapping[str, str], languages: list[str]) -> Text:
    """In the order of the survey's languages."""
    if isinstance(text, str):
        return {languages[0]: text.strip()}
    return {language: text[language].strip() for language in languages if language in text}


def _branch(content: Mapping[str, Any]) -> Branch:
    go = None if content["go"] == END else content["go"]
    found = [name for name in OPERATORS if name in content]
    return Branch(go, *_compared(content)) if found else Branch(go)


def _compared(content: Mapping[str, Any]) -> tuple[Operator, object]:
    op = next(name for name in OPERATORS if name in content)
    return op, tuple(content[op]) if op == "in" else content[op]


def _variant(content: dict[str, Any], languages: list[str]) -> Variant:
    texts = {one["key"]: _text(one["text"], languages) for one in content.get("questions", ())}
    return Variant(content["key"], float(content["share"]), content.get("ask", True), texts)


def _answered(targeting: Mapping[str, Any]) -> Iterator[EarlierAnswer]:
    for one in targeting.get("answered", ()):
        yield EarlierAnswer(one["survey"], one["question"], *_compared(one))


def _triggers(content: Mapping[str, Any]) -> Iterator[Trigger]:
    for index, trigger in enumerate(content.get("triggers", ())):
        ((name, said),) = cast("dict[str, dict[str, Any]]", trigger).items()
        yield _trigger(f"{content['key']}.triggers[{index}]", name, said)


def _trigger(place: str, name: str, said: dict[str, Any]) -> Trigger:
    match name:
        case "event":
            return OnEvent(build_rule(place, {"event": said["name"], "where": said.get("where", ())}))
        case "stageEntered":
            return OnStage("entered", said["map"], said["stage"])
        case "stageLeft":
            return OnStage("left", said["map"], said["stage"])
        case "timeOnPage":
            return OnTimeOnPage(int(said["seconds"]), said.get("path"))
        case "exitIntent":
            return OnExitIntent(said.get("path"))
        case "taskCompleted":
            return OnTaskCompleted(said["map"])
        case _:
            every: timedelta = parse_duration(said["every"])
            return Periodically(every)
