from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gateway
from gateway.contract import find_schema_root
from gateway.errors import SetupError


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *folders: str) -> Path:
    """A place where the gateway is installed beside `folders`."""
    for folder in ("gateway", *folders):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(gateway, "__file__", str(tmp_path / "gateway" / "__init__.py"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    return tmp_path


def test_in_a_checkout_it_is_the_folder_beside_the_package() -> None:
    root = find_schema_root()
    assert root == Path(gateway.__file__).resolve().parents[1] / "schema"
    assert (root / "shop" / "journeys" / "purchase.yaml").is_file()


def test_the_setting_comes_first(tmp_path: Path) -> None:
    assert find_schema_root(tmp_path) == tmp_path


def test_a_setting_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"nowhere is not a folder\. Set GATEWAY_SCHEMA_DIR"):
        find_schema_root(tmp_path / "nowhere")


@pytest.mark.parametrize("sign", ["api.graphql", "meta"])
def test_a_sibling_is_taken_by_either_of_its_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    place = install(tmp_path, monkeypatch, "schema")
    if sign == "meta":
        (place / "schema" / sign).mkdir()
    else:
        (place / "schema" / sign).touch()
    assert find_schema_root() == place / "schema"


def test_another_librarys_package_named_schema_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = install(tmp_path, monkeypatch, "schema", "gateway_schema/meta")
    (place / "schema" / "__init__.py").touch()
    assert find_schema_root() == place / "gateway_schema"


def test_without_any_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    with pytest.raises(SetupError, match="Install the package journey-gateway again"):
        find_schema_root()
