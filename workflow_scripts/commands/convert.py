"""Make an 8-bit RGB or gray PNG of a picture of a kind that the workflow does not read.

    wsss convert photos/a.tif photos/a.png

16 and more bits a channel are stretched to 0 to 255, from the least to the greatest value of the picture; --range names
these values instead, the same for many files. What is transparent is put on white. The EXIF orientation is applied. Of
several pages or frames each becomes a file of its own, a_1.png, a_2.png and so on. No file is ever overwritten.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageSequence

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.data.readers.images import MAX_PIXELS, check_planes, is_deep, loaded, open_image
from workflow_scripts.store.artifacts import replaced


def converted(path: Path, limits: tuple[float, float] | None, most_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The pictures of a file in mode RGB or L, one after another.

    Args:
        limits: values of 16 and more bits a channel that become 0 and 255; the least and greatest of each picture if None.

    Raises:
        UserError: not an image that can be read.
    """
    with open(path, "rb") as stream:
        image = open_image(stream, path, most_pixels)
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if deep := is_deep(frame):
                check_planes(frame, path)
            picture, _ = loaded(frame, path, oriented=True)
            yield _stretched(_deep_values(path, picture, number), limits) if deep else _eight_bits(picture)
            if image.format == "MPO":  # what follows are previews
                return


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _deep_values(path: Path, image: Image.Image, number: int) -> np.ndarray:
    """(H, W) or (H, W, 3), as shown: by OpenCV where it can, as Pillow cuts colours of 16 bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float64)
    found, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if not found or number >= len(pages):
        raise UserError(f"{path}: its pixels cannot be read; save it as 8-bit RGB PNG in the program that made it")
    return pages[number][..., ::-1].astype(np.float64)


def _stretched(values: np.ndarray, limits: tuple[float, float] | None) -> Image.Image:
    finite = values[np.isfinite(values)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (0.0, 1.0))
    scaled = (np.nan_to_num(values) - low) / (high - low if high > low else 1)
    return Image.fromarray(np.rint(255 * scaled.clip(0, 1)).astype(np.uint8))


def main(arguments: Sequence[str]) -> None:
    """The command line, after the name of the command."""
    parser = command_parser("convert", __doc__)
    parser.add_argument("image", type=Path, help="the picture")
    parser.add_argument("out", type=Path, help="the PNG that is written; must not exist")
    parser.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="values that become 0 and 255")
    given = parser.parse_args(arguments)
    for out in convert(given.image, given.out, given.range):
        print(f"wrote {out}")


def convert(path: Path, out: Path, limits: Sequence[float] | None = None) -> Iterator[Path]:
    """Write the pictures of a file, and give the names."""
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: PNG is written, as it loses nothing; name a file that ends in .png")
    if limits and not limits[0] < limits[1]:
        raise UserError(f"--range {limits[0]:g} {limits[1]:g}: the first is not below the second; swap them")
    try:
        pictures = converted(path, (limits[0], limits[1]) if limits else None)
        first, second = next(pictures), next(pictures, None)
        names = (out.with_stem(f"{out.stem}_{number}") for number in range(1, sys.maxsize)) if second else iter([out])
        for picture in (first, *([second] if second else []), *pictures):
            target = next(names)
            if target.exists():
                raise UserError(f"{target}: exists and is never overwritten; name another file")
            with replaced(target) as temporary:
                picture.save(temporary, format="PNG")
            yield target
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or one_line(error)}); check the file") from None
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UserError(
            f"{path}: cannot be converted ({one_line(error)}); save it as 8-bit RGB PNG elsewhere"
        ) from None
