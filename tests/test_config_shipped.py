"""What is shipped: any system can be planned, the editor's schema is that of the types, and numbers are explained."""

import json
import re

import jsonschema
import pytest
from conftest import SOURCES, put

from workflow_scripts.config import systems
from workflow_scripts.config.plan import Plan
from workflow_scripts.config.resolve import Config, read_yaml
from workflow_scripts.config.schema import schema

OVERLAYS = sorted((SOURCES / "configs").glob("*.yaml")) + [SOURCES / "tests" / "small.yaml"]


@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path.name if path else "config.yaml")
def test_every_system_of_every_data_set_can_be_planned(overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no data lie, and digests of sources may be kept
    config = Config.load(*[SOURCES / "config.yaml", overlay][: 2 if overlay else 1])
    for name in config.datasets:
        made: set[str] = set()
        plan = Plan(config)
        for stage, wildcards in plan.jobs(name):
            job = plan.job(stage, wildcards)
            parents = [path for value in job.inputs.values() for path in ([value] if isinstance(value, str) else value)]
            assert {path for path in parents if path.startswith("results/")} <= made, "inputs come before their users"
            made |= set(plan.outputs(stage, wildcards).values())
            assert json.loads(plan.settings(stage, wildcards)) is not None
            assert re.fullmatch("[0-9a-f]{32}", plan.code(stage, wildcards))
        assert made >= set(plan.targets(name))
        stages = {row["stage"] for system in config.dataset(name).systems for row in systems.rows(config, name, system)}
        assert stages == {"cam", "mask", "segmentation", "segmentation_crf"}


def test_any_system_can_be_used_on_any_data_set(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "voc"):
        systems = [system for system in raw["systems"] if (name, system) != ("demo", "eps_predefined")]
        plan = Plan(Config(put(raw, f"datasets.{name}.systems", systems)))
        made = {path for stage, names in plan.jobs(name) for path in plan.outputs(stage, names).values()}
        assert {f"results/{name}/pictures/{system}.png" for system in systems} <= made


def test_the_schema_for_editors_is_that_of_the_types(shipped):
    written = json.loads((SOURCES / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    assert written == schema(), "make schema writes it anew"
    validator = jsonschema.Draft202012Validator(written)
    validator.check_schema(written)
    for data in [shipped, *map(read_yaml, OVERLAYS)]:
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segmentors", {}),
        ("masks.eps.treshold", 0.3),
        ("classifiers.cam.recipe.learning_rat", 1),
        ("classifiers.cam.recipe.batch", "many"),
        ("datasets.voc.mask", "x"),
        ("systems.eps.mesk", "eps"),
    ],
)
def test_the_schema_refuses_what_the_types_refuse(raw, key, value):
    assert not jsonschema.Draft202012Validator(schema()).is_valid(put(raw, key, value))


def test_every_number_is_explained():
    """A number of a block has a comment on its line, or on the line of the key that holds it."""
    silent, section = [], ""
    above: list[tuple[int, str]] = []  # indentation and line of the keys that a line is in
    for number, line in enumerate((SOURCES / "config.yaml").read_text(encoding="utf-8").splitlines(), start=1):
        indentation = len(line) - len(line.lstrip())
        above = [(depth, holder) for depth, holder in above if depth < indentation]
        section = line.split(":")[0] if re.match(r"\w", line) else section
        value = line.partition("#")[0].partition(":")[2]
        if section not in {"systems", "datasets"} and re.search(r"(?<![\w.])\d", value):
            if "#" not in line and "#" not in above[-1][1]:
                silent.append(f"{number}: {line.strip()}")
        above.append((indentation, line))
    assert silent == []
