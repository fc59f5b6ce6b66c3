"""XML of PASCAL VOC, a file for each image, with any classes, as many tools write it; masks of a folder SegmentationClass."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source, split_of
from workflow_scripts.data.imports.xml_files import elements, root_tag
from workflow_scripts.data.index_entries import parse_box

TITLE = "VOC XML"
LISTS = ("ImageSets/Main/", "ImageSets/Segmentation/", "ImageSets/Layout/")


def found(source: Source) -> str:
    """XML files whose root is <annotation>; the first is looked at."""
    names = source.with_suffix(".xml")
    return (
        f"{len(names)} XML files such as {names[0]}"
        if names and root_tag(source.root / names[0]) == "annotation"
        else ""
    )


def read(source: Source, told: Told) -> Contents:
    """Boxes are taken as the files have them. Splits are the lists of ImageSets, or folders called train, val or test."""
    names, splits = source.with_suffix(".xml"), _lists(source)
    classes: dict[str, None] = {}
    for name in names:
        for shape in _read(source, name, Told(), named=False).shapes:
            classes.setdefault(shape.name)

    def pictures(told: Told) -> Iterator[Picture]:
        for name in names:
            before = len(told.messages)
            picture = _read(source, name, told)
            if len(told.messages) == before:
                stem = PurePosixPath(name).stem
                picture.split = splits.get(stem, "") or split_of(*reversed(PurePosixPath(name).parts[:-1]))
                if splits and not picture.split:
                    told.note("unlisted", name)
                yield picture

    return Contents(sorted(classes), pictures)


def _lists(source: Source) -> dict[str, str]:
    """From an id to its split, by lists called train, val and test."""
    found: dict[str, str] = {}
    for folder in LISTS:
        for name in source.all_files:
            path = PurePosixPath(name)
            if f"{path.parent}/".endswith(folder) and path.suffix == ".txt" and (split := split_of(path.stem)):
                for line in source.text(name).splitlines():
                    if line.strip():
                        found.setdefault(line.split()[0], split)
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
