"""Scores by the size of objects: names of sizes, counts, and the mean IoU of counts."""

import numpy as np
import pytest

from workflow_scripts.evaluation.groups import counts_by_size, mean_iou_of_counts, size_name


@pytest.mark.parametrize(
    "share, name",
    [(1e-6, "small"), (0.02, "small"), (0.0201, "medium"), (0.15, "medium"), (0.151, "large"), (1, "large")],
)
def test_sizes_are_shares_of_the_image(share, name):
    assert size_name(share) == name


def test_counts_by_size_on_paper():
    """1,000 pixels: class 1 is small, 2 medium, 3 large; class 4 is predicted only, and rows may have a column of misses."""
    confusion = np.array(
        [
            [600, 5, 0, 0, 10, 0],
            [3, 7, 0, 0, 0, 5],
            [10, 0, 80, 0, 0, 0],
            [0, 0, 40, 240, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ]
    )
    counts = counts_by_size(confusion)
    assert {name: np.flatnonzero(rows.any(axis=1)).tolist() for name, rows in counts.items()} == {
        "small": [1], "medium": [2], "large": [3]
    }  # fmt: skip
    assert counts["small"][1].tolist() == [7, 5, 8]
    assert counts["medium"][2].tolist() == [80, 40, 10]
    assert counts["large"][3].tolist() == [240, 0, 40]
    assert mean_iou_of_counts(counts["medium"]) == pytest.approx(80 / 130)
    assert mean_iou_of_counts(sum(counts.values())) == pytest.approx((7 / 20 + 80 / 130 + 240 / 280) / 3)


def test_mean_of_no_objects_is_not_a_number():
    counts = np.zeros((4, 3), np.int64)
    assert np.isnan(mean_iou_of_counts(counts))
    counts[0] = 5  # background is no object
    counts[1] = [0, 9, 0]  # predicted only
    assert np.isnan(mean_iou_of_counts(counts))
    counts[2] = [1, 0, 1]
    assert mean_iou_of_counts(counts) == 0.5
