"""Image, label and saliency files from disk, checked: what cannot be used is refused with one line that says why."""

import contextlib
import hashlib
import io
import os
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from workflow_scripts.base.errors import UserError, one_line

MAX_PIXELS = 100_000_000
STRIP = 256  # rows
MAX_BYTES = 1 << 29  # of a file; as many pixels take less without any compression
VOID = 255
IMAGE_FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
    "GIF",
)  # a closed list: some of Pillow's readers start programs
PHOTOGRAPH_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")

ORIENTATION = 0x0112  # tag of EXIF and TIFF
TURNS = {  # from the pixels as stored to the picture as shown (EXIF 2.32, 4.6.4)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNS_BACK = TURNS | {6: TURNS[8], 8: TURNS[6]}
BITS = 258  # tag of TIFF: bits of each channel
PLANES = 284  # tag of TIFF: 2 where channels are stored one after the other, which OpenCV garbles
SUBFILE = 254  # tag of TIFF: bit 0 marks a smaller copy of another page, bit 2 a mask of one

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow warns above this and refuses at twice as much; here the limit is exact
warnings.filterwarnings("ignore", "Corrupt EXIF data", module="PIL")  # without EXIF the pixels count as they are


class Photograph(NamedTuple):
    """What the index keeps of a photograph.

    Attributes:
        height, width: in pixels, as its readers see it.
        digest: SHA-256 of the file's bytes in hexadecimal.
        orientation: the EXIF flag, 1 to 8; 1 where the pixels are stored as they are shown.
        pixels: digest of the size and the decoded pixels, which is that of copies in other files, too.
    """

    height: int
    width: int
    digest: str
    orientation: int
    pixels: str


def read_image(path: str | os.PathLike, oriented: bool = True) -> np.ndarray:
    """Read a photograph as RGB.

    Palettes and one bit a pixel are expanded, gray is repeated over the three channels, and an alpha channel that is opaque
    everywhere is dropped.

    Args:
        oriented: whether the EXIF orientation is applied, as viewers and annotation tools do.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        UserError: the file is missing, empty, truncated, not an image, of several pictures, of 16 bits, CMYK, transparent, or above
            100 megapixels.
    """
    return read_photograph(path, oriented)[0]


def read_photograph(
    path: str | os.PathLike, oriented: bool = True, digest: str | None = None, most_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, int]:
    """As `read_image`, and the EXIF orientation flag, 1 to 8.

    Args:
        digest: SHA-256 that the file must have, hexadecimal; of the bytes that are decoded, so that none are read twice.
        most_pixels: of an image that is still read.
    """
    data = _read_bytes(path)
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"{path}: changed since the index was made; leave the photographs alone, and run again")
    image, orientation = _decode(data, path, oriented, most_pixels=most_pixels)
    return _colours(image), orientation


