"""What decides a job, from the plan alone: every seed is another training, every parent another artifact."""

import json

import pytest
from conftest import put

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

TRAININGS = {
    "train_classifier": {"classifier": "eps"},
    "train_affinity": {"affinity": "cam"},
    "train_segmenter": {"mask": "eps", "segmenter": "large_fov"},
}


def settings(raw: dict, stage: str, seed: str = "0", **wildcards) -> dict:
    return json.loads(Plan(Config(raw)).settings(stage, {"dataset": "demo", "seed": seed} | wildcards))


@pytest.mark.parametrize("stage", TRAININGS)
def test_every_seed_is_another_training(raw, stage):
    put(raw, "datasets.demo.seeds", [0, 7])
    one, other = (settings(raw, stage, seed, **TRAININGS[stage]) for seed in ("0", "7"))
    assert (one["seed"], other["seed"]) == (0, 7)


def test_what_an_artifact_is_made_from_is_among_its_settings(raw):
    """The same rule and threshold on the maps of another block: only the files that are read differ."""
    before = settings(raw, "masks", mask="eps")
    put(raw, "masks.eps.cam", "cam")
    after = settings(raw, "masks", mask="eps")
    assert before.pop("made_from") != after.pop("made_from") and before == after
