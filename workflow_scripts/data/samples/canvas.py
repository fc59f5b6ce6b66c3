"""The image of a training sample on its square canvas: finished where it is loaded, or on the device, batch by batch.

With `augment: device` the loading process only decodes, resizes, mirrors and crops; a sample then has, as bytes, the canvas and what is
still to be done, drawn from the sample's own generator. Both ways jitter alike up to Pillow's rounding, but that contrast is
taken about the mean of the crop instead of the whole image's.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.data.samples.jitter import Steps, adjusted
from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION, normalise

PADDING = {"mean": MEAN, "black": (0.0, 0.0, 0.0)}  # colours of what an image does not fill, RGB in [0, 1]


def on_canvas(
    patch: np.ndarray, window: Sequence[slice], crop: int, augment: str, padding: str = "mean", steps: Steps = ()
) -> dict[str, Tensor]:
    """The image of a sample, and under "device" what is left to do to it.

    Args:
        patch: uint8 (h, w, 3) RGB; under "worker" with its colours jittered already.
        window: rows and columns of the canvas that it fills.
        crop: side of the canvas in pixels.
        augment: "worker" or "device".
        padding: the colour around it, "mean" (0 after normalisation) or "black".
        steps: of the jitter, applied on the device.

    Returns:
        "worker": `image`, float32 (3, crop, crop), normalised. "device": `image`, uint8 (crop, crop, 3), `window` (4,) first and last
        rows and columns, `padding` (3,) normalised colour, `steps` (S,) and `factors` (S,) of the jitter.
    """
    colour = normalised_colour(PADDING[padding])
    if augment == "worker":
        canvas = colour[:, None, None].repeat(1, crop, crop)
        canvas[:, *window] = normalise(patch)
        return {"image": canvas}
    canvas = torch.zeros(crop, crop, 3, dtype=torch.uint8)
    canvas[*window] = torch.from_numpy(np.array(patch, order="C"))
    return {
        "image": canvas,
        "window": torch.tensor([edge for part in window for edge in (part.start, part.stop)]),
        "padding": colour,
        "steps": torch.tensor([number for number, _ in steps], dtype=torch.long),
        "factors": torch.tensor([factor for _, factor in steps], dtype=torch.float64),
    }


def finish(batch: dict[str, Tensor], where: torch.device) -> dict[str, Tensor]:
    """Move a batch to the device, its images in channels-last order, and do there what loading left over."""
    drawn = {name: batch.pop(name).tolist() for name in ("window", "steps", "factors") if name in batch}
    batch = {name: value.to(where, non_blocking=True) for name, value in batch.items()}
    if drawn:
        batch["image"] = _finished(batch["image"], batch.pop("padding"), **drawn)
    return batch | {"image": batch["image"].contiguous(memory_format=torch.channels_last)}


def _finished(canvases: Tensor, padding: Tensor, window: list, steps: list, factors: list) -> Tensor:
    """uint8 (B, crop, crop, 3) -> float32 (B, 3, crop, crop), normalised."""
    canvases = canvases.permute(0, 3, 1, 2)
    images = padding[:, :, None, None].expand(canvases.shape).contiguous(memory_format=torch.channels_last)
    mean, deviation = _statistics(canvases.device)
    for number, (top, bottom, left, right) in enumerate(window):
        patch = canvases[number, :, top:bottom, left:right].float().div_(255)
        patch = adjusted(patch, list(zip(steps[number], factors[number], strict=True)))
        images[number, :, top:bottom, left:right] = (patch - mean) / deviation
    return images


@functools.cache  # a tensor made anew on a GPU would make the step wait for it
def _statistics(where: torch.device) -> tuple[Tensor, Tensor]:
    return tuple(torch.tensor(values, device=where)[:, None, None] for values in (MEAN, STANDARD_DEVIATION))


def normalised_colour(colour: Sequence[float]) -> Tensor:
    """RGB in [0, 1] -> float32 (3,) as `normalise` would have it."""
    return (torch.tensor(colour) - torch.tensor(MEAN)) / torch.tensor(STANDARD_DEVIATION)
