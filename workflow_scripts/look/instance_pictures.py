"""Drawing instances: each in a colour of its own, with its box."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from workflow_scripts.data.boxes import by_area
from workflow_scripts.data.instances import UNRELIABLE, Instances
from workflow_scripts.look.pictures import PALETTE, PAPER, Cell, overlay


def instance_cell(image: np.ndarray, instances: Instances, classes: Sequence[str], least: float = 0.5) -> Cell:
    """Masks over their image, the smaller in front, unreliable pixels in cream; the caption names the classes.

    Args:
        image: uint8 (H, W, 3) RGB.
        instances: in it; found ones below the score `least` are not drawn, but counted.
        classes: names of the object classes.
    """
    size, sure = image.shape[:2], np.ones(len(instances), bool)
    if instances.scores is not None:
        sure = instances.scores >= least
    label = np.zeros(size, np.uint8)
    drawn = [row for row in by_area(instances.boxes) if sure[row]]
    for row in drawn:
        mask = instances.mask(row, *size)
        label[(mask == UNRELIABLE) & (label == 0)] = UNRELIABLE
        label[mask == 1] = _colour(row)
    picture = Image.fromarray(overlay(image, label))
    draw, across, down = ImageDraw.Draw(picture), picture.width / size[1], picture.height / size[0]
    for row in drawn:
        x0, y0, x1, y1 = instances.boxes[row, :4]
        corners = [round(float(value)) for value in (x0 * across, y0 * down, x1 * across - 1, y1 * down - 1)]
        corners[2:] = max(corners[0], corners[2]), max(corners[1], corners[3])
        draw.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline=PAPER, width=4)
        draw.rectangle(corners, outline=tuple(PALETTE[_colour(row)].tolist()), width=2)
    names = [classes[int(instances.boxes[row, 4])] for row in range(len(instances)) if sure[row]]
    more = f" and {len(instances) - len(names)} less sure" if len(names) < len(instances) else ""
    return Cell(np.asarray(picture), (", ".join(names) or "no instance") + more)


def _colour(row: int) -> int:
    """A label whose colour the instance has; black and cream are none."""
    return 1 + row % (UNRELIABLE - 1)
