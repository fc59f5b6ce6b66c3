"""What Snakemake says: reasons by the keys that changed, and the last words of failed jobs at the end."""

import copy
import json
import logging

import numpy as np
import pytest
import yaml
from conftest import SMALL, SOURCES, copy_sources, run
from PIL import Image
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.config.planning.changes import changes
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.workflow import terminal

MASK = "results/demo/seed-0/masks/eps.h5"
MASKS = {"dataset": "demo", "seed": "0", "mask": "eps"}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(Config.load(*(SOURCES / name for name in SMALL)))


# --- reasons ----------------------------------------------------------------------------------------------------------


def kept(settings: dict) -> str:
    """As Snakemake keeps a param."""
    return repr(json.dumps(settings, sort_keys=True, separators=(",", ":")))


def test_changed_keys_are_named_with_their_values():
    before = {"block": {"threshold": 0.2, "crf": {"iterations": 10}}, "made_from": "0" * 16}
    now = {"block": {"threshold": 0.35, "crf": {"iterations": 10}}, "made_from": "0" * 16}
    assert terminal.changed({kept(before)}, {kept(now)}, {MASK}) == "masks.eps.threshold 0.2 -> 0.35"
    assert terminal.changed({kept(before), repr("a" * 32)}, {kept(now), repr("b" * 32)}, {f"in/a/module/{MASK}"}) == (
        "masks.eps.threshold 0.2 -> 0.35, the code of stage masks"
    )
    assert terminal.changed({repr("a" * 32)}, {repr("b" * 32)}, {MASK}) == "the code of stage masks"
    now["block"]["crf"] = None
    assert terminal.changed({kept(before)}, {kept(now)}, {MASK}) == (
        'masks.eps.crf {"iterations": 10} -> none, masks.eps.threshold 0.2 -> 0.35'
    )


def test_params_of_other_workflows_are_left_to_snakemake():
    for before, now in (({"1"}, {"2"}), ({"'{no JSON'"}, {"'{no'"}), ({"{'a': 1}"}, {"{'a': 2}"}), (set(), {"'a'"})):
        assert terminal.changed(before, now, {"plots/all.png"}) is None


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("results/demo/index.h5", "splits", "datasets.demo.splits.x none -> 1"),
        ("results/demo/index.h5", "sources", "files of datasets.demo"),
        ("results/demo/seed-0/classifiers/eps.safetensors", "threads", "datasets.demo.torch_threads.x none -> 1"),
        ("results/demo/seed-0/classifiers/eps.safetensors", "initial_digest", "the file of initial weights"),
        ("results/demo/seed-0/cams/eps.h5", "classifier", "classifiers.eps.x none -> 1"),
        ("results/demo/seed-0/cams/eps@train.h5", "block", "cams.eps.x none -> 1"),
        ("results/demo/seed-0/masks/cam_affinity.h5", "affinity", "affinities.cam.x none -> 1"),
        ("results/demo/seed-0/affinities/cam.labels.h5", "labels", "affinities.cam.labels.x none -> 1"),
        (MASK, "splits", "its splits x"),
        (MASK, "made_from", "which files it is made from"),
    ],
)
def test_settings_are_named_as_in_the_configuration(plan, path, key, expected):
    assert changes(path, {key: {}}, {key: {"x": 1}}, plan) == [expected]


def test_every_block_of_the_demo_has_its_name(plan):
    """Whatever of a job's blocks changes, the key that is told exists."""
    seen = set()
    for stage, wildcards in plan.jobs("demo"):
        settings = json.loads(plan.settings(stage, wildcards))
        path = next(iter(plan.outputs(stage, wildcards).values()))
        for key in settings.keys() & {"block", "classifier", "affinity", "segmenter", "labels"}:
            if not isinstance(settings[key], dict):
                continue
            changed = copy.deepcopy(settings)
            field = sorted(changed[key])[0]
            changed[key][field] = "changed"
            (told,) = changes(path, settings, changed, plan)
            kind, name, *_ = told.split(" ")[0].split(".")
            assert name in plan.config.names("demo", kind) and field in told, told
            seen.add((stage, key))
    assert {("cams", "classifier"), ("masks", "affinity"), ("predictions", "segmenter"), ("masks", "block")} <= seen


