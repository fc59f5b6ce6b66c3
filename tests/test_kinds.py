"""Kinds of data sets: each is one module, and a folder from outside can bring one more."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import stage_runs
from conftest import SOURCES
from own_photographs import plan_of, write_photographs
from PIL import Image

from workflow_scripts.base.plugins import plugin
from workflow_scripts.commands.presence import data_needs
from workflow_scripts.config import families
from workflow_scripts.config.planning.needs import of_job
from workflow_scripts.config.typed import typed
from workflow_scripts.store.artifacts import Reader

FOLDERS = '''
"""Photographs in a folder for each split and class, {root}/{ids}/{class}/*; truth in {root}/masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from workflow_scripts.base.listings import picture_files
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types.datasets import Masked, Place, Reading, by_folder
from workflow_scripts.data.index_entries import check_entry, gather


class Folders(Masked):
    kind: Literal["folders"]
    root: str

    reads: ClassVar = {
        "images": Reading(("root", "orientation")),
        "truth": Reading(("root", "mask_ids"), modules=("data.readers.class_masks",)),
    }

    def found(self, name: str) -> dict[str, str]:
        return pictures(self.root, self.splits[name].ids, self.classes)

    def paths(self, part: str) -> Iterator[str]:
        for name in (name for name, split in self.splits.items() if split.ids):
            for identifier, path in self.found(name).items():
                yield path if part == "images" else f"{self.root}/masks/{identifier}.png"

    def places(self, part: str) -> Iterator[Place]:
        folders = [split.ids for split in self.splits.values() if split.ids] if part == "images" else ["masks"]
        yield from (Place(part, f"{self.root}/{folder}", "yours") for folder in folders)

    def ids(self, name: str) -> list[str]:
        return list(self.found(name))[: self.limit]

    def present(self, known):
        for name in (name for name, split in self.splits.items() if split.ids):
            yield from by_folder("images", map(Path, self.found(name).values()))


def pictures(root, split, classes) -> dict[str, str]:
    """Path of each photograph by its id."""
    folders = {name: picture_files(Path(root, split, name)) for name in classes}
    return {f"{name}_{stem}": path for name, found in folders.items() for stem, (path,) in sorted(found.items())}


def index(settings, rendered, limit, progress, faults, oriented, threads):
    members, images = {}, {}
    for name, split in vars(settings.splits).items():
        if split.ids:
            found = pictures(settings.root, split.ids, settings.classes)
            members[name] = list(found)[:limit]
            images |= found

    def check(identifier, own):
        label = settings.classes.index(identifier.partition("_")[0])
        return check_entry(identifier, Path(images[identifier]), [label], [], images[identifier], own, oriented=oriented)

    return members, gather(check, list(images), faults, progress, threads)


def truth(settings, index, **_):
    read = plugin("data.readers", "class_masks").reader(
        lambda identifier: Path(settings.root, "masks", f"{identifier}.png"), settings, index
    )
    return lambda identifier: {"label": read(identifier)}
'''
DATA = {"kind": "folders", "root": "photos", "systems": ["truth"]}
DATA |= {"splits": {"all": {"ids": "train"}, "val": {"ids": "val"}, "held_out": {"of": "all", "first": 2}}}
DATA["splits"]["rest"] = {"of": "all", "without": "held_out"}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Photographs in a folder for each class, and the kind of data set that reads them, in a folder from outside."""
    monkeypatch.chdir(tmp_path)
    write_photographs()
    Path("outside").mkdir()
    Path("outside/folders.py").write_text(FOLDERS)
    for number, path in enumerate(sorted(Path("VOC/JPEGImages").iterdir())):
        name, split = ("cat", "dog")[number % 2], "train" if number < 6 else "val"
        for folder in (Path("photos", split, name), Path("photos/masks")):
            folder.mkdir(parents=True, exist_ok=True)
        path.rename(Path("photos", split, name, path.name))
        Path("masks", f"{path.stem}.png").rename(f"photos/masks/{name}_{path.stem}.png")
    before = {*sys.modules}
    yield lambda **changes: plan_of(DATA, over={"plugins": ["outside"]}, **changes)
    families.use([])
    for name in [name for name in sys.modules if name not in before and name.startswith("workflow_scripts")]:
        del sys.modules[name]


def test_a_kind_from_outside_runs_to_masks(folders):
    plan = folders()
    for stage, names in (("index", {}), ("truth", {}), ("masks", {"seed": "0", "mask": "truth"})):
        assert stage_runs.run(plan, stage, **names) is None
    index = json.loads(Path("results/mine/index.h5.json").read_text())
    assert "data.kinds.folders" in index["settings"].get("modules", plan.modules("index", {"dataset": "mine"}))
    masks = Reader(next(Path("results/mine/seed-0/masks").glob("truth*.h5")), "mask", "mine")
    assert set(masks.ids) == {f"{('cat', 'dog')[number % 2]}_photo_{number}" for number in range(6)}
    label = masks.read("dog_photo_1")["label"]
    np.testing.assert_array_equal(label, np.array(Image.open("photos/masks/dog_photo_1.png")))


def test_its_files_make_its_jobs_stale(folders):
    def settings() -> dict[str, str]:
        plan = folders()
        return {stage: plan.settings(stage, {"dataset": "mine"}) for stage in ("index", "truth")}

    before = settings()
    Path("photos/masks/cat_photo_0.png").write_bytes(Path("photos/masks/dog_photo_1.png").read_bytes())
    masked = settings()
    assert masked["index"] == before["index"] and masked["truth"] != before["truth"]
    Path("photos/train/cat/photo_0.jpg").unlink()
    assert settings()["index"] != before["index"]


def test_what_it_needs_is_told(folders):
    config = folders().config
    assert not [need for need in of_job(config, "index", {"dataset": "mine"}) if need.blocks]
    assert {need.size for need in data_needs(config, "mine") if need.size} == {"3 files", "1 files"}
    Path("photos/val").rename("photos/test")
    (need,) = (need for need in of_job(config, "index", {"dataset": "mine"}) if need.path == "photos/val")
    assert need.blocks and "photos/val" in need.line()


def test_parts_that_it_has_not_are_refused(folders):
    plan = folders()
    with pytest.raises(Exception, match=r"datasets\.mine: has no instances to read \(kind 'folders' has none\)"):
        plan.job("instance_truth", {"dataset": "mine"})


@pytest.mark.parametrize("kind", families.members("datasets"), ids=lambda kind: kind.__name__)
def test_every_part_has_its_function(kind):
    """A part that a class says it reads is read by its module, and by modules that are there."""
    name = kind.__module__.rpartition(".")[2]
    assert typed(kind.model_fields["kind"].annotation, name, "kind") == name
    for part, reading in kind.reads.items():
        if part != "contours":  # those of SBD, which a stage reads itself
            assert callable(getattr(plugin("data.kinds", name), {"images": "index"}.get(part, part)))
        assert {*reading.needed} <= {*reading.told} <= {*dir(kind), *kind.model_fields}
        for module in reading.modules:
            assert (SOURCES / "workflow_scripts" / f"{module.replace('.', '/')}.py").exists()
