"""BANA's augmentation: scale, crop, mirror; drawn once for an image and whatever goes with it, boxes too."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.data import transforms
from workflow_scripts.data.samples.canvas import on_canvas
from workflow_scripts.data.samples.jitter import draw_jitter, jitter_colours

PADDING = (123, 117, 104)  # RGB; the mean colour of BANA's code


@dataclass(frozen=True)
class ScaledCrop:
    """An image resized to `size`, mirrored or not, and where it and the square crop overlap."""

    original: tuple[int, int]
    size: tuple[int, int]
    mirrored: bool
    crop: int
    placement: transforms.Placement

    @classmethod
    def draw(cls, height: int, width: int, recipe, rng: np.random.Generator) -> "ScaledCrop":
        """A factor from `recipe.scale`, mirrored half of the time, a random crop; a small image lies in its middle."""
        size = transforms.scaled_size(height, width, float(rng.uniform(*recipe.scale)))
        mirrored = bool(rng.random() < 0.5)
        slices = []
        for side in size:
            padding = max(0, -(-(recipe.crop - side) // 2))  # before and after, half of what is missing
            start = padding - int(rng.integers(side + 2 * padding - recipe.crop + 1))
            canvas = slice(max(0, start), min(recipe.crop, start + side))
            slices.append((canvas, slice(canvas.start - start, canvas.stop - start)))
        placement = transforms.Placement((slices[0][0], slices[1][0]), (slices[0][1], slices[1][1]))
        return cls((height, width), size, mirrored, recipe.crop, placement)

    def image(self, image: np.ndarray, recipe, rng: np.random.Generator) -> dict[str, Tensor]:
        """`image` of the sample, the mean colour around it, colours jittered with it; or what the device makes it from.

        Bilinear, as BANA's code resizes.
        """
        image = transforms.resized(image, *self.size, linear=True)
        image = image[:, ::-1] if self.mirrored else image
        canvas = np.full((self.crop, self.crop, 3), PADDING, np.uint8)
        canvas[self.placement.canvas] = image[self.placement.source]
        steps, whole = draw_jitter(recipe.jitter, rng), (slice(0, self.crop),) * 2
        if recipe.augment == "worker":
            canvas = jitter_colours(canvas, steps)
        return on_canvas(canvas, whole, self.crop, recipe.augment, steps=steps)

    def map(self, values: np.ndarray, outside: int) -> Tensor:
        """uint8 (H, W) -> int64 (crop, crop), nearest samples."""
        values = transforms.resized(values, *self.size, nearest=True)
        values = values[:, ::-1] if self.mirrored else values
        canvas = torch.full((self.crop, self.crop), outside, dtype=torch.long)
        canvas[self.placement.canvas] = transforms.as_tensor(values[self.placement.source]).long()
        return canvas

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """(M, 5) in pixels of the image -> (N, 5), clipped to the crop, those outside it dropped.

        Coordinates in [-1, 1]: the centres of the crop's first and last pixel, as in BANA's code.
        """
        (height, width), (new_height, new_width) = self.original, self.size
        moved = boxes.astype(np.float32).copy()
        moved[:, [0, 2]] *= new_width / width
        moved[:, [1, 3]] *= new_height / height
        if self.mirrored:
            moved[:, [0, 2]] = new_width - moved[:, [2, 0]]
        rows, columns = self.placement.canvas
        source_rows, source_columns = self.placement.source
        moved[:, [0, 2]] += columns.start - source_columns.start
        moved[:, [1, 3]] += rows.start - source_rows.start
        moved[:, [0, 2]] = moved[:, [0, 2]].clip(columns.start, columns.stop - 1)
        moved[:, [1, 3]] = moved[:, [1, 3]].clip(rows.start, rows.stop - 1)
        kept = moved[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])]
        kept[:, :4] = kept[:, :4] / ((self.crop - 1) / 2) - 1
        return kept
