"""The commands for people: their help, `--configfile`, and `predict` on folders with folders in them."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SOURCES, copy_sources, environment, python
from PIL import Image

from workflow_scripts.__main__ import COMMANDS, MODULES, main
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.version import VERSION
from workflow_scripts.commands import command_line, predict, verify
from workflow_scripts.commands.contents import faults
from workflow_scripts.config import fingerprint
from workflow_scripts.config.layers import SHIPPED
from workflow_scripts.config.resolve import Config
from workflow_scripts.store import provenance

TABLE = "a,b\n" + 20_000 * "1,2\n"


def examples(text: str) -> list[list[str]]:
    """The words after `wsss` of lines that show how it is used; what is in brackets may be left out."""
    lines = re.findall(r"^    wsss (.+)$", text, re.MULTILINE)
    return [
        shlex.split(part) for line in lines for part in {line.replace("[", "").replace("]", ""), line.split("[")[0]}
    ]


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert set(COMMANDS) == set(re.findall(r"^    ([\w-]+) +[A-Z].+\.$", out, re.MULTILINE))
    listed = {
        path.stem for path in (SOURCES / "workflow_scripts/commands").glob("*.py") if "\ndef main(" in path.read_text()
    }
    assert listed == {MODULES.get(name, name.replace("-", "_")) for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_that_are_understood(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and out.startswith(f"usage: wsss {name} ")
    parse, understood = argparse.ArgumentParser.parse_args, []

    def stop(parser, arguments):
        understood.append(parse(parser, arguments))
        raise UserError("as far as this")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    shown = examples(out)
    assert shown and all(words[0] == name and main(words) == 1 for words in shown)
    assert len(understood) == len(shown)


def test_commands_of_the_pages_are_understood(monkeypatch):
    """As they stand in README.md and docs, so that no page names an option that is gone."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, arguments):
        parse(parser, arguments)
        raise UserError("as far as this")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    pages = [SOURCES / "README.md", *(SOURCES / "docs").rglob("*.md")]
    shown = [words for page in pages for words in examples(re.sub(" #.*", "", page.read_text(encoding="utf-8")))]
    assert {words[0] for words in shown} > {"inspect", "verify", "predict"}
    assert [words for words in shown if main(words) != 1] == []


def test_an_unknown_command_gets_the_nearest(capsys):
    assert main(["verfy"]) == 2
    assert "no command 'verfy'; did you mean 'verify'?" in capsys.readouterr().err


