"""XML of PASCAL VOC, a file for each image, with any classes, as many tools write it; masks of a folder SegmentationClass."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.imports.geometry import header
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.segmentation_masks import SegmentationMasks
from workflow_scripts.data.imports.source import CLASS_MASKS, Source, split_in, split_of
from workflow_scripts.data.imports.xml_files import elements, root_tag
from workflow_scripts.data.index_entries import parse_box
from workflow_scripts.data.readers.images import VOID
from workflow_scripts.data.readers.mask_folder import LABELMAP
from workflow_scripts.data.readers.voc_masks import VOC_CLASSES

TITLE = "VOC XML"
FLAG = re.compile(r"\s+-?[01]$")  # in lists of one class: whether an image shows it
LISTS = ("ImageSets/Main/", "ImageSets/Segmentation/", "ImageSets/Layout/")


def found(source: Source) -> str:
    """XML files whose root is <annotation>, the first of which is looked at; or masks alone, with a labelmap.txt."""
    names = source.with_suffix(".xml")
    masks = [name for name in source.files if PurePosixPath(name).parent.name == CLASS_MASKS]
    if masks and not names and any(PurePosixPath(name).name == LABELMAP for name in source.files):
        return f"{LABELMAP} and {len(masks)} masks such as {masks[0]}"
    return (
        f"{len(names)} XML files such as {names[0]}"
        if names and root_tag(source.root / names[0]) == "annotation"
        else ""
    )


def read(source: Source, told: Told) -> Contents:
    """Boxes are taken as the files have them. Splits are the lists of ImageSets, or folders called train, val or test.

    Where there are masks in SegmentationClass, they are taken; labels of images without an XML file are then those of their masks.

    Raises:
        UserError: a labelmap.txt that cannot be read.
    """
    names, splits = source.with_suffix(".xml"), _lists(source)
    classes: dict[str, None] = {}
    for name in names:
        for shape in _read(source, name, Told(), named=False).shapes:
            classes.setdefault(shape.name)
    masks = SegmentationMasks(source, classes, told)
    classes.update(dict.fromkeys(masks.names if masks.files and masks.names != VOC_CLASSES else ()))

    def with_mask(picture: Picture, stem: str) -> Picture:
        if stem in masks.files:
            picture.drawing, picture.drawn_names = partial(masks.read, stem), masks.names
        return picture

    def pictures(told: Told) -> Iterator[Picture]:
        for name in names:
            before = len(told.messages)
            picture = _read(source, name, told)
            if len(told.messages) == before:
                stem = PurePosixPath(name).stem
                picture.split = splits.get(stem, "") or split_of(*reversed(PurePosixPath(name).parts[:-1]))
                if splits and not picture.split:
                    told.note("unlisted", name)
                yield with_mask(picture, stem)
        annotated = {PurePosixPath(name).stem for name in names}
        for stem in [stem for stem in masks.files if stem not in annotated]:
            where = str(source.root / masks.files[stem])
            try:
                picture = Picture(source.find(f"{stem}.jpg", "", where, told), where, split=splits.get(stem, ""))
                with_mask(picture, stem)
                picture.labels = _shown(picture)
            except UserError as error:
                told.add(str(error))
                continue
            yield picture

    return Contents(sorted(classes), pictures)


def _shown(picture: Picture) -> tuple[str, ...]:
    """The classes that a mask has pixels of, whichever way its photograph is turned."""
    size, flag = header(picture.path)
    label = picture.drawing(size[::-1] if flag >= 5 else size, True) if picture.drawing else np.zeros(0, np.uint8)
    return tuple(picture.drawn_names[value - 1] for value in np.unique(label) if 0 < value < VOID)


def _lists(source: Source) -> dict[str, str]:
    """From an id to its split, by lists called train, val and test, or such as train_aug."""
    found: dict[str, str] = {}
    names = [PurePosixPath(name) for name in source.all_files if name.endswith(".txt")]
    for named in (split_of, split_in):  # train before train_aug
        for path in names:
            if f"{path.parent}/".endswith(LISTS) and (split := named(path.stem)):
                for line in source.text(str(path)).splitlines():
                    if identifier := FLAG.sub("", line.strip()):
                        found.setdefault(identifier, split)
    return found


def _read(source: Source, name: str, told: Told, named: bool = True) -> Picture:
    """A file's objects, and the image that it names. Faults are noted."""
    path = source.root / name
    picture = Picture(path, str(path))
    try:
        for root in elements(path, "annotation"):
            for element in root.findall("object"):
                picture.shapes.append(_shape(element, str(path)))
            picture.size = _size(root)
            if named:
                picture.path = _image(source, name, root, told)
    except UserError as error:
        told.add(str(error))
    return picture


def _shape(element: Any, where: str) -> Shape:
    label = (element.findtext("name") or "").strip()
    corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    return Shape(label, parse_box(corners, where))


def _size(root: Any) -> tuple[int, int] | None:
    try:
        height, width = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _image(source: Source, name: str, root: Any, told: Told) -> Path:
    """By the file's own name beside it or in JPEGImages; else as <filename> says."""
    path = PurePosixPath(name)
    stated = (root.findtext("filename") or "").replace("\\", "/").strip()
    folder = (root.findtext("folder") or "").replace("\\", "/").strip("/ ")
    suffix = PurePosixPath(stated).suffix
    above = "" if str(path.parent.parent) == "." else f"{path.parent.parent}/"
    beside = "" if str(path.parent) == "." else f"{path.parent}/"
    known = source.all_pictures
    for one in (f"{above}JPEGImages/{stated}", f"{above}{folder}/{stated}", f"{beside}{stated}"):
        if stated and str(source.root / one) in known:
            return source.root / one
    return source.find(stated or f"{path.stem}{suffix or '.jpg'}", beside.rstrip("/"), str(source.root / name), told)
