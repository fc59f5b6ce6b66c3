"""COCO's boxes and outlines as annotation tools export them: over the edge, without each other, of every form."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from own_coco import CLASSES, HEIGHT, WIDTH, drawn, listed, picture, read, told, truths, without, write
from pycocotools import mask as rle

from workflow_scripts.data.edges import clipped
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.readers import coco_masks
from workflow_scripts.data.readers.coco_segmentation import encode

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set of one picture, whose JSON the tests write."""
    root = tmp_path_factory.mktemp("coco")
    picture(root / "images/a.png")
    return root


# --- edges ------------------------------------------------------------------------------------------------------------


@settings(QUIET, max_examples=300)
@given(
    st.sampled_from([(48, 64), (20, 300), (1000, 40)]),
    st.tuples(*[st.integers(-400, 1400)] * 2, *[st.integers(20, 1300)] * 2),
)
@example((48, 64), (-78, 0, 1000, 1000))
@example((48, 64), (-79, 0, 1000, 1000))
@example((48, 64), (-62, 0, 125, 1000))
@example((48, 64), (-62, 0, 123, 1000))
@example((48, 64), (0, 0, 1015, 1000))
@example((48, 64), (0, 0, 1016, 1000))
@example((1000, 40), (0, -50, 1000, 1000))
@example((1000, 40), (0, -51, 1000, 1000))
def test_a_box_is_inside_or_cut_off_or_refused(size, place):
    """Up to a pixel is rounding; 5 pixels or 5 % of the side, with half of the area inside, are cut off."""
    height, width = size
    x0, y0, w, h = np.array(place) / 1000 * (width, height, width, height)
    x1, y1 = x0 + w, y0 + h
    out = np.maximum([-x0, x1 - width, -y0, y1 - height], 0)
    cut = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
    inside = max(cut[2] - cut[0], 0) * max(cut[3] - cut[1], 0) / (w * h)
    assume(abs(inside - 0.5) > 1e-9)
    expected = (
        cut if (out <= np.repeat([max(5, 0.05 * width), max(5, 0.05 * height)], 2)).all() and inside >= 0.5 else None
    )
    assert clipped((x0, y0, x1, y1), height, width) == ((x0, y0, x1, y1) if out.max() <= 1 else expected)


@QUIET
@given(st.integers(-8, 60), st.integers(-8, 44), st.integers(1, 20), st.integers(1, 20))
@example(-2, 5, 30, 20)
def test_boxes_over_the_edge_in_the_index_and_in_the_truth(folder, x, y, w, h):
    write(folder, [listed()], [drawn(7, box=(x, y, w, h))])
    box, faults = (x, y, x + w, y + h), Faults()
    expected = clipped(box, HEIGHT, WIDTH)
    if expected is None:
        (line,) = told(lambda: read(folder, faults))
        assert "i.json, image 'a': box" in line and "is outside the image of 64 x 48 pixels" in line
        return
    _, (entry,) = read(folder, faults)
    assert entry.boxes.tolist() == [[*expected, 0]]
    assert [finding.check for finding in faults.findings] == ["box_clipped"] * (expected != box)
    seen = Faults()
    label_of, instances_of = truths(folder, seen)
    whole = np.zeros((HEIGHT + 40, WIDTH + 40), np.uint8)
    whole[y + 20 : y + h + 20, x + 20 : x + w + 20] = 1
    seen_boxes = entry.boxes if whole[20:-20, 20:-20].any() else entry.boxes[:0]  # one beside the image has no pixel
    np.testing.assert_array_equal(instances_of("a").boxes, seen_boxes)
    np.testing.assert_array_equal(label_of("a")["label"], whole[20:-20, 20:-20])
    assert [finding.check for finding in seen.findings] == ["outline_clipped"] * (expected != box)


def test_many_boxes_over_the_edge_of_one_image_are_one_finding(folder):
    write(folder, [listed()], [drawn(n, box=(-2, n, 30, 20)) for n in range(5)])
    faults = Faults()
    read(folder, faults)
    (finding,) = faults.findings
    assert (finding.check, finding.identifier, finding.detail) == (
        "box_clipped",
        "a",
        "'-2 0 28 20' and 4 more in 64 x 48 pixels",
    )


