"""`wsss predict`: which files are read, what is written of them, and by which recipe."""

import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import SOURCES
from PIL import Image
from small_images import noise, png
from small_segmenters import CLASSES, write_segmenter

from workflow_scripts.__main__ import main
from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import predict
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.maps import upsampled
from workflow_scripts.look import pictures
from workflow_scripts.refine.dense_crf import dense_crf
from workflow_scripts.segmentation.inference import load, soft_prediction


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_segmenter(tmp_path_factory.mktemp("segmenter") / "fov.safetensors")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "may").mkdir(parents=True)
    for name, size in (("a.png", (40, 56)), ("may/b.png", (33, 21))):
        Image.fromarray(noise(*size)).save(folder / name)
    return folder


def opened(path):
    return np.asarray(Image.open(path))


def run(weights, photos, out, *more):
    return main(["predict", "--weights", str(weights), "--images", str(photos), "--out", str(out), *more])


def settings_of(weights):
    return predict.read_settings(weights).block


# --- which files ------------------------------------------------------------------------------------------------------


def test_every_file_that_is_left_out_has_a_line(weights, photos, tmp_path, capsys):
    content = (photos / "a.png").read_bytes()
    (photos / "notes.txt").write_text("no image")
    (photos / "may" / "empty").touch()
    (photos / "cut.png").write_bytes(content[:100])
    (photos / "bad.jpg").write_text("text")
    Image.fromarray(noise()).save(photos / "film.gif", save_all=True, append_images=[Image.fromarray(noise(seed=1))])
    (photos / "Thumbs.db").touch()
    assert run(weights, photos, tmp_path / "out") == 1
    told = capsys.readouterr()
    lines = [line for line in (told.out + told.err).splitlines() if line.startswith("left out: ")]
    for name in (
        "notes.txt: no image",
        "may/empty: no image",
        "cut.png: the image is trunc",
        "bad.jpg: not an image",
        "film.gif: holds",
    ):
        assert sum(name in line for line in lines) == 1
    assert len(lines) == 5 and "2 of 5 images predicted" in told.out
    assert {path.name for path in (tmp_path / "out").rglob("*.png")} == {"a.png", "b.png"}


