"""Mistakes of authors: each is told with its file, line, key and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.contract import load_contract
from tests.unit.contract.acme import JOURNEY, SCORE, edit, problems, write_acme

FUNCTIONS = (
    "funnel, satisfied, sessionLength, count, uniqueUsers, sum, mean, percentile, ratio, timeBetween, retention, "
    "churn, stage, nps, ces, engagementDepth, plugin, planned"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_acme(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("event: Event Sent", "evnt: Event Sent", "22 stages[1].enter[0]: unknown key 'evnt' - did you mean 'event'?"),
        ("goal:", "gaol:", "5: unknown key 'gaol' - did you mean 'goal'?"),
        ("abandonedAfter:", "abandoned_after:", "7: unknown key 'abandoned_after' - did you mean 'abandonedAfter'?"),
        (
            "label: Docs",
            "label: Docs, colour: red",
            "20 stages[1].touchpoints[0]: unknown key 'colour' - remove it; here belong: key, label, channel",
        ),
        ("goal: See it work\n", "", "1: key 'goal' is missing - add goal (what the persona wants to reach)"),
        ("goal: See it work", "goal:", "5 goal: has no value - write text"),
        ("goal: See it work", "goal: ' '", "5 goal: ' ' cannot stand here - write some text"),
        (
            "name: Trying it out",
            'name: "Trying\\n"',
            "3 name: 'Trying\\n' cannot stand here - write one line of text without spaces around it",
        ),
        ("owners: [ux]", "owners: ux", "6 owners: 'ux' is text - write a list"),
        ("owners: [ux]", "owners: []", "6 owners: has 0 entries - write at least 1"),
        ("owners: [ux]", "owners: [ux, ux]", "6 owners: the same entry stands twice - remove one of them"),
        (
            "version: 3",
            "version: three",
            "2 version: 'three' is text - write a whole number (raise it by one when stages or rules change)",
        ),
        (
            "key: trial\n",
            "key: Trial\n",
            "1 key: 'Trial' cannot stand here - use small letters, digits and _, starting with a letter, at most 64",
        ),
        ("completes: true", "compeltes: true", "23 stages[1]: unknown key 'compeltes' - did you mean 'completes'?"),
        ("version: 3", "version: 0", "2 version: 0 is out of range - write at least 1"),
        ("version: 3", "version: 1000001", "2 version: 1000001 is out of range - write at most 1000000"),
        (
            "abandonedAfter: 12h",
            "abandonedAfter: 12 hours",
            "7 abandonedAfter: '12 hours' cannot stand here - "
            "write a number and m, h, d or w, for example 30m, 12h, 7d or 8w",
        ),
        (
            "abandonedAfter: 12h",
            "abandonedAfter: 600w",
            "7 abandonedAfter: '600w' is too long - write at most ten years",
        ),
        ("abandonedAfter: 12h", "abandonedAfter: 7", "7 abandonedAfter: 7 is a number - write text"),
        (
            "key: signup",
            "key: Sign up",
            "9 stages[0].key: 'Sign up' cannot stand here - "
            "use small letters, digits and _, starting with a letter, at most 64",
        ),
        (
            "key: first_event",
            "key: signup",
            "17 stages[1].key: the stage key 'signup' is already used in line 9 - give each its own key",
        ),
        (
            "- {key: docs, label: Docs, channel: web}",
            "- {key: docs, label: Docs, channel: web}\n      - {key: docs, label: D, channel: app}",
            "21 stages[1].touchpoints[1].key: the touchpoint key 'docs' is already used in line 20 - "
            "give each its own key",
        ),
        (
            "optional: true",
            "optional: yes",
            "11 stages[0].optional: 'yes' is text - write true or false (true: a run may skip this stage)",
        ),
        (
            "    completes: true\n",
            "",
            "8 stages: no stage completes the journey - add completes: true to the stage at the goal",
        ),
        (
            "completes: true",
            "completes: true\n    optional: true",
            "8 stages: every stage is optional, so no run has a start - "
            "remove optional: true from the stage every run goes through",
        ),
        (
            "optional: true",
            "completes: true",
            "17 stages[1]: nothing can come after 'signup', which completes the journey and is not optional - "
            "move completes: true to the last stage, or end the map there",
        ),
        (
            "optional: true",
            "next: [frist_event]",
            "11 stages[0].next[0]: no stage has the key 'frist_event' - did you mean 'first_event'?",
        ),
        ("optional: true", "next: [x]", "11 stages[0].next[0]: no stage has the key 'x' - use one of: first_event"),
        (
            "optional: true",
            "next: [signup, first_event]",
            "11 stages[0].next[0]: 'signup' cannot follow itself - "
            "remove it; repeats: true lets a run come back to a stage that it left",
        ),
        (
            "  - key: first_event",
            "  - {key: more, label: More, enter: [{event: More}], next: [signup, first_event]}\n  - key: first_event",
            "17 stages[1].next[0]: 'signup' comes earlier and does not repeat - "
            "add repeats: true to 'signup', or put it after 'more'",
        ),
        (
            "    optional: true",
            "    next: [first_event]\n    enter: [{event: S}]\n  - key: more\n    label: More",
            "13 stages[1]: no stage leads to 'more' - add more to the next of the stage it follows",
        ),
        (
            "completes: true",
            "completes: true\n    limit: 1d",
            "24 stages[1].limit: 'first_event' completes the journey, so that its limit never counts - remove limit",
        ),
        ("optional: true", "limit: 600w", "11 stages[0].limit: '600w' is too long - write at most ten years"),
        (
            "optional: true",
            "leave: [{evnt: Left}]",
            "11 stages[0].leave[0]: unknown key 'evnt' - did you mean 'event'?",
        ),
        (
            "abandonedAfter: 12h",
            "abandonedAfter: 12h\nrestart: []",
            "8 restart: has 0 entries - write at least 1 "
            "(the events that end an open run as abandoned; the same event may begin the next)",
        ),
        (
            "gte: 18",
            "gte: 18, lt: 99",
            "16 stages[0].enter[0].where[1]: gte and lt stand together - "
            "write exactly one of equals, in, gt, gte, lt, lte, exists",
        ),
        (
            ", gte: 18",
            "",
            "16 stages[0].enter[0].where[1]: says nothing to compare or compute - "
            "write exactly one of equals, in, gt, gte, lt, lte, exists",
        ),
        ("gte: 18", "gtee: 18", "16 stages[0].enter[0].where[1]: unknown key 'gtee' - did you mean 'gte'?"),
        (
            "property: age, ",
            "",
            "16 stages[0].enter[0].where[1]: key 'property' is missing - "
            "add property (its name; a dot leads into an object: cart.value)",
        ),
        (
            "property: age",
            "property: age..x",
            "16 stages[0].enter[0].where[1].property: 'age..x' cannot stand here - "
            "write a property's name; a dot leads into an object: cart.value",
        ),
        ("gte: 18", "gte: true", "16 stages[0].enter[0].where[1].gte: true is a boolean - write a number or text"),
        (
            "gte: 18",
            "equals: [18]",
            "16 stages[0].enter[0].where[1].equals: is a list - write text or a number or true or false or null",
        ),
        (
            "[free, trial]",
            "[]",
            "15 stages[0].enter[0].where[0].in: has 0 entries - "
            "write at least 1 (the values of which one must be there)",
        ),
        (
            "key: trial\n",
            "key: trail\n",
            "1 key: the key 'trail' is not the file's name - rename the file to trail.yaml or write key: trial",
        ),
        ("persona: Developer", f"persona: {'x' * 201}", "4 persona: has 201 characters - write at most 200 characters"),
    ],
)
def test_a_mistake_in_a_map_is_told_with_its_line_its_key_and_the_fix(
    folder: Path, old: str, new: str, problem: str
) -> None:
    edit(folder, "journeys/trial", old, new)
    assert problems(folder) == [f"acme/journeys/trial.yaml:{problem}"]


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("activation", "better: higher", "better: hihger", "4 better: 'hihger' is not known - did you mean 'higher'?"),
        ("activation", "better: higher", "better: up", "4 better: 'up' is not known - use one of: higher, lower"),
        ("activation", "unit: percent", "unit: Percents", "3 unit: 'Percents' is not known - did you mean 'percent'?"),
        ("activation", "unit: percent", "unit: seconds", "3 unit: funnel is not measured in seconds - write percent"),
        ("activation", "  funnel:", "  funel:", "7 function: unknown key 'funel' - did you mean 'funnel'?"),
        (
            "activation",
            "function:\n",
            "function:\n  sessionLength: {statistic: mean}\n",
            f"6 function: sessionLength and funnel stand together - write exactly one of {FUNCTIONS}",
        ),
        (
            "activation",
            "key: sent",
            "key: signup",
            "11 function.funnel.steps[1].key: the step key 'signup' is already used in line 10 - give each its own key",
        ),
        (
            "activation",
            "window: 8w",
            "window: 9999w",
            "8 function.funnel.window: '9999w' is too long - write at most ten years",
        ),
        (
            "activation",
            "      - {key: signup, label: Signing up, event: Signed Up}\n",
            "",
            "9 function.funnel.steps: has 1 entries - "
            "write at least 2 (the steps in the order in which they must happen)",
        ),
        (
            "ease",
            "atLeast: 5",
            "atLeast: 8",
            "10 function.satisfied.atLeast: 8 does not part the scale from 1 to 7 - write a number above 1 and up to 7",
        ),
        (
            "ease",
            "atLeast: 5",
            "atLeast: 1",
            "10 function.satisfied.atLeast: 1 does not part the scale from 1 to 7 - write a number above 1 and up to 7",
        ),
        (
            "ease",
            "highest: 7",
            "highest: 1",
            "12 function.satisfied.highest: the scale from 1 to 1 is empty - make highest the larger number",
        ),
        (
            "ease",
            "highest: 7",
            "highest: seven",
            "12 function.satisfied.highest: 'seven' is text - write a number (the highest answer of the scale)",
        ),
    ],
)
def test_a_mistake_in_a_kpi_is_told_with_its_line_its_key_and_the_fix(
    folder: Path, name: str, old: str, new: str, problem: str
) -> None:
    edit(folder, f"kpis/{name}", old, new)
    assert problems(folder) == [f"acme/kpis/{name}.yaml:{problem}"]


def test_an_empty_function_is_told_what_to_choose_from(folder: Path) -> None:
    (folder / "kpis" / "ease.yaml").write_text(SCORE.partition("  satisfied")[0].replace("function:", "function: {}"))
    assert problems(folder) == [
        f"acme/kpis/ease.yaml:6 function: says nothing to compare or compute - write exactly one of {FUNCTIONS}"
    ]


def test_all_problems_of_all_files_are_listed_at_once_in_the_order_of_their_lines(folder: Path) -> None:
    edit(folder, "journeys/trial", "event: Event Sent", "evnt: Event Sent")
    edit(folder, "journeys/trial", "owners: [ux]", "owners: ux")
    edit(folder, "journeys/trial", "key: first_event", "key: signup")
    edit(folder, "kpis/ease", "better: higher", "better: lover")
    (folder / "kpis" / "activation.yaml").write_text("key: [")
    assert [problem.partition(" - ")[0] for problem in problems(folder)] == [
        "acme/journeys/trial.yaml:6 owners: 'ux' is text",
        "acme/journeys/trial.yaml:17 stages[1].key: the stage key 'signup' is already used in line 9",
        "acme/journeys/trial.yaml:22 stages[1].enter[0]: unknown key 'evnt'",
        "acme/kpis/activation.yaml:1: not valid YAML: while parsing a flow node, expected the node content, "
        "but found '<stream end>'",
        "acme/kpis/ease.yaml:4 better: 'lover' is not known",
    ]


def test_a_key_that_two_files_claim_is_told_with_the_other_file(folder: Path) -> None:
    (folder / "journeys" / "zoo.yaml").write_text(JOURNEY)
    assert (
        "acme/journeys/zoo.yaml:1 key: the key 'trial' is already that of acme/journeys/trial.yaml - "
        "give each file its own key" in problems(folder)
    )


def test_a_map_and_a_kpi_may_have_one_key(folder: Path) -> None:
    (folder / "kpis" / "trial.yaml").write_text(SCORE.replace("key: ease", "key: trial"))
    assert "trial" in load_contract(folder).kpis
