"""docker-compose.yml: the Compose specification's schema, and what we promise of it. No Docker runs here.

The schema is the one that the package check-jsonschema carries (compose-spec/compose-spec, Apache-2.0).
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from jsonschema.validators import validator_for

import gateway
from gateway.cli.main import commands
from gateway.configuration import Option
from gateway.settings import READER, look_up_settings
from tests.rules.sources import ROOT

ROLES = {"gateway": "all", "collect": "collect", "derive": "derive", "api": "api"}
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+):-(?P<default>[^}]*)\}|(?P<bad>.))")


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def texts(value: object) -> Iterator[str]:
    """Every text in it, however deep."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(each)


def interpolated(text: str) -> str:
    """As Compose reads it where no variable is set."""
    return _VARIABLE.sub(lambda match: match["default"] if match["name"] else "$", text)


def dockerfile() -> str:
    return interpolated(services()["gateway"]["build"]["dockerfile_inline"])


def gateways() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services().items() if "build" in service}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def schema_problems(document: Any) -> list[str]:
    spec = importlib.util.find_spec("check_jsonschema")
    if spec is None or spec.origin is None:
        pytest.skip("check-jsonschema, which carries the Compose specification's schema, is not installed")
    file = Path(spec.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(file.read_text())
    return [error.message for error in validator_for(schema)(schema).iter_errors(document)]


def test_it_is_what_the_compose_specification_says() -> None:
    assert schema_problems(compose()) == []


def test_what_is_not_is_found() -> None:
    wrong = compose()
    wrong["services"]["gateway"]["helthcheck"] = {}
    wrong["services"]["mongo"]["healthcheck"]["retries"] = ["six"]
    found = schema_problems(wrong)
    assert any("'helthcheck'" in problem for problem in found)
    assert any("['six']" in problem for problem in found)


def test_every_dollar_is_meant() -> None:
    """A single one that is no `${NAME:-default}` would be taken out of what the build and mongosh get to see."""
    assert [match[0] for text in texts(compose()) for match in _VARIABLE.finditer(text) if match["bad"]] == []


def test_images_are_pinned() -> None:
    images = {service["image"] for name, service in services().items() if name not in gateways()}
    (mongo,) = images
    assert numbers(mongo.removeprefix("mongo:")) >= (8, 0, 17)
    assert {service["image"] for service in gateways().values()} == {f"journey-gateway:{gateway.__version__}"}
    bases = re.findall(r"^FROM (\S+)", dockerfile(), re.M)
    assert len(bases) == 2
    (base,) = set(bases)
    python = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-\w+", base)
    assert python is not None
    assert numbers(python[1]) >= (3, 11)


def test_the_image_holds_what_it_is_built_from_and_runs_as_nobody_special() -> None:
    text = dockerfile()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [name for names in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for name in names.split()]
    assert {"gateway", "schema", "pyproject.toml", "constraints.txt", "hatch_build.py"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!/{name}" in ignored, f"{name} is not sent to the build"
    assert "PIP_CONSTRAINT=/source/constraints.txt" in text
    assert text.index("USER gateway") < text.index("ENTRYPOINT")
    assert re.search(r"^HEALTHCHECK .*\n +CMD .*/readyz", text, re.M)


@pytest.mark.parametrize("name", gateways())
def test_environments_are_settings_that_can_be_read(name: str) -> None:
    environ = {key: interpolated(value) for key, value in gateways()[name]["environment"].items()}
    environ |= dict(re.findall(r"\b(GATEWAY_\w+)=(\S+)", dockerfile()))
    assert environ.keys() >= {"GATEWAY_MONGO_URI", "GATEWAY_HOST", "GATEWAY_DATA_DIR"}
    reading = look_up_settings(environ, folder=Path("/nowhere"))
    assert list(reading.problems) == []
    assert reading.settings.env == "production"
    assert "replicaSet=rs0" in str(reading.settings.mongo_uri)


@pytest.mark.parametrize(("name", "role"), ROLES.items())
def test_commands_are_ours(name: str, role: str) -> None:
    words = gateways()[name].get("command") or json.loads(re.findall(r"^CMD (.+)$", dockerfile(), re.M)[-1])
    command = commands.get_command(click.Context(commands), words[0])
    assert command is not None
    given = command.make_context(words[0], list(words[1:])).params
    options = {key: Option(f"--{key}", text) for key, text in given.items() if key in READER.kinds and text is not None}
    reading = look_up_settings({}, options, Path("/nowhere"))
    assert list(reading.problems) == []
    assert reading.settings.role == role


def test_there_is_a_service_for_each_role_and_for_each_member() -> None:
    by_profile: dict[str, set[str]] = {}
    for name, service in services().items():
        for profile in service.get("profiles", [""]):
            by_profile.setdefault(profile, set()).add(name)
    assert by_profile == {
        "": {"mongo", "gateway"},
        "three": {"mongo-2", "mongo-3", "mongo-members"},
        "roles": {"collect", "derive", "api"},
    }
    assert gateways().keys() == ROLES.keys()
    for service in gateways().values():
        assert service["depends_on"] == {"mongo": {"condition": "service_healthy"}}


def test_mongod_is_reached_by_the_gateways_only_and_runs_no_javascript() -> None:
    assert compose()["networks"]["store"]["internal"] is True
    for name in ("mongo", "mongo-2", "mongo-3"):
        service = services()[name]
        assert "ports" not in service
        assert service["networks"] == ["store"]
        assert {"--noscripting", "--replSet"} <= set(service["command"])
        assert service["healthcheck"]["test"][:2] == ["CMD", "mongosh"]
        assert any(volume.endswith(":/data/db") for volume in service["volumes"])
    data = [volume.split(":")[0] for name in ("mongo", "mongo-2", "mongo-3") for volume in services()[name]["volumes"]]
    assert sorted(data) == sorted(compose()["volumes"]), "each member keeps data of its own"


def test_doors_open_on_this_machine_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert len({interpolated(port) for port in published}) == 3
    assert all(interpolated(port).startswith("127.0.0.1:") for port in published)


def test_draining_fits_into_the_time_before_a_kill() -> None:
    seconds = look_up_settings({}, folder=Path("/nowhere")).settings.drain_seconds
    for service in gateways().values():
        assert int(service["stop_grace_period"].removesuffix("s")) >= seconds + 15
