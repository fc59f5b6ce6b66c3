"""An instances file of COCO, as its own tools and those that export to it write it (Lin et al., ECCV 2014).

The index, the truth masks and the true instances all read it here, so that none of them takes it otherwise.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pycocotools import mask as rle

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.edges import Corners, clipped, is_inside
from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults, nearest_name
from workflow_scripts.data.readers import coco_segmentation
from workflow_scripts.data.readers.json_lists import is_number, read_lists

KEYS = ("images", "annotations", "categories")
# Category ids in the order of the 80 classes: 1 to 90, ten of which COCO never used.
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in UNUSED)
DRIVE = re.compile("[A-Za-z]:/")


@dataclass(slots=True)
class Picture:
    """An element of `images`: path below the folder of the images, stated height and width or None."""

    name: str
    size: tuple[int, int] | None


class Annotation(NamedTuple):
    """An element of `annotations`: its number, that of its image, its 0-based class, its box as the file has it."""

    number: int
    image: int
    label: int
    crowd: bool
    box: Corners
    segmentation: Any
    area: float | None


class Outline(NamedTuple):
    """An annotation of an image of the index, its box cut off at the edge, its pixels run-length encoded.

    Its area, in pixels, is that of the polygons where the file has it, by which COCO's sizes go.
    """

    label: int
    crowd: bool
    box: Corners
    area: float
    encoded: dict


class InstancesFile:
    """Its images and categories; annotations are read one by one.

    Args:
        path: of the JSON.
        classes: names of the object classes.
        faults: collects what is wrong; an element with a fault is left out.

    Raises:
        UserError: no such JSON.
    """

    def __init__(self, path: Path, classes: Sequence[str], faults: Faults):
        self.path, self.classes, self.faults = path, classes, faults
        self.pictures: dict[int, Picture] = {}
        self.categories: dict[int, str] = {}
        self._refused: set[int] = set()  # images with a fault: their annotations have none
        self._numbers: dict[str, int] = {}
        for key, item in read_lists(path, KEYS):
            try:
                if key == "images":
                    self._add_picture(item)
                elif key == "categories":
                    self._add_category(item)
            except UserError as error:
                faults.add(str(error))

    def annotations(self, images: Collection[int] | None = None) -> Iterator[Annotation]:
        """Those of the images with these numbers, or all, in the order of the file.

        Categories that no annotation names are no class: parents of others, or objects that this file has none of.
        """
        seen: set[int] = set()
        lost: dict[int, list[int]] = {}  # annotations of images that are not there
        used: dict[int, int] = {}
        for key, item in read_lists(self.path, KEYS):
            if key != "annotations":
                continue
            try:
                number = _whole(item, "id", f"{self.path}, annotations")
                where = f"{self.path}, annotation {number}"
                image, category = _whole(item, "image_id", where), _whole(item, "category_id", where)
                if images is not None and image not in images:
                    continue
                if number in seen:
                    raise UserError(f"{where}: the id occurs twice; give each annotation a number of its own")
                seen.add(number)
                used[category] = used.get(category, 0) + 1
                if image not in self.pictures:
                    lost.setdefault(image, []).append(number)
                    continue
                read = _crowd(item, where), self._box(item, image, where)
            except UserError as error:
                self.faults.add(str(error))
                continue
            name = self.categories.get(category)
            if name in self.classes:
                area = item.get("area")
                area = float(area) if is_number(area) and area > 0 else None
                yield Annotation(number, image, self.classes.index(name), *read, item.get("segmentation"), area)
        for image, numbers in lost.items():
            if image not in self._refused:
                self.faults.add(
                    f"{self.path}, annotation {numbers[0]}: unknown image {image}, named by {_count(len(numbers))}; "
                    "list the image, or delete its annotations"
                )
        self._check_categories(used)

    def _add_picture(self, item: Any) -> None:
        number = _whole(item, "id", f"{self.path}, images")
        where = f"{self.path}, image {number}"
        if number in self.pictures or number in self._refused:
            raise UserError(f"{where}: the id occurs twice; give each image a number of its own")
        self._refused.add(number)
        name = _file_name(item.get("file_name"), where)
        if name in self._numbers:
            raise UserError(
                f"{self.path}: images {self._numbers[name]} and {number} both have file_name {name!r}; "
                "merge them into one, or delete one with its annotations"
            )
        height, width = (_side(item, key, where) for key in ("height", "width"))
        self._refused.remove(number)
        self._numbers[name] = number
        self.pictures[number] = Picture(name, (height, width) if height and width else None)

    def _add_category(self, item: Any) -> None:
        number = _whole(item, "id", f"{self.path}, categories")
        name = item.get("name")
        if number in self.categories:
            raise UserError(f"{self.path}: category {number} ({name}) occurs twice; delete one of the two")
        self.categories[number] = name if isinstance(name, str) else repr(name)

    def _check_categories(self, used: dict[int, int]) -> None:
        by_name: dict[str | None, int] = {}
        for number, count in used.items():
            name = self.categories.get(number)
            if name is None:
                self.faults.add(
                    f"{self.path}: unknown category {number}, named by {_count(count)}; list it under categories"
                )
            elif name not in self.classes:
                self.faults.add(
                    f"{self.path}: category {name!r} of {_count(count)} is none of the classes, the nearest is "
                    f"{nearest_name(name, self.classes)!r}; correct it, or add it to the classes of the data set"
                )
            elif name in by_name:
                self.faults.add(
                    f"{self.path}: category {number} ({name}) occurs twice, also as {by_name[name]}, and annotations name both; "
                    "rename one, or give its annotations the number of the other"
                )
            by_name.setdefault(name, number)

    def _box(self, item: dict, image: int, where: str) -> Corners:
        """As the file has it, or around the outline."""
        box = item.get("bbox")
        if box not in (None, [], [0, 0, 0, 0]):
            numbers = isinstance(box, list) and all(is_number(value) for value in box)
            if not numbers or len(box) != 4 or min(box[2:]) < 0:
                raise UserError(f"{where}: bbox {repr(box)[:100]} is not four numbers x y width height; correct it")
            x, y, width, height = map(float, box)
            return x, y, x + width, y + height
        segmentation = item.get("segmentation")
        try:
            around = coco_segmentation.corners(segmentation)
        except ValueError:
            raise UserError(f"{where}: has no bbox, and its segmentation cannot be read; draw it again") from None
        if around is None:
            raise UserError(
                f"{where}: has neither bbox nor segmentation (an outline of three points or more); draw the object or delete it"
            )
        if size := coco_segmentation.stated_size(segmentation):
            picture = self.pictures[image]
            picture.size = picture.size or size  # compared with the file, as the box is from these runs
            if picture.size != size:
                raise UserError(
                    f"{where}: its segmentation is of an image of {size[1]} x {size[0]} pixels, but image {image} states "
                    f"{picture.size[1]} x {picture.size[0]}; export the file again"
                )
        return around


def outlines(settings: Any, index: Index, faults: Faults) -> Iterator[tuple[str, Outline]]:
    """Ids of images of the splits that are asked for, and the outline of each of their annotations, in the files' order.

    Args:
        settings: `root`; `files`, instances files and the folders of their images, under it; `splits`.
        index: made from these files.
        faults: collects what is wrong or suspicious.

    Raises:
        UserError: with all faults; annotations without an outline are one fault a file.
    """
    ids = {index.images[index.row[identifier]]: identifier for identifier in index.split(*settings.splits)}
    for file, folder in settings.files:
        path = Path(settings.root) / file
        contents = InstancesFile(path, index.classes, faults)
        paths = ((number, image_path(settings.root, folder, item.name)) for number, item in contents.pictures.items())
        wanted = {number: ids[str(image)] for number, image in paths if str(image) in ids}
        bare: list[Annotation] = []
        for annotation in contents.annotations(wanted):
            if coco_segmentation.is_empty(annotation.segmentation):
                bare.append(annotation)
                continue
            try:
                outline = _outline(annotation, wanted[annotation.image], index, path, faults)
            except UserError as error:
                faults.add(str(error))
                continue
            yield wanted[annotation.image], outline
        if bare:
            faults.add(
                f"{path}: {_count(len(bare))} of scored images have no outline (segmentation), the first is annotation "
                f"{bare[0].number} of image {wanted[bare[0].image]!r}; draw polygons or masks of them, or score a split that "
                "has them"
            )
    faults.raise_if_any(str(settings.root))


def _outline(annotation: Annotation, identifier: str, index: Index, path: Path, faults: Faults) -> Outline:
    height, width = index.size_of(identifier)
    segmentation, name = annotation.segmentation, f"annotation {annotation.number}"
    encoded = coco_segmentation.encode(segmentation, (height, width), f"{path}, {name}")
    if parts := coco_segmentation.polygons(segmentation):
        if not is_inside(coco_segmentation.around(parts), height, width):
            faults.suspect("outline_clipped", identifier, name)
        if len(parts) < len(segmentation):
            faults.suspect("polygon_of_two_points", identifier, name)
    box = clipped(annotation.box, height, width) or annotation.box
    return Outline(annotation.label, annotation.crowd, box, annotation.area or float(rle.area(encoded)), encoded)


def present(path: Path, images: Path, classes: Sequence[str]) -> list[bool]:
    """Of each image with an object, whether it is in its folder; annotations, which are many, are read only where one is not."""
    contents = InstancesFile(path, classes, Faults())
    there = {number: (images / picture.name).is_file() for number, picture in contents.pictures.items()}
    if not all(there.values()):
        labelled = {annotation.image for annotation in contents.annotations()}
        there = {number: found for number, found in there.items() if number in labelled}
    return [*there.values()]


def image_path(root: str | Path, folder: str, name: str) -> Path:
    """Path of an image file."""
    return Path(root) / folder / name


def _file_name(value: Any, where: str) -> str:
    """The path below the folder of the images, with slashes, whatever the system that it was written on."""
    name = value.replace("\\", "/") if isinstance(value, str) else ""
    reason = ""
    if not name or not name.isprintable():
        reason = "is no name of a file"
    elif "://" in name or name.startswith("data:"):
        reason = "is an address"
    elif name.startswith("/") or DRIVE.match(name):
        reason = "is an absolute path"
    elif ".." in name.split("/"):
        reason = "leads out of a folder by '..'"
    elif not PurePosixPath(name).name or name.endswith("/"):
        reason = "is a folder"
    if reason:
        raise UserError(
            f"{where}: file_name {repr(value)[:200]} {reason}; write the path below the folder of the images, such as a.jpg or "
            "2021/a.jpg"
        )
    return str(PurePosixPath(name))


def _side(item: dict, key: str, where: str) -> int:
    """A stated height or width in pixels; 0 where it is not stated."""
    return 0 if item.get(key) in (None, "") else _whole(item, key, where)


def _crowd(item: dict, where: str) -> bool:
    value = item.get("iscrowd")
    return bool(value) if value in (None, "", True, False) else _whole(item, "iscrowd", where) != 0


def _whole(item: Any, key: str, where: str) -> int:
    """A whole number, also one written as 3.0 or "3"."""
    value: Any = item.get(key) if isinstance(item, dict) else None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
        return int(value)
    if not is_number(value) or value != int(value):
        raise UserError(f"{where}: {key!r} is missing or no whole number; give it one, or export the file again")
    return int(value)


def _count(number: int) -> str:
    return f"{number} annotation{'s' if number != 1 else ''}"
