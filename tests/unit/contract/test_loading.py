"""A folder as a whole: what is right is built, and its hashes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.contract import (
    Condition,
    Difference,
    Funnel,
    FunnelStep,
    differences,
    load_contract,
    load_texts,
)
from gateway.errors import ContractError
from tests.unit.contract.acme import JOURNEY, edit, problems, write_acme
from tests.unit.contract.orders import orders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_acme(tmp_path)


def test_a_good_folder_becomes_a_contract_named_after_it(folder: Path) -> None:
    contract = load_contract(folder)
    trial, activation = contract.journeys["trial"], contract.kpis["activation"]
    assert contract.name == "acme"
    assert (trial.version, trial.persona, trial.owners, trial.pain_points) == (3, "Developer", ("ux",), ())
    assert trial.abandoned_after == timedelta(hours=12)
    assert trial.stage("signup").optional
    assert trial.stage("signup").enter[0].where == (
        Condition("plan", "in", ("free", "trial")),
        Condition("age", "gte", 18),
    )
    assert trial.stage("first_event").completes
    assert trial.stage("first_event").emotion is None
    assert isinstance(activation.function, Funnel)
    assert activation.function.window == timedelta(weeks=8)
    assert [step.rule.id for step in activation.function.steps] == ["activation.signup", "activation.sent"]
    assert activation.function.steps[1].rule.where == (Condition("test", "exists", False),)
    assert isinstance(activation.function.steps[0], FunnelStep)
    assert (activation.term, activation.target) == (None, None)


def test_journeys_alone_or_kpis_alone_are_a_contract(folder: Path) -> None:
    (folder / "journeys" / "trial.yaml").unlink()
    assert load_contract(folder).journeys == {}
    for path in (folder / "kpis").iterdir():
        path.unlink()
    (folder / "journeys" / "trial.yaml").write_text(JOURNEY)
    assert load_contract(folder).kpis == {}


def test_a_relative_path_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_contract(Path()).name == "acme"


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path / "acme") == [
        f"{tmp_path}/acme: there is no such folder - name one that holds journeys/ and kpis/"
    ]


def test_a_folder_without_any_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "journeys").mkdir()
    (tmp_path / "journeys" / "README.md").touch()
    assert problems(tmp_path) == [
        f"{tmp_path}: the folder holds no contract - add journeys/<key>.yaml or kpis/<key>.yaml"
    ]


def test_a_yaml_file_that_nobody_would_read_is_told(folder: Path) -> None:
    (folder / "kpis" / "ease.yaml").rename(folder / "kpis" / "ease.yml")
    (folder / "journeys" / "old").mkdir()
    (folder / "journeys" / "old" / "trial.yaml").write_text(JOURNEY)
    assert problems(folder) == [
        "acme/journeys/old/trial.yaml:1: folders in journeys/ are not read - move it to journeys/trial.yaml",
        "acme/kpis/ease.yml:1: only files named *.yaml are read - rename it to ease.yaml",
    ]


def test_links_and_hidden_folders_of_a_mounted_configuration_do_no_harm(folder: Path) -> None:
    hidden = folder / "kpis" / "..2024_01"
    hidden.mkdir()
    (folder / "kpis" / "ease.yaml").rename(hidden / "ease.yaml")
    (folder / "kpis" / "ease.yaml").symlink_to(hidden / "ease.yaml")
    link = folder.with_name("linked")
    link.symlink_to(folder)
    contract = load_contract(link)
    assert contract.name == "linked"
    assert set(contract.kpis) == {"activation", "ease"}


def test_what_is_no_file_is_told(folder: Path) -> None:
    kpis = folder / "kpis"
    (kpis / "gone.yaml").symlink_to("../nowhere.yaml")
    (kpis / "round.yaml").symlink_to("round.yaml")
    (kpis / "folder.yaml").mkdir()
    os.mkfifo(kpis / "pipe.yaml")
    (kpis / "more").symlink_to(folder / "journeys")
    (kpis / "away").symlink_to("nowhere")
    (folder / "properties.yaml").symlink_to("nowhere.yaml")
    (folder / "glossary.yaml").mkdir()
    (folder / "surveys").symlink_to("nowhere")
    (folder / "events").touch()
    there = "it is a link to what is not there"
    assert sorted(problems(folder)) == [
        "acme/events:1: it is no folder - make it one, or remove it",
        "acme/glossary.yaml:1: it is no file - rename it, or remove it",
        "acme/kpis/folder.yaml:1: it is no file - rename it, or remove it",
        f"acme/kpis/gone.yaml:1: {there} (../nowhere.yaml) - mend the link, or remove it",
        "acme/kpis/more:1: folders in kpis/ are not read - link to its files instead",
        "acme/kpis/pipe.yaml:1: it is no file - rename it, or remove it",
        f"acme/kpis/round.yaml:1: {there} (round.yaml) - mend the link, or remove it",
        f"acme/properties.yaml:1: {there} (nowhere.yaml) - mend the link, or remove it",
        f"acme/surveys:1: {there} (nowhere) - mend the link, or remove it",
    ]


def test_hashes_do_not_depend_on_comments_the_order_of_keys_or_defaults(folder: Path) -> None:
    before = load_contract(folder)
    edit(folder, "journeys/trial", "key: trial\nversion: 3\n", "# a comment\nversion: 3\npainPoints: []\nkey: trial\n")
    edit(folder, "journeys/trial", "{property: plan, in: [free, trial]}", "{in: [free, trial], property: plan}")
    edit(folder, "journeys/trial", "optional: true", "optional: true\n    completes: false")
    edit(folder, "kpis/ease", "    lowest: 1\n    highest: 7", "    highest: 7.0 # comment\n    lowest: 1.0")
    after = load_contract(folder)
    assert after == before
    assert after.journeys_hash == before.journeys_hash
    assert after.kpis["ease"].hash == before.kpis["ease"].hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("event: Event Sent", "event: Event Seen"),
        ("gte: 18", "gte: 19"),
        ("gte: 18", "gt: 18"),
        ("[free, trial]", "[free]"),
        ("abandonedAfter: 12h", "abandonedAfter: 13h"),
        ("    optional: true\n", ""),
        ("version: 3", "version: 4"),
    ],
)
def test_the_journeys_hash_changes_with_a_rule(folder: Path, old: str, new: str) -> None:
    before = load_contract(folder)
    edit(folder, "journeys/trial", old, new)
    after = load_contract(folder)
    assert after.journeys_hash != before.journeys_hash
    assert {kpi.hash for kpi in after.kpis.values()} == {kpi.hash for kpi in before.kpis.values()}


def test_the_journeys_hash_does_not_change_with_a_kpi(folder: Path) -> None:
    before = load_contract(folder)
    edit(folder, "kpis/ease", "atLeast: 5", "atLeast: 6")
    after = load_contract(folder)
    assert after.journeys_hash == before.journeys_hash
    assert after.kpis["ease"].hash != before.kpis["ease"].hash
    assert after.kpis["activation"].hash == before.kpis["activation"].hash


def test_the_hashes_of_known_files_stay_the_same(folder: Path) -> None:
    # They are stored beside what was derived: when the code changes them, every gateway derives everything anew.
    contract = load_contract(folder)
    assert contract.journeys_hash == "0770991966cf4400a56b6f76671db8dd"
    assert contract.kpis["activation"].hash == "6936796cc5a6528621ce87f18f4ea54a"


def test_the_texts_of_a_folder_are_the_same_contract(folder: Path) -> None:
    contract = load_contract(folder)
    assert set(contract.files) == {"journeys/trial.yaml", "kpis/activation.yaml", "kpis/ease.yaml"}
    assert contract.files["journeys/trial.yaml"] == JOURNEY
    again = load_texts(contract.name, contract.files)
    assert again == contract
    assert (again.hash, again.journeys_hash) == (contract.hash, contract.journeys_hash)


def test_the_hash_changes_with_every_letter(folder: Path) -> None:
    before = load_contract(folder)
    edit(folder, "journeys/trial", "key: trial\n", "# a comment\nkey: trial\n")
    after = load_contract(folder)
    assert after == before
    assert after.hash != before.hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("abandonedAfter: 12h", "abandonnedAfter: 12h"),
        ("event: Event Sent", "event: [Event Sent"),
        ("  - key: signup", "  - key: first_event"),
        ("goal: See it work", "goal: |\n  \x01"),
    ],
)
def test_mistakes_in_texts_are_told_as_those_of_files(folder: Path, old: str, new: str) -> None:
    files = {**load_contract(folder).files}
    files["journeys/trial.yaml"] = files["journeys/trial.yaml"].replace(old, new)
    with pytest.raises(ContractError) as of_texts:
        load_texts("acme", files)
    edit(folder, "journeys/trial", old, new)
    assert of_texts.value.problems == problems(folder)
    assert of_texts.value.problems[0].startswith("acme/journeys/trial.yaml:")


def test_texts_that_nobody_would_read_are_refused(folder: Path) -> None:
    files = {**load_contract(folder).files, "flags/new.yaml": "key: new\n", "kpis/deep/er.yaml": "key: er\n"}
    with pytest.raises(ContractError) as refused:
        load_texts("acme", files)
    assert [problem.partition(":1: ")[0] for problem in refused.value.problems] == [
        "acme/flags/new.yaml",
        "acme/kpis/deep/er.yaml",
    ]
    with pytest.raises(ContractError, match="the folder holds no contract"):
        load_texts("acme", {})


def test_a_contract_that_no_document_could_hold_is_refused(folder: Path) -> None:
    filling = "# " + "x" * 250_000 + "\n"
    files = {**load_contract(folder).files}
    for number in range(34):
        files[f"kpis/k{number}.yaml"] = files["kpis/ease.yaml"].replace("key: ease", f"key: k{number}") + filling
    with pytest.raises(ContractError, match="more than 8 MB together"):
        load_texts("acme", files)


def test_differences_name_what_says_something_else(folder: Path) -> None:
    before = load_contract(folder)
    edit(folder, "journeys/trial", "abandonedAfter: 12h", "abandonedAfter: 13h")
    edit(folder, "kpis/ease", "key: ease", "# the same\nkey: ease")
    (folder / "kpis" / "activation.yaml").unlink()
    after = load_contract(folder)
    assert differences(before, after) == [
        Difference("map", "trial", "changed"),
        Difference("kpi", "activation", "removed"),
    ]
    assert differences(None, after) == [Difference("map", "trial", "added"), Difference("kpi", "ease", "added")]
    assert differences(after, after) == []


def test_differences_name_what_is_planned_too() -> None:
    score = ("properties.yaml", "key: score, type: integer", "key: score, type: number")
    asked = ("surveys/ease.yaml", "Was it easy", "Was that easy")
    assert differences(orders(), orders(score, asked)) == [
        Difference("event", "answered.1", "changed"),
        Difference("property", "score", "changed"),
        Difference("survey", "ease", "changed"),
    ]
