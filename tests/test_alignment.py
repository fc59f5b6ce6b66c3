"""What goes with an image stays on it: every sample is mirrored, resized and cropped as one.

The colours of the images here are coordinates: red is the column, green the row, and blue tells the image from padding.
Maps and labels are functions of the coordinates, so that a sample shows where each of its pixels comes from.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from training_set import JITTER, recipe

from workflow_scripts.data import transforms
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.instances import Instances
from workflow_scripts.data.samples.affinity_net_samples import Samples as AffinityNetSamples
from workflow_scripts.data.samples.area_samples import Samples as AreaSamples
from workflow_scripts.data.samples.box_samples import BoxSamples
from workflow_scripts.data.samples.classification_samples import ClassificationSamples
from workflow_scripts.data.samples.cosine_samples import CosineSamples
from workflow_scripts.data.samples.instance_samples import InstanceSamples
from workflow_scripts.data.samples.irn_samples import Samples as IrnSamples
from workflow_scripts.data.samples.salient_samples import SalientSamples
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples
from workflow_scripts.store.artifacts import create

CLASSES = ("cat", "dog")
HEIGHT, WIDTH, STEP = 40, 56, 4  # a coordinate is STEP grey levels a pixel
CELL = 8  # pixels of a cell of AffinityNet's labels
EPOCHS = range(12)
STILL = dict.fromkeys(JITTER, 0)


def coded(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([STEP * columns, STEP * rows, np.full((height, width), 255)], axis=-1).astype(np.uint8)


def code_of(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What maps and labels hold at a pixel: neither symmetric nor the same for neighbours, and never 255."""
    return ((31 * rows + 17 * columns + 3) % 251).astype(np.uint8)


