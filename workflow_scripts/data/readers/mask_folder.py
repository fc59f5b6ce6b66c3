"""Label maps of single images from a folder or an archive, as people correct them: named after ids, read when asked for.

What is read: a folder of `{id}.png`; a folder in the layout of PASCAL VOC, with `SegmentationClass/{id}.png`; a zip with
that layout, such as CVAT's "Segmentation mask 1.1"; a JSON file of COCO or of Label Studio (`mask_regions`). Where
`labelmap.txt` lies beside the masks, colours count and labels go by their names; else pixel values do: 0 background, 1 for
the first class, 255 ignored.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults, nearest_name
from workflow_scripts.data.readers import labelmap
from workflow_scripts.data.readers.archives import BROKEN
from workflow_scripts.data.readers.images import VOID, label_values, loaded
from workflow_scripts.data.readers.mask_regions import MaskRegions, open_regions

LABELMAP, CLASS_MASKS = "labelmap.txt", "SegmentationClass"
MOST_LABELMAP = 1 << 20  # bytes
DEPTH_AT = 24  # place of the bits a sample in a PNG file
FEW = 5  # names told of files that are no masks


def open_masks(path: str | Path, index: Index) -> "MaskFolder | MaskRegions":
    """The masks of a folder, an archive or a JSON file of images of the index.

    Raises:
        UserError: no such file or folder, or nothing in it that can be read.
    """
    path = Path(path)
    return open_regions(path, index) if path.suffix.lower() == ".json" else MaskFolder(path, index.classes)


class MaskFolder:
    """The masks of a folder or archive, by id."""

    def __init__(self, path: str | Path, classes: Sequence[str]):
        self.path, self.classes = Path(path), tuple(classes)
        self._files = _Archive(self.path) if self.path.is_file() else _Folder(self.path)
        names = sorted(self._files.names())
        layout = [name for name in names if name.startswith(f"{CLASS_MASKS}/")]
        if not layout and self.path.is_file():
            raise UserError(f"{self.path}: has no folder {CLASS_MASKS}; export it as 'Segmentation mask 1.1'")
        masks = [name for name in layout or names if name.lower().endswith(".png")]
        others = [name for name in layout or names if name not in masks and name != LABELMAP]
        if others:
            more = f" and {len(others) - FEW} more" if len(others) > FEW else ""
            print(f"{self.path}: no masks by their names: {', '.join(others[:FEW])}{more}", flush=True)
        if not masks:
            raise UserError(f"{self.path}: holds no mask; put {{id}}.png there, as large as the image")
        self._named = [(PurePosixPath(name).stem, name) for name in masks]
        self._masks = dict(self._named)
        self._labels = self._read_labelmap() if LABELMAP in names else None

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._masks

    def __len__(self) -> int:
        return len(self._masks)

    def check_names(self, known: Iterable[str], needed: Sequence[str]) -> None:
        """Refuse two masks of one image, masks of no known image, and needed images without a mask, all of them named."""
        faults, known = Faults(), dict.fromkeys(known)
        first: dict[str, str] = {}
        for identifier, name in self._named:
            if identifier in first:
                faults.add(f"{self._where(name)}: {first[identifier]} is of the same image; keep one of them")
                continue
            first[identifier] = name
            if identifier not in known:
                faults.add(
                    f"{self._where(name)}: no image has the id {identifier!r}, the nearest known is "
                    f"{nearest_name(identifier, known)!r}; rename the mask or take it away"
                )
        for identifier in needed:
            if identifier not in self._masks:
                faults.add(
                    f"{self.path}: no mask of {identifier!r}; add {identifier}.png, or name masks in `otherwise`"
                )
        faults.raise_if_any(str(self.path))

    def read(self, identifier: str, size: tuple[int, int], oriented: bool = True) -> np.ndarray:
        """The label map of an image of this height and width, uint8: 0 background, 1..C classes, 255 ignored.

        Args:
            oriented: whether an EXIF orientation is applied.

        Raises:
            UserError: not a readable PNG, of another size, or with a value or colour that stands for no label.
        """
        name = self._masks[identifier]
        where = self._where(name)
        data = self._files.read(name, 4 * size[0] * size[1] + MOST_LABELMAP)
        stored, mode, colours = _opened(data, size, oriented, where)
        if self._labels is None:
            if mode == "RGB":
                raise UserError(
                    f"{where}: has colours, not labels; put {LABELMAP} beside {CLASS_MASKS}, or save a palette"
                )
            return self._of_values(stored, where)
        if mode not in ("P", "RGB"):
            return self._of_labels([label for label, _ in self._labels], stored, where)
        if mode == "P":
            palette = np.array(colours, np.uint8).reshape(-1, 3)
            stored = np.pad(palette, ((0, 256 - len(palette)), (0, 0)))[stored]
        return self._of_colours(stored, where)

    def _of_values(self, stored: np.ndarray, where: str) -> np.ndarray:
        unknown = [int(value) for value in np.unique(stored) if value > len(self.classes) and value != VOID]
        if unknown:
            raise UserError(
                f"{where}: value {', '.join(map(str, unknown))} is none of the {len(self.classes)} classes, 0 (background) or "
                f"{VOID} (ignored); correct the mask, or put {LABELMAP} beside {CLASS_MASKS}"
            )
        return stored.astype(np.uint8)

    def _of_colours(self, stored: np.ndarray, where: str) -> np.ndarray:
        codes = (stored.astype(np.uint32) * np.array([1 << 16, 1 << 8, 1], np.uint32)).sum(axis=2, dtype=np.uint32)
        used, places = np.unique(codes, return_inverse=True)
        names = {_code(colour): name for name, colour in self._labels or () if colour}
        unknown = [f"{code >> 16},{code >> 8 & 255},{code & 255}" for code in map(int, used) if code not in names]
        if unknown:
            raise UserError(
                f"{where}: colour {' and '.join(unknown[:3])} is not in {LABELMAP}; correct the mask or the list"
            )
        return self._of_labels([names[int(code)] for code in used], places.reshape(codes.shape), where)

    def _of_labels(self, names: Sequence[str], places: np.ndarray, where: str) -> np.ndarray:
        """Labels from places in a list of names."""
        table = np.zeros(len(names), np.uint8)
        for place in np.unique(places):
            if place >= len(names):
                raise UserError(
                    f"{where}: value {place}, but {LABELMAP} lists {len(names)} labels; correct one of them"
                )
            label = labelmap.label_of(names[place], self.classes)
            if label is None:
                raise UserError(
                    f"{where}: label {names[place]!r} is unknown, the nearest known class is "
                    f"{nearest_name(names[place], self.classes)!r}; correct it or add it to the classes of the data set"
                )
            table[place] = label
        return table[places]

    def _read_labelmap(self) -> list[tuple[str, labelmap.Colour | None]]:
        where = self._where(LABELMAP)
        try:
            return labelmap.parsed(self._files.read(LABELMAP, MOST_LABELMAP).decode("utf-8-sig"), where)
        except UnicodeDecodeError:
            raise UserError(f"{where}: not UTF-8 text; save it as UTF-8") from None

    def _where(self, name: str) -> str:
        return f"{self.path}: {name}" if self.path.is_file() else str(self.path / name)


class _Folder:
    """Files of a folder: its own, and those below `SegmentationClass`."""

    def __init__(self, path: Path):
        if not path.is_dir():
            raise UserError(f"{path}: no such folder or archive of masks; set its path in the config")
        self.path = path

    def names(self) -> Iterator[str]:
        for file in (*self.path.glob("*"), *(self.path / CLASS_MASKS).rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                yield file.relative_to(self.path).as_posix()

    def read(self, name: str, most: int) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                return _bounded(file, most, str(self.path / name))
        except OSError as error:
            raise UserError(f"{self.path / name}: cannot be read ({error.strerror}); check its permissions") from None


class _Archive:
    """Files of a zip; nothing of it is written anywhere."""

    def __init__(self, path: Path):
        self.path = path
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"{path}: not a zip archive; name a folder of masks, or CVAT's export 'Segmentation mask 1.1'"
            )
        try:
            self._zip = zipfile.ZipFile(path)
        except BROKEN as error:
            raise UserError(f"{path}: a damaged archive ({one_line(error)}); copy the archive again") from None

    def names(self) -> Iterator[str]:
        for item in self._zip.infolist():
            if not item.filename.endswith("/") and not PurePosixPath(item.filename).name.startswith("."):
                yield item.filename

    def read(self, name: str, most: int) -> bytes:
        try:
            with self._zip.open(name) as file:
                return _bounded(file, most, f"{self.path}: {name}")
        except BROKEN as error:
            raise UserError(
                f"{self.path}: {name}: cannot be unpacked ({one_line(error)}); copy the archive again"
            ) from None


def _bounded(file, most: int, where: str) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise UserError(f"{where}: takes more than {most} bytes, which no mask of its image does; save it again")
    return data


def _opened(data: bytes, size: tuple[int, int], oriented: bool, where: str) -> tuple[np.ndarray, str, list[int] | None]:
    """Values or colours of a PNG, its mode, and its palette; its size is compared before anything is decoded."""
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UserError(f"{where}: not a readable PNG ({one_line(error)}); save it again") from None
    stored: Any = None
    shape, mode = (image.height, image.width), image.mode
    if sorted(shape) == sorted(size):
        if mode == "RGB" and data[DEPTH_AT] == 8:  # Pillow cuts colours of 16 bits
            stored = np.asarray(loaded(image, where, oriented)[0])
        else:
            stored, mode = label_values(image, where, oriented)
        shape = stored.shape[:2]
    if shape != size:
        raise UserError(
            f"{where}: the mask is {shape[0]} x {shape[1]}, its image {size[0]} x {size[1]} (H x W); correct the mask"
        )
    return stored, mode, image.getpalette("RGB") if mode == "P" else None


def _code(colour: labelmap.Colour) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue
