"""The training loop and its stage: killed and resumed they end with the same bytes, and faults end in one line."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import h5py
import pytest
import torch
from conftest import refused
from torch import nn
from training_set import RECIPE, classifier, classifier_block, namespace, recipe, samples_of

from workflow_scripts import methods
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.classification_samples import ClassificationSamples
from workflow_scripts.data.synthetic.synthetic import CLASSES
from workflow_scripts.store.artifacts import create
from workflow_scripts.training import loop

# --- the loop ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a training run as a signal would: nothing of the loop catches it."""


def train(data: Path, folder: Path, network=None, fingerprint="one", killed_at=None, saliency=False, **changes) -> Path:
    """Train with a fixed initial state into `folder`; returns the weights' path."""
    folder.mkdir(exist_ok=True)
    network = network or classifier("eps" if saliency else "cam")
    torch.manual_seed(0)
    steps = itertools.count()
    step = loop.Step.__call__

    def killed(self, batch):
        if next(steps) == killed_at:
            raise Killed
        return step(self, batch)

    output = folder / "a.safetensors"
    with mock.patch.object(loop.Step, "__call__", killed):
        loop.train(
            network, samples_of(data, saliency, **changes), recipe(**changes),
            seed=0, fingerprint=fingerprint, output=str(output), curve=str(folder / "a.curve.csv"), save_every=3,
        )  # fmt: skip
    save_weights(network, output)
    assert sorted(path.name for path in folder.iterdir()) == ["a.curve.csv", "a.safetensors"]
    return output


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_training_ends_with_the_same_bytes(rendered, tmp_path, monkeypatch, capsys, optimiser, precision):
    """The network has dropout, batch normalisation and momentum: every kind of state must be kept."""
    monkeypatch.setattr(loop, "REPORT_EVERY", 2)  # a killed run is in the middle of a row of the curve
    settings = {"optimiser": optimiser, "precision": precision}
    train(rendered, tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        train(rendered, tmp_path / "parts", killed_at=4, **settings)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["a.safetensors.state"]
    with pytest.raises(Killed):
        train(rendered, tmp_path / "parts", killed_at=4, **settings)  # killed again, after iteration 6
    train(rendered, tmp_path / "parts", **settings)
    assert "resumed at iteration 3" in (output := capsys.readouterr().out) and "resumed at iteration 6" in output
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_equal_training_gives_equal_bytes_and_another_seed_others(rendered, tmp_path):
    one, two = train(rendered, tmp_path / "one"), train(rendered, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    torch.manual_seed(1)
    network = methods.build(namespace(classifier_block()), CLASSES)
    assert train(rendered, tmp_path / "three", network).read_bytes() != one.read_bytes()


def test_state_of_another_job_is_ignored(rendered, tmp_path, capsys):
    whole = train(rendered, tmp_path / "whole")
    with pytest.raises(Killed):
        train(rendered, tmp_path / "parts", fingerprint="another", killed_at=4, learning_rate=0.5)
    parts = train(rendered, tmp_path / "parts", fingerprint="one")
    assert "other settings, code or inputs" in capsys.readouterr().out
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no state", "half", "pickle"])
def test_an_unreadable_state_is_ignored(rendered, tmp_path, capsys, content):
    whole = train(rendered, tmp_path / "whole", iterations=4)
    with pytest.raises(Killed):
        train(rendered, tmp_path / "parts", iterations=4, killed_at=3)
    state = tmp_path / "parts" / "a.safetensors.state"
    if content == "half":
        content = state.read_bytes()[: state.stat().st_size // 2]
    if content == "pickle":
        torch.save({"fingerprint": "one", "iteration": 3, "network": nn.Linear(1, 1)}, state)
    else:
        state.write_bytes(content)
    parts = train(rendered, tmp_path / "parts", iterations=4)
    assert "cannot be read" in capsys.readouterr().out
    assert parts.read_bytes() == whole.read_bytes()


def test_the_curve_has_the_mean_losses_and_the_rate(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_EVERY", 3)
    train(rendered, tmp_path / "a", saliency=True)
    with open(tmp_path / "a" / "a.curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows] == ["3", "6", "8"]
    assert list(rows[0]) == ["iteration", "learning_rate", "classification", "saliency"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.01 * (1 - 2 / 8) ** 0.9, rel=1e-5)
    assert 0.3 < float(rows[0]["classification"]) < 3  # a loss, not a sum of three


def test_training_lowers_the_loss(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_EVERY", 5)
    train(rendered, tmp_path / "a", iterations=30, optimiser="adamw", learning_rate=2e-3, head_multiplier=1)
    with open(tmp_path / "a" / "a.curve.csv", newline="") as file:
        losses = [float(row["classification"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_stay_float32(rendered, tmp_path, precision):
    network = classifier("eps")
    train(rendered, tmp_path / "a", network, saliency=True, iterations=2, precision=precision)
    assert {value.dtype for value in network.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_loss_that_is_not_finite_ends_in_one_line(rendered, tmp_path):
    refused(
        lambda: train(rendered, tmp_path / "a", learning_rate=1e30, iterations=20),
        "a.safetensors", "loss is not finite at iteration", "lower learning_rate", "1e+30",
    )  # fmt: skip
    assert list((tmp_path / "a").iterdir()) == []


def test_a_fault_in_an_image_ends_in_one_line(rendered, tmp_path):
    """It is found in the process that loads images, and must not arrive with a stack trace."""
    with create(tmp_path / "images.h5", "images", dataset="demo", split="all", classes=CLASSES):
        pass
    index = read_index(rendered / "index.h5")
    samples = ClassificationSamples(index, Images(index, tmp_path / "images.h5"), "train", recipe(), 0)
    network = classifier()
    message = refused(
        lambda: loop.train(
            network, samples, recipe(),
            seed=0, fingerprint="", output=str(tmp_path / "a"), curve=str(tmp_path / "b"),
        )
    )  # fmt: skip
    assert message.startswith(f"{tmp_path / 'images.h5'}: has no image 'train_")


# --- the stage --------------------------------------------------------------------------------------------------------


def command(data: Path, folder: Path, save_every: int = 2, **changes) -> list[str]:
    block = classifier_block() | {"recipe": RECIPE | {"iterations": 40} | changes}
    settings = {
        "dataset": "demo",
        "classes": CLASSES,
        "threads": 1,
        "block": block,
        "seed": 0,
        "split": "train",
        "boxes": False,
    }
    return [
        sys.executable, "-m", "workflow_scripts.stages.train_classifier",
        "--settings", json.dumps(settings, sort_keys=True), "--code", "0", "--save-every", str(save_every),
        "--index", str(data / "index.h5"), "--images", str(data / "images.h5"), "--saliency", "",
        "--weights-to", str(folder / "a.safetensors"), "--curve-to", str(folder / "a.curve.csv"),
    ]  # fmt: skip


def test_a_killed_stage_resumes_and_ends_with_the_same_bytes(rendered, tmp_path):
    finished = subprocess.run(command(rendered, tmp_path / "whole"), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    state = tmp_path / "parts" / "a.safetensors.state"
    process = subprocess.Popen(command(rendered, tmp_path / "parts"), stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not state.exists():
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (tmp_path / "parts" / "a.safetensors").exists()
    resumed = subprocess.run(command(rendered, tmp_path / "parts"), capture_output=True, text=True)
    assert resumed.returncode == 0 and "resumed at iteration" in resumed.stdout, resumed.stderr
    for name in ("a.safetensors", "a.curve.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not state.exists()


def test_a_stopped_stage_saves_its_state_at_once(rendered, tmp_path):
    """By a signal, long before the next state is due; what it then goes on with is its own, of the same inputs."""
    data, changes = tmp_path / "data", {"save_every": 1000, "iterations": 30}
    shutil.copytree(rendered, data)
    finished = subprocess.run(command(data, tmp_path / "whole", **changes), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    arguments = command(data, tmp_path / "parts", **changes)
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("memory: ")  # the first step begins
    process.send_signal(signal.SIGTERM)
    output, error = process.communicate()
    assert process.returncode == 1 and "done in" not in output
    match = re.fullmatch(r"stopped: SIGTERM; (\d+) of 30 iterations are saved .*\n", error)
    assert match, error
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["a.safetensors.state"]
    shutil.copytree(tmp_path / "parts", tmp_path / "others")

    resumed = subprocess.run(arguments, capture_output=True, text=True)
    assert f"resumed at iteration {match[1]}" in resumed.stdout, resumed.stderr
    for name in ("a.safetensors", "a.curve.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    with h5py.File(data / "images.h5", "r+") as file:
        file.attrs["remark"] = "another file"
    others = subprocess.run(command(data, tmp_path / "others", **changes), capture_output=True, text=True)
    assert "saved by other settings, code or inputs, starting from the beginning" in others.stdout, others.stderr


def test_a_stage_whose_loss_is_not_finite(rendered, tmp_path):
    result = subprocess.run(command(rendered, tmp_path / "a", learning_rate=1e30), capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and "not finite" in result.stderr
    assert not (tmp_path / "a" / "a.safetensors").exists() and not (tmp_path / "a" / "a.curve.csv").exists()
