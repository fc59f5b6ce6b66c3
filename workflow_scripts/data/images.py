"""Image, label and saliency files from disk, checked: what cannot be used is refused with one line that says why."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from workflow_scripts.errors import UserError, one_line

MAX_PIXELS = 100_000_000
MAX_BYTES = 1 << 29  # of a file; as many pixels take less without any compression
VOID = 255
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")  # a closed list: some of Pillow's readers start programs

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow warns above this and refuses at twice as much; here the limit is exact


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a photograph as RGB.

    8-bit grayscale is repeated over the three channels. The EXIF orientation is not applied: labels and boxes of PASCAL
    VOC and of the tools that follow it are given on the pixels as stored.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        UserError: the file is missing, empty, truncated, not an image, not 8-bit RGB or gray, or above 100 megapixels.
    """
    return np.array(_decode(_read_bytes(path), path).convert("RGB"), order="C")


def check_image(path: str | os.PathLike) -> tuple[int, int, str]:
    """Decode a photograph completely, from one read of the file.

    Returns:
        height and width in pixels, and the SHA-256 of the file's bytes in hexadecimal.

    Raises:
        UserError: as `read_image`.
    """
    data = _read_bytes(path)
    image = _decode(data, path)
    return image.height, image.width, hashlib.sha256(data).hexdigest()


def read_label_png(path: str | os.PathLike, ids: dict[int, int] | None, num_classes: int) -> np.ndarray:
    """Read a label map from a palette or gray PNG whose pixel values are class ids.

    Args:
        ids: from an id of the file to a class 1..C; None where the file holds 0..C already. 0 stays background and 255
            stays void in both cases.
        num_classes: C, the number of object classes.

    Returns:
        (H, W) uint8: 0 background, 1..C classes, 255 void.

    Raises:
        UserError: not a readable 8-bit palette or gray PNG, or an id that is in no class.
    """
    image = _open(io.BytesIO(_read_bytes(path)), path)
    if image.format != "PNG":
        raise UserError(f"{path}: the label map is a {image.format} file; labels must be stored as PNG, without loss")
    # Pillow stretches gray of 1, 2 and 4 bits to 0..255, which would change the ids
    if image.mode not in ("P", "L") or (image.mode == "L" and _raw_mode(image) != "L"):
        raise UserError(
            f"{path}: the label map has pixels of kind {_raw_mode(image)}; save it as an 8-bit palette or gray PNG"
            " whose values are class ids"
        )
    label = np.array(_load(image, path))
    table = np.full(256, -1, dtype=np.int16)
    for source, target in (ids if ids is not None else {c: c for c in range(1, num_classes + 1)}).items():
        table[source] = target
    table[0], table[VOID] = 0, VOID
    unknown = [int(value) for value in np.unique(label) if table[value] < 0]
    if unknown:
        raise UserError(
            f"{path}: label id {', '.join(map(str, unknown))} is none of the {num_classes} classes, 0 (background)"
            f" or {VOID} (void); correct the file or the list of classes"
        )
    return table[label].astype(np.uint8)


def read_saliency(path: str | os.PathLike) -> np.ndarray:
    """Read a saliency map: 8-bit gray, or the mean over the channels of a colour file, rounded.

    Returns:
        (H, W) uint8: 0 background to 255 salient.

    Raises:
        UserError: as `read_image`.
    """
    image = _decode(_read_bytes(path), path)
    if image.mode == "L":
        return np.array(image)
    return np.rint(np.asarray(image).mean(axis=2)).astype(np.uint8)


def _read_bytes(path) -> bytes:
    try:
        if os.stat(path).st_size > MAX_BYTES:
            raise UserError(f"{path}: the file has more than {MAX_BYTES >> 20} MiB; scale the image down first")
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: the file is missing; restore it or take it off the list")
    return UserError(f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions")


def _decode(data: bytes, path) -> Image.Image:
    """The fully decoded image in mode RGB or L."""
    image = _open(io.BytesIO(data), path)
    _check_colour(image, path)
    return _load(image, path)


def _open(stream, path) -> Image.Image:
    """The image behind its header: a known format of at most 100 megapixels, pixels not yet decoded."""
    if not stream.read(1):
        raise UserError(f"{path}: the file has zero bytes; copy it again")
    stream.seek(0)
    too_large = f"is larger than {MAX_PIXELS // 10**6} megapixels; scale it down first"
    try:
        image = Image.open(stream, formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path}: the image {too_large}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not an image; expected one of {', '.join(IMAGE_FORMATS)}") from None
    except Exception as error:  # a broken file makes a decoder raise anything
        raise _broken(path, error) from None
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{path}: the image of {image.width} x {image.height} pixels {too_large}")
    return image


def _load(image: Image.Image, path) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # a broken file makes a decoder raise anything
        raise _broken(path, error) from None
    return image


def _broken(path, error: Exception) -> UserError:
    return UserError(f"{path}: the image is truncated or corrupt ({one_line(error)}); copy or download it again")


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, such as "RGB;16B": Pillow opens some 16-bit files as 8-bit RGB without a word."""
    if not image.tile:
        return image.mode
    args = image.tile[0][3]
    raw_mode = args[0] if isinstance(args, tuple) and args else args
    return raw_mode if isinstance(raw_mode, str) and raw_mode else image.mode


def _check_colour(image: Image.Image, path) -> None:
    way_out = "convert it to 8-bit RGB, for example with ImageMagick: `magick in.png -depth 8 -colorspace sRGB out.png`"
    if image.mode == "CMYK":
        raise UserError(f"{path}: the image is CMYK; {way_out}")
    if image.mode in ("I", "F") or "16" in image.mode or ";16" in _raw_mode(image):
        raise UserError(f"{path}: the image has 16 or more bits a channel; {way_out}")
    if image.mode not in ("RGB", "L"):
        raise UserError(f"{path}: the image is of mode {image.mode}, not RGB or gray; {way_out}")