def test_other_parents_are_named(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sidecar = tmp_path / f"{MASK}.json"
    sidecar.parent.mkdir(parents=True)
    before, now = {"made_from": "a"}, {"made_from": "b"}
    for parents, told in (
        (
            [MASK.replace("masks/eps", "cams/cam"), "results/demo/index.h5"],
            "made from seed-0/cams/eps.h5 instead of seed-0/cams/cam.h5",
        ),
        (["results/demo/index.h5", "results/demo/seed-0/cams/eps.h5.1-of-2"], "made from seed-0/cams/eps.h5 too"),
    ):
        inputs = {
            item
            for value in plan.job("masks", MASKS).inputs.values()
            for item in [value]
            if item and isinstance(value, str)
        }
        others = inputs - {"results/demo/seed-0/cams/eps.h5"}
        sidecar.write_text(json.dumps({"parents": dict.fromkeys([*parents, *others], "")}))
        assert changes(MASK, before, now, plan) == [told]
    sidecar.write_text("[]")
    assert changes(MASK, before, now, plan) == changes(MASK, before, now) == ["which files it is made from"]


def test_many_changes_are_counted():
    told = changes(MASK, {"block": {}}, {"block": {f"k{n}": n for n in range(20)}})
    assert len(told) == 9 and told[-1] == "12 more"
    assert len(changes(MASK, {"block": {"a": "x" * 5000}}, {"block": {"a": 1}})[0]) < 100


# --- failures ---------------------------------------------------------------------------------------------------------


def record(event, msg="", **more):
    made = logging.LogRecord("snakemake", logging.ERROR, "", 0, msg, None, None)
    made.__dict__ |= {"event": event} | more
    return made


def job_error(number, log, rule="masks", command="python -m workflow_scripts.stages.masks --settings x", **more):
    about = {"rule_name": rule, "jobid": number, "log": [str(path) for path in log], "shellcmd": command}
    return record(LogEvent.JOB_ERROR, "Error in rule", **about | {"indent": False, "rule_msg": None} | more)


def end(failures) -> list[str]:
    last = record(LogEvent.ERROR, f"WorkflowError:\n{terminal.LAST}")
    assert failures.filter(last)
    return str(last.msg).splitlines()[2:]


def test_the_message_of_each_failed_job_comes_last(tmp_path):
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text("masks: 4 images\nerror: t.csv: 2 faults\nt.csv, line 1: no\nt.csv, line 2: no\n")
    two.write_text("Traceback (most recent call last):\n  File x\nValueError: that\n")
    failures = terminal.Failures()
    first = job_error(1, [one])
    assert failures.filter(first) and first.shellcmd is None and first.msg == ""
    command = record(LogEvent.ERROR, "CalledProcessError in x:\nCommand 'python -m workflow_scripts.stages.masks ...'")
    assert not failures.filter(command)
    assert failures.filter(job_error(2, [two], rule="cams"))
    expected = ["", f"Rule masks failed; see {one}", *one.read_text().splitlines()[1:]]
    assert end(failures) == [*expected, "", f"Rule cams failed; see {two}", "ValueError: that"]


def test_commands_are_kept_where_they_are_asked_for(tmp_path):
    failures = terminal.Failures(with_commands=True)
    error = job_error(1, [tmp_path / "none.log"])
    assert failures.filter(error) and error.shellcmd
    assert failures.filter(record(LogEvent.ERROR, "CalledProcessError: workflow_scripts.stages.masks"))


def test_jobs_of_other_workflows_and_later_attempts(tmp_path):
    failures = terminal.Failures()
    other = job_error(1, [tmp_path / "a.log"], command="cp a b")
    assert failures.filter(other) and other.shellcmd == "cp a b"
    assert failures.filter(record(LogEvent.ERROR, "CalledProcessError: cp a b"))
    assert failures.filter(job_error(2, [tmp_path / "b.log"]))
    assert failures.filter(record(LogEvent.JOB_FINISHED, job_id=2))
    assert end(failures) == []


def test_a_killed_job_and_one_whose_group_failed(tmp_path):
    empty, slurm = tmp_path / "job.log", tmp_path / "slurm.log"
    empty.write_text("")
    failures = terminal.Failures()
    failures.filter(job_error(1, [empty]))
    assert end(failures)[2].startswith("error: it ended without a word")
    slurm.write_text("slurmstepd: error: Exceeded memory limit\n\n")
    failures.filter(job_error(1, [empty, slurm]))
    assert end(failures)[1:] == [f"Rule masks failed; see {slurm}", "slurmstepd: error: Exceeded memory limit"]
    failures.filter(job_error(1, [empty], indent=True))
    assert end(failures) == []


def test_long_logs_are_read_at_their_end(tmp_path):
    log = tmp_path / "long.log"
    log.write_text("error: an old one\n" + "step\n" * 100_000 + "error: the last\n" + "fault\n" * 100)
    failures = terminal.Failures()
    failures.filter(job_error(1, [log]))
    told = end(failures)
    assert told[2] == "error: the last" and told[-1] == "... and 41 more lines"


def test_a_mistake_found_by_planning_is_one_line():
    failures = terminal.Failures()
    text = (
        "InputFunctionException in rule cams:\nError:\n  UserError: config: no\nWildcards:\n  cam=x\nTraceback:\n  File"
    )
    mistake = record(LogEvent.ERROR, text)
    assert failures.filter(mistake) and mistake.msg == "error: config: no"


# --- with Snakemake ---------------------------------------------------------------------------------------------------


def test_snakemake_says_so(tmp_path):
    folder = copy_sources(tmp_path)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / "a.png")
    (folder / "t.csv").write_text("id,image,labels\na,a.png,cat\n")

    def said(first, *options):
        use = {"train": "all", "masks": "all", "evaluation": ["all"]}
        splits = {"all": {"ids": ""}, "held": {"of": "all", "first": first}}
        mine = {"kind": "csv", "table": "t.csv", "classes": ["cat"], "splits": splits, "use": use, "systems": ["truth"]}
        mine |= {"seeds": [0], "torch_threads": 1, "workers": 1, "gpus": 0, "threshold": 0.2, "montage": 1}
        (folder / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": mine}}))
        done = run(folder, "results/mine/index.h5", configfiles=("mine.yaml",), options=options)
        return done.returncode, done.stderr + done.stdout

    assert said(1)[0] == 0
    status, text = said(2, "--dry-run")
    assert status == 0
    assert "Reason: Params have changed since last execution: datasets.mine.splits.held.first 1 -> 2\n" in text
    (folder / "a.png").unlink()
    status, text = said(2)
    assert status == 1 and "--settings" not in text
    *_, head, error, fault = text.rstrip().splitlines()
    assert head == "Rule index failed; see logs/mine/index.log" and error.startswith("error: t.csv: 1 fault")
    assert fault.startswith("a.png: ")
