"""Dense CRF: golden values of three published parameter sets, and what every posterior must satisfy."""

import numpy as np
import pytest

from workflow_scripts.refine.dense_crf import dense_crf

BANA = {"bilateral": (55, 3, 4), "gaussian": (3, 3)}


@pytest.fixture
def golden() -> tuple[np.ndarray, np.ndarray]:
    image = np.random.RandomState(0).randint(0, 255, (40, 50, 3)).astype(np.uint8)
    return image, np.random.RandomState(2).rand(3, 40, 50)


@pytest.mark.parametrize(
    ("parameters", "means", "corner", "histogram"),
    [
        ({}, [0.28449, 0.41873, 0.29677], 2.3517e-4, [571, 832, 597]),
        ({"bilateral": (67, 3, 4), "gaussian": (1, 3)}, [0.30484, 0.35532, 0.33984], 2.4048e-3, [610, 710, 680]),
        (BANA, [0.30521, 0.37197, 0.32281], 2.9709e-3, [611, 742, 647]),
    ],
    ids=["AffinityNet", "DeepLab-V2", "BANA"],
)
def test_published_values(golden, parameters, means, corner, histogram):
    posterior = dense_crf(*golden, **parameters)
    assert posterior.shape == (3, 40, 50) and posterior.dtype == np.float32
    # Builds of the library differ in the last digits, hence the tolerances.
    assert posterior.mean(axis=(1, 2)) == pytest.approx(means, abs=2e-3)
    assert posterior[0, 0, 0] == pytest.approx(corner, rel=0.05)
    counts = np.bincount(posterior.argmax(0).ravel(), minlength=3)
    assert np.abs(counts - histogram).sum() <= 0.02 * 2000


def test_a_scale_per_pixel_changes_nothing(golden):
    image, probabilities = golden
    normalised = probabilities / probabilities.sum(0)
    np.testing.assert_allclose(dense_crf(image, normalised), dense_crf(image, probabilities), atol=1e-4)


def test_posterior_sums_to_one_and_follows_the_order_of_labels(golden):
    image, probabilities = golden
    posterior = dense_crf(image, probabilities)
    np.testing.assert_allclose(posterior.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(dense_crf(image, probabilities[::-1])[::-1], posterior, atol=1e-4)


def test_noise_inside_a_uniform_region_is_removed_and_the_edge_kept():
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, 23:] = 255
    truth = np.zeros((30, 40), int)
    truth[:, 23:] = 1
    noisy = np.where(np.random.RandomState(0).rand(30, 40) < 0.2, 1 - truth, truth)
    probabilities = np.where(noisy[None] == np.arange(2)[:, None, None], 0.7, 0.3)
    assert (probabilities.argmax(0) != truth).mean() > 0.1
    assert (dense_crf(image, probabilities).argmax(0) == truth).all()


def test_without_steps_the_probabilities_come_back():
    image = np.random.RandomState(0).randint(0, 255, (7, 9, 3)).astype(np.uint8)
    probabilities = np.random.RandomState(1).rand(4, 7, 9)
    posterior = dense_crf(image, probabilities, iterations=0)
    np.testing.assert_allclose(posterior, np.maximum(probabilities, 1e-5) / probabilities.sum(0), rtol=1e-3)


def test_a_single_label_is_certain():
    posterior = dense_crf(np.zeros((4, 5, 3), np.uint8), np.full((1, 4, 5), 0.2))
    assert posterior.shape == (1, 4, 5) and (posterior == 1).all()


def test_memory_layout_of_the_arrays_does_not_matter(golden):
    image, probabilities = golden
    expected = dense_crf(image, probabilities)
    locked = image.copy()
    locked.flags.writeable = False
    for other in (locked, np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(dense_crf(other, probabilities), expected)
    np.testing.assert_array_equal(dense_crf(image, np.asfortranarray(probabilities)), expected)
    assert np.array_equal(image, golden[0])


@pytest.mark.parametrize(
    ("image", "probabilities", "message"),
    [
        (np.zeros((4, 5, 3), np.float32), np.ones((2, 4, 5)), "uint8"),
        (np.zeros((4, 5), np.uint8), np.ones((2, 4, 5)), "uint8"),
        (np.zeros((4, 5, 3), np.uint8), np.ones((2, 5, 4)), r"\(L, 4, 5\)"),
        (np.zeros((4, 5, 3), np.uint8), np.ones((0, 4, 5)), r"\(L, 4, 5\)"),
        (np.zeros((4, 5, 3), np.uint8), np.full((2, 4, 5), np.nan), "finite"),
    ],
)
def test_impossible_arrays_are_refused(image, probabilities, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(image, probabilities)