def test_any_readable_image_is_predicted(weights, tmp_path, capsys):
    """As if it had been saved as 8-bit RGB; what was changed is told."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    gray = np.linspace(0, 65535, 20 * 30).reshape(20, 30).astype(np.uint16)
    seen = {}
    kinds = {
        "cmyk.jpg": Image.fromarray(noise()).convert("CMYK"),
        "deep.png": Image.fromarray(gray),
        "clear.png": Image.fromarray(noise(channels=4)),
        "palette.gif": Image.fromarray(noise()).quantize(),
    }
    for name, image in kinds.items():
        image.save(photos / name)
    Image.fromarray(noise()).save(photos / "plain", format="PNG")
    images = predict.list_images(photos)
    names = iter(path.stem for path in images)
    label_of = lambda image: seen.setdefault(next(names), image)[..., 0] // 128  # noqa: E731
    assert predict.predict_folder(photos, images, out, label_of, False) == []
    assert len(list(out.iterdir())) == len(seen) == 5
    np.testing.assert_array_equal(seen["plain"], noise())
    assert seen["deep"][0, 0].tolist() == [0, 0, 0] and seen["deep"][-1, -1].tolist() == [255, 255, 255]
    colours, alpha = noise(channels=4)[..., :3].astype(float), noise(channels=4)[..., 3:] / 255
    np.testing.assert_allclose(seen["clear"], colours * alpha + 255 * (1 - alpha), atol=1)
    told = capsys.readouterr().out
    for line in ("cmyk.jpg: the image is CMYK", "deep.png: the image has 16", "clear.png: the image is transparent"):
        assert told.count(f"converted to 8-bit RGB: {line}") == 1
    assert told.count("converted to") == 3


def test_images_above_the_limit_of_the_workflow_are_read(tmp_path):
    """Told by their headers: one that is not too large is missed its content."""
    path = tmp_path / "a.png"
    for width, most, told in ((9_999, 100, "truncated"), (14_000, 100, "100 megapixels"), (14_000, 400, "truncated")):
        path.write_bytes(png(width, 10_000))
        read = predict.read_photograph if most == 100 else predict.read_any
        with pytest.raises(UserError, match=told):
            read(path)
    path.write_bytes(png(41_000, 10_000))
    with pytest.raises(UserError, match="larger than 400 megapixels"):
        predict.read_any(path)


# --- what is written --------------------------------------------------------------------------------------------------


def test_areas_count_the_pixels_of_each_label(photos, tmp_path):
    """Labels that are drawn: a bar of `cat`, a corner of `horse`."""

    def label_of(image):
        label = np.zeros(image.shape[:2], np.uint8)
        label[:, :5], label[:2, :3] = 1, 3
        return label

    predict.predict_folder(photos, predict.list_images(photos), tmp_path, label_of, False, CLASSES)
    table = pd.read_csv(tmp_path / "areas.csv")
    assert table.columns.tolist() == ["image", "height", "width", *(f"pixels.{c}" for c in ("background", *CLASSES))]
    assert table.values.tolist() == [
        ["a.png", 40, 56, 40 * 56 - 40 * 5, 40 * 5 - 6, 0, 6],
        ["may/b.png", 33, 21, 33 * 21 - 33 * 5, 33 * 5 - 6, 0, 6],
    ]


def test_the_command_writes_maps_tables_and_probabilities(weights, photos, tmp_path):
    out = tmp_path / "out"
    assert run(weights, photos, out, "--probabilities", "--overlay") == 0
    network = load(settings_of(weights), 4, str(weights))
    options = SimpleNamespace(
        scales=[1],
        flip=False,
        resize="antialiased",
        merge="mean",
        resolution=1,
        precision="float32",
        align_corners=False,
    )
    table = pd.read_csv(out / "areas.csv", index_col="image")
    for name in ("a", "may/b"):
        image, label = opened(photos / f"{name}.png"), opened(out / f"{name}.png")
        scores = soft_prediction(network, image, options)
        np.testing.assert_array_equal(label, scores.argmax(axis=0))
        assert len(np.unique(label)) > 1
        assert table.loc[f"{name}.png"].tolist()[2:] == np.bincount(label.ravel(), minlength=4).tolist()
        with h5py.File(out / "probabilities" / f"{name}.h5") as file:
            np.testing.assert_array_equal(file["probabilities"][:], scores)
            assert list(file.attrs["classes"]) == ["background", *CLASSES]
        np.testing.assert_array_equal(opened(out / "overlays" / f"{name}.png"), pictures.blended(image, label))


def test_an_overlay_is_the_same_drawn_in_strips(monkeypatch):
    image, label = noise(50, 31), noise(50, 31, 1) // 60
    expected = pictures.blended(image, label)
    monkeypatch.setattr(predict, "STRIP", 7)
    np.testing.assert_array_equal(predict.drawn_over(image, label), expected)


def test_large_images_are_reduced_and_that_is_told(weights, photos, tmp_path, capsys):
    run(weights, photos, tmp_path / "out", "--longest", "40")
    assert "1 images were reduced to 40 pixels; with --tile" in capsys.readouterr().out
    assert opened(tmp_path / "out" / "a.png").shape == (40, 56)


def test_tiles_are_the_command_s(weights, tmp_path, capsys):
    """Small tiles differ a little from the whole, as the network sees far; one tile is the whole."""
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(noise(96, 200)).save(photos / "a.png")
    found = {}
    for more in ((), ("--tile", "200", "--overlap", "64"), ("--tile", "96", "--overlap", "40")):
        out = tmp_path / str(len(found))
        assert run(weights, photos, out, "--probabilities", *more) == 0
        with h5py.File(out / "probabilities/a.h5") as file:
            found[more] = opened(out / "a.png"), file["probabilities"][:].astype(np.float32)
    (whole, soft), (one, _), (tiles, tiled) = found.values()
    np.testing.assert_array_equal(one, whole)
    assert (tiles == tiled.argmax(axis=0)).mean() > 0.999  # float16
    np.testing.assert_allclose(tiled.sum(axis=0), 1, atol=3e-3)
    assert tiled.shape == soft.shape and (tiles == whole).mean() > 0.5
    assert "reduced" not in capsys.readouterr().out


# --- recipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["multi", "multi_crf"])
def test_a_recipe_is_that_of_the_settings(weights, photos, tmp_path, name):
    """The labels are those that the stage makes and exports."""
    overlay = tmp_path / "more.yaml"
    overlay.write_text("predictions: {multi: {scales: [1, 0.5], flip: true}}\n")
    assert run(weights, photos, tmp_path / "out", "--prediction", name, "--configfile", str(overlay)) == 0
    config = Config.load(overlay)
    network, image = load(settings_of(weights), 4, str(weights)), opened(photos / "a.png")
    soft = soft_prediction(network, image, config.block("demo", "predictions", "multi"))
    scores = upsampled(soft, *image.shape[:2])
    if name == "multi_crf":
        crf = config.block("demo", "predictions", name).crf
        scores = dense_crf(image, scores, crf.bilateral, crf.gaussian, crf.iterations)
    np.testing.assert_array_equal(opened(tmp_path / "out/a.png"), scores.argmax(axis=0))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--prediction", "multi", "--flip"), "leave --scales and --flip out"),
        (
            ("--prediction", "multi_crf", "--tile", "64"),
            "--prediction multi_crf: its CRF sees a whole image; leave --tile out",
        ),
        (("--prediction", "mutli"), "no block 'mutli'"),
        (("--overlap", "64"), "--overlap: is of tiles; give --tile too"),
        (("--tile", "64", "--overlap", "40"), "--tile 64 --overlap 40: pixels; give an overlap"),
        (("--scales", "0"), "--scales: 0 is no scale"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(weights, photos, tmp_path, capsys, more, told):
    assert run(weights, photos, tmp_path / "out", *more) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and told in line and not (tmp_path / "out").exists()


def test_a_folder_of_the_images_that_probabilities_would_take(photos, tmp_path):
    (photos / "probabilities").mkdir()
    with pytest.raises(UserError, match="leave --probabilities out"):
        predict.check_output(tmp_path / "out", photos, overlay=False, probabilities=True)
    predict.check_output(tmp_path / "out", photos, overlay=True)


# --- memory -----------------------------------------------------------------------------------------------------------

MEASURED = """
import sys
from pathlib import Path
from workflow_scripts.__main__ import main
from workflow_scripts.commands import predict
from workflow_scripts.store.provenance import own_peak
import numpy as np
weights, folder, out = sys.argv[1:]
small = ["predict", "--weights", weights, "--tile", "256", "--overlap", "64", "--overlay", "--probabilities"]
main([*small, "--images", folder + "/small", "--out", out])
before = own_peak()
main([*small, "--images", folder + "/large", "--out", out])
print((own_peak() - before) / 2**20)
"""


def test_a_large_image_is_never_held_with_its_probabilities(tmp_path):
    """1,500 x 1,000 pixels and 21 labels: 63 MB as they are kept, twice that as they are computed."""
    weights = write_segmenter(tmp_path / "fov.safetensors", [f"class {number}" for number in range(20)])
    for name, size in (("small", (300, 300)), ("large", (1500, 1000))):
        (tmp_path / name).mkdir()
        Image.fromarray(noise(12, 16)).resize(size).save(tmp_path / name / f"{name}.jpg")
    arguments = [sys.executable, "-c", MEASURED, str(weights), str(tmp_path), str(tmp_path / "out")]
    told = subprocess.run(arguments, cwd=SOURCES, capture_output=True, text=True, check=True, timeout=300).stdout
    assert float(told.split()[-1]) < 55  # MiB
