"""`contract init`, `check` and `export` as people call them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli.contract import contract
from gateway.contract import find_schema_root, load_contract


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(contract, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = run("init", tmp_path / "webapp")
    assert made.exit_code == 0, made.output
    return tmp_path / "webapp"


def test_a_start_of_ones_own_is_without_any_finding(folder: Path) -> None:
    checked = run("check", folder, "--strict")
    assert checked.exit_code == 0, checked.output
    assert checked.stderr == f"{folder}: 0 errors, 0 warnings, 0 notes\n"
    assert checked.stdout == ""
    assert load_contract(folder).name == "webapp"


def test_every_file_of_it_leads_editors_to_its_schema_and_says_what_it_is(folder: Path) -> None:
    files = [path for path in folder.rglob("*.*") if path.parent.name != "meta"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            target = orjson.loads(text)["$schema"]
        else:
            target = text.splitlines()[0].partition("$schema=")[2]
        assert (path.parent / target).resolve().parent == (folder / "meta").resolve()
        assert (path.parent / target).is_file()
    assert len(files) >= 10


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = run("init", tmp_path)
    assert refused.exit_code == 2
    assert "is not empty" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert run("init", tmp_path / "empty").exit_code == 0


def test_findings_are_lines_for_people_and_json_for_programs(folder: Path) -> None:
    path = folder / "kpis" / "activation.yaml"
    path.write_text(path.read_text().replace("term: activation\n", ""))
    warned = run("check", folder)
    assert warned.exit_code == 0
    assert warned.stdout.startswith("warning  webapp/kpis/activation.yaml:1: the glossary has no word for this KPI")
    strict = run("check", folder, "--strict", "--json")
    assert strict.exit_code == 1
    told = orjson.loads(strict.stdout)
    assert (told["ok"], told["error"], told["warning"], told["note"]) == (False, 0, 1, 0)
    assert told["findings"][0]["check"] == "no-term"


def test_files_that_do_not_load_are_findings_too(folder: Path) -> None:
    path = folder / "kpis" / "activation.yaml"
    path.write_text(path.read_text().replace("better: higher", "better: hihger"))
    refused = run("check", folder, "--json")
    assert refused.exit_code == 1
    assert orjson.loads(refused.stdout)["findings"] == [
        {
            "severity": "error",
            "check": "file",
            "file": "webapp/kpis/activation.yaml",
            "line": 6,
            "place": "better",
            "what": "'hihger' is not known",
            "fix": "did you mean 'higher'?",
        }
    ]
    nowhere = run("check", folder / "nowhere", "--json")
    assert (nowhere.exit_code, orjson.loads(nowhere.stdout)["error"]) == (1, 1)
    assert "there is no such folder" in run("check", folder / "nowhere").stdout


def test_a_contract_is_exported_to_a_file_or_printed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "catalogue.md"
    assert run("export", folder, "--format", "markdown", "--output", target).exit_code == 0
    assert target.read_text().startswith("# webapp\n")
    assert orjson.loads(run("export", folder, "--format", "jsonschema").stdout)["title"] == "webapp"
    drawn = run("export", folder, "--format", "mermaid", "--map", "onboarding")
    assert "onboarding__signed_up --> onboarding__activated" in drawn.stdout
    assert run("export", folder, "--format", "markdown", "--map", "onboarding").exit_code == 2


def test_what_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "contract"
    exported = CliRunner().invoke(contract, ["export", str(folder), "--format", "markdown", "--output", str(place)])
    begun = CliRunner().invoke(contract, ["init", str(place)])
    for done in (exported, begun):
        assert (done.exit_code, type(done.exception)) == (1, SystemExit)
        assert f"Error: {place} cannot be written: Not a directory." in done.output


def test_without_a_folder_it_is_the_contract_that_is_set(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("GATEWAY_SCHEMA_DIR", str(folder.parent))
    monkeypatch.setenv("GATEWAY_CONTRACT", "webapp")
    assert str(folder) in run("check").stderr
    assert run("export", "--format", "markdown").stdout.startswith("# webapp\n")


def test_the_schemas_that_are_copied_are_all_there_are(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "meta").iterdir()) == sorted(
        path.name for path in (find_schema_root() / "meta").iterdir()
    )
