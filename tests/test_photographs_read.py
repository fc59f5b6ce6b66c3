"""Orientations and boxes of photographs through the index, masks, exports and predictions."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_images import UPRIGHT, encoded, noise, one_fault, opened

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import predict
from workflow_scripts.commands.export import image_file
from workflow_scripts.data.beside import DataSet
from workflow_scripts.data.index import Images, read_index, write_index
from workflow_scripts.data.index_entries import Faults, check_entry
from workflow_scripts.data.kinds.csv import read_csv
from workflow_scripts.data.samples.salient_folder import Folder

EXAMPLES = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


# --- everywhere that photographs are read -----------------------------------------------------------------------------


def flagged(folder, flag=6):
    """A photograph, as stored and as shown."""
    folder.mkdir(exist_ok=True)
    pixels = noise(6, 8)
    (folder / "a.png").write_bytes(encoded(Image.fromarray(pixels), "PNG", flag))
    return folder / "a.png", pixels, UPRIGHT[flag](pixels)


@pytest.mark.parametrize("flag", range(2, 9))
@pytest.mark.parametrize("oriented", [True, False])
def test_the_index_knows_the_orientation(tmp_path, flag, oriented):
    path, stored, shown = flagged(tmp_path, flag)
    expected, faults = shown if oriented else stored, Faults()
    entry = check_entry("p", path, [0], [(0, 0, *expected.shape[1::-1], 0)], "t.csv", faults, oriented=oriented)
    assert [(f.check, f.identifier) for f in faults.findings] == [("orientation", "p")] and not faults.messages
    write_index(str(tmp_path / "index.h5"), "mine", ["cat"], [entry], {"all": ["p"]}, oriented)
    index = read_index(str(tmp_path / "index.h5"))
    assert index.size_of("p") == expected.shape[:2]
    np.testing.assert_array_equal(Images(index, None).read("p"), expected)
    name, content = image_file(DataSet(index, Images(index, None), None), "p")
    exported = Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(exported, expected)  # whatever its viewer makes of flags
    assert name == "JPEGImages/p.png" and not exported.getexif()


@pytest.mark.parametrize("oriented", [True, False])
def test_a_box_that_fits_the_photograph_turned_otherwise(tmp_path, oriented):
    """The way out that is named works; a box that fits neither way has none."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(noise(30, 60)), "PNG", 6))
    width, height = (60, 30) if oriented else (30, 60)  # of the picture that is not read
    for box, turned in (((0, 0, width, height, 0), True), ((20, 20, 90, 90, 0), False)):
        faults = Faults()
        check_entry("p", path, [0], [box], "t.csv", faults, oriented=oriented)
        (line,) = faults.messages
        assert (f"`orientation: {'stored' if oriented else 'shown'}`" in line) == turned
        assert bool(check_entry("p", path, [0], [box], "", Faults(), oriented=not oriented).boxes.size) == turned


def test_an_image_without_orientation_is_exported_as_it_is(tmp_path):
    path, _, _ = flagged(tmp_path, 1)
    write_index(
        str(tmp_path / "i.h5"), "mine", ["cat"], [check_entry("p", path, [0], [], "t", Faults())], {"all": ["p"]}
    )
    index = read_index(str(tmp_path / "i.h5"))
    assert image_file(DataSet(index, Images(index, None), None), "p") == ("JPEGImages/p.png", path.read_bytes())


def test_photographs_and_masks_of_a_saliency_network(tmp_path):
    path, stored, shown = flagged(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for oriented, pixels in ((True, shown), (False, stored)):
        Image.fromarray(np.where(pixels[..., 0] > 99, 255, 0).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
        image, mask = Folder(str(tmp_path / "images"), str(tmp_path / "masks"), oriented).read(0)
        np.testing.assert_array_equal(image, pixels)
        assert mask.shape == pixels.shape[:2]
        with pytest.raises(UserError, match=f"data.orientation to {'stored' if not oriented else 'shown'}"):
            Folder(str(tmp_path / "images"), str(tmp_path / "masks"), not oriented)


def test_predictions_fit_what_is_shown(tmp_path, capsys):
    path, _, shown = flagged(tmp_path / "new")
    seen = []
    label_of = lambda image: seen.append(image) or image[..., 0] // 128  # noqa: E731
    assert predict.predict_folder(path.parent, [path], tmp_path / "out", label_of, overlay=True) == []
    np.testing.assert_array_equal(seen[0], shown)
    assert opened(tmp_path / "out" / "a.png").size == shown.shape[1::-1]
    assert opened(tmp_path / "out" / "overlays" / "a.png").size == shown.shape[1::-1]
    assert "EXIF orientation applied to 1 images: a.png" in capsys.readouterr().out


# --- boxes ------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(corners=st.tuples(*[st.integers(1, 999)] * 4), number=st.integers(1, 3))
def test_normalised_boxes_are_one_fault_an_image(place, corners, number):
    """Corners, or centres and sizes, whether they would have an area or not."""
    Image.fromarray(noise()).save(place / "n.png")
    box = f"{' '.join(str(value / 999) for value in corners)} cat"  # 1.0 among them
    (place / "t.csv").write_text(f"id,image,labels,boxes\np,n.png,cat,{';'.join([box] * number)}\n")
    read = lambda: read_csv(place / "t.csv", ["cat"], {"all": ""})  # noqa: E731
    one_fault(read, place / "t.csv", "'p'", "normalised", "multiply x by the width")


@pytest.mark.parametrize("box", ["-0.01 0.1 0.9 1.02", "0 0 0.5 1.0625"])
def test_normalised_boxes_a_little_over_the_edge(place, box):
    Image.fromarray(noise()).save(place / "n.png")
    (place / "t.csv").write_text(f"id,image,labels,boxes\np,n.png,cat,{box} cat\n")
    one_fault(lambda: read_csv(place / "t.csv", ["cat"], {"all": ""}), place / "t.csv", "normalised")


@settings(max_examples=40, deadline=None)
@given(x0=st.integers(0, 28), y0=st.integers(0, 18), data=st.data())
def test_boxes_in_pixels_are_read(place, x0, y0, data):
    x1, y1 = data.draw(st.integers(x0 + 1, 30)), data.draw(st.integers(y0 + 1, 20))
    Image.fromarray(noise()).save(place / "n.png")
    (place / "t.csv").write_text(f"id,image,labels,boxes\np,n.png,cat,{x0} {y0} {x1} {y1} cat\n")
    _, (entry,) = read_csv(place / "t.csv", ["cat"], {"all": ""})
    assert entry.boxes.tolist() == [[x0, y0, x1, y1, 0]]
