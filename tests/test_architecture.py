"""docs/architecture.md speaks of what there is: its picture of the rooms is the linter's list, its files are there."""

import re
import tomllib
from pathlib import Path

import pytest
from conftest import SOURCES

TEXT = (SOURCES / "docs/architecture.md").read_text(encoding="utf-8")
PACKAGE = SOURCES / "workflow_scripts"


def test_the_picture_has_the_rooms_of_the_linter_in_their_order():
    contracts = tomllib.loads((SOURCES / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    expected = [set(re.findall(r"workflow_scripts\.(\w+)", layer)) for layer in layers]
    boxes = re.split(r"    \+-+\+\n", TEXT[TEXT.index("## Rooms") : TEXT.index("Rooms of one box")])[1:-1]
    assert [set(re.findall(r"\| (\w+)/", box)) for box in boxes] == expected
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set.union(*expected) == rooms and len(rooms) <= 20


FILES = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|yaml|toml))`", TEXT))


@pytest.mark.parametrize("name", sorted(name for name in FILES if "NAME" not in name))
def test_files_that_it_names_are_there(name):
    assert any((folder / name).is_file() for folder in (SOURCES, PACKAGE))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(([\w/.]+)\)", TEXT))))
def test_pages_that_it_links_are_there(name):
    assert (SOURCES / "docs" / Path(name)).is_file()
