"""Training samples of transformers: crops of random area and shape, RandAugment, erased rectangles, all seeded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from training_set import batch_of

from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.area_samples import Samples, erase, random_rectangle
from workflow_scripts.data.samples.rand_augment import OPERATIONS, rand_augment
from workflow_scripts.data.transforms import normalise, resized

AUGMENT = SimpleNamespace(operations=2, probability=0.5, magnitude=9, deviation=0.5)
RECIPE = SimpleNamespace(crop=48, area=(0.08, 1), aspect=(0.75, 4 / 3), rand_augment=AUGMENT, erasing=0.25)


def samples_of(data, **changes) -> Samples:
    index = read_index(data / "index.h5")
    recipe = SimpleNamespace(**vars(RECIPE) | changes)
    return Samples(index, Images(index, data / "images.h5"), "train", recipe, 0)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 200, (40, 60, 3), np.uint8)


@pytest.mark.parametrize(("aspect", "shape"), [((2, 2), (20, 40)), ((0.5, 0.5), (40, 20))])
def test_the_aspect_is_width_over_height(aspect, shape):
    left, top, width, height = random_rectangle(80, 80, (0.125, 0.125), aspect, np.random.default_rng(0))
    assert (height, width) == shape and 0 <= left <= 80 - width and 0 <= top <= 80 - height
    *_, width, height = random_rectangle(10, 80, (0.9, 0.9), aspect, np.random.default_rng(0))  # none fits
    assert width == round(aspect[0] * height) and height == 10


def test_a_sample_depends_on_seed_epoch_and_image_alone(rendered):
    samples = samples_of(rendered)
    first = samples[0, 3]
    torch.rand(3), np.random.rand(3)
    again = samples_of(rendered)[0, 3]
    assert first["image"].shape == (3, 48, 48) and first["labels"].shape == (6,)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(samples[1, 3]["image"], first["image"])
    assert batch_of(samples, 0, 1)["image"].shape == (2, 3, 48, 48)


def test_a_whole_image_without_augmentation_is_the_image_or_its_mirror(rendered):
    samples = samples_of(rendered, area=(1, 1), aspect=(4 / 3, 4 / 3), rand_augment=None, erasing=0)
    samples.recipe.crop = 96
    seen = set()
    for epoch in range(12):
        found = samples[epoch, 0]["image"]
        image = samples.images.read(samples.ids[0])
        plain = normalise(resized(image, 96, 96))
        assert any(equal := [torch.equal(found, plain), torch.equal(found, plain.flip(-1))])
        seen.add(equal[1])
    assert seen == {True, False}


@pytest.mark.parametrize(("height", "width"), [(375, 500), (30, 900), (900, 30), (1, 1)])
def test_rectangles_lie_inside_and_have_area_and_shape(height, width):
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        left, top, across, down = random_rectangle(height, width, (0.08, 1), (0.75, 4 / 3), rng)
        assert 0 <= left and left + across <= width and 0 <= top and top + down <= height and across and down
        if min(height, width) > 1:
            assert 0.7 <= across / down <= 1.43
        shares.append(across * down / (height * width))
    if (height, width) == (375, 500):  # those that do not fit are drawn again, so the large ones are fewer
        assert (
            min(shares) == pytest.approx(0.08, abs=0.02)
            and max(shares) > 0.8
            and np.mean(shares) == pytest.approx(0.45, abs=0.1)
        )


def test_an_erased_rectangle_is_noise_and_the_rest_stays():
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(100):
        tensor = torch.full((3, 64, 64), 7.0)
        erase(tensor, rng)
        changed = (tensor != 7).all(dim=0)
        rows, columns = changed.any(dim=1), changed.any(dim=0)
        assert changed[rows][:, columns].all() and torch.equal((tensor != 7).any(dim=0), changed)
        shares.append(changed.float().mean().item())
    assert 0.015 < min(shares) and max(shares) < 0.35
    noise = tensor[:, changed]
    assert abs(noise.mean()) < 0.3 and abs(noise.std() - 1) < 0.2


def test_operations_keep_the_size_and_do_nothing_or_less_at_strength_0():
    image = Image.fromarray(picture())
    for number, operation in enumerate(OPERATIONS):
        weak, strong = (np.asarray(operation(image, strength, 1.0)) for strength in (0.0, 0.9))
        assert weak.shape == strong.shape == (40, 60, 3) and weak.dtype == np.uint8
        change = [np.abs(found.astype(int) - picture()).mean() for found in (weak, strong)]
        assert change[1] >= change[0] and change[1] > 0, number
        if number > 2 and number != 4:  # contrast, histogram, inversion; posterised to four bits at the least
            assert change[0] < 1, number


@pytest.mark.parametrize(
    ("number", "strength", "value", "expected"),
    [
        (2, 0.9, 10, 245),  # inverted
        (4, 0.9, 255, 128),  # posterised: 4 - int(3.6) = 1 bit
        (4, 1.0, 255, 0),
        (5, 0.9, 200, 55),  # solarised above 256 - 230
        (5, 0.9, 20, 20),
        (6, 0.9, 20, 119),  # solarised by adding 99 below 128
        (6, 0.9, 200, 200),
    ],
)
def test_values_of_operations(number, strength, value, expected):
    image = Image.fromarray(np.full((4, 4, 3), value, np.uint8))
    assert (np.asarray(OPERATIONS[number](image, strength, 1.0)) == expected).all()


def test_rand_augment_applies_as_often_as_it_is_told():
    rng = np.random.default_rng(0)
    never = SimpleNamespace(**vars(AUGMENT) | {"probability": 0.0})
    assert all((rand_augment(picture(), never, rng) == picture()).all() for _ in range(20))
    once = SimpleNamespace(**vars(AUGMENT) | {"operations": 1})
    changed = np.mean([(rand_augment(picture(), once, rng) != picture()).any() for _ in range(400)])
    assert 0.35 < changed < 0.55  # a half, less what autocontrast leaves as it is
