"""Batches are pure functions of seed and iteration, and what belongs to an image is transformed with it."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from training_set import JITTER, batch_of, recipe, samples_of

from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.batches import BatchSampler
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples


def test_every_epoch_is_a_new_permutation_without_the_rest():
    batches = list(BatchSampler(count=11, batch=3, iterations=9, seed=0))
    assert len(batches) == 9 and all(len(batch) == 3 for batch in batches)
    epochs = [sum(batches[start : start + 3], []) for start in (0, 3, 6)]
    for number, epoch in enumerate(epochs):
        assert {drawn for drawn, _ in epoch} == {number}
        positions = [position for _, position in epoch]
        assert len(set(positions)) == 9 and set(positions) <= set(range(11))  # 2 of 11 are left over
    orders = [[position for _, position in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2]


def test_resumed_batches_are_the_rest_of_the_batches():
    whole = list(BatchSampler(11, 3, 20, seed=4))
    for start in (0, 1, 3, 7, 19, 20):
        sampler = BatchSampler(11, 3, 20, seed=4, start=start)
        assert list(sampler) == whole[start:] and len(sampler) == 20 - start
    assert list(BatchSampler(11, 3, 5, seed=4)) == whole[:5]  # longer training begins the same
    assert list(BatchSampler(11, 3, 20, seed=5)) != whole


def test_fewer_images_than_a_batch_are_repeated():
    batches = list(BatchSampler(count=3, batch=7, iterations=2, seed=0))
    for number, batch in enumerate(batches):
        assert {epoch for epoch, _ in batch} == {number}
        counts = np.bincount([position for _, position in batch])
        assert counts.sum() == 7 and counts.min() >= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_does_not_depend_on_the_workers(rendered, workers):
    samples = samples_of(rendered, saliency=True)
    alone = [batch_of(samples, *[p for _, p in keys], epoch=keys[0][0]) for keys in BatchSampler(10, 4, 4, 0)]
    torch.rand(3)  # the state of the common generator does not matter
    np.random.seed(1)
    loader = DataLoader(
        samples, batch_sampler=BatchSampler(10, 4, 4, 0), num_workers=workers, multiprocessing_context="fork"
    )
    for found, expected in zip(loader, alone, strict=True):
        assert found.keys() == expected.keys() == {"image", "labels", "saliency"}
        for name, value in expected.items():
            assert torch.equal(found[name], value)


def test_a_sample_depends_on_seed_and_epoch(rendered):
    samples = samples_of(rendered)
    first = samples[0, 0]["image"]
    assert torch.equal(first, samples_of(rendered)[0, 0]["image"])
    assert not torch.equal(first, samples[1, 0]["image"])
    assert not torch.equal(first, samples_of(rendered, seed=1)[0, 0]["image"])


def test_saliency_is_transformed_with_its_image(rendered):
    """Without jitter, image and saliency resized and cropped alike: the padding of both is at the same place."""
    samples = samples_of(rendered, saliency=True, crop=96, long_side=[60, 60], jitter=dict.fromkeys(JITTER, 0))
    for position in range(4):
        sample = samples[0, position]
        assert sample["image"].shape == (3, 96, 96) and sample["saliency"].shape == (1, 96, 96)
        outside = (sample["image"] == 0).all(dim=0)
        assert outside.sum() >= 96 * 96 - 60 * 60
        assert (sample["saliency"][0][outside] == 0).all()
        assert 0 <= sample["saliency"].min() and sample["saliency"].max() <= 1


def test_segmentation_labels_are_padded_with_ignore(rendered):
    index = read_index(rendered / "index.h5")
    settings = recipe(crop=128, scales=[0.5])
    samples = SegmentationSamples(
        index, Images(index, rendered / "images.h5"), "train", settings, 0, rendered / "masks.h5"
    )
    sample = samples[0, 0]
    assert sample["image"].shape == (3, 128, 128) and sample["label"].dtype == torch.int64
    outside = (sample["image"] == 0).all(dim=0)
    height, width = index.size_of(index.ids[0])
    assert outside.sum() >= 128 * 128 - height * width // 4 - height - width
    assert (sample["label"][outside] == 255).all()
    known = set(sample["label"].unique().tolist()) - {255}
    assert known <= {0, *(1 + int(c) for c in index.classes_of(index.ids[0]))} and 0 in known