def origin(image: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a normalised sample: the row and the column of the photograph at each pixel, in pixels, and which are no padding."""
    mean, deviation = (
        torch.tensor(values)[:, None, None] for values in (transforms.MEAN, transforms.STANDARD_DEVIATION)
    )
    red, green, blue = ((image * deviation + mean) * 255).numpy()
    return green / STEP, red / STEP, blue > 254.5


def whole(values: np.ndarray) -> np.ndarray:
    assert np.abs(values - values.round()).max() < 1e-2
    return values.round().astype(int)


def check_placement(rows: np.ndarray, columns: np.ndarray, inside: np.ndarray, crop: int) -> tuple[bool, int, int]:
    """The pixels are one rectangle of the photograph, as large as fits; returns whether it is mirrored, and its corner."""
    height, width = min(HEIGHT, crop), min(WIDTH, crop)
    at = np.argwhere(inside)
    (top, left), (bottom, right) = at.min(axis=0), at.max(axis=0) + 1
    assert inside.sum() == height * width and (bottom - top, right - left) == (height, width)
    rows, columns = whole(rows[top:bottom, left:right]), whole(columns[top:bottom, left:right])
    assert (np.diff(rows, axis=0) == 1).all() and (np.diff(rows, axis=1) == 0).all()
    assert (np.diff(columns, axis=0) == 0).all() and len(np.unique(np.diff(columns, axis=1))) == 1
    step = columns[0, 1] - columns[0, 0]
    assert step in (1, -1)
    assert rows.min() >= 0 and rows.max() < HEIGHT and columns.min() >= 0 and columns.max() < WIDTH
    return bool(step == -1), int(rows.min()), int(columns.min())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One coded image with its label map, saliency, affinity labels, a box and an instance."""
    folder = tmp_path_factory.mktemp("coded")
    box = np.array([[8, 4, 36, 24, 0]], np.float32)
    write_index(
        folder / "index.h5", "mine", CLASSES, [Entry("one", "", HEIGHT, WIDTH, "", (0,), box)], {"train": ["one"]}
    )
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    codes, about = code_of(rows, columns), {"dataset": "mine", "split": "train", "classes": CLASSES}
    cells = code_of(*np.mgrid[: HEIGHT // CELL, : WIDTH // CELL])
    for name, schema, arrays in (
        ("masks", "mask", {"label": codes}),
        ("saliency", "saliency", {"saliency": codes}),
        ("labels", "affinity_labels", {"label": codes}),
        ("cells", "affinity_labels", {"label": cells}),
    ):
        with create(folder / f"{name}.h5", schema, **about) as artifact:
            artifact.put("one", **arrays)
    patch = np.zeros((20, 28), np.uint8)
    patch[:10, :14] = 1
    with create(folder / "instances.h5", "instances", **about) as artifact:
        artifact.put(
            "one",
            **Instances(box, np.array([[4, 24, 8, 36]], np.int32), (patch,), crowd=np.zeros(1, np.uint8)).arrays(),
        )
    images = SimpleNamespace(read=lambda identifier: coded())
    return folder, read_index(folder / "index.h5"), images


def segmentation(data, kind=SegmentationSamples, file="masks", **changes):
    folder, index, images = data
    settings = recipe(**{"scales": [1.0], "crop": 24} | changes)
    last = {"stride": CELL} if kind is not SegmentationSamples else {}
    return kind(index, images, "train", settings, 0, folder / f"{file}.h5", **last)


@pytest.mark.parametrize("crop", [24, 48, 64])
@pytest.mark.parametrize("kind", [SegmentationSamples, IrnSamples])
def test_labels_of_segmentation_are_their_pixels(data, kind, crop):
    samples = segmentation(data, kind, "labels" if kind is IrnSamples else "masks", crop=crop)
    seen = set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        rows, columns, inside = origin(sample["image"])
        seen.add(check_placement(rows, columns, inside, crop))
        expected = code_of(whole(rows[inside]), whole(columns[inside]))
        assert (sample["label"].numpy()[inside] == expected).all() and (sample["label"].numpy()[~inside] == 255).all()
    assert {mirrored for mirrored, _, _ in seen} == {True, False} and (crop > 40 or len(seen) > 4)


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_resized_labels_are_never_mixed_and_stay_in_their_place(data, scale):
    samples = segmentation(data, scales=[scale], crop=32)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    places = {
        int(code): at
        for code, at in zip(
            code_of(rows, columns).ravel(), zip(rows.ravel(), columns.ravel(), strict=True), strict=True
        )
    }
    codes = code_of(rows, columns)
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        rows_of, columns_of, inside = origin(sample["image"])
        assert inside.any() and set(sample["label"].unique().tolist()) <= {*places, 255}
        # the label of a pixel is that of the photograph's pixel below its middle, or of one beside it
        for row, column in np.argwhere(inside)[::17]:
            y, x = rows_of[row, column], columns_of[row, column]
            near = codes[max(0, int(y - 0.8)) : int(y + 1.8), max(0, int(x - 0.8)) : int(x + 1.8)]
            assert sample["label"][row, column].item() in near


@pytest.mark.parametrize("augment", ["worker", "device"])
@pytest.mark.parametrize("crop", [24, 48, 64])
def test_saliency_is_of_its_pixels(data, crop, augment):
    folder, index, images = data
    settings = recipe(crop=crop, long_side=[WIDTH, WIDTH], jitter=STILL, augment=augment)
    samples = ClassificationSamples(index, images, "train", settings, 0, folder / "saliency.h5")
    seen = set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        image = sample["image"]
        if augment == "device":
            top, bottom, left, right = sample["window"].tolist()
            whole_canvas = sample["padding"][:, None, None].repeat(1, crop, crop)
            whole_canvas[:, top:bottom, left:right] = transforms.normalise(image.numpy())[:, top:bottom, left:right]
            image = whole_canvas
        rows, columns, inside = origin(image)
        seen.add(check_placement(rows, columns, inside, crop))
        saliency = (sample["saliency"][0] * 255).round().numpy()
        assert (saliency[inside] == code_of(whole(rows[inside]), whole(columns[inside]))).all()
        assert (saliency[~inside] == 0).all()
        assert sample["labels"].tolist() == [1, 0]
    assert {mirrored for mirrored, _, _ in seen} == {True, False} and (crop > 40 or len(seen) > 4)


def test_crops_reach_all_four_corners():
    generator, corners = np.random.default_rng(0), set()
    for _ in range(200):
        placement = transforms.place(5, 7, 4, generator)
        corners.add(tuple(part.start for part in placement.source))
        assert all((part.start, part.stop) == (0, 4) for part in placement.canvas)
    assert corners == {(y, x) for y in range(2) for x in range(4)}
    places = {tuple(part.start for part in transforms.place(2, 3, 4, generator).canvas) for _ in range(200)}
    assert places == {(y, x) for y in range(3) for x in range(2)}


@pytest.mark.parametrize("crop", [24, 64])
def test_labels_of_affinity_net_are_of_their_cells(data, crop):
    folder, index, images = data
    settings = recipe(crop=crop, jitter=STILL)
    samples = AffinityNetSamples(index, images, "train", settings, 0, folder / "cells.h5", CELL)
    seen = set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        rows, columns, inside = origin(sample["image"])
        mirrored, top, left = check_placement(rows, columns, inside, crop)
        seen.add((mirrored, top, left))
        assert top % CELL == 0 and left % CELL == 0
        label = sample["label"].numpy()
        assert label.shape == (crop // CELL, crop // CELL)
        for row, column in np.ndindex(label.shape):
            cell = slice(row * CELL, (row + 1) * CELL), slice(column * CELL, (column + 1) * CELL)
            if inside[cell].all():
                y, x = whole(rows[cell]).min() // CELL, whole(columns[cell]).min() // CELL
                assert label[row, column] == code_of(y, x)
            else:
                assert not inside[cell].any() and label[row, column] == 255
    assert {mirrored for mirrored, _, _ in seen} == {True, False}


@pytest.mark.parametrize("crop", [24, 48, 65])
def test_labels_of_the_cosine_classifier_are_their_pixels(data, crop):
    folder, index, images = data
    settings = recipe(scale=[1.0, 1.0], crop=crop, jitter=STILL)
    samples, seen = CosineSamples(index, images, "train", settings, 0, folder / "masks.h5"), set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        rows, columns, inside = origin(sample["image"])
        seen.add(check_placement(rows, columns, inside, crop))
        assert (sample["label"].numpy()[inside] == code_of(whole(rows[inside]), whole(columns[inside]))).all()
        assert (sample["label"].numpy()[~inside] == 255).all()
    assert {mirrored for mirrored, _, _ in seen} == {True, False} and (crop > 40 or len(seen) > 4)


@pytest.mark.parametrize("crop", [40, 65])
def test_boxes_and_background_are_of_their_pixels(data, crop):
    """The box is 8 to 36 by 4 to 24; what the crop cuts off is cut off the box too."""
    _, index, images = data
    samples, seen = BoxSamples(index, images, "train", recipe(scale=[1.0, 1.0], crop=crop, jitter=STILL), 0), set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        rows, columns, inside = origin(sample["image"])
        mirrored, _, _ = check_placement(rows, columns, inside, crop)
        seen.add(mirrored)
        rows, columns = rows.round(), columns.round()
        in_box = inside & (rows >= 4) & (rows < 24) & (columns >= 8) & (columns < 36)
        assert (sample["background"][0].numpy() == (inside & ~in_box)).all()
        at = np.argwhere(in_box)
        if not len(at):
            assert sample["boxes"][0, 4] == -1
            continue
        (top, left), (bottom, right) = at.min(axis=0), at.max(axis=0) + 1
        found = (sample["boxes"][0, :4].numpy() + 1) * (crop - 1) / 2
        last = crop - 1  # the centre of the last pixel is as far as a box reaches
        assert np.abs(found - np.minimum([left, top, right, bottom], last)).max() <= 1.0
        exact = np.array([left, top, right, bottom])
        inner = (exact > 0) & (exact < last) & (exact != np.array([0, 0, *np.argwhere(inside).max(axis=0)[::-1] + 1]))
        assert np.allclose(found[inner], exact[inner], atol=1e-3)
        assert sample["boxes"][0, 4] == 0
    assert seen == {True, False}


@pytest.mark.parametrize("side", [None, 56])
def test_salient_maps_are_of_their_pixels(side):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    source = SimpleNamespace(names=["one"], read=lambda position: (coded(), code_of(rows, columns)))
    form = SimpleNamespace(side=side, padding="mean")
    settings = SimpleNamespace(crop=0.3 if side is None else 0, rotation=0, contrast=0, light=0)
    samples, seen = SalientSamples(source, form, settings, 0), set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        rows_of, columns_of, inside = origin(sample["image"])
        assert (sample["valid"][0].numpy() == inside).all()
        found = whole(columns_of[inside])
        expected = code_of(whole(rows_of[inside]), found)
        mask = (sample["mask"][0] * 255).round().numpy()
        assert (mask[inside] == expected).all() and (mask[~inside] == 0).all()
        seen.add((found[0] > found[1], found.min()))
    assert {mirrored for mirrored, _ in seen} == {True, False} and (side or len(seen) > 4)


def test_masks_of_instances_are_mirrored_with_their_boxes(data):
    """The object fills the upper left quarter of its box."""
    folder, index, images = data
    settings = SimpleNamespace(
        short_side=[HEIGHT, HEIGHT], crop=64, most=2, jitter=SimpleNamespace(**STILL), augment="worker"
    )
    samples, seen = InstanceSamples(index, images, "train", settings, 0, folder / "instances.h5", 28), set()
    for epoch in EPOCHS:
        sample = samples[epoch, 0]
        _, columns, inside = origin(sample["image"])
        mirrored = bool(columns[0, 0] > columns[0, 1])
        assert (inside == np.pad(np.ones((HEIGHT, WIDTH), bool), ((0, 24), (0, 8)))).all()
        x0, y0, x1, y1, label = sample["boxes"][0].tolist()
        assert (y0, y1, label) == (4, 24, 0) and (x0, x1) == ((WIDTH - 36, WIDTH - 8) if mirrored else (8, 36))
        expected = np.zeros((28, 28), np.uint8)
        expected[:14, slice(14, 28) if mirrored else slice(0, 14)] = 1
        assert (sample["masks"][0].numpy() == expected).all()
        seen.add(mirrored)
    assert seen == {True, False}


def test_crops_of_random_area_show_one_rectangle(data):
    """Rows and columns of the photograph rise evenly, or columns fall: never turned, never swapped."""
    _, index, images = data
    settings = SimpleNamespace(crop=32, area=[0.3, 1.0], aspect=[0.75, 1.33], rand_augment=None, erasing=0)
    samples, seen = AreaSamples(index, images, "train", settings, 0), set()
    for epoch in EPOCHS:
        rows, columns, inside = origin(samples[epoch, 0]["image"])
        assert inside.all()
        down, across = np.diff(rows[4:-4, 4:-4], axis=0), np.diff(columns[4:-4, 4:-4], axis=1)
        assert (down > 0).all() and ((across > 0).all() or (across < 0).all())
        assert np.ptp(rows, axis=1).max() < 0.5 and np.ptp(columns, axis=0).max() < 0.5
        seen.add(bool(across[0, 0] < 0))
    assert seen == {True, False}
