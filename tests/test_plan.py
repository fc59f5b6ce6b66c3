"""What decides a job, from the plan alone: every seed is another training, every parent another artifact."""

import inspect
import json
import re
import subprocess
import sys

import pytest
from conftest import SOURCES, put

from workflow_scripts.config.planning.outputs import OUTPUTS
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.planning.registry import JOBS, Job, job
from workflow_scripts.config.planning.stages import STAGES
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


def test_every_rule_has_one_function_and_the_reverse():
    """Beside these are rules that only gather files, and those of shards, whose jobs are of the stage they are shards of."""
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "--list-rules"], cwd=SOURCES, capture_output=True, text=True, check=True
    ).stdout
    shards = {f"{name}_shard" for name, stage in STAGES.items() if stage.by_image}
    assert {*listed.split()} - shards - {"all", "pictures"} == {*OUTPUTS} == {*JOBS}


def test_a_function_takes_the_wildcards_of_its_stage():
    for stage, function in JOBS.items():
        first, *names = inspect.signature(function).parameters
        written = {name for pattern in OUTPUTS[stage].values() for name in re.findall(r"\{(\w+)\}", pattern)}
        assert (first, {*names}) == ("plan", written), stage


def test_a_stage_is_registered_once():
    with pytest.raises(ValueError, match="'masks' is registered twice"):
        job("masks")(lambda plan, dataset: Job())


def test_jobs_have_the_inputs_and_wildcards_that_their_stage_declares(raw):
    """Of all stages but those that shipped data sets do not list: downloads, what a server scores, one by its path alone."""
    plan, seen = Plan(Config(raw)), set()
    for dataset in ("demo", "voc"):
        for stage, names in plan.jobs(dataset, *plan.on_request(dataset)):
            assert {*plan.job(stage, names).inputs} == {*STAGES[stage].input}, stage
            assert {*names} == {*STAGES[stage].wildcards}, stage
            seen.add(stage)
    assert {*STAGES} - seen == {"weights", "submission", "erasing"}
