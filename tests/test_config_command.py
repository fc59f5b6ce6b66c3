"""`wsss config`: blocks as they resolve, and where each value is from."""

import pytest
import yaml
from conftest import SOURCES, refused

from workflow_scripts.commands import config as command
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types.blocks import Cam


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.chdir(SOURCES)

    def show(*arguments) -> str:
        command.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return show


def line_of(name: str, text: str) -> str:
    lines = (SOURCES / name).read_text().splitlines()
    return f"{name}:{next(number for number, line in enumerate(lines, start=1) if text in line)}"


def test_a_block_with_the_place_of_each_value(shown):
    text = shown("classifiers.eps")
    assert f"  eps: # {line_of('library/eps.yaml', '  eps:')}, over base_cnn\n" in text
    assert f"    method: eps # {line_of('library/eps.yaml', 'method: eps')}\n" in text
    assert (
        f"      iterations: 20000 # {line_of('library/shared.yaml', 'iterations: 20000 # steps; EPS code')}\n" in text
    )
    assert yaml.safe_load(text) == {"classifiers": {"eps": Config.load().chain().plain("classifiers", "eps")}}


def test_overrides_of_a_data_set(shown, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("datasets:\n  voc:\n    overrides:\n      masks:\n        eps: {threshold: 0.31}\n")
    assert "threshold: 0.2 #" in shown("masks.eps", "--configfile", mine)
    assert f"threshold: 0.31 # {mine}:5\n" in shown("masks.eps", "--dataset", "voc", "--configfile", mine)


def test_a_block_that_is_implied(shown):
    text = shown("eps_naive")
    assert "  eps_naive: # implied by cams.eps_naive, over eps\n" in text
    assert "    cam: eps_naive # by its name\n" in text
    found = yaml.safe_load(text)
    assert {"classifiers", "cams", "masks", "systems"} <= found.keys()
    assert Cam(**found["cams"]["eps_naive"]) == Config.load().block("voc", "cams", "eps_naive")


@pytest.mark.parametrize("kind", ["masks", "tables", "archives", "datasets"])
def test_every_block_reads_back(shown, kind):
    """Printed YAML has the values that it was printed from."""
    chain = Config(read_settings()).chain()
    names = chain.names(kind)
    found = [yaml.safe_load(shown(f"{kind}.{name}")) for name in names[:8]]
    assert found == [{kind: {name: chain.plain(kind, name)}} for name in names[:8]]
    assert list(yaml.safe_load(shown(kind))[kind]) == names


@pytest.mark.parametrize(
    ("asked", "told"),
    {
        "epz": "no section has a block 'epz', did you mean 'eps'?",
        "mask.eps": "no section 'mask', did you mean 'masks'?",
        "masks.epz": "masks has no block 'epz', did you mean 'eps'?",
    }.items(),
)
def test_what_is_not_there(asked, told):
    assert told in refused(lambda: command.main([asked]))
