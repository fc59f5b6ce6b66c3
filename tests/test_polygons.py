"""Polygons as truth: which pixels they have, by closed forms, and what a table's polygons make of photographs."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import stage_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from own_photographs import CSV, IDS, label_of, plan_of, write_photographs
from PIL import Image

from workflow_scripts.data.index import read_index
from workflow_scripts.data.polygons import Polygon, drawn
from workflow_scripts.store.artifacts import Reader

HEIGHT, WIDTH = 12, 16
quarters = st.integers(-8, 72).map(lambda value: value / 4)
points = st.tuples(quarters, quarters)


def pixels(*corners):
    return drawn([Polygon(1, np.array(corners, float))], HEIGHT, WIDTH) == 1


@given(x=st.tuples(quarters, quarters).map(sorted), y=st.tuples(quarters, quarters).map(sorted), turn=st.integers(0, 3))
def test_rectangles(x, y, turn):
    """A centre on the left or upper edge is inside, one on the right or lower edge is not; where it starts does not count."""
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    across, down = np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5
    expected = ((down >= y[0]) & (down < y[1]))[:, None] & ((across >= x[0]) & (across < x[1]))
    for order in (corners, corners[::-1]):
        np.testing.assert_array_equal(pixels(*order[turn:], *order[:turn]), expected)


def test_a_right_triangle():
    """Centres on its slanted side, which is to the right, are outside: 0 + 1 + ... + 7 pixels."""
    expected = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) < 7
    np.testing.assert_array_equal(pixels((0, 0), (8, 0), (0, 8)), expected)
    assert expected.sum() == 28


@settings(max_examples=60, deadline=None)
@given(corners=st.lists(points, min_size=3, max_size=6))
def test_the_even_odd_rule_in_exact_numbers(corners):
    """As counted at each centre alone, in fractions."""
    exact = [(Fraction(x), Fraction(y)) for x, y in corners]
    edges = list(zip(exact, [*exact[1:], exact[0]], strict=True))

    def is_inside(x, y):
        crossings = 0
        for (x0, y0), (x1, y1) in edges:
            if (y0 <= y) != (y1 <= y):
                crossings += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
        return crossings % 2 == 1

    half = Fraction(1, 2)
    expected = [[is_inside(column + half, row + half) for column in range(WIDTH)] for row in range(HEIGHT)]
    np.testing.assert_array_equal(pixels(*corners), expected)


@given(middle=st.tuples(st.floats(0.1, WIDTH - 0.1), st.floats(0.1, HEIGHT - 0.1)))
def test_neighbours_share_every_pixel_out(middle):
    """Triangles around any point of the image have each of its pixels once."""
    corners = [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)]
    parts = [pixels(one, other, middle) for one, other in zip(corners, [*corners[1:], corners[0]], strict=True)]
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)


def test_later_ones_lie_on_top():
    squares = [(2, 0, 6), (1, 2, 8), (0, 3, 5), (255, 4, 10)]
    polygons = [
        Polygon(value, np.array([(start, start), (end, start), (end, end), (start, end)], float))
        for value, start, end in squares
    ]
    label = drawn(polygons, HEIGHT, WIDTH)
    assert np.diag(label).tolist() == [2, 2, 1, 0, 255, 255, 255, 255, 255, 255, 0, 0]
    assert label.dtype == np.uint8 and (label[0, 6:] == 0).all()


# --- in a table -------------------------------------------------------------------------------------------------------


def outline(number):
    """The label of a photograph: a frame that is ignored around an object."""
    name = ("cat", "dog")[number % 2]
    return f"ignored: 4 4 20 4 20 14 4 14; {name}: 5 5 19 5 19 13 5 13"


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()
    header, *rows = Path("table.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows]
    for number, row in enumerate(cells):
        row[3:4] = ["", outline(number)]  # no mask
    lines = [header.replace("mask", "mask,polygons"), *(",".join(row) for row in cells)]
    Path("table.csv").write_text("\n".join(lines))


def truth_of(plan):
    for stage in ("index", "truth"):
        assert stage_runs.run(plan, stage) is None
    truth = Reader("results/mine/truth.h5", "truth", "mine")
    return {name: truth.read(name)["label"] for name in truth.ids}


@pytest.mark.parametrize("flag", [1, 3, 6])
def test_polygons_are_the_truth(photographs, flag):
    """Those of photographs on their side are drawn on what viewers show; masks of other rows stay."""
    for number, name in enumerate(IDS):
        path = Path(f"VOC/JPEGImages/{name}.jpg")
        exif = Image.Exif()
        exif[0x0112] = flag
        size = (20, 30) if flag == 6 else (30, 20)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), np.uint8)).save(
            path, exif=exif
        )
    table = Path("table.csv")
    table.write_text(table.read_text().replace(f",,{outline(7)}", f",masks/{IDS[7]}.png,"))
    plan = plan_of(CSV)
    assert plan.dataset("mine").has_truth()
    labels = truth_of(plan)
    assert labels.keys() >= {IDS[6], IDS[7]}
    for name, label in labels.items():
        np.testing.assert_array_equal(label, label_of(IDS.index(name)))


def test_polygons_of_stored_pixels(photographs):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(f"VOC/JPEGImages/{IDS[6]}.jpg") as image:
        image.load()
    image.save(f"VOC/JPEGImages/{IDS[6]}.jpg", exif=exif)
    labels = truth_of(plan_of(CSV, orientation="stored"))
    assert read_index("results/mine/index.h5").size_of(IDS[6]) == (20, 30)
    np.testing.assert_array_equal(labels[IDS[6]], label_of(6))


def test_a_changed_polygon_is_planned(photographs):
    before, table = plan_of(CSV).settings("truth", {"dataset": "mine"}), Path("table.csv")
    table.write_text(table.read_text().replace("20 14", "20 15"))
    assert plan_of(CSV).settings("truth", {"dataset": "mine"}) != before