def _colours(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3), strip by strip: Pillow holds a pixel in four bytes, and copies what it converts."""
    colours = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        colours[top : top + STRIP] = np.asarray(strip.convert("RGB"))
    return colours


def check_image(path: str | os.PathLike, oriented: bool = True) -> Photograph:
    """Decode a photograph completely, from one read of the file.

    Raises:
        UserError: as `read_image`.
    """
    data = _read_bytes(path)
    image, orientation = _decode(data, path, oriented)
    pixels = hashlib.blake2b(f"{image.size}".encode() + image.convert("RGB").tobytes(), digest_size=16).hexdigest()
    return Photograph(image.height, image.width, hashlib.sha256(data).hexdigest(), orientation, pixels)


def read_label_png(
    path: str | os.PathLike, ids: dict[int, int] | None, num_classes: int, oriented: bool = True, way_out: str = ""
) -> np.ndarray:
    """Read a label map from a palette or gray PNG whose pixel values are class ids.

    Args:
        ids: from an id of the file to a class 1..C; None where the file holds 0..C already. 0 stays background, and 255 stays
            void unless it is among the ids.
        num_classes: C, the number of object classes.
        oriented: whether an EXIF orientation is applied.
        way_out: told with an unknown id.

    Returns:
        (H, W) uint8: 0 background, 1..C classes, 255 void.

    Raises:
        UserError: not a readable palette or gray PNG, or an id that is in no class.
    """
    image = open_image(io.BytesIO(_read_bytes(path)), path)
    if image.format != "PNG":
        lost = "draw or export it again" if image.format == "JPEG" else _pillow(path, ".png")
        raise UserError(
            f"{path}: the label map is a {image.format} file, labels must be stored as PNG, without loss; {lost}"
        )
    grays = f"; where its colours are grays that are ids already: {_pillow(path, '.png', 'L')}"
    stored, _ = label_values(image, path, oriented, grays)
    table = np.full(256, -1, dtype=np.int16)
    table[0], table[VOID] = 0, VOID
    for source, target in (ids if ids is not None else {c: c for c in range(1, num_classes + 1)}).items():
        table[source] = target
    unknown = [int(value) for value in np.unique(stored) if value > VOID or table[value] < 0]
    if unknown:
        raise UserError(
            f"{path}: label id {', '.join(map(str, unknown))} is none of the {num_classes} classes, 0 (background)"
            f" or {VOID} (void); {way_out}correct the file or the list of classes"
        )
    return table[stored].astype(np.uint8)


def label_values(image: Image.Image, path: object, oriented: bool, way_out: str = "") -> tuple[np.ndarray, str]:
    """The pixel values of a palette or gray PNG that was opened, as the file stores them: Pillow stretches gray of 1, 2 and 4 bits.

    Returns:
        (H, W) unsigned integers, and the mode of the image: "P" where they are places in a palette.

    Raises:
        UserError: a PNG of another kind, or a damaged one.
    """
    mode, step = image.mode, _step(image)
    if mode not in ("P", "1", "L", "I;16"):
        raise UserError(
            f"{path}: the label map has pixels of kind {_raw_mode(image)}; save it as a palette or gray PNG whose values are class"
            f" ids, 0 for the background and {VOID} for void{way_out}"
        )
    values = np.array(loaded(image, path, oriented)[0])
    return values.astype(np.uint16 if mode == "I;16" else np.uint8) // step, mode


def read_saliency(path: str | os.PathLike, oriented: bool = True) -> np.ndarray:
    """Read a saliency map: gray, or the mean over the channels of a colour file, rounded.

    Returns:
        (H, W) uint8: 0 background to 255 salient.

    Raises:
        UserError: as `read_image`.
    """
    image, _ = _decode(_read_bytes(path), path, oriented, saliency=True)
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


def _decode(
    data: bytes, path, oriented: bool, saliency: bool = False, most_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, int]:
    """The fully decoded image in mode RGB or L, and its orientation flag."""
    image = open_image(io.BytesIO(data), path, most_pixels)
    _check_pages(image, path)
    _check_colour(image, path, saliency)
    image, orientation = loaded(image, path, oriented)
    if image.has_transparency_data:
        if image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            raise UserError(f"{path}: the image is transparent in places; {_flat(path, saliency)}")
        image.info.pop("transparency", None)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return image if image.mode == mode else image.convert(mode), orientation


def open_image(stream, path, most_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image behind its header: a known format of at most 100 megapixels or what is given, pixels not yet decoded."""
    start = stream.read(12)
    if not start:
        raise UserError(f"{path}: the file has zero bytes; copy it again")
    stream.seek(0)
    too_large = f"is larger than {most_pixels // 10**6} megapixels; scale it down first"
    try:
        with _allowed(most_pixels):
            image = Image.open(stream, formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path}: the image {too_large}") from None
    except UnidentifiedImageError:
        if start[4:8] == b"ftyp":
            raise UserError(f"{path}: an image or film of kind HEIC, AVIF or MP4; export it as JPEG or PNG") from None
        if start[:4] in (b"II*\0", b"MM\0*"):
            raise UserError(f"{path}: a TIFF file of pixels that cannot be read; save it as 8-bit RGB PNG") from None
        raise UserError(f"{path}: not an image; expected one of {', '.join(IMAGE_FORMATS)}") from None
    except Exception as error:  # a broken file makes a decoder raise anything
        raise _broken(path, error) from None
    if image.width * image.height > most_pixels:
        raise UserError(f"{path}: the image of {image.width} x {image.height} pixels {too_large}")
    return image


