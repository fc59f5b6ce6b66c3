"""mIoU, average precision and saliency measures: golden values, closed forms, invariants."""

import numpy as np
import pytest

from workflow_scripts.evaluation.classification import average_precision, mean_average_precision
from workflow_scripts.evaluation.miou import confusion_matrix, intersection_over_union, mean_intersection_over_union
from workflow_scripts.evaluation.saliency import (
    adaptive_f_measure,
    f_measure,
    foreground_iou,
    max_f_measure,
    mean_absolute_error,
    precision_recall,
)


@pytest.fixture
def golden() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(0)
    truth = random.choice([0, 1, 2, 255], (64, 80))
    return random.choice([0, 1, 2, 3], (64, 80)), truth


def test_published_miou(golden):
    confusion = confusion_matrix(*golden, 21)
    assert confusion.shape == (21, 21) and confusion.dtype == np.int64
    assert confusion.sum() == (golden[1] != 255).sum()
    assert np.trace(confusion) / confusion.sum() == pytest.approx(0.24624704, abs=1e-8)
    scores = intersection_over_union(confusion)
    assert scores[:4] == pytest.approx([0.165693, 0.166329, 0.156831, 0], abs=1e-6)
    assert np.isnan(scores[4:]).all()
    assert mean_intersection_over_union(confusion) == pytest.approx(0.1629510387, abs=1e-10)
    # The mean of a common evaluator that also counts class 3, which is predicted but never true.
    assert np.nanmean(scores) == pytest.approx(0.1222132790, abs=1e-10)


def test_rows_are_the_truth():
    confusion = confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 0]), 3)
    assert confusion.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]


def test_an_abstaining_prediction_is_a_miss(golden):
    prediction, truth = golden
    prediction = prediction.copy()
    prediction[:10] = 255
    confusion = confusion_matrix(prediction, truth, 21, missed_column=True)
    assert confusion.shape == (21, 22)
    assert confusion.sum() == (truth != 255).sum()
    scores = intersection_over_union(confusion)
    counted = truth != 255
    for label in range(3):
        hits = ((truth == label) & (prediction == label)).sum()
        union = (counted & ((truth == label) | (prediction == label))).sum()
        assert scores[label] == pytest.approx(hits / union)
    # Dropping those pixels, as some evaluators do, gives more.
    dropped = intersection_over_union(confusion[:, :21])
    assert np.nanmean(dropped) == pytest.approx(0.1213042707, abs=1e-10)
    assert mean_intersection_over_union(confusion) < np.mean(dropped[:3])
    with pytest.raises(ValueError, match="missed_column"):
        confusion_matrix(prediction, truth, 21)


def test_abstaining_everywhere_scores_zero():
    truth = np.array([0, 1, 1, 255])
    confusion = confusion_matrix(np.full(4, 255), truth, 2, missed_column=True)
    assert mean_intersection_over_union(confusion) == 0


def test_the_column_of_misses_changes_nothing_without_misses(golden):
    square, wide = confusion_matrix(*golden, 21), confusion_matrix(*golden, 21, missed_column=True)
    assert np.array_equal(square, wide[:, :21])
    np.testing.assert_array_equal(intersection_over_union(square), intersection_over_union(wide))


def test_counts_add_up_over_images_in_any_order(golden):
    prediction, truth = golden
    parts = [confusion_matrix(prediction[rows], truth[rows], 21) for rows in np.split(np.arange(64), 4)]
    whole = confusion_matrix(prediction, truth, 21)
    assert np.array_equal(sum(parts), whole) and np.array_equal(sum(parts[::-1]), whole)


def test_a_perfect_prediction_scores_one_with_ignored_pixels_present(golden):
    truth = golden[1].astype(np.uint8)
    assert mean_intersection_over_union(confusion_matrix(truth, truth, 21)) == 1


def test_small_integer_types_do_not_overflow():
    truth = np.full((8, 8), 80, dtype=np.uint8)
    confusion = confusion_matrix(truth, truth, 81)
    assert confusion[80, 80] == 64 and confusion.sum() == 64


