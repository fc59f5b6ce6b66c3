"""The commands for people: their help, `--configfile`, and `predict` on folders with folders in them."""

import importlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SOURCES
from PIL import Image

from workflow_scripts.commands import command_line as commands
from workflow_scripts.commands import predict
from workflow_scripts.commands.contents import faults
from workflow_scripts.config.resolve import Config

COMMANDS = [
    path.stem
    for path in sorted((SOURCES / "workflow_scripts").glob("*.py"))
    if re.search(r"^if __name__ == ", path.read_text(), re.MULTILINE)
]


def test_there_are_commands():
    assert {"doctor", "export", "inspect", "predict", "show", "verify"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"workflow_scripts.{name}").main()
    assert ended.value.code == 0
    assert re.search(rf"^    python -m workflow_scripts\.{name} \S", capsys.readouterr().out, re.MULTILINE)


# --- --configfile -----------------------------------------------------------------------------------------------------


@pytest.fixture
def overlay(tmp_path):
    def write(name: str, threshold: float, **more) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"masks": {"eps": {"threshold": threshold}}} | more))
        return path

    return write


def test_config_yaml_comes_first_whatever_is_given(overlay, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where there is no config.yaml

    def threshold(*paths) -> float:
        return commands.load_config(paths).block("demo", "masks", "eps").threshold

    shipped, one, two = threshold(), overlay("one", 0.11), overlay("two", 0.12)
    assert threshold(one) == 0.11
    assert threshold(commands.SHIPPED, one) == 0.11
    assert threshold(one, commands.SHIPPED) == shipped  # later files win, as in Snakemake
    assert (threshold(one, two), threshold(two, one)) == (0.12, 0.11)
    assert shipped == Config.load(SOURCES / "config.yaml").block("demo", "masks", "eps").threshold


# --- verify --deep ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "given", "sound"),
    [
        ("\n", [], True),
        ("", [], True),
        ("\n", [{"kind": "classifier"}], False),
        ("\n1\n", [], False),
        ("a\n", [], False),
    ],
)
def test_a_table_of_nothing_is_sound_where_systems_are_given_nothing(tmp_path, content, given, sound):
    path = tmp_path / "inputs.csv"
    path.write_text(content)
    assert bool(list(faults(str(path), "miou", "inputs", {"inputs": given}, None))) != sound


# --- predict ----------------------------------------------------------------------------------------------------------


def picture(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((3, 4, 3), value, np.uint8)).save(path)
    return path


def label_of(image: np.ndarray) -> np.ndarray:
    return image[:, :, 0]


def test_predict_mirrors_the_folders(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for value, name in enumerate(["a.png", "may/a.png", "may/1/b.bmp", "june/a.png", ".hidden/c.png"]):
        picture(photos / name, value)
    picture(tmp_path / "elsewhere/d.png", 5)
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "june/circle").symlink_to(photos)
    images = predict.list_images(photos)
    assert predict.predict_folder(photos, images, out, label_of, True) == []
    expected = {"a.png": 0, "may/a.png": 1, "may/1/b.png": 2, "june/a.png": 3, "linked/d.png": 5}
    written = {str(path.relative_to(out)) for path in out.rglob("*.png")}
    assert written == {*expected, *(f"overlays/{name}" for name in expected)}
    for name, value in expected.items():
        assert (np.asarray(Image.open(out / name)) == value).all()


def test_predict_refuses_what_would_be_written_twice_or_among_the_images(tmp_path):
    photos = tmp_path / "photos"
    picture(photos / "may/a.png", 0), picture(photos / "may/a.bmp", 0)
    with pytest.raises(predict.UserError, match=re.escape("may/a.bmp and may/a.png would both give may/a.png")):
        predict.list_images(photos)
    (photos / "may/a.bmp").unlink()
    picture(photos / "overlays/a.png", 0)
    predict.check_output(tmp_path / "out", photos, overlay=False)
    with pytest.raises(predict.UserError, match="overlays: a folder of images"):
        predict.check_output(tmp_path / "out", photos, overlay=True)
    picture(photos / "photos/a.png", 0)
    with pytest.raises(predict.UserError, match="would be written into"):
        predict.check_output(tmp_path, photos, overlay=False)


def test_predict_names_a_folder_that_cannot_be_mirrored(tmp_path):
    photos = tmp_path / "photos"
    picture(photos / "-rf/a.png", 0)
    (fault,) = predict.predict_folder(photos, predict.list_images(photos), tmp_path / "out", label_of, False)
    assert "'-rf'" in fault and not os.path.exists(tmp_path / "out")