@contextlib.contextmanager
def _allowed(most_pixels: int) -> Iterator[None]:
    """Pillow's own limit, as long as it opens an image."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def loaded(image: Image.Image, path, oriented: bool) -> tuple[Image.Image, int]:
    """The decoded image, turned where its orientation shall be applied, and the flag."""
    turned = image.format == "TIFF"  # Pillow applies the flag of TIFF files while it reads them, and forgets it
    orientation, step = _orientation(image) if turned else 1, _step(image)
    try:
        image.load()
    except Exception as error:  # a broken file makes a decoder raise anything
        raise _broken(path, error) from None
    if isinstance(image.info.get("transparency"), int):  # the gray that is transparent, not stretched by Pillow
        image.info["transparency"] *= step
    orientation = orientation if turned else _orientation(image)
    if orientation > 1 and oriented != turned:
        image = image.transpose((TURNS if oriented else TURNS_BACK)[orientation])
    return image, orientation


def _orientation(image: Image.Image) -> int:
    """The EXIF flag, 1 where there is none or none that can be read."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # damaged data make the reader raise anything; the pixels are sound
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _broken(path, error: Exception) -> UserError:
    return UserError(f"{path}: the image is truncated or corrupt ({one_line(error)}); copy or download it again")


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, such as "RGB;16B": Pillow opens some 16-bit files as 8-bit RGB without a word."""
    if not image.tile:
        return image.mode
    args = image.tile[0][3]
    raw_mode = args[0] if isinstance(args, tuple) and args else args
    return raw_mode if isinstance(raw_mode, str) and raw_mode else image.mode


def _step(image: Image.Image) -> int:
    """By what Pillow multiplies gray of 2 and 4 bits."""
    return {"L;2": 85, "L;4": 17}.get(_raw_mode(image), 1) if image.format == "PNG" else 1


def is_deep(image: Image.Image) -> bool:
    """Whether a channel has 16 or more bits."""
    raw_mode = _raw_mode(image)
    if image.format == "PPM" and image.tile and isinstance(image.tile[0][3], tuple):
        return image.mode in ("I", "F") or image.tile[0][3][1] > 255  # the greatest value
    bits = image.tag_v2.get(BITS, 1) if image.format == "TIFF" else 1
    if max(bits if isinstance(bits, tuple) else (bits,), default=1) > 8:
        return True
    return image.mode in ("I", "F") or "16" in image.mode or ";16" in raw_mode and not raw_mode.startswith("BGR;")


def _check_pages(image: Image.Image, path) -> None:
    """Refuse films and stacks. Previews are no pages: those of phones (MPO), and smaller copies in TIFF files."""
    if image.format not in ("TIFF", "GIF", "WEBP", "PNG"):
        return
    try:
        pages = getattr(image, "n_frames", 1)
        kinds = []
        for page in range(pages if image.format == "TIFF" and pages > 1 else 0):
            image.seek(page)
            kinds.append(image.tag_v2.get(SUBFILE, 0) & 0b101)
        if kinds:
            image.seek(0)
    except Exception as error:  # a broken file makes a decoder raise anything
        raise _broken(path, error) from None
    if pages > 1 and not (kinds and kinds[0] == 0 and all(kinds[1:])):
        raise UserError(
            f"{path}: holds {pages} pages or frames, expected one picture; save each as a file of its own with {_convert(path)}"
            " and list those that you want"
        )


def _check_colour(image: Image.Image, path, saliency: bool) -> None:
    if is_deep(image):
        check_planes(image, path)
        if saliency:
            way_out = f"scale them to 8 bits with {_convert(path, '--range 0 65535')}, or whatever range the maps have"
        else:
            way_out = f"stretch the contrast to 8 bits with {_convert(path)}"
        raise UserError(
            f"{path}: the image has 16 or more bits a channel; {way_out}, and put the new file in its place"
        )
    if image.mode not in PHOTOGRAPH_MODES:
        way_out = f"convert it to RGB with {_convert(path)} and put the new file in its place"
        raise UserError(f"{path}: the image is {image.mode}, not RGB, gray or a palette; {way_out}")


def check_planes(image: Image.Image, path) -> None:
    """Refuse a deep TIFF file whose channels are stored one after the other."""
    if image.format == "TIFF" and len(image.getbands()) > 1 and image.tag_v2.get(PLANES, 1) == 2:
        raise UserError(
            f"{path}: the image has 16 or more bits a channel, its channels one after the other; save it as 8-bit RGB PNG in the "
            "program that made it, its contrast stretched"
        )


def _flat(path, saliency: bool) -> str:
    if saliency:
        return f"save the map as an opaque gray PNG; where the alpha channel is the map: {_pillow(path, '.png', 'A')}"
    return f"flatten it onto white with {_convert(path)} and put the new file in its place"


def _convert(path, options: str = "") -> str:
    """The command that makes a file of the kind that is read; it never overwrites one."""
    path = Path(path)
    out = path.with_suffix(".png")
    out = path.with_name(f"{path.stem}_rgb.png") if out.exists() else out
    return f"`wsss convert {shlex.join([str(path), str(out), *options.split()])}`"


def _pillow(path, suffix: str, channel: str = "") -> str:
    """A command that saves a picture, or one channel of it, as a file of another kind."""
    taken = {"": "", "L": '.convert("L")', "A": '.getchannel("A")'}[channel]
    code = f"import sys; from PIL import Image; Image.open(sys.argv[1]){taken}.save(sys.argv[2])"
    return f"`{shlex.join(['python', '-c', code, str(path), str(Path(path).with_suffix(suffix))])}`"
