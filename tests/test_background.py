"""From maps to masks: the constant and the learnt background, labels, and maps at the size of the image."""

import numpy as np

from workflow_scripts.data.maps import constant_background, learnt_background, to_label, upsampled


def test_constant_background_wins_below_its_share_of_the_maximum():
    scores = np.array([[[0.0, 0.5, 1.0, 2.0]]], np.float32)
    probabilities = constant_background(scores, 0.3, eps=0)
    assert probabilities.dtype == np.float32 and probabilities.shape == (2, 1, 4)
    np.testing.assert_allclose(probabilities[0], 0.3)
    np.testing.assert_allclose(probabilities[1], [[0, 0.25, 0.5, 1]])
    np.testing.assert_array_equal(to_label(probabilities, np.array([4], np.int16)), [[0, 0, 5, 5]])


def test_every_class_has_its_own_maximum():
    scores = np.stack([np.full((2, 2), 0.01), np.full((2, 2), 100)]).astype(np.float32)
    scores[0, 0, 0] = 0.005
    probabilities = constant_background(scores, 0.2, eps=0)
    assert probabilities[1].max() == probabilities[2].max() == 1 and probabilities[1, 0, 0] == 0.5


def test_scaling_the_maps_changes_no_mask():
    scores = np.random.default_rng(0).random((3, 9, 11)).astype(np.float32)
    classes = np.array([0, 2, 5], np.int16)
    masks = [to_label(constant_background(scale * scores, 0.4), classes) for scale in (1, 8, 64)]
    assert set(np.unique(masks[0])) <= {0, 1, 3, 6}
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_an_empty_map_and_an_image_without_labels_are_background():
    for scores, classes in ((np.zeros((1, 4, 5)), [3]), (np.zeros((0, 4, 5)), [])):
        probabilities = constant_background(scores.astype(np.float32), 0.2)
        assert np.isfinite(probabilities).all()
        np.testing.assert_array_equal(to_label(probabilities, np.array(classes, np.int16)), np.zeros((4, 5), np.uint8))


def test_a_higher_threshold_only_adds_background():
    scores = np.random.default_rng(1).random((2, 20, 20)).astype(np.float32)
    masks = [to_label(constant_background(scores, threshold), np.array([0, 1])) for threshold in (0, 0.3, 0.6, 1)]
    assert not (masks[0] == 0).any() and (masks[3] == 0).all()
    for low, high in zip(masks, masks[1:], strict=False):
        assert ((high == 0) | (high == low)).all() and (high == 0).sum() > (low == 0).sum()


def test_learnt_background_is_compared_as_it_is():
    scores, background = np.array([[[0.2, 0.6]], [[0.3, 0.1]]], np.float32), np.array([[0.5, 0.5]], np.float32)
    probabilities = learnt_background(scores, background)
    np.testing.assert_array_equal(probabilities, [[[0.5, 0.5]], *scores])
    np.testing.assert_array_equal(to_label(probabilities, np.array([1, 2])), [[0, 2]])


def test_upsampled_maps_keep_constants_and_corners():
    np.testing.assert_allclose(upsampled(np.full((2, 3, 4), 0.25, np.float16), 12, 17), 0.25)
    maps = np.arange(12, dtype=np.float16).reshape(1, 3, 4)
    np.testing.assert_array_equal(upsampled(maps, 3, 4), maps)
    large = upsampled(maps, 6, 8)
    assert large.dtype == np.float32 and large.shape == (1, 6, 8)
    np.testing.assert_allclose(large[0, 0, :3], [0, 0.25, 0.75])  # centres of pixels, corners not aligned
    assert upsampled(np.zeros((0, 3, 4)), 6, 8).shape == (0, 6, 8)
