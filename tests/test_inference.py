"""Soft predictions: what is merged over scales and mirrored copies, and at which size."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from workflow_scripts.data.transforms import normalise, resized
from workflow_scripts.segmentation.inference import soft_prediction
from workflow_scripts.segmentation.pyramids import copies, scaled

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
    options["resize"] = "antialiased"
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


# How the image is resized


def ramps(height: int, width: int) -> Tensor:
    """Red holds the column of each pixel, green its row."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows, 0 * rows]).float()[None]


@pytest.mark.parametrize(("height", "width", "scale"), [(11, 18, 0.5), (11, 18, 0.75), (10, 7, 1.5), (23, 9, 1.3)])
def test_a_copy_has_sides_rounded_down_and_pixels_where_the_published_code_has_them(height, width, scale):
    """A ramp says where each pixel of the copy was taken."""
    given, small = ramps(height, width), (int(height * scale), int(width * scale))
    aligned, plain = scaled(given, scale, True), scaled(given, scale, False)
    assert aligned.shape[-2:] == plain.shape[-2:] == small
    for channel, (side, count) in enumerate([(width, small[1]), (height, small[0])]):
        at = torch.arange(count)
        from_corners = at * (side - 1) / (count - 1)
        by_scale = ((at + 0.5) / scale - 0.5).clamp(0, side - 1)  # not side / count, though the sides were rounded
        for found, expected in ((aligned, from_corners), (plain, by_scale)):
            line = found[0, channel, 0] if channel == 0 else found[0, channel, :, 0]
            torch.testing.assert_close(line, expected.float(), rtol=1e-5, atol=1e-4)


def test_a_copy_is_never_smaller_than_a_pixel_and_at_scale_1_the_image_itself():
    given = ramps(3, 9)
    for corners in (True, False):
        assert scaled(given, 0.25, corners).shape == (1, 3, 1, 2)
        torch.testing.assert_close(scaled(given, 1, corners), given)


def test_antialiasing_sees_all_pixels_and_plain_resizing_some():
    """Of a texture of four pixels, 1 0 0 1, a quarter sees the two in the middle, or all."""
    texture = np.tile(np.array([255, 0, 0, 255], np.uint8), (16, 8))[:, :, None].repeat(3, 2)
    options = SimpleNamespace(scales=[0.25], flip=True, align_corners=False)
    found = {}
    for options.resize in ("antialiased", "bilinear", "bilinear_corners"):
        (plain, first), (mirrored, second) = copies(texture, options, 8)
        assert (first, second) == (False, True) and torch.equal(mirrored, plain.flip(-1))
        assert plain.shape == (1, 3, 4, 8)
        found[options.resize] = plain[0, 0, 1:-1, 1:-1]
    black, white = (normalise(np.full((1, 1, 3), value, np.uint8))[0, 0, 0] for value in (0, 255))
    torch.testing.assert_close(found["bilinear"], torch.full((2, 6), black))
    torch.testing.assert_close(found["antialiased"], torch.full((2, 6), (black + white) / 2), rtol=0, atol=0.1)


def test_a_pyramid_of_the_published_code_resizes_the_normalised_image(image):
    """Each way of resizing and merging, written out."""
    network, whole = Colours(), normalise(image)[None]
    with torch.no_grad():
        one, half = network(whole), network(interpolate(whole, scale_factor=0.5, mode="bilinear"))
        corners = network(interpolate(whole, size=(32, 48), mode="bilinear", align_corners=True))
    expected = enlarged(torch.maximum(one, enlarged(half, 8, 12)), 64, 96).softmax(1)[0]
    found = predicted(image, resize="bilinear", merge="max_logits")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    expected = torch.maximum(*(enlarged(logits, 64, 96).softmax(1)[0] for logits in (one, corners)))
    found = predicted(image, resize="bilinear_corners", merge="max")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    both = [interpolate(logits, size=(64, 96), mode="bilinear", align_corners=True) for logits in (one, corners)]
    found = predicted(image, resize="bilinear_corners", merge="mean_logits", align_corners=True)
    torch.testing.assert_close(found, (sum(both) / 2).softmax(1)[0], rtol=0, atol=1e-3)


def test_only_ours_rounds_the_sides_to_cells(image):
    options = SimpleNamespace(scales=[0.6], flip=False, align_corners=True)
    sizes = {}
    for options.resize in ("antialiased", "bilinear", "bilinear_corners"):
        sizes[options.resize] = tuple(next(iter(copies(image, options, 8)))[0].shape[-2:])
    assert sizes == {"antialiased": (41, 57), "bilinear": (38, 57), "bilinear_corners": (38, 57)}
