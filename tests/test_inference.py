"""Soft predictions: what is merged over scales and mirrored copies, and at which size."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from workflow_scripts.data.transforms import normalise, resized
from workflow_scripts.segmentation.inference import soft_prediction

SCALES = (1, 0.5)


class Colours(nn.Module):
    """Logits are the colours of cells of 8 pixels, so that every pass can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(3.0))
        self.backbone = SimpleNamespace(stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return self.gain * avg_pool2d(images, 8)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


def predicted(image: np.ndarray, **changes) -> Tensor:
    options = {"scales": SCALES, "flip": False, "align_corners": False, "resolution": 1, "precision": "float32"}
    return torch.from_numpy(soft_prediction(Colours(), image, SimpleNamespace(**options | changes)).astype(np.float32))


def logits(image: np.ndarray, scale: float) -> Tensor:
    height, width = image.shape[:2]
    with torch.no_grad():
        return Colours()(normalise(resized(image, int(height * scale), int(width * scale)))[None])


def enlarged(maps: Tensor, *size: int) -> Tensor:
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("merge", ["mean", "max"])
def test_probabilities_are_merged_at_image_size(image, merge):
    one, half = (enlarged(logits(image, scale), 64, 96).softmax(1)[0] for scale in SCALES)
    expected = (one + half) / 2 if merge == "mean" else torch.maximum(one, half)
    torch.testing.assert_close(predicted(image, merge=merge), expected, rtol=0, atol=1e-3)


def test_logits_are_merged_at_the_cells_of_the_first_scale(image):
    one, half = (logits(image, scale) for scale in SCALES)
    assert one.shape[-2:] == (8, 12) and half.shape[-2:] == (4, 6)
    merged = torch.maximum(one, enlarged(half, 8, 12))
    expected = enlarged(merged, 64, 96).softmax(1)[0]
    result = predicted(image, merge="max_logits")
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(result.sum(0), torch.ones(64, 96), rtol=0, atol=3e-3)


def test_mean_of_logits_is_taken_at_the_image_s_pixels(image):
    one, half = (enlarged(logits(image, scale), 64, 96) for scale in SCALES)
    expected = ((one + half) / 2).softmax(1)[0]
    torch.testing.assert_close(predicted(image, merge="mean_logits"), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("merge", ["mean", "max", "mean_logits", "max_logits"])
def test_one_pass_is_the_same_however_it_is_merged(image, merge):
    one = predicted(image, merge=merge, scales=(1,))
    torch.testing.assert_close(one, enlarged(logits(image, 1), 64, 96).softmax(1)[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("merge", ["mean", "mean_logits", "max_logits"])
def test_a_mirrored_image_gives_the_mirrored_prediction(image, merge):
    there, back = predicted(image, merge=merge, flip=True), predicted(image[:, ::-1].copy(), merge=merge, flip=True)
    torch.testing.assert_close(there, back.flip(-1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("merge", ["mean", "max", "mean_logits", "max_logits"])
def test_a_mirrored_pass_comes_back_to_its_place(image, merge):
    """Cells of 8 pixels lie alike in the mirrored image, so that both passes say the same."""
    torch.testing.assert_close(
        predicted(image, merge=merge, flip=True), predicted(image, merge=merge), rtol=0, atol=1e-3
    )
