"""What no file alone is wrong about: each finding is planted, and found by name; a good contract is silent."""

from __future__ import annotations

import pytest

from gateway.contract import load_texts
from gateway.contract.checking import ContractFinding, check_contract
from gateway.errors import ContractError

FILES = {
    "glossary.yaml": "terms:\n  - {key: ease, name: Ease, definition: How easy it was., also: [effort]}\n",
    "properties.yaml": """\
properties:
  - {key: score, type: integer, brief: The answer.}
  - {key: plan, type: string, brief: The plan., enum: [free, plus]}
  - {key: cart, type: object, brief: The cart., properties: [{property: value}]}
  - {key: value, type: number, brief: What it costs.}
""",
    "events/signed_up.1.yaml": """\
name: Signed Up
major: 1
brief: An account was opened.
owners: [shop]
properties: [{property: plan, required: true}, {property: cart}]
""",
    "events/answered.1.yaml": """\
name: Answered
major: 1
brief: A survey was answered.
owners: [ux]
properties: [{property: score}]
""",
    "journeys/trial.yaml": """\
key: trial
version: 1
name: Trying it
persona: newcomer
goal: See it work.
owners: [ux]
abandonedAfter: 7d
stages:
  - key: signed_up
    label: Signed up
    touchpoints: [{key: form, label: Form, channel: web}]
    enter:
      - event: Signed Up
        where:
          - {property: plan, equals: free}
          - {property: cart.value, gte: 1}
    completes: true
    feedback: [ease]
""",
    "kpis/ease.yaml": """\
key: ease
question: How easy is it?
unit: score
better: higher
owners: [ux]
term: ease
breakdowns: [client.device, traits.plan]
function:
  ces:
    event: Answered
    property: score
""",
    "surveys/ease.yaml": """\
key: ease
kind: CES
name: Ease
owners: [ux]
term: effort
touchpoints: [form]
questions: [{key: effort, kind: CES, text: Is it easy}]
triggers:
  - event: {name: Signed Up}
""",
    "personas/newcomer.yaml": """\
key: newcomer
name: Newcomer
brief: New here.
sample:
  - {type: track, event: Signed Up, userId: u, properties: {plan: free}}
""",
    "examples/signed_up.pass.json": """\
{"event": "signed_up.1", "message": {"type": "track", "event": "Signed Up", "properties": {"plan": "free"}}}
""",
    "examples/no_plan.fail.json": """\
{
\t"event": "signed_up.1",
\t"reason": {"property": "plan", "rule": "required"},
\t"message": {"type": "track", "event": "Signed Up", "properties": {"smile": "\\ud83d\\ude00"}}
}
""",
}


def found(files: dict[str, str]) -> list[ContractFinding]:
    return check_contract(load_texts("acme", files))