def test_relabelling_permutes_the_scores(golden):
    order = np.array([2, 0, 3, 1])
    prediction, truth = golden
    relabelled = confusion_matrix(order[prediction], np.where(truth == 255, 255, order[truth % 4]), 4)
    scores = intersection_over_union(confusion_matrix(prediction, truth, 4))
    np.testing.assert_allclose(intersection_over_union(relabelled)[order], scores)


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "one shape"),
        (np.zeros(3), np.zeros(3, int), "integers"),
        (np.array([0, 4]), np.array([0, 0]), "prediction holds 0..4"),
        (np.array([0, -1]), np.array([0, 0]), "prediction holds -1..0"),
        (np.array([0, 0]), np.array([0, 7]), "truth holds 0..7"),
    ],
)
def test_impossible_arrays_are_refused(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(prediction, truth, 4)


def test_nothing_to_score_is_not_a_number():
    confusion = confusion_matrix(np.zeros(3, int), np.full(3, 255), 4)
    assert np.isnan(mean_intersection_over_union(confusion))


def test_average_precision_on_paper():
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.5], [0.7, 0.3, 0.5], [0.6, 0.4, 0.5]])
    labels = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    precisions = average_precision(scores, labels)
    assert precisions[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(precisions[1])  # no positive image
    assert precisions[2] == pytest.approx(1 / 4)  # all tied: the share of positives
    assert mean_average_precision(precisions) == pytest.approx((precisions[0] + precisions[2]) / 2)
    assert np.isnan(mean_average_precision(precisions[1:2]))


def test_average_precision_by_its_definition_with_ties():
    random = np.random.RandomState(1)
    scores, labels = random.randint(0, 12, (60, 4)) / 11, random.rand(60, 4) < 0.3
    for column, precision in enumerate(average_precision(scores, labels)):
        expected, recall = 0.0, 0.0
        for threshold in np.unique(scores[:, column])[::-1]:
            chosen = scores[:, column] >= threshold
            hits = (labels[:, column] & chosen).sum()
            expected += (hits / labels[:, column].sum() - recall) * hits / chosen.sum()
            recall = hits / labels[:, column].sum()
        assert precision == pytest.approx(expected, rel=1e-12)


def test_average_precision_ignores_order_and_monotonic_scale():
    random = np.random.RandomState(2)
    scores, labels = random.randint(0, 5, (40, 3)) / 4, random.rand(40, 3) < 0.4
    shuffle = random.permutation(40)
    expected = average_precision(scores, labels)
    np.testing.assert_allclose(average_precision(scores[shuffle], labels[shuffle]), expected, rtol=1e-12)
    np.testing.assert_allclose(average_precision(np.exp(3 * scores), labels), expected, rtol=1e-12)
    np.testing.assert_allclose(average_precision(labels.astype(float), labels), 1)


def test_average_precision_refuses_what_it_cannot_rank():
    with pytest.raises(ValueError, match="one shape"):
        average_precision(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="NaN"):
        average_precision(np.full((3, 2), np.nan), np.ones((3, 2)))


def test_saliency_measures_on_paper():
    saliency = np.array([[1.0, 0.6], [0.5, 0.0]])
    truth = np.array([[3, 0], [7, 0]])
    # Only the first two pixels are above 0.5; exactly 0.5 is background.
    assert foreground_iou(saliency, truth) == pytest.approx(1 / 3)
    assert foreground_iou(saliency, truth, threshold=0.4) == pytest.approx(2 / 3)
    assert mean_absolute_error(saliency, truth) == pytest.approx((0 + 0.6 + 0.5 + 0) / 4)
    truth[0, 1] = 255
    assert foreground_iou(saliency, truth, threshold=0.4) == 1
    assert mean_absolute_error(saliency, truth) == pytest.approx(0.5 / 3)


def test_saliency_of_an_empty_image():
    saliency, truth = np.zeros((2, 2)), np.zeros((2, 2), int)
    assert np.isnan(foreground_iou(saliency, truth))
    assert mean_absolute_error(saliency, truth) == 0
    assert np.isnan(mean_absolute_error(saliency, np.full((2, 2), 255)))
    assert np.isnan(max_f_measure([precision_recall(saliency, truth)]))


def test_stored_saliency_reads_like_its_fraction():
    random = np.random.RandomState(3)
    stored, truth = random.randint(0, 256, (20, 30)).astype(np.uint8), random.choice([0, 4, 255], (20, 30))
    assert foreground_iou(stored, truth) == foreground_iou(stored / 255, truth)
    assert mean_absolute_error(stored, truth) == pytest.approx(mean_absolute_error(stored / 255, truth))
    for first, second in zip(precision_recall(stored, truth), precision_recall(stored / 255, truth), strict=True):
        np.testing.assert_array_equal(first, second)


def test_precision_and_recall_by_their_definition():
    random = np.random.RandomState(4)
    stored, truth = random.randint(0, 200, (20, 30)).astype(np.uint8), random.choice([0, 4, 255], (20, 30))
    precision, recall = precision_recall(stored, truth)
    counted, foreground = truth != 255, truth == 4
    for threshold in (0, 1, 77, 199):
        salient = counted & (stored >= threshold)
        hits = (salient & foreground).sum()
        assert precision[threshold] == pytest.approx(hits / salient.sum() if salient.any() else np.nan, nan_ok=True)
        assert recall[threshold] == pytest.approx(hits / foreground.sum())
    assert np.isnan(precision[200:]).all() and (recall[200:] == 0).all()


def test_f_measure_favours_precision():
    assert f_measure(0.8, 0.4) == pytest.approx(1.3 * 0.32 / 0.64)
    assert f_measure(0.5, 0.5) == pytest.approx(0.5)
    assert f_measure(0.9, 0.3) > f_measure(0.3, 0.9)
    assert f_measure(0.0, 0.0) == 0


def test_adaptive_f_measure_on_paper():
    saliency, truth = np.array([[0.9, 0.7, 0.1, 0.1]]), np.array([[1, 0, 1, 255]])
    # Twice the mean of the three that count is 17 / 15, cut to 1: nothing is salient.
    assert adaptive_f_measure(saliency, truth) == 0
    saliency = np.array([[0.9, 0.6, 0.0, 0.0, 0.0]])  # twice the mean is 0.6, which is salient
    assert adaptive_f_measure(saliency, np.array([[1, 0, 1, 0, 0]])) == pytest.approx(0.5)
    assert adaptive_f_measure((saliency * 255).astype(np.uint8), np.array([[1, 1, 0, 0, 0]])) == pytest.approx(1)
    assert np.isnan(adaptive_f_measure(saliency, np.zeros((1, 5), int)))


def test_maximal_f_measure_averages_the_curves_before_it_takes_the_maximum():
    random = np.random.RandomState(5)
    curves = []
    for size in (10, 40):
        truth = random.rand(size, size) < 0.4
        curves.append(precision_recall(np.clip(truth * 0.3 + 0.7 * random.rand(size, size), 0, 1), truth.astype(int)))
    precision, recall = (np.nan_to_num(np.stack(part)).mean(0) for part in zip(*curves, strict=True))
    expected = (1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-12)).max()
    assert max_f_measure(iter(curves)) == pytest.approx(expected)
    empty = precision_recall(random.rand(5, 5), np.zeros((5, 5), int))
    assert max_f_measure([*curves, empty]) == pytest.approx(expected)
    perfect = np.eye(4, dtype=int)
    assert max_f_measure([precision_recall(perfect.astype(float), perfect)]) == 1


def test_saliency_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        mean_absolute_error(np.array([0.0, 200.0]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        mean_absolute_error(np.array([0.0, np.nan]), np.array([0, 1]))
    with pytest.raises(ValueError, match="one shape"):
        foreground_iou(np.zeros((2, 2)), np.zeros((2, 3), int))