def test_a_slanted_outline_is_cut_off_where_it_leaves_the_image():
    """Its vertices are not moved, which would turn its edges."""
    points = np.array([(-5, 10), (40, -4), (62, 30)])
    inside = rle.decode(rle.merge(rle.frPyObjects([(points + 20).ravel().tolist()], HEIGHT + 40, WIDTH + 40)))
    found = rle.decode(encode([points.ravel().tolist()], (HEIGHT, WIDTH), "x"))
    np.testing.assert_array_equal(found, inside[20:-20, 20:-20])
    moved = np.clip(points, 0, [WIDTH, HEIGHT])
    assert (rle.decode(rle.merge(rle.frPyObjects([moved.ravel().tolist()], HEIGHT, WIDTH))) != found).sum() > 50


# --- boxes and outlines -----------------------------------------------------------------------------------------------


@settings(QUIET, max_examples=10)
@given(st.integers(0, 50), st.integers(0, 40), st.integers(1, 14), st.integers(1, 8), st.booleans())
def test_a_box_is_given_or_that_of_the_outline(folder, x, y, w, h, absent):
    inside = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    inside[y : y + h, x : x + w] = 1
    size, text = [HEIGHT, WIDTH], rle.encode(inside)["counts"].decode()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.ravel(order="F"), [0]])))
    counts = np.diff(np.concatenate([[0], edges, [inside.size]])).tolist()
    item = drawn(box=(x, y, w, h))
    bare = without(item, "bbox") if absent else item | {"bbox": []}
    halves = [[x, y, x + 1, y, x + 1, y + h, x, y + h], [x, y, x + w, y, x + w, y + h, x, y + h], [x, y, x, y]]
    forms = (
        item,
        bare,
        bare | {"bbox": [0, 0, 0, 0]},
        bare | {"segmentation": halves},
        bare | {"segmentation": {"size": size, "counts": counts}},
        bare | {"segmentation": {"size": size, "counts": text}},
    )
    for form in forms:
        write(folder, [listed()], [form])
        label_of, instances_of = truths(folder)
        np.testing.assert_array_equal(label_of("a")["label"], inside)
        assert instances_of("a").boxes.tolist() == [[x, y, x + w, y + h, 0]]
        assert read(folder)[1][0].boxes.tolist() == [[x, y, x + w, y + h, 0]]


@pytest.mark.parametrize("outline", [None, "absent", [], [[]], {}, [[4, 5, 9, 9]]])
def test_objects_without_an_outline_are_trained_on_and_not_scored(folder, outline):
    bare = [drawn(number, segmentation=outline) for number in (11, 12)]
    bare = [without(item, "segmentation") for item in bare] if outline == "absent" else bare
    write(folder, [listed()], [drawn(10), *bare])
    assert len(read(folder)[1][0].boxes) == 3
    (line,) = told(lambda: truths(folder))
    assert "i.json: 2 annotations of scored images have no outline (segmentation), the first is annotation 11" in line
    assert "of image 'a'; draw" in line


def test_only_the_split_that_is_scored_needs_outlines(folder):
    picture(folder / "val/v.png")
    write(folder, [listed()], [drawn(segmentation=[])])
    write(folder, [listed(name="v.png")], [drawn(category=2)], file="v.json")
    splits = {"all": ("i.json", "images"), "val": ("v.json", "val")}
    members, entries = read(folder, **splits)
    write_index(str(folder / "index.h5"), "mine", CLASSES, entries, members)
    about = SimpleNamespace(root=str(folder), files=list(splits.values()), splits=["val"], maps=[])
    about.crowd, about.overlap = "class", "later"
    index = read_index(str(folder / "index.h5"))
    assert np.unique(coco_masks.truth(about, index, Faults())("v")["label"]).tolist() == [0, 2]
    assert len(coco_masks.instances(about, index)("v")) == 1


def test_a_polygon_of_two_points_beside_others_is_told(folder):
    write(folder, [listed()], [drawn(5, segmentation=[[4, 5, 14, 5, 14, 13, 4, 13], [1, 1, 2, 2]])])
    faults = Faults()
    label_of, _ = truths(folder, faults)
    assert label_of("a")["label"].sum() == 80
    assert [(finding.check, finding.identifier) for finding in faults.findings] == [("polygon_of_two_points", "a")]


def test_all_broken_outlines_are_told_together(folder):
    broken = [drawn(number, segmentation=[[1, 2, 3]]) for number in (3, 4)]
    write(folder, [listed()], [*broken, drawn(5, box=(4, 5, 10, 8), segmentation=[[-40, 1, 9, 1, 9, 9]]), drawn(6)])
    first, second, third = told(lambda: truths(folder))
    assert (
        "annotation 3: its segmentation is neither" in first and "annotation 4: its segmentation is neither" in second
    )
    assert "annotation 5: its outline, from -40 1 to 9 9, lies outside the image of 64 x 48 pixels" in third