def test_a_good_contract_is_silent() -> None:
    assert found(FILES) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (
            "journeys/trial.yaml",
            "event: Signed Up",
            "event: Singed Up",
            [
                "error unreached-stage acme/journeys/trial.yaml:12 stages[0].enter: no planned event enters the stage "
                "'signed_up' - plan one of its events, or name one that is planned",
                "error unplanned-event acme/journeys/trial.yaml:13 stages[0].enter[0].event: no event 'Singed Up' is "
                "planned - did you mean 'Signed Up'?",
            ],
        ),
        (
            "journeys/trial.yaml",
            "property: plan",
            "property: paln",
            [
                "error unplanned-property acme/journeys/trial.yaml:15 stages[0].enter[0].where[0].property: no "
                "property 'paln' is planned for 'Signed Up' - did you mean 'plan'?"
            ],
        ),
        (
            "journeys/trial.yaml",
            "cart.value",
            "cart.valeu",
            [
                "error unplanned-property acme/journeys/trial.yaml:16 stages[0].enter[0].where[1].property: no "
                "property 'cart.valeu' is planned for 'Signed Up' - add it to the event; it has: plan, cart"
            ],
        ),
        (
            "journeys/trial.yaml",
            "equals: free",
            "in: [free, pluss]",
            [
                "error unplanned-value acme/journeys/trial.yaml:15 stages[0].enter[0].where[0].in: 'plan' is never "
                "'pluss' - did you mean 'plus'?"
            ],
        ),
        (
            "journeys/trial.yaml",
            "    feedback: [ease]\n",
            "",
            [
                "note no-feedback acme/journeys/trial.yaml:9 stages[0]: nobody is asked in the stage 'signed_up' - add "
                "feedback: the keys of surveys",
                "note no-feedback acme/surveys/ease.yaml:1: no stage of a journey map names the survey - add it to the "
                "feedback of a stage",
            ],
        ),
        (
            "journeys/trial.yaml",
            "persona: newcomer",
            "persona: newcomre",
            ["warning no-persona acme/journeys/trial.yaml:4 persona: no persona is called 'newcomre' - did you mean"],
        ),
        (
            "kpis/ease.yaml",
            "term: ease\n",
            "",
            ["warning no-term acme/kpis/ease.yaml:1: the glossary has no word for this KPI - add term"],
        ),
        (
            "kpis/ease.yaml",
            "term: ease",
            "term: eaze",
            ["warning no-term acme/kpis/ease.yaml:6 term: the glossary has no term 'eaze' - did you mean 'ease'?"],
        ),
        (
            "kpis/ease.yaml",
            "property: score",
            "property: scroe",
            ["error unplanned-property acme/kpis/ease.yaml:11 function.ces.property: no property 'scroe' is planned"],
        ),
        (
            "kpis/ease.yaml",
            "    event: Answered\n    property: score",
            "    event: Signed Up\n    property: plan",
            [
                "error no-number acme/kpis/ease.yaml:11 function.ces.property: 'plan' is no number, but string",
                "note unused-event acme/events/answered.1.yaml:1: nothing uses 'Answered'",
            ],
        ),
        (
            "kpis/ease.yaml",
            "client.device",
            "client.devise",
            [
                "error unplanned-property acme/kpis/ease.yaml:7 breakdowns[0]: nothing is known of the client's "
                "'devise' - did you mean 'device'?"
            ],
        ),
        (
            "kpis/ease.yaml",
            "client.device",
            "scores",
            [
                "error unplanned-property acme/kpis/ease.yaml:7 breakdowns[0]: none of the KPI's events has the "
                "property 'scores' - did you mean 'score'?"
            ],
        ),
        (
            "kpis/ease.yaml",
            "function:",
            "filters: [{property: socre, gte: 1}]\nfunction:",
            ["error unplanned-property acme/kpis/ease.yaml:8 filters[0].property: none of the KPI's events has"],
        ),
        (
            "surveys/ease.yaml",
            "triggers:\n  - event: {name: Signed Up}\n",
            "",
            ["warning no-trigger acme/surveys/ease.yaml:1: nothing triggers the survey - add triggers"],
        ),
        (
            "surveys/ease.yaml",
            "{name: Signed Up}",
            "{name: Signed Op}",
            [
                "error unplanned-event acme/surveys/ease.yaml:9 triggers[0].event.name: no event 'Signed Op' is "
                "planned - did you mean 'Signed Up'?"
            ],
        ),
        (
            "surveys/ease.yaml",
            "touchpoints: [form]",
            "touchpoints: [from]",
            ["warning no-touchpoint acme/surveys/ease.yaml:6 touchpoints[0]: no journey map has the touchpoint 'from'"],
        ),
        (
            "personas/newcomer.yaml",
            "plan: free",
            "plan: gold",
            ["error sample acme/personas/newcomer.yaml:5 sample[0]: the sample does not fit its plan: plan: enum"],
        ),
        (
            "personas/newcomer.yaml",
            "event: Signed Up",
            "event: Signed Out",
            ["warning sample acme/personas/newcomer.yaml:5 sample[0]: no event 'Signed Out' is planned - did you mean"],
        ),
        (
            "examples/signed_up.pass.json",
            '"free"',
            "1",
            ["error example acme/examples/signed_up.pass.json:1 message: it should pass, but does not fit: plan: type"],
        ),
        (
            "examples/signed_up.pass.json",
            "Signed Up",
            "Signed In",
            ["error example acme/examples/signed_up.pass.json:1 message: it is no track 'Signed Up'"],
        ),
        (
            "examples/no_plan.fail.json",
            '"smile"',
            '"plan"',
            [
                "error example acme/examples/no_plan.fail.json:4 message: it should fail for plan: required, but what "
                "does not fit is: plan: enum"
            ],
        ),
        (
            "properties.yaml",
            "properties:\n",
            "properties:\n  - {key: old, type: string, brief: Was used once., term: olden}\n",
            [
                "warning no-term acme/properties.yaml:2 properties[0].term: the glossary has no term 'olden'",
                "note unused-property acme/properties.yaml:2 properties[0]: no event has the property 'old'",
            ],
        ),
        (
            "events/answered.1.yaml",
            "owners: [ux]",
            "owners: [ux]\ndeprecated: Send Survey Answered.",
            [
                "warning deprecated-event acme/kpis/ease.yaml:10 function.ces.event: 'Answered' is deprecated: Send "
                "Survey Answered. - name what is sent instead"
            ],
        ),
    ],
)
def test_each_fault_is_found_by_name_with_its_line(path: str, old: str, new: str, said: list[str]) -> None:
    assert FILES[path].count(old) == 1
    lines = [f"{one.severity} {one.check} {one}" for one in found({**FILES, path: FILES[path].replace(old, new)})]
    assert len(lines) == len(said), lines
    for line, beginning in zip(lines, said, strict=True):
        assert line.startswith(beginning), line


def test_without_a_plan_no_event_is_unplanned() -> None:
    files = {path: text for path, text in FILES.items() if path.startswith(("journeys", "kpis", "surveys"))}
    assert {(one.severity, one.check) for one in found(files)} == {("warning", "no-term")}


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("examples/x.json", "{}", "end its name in .pass.json or .fail.json"),
        ("examples/x.fail.json", '{"event": "signed_up.1", "message": {}}', "key 'reason' is missing"),
        (
            "examples/x.pass.json",
            '{"event": "signed_up.1", "reason": {"property": "a", "rule": "type"}, "message": {}}',
            "an example that must pass has no reason to fail",
        ),
        (
            "examples/x.pass.json",
            '{"event": "singed_up.1", "message": {}}',
            "no event has the key 'singed_up.1' - did you mean 'signed_up.1'?",
        ),
        ("examples/x.pass.json", '{"event": "signed_up.1",\n "message": {]}', "x.pass.json:2: not valid YAML"),
    ],
)
def test_an_example_that_could_test_nothing_does_not_load(path: str, text: str, said: str) -> None:
    with pytest.raises(ContractError) as refused:
        found({**FILES, path: text})
    assert said in str(refused.value)
