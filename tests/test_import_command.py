"""The command `wsss import`: what it tells, writes, and refuses; ids, splits and names of classes."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import SOURCES
from PIL import Image
from small_imports import labelme, labels, picture, read, rows, shape, written

from workflow_scripts.__main__ import main as wsss
from workflow_scripts.base.errors import UserError
from workflow_scripts.commands.import_data import main
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.imports.ids import ids_of
from workflow_scripts.data.imports.records import NOTES
from workflow_scripts.data.imports.source import Source
from workflow_scripts.data.index_entries import check_id

SQUARE = [[2, 2], [12, 2], [12, 12], [2, 12]]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def two_classes() -> None:
    for name in ("cat/1", "cat/2", "dog/3"):
        picture(f"in/{name}.png")


def files(root=".") -> set[str]:
    return {path.relative_to(root).as_posix() for path in Path(root).rglob("*") if path.is_file()}


def table(root="mine") -> list[dict]:
    with open(f"{root}/images.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_nothing_is_written_unless_asked_for(capsys):
    two_classes()
    before = files()
    assert main(["in", "--out", "mine"]) == 0
    assert files() == before and not Path("mine").exists()
    told = capsys.readouterr().out
    assert "classes: 2; images of each: cat 2, dog 1" in told
    assert "would write to mine: images.csv, contact_sheet.png, mine.yaml; add --write" in told


def test_what_is_written_and_that_it_is_planned():
    """The settings go over those of configs/quick.yaml, and alone."""
    two_classes()
    assert main(["in", "--out", "mine", "--write"]) == 0
    assert files("mine") == {"images.csv", "mine.yaml", "contact_sheet.png"}
    assert [(row["id"], row["image"], row["labels"]) for row in table()] == [
        ("1", "../in/cat/1.png", "cat"),
        ("2", "../in/cat/2.png", "cat"),
        ("3", "../in/dog/3.png", "dog"),
    ]
    for overlays in ([SOURCES / "configs/quick.yaml", "mine/mine.yaml"], ["mine/mine.yaml"]):
        data = Config.load(*overlays).dataset("mine")
        assert (data.table, data.classes) == ("mine/images.csv", ("cat", "dog"))
    plan = Plan(Config.load(SOURCES / "configs/quick.yaml", "mine/mine.yaml"))
    assert plan.job("index", {"dataset": "mine"}) and plan.job(
        "masks", {"dataset": "mine", "seed": "0", "mask": "cam_crf"}
    )


def test_what_is_there_is_never_overwritten():
    two_classes()
    for name in ("images.csv", "mine.yaml", "contact_sheet.png"):
        written(f"mine/{name}", "mine")
        with pytest.raises(UserError, match=f"mine/{name}: exists and is never overwritten"):
            main(["in", "--out", "mine", "--write"])
        assert files("mine") == {name}
        Path("mine", name).unlink()
    assert main(["in", "--out", "in", "--write"]) == 0  # beside the photographs
    assert table("in")[0]["image"] == "cat/1.png"
    with pytest.raises(UserError, match="exists"):
        main(["in", "--out", "in", "--write"])


def test_nothing_is_left_of_a_writing_that_fails(monkeypatch):
    two_classes()
    monkeypatch.setattr("workflow_scripts.commands.import_data.settings", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["in", "--out", "mine", "--write"])
    assert not Path("mine").exists()


def test_faults_are_left_out_only_if_asked_for(capsys):
    two_classes()
    Path("in/dog/4.png").write_bytes(b"no picture")
    assert main(["in", "--out", "mine", "--write"]) == 1
    assert not Path("mine").exists()
    told = capsys.readouterr().out
    assert "fault: in/dog/4.png: not an image" in told and "add --leave-out" in told
    assert main(["in", "--out", "mine", "--write", "--leave-out"]) == 0
    assert [row["id"] for row in table()] == ["1", "2", "3"]


def test_copies_of_images_are_named_after_ids():
    for name in ("cat/a b.png", "dog/a b.png", " dog/ c.png"):
        picture(f"in/{name}")
    shutil.move("in/ dog/ c.png", "in/dog/c\\d.png")
    shutil.rmtree("in/ dog")
    for more in ([], ["--write"]):
        with pytest.raises(UserError, match="its name cannot stand in a table; rename the file, or add --copy"):
            main(["in", "--out", "mine", *more])
    assert not Path("mine").exists()
    assert main(["in", "--out", "mine", "--write", "--copy"]) == 0
    assert [row["image"] for row in table()] == [f"images/{row['id']}.png" for row in table()]
    assert {row["id"] for row in table()} == {"cat_a_b", "dog_a_b", "c_d"}
    assert Path("mine/images/cat_a_b.png").read_bytes() == Path("in/cat/a b.png").read_bytes()


def zipped(name: str, members: dict[str, str]) -> None:
    with zipfile.ZipFile(name, "w") as archive:
        for member, path in members.items():
            archive.writestr(zipfile.ZipInfo(member), Path(path).read_bytes())


def test_archives_are_unpacked_beside_the_table():
    """In a dry run to nowhere that stays."""
    two_classes()
    zipped("all.zip", {path: path for path in files()})
    shutil.rmtree("in")
    assert main(["all.zip", "--out", "mine"]) == 0 and files() == {"all.zip"}
    with pytest.raises(UserError, match="class 'cow'"):
        main(["all.zip", "--out", "mine", "--classes", "cow"])
    assert main(["all.zip", "--out", "mine", "--write"]) == 0
    assert [row["image"] for row in table()][0] == "unpacked/in/cat/1.png"
    assert files("mine/unpacked") == {"in/cat/1.png", "in/cat/2.png", "in/dog/3.png"}
    assert not [path for path in Path("mine").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["../outside.png", "/outside.png", "a/../../outside.png"])
def test_archives_that_reach_outside_are_refused(name):
    two_classes()
    zipped("all.zip", {"in/cat/1.png": "in/cat/1.png", name: "in/cat/2.png"})
    before = files()
    with pytest.raises(UserError, match="outside its folder"):
        main(["all.zip", "--out", "mine", "--write"])
    assert files() == before


def test_images_of_another_folder():
    picture("photos/deep/a.png")
    labelme([shape("cat", SQUARE)], "in/a.json")
    with pytest.raises(UserError, match="name its folder with --images"):
        read()
    result = read(images=Path("photos"))
    assert labels(result) == {"a": ["cat"]}
    assert main(["in/a.json", "--images", "photos", "--out", "mine", "--write"]) == 0
    assert table()[0]["image"] == "../photos/deep/a.png"


# Which format


def test_several_formats_are_not_guessed():
    picture("in/a.png")
    labelme([shape("cat", SQUARE)])
    written("in/list.csv", "image,labels\na.png,dog\n")
    with pytest.raises(UserError, match=r"may be table \(list.csv\) or labelme .*--format table"):
        read()
    assert labels(read(name="labelme")) == {"a": ["cat"]}
    assert labels(read("in/list.csv")) == {"a": ["dog"]}


def test_unknown_formats_and_empty_folders():
    picture("in/a.png")
    written("in/notes.json", {"hello": 1})
    with pytest.raises(
        UserError, match=r"no known format \(1 images and 1 other files\); put images into a folder for each"
    ):
        read()
    Path("empty").mkdir()
    with pytest.raises(UserError, match="the folder is empty"):
        Source(Path("empty"))
    with pytest.raises(UserError, match="no such file or folder"):
        Source(Path("absent"))
    with pytest.raises(UserError, match="no column of labels"):
        written("in/list.csv", "image,colour\na.png,red\n")
        read(name="table")


def test_a_broken_or_huge_file_is_told(monkeypatch):
    picture("in/a.png")
    written("in/a.json", '{"version": "5", "flags": {}, "shapes": [{"label": "cat", "points"')
    with pytest.raises(UserError, match="broken JSON"):
        read()
    labelme([shape("cat", SQUARE)])
    monkeypatch.setattr("workflow_scripts.data.imports.source.LARGEST_TEXT", 10)
    monkeypatch.setattr("workflow_scripts.data.imports.source.read_text.__defaults__", (10,))
    with pytest.raises(UserError, match="split it, or export it in parts"):
        read()


# Classes


def test_classes_that_a_cell_cannot_hold_are_renamed():
    for name in ("a;b", "dog"):
        picture(f"in/{name}/{name[0]}.png")
    with pytest.raises(UserError, match="class 'a;b' cannot be written in a cell.*--rename 'a;b'=NEW"):
        main(["in", "--out", "mine"])
    assert main(["in", "--out", "mine", "--write", "--rename", "a;b=a or b"]) == 0
    assert table()[0]["labels"] == "a or b"


def test_classes_are_merged_chosen_and_put_in_order():
    for name in ("Cat/1", "cat/2", "dog/3", "cow/4"):
        picture(f"in/{name}.png")
    assert set(read().told.notes["case"]) == {"Cat", "cat"}
    result = read(classes=("dog", "cat"), renamed={"Cat": "cat"})
    assert result.table.classes == ("dog", "cat")
    assert labels(result) == {"1": ["cat"], "2": ["cat"], "4": [], "3": ["dog"]}
    assert list(result.told.notes["deselected"]) == ["cow"]
    assert [row.entry.labels for row in result.table.rows] == [(1,), (1,), (), (0,)]
    with pytest.raises(UserError, match="no class 'god', the nearest is 'dog'"):
        read(classes=("god",))


def test_words_are_classes_where_they_are_asked_for():
    picture("in/a.png")
    labelme([shape("background", SQUARE), shape("cat", [[14, 2], [20, 2], [20, 8]])])
    assert labels(read()) == {"a": ["cat"]}
    assert labels(read(classes=("cat", "background"))) == {"a": ["background", "cat"]}


# Splits


def masked(split: str, name: str, outlined: bool) -> None:
    picture(f"in/{split}/{name}.png")
    labelme([shape("cat", SQUARE)] if outlined else [shape("cat", [[1, 1]], "point")], f"in/{split}/{name}.json")


def test_a_split_that_is_scored_has_all_its_masks():
    for split, name, outlined in (("train", "a", False), ("train", "b", True), ("val", "c", True)):
        masked(split, name, outlined)
    result = read()
    assert result.table.use == {"train": "train", "masks": "val", "evaluation": ["val"]}
    assert [row.split for row in result.table.rows] == ["train", "train", "val"]


def test_images_with_masks_become_a_split_where_no_split_has_all():
    for name, outlined in (("a", False), ("b", True), ("c", True)):
        masked(".", name, outlined)
    result = read()
    assert result.table.use == {"train": "all", "masks": "all_masked", "evaluation": ["all_masked"]}
    assert [row.split for row in result.table.rows] == ["all_unmasked", "all_masked", "all_masked"]
    assert list(result.told.notes["partly"]) == ["all"]
    assert main(["in", "--out", "mine", "--write"]) == 0
    Config.load("mine/mine.yaml").dataset("mine")


def test_training_stays_apart_where_a_part_of_it_is_scored():
    """Of train some have masks, of val none: training still leaves val out."""
    for split, name, outlined in (("train", "a", False), ("train", "b", True), ("val", "c", False)):
        masked(split, name, outlined)
    result = read()
    assert result.table.use == {"train": "rest_0", "masks": "train_masked", "evaluation": ["train_masked"]}
    assert result.table.splits["rest_0"] == {"of": "all", "without": "val"}
    assert main(["in", "--out", "mine", "--write"]) == 0
    Config.load("mine/mine.yaml").dataset("mine")


# Ids


def test_ids_are_safe_different_and_the_same_again():
    names = [
        "a.png",
        "b/a.jpg",
        "c/x.png",
        "c/x.jpg",
        "d/Y.png",
        "e/y.png",
        "con.png",
        "-.png",
        "....png",
        "ü é/ñ%20.png",
        "z" * 240 + ".png",
    ]
    found = ids_of(names, [""] * len(names))
    assert found == ids_of(names, [""] * len(names))
    assert len({one.lower() for one in found}) == len(names)
    for one in found:
        check_id(one)
    assert found[2:6] == ["c_x.png", "c_x.jpg", "d_Y", "e_y"] and found[0] == "a" and found[1] == "b_a"


def test_ids_of_the_source_are_kept_where_they_can_be():
    assert ids_of(["a.png", "b.png", "c.png"], ["my id", "../x", ""]) == ["my id", "_x", "c"]


def test_many_files_of_one_name():
    names = [f"{number}/a_b.png" for number in range(3)] + ["0/a/b.png", "0_a/b.png"]
    found = ids_of(names, [""] * 5)
    assert len(set(found)) == 5


# Messages


def test_every_note_is_documented_and_used():
    source = "".join(path.read_text() for path in (SOURCES / "workflow_scripts/data/imports").glob("*.py"))
    assert not [name for name in NOTES if f'"{name}"' not in source.replace(f'    "{name}":', "", 1)]


def test_a_picture_of_what_was_read_without_writing():
    two_classes()
    assert main(["in", "--out", "mine", "--sheet", "sheet.png"]) == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.size[1] > 100
    assert not Path("mine").exists()
    with pytest.raises(UserError, match="exists and is never overwritten"):
        main(["in", "--out", "mine", "--sheet", "sheet.png"])


def test_the_sheet_shows_boxes_and_masks():
    """The colour of the first class is in both columns."""
    Path("in").mkdir()
    Image.fromarray(np.full((20, 30, 3), 128, np.uint8)).save("in/a.png")
    labelme([shape("cat", SQUARE)])
    assert main(["in", "--out", "mine", "--write"]) == 0
    sheet = np.asarray(Image.open("mine/contact_sheet.png").convert("RGB")).astype(int)
    red = (sheet[..., 0] > sheet[..., 1] + 50) & (sheet[..., 1] < 80)
    columns = np.nonzero(red.any(axis=0))[0]
    assert columns.min() < 300 and columns.max() > 450
    np.testing.assert_array_equal(np.unique(Image.open("mine/masks/a.png")), [0, 1])


def test_the_command_is_called_import(capsys):
    assert wsss(["--help"]) == 0
    assert "import" in capsys.readouterr().out
    assert wsss(["import", "absent", "--out", "mine"]) == 1
    assert "error: absent: no such file or folder" in capsys.readouterr().err


def test_images_that_no_annotation_names():
    for name in "ab":
        picture(f"in/{name}.png")
    labelme([shape("cat", SQUARE)])
    result = read()
    assert list(result.told.notes["unnamed"]) == ["b.png"] and labels(result) == {"a": ["cat"]}
    assert labels(read(negatives=True)) == {"a": ["cat"], "b": []}


def test_one_image_in_two_annotations_is_a_fault():
    picture("in/a.png")
    for name in ("x", "y"):
        labelme([shape("cat", SQUARE)], f"in/{name}.json", imagePath="a.png")
    (fault,) = read().told.messages
    assert "in/a.png is annotated in in/x.json, too" in fault


def test_results_do_not_depend_on_threads():
    for name in ("cat/1", "cat/2", "dog/3", "dog/4"):
        picture(f"in/{name}.png")
    for threads in ("1", "4"):
        assert main(["in", "--out", f"mine{threads}", "--write", "--threads", threads]) == 0
    one, four = (Path(f"mine{threads}/images.csv").read_bytes() for threads in ("1", "4"))
    assert one == four and json.dumps(sorted(rows(read()))) == '["1", "2", "3", "4"]'
