"""Four drawn pictures and their objects, as the files of annotation tools in tests/imports have them."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["cat", "dog"]
SIZES = {"a.png": (30, 40), "b.jpg": (32, 48), "c d.png": (27, 33), "n.png": (30, 30)}  # height and width as shown
TURNED = {"b.jpg": 6}  # EXIF: its pixels are stored on their side
SPLITS = {"a.png": "train", "b.jpg": "train", "c d.png": "val", "n.png": "val"}
BOXES = {"a.png": [((5, 6, 19, 14), "cat")], "b.jpg": [((10, 2, 30, 28), "dog"), ((31, 5, 48, 32), "cat")]}
POLYGONS = {
    "a.png": [([20, 4, 36, 4, 36, 20, 28, 26, 20, 20], "dog")],
    "b.jpg": [([2.5, 1, 9, 1, 9, 30, 2.5, 30], "cat")],
}


def ring() -> np.ndarray:
    """bool (27, 33): an object with a hole."""
    mask = np.zeros(SIZES["c d.png"], bool)
    mask[4:20, 6:27] = True
    mask[9:14, 12:20] = False
    return mask


MASKS = {"c d.png": [(ring(), "cat")]}


def draw(folder: Path) -> None:
    """Write the pictures, without any two that are the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        exif = Image.Exif()
        picture = Image.fromarray(pixels)
        if name in TURNED:
            exif[0x0112] = TURNED[name]
            picture = picture.transpose(Image.Transpose.ROTATE_90)  # which flag 6 turns back
        picture.save(folder / name, exif=exif)