def test_exit_statuses(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    assert main(["show", str(path)]) == 0
    assert main(["show", str(tmp_path / "none.csv")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/none.csv: no such file")
    with pytest.raises(SystemExit) as ended:
        main(["show", "--none"])
    assert ended.value.code == 2


def test_the_help_and_tables_are_shown_without_torch(tmp_path):
    """Which takes seconds to import."""
    (tmp_path / "table.csv").write_text("a\n1\n")
    for arguments in (["--help"], ["show", str(tmp_path / "table.csv")]):
        code = (
            f"import sys; from workflow_scripts.__main__ import main; main({arguments}); print('torch' in sys.modules)"
        )
        assert python(SOURCES, "-c", code).stdout.endswith("False\n")


def test_head_ends_a_command_quietly(tmp_path):
    (tmp_path / "table.csv").write_text(TABLE)
    command = f"{sys.executable} -m workflow_scripts show {tmp_path}/table.csv | head -n 2"
    done = subprocess.run(command, shell=True, cwd=SOURCES, env=environment(), capture_output=True, text=True)
    assert done.stdout.split() == ["a", "b", "1", "2"] and done.stderr == ""


def test_the_command_that_make_installs_runs_this_tree_alone(tmp_path):
    """From any folder and through a link, with a path that is hard on a shell, and no module of the working folder."""
    tree, folder = tmp_path / "a 'b' $c", tmp_path / "elsewhere"
    copy_sources(tree)
    (tree / "workflow_scripts/base/version.py").write_text('VERSION = "of the copy"\n')
    bin_folder = tree / ".venv/bin"
    bin_folder.mkdir(parents=True)
    shutil.copy(tree / "envs/wsss", bin_folder)
    (bin_folder / "python").symlink_to(sys.executable)
    (folder / "workflow_scripts").mkdir(parents=True)
    for path in (folder / "workflow_scripts/__init__.py", folder / "random.py", folder / "difflib.py"):
        path.write_text(f"raise SystemExit({str(path)!r})")
    (tmp_path / "wsss").symlink_to(bin_folder / "wsss")
    for command in (bin_folder / "wsss", tmp_path / "wsss"):
        done = subprocess.run([command, "--version"], cwd=folder, env=environment(), capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("wsss of the copy\n", "")


# --- the version ------------------------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wsss {VERSION}\n"
    assert str(yaml.safe_load((SOURCES / "CITATION.cff").read_text())["version"]) == VERSION
    changes = re.findall(r"^## \[(\S+)\]", (SOURCES / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert [name for name in changes if name != "Unreleased"][0] == VERSION


def test_hooks_before_a_commit_are_tools_of_the_linters():
    hooks = yaml.safe_load((SOURCES / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = (SOURCES / "Makefile").read_text().partition("\nlint: ")[2].partition("\n\n")[0]
    for hook in hooks:
        tool = hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude")
        assert hook["language"] == "system" and f"\n\t{tool}" in lint


def test_results_record_the_version(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "VERSION", "2.7")
    (tmp_path / "a.h5").write_bytes(b"a")
    provenance.write_sidecar(str(tmp_path / "a.h5"), "index", "{}", "0", {}, 1.0, [])
    assert provenance.read_sidecar(tmp_path / "a.h5")["versions"]["wsss"] == "2.7"


def test_verify_names_the_version_whose_code_was_another(tmp_path, monkeypatch):
    path = str(tmp_path / "a.h5")
    Path(path).write_bytes(b"a")
    for version, told in (
        ("0.9", "the code of its stage changed since version 0.9"),
        (VERSION, "the code of its stage changed"),
    ):
        monkeypatch.setattr(provenance, "VERSION", version)
        provenance.write_sidecar(path, "index", "{}", "0", {}, 1.0, [])
        assert verify._state(None, path, "{}", "1", [], set()) == ("stale", told)


def test_another_version_makes_nothing_stale(monkeypatch):
    caches = [item for item in vars(fingerprint).values() if hasattr(item, "cache_clear")]

    def digest(version: str) -> str:
        for item in caches:
            item.cache_clear()
        source = fingerprint._source.__wrapped__
        changed = {"base.version": f"VERSION = {version!r}"}
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "_source", lambda name: changed.get(name) or source(name))
            return fingerprint.code_digest(["stages.index", "run.command"])

    assert "base.version" in fingerprint.closure(["run.command"])
    assert digest("1.0.0") == digest("2.7")
    for item in caches:
        item.cache_clear()


# --- --configfile -----------------------------------------------------------------------------------------------------


@pytest.fixture
def overlay(tmp_path):
    def write(name: str, threshold: float, **more) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"datasets": {"demo": {"threshold": threshold}}} | more))
        return path

    return write


def test_config_yaml_comes_first_whatever_is_given(overlay, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where there is no config.yaml

    def threshold(*paths) -> float:
        return command_line.load_config(paths).dataset("demo").threshold

    shipped, one, two = threshold(), overlay("one", 0.11), overlay("two", 0.12)
    assert threshold(one) == 0.11
    assert threshold(SHIPPED, one) == 0.11
    assert threshold(one, SHIPPED) == shipped  # later files win, as in Snakemake
    assert (threshold(one, two), threshold(two, one)) == (0.12, 0.11)
    assert shipped == Config.load().dataset("demo").threshold


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
