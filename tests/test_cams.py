"""Class activation maps: merged over scales and mirrored copies, each in its place, of the labelled classes in their order."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from workflow_scripts.data.index import Index
from workflow_scripts.data.transforms import normalise, resized
from workflow_scripts.stages.cams import State, maps_of

CLASSES = ("first", "second", "third")
HEIGHT, WIDTH = 48, 64
BLOCK = {
    "scales": (1.0,),
    "flip": False,
    "align_corners": False,
    "side": None,
    "merge": "mean",
    "upsampling": "bilinear",
    "normalise": None,
    "resolution": 1,
    "precision": "float32",
}


class Colours:
    """The map of class k is colour k, never negative, in cells of 8 pixels; the background is their sum."""

    backbone = SimpleNamespace(stride=8)

    def __init__(self, learns_background: bool):
        self.learns_background = learns_background

    def maps(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        maps = avg_pool2d(images + 3, 8)
        return maps, maps.sum(dim=1) if self.learns_background else None


def state(image: np.ndarray, labels: tuple[int, ...] = (0, 2), background: bool = False, **changes) -> State:
    index = Index(
        path="index.h5",
        dataset="mine",
        classes=CLASSES,
        ids=["one"],
        images=[""],
        digests=[""],
        sizes=np.array([image.shape[:2]]),
        labels=np.array([[number in labels for number in range(3)]], np.uint8),
        boxes=np.zeros((0, 5), np.float32),
        crowds=np.zeros(0, np.uint8),
        box_offsets=np.zeros(2, np.int64),
        splits={"all": np.zeros(1, np.int32)},
    )
    images = SimpleNamespace(index=index, read=lambda identifier: image)
    return State(Colours(background), images, SimpleNamespace(**BLOCK | changes), torch.device("cpu"))


@pytest.fixture
def image() -> np.ndarray:
    """Nothing in it is symmetric."""
    return np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def one_pass(image: np.ndarray, scale: float = 1.0) -> Tensor:
    """(3, H, W): what the network makes of the image at a scale, at the size of the image."""
    tensor = normalise(resized(image, int(HEIGHT * scale), int(WIDTH * scale)))[None]
    return interpolate(avg_pool2d(tensor + 3, 8), size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0]


def scores(state: State) -> Tensor:
    return torch.from_numpy(maps_of(state, "one")["scores"].astype(np.float32))


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=5e-3)


def test_maps_are_those_of_the_labelled_classes(image):
    arrays = maps_of(state(image), "one")
    assert arrays["classes"].tolist() == [0, 2] and set(arrays) == {"classes", "scores"}
    assert close(scores(state(image)), one_pass(image)[[0, 2]])


def test_a_mirrored_pass_comes_back_to_its_place(image):
    """Cells of 8 pixels lie alike in the mirrored image, so that both passes have the same map."""
    assert close(scores(state(image, flip=True)), one_pass(image)[[0, 2]])


@pytest.mark.parametrize("flip", [False, True])
def test_scales_are_averaged(image, flip):
    expected = (one_pass(image) + one_pass(image, 0.5)) / 2
    assert close(scores(state(image, scales=(1.0, 0.5), flip=flip)), expected[[0, 2]])


def test_the_greatest_of_the_normalised_passes(image):
    one, half = (m / m.amax(dim=(1, 2), keepdim=True) for m in (one_pass(image), one_pass(image, 0.5)))
    found = scores(state(image, scales=(1.0, 0.5), flip=True, merge="max"))
    assert close(found, torch.maximum(one, half)[[0, 2]])


def test_stretched_from_minimum_to_maximum(image):
    maps = one_pass(image)[[0, 2]]
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    assert close(scores(state(image, normalise="min_max")), (maps - low) / (high - low))


def test_the_background_that_is_learnt_is_apart(image):
    arrays = maps_of(state(image, background=True, flip=True), "one")
    assert close(torch.from_numpy(arrays["scores"].astype(np.float32)), one_pass(image)[[0, 2]])
    background = torch.from_numpy(arrays["background"].astype(np.float32))
    assert torch.allclose(background, one_pass(image).sum(dim=0), rtol=0, atol=2e-2)


def test_maps_are_stored_as_means_of_their_pixels(image):
    found = scores(state(image, resolution=4))
    assert found.shape == (2, HEIGHT // 4, WIDTH // 4)
    assert close(found, avg_pool2d(one_pass(image)[[0, 2]], 4))


def test_an_image_without_a_label_has_no_map(image):
    arrays = maps_of(state(image, labels=(), flip=True), "one")
    assert arrays["classes"].shape == (0,) and arrays["scores"].shape == (0, HEIGHT, WIDTH)
